//! What a statement may cost, and that one that costs more ends with an error and leaves nothing behind.

use std::time::{Duration, Instant};

use futures::StreamExt;
use wattline_model::{DataType, ValueRef};
use wattline_query::{
    CHAIN_OPERATORS_MAX, COMBINED_QUERIES_MAX, Engine, ErrorKind, QuerySettings, STATEMENT_BYTES_MAX,
};
use wattline_registry::{DEFAULT_ORG, NewPoint};

use crate::fixture::{Fixture, MINUTE, START, create_device, create_model, create_product, rows};

/// A runtime whose threads have the stack a server's have, so that a too deep recursion is found here.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(2 << 20)
        .enable_all()
        .build()
        .unwrap()
}

/// Runs on a worker thread, not on the test's own.
pub(crate) fn ask(engine: &Engine, sql: String) -> Result<Vec<Vec<String>>, wattline_query::Error> {
    let engine = engine.clone();
    let runtime = runtime();
    runtime.block_on(runtime.spawn(async move { rows(&engine, &sql).await })).unwrap()
}

#[test]
fn deep_statements_end_in_an_error_and_long_ones_in_an_answer() {
    let fixture = Fixture::of_scripts();
    let engine = &fixture.engine;

    let nested = |n: usize| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(ask(engine, nested(20)).unwrap(), [["1"]]);
    assert_eq!(ask(engine, nested(10_000)).unwrap_err().kind(), ErrorKind::Input);
    let calls = format!("SELECT {}1{}", "abs(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(ask(engine, calls).unwrap_err().kind(), ErrorKind::Input);
    let selects = format!("{}SELECT 1{}", "SELECT * FROM (".repeat(5_000), ")".repeat(5_000));
    assert_eq!(ask(engine, selects).unwrap_err().kind(), ErrorKind::Limit);

    let list: Vec<String> = (0..10_000).map(|i| format!("'A{i}'")).collect();
    let in_list = format!("SELECT count(*) FROM turbine WHERE asset_id IN ({}, 'T1')", list.join(", "));
    assert_eq!(ask(engine, in_list).unwrap(), [["4"]]);
    let numbers: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
    let in_list = format!("SELECT count(*) FROM turbine WHERE status IN ({})", numbers.join(", "));
    assert_eq!(ask(engine, in_list).unwrap(), [["1"]]);

    let ors = |n: usize| {
        let terms: Vec<String> = (0..n).map(|i| format!("asset_id LIKE 'X{i}%'")).collect();
        format!("SELECT count(*) FROM turbine WHERE asset_id LIKE 'T1%' OR {}", terms.join(" OR "))
    };
    assert_eq!(ask(engine, ors(CHAIN_OPERATORS_MAX / 2 - 2)).unwrap(), [["4"]]);
    assert_eq!(ask(engine, ors(10_000)).unwrap_err().kind(), ErrorKind::Limit);
    let sums = |n: usize| format!("SELECT max(windSpeed{}) FROM turbine", " + windSpeed".repeat(n));
    assert_eq!(ask(engine, sums(CHAIN_OPERATORS_MAX)).unwrap(), [[format!("{:.1}", 7.5 * 501.0)]]);
    assert_eq!(ask(engine, sums(CHAIN_OPERATORS_MAX + 1)).unwrap_err().kind(), ErrorKind::Limit);
    let nots = |n: usize| format!("SELECT {}true", "NOT ".repeat(n));
    assert_eq!(ask(engine, nots(10_000)).unwrap_err().kind(), ErrorKind::Limit);

    let unions = |n: usize| format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n));
    assert_eq!(ask(engine, unions(COMBINED_QUERIES_MAX)).unwrap().len(), COMBINED_QUERIES_MAX + 1);
    assert_eq!(ask(engine, unions(10_000)).unwrap_err().kind(), ErrorKind::Limit);

    let named = |n: usize| {
        let named: Vec<String> =
            (0..n).map(|i| format!("q{} AS (SELECT p + 1 AS p FROM q{i})", i + 1)).collect();
        format!("WITH q0 AS (SELECT 0 AS p), {} SELECT p FROM q{n}", named.join(", "))
    };
    assert_eq!(
        ask(engine, named(COMBINED_QUERIES_MAX - 1)).unwrap(),
        [[(COMBINED_QUERIES_MAX - 1).to_string()]]
    );
    assert_eq!(ask(engine, named(10_000)).unwrap_err().kind(), ErrorKind::Limit);

    let doubling = |n: usize| {
        let named: Vec<String> = (0..n)
            .map(|i| format!("q{} AS (SELECT a.p FROM q{i} a JOIN q{i} b ON a.p = b.p)", i + 1))
            .collect();
        format!("WITH q0 AS (SELECT 7 AS p), {} SELECT p FROM q{n}", named.join(", "))
    };
    assert_eq!(ask(engine, doubling(3)).unwrap(), [["7"]]);
    assert_eq!(ask(engine, doubling(30)).unwrap_err().kind(), ErrorKind::Limit);
    let counting =
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT max(i) FROM n";
    assert_eq!(ask(engine, counting.to_owned()).unwrap(), [["5"]]);

    let long = format!("SELECT '{}'", "x".repeat(STATEMENT_BYTES_MAX));
    assert_eq!(ask(engine, long).unwrap_err().kind(), ErrorKind::Limit);
}

