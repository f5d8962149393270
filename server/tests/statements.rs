//! Statements that change something: INSERT, DELETE, CREATE TABLE, ALTER TABLE.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Answer, Server, dir, ok};

fn ask(server: &Server, sql: &str) -> Answer {
    server.request("POST", "/sql", &[("content-type", "application/sql")], sql.as_bytes())
}

/// Tag, rows and job of a statement that is carried out.
fn change(server: &Server, sql: &str) -> (String, Option<u64>, Option<i64>) {
    let answer = ask(server, sql).ok(200);
    (answer["tag"].as_str().unwrap().to_owned(), answer["changed"].as_u64(), answer["job"].as_i64())
}

fn inserted(rows: u64) -> (String, Option<u64>, Option<i64>) {
    ("INSERT".to_owned(), Some(rows), None)
}

/// The message of a statement that is refused.
fn refusal(server: &Server, sql: &str) -> String {
    let answer = ask(server, sql);
    assert_eq!(answer.status, 400, "{sql}: {}", answer.text());
    answer.refused(400).1
}

fn fleet(dir: &Path) -> Server {
    let server = Server::start(dir);
    server.fleet(3);
    server
}

#[test]
fn rows_are_inserted_and_there_after_a_restart() {
    let dir = dir();
    let server = fleet(dir.path());
    let sql = "INSERT INTO turbine (time, asset_id, wind_speed, wind_speed_quality) VALUES \
               ('2026-01-01T00:00:00Z', 'a0', 1.5, 3), ('2026-01-01 01:00:00+01:00', 'a1', 2, NULL), \
               ('2026-01-01 00:00:01', 'a0', NULL, NULL)";
    // The last row has no value at all: there is nothing to hold.
    assert_eq!(change(&server, sql), inserted(2));
    assert_eq!(change(&server, "insert into TURBINE values ('a2', '2026-01-01', 4, 0.25, 7)"), inserted(1));
    let params = json!({"sql": "INSERT INTO turbine (asset_id, time, n) VALUES ($1, $2, $3), ('a1', $2, -5)",
                        "params": ["a0", "2026-01-01T00:00:02.5Z", 9_007_199_254_740_993_i64]});
    assert_eq!(server.post("/sql", &params).ok(200)["changed"], 2);
    // Into the same asset and time: the newer value wins, point by point.
    assert_eq!(
        change(&server, "INSERT INTO turbine (asset_id, time, n) VALUES ('a2', '2026-01-01', 8)"),
        inserted(1)
    );
    let all = "SELECT asset_id, time, wind_speed, wind_speed_quality, n FROM turbine ORDER BY asset_id, time";
    let expected = json!([
        ["a0", "2026-01-01T00:00:00Z", 1.5, 3, null],
        ["a0", "2026-01-01T00:00:02.500Z", null, null, 9_007_199_254_740_993_i64],
        ["a1", "2026-01-01T00:00:00Z", 2.0, 0, null],
        ["a1", "2026-01-01T00:00:02.500Z", null, null, -5],
        ["a2", "2026-01-01T00:00:00Z", 0.25, 7, 8],
    ]);
    assert_eq!(server.sql(all), expected);
    server.stop();
    let server = Server::start(dir.path());
    assert_eq!(server.sql(all), expected);
    assert_eq!(
        server.sql("SELECT n FROM latest.turbine WHERE asset_id = 'a0'"),
        json!([[9_007_199_254_740_993_i64]])
    );
    server.stop();
}

