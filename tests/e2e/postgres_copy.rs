//! COPY … FROM STDIN: drivers, psql, and clients that vanish, wait or say nonsense in the middle of their rows.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use wattline_tests::Server;
use wattline_tests::metrics::Metrics;
use wattline_tests::python;
use wattline_tests::server::command;

use super::data_dir;
use super::postgres::start;
use super::postgres_wire::{framed, kinds, log_in, query, receive, until_ready};

const INTO: &str = "COPY turbine (asset_id, \"time\", p0) FROM STDIN";

fn assets(server: &Server) -> [String; 2] {
    let found = server.http().sql("SELECT DISTINCT asset_id FROM turbine ORDER BY asset_id");
    let of = |i: usize| found[i][0].trim_matches('"').to_owned();
    [of(0), of(1)]
}

fn at(server: &Server) -> (String, String) {
    let address = server.pg.expect("a PostgreSQL listener");
    (address.ip().to_string(), address.port().to_string())
}

fn count(server: &Server, condition: &str) -> f64 {
    server.http().sql_number(&format!("SELECT count(*) FROM turbine WHERE {condition}"))
}

#[test]
fn drivers_copy_rows_in() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let ((host, port), [one, two]) = (at(&server), assets(&server));
    let said = python::run("pg_copy.py", &[&host, &port, &one, &two]);
    assert_eq!(said.trim(), "ok");
    assert!(Metrics::read(&server.http()).sum("wattline_pg_rows_written_total", "") >= 1_500.0);
    // What was acknowledged is there after a start.
    let before = count(&server, "true");
    assert!(server.terminate().success());
    let server = Server::start(dir.path(), &[]);
    assert_eq!(count(&server, "true"), before);
}

