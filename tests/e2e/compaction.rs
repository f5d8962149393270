//! Compaction as operators and readers notice it: what overlaps is merged though it is little, at once where somebody
//! asks, by itself where nobody writes; and what was written is read all the same.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use wattline_tests::admin::model_json;
use wattline_tests::server::try_run_wattline;
use wattline_tests::{Http, Server};

use super::{BASE_MS, data_dir};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const DEVICES: usize = 12;
const ROWS: usize = 300;

/// Writes `point` of every device, the same times for each point, and brings it into segments of its own.
fn load(http: &Http, url: &str, point: &str) {
    let mut lines = String::new();
    for device in 0..DEVICES {
        for row in 0..ROWS {
            let time = BASE_MS + 1_000 * row as i64;
            let value = row % 7;
            writeln!(
                lines,
                r#"{{"product_key":"pk","device_key":"d{device}","time":{time},"{point}":{value}}}"#
            )
            .unwrap();
        }
    }
    let answer =
        http.post("/api/v1/models/m/samples", "application/x-ndjson", "application/json", lines.as_bytes());
    assert_eq!(answer.ok()["samples"], DEVICES * ROWS);
    try_run_wattline(&["flush", "--server", url], &[]).unwrap_or_else(|output| panic!("{output}"));
}

/// The segments of each shard that has some.
fn segments(http: &Http) -> Vec<String> {
    let sql = "SELECT count(*) FROM system.segments GROUP BY shard ORDER BY shard";
    http.sql(sql).into_iter().map(|mut row| row.remove(0)).collect()
}

/// Rows, and the sum of each point: of 300 rows, 42 times 0 to 6, and then 0 to 5.
fn check(http: &Http) {
    let rows = (DEVICES * ROWS).to_string();
    let sum = (DEVICES * (42 * 21 + 15)).to_string();
    let found = http.sql("SELECT count(*), CAST(sum(a) AS BIGINT), CAST(sum(b) AS BIGINT) FROM m");
    assert_eq!(found, [[rows, sum.clone(), sum]]);
}

#[test]
fn what_overlaps_is_merged_when_asked_for_and_when_it_is_quiet() {
    let dir = data_dir();
    let server = Server::start(dir.path(), &["--set", "storage.settle_after=1d"]);
    let (http, url) = (server.http(), format!("http://{}", server.http));
    http.create_model(&model_json("m", &[("a", "DOUBLE"), ("b", "DOUBLE")]));
    http.create_product("pk", "m");
    let keys: Vec<String> = (0..DEVICES).map(|device| format!("d{device}")).collect();
    http.create_devices("pk", &keys);
    load(&http, &url, "a");
    load(&http, &url, "b");
    assert_eq!(segments(&http), ["2", "2"], "two are fewer than what is merged for their number");
    check(&http);

    let told =
        try_run_wattline(&["compact", "--server", &url], &[]).unwrap_or_else(|output| panic!("{output}"));
    assert!(told.starts_with("2 merges, ") && told.ends_with("; 2 segments\n"), "{told}");
    assert_eq!(segments(&http), ["1", "1"]);
    check(&http);
    let told =
        try_run_wattline(&["compact", "--server", &url], &[]).unwrap_or_else(|output| panic!("{output}"));
    assert_eq!(told, "0 merges, 0 bytes written; 2 segments\n");
    assert!(server.terminate().success());

    let server = Server::start(dir.path(), &["--set", "storage.settle_after=1s"]);
    let (http, url) = (server.http(), format!("http://{}", server.http));
    load(&http, &url, "b");
    let begin = Instant::now();
    while segments(&http) != ["1", "1"] {
        assert!(begin.elapsed() < PATIENCE, "nothing is merged: {:?}", segments(&http));
        std::thread::sleep(Duration::from_millis(50));
    }
    check(&http);
}
