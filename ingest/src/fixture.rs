//! Entities the tests of this crate share.

use std::sync::Arc;

use tempfile::TempDir;
use wattline_model::{Batch, BatchBuilder, DataType, EnumKind, Model, ShardCount, Source, Timestamp, Value};
use wattline_registry::{DEFAULT_ORG, Device, NewDevice, NewModel, NewOrg, NewPoint, NewProduct, Registry};

use crate::check::time_max;
use crate::decode::enos::{Context, Outcome, Upload, decode};
use crate::limits::FUTURE_LIMIT_MICROS;
use crate::resolve::{KeyOrder, SubDevices};

/// The server's time in tests: 2026-01-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// A registry with a turbine (`pkT`/`dkT`), a gateway (`pkG`/`dkG`), sub-devices `dkS1` and `dkS2` of product `pkS`,
/// and a device `dkX` of product `pkX` in another organization.
pub(crate) struct Plant {
    pub(crate) registry: Registry,
    _dir: TempDir,
}

fn point(key: &str, data_type: DataType) -> NewPoint {
    NewPoint::new(key, data_type)
}

pub(crate) fn points() -> Vec<NewPoint> {
    let quality = |key, data_type| NewPoint { has_quality: true, ..point(key, data_type) };
    vec![
        quality("ActPower", DataType::Double),
        point("Temp", DataType::Double),
        point("Speed", DataType::Float),
        point("Count", DataType::Int),
        point("Total", DataType::Long),
        point("On", DataType::Bool),
        point("Label", DataType::String),
        NewPoint { enum_ints: vec![1, 2, 3], ..point("State", DataType::Enum(EnumKind::Int)) },
        NewPoint {
            enum_texts: vec!["a".into(), "b".into()],
            ..point("Mode", DataType::Enum(EnumKind::Text))
        },
        point("Day", DataType::Date),
        point("At", DataType::Timestamp),
        point("BranchCur", DataType::Array),
        point("Pos", DataType::Struct),
        quality("Flow", DataType::Float),
    ]
}

impl Plant {
    pub(crate) fn new() -> Plant {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry.db")).unwrap();
        let other = registry.create_org(NewOrg { key: "other".into(), name: "Other".into() }).unwrap();
        for (org, suffix) in [(DEFAULT_ORG, ""), (other.id, "Other")] {
            let key = format!("Turbine{suffix}");
            let model = NewModel { org, name: key.clone(), key, parent: None, points: points() };
            registry.create_model(model).unwrap();
        }
        for (org, key, model, gateway) in [
            (DEFAULT_ORG, "pkT", "Turbine", false),
            (DEFAULT_ORG, "pkG", "Turbine", true),
            (DEFAULT_ORG, "pkS", "Turbine", false),
            (other.id, "pkX", "TurbineOther", true),
        ] {
            let product = NewProduct {
                org,
                key: Some(key.into()),
                name: key.into(),
                model_key: model.into(),
                secret: Some("productSecret".into()),
                dynamic_activation: false,
                require_certificate: false,
                gateway,
            };
            registry.create_product(product).unwrap();
        }
        for (product, device) in
            [("pkT", "dkT"), ("pkG", "dkG"), ("pkS", "dkS1"), ("pkS", "dkS2"), ("pkX", "dkX")]
        {
            let new = NewDevice {
                product_key: product.into(),
                device_key: Some(device.into()),
                secret: Some("s3cr3tDemo".into()),
                ..NewDevice::default()
            };
            registry.create_device(new).unwrap();
        }
        Plant { registry, _dir: dir }
    }

    pub(crate) fn device(&self, product: &str, device: &str) -> Arc<Device> {
        self.registry.device(product, device).unwrap()
    }

    pub(crate) fn model(&self) -> Arc<Model> {
        self.registry.model_by_key(DEFAULT_ORG, "Turbine").unwrap()
    }
}

/// A publisher and everything a decoder keeps for it.
pub(crate) struct Publisher<'a> {
    pub(crate) plant: &'a Plant,
    pub(crate) device: Arc<Device>,
    pub(crate) online: SubDevices,
    pub(crate) collect_missing: bool,
    pub(crate) rows: BatchBuilder,
    order: KeyOrder,
    scratch: String,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(plant: &'a Plant, product: &str, device: &str) -> Publisher<'a> {
        Publisher {
            plant,
            device: plant.device(product, device),
            online: SubDevices::default(),
            collect_missing: false,
            rows: BatchBuilder::new(ShardCount::new(1).unwrap(), Source::Client),
            order: KeyOrder::default(),
            scratch: String::new(),
        }
    }

    pub(crate) fn send<'p>(&mut self, upload: Upload, payload: &'p [u8]) -> Outcome<'p> {
        let registry = &self.plant.registry;
        let model = registry.model(self.device.model).unwrap();
        let mut context = Context {
            registry,
            device: &self.device,
            model: &model,
            gateway: registry.product(&self.device.product_key).unwrap().gateway,
            sub_devices: &self.online,
            now: NOW,
            time_max: time_max(NOW, FUTURE_LIMIT_MICROS),
            collect_missing: self.collect_missing,
            collect_unformatted: true,
            order: &mut self.order,
            scratch: &mut self.scratch,
        };
        decode(&mut context, upload, payload, &mut self.rows)
    }

    /// Everything accepted, as `device.point@ms=value#quality`, sorted.
    pub(crate) fn samples(self) -> Vec<String> {
        let plant = self.plant;
        samples(&plant.registry, &self.rows.finish())
    }
}

/// Samples as `device.point@ms=value#quality`, sorted; the quality only where the column has one.
pub(crate) fn samples(registry: &Registry, batches: &[Batch]) -> Vec<String> {
    let mut all = Vec::new();
    for batch in batches {
        batch.check().unwrap();
        let model = registry.model(batch.model).unwrap();
        for column in &batch.columns {
            let key = &model.point(column.point).unwrap().key;
            for i in 0..column.values.len() {
                let row = match &column.rows {
                    wattline_model::Rows::All => i,
                    wattline_model::Rows::Some(rows) => rows[i] as usize,
                };
                let device = registry.asset(batch.assets[row]).unwrap();
                let value = match column.values.get(i).to_owned() {
                    Value::Float(v) => format!("{v:?}"),
                    Value::Int(v) => v.to_string(),
                    Value::Bool(v) => v.to_string(),
                    Value::Text(v) => v,
                };
                let quality = column.quality.as_ref().map_or(String::new(), |q| format!("#{}", q[i].code()));
                let ms = batch.times[row].millis();
                all.push(format!("{}.{key}@{ms}={value}{quality}", device.device_key));
            }
        }
    }
    all.sort();
    all
}
