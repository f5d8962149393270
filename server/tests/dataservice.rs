//! The data service over HTTP: each operation with the shape of the specification's example, forms, signed calls.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Answer, Server, cli, dir, ok};

/// 2024-03-05 08:00:00 at +08:00, milliseconds.
const T: i64 = 1_709_596_800_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A model with a point of each signal type, a turbine and a meter at +08:00.
fn plant(server: &Server) {
    let model = json!({"modelId": "TurbineModel", "points": {
        "wind_speed": {"dataType": "DOUBLE", "signalType": "AI", "hasQuality": true},
        "run_state": {"dataType": "INT", "signalType": "DI"},
        "energy_delta": {"dataType": "DOUBLE", "signalType": "PI"},
        "alarm_text": {"dataType": "STRING"}}});
    server.post("/api/v1/models", &model).ok(201);
    server.post("/api/v1/products", &json!({"productKey": "pk", "modelId": "TurbineModel"})).ok(201);
    let device =
        |asset: &str| json!({"productKey": "pk", "deviceKey": asset, "assetId": asset, "timezone": "+08:00"});
    server.post("/api/v1/devices", &json!([device("aX7pQ2Lm"), device("mT5wE8Yc")])).ok(201);
    let group = json!({"name": "all", "models": ["TurbineModel"], "policies": [
        {"type": "AI_RAW", "points": {"TurbineModel": ["wind_speed"]}},
        {"type": "AI_NORMALIZED", "points": {"TurbineModel": ["wind_speed"]}},
        {"type": "DI", "points": {"TurbineModel": ["run_state"]}},
        {"type": "PI", "points": {"TurbineModel": ["energy_delta"]}},
        {"type": "GENERIC", "points": {"TurbineModel": ["alarm_text"]}},
        {"type": "LAST_CHANGED", "points": {"TurbineModel": ["run_state"]}}]});
    let headers = [("content-type", "application/json")];
    server.request("PUT", "/api/v1/policies/all", &headers, group.to_string().as_bytes()).ok(200);
    let lines = [
        json!({"asset_id": "aX7pQ2Lm", "time": T, "wind_speed": 7.4, "run_state": 1}),
        json!({"asset_id": "aX7pQ2Lm", "time": T + 1_250, "wind_speed": 7.6}),
        json!({"asset_id": "aX7pQ2Lm", "time": T + 30_000, "alarm_text": "yaw limit"}),
        json!({"asset_id": "aX7pQ2Lm", "time": T + 192_000, "run_state": 0}),
        json!({"asset_id": "mT5wE8Yc", "time": T + 5_000, "energy_delta": 6.853}),
        json!({"asset_id": "mT5wE8Yc", "time": now_ms(), "energy_delta": 2.5}),
    ];
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    server.ndjson("TurbineModel", &lines).ok(200);
}

fn v21(server: &Server, operation: &str, body: &Value) -> Value {
    let join = if operation.contains('?') { '&' } else { '?' };
    let answer = server.post(&format!("/tsdb-service/v2.1/{operation}{join}orgId=default"), body);
    assert!(answer.head.contains("application/json;charset=utf-8"), "{}", answer.head);
    answer.ok(200)
}

fn items(server: &Server, operation: &str, body: &Value) -> Value {
    let answer = v21(server, operation, body);
    let envelope = (&answer["code"], &answer["msg"], &answer["submsg"]);
    assert_eq!(envelope, (&json!(0), &json!("OK"), &Value::Null), "{operation}: {answer}");
    answer["data"]["items"].clone()
}

