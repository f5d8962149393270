use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;
use wattline_model::{DataType, EnumKind, Model, ModelId, PointId, SignalType};

use super::*;

pub(crate) struct Fixture {
    folder: TempDir,
    pub(crate) registry: Registry,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(&folder.path().join("registry.sqlite")).unwrap();
        Fixture { folder, registry }
    }

    /// With model `turbine` and product `pk1`.
    pub(crate) fn with_product() -> Fixture {
        let fixture = Fixture::new();
        fixture.registry.create_model(model("turbine", None, &[("wind_speed", DataType::Double)])).unwrap();
        fixture.registry.create_product(product("pk1", "turbine")).unwrap();
        fixture
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("registry.sqlite")
    }

    pub(crate) fn reopen(self) -> Fixture {
        let Fixture { folder, registry } = self;
        drop(registry);
        let registry = Registry::open(&folder.path().join("registry.sqlite")).unwrap();
        Fixture { folder, registry }
    }
}

pub(crate) fn model(key: &str, parent: Option<&str>, points: &[(&str, DataType)]) -> NewModel {
    NewModel {
        org: DEFAULT_ORG,
        key: key.to_owned(),
        name: String::new(),
        parent: parent.map(str::to_owned),
        points: points.iter().map(|&(key, data_type)| NewPoint::new(key, data_type)).collect(),
    }
}

pub(crate) fn product(key: &str, model_key: &str) -> NewProduct {
    NewProduct {
        org: DEFAULT_ORG,
        key: Some(key.to_owned()),
        name: String::new(),
        model_key: model_key.to_owned(),
        secret: None,
        dynamic_activation: false,
        require_certificate: false,
        gateway: false,
    }
}

pub(crate) fn device(product_key: &str, device_key: &str) -> NewDevice {
    NewDevice {
        product_key: product_key.to_owned(),
        device_key: Some(device_key.to_owned()),
        ..NewDevice::default()
    }
}

pub(crate) fn keys(model: &Model) -> Vec<&str> {
    model.points.iter().map(|p| p.key.as_str()).collect()
}

/// The error must be of this kind and its message must hold all these parts.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, parts: &[&str]) {
    let error = result.expect_err("must be refused");
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for part in parts {
        assert!(message.contains(part), "{message:?} does not tell {part:?}");
    }
}

/// Everything a registry holds, as text, secrets included.
fn contents(registry: &Registry) -> String {
    let mut all = String::new();
    for org in registry.orgs() {
        all += &format!("{org:?}\n");
    }
    for model in registry.models() {
        let name = registry.model_name(model.id).unwrap();
        all += &format!(
            "{} {} {} {} {} {} {:?}\n",
            model.id, model.org, model.key, name, model.path, model.version, model.points
        );
    }
    for product in registry.products() {
        all += &format!("{product:?} {}\n", product.secret.expose());
    }
    for device in registry.assets() {
        all += &format!("{device:?} {}\n", device.secret.expose());
    }
    all
}

#[test]
fn the_default_organization_always_exists() {
    let fixture = Fixture::new();
    assert_eq!(fixture.registry.org(DEFAULT_ORG).unwrap().key, "default");
    assert_eq!(fixture.registry.orgs().len(), 1);
}

#[test]
fn reopening_keeps_everything() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let org = registry.create_org(NewOrg { key: "north".into(), name: "Nördliche Werke".into() }).unwrap();
    let mut rich = NewPoint::new("state", DataType::Enum(EnumKind::Text));
    rich.enum_texts = vec!["run".into(), "halt".into()];
    rich.signal = SignalType::Di;
    let mut power = NewPoint::new("power", DataType::Float);
    power.unit = Some("kW".into());
    power.has_quality = true;
    power.signal = SignalType::Ai;
    power.name = "Wirkleistung".into();
    let mut code = NewPoint::new("code", DataType::Enum(EnumKind::Int));
    code.enum_ints = vec![7, -1];
    for key in ["root", "child"] {
        registry
            .create_model(NewModel {
                org: org.id,
                key: key.into(),
                name: format!("the {key}"),
                parent: (key == "child").then(|| "root".to_owned()),
                points: if key == "root" { vec![rich.clone(), power.clone()] } else { vec![code.clone()] },
            })
            .unwrap();
    }
    registry
        .create_product(NewProduct {
            org: org.id,
            secret: Some("s3cr3tProduct".into()),
            dynamic_activation: true,
            gateway: true,
            name: "Windräder".into(),
            ..product("pk", "child")
        })
        .unwrap();
    let made = registry
        .create_device(NewDevice {
            asset_key: Some("aQ1x9z".into()),
            name: "一号风机".into(),
            secret: Some("s3cr3tDemo".into()),
            timezone: "asia/shanghai".into(),
            tags: BTreeMap::from([("farm".into(), "A".into())]),
            attributes: BTreeMap::from([("hub_height".into(), serde_json::json!(90.5))]),
            ..device("pk", "wt-01")
        })
        .unwrap();
    assert_eq!(&*made.timezone, "Asia/Shanghai");
    let plain = registry.create_device(device("pk", "wt-02")).unwrap();
    registry.set_device_enabled(plain.asset, false, "ann", 1).unwrap();
    registry.activate(made.asset).unwrap();
    let late = NewPoint::new("late", DataType::Bool);
    registry.add_points(registry.model_by_key(org.id, "root").unwrap().id, vec![late]).unwrap();

    let before = contents(registry);
    let fixture = fixture.reopen();
    assert_eq!(contents(&fixture.registry), before);
    let again = fixture.registry.device("pk", "wt-01").unwrap();
    assert_eq!((again.active, again.enabled, again.secret.expose()), (true, true, "s3cr3tDemo"));
    assert_eq!(again.attributes["hub_height"], serde_json::json!(90.5));
    assert!(!fixture.registry.device("pk", "wt-02").unwrap().enabled);
    let child = fixture.registry.model_by_key(org.id, "child").unwrap();
    assert_eq!((child.path.as_str(), child.version), ("/root/child", 2));
    assert_eq!(keys(&child), ["state", "power", "code", "late"]);
}

