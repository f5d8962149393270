//! Storage policies, as an operator uses them.

use serde_json::{Value, json};

use crate::harness::{Server, cli, dir, ok};

/// 2026-01-01 00:00 UTC, in milliseconds.
const START: i64 = 1_767_225_600_000;

/// A model `plant` with a point of each signal type, and two assets.
fn plant(server: &Server) {
    let model = json!({"modelId": "plant", "points": {
        "wind": {"dataType": "DOUBLE", "signalType": "AI"},
        "state": {"dataType": "INT", "signalType": "DI"},
        "energy": {"dataType": "DOUBLE", "signalType": "PI"},
        "spare": {"dataType": "DOUBLE", "signalType": "AI"}}});
    server.post("/api/v1/models", &model).ok(201);
    server.post("/api/v1/products", &json!({"productKey": "pk", "modelId": "plant"})).ok(201);
    let device =
        |i: u32| json!({"productKey": "pk", "deviceKey": format!("d{i}"), "assetId": format!("a{i}")});
    server.post("/api/v1/devices", &json!([device(0), device(1)])).ok(201);
}

fn apply(server: &Server, group: &Value) -> Value {
    let path = format!("/api/v1/policies/{}", group["name"].as_str().unwrap());
    let headers = [("content-type", "application/json")];
    server.request("PUT", &path, &headers, group.to_string().as_bytes()).ok(200)
}

fn group() -> Value {
    json!({"name": "north", "models": ["plant"], "policies": [
        {"type": "AI_RAW", "retention": "1y", "points": {"plant": ["wind"]}},
        {"type": "AI_NORMALIZED", "retention": "20y", "points": {"plant": ["wind"]}},
        {"type": "DI", "modifiable": false, "points": {"plant": ["state"]}},
        {"type": "PI", "points": {"plant": ["energy"]}},
        {"type": "LAST_CHANGED", "points": {"plant": ["state"]}}]})
}

fn write(server: &Server, seconds: i64, values: &Value) {
    let mut row = values.clone();
    row["asset_id"] = "a0".into();
    row["time"] = (START + seconds * 1_000).into();
    server.ndjson("plant", &format!("{row}\n")).ok(200);
}

#[test]
fn a_group_rules_at_once_and_after_a_restart() {
    let dir = dir();
    let server = Server::start(dir.path());
    plant(&server);
    write(&server, -60, &json!({"spare": 1.0}));
    let file = dir.path().join("north.json");
    std::fs::write(&file, group().to_string()).unwrap();
    let shown = ok(&server, &["policy", "apply", "--file", file.to_str().unwrap()]);
    assert!(
        shown.contains("AI_NORMALIZED") && shown.contains("20y") && shown.contains("for ever"),
        "{shown}"
    );
    // The example of the data service §3.2.
    for (second, wind) in [(3, 7.1), (41, 7.4), (20, 7.0)] {
        write(&server, second, &json!({"wind": wind, "state": second, "energy": second, "spare": wind}));
        write(&server, second, &json!({"state": 99}));
    }
    write(&server, 50, &json!({"state": 41}));
    let check = |server: &Server| {
        let one = |query: &str| server.sql(query);
        assert_eq!(
            one("SELECT CAST(time AS TEXT), wind FROM normalized.plant"),
            json!([["2026-01-01T00:00:00Z", 7.0]])
        );
        assert_eq!(
            one("SELECT wind FROM plant WHERE wind IS NOT NULL ORDER BY time"),
            json!([[7.1], [7.0], [7.4]])
        );
        let energy = "SELECT CAST(time AS TEXT), energy FROM plant WHERE energy IS NOT NULL";
        assert_eq!(one(energy), json!([["2026-01-01T00:00:00Z", 20.0]]));
        let states = "SELECT state FROM plant WHERE state IS NOT NULL ORDER BY time";
        assert_eq!(one(states), json!([[3], [20], [41], [41]]), "the first write stays");
        assert_eq!(one("SELECT spare FROM plant WHERE spare IS NOT NULL"), json!([[1.0]]), "from before");
        let latest = server.get("/api/v1/assets/a0/latest").ok(200)["points"].clone();
        assert_eq!(latest["spare"]["value"], 7.4, "no history, but a newest value");
        assert_eq!(latest["spare"]["changed"], Value::Null);
        let state = &latest["state"];
        assert_eq!((&state["time"], &state["changed"]), (&json!(START + 50_000), &json!(START + 41_000)));
    };
    check(&server);
    server.signal("KILL");
    server.wait();
    let server = Server::start(dir.path());
    check(&server);
    write(&server, 41, &json!({"state": 98}));
    ok(&server, &["flush"]);
    check(&server);
    let policies = server.sql("SELECT storage_type, retention, modifiable, point FROM system.policies");
    assert_eq!(policies[2], json!(["DI", null, false, "state"]));
    server.stop();
}

