//! A registry and a store with hand-made data. The scripts' answers are worked out from the rows below.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use tempfile::TempDir;
use wattline_env::World;
use wattline_model::{
    BatchBuilder, Channel, DataType, EnumKind, OrgId, PointId, Quality, SignalType, Source, Timestamp,
    ValueRef,
};
use wattline_query::{Answer, Caller, Engine, Error, QuerySettings, ScalarValue, SendableRecordBatchStream};
use wattline_registry::{DEFAULT_ORG, NewDevice, NewModel, NewOrg, NewPoint, NewProduct, Registry};
use wattline_storage::{Settings, Store};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000_000;
/// Who may do everything.
pub(crate) const OPERATOR: Caller = Caller { account: None, wire: "test", origin: None };
/// A minute in microseconds.
pub(crate) const MINUTE: i64 = 60_000_000;

/// A store with its registry and an engine over both.
pub(crate) struct Fixture {
    pub(crate) engine: Engine,
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    dir: TempDir,
}

/// One value of a row: point, value, quality.
pub(crate) type Cell<'a> = (&'a str, ValueRef<'a>, Option<u8>);

impl Fixture {
    /// An empty registry and store of two shards.
    pub(crate) fn empty() -> Fixture {
        let dir = TempDir::new().unwrap();
        let (registry, store) = open(dir.path());
        Fixture { engine: engine(&registry, &store, QuerySettings::default()), registry, store, dir }
    }

    /// The data that the scripts ask for.
    pub(crate) fn of_scripts() -> Fixture {
        let fixture = Fixture::empty();
        create_things(&fixture.registry);
        fixture.write_turbines();
        fixture.write_kinds();
        fixture.write_meters();
        fixture
    }

    /// Closes everything and opens it again, as a restart does.
    pub(crate) fn reopen(self) -> Fixture {
        let Fixture { engine: before, registry, store, dir } = self;
        drop(before);
        store.close().unwrap();
        drop((registry, store));
        let (registry, store) = open(dir.path());
        Fixture { engine: engine(&registry, &store, QuerySettings::default()), registry, store, dir }
    }

    /// Another engine over the same data.
    pub(crate) fn engine_with(&self, settings: QuerySettings) -> Engine {
        engine(&self.registry, &self.store, settings)
    }

