//! Events of devices: posted over MQTT and HTTP, found by searches, kept through kills, told once.

use serde_json::{Value, json};
use wattline_tests::admin::model_json;
use wattline_tests::http::Http;
use wattline_tests::{Server, python};

use super::{data_dir, start};

/// 2024-03-05 08:00:30 at +08:00, milliseconds.
const T: i64 = 1_709_596_830_000;

fn plant(http: &Http) {
    http.create_model(&model_json("TurbineModel", &[("wind_speed", "DOUBLE")]));
    http.create_product("pk02", "TurbineModel");
    let device = |key: &str, zone: &str| json!({"productKey": "pk02", "deviceKey": key, "assetId": format!("a-{key}"), "timezone": zone});
    let devices = json!([device("wt-07", "+08:00"), device("wt-08", "+08:00"), device("wt-09", "UTC")]);
    http.post_json("/api/v1/devices", &devices).ok();
}

fn post(http: &Http, device: &str, name: &str, output: &Value, time: i64) -> Value {
    let item = json!({"productKey": "pk02", "deviceKey": device, "time": time, "events": {name: output}});
    let message = json!({"method": "integration.event.post", "version": "1.1", "params": [item]});
    http.post_json("/connect-service/v2.1/integration?action=postEvent&orgId=default", &message).json()
}

fn search(http: &Http, body: &Value) -> Value {
    http.post_json("/connect-service/v2.1/events?action=search&orgId=default", body).json()
}

#[test]
fn the_specs_search_finds_the_specs_event() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    plant(&http);
    assert_eq!(search(&http, &json!({}))["data"], json!([]), "before there were any");
    assert_eq!(post(&http, "wt-07", "pitch_fault", &json!({"code": 116}), T)["code"], 0);
    post(&http, "wt-08", "pitch_fault", &json!({"code": 117}), T + 1_000);
    post(&http, "wt-09", "yaw_fault", &json!({"code": 5}), T + 2_000);
    // The example of the specification, §7.2, without types: models do not define events here.
    let body = json!({"expression": "tslEventKey = 'pitch_fault' and deviceKey in ('wt-07','wt-08')",
        "startTime": "2024-03-05 00:00:00", "endTime": "2024-03-06 00:00:00",
        "pagination": {"pageNo": 1, "pageSize": 10}});
    let found = search(&http, &body);
    let event = &found["data"][1];
    let expected = json!({"eventId": event["eventId"], "orgId": "default", "productKey": "pk02", "deviceKey": "wt-07",
        "assetId": "a-wt-07", "tslEventKey": "pitch_fault", "tslEventType": null, "output": "{\"code\":116}",
        "timestamp": T, "localtime": "2024-03-05 08:00:30"});
    assert_eq!(event, &expected, "{found}");
    assert_eq!(found["data"][0]["deviceKey"], "wt-08", "the newest come first");
    assert_eq!(found["pagination"], json!({"sortedBy": null, "pageNo": 1, "pageSize": 10, "totalSize": 2}));
    let id = event["eventId"].as_str().unwrap();
    let path = format!("/connect-service/v2.1/events?action=get&orgId=default&eventId={id}");
    assert_eq!(http.get(&path).json()["data"], expected);
    assert_eq!(http.get(&path.replace(id, "20240305ab01")).json()["code"], 99_404);

    // Local times are those of each asset's clock: at UTC it is not yet eight.
    let keys = |body: &Value| -> Vec<String> {
        let found = search(&http, body);
        let list = found["data"].as_array().unwrap_or_else(|| panic!("{found}"));
        list.iter().map(|event| event["deviceKey"].as_str().unwrap().to_owned()).collect()
    };
    let local = json!({"startTime": "2024-03-05 08:00:00", "endTime": "2024-03-05 09:00:00"});
    assert_eq!(keys(&local), ["wt-08", "wt-07"]);
    let absolute = |rest: Value| {
        let mut body = json!({"startTime": "2024-03-05T00:00:00Z", "endTime": "2024-03-05T01:00:00Z"});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    };
    assert_eq!(keys(&absolute(json!({}))), ["wt-09", "wt-08", "wt-07"]);
    assert_eq!(keys(&absolute(json!({"pagination": {"pageNo": 2, "pageSize": 2}}))), ["wt-07"]);
    assert_eq!(keys(&absolute(json!({"assetId": "a-wt-08"}))), ["wt-08"]);
    assert_eq!(keys(&absolute(json!({"productKey": "pk02", "deviceKey": "wt-09"}))), ["wt-09"]);
    assert_eq!(keys(&absolute(json!({"tslEventKey": "yaw_fault"}))), ["wt-09"]);
    assert_eq!(keys(&absolute(json!({"expression": "not tslEventKey like 'PITCH'"}))), ["wt-09"]);
    assert!(keys(&absolute(json!({"tslEventType": "ERROR"}))).is_empty());
    assert!(keys(&absolute(json!({"assetId": "nobody"}))).is_empty());
    assert!(keys(&json!({})).is_empty(), "of the last week there are none");
    for (body, reason) in [
        (json!({"expression": "deviceKey in ('wt-07'"}), "at character 22: expected \",\" or \")\""),
        (json!({"startTime": "yesterday"}), "startTime"),
        (json!({"pagination": {"sorters": [{"field": "deviceKey"}]}}), "newest come first"),
    ] {
        let refused = search(&http, &body);
        assert_eq!(refused["code"], 99_400, "{refused}");
        assert!(refused["msg"].as_str().unwrap().contains(reason), "{refused}");
    }
}

