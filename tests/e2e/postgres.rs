//! PostgreSQL's tools against the real server: psql, psycopg, asyncpg, queries of Grafana and of drivers.

use std::path::Path;
use std::process::Stdio;

use wattline_tests::server::{command, run_wattline};
use wattline_tests::{Server, python};

use super::{BASE_MS, data_dir};

/// A server with two turbines of ten rows each; see `clients/pg_psycopg.py` for what is in them.
pub(crate) fn start(dir: &Path, args: &[&str]) -> Server {
    let mut all = vec!["--pg=127.0.0.1:0"];
    all.extend(args);
    let server = Server::start(dir, &all);
    let http = server.http();
    let devices = http.create_fleet("turbine", 2);
    let mut lines = String::new();
    for device in &devices {
        for minute in 0..10_i64 {
            let row = serde_json::json!({
                "asset_id": device.asset_id,
                "time": BASE_MS + minute * 60_000,
                "p0": minute as f64 + 0.5,
                "p1": (minute % 2 == 0).then_some(100.0 - minute as f64),
                "n": minute * 10_000_000_000,
                "on": minute % 2 == 0,
                "state": minute - 5,
                "note": format!("m{minute}\t\""),
            });
            lines.push_str(&row.to_string());
            lines.push('\n');
        }
    }
    let path = "/api/v1/models/turbine/samples";
    let answer = http.post(path, "application/x-ndjson", "application/json", lines.as_bytes()).ok();
    assert_eq!(answer["rejected"], 0, "{answer}");
    server
}

fn at(server: &Server) -> (String, String) {
    let address = server.pg.expect("a PostgreSQL listener");
    (address.ip().to_string(), address.port().to_string())
}

/// What psql prints, without alignment; or its errors.
pub(crate) fn psql_as(
    server: &Server,
    user: &str,
    password: Option<&str>,
    args: &[&str],
) -> Result<String, String> {
    let (host, port) = at(server);
    let mut psql = command(Path::new("psql"));
    psql.args([
        "-X",
        "-h",
        &host,
        "-p",
        &port,
        "-U",
        user,
        "-d",
        "wattline",
        "-v",
        "ON_ERROR_STOP=1",
        "-At",
        "-w",
    ]);
    psql.args(args).stdin(Stdio::null()).env_remove("PGPASSWORD");
    if let Some(password) = password {
        psql.env("PGPASSWORD", password);
    }
    let output = psql.output().expect("psql is installed: make deps");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

fn psql(server: &Server, sql: &str) -> Result<String, String> {
    psql_as(server, "ann", None, &["-c", sql])
}

#[test]
fn psql_queries_and_describes() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let shown = |sql: &str| psql(&server, sql).unwrap_or_else(|log| panic!("{sql}: {log}"));
    assert_eq!(shown("SELECT count(*), max(p0), min(state) FROM turbine"), "20|9.5|-5\n");
    assert_eq!(
        shown(
            "SET TIME ZONE 'Asia/Kolkata'; SELECT \"time\", p1, \"on\" FROM turbine ORDER BY asset_id, \"time\" LIMIT 2"
        ),
        "SET\n2024-01-01 05:30:00+05:30|100|t\n2024-01-01 05:31:00+05:30||f\n"
    );
    let wrong = psql(&server, "SELECT p0,\n  p00 FROM turbine").unwrap_err();
    assert!(wrong.contains("there is no column p00") && wrong.contains("LINE 2"), "{wrong}");

    let tables = shown("\\dt");
    assert!(tables.contains("public|turbine|table|wattline\n"), "{tables}");
    assert!(tables.contains("public|assets|table|wattline\n"), "{tables}");
    let schemas = shown("\\dn");
    for schema in ["latest", "public", "system"] {
        assert!(schemas.lines().any(|l| l == format!("{schema}|wattline")), "{schemas}");
    }
    assert!(shown("\\l").starts_with("wattline|wattline|UTF8|"));
    for meta in ["\\d", "\\df", "\\dv", "\\di", "\\du", "\\dT", "\\dt latest.*", "\\dx", "\\ds"] {
        shown(meta);
    }
}

#[test]
fn psycopg_speaks_text_and_binary() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let (host, port) = at(&server);
    assert_eq!(python::run("pg_psycopg.py", &[&host, &port]).trim(), "ok");
}