#[test]
fn psql_copies_a_file() {
    let dir = data_dir();
    let server = start(&dir.path().join("data"), &[]);
    let ((host, port), [one, _]) = (at(&server), assets(&server));
    let file = dir.path().join("rows.csv");
    let rows = (0..1_000).map(|i| format!("{one},2025-03-01 00:{:02}:{:02}Z,{i}\n", i / 60, i % 60));
    std::fs::write(&file, "asset_id,time,p0\n".to_owned() + &rows.collect::<String>()).unwrap();
    let copy = format!(
        "\\copy turbine (asset_id, \"time\", p0) from '{}' with (format csv, header)",
        file.display()
    );
    let run = |script: &str| {
        let mut psql = command(Path::new("psql"));
        psql.args(["-X", "-h", &host, "-p", &port, "-U", "ann", "-d", "wattline", "-w", "-c", script]);
        let output = psql.stdin(Stdio::null()).output().expect("psql is installed: make deps");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert_eq!(run(&copy), "COPY 1000\n");
    // 0 + 1 + … + 999
    assert_eq!(server.http().sql_number("SELECT sum(p0) FROM turbine WHERE time >= '2025-03-01'"), 499_500.0);
    let text = std::fs::read_to_string(&file).unwrap().replace(",7\n", ",seven\n");
    std::fs::write(&file, text).unwrap();
    let told = run(&copy);
    assert!(told.contains("invalid input syntax for type double precision: \"seven\""), "{told}");
    assert!(told.contains("CONTEXT:  COPY turbine, line 9, column p0: \"seven\""), "{told}");
}

fn row(asset: &str, second: u32) -> Vec<u8> {
    framed(b'd', format!("{asset}\t2025-04-01 00:00:{second:02}Z\t1\n").as_bytes())
}

fn begin(server: &Server) -> TcpStream {
    let mut stream = log_in(server);
    stream.write_all(&query(INTO)).unwrap();
    let (kind, body) = receive(&mut stream).unwrap();
    // Text, three columns of it.
    assert_eq!((kind, &body[..]), (b'G', &[0, 0, 3, 0, 0, 0, 0, 0, 0][..]));
    stream
}

#[test]
fn only_copy_done_ends_the_rows() {
    let dir = data_dir();
    let server = start(dir.path(), &["--set=pg.read_timeout=500ms"]);
    let [one, _] = assets(&server);
    let of_april = "time >= '2025-04-01'";

    // A client that leaves has not sent all.
    let mut stream = begin(&server);
    stream.write_all(&row(&one, 0)).unwrap();
    drop(stream);
    let mut stream = begin(&server);
    stream.write_all(&row(&one, 0)).unwrap();
    stream.write_all(&framed(b'X', b"")).unwrap();
    drop(stream);

    // One that gives up is told, and goes on; so is one that sends something else.
    let mut stream = begin(&server);
    stream.write_all(&[row(&one, 1), framed(b'f', b"enough\0")].concat()).unwrap();
    let answer = until_ready(&mut stream);
    assert_eq!(kinds(&answer), "EZ");
    assert!(String::from_utf8_lossy(&answer[0].1).contains("COPY from stdin failed: enough"));
    stream.write_all(&query(INTO)).unwrap();
    stream.write_all(&query("SELECT 1")).unwrap();
    assert_eq!(kinds(&until_ready(&mut stream)), "GEZ");

    // Silence has an end.
    let mut stream = begin(&server);
    stream.write_all(&row(&one, 2)).unwrap();
    let begun = Instant::now();
    let answer = until_ready(&mut stream);
    assert!(String::from_utf8_lossy(&answer[0].1).contains("no more rows came for 500 ms"));
    assert!(begun.elapsed() >= Duration::from_millis(400));
    // What it sends late is passed over.
    stream.write_all(&[row(&one, 3), framed(b'c', b"")].concat()).unwrap();
    stream.write_all(&query("SELECT 1")).unwrap();
    assert_eq!(kinds(&until_ready(&mut stream)), "TDCZ");
    assert_eq!(count(&server, of_april), 0.0);

    // Flush and Sync in between are nothing; the rows are there with the answer.
    stream.write_all(&query(INTO)).unwrap();
    stream.write_all(&[row(&one, 4), framed(b'H', b""), framed(b'S', b""), row(&one, 5)].concat()).unwrap();
    stream.write_all(&framed(b'c', b"")).unwrap();
    let answer = until_ready(&mut stream);
    assert_eq!((kinds(&answer).as_str(), &answer[1].1[..]), ("GCZ", &b"COPY 2\0"[..]));
    assert_eq!(count(&server, of_april), 2.0);

    // In the extended protocol a series goes on behind it, and what follows an error is skipped up to Sync.
    let mut series = framed(b'P', format!("\0{INTO}\0\0\0").as_bytes());
    series.extend(framed(b'B', b"\0\0\0\0\0\0\0\0"));
    series.extend(framed(b'D', b"P\0"));
    series.extend(framed(b'E', b"\0\0\0\0\0"));
    stream.write_all(&series).unwrap();
    stream.write_all(&[row(&one, 6), framed(b'c', b""), framed(b'S', b"")].concat()).unwrap();
    assert_eq!(kinds(&until_ready(&mut stream)), "12nGCZ");
    stream.write_all(&series).unwrap();
    stream.write_all(&[framed(b'd', b"nonsense\n"), framed(b'c', b""), framed(b'S', b"")].concat()).unwrap();
    let answer = until_ready(&mut stream);
    assert_eq!(kinds(&answer), "12nGEZ");
    assert!(String::from_utf8_lossy(&answer[4].1).contains("COPY turbine, line 1"), "{answer:?}");
    assert_eq!(count(&server, of_april), 3.0);

    // A transaction takes nothing back: what the answer said is there stays.
    stream.write_all(&query("BEGIN")).unwrap();
    until_ready(&mut stream);
    stream.write_all(&[query(INTO), row(&one, 7), framed(b'c', b"")].concat()).unwrap();
    until_ready(&mut stream);
    stream.write_all(&query("ROLLBACK")).unwrap();
    until_ready(&mut stream);
    assert_eq!(count(&server, of_april), 4.0);
    assert!(server.terminate().success());
}

#[test]
fn a_stop_does_not_wait_for_rows() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let [one, _] = assets(&server);
    let mut stream = begin(&server);
    stream.write_all(&row(&one, 0)).unwrap();
    server.ask_to_stop();
    let answer = receive(&mut stream).expect("an answer");
    assert!(answer.0 == b'E' && String::from_utf8_lossy(&answer.1).contains("the server is stopping"));
    assert!(server.wait().success());
}
