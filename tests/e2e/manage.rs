//! Managing who exists over the EnOS-compatible API: the documented examples, and what follows from them elsewhere: in
//! SQL, in the data service, at the MQTT endpoint, after a restart.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wattline_tests::admin::post_json;
use wattline_tests::http::Http;
use wattline_tests::server::repo;
use wattline_tests::{Connect, Device, Mqtt};

use super::{BASE_MS, data_dir, start};

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The body of an answer that must be good, of the call `path?query`.
#[track_caller]
fn ok(http: &Http, call: &str, body: &Value) -> Value {
    let call = format!("{call}&orgId=default");
    let answer = if body.is_null() { http.get(&call) } else { http.post_json(&call, body) };
    let json = answer.json();
    assert_eq!(
        (answer.status, &json["code"], &json["msg"]),
        (200, &json!(0), &json!("OK")),
        "{call}: {json}"
    );
    json["data"].clone()
}

/// The code of a refusal, which HTTP calls a success.
#[track_caller]
fn refused(http: &Http, call: &str, body: &Value, code: u32) {
    let answer = http.post_json(&format!("{call}&orgId=default"), body);
    assert_eq!(
        (answer.status, answer.json()["code"].as_u64()),
        (200, Some(code.into())),
        "{}",
        answer.text()
    );
}

const DEVICES: &str = "/connect-service/v2.1/devices?action=";
const ASSETS: &str = "/asset-service/v2.1/assets?action=";
const TREES: &str = "/asset-tree-service/v2.1/asset-trees?action=";
const NODES: &str = "/asset-tree-service/v2.1/asset-nodes?action=";
const MODELS: &str = "/model-service/v2.1/thing-models?action=";

fn turbine_model(http: &Http) {
    let model = json!({"modelId": "TurbineModel", "measurepoints": {
            "wind_speed": {"identifier": "wind_speed", "dataType": "DOUBLE", "signalType": "AI", "hasQuality": false}},
        "attributes": {"hub_height": {"dataType": "INT", "required": true}, "owner": {"dataType": "STRING"}},
        "services": {}, "events": {}});
    assert_eq!(ok(http, &format!("{MODELS}create"), &model), "TurbineModel");
    http.create_product("pk02", "TurbineModel");
}

/// The specification's example of §7.4, with the attribute that the model requires.
fn create_device(http: &Http, key: &str) -> Device {
    let body = json!({"productKey": "pk02", "deviceKey": key, "timezone": "+08:00",
                      "deviceName": {"defaultValue": "WT 09", "i18nValue": {}}, "deviceAttributes": {"hub_height": 80}});
    let made = ok(http, &format!("{DEVICES}create"), &body);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Device {
        product_key: text("productKey"),
        device_key: text("deviceKey"),
        secret: text("deviceSecret"),
        asset_id: text("assetId"),
    }
}

