//! Bad input, row by row: each gets its documented code or a clear message and moves a counter; the server lives,
//! nothing acknowledged is lost, and another client does not notice.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wattline_tests::admin::post_json;
use wattline_tests::metrics::Metrics;
use wattline_tests::mqtt::encode_publish;
use wattline_tests::server::run_wattline;
use wattline_tests::sign::login;
use wattline_tests::{Connect, Device, Http, Mqtt, Packet, Server};

use super::{BASE_MS, data_dir, start};

/// Messages and rows that were refused, by code.
const REJECTED: &str = "wattline_ingest_rejects_total";
/// Logins that were refused, by reason.
const REFUSED: &str = "wattline_mqtt_connections_refused_total";
/// Messages to topics that are not the sender's.
const FOREIGN: &str = "wattline_mqtt_foreign_topic_messages_total";

/// A server, a device that misbehaves, and one that does its work all the while.
struct Scene {
    _dir: tempfile::TempDir,
    server: Server,
    http: Http,
    bad: Device,
    good: Device,
    good_connection: Mqtt,
    good_sent: i64,
}

impl Scene {
    fn new() -> Scene {
        let dir = data_dir();
        let server = start(dir.path());
        let http = server.http();
        let mut devices = http.create_fleet("bad", 2);
        let good = devices.pop().unwrap();
        let good_connection = good.connect(&server);
        let bad = devices.pop().unwrap();
        Scene { _dir: dir, server, http, bad, good, good_connection, good_sent: 0 }
    }

    /// The good device posts on the connection it has had from the start, and reads its value back.
    fn others_do_not_notice(&mut self) {
        self.good_sent += 1;
        let payload = post_json(1, &json!({"n": self.good_sent}), BASE_MS + self.good_sent);
        let asked = Instant::now();
        let reply = self.good_connection.request(&self.good.topic("post"), &payload).expect("an answer");
        assert_eq!(reply["code"], 200, "{reply}");
        assert!(asked.elapsed() < Duration::from_secs(2), "an answer took {:?}", asked.elapsed());
        let sql = format!("SELECT count(*) FROM bad WHERE asset_id = '{}'", self.good.asset_id);
        assert_eq!(self.http.sql_number(&sql), self.good_sent as f64);
    }

    /// The counter of `code`.
    fn refused(&self, code: u16) -> f64 {
        Metrics::read(&self.http).sum(REJECTED, &format!("code=\"{code}\""))
    }

    /// Rows of the bad device.
    fn bad_rows(&self) -> f64 {
        self.http.sql_number(&format!("SELECT count(*) FROM bad WHERE asset_id = '{}'", self.bad.asset_id))
    }

    /// Sends `payload` and expects a reply with `code` whose message contains `reason`; nothing is stored, the
    /// connection stays useful and others do not notice.
    fn refused_message(&mut self, mqtt: &mut Mqtt, payload: &[u8], code: u16, reason: &str) {
        let before = (self.refused(code), self.bad_rows());
        let reply = mqtt.request(&self.bad.topic("post"), payload).expect("a reply");
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(100)]).into_owned();
        assert_eq!(reply["code"], code, "{shown}: {reply}");
        let message = reply["message"].as_str().unwrap_or("");
        assert!(message.contains(reason), "{shown}: {reply} does not say {reason:?}");
        assert_eq!(self.refused(code), before.0 + 1.0, "the counter of {code} for {shown}");
        assert_eq!(self.bad_rows(), before.1, "nothing of a refused message is stored");
        mqtt.ping().expect("the connection stays");
        self.others_do_not_notice();
    }
}

