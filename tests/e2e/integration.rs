//! What systems upload over HTTP for devices and assets, the names of May 2019, and deleting a point's metadata.

use serde_json::{Value, json};
use wattline_tests::admin::model_json;
use wattline_tests::http::Http;
use wattline_tests::server::Server;

use super::{data_dir, start};

/// 2024-03-05 08:00:00 at +08:00, milliseconds.
const T: i64 = 1_709_596_800_000;

/// A farm with `farm_power` and `wind_speed`, at +08:00, known as `sR1kV6Nd`.
fn farm(http: &Http) {
    let points = [("farm_power", "DOUBLE"), ("wind_speed", "DOUBLE"), ("photo", "FILE")];
    http.create_model(&model_json("FarmModel", &points));
    http.create_product("pkFarm", "FarmModel");
    let device =
        json!({"productKey": "pkFarm", "deviceKey": "wt-07", "assetId": "sR1kV6Nd", "timezone": "+08:00"});
    http.post_json("/api/v1/devices", &device).ok();
}

/// A form with these parts: name, further parameters of the disposition, content.
fn form(parts: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (name, further, content) in parts {
        body +=
            &format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{further}\r\n\r\n{content}\r\n");
    }
    (body + "--b--\r\n").into_bytes()
}

fn upload(server: &Server, action: &str, message: &Value) -> Value {
    let path = format!("/connect-service/v2.1/integration?action={action}&orgId=default");
    let body = form(&[("enos-message", "", &message.to_string())]);
    server.http().post(&path, "multipart/form-data; boundary=b", "*/*", &body).json()
}

#[test]
fn the_specs_upload_is_stored_and_read_back_as_the_newest() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    farm(&http);
    // The example of the specification, §6.5.
    let message = json!({"method": "integration.measurepoint.post", "id": "21", "version": "1.1",
        "params": [{"assetId": "sR1kV6Nd", "time": T, "measurepoints": {"farm_power": 48250.5}}]});
    let answer = upload(&server, "postMeasurepoint", &message);
    assert_eq!((&answer["code"], &answer["msg"], &answer["data"]), (&json!(0), &json!("OK"), &json!({})));
    assert_eq!(answer["requestId"].as_str().map(str::len), Some(36), "{answer}");
    // Acknowledged is visible.
    assert_eq!(http.sql("SELECT asset_id, farm_power FROM \"FarmModel\""), [["sR1kV6Nd", "48250.5"]]);

    let path = "/connect-service/v2.1/measurepoints?action=queryLatest&orgId=default&assetId=sR1kV6Nd";
    let newest = http.post_json(path, &json!({"measurepointIds": ["farm_power", "wind_speed"]})).json();
    let expected = json!([{"id": "farm_power", "time": T.to_string(), "value": 48250.5}]);
    assert_eq!((&newest["code"], &newest["data"]), (&json!(0), &expected));

    // History that comes late, over the other channel: the newest stays.
    let message = json!({"isRealtimeIntegration": false,
        "params": [{"productKey": "pkFarm", "deviceKey": "wt-07", "time": T - 1000, "measurepoints": {"farm_power": 1}}]});
    assert_eq!(upload(&server, "postMeasurepoint", &message)["code"], 0);
    assert_eq!(http.post_json(path, &json!({})).json()["data"], expected);
    assert_eq!(http.sql_number("SELECT count(farm_power) FROM \"FarmModel\""), 2.0);
}

#[test]
fn every_item_at_fault_is_named_and_good_ones_go_in_only_where_asked() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    farm(&http);
    let params = json!([
        {"assetId": "sR1kV6Nd", "time": T, "measurepoints": {"farm_power": 1.5, "nobody": 2}},
        {"assetId": "elsewhere", "time": T, "measurepoints": {"farm_power": 3}},
        {"assetId": "sR1kV6Nd", "time": T, "measurepoints": {"photo": "local://photo.jpg"}}]);
    let answer = upload(&server, "postMeasurepoint", &json!({"params": params}));
    assert_eq!(answer["code"], 1204, "{answer}");
    let codes: Vec<_> = answer["data"]["failed"].as_array().unwrap().iter().map(|f| &f["code"]).collect();
    assert_eq!(codes, [1204, 1257, 1101]);
    assert_eq!(http.sql_number("SELECT count(*) FROM \"FarmModel\""), 0.0);
    let message = json!({"params": params, "skipInvalidMeasurepoints": true});
    let answer = upload(&server, "postMeasurepoint", &message);
    assert_eq!((&answer["code"], &answer["data"]["failedCount"]), (&json!(0), &json!(3)));
    assert_eq!(http.sql("SELECT farm_power FROM \"FarmModel\""), [["1.5"]]);

    let path = "/connect-service/v2.1/integration?action=postMeasurepoint&orgId=default";
    let parts = [("enos-message", "", "{}"), ("enos-file", "; filename=\"a.jpg\"", "x")];
    let refused = http.post(path, "multipart/form-data; boundary=b", "*/*", &form(&parts)).json();
    assert_eq!(refused["code"], 1101, "{refused}");
    for (path, code) in [
        ("/connect-service/v2.1/integration?orgId=default", 99_400),
        ("/connect-service/v2.1/integration?orgId=default&action=postWishes", 99_400),
        ("/connect-service/v2.1/integration?orgId=nobody&action=postMeasurepoint", 99_403),
        ("/connect-service/v2.1/measurepoints?orgId=default&action=queryLatest&assetId=x", 99_404),
    ] {
        assert_eq!(http.post_json(path, &json!({"params": [{}]})).json()["code"], code, "{path}");
    }
}

