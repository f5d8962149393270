//! What goes wrong is told with its kind, its place and the name that was probably meant.

use wattline_query::{Error, ErrorKind, Position, ScalarValue};

use crate::fixture::{Fixture, rows, rows_with};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

fn error_of(fixture: &Fixture, sql: &str) -> Error {
    match runtime().block_on(rows(&fixture.engine, sql)) {
        Ok(rows) => panic!("{sql} is expected to fail and gave {rows:?}"),
        Err(e) => e,
    }
}

#[test]
fn messages_and_places() {
    let fixture = Fixture::of_scripts();
    let at = |line, column| Some(Position { line, column });
    let table = [
        ("SELEC 1", "syntax error: expected: an SQL statement, found: SELEC", at(1, 1)),
        ("SELECT 1 +", "syntax error: expected: an expression, found: EOF", None),
        ("SELECT\n  windSped FROM turbine", "there is no column windSped, did you mean windSpeed?", at(2, 3)),
        ("SELECT t.statos FROM turbine t", "there is no column t.statos, did you mean status?", at(1, 8)),
        ("SELECT * FROM turbin", "there is no table turbin, did you mean turbine?", at(1, 15)),
        (
            "SELECT * FROM latest.turbin",
            "there is no table latest.turbin, did you mean latest.turbine?",
            at(1, 15),
        ),
        (
            "SELECT * FROM system.shard",
            "there is no table system.shard, did you mean system.shards?",
            at(1, 15),
        ),
        ("SELECT * FROM weather", "there is no table weather", at(1, 15)),
        ("", "there is no statement", None),
        ("SELECT 1; SELECT 2", "one statement at a time, please: there are several", None),
    ];
    for (sql, message, position) in table {
        let error = error_of(&fixture, sql);
        assert_eq!((error.kind(), error.message()), (ErrorKind::Input, message), "{sql}");
        if position.is_some() {
            assert_eq!(error.position(), position, "{sql}: {error}");
        }
    }
}

#[test]
fn wrong_input_is_called_input() {
    let fixture = Fixture::of_scripts();
    for sql in [
        "SELECT 'x",
        "SELECT nosuchfunction(1)",
        "SELECT sum(note) FROM turbine",
        "SELECT windSpeed FROM turbine GROUP BY asset_id",
        "SELECT CAST('abc' AS INT)",
        "SELECT 1 / 0",
        "SELECT time FROM turbine WHERE time > 'yesterday'",
        "SELECT asset_id FROM turbine t JOIN assets a ON t.asset_id = a.asset_id",
        "SELECT $1",
        "SELECT * FROM turbine WHERE windSpeed = (SELECT windSpeed FROM turbine)",
    ] {
        let error = error_of(&fixture, sql);
        assert_eq!(error.kind(), ErrorKind::Input, "{sql}: {error}");
        assert!(!error.message().contains("DataFusion"), "{sql}: {error}");
    }
}

#[test]
fn only_reading_statements_pass() {
    let fixture = Fixture::of_scripts();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let file = file.display();
    let refused = [
        format!("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '{file}'"),
        format!("COPY turbine TO '{file}' STORED AS CSV"),
        format!("COPY (SELECT 1) TO '{file}'"),
        format!("EXPLAIN COPY turbine TO '{file}' STORED AS CSV"),
        format!("EXPLAIN ANALYZE COPY turbine TO '{file}' STORED AS CSV"),
        "CREATE TABLE x AS SELECT 1".to_owned(),
        "CREATE VIEW x AS SELECT 1".to_owned(),
        "CREATE SCHEMA x".to_owned(),
        "CREATE FUNCTION f() RETURNS INT RETURN 1".to_owned(),
        "SELECT 1 INTO x".to_owned(),
        "INSERT INTO turbine (asset_id) VALUES ('T1')".to_owned(),
        "WITH a AS (SELECT 1) INSERT INTO turbine SELECT * FROM a".to_owned(),
        "UPDATE turbine SET status = 1".to_owned(),
        "DELETE FROM turbine".to_owned(),
        "TRUNCATE TABLE turbine".to_owned(),
        "DROP TABLE turbine".to_owned(),
        "SET datafusion.catalog.information_schema = false".to_owned(),
        "RESET datafusion.execution.batch_size".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXECUTE p".to_owned(),
        "BEGIN".to_owned(),
        "EXPLAIN INSERT INTO turbine (asset_id) VALUES ('T1')".to_owned(),
    ];
    for sql in refused {
        let error = error_of(&fixture, &sql);
        assert_eq!(error.kind(), ErrorKind::Input, "{sql}: {error}");
        assert!(error.message().contains("is not allowed here: SQL reads"), "{sql}: {error}");
    }
    // A file is no table and no function reads one.
    for sql in [
        format!("SELECT * FROM '{file}'"),
        format!("SELECT * FROM \"{file}\""),
        format!("SELECT * FROM read_csv('{file}')"),
    ] {
        assert_eq!(error_of(&fixture, &sql).kind(), ErrorKind::Input, "{sql}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("secret.csv")).unwrap(), "a\n1\n");
    assert_eq!(runtime().block_on(rows(&fixture.engine, "SELECT count(*) FROM turbine")).unwrap(), [["7"]]);
}

#[test]
fn parameters_are_typed_and_counted() {
    let fixture = Fixture::of_scripts();
    let ask =
        |sql: &str, params: Vec<ScalarValue>| runtime().block_on(rows_with(&fixture.engine, sql, params));
    let text = |t: &str| ScalarValue::Utf8(Some(t.to_owned()));
    let sql = "SELECT activePower FROM turbine WHERE asset_id = $1 AND time >= $2 AND activePower > $3 ORDER BY time";
    let params = vec![text("T1"), text("2026-01-01T00:10:00Z"), ScalarValue::Int64(Some(150))];
    assert_eq!(ask(sql, params).unwrap(), [["200.0"]]);
    let explained = ask(
        "EXPLAIN SELECT activePower FROM turbine WHERE asset_id IN ($1, $2) AND time < $3",
        vec![text("T1"), text("nobody"), text("2026-01-01 00:10:00")],
    );
    let explained = explained.unwrap().concat().concat();
    assert!(explained.contains("assets=1, range=[..2026-01-01T00:10:00Z)"), "{explained}");

    let error = ask("SELECT $1 + $2", vec![ScalarValue::Int64(Some(1))]).unwrap_err();
    assert_eq!(error.message(), "$2 has no value: the statement came with 1 parameters");
    let error = ask("SELECT $name", vec![ScalarValue::Int64(Some(1))]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert_eq!(ask("SELECT $1 * 2", vec![ScalarValue::Int64(Some(21))]).unwrap(), [["42"]]);
}

#[test]
fn a_text_parameter_is_never_sql() {
    let fixture = Fixture::of_scripts();
    let hostile = ScalarValue::Utf8(Some("x' OR '1'='1".to_owned()));
    let sql = "SELECT count(*) FROM turbine WHERE asset_id = $1";
    assert_eq!(runtime().block_on(rows_with(&fixture.engine, sql, vec![hostile])).unwrap(), [["0"]]);
}
