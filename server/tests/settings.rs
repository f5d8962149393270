//! Settings reach the server from file, environment and flags, and wrong ones keep it from starting.

use crate::harness::{Server, dir, finish, run, wattline};

fn value(shown: &str, name: &str) -> String {
    let line = shown.lines().find(|line| line.starts_with(&format!("{name} = ")));
    line.unwrap_or_else(|| panic!("no {name} in {shown}")).to_owned()
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let dir = dir();
    let file = dir.path().join("w.toml");
    std::fs::write(&file, "shards = 3\nmemory_budget = \"512MiB\"\ndata_dir = \"/from/file\"\n").unwrap();
    let mut command = wattline();
    command.args(["config", "--data-dir", "/from/flag", "--set", "sql.timeout=7s"]);
    command.env("WATTLINE_CONFIG", &file).env("WATTLINE_SHARDS", "4").env("WATTLINE_HTTP_TOKEN", "s3cret");
    let (code, shown, log) = finish(command.env("WATTLINE_DATA_DIR", "/from/env"));
    assert_eq!(code, 0, "{log}");
    assert_eq!(value(&shown, "data_dir"), "data_dir = \"/from/flag\" # flag --data-dir");
    assert_eq!(value(&shown, "shards"), "shards = 4 # environment WATTLINE_SHARDS");
    assert!(value(&shown, "memory_budget").contains("\"512MiB\" # ") && shown.contains("w.toml, line 2"));
    assert_eq!(value(&shown, "timeout"), "timeout = \"7s\" # flag --set");
    assert!(!shown.contains("s3cret") && shown.contains("token = \"***\""));
}

#[test]
fn a_file_in_the_working_directory_is_found() {
    let dir = dir();
    std::fs::write(dir.path().join("wattline.toml"), "shards = 5\n").unwrap();
    let (code, shown, _) = finish(wattline().arg("config").current_dir(dir.path()));
    assert_eq!((code, value(&shown, "shards").as_str()), (0, "shards = 5 # wattline.toml, line 1"));
}

#[test]
fn the_default_file_can_be_served_from() {
    let (code, text, _) = run(&["config", "--default"]);
    assert_eq!(code, 0);
    let dir = dir();
    let file = dir.path().join("w.toml");
    std::fs::write(&file, text).unwrap();
    let server = Server::start_with(dir.path(), &["--config", file.to_str().unwrap()]);
    assert_eq!(server.get("/healthz").status, 200);
    server.stop();
}

#[test]
fn what_does_not_exist_is_refused_by_name() {
    let dir = dir();
    let file = dir.path().join("w.toml");
    std::fs::write(&file, "[http]\nlissen = \"127.0.0.1:0\"\n").unwrap();
    let (code, _, log) = run(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 2, "{log}");
    assert!(
        log.contains("unknown setting http.lissen") && log.contains("did you mean http.listen?"),
        "{log}"
    );
    let (code, _, log) = run(&["serve", "--set", "sql.timout=1s"]);
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("unknown setting sql.timout (--set); did you mean sql.timeout?"), "{log}");
    let (code, _, log) = run(&["serve", "--shards", "many"]);
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("setting shards (flag --shards): expected a whole number"), "{log}");
    assert_eq!(run(&["serve", "--no-such-flag"]).0, 2);
}

#[test]
fn http_without_token_stays_on_loopback() {
    let dir = dir();
    let path = dir.path().to_str().unwrap();
    let (code, _, log) = run(&["serve", "--data-dir", path, "--mqtt", "off", "--http", "0.0.0.0:0"]);
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("http.token") && log.contains("http.allow_unauthenticated_remote"), "{log}");
    let open = ["--http", "0.0.0.0:0", "--mqtt", "off", "--set", "http.allow_unauthenticated_remote=true"];
    let mut command = wattline();
    command.args(["serve", "--data-dir", path]).args(open);
    let server = Server::spawn(command);
    assert!(server.lines[0].starts_with("listening http http://0.0.0.0:"), "{:?}", server.lines);
    server.stop();
}
