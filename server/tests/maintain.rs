//! What an operator does: delete, check, inspect, back up, restore.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, cli, dir, ok, run};

/// 2026-01-01 00:00 UTC, in milliseconds.
const START: i64 = 1_767_225_600_000;

/// `hours` hours of one row a minute of the assets `a0` and `a1`, from hour `from` on.
fn fill(server: &Server, from: i64, hours: i64) {
    let mut lines = String::new();
    for minute in from * 60..(from + hours) * 60 {
        for asset in ["a0", "a1"] {
            let time = START + minute * 60_000;
            let n = minute;
            lines.push_str(&format!(
                "{{\"asset_id\":\"{asset}\",\"time\":{time},\"wind_speed\":{}.5,\"n\":{n}}}\n",
                minute % 20
            ));
        }
    }
    assert_eq!(server.ndjson("turbine", &lines).ok(200)["samples"], hours * 60 * 4);
}

fn count(server: &Server, condition: &str) -> i64 {
    let rows = server.sql(&format!("SELECT count(*) FROM turbine WHERE {condition}"));
    rows[0][0].as_i64().unwrap()
}

/// Files of the store with this ending.
fn files(data: &Path, ending: &str) -> Vec<PathBuf> {
    let shards = std::fs::read_dir(data.join("store")).unwrap().map(|e| e.unwrap().path());
    let of_shard = |dir: PathBuf| std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let all = shards.filter(|path| path.is_dir()).flat_map(of_shard);
    let mut list: Vec<PathBuf> = all.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    list.sort();
    list
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} does not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_deletion_is_in_force_at_once_stays_so_and_finishes() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(2);
    fill(&server, 0, 10);
    ok(&server, &["flush"]);
    fill(&server, 10, 1);

    let deletion = json!({"modelId": "turbine", "assets": ["a0"], "from": "2026-01-01T02:00:00Z",
        "to": START + 4 * 3_600_000});
    let job = server.post("/api/v1/deletions", &deletion).ok(201);
    assert_eq!((&job["status"], &job["assets"]), (&json!("running"), &json!(["a0"])));
    assert_eq!(count(&server, "asset_id = 'a0'"), 9 * 60);
    assert_eq!(count(&server, "asset_id = 'a1'"), 11 * 60);
    let hour = "time >= '2026-01-01T02:00:00Z' AND time < '2026-01-01T04:00:00Z'";
    assert_eq!(count(&server, &format!("asset_id = 'a0' AND {hour}")), 0);

    // Points alone: the row stays with what else it has.
    let some = "--points n --assets a1 --from 2026-01-01T00:00:00Z --to 2026-01-01T01:00:00Z";
    let args: Vec<&str> =
        ["delete", "submit", "--model", "turbine"].into_iter().chain(some.split(' ')).collect();
    let shown = ok(&server, &args);
    assert!(shown.contains("running") && shown.contains("[\"n\"]"), "{shown}");
    assert_eq!(count(&server, "asset_id = 'a1' AND n IS NULL"), 60);
    assert_eq!(count(&server, "asset_id = 'a1'"), 11 * 60);

    // What is written afterwards is there, in the deleted range too.
    let line = format!("{{\"asset_id\":\"a0\",\"time\":{},\"n\":7}}\n", START + 3 * 3_600_000);
    server.ndjson("turbine", &line).ok(200);
    assert_eq!(
        server.sql(&format!("SELECT asset_id, n FROM turbine WHERE asset_id = 'a0' AND {hour}")),
        json!([["a0", 7]])
    );

    // The memtable that the deletion froze is flushed by itself, segments are rewritten, and the jobs finish.
    wait_for("the end of the jobs", || {
        let jobs = server.get("/api/v1/deletions").ok(200);
        jobs.as_array().unwrap().iter().all(|job| job["status"] == "finished")
    });
    let pending = server.sql("SELECT sum(pending_deletions) FROM system.shards");
    assert_eq!(pending, json!([[0]]));
    assert_eq!(count(&server, "asset_id = 'a0'"), 9 * 60 + 1);
    server.signal("KILL");
    server.wait();

    let server = Server::start(dir.path());
    assert_eq!(count(&server, "asset_id = 'a0'"), 9 * 60 + 1);
    assert_eq!(count(&server, "asset_id = 'a1' AND n IS NULL"), 60);
    assert!(ok(&server, &["delete", "list"]).contains("finished"));
    assert!(ok(&server, &["check"]).contains("all sound"));
    server.stop();
}

