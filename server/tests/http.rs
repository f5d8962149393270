//! The frame of HTTP: health, metrics, refusals, limits, the token; and the registry over REST.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Server, dir};

#[test]
fn unknown_paths_and_wrong_methods_are_refused_in_json() {
    let dir = dir();
    let server = Server::start(dir.path());
    assert_eq!(server.get("/no/such").refused(404), ("not_found".into(), "there is no /no/such".into()));
    assert_eq!(server.get("/sql").refused(405).0, "method");
    assert_eq!(server.get("/api/v1/models/nope").refused(404).0, "not_found");
    assert_eq!(server.get("/api/v1/assets/nope/latest").refused(404).0, "not_found");
    assert_eq!(server.post("/api/v1/models/nope/samples", &json!({})).refused(404).0, "not_found");
    server.stop();
}

#[test]
fn bad_bodies_are_refused_and_the_server_lives() {
    let dir = dir();
    let server = Server::start_with(dir.path(), &["--set", "http.body_max=64KiB"]);
    let json =
        |body: &str| server.request("POST", "/sql", &[("content-type", "application/json")], body.as_bytes());
    let (kind, message) = json("{\"sql\": \"select 1\"").refused(400);
    assert!(kind == "input" && message.contains("line 1 column"), "{message}");
    assert!(json("{\"sql\": \"select 1\", \"parms\": []}").refused(400).1.contains("parms"));
    let deep = format!("{{\"sql\": \"select 1\", \"params\": {}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(json(&deep).refused(400).1.contains("recursion"));
    assert_eq!(json(&format!("{{\"sql\": \"{}\"}}", "x".repeat(70_000))).refused(413).0, "too_large");
    assert_eq!(
        server.request("POST", "/sql", &[("content-type", "application/sql")], b"\xff\xfe").refused(400).0,
        "input"
    );
    assert_eq!(
        server.request("POST", "/sql", &[("content-type", "image/png")], b"x").refused(415).0,
        "unsupported"
    );
    let models = |body: &str| server.request("POST", "/api/v1/models", &[], body.as_bytes());
    assert!(models("{\"modelId\": \"m\", \"pints\": {}}").refused(400).1.contains("pints"));
    assert_eq!(models(&"[".repeat(30_000)).refused(400).0, "input");
    assert_eq!(server.get("/healthz").status, 200);
    server.stop();
}

#[test]
fn silent_and_greedy_clients_are_sent_away() {
    let dir = dir();
    let patience = ["--set", "http.header_timeout=300ms", "--set", "http.read_timeout=300ms"];
    let server = Server::start_with(dir.path(), &patience);
    let closed = |say: &str| {
        let mut stream = TcpStream::connect(server.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(say.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // A reset is a close too: what was sent and not read any more brings it about.
        if let Err(error) = stream.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the server keeps the connection");
        }
        String::from_utf8(bytes).unwrap()
    };
    closed("GET /healthz HTTP/1.1\r\nhost:");
    let answer = closed("POST /sql HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nsel");
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"timeout\""), "{answer}");
    let long = closed(&format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(200_000)));
    assert!(!long.contains(" 200 "), "{long}");
    assert!(closed("this is not HTTP\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert_eq!(server.get("/healthz").status, 200);
    server.stop();
}

#[test]
fn a_token_is_wanted_for_everything_but_healthz() {
    let dir = dir();
    let server = Server::start_with(dir.path(), &["--set", "http.token=s3cret"]);
    assert_eq!(server.get("/healthz").status, 200);
    for path in ["/readyz", "/metrics", "/api/v1/models", "/no/such"] {
        assert_eq!(server.get(path).refused(401).0, "unauthorized", "{path}");
    }
    let with = |value: &str| server.request("GET", "/readyz", &[("authorization", value)], b"").status;
    assert_eq!((with("Bearer s3cret"), with("bearer s3cret")), (200, 200));
    assert_eq!(
        (with("Bearer s3cre"), with("Bearer s3cretx"), with("s3cret"), with("Bearer ")),
        (401, 401, 401, 401)
    );
    server.stop();
}

#[test]
fn web_pages_of_another_origin_are_refused() {
    let dir = dir();
    let server = Server::start(dir.path());
    let from = |origin: &str| {
        let headers = [("origin", origin), ("content-type", "text/plain")];
        server.request("POST", "/api/v1/orgs", &headers, b"{\"orgId\": \"evil\"}")
    };
    assert_eq!(from("https://evil.example").refused(403).0, "forbidden");
    assert_eq!(from("null").refused(403).0, "forbidden");
    assert_eq!(server.get("/api/v1/orgs").ok(200).as_array().unwrap().len(), 1);
    // The harness says `host: x`.
    assert_eq!(from("http://x").ok(201)["orgId"], "evil");
    server.stop();
}

#[test]
fn metrics_are_prometheus_text_and_count() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(1);
    server
        .ndjson("turbine", "{\"asset_id\":\"a0\",\"time\":1767225600000,\"wind_speed\":1,\"n\":2}\n")
        .ok(200);
    server.get("/no/such");
    let answer = server.get("/metrics");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let text = answer.text();
    let mut typed = std::collections::HashMap::new();
    let mut sums: std::collections::HashMap<&str, f64> = std::collections::HashMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(typed.insert(name, kind).is_none(), "{name} twice");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(typed.contains_key(name) || family.is_some_and(|f| typed[f] == "histogram"), "{line}");
            *sums.entry(name).or_default() += value.parse::<f64>().unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }
    assert_eq!(sums["wattline_samples_written_total"], 2.0);
    assert_eq!(sums["wattline_ingest_samples_total"], 2.0);
    assert!(sums["process_resident_memory_bytes"] > 1e6 && sums["process_open_fds"] > 3.0);
    assert!(text.contains("wattline_http_requests_total{method=\"GET\",route=\"unknown\",status=\"404\"} 1"));
    assert!(text.contains("route=\"/api/v1/models/{model}/samples\",status=\"200\"} 1"), "{text}");
    assert!(text.contains("wattline_registered{kind=\"devices\"} 1"));
    server.stop();
}