#[test]
fn the_names_of_may_2019_upload_and_read_pages() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    farm(&http);
    // The form of the published SDK's own sample.
    let data = json!([{"measurepoints": {"wind_speed": 7.4}, "time": T, "assetId": "sR1kV6Nd"}]).to_string();
    let body = form(&[("data", "", &data)]);
    let path = "/connectService/products/pkFarm/devices/measurepoints?orgId=default";
    let answer = http.post(path, "multipart/form-data; boundary=b", "*/*", &body).json();
    assert_eq!((&answer["status"], &answer["msg"]), (&json!(0), &json!("success")), "{answer}");
    let data =
        json!([{"measurepoints": {"wind_speed": 7.6}, "time": T + 1000, "deviceKey": "wt-07"}]).to_string();
    let body = form(&[("data", "", &data)]);
    assert_eq!(http.post(path, "multipart/form-data; boundary=b", "*/*", &body).json()["status"], 0);

    // The call of the specification, §2.17.
    let query = "orgId=default&modelId=FarmModel&assetIds=sR1kV6Nd&measurepoints=wind_speed\
        &startTime=2024-03-05T08:00:00%2B08:00&endTime=2024-03-05T09:00:00%2B08:00&pageSize=100";
    let page = http.get(&format!("/dataService/assets/tsdb/generic/measurepoints?{query}")).json();
    let item = |time: i64, value: f64| json!({"assetId": "sR1kV6Nd", "timestamp": time, "localtime": null, "wind_speed": value});
    let expected = json!({"status": 0, "msg": "success", "submsg": null, "data": {"pageToken": null, "pageSize": 100,
        "totalSize": 2, "nextPageToken": null, "data": [item(T, 7.4), item(T + 1000, 7.6)]}});
    assert_eq!(page, expected);
    for path in ["/dataService/assets/tsdb/rawData/timeRange", "/dataService/assets/rawData/timeRange"] {
        assert_eq!(http.get(&format!("{path}?{query}")).json(), expected, "{path}");
    }
    let newest = http.get(
        "/dataService/assets/latest/measurepoints?orgId=default&assetIds=sR1kV6Nd&measurepoints=wind_speed",
    );
    assert_eq!(
        newest.json()["data"]["data"],
        json!([{"assetId": "sR1kV6Nd", "timestamp": T + 1000, "wind_speed": 7.6}])
    );
    let missing =
        http.get(&format!("/dataService/assets/tsdb/rawData/timeRange?{}", query.replace("modelId", "m")));
    assert_eq!(
        (&missing.json()["status"], &missing.json()["msg"]),
        (&json!(400), &json!("modelId is required"))
    );
    let kept = http
        .get("/dataService/metaData/storage/tsdb/?orgId=default&modelIds=FarmModel&measurepoints=wind_speed");
    assert_eq!(kept.json()["data"][0]["tsdb_metadata"], json!({"wind_speed": ["GENERIC"]}));
}

#[test]
fn metadata_of_a_point_goes_when_nothing_else_is_left_of_it() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    farm(&http);
    let delete = || {
        let body = json!({"modelId": "FarmModel", "pointId": "wind_speed"});
        http.post_json("/tsdb-service/v2.1/data/meta-delete?orgId=default", &body).json()
    };
    let write = |time: i64| {
        let item = json!({"assetId": "sR1kV6Nd", "time": time, "measurepoints": {"wind_speed": 7.4}});
        assert_eq!(upload(&server, "postMeasurepoint", &json!({"params": [item]}))["code"], 0);
    };
    write(T);
    let refused = delete();
    assert_eq!(refused["code"], 80_400);
    assert!(refused["submsg"].as_str().unwrap().contains("history"), "{refused}");
    let history = json!({"modelId": "FarmModel", "pointId": "wind_speed", "assetIds": "sR1kV6Nd",
        "startTime": "0", "endTime": (T + 1).to_string()});
    let job = http.post_json("/tsdb-service/v2.1/data/tsdb-delete?orgId=default", &history).json();
    assert_eq!(job["code"], 0, "{job}");
    assert_eq!(http.sql_number("SELECT count(wind_speed) FROM latest.\"FarmModel\""), 1.0);
    let job = delete();
    assert_eq!(job["code"], 0, "{job}");
    assert_eq!(http.sql_number("SELECT count(wind_speed) FROM latest.\"FarmModel\""), 0.0);
    let id = &job["data"];
    let told = http.get(&format!("/tsdb-service/v2.1/data/delete-detail?orgId=default&id={id}")).json();
    let told = &told["data"]["list"][0];
    assert_eq!((&told["status"], &told["measurement"]), (&json!(2), &json!("wind_speed")), "{told}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    write(now as i64);
    let refused = delete();
    assert!(refused["submsg"].as_str().unwrap().contains("still arrive"), "{refused}");
}

#[test]
fn with_service_accounts_uploads_show_a_token_and_calls_of_may_2019_are_signed() {
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    farm(&http);
    let account =
        json!({"name": "reports", "accessKey": "demoKey-0123456789", "secretKey": "demoSecret-0123456789"});
    http.post_json("/api/v1/service-accounts", &account).ok();
    let message =
        json!({"params": [{"assetId": "sR1kV6Nd", "time": T, "measurepoints": {"wind_speed": 7.4}}]});
    let refused = upload(&server, "postMeasurepoint", &message);
    assert_eq!(refused["code"], 401, "{refused}");
    let url = format!("http://{}", server.http);
    let args = [
        &*url,
        "demoKey-0123456789",
        "demoSecret-0123456789",
        "/dataService/assets/latest/measurepoints",
        "orgId=default",
        "assetIds=sR1kV6Nd",
        "measurepoints=wind_speed",
    ];
    let out = wattline_tests::python::run("v1_signed.py", &args);
    let answers: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(answers[0]["data"]["totalSize"], 0, "{answers}");
    assert_eq!(answers[1]["status"], 401, "{answers}");
}