#[test]
fn asyncpg_prepares_and_copies() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let (host, port) = at(&server);
    assert_eq!(python::run("pg_asyncpg.py", &[&host, &port]).trim(), "ok");
}

#[test]
fn accounts_prove_their_passwords() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let url = format!("http://{}", server.http);
    let (code, out, log) = run_wattline(&["account", "create", "eva", "--generate", "--server", &url]);
    assert_eq!(code, 0, "{log}");
    let password = out.lines().find_map(|line| line.strip_prefix("password  ")).expect("a password is shown");
    let who = ["-c", "SELECT current_user"];
    assert_eq!(psql_as(&server, "eva", Some(password), &who).unwrap(), "eva\n");
    let wrong = psql_as(&server, "eva", Some("guess"), &who).unwrap_err();
    assert!(wrong.contains("password authentication failed for user \"eva\""), "{wrong}");
    assert!(
        psql_as(&server, "eva", None, &who).is_err(),
        "an account's name takes its password, from loopback too"
    );
    assert_eq!(
        psql_as(&server, "bob", None, &who).unwrap(),
        "wattline\n",
        "no account: from loopback, as nobody"
    );

    let (code, list, log) = run_wattline(&["account", "list", "--server", &url]);
    assert!(code == 0 && list.contains("eva"), "{list}{log}");
    let answers = server.http().get("/api/v1/accounts").text() + &server.http().get("/api/v1/audit").text();
    assert!(answers.contains("create account") && !answers.contains("SCRAM"), "{answers}");
    assert!(!server.log_text().contains(password));
    assert_eq!(run_wattline(&["account", "delete", "eva", "--server", &url]).0, 0);
    assert_eq!(psql_as(&server, "eva", None, &who).unwrap(), "wattline\n");
}

#[test]
fn tls_is_there_where_it_is_asked_for() {
    let dir = data_dir();
    let certs = dir.path().join("certs");
    super::tls::make_certificates(&certs);
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let cert = format!("--set=pg.tls.cert={}", file("server.pem"));
    let key = format!("--set=pg.tls.key={}", file("server.key"));
    let server = start(&dir.path().join("data"), &[&cert, &key]);
    let (host, port) = at(&server);
    let ask = |more: &str| {
        let target = format!("host={host} port={port} user=ann dbname=wattline {more}");
        let mut psql = command(Path::new("psql"));
        psql.args(["-X", "-At", "-w", "-c", "\\conninfo", "-c", "SELECT count(*) FROM turbine", &target]);
        let output = psql.stdin(Stdio::null()).output().expect("psql is installed: make deps");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (good, shown) = ask(&format!("sslmode=verify-ca sslrootcert={}", file("ca.pem")));
    assert!(good && shown.contains("TLSv1.3") && shown.ends_with("20\n"), "{shown}");
    let (good, shown) = ask("sslmode=disable");
    assert!(good && !shown.contains("SSL"), "from loopback it is not a must: {shown}");
    let (good, _) = ask(&format!("sslmode=verify-ca sslrootcert={}", file("foreign.pem")));
    assert!(!good, "another authority");
}

#[test]
fn reachable_from_elsewhere_only_with_accounts() {
    let dir = data_dir();
    let refused = Server::try_start(dir.path(), &["--pg=0.0.0.0:0"]).unwrap_err();
    assert!(refused.contains("there are no accounts"), "{refused}");
}

/// What Grafana's PostgreSQL data source sends for its editor, and for a panel.
#[test]
fn queries_of_grafana() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let shown = |sql: &str| psql(&server, sql).unwrap_or_else(|log| panic!("{sql}: {log}"));
    let tables = "select quote_ident(table_name) as \"table\" from information_schema.tables \
        where quote_ident(table_schema) not in ('information_schema', 'pg_catalog') \
        and quote_ident(table_schema) in (select case when trim(s[i]) = '\"$user\"' then user else trim(s[i]) end \
        from generate_series(array_lower(string_to_array(current_setting('search_path'),','),1), \
        array_upper(string_to_array(current_setting('search_path'),','),1)) as i, \
        string_to_array(current_setting('search_path'),',') s) order by 1";
    assert_eq!(shown(tables), "assets\nmodels\nturbine\n");
    let columns = "select quote_ident(column_name) as \"column\", data_type as \"type\" from information_schema.columns \
        where quote_ident(table_name) = 'turbine' and table_schema = 'public' order by ordinal_position";
    assert!(
        shown(columns).starts_with("asset_id|text\n\"time\"|timestamp with time zone\n")
            || shown(columns).starts_with("asset_id|text\ntime|timestamp with time zone\n")
    );
    let panel = "SELECT floor(extract(epoch from \"time\")/300)*300 AS \"time\", avg(p0) AS p0 FROM turbine \
        WHERE \"time\" BETWEEN '2024-01-01T00:00:00Z' AND '2024-01-01T00:09:59Z' GROUP BY 1 ORDER BY 1";
    // Five minutes each: (0.5 + … + 4.5) / 5 and (5.5 + … + 9.5) / 5.
    assert_eq!(shown(panel), "1704067200|2.5\n1704067500|7.5\n");
    assert_eq!(shown("SELECT current_setting('server_version_num')::int/100 as version"), "1500\n");
}

