//! Telling devices what to do: with the published device SDK as the device, with one that is away, and with one that does
//! not answer.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wattline_tests::admin::model_json;
use wattline_tests::http::Http;
use wattline_tests::{Device, Packet, Server, python};

use super::{BASE_MS, data_dir, start};

fn plant(http: &Http) -> Device {
    let points = [("Setpoint", "DOUBLE"), ("Power", "STRING"), ("Temp", "DOUBLE")];
    http.create_model(&model_json("Boiler", &points));
    http.create_product("pkBoiler", "Boiler");
    http.create_device("pkBoiler", "boiler-1")
}

fn call(http: &Http, action: &str, rest: &str, body: &Value) -> Value {
    let device = "productKey=pkBoiler&deviceKey=boiler-1";
    let path = format!("/connect-service/v2.1/commands?action={action}&orgId=default&{device}&{rest}");
    http.post_json(&path, body).json()
}

/// Waits until `act` answers with another code than these.
fn until_not(codes: &[i64], mut act: impl FnMut() -> Value) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = act();
        if !codes.contains(&answer["code"].as_i64().unwrap()) {
            return answer;
        }
        assert!(Instant::now() < end, "{answer}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn state(http: &Http, id: &Value) -> Value {
    let told = call(http, "get", &format!("commandId={}", id.as_str().unwrap()), &json!({}));
    assert_eq!(told["code"], 0, "{told}");
    told["data"].clone()
}

fn wait_for_state(http: &Http, id: &Value, expected: i64) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let command = state(http, id);
        if command["state"] == expected {
            return command;
        }
        assert!(Instant::now() < end, "{command}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_published_sdk_obeys_and_its_event_is_found() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    let device = plant(&http);
    let set =
        || call(&http, "setMeasurepoint", "measurepointId=Setpoint&timeout=20", &json!({"value": 30.5}));
    // 11888: it never connected.
    assert_eq!(set()["code"], 11_888);
    // One that waits for the device to connect is first in line.
    let kept = call(&http, "setMeasurepoint", "measurepointId=Setpoint&pendingTtl=600", &json!({"value": 1}));
    assert_eq!((&kept["code"], kept["data"]["commandId"].is_string()), (&json!(0), true), "{kept}");
    assert_eq!(state(&http, &kept["data"]["commandId"])["state"], 1);

    let (url, time) = (format!("tcp://127.0.0.1:{}", server.mqtt.port()), BASE_MS.to_string());
    let args =
        [url, device.product_key.clone(), device.device_key.clone(), device.secret.clone(), time, "5".into()];
    let sdk = thread::spawn(move || python::run("enos_device.py", &args.each_ref().map(String::as_str)));
    wait_for_state(&http, &kept["data"]["commandId"], 5);
    let answer = until_not(&[11_888, 11_900], set);
    assert_eq!((&answer["code"], &answer["msg"]), (&json!(0), &json!("OK")), "{answer}");
    let id = answer["data"]["commandId"].clone();
    let answer = call(&http, "getMeasurepoint", "measurepointIds=Power,Temp", &json!({}));
    assert_eq!(answer["data"]["outputData"], json!({"Power": "on", "Temp": 23}), "{answer}");
    let input = json!({"inputData": {"left": 6, "right": 7}});
    let answer = call(&http, "invokeService", "serviceId=multiply", &input);
    assert_eq!(answer["data"]["outputData"], json!({"result": 42}), "{answer}");
    // What the device refuses comes back as it says it.
    let answer =
        call(&http, "invokeService", "serviceId=fly", &json!({"inputData": {"left": 1, "right": 1}}));
    assert_eq!((&answer["code"], &answer["msg"]), (&json!(2220), &json!("unknown service")), "{answer}");

    let out = sdk.join().unwrap();
    let out: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let told = json!([["MeasurepointSetCommand", {"Setpoint": 1}], ["MeasurepointSetCommand", {"Setpoint": 30.5}],
        ["MeasurepointGetCommand", ["Power", "Temp"]], ["multiply", {"left": 6, "right": 7}], ["fly", {"left": 1, "right": 1}]]);
    assert_eq!((&out["event"], &out["told"]), (&json!(200), &told));

    let command = state(&http, &id);
    let expected = json!({"commandId": id, "orgId": "default", "productKey": "pkBoiler", "deviceKey": "boiler-1",
        "assetId": device.asset_id, "createTime": command["createTime"], "createLocaltime": command["createLocaltime"],
        "commandType": 1, "commandName": {"defaultValue": "Setpoint", "i18nValue": {}}, "timeout": 20, "pendingTtl": 0,
        "state": 5, "tslIdentifier": "Setpoint", "inputData": 30.5, "outputData": command["outputData"], "message": null});
    assert_eq!(command, expected);
    let search = |expression: &str| {
        let body = json!({"expression": expression, "pagination": {"pageNo": 1, "pageSize": 2}});
        call(&http, "search", "", &body)
    };
    let found = search("state = 5 and commandType in (1, 2)");
    let names: Vec<_> =
        found["data"].as_array().unwrap().iter().map(|c| c["tslIdentifier"].clone()).collect();
    assert_eq!(
        (names, &found["pagination"]["totalSize"]),
        (vec![json!("multiply"), json!("Setpoint")], &json!(3))
    );
    // The documented sample of an expression.
    let found = search("commandName.zh_CN like \"fly\" AND createTime >= \"2019-08-13 09:00:00\"");
    assert_eq!((&found["data"][0]["state"], &found["pagination"]["totalSize"]), (&json!(6), &json!(1)));
    let wrong = search("state = 5 and nobody = 1");
    assert_eq!(wrong["code"], 99_400);
    assert!(
        wrong["msg"].as_str().unwrap().starts_with("expression: at character 15: there is no field"),
        "{wrong}"
    );

    // The event that the SDK posted.
    let body = json!({"startTime": "2023-12-31T00:00:00Z", "endTime": "2024-01-02T00:00:00Z"});
    let found = http.post_json("/connect-service/v2.1/events?action=search&orgId=default", &body).json();
    let event = &found["data"][0];
    assert_eq!(
        (&event["tslEventKey"], &event["timestamp"]),
        (&json!("OverTemp"), &json!(BASE_MS)),
        "{found}"
    );
    let output: Value = serde_json::from_str(event["output"].as_str().unwrap()).unwrap();
    assert_eq!(output, json!({"level": 2, "temp": 91.5}));
}

