//! The engine under years of data: what the issue of depth asks to be measured, one scenario a run.
//!
//! `cargo run --release -p wattline-storage --example depth -- SCENARIO [DIR]`
//!
//! * `door`: batches of 1,000 rows × 10 points, synced and visible, in order and with 20 % late; write amplification
//! * `merging`: time of a write while segments are merged, and while they are not
//! * `latest`: 1 M assets × 20 points in the latest-value table
//! * `fill MILLIONS`: writes that many points, leaves a full log and kills itself
//! * `open`: opens what `fill` left
//! * `policies MILLIONS`: the door with storage policies of each kind, over in-order rows
//! * `wide`: models of 500 points whose devices send one point at a time, beside models of one point
//! * `aggregates`: means by asset and hour of a day of the fleet, and other common questions, one thread
//! * `bounded MILLIONS`: writes, merges, reads; to be run under a limit on memory

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wattline_env::World;
use wattline_model::{
    AssetId, Batch, BatchBuilder, Channel, HistoryRule, Kind, ModelId, ModelPolicy, PointId, PointPolicy,
    Policies, ShardCount, Source, Thinning, TimeRange, Timestamp, Tolerance, Value, ValueRef,
};
use wattline_storage::{
    AggregateFigures, AggregatePoint, AggregateRequest, Buckets, Comparison, LatestCondition, ScanRequest,
    Settings, Store, Wants,
};

const MODEL: ModelId = ModelId(1);
const ASSETS: usize = 1_000;
const POINTS: u32 = 10;
const START: i64 = 1_700_000_000_000_000;
/// Time between two rows of an asset.
const STEP: i64 = 10_000_000;

fn main() {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    let mut rest: Vec<String> = args.collect();
    let mut number = |default: usize| match rest.first().and_then(|a| a.parse().ok()) {
        Some(n) => {
            rest.remove(0);
            n
        }
        None => default,
    };
    let millions = number(100);
    let dir = rest.first().map(PathBuf::from);
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.unwrap_or_else(|| temporary.path().to_owned());
    match scenario.as_str() {
        "door" => door(&dir, millions),
        "merging" => merging(&dir),
        "latest" => latest(&dir),
        "fill" => fill(&dir, millions),
        "open" => open(&dir),
        "policies" => policies(&dir, millions),
        "wide" => wide(&dir),
        "aggregates" => aggregates(&dir),
        "bounded" => bounded(&dir, millions),
        _ => eprintln!("scenarios: door, merging, latest, fill, open, policies, wide, aggregates, bounded"),
    }
}

/// A walk of two decimals, different for each asset and point, as meters and sensors give.
struct Walks {
    levels: Vec<i64>,
    state: u64,
}

impl Walks {
    fn new(seed: u64) -> Walks {
        Walks {
            levels: (0..ASSETS as i64 * i64::from(POINTS)).map(|i| 4_000 + i % 2_000).collect(),
            state: seed,
        }
    }

    fn next(&mut self, asset: usize, point: u32) -> f64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let level = &mut self.levels[asset * POINTS as usize + point as usize];
        *level += (self.state >> 33) as i64 % 41 - 20;
        *level as f64 / 100.0
    }
}

/// One row of every asset at step `step`; every `late`th row is a day and a half older.
fn batches(shards: ShardCount, walks: &mut Walks, step: usize, late: Option<usize>) -> Vec<Batch> {
    let mut builder = BatchBuilder::new(shards, Source::Client);
    for asset in 0..ASSETS {
        builder.begin_row(MODEL, AssetId(asset as u32), Channel::RealTime);
        for point in 0..POINTS {
            assert!(builder.cell(PointId(point), ValueRef::Float(walks.next(asset, point)), None));
        }
        let is_late = late.is_some_and(|late| (step * 7 + asset).is_multiple_of(late));
        let time = START + step as i64 * STEP - if is_late { 36 * 3_600_000_000 + 5_000_000 } else { 0 };
        builder.end_row(Timestamp(time));
    }
    builder.finish()
}

