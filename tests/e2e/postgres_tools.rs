//! What tools ask of a PostgreSQL server to show what is in it: psql, SQLAlchemy and pandas, pgjdbc.

use std::path::Path;
use std::process::{Command, Stdio};

use wattline_tests::server::{command, repo};
use wattline_tests::{Server, python};

use super::data_dir;
use super::postgres::start;

fn at(server: &Server) -> (String, String) {
    let address = server.pg.expect("a PostgreSQL listener");
    (address.ip().to_string(), address.port().to_string())
}

/// What psql shows for a command of its own, as people see it.
fn psql(server: &Server, meta: &str) -> String {
    let (host, port) = at(server);
    let mut psql = command(Path::new("psql"));
    psql.args(["-X", "-h", &host, "-p", &port, "-U", "ann", "-d", "wattline", "-w", "-v", "ON_ERROR_STOP=1"]);
    let output = psql.args(["-c", meta]).stdin(Stdio::null()).output().expect("psql is installed: make deps");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{meta}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn psql_describes() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let shows = |meta: &str, lines: &[&str]| {
        let shown = psql(&server, meta);
        // Columns are as wide as their widest value, which is another psql's affair.
        let squeezed =
            |line: &str| line.split('|').map(str::trim).collect::<Vec<_>>().join("|").trim().to_owned();
        let found: Vec<String> = shown.lines().map(squeezed).collect();
        for line in lines {
            assert!(found.iter().any(|found| found == line), "{meta}: no line {line:?} in\n{shown}");
        }
    };
    shows(
        "\\d turbine",
        &[
            "Table \"public.turbine\"",
            "Column|Type|Collation|Nullable|Default",
            "asset_id|text||not null|",
            "time|timestamp with time zone||not null|",
            "p0|double precision|||",
            "n|bigint|||",
            "on|boolean|||",
            "state|integer|||",
            "note|text|||",
        ],
    );
    shows(
        "\\d+ turbine",
        &["p0|double precision||||plain|||", "time|timestamp with time zone||not null||plain|||"],
    );
    shows("\\d latest.turbine", &["Table \"latest.turbine\"", "p0_time|timestamp with time zone|||"]);
    shows("\\d", &["public|turbine|table|wattline"]);
    shows(
        "\\dt",
        &["Schema|Name|Type|Owner", "public|assets|table|wattline", "public|turbine|table|wattline"],
    );
    shows("\\dt+ turbine", &["public|turbine|table|wattline|permanent|heap||thing model /turbine"]);
    shows("\\dn", &["latest|wattline", "public|wattline", "system|wattline"]);
    shows("\\dn+", &["public|wattline||"]);
    shows("\\l", &["wattline|wattline|UTF8|C|C||libc|"]);
    shows(
        "\\l+",
        &[
            "Name|Owner|Encoding|Collate|Ctype|ICU Locale|Locale Provider|Access privileges|Size|Tablespace|Description",
        ],
    );
    shows("\\du", &["wattline||"]);
    shows("\\dp turbine", &["public|turbine|table|||"]);
    shows("\\df integral", &["public|integral|double precision|value, time [, unit [, method]]|agg"]);
    shows("\\df session", &["public|session|timestamp with time zone|time, gap|window"]);
    shows("\\df", &["public|locf|type of value|value|func"]);
    for meta in [
        "\\dv",
        "\\di",
        "\\da",
        "\\do",
        "\\dC",
        "\\df+",
        "\\ds",
        "\\dm",
        "\\dT",
        "\\dx",
        "\\dy",
        "\\dD",
        "\\db",
        "\\dA",
        "\\dconfig",
    ] {
        psql(&server, meta);
    }
}

#[test]
fn sqlalchemy_reflects_and_pandas_reads() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let (host, port) = at(&server);
    assert_eq!(python::run("pg_sqlalchemy.py", &[&host, &port]).trim(), "ok");
}

#[test]
fn pgjdbc_does_what_dbeaver_and_metabase_do() {
    if Command::new("mvn").arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status().is_err() {
        eprintln!("not tried: there is no JDK with Maven here");
        return;
    }
    let jar = python::run_program(&repo().join("tests/services/jdbc.sh"), std::iter::once("postgresql"));
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let (host, port) = at(&server);
    let asset = server.http().sql("SELECT asset_id FROM turbine LIMIT 1")[0][0].trim_matches('"').to_owned();
    let program = repo().join("tests/clients/PgJdbc.java");
    let program = program.to_str().expect("a UTF-8 path");
    let args = ["-Duser.timezone=UTC", "-cp", jar.trim(), program, &host, &port, &asset];
    let said = python::run_program(Path::new("java"), args.into_iter());
    assert_eq!(said.trim().lines().last(), Some("ok"));
}

/// Panels of Grafana's PostgreSQL source with its macros expanded as it does: `$__timeFilter`, `$__timeGroupAlias`,
/// `$__unixEpochFilter`, `$__timeFrom`.
#[test]
fn queries_of_grafanas_macros() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let rows = |sql: &str| {
        let (host, port) = at(&server);
        let mut psql = command(Path::new("psql"));
        psql.args(["-X", "-At", "-h", &host, "-p", &port, "-U", "ann", "-d", "wattline", "-w", "-c", sql]);
        let output = psql.stdin(Stdio::null()).output().expect("psql is installed: make deps");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let filter = "\"time\" BETWEEN '2024-01-01T00:00:00Z' AND '2024-01-01T00:09:59.999Z'";
    // $__timeGroupAlias("time", '5m'), a metric column, and $__timeFilter("time").
    let grouped = format!(
        "SELECT floor(extract(epoch from \"time\")/300)*300 AS \"time\", asset_id AS metric, sum(p0) FROM turbine \
         WHERE {filter} GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let grouped = rows(&grouped);
    let sums: Vec<&str> = grouped.lines().map(|line| line.rsplit('|').next().unwrap()).collect();
    // 0.5 + … + 4.5 and 5.5 + … + 9.5, for two turbines.
    assert_eq!(sums, ["12.5", "12.5", "37.5", "37.5"]);
    let epochs = "SELECT count(*) FROM turbine WHERE extract(epoch from \"time\") >= 1704067200 \
                  AND extract(epoch from \"time\") <= 1704067260";
    assert_eq!(rows(epochs), "4\n");
    let variable = format!("SELECT DISTINCT state FROM turbine WHERE {filter} AND state >= 3 ORDER BY 1");
    assert_eq!(rows(&variable), "3\n4\n");
    assert_eq!(
        rows("SELECT date_trunc('minute', '2024-01-01T00:09:59Z'::timestamptz) AS \"time\""),
        "2024-01-01 00:09:00+00\n"
    );
    let annotation = format!(
        "SELECT extract(epoch from \"time\") AS time, note AS text, 'a,b' AS tags FROM turbine WHERE {filter} LIMIT 1"
    );
    assert!(rows(&annotation).ends_with("|a,b\n"));
}
