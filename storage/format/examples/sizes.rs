//! How many bytes a point takes in a segment, and how fast segments and log records are written and read.
//!
//! `cargo run --release -p wattline-format --example sizes -- DIR` reads `wind_scada_10min.csv` and
//! `transformer_hourly.csv` from DIR (or `$WATTLINE_DATA`) and skips what is not there.

mod real;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use real::Table;
use wattline_format::log;
use wattline_format::segment::{Depth, Header, Reader, Writer};
use wattline_model::{
    AssetId, Batch, BatchBuilder, Channel, Column, ModelId, PointId, Rows, Seqno, ShardCount, ShardId,
    Source, Timestamp, ValueRef, Values,
};

const WEEK: i64 = 7 * 86_400_000_000;
const MODEL: ModelId = ModelId(1);

fn main() {
    let dir = std::env::args().nth(1).or_else(|| std::env::var("WATTLINE_DATA").ok());
    let dir = PathBuf::from(dir.unwrap_or_else(|| "data".to_owned()));
    println!(
        "| data | partitions | depth | bytes per point | encode, M points/s | decode, M points/s | open, us |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, time) in real::FILES {
        match real::read(&dir.join(name), time) {
            Ok(table) => {
                for partition in [WEEK, i64::MAX] {
                    measure(name, &[table_of(&table)], partition);
                }
            }
            Err(error) => println!("skipped {name}: {error} (give the folder of the data as the argument)"),
        }
    }
    for (name, tables) in made_up() {
        measure(name, &tables, i64::MAX);
    }
    decode_hot();
    log_speed();
}

/// Time this thread was given a core, so that a busy machine does not spoil the figures; wall-clock time where the
/// system does not tell.
#[derive(Clone, Copy)]
struct Clock(Option<u64>, Instant);

impl Clock {
    fn start() -> Clock {
        Clock(Clock::on_core(), Instant::now())
    }

    fn on_core() -> Option<u64> {
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
    }

    fn elapsed(self) -> Duration {
        let on_core = self.0.zip(Clock::on_core()).map(|(start, now)| Duration::from_nanos(now - start));
        on_core.unwrap_or_else(|| self.1.elapsed())
    }
}

fn table_of(table: &Table) -> Table {
    Table { times: table.times.clone(), columns: table.columns.clone() }
}

/// A fleet of 100 assets, ten points each, one row a second for 2.5 hours: integers, decimals, 32-bit decimals.
fn made_up() -> Vec<(&'static str, Vec<Table>)> {
    let mut state = 7_u64;
    let mut noise = move |range: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % range
    };
    let mut fleet = |value: fn(i64) -> f64| {
        let table = |_| {
            let columns = (0..10).map(|_| {
                let mut level = 5000_i64;
                let mut step = |_| {
                    level += noise(41) as i64 - 20;
                    value(level)
                };
                (0..9000).map(&mut step).collect()
            });
            Table {
                columns: columns.collect(),
                times: (0..9000).map(|i| 1_700_000_000_000_000 + i * 1_000_000).collect(),
            }
        };
        (0..100).map(table).collect::<Vec<_>>()
    };
    vec![
        ("walk, integers", fleet(|v| v as f64)),
        ("walk, 2 decimals", fleet(|v| v as f64 / 100.0)),
        ("walk, 3 decimals as f32", fleet(|v| f64::from(v as f32 / 1000.0))),
    ]
}

fn measure(name: &str, tables: &[Table], partition: i64) {
    for depth in [Depth::Hot, Depth::Deep] {
        let points: usize = tables.iter().map(|t| t.columns.len() * t.times.len()).sum();
        let started = Clock::start();
        let files = write(tables, partition, depth);
        let encode = started.elapsed();
        let bytes: usize = files.iter().map(Bytes::len).sum();
        let started = Clock::start();
        let readers: Vec<Reader> =
            files.iter().map(|f| Reader::open("sizes.seg", f.clone()).expect("just written")).collect();
        let open = started.elapsed();
        let started = Clock::start();
        let decoded: usize = readers.iter().map(decode).sum();
        let decode = started.elapsed();
        assert_eq!(decoded, points);
        let partitions = if partition == WEEK { "7 days" } else { "one" };
        println!(
            "| {name} | {partitions} | {depth:?} | {:.3} | {:.0} | {:.0} | {:.0} |",
            bytes as f64 / points as f64,
            rate(points, encode),
            rate(points, decode),
            open.as_secs_f64() * 1e6
        );
    }
}