#[test]
fn a_wrong_password_and_an_unknown_device_are_refused() {
    let mut scene = Scene::new();
    let (pk, dk) = (scene.bad.product_key.clone(), scene.bad.device_key.clone());
    let stamp = "1767225600000";
    let product = scene.http.get(&format!("/api/v1/products/{pk}?secret=true")).ok();
    let product_secret = product["productSecret"].as_str().unwrap().to_owned();
    let refusals = |level| if level == 5 { [0x86, 0x87] } else { [4, 5] };
    for level in [4, 5] {
        for (login, reason) in [
            (login(&pk, &dk, "not the secret", 2, stamp), "signature"),
            (login(&pk, "nobody", &scene.bad.secret, 2, stamp), "unknown_device"),
            (login("no-product", &dk, &scene.bad.secret, 2, stamp), "unknown_device"),
            (login(&pk, &dk, &scene.bad.secret, 3, stamp), "signature"),
            (login(&pk, &dk, &product_secret, 3, stamp), "activation"),
        ] {
            let counter =
                |scene: &Scene| Metrics::read(&scene.http).sum(REFUSED, &format!("reason=\"{reason}\""));
            let before = counter(&scene);
            let shown = format!("{login:?}");
            let connect = Connect { level, ..Connect::new(login) };
            let answer = Mqtt::connect(scene.server.mqtt, &connect).expect("a CONNACK").expect_err(&shown);
            assert!(refusals(level).contains(&answer), "{shown}: CONNACK {answer}");
            assert_eq!(counter(&scene), before + 1.0, "the counter of {reason} for {shown}");
            scene.others_do_not_notice();
        }
    }
    // A client id that says nothing about signing.
    let mut odd = scene.bad.login();
    odd.client_id = "just-a-name".to_owned();
    let answer =
        Mqtt::connect(scene.server.mqtt, &Connect::new(odd)).expect("a CONNACK").expect_err("refused");
    assert!([1, 2, 4, 5].contains(&answer), "CONNACK {answer}");
    scene.others_do_not_notice();
}

#[test]
fn messages_that_are_wrong_get_their_code_and_reason() {
    let mut scene = Scene::new();
    let mut mqtt = scene.bad.connect(&scene.server);
    let post = |points: Value, time: Value| {
        let params = json!({"measurepoints": points, "time": time});
        json!({"id": "1", "version": "1.0", "method": "thing.measurepoint.post", "params": params})
            .to_string()
            .into_bytes()
    };
    let good_time = json!(BASE_MS);
    // Not JSON, or not a message.
    scene.refused_message(&mut mqtt, b"{\"id\":\"1\",", 1220, "");
    scene.refused_message(&mut mqtt, b"\xff\xfe", 1220, "");
    scene.refused_message(&mut mqtt, b"[1,2,3]", 1220, "");
    scene.refused_message(&mut mqtt, b"", 1251, "");
    let nan = br#"{"id":"1","version":"1.0","method":"thing.measurepoint.post","params":{"measurepoints":{"p0":NaN},"time":1704067200000}}"#;
    scene.refused_message(&mut mqtt, nan, 1220, "");
    let huge = br#"{"id":"1","version":"1.0","method":"thing.measurepoint.post","params":{"measurepoints":{"p0":1e999},"time":1704067200000}}"#;
    scene.refused_message(&mut mqtt, huge, 1206, "p0");
    // The method says something else than the topic.
    let other = String::from_utf8(post(json!({"p0": 1}), good_time.clone())).unwrap();
    scene.refused_message(&mut mqtt, other.replace("measurepoint.post", "event.post").as_bytes(), 1260, "");
    // Wrong types, each naming its point.
    for (points, name) in [
        (json!({"p0": "fast"}), "p0"),
        (json!({"p0": "NaN"}), "p0"),
        (json!({"p0": true}), "p0"),
        (json!({"p0": [1]}), "p0"),
        (json!({"n": 1.5}), "n"),
        (json!({"state": 3_000_000_000_i64}), "state"),
        (json!({"on": 2}), "on"),
        (json!({"note": 5}), "note"),
        (json!({"note": "x".repeat(1_025)}), "note"),
        // One wrong value refuses the whole message: all points are checked.
        (json!({"p1": 1.0, "p0": "fast"}), "p0"),
    ] {
        scene.refused_message(&mut mqtt, &post(points, good_time.clone()), 1206, name);
    }
    // Unknown points, a quality where the model has none.
    scene.refused_message(&mut mqtt, &post(json!({"zzz": 1}), good_time.clone()), 1204, "zzz");
    let quality = post(json!({"p0": {"value": 1, "quality": 3}}), good_time.clone());
    scene.refused_message(&mut mqtt, &quality, 1204, "p0");
    // Times: year 1, year 9999, before 1970, next year, not a number.
    let next_year = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64 + 366 * 86_400_000;
    for time in [
        json!(-62_135_596_800_000_i64),
        json!(253_402_300_799_000_i64),
        json!(-1),
        json!(next_year),
        json!("yesterday"),
        json!(9.3e18),
    ] {
        scene.refused_message(&mut mqtt, &post(json!({"p0": 1.0}), time), 1206, "time");
    }
    // And after all that the same connection still posts.
    let reply = mqtt.request(&scene.bad.topic("post"), &post(json!({"p0": 1.0}), good_time)).unwrap();
    assert_eq!(reply["code"], 200, "{reply}");
    assert_eq!(scene.bad_rows(), 1.0);
}