/// A day of the fleet, merged, and how long common aggregates take: the median of many runs. A folder that a run filled
/// is taken as it is.
fn aggregates(dir: &Path) {
    const HOUR: i64 = 3_600_000_000;
    let store = Store::open(dir, settings(), World::real()).expect("opens");
    if store.snapshot().segments().is_empty() {
        let mut walks = Walks::new(7);
        for step in 0..(24 * HOUR / STEP) as usize {
            store.write_blocking(batches(store.shards(), &mut walks, step, None)).expect("written");
        }
        store.flush().expect("flushed");
        store.compact().expect("merged");
    }
    let from = (START / HOUR + 1) * HOUR;
    println!("what                                     |   ms | answered | decoded |   groups");
    let mean = Wants { sum: true, ..Wants::default() };
    let greatest = Wants { extremes: true, ..Wants::default() };
    for (what, assets, points, wants, hours, bucket) in [
        ("mean of 1 point by asset and hour, 12 h", ASSETS, 1, mean, 12, HOUR),
        ("mean of 10 points by asset and hour, 12 h", ASSETS, 10, mean, 12, HOUR),
        ("max of 10 points of 1 asset by hour, 8 h", 1, 10, greatest, 8, HOUR),
        ("max of 1 point of 1 asset by minute, 1 h", 1, 1, greatest, 1, HOUR / 60),
        ("max of 1 point of all by minute, 12 h", ASSETS, 1, greatest, 12, HOUR / 60),
    ] {
        let request = AggregateRequest {
            model: MODEL,
            points: (0..points)
                .map(|p| AggregatePoint { point: PointId(p), kind: Kind::Float, wants })
                .collect(),
            assets: (assets < ASSETS).then(|| (0..assets as u32).map(AssetId).collect()),
            range: TimeRange::new(Timestamp(from), Timestamp(from + hours * HOUR)),
            buckets: Buckets::Every { origin: 0, micros: bucket },
            by_asset: bucket == HOUR,
            newest: None,
        };
        let (mut times, mut figures, mut groups) = (Vec::new(), AggregateFigures::default(), 0);
        let begin = Instant::now();
        while times.len() < 5 || begin.elapsed() < Duration::from_secs(2) {
            let started = Instant::now();
            (figures, groups) = (AggregateFigures::default(), 0);
            for mut shard in store.snapshot().aggregate(&request) {
                while shard.advance().expect("reads") {
                    groups += shard.take_some().map_or(0, |some| some.len());
                }
                figures.blocks_answered += shard.figures().blocks_answered;
                figures.blocks_decoded += shard.figures().blocks_decoded;
                groups += shard.finish().len();
            }
            times.push(started.elapsed());
        }
        times.sort_unstable();
        let ms = times[times.len() / 2].as_secs_f64() * 1e3;
        println!(
            "{what:41}| {ms:4.2} | {:8} | {:7} | {groups:8}",
            figures.blocks_answered, figures.blocks_decoded
        );
    }
}

/// Devices of the wide scenario, and the samples that each of their points sends.
const WIDE_ASSETS: u32 = 20;
const WIDE_POINTS: u32 = 500;
const WIDE_SAMPLES: u32 = 200;

/// The same samples twice: every point of 20 devices for itself, and as one of 500 points of its device. A message has
/// one value either way, and each point its own times.
fn wide(dir: &Path) {
    println!("layout              | memtable B/sample | after flush B/sample | after merge B/sample");
    for (name, points) in [("1 point a model", 1), ("500 points a model", WIDE_POINTS)] {
        let settings = Settings { memtable_bytes: 1 << 30, merge_fanout: 2, ..settings() };
        let store = Store::open(&dir.join(name), settings, World::real()).expect("opens");
        let samples = u64::from(WIDE_ASSETS * WIDE_POINTS * WIDE_SAMPLES);
        let (mut memtable, mut flushed) = (0, 0);
        for half in 0..2 {
            write_one_by_one(&store, points, half);
            memtable += store.status().iter().map(|s| s.memtable_bytes).sum::<u64>();
            store.flush().expect("flushed");
        }
        flushed += store.status().iter().map(|s| s.flushed_bytes).sum::<u64>();
        store.compact().expect("merged");
        let merged: u64 = store.snapshot().segments().iter().map(|s| s.bytes).sum();
        let each = |bytes: u64| bytes as f64 / samples as f64;
        println!("{name:19} | {:17.2} | {:20.3} | {:20.3}", each(memtable), each(flushed), each(merged));
    }
}

