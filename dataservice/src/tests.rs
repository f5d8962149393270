//! The operations over a real store, on the plant of the specification's examples.

mod energy;
mod latest;
mod permission;
mod ranges;
mod states;

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use wattline_env::World;
use wattline_model::{
    BatchBuilder, Channel, DataType, Quality, SignalType, Source, StorageType, Thinning, Timestamp, ValueRef,
};
use wattline_registry::{
    DEFAULT_ORG, NewDevice, NewModel, NewOrg, NewPoint, NewProduct, Policy, PolicyGroup, PolicyPoint,
    Registry,
};
use wattline_storage::{Settings, Store};

use crate::{Call, Caller, DataService, Operation, Params, Version};

/// 2024-03-05 08:00:00 at +08:00, milliseconds: the specification's time.
const T: i64 = 1_709_596_800_000;

/// 2024-03-05 08:46:00 at +08:00, microseconds.
const NOW: i64 = (T + 46 * 60_000) * 1_000;

struct Plant {
    registry: Registry,
    store: Store,
    service: DataService,
    _dir: TempDir,
}

fn millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

impl Plant {
    /// Turbines `aX7pQ2Lm` and `bK3dR9Tz` at +08:00, a meter `mT5wE8Yc` there and `berlin` in Europe/Berlin, and
    /// `elsewhere` of organization `o2`.
    fn new() -> Plant {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry")).unwrap();
        std::fs::create_dir(dir.path().join("store")).unwrap();
        let store = Store::open(&dir.path().join("store"), Settings::default(), World::real()).unwrap();
        let other = registry.create_org(NewOrg { key: "o2".into(), name: String::new() }).unwrap();
        for org in [DEFAULT_ORG, other.id] {
            let suffix = if org == DEFAULT_ORG { "" } else { "2" };
            let model = NewModel {
                org,
                key: "TurbineModel".into(),
                name: String::new(),
                parent: None,
                points: points(),
            };
            registry.create_model(model).unwrap();
            let product = NewProduct {
                org,
                key: Some(format!("pk{suffix}")),
                name: "turbines".into(),
                model_key: "TurbineModel".into(),
                secret: None,
                dynamic_activation: false,
                require_certificate: false,
                gateway: false,
            };
            registry.create_product(product).unwrap();
        }
        for (product, asset, zone) in [
            ("pk", "aX7pQ2Lm", "+08:00"),
            ("pk", "bK3dR9Tz", "Asia/Shanghai"),
            ("pk", "mT5wE8Yc", "Asia/Shanghai"),
            ("pk", "berlin", "Europe/Berlin"),
            ("pk2", "elsewhere", "UTC"),
        ] {
            let device = NewDevice {
                product_key: product.into(),
                device_key: Some(asset.into()),
                asset_key: Some(asset.into()),
                timezone: zone.into(),
                ..NewDevice::default()
            };
            registry.create_device(device).unwrap();
        }
        let service = DataService::new(registry.clone(), store.clone(), false);
        Plant { registry, store, service, _dir: dir }
    }

    /// Puts the model under a policy group that keeps these points so.
    fn rule(&self, policies: &[(StorageType, &str)]) {
        let model = self.registry.model_by_key(DEFAULT_ORG, "TurbineModel").unwrap();
        let policy = |&(storage, point): &(StorageType, &str)| Policy {
            id: String::new(),
            storage,
            retention: None,
            modifiable: true,
            points: vec![PolicyPoint {
                model: model.id,
                point: model.point_by_key(point).unwrap().id,
                thinning: Thinning::default(),
            }],
        };
        let group = PolicyGroup {
            org: DEFAULT_ORG,
            name: "g".into(),
            models: vec![model.id],
            policies: policies.iter().map(policy).collect(),
        };
        self.registry.save_policy_group(group, "test", 0).unwrap();
        self.store.rule(Arc::new(self.registry.policies(false))).unwrap();
    }