#[test]
fn latest_values_are_deleted_apart_from_history() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(2);
    fill(&server, 0, 1);
    ok(&server, &["delete", "submit", "--model", "turbine", "--assets", "a0", "--points", "n", "--latest"]);
    let latest =
        |asset: &str| server.get(&format!("/api/v1/assets/{asset}/latest")).ok(200)["points"].clone();
    assert_eq!(latest("a0")["n"], Value::Null);
    assert_eq!(latest("a0")["wind_speed"]["value"], 19.5);
    assert_eq!(latest("a1")["n"]["value"], 59);
    assert_eq!(count(&server, "asset_id = 'a0' AND n IS NOT NULL"), 60, "history stays");
    // An older sample is the newest now.
    let line = format!("{{\"asset_id\":\"a0\",\"time\":{},\"n\":-1}}\n", START - 1_000);
    server.ndjson("turbine", &line).ok(200);
    assert_eq!(latest("a0")["n"]["value"], -1);
    server.signal("KILL");
    server.wait();
    let server = Server::start(dir.path());
    let latest = server.get("/api/v1/assets/a0/latest").ok(200);
    assert_eq!(latest["points"]["n"]["value"], -1);
    server.stop();
}

#[test]
fn a_deletion_that_is_not_understood_is_refused_by_name() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(1);
    let cases = [
        (json!({"modelId": "nosuch"}), 404, "nosuch"),
        (json!({"modelId": "turbine", "points": ["pwoer"]}), 400, "field points: model turbine has no pwoer"),
        (json!({"modelId": "turbine", "points": []}), 400, "field points: it is empty"),
        (json!({"modelId": "turbine", "assets": ["a9"]}), 404, "a9"),
        (json!({"modelId": "turbine", "from": 2000, "to": 1000}), 400, "from must be before to"),
        (json!({"modelId": "turbine", "from": "yesterday"}), 400, "field from: yesterday"),
        (json!({"modelId": "turbine", "target": "all"}), 400, "unknown variant `all`"),
    ];
    for (body, status, part) in cases {
        let (_, message) = server.post("/api/v1/deletions", &body).refused(status);
        assert!(message.contains(part), "{body}: {message}");
    }
    let (code, _, log) = cli(&server, &["delete", "submit", "--model", "turbine"]);
    assert_eq!(code, 2);
    assert!(log.contains("--everything"), "{log}");
    assert_eq!(server.get("/api/v1/deletions/7").refused(404).0, "not_found");
    assert_eq!(server.get("/api/v1/deletions").ok(200), json!([]), "nothing was noted");
    server.stop();
}

