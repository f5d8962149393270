//! Grants: the same accounts over every way in, reading and writing. Each cell is written out by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wattline_tests::server::run_wattline;
use wattline_tests::{Server, python};

use super::{BASE_MS, data_dir};

/// Accounts and what each is granted; both an account that signs in and a service account have the name.
const ACCOUNTS: [(&str, &[&str]); 6] = [
    // Never granted anything: a service account has its organization, an account everything.
    ("unlimited", &[]),
    ("reader", &["read:asset:A"]),
    ("loader", &["write:asset:A"]),
    ("editor", &["read,write:model:machine"]),
    ("owner", &["all:org:default"]),
    ("nobody", &[]),
];

/// `machine` has A with three samples of p0 within an hour, and B with two. B's model inherits from nothing: both are of
/// `machine`. `other` has an asset C.
fn plant(server: &Server) {
    let http = server.http();
    for (model, assets) in [("machine", &["A", "B"][..]), ("other", &["C"][..])] {
        http.create_model(&wattline_tests::admin::turbine_model(model));
        http.create_product(&format!("pk-{model}"), model);
        let devices: Value = assets
            .iter()
            .map(|asset| json!({"productKey": format!("pk-{model}"), "deviceKey": asset, "assetId": asset}))
            .collect();
        http.post_json("/api/v1/devices", &devices).ok();
    }
    let rows: String = [("A", 0), ("A", 1), ("A", 2), ("B", 0), ("B", 1)]
        .map(|(asset, i)| format!("{}\n", json!({"asset_id": asset, "time": BASE_MS + i * 1_000, "p0": 1.5})))
        .concat();
    http.post("/api/v1/models/machine/samples", "application/x-ndjson", "application/json", rows.as_bytes())
        .ok();
}

fn cli(server: &Server, args: &[&str]) -> String {
    let url = format!("http://{}", server.http);
    let (code, out, log) = run_wattline(&[args, &["--server", &url]].concat());
    assert_eq!(code, 0, "{args:?}: {log}");
    out
}

/// Both accounts of a name, as the client wants them.
fn create(server: &Server, name: &str, grants: &[&str]) -> Value {
    let grants: Vec<&str> = grants.iter().flat_map(|grant| ["--grant", grant]).collect();
    let made = cli(server, &[&["account", "create", name, "--generate"], &grants[..]].concat());
    let password = made.lines().find_map(|line| line.strip_prefix("password  ")).expect("a password");
    let made = cli(server, &[&["service-account", "create", name, "--json"], &grants[..]].concat());
    let made: Value = serde_json::from_str(&made).expect("JSON");
    if name == "nobody" {
        // Whoever was granted something once is limited for good, also when all of it is taken away.
        let grant = "read:org:default";
        for (whose, flags) in [(name, &[][..]), (made["accessKey"].as_str().unwrap(), &["--service"][..])] {
            cli(server, &[&["account", "grant", whose, grant], flags].concat());
            assert_eq!(cli(server, &[&["account", "grants", whose], flags].concat()), "read:org:default\n");
            cli(server, &[&["account", "revoke", whose, grant], flags].concat());
        }
    }
    json!({"password": password, "key": made["accessKey"], "secret": made["secretKey"]})
}

/// What each account is told: act, then `unlimited`, `reader`, `loader`, `editor`, `owner`, `nobody`.
const SQL: [(&str, [&str; 6]); 14] = [
    ("read", ["5", "3", "0", "5", "5", "missing"]),
    ("buckets", ["2", "1", "0", "2", "2", "missing"]),
    ("latest", ["2", "1", "0", "2", "2", "missing"]),
    ("assets", ["3", "1", "0", "2", "3", "0"]),
    ("insert A", ["ok", "denied", "ok", "ok", "ok", "missing"]),
    ("insert B", ["ok", "denied", "denied", "ok", "ok", "missing"]),
    ("insert A B", ["ok", "denied", "denied", "ok", "ok", "missing"]),
    ("delete A", ["ok", "denied", "ok", "ok", "ok", "missing"]),
    // B is none of theirs, so for them it does not exist.
    ("delete B", ["ok", "missing", "missing", "ok", "ok", "missing"]),
    ("delete", ["ok", "denied", "denied", "ok", "ok", "missing"]),
    ("alter", ["ok", "denied", "denied", "denied", "ok", "missing"]),
    ("create", ["ok", "denied", "denied", "denied", "ok", "denied"]),
    ("store", ["True", "denied", "denied", "denied", "denied", "denied"]),
    ("audit", ["True", "denied", "denied", "denied", "denied", "denied"]),
];

const OF_WIRES: [(&str, &str, [&str; 6]); 6] = [
    ("pg", "bulk A", ["ok", "denied", "ok", "ok", "ok", "missing"]),
    ("pg", "bulk A B", ["ok", "denied", "denied", "ok", "ok", "missing"]),
    ("pg", "prepared", ["5", "3", "0", "5", "5", "missing"]),
    ("flight", "bulk A", ["ok", "denied", "ok", "ok", "ok", "missing"]),
    ("flight", "bulk A B", ["ok", "denied", "denied", "ok", "ok", "missing"]),
    // In `public` and in `latest`.
    ("flight", "listed", ["2", "2", "2", "2", "2", "0"]),
];