#[test]
fn events_over_mqtt_are_durable_and_the_same_once_more_is_one() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    http.create_model(&model_json("Boiler", &[("temp", "DOUBLE")]));
    http.create_product("pkB", "Boiler");
    let device = http.create_device("pkB", "b1");
    let mut mqtt = device.connect_bare(&server);
    let topic = |name: &str| format!("/sys/pkB/b1/thing/event/{name}/post");
    mqtt.subscribe("/sys/pkB/b1/#").unwrap();
    // The message of the specification, device protocol §4.4.
    let event = |name: &str, output: Value| {
        json!({"id": "7", "version": "1.0", "method": format!("thing.event.{name}.post"),
            "params": {"events": output, "time": 1_767_225_600_000_i64}})
    };
    let message = event("OverTemp", json!({"level": 2, "temp": 91.5}));
    for _ in 0..2 {
        let reply = mqtt.request(&topic("OverTemp"), message.to_string().as_bytes()).unwrap();
        assert_eq!(reply, json!({"id": "7", "code": 200, "data": {}}));
    }
    for (name, message, code) in [
        ("OverTemp", json!({"id": "8", "method": "thing.event.Other.post", "params": {"events": {}}}), 1260),
        ("OverTemp", json!({"id": "8", "params": {"events": 5}}), 1206),
        ("OverTemp", json!({"id": "8", "params": {"events": {}, "time": -1}}), 1206),
        ("OverTemp", json!({"id": "8", "params": {}}), 1251),
        ("OverTemp", json!({"id": "8"}), 1251),
        ("not a name", json!({"id": "8", "params": {"events": {}}}), 1204),
    ] {
        let reply = mqtt.request(&topic(name), message.to_string().as_bytes()).unwrap();
        assert_eq!((&reply["id"], &reply["code"]), (&json!("8"), &json!(code)), "{reply}");
    }
    server.kill();
    let server = Server::start(dir.path(), &[]);
    let http = server.http();
    let body = json!({"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-02T00:00:00Z"});
    let found = search(&http, &body);
    assert_eq!(found["pagination"]["totalSize"], 1, "{found}");
    // Events are a table: SQL, backups and deletions know them as any other.
    let rows = http.sql("SELECT asset_id, \"OverTemp\" FROM device_events");
    assert_eq!(rows, [[device.asset_id.as_str(), r#"{"level":2,"temp":91.5}"#]]);
    let kept = http.get("/api/v1/events/retention").json();
    assert_eq!(kept, json!({"retention": null}));
}

#[test]
fn a_form_of_an_http_library_posts_events() {
    let dir = data_dir();
    let server = start(dir.path());
    plant(&server.http());
    let url = format!("http://{}", server.http);
    let out = python::run("http_events.py", &[&url, &T.to_string()]);
    let answers: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&answers["events"]["code"], &answers["points"]["code"]), (&json!(0), &json!(0)), "{answers}");
    assert_eq!(server.http().sql("SELECT asset_id FROM device_events"), [["a-wt-07"]]);
    assert_eq!(server.http().sql("SELECT wind_speed FROM \"TurbineModel\""), [["7.5"]]);
}