#[test]
fn a_device_lives_from_its_registration_to_its_end() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    turbine_model(&http);
    let device = create_device(&http, "wt-09");
    refused(
        &http,
        &format!("{DEVICES}create"),
        &json!({"productKey": "none", "deviceName": "x", "timezone": "UTC"}),
        99_404,
    );
    let get = format!("{DEVICES}get&assetId={}", device.asset_id);
    assert_eq!(ok(&http, &get, &Value::Null)["status"], "inactive");

    let mut mqtt = device.connect(&server);
    let message = post_json(1, &json!({"wind_speed": 7.4}), BASE_MS);
    assert_eq!(mqtt.request(&device.topic("post"), &message).unwrap()["code"], 200);
    assert_eq!(ok(&http, &get, &Value::Null)["status"], "online");
    // The specification's example of §7.1.
    let update = json!({"asset": {"assetId": device.asset_id, "attributes": {"hub_height": 90}, "tags": {"farm": "A"}}});
    ok(&http, &format!("{ASSETS}update&isPatchUpdate=true"), &update);
    let rows = http.sql("SELECT attributes, tags FROM assets WHERE device_key = 'wt-09'");
    assert_eq!(rows, [[r#"{"hub_height":90}"#, r#"{"farm":"A"}"#]]);

    // Disabled: the session ends at once, though the device is silent, and it does not come back.
    ok(&http, &format!("{DEVICES}disable&productKey=pk02&deviceKey=wt-09"), &json!({}));
    let begin = Instant::now();
    let over = loop {
        match mqtt.receive(Duration::from_secs(10)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(over.kind(), std::io::ErrorKind::UnexpectedEof, "{over}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let login = || Mqtt::connect(server.mqtt, &Connect::new(device.login())).unwrap();
    assert!(login().is_err());
    assert_eq!(ok(&http, &get, &Value::Null)["status"], "disable");
    let found = ok(&http, &format!("{DEVICES}search"), &json!({"expression": "status = 'disable'"}));
    assert_eq!(found[0]["assetId"], json!(device.asset_id));
    ok(&http, &format!("{DEVICES}enable&assetId={}", device.asset_id), &json!({}));
    let mut mqtt = login().expect("enabled again");

    // Deleted: its session, its samples and its keys are gone, and another device may have the keys.
    assert_eq!(http.sql_number("SELECT count(*) FROM \"TurbineModel\""), 1.0);
    ok(&http, &format!("{DEVICES}delete&assetId={}", device.asset_id), &json!({}));
    assert!(mqtt.receive(Duration::from_secs(10)).is_err());
    assert_eq!(http.sql_number("SELECT count(*) FROM \"TurbineModel\""), 0.0);
    assert_eq!(http.sql_number("SELECT count(*) FROM latest.\"TurbineModel\""), 0.0);
    assert!(login().is_err());
    let latest = "/tsdb-service/v2.1/latest?orgId=default";
    let body = json!({"assetIds": device.asset_id, "pointIds": "wind_speed"});
    assert_eq!(http.post_json(latest, &body).json()["code"], 80_401);
    let again = create_device(&http, "wt-09");
    assert_ne!(again.asset_id, device.asset_id);
    let mut mqtt = again.connect(&server);
    assert_eq!(mqtt.request(&again.topic("post"), &message).unwrap()["code"], 200);
    drop(mqtt);
    server.terminate();

    let server = start(dir.path());
    let http = server.http();
    assert_eq!(http.sql_number("SELECT count(*) FROM \"TurbineModel\""), 1.0);
    let actions: Vec<String> = http
        .get("/api/v1/audit")
        .ok()
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    for action in [
        "create model",
        "register device",
        "change asset",
        "disable device",
        "enable device",
        "delete device",
    ] {
        assert!(actions.iter().any(|found| found == action), "{action} in {actions:?}");
    }
}

#[test]
fn a_tree_is_built_and_outlives_a_restart() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    turbine_model(&http);
    let device = create_device(&http, "wt-09");
    let asset = |name: &str| {
        json!({"modelId": "TurbineModel", "name": {"defaultValue": name, "i18nValue": {"zh_CN": name}},
               "timezone": "Asia/Shanghai", "attributes": {"hub_height": 1}})
    };
    let tree = ok(
        &http,
        &format!("{TREES}create"),
        &json!({"asset": asset("root"), "tree": {"name": {"defaultValue": "t"}}}),
    );
    let tree = tree.as_str().unwrap().to_owned();
    let told = ok(&http, &format!("{TREES}get&treeId={tree}"), &Value::Null);
    let root = told["asset"]["assetId"].as_str().unwrap().to_owned();
    let node = |action: &str| format!("{NODES}{action}&treeId={tree}");
    let site =
        ok(&http, &format!("{}&parentAssetId={root}", node("createAsset")), &json!({"asset": asset("site")}));
    let site = site.as_str().unwrap();
    let placed = ok(
        &http,
        &format!("{}&parentAssetId={site}&productKey=pk02&deviceKey=wt-09", node("associateAsset")),
        &json!({}),
    );
    assert_eq!(placed, json!(device.asset_id));
    refused(
        &http,
        &format!("{}&assetId={site}&parentAssetId={}", node("move"), device.asset_id),
        &json!({}),
        17_768,
    );
    refused(&http, &format!("{DEVICES}delete&assetId={}", device.asset_id), &json!({}), 99_400);
    // A logical asset has a row among the assets, and no keys of a device; it takes samples by its id.
    let rows = http.sql("SELECT product_key IS NULL, model FROM assets WHERE name = 'site'");
    assert_eq!(rows, [["true", "TurbineModel"]]);
    let sql = format!(
        "INSERT INTO \"TurbineModel\" (asset_id, time, wind_speed) VALUES ('{site}', '2024-01-01T00:00:00Z', 5)"
    );
    let answer = http.post("/sql", "application/sql", "text/csv", sql.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.terminate();

    let server = start(dir.path());
    let http = server.http();
    let paths = format!("/asset-tree-service/v2.1/asset-paths?action=search&treeId={tree}");
    let told = ok(&http, &paths, &json!({"projection": ["assetPaths"]}));
    assert_eq!(told, json!({"assetPaths": [[root, site, device.asset_id]]}));
    let sums = http.sql("SELECT asset_id, sum(wind_speed) FROM \"TurbineModel\" GROUP BY asset_id");
    assert_eq!(sums, [[site, "5.0"]]);
}

#[test]
fn devices_come_by_the_file() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    turbine_model(&http);
    let template = http.get(&format!("{DEVICES}template&productKey=pk02&orgId=default"));
    assert_eq!((template.status, template.content_type.as_str()), (200, XLSX));
    assert!(template.body.starts_with(b"PK"));

    // Written by openpyxl: line 2 is good, line 4 has texts where the model wants a number.
    let file = std::fs::read(repo().join("dataservice/src/manage/batch/openpyxl.xlsx")).unwrap();
    let import = format!("{DEVICES}import&productKey=pk02&orgId=default");
    let checked = http.post(&format!("{import}&checkOnly=true"), XLSX, "application/json", &file).json();
    assert_eq!(checked["data"]["imported"], 0);
    let form = [
        b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"devices.xlsx\"\r\n\r\n".as_slice(),
        &file,
        b"\r\n--b--\r\n",
    ]
    .concat();
    let answer = http.post(&import, "multipart/form-data; boundary=b", "application/json", &form).json();
    let data = &answer["data"];
    assert_eq!(
        (&data["total"], &data["imported"], &data["failed"]),
        (&json!(2), &json!(1), &json!(1)),
        "{answer}"
    );
    assert!(data["errmsg"].as_str().unwrap().starts_with("Line 4: hub_height: "), "{answer}");
    assert_eq!(http.sql("SELECT device_key, name FROM assets"), [["wt-20", "WT & 20"]]);
    let again = http.post(&import, XLSX, "text/plain", &file);
    assert!(again.content_type.starts_with("text/plain"), "{}", again.content_type);
    assert_eq!(again.text().lines().next(), Some("Line 2: DeviceKey: wt-20 is taken"));

    // What is no such file, one that is too long, and one that becomes a hundred times as long.
    for (body, part) in [
        (b"DeviceKey".to_vec(), "no .xlsx"),
        (vec![0; (2 << 20) + 1], "bytes"),
        (std::fs::read(repo().join("tests/e2e/files/bomb.xlsx")).unwrap(), "unpacked"),
    ] {
        let answer = http.post(&import, XLSX, "application/json", &body).json();
        assert_eq!(answer["code"], 99_400, "{answer}");
        assert!(answer["msg"].as_str().unwrap().contains(part), "{answer}");
    }
    let huge = http.post(&import, XLSX, "application/json", &vec![0; 3 << 20]);
    assert_eq!((huge.status, huge.json()["code"].as_u64()), (413, Some(413)));
}

#[test]
fn a_policy_is_saved_by_its_id_and_rules() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    turbine_model(&http);
    let device = create_device(&http, "wt-09");
    let group =
        json!({"name": "g", "models": ["TurbineModel"], "policies": [{"type": "AI_RAW", "points": {}}]});
    let file = dir.path().join("g.json");
    std::fs::write(&file, group.to_string()).unwrap();
    let (status, _, error) = wattline_tests::server::run_wattline(&[
        "policy",
        "apply",
        "--file",
        file.to_str().unwrap(),
        "--server",
        &format!("http://{}", server.http),
    ]);
    assert_eq!(status, 0, "{error}");
    let id = http.get("/api/v1/policies").ok()[0]["policies"][0]["policyId"].as_str().unwrap().to_owned();
    let path = format!("/tsdb-policy/v2.1/policies/{id}?orgId=default");
    let mut mqtt = device.connect(&server);
    let mut send = |value: f64, ms: i64| {
        let message = post_json(1, &json!({"wind_speed": value}), ms);
        assert_eq!(mqtt.request(&device.topic("post"), &message).unwrap()["code"], 200);
    };
    send(1.0, BASE_MS);
    assert_eq!(http.sql_number("SELECT count(*) FROM \"TurbineModel\""), 0.0, "no policy names the point");
    let body = json!({"retention": "20y", "models": [{"modelId": "TurbineModel", "points": [{"pointId": "wind_speed"}]}]});
    let saved = http.post_json(&path, &body).json();
    assert_eq!((&saved["code"], &saved["data"]), (&json!(0), &Value::Null), "{saved}");
    send(2.0, BASE_MS + 1_000);
    assert_eq!(http.sql_number("SELECT count(*) FROM \"TurbineModel\""), 1.0);
    let told = http.get(&path).json();
    assert_eq!(told["data"]["models"], body["models"]);
    assert_eq!(
        (&told["data"]["retention"], &told["data"]["policyName"]),
        (&json!("20y"), &json!("AI Raw Data"))
    );
    let unknown = http.get("/tsdb-policy/v2.1/policies/none?orgId=default").json();
    assert_eq!(unknown["code"], 80_400);
}