/// Half of the samples: round by round, each point of each device a message of its own, a little after the one before.
fn write_one_by_one(store: &Store, points: u32, half: u32) {
    let mut walks: Vec<i64> = vec![4_000; (WIDE_ASSETS * WIDE_POINTS) as usize];
    let mut state = 7 + u64::from(half);
    for round in half * WIDE_SAMPLES / 2..(half + 1) * WIDE_SAMPLES / 2 {
        let mut builder = BatchBuilder::new(store.shards(), Source::Client);
        for series in 0..WIDE_ASSETS * WIDE_POINTS {
            let (asset, point) = (series / points, series % points);
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            walks[series as usize] += (state >> 33) as i64 % 41 - 20;
            let value = walks[series as usize] as f64 / 100.0;
            builder.begin_row(MODEL, AssetId(asset), Channel::RealTime);
            assert!(builder.cell(PointId(point), ValueRef::Float(value), None));
            let time = START + i64::from(round) * 60_000_000 + i64::from(series % WIDE_POINTS) * 100_000;
            builder.end_row(Timestamp(time));
        }
        store.write_blocking(builder.finish()).expect("written");
    }
}

/// CPU seconds of this process so far.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// MiB of memory of this process: now, and at its highest.
fn memory() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap_or("");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    (line("VmRSS:"), line("VmHWM:"))
}

/// Memory that is the process's own: without the pages of mapped files, which the system takes back when it likes.
fn own_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn settings() -> Settings {
    Settings { shards: 2, ..Settings::default() }
}

/// Writes `steps` batches from four threads that were built beforehand; returns (seconds, CPU seconds) of the door.
fn write_all(store: &Store, walks: &mut Walks, steps: usize, late: Option<usize>) -> (f64, f64) {
    const AHEAD: usize = 64;
    let (mut wall, mut spent) = (0.0, 0.0);
    for first in (0..steps).step_by(AHEAD) {
        let ready: Vec<Vec<Batch>> = (first..steps.min(first + AHEAD))
            .map(|step| batches(store.shards(), walks, step, late))
            .collect();
        let (started, cpu_started) = (Instant::now(), cpu());
        let queue = std::sync::Mutex::new(ready.into_iter());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().expect("no panic").next();
                        let Some(batches) = next else { return };
                        store.write_blocking(batches).expect("written");
                    }
                });
            }
        });
        wall += started.elapsed().as_secs_f64();
        spent += cpu() - cpu_started;
    }
    (wall, spent)
}

fn door(dir: &Path, millions: usize) {
    println!(
        "| rows | M points/s | M points/s per core | flushes | write amplification | bytes a point | segments |"
    );
    println!("|---|---|---|---|---|---|---|");
    let default = settings().memtable_bytes;
    let runs = [
        ("in order", None, default),
        ("20 % late", Some(5), default),
        // As if it went on for much longer: some hundred flushes, merged on several levels.
        ("in order, memtables of 4 MiB", None, 4 << 20),
        ("20 % late, memtables of 4 MiB", Some(5), 4 << 20),
    ];
    for (name, late, memtable_bytes) in runs {
        let settings = Settings { memtable_bytes, ..settings() };
        let store = Store::open(&dir.join(name), settings, World::real()).expect("opens");
        let steps = millions * 1_000_000 / (ASSETS * POINTS as usize);
        let (wall, spent) = write_all(&store, &mut Walks::new(7), steps, late);
        let points = (steps * ASSETS * POINTS as usize) as f64;
        store.flush().expect("flushed");
        store.compact().expect("merged");
        let status = store.status();
        let sum =
            |read: fn(&wattline_storage::ShardStatus) -> u64| status.iter().map(read).sum::<u64>() as f64;
        let (flushed, merged) = (sum(|s| s.flushed_bytes), sum(|s| s.merged_bytes));
        println!(
            "| {name} | {:.1} | {:.1} | {} | {:.2} | {:.3} | {} |",
            points / wall / 1e6,
            points / spent / 1e6,
            sum(|s| s.flushes),
            (flushed + merged) / flushed,
            sum(|s| s.segment_bytes) / points,
            store.snapshot().segments().len()
        );
    }
}

