//! `system.queries` and `KILL` over every wire: who ends a statement, what its client is told, and that nothing stays.

use std::time::{Duration, Instant};

use wattline_tests::metrics::Metrics;
use wattline_tests::{Server, python};

use super::postgres::{psql_as, start};
use super::{data_dir, start as start_without_pg};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 3000000) b";

/// The number of the running statement of `wire` that begins with `text`.
fn number(server: &Server, wire: &str, text: &str) -> String {
    let sql = format!(
        "SELECT id FROM system.queries WHERE state = 'running' AND wire = '{wire}' AND statement LIKE '{text}%'"
    );
    let begin = Instant::now();
    loop {
        if let [row] = &server.http().sql(&sql)[..] {
            return row[0].clone();
        }
        assert!(begin.elapsed() < PATIENCE, "{text} never runs over {wire}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// State and error of statement `id`.
fn told(server: &Server, id: &str) -> Vec<String> {
    server.http().sql(&format!("SELECT state, error FROM system.queries WHERE id = {id}")).remove(0)
}

fn nothing_runs(server: &Server) {
    let begin = Instant::now();
    while Metrics::read(&server.http()).sum("wattline_sql_statements", "") > 0.0 {
        assert!(begin.elapsed() < PATIENCE, "a statement goes on for nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn post(server: &Server, sql: &str) -> wattline_tests::http::Answer {
    server.http().post("/sql", "application/sql", "application/json", sql.as_bytes())
}

#[test]
fn statements_of_psql_and_http_end_each_other() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let psql = |sql: &str| psql_as(&server, "ann", None, &["-v", "VERBOSITY=verbose", "-c", sql]);

    std::thread::scope(|scope| {
        let waits = scope.spawn(|| psql(&format!("{ENDLESS} WHERE a.value > -1")));
        let id = number(&server, "pg", ENDLESS);
        let answer = post(&server, &format!("KILL {id}")).ok();
        assert_eq!((&answer["tag"], &answer["changed"]), (&"KILL".into(), &serde_json::Value::Null));
        let error = waits.join().unwrap().unwrap_err();
        assert!(error.contains("57014: the statement was cancelled by somebody over http"), "{error}");
        assert_eq!(told(&server, &id), ["cancelled", "the statement was cancelled by somebody over http"]);
    });

    std::thread::scope(|scope| {
        let waits = scope.spawn(|| post(&server, ENDLESS));
        let id = number(&server, "http", ENDLESS);
        assert_eq!(psql(&format!("kill {id}")).unwrap(), "KILL\n");
        let answer = waits.join().unwrap();
        assert_eq!(answer.status, 499, "{}", answer.text());
        let error = answer.json()["error"].clone();
        assert_eq!(error["kind"], "cancelled");
        assert!(error["message"].as_str().unwrap().starts_with("the statement was cancelled by "), "{error}");
        assert!(error["message"].as_str().unwrap().ends_with(" over pg"), "{error}");
        let error = psql(&format!("KILL {id}")).unwrap_err();
        assert!(error.contains(&format!("42704: there is no running statement {id}")), "{error}");
    });
    assert_eq!(post(&server, "KILL 999999").status, 400);

    // One in the middle of its answer, whose client does not read: it ends all the same.
    let rows =
        "SELECT value, 'so that it fills every buffer on the way' FROM generate_series(1, 100000000000)";
    std::thread::scope(|scope| {
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let server = &server;
        let reader = scope.spawn(move || {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect(server.http).unwrap();
            write!(
                stream,
                "POST /sql HTTP/1.1\r\nhost: x\r\naccept: text/csv\r\ncontent-length: {}\r\n\r\n{rows}",
                rows.len()
            )
            .unwrap();
            let mut begin = [0; 1_000];
            stream.read_exact(&mut begin).unwrap();
            assert!(begin.starts_with(b"HTTP/1.1 200"));
            wait.recv().unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            rest
        });
        let id = number(server, "http", "SELECT value");
        post(server, &format!("KILL {id}")).ok();
        assert_eq!(told(server, &id)[0], "cancelled");
        go_on.send(()).unwrap();
        let rest = reader.join().unwrap();
        assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "a broken answer must not look like a whole one");
    });
    nothing_runs(&server);
    assert_eq!(psql("SELECT count(*) FROM turbine").unwrap(), "20\n");
}

#[test]
fn a_statement_over_flight_is_known_and_ended() {
    let dir = data_dir();
    let server = Server::start(dir.path(), &["--flight", "127.0.0.1:0"]);
    let address = server.flight.expect("the listener is on").to_string();
    assert_eq!(python::run("flight_kill.py", &[&address]).trim(), "ok");
    nothing_runs(&server);
}

#[test]
fn what_statements_put_on_disk_is_gone_and_settings_and_jobs_are_told() {
    let dir = data_dir();
    let spill = dir.path().join("spill");
    // What a server that was killed left there.
    std::fs::create_dir_all(spill.join("datafusion-x")).unwrap();
    std::fs::write(spill.join("datafusion-x/rest"), [0; 1_000]).unwrap();
    let args = ["--set", "sql.memory_max=8MiB", "--set", "http.token="];
    let server = Server::start(dir.path(), &args);
    assert_eq!(
        std::fs::read_dir(&spill)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.ends_with("datafusion-x"))
            .count(),
        0
    );

    // Two million numbers of 8 bytes each, twice.
    let sql = "SELECT sum(difference), count(*) FROM (SELECT value - lag(value) OVER (ORDER BY value % 1000, value) \
               AS difference FROM generate_series(1, 2000000))";
    // What stands last less what stands first in that order: 1,999,999 less 1,000.
    assert_eq!(server.http().sql(sql), [["1998999", "2000000"]]);
    let peak = "SELECT max(memory_peak_bytes) BETWEEN 1000000 AND 8388608 FROM system.queries";
    assert_eq!(server.http().sql(peak), [["true"]]);

    let setting = |name: &str| {
        let sql = format!("SELECT value, \"default\", origin FROM system.settings WHERE name = '{name}'");
        server.http().sql(&sql).remove(0)
    };
    assert_eq!(setting("sql.memory_max"), ["8MiB", "0B", "flag --set"]);
    assert_eq!(setting("sql.spill_max"), ["10GiB", "10GiB", "default"]);

    server.http().post("/api/v1/operations/flush", "application/json", "application/json", b"").ok();
    let jobs = "SELECT kind, id, state FROM system.jobs WHERE kind = 'flush' AND id IS NOT NULL";
    let begin = Instant::now();
    while server.http().sql(jobs) != [["flush", "1", "finished"]] {
        assert!(begin.elapsed() < PATIENCE, "{:?}", server.http().sql(jobs));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn deletion_jobs_are_among_the_jobs() {
    let dir = data_dir();
    let server = start_without_pg(dir.path());
    server.http().create_fleet("meter", 1);
    let deleted = post(&server, "DELETE FROM meter WHERE time < '2020-01-01'").ok();
    let jobs = "SELECT kind, id, target, account FROM system.jobs WHERE kind = 'deletion'";
    let id = deleted["job"].to_string();
    assert_eq!(
        server.http().sql(jobs),
        [["deletion", &*id, "history of meter, all assets in a range of time", "api"]]
    );
}
