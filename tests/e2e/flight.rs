//! Arrow Flight SQL with real clients, and bytes that are none of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wattline_tests::python;
use wattline_tests::server::{Server, repo};

use super::{data_dir, start};

/// A server with Flight, the model `flight` and two assets of it.
fn fleet(dir: &Path) -> (Server, SocketAddr, Vec<String>) {
    let server = Server::start(dir, &["--flight", "127.0.0.1:0"]);
    let assets = server.http().create_fleet("flight", 2).into_iter().map(|device| device.asset_id).collect();
    let address = server.flight.expect("the listener is on");
    (server, address, assets)
}

/// A figure of `/metrics`.
fn metric(server: &Server, name: &str) -> f64 {
    let text = server.http().try_get("/metrics").expect("the server answers").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

#[test]
fn adbc_and_pyarrow_read_write_and_cancel() {
    let dir = data_dir();
    let (server, address, assets) = fleet(dir.path());
    let said = python::run("flight_sql.py", &[&address.to_string(), &assets[0], &assets[1]]);
    assert_eq!(said.trim(), "ok");
    // One statement was cancelled and one was left behind by its client.
    let begin = Instant::now();
    while metric(&server, "wattline_sql_statements") > 0.0 {
        assert!(begin.elapsed() < Duration::from_secs(30), "a statement goes on for nobody");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(metric(&server, "wattline_flight_rows_written_total"), 200_000.0);
    assert!(server.terminate().success());
    let server = start(dir.path());
    assert_eq!(server.http().sql("SELECT count(*), sum(p0) FROM flight"), [["2500", "1561875.0"]]);
}

#[test]
fn the_jdbc_driver_reads_and_writes() {
    if Command::new("mvn").arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status().is_err() {
        eprintln!("not tried: there is no JDK with Maven here");
        return;
    }
    let jar = python::run_program(&repo().join("tests/services/jdbc.sh"), std::iter::once("flight"));
    let dir = data_dir();
    let (server, address, assets) = fleet(dir.path());
    let program = repo().join("tests/clients/FlightJdbc.java");
    let address = address.to_string();
    let args = [
        "--add-opens=java.base/java.nio=ALL-UNNAMED",
        "-Duser.timezone=UTC",
        "-cp",
        jar.trim(),
        program.to_str().expect("a UTF-8 path"),
        &address,
        &assets[0],
    ];
    let said = python::run_program(Path::new("java"), args.into_iter());
    assert_eq!(said.trim().lines().last(), Some("ok"));
    assert_eq!(server.http().sql_number("SELECT sum(p0) FROM flight"), 8.0);
}

#[test]
fn bytes_that_are_not_flight_hurt_nobody() {
    let dir = data_dir();
    let (mut server, address, _) = fleet(dir.path());
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |len: usize| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // An empty SETTINGS frame, so that what follows is read as frames of HTTP/2.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let mut idle = Vec::new();
    for round in 0..200 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let bytes = match round % 4 {
            0 => random(1 + round * 7),
            1 => b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            2 => [&preface[..], &settings, &random(round * 11)].concat(),
            _ => preface[..round % preface.len()].to_vec(),
        };
        // It may hang up while we write.
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0; 256]);
        if round % 4 == 3 {
            idle.push(stream);
        }
    }
    assert!(server.is_alive());
    let said = python::run("flight_select.py", &[&address.to_string()]);
    assert_eq!(said.trim(), "[{'one': 1}]");
    drop(idle);
    assert!(server.terminate().success(), "connections of nobody do not keep it from stopping");
}
