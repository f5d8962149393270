//! Compressed answers over HTTP, with clients that others wrote.

use std::path::Path;

use wattline_tests::python;

use super::{data_dir, start};

#[test]
fn answers_are_compressed_where_that_is_asked_for() {
    let dir = data_dir();
    let server = start(dir.path());
    let sizes = python::run("http_compressed.py", &[&server.http.to_string()]);
    let sizes: serde_json::Value = serde_json::from_str(&sizes).unwrap();
    let bytes = |name: &str| sizes[name].as_u64().unwrap();
    assert!(bytes("gzip") * 5 < bytes("plain") && bytes("zstd") * 5 < bytes("plain"), "{sizes}");

    let url = format!("http://{}/sql", server.http);
    let sql = "SELECT value, value * 2 FROM generate_series(1, 5000) ORDER BY value";
    let ask = |compressed: &[&'static str]| {
        let args = ["--silent", "--fail", "--header", "accept: text/csv", "--data", sql, &url];
        python::run_program(Path::new("curl"), compressed.iter().copied().chain(args))
    };
    let plain = ask(&[]);
    assert_eq!(plain.lines().count(), 5_001);
    assert_eq!(ask(&["--compressed"]), plain);
}
