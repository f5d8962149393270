//! Creating what a test needs through the REST API, as an operator would.

use serde_json::{Value, json};

use crate::http::Http;
use crate::mqtt::{Connect, Mqtt};
use crate::server::Server;
use crate::sign::{Login, login};

/// A device that was created, with everything it needs to log in.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its product.
    pub product_key: String,
    /// Its key within the product.
    pub device_key: String,
    /// Its secret.
    pub secret: String,
    /// Its asset id, as SQL shows it.
    pub asset_id: String,
}

impl Device {
    /// Its login now.
    pub fn login(&self) -> Login {
        login(&self.product_key, &self.device_key, &self.secret, 2, "1767225600000")
    }

    /// `/sys/{pk}/{dk}/thing/measurepoint/{rest}`
    pub fn topic(&self, rest: &str) -> String {
        format!("/sys/{}/{}/thing/measurepoint/{rest}", self.product_key, self.device_key)
    }

    /// A connection of this device, subscribed to the replies of every way to post.
    pub fn connect(&self, server: &Server) -> Mqtt {
        let mut mqtt = self.connect_bare(server);
        for rest in ["post", "post/batch", "resume", "resume/batch"] {
            let granted = mqtt.subscribe(&format!("{}_reply", self.topic(rest))).expect("a subscription");
            assert!(granted <= 1, "subscription refused with {granted}");
        }
        mqtt
    }

    /// A connection of this device without subscriptions.
    pub fn connect_bare(&self, server: &Server) -> Mqtt {
        let connected = Mqtt::connect(server.mqtt, &Connect::new(self.login())).expect("a connection");
        connected.unwrap_or_else(|code| panic!("login refused with {code}"))
    }
}

/// A thing model with the points `(key, data type)`, without quality.
pub fn model_json(key: &str, points: &[(&str, &str)]) -> Value {
    let points: serde_json::Map<String, Value> = points
        .iter()
        .map(|(point, data_type)| {
            let body = json!({"identifier": point, "name": {"defaultValue": point}, "dataType": data_type,
                              "hasQuality": false, "signalType": "Generic", "unit": null});
            ((*point).to_owned(), body)
        })
        .collect();
    json!({"modelId": key, "name": {"defaultValue": key}, "measurepoints": points, "attributes": {}, "services": {},
           "events": {}})
}

/// The model of most tests: `p0` and `p1` DOUBLE, `n` LONG, `on` BOOL, `state` INT, `note` STRING.
pub fn turbine_model(key: &str) -> Value {
    let points = [
        ("p0", "DOUBLE"),
        ("p1", "DOUBLE"),
        ("n", "LONG"),
        ("on", "BOOL"),
        ("state", "INT"),
        ("note", "STRING"),
    ];
    model_json(key, &points)
}

impl Http {
    /// Creates a model.
    pub fn create_model(&self, model: &Value) {
        self.post_json("/api/v1/models", model).ok();
    }

    /// Creates a product of `model`.
    pub fn create_product(&self, key: &str, model: &str) -> Value {
        self.post_json("/api/v1/products", &json!({"productKey": key, "productName": key, "modelId": model}))
            .ok()
    }

    /// Creates a device; the server makes its secret and its asset id.
    pub fn create_device(&self, product_key: &str, device_key: &str) -> Device {
        self.create_devices(product_key, &[device_key.to_owned()]).remove(0)
    }

    /// Creates devices in one request, all or none.
    pub fn create_devices(&self, product_key: &str, device_keys: &[String]) -> Vec<Device> {
        let body: Value = device_keys
            .iter()
            .map(|key| json!({"productKey": product_key, "deviceKey": key, "deviceName": key}))
            .collect();
        let made = self.post_json("/api/v1/devices", &body).ok();
        let device = |made: &Value| {
            let field =
                |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name} in {made}")).to_owned();
            Device {
                product_key: field("productKey"),
                device_key: field("deviceKey"),
                secret: field("deviceSecret"),
                asset_id: field("assetId"),
            }
        };
        made.as_array().expect("an answer of the same shape").iter().map(device).collect()
    }

    /// A model, a product of it and `devices` devices, all called after `key`.
    pub fn create_fleet(&self, key: &str, devices: usize) -> Vec<Device> {
        self.create_model(&turbine_model(key));
        self.create_product(&format!("pk-{key}"), key);
        let names: Vec<String> = (0..devices).map(|i| format!("dk-{i}")).collect();
        self.create_devices(&format!("pk-{key}"), &names)
    }
}

/// A `measurepoint/post` message.
pub fn post_json(id: u64, points: &Value, time_ms: i64) -> Vec<u8> {
    let params = json!({"measurepoints": points, "time": time_ms});
    json!({"id": id.to_string(), "version": "1.0", "method": "thing.measurepoint.post", "params": params})
        .to_string()
        .into_bytes()
}