    /// Writes rows of `model` as one batch a shard: asset, time, cells.
    pub(crate) fn write(&self, model: &str, rows: &[(&str, i64, &[Cell<'_>])]) {
        self.write_in(DEFAULT_ORG, model, rows);
    }

    fn write_in(&self, org: OrgId, model: &str, rows: &[(&str, i64, &[Cell<'_>])]) {
        let model = self.registry.model_by_key(org, model).unwrap();
        let mut batches = BatchBuilder::new(self.store.shards(), Source::Client);
        for (asset, time, cells) in rows {
            let device = self.registry.asset_by_key(asset).unwrap();
            batches.begin_row(model.id, device.asset, Channel::RealTime);
            for (point, value, quality) in *cells {
                let point: PointId = model.point_by_key(point).unwrap().id;
                let quality = quality.map(|q| Quality::new(q).unwrap());
                assert!(batches.cell(point, *value, quality));
            }
            batches.end_row(Timestamp(*time));
        }
        self.store.write_blocking(batches.finish()).unwrap();
    }

    /// Asset | minute | windSpeed (quality) | activePower | status | running | note:
    /// ```text
    /// T1  0  5.0      100
    /// T1 10  6.0 (1)  150         (first written as 9.9, then again; the later write wins)
    /// T1 20           200
    /// T1 30  7.5
    /// T2  0  4.0       80   true  (running)
    /// T2 10                    3  (status)
    /// T2 20                       'gust' (note)
    /// ```
    /// T3 never sends. T2 was created before T1, so the order of numbers is not the order of texts.
    fn write_turbines(&self) {
        use ValueRef::{Bool, Float, Int, Text};
        let at = |minutes: i64| START + minutes * MINUTE;
        let wind = |v: f64, q: Option<u8>| ("windSpeed", Float(v), q);
        let power = |v: f64| ("activePower", Float(v), None);
        self.write(
            "turbine",
            &[
                ("T1", at(0), &[wind(5.0, None), power(100.0)]),
                ("T1", at(10), &[wind(9.9, None), power(150.0)]),
                ("T2", at(0), &[wind(4.0, None), power(80.0), ("running", Bool(true), None)]),
            ],
        );
        self.write(
            "turbine",
            &[
                ("T1", at(30), &[wind(7.5, None)]),
                ("T2", at(20), &[("note", Text("gust"), None)]),
                ("T1", at(10), &[wind(6.0, Some(1))]),
                ("T1", at(20), &[power(200.0)]),
                ("T2", at(10), &[("status", Int(3), None)]),
            ],
        );
    }

    /// The same rows once more: changes nothing that SQL can see.
    pub(crate) fn write_turbines_again(&self) {
        self.write_turbines();
    }

    /// K1 at minute 0 with a value of every type, at minute 1 with only `i`.
    fn write_kinds(&self) {
        use ValueRef::{Bool, Float, Int, Text};
        self.write(
            "kinds",
            &[
                (
                    "K1",
                    START,
                    &[
                        ("i", Int(-7), None),
                        ("l", Int(9_007_199_254_740_993), None),
                        ("f", Float(f64::from(0.1_f32)), None),
                        ("d", Float(0.1), None),
                        ("b", Bool(false), None),
                        ("s", Text("größe, länger als zwölf"), None),
                        ("ei", Int(2), None),
                        ("et", Text("on"), None),
                        ("dt", Int(1_772_368_496_000_000), None), // 2026-03-01 12:34:56
                        ("ts", Int(1_772_368_496_789_000), None), // 2026-03-01T12:34:56.789Z
                        ("a", Text("[1,2]"), None),
                        ("st", Text("{\"x\":1}"), None),
                        ("fi", Text("file:///x"), None),
                    ],
                ),
                ("K1", START + MINUTE, &[("i", Int(8), None)]),
            ],
        );
    }

    /// `meter` of the default organization: M1 counts 0, 1, …, 99 kWh, one a minute. `meter` of acme: A1 once.
    fn write_meters(&self) {
        for minute in 0..100 {
            let energy = ValueRef::Float(minute as f64);
            self.write("meter", &[("M1", START + minute * MINUTE, &[("energy", energy, None)])]);
        }
        let acme = self.registry.org_by_key("acme").unwrap().id;
        self.write_in(acme, "meter", &[("A1", START, &[("volume", ValueRef::Float(2.5), None)])]);
    }
}

fn open(dir: &Path) -> (Registry, Store) {
    let registry = Registry::open(&dir.join("registry.db")).unwrap();
    let settings = Settings { shards: 2, ..Settings::default() };
    let store = Store::open(&dir.join("store"), settings, World::real()).unwrap();
    (registry, store)
}

fn engine(registry: &Registry, store: &Store, settings: QuerySettings) -> Engine {
    Engine::new(registry.clone(), store.clone(), settings).unwrap()
}

fn create_things(registry: &Registry) {
    let wind = NewPoint {
        has_quality: true,
        signal: SignalType::Ai,
        unit: Some("m/s".to_owned()),
        ..NewPoint::new("windSpeed", DataType::Double)
    };
    let power = NewPoint { unit: Some("kW".to_owned()), ..NewPoint::new("activePower", DataType::Double) };
    let status = NewPoint::new("status", DataType::Int);
    let running = NewPoint::new("running", DataType::Bool);
    let note = NewPoint::new("note", DataType::String);
    create_model(registry, DEFAULT_ORG, "turbine", vec![wind, power, status, running, note]);
    let kinds = [
        ("i", DataType::Int),
        ("l", DataType::Long),
        ("f", DataType::Float),
        ("d", DataType::Double),
        ("b", DataType::Bool),
        ("s", DataType::String),
        ("ei", DataType::Enum(EnumKind::Int)),
        ("et", DataType::Enum(EnumKind::Text)),
        ("dt", DataType::Date),
        ("ts", DataType::Timestamp),
        ("a", DataType::Array),
        ("st", DataType::Struct),
        ("fi", DataType::File),
    ];
    let kinds = kinds.map(|(key, data_type)| NewPoint::new(key, data_type)).to_vec();
    create_model(registry, DEFAULT_ORG, "kinds", kinds);
    create_model(registry, DEFAULT_ORG, "meter", vec![NewPoint::new("energy", DataType::Double)]);
    create_model(registry, DEFAULT_ORG, "spare", vec![NewPoint::new("x", DataType::Double)]);
    let acme = registry.create_org(NewOrg { key: "acme".to_owned(), name: String::new() }).unwrap().id;
    create_model(registry, acme, "meter", vec![NewPoint::new("volume", DataType::Double)]);

    create_product(registry, DEFAULT_ORG, "pTurbine", "turbine");
    create_product(registry, DEFAULT_ORG, "pKinds", "kinds");
    create_product(registry, DEFAULT_ORG, "pMeter", "meter");
    create_product(registry, acme, "pAcme", "meter");
    create_device(registry, "pTurbine", "T2", "Second", "north");
    create_device(registry, "pTurbine", "T1", "First", "south");
    create_device(registry, "pTurbine", "T3", "Silent", "north");
    create_device(registry, "pKinds", "K1", "Kinds", "lab");
    create_device(registry, "pMeter", "M1", "Meter", "south");
    create_device(registry, "pAcme", "A1", "Acme", "acme");
}

/// Creates a model.
pub(crate) fn create_model(registry: &Registry, org: OrgId, key: &str, points: Vec<NewPoint>) {
    let new = NewModel { org, key: key.to_owned(), name: key.to_owned(), parent: None, points };
    registry.create_model(new).unwrap();
}

/// Creates a product.
pub(crate) fn create_product(registry: &Registry, org: OrgId, key: &str, model: &str) {
    let new = NewProduct {
        org,
        key: Some(key.to_owned()),
        name: key.to_owned(),
        model_key: model.to_owned(),
        secret: None,
        dynamic_activation: false,
        require_certificate: false,
        gateway: false,
    };
    registry.create_product(new).unwrap();
}

/// Creates a device whose asset id and device key are `key`.
pub(crate) fn create_device(registry: &Registry, product: &str, key: &str, name: &str, site: &str) {
    let new = NewDevice {
        product_key: product.to_owned(),
        device_key: Some(format!("d{key}")),
        asset_key: Some(key.to_owned()),
        name: name.to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        tags: BTreeMap::from([("site".to_owned(), site.to_owned())]),
        ..NewDevice::default()
    };
    registry.create_device(new).unwrap();
}

/// All rows of a statement as text, `NULL` for null.
pub(crate) async fn rows(engine: &Engine, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    rows_with(engine, sql, Vec::new()).await
}

/// The same with parameters.
pub(crate) async fn rows_with(
    engine: &Engine,
    sql: &str,
    params: Vec<ScalarValue>,
) -> Result<Vec<Vec<String>>, Error> {
    texts_of(engine.sql(sql, params).await?).await
}

/// The same for a caller.
pub(crate) async fn rows_for(engine: &Engine, caller: &Caller, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    match engine.run(caller, sql, Vec::new()).await? {
        Answer::Rows(stream) => texts_of(stream).await,
        Answer::Changed { .. } => Ok(Vec::new()),
    }
}

async fn texts_of(stream: SendableRecordBatchStream) -> Result<Vec<Vec<String>>, Error> {
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(Error::from)?;
    let mut rows = Vec::new();
    for batch in &batches {
        let options = FormatOptions::default().with_null("NULL");
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| c.value(row).to_string()).collect());
        }
    }
    Ok(rows)
}
