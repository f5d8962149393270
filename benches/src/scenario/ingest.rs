//! Intake: MQTT messages and batches, HTTP bulk, CSV import.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;
use wattline_tests::server::run_wattline;

use super::{MODEL, Measured, check_stored, fleet, load, measure, mib, serve, work_dir};
use crate::Args;
use crate::bulk_load;
use crate::mqtt_load::{Load, Shape};
use crate::payload::POINTS;
use crate::procfs;
use crate::report::Report;

/// Rows of the generated CSV file.
const CSV_ROWS: u64 = 1_000_000;
/// Requests under way at a time in the bulk load.
const BULK_WRITERS: usize = 4;

/// Messages of one row with ten points, QoS 1, many connections.
pub(crate) fn mqtt10(args: &Args) -> Report {
    let mut report = Report::default();
    mqtt(args, &mut report, "10 points a message", 1, args.window);
    report
}

/// Messages of `post/batch`: ten rows of ten points (100 points), and a hundred rows of ten points.
pub(crate) fn mqtt_batch100(args: &Args) -> Report {
    let mut report = Report::default();
    mqtt(args, &mut report, "100 points a message (10 rows)", 10, args.window.min(16));
    mqtt(args, &mut report, "1,000 points a message (100 rows)", 100, args.window.min(4));
    report
}

fn mqtt(args: &Args, report: &mut Report, what: &str, entries: usize, window: usize) {
    let dir = work_dir(args);
    let server = serve(args, dir.path());
    let devices = fleet(&server, args.connections);
    let running = Load::start(server.mqtt, &devices, Shape { entries, window, rate: 0 });
    let measured = measure(&server, || running.acknowledged(), args.seconds);
    let peak = procfs::memory_bytes(server.pid(), "VmHWM");
    check_stored(&server, running.stop());
    report.row(&[
        ("load", json!(what)),
        ("connections", json!(args.connections)),
        ("window", json!(window)),
        ("points/s durable and visible", json!(measured.rate().round() as u64)),
        ("server CPU µs/point", json!(measured.cpu_micros_per_point())),
        ("server cores", json!(cores(&measured))),
        ("peak memory MiB", json!(mib(peak))),
    ]);
}

fn cores(measured: &Measured) -> f64 {
    measured.cpu_micros as f64 / 1e6 / measured.seconds
}

/// Arrow IPC streams over HTTP.
pub(crate) fn http_bulk(args: &Args) -> Report {
    let dir = work_dir(args);
    let server = serve(args, dir.path());
    let devices = fleet(&server, args.connections);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = std::thread::scope(|scope| {
        scope.spawn(|| {
            bulk_load::run(server.http, MODEL, &devices, BULK_WRITERS, u64::MAX, &stop, &acknowledged)
        });
        let measured = measure(&server, || load(&acknowledged), args.seconds);
        stop.store(true, Ordering::Relaxed);
        measured
    });
    let peak = procfs::memory_bytes(server.pid(), "VmHWM");
    check_stored(&server, load(&acknowledged));
    let mut report = Report::default();
    report.row(&[
        ("load", json!("Arrow IPC, 10 points a row")),
        ("requests at a time", json!(BULK_WRITERS)),
        ("points/s durable and visible", json!(measured.rate().round() as u64)),
        ("server CPU µs/point", json!(measured.cpu_micros_per_point())),
        ("server cores", json!(cores(&measured))),
        ("peak memory MiB", json!(mib(peak))),
    ]);
    report
}

/// `wattline import` of a generated CSV file: reader and server on the same machine.
pub(crate) fn csv_import(args: &Args) -> Report {
    let dir = work_dir(args);
    let server = serve(args, &dir.path().join("data"));
    let devices = fleet(&server, args.connections);
    let file = dir.path().join("rows.csv");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).expect("a file"));
    let names: Vec<String> = (0..POINTS).map(|i| format!("p{i}")).collect();
    writeln!(out, "asset_id,time,{}", names.join(",")).expect("written");
    let mut chance = wattline_tests::Chance::new(1);
    for row in 0..CSV_ROWS {
        let device = &devices[(row as usize) % devices.len()];
        let second = 1_704_067_200 + row / devices.len() as u64;
        write!(out, "{},{second}", device.asset_id).expect("written");
        for _ in 0..POINTS {
            write!(out, ",{}.{:02}", 100 + chance.below(900), chance.below(100)).expect("written");
        }
        writeln!(out).expect("written");
    }
    out.into_inner().expect("flushed");

    let url = format!("http://{}", server.http);
    let path = file.to_str().expect("a UTF-8 path");
    let begin = (Instant::now(), procfs::cpu_micros(server.pid()));
    let (code, stdout, stderr) = run_wattline(&[
        "import",
        path,
        "--server",
        &url,
        "--model",
        MODEL,
        "--asset-column",
        "asset_id",
        "--time-column",
        "time",
        "--time-format",
        "epoch-s",
    ]);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    let points = CSV_ROWS * POINTS as u64;
    let measured = Measured {
        seconds: begin.0.elapsed().as_secs_f64(),
        points,
        cpu_micros: procfs::cpu_micros(server.pid()) - begin.1,
    };
    check_stored(&server, points);
    let mut report = Report::default();
    report.row(&[
        ("load", json!("CSV, 1,000,000 rows of 10 points")),
        ("seconds", json!(measured.seconds)),
        ("points/s durable and visible", json!(measured.rate().round() as u64)),
        ("server CPU µs/point", json!(measured.cpu_micros_per_point())),
    ]);
    report
}