/// 200,000 rows: enough that a statement over them is still at work when it is stopped.
pub(crate) fn many_rows() -> Fixture {
    let fixture = Fixture::empty();
    create_model(&fixture.registry, DEFAULT_ORG, "m", vec![NewPoint::new("p", DataType::Double)]);
    create_product(&fixture.registry, DEFAULT_ORG, "pm", "m");
    for asset in 0..10 {
        let key = format!("a{asset}");
        create_device(&fixture.registry, "pm", &key, &key, "x");
        let cells: Vec<_> = (0..20_000).map(|i| [("p", ValueRef::Float(f64::from(i)), None)]).collect();
        let rows: Vec<_> = cells
            .iter()
            .enumerate()
            .map(|(i, cell)| (key.as_str(), START + i as i64 * MINUTE, &cell[..]))
            .collect();
        fixture.write("m", &rows);
    }
    fixture
}

#[test]
fn limits_on_rows_memory_and_time() {
    let fixture = many_rows();
    let with = |settings| fixture.engine_with(settings);

    let few = with(QuerySettings { rows_max: Some(1_000), ..QuerySettings::default() });
    assert_eq!(ask(&few, "SELECT * FROM m LIMIT 1000".to_owned()).unwrap().len(), 1_000);
    let error = ask(&few, "SELECT * FROM m".to_owned()).unwrap_err();
    let message = "the answer has more than 1000 rows (setting sql.rows_max)";
    assert_eq!((error.kind(), error.message()), (ErrorKind::Limit, message));

    let small = with(QuerySettings { memory_bytes: 1 << 20, ..QuerySettings::default() });
    let sort = "SELECT * FROM m ORDER BY p, asset_id, time".to_owned();
    let error = ask(&small, sort.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(
        error.message().contains("memory_budget") && error.message().contains("sql.spill_max"),
        "{error}"
    );
    assert_eq!(ask(&fixture.engine, sort).unwrap().len(), 200_000);

    let hasty = with(QuerySettings { timeout: Some(Duration::from_millis(300)), ..QuerySettings::default() });
    let endless = "SELECT sum(a.p * b.p + c.p) FROM m a, m b, m c".to_owned();
    let start = Instant::now();
    let error = ask(&hasty, endless).unwrap_err();
    let message = "the statement ran longer than 0.3 s (setting sql.timeout)";
    assert_eq!((error.kind(), error.message()), (ErrorKind::Timeout, message));
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
}

#[test]
fn a_dropped_stream_gives_its_turn_back() {
    let fixture = many_rows();
    let engine = fixture.engine_with(QuerySettings { statements_max: 1, ..QuerySettings::default() });
    runtime().block_on(async {
        for _ in 0..20 {
            let mut stream = engine.sql("SELECT * FROM m", Vec::new()).await.unwrap();
            stream.next().await.unwrap().unwrap();
        }
        let held = engine.sql("SELECT * FROM m", Vec::new()).await.unwrap();
        let Err(error) = engine.sql("SELECT 1", Vec::new()).await else { panic!("a turn too many") };
        assert_eq!(error.kind(), ErrorKind::Busy);
        drop(held);
        assert_eq!(rows(&engine, "SELECT count(*) FROM m").await.unwrap(), [["200000"]]);
    });
    // Nothing of the dropped scans holds on to the store.
    fixture.store.flush().unwrap();
    fixture.store.close().unwrap();
}

#[test]
fn a_statement_reads_one_moment() {
    let fixture = many_rows();
    runtime().block_on(async {
        let sql = "SELECT p FROM m WHERE asset_id = 'a0'";
        let stream = fixture.engine.sql(sql, Vec::new()).await.unwrap();
        fixture.write("m", &[("a0", START + 30_000 * MINUTE, &[("p", ValueRef::Float(-1.0), None)])]);
        let rows_before: usize =
            stream.map(|batch| batch.unwrap().num_rows()).fold(0, |a, b| async move { a + b }).await;
        assert_eq!(rows_before, 20_000, "a write after the start is not seen");
        assert_eq!(rows(&fixture.engine, &format!("{sql} AND p < 0")).await.unwrap(), [["-1.0"]]);
    });
}

#[test]
fn settings_out_of_bounds_are_refused_by_name() {
    let fixture = Fixture::empty();
    let refused = |settings: QuerySettings, name: &str| {
        let engine = Engine::new(fixture.registry.clone(), fixture.store.clone(), settings);
        let Err(error) = engine else { panic!("{name} is expected to be refused") };
        assert!(error.message().contains(name), "{error}");
    };
    refused(QuerySettings { memory_bytes: 1, ..QuerySettings::default() }, "memory_bytes");
    refused(
        QuerySettings { statement_memory_bytes: Some(1), ..QuerySettings::default() },
        "statement_memory_bytes",
    );
    refused(QuerySettings { target_partitions: 0, ..QuerySettings::default() }, "target_partitions");
    refused(QuerySettings { statements_max: 0, ..QuerySettings::default() }, "statements_max");
    refused(QuerySettings { timeout: Some(Duration::ZERO), ..QuerySettings::default() }, "timeout");
}
