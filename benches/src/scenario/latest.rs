//! The latest values of one asset over HTTP, while devices send.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{WARM_UP, fleet, serve, work_dir};
use crate::Args;
use crate::mqtt_load::{Load, Shape};
use crate::report::{Report, percentile};

/// `GET /api/v1/assets/{asset}/latest` on one kept connection: idle, under a paced load, under full load.
pub(crate) fn latest(args: &Args) -> Report {
    let mut report = Report::default();
    let dir = work_dir(args);
    let server = serve(args, dir.path());
    let devices = fleet(&server, args.connections);
    // Every asset gets values first.
    let first = Load::start(server.mqtt, &devices, Shape { entries: 1, window: 2, rate: 0 });
    std::thread::sleep(WARM_UP);
    first.stop();

    let loads = [("none", None), ("paced", Some(args.background_rate)), ("as fast as possible", Some(0))];
    for (name, rate) in loads {
        let running = rate
            .map(|rate| Load::start(server.mqtt, &devices, Shape { entries: 1, window: args.window, rate }));
        std::thread::sleep(WARM_UP);
        let before = running.as_ref().map_or(0, Load::acknowledged);
        let (begin, http) = (Instant::now(), server.http());
        let mut micros = Vec::new();
        let mut i = 0;
        while begin.elapsed() < Duration::from_secs(args.seconds) {
            let path = format!("/api/v1/assets/{}/latest", devices[i * 7 % devices.len()].asset_id);
            let asked = Instant::now();
            let answer = http.get(&path);
            micros.push(asked.elapsed().as_micros() as u64);
            assert!(answer.status == 200 && answer.body.len() > 100, "{}: {}", answer.status, answer.text());
            i += 1;
        }
        let seconds = begin.elapsed().as_secs_f64();
        let points = running.map_or(0, |load| {
            let points = load.acknowledged() - before;
            load.stop();
            points
        });
        micros.sort_unstable();
        report.row(&[
            ("MQTT load", json!(name)),
            ("points/s meanwhile", json!((points as f64 / seconds) as u64)),
            ("requests", json!(micros.len())),
            ("p50 µs", json!(percentile(&micros, 0.5))),
            ("p99 µs", json!(percentile(&micros, 0.99))),
            ("max µs", json!(micros.last())),
        ]);
    }
    report.note(
        "Client time, kept connection, ten points an answer; client, load and server share the machine.",
    );
    report
}
