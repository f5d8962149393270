//! Clients that others wrote, unchanged: mosquitto, paho-mqtt, the published device SDK.

use std::path::Path;

use serde_json::Value;
use wattline_tests::admin::post_json;
use wattline_tests::python;

use super::{BASE_MS, data_dir, start};

#[test]
fn mosquitto_pub_posts_with_qos_1_and_0() {
    let dir = data_dir();
    let server = start(dir.path());
    let device = server.http().create_fleet("mosquitto", 1).remove(0);
    let login = device.login();
    for (qos, version, number) in [("1", "311", 1_i64), ("0", "311", 2), ("1", "5", 3)] {
        let payload = post_json(1, &serde_json::json!({"p0": 7.25 * number as f64}), BASE_MS + number);
        let port = server.mqtt.port().to_string();
        let payload = String::from_utf8(payload).unwrap();
        let topic = device.topic("post");
        let args = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-i",
            &login.client_id,
            "-u",
            &login.username,
            "-P",
            &login.password,
            "-V",
            version,
            "-q",
            qos,
            "-t",
            &topic,
            "-m",
            &payload,
        ];
        python::run_program(Path::new("mosquitto_pub"), args.into_iter());
    }
    let http = server.http();
    // QoS 0 is not acknowledged, so it may take a moment.
    wait_for(|| http.sql_number("SELECT count(*) FROM mosquitto") == 3.0);
    assert_eq!(http.sql("SELECT p0 FROM mosquitto ORDER BY time"), [["7.25"], ["14.5"], ["21.75"]]);
}

#[test]
fn paho_posts_and_gets_replies_with_every_digest() {
    let dir = data_dir();
    let server = start(dir.path());
    let device = server.http().create_fleet("paho", 1).remove(0);
    let cases =
        [("4", "sha256"), ("5", "sha256"), ("4", "SHA1"), ("4", "hmacsha1"), ("4", "md5"), ("5", "hmacmd5")];
    for (number, (protocol, method)) in cases.into_iter().enumerate() {
        let time = (BASE_MS + number as i64 * 10_000).to_string();
        let port = server.mqtt.port().to_string();
        let args = [
            "127.0.0.1",
            &port,
            &device.product_key,
            &device.device_key,
            &device.secret,
            &time,
            protocol,
            method,
        ];
        let codes: Value = serde_json::from_str(&python::run("paho_post.py", &args)).unwrap();
        assert_eq!(codes, serde_json::json!({"1": 200, "2": 200}), "{protocol} {method}");
    }
    assert_eq!(server.http().sql_number("SELECT sum(p0) FROM paho"), 6.0 * 30.75);
}

#[test]
fn the_published_device_sdk_logs_in_posts_batches_and_resumes() {
    let dir = data_dir();
    let server = start(dir.path());
    let device = server.http().create_fleet("sdk", 1).remove(0);
    let url = format!("tcp://127.0.0.1:{}", server.mqtt.port());
    let time = BASE_MS.to_string();
    let out =
        python::run("enos_sdk.py", &[&url, &device.product_key, &device.device_key, &device.secret, &time]);
    let answers: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    for name in ["post", "post_batch", "post_batch_skip", "resume", "resume_batch"] {
        assert_eq!(answers[name][0], 200, "{name}: {answers}");
    }
    for name in ["post_batch_strict", "post_unknown"] {
        assert_eq!(answers[name][0], 1204, "{name}: {answers}");
    }
    // p0 in time order: resumed -3, -2, -1; posted 1.5; the batch 2.5, 3.5, 4.5; the good half of the lenient batch.
    let stored = server.http().sql("SELECT p0 FROM sdk ORDER BY time");
    let expected = ["-3", "-2", "-1", "1.5", "2.5", "3.5", "4.5", "5.5"].map(|v| v.parse::<f64>().unwrap());
    let stored: Vec<f64> = stored.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(stored, expected);
    // What is resumed is old: the latest value stays the newest in event time.
    assert_eq!(server.http().sql_number("SELECT p0 FROM latest.sdk"), 5.5);
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < end, "it did not happen in time");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