#[test]
fn retention_lets_old_weeks_go_and_counts_what_comes_too_late() {
    let dir = dir();
    let server = Server::start(dir.path());
    plant(&server);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let ago = |days: i64| now - START / 1_000 - days * 86_400;
    let everywhere = json!({"wind": 1.0, "energy": 2.0, "state": 3});
    for days in [0, 60, 300] {
        write(&server, ago(days), &everywhere);
    }
    ok(&server, &["flush"]);
    let document = json!({"name": "short", "models": ["plant"], "policies": [
        {"type": "AI_RAW", "retention": "1M", "points": {"plant": ["wind"]}},
        {"type": "PI", "retention": "6M", "points": {"plant": ["energy"]}},
        {"type": "DI", "retention": "6M", "points": {"plant": ["state"]}}]});
    apply(&server, &document);
    let counts = "SELECT count(wind), count(energy), count(state) FROM plant";
    assert_eq!(server.sql(counts), json!([[1, 2, 2]]));
    write(&server, ago(400), &everywhere);
    assert_eq!(server.sql(counts), json!([[1, 2, 2]]));
    let late = server.sql("SELECT sum(expired_rows) FROM system.shards");
    assert!(late[0][0].as_i64().unwrap() >= 1, "{late}");
    server.stop();
    let server = Server::start(dir.path());
    // Retention is looked at right after the start, beside it.
    let begin = std::time::Instant::now();
    while server.sql(counts) != json!([[1, 2, 2]]) {
        assert!(begin.elapsed().as_secs() < 30, "{}", server.sql(counts));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.stop();
}

#[test]
fn changes_are_audited_and_wrong_documents_are_refused_by_name() {
    let dir = dir();
    let server = Server::start(dir.path());
    plant(&server);
    let saved = apply(&server, &group());
    let id = saved["policies"][0]["policyId"].as_str().unwrap().to_owned();
    let mut changed = server.get("/api/v1/policies/north").ok(200);
    changed["policies"][0]["retention"] = "3M".into();
    assert_eq!(
        apply(&server, &changed)["policies"][0]["policyId"],
        id.as_str(),
        "the policy is the same one"
    );
    let wrong = json!({"name": "north", "models": ["plant"], "policies": [
        {"type": "DI", "points": {"plant": ["wind"]}}]});
    let headers = [("content-type", "application/json")];
    let put = |path: &str, body: &Value| server.request("PUT", path, &headers, body.to_string().as_bytes());
    let (kind, message) = put("/api/v1/policies/north", &wrong).refused(400);
    assert!(kind == "input" && message.contains("point wind of model plant has signalType AI"), "{message}");
    let (_, message) = put("/api/v1/policies/south", &wrong).refused(400);
    assert!(message.contains("\"south\""), "{message}");
    assert_eq!(server.get("/api/v1/policies/south").status, 404);

    let (code, _, log) = cli(&server, &["policy", "delete", "north"]);
    assert!(code != 0 && log.contains("has 1 models"), "{log}");
    apply(&server, &json!({"name": "north"}));
    ok(&server, &["policy", "delete", "north"]);
    assert_eq!(server.get("/api/v1/policies").ok(200), json!([]));
    let audit = server.get("/api/v1/audit").ok(200);
    let actions: Vec<&str> =
        audit.as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    let change = "change policy group";
    assert_eq!(actions, ["delete policy group", change, change, "create policy group", "create model"]);
    assert_eq!(audit[2]["before"]["policies"][0]["retention"], "1y");
    assert_eq!(audit[2]["after"]["policies"][0]["retention"], "3M");
    assert!(ok(&server, &["audit"]).contains("create policy group"));
    server.stop();
}

#[test]
fn models_without_a_group_keep_what_the_operator_says() {
    let dir = dir();
    let server = Server::start_with(dir.path(), &["--set", "storage.without_policy=latest"]);
    plant(&server);
    write(&server, 0, &json!({"wind": 1.0}));
    assert_eq!(server.sql("SELECT count(*) FROM plant"), json!([[0]]));
    assert_eq!(server.sql("SELECT wind FROM latest.plant"), json!([[1.0]]));
    server.stop();
}
