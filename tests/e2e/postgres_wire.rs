//! The PostgreSQL wire below the drivers: bytes that are no messages, clients that vanish or wait, many that are idle.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use wattline_tests::metrics::Metrics;
use wattline_tests::{Chance, Server};

use super::data_dir;
use super::postgres::start;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn address(server: &Server) -> SocketAddr {
    server.pg.expect("a PostgreSQL listener")
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(address(server)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn startup_packet() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0ann\0database\0wattline\0\0";
    let mut packet = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    packet.extend_from_slice(body);
    packet
}

pub(crate) fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend_from_slice(body);
    message
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    framed(b'Q', format!("{sql}\0").as_bytes())
}

/// One message of the server.
pub(crate) fn receive(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body)?;
    Ok((head[0], body))
}

/// Messages up to *ready*, with their kinds.
pub(crate) fn until_ready(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let message = receive(stream).expect("an answer");
        all.push(message);
        if all.last().is_some_and(|(kind, _)| *kind == b'Z') {
            return all;
        }
    }
}

pub(crate) fn log_in(server: &Server) -> TcpStream {
    let mut stream = connect(server);
    stream.write_all(&startup_packet()).unwrap();
    until_ready(&mut stream);
    stream
}

pub(crate) fn kinds(messages: &[(u8, Vec<u8>)]) -> String {
    messages.iter().map(|(kind, _)| char::from(*kind)).collect()
}

fn statements(server: &Server) -> f64 {
    Metrics::read(&server.http()).sum("wattline_sql_statements", "")
}

fn wait_for(what: &str, check: impl Fn() -> bool) {
    let begin = Instant::now();
    while !check() {
        assert!(begin.elapsed() < PATIENCE, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 3000000) b";

#[test]
fn messages_come_in_the_documented_order() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let mut stream = log_in(&server);
    stream.write_all(&query("SELECT 1; ; SELECT state FROM turbine LIMIT 2; BEGIN")).unwrap();
    let answer = until_ready(&mut stream);
    assert_eq!(kinds(&answer), "TDCTDDCCZ");
    assert_eq!(answer.last().unwrap().1, b"T", "in a transaction");
    stream.write_all(&query("COMMIT")).unwrap();
    until_ready(&mut stream);
    stream.write_all(&query(" -- nothing")).unwrap();
    assert_eq!(kinds(&until_ready(&mut stream)), "IZ");

    // Prepared, described, bound, executed in portions of three of five rows, and once more beyond the end.
    let mut series = framed(b'P', b"s\0SELECT value FROM generate_series(1, 5) AS t(value)\0\0\0");
    series.extend(framed(b'D', b"Ss\0"));
    series.extend(framed(b'B', b"p\0s\0\0\0\0\0\0\0"));
    for _ in 0..3 {
        series.extend(framed(b'E', b"p\0\0\0\0\x03"));
    }
    series.extend(framed(b'S', b""));
    stream.write_all(&series).unwrap();
    let answer = until_ready(&mut stream);
    assert_eq!(kinds(&answer), "1tT2DDDsDDCCZ");
    assert_eq!(answer[10].1, b"SELECT 2\0");

    // After an error the rest of a series is skipped up to Sync, and no further.
    let mut series = framed(b'P', b"x\0SELECT nothing\0\0\0");
    series.extend(framed(b'B', b"\0x\0\0\0\0\0\0\0"));
    series.extend(framed(b'E', b"\0\0\0\0\0"));
    series.extend(framed(b'S', b""));
    series.extend(query("SELECT 1"));
    stream.write_all(&series).unwrap();
    assert_eq!(kinds(&until_ready(&mut stream)), "EZ");
    assert_eq!(kinds(&until_ready(&mut stream)), "TDCZ");
    // Portals of an earlier series are gone; prepared statements are not.
    let mut series = framed(b'E', b"p\0\0\0\0\0");
    series.extend(framed(b'S', b""));
    stream.write_all(&series).unwrap();
    assert_eq!(kinds(&until_ready(&mut stream)), "EZ");
}

#[test]
fn a_client_that_vanishes_frees_its_statement() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    // One that goes while it waits for the first row, one in the middle of rows it does not read.
    let mut waiting = log_in(&server);
    waiting.write_all(&query(ENDLESS)).unwrap();
    let mut reading = log_in(&server);
    reading.write_all(&query("SELECT * FROM generate_series(1, 1000000000)")).unwrap();
    receive(&mut reading).unwrap();
    wait_for("the start", || statements(&server) == 2.0);
    drop((waiting, reading));
    wait_for("the end", || statements(&server) == 0.0);
    wait_for("leaving", || Metrics::read(&server.http()).sum("wattline_pg_connections", "") == 0.0);
}

