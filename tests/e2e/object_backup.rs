//! Backups in object stores: what an operator does with `backup.dir` set to a URL, against the published emulators.

use std::path::Path;
use std::time::{Duration, Instant};

use wattline_tests::admin::model_json;
use wattline_tests::objects::ObjectStore;
use wattline_tests::server::try_run_wattline;
use wattline_tests::{Http, Server};

use super::{BASE_MS, data_dir};

/// Rows of a large segment: incompressible enough to go up in parts (16 MiB each).
const ROWS: i64 = 2_600_000;

#[test]
fn a_backup_goes_to_azure_and_comes_back() {
    there_and_back(&ObjectStore::azurite());
}

#[test]
fn a_backup_goes_to_s3_and_comes_back() {
    there_and_back(&ObjectStore::s3());
}

#[test]
fn a_journal_goes_to_azure_and_outlives_its_server() {
    journal(&ObjectStore::azurite());
}

#[test]
fn a_journal_goes_to_s3_and_outlives_its_server() {
    journal(&ObjectStore::s3());
}

fn journal(objects: &ObjectStore) {
    let dir = data_dir();
    let set = format!("backup.dir={}", objects.url);
    let args = ["--set", &set, "--set", "backup.journal=500ms"];
    let server = Server::start_in(dir.path(), &args, &objects.env);
    let http = server.http();
    let reach = || -> Option<jiff::Timestamp> {
        let all = http.get("/api/v1/backups").ok();
        all.as_array().unwrap().last()?["reachesTo"].as_str()?.parse().ok()
    };
    let reach_after = |what: &str, least: jiff::Timestamp| {
        let begin = Instant::now();
        loop {
            if let Some(reach) = reach().filter(|&reach| reach >= least) {
                return reach;
            }
            assert!(begin.elapsed() < Duration::from_secs(90), "{what}: no shipment\n{}", server.log_text());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    reach_after("the start", jiff::Timestamp::MIN);
    // After the backup, so that the journal alone knows of them.
    http.create_model(&model_json("m", &[("v", "DOUBLE")]));
    http.create_product("pk", "m");
    http.create_device("pk", "d");
    fill(&http, 0, 20_000);
    let then = reach_after("the first part", jiff::Timestamp::now());
    fill(&http, 20_000, 1_000);
    reach_after("the second part", jiff::Timestamp::now());
    // Integers: sums of floats depend on the order, and that on what is in segments.
    let checksum = "SELECT count(*), sum(CAST(v / 1e9 AS BIGINT)), min(v), max(v), max(time) FROM m";
    let expected = http.sql(checksum);
    server.kill();

    // Its machine is gone; another one knows the store alone.
    let other = data_dir();
    let restore = |into: &str, at: &[&str]| {
        let into = other.path().join(into);
        let args = ["restore", "--from", &objects.url, "--data-dir", into.to_str().unwrap()];
        try_run_wattline(&[&args, at].concat(), &objects.env).unwrap_or_else(|output| panic!("{output}"));
        Server::start(&into, &[])
    };
    let server = restore("then", &["--at", &then.to_string()]);
    assert_eq!(server.http().sql_number("SELECT count(*) FROM m"), 20_000.0);
    assert!(server.terminate().success());
    let server = restore("end", &[]);
    assert_eq!(server.http().sql(checksum), expected);
    assert!(server.terminate().success());

    // A backup that goes takes its journal along.
    assert!(objects.names().iter().any(|name| name.contains("/journals/")), "{:?}", objects.names());
    let server = Server::start_in(dir.path(), &["--set", &set], &objects.env);
    let url = format!("http://{}", server.http);
    let args = ["backup", "create", "--name", "last", "--keep", "1", "--server", &url];
    try_run_wattline(&args, &objects.env).unwrap_or_else(|output| panic!("{output}"));
    assert!(server.terminate().success());
    assert!(!objects.names().iter().any(|name| name.contains("/journals/")), "{:?}", objects.names());
}

fn there_and_back(objects: &ObjectStore) {
    let dir = data_dir();
    let set = format!("backup.dir={}", objects.url);
    let server = Server::start_in(dir.path(), &["--set", &set], &objects.env);
    let http = server.http();
    http.create_model(&model_json("m", &[("v", "DOUBLE")]));
    http.create_product("pk", "m");
    http.create_device("pk", "d");
    fill(&http, 0, ROWS);
    let url = format!("http://{}", server.http);
    let wattline = |args: &[&str]| {
        let args = [args, &["--server", &url]].concat();
        try_run_wattline(&args, &objects.env).unwrap_or_else(|output| panic!("{output}"))
    };
    wattline(&["flush"]);
    wattline(&["backup", "create", "--name", "first"]);
    fill(&http, ROWS, 1_000);
    wattline(&["backup", "create", "--name", "second"]);
    assert!(wattline(&["backup", "list"]).contains("second"));
    let names = objects.names();
    assert!(names.contains(&"plant-7/backups/first.txt".to_owned()), "{names:?}");
    assert!(names.contains(&"plant-7/backups/second/registry.db".to_owned()), "{names:?}");
    let checksum = "SELECT count(*), sum(v), min(time), max(time) FROM m";
    let expected = http.sql(checksum);
    assert!(server.terminate().success());

    // Each of them, on another machine that knows the store alone.
    let restore = |name: &str, into: &Path| {
        let into = into.to_str().unwrap();
        try_run_wattline(
            &["restore", "--from", &objects.url, "--name", name, "--data-dir", into],
            &objects.env,
        )
    };
    let other = data_dir();
    restore("second", &other.path().join("d")).unwrap();
    let server = Server::start(&other.path().join("d"), &[]);
    assert_eq!(server.http().sql(checksum), expected);
    assert!(server.terminate().success());
    restore("first", &other.path().join("e")).unwrap();
    let server = Server::start(&other.path().join("e"), &[]);
    assert_eq!(server.http().sql_number("SELECT count(*) FROM m"), ROWS as f64);
    assert!(server.terminate().success());

    // Old ones go, with what only they need.
    let server = Server::start_in(dir.path(), &["--set", &set], &objects.env);
    let url = format!("http://{}", server.http);
    let args = ["backup", "create", "--name", "third", "--keep", "1", "--server", &url];
    try_run_wattline(&args, &objects.env).unwrap();
    assert!(server.terminate().success());
    let names = objects.names();
    assert!(!names.iter().any(|name| name.contains("/first") || name.contains("/second")), "{names:?}");

    // A turned bit is named, and nothing is restored from it.
    objects.damage(".wls");
    let refused = restore("third", &other.path().join("f")).unwrap_err();
    assert!(refused.contains(".wls") && refused.contains(&objects.url), "{refused}");
    assert!(!refused.contains(&objects.env[1].1), "secrets are not shown");
}

/// `rows` samples a second apart, from number `from` on, with values that hardly compress.
fn fill(http: &Http, from: i64, rows: i64) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut lines = String::new();
    for i in from..from + rows {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i as u64 | 1);
        let value = state as f64 / 3.0;
        lines.push_str(&format!(
            "{{\"product_key\":\"pk\",\"device_key\":\"d\",\"time\":{},\"v\":{value}}}\n",
            BASE_MS + i * 50
        ));
        if lines.len() > 8 << 20 || i + 1 == from + rows {
            let path = "/api/v1/models/m/samples";
            let answer = http.post(path, "application/x-ndjson", "application/json", lines.as_bytes());
            assert_eq!(answer.ok()["rejected"], 0);
            lines.clear();
        }
    }
}
