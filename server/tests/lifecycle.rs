//! Start and stop: start-up lines, the lock, signals, nothing lost.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Server, dir, run};

#[test]
fn start_up_lines_name_each_listener_and_then_ready() {
    let dir = dir();
    let server = Server::start(dir.path());
    let lines: Vec<&str> = server.lines.iter().map(String::as_str).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let port = |line: &str, head: &str| -> u16 { line.strip_prefix(head).expect(line).parse().expect(line) };
    assert_ne!(port(lines[0], "listening http http://127.0.0.1:"), 0);
    assert_ne!(port(lines[1], "listening mqtt mqtt://127.0.0.1:"), 0);
    assert!(lines[2].starts_with("ready in ") && lines[2].ends_with(" ms"), "{lines:?}");
    let ready = server.get("/readyz").ok(200);
    assert_eq!(ready["status"], "ready");
    assert_eq!(ready["listeners"][0]["url"], server.url());
    assert!(!ready["shards"].as_array().unwrap().is_empty());
    server.stop();
}

/// Promise 1: acknowledged means durable; here through a stop in good order and through a kill.
#[test]
fn promise_1_what_was_acknowledged_is_there_after_a_restart() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(2);
    let answer =
        server.ndjson("turbine", "{\"asset_id\":\"a0\",\"time\":1767225600000,\"wind_speed\":7.5}\n").ok(200);
    assert_eq!(answer["samples"], 1);
    server.stop();

    let server = Server::start(dir.path());
    assert_eq!(server.sql("SELECT asset_id, wind_speed FROM turbine"), json!([["a0", 7.5]]));
    server.ndjson("turbine", "{\"asset_id\":\"a1\",\"time\":1767225600000,\"n\":9007199254740993}\n").ok(200);
    server.signal("KILL");
    assert_eq!(server.wait().code(), None);

    let server = Server::start(dir.path());
    let rows = server.sql("SELECT asset_id, wind_speed, n FROM turbine ORDER BY asset_id");
    assert_eq!(rows, json!([["a0", 7.5, null], ["a1", null, 9_007_199_254_740_993_i64]]));
    let latest = server.get("/api/v1/assets/a1/latest?points=n").ok(200);
    assert_eq!(latest["points"]["n"]["value"], 9_007_199_254_740_993_i64);
    server.stop();
}

#[test]
fn a_stop_finishes_the_request_under_way_and_takes_no_new_one() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(1);
    let line = "{\"asset_id\":\"a0\",\"time\":1767225600000,\"wind_speed\":1}\n";
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /api/v1/models/turbine/samples HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {}\r\n\r\n",
        line.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The head is in, so the request is under way when the signal comes.
    std::thread::sleep(Duration::from_millis(300));
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(TcpStream::connect(server.http).is_err(), "new connections are refused");
    stream.write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"samples\":1"), "{answer}");
    assert_eq!(server.wait().code(), Some(0));
    let server = Server::start(dir.path());
    assert_eq!(server.sql("SELECT count(*) FROM turbine"), json!([[1]]));
    server.stop();
}

#[test]
fn a_client_that_hangs_delays_the_end_for_the_shutdown_timeout_only() {
    let dir = dir();
    let server = Server::start_with(dir.path(), &["--set", "shutdown_timeout=1s"]);
    server.fleet(1);
    let mut stream = TcpStream::connect(server.http).unwrap();
    let head = "POST /api/v1/models/turbine/samples HTTP/1.1\r\nhost: x\r\n\
                content-type: application/x-ndjson\r\ncontent-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    server.stop();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(1);
    let mut stream = TcpStream::connect(server.http).unwrap();
    let head = "POST /api/v1/models/turbine/samples HTTP/1.1\r\nhost: x\r\n\
                content-type: application/x-ndjson\r\ncontent-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(200));
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(130));
}

#[test]
fn a_directory_in_use_is_refused_and_free_again_after_a_kill() {
    let dir = dir();
    let server = Server::start(dir.path());
    let path = dir.path().to_str().unwrap();
    let (code, _, log) =
        run(&["serve", "--data-dir", path, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
    assert_eq!(code, 4, "{log}");
    assert!(log.contains("is in use by process "), "{log}");
    server.signal("KILL");
    server.wait();
    Server::start(dir.path()).stop();
}

#[test]
fn a_taken_port_is_named() {
    let (one, two) = (dir(), dir());
    let server = Server::start(one.path());
    let address = server.http.to_string();
    let path = two.path().to_str().unwrap();
    let (code, _, log) = run(&["serve", "--data-dir", path, "--http", &address, "--mqtt", "off"]);
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("setting http.listen") && log.contains(&address), "{log}");
    server.stop();
}