#[test]
fn rows_of_a_query_are_inserted_as_the_query_saw_them() {
    let dir = dir();
    let server = fleet(dir.path());
    // Enough that they are written in several pieces: 300,000 rows of 28 bytes.
    let sql = "INSERT INTO turbine (asset_id, time, wind_speed, n) \
               SELECT 'a' || (value % 3), to_timestamp_millis(1767225600000 + value), value / 4.0, value \
               FROM generate_series(0, 299999)";
    assert_eq!(change(&server, sql), inserted(300_000));
    // Of 0 to 299,999: a third each; the sum of all is 299,999 · 300,000 / 2.
    let sums = "SELECT asset_id, count(*), min(n), max(n) FROM turbine GROUP BY asset_id ORDER BY asset_id";
    let expected =
        json!([["a0", 100_000, 0, 299_997], ["a1", 100_000, 1, 299_998], ["a2", 100_000, 2, 299_999]]);
    assert_eq!(server.sql(sums), expected);
    assert_eq!(
        server.sql("SELECT sum(n), sum(wind_speed) FROM turbine"),
        json!([[44_999_850_000_i64, 11_249_962_500.0]])
    );
    // Out of the table itself: it ends, because the query sees the table as it was.
    let doubled =
        "INSERT INTO turbine (asset_id, time, n) SELECT asset_id, time + INTERVAL '1 hour', -n FROM turbine";
    assert_eq!(change(&server, doubled), inserted(300_000));
    assert_eq!(server.sql("SELECT count(*), sum(n) FROM turbine"), json!([[600_000, 0]]));
    server.stop();
}

#[test]
fn a_refused_row_refuses_its_statement() {
    let dir = dir();
    let server = fleet(dir.path());
    let values =
        |values: &str| refusal(&server, &format!("INSERT INTO turbine (asset_id, time, n) VALUES {values}"));
    let good = "('a0', '2026-01-01', 1)";
    let wrong = values(&format!("{good}, {good}, ('nobody', '2026-01-01', 2), ('none', '2026-01-01', 2)"));
    assert_eq!(wrong, "row 3: asset_id: asset \"nobody\" does not exist (and 1 more)");
    assert!(values(&format!("{good}, ('a0', NULL, 1)")).starts_with("row 2: time: is null"));
    assert!(values("('a0', '2226-01-01', 1)").starts_with("row 1: time: "), "in the future");
    assert!(values("('a0', '2026-01-01', 1.5)").starts_with("row 1: n: "), "is not rounded");
    assert!(values("('a0', '2026-01-01', 'x')").contains("n: LONG cannot be read from"), "a text");
    assert!(values("('a0', 'yesterday', 1)").contains("yesterday"));
    assert!(values("('a0', 1767225600000, 1)").contains("column time"), "of what unit?");
    assert!(values("('a0', '2026-01-01')").contains("2 values for 3 columns"));
    assert_eq!(
        server.sql("SELECT count(*) FROM turbine"),
        json!([[0]]),
        "nothing of a refused statement stays"
    );

    let no = |sql: &str, words: &str| {
        let message = refusal(&server, sql);
        assert!(message.contains(words), "{sql}: {message}");
    };
    no("INSERT INTO turbin (asset_id, time, n) VALUES ('a0', '2026-01-01', 1)", "did you mean turbine?");
    no(
        "INSERT INTO turbine (asset_id, time, wind_spede) VALUES ('a0', '2026-01-01', 1)",
        "did you mean wind_speed?",
    );
    no("INSERT INTO turbine (asset_id, n) VALUES ('a0', 1)", "column time is missing");
    no("INSERT INTO turbine (asset_id, time, n, n) VALUES ('a0', '2026-01-01', 1, 1)", "twice");
    no("INSERT INTO turbine VALUES ('a0', '2026-01-01', 1, 1, 1, 1)", "6 values");
    no("INSERT INTO latest.turbine (asset_id, time, n) VALUES ('a0', '2026-01-01', 1)", "cannot be changed");
    no("INSERT INTO assets (asset_id) VALUES ('a9')", "cannot be changed");
    no(
        "INSERT INTO turbine (asset_id, time, n) VALUES ('a0', '2026-01-01', 1) ON CONFLICT DO NOTHING",
        "ON CONFLICT",
    );
    no("INSERT INTO turbine (asset_id, time, n) VALUES ('a0', '2026-01-01', 1) RETURNING n", "RETURNING");
    no("UPDATE turbine SET n = 2", "newer value wins");
    no("TRUNCATE turbine", "DELETE FROM");
    no("DROP TABLE turbine", "models are kept");
    no("COPY turbine FROM STDIN", "COPY");
    no("EXPLAIN INSERT INTO turbine (asset_id, time, n) VALUES ('a0', '2026-01-01', 1)", "INSERT");
    let place = ask(&server, "INSERT INTO turbine\n  (asset_id, timme) VALUES ('a0', '2026-01-01')").ok(400);
    assert_eq!((&place["error"]["line"], &place["error"]["column"]), (&json!(2), &json!(14)), "{place}");
    server.stop();
}