#[test]
fn a_message_of_513_kb_is_refused_by_name() {
    let mut scene = Scene::new();
    let mut mqtt = scene.bad.connect(&scene.server);
    let text = |bytes: usize| {
        let mut message = post_json(1, &json!({"p0": 1.0}), BASE_MS);
        message.resize(bytes, b' ');
        message
    };
    // 512 KB is the limit itself.
    let reply = mqtt.request(&scene.bad.topic("post"), &text(512 * 1024)).expect("a reply");
    assert_eq!(reply["code"], 200, "{reply}");
    let before = scene.refused(1008);
    let reply = mqtt.request(&scene.bad.topic("post"), &text(513 * 1024)).expect("a reply");
    assert_eq!(reply["code"], 1008, "{reply}");
    assert_eq!(scene.refused(1008), before + 1.0);
    mqtt.ping().expect("the connection stays");
    scene.others_do_not_notice();
    assert_eq!(scene.bad_rows(), 1.0);
}

#[test]
fn a_topic_that_is_not_the_devices_own_is_refused() {
    let mut scene = Scene::new();
    let foreign = scene.good.topic("post");
    let message = post_json(1, &json!({"p0": 66.0}), BASE_MS);
    for (level, topic) in [(4, foreign.as_str()), (5, foreign.as_str()), (4, "/some/where"), (5, "$SYS/x")] {
        let connect = Connect { level, ..Connect::new(scene.bad.login()) };
        let mut mqtt = Mqtt::connect(scene.server.mqtt, &connect).unwrap().unwrap();
        let before = Metrics::read(&scene.http).sum(FOREIGN, "");
        let answer = mqtt.publish_acked(topic, &message);
        match (level, &answer) {
            // 3.1.1 has no word for it: an acknowledgement that stores nothing, or the end of the connection.
            (4, Ok(0)) | (4, Err(_)) => {}
            // MQTT 5: not authorized, or topic name invalid.
            (5, Ok(0x87 | 0x90) | Err(_)) => {}
            other => panic!("{topic}: {other:?}"),
        }
        assert_eq!(Metrics::read(&scene.http).sum(FOREIGN, ""), before + 1.0, "the counter for {topic}");
        let stored = scene.http.sql_number("SELECT count(*) FROM bad WHERE p0 = 66");
        assert_eq!(stored, 0.0, "nothing is written for another device");
        scene.others_do_not_notice();
    }
    // Nor may it listen to another device's replies.
    let mut mqtt = scene.bad.connect_bare(&scene.server);
    let granted = mqtt.subscribe(&format!("{foreign}_reply")).unwrap_or(0x80);
    assert!(granted >= 0x80, "a foreign subscription was granted with {granted}");
    scene.others_do_not_notice();
}

