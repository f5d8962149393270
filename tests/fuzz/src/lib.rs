//! What the targets of the intake share: a plant with a point of each data type, in files that go with the process.

use std::sync::{Arc, OnceLock};

use tempfile::TempDir;
use wattline_env::World;
use wattline_ingest::{IngestSettings, Ingestor};
use wattline_model::{DataType, EnumKind, Model, SignalType};
use wattline_registry::{DEFAULT_ORG, Device, NewDevice, NewModel, NewPoint, NewProduct, Registry};
use wattline_storage::{Settings, Store};

/// One model, one gateway and one device below it.
pub struct Plant {
    /// Who exists.
    pub registry: Registry,
    /// The way in.
    pub ingestor: Ingestor,
    /// The model `plant`.
    pub model: Arc<Model>,
    /// The gateway `gate`.
    pub gateway: Arc<Device>,
    _dir: TempDir,
}

/// The plant of this process.
pub fn plant() -> &'static Plant {
    static PLANT: OnceLock<Plant> = OnceLock::new();
    PLANT.get_or_init(build)
}

fn build() -> Plant {
    let dir = tempfile::tempdir().expect("a folder");
    let registry = Registry::open(&dir.path().join("registry.db")).expect("a registry");
    let types = [
        ("d", DataType::Double),
        ("f", DataType::Float),
        ("i", DataType::Int),
        ("l", DataType::Long),
        ("b", DataType::Bool),
        ("s", DataType::String),
        ("e", DataType::Enum(EnumKind::Int)),
        ("t", DataType::Enum(EnumKind::Text)),
        ("day", DataType::Date),
        ("at", DataType::Timestamp),
        ("a", DataType::Array),
        ("o", DataType::Struct),
    ];
    let point = |(key, data_type)| NewPoint {
        signal: SignalType::Generic,
        has_quality: matches!(data_type, DataType::Double | DataType::Int),
        ..NewPoint::new(key, data_type)
    };
    let points = types.map(point).into();
    let (key, name) = ("plant".to_owned(), String::new());
    let model = registry.create_model(NewModel { org: DEFAULT_ORG, key, name, parent: None, points });
    let model = model.expect("a model");
    let product = NewProduct {
        org: DEFAULT_ORG,
        key: Some("pk".into()),
        name: "pk".into(),
        model_key: "plant".into(),
        secret: None,
        dynamic_activation: false,
        require_certificate: false,
        gateway: true,
    };
    registry.create_product(product).expect("a product");
    for key in ["gate", "sub"] {
        let (product_key, device_key) = ("pk".into(), Some(key.into()));
        let device = NewDevice { product_key, device_key, asset_key: Some(key.into()), ..NewDevice::default() };
        registry.create_device(device).expect("a device");
    }
    let store = Store::open(&dir.path().join("store"), Settings::default(), World::real()).expect("a store");
    let ingestor = Ingestor::new(registry.clone(), store, IngestSettings::default());
    let gateway = registry.device("pk", "gate").expect("the gateway");
    Plant { registry, ingestor, model, gateway, _dir: dir }
}