#[test]
fn a_deletion_is_a_job_and_in_force_at_once() {
    let dir = dir();
    let server = fleet(dir.path());
    let insert = "INSERT INTO turbine (asset_id, time, n) \
                  SELECT 'a' || (value % 3), to_timestamp_millis(1767225600000 + value * 1000), value FROM generate_series(0, 29)";
    assert_eq!(change(&server, insert), inserted(30));
    let left = || server.sql("SELECT count(*), sum(n) FROM turbine");
    assert_eq!(left(), json!([[30, 435]]));
    // a0 has 0, 3, 6, …, 27: of its ten, 6, 9 and 12 lie in [6 s, 15 s).
    let sql = "DELETE FROM turbine WHERE asset_id = 'a0' AND time >= '2026-01-01T00:00:06Z' AND time < '2026-01-01T00:00:15Z'";
    let (tag, rows, job) = change(&server, sql);
    assert_eq!((tag.as_str(), rows), ("DELETE", None), "how many is not known");
    assert_eq!(left(), json!([[27, 408]]));
    let id = job.expect("a job");
    let noted = server.get(&format!("/api/v1/deletions/{id}")).ok(200);
    assert_eq!((&noted["assets"], &noted["from"]), (&json!(["a0"]), &json!("2026-01-01T00:00:06Z")));
    assert_eq!((&noted["to"], &noted["modelId"]), (&json!("2026-01-01T00:00:15Z"), &json!("turbine")));

    // Exactly one instant: 20 of a2, then what two assets have up to 4 s inclusive: 1, 4 and 2.
    change(&server, "DELETE FROM turbine WHERE time = '2026-01-01T00:00:20Z'");
    change(
        &server,
        "DELETE FROM turbine WHERE asset_id IN ('a1', 'a2') AND time BETWEEN '2026-01-01' AND '2026-01-01T00:00:04Z'",
    );
    assert_eq!(left(), json!([[23, 381]]));
    let params = json!({"sql": "DELETE FROM turbine WHERE asset_id = $1 AND time < $2", "params": ["a0", "2026-01-01T00:00:01Z"]});
    assert!(server.post("/sql", &params).ok(200)["job"].is_i64());
    assert_eq!(left(), json!([[22, 381]]), "0 of a0");

    let no = |condition: &str, words: &str| {
        let message = refusal(&server, &format!("DELETE FROM turbine WHERE {condition}"));
        assert!(message.contains(words), "{condition}: {message}");
    };
    let more = "more than that";
    no("n > 5", more);
    no("asset_id = 'a0' AND n = 3", more);
    no("asset_id <> 'a0'", more);
    no("asset_id LIKE 'a%'", more);
    no("asset_id = 'a0' OR time < '2026-01-01T00:00:05Z'", more);
    no("time < '2026-01-01T00:00:01Z' OR time > '2026-01-01T00:00:05Z'", more);
    no("asset_id IN (SELECT asset_id FROM assets)", more);
    no("asset_id = 'nobody'", "asset nobody does not exist");
    no("asset_id = 'a0' AND tim > '2026-01-01'", "did you mean time?");
    let no_sql = |sql: &str| refusal(&server, sql);
    assert!(no_sql("DELETE FROM turbine USING assets").contains("USING"));
    assert!(no_sql("DELETE FROM latest.turbine").contains("cannot be changed"));
    assert_eq!(left(), json!([[22, 381]]));

    // What can mean no sample is done without a job.
    assert_eq!(change(&server, "DELETE FROM turbine WHERE false"), ("DELETE".to_owned(), Some(0), None));
    let empty = "DELETE FROM turbine WHERE time < '2026-01-01' AND time > '2026-01-02'";
    assert_eq!(change(&server, empty), ("DELETE".to_owned(), Some(0), None));
    server.stop();
    let server = Server::start(dir.path());
    assert_eq!(server.sql("SELECT count(*), sum(n) FROM turbine"), json!([[22, 381]]));
    assert!(change(&server, "DELETE FROM turbine").2.is_some());
    assert_eq!(server.sql("SELECT count(*) FROM turbine"), json!([[0]]));
    let begin = Instant::now();
    while server
        .get("/api/v1/deletions")
        .ok(200)
        .as_array()
        .unwrap()
        .iter()
        .any(|job| job["status"] != "finished")
    {
        assert!(begin.elapsed() < Duration::from_secs(60), "jobs do not finish");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.stop();
}

#[test]
fn tables_are_models() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.post("/api/v1/orgs", &json!({"orgId": "acme"})).ok(201);
    let changed = |tag: &str| (tag.to_owned(), None, None);
    let create = "CREATE TABLE meter (asset_id TEXT NOT NULL, time TIMESTAMP WITH TIME ZONE, \
                  energy DOUBLE PRECISION OPTIONS (unit = 'kWh', signal = 'PI', quality = true) COMMENT 'Energy', \
                  serial BIGINT, size INT, ratio REAL, live BOOLEAN, note TEXT, mode ENUM('off', 'on'), \
                  seen TIMESTAMPTZ, due TIMESTAMP, extra JSON, curve DOUBLE[], PRIMARY KEY (asset_id, time)) \
                  WITH (name = 'A meter')";
    assert_eq!(change(&server, create), changed("CREATE TABLE"));
    let model = server.get("/api/v1/models/meter").ok(200);
    assert_eq!((&model["modelId"], &model["name"]["defaultValue"]), (&json!("meter"), &json!("A meter")));
    let rows = server.sql("SELECT point, data_type, signal_type, unit, has_quality FROM models WHERE model = 'meter' AND unit IS NOT NULL");
    assert_eq!(rows, json!([["energy", "DOUBLE", "PI", "kWh", true]]));
    let types = server.sql("SELECT data_type FROM models WHERE model = 'meter'");
    let types: Vec<&str> = types.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap()).collect();
    let expected =
        ["DOUBLE", "LONG", "INT", "FLOAT", "BOOL", "STRING", "ENUM", "TIMESTAMP", "DATE", "STRUCT", "ARRAY"];
    assert_eq!(types, expected);

    assert!(refusal(&server, create).contains("is taken"));
    assert_eq!(change(&server, &create.replacen("TABLE", "TABLE IF NOT EXISTS", 1)), changed("CREATE TABLE"));
    let child = "CREATE TABLE water (asset_id TEXT, time TIMESTAMPTZ, volume DOUBLE) WITH (parent = 'meter')";
    assert_eq!(change(&server, child), changed("CREATE TABLE"));
    let other = "CREATE TABLE gauge (asset_id TEXT, time TIMESTAMPTZ) WITH (organization = 'acme')";
    assert_eq!(change(&server, other), changed("CREATE TABLE"));
    assert_eq!(server.get("/api/v1/models/gauge?org=acme").ok(200)["modelId"], "gauge");

    assert_eq!(
        change(&server, "ALTER TABLE meter ADD COLUMN power DOUBLE, ADD COLUMN phase INT"),
        changed("ALTER TABLE")
    );
    assert!(refusal(&server, "ALTER TABLE meter ADD COLUMN power DOUBLE").contains("already"));
    assert_eq!(
        change(&server, "ALTER TABLE meter ADD COLUMN IF NOT EXISTS power DOUBLE"),
        changed("ALTER TABLE")
    );
    server.post("/api/v1/products", &json!({"productKey": "pk", "modelId": "water"})).ok(201);
    server.post("/api/v1/devices", &json!({"productKey": "pk", "deviceKey": "w0", "assetId": "w0"})).ok(201);
    assert_eq!(
        change(
            &server,
            "INSERT INTO water (asset_id, time, power, mode) VALUES ('w0', '2026-01-01', 2.5, 'on')"
        ),
        inserted(1)
    );
    assert!(
        refusal(&server, "INSERT INTO water (asset_id, time, mode) VALUES ('w0', '2026-01-01', 'ajar')")
            .contains("mode")
    );
    // Its history goes on under the new name, also in the models that inherit it.
    assert_eq!(
        change(&server, "ALTER TABLE meter RENAME COLUMN power TO active_power"),
        changed("ALTER TABLE")
    );
    assert_eq!(server.sql("SELECT active_power, mode FROM water"), json!([[2.5, "on"]]));
    assert!(
        refusal(&server, "ALTER TABLE water RENAME COLUMN active_power TO p")
            .contains("inherited from model meter")
    );
    assert_eq!(server.get("/api/v1/audit").ok(200)[0]["action"], "rename point");

    for (sql, words) in [
        ("CREATE TABLE t (asset_id TEXT, time TIMESTAMPTZ, x DECIMAL(10, 2))", "type DECIMAL(10,2)"),
        ("CREATE TABLE t (time TIMESTAMPTZ, asset_id TEXT)", "expected the column asset_id"),
        ("CREATE TABLE t (asset_id INT, time TIMESTAMPTZ)", "expected the column asset_id"),
        ("CREATE TABLE t (asset_id TEXT, time TIMESTAMPTZ, x INT NOT NULL)", "NOT NULL"),
        ("CREATE TABLE t (asset_id TEXT, time TIMESTAMPTZ, x INT DEFAULT 1)", "DEFAULT"),
        ("CREATE TABLE t (asset_id TEXT, time TIMESTAMPTZ, x INT, UNIQUE (x))", "UNIQUE"),
        ("CREATE TABLE t (asset_id TEXT, time TIMESTAMPTZ) WITH (fillfactor = 70)", "no option fillfactor"),
        (
            "CREATE TABLE t (asset_id TEXT, time TIMESTAMPTZ) WITH (organization = 'none')",
            "organization none",
        ),
        ("CREATE TABLE t (asset_id TEXT, time TIMESTAMPTZ) PARTITION BY time", "CREATE TABLE"),
        ("CREATE TEMPORARY TABLE t (asset_id TEXT, time TIMESTAMPTZ)", "clause"),
        ("CREATE TABLE t AS SELECT 1", "clause"),
        ("CREATE TABLE assets (asset_id TEXT, time TIMESTAMPTZ)", "table of the system"),
        ("CREATE VIEW v AS SELECT 1", "no views"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "not allowed"),
        ("COMMENT ON COLUMN meter.size IS 'x'", "display names"),
        ("ALTER TABLE meter DROP COLUMN size", "kept for ever"),
        ("ALTER TABLE meter RENAME TO m", "ADD COLUMN"),
        ("ALTER TABLE nothing ADD COLUMN x INT", "no table nothing"),
    ] {
        let message = refusal(&server, sql);
        assert!(message.contains(words), "{sql}: {message}");
    }
    server.stop();
    let server = Server::start(dir.path());
    assert_eq!(server.sql("SELECT active_power FROM water"), json!([[2.5]]));
    server.stop();
}

#[test]
fn the_prompt_says_what_changed() {
    let dir = dir();
    let server = fleet(dir.path());
    let run = |sql: &str| ok(&server, &["sql", "-c", sql]);
    let line = run("INSERT INTO turbine (asset_id, time, n) VALUES ('a0', '2026-01-01', 1)");
    assert!(line.starts_with("INSERT 1"), "{line}");
    let line = run("DELETE FROM turbine WHERE asset_id = 'a0'");
    assert!(line.starts_with("DELETE, job 1"), "{line}");
    let answer: Value =
        serde_json::from_str(&ok(&server, &["sql", "--format", "json", "-c", "DELETE FROM turbine"]))
            .unwrap();
    assert_eq!(answer["tag"], "DELETE");
    server.stop();
}