/// The door where every point has the same policy: what each kind costs beside none, and what it leaves on disk.
fn policies(dir: &Path, millions: usize) {
    println!(
        "| policy of all points | M points/s per core | stored samples a point sent | bytes a point sent |"
    );
    println!("|---|---|---|---|");
    let as_sent = HistoryRule::AS_SENT;
    let band = |deviation| Some(Tolerance { deviation, spacing_min: 0, spacing_max: None });
    let kept = |rule| PointPolicy { history: Some(rule), ..PointPolicy::default() };
    let thinned = |thinning| kept(HistoryRule { thinning, ..as_sent });
    let runs = [
        ("none", None),
        ("AI_RAW", Some(kept(as_sent))),
        ("AI_RAW and AI_NORMALIZED", Some(PointPolicy { normalized: true, ..kept(as_sent) })),
        ("PI", Some(kept(HistoryRule { by_minute: true, ..as_sent }))),
        ("not modifiable", Some(kept(HistoryRule { modifiable: false, ..as_sent }))),
        ("dead band", Some(thinned(Thinning { dead_band: band(0.3), swinging_door: None }))),
        ("swinging door", Some(thinned(Thinning { dead_band: None, swinging_door: band(0.3) }))),
        ("latest values only", Some(PointPolicy::default())),
    ];
    for (name, policy) in runs {
        let rest = policy.unwrap_or_default();
        let models = policy.map(|_| (MODEL, ModelPolicy { points: Vec::new(), rest })).into_iter().collect();
        let policies = Arc::new(Policies { models, others_latest_only: false });
        let store = Store::open(&dir.join(name), Settings { policies, ..settings() }, World::real());
        let store = store.expect("opens");
        let steps = millions * 1_000_000 / (ASSETS * POINTS as usize);
        let (_, spent) = write_all(&store, &mut Walks::new(7), steps, None);
        let points = (steps * ASSETS * POINTS as usize) as f64;
        store.flush().expect("flushed");
        store.compact().expect("merged");
        let segments = store.snapshot().segments();
        println!(
            "| {name} | {:.1} | {:.2} | {:.3} |",
            points / spent / 1e6,
            segments.iter().map(|s| s.samples).sum::<u64>() as f64 / points,
            segments.iter().map(|s| s.bytes).sum::<u64>() as f64 / points
        );
    }
}

/// Times of paced writes to a store that merges as soon as it has two segments, and to one that never does.
fn merging(dir: &Path) {
    for (name, merge_fanout) in [("no merges", 1_000), ("merging all the time", 2)] {
        let settings = Settings { memtable_bytes: 4 << 20, merge_fanout, ..settings() };
        let store = Store::open(&dir.join(name), settings, World::real()).expect("opens");
        let mut walks = Walks::new(9);
        let mut times = Vec::new();
        for step in 0..3_000 {
            let ready = batches(store.shards(), &mut walks, step, None);
            let started = Instant::now();
            store.write_blocking(ready).expect("written");
            times.push(started.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(4));
        }
        times.sort_by(f64::total_cmp);
        let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
        println!(
            "{name}: {} merges, {} flushes; p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms of {} writes of 1,000 rows",
            store.status().iter().map(|s| s.compactions).sum::<u64>(),
            store.status().iter().map(|s| s.flushes).sum::<u64>(),
            at(0.5),
            at(0.99),
            at(1.0),
            times.len()
        );
    }
}

