//! A graceful stop, a restart, redelivery: everything is there, once.

use serde_json::json;
use wattline_tests::admin::post_json;
use wattline_tests::mqtt::encode_publish;
use wattline_tests::{Packet, Server};

use super::{BASE_MS, data_dir, start};

#[test]
fn promise_1_acknowledged_is_visible_to_the_next_query() {
    let dir = data_dir();
    let server = start(dir.path());
    let device = server.http().create_fleet("visible", 1).remove(0);
    let mut mqtt = device.connect_bare(&server);
    for i in 0..50_i64 {
        let code =
            mqtt.publish_acked(&device.topic("post"), &post_json(1, &json!({"n": i}), BASE_MS + i)).unwrap();
        assert_eq!(code, 0);
        assert_eq!(server.http().sql_number("SELECT count(*) FROM visible"), (i + 1) as f64);
        assert_eq!(server.http().sql_number("SELECT n FROM latest.visible"), i as f64);
    }
}

#[test]
fn promise_9_a_graceful_stop_under_load_loses_nothing_acknowledged() {
    let dir = data_dir();
    let server = start(dir.path());
    let device = server.http().create_fleet("graceful", 1).remove(0);
    let mut mqtt = device.connect_bare(&server);
    // Messages go on while the server is told to stop; every PUBACK that arrives counts.
    let mut acknowledged = Vec::new();
    let mut ids = std::collections::HashMap::new();
    for i in 0..2_000_i64 {
        let sent = mqtt.publish(&device.topic("post"), &post_json(1, &json!({"n": i}), BASE_MS + i), 1);
        match sent {
            Ok(id) => ids.insert(id, i),
            Err(_) => break,
        };
        if i == 500 {
            server.ask_to_stop();
        }
    }
    while let Ok(packet) = mqtt.receive(std::time::Duration::from_secs(10)) {
        if let Packet::PubAck(id, 0) = packet {
            acknowledged.push(ids[&id]);
        }
    }
    assert!(server.wait().success(), "a graceful stop is a success");
    assert!(!acknowledged.is_empty());

    let server = start(dir.path());
    let stored: std::collections::HashSet<i64> =
        server.http().sql("SELECT n FROM graceful").iter().map(|row| row[0].parse().unwrap()).collect();
    for n in &acknowledged {
        assert!(stored.contains(n), "acknowledged sample {n} is lost");
    }
    assert!(stored.iter().all(|n| (0..2_000).contains(n)));
}

#[test]
fn latest_values_history_and_devices_survive_restarts() {
    let dir = data_dir();
    let server = start(dir.path());
    let device = server.http().create_fleet("again", 1).remove(0);
    let mut mqtt = device.connect(&server);
    let mut post = |points, time| {
        let reply = mqtt.request(&device.topic("post"), &post_json(7, &points, time)).unwrap();
        assert_eq!((&reply["code"], &reply["id"]), (&json!(200), &json!("7")), "{reply}");
    };
    post(
        json!({"p0": 1.0, "n": 9_007_199_254_740_993_i64, "on": true, "note": "größer, \"quoted\""}),
        BASE_MS + 1,
    );
    post(json!({"p0": 2.0}), BASE_MS + 2);
    post(json!({"p0": -0.0, "p1": 0.1}), BASE_MS);
    let all = "SELECT time, p0, p1, n, \"on\", note FROM again ORDER BY time";
    let latest = "SELECT p0, p1, n, \"on\", note FROM latest.again";
    let http = server.http();
    let before = (http.sql(all), http.sql(latest), http.get(&latest_path(&device.asset_id)).ok());
    assert_eq!(before.0.len(), 3);
    assert_eq!(before.1.len(), 1);
    assert_eq!(before.1[0][2..], ["9007199254740993", "true", "größer, \"quoted\""]);
    assert_eq!(before.1[0][0].parse::<f64>().unwrap(), 2.0, "older data does not move the latest value back");

    // Graceful, then hard: the first leaves nothing to replay, the second leaves everything since.
    assert!(server.terminate().success());
    let server = start(dir.path());
    let http = server.http();
    assert_eq!((http.sql(all), http.sql(latest), http.get(&latest_path(&device.asset_id)).ok()), before);
    server.kill();
    let server = start(dir.path());
    let http = server.http();
    assert_eq!((http.sql(all), http.sql(latest), http.get(&latest_path(&device.asset_id)).ok()), before);
    // The device logs in with the secret it has, and its next message is stored.
    let mut mqtt = device.connect(&server);
    let reply = mqtt.request(&device.topic("post"), &post_json(8, &json!({"p0": 3.0}), BASE_MS + 3)).unwrap();
    assert_eq!(reply["code"], 200);
    assert_eq!(http.sql_number("SELECT p0 FROM latest.again"), 3.0);
}

#[test]
fn promise_4_redelivery_changes_nothing_and_promise_2_the_last_write_wins() {
    let dir = data_dir();
    let server = start(dir.path());
    let device = server.http().create_fleet("twice", 1).remove(0);
    let mut mqtt = device.connect_bare(&server);
    let topic = device.topic("post");
    let first = post_json(1, &json!({"p0": 1.5, "n": 1}), BASE_MS);
    for duplicate in [false, true, true] {
        let mut packet = Vec::new();
        encode_publish(&mut packet, 4, &topic, &first, 1, 77, duplicate);
        mqtt.send(&packet).unwrap();
        assert_eq!(mqtt.receive(wattline_tests::mqtt::ANSWER_TIMEOUT).unwrap(), Packet::PubAck(77, 0));
    }
    let rows = "SELECT p0, n FROM twice ORDER BY time";
    assert_eq!(server.http().sql(rows), [["1.5", "1"]]);
    // Another value for one of the points at the same time: it wins, the other point keeps its own.
    assert_eq!(mqtt.publish_acked(&topic, &post_json(2, &json!({"p0": 2.5}), BASE_MS)).unwrap(), 0);
    assert_eq!(server.http().sql(rows), [["2.5", "1"]]);
    // And the answer is the same after a restart.
    assert!(server.terminate().success());
    let server = start(dir.path());
    assert_eq!(server.http().sql(rows), [["2.5", "1"]]);
}

#[test]
fn two_servers_do_not_share_a_directory() {
    let dir = data_dir();
    let _server = start(dir.path());
    let second = Server::try_start(dir.path(), &[]);
    let log = second.expect_err("a directory in use is refused");
    assert!(log.contains("in use"), "{log}");
}

#[test]
fn settings_that_do_not_exist_are_refused_by_name() {
    let dir = data_dir();
    let config = dir.path().join("wattline.toml");
    std::fs::write(&config, "shards = 2\nmemory_budgte = \"1GiB\"\n[http]\nlisten = \"off\"\n").unwrap();
    let log = Server::try_start(dir.path(), &["--config", config.to_str().unwrap()]).expect_err("refused");
    assert!(
        log.contains("memory_budgte") && log.contains("memory_budget") && log.contains("line 2"),
        "{log}"
    );
}

fn latest_path(asset_id: &str) -> String {
    format!("/api/v1/assets/{asset_id}/latest")
}
