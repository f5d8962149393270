//! The command line against a running server.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Server, cli, dir, finish, ok, run, wattline};

#[test]
fn models_products_and_devices_from_the_command_line() {
    let dir = dir();
    let server = Server::start(dir.path());
    let file = dir.path().join("turbine.json");
    let model = json!({"modelId": "turbine", "points": {"power": {"dataType": "DOUBLE", "unit": "kW"}}});
    std::fs::write(&file, model.to_string()).unwrap();
    let shown = ok(&server, &["model", "create", "-f", file.to_str().unwrap()]);
    assert!(shown.contains("power | DOUBLE"), "{shown}");
    let (code, _, log) = cli(&server, &["model", "create", "-f", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(log.contains("turbine"), "{log}");
    assert!(ok(&server, &["model", "list"]).lines().nth(2).unwrap().starts_with("turbine | turbine |"));

    ok(&server, &["product", "create", "--model", "turbine", "--key", "pk", "--name", "V90"]);
    let made = ok(
        &server,
        &["device", "create", "--product", "pk", "--key", "wt-1", "--timezone", "+03:00", "--json"],
    );
    let made: Value = serde_json::from_str(&made).unwrap();
    assert!(made["deviceSecret"].is_string());
    let shown = ok(&server, &["device", "show", "pk/wt-1"]);
    assert!(shown.contains("timezone  ") && shown.contains("+03:00") && !shown.contains("secret"), "{shown}");
    let by_asset = ok(&server, &["device", "show", made["assetId"].as_str().unwrap()]);
    assert_eq!(by_asset, shown);
    assert!(ok(&server, &["device", "list"]).contains("wt-1"));
    assert!(ok(&server, &["product", "list"]).contains("V90"));
    ok(&server, &["org", "create", "acme"]);
    assert!(ok(&server, &["org", "list"]).contains("acme"));
    server.stop();
}

#[test]
fn sql_from_the_command_line() {
    let dir = dir();
    let server = Server::start(dir.path());
    server.fleet(1);
    server
        .ndjson("turbine", "{\"asset_id\":\"a0\",\"time\":1767225600000,\"wind_speed\":7.25,\"n\":3}\n")
        .ok(200);
    let sql = "SELECT asset_id, wind_speed, n FROM turbine";
    assert_eq!(
        ok(&server, &["sql", "--no-timing", "-c", sql]),
        "asset_id | wind_speed | n\n---------+------------+--\na0       |       7.25 | 3\n"
    );
    assert!(ok(&server, &["sql", "-c", sql]).contains("(1 row, "));
    assert_eq!(ok(&server, &["sql", "--format", "csv", "-c", sql]), "asset_id,wind_speed,n\na0,7.25,3\n");
    let json: Value = serde_json::from_str(&ok(&server, &["sql", "--format", "json", "-c", sql])).unwrap();
    assert_eq!(json["rows"], json!([["a0", 7.25, 3]]));
    assert!(ok(&server, &["sql", "-c", "\\d"]).contains("turbine"));
    let columns = ok(&server, &["sql", "-c", "\\d turbine"]);
    assert!(
        columns.contains("wind_speed         | double precision\n")
            && columns.contains("| timestamp with time zone\n"),
        "{columns}"
    );
    assert!(ok(&server, &["sql", "-c", "\\d latest.turbine"]).contains("wind_speed"));
    assert!(ok(&server, &["sql", "-c", "\\l"]).contains("turbine"));

    let (code, _, log) = cli(&server, &["sql", "-c", "SELECT wind\nFROM turbine"]);
    assert_eq!(code, 1);
    assert!(log.contains("LINE 1: SELECT wind\n               ^"), "{log}");

    let mut child = wattline()
        .args(["sql", "--format", "csv"])
        .env("WATTLINE_SERVER", server.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT 1 AS a; -- one\nSELECT ';' AS b\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "a\n1\nb\n;\n");
    server.stop();
}

#[test]
fn a_server_that_is_not_there_is_an_error_of_its_own() {
    // Port 1 is reserved, and nobody listens on it.
    let (code, _, log) = run(&["model", "list", "--server", "http://127.0.0.1:1"]);
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("127.0.0.1:1"), "{log}");
    assert_eq!(run(&["model", "list", "--server", "ftp://x"]).0, 2);
    assert_eq!(run(&["device", "show", "a/b", "--server", "http://127.0.0.1:1/path"]).0, 2);
}

#[test]
fn a_token_is_sent_and_not_shown() {
    let dir = dir();
    let server = Server::start_with(dir.path(), &["--set", "http.token=s3cret"]);
    assert_eq!(cli(&server, &["model", "list"]).0, 1);
    let (code, _, log) = finish(
        wattline()
            .args(["model", "list"])
            .env("WATTLINE_SERVER", server.url())
            .env("WATTLINE_TOKEN", "s3cret"),
    );
    assert_eq!(code, 0, "{log}");
    server.stop();
}