fn latest(dir: &Path) {
    const MANY: usize = 1_000_000;
    const WIDE: u32 = 20;
    let store = Store::open(dir, settings(), World::real()).expect("opens");
    let before = own_memory();
    for first in (0..MANY).step_by(10_000) {
        let mut builder = BatchBuilder::new(store.shards(), Source::Client);
        for asset in first..first + 10_000 {
            builder.begin_row(MODEL, AssetId(asset as u32), Channel::RealTime);
            for point in 0..WIDE {
                let value = ((asset * 7 + point as usize * 13) % 10_000) as f64 / 10.0;
                assert!(builder.cell(PointId(point), ValueRef::Float(value), None));
            }
            builder.end_row(Timestamp(START));
        }
        store.write_blocking(builder.finish()).expect("written");
    }
    store.flush().expect("flushed");
    println!(
        "{:.0} MiB of the process's own memory for {MANY} assets × {WIDE} points",
        own_memory() - before
    );
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let above = |x: f64| LatestCondition::Is(Comparison::Gt, Value::Float(x));
    for (name, condition) in [("1 % of the assets", above(990.0)), ("half of them", above(500.0))] {
        let mut found = 0;
        let times = (0..50).map(|_| {
            let started = Instant::now();
            found = store.select_latest(MODEL, PointId(3), &condition).expect("of its kind").len();
            started.elapsed().as_secs_f64() * 1e3
        });
        println!("filter one point over all, {name}: {:.2} ms ({found} found)", median(times.collect()));
    }
    let started = Instant::now();
    let reads = 1_000_000_usize;
    for i in 0..reads {
        let asset = AssetId((i * 7_919 % MANY) as u32);
        assert!(store.latest(MODEL, asset, &[PointId(5)])[0].is_some());
    }
    println!("one asset, one point: {:.2} us", started.elapsed().as_secs_f64() * 1e6 / reads as f64);
    store.close().expect("closed");
    drop(store);
    let started = Instant::now();
    let store = Store::open(dir, settings(), World::real()).expect("opens");
    assert!(store.latest(MODEL, AssetId(999_999), &[PointId(19)])[0].is_some());
    println!("ready after a restart: {:.2} s", started.elapsed().as_secs_f64());
    println!("{:.0} MiB of the process's own memory then", own_memory());
}

fn fill(dir: &Path, millions: usize) {
    let store = Store::open(dir, settings(), World::real()).expect("opens");
    let steps = millions * 1_000_000 / (ASSETS * POINTS as usize);
    write_all(&store, &mut Walks::new(7), steps, None);
    let status = store.status();
    let log: u64 = status.iter().map(|s| s.log_bytes).sum();
    println!("{} M points, {} MiB of log; killed", millions, log >> 20);
    // As SIGKILL does: nothing is flushed, closed or dropped.
    std::process::abort();
}

fn open(dir: &Path) {
    let started = Instant::now();
    let store = Store::open(dir, settings(), World::real()).expect("opens");
    let ready = started.elapsed().as_secs_f64();
    let samples: u64 = store.snapshot().segments().iter().map(|s| s.samples).sum();
    let log: u64 = store.status().iter().map(|s| s.log_bytes).sum();
    println!(
        "ready in {ready:.2} s with {} M points in segments and {} MiB of log",
        samples / 1_000_000,
        log >> 20
    );
}

fn bounded(dir: &Path, millions: usize) {
    let settings = Settings { memtable_bytes: 24 << 20, queue_bytes: 8 << 20, ..settings() };
    let store = Store::open(dir, settings, World::real()).expect("opens");
    let steps = millions * 1_000_000 / (ASSETS * POINTS as usize);
    let started = Instant::now();
    write_all(&store, &mut Walks::new(7), steps, None);
    println!(
        "{millions} M points in {:.0} s; {:.0} MiB at most",
        started.elapsed().as_secs_f64(),
        memory().1
    );
    store.flush().expect("flushed");
    store.compact().expect("merged");
    println!("merged; {:.0} MiB at most", memory().1);
    let request = ScanRequest {
        model: MODEL,
        points: (0..POINTS).map(|p| (PointId(p), Kind::Float)).collect(),
        assets: None,
        range: TimeRange::ALL,
        every_row: true,
        batch_rows: 8_192,
    };
    let started = Instant::now();
    let rows: usize = store.scan(&request).into_iter().flatten().map(|b| b.expect("sound").times.len()).sum();
    assert_eq!(rows, steps * ASSETS);
    println!(
        "all {rows} rows read in {:.0} s; {:.0} MiB at most, {:.0} MiB of its own now",
        started.elapsed().as_secs_f64(),
        memory().1,
        own_memory()
    );
}