#[test]
fn every_operation_answers_in_the_shape_of_its_example() {
    let dir = dir();
    let server = Server::start(dir.path());
    plant(&server);
    let range = |points: &str| {
        json!({"assetIds": "aX7pQ2Lm", "pointIds": points, "startTime": "2024-03-05 08:00:00",
            "endTime": "2024-03-05 09:00:00"})
    };
    let (at, text_at) = ("2024-03-05 08:00:00", "2024-03-05 08:00:30");
    let wind = json!({"assetId": "aX7pQ2Lm", "timestamp": T, "localtime": at, "wind_speed": 7.4});
    let text = json!({"assetId": "aX7pQ2Lm", "timestamp": T + 30_000, "localtime": text_at, "alarm_text": "yaw limit"});

    let latest = json!({"assetIds": "aX7pQ2Lm", "pointIds": "wind_speed", "ifWithLocalTime": true});
    assert_eq!(
        items(&server, "latest", &latest),
        json!([{"assetId": "aX7pQ2Lm", "timestamp": T + 1_250, "localtime": "2024-03-05 08:00:01", "wind_speed": 7.6}])
    );
    let filter = json!({"modelId": "TurbineModel", "assetIds": "aX7pQ2Lm,mT5wE8Yc", "pointId": "wind_speed",
        "operator": "between", "valueFilter": "7,12", "itemFormat": 0});
    assert_eq!(
        items(&server, "latest/filter", &filter),
        json!([{"assetId": "aX7pQ2Lm", "timestamp": T + 1_250, "wind_speed": 7.6}])
    );
    assert_eq!(items(&server, "ai", &range("wind_speed"))[0], wind);
    let normalized = json!({"assetIds": "aX7pQ2Lm", "pointIdsWithLogic": "avg(wind_speed)", "interval": 10,
        "startTime": "2024-03-05T08:00:00+08:00", "endTime": "2024-03-05T08:20:00+08:00", "localTimeFormat": 1});
    assert_eq!(
        items(&server, "ai-normalized", &normalized),
        json!([{"assetId": "aX7pQ2Lm", "timestamp": T, "localtime": "2024-03-05T08:00:00+08:00", "avg(wind_speed)": 7.6}])
    );
    assert_eq!(items(&server, "di", &range("run_state")).as_array().unwrap().len(), 2);
    assert_eq!(
        items(&server, "di/duration", &range("run_state")),
        json!([{"assetId": "aX7pQ2Lm", "pointId": "run_state", "scanEndTimestamp": T + 192_000,
            "durations": [{"status": 1, "duration": 192_000}]}])
    );
    assert_eq!(items(&server, "generic", &range("alarm_text")), json!([text]));
    assert_eq!(items(&server, "raw", &range("wind_speed,alarm_text"))[2], text);
    let energy = json!({"assetIds": "mT5wE8Yc", "pointIdsWithLogic": "sum(energy_delta)", "interval": 10,
        "startTime": "2024-03-05 08:00:00", "endTime": "2024-03-05 08:15:00"});
    assert_eq!(
        items(&server, "electric-power", &energy),
        json!([{"assetId": "mT5wE8Yc", "timestamp": T, "localtime": at, "sum(energy_delta)": 6.853}])
    );
    let today = items(
        &server,
        "electric-power/current-day",
        &json!({"assetIds": "mT5wE8Yc", "pointIds": "energy_delta"}),
    );
    // The minute it was stored under may have been yesterday's last one, at midnight there.
    if let Some(today) = today.get(0) {
        assert_eq!(today["sum(energy_delta)"], 2.5);
        assert!(today["localtime"].as_str().unwrap().ends_with(" 00:00:00"), "{today}");
    }
    assert_eq!(items(&server, "unified-raw", &range("wind_speed,raw_reg_4011"))[0], wind);
    assert_eq!(items(&server, "unformatted", &range("raw_reg_4011")), json!([]));
    let changed = json!({"assetIds": "aX7pQ2Lm", "pointIds": "run_state", "ifWithLocalTime": true});
    assert_eq!(
        items(&server, "data/last-changed", &changed),
        json!([{"assetId": "aX7pQ2Lm", "timestamp": T + 192_000, "localtime": "2024-03-05 08:03:12", "run_state": 0}])
    );
    let dead = json!({"payload": [{"assetId": "aX7pQ2Lm", "pointId": "run_state", "interval": 600_000}]});
    let dead = items(&server, "data/latest/check-dead", &dead);
    assert_eq!(
        (&dead[0]["judgeResult"], &dead[0]["lastChangedTimestamp"]),
        (&json!(true), &json!(T + 192_000))
    );

    let metadata = server.get(
        "/tsdb-policy/v2.0/policies?orgId=default&modelIds=TurbineModel&measurepoints=wind_speed,run_state",
    );
    let metadata = metadata.ok(200);
    assert_eq!(
        metadata["data"],
        json!([{"modelId": "TurbineModel", "tsdb_metadata": {
            "wind_speed": ["AI_RAW", "AI_NORMALIZED"], "run_state": ["DI", "LAST_CHANGED"]}}])
    );
    server.stop();
}