#[test]
fn a_damaged_segment_is_found_named_and_fenced() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(2);
    fill(&server, 0, 20);
    ok(&server, &["flush"]);
    // A fortnight later: another partition.
    fill(&server, 14 * 24, 1);
    ok(&server, &["flush"]);
    let report = server.post("/api/v1/operations/check", &json!({})).ok(202);
    assert_eq!(report["kind"], "check");
    server.stop();
    let data = dir.path().to_str().unwrap();
    let (code, out, log) = run(&["check", "--data-dir", data]);
    assert_eq!(code, 0, "{log}");
    assert!(out.contains("all sound") && out.contains("5040 samples"), "{out}");

    // One bit of a value, in the largest segment.
    let path =
        files(dir.path(), ".wls").into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (code, out, log) = run(&["check", "--data-dir", data]);
    assert_eq!(code, 5, "{log}");
    assert!(
        out.contains(&name) && out.contains("checksum") && log.contains("1 files are damaged"),
        "{out} {log}"
    );

    let server = Server::start(dir.path());
    let (code, out, _) = cli(&server, &["check"]);
    assert_eq!(code, 5);
    assert!(out.contains(&name), "{out}");
    let damaged = server.sql("SELECT file FROM system.segments WHERE damage IS NOT NULL");
    assert_eq!(damaged, json!([[name]]));
    let sql = [("content-type", "application/sql")];
    // Sums of points alone come from statistics, which have a checksum of their own; these need the values.
    let answer = server.request("POST", "/sql", &sql, b"SELECT sum(n + 1), sum(wind_speed + 1) FROM turbine");
    assert!(answer.status != 200 && answer.text().contains(&name), "{}", answer.text());
    assert_eq!(count(&server, "time >= '2026-01-10T00:00:00Z'"), 120, "the rest serves on");
    fill(&server, 14 * 24 + 1, 1);
    server.stop();

    // Without the file: fenced from the start on.
    std::fs::remove_file(&path).unwrap();
    let server = Server::start(dir.path());
    assert_eq!(count(&server, "time >= '2026-01-10T00:00:00Z'"), 240);
    let answer = server.request("POST", "/sql", &sql, b"SELECT count(*) FROM turbine");
    assert!(answer.status != 200 && answer.text().contains(&name), "{}", answer.text());
    assert!(server.get("/metrics").text().contains("wattline_damaged_segments"), "metrics tell");
    server.stop();
}

#[test]
fn a_backup_is_taken_while_writing_goes_on_and_restored_elsewhere() {
    let (data, safe, other) = (dir(), dir(), dir());
    let backups = safe.path().join("backups");
    let setting = format!("backup.dir={}", backups.display());
    let server = Server::start_with(data.path(), &["--set", &setting]);
    server.fleet(2);
    fill(&server, 0, 10);
    ok(&server, &["flush"]);
    fill(&server, 10, 1);
    let shown = ok(&server, &["backup", "create", "--name", "first"]);
    assert!(shown.contains("backup first"), "{shown}");
    fill(&server, 11, 5);
    let second = ok(&server, &["backup", "create", "--name", "second", "--json"]);
    let second: Value = serde_json::from_str(&second).unwrap();
    assert!(second["copiedBytes"].as_u64() < second["bytes"].as_u64(), "segments are shared: {second}");
    let (code, _, log) = cli(&server, &["backup", "create", "--name", "second"]);
    assert_eq!(code, 1);
    assert!(log.contains("already"), "{log}");
    let listed = ok(&server, &["backup", "list"]);
    assert!(listed.contains("first") && listed.contains("second"), "{listed}");

    let from = backups.to_str().unwrap();
    let into = |name: &str| other.path().join(name).to_str().unwrap().to_owned();
    for (name, rows) in [("first", 11), ("second", 16)] {
        let dir = into(name);
        let (code, out, log) = run(&["restore", "--from", from, "--name", name, "--data-dir", &dir]);
        assert_eq!(code, 0, "{log}");
        assert!(out.contains("every byte checked"), "{out}");
        let restored = Server::start(Path::new(&dir));
        assert_eq!(count(&restored, "TRUE"), rows * 120, "{name}");
        let latest = restored.get("/api/v1/assets/a1/latest").ok(200);
        assert_eq!(latest["points"]["n"]["value"], rows * 60 - 1);
        restored.stop();
        assert_eq!(run(&["check", "--data-dir", &dir]).0, 0);
    }
    let (code, _, log) = run(&["restore", "--from", from, "--data-dir", &into("first")]);
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("already"), "{log}");
    let (code, _, log) =
        run(&["restore", "--from", from, "--at", "2020-01-01T00:00:00Z", "--data-dir", &into("x")]);
    assert_eq!(code, 2);
    assert!(log.contains("2020-01-01"), "{log}");

    let shown = ok(&server, &["backup", "create", "--name", "third", "--keep", "1"]);
    assert!(shown.contains("removed first") && shown.contains("removed second"), "{shown}");
    let (_, out, _) = run(&["restore", "--from", from, "--list"]);
    assert!(out.contains("third") && !out.contains("second"), "{out}");
    server.stop();

    let plain = Server::start(data.path());
    let (kind, message) = plain.post("/api/v1/operations/backup", &json!({})).refused(409);
    assert!(kind == "conflict" && message.contains("backup.dir"), "{message}");
    plain.stop();
}

