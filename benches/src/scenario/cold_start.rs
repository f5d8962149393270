//! From the start of the process to `ready`, with much on disk and a log to replay.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use serde_json::json;

use super::{MODEL, check_stored, fleet, load, mib, serve, work_dir};
use crate::Args;
use crate::bulk_load;
use crate::procfs;
use crate::report::Report;

/// Loads, kills the server in the middle of everything, and starts it again three times.
pub(crate) fn cold_start(args: &Args) -> Report {
    let dir = work_dir(args);
    let server = serve(args, dir.path());
    let devices = fleet(&server, args.connections);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let begin = Instant::now();
    bulk_load::run(
        server.http,
        MODEL,
        &devices,
        2,
        args.cold_start_millions * 1_000_000,
        &stop,
        &acknowledged,
    );
    let loaded = begin.elapsed().as_secs_f64();
    let points = load(&acknowledged);
    let peak = procfs::memory_bytes(server.pid(), "VmHWM");
    server.kill();

    let mut report = Report::default();
    let bytes = folder_bytes(dir.path());
    for round in 1..=3 {
        let server = serve(args, dir.path());
        let ready = server.ready_after.as_secs_f64();
        let replayed = server.http().sql_number("SELECT sum(log_bytes) FROM system.shards");
        check_stored(&server, points);
        report.row(&[
            ("start", json!(round)),
            ("points on disk", json!(points)),
            ("data directory MiB", json!(mib(bytes))),
            ("log MiB", json!(replayed / (1 << 20) as f64)),
            ("seconds to ready", json!(ready)),
        ]);
        server.kill();
    }
    report.note(format!(
        "Loaded in {loaded:.1} s, peak memory of the load {:.0} MiB. Files are in the page cache.",
        mib(peak)
    ));
    report
}

/// Bytes of all files below a folder.
pub(crate) fn folder_bytes(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a folder");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let meta = entry.metadata().expect("its metadata");
            if meta.is_dir() { folder_bytes(&entry.path()) } else { meta.len() }
        })
        .sum()
}