#[test]
fn secrets_are_never_printed() {
    let fixture = Fixture::with_product();
    let new = NewDevice { secret: Some("hushhush".into()), ..device("pk1", "d") };
    assert!(!format!("{new:?}").contains("hush"));
    let made = fixture.registry.create_device(new).unwrap();
    let product = NewProduct { secret: Some("hushhush".into()), ..product("pk2", "turbine") };
    assert!(!format!("{product:?}").contains("hush"));
    let product = fixture.registry.create_product(product).unwrap();
    assert!(!format!("{made:?} {product:?} {:?}", fixture.registry).contains("hush"));
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::with_product();
    let mut files = 0;
    for entry in std::fs::read_dir(fixture.folder.path()).unwrap() {
        let entry = entry.unwrap();
        files += 1;
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
    assert!(files >= 2, "the log beside the file is looked at too");
    // A file somebody opened up is closed again.
    let file = fixture.file();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let fixture = fixture.reopen();
    assert_eq!(std::fs::metadata(fixture.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn time_zones() {
    for (text, name) in [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("UTC", "UTC"),
        ("+08:00", "+08:00"),
        ("-03:30", "-03:30"),
        ("+00:00", "+00:00"),
    ] {
        let zone = timezone(text).unwrap();
        assert_eq!(check::timezone_name(&zone, text), name);
    }
    // 2026-07-01T00:00:00Z, when Berlin has summer time.
    let instant = jiff::Timestamp::from_second(1_782_864_000).unwrap();
    let seconds = |text: &str| timezone(text).unwrap().to_offset(instant).seconds();
    assert_eq!((seconds("Europe/Berlin"), seconds("-03:30")), (7_200, -12_600));
    for text in
        ["", "Nowhere", "+8:00", "+08:60", "+0800", "+26:00", "08:00", "+aa:bb", "../etc/passwd", "+08:00 "]
    {
        refused(timezone(text), ErrorKind::Input, &["timezone"]);
    }
}

/// What the operations of the property test may do.
#[derive(Clone, Debug)]
enum Step {
    Model { key: u8, parent: Option<u8>, points: Vec<(u8, u8)> },
    Add { model: u8, points: Vec<(u8, u8)> },
    Device { key: u8 },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let points = || prop::collection::vec((0..8_u8, 0..3_u8), 0..4);
    let step = prop_oneof![
        3 => (0..6_u8, prop::option::of(0..6_u8), points())
            .prop_map(|(key, parent, points)| Step::Model { key, parent, points }),
        4 => (0..6_u8, points()).prop_map(|(model, points)| Step::Add { model, points }),
        2 => (0..6_u8).prop_map(|key| Step::Device { key }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..24)
}

fn decode_points(points: &[(u8, u8)]) -> Vec<NewPoint> {
    const TYPES: [DataType; 3] = [DataType::Double, DataType::Int, DataType::String];
    points.iter().map(|&(key, t)| NewPoint::new(format!("p{key}"), TYPES[usize::from(t)])).collect()
}

/// What must hold after any sequence of changes, whether they were accepted or not.
fn check_invariants(registry: &Registry, seen: &mut HashMap<(ModelId, PointId), (String, DataType)>) {
    let models = registry.models();
    for model in &models {
        for point in &model.points {
            let is = (point.key.clone(), point.data_type);
            let was = seen.entry((model.id, point.id)).or_insert_with(|| is.clone());
            assert_eq!(*was, is, "a point changed its meaning in {}", model.path);
        }
        if let Some((above, _)) = model.path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            let parent = models.iter().find(|m| m.path == above).expect("the parent is there");
            for point in &parent.points {
                let own = model.point_by_key(&point.key).expect("a child has every point of its parent");
                assert_eq!(own.data_type, point.data_type);
            }
        }
    }
    for (model, point) in seen.keys() {
        assert!(registry.model(*model).unwrap().point(*point).is_some(), "a point vanished");
    }
    for device in registry.assets() {
        let found = registry.device(&device.product_key, &device.device_key).unwrap();
        assert_eq!(
            (found.asset, registry.asset_by_key(&device.asset_key).unwrap().asset),
            (device.asset, device.asset)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_sequence_of_changes_keeps_the_rules(steps in steps()) {
        let mut fixture = Fixture::with_product();
        let mut seen = HashMap::new();
        for step in &steps {
            let registry = &fixture.registry;
            let kind = match step {
                Step::Model { key, parent, points } => {
                    let parent = parent.map(|p| format!("m{p}"));
                    let mut new = model(&format!("m{key}"), parent.as_deref(), &[]);
                    new.points = decode_points(points);
                    registry.create_model(new).map(drop)
                }
                Step::Add { model, points } => match registry.model_by_key(DEFAULT_ORG, &format!("m{model}")) {
                    Some(found) => registry.add_points(found.id, decode_points(points)).map(drop),
                    None => Ok(()),
                },
                Step::Device { key } => registry.ensure_device("pk1", &format!("d{key}")).map(drop),
                Step::Reopen => {
                    let before = contents(registry);
                    fixture = fixture.reopen();
                    prop_assert_eq!(contents(&fixture.registry), before);
                    Ok(())
                }
            };
            if let Err(error) = kind {
                let expected = [ErrorKind::Conflict, ErrorKind::Input, ErrorKind::NotFound];
                prop_assert!(expected.contains(&error.kind()), "{}", error);
            }
            check_invariants(&fixture.registry, &mut seen);
        }
        let before = contents(&fixture.registry);
        prop_assert_eq!(contents(&fixture.reopen().registry), before);
    }

    #[test]
    fn no_key_or_zone_panics(text in ".{0,40}") {
        let _ = check::identifier("item", "field", &text);
        let accepted = timezone(&text).is_ok();
        prop_assert!(!accepted || !text.contains(char::is_control));
        let fits = !text.is_empty()
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-:".contains(&c));
        prop_assert_eq!(check::device_key("item", "field", &text).is_ok(), fits);
    }
}

proptest! {
    // Each case opens six files.
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// A crash leaves the file and a log that ends anywhere. What was acknowledged when the log had a length is there
    /// whenever it has at least that length; what was not is there whole or not at all.
    #[test]
    fn a_crash_keeps_what_was_acknowledged(cuts in prop::collection::vec(0.0..1.0_f64, 6)) {
        let fixture = Fixture::with_product();
        let log = fixture.folder.path().join("registry.sqlite-wal");
        let length = || std::fs::metadata(&log).unwrap().len();
        let mut acknowledged = vec![(length(), 0)];
        for batch in 0..5_usize {
            let new = (0..=batch * 7).map(|i| device("pk1", &format!("d{batch}-{i}"))).collect();
            fixture.registry.create_devices(new).unwrap();
            acknowledged.push((length(), fixture.registry.device_count()));
        }
        for cut in cuts {
            // Not below the first length: the product must be there for its devices.
            let (first, last) = (acknowledged[0].0, length());
            let kept = first + ((last - first) as f64 * cut).round() as u64;
            let crashed = tempfile::tempdir().unwrap();
            let file = crashed.path().join("registry.sqlite");
            std::fs::copy(fixture.file(), &file).unwrap();
            std::fs::write(file.with_extension("sqlite-wal"), &std::fs::read(&log).unwrap()[..kept as usize]).unwrap();
            let recovered = Registry::open(&file).unwrap();
            let promised = acknowledged.iter().rfind(|(length, _)| *length <= kept).unwrap().1;
            prop_assert_eq!(recovered.device_count(), promised);
        }
    }
}

#[test]
fn every_change_that_was_committed_is_counted_and_no_other() {
    let registry = Fixture::with_product().registry;
    let before = (registry.changes(), registry.version());
    assert!(registry.create_product(product("pk1", "turbine")).is_err(), "the key is taken");
    registry.models();
    assert_eq!((registry.changes(), registry.version()), before);
    // A job is not held in memory, so lookups are as before; a copy would not be.
    let deletion = wattline_model::Deletion {
        target: wattline_model::DeletionTarget::History,
        model: ModelId(1),
        points: None,
        assets: None,
        range: wattline_model::TimeRange::ALL,
    };
    let job = registry.submit_deletion(deletion, "api", 100).unwrap();
    assert_eq!((registry.changes(), registry.version()), (before.0 + 1, before.1));
    registry.move_deletion(job.id, DeletionStatus::Running, None, 101).unwrap();
    registry.create_product(product("pk2", "turbine")).unwrap();
    assert_eq!((registry.changes(), registry.version()), (before.0 + 3, before.1 + 1));
}
