//! Bulk writes: both forms, rejects by name, visibility at the answer, bodies that break off.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_ipc::writer::StreamWriter;
use serde_json::json;

use crate::harness::{Server, dir};

const T0: i64 = 1_767_225_600_000;
const ARROW: (&str, &str) = ("content-type", "application/vnd.apache.arrow.stream");

fn batch(first: i64, rows: i64) -> RecordBatch {
    let assets = StringArray::from_iter_values((0..rows).map(|i| format!("a{}", i % 2)));
    let times = TimestampMillisecondArray::from_iter_values((first..first + rows).map(|i| T0 + i));
    let speed = Float64Array::from_iter_values((first..first + rows).map(|i| i as f64));
    let n: Int64Array = (first..first + rows).map(|i| (i % 2 == 0).then_some(i)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("asset_id", Arc::new(assets)),
        ("time", Arc::new(times)),
        ("wind_speed", Arc::new(speed)),
        ("n", Arc::new(n)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn an_arrow_stream_is_durable_and_visible_when_answered() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(2);
    let body = stream(&[batch(0, 1_000), batch(1_000, 500)]);
    let answer = server.request("POST", "/api/v1/models/turbine/samples", &[ARROW], &body).ok(200);
    assert_eq!(answer, json!({"rows": 1_500, "samples": 2_250, "rejected": 0, "rejects": []}));
    // Sums of 0..1500, and of the even numbers among them.
    let rows = server.sql("SELECT count(*), sum(wind_speed), count(n), sum(n) FROM turbine");
    assert_eq!(rows, json!([[1_500, 1_124_250.0, 750, 561_750]]));
    server.signal("KILL");
    server.wait();
    let server = Server::start(dir.path());
    assert_eq!(server.sql("SELECT count(*) FROM turbine"), json!([[1_500]]));
    server.stop();
}

#[test]
fn promise_6_rejects_are_named_and_the_rest_is_written() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(1);
    let line = |rest: &str| format!("{{\"asset_id\":\"a0\",\"time\":{T0},{rest}}}\n");
    let mut lines = line("\"wind_speed\":1");
    lines.push_str("not json\n");
    lines.push_str(&format!("{{\"asset_id\":\"nobody\",\"time\":{T0},\"wind_speed\":1}}\n"));
    lines.push_str("{\"asset_id\":\"a0\",\"time\":\"tomorrow\",\"wind_speed\":1}\n");
    lines.push_str(&format!("{{\"asset_id\":\"a0\",\"time\":{},\"n\":5}}\n", T0 + 1));
    let answer = server.ndjson("turbine", &lines).ok(200);
    assert_eq!((&answer["samples"], &answer["rejected"]), (&json!(2), &json!(3)), "{answer}");
    let rows: Vec<u64> =
        answer["rejects"].as_array().unwrap().iter().map(|r| r["row"].as_u64().unwrap()).collect();
    assert_eq!(rows, [1, 2, 3], "{answer}");
    assert!(
        answer["rejects"]
            .as_array()
            .unwrap()
            .iter()
            .all(|r| r["reason"].as_str().is_some_and(|s| !s.is_empty()))
    );
    assert_eq!(server.sql("SELECT count(*) FROM turbine"), json!([[2]]));
    server.stop();
}

#[test]
fn rows_are_numbered_over_the_whole_body() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(1);
    let mut lines = String::new();
    for i in 0..40_000 {
        let asset = if i == 39_990 { "nobody" } else { "a0" };
        lines.push_str(&format!("{{\"asset_id\":\"{asset}\",\"time\":{},\"n\":{i}}}\n", T0 + i));
    }
    let answer = server.ndjson("turbine", &lines).ok(200);
    assert_eq!((&answer["rows"], &answer["rejected"]), (&json!(39_999), &json!(1)));
    assert_eq!(answer["rejects"][0]["row"], 39_990);
    server.stop();
}

#[test]
fn broken_bodies_say_what_was_written_before() {
    let dir = dir();
    let server = Server::start_with(dir.path(), &["--set", "http.batch_max=64KiB"]);
    server.fleet(2);
    let body = stream(&[batch(0, 100), batch(100, 100)]);
    let path = "/api/v1/models/turbine/samples";
    let cut = server.request("POST", path, &[ARROW], &body[..body.len() - 600]);
    assert_eq!(cut.refused(400).0, "input");
    assert_eq!(cut.json()["rows"], 100, "the first batch was whole");
    assert_eq!(server.sql("SELECT count(*) FROM turbine"), json!([[100]]));
    let large = server.request("POST", path, &[ARROW], &stream(&[batch(0, 50_000)]));
    assert_eq!(large.refused(413).0, "too_large");
    let long = format!("{{\"asset_id\":\"{}", "x".repeat(200_000));
    assert_eq!(server.ndjson("turbine", &long).refused(413).0, "too_large");
    assert_eq!(server.request("POST", path, &[ARROW], b"ARROW1 or something else").refused(400).0, "input");
    assert_eq!(
        server.request("POST", path, &[("content-type", "text/csv")], b"x").refused(415).0,
        "unsupported"
    );
    assert_eq!(server.ndjson("turbine", "").ok(200)["rows"], 0);
    server.stop();
}

#[test]
fn a_client_that_goes_away_harms_nobody() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(1);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.http).unwrap();
        let head = "POST /api/v1/models/turbine/samples HTTP/1.1\r\nhost: x\r\n\
                    content-type: application/x-ndjson\r\ncontent-length: 100000\r\n\r\n{\"asset_id\":";
        stream.write_all(head.as_bytes()).unwrap();
    }
    server.ndjson("turbine", &format!("{{\"asset_id\":\"a0\",\"time\":{T0},\"n\":1}}\n")).ok(200);
    server.stop();
}
