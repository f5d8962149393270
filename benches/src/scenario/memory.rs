//! Peak memory of the server under the demo and under bulk load, beside the configured budget.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use wattline_tests::server::{command, wattline_bin};

use super::{MODEL, fleet, load, mib, serve, work_dir};
use crate::Args;
use crate::bulk_load;
use crate::mqtt_load::{Load, Shape};
use crate::procfs;
use crate::report::Report;

/// The demo alone; then bulk load, MQTT load and a full scan by SQL at the same time.
pub(crate) fn memory(args: &Args) -> Report {
    let mut report = Report::default();

    let dir = work_dir(args);
    let server = serve(args, dir.path());
    let (http, mqtt) = (format!("http://{}", server.http), server.mqtt.to_string());
    let mut demo = command(&wattline_bin())
        .args(["demo", "--server", &http, "--mqtt", &mqtt, "--no-view"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the demo starts");
    std::thread::sleep(Duration::from_secs(args.seconds));
    demo.kill().expect("the demo runs");
    demo.wait().expect("the demo ends");
    report.row(&[
        ("load", json!("wattline demo")),
        ("seconds", json!(args.seconds)),
        ("points", json!(null)),
        ("peak memory MiB", json!(mib(procfs::memory_bytes(server.pid(), "VmHWM")))),
    ]);
    drop(server);

    let dir = work_dir(args);
    let server = serve(args, dir.path());
    let devices = fleet(&server, args.connections);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let (bulk, mqtt) = devices.split_at(devices.len() / 2);
    let running = Load::start(server.mqtt, mqtt, Shape { entries: 10, window: 16, rate: 0 });
    std::thread::scope(|scope| {
        scope.spawn(|| bulk_load::run(server.http, MODEL, bulk, 4, u64::MAX, &stop, &acknowledged));
        let end = std::time::Instant::now() + Duration::from_secs(args.seconds);
        while std::time::Instant::now() < end {
            server.http().sql(&format!("SELECT asset_id, avg(p0), max(p9) FROM {MODEL} GROUP BY asset_id"));
            std::thread::sleep(Duration::from_secs(1));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let points = load(&acknowledged) + running.stop();
    report.row(&[
        ("load", json!("bulk load + MQTT batches + a full scan every second")),
        ("seconds", json!(args.seconds)),
        ("points", json!(points)),
        ("peak memory MiB", json!(mib(procfs::memory_bytes(server.pid(), "VmHWM")))),
    ]);
    report.note("Peak is VmHWM of the server: resident memory, mapped segment files included.");
    report
}