#[test]
fn a_client_that_takes_nothing_is_left() {
    let dir = data_dir();
    let server = start(dir.path(), &["--set=pg.write_timeout=1s"]);
    let mut slow = log_in(&server);
    slow.write_all(&query("SELECT * FROM generate_series(1, 1000000000)")).unwrap();
    wait_for("the start", || statements(&server) == 1.0);
    wait_for("the end", || statements(&server) == 0.0);
    drop(slow);
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let metrics = || Metrics::read(&server.http());
    let before = metrics().sum("process_resident_memory_bytes", "");
    let mut idle: Vec<TcpStream> = (0..1_000).map(|_| log_in(&server)).collect();
    assert_eq!(metrics().sum("wattline_pg_connections", ""), 1_000.0);
    let each = (metrics().sum("process_resident_memory_bytes", "") - before) / 1_000.0;
    assert!(each < 32_768.0, "{each} bytes a connection");
    // They are served all the same.
    for stream in idle.iter_mut().step_by(97) {
        stream.write_all(&query("SELECT 1")).unwrap();
        assert_eq!(kinds(&until_ready(stream)), "TDCZ");
    }
    // And told when the server ends.
    assert_eq!(server.terminate().code(), Some(0));
    let (kind, body) = receive(&mut idle[0]).unwrap();
    assert_eq!(kind, b'E');
    assert!(String::from_utf8_lossy(&body).contains("57P01"));
}

#[test]
fn one_connection_too_many_is_told() {
    let dir = data_dir();
    let server = start(dir.path(), &["--set=pg.connections_max=2"]);
    let first = log_in(&server);
    let _second = log_in(&server);
    let mut third = connect(&server);
    third.write_all(&startup_packet()).unwrap();
    let (kind, body) = receive(&mut third).unwrap();
    assert_eq!(kind, b'E');
    assert!(String::from_utf8_lossy(&body).contains("53300"));
    drop(first);
    wait_for("room", || {
        let mut stream = connect(&server);
        stream.write_all(&startup_packet()).unwrap();
        receive(&mut stream).is_ok_and(|(kind, _)| kind == b'R')
    });
}

/// Messages with bytes changed, cut and mixed: the server answers or hangs up, and serves the next client.
#[test]
fn malformed_messages_neither_crash_nor_hang() {
    let dir = data_dir();
    let server = start(dir.path(), &[]);
    let seed = Chance::seed_from_env("WATTLINE_PG_SEED");
    let mut chance = Chance::new(seed);
    let good: Vec<Vec<u8>> = vec![
        query("SELECT state FROM turbine LIMIT 3"),
        framed(b'P', b"\0SELECT $1::int + 1\0\0\x01\0\0\0\x17"),
        framed(b'B', b"\0\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x07\0\x01\0\x01"),
        framed(b'D', b"P\0"),
        framed(b'E', b"\0\0\0\0\0"),
        framed(b'C', b"S\0"),
        framed(b'S', b""),
        framed(b'H', b""),
        framed(b'd', b"data"),
        framed(b'p', b"secret\0"),
        framed(b'F', b"\0\0"),
    ];
    for round in 0..300 {
        let before_login = round % 5 == 0;
        let mut stream = if before_login { connect(&server) } else { log_in(&server) };
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut bytes = if before_login { startup_packet() } else { Vec::new() };
        for _ in 0..=chance.below(6) {
            bytes.extend(&good[chance.below(good.len() as u64) as usize]);
        }
        for _ in 0..=chance.below(4) {
            let at = chance.below(bytes.len() as u64) as usize;
            bytes[at] = chance.below(256) as u8;
        }
        bytes.truncate(chance.below(bytes.len() as u64 + 1) as usize);
        // The server may hang up in the middle of it.
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0; 4_096]);
    }
    let mut stream = log_in(&server);
    stream.write_all(&query("SELECT 1")).unwrap();
    assert_eq!(kinds(&until_ready(&mut stream)), "TDCZ", "seed {seed}");
    wait_for("the others' end", || statements(&server) == 0.0);
    let log = server.log_text();
    assert!(!log.contains("panicked"), "seed {seed}\n{log}");
}
