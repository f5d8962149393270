//! Random data and random statements, the same to Wattline and to DuckDB: `clients/differential.py` has the story.

use std::time::Duration;

use wattline_tests::{Server, python};

use super::data_dir;

/// How long a statement may take on a busy machine, all comparisons of it included.
const STATEMENT: Duration = Duration::from_secs(2);
/// A start, writes, flushes and a merge.
const REST: Duration = Duration::from_secs(120);
/// States of the store in which statements are compared, so many each.
const STATES: u32 = 13;

#[test]
fn random_statements_answer_as_duckdb_does_before_and_after_flush_and_merge() {
    let seed = setting("WATTLINE_DIFFERENTIAL_SEED", 1);
    let statements = setting("WATTLINE_DIFFERENTIAL_STATEMENTS", 10);
    println!("WATTLINE_DIFFERENTIAL_SEED={seed} WATTLINE_DIFFERENTIAL_STATEMENTS={statements}");
    let dir = data_dir();
    // Segments are merged when the client says so: the states before are those of several segments.
    let server = Server::start(dir.path(), &["--set", "storage.settle_after=1d"]);
    let args = [server.http.port().to_string(), seed.to_string(), statements.to_string()];
    let limit = REST + STATEMENT * STATES * statements;
    let out = python::run_within("differential.py", &args.each_ref().map(String::as_str), limit);
    let done: serde_json::Value = serde_json::from_str(&out).expect("JSON of the client");
    assert_eq!(done["statements"], STATES * statements, "{out}");
}

fn setting(name: &str, default: u32) -> u32 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, got {text:?}")),
        Err(_) => default,
    }
}