#[test]
fn the_older_version_takes_queries_and_forms() {
    let dir = dir();
    let server = Server::start(dir.path());
    plant(&server);
    let query = "orgId=default&assetIds=aX7pQ2Lm&measurepoints=wind_speed&startTime=2024-03-05T08:00:00%2B08:00\
                 &endTime=2024-03-05T08:00:02%2B08:00&pageSize=10&withQuality=true";
    let expected = json!({"status": 0, "requestId": null, "msg": "success", "submsg": null, "data": {"items": [
        {"assetId": "aX7pQ2Lm", "timestamp": T, "wind_speed": 7.4, "localtime": null, "quality": "0"},
        {"assetId": "aX7pQ2Lm", "timestamp": T + 1_250, "wind_speed": 7.6, "localtime": null, "quality": "0"}]}});
    assert_eq!(server.get(&format!("/tsdb-service/v2.0/ai?{query}")).ok(200), expected);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(server.request("POST", "/tsdb-service/v2.0/ai", &form, query.as_bytes()).ok(200), expected);
    let mut multipart = String::new();
    for pair in query.replace("%2B", "+").split('&') {
        let (name, value) = pair.split_once('=').unwrap();
        write!(multipart, "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            .unwrap();
    }
    multipart.push_str("--b--\r\n");
    let form = [("content-type", "multipart/form-data; boundary=b")];
    let answer = server.request("POST", "/tsdb-service/v2.0/ai", &form, multipart.as_bytes());
    assert_eq!(answer.ok(200), expected);

    let missing = server.get("/tsdb-service/v2.0/ai?orgId=default&assetIds=aX7pQ2Lm").ok(200);
    assert_eq!((&missing["status"], &missing["msg"]), (&json!(400), &json!("measurepoints is required")));
    let broken = server.request("POST", "/tsdb-service/v2.0/ai", &form, b"--b\r\nContent-Dis");
    assert_eq!(broken.ok(400)["status"], 400);
    let other = [("content-type", "text/csv")];
    assert_eq!(server.request("POST", "/tsdb-service/v2.0/ai", &other, b"x").ok(415)["status"], 415);
    server.stop();
}

#[test]
fn latest_values_and_history_are_deleted_by_jobs() {
    let dir = dir();
    let server = Server::start(dir.path());
    plant(&server);
    let wind = json!({"assetIds": "aX7pQ2Lm", "pointIds": "wind_speed"});
    let deleted = v21(&server, "latest?action=delete", &wind);
    assert_eq!((&deleted["code"], &deleted["data"]), (&json!(0), &Value::Null));
    assert_eq!(items(&server, "latest", &wind), json!([]));
    let range = json!({"assetIds": "aX7pQ2Lm", "pointIds": "wind_speed", "startTime": "2024-03-05 08:00:00",
        "endTime": "2024-03-05 09:00:00"});
    assert_eq!(items(&server, "raw", &range).as_array().unwrap().len(), 2, "history stays");

    let job = json!({"modelId": "TurbineModel", "pointId": "wind_speed", "assetIds": "aX7pQ2Lm",
        "startTime": T.to_string(), "endTime": (T + 1_000).to_string()});
    let submitted = v21(&server, "data/tsdb-delete", &job);
    let id = submitted["data"].as_i64().unwrap();
    assert_eq!(items(&server, "raw", &range).as_array().unwrap().len(), 1);
    let details = |query: &str| {
        server.get(&format!("/tsdb-service/v2.1/data/delete-detail?orgId=default{query}")).ok(200)
    };
    let detail = details(&format!("&id={id}&pageNo=1&pageSize=10"));
    let told = &detail["data"]["list"][0];
    for (name, value) in [
        ("id", json!(id)),
        ("modelId", json!("TurbineModel")),
        ("assetIds", json!("aX7pQ2Lm")),
        ("measurement", json!("wind_speed")),
        ("startTime", json!(T)),
        ("endTime", json!(T + 1_000)),
        ("operator", json!("api")),
    ] {
        assert_eq!(told[name], value, "{name}: {detail}");
    }
    assert!([json!(1), json!(2)].contains(&told["status"]), "{told}");
    assert_eq!(details("")["data"]["total"], 1, "deletions of latest values are no such jobs");
    assert_eq!(details("&queryId=999")["code"], 80_400);
    let again = server.request(
        "PUT",
        &format!("/tsdb-service/v2.1/data/resubmit?orgId=default&JobId={id}"),
        &[],
        b"",
    );
    assert_eq!(again.ok(200)["code"], 80_400, "it has not failed");
    let backwards =
        json!({"modelId": "TurbineModel", "assetIds": "aX7pQ2Lm", "startTime": "2", "endTime": "1"});
    assert_eq!(v21(&server, "data/tsdb-delete", &backwards)["code"], 80_400);
    server.stop();
}

fn hex_sha(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// A service account as a client of the API has it.
struct Account {
    key: String,
    secret: String,
}

impl Account {
    fn create(server: &Server, name: &str, org: &str) -> Account {
        let made = ok(server, &["service-account", "create", name, "--org", org, "--json"]);
        let made: Value = serde_json::from_str(&made).unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Account { key: text("accessKey"), secret: text("secretKey") }
    }

    fn token(&self, server: &Server, ms: i64) -> Value {
        let encryption = hex_sha(&format!("{}{ms}{}", self.key, self.secret));
        let body = json!({"appKey": self.key, "timestamp": ms, "encryption": encryption});
        server.post("/apim-token-service/v2.0/token/get", &body).ok(200)
    }

    fn call(&self, server: &Server, token: &str, path: &str, org: &str, body: &str) -> Answer {
        let ms = now_ms().to_string();
        let signature = hex_sha(&format!("{token}orgId{org}{body}{ms}{}", self.secret));
        let headers = [
            ("content-type", "application/json;charset=UTF-8"),
            ("apim-accesstoken", token),
            ("apim-signature", &signature),
            ("apim-timestamp", &ms),
        ];
        server.request("POST", &format!("{path}?orgId={org}"), &headers, body.as_bytes())
    }
}

const LATEST: &str = "/tsdb-service/v2.1/latest";
const WIND: &str = r#"{"assetIds": "aX7pQ2Lm", "pointIds": "wind_speed"}"#;

#[test]
fn with_service_accounts_calls_are_signed_and_organizations_apart() {
    let dir = dir();
    let server = Server::start(dir.path());
    plant(&server);
    let open =
        |server: &Server| server.request("POST", &format!("{LATEST}?orgId=default"), &[], WIND.as_bytes());
    assert_eq!(open(&server).ok(200)["code"], 0, "nobody must prove anything yet");
    ok(&server, &["org", "create", "o2"]);
    let (ours, theirs) =
        (Account::create(&server, "reports", "default"), Account::create(&server, "other", "o2"));
    let refused = open(&server).ok(401);
    assert_eq!((&refused["code"], &refused["data"]), (&json!(401), &Value::Null));

    let ms = now_ms();
    let answer = ours.token(&server, ms);
    let token = answer["data"]["accessToken"].as_str().unwrap().to_owned();
    assert_eq!((&answer["status"], &answer["msg"]), (&json!(0), &json!("SUCCESS")));
    assert_eq!(ours.token(&server, ms)["status"], 1_001, "the same request again");
    let good = ours.call(&server, &token, LATEST, "default", WIND).ok(200);
    assert_eq!(good["data"]["items"][0]["wind_speed"], 7.6);
    let forged = Account { key: ours.key.clone(), secret: "x".to_owned() };
    forged.call(&server, &token, LATEST, "default", WIND).ok(401);
    let bearer = format!("Bearer {token}");
    let shown = server.request(
        "POST",
        &format!("{LATEST}?orgId=default"),
        &[("authorization", &bearer)],
        WIND.as_bytes(),
    );
    assert_eq!(shown.ok(200)["code"], 0);

    let token2 = theirs.token(&server, ms)["data"]["accessToken"].as_str().unwrap().to_owned();
    for org in ["default", "o2", "o3"] {
        let answer = theirs.call(&server, &token2, LATEST, org, WIND).ok(200);
        assert_eq!(
            (&answer["code"], &answer["msg"]),
            (&json!(80_401), &json!("Asset unauthorized")),
            "{org}"
        );
    }
    let listed = ok(&server, &["service-account", "list"]);
    assert!(
        listed.contains(&ours.key) && listed.contains("reports") && !listed.contains(&ours.secret),
        "{listed}"
    );
    ok(&server, &["service-account", "revoke", &theirs.key]);
    theirs.call(&server, &token2, LATEST, "o2", WIND).ok(401);
    assert_eq!(cli(&server, &["service-account", "revoke", &theirs.key]).0, 1);
    server.stop();

    // Accounts outlive the server, tokens do not.
    let server = Server::start(dir.path());
    ours.call(&server, &token, LATEST, "default", WIND).ok(401);
    assert_eq!(ours.token(&server, now_ms())["status"], 0);
    server.stop();
}

#[test]
fn the_operators_token_and_bad_requests() {
    let dir = dir();
    let server = Server::start_with(dir.path(), &["--set", "http.token=secret"]);
    let path = format!("{LATEST}?orgId=default");
    assert_eq!(server.request("POST", &path, &[], WIND.as_bytes()).ok(401)["code"], 401);
    let bearer = [("authorization", "Bearer secret")];
    let unknown = server.request("POST", &path, &bearer, WIND.as_bytes()).ok(200);
    assert_eq!(unknown["code"], 80_401, "there is no such asset");
    for (body, code) in [("[]", 80_400), ("{", 80_400), ("{\"assetIds\":[\"a\"]}", 80_400), ("", 80_400)] {
        let answer = server.request("POST", &path, &bearer, body.as_bytes()).ok(200);
        assert_eq!(answer["code"], code, "{body}");
    }
    let none = server.request("POST", LATEST, &bearer, WIND.as_bytes()).ok(200);
    assert_eq!(none["submsg"], "orgId is required");
    let large = vec![b' '; 20 << 20];
    assert_eq!(server.request("POST", &path, &bearer, &large).ok(413)["code"], 413);
    assert_eq!(server.request("GET", &path, &bearer, b"").status, 405);
    let page = [("authorization", "Bearer secret"), ("origin", "http://elsewhere.example")];
    assert_eq!(server.request("POST", &path, &page, WIND.as_bytes()).status, 403);
    server.stop();
}

#[test]
fn an_account_that_calls_too_often_is_told_to_come_later() {
    let dir = dir();
    let server = Server::start_with(dir.path(), &["--set=dataservice.calls_max=5"]);
    plant(&server);
    let (busy, other) =
        (Account::create(&server, "busy", "default"), Account::create(&server, "other", "default"));
    let token = |account: &Account| {
        account.token(&server, now_ms())["data"]["accessToken"].as_str().unwrap().to_owned()
    };
    let (of_busy, of_other) = (token(&busy), token(&other));
    let begin = std::time::Instant::now();
    let answers: Vec<Answer> =
        (0..200).map(|_| busy.call(&server, &of_busy, LATEST, "default", WIND)).collect();
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    // Five at once, and five a second from then on.
    let allowed = 6 + (begin.elapsed().as_secs_f64() * 5.0) as usize;
    assert!((5..=allowed).contains(&good), "{good} of {allowed}");
    let refused = answers.iter().find(|answer| answer.status != 200).expect("some are refused");
    assert!(refused.head.contains("retry-after"), "{}", refused.head);
    assert_eq!(refused.ok(429)["code"], 429);
    other.call(&server, &of_other, LATEST, "default", WIND).ok(200);
}
