//! Devices that the operator did not create one by one: dynamic activation, and registration by their first login.

use serde_json::json;
use wattline_tests::admin::{post_json, turbine_model};
use wattline_tests::mqtt::ANSWER_TIMEOUT;
use wattline_tests::server::try_run_wattline;
use wattline_tests::sign::login;
use wattline_tests::{Connect, Device, Mqtt, Packet, Server};

use super::{BASE_MS, data_dir, start};

const STAMP: &str = "1767225600000.25";

#[test]
fn dynamic_activation_tells_a_device_its_secret() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    http.create_model(&turbine_model("active"));
    let product =
        json!({"productKey": "pk", "productName": "p", "modelId": "active", "dynamicActivation": true});
    let product = http.post_json("/api/v1/products", &product).ok();
    let device = http.create_device("pk", "dk");
    assert_eq!(http.get("/api/v1/devices/pk/dk").ok()["active"], false);

    let by_product = login("pk", "dk", product["productSecret"].as_str().unwrap(), 3, STAMP);
    let mut mqtt =
        Mqtt::connect(server.mqtt, &Connect::new(by_product)).unwrap().expect("activation is allowed");
    let Packet::Publish { topic, payload, .. } = mqtt.receive(ANSWER_TIMEOUT).unwrap() else {
        panic!("the secret is told without being asked for");
    };
    assert_eq!(topic, "/ext/session/pk/dk/thing/activate/info");
    let info: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(info["method"], "thing.activate.info");
    assert_eq!(
        info["params"],
        json!({"assetId": device.asset_id, "productKey": "pk", "deviceKey": "dk", "deviceSecret": device.secret})
    );
    // This login may do nothing else; the one with the secret it was told may.
    let message = post_json(1, &json!({"n": 1}), BASE_MS);
    mqtt.publish_acked(&device.topic("post"), &message).unwrap();
    assert_eq!(http.sql_number("SELECT count(*) FROM active"), 0.0);
    let told = info["params"]["deviceSecret"].as_str().unwrap().to_owned();
    let mut mqtt = Device { secret: told, ..device.clone() }.connect(&server);
    assert_eq!(mqtt.request(&device.topic("post"), &message).unwrap()["code"], 200);
    assert_eq!(http.sql_number("SELECT count(*) FROM active"), 1.0);
    assert_eq!(http.get("/api/v1/devices/pk/dk").ok()["active"], true);
}

#[test]
fn unknown_devices_and_points_register_themselves_where_allowed() {
    let dir = data_dir();
    let server = Server::start(dir.path(), &["--auto-register-devices", "--auto-register-points"]);
    let http = server.http();
    http.create_model(&turbine_model("auto"));
    let product = http.create_product("pk", "auto");
    let secret = product["productSecret"].as_str().unwrap();
    let newcomer = login("pk", "newcomer", secret, 2, STAMP);
    let mut mqtt = Mqtt::connect(server.mqtt, &Connect::new(newcomer.clone())).unwrap().expect("registered");
    let made = http.get("/api/v1/devices/pk/newcomer").ok();
    let topic = "/sys/pk/newcomer/thing/measurepoint/post";
    mqtt.subscribe(&format!("{topic}_reply")).unwrap();
    let message =
        post_json(1, &json!({"p0": 1.5, "gearbox_temp": 61.25, "brake": true, "label": "x"}), BASE_MS);
    assert_eq!(mqtt.request(topic, &message).unwrap()["code"], 200);
    let row = http.sql("SELECT asset_id, p0, gearbox_temp, brake, label FROM auto");
    assert_eq!(row, [[made["assetId"].as_str().unwrap(), "1.5", "61.25", "true", "x"]]);

    // Who does not know the product's secret is not registered.
    let stranger = login("pk", "stranger", "guess", 2, STAMP);
    assert!(Mqtt::connect(server.mqtt, &Connect::new(stranger)).unwrap().is_err());
    assert_eq!(http.get("/api/v1/devices/pk/stranger").status, 404);

    // All of it is still there after a kill.
    server.kill();
    let server = start(dir.path());
    assert_eq!(server.http().sql("SELECT gearbox_temp, brake, label FROM auto"), [["61.25", "true", "x"]]);
    assert!(Mqtt::connect(server.mqtt, &Connect::new(newcomer)).unwrap().is_ok());
}

#[test]
fn what_a_model_does_not_define_is_kept_as_text_where_the_organization_asks_for_it() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    http.create_model(&turbine_model("mill"));
    http.create_product("pk", "mill");
    let device = http.create_device("pk", "dk");
    let mut mqtt = device.connect(&server);
    let message = |time_ms: i64| {
        let points = json!({"n": 1, "raw_reg_4011": "0x1F", "raw.flags": [1, 2], "level": 2.50});
        post_json(7, &points, time_ms)
    };
    let mut code =
        |time_ms: i64| mqtt.request(&device.topic("post"), &message(time_ms)).unwrap()["code"].clone();
    assert_ne!(code(BASE_MS), 200, "nobody asked for it");

    let wattline = |args: &[&str]| {
        let url = format!("http://{}", server.http);
        try_run_wattline(&[args, &["--server", &url]].concat(), &[])
            .unwrap_or_else(|output| panic!("{output}"))
    };
    assert!(wattline(&["policy", "unformatted", "--keep", "1y"]).contains("kept for 1y"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert_eq!(code(now), 200);
    assert_eq!(code(now + 1), 200, "the keys are known now");
    let rows = http.sql(&format!(
        "SELECT raw_reg_4011, \"raw.flags\", level FROM unformatted WHERE asset_id = '{}'",
        device.asset_id
    ));
    assert_eq!(rows, vec![vec!["0x1F", "[1,2]", "2.5"]; 2], "texts bare, all else as JSON");
    assert_eq!(http.sql_number("SELECT count(*) FROM mill"), 2.0, "defined points go where they went");

    wattline(&["policy", "unformatted", "--refuse"]);
    assert_ne!(code(now + 2), 200);
    assert_eq!(http.sql_number("SELECT count(*) FROM unformatted"), 2.0, "what was kept stays");
    let audit = http.get("/api/v1/audit").ok();
    assert_eq!(
        (&audit[0]["action"], &audit[1]["action"]),
        (&json!("refuse unformatted data"), &json!("keep unformatted data"))
    );
}
