//! `POST /sql`: forms of requests and answers, errors with their place, streaming.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use arrow::array::{Array as _, Float64Array};
use arrow_ipc::reader::StreamReader;
use serde_json::{Value, json};

use crate::harness::{Server, dir};

const T0: i64 = 1_767_225_600_000;

fn server(dir: &std::path::Path) -> Server {
    let server = Server::start(dir);
    server.fleet(2);
    let lines: String = (0..10)
        .map(|i| {
            format!("{{\"asset_id\":\"a{}\",\"time\":{},\"wind_speed\":{}.5,\"n\":{i}}}\n", i % 2, T0 + i, i)
        })
        .collect();
    server.ndjson("turbine", &lines).ok(200);
    server
}

fn ask(server: &Server, accept: &str, sql: &str) -> crate::harness::Answer {
    server.request("POST", "/sql", &[("content-type", "application/sql"), ("accept", accept)], sql.as_bytes())
}

#[test]
fn answers_come_in_the_form_that_is_accepted() {
    let dir = dir();
    let server = server(dir.path());
    let sql = "SELECT asset_id, time, wind_speed, n FROM turbine WHERE n < 2 ORDER BY n";
    let json = ask(&server, "application/json", sql);
    assert!(json.head.contains("content-type: application/json"));
    let json = json.ok(200);
    assert_eq!(
        json["rows"],
        json!([["a0", "2026-01-01T00:00:00Z", 0.5, 0], ["a1", "2026-01-01T00:00:00.001Z", 1.5, 1]])
    );
    assert_eq!(json["columns"][3], json!({"name": "n", "type": "int64"}));
    assert_eq!(json["rows_count"], 2);
    assert!(json["elapsed_ms"].as_f64().is_some_and(|ms| ms > 0.0));

    let csv = ask(&server, "text/csv", sql);
    assert!(csv.head.contains("content-type: text/csv"));
    assert_eq!(
        csv.text(),
        "asset_id,time,wind_speed,n\na0,2026-01-01T00:00:00Z,0.5,0\na1,2026-01-01T00:00:00.001Z,1.5,1\n"
    );
    let lines = ask(&server, "application/x-ndjson", sql).text();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines[1],
        json!({"asset_id": "a1", "time": "2026-01-01T00:00:00.001Z", "wind_speed": 1.5, "n": 1})
    );

    let arrow = ask(&server, "application/vnd.apache.arrow.stream", sql);
    let batches: Vec<_> = StreamReader::try_new(&arrow.body[..], None).unwrap().map(Result::unwrap).collect();
    let speed = batches[0].column_by_name("wind_speed").unwrap();
    let speed = speed.as_any().downcast_ref::<Float64Array>().unwrap();
    assert_eq!((speed.len(), speed.value(1)), (2, 1.5));
    assert_eq!(ask(&server, "image/png", sql).refused(415).0, "unsupported");
    server.stop();
}

#[test]
fn parameters_take_their_places() {
    let dir = dir();
    let server = server(dir.path());
    let ask = |params: Value| {
        server.post("/sql", &json!({"sql": "SELECT n FROM turbine WHERE asset_id = $1 AND n > $2 ORDER BY n", "params": params}))
    };
    assert_eq!(ask(json!(["a1", 4])).ok(200)["rows"], json!([[5], [7], [9]]));
    assert_eq!(ask(json!(["x' OR '1'='1", 4])).ok(200)["rows"], json!([]));
    assert_eq!(ask(json!(["a1"])).refused(400).0, "input");
    assert!(ask(json!(["a1", {}])).refused(400).1.contains("$2"));
    server.stop();
}

#[test]
fn errors_tell_their_place_and_reason() {
    let dir = dir();
    let server = server(dir.path());
    let error = |sql: &str| ask(&server, "*/*", sql).ok(400)["error"].clone();
    let wrong = error("SELECT wind_spee\nFROM turbine");
    assert!(wrong["message"].as_str().unwrap().contains("wind_spee"), "{wrong}");
    assert_eq!((&wrong["kind"], &wrong["line"], &wrong["column"]), (&json!("input"), &json!(1), &json!(8)));
    let syntax = error("SELECT *\nFROM turbine WHERE WHERE");
    assert_eq!(syntax["line"], 2, "{syntax}");
    assert!(error("SELECT * FROM turbin")["message"].as_str().unwrap().contains("turbine"));
    assert_eq!(error("DROP TABLE turbine")["kind"], "input");
    assert_eq!(error("")["kind"], "input");
    assert_eq!(server.sql("SELECT count(*) FROM turbine"), json!([[10]]));
    server.stop();
}

#[test]
fn what_has_no_form_in_json_is_null() {
    let dir = dir();
    let server = Server::start(dir.path());
    let rows = server.sql("SELECT 'NaN'::double, 'inf'::double, 9223372036854775807, NULL");
    assert_eq!(rows, json!([[null, null, 9_223_372_036_854_775_807_i64, null]]));
    server.stop();
}

#[test]
fn a_statement_that_runs_too_long_is_ended() {
    let dir = dir();
    let server = Server::start_with(dir.path(), &["--set", "sql.timeout=1s"]);
    // Streams, so that it is time that runs out and never memory.
    let long = "SELECT count(*) FROM generate_series(1, 1000000000000) WHERE value % 7 = 3";
    let begin = Instant::now();
    assert_eq!(ask(&server, "*/*", long).refused(422).0, "timeout");
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(server.get("/healthz").status, 200);
    server.stop();
}

#[test]
fn a_client_that_goes_away_ends_its_statement() {
    let dir = dir();
    let server = Server::start(dir.path());
    let sql = "SELECT a.value, b.value FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let mut stream = TcpStream::connect(server.http).unwrap();
    let head = format!(
        "POST /sql HTTP/1.1\r\nhost: x\r\naccept: text/csv\r\ncontent-length: {}\r\n\r\n{sql}",
        sql.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut some = [0; 4_096];
    assert!(stream.read(&mut some).unwrap() > 0, "rows come before the statement ends");
    let running = || {
        let text = server.get("/metrics").text();
        let line =
            text.lines().find_map(|line| line.strip_prefix("wattline_sql_statements ").map(str::to_owned));
        line.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(running(), 1);
    drop(stream);
    let begin = Instant::now();
    while running() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "the statement goes on for nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.stop();
}