#[test]
fn the_registry_over_rest() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(3);
    let model = server.get("/api/v1/models/turbine").ok(200);
    assert_eq!(model["measurepoints"]["wind_speed"]["dataType"], "DOUBLE");
    let again = server.post("/api/v1/models", &json!({"modelId": "turbine", "points": {}})).refused(409);
    assert_eq!(again.0, "conflict");
    let points = json!({"points": {"power": {"dataType": "FLOAT"}}});
    for _ in 0..2 {
        let model = server.post("/api/v1/models/turbine/points", &points).ok(200);
        assert_eq!(model["measurepoints"].as_object().unwrap().len(), 3);
    }
    let other = json!({"points": {"power": {"dataType": "INT"}}});
    assert_eq!(server.post("/api/v1/models/turbine/points", &other).refused(409).0, "conflict");

    server.post("/api/v1/orgs", &json!({"orgId": "acme", "name": "Acme"})).ok(201);
    server.post("/api/v1/models?org=acme", &json!({"modelId": "meter", "points": {}})).ok(201);
    let keys = |path: &str| -> Vec<String> {
        let list = server.get(path).ok(200);
        list.as_array().unwrap().iter().map(|m| m["modelId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("/api/v1/models"), ["turbine", "meter"]);
    assert_eq!(keys("/api/v1/models?org=acme"), ["meter"]);
    assert_eq!(server.get("/api/v1/models?org=nope").refused(404).0, "not_found");

    let made = server.post("/api/v1/devices", &json!({"productKey": "pk", "timezone": "+08:00"})).ok(201);
    assert!(made["deviceSecret"].as_str().is_some_and(|s| !s.is_empty()) && made["modelId"] == "turbine");
    let path = format!("/api/v1/devices/pk/{}", made["deviceKey"].as_str().unwrap());
    let shown = server.get(&path).ok(200);
    assert_eq!((&shown["assetId"], &shown["deviceSecret"]), (&made["assetId"], &Value::Null));
    assert_eq!(server.get(&format!("{path}?secret=true")).ok(200)["deviceSecret"], made["deviceSecret"]);
    assert_eq!(server.get("/api/v1/devices?limit=2&offset=1").ok(200)[0]["deviceKey"], "d1");
    assert_eq!(server.get("/api/v1/devices?limit=x").refused(400).0, "input");
    let one_wrong = json!([{"productKey": "pk", "deviceKey": "e0"}, {"productKey": "nope"}]);
    assert_eq!(server.post("/api/v1/devices", &one_wrong).refused(404).0, "not_found");
    assert_eq!(server.get("/api/v1/devices/pk/e0").status, 404, "all or none");
    let list = server.get("/api/v1/products").ok(200);
    assert!(list[0]["productKey"] == "pk" && list[0]["productSecret"].is_null());
    server.stop();
}

#[test]
fn newest_values_come_with_time_and_quality() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(1);
    let lines = "{\"asset_id\":\"a0\",\"time\":1767225600500,\"wind_speed\":7.5,\"wind_speed_quality\":3}\n\
                 {\"asset_id\":\"a0\",\"time\":1767225600000,\"wind_speed\":1.0}\n";
    server.ndjson("turbine", lines).ok(200);
    let expected = json!({"asset_id": "a0", "model": "turbine", "points": {"wind_speed": {
        "time": 1_767_225_600_500_i64, "time_iso": "2026-01-01T00:00:00.5Z", "value": 7.5, "quality": 3}, "n": null}});
    assert_eq!(server.get("/api/v1/assets/a0/latest").ok(200), expected);
    assert!(server.get("/api/v1/assets/a0/latest?points=n,pwr").refused(400).1.contains("pwr"));
    server.stop();
}