#[test]
fn a_device_that_does_not_answer_times_out_and_one_that_is_away_has_its_commands_wait() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    let device = plant(&http);
    let mut mqtt = device.connect_bare(&server);
    mqtt.ping().unwrap();
    let answer = call(&http, "setMeasurepoint", "measurepointId=Setpoint&timeout=1", &json!({"value": 2}));
    assert_eq!(answer["code"], 11_915, "{answer}");
    assert_eq!(state(&http, &answer["data"]["commandId"])["state"], 7);
    let Packet::Publish { topic, payload, .. } = mqtt.receive(Duration::from_secs(5)).unwrap() else {
        panic!()
    };
    assert_eq!(topic, "/sys/pkBoiler/boiler-1/thing/service/measurepoint/set");
    let message: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(
        (&message["method"], &message["params"]),
        (&json!("thing.service.measurepoint.set"), &json!({"Setpoint": 2}))
    );
    drop(mqtt);

    let offline =
        || call(&http, "setMeasurepoint", "measurepointId=Setpoint&timeout=1", &json!({"value": 3}));
    assert_eq!(until_not(&[11_915], offline)["code"], 11_900);
    let keep = |rest: &str| {
        call(&http, "setMeasurepoint", &format!("measurepointId=Setpoint&{rest}"), &json!({"value": 4}))
    };
    // One behind another expires by its own time.
    let long = keep("pendingTtl=3600")["data"]["commandId"].clone();
    let short = keep("pendingTtl=1")["data"]["commandId"].clone();
    wait_for_state(&http, &short, 3);
    for _ in 1..50 {
        assert_eq!(keep("pendingTtl=3600")["code"], 0);
    }
    assert_eq!(keep("pendingTtl=3600")["code"], 11_902);
    let taken = call(&http, "cancel", &format!("commandId={}", long.as_str().unwrap()), &json!({}));
    assert_eq!((&taken["data"][0]["commandId"], &taken["data"][0]["state"]), (&long, &json!(2)));
    assert_eq!(state(&http, &long)["state"], 2);
    let taken = call(&http, "cancel", "", &json!({}));
    assert_eq!(taken["data"].as_array().map(Vec::len), Some(49));
    for (action, rest, body, code) in [
        ("setMeasurepoint", "measurepointId=nobody", json!({"value": 1}), 99_404),
        ("setMeasurepoint", "measurepointId=Setpoint", json!({"value": "warm"}), 99_400),
        ("setMeasurepoint", "measurepointId=Setpoint", json!({}), 99_400),
        ("setMeasurepoint", "measurepointId=Setpoint&timeout=61", json!({"value": 1}), 99_400),
        ("setMeasurepoint", "measurepointId=Setpoint&pendingTtl=172801", json!({"value": 1}), 99_400),
        ("invokeService", "serviceId=a%2Fb", json!({}), 99_400),
        ("getMeasurepoint", "measurepointIds=nobody", json!({}), 99_404),
        ("get", "commandId=12", json!({}), 99_404),
        ("wish", "", json!({}), 99_400),
    ] {
        assert_eq!(call(&http, action, rest, &body)["code"], code, "{action} {rest}");
    }
}

#[test]
fn commands_that_wait_outlive_a_kill_and_those_in_doubt_are_not_sent_again() {
    let dir = data_dir();
    let server = start(dir.path());
    let device = plant(&server.http());
    let kept = call(&server.http(), "invokeService", "serviceId=reboot&pendingTtl=3600", &json!({}));
    let waiting = kept["data"]["commandId"].clone();
    let mut mqtt = device.connect_bare(&server);
    // It takes the command and never answers; the server dies meanwhile.
    let Packet::Publish { topic, .. } = mqtt.receive(Duration::from_secs(20)).unwrap() else { panic!() };
    assert!(topic.ends_with("thing/service/reboot"), "{topic}");
    let second = call(&server.http(), "invokeService", "serviceId=test&pendingTtl=3600", &json!({}));
    server.kill();
    drop(mqtt);
    let server = Server::start(dir.path(), &[]);
    let http = server.http();
    let doubtful = state(&http, &waiting);
    assert_eq!(doubtful["state"], 7, "{doubtful}");
    assert_eq!(state(&http, &second["data"]["commandId"])["state"], 1);
    let mut mqtt = device.connect_bare(&server);
    let Packet::Publish { topic, payload, .. } = mqtt.receive(Duration::from_secs(20)).unwrap() else {
        panic!()
    };
    assert!(topic.ends_with("thing/service/test"), "{topic}");
    let message: Value = serde_json::from_slice(&payload).unwrap();
    let answer = json!({"id": message["id"], "code": 200, "data": {"ok": true}}).to_string();
    mqtt.publish_acked(&format!("{topic}_reply"), answer.as_bytes()).unwrap();
    let done = wait_for_state(&http, &second["data"]["commandId"], 5);
    assert_eq!(done["outputData"], json!({"ok": true}));
}