#[test]
fn inspect_shows_each_kind_of_file() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(2);
    fill(&server, 0, 10);
    ok(&server, &["flush"]);
    fill(&server, 10, 1);
    let show = |ending: &str| -> String {
        let list = files(dir.path(), ending);
        let args: Vec<&str> =
            std::iter::once("inspect").chain(list.iter().map(|p| p.to_str().unwrap())).collect();
        let (code, out, log) = run(&args);
        assert_eq!(code, 0, "{log}");
        out
    };
    let segments = show(".wls");
    assert!(segments.contains("all checksums are right") && segments.contains("| float"), "{segments}");
    assert!(show(".wll").contains("RealTime"), "a log");
    let manifests = show(".wlm");
    assert!(manifests.contains("168 h") && manifests.contains("segment-"), "{manifests}");
    assert!(show(".wlc").contains("kind") && show(".wlc").contains("latest values"));
    let (code, _, log) = run(&["inspect", dir.path().join("registry.db").to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(log.contains("no file of a store"), "{log}");
    server.stop();
}

#[test]
fn backups_are_taken_by_the_clock_and_old_ones_go() {
    let dir = dir();
    let place = format!("backup.dir={}", dir.path().join("backups").display());
    let every = ["--set", &place, "--set", "backup.every=1s", "--set", "backup.keep=2"];
    let server = Server::start_with(&dir.path().join("data"), &every);
    server.fleet(2);
    fill(&server, 0, 1);
    let list = || -> Vec<String> {
        let all = server.get("/api/v1/backups").ok(200);
        all.as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut seen = std::collections::BTreeSet::new();
    wait_for("a fourth backup", || {
        let now = list();
        assert!(now.len() <= 3, "two are kept, and one is being taken: {now:?}");
        seen.extend(now);
        seen.len() >= 4
    });
    server.stop();
    let data = dir.path().join("nowhere");
    let (code, _, log) = run(&["serve", "--data-dir", data.to_str().unwrap(), "--set", "backup.every=1h"]);
    assert!(code != 0 && log.contains("backup.dir"), "{code}: {log}");
}

#[test]
fn every_second_between_backups_comes_back_from_a_journal() {
    let (dir, other) = (dir(), dir());
    let backups = dir.path().join("backups");
    let from = backups.to_str().unwrap();
    let place = format!("backup.dir={from}");
    let settings = ["--set", &place, "--set", "backup.journal=1s"];
    let server = Server::start_with(&dir.path().join("data"), &settings);
    let reach = |server: &Server| -> Option<jiff::Timestamp> {
        let all = server.get("/api/v1/backups").ok(200);
        all.as_array().unwrap().iter().rev().find_map(|b| b["reachesTo"].as_str()?.parse().ok())
    };
    wait_for("the backup at the start, and its journal", || reach(&server).is_some());
    server.fleet(2);
    fill(&server, 0, 10);
    // A moment after everything so far, which was shipped.
    let moment = || {
        let now = jiff::Timestamp::now();
        wait_for("a shipment", || reach(&server) >= Some(now));
        reach(&server).unwrap()
    };
    let first = moment();
    // More, less, and somebody new, after it.
    fill(&server, 10, 5);
    ok(&server, &["flush"]);
    let new = json!({"productKey": "pk", "deviceKey": "d2", "assetId": "a2"});
    server.post("/api/v1/devices", &new).ok(201);
    let line = format!("{{\"asset_id\":\"a2\",\"time\":{START},\"n\":7}}\n");
    server.ndjson("turbine", &line).ok(200);
    let second = moment();
    ok(&server, &["delete", "submit", "--model", "turbine", "--assets", "a0"]);
    assert_eq!(count(&server, "asset_id = 'a0'"), 0);
    wait_for("a shipment of it", || reach(&server) > Some(second));
    let metrics = server.get("/metrics").text();
    let metric = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("wattline_journal_{name} ")));
        line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
    };
    assert!(metric("lag_seconds") < 60.0 && metric("shipped_bytes_total") > 1_000.0);
    assert_eq!((metric("gaps_total"), metric("goes_on")), (0.0, 1.0));
    // The stop ships the rest.
    fill(&server, 15, 1);
    server.stop();

    let into = |name: &str| other.path().join(name).to_str().unwrap().to_owned();
    let (_, out, _) = run(&["restore", "--from", from, "--list"]);
    assert!(out.contains("reaches to") && out.matches("Z |").count() == 3, "name and two times: {out}");
    let restored = |name: &str, at: Option<jiff::Timestamp>| {
        let (dir, at) = (into(name), at.map(|at| at.to_string()));
        let mut args = vec!["restore", "--from", from, "--data-dir", &dir];
        args.extend(at.iter().flat_map(|at| ["--at", at.as_str()]));
        let (code, out, log) = run(&args);
        assert_eq!(code, 0, "{log}");
        assert!(out.contains("and its journal up to"), "{out}");
        assert_eq!(run(&["check", "--data-dir", &dir]).0, 0);
        Server::start(Path::new(&dir))
    };
    let then = restored("first", Some(first));
    assert_eq!(count(&then, "TRUE"), 10 * 120);
    assert_eq!(then.get("/api/v1/assets/a1/latest").ok(200)["points"]["n"]["value"], 599);
    then.stop();
    let then = restored("second", Some(second));
    assert_eq!(count(&then, "TRUE"), 15 * 120 + 1, "nothing was deleted yet");
    assert_eq!(
        then.sql("SELECT n FROM turbine WHERE asset_id = 'a2'"),
        json!([[7]]),
        "somebody new is known"
    );
    then.stop();
    let then = restored("end", None);
    assert_eq!((count(&then, "asset_id = 'a0'"), count(&then, "asset_id = 'a1'")), (60, 16 * 60));
    then.stop();

    // A new start goes on with a backup of its own; the journal before stays as it is.
    let server = Server::start_with(&dir.path().join("data"), &settings);
    wait_for("the backup at the next start", || {
        server.get("/api/v1/backups").ok(200).as_array().unwrap().len() == 2
    });
    server.signal("KILL");
    server.wait();
    restored("first-again", Some(first)).stop();
}