fn rate(points: usize, time: Duration) -> f64 {
    points as f64 / time.as_secs_f64() / 1e6
}

fn write(tables: &[Table], partition: i64, depth: Depth) -> Vec<Bytes> {
    let mut files = Vec::new();
    let of = |time: i64| if partition == i64::MAX { 0 } else { time.div_euclid(partition) };
    let first = tables.iter().filter_map(|t| t.times.first()).min().copied().unwrap_or(0);
    let last = tables.iter().filter_map(|t| t.times.last()).max().copied().unwrap_or(0);
    for p in of(first)..=of(last) {
        let header = Header {
            store: 1,
            shard: ShardId(0),
            partition: p.saturating_mul(partition),
            partition_micros: partition,
            level: 0,
            first_seqno: Seqno(1),
            last_seqno: Seqno(1),
        };
        let mut writer = Writer::new(header, depth);
        for (asset, table) in tables.iter().enumerate() {
            let start = table.times.partition_point(|&t| of(t) < p);
            let end = table.times.partition_point(|&t| of(t) <= p);
            let columns: Vec<Column> = table
                .columns
                .iter()
                .enumerate()
                .map(|(point, values)| Column {
                    point: PointId(point as u32),
                    rows: Rows::All,
                    values: Values::Float(values[start..end].to_vec()),
                    quality: None,
                })
                .collect();
            writer.push_run(MODEL, AssetId(asset as u32), &table.times[start..end], &columns);
        }
        let mut file = writer.take();
        file.extend(writer.finish().0);
        files.push(file.into());
    }
    files
}

fn decode(reader: &Reader) -> usize {
    let mut values = 0;
    for chunk in reader.chunks(MODEL) {
        for block in 0..chunk.blocks.len() {
            black_box(reader.times(chunk, block).expect("just written"));
            for &point in reader.points(chunk) {
                let column = reader.column(chunk, block, point).expect("just written");
                values += column.map_or(0, |c| black_box(c).values.len());
            }
        }
    }
    values
}

/// One column of decimals over and over: the fast path alone.
fn decode_hot() {
    let (_, tables) = made_up().remove(1);
    let files = write(&tables[..1], i64::MAX, Depth::Hot);
    let reader = Reader::open("sizes.seg", files[0].clone()).expect("just written");
    let chunk = &reader.chunks(MODEL)[0];
    // The best of many short goes: on a busy machine the others tell about its other users.
    let mut best = Duration::MAX;
    let mut values = 0;
    for _ in 0..300 {
        let started = Instant::now();
        values = 0;
        for _ in 0..50 {
            for block in 0..chunk.blocks.len() {
                let column = reader.column(chunk, block, PointId(3)).expect("just written");
                values += column.map_or(0, |c| black_box(c).values.len());
            }
        }
        best = best.min(started.elapsed());
    }
    println!("\ndecimals, decode alone: {:.0} M values/s", rate(values, best));
}

fn log_speed() {
    let mut builder = BatchBuilder::new(ShardCount::new(1).expect("one shard"), Source::Client);
    let mut fill = |rows: i64| {
        let empty = BatchBuilder::new(ShardCount::new(1).expect("one shard"), Source::Client);
        for row in 0..rows {
            builder.begin_row(MODEL, AssetId(row as u32 % 1000), Channel::RealTime);
            for point in 0..10 {
                assert!(builder.cell(PointId(point), ValueRef::Float(row as f64 * 0.1), None));
            }
            builder.end_row(Timestamp(1_700_000_000_000_000 + row));
        }
        std::mem::replace(&mut builder, empty).finish().remove(0)
    };
    for (name, rows) in [("one row", 1), ("10,000 rows", 10_000)] {
        let batch: Batch = fill(rows);
        let (mut out, mut records) = (Vec::new(), 0_u64);
        let started = Clock::start();
        let mut bytes = 0;
        while started.elapsed() < Duration::from_millis(300) {
            out.clear();
            for _ in 0..(10_000 / rows).max(1) {
                records += 1;
                log::encode_record(&mut out, Seqno(records), Seqno(1), black_box(&batch));
            }
            bytes += out.len();
        }
        let samples = records as f64 * batch.points() as f64;
        println!(
            "log, {name}: {:.1} ns and {:.1} bytes a sample",
            started.elapsed().as_secs_f64() * 1e9 / samples,
            bytes as f64 / samples
        );
    }
}