    /// Writes samples of one point, milliseconds and values.
    fn write<'a>(&self, asset: &str, point: &str, samples: impl IntoIterator<Item = (i64, ValueRef<'a>)>) {
        let samples = samples.into_iter().map(|(ms, value)| (ms, value, None));
        self.write_with_quality(asset, point, samples);
    }

    fn write_with_quality<'a>(
        &self,
        asset: &str,
        point: &str,
        samples: impl IntoIterator<Item = (i64, ValueRef<'a>, Option<u8>)>,
    ) {
        let device = self.registry.asset_by_key(asset).unwrap();
        let model = self.registry.model(device.model).unwrap();
        let point = model.point_by_key(point).unwrap().id;
        for (ms, value, quality) in samples {
            let mut rows = BatchBuilder::new(self.store.shards(), Source::Client);
            rows.begin_row(model.id, device.asset, Channel::default());
            assert!(rows.cell(point, value, quality.and_then(Quality::new)));
            rows.end_row(Timestamp(ms * 1_000));
            self.store.write_blocking(rows.finish()).unwrap();
        }
    }

    fn floats(&self, asset: &str, point: &str, samples: &[(i64, f64)]) {
        self.write(asset, point, samples.iter().map(|&(ms, v)| (ms, ValueRef::Float(v))));
    }

    fn ints(&self, asset: &str, point: &str, samples: &[(i64, i64)]) {
        self.write(asset, point, samples.iter().map(|&(ms, v)| (ms, ValueRef::Int(v))));
    }

    /// The whole answer in v2.1, refused or not.
    fn ask(&self, operation: Operation, body: Json) -> Json {
        self.ask_as(Caller::Operator, "default", operation, &body)
    }

    fn ask_as(&self, caller: Caller, org: &str, operation: Operation, body: &Json) -> Json {
        let query = [("orgId".to_owned(), org.to_owned())];
        let params = Params::from_json(Version::V21, query, body.to_string().as_bytes());
        let call = Call { caller, now_micros: NOW, stopped: &|| false };
        let answer = params.and_then(|params| self.service.read(operation, &params, &call));
        let answer = answer.unwrap_or_else(|error| error.body(Version::V21));
        serde_json::from_slice(&answer)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&answer)))
    }

    /// The items of an answer that must be good.
    #[track_caller]
    fn items(&self, operation: Operation, body: Json) -> Json {
        let answer = self.ask(operation, body);
        assert_eq!((&answer["code"], &answer["msg"]), (&json!(0), &json!("OK")), "{answer}");
        answer["data"]["items"].clone()
    }

    /// The whole answer in v2.0.
    fn ask_v20(&self, operation: Operation, pairs: &[(&str, &str)]) -> Json {
        let pairs = pairs.iter().map(|&(n, t)| (n.to_owned(), t.to_owned()));
        let params = Params::from_pairs(Version::V20, pairs);
        let call = Call { caller: Caller::Operator, now_micros: NOW, stopped: &|| false };
        let answer = self.service.read(operation, &params, &call);
        serde_json::from_slice(&answer.unwrap_or_else(|error| error.body(Version::V20))).unwrap()
    }

    /// Why v2.1 refuses.
    #[track_caller]
    fn refused(&self, operation: Operation, body: Json) -> String {
        let answer = self.ask(operation, body.clone());
        assert_eq!(answer["code"], 80_400, "{body}: {answer}");
        assert_eq!((&answer["msg"], &answer["data"]), (&json!("Invalid param error"), &Json::Null));
        answer["submsg"].as_str().unwrap().to_owned()
    }
}

fn points() -> Vec<NewPoint> {
    let point = |key: &str, data_type, signal| NewPoint { signal, ..NewPoint::new(key, data_type) };
    vec![
        NewPoint { has_quality: true, ..point("wind_speed", DataType::Double, SignalType::Ai) },
        point("power", DataType::Double, SignalType::Ai),
        point("rotor", DataType::Int, SignalType::Ai),
        point("run_state", DataType::Int, SignalType::Di),
        point("energy_delta", DataType::Double, SignalType::Pi),
        point("alarm_text", DataType::String, SignalType::Generic),
        point("flag", DataType::Bool, SignalType::Generic),
    ]
}

/// `body` with these members, too.
fn with(mut body: Json, members: Json) -> Json {
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}
