//! Many connections, and clients that behave badly on theirs.
//!
//! `WATTLINE_IDLE_CONNECTIONS` sets the number of idle connections (2,000 in `make test`; 10,000 is the figure).

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use wattline_tests::admin::post_json;
use wattline_tests::metrics::Metrics;
use wattline_tests::mqtt::encode_publish;

use super::{BASE_MS, data_dir, start};

/// Files a process needs beside its connections.
const FILES_BESIDE: u64 = 500;
/// What a client that never reads may send before the test calls the server unbounded.
const NEVER_READ_BYTES: usize = 256 << 20;
/// What it may cost the server in memory.
const NEVER_READ_MEMORY: u64 = 64 << 20;

#[test]
fn thousands_of_idle_connections_do_not_disturb_the_one_that_works() {
    let wanted: u64 =
        std::env::var("WATTLINE_IDLE_CONNECTIONS").map_or(2_000, |n| n.parse().expect("a number"));
    let idle = raise_open_files(wanted + FILES_BESIDE).saturating_sub(FILES_BESIDE).min(wanted) as usize;
    assert!(idle >= 500, "open files are limited too tightly (ulimit -n) for this test");
    if (idle as u64) < wanted {
        println!("open files are limited: {idle} connections instead of {wanted}");
    }
    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    let devices = http.create_fleet("idle", idle + 1);
    let begin = Instant::now();
    let mut clients: Vec<_> = devices[..idle].iter().map(|device| device.connect_bare(&server)).collect();
    println!(
        "{idle} connections after {:?}, server uses {} MiB",
        begin.elapsed(),
        resident(server.pid()) >> 20
    );

    let worker = &devices[idle];
    let mut mqtt = worker.connect(&server);
    for i in 0..50 {
        let asked = Instant::now();
        let reply =
            mqtt.request(&worker.topic("post"), &post_json(i, &json!({"n": i}), BASE_MS + i as i64)).unwrap();
        assert_eq!(reply["code"], 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "an answer took {:?}", asked.elapsed());
    }
    assert_eq!(http.sql_number("SELECT count(*) FROM idle"), 50.0);
    let connected = Metrics::read(&http).sum("wattline_mqtt_connections", "");
    assert!(connected >= (idle + 1) as f64, "{connected} connections counted");
    // Each of them is still served.
    for client in clients.iter_mut().step_by(idle / 100) {
        client.ping().expect("an idle connection is alive");
    }
}

#[test]
fn promise_5_a_client_that_never_reads_is_held_back_and_costs_little() {
    let dir = data_dir();
    let server = start(dir.path());
    let devices = server.http().create_fleet("deaf", 2);
    let deaf = devices[0].connect(&server);
    deaf.stream().set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    let before = resident(server.pid());
    let mut stream = deaf.stream();
    let mut sent = 0;
    let mut number = 0_u64;
    let ended = loop {
        // Replies echo the id, so a long one makes the server's answers large.
        let message = json!({"id": "7".repeat(250), "version": "1.0", "method": "thing.measurepoint.post",
            "params": {"measurepoints": {"n": number}, "time": BASE_MS + number as i64}});
        let mut packet = Vec::new();
        let id = (number % 65_535 + 1) as u16;
        encode_publish(
            &mut packet,
            4,
            &devices[0].topic("post"),
            message.to_string().as_bytes(),
            1,
            id,
            false,
        );
        number += 1;
        if let Err(error) = stream.write_all(&packet) {
            break error;
        }
        sent += packet.len();
        assert!(sent < NEVER_READ_BYTES, "{sent} bytes taken from a client that reads no answer");
    };
    println!("a client that never reads: {} KiB taken, then {ended}", sent >> 10);
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < NEVER_READ_MEMORY, "{} MiB for one client that never reads", grown >> 20);
    // Nobody else notices.
    let mut other = devices[1].connect(&server);
    let asked = Instant::now();
    let reply = other.request(&devices[1].topic("post"), &post_json(1, &json!({"n": 1}), BASE_MS)).unwrap();
    assert_eq!(reply["code"], 200);
    assert!(asked.elapsed() < Duration::from_secs(2), "an answer took {:?}", asked.elapsed());
}

/// Resident memory of a process.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Raises the soft limit of open files, which the server inherits; the limit now.
fn raise_open_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let soft = limit.current.unwrap_or(u64::MAX).max(wanted.min(hard));
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: limit.maximum })
        .expect("within the hard limit");
    soft
}