/// What pgjdbc's `DatabaseMetaData` sends, and with it DBeaver, DataGrip, Metabase.
#[test]
fn queries_of_jdbc() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let shown = |sql: &str| psql(&server, sql).unwrap_or_else(|log| panic!("{sql}: {log}"));
    let schemas = "SELECT nspname AS TABLE_SCHEM, current_database() AS TABLE_CATALOG FROM pg_catalog.pg_namespace \
        WHERE nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1]) \
        AND (nspname !~ '^pg_toast_temp_' OR nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_')) \
        ORDER BY TABLE_SCHEM";
    assert!(shown(schemas).contains("public|wattline\n"));
    let tables = "SELECT current_database() AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, \
        CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN 'SYSTEM TABLE' \
        WHEN false THEN CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END ELSE NULL END AS TABLE_TYPE, \
        d.description AS REMARKS, '' as TYPE_CAT \
        FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c \
        LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0 and d.classoid = 'pg_class'::regclass) \
        WHERE c.relnamespace = n.oid AND c.relname LIKE 'turbine' AND n.nspname LIKE 'public' \
        ORDER BY TABLE_TYPE, TABLE_SCHEM, TABLE_NAME";
    assert_eq!(shown(tables), "wattline|public|turbine|TABLE|thing model /turbine|\n");
    let columns = "SELECT a.attname, a.atttypid, a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull, \
        a.atttypmod, a.attlen, t.typtypmod, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, \
        nullif(a.attidentity, '') as attidentity, pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc, \
        dsc.description, t.typbasetype, t.typtype \
        FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid) \
        JOIN pg_catalog.pg_attribute a ON (a.attrelid = c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) \
        LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid = def.adrelid AND a.attnum = def.adnum) \
        LEFT JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid) \
        WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped \
        AND n.nspname LIKE 'public' AND c.relname LIKE 'turbine' ORDER BY n.nspname, c.relname, attnum";
    assert!(shown(columns).starts_with("asset_id|25|t|-1|-1|-1|1||||0|b\ntime|1184|t|-1|8|-1|2||||0|b\n"));
    let keys = "SELECT result.TABLE_CAT, result.COLUMN_NAME, result.KEY_SEQ FROM (SELECT current_database() AS TABLE_CAT, \
        n.nspname AS TABLE_SCHEM, ct.relname AS TABLE_NAME, a.attname AS COLUMN_NAME, \
        (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME, \
        information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM \
        FROM pg_catalog.pg_class ct JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) \
        JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid) JOIN pg_catalog.pg_index i ON (a.attrelid = i.indrelid) \
        JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) WHERE true AND ct.relname = 'turbine' AND i.indisprimary) result \
        where result.A_ATTNUM = (result.KEYS).x ORDER BY result.table_name, result.pk_name, result.key_seq";
    assert_eq!(shown(keys), "");
    let types = "SELECT t.typname, t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON (t.typnamespace = n.oid) \
        WHERE n.nspname != 'pg_toast' AND (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c \
        WHERE c.oid = t.typrelid)) AND t.typname = 'float8'";
    assert_eq!(shown(types), "float8|701\n");
}