#[test]
fn bytes_that_are_no_mqtt_end_the_connection_and_nothing_else() {
    let mut scene = Scene::new();
    let mut login = Connect::new(scene.bad.login()).encode();
    login[4..8].copy_from_slice(b"QTTM");
    let mut publish = Vec::new();
    encode_publish(&mut publish, 4, &scene.bad.topic("post"), b"{}", 1, 1, false);
    let cases: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        &[0xff; 64],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x10, 0x7f],
        &login,
        &publish,
    ];
    for bytes in cases {
        let mut mqtt = Mqtt::open(scene.server.mqtt, 4).unwrap();
        mqtt.send(bytes).unwrap();
        if bytes == [0x10, 0x7f] {
            // Half a packet is no crime; the other side hangs up instead.
            drop(mqtt);
        } else {
            let answer = mqtt.receive(Duration::from_secs(60));
            match answer {
                Ok(Packet::ConnAck(code)) => assert_ne!(code, 0, "{bytes:?}"),
                Err(error) => assert_ne!(error.kind(), io::ErrorKind::TimedOut, "{bytes:?}"),
                Ok(other) => panic!("{bytes:?}: {other:?}"),
            }
        }
        scene.others_do_not_notice();
    }
    // Wrong packets after a good login.
    for bytes in [&[0xf0, 0][..], &[0x30, 1, 0][..], &[0x82, 2, 0, 1][..], &[0x36, 2, 0, 0][..]] {
        let mut mqtt = scene.bad.connect_bare(&scene.server);
        mqtt.send(bytes).unwrap();
        let error = loop {
            match mqtt.receive(Duration::from_secs(60)) {
                Ok(Packet::Disconnect(_)) => {}
                Ok(other) => panic!("{bytes:?}: {other:?}"),
                Err(error) => break error,
            }
        };
        assert_ne!(error.kind(), io::ErrorKind::TimedOut, "{bytes:?}");
        scene.others_do_not_notice();
    }
}

