//! How fast the write door is: durable and visible samples per second, and what a reader then pays.
//!
//! `cargo run --release -p wattline-storage --example write_door -- [rows a batch] [million samples] [points]`

use std::time::Instant;

use wattline_env::World;
use wattline_model::{
    AssetId, Batch, BatchBuilder, Channel, Kind, ModelId, PointId, ShardCount, Source, TimeRange, Timestamp,
    ValueRef,
};
use wattline_storage::{ScanRequest, Settings, Store};

const MODEL: ModelId = ModelId(1);
const ASSETS: usize = 1_000;

fn batch(shards: ShardCount, first: usize, rows: usize, points: u32) -> Vec<Batch> {
    let mut builder = BatchBuilder::new(shards, Source::Client);
    for row in first..first + rows {
        let time = 1_700_000_000_000_000 + (row / ASSETS) as i64 * 10_000_000;
        builder.begin_row(MODEL, AssetId((row % ASSETS) as u32), Channel::RealTime);
        for point in 0..points {
            let value = ((row * 7 + point as usize * 13) % 1_000) as f64 / 10.0;
            assert!(builder.cell(PointId(point), ValueRef::Float(value), None));
        }
        builder.end_row(Timestamp(time));
    }
    builder.finish()
}

/// CPU seconds of this process so far.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a number"));
    let (rows, millions) = (args.next().unwrap_or(1_000), args.next().unwrap_or(20));
    let points = args.next().unwrap_or(10) as u32;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path(), Settings::default(), World::real()).expect("opens");
    let calls = millions * 1_000_000 / (rows * points as usize);
    let writers = 16;

    let (mut built, start, cpu_start) = (0.0, Instant::now(), cpu());
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let store = store.clone();
            scope.spawn(move || {
                for call in (writer..calls).step_by(writers) {
                    store.write_blocking(batch(store.shards(), call * rows, rows, points)).expect("written");
                }
            });
        }
    });
    let (seconds, cpu_seconds) = (start.elapsed().as_secs_f64(), cpu() - cpu_start);
    let build = Instant::now();
    for call in 0..calls.min(20_000) {
        std::hint::black_box(batch(store.shards(), call * rows, rows, points));
    }
    built += build.elapsed().as_secs_f64() * calls as f64 / calls.min(20_000) as f64;
    let samples = (calls * rows * points as usize) as f64;
    println!("{rows} rows × {points} points a batch, {:.0} M samples", samples / 1e6);
    println!("  durable and visible: {:.2} M samples/s", samples / seconds / 1e6);
    println!(
        "  CPU: {:.3} µs a sample, of which {:.3} to build the batches",
        cpu_seconds / samples * 1e6,
        built / samples * 1e6
    );

    let flush = Instant::now();
    store.flush().expect("flushed");
    store.compact().expect("compacted");
    let status = store.status();
    let bytes: u64 = status.iter().map(|s| s.segment_bytes).sum();
    println!(
        "  flush and merge the rest: {:.2} s; {:.3} bytes a sample",
        flush.elapsed().as_secs_f64(),
        bytes as f64 / samples
    );

    for (name, wanted) in [("1 point", 1), ("all points", points)] {
        let request = ScanRequest {
            model: MODEL,
            points: (0..wanted).map(|p| (PointId(p), Kind::Float)).collect(),
            assets: None,
            range: TimeRange::ALL,
            every_row: true,
            batch_rows: 8_192,
        };
        let start = Instant::now();
        let rows: usize =
            store.scan(&request).into_iter().flatten().map(|b| b.expect("decoded").times.len()).sum();
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "  scan {name}: {:.0} M values/s, one thread",
            (rows * wanted as usize) as f64 / seconds / 1e6
        );
    }
    store.close().expect("closed");
    let reopen = Instant::now();
    drop(store);
    Store::open(dir.path(), Settings::default(), World::real()).expect("opens again");
    println!("  open again: {:.3} s", reopen.elapsed().as_secs_f64());
}