#[test]
fn a_journal_whose_place_is_gone_says_so_and_goes_on_when_it_is_back() {
    let dir = dir();
    let place = dir.path().join("backups");
    let setting = format!("backup.dir={}", place.display());
    let settings = ["--set", &setting, "--set", "backup.journal=500ms"];
    let server = Server::start_with(&dir.path().join("data"), &settings);
    let metric = |name: &str| -> f64 {
        let text = server.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("wattline_journal_{name} ")));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    };
    server.fleet(2);
    wait_for("a journal", || metric("goes_on") == 1.0);
    // A file where the folder was: nothing can be put there.
    let aside = dir.path().join("aside");
    std::fs::rename(&place, &aside).unwrap();
    std::fs::write(&place, b"").unwrap();
    fill(&server, 0, 1);
    wait_for("shipments that fail", || metric("failures_total") >= 2.0);
    assert!(metric("lag_seconds") > 0.4);
    assert_eq!(count(&server, "TRUE"), 120, "writing goes on");
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    server.stop();
    let (from, into) = (place.to_str().unwrap(), dir.path().join("restored"));
    let (code, out, log) = run(&["restore", "--from", from, "--data-dir", into.to_str().unwrap()]);
    assert_eq!(code, 0, "{out} {log}");
    let then = Server::start(&into);
    assert_eq!(count(&then, "TRUE"), 120, "what waited was shipped at the stop");
    then.stop();

    let data = dir.path().join("nowhere");
    let (code, _, log) = run(&["serve", "--data-dir", data.to_str().unwrap(), "--set", "backup.journal=1s"]);
    assert!(code != 0 && log.contains("backup.journal") && log.contains("backup.dir"), "{code}: {log}");
}