#[test]
fn http_and_sql_name_what_is_wrong() {
    let mut scene = Scene::new();
    let sql = |text: &str| scene.http.post("/sql", "application/sql", "application/json", text.as_bytes());
    for (text, part) in [
        ("SELEC 1", "SELEC"),
        ("SELECT nosuch FROM bad", "nosuch"),
        ("SELECT * FROM nosuch", "nosuch"),
        ("SELECT p0 FROM bad WHERE time > 'not a time'", "not a time"),
        ("DROP TABLE bad", ""),
        ("", ""),
    ] {
        let answer = sql(text);
        assert!((400..500).contains(&answer.status), "{text:?}: {} {}", answer.status, answer.text());
        assert!(answer.text().contains(part), "{text:?}: {}", answer.text());
    }
    for (path, body) in [
        ("/api/v1/models", "not json"),
        ("/api/v1/models", "{}"),
        ("/api/v1/products", r#"{"productKey": "x", "modelId": "nosuch"}"#),
        ("/api/v1/devices", r#"{"productKey": "nosuch", "deviceKey": "x"}"#),
        ("/sql", r#"{"sql": 5}"#),
    ] {
        let answer = scene.http.post(path, "application/json", "application/json", body.as_bytes());
        assert!((400..500).contains(&answer.status), "{path} {body}: {} {}", answer.status, answer.text());
        assert!(!answer.text().is_empty(), "{path} {body}");
    }
    assert_eq!(scene.http.get("/api/v1/assets/nosuch/latest").status, 404);
    assert_eq!(scene.http.get("/nosuch").status, 404);
    // Bulk: the good rows are stored, the bad ones named.
    let good = &scene.good.asset_id;
    let rows = format!(
        "{{\"asset_id\":\"{good}\",\"time\":\"2023-01-01T00:00:00Z\",\"p0\":1.5}}\n\
         {{\"asset_id\":\"{good}\",\"time\":\"2023-01-01T00:00:01Z\",\"p0\":\"fast\"}}\n\
         {{\"asset_id\":\"nosuch\",\"time\":\"2023-01-01T00:00:02Z\",\"p0\":1.5}}\n"
    );
    let path = "/api/v1/models/bad/samples";
    let answer = scene.http.post(path, "application/x-ndjson", "application/json", rows.as_bytes()).ok();
    assert_eq!((&answer["samples"], &answer["rejected"]), (&json!(1), &json!(2)), "{answer}");
    let rejects = answer["rejects"].as_array().unwrap();
    assert_eq!((&rejects[0]["row"], &rejects[0]["field"]), (&json!(1), &json!("p0")), "{answer}");
    assert_eq!(rejects[1]["row"], 2, "{answer}");
    let stored = scene.http.sql("SELECT p0 FROM bad WHERE time < TIMESTAMP '2023-06-01T00:00:00Z'");
    assert_eq!(stored, [["1.5"]]);
    let answer = scene.http.post(path, "application/vnd.apache.arrow.stream", "application/json", b"garbage");
    assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.text());
    scene.good_sent += 1; // the row of 2023
    scene.others_do_not_notice();
}

/// Runs `wattline import` of `text` for the good device.
fn import(scene: &Scene, dir: &Path, text: &[u8], more: &[&str]) -> (i32, String) {
    let file = dir.join("input.csv");
    std::fs::write(&file, text).unwrap();
    let url = format!("http://{}", scene.server.http);
    let device = format!("{}/{}", scene.bad.product_key, scene.bad.device_key);
    let mut args =
        vec!["import", file.to_str().unwrap(), "--server", &url, "--model", "bad", "--device", &device];
    args.extend(more);
    let (code, stdout, stderr) = run_wattline(&args);
    (code, format!("{stdout}\n{stderr}"))
}

#[test]
fn a_truncated_csv_is_imported_up_to_its_bad_line_which_is_named() {
    let mut scene = Scene::new();
    let dir = data_dir();
    let rejects = dir.path().join("rejects.csv");
    let flag = format!("--rejects={}", rejects.display());
    let text = b"time,p0,p1\n2024-01-01 00:00:00,1.5,2.5\n2024-01-01 00:10:00,fast,2.5\n2024-01-01 00:20:00,3.5,4.5\n2024-01-01 00:3";
    let (code, output) = import(&scene, dir.path(), text, &[&flag]);
    assert_ne!(code, 0, "lines were refused: {output}");
    assert!(output.contains('3') && output.contains("p0"), "the bad value is named: {output}");
    let kept = std::fs::read_to_string(&rejects).unwrap();
    assert!(kept.contains("fast") && kept.contains("2024-01-01 00:3"), "{kept}");
    let rows = scene
        .http
        .sql(&format!("SELECT p0, p1 FROM bad WHERE asset_id = '{}' ORDER BY time", scene.bad.asset_id));
    assert_eq!(rows, [["1.5", "2.5"], ["3.5", "4.5"]]);
    scene.others_do_not_notice();
}

#[test]
fn a_csv_header_that_is_not_utf_8_is_read_or_refused_with_a_reason() {
    let mut scene = Scene::new();
    let dir = data_dir();
    // The degree sign of GB2312, as in the wind file.
    let text = b"time,p0 (\xa1\xe3)\n2024-01-01 00:00:00,1.5\n";
    let (code, output) = import(&scene, dir.path(), text, &["--encoding=utf-8", "--skip-unknown"]);
    assert_ne!(code, 0, "{output}");
    assert!(output.to_lowercase().contains("utf-8"), "{output}");
    assert_eq!(scene.bad_rows(), 0.0);
    let (code, output) = import(&scene, dir.path(), text, &["--encoding=gb2312", "--map=p0 (°)=p0"]);
    assert_eq!(code, 0, "{output}");
    assert_eq!(scene.bad_rows(), 1.0);
    // No column is a point.
    let (code, output) = import(&scene, dir.path(), b"time,zzz\n2024-01-01 00:00:00,1.5\n", &[]);
    assert_ne!(code, 0, "{output}");
    assert!(output.contains("zzz"), "{output}");
    scene.others_do_not_notice();
}