const REST: [(&str, [&str; 6]); 7] = [
    ("latest", ["AB", "A without B", "denied", "AB", "AB", "denied"]),
    ("raw", ["AB", "A without B", "denied", "AB", "AB", "denied"]),
    ("raw B", ["B", "denied", "denied", "B", "B", "denied"]),
    ("delete latest A", ["ok", "denied", "ok", "ok", "ok", "denied"]),
    ("delete latest B", ["ok", "denied", "denied", "ok", "ok", "denied"]),
    ("delete A", ["ok", "denied", "ok", "ok", "ok", "denied"]),
    ("delete B", ["ok", "denied", "denied", "ok", "ok", "denied"]),
];

#[test]
fn an_account_may_do_the_same_over_every_way_in() {
    let dir = data_dir();
    let server = Server::start(dir.path(), &["--pg=127.0.0.1:0", "--flight=127.0.0.1:0"]);
    plant(&server);
    let accounts: Value =
        ACCOUNTS.iter().map(|(name, grants)| ((*name).to_owned(), create(&server, name, grants))).collect();
    let listener = |address: Option<std::net::SocketAddr>| address.expect("the listener is on").to_string();
    let (http, pg, flight) = (server.http.to_string(), listener(server.pg), listener(server.flight));
    let said = python::run("grants.py", &[&http, &pg, &flight, &accounts.to_string()]);
    let told: BTreeMap<String, &str> = said
        .lines()
        .filter_map(|line| line.rsplit_once('\t'))
        .map(|(cell, outcome)| (cell.replace('\t', " / "), outcome))
        .collect();

    let mut expected: BTreeMap<String, &str> = BTreeMap::new();
    let wires = ["pg", "flight", "http"].into_iter();
    let of_sql = wires.flat_map(|wire| SQL.map(|(act, outcomes)| (wire, act, outcomes)));
    let of_rest = REST.map(|(act, outcomes)| ("rest", act, outcomes));
    for (wire, act, outcomes) in of_sql.chain(OF_WIRES).chain(of_rest) {
        for ((account, _), outcome) in ACCOUNTS.iter().zip(outcomes) {
            expected.insert(format!("{wire} / {account} / {act}"), outcome);
        }
    }
    let wrong: Vec<String> = expected
        .iter()
        .filter(|(cell, outcome)| told.get(*cell) != Some(outcome))
        .map(|(cell, outcome)| format!("{cell}: expected {outcome}, told {:?}", told.get(cell)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(told.len(), expected.len(), "every cell is expected");

    // What was denied is in the audit log, also after a restart.
    assert!(server.terminate().success());
    let server = Server::start(dir.path(), &[]);
    let denied = "SELECT wire, action, item, sum(count) FROM system.audit WHERE account = 'reader' AND outcome = 'denied'
                  AND origin = '127.0.0.1' AND wire <> 'flight' GROUP BY wire, action, item ORDER BY wire, action, item";
    let told: Vec<String> = server.http().sql(denied).into_iter().map(|row| row.join("|")).collect();
    let mut expected = Vec::new();
    for wire in ["http", "pg"] {
        expected.push(format!("{wire}|ALTER|machine|1"));
        if wire == "pg" {
            expected.push(format!("{wire}|COPY|machine|2"));
        }
        expected.push(format!("{wire}|CREATE|extra|1"));
        expected.push(format!("{wire}|DELETE|machine|2"));
        expected.push(format!("{wire}|INSERT|machine|3"));
        expected.push(format!("{wire}|SELECT|system.audit|1"));
        expected.push(format!("{wire}|SELECT|system.segments|1"));
    }
    assert_eq!(told, expected);
    let of_rest = "SELECT action, count, outcome FROM system.audit WHERE wire = 'rest' AND item = 'default' AND account = (
                   SELECT max(item) FROM system.audit WHERE action = 'create service account' AND detail LIKE '%\"reader\"%')
                   ORDER BY action";
    let told: Vec<String> = server.http().sql(of_rest).into_iter().map(|row| row.join("|")).collect();
    let expected = [
        "POST /tsdb-service/v2.1/data/tsdb-delete|2|denied",
        "POST /tsdb-service/v2.1/latest?action=delete|2|denied",
        "POST /tsdb-service/v2.1/raw|1|denied",
    ];
    assert_eq!(told, expected);
    let done = "SELECT sum(count) FROM system.audit WHERE account = 'owner' AND action = 'INSERT' AND outcome = 'done'";
    assert!(server.http().sql_number(done) >= 6.0);
    let changes =
        "SELECT count(*) FROM system.audit WHERE account = 'api' AND action LIKE 'grant%' AND wire IS NULL";
    assert_eq!(server.http().sql_number(changes), 2.0);
}
