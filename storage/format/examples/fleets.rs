//! How many bytes a point of made-up fleets takes in a segment, where those bytes lie, and how fast they are written
//! and read.
//!
//! `cargo run --release -p wattline-format --example fleets -- [ASSETS] [--rows DIR [--data DIR]]`; the first figures of a row are for the whole
//! file, times and assets included, the last ones for the values alone, packed by pco asset by asset and column by column.
//! A second table compares how fast deep columns are decoded, alone and packed by pco. Fleets are the same in every run.
//!
//! With `--rows` the rows and what Wattline takes for them go to a folder a fleet below DIR, for `benches/peers` to give
//! to others, and so do the real files of the folder given with `--data`; `rows` tells how they are laid out.

mod real;
mod rows;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pco::DecompressorScratch;
use pco::wrapped::{ChunkDecompressor, FileCompressor, FileDecompressor};
use wattline_format::segment::{Depth, Header, Reader, Writer};
use wattline_model::{AssetId, Column, ModelId, PointId, Rows, Seqno, ShardId, Values};

const MODEL: ModelId = ModelId(1);
const T0: i64 = 1_700_006_400_000_000;
const STEP: i64 = 10_000_000;
/// 24 hours.
const ROWS: usize = 8640;

/// A fleet: how many assets it has, the values of one of them, and the folder its rows go to where peers take them.
struct Fleet {
    name: &'static str,
    assets: usize,
    values: fn(&mut Chance) -> Vec<Values>,
    folder: Option<&'static str>,
}

/// One asset's rows.
pub(crate) struct Run {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<Values>,
}

impl Fleet {
    fn runs(&self, assets: usize) -> impl Iterator<Item = Run> {
        let mut chance = Chance(7);
        let values = self.values;
        (0..assets).map(move |_| Run { times: times(), values: values(&mut chance) })
    }
}

/// What the command line says.
#[derive(Default)]
struct Args {
    assets: Option<usize>,
    rows: Option<PathBuf>,
    data: Option<PathBuf>,
}

impl Args {
    fn read() -> Args {
        let mut args = Args::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--rows" => args.rows = words.next().map(PathBuf::from),
                "--data" => args.data = words.next().map(PathBuf::from),
                number => args.assets = number.parse().ok(),
            }
        }
        args
    }
}

fn main() -> std::io::Result<()> {
    let args = Args::read();
    let fleets = [
        Fleet {
            name: "cpu, integers as Int",
            assets: 1000,
            values: |c| ints(cpu(c, 1.0)),
            folder: Some("cpu_integers"),
        },
        Fleet { name: "cpu, integers as Float", assets: 1000, values: |c| floats(cpu(c, 1.0)), folder: None },
        Fleet {
            name: "cpu, 2 decimals",
            assets: 1000,
            values: |c| floats(cpu(c, 100.0)),
            folder: Some("cpu_decimals"),
        },
        Fleet { name: "wind, 12 signals", assets: 200, values: wind, folder: Some("wind") },
    ];
    println!(
        "| fleet | depth | B a point | times | index | statistics | directory | heads | payloads | encode, M points/s | decode, M points/s | pco, B a point |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for fleet in &fleets {
        let assets = args.assets.unwrap_or(fleet.assets);
        let name = format!("{} × {assets}", fleet.name);
        let depths = [Depth::Hot, Depth::Deep];
        let figures = depths.map(|depth| ("one", measure(fleet.runs(assets), depth)));
        figures.iter().for_each(|(_, figures)| figures.print(&name));
        if let (Some(dir), Some(folder)) = (&args.rows, fleet.folder) {
            rows::write(&dir.join(folder), &name, fleet.runs(assets), &figures)?;
        }
    }
    if let (Some(rows), Some(data)) = (&args.rows, &args.data) {
        real_files(rows, data)?;
    }
    println!("\n| fleet | deep columns alone, M values/s | the same values by pco |");
    println!("|---|---|---|");
    fleets.iter().for_each(decode_alone);
    Ok(())
}

/// Measures the real files as one partition and as partitions of a week, which a store would have.
fn real_files(rows: &Path, data: &Path) -> std::io::Result<()> {
    for (file, time) in real::FILES {
        let table = match real::read(&data.join(file), time) {
            Ok(table) => table,
            Err(error) => {
                eprintln!("skipped {file}: {error}");
                continue;
            }
        };
        let run = || Run { times: table.times.clone(), values: floats(table.columns.clone()) };
        let mut figures = Vec::new();
        for depth in [Depth::Hot, Depth::Deep] {
            figures.push(("one", measure(std::iter::once(run()), depth)));
            figures.push(("7 days", Figures::sum(weeks(run()).map(|week| measure([week], depth)))));
        }
        for (partitions, figures) in &figures {
            figures.print(&format!("{file}, partitions: {partitions}"));
        }
        rows::write(&rows.join(file.trim_end_matches(".csv")), file, [run()], &figures)?;
    }
    Ok(())
}

/// A run cut where a partition of seven days ends.
fn weeks(run: Run) -> impl Iterator<Item = Run> {
    const WEEK: i64 = 7 * 86_400_000_000;
    let lengths: Vec<usize> =
        run.times.chunk_by(|a, b| a.div_euclid(WEEK) == b.div_euclid(WEEK)).map(<[i64]>::len).collect();
    let mut start = 0;
    lengths.into_iter().map(move |length| {
        let part = start..start + length;
        start += length;
        let cut = |values: &Values| match values {
            Values::Float(v) => Values::Float(v[part.clone()].to_vec()),
            Values::Int(v) => Values::Int(v[part.clone()].to_vec()),
            Values::Bool(_) | Values::Text(_) => unreachable!("numbers alone are measured"),
        };
        Run { times: run.times[part.clone()].to_vec(), values: run.values.iter().map(cut).collect() }
    })
}

fn writer(depth: Depth) -> Writer {
    let header = Header {
        store: 1,
        shard: ShardId(0),
        partition: T0,
        partition_micros: 86_400_000_000,
        level: 0,
        first_seqno: Seqno(1),
        last_seqno: Seqno(1),
    };
    Writer::new(header, depth)
}

fn times() -> Vec<i64> {
    (0..ROWS as i64).map(|i| T0 + i * STEP).collect()
}

fn columns(values: Vec<Values>) -> Vec<Column> {
    let column = |(point, values)| Column { point: PointId(point), rows: Rows::All, values, quality: None };
    (0..).zip(values).map(column).collect()
}

/// What a file of runs takes.
pub(crate) struct Figures {
    pub(crate) depth: Depth,
    pub(crate) bytes: usize,
    pub(crate) points: usize,
    pub(crate) decode: Duration,
    encode: Duration,
    pco: usize,
    room: [u64; 6],
}

fn measure(runs: impl IntoIterator<Item = Run>, depth: Depth) -> Figures {
    let mut writer = writer(depth);
    let (mut file, mut points, mut pco, mut encode) = (Vec::new(), 0, 0, Duration::ZERO);
    let mut pushed = Checksum::default();
    for (asset, run) in (0..).zip(runs) {
        pushed.take(&run.times, (0..).zip(&run.values));
        points += run.values.iter().map(Values::len).sum::<usize>();
        pco += run.values.iter().map(pco_bytes).sum::<usize>();
        let columns = columns(run.values);
        let started = Instant::now();
        writer.push_run(MODEL, AssetId(asset), &run.times, &columns);
        file.extend(writer.take());
        encode += started.elapsed();
    }
    let started = Instant::now();
    file.extend(writer.finish().0);
    encode += started.elapsed();
    let bytes = file.len();
    let reader = Reader::open("fleets.seg", Bytes::from(file)).expect("just written");
    let decoding = || {
        let started = Instant::now();
        assert_eq!(decode(&reader), points);
        started.elapsed()
    };
    assert_eq!(Checksum::of(&reader), pushed, "other rows came back");
    // A short go says little on a busy machine, so a small file has more of them.
    let goes = (10_000_000 / points.max(1)).clamp(5, 50);
    let decode = (0..goes).map(|_| decoding()).min().unwrap_or_default();
    let room = reader.room().expect("just written");
    let room = [room.times, room.index, room.statistics, room.directory, room.heads, room.values];
    Figures { depth, bytes, points, decode, encode, pco, room }
}

/// Of times and of each column, in their order: two are the same where the same rows were given and read.
#[derive(Debug, Default, PartialEq)]
struct Checksum(BTreeMap<Option<PointId>, u64>);

impl Checksum {
    fn of(reader: &Reader) -> Checksum {
        let mut sum = Checksum::default();
        for chunk in reader.chunks(MODEL) {
            for block in 0..chunk.blocks.len() {
                let times = reader.times(chunk, block).expect("just written");
                let column = |&point| reader.column(chunk, block, point).expect("just written");
                let columns: Vec<Column> = reader.points(chunk).iter().filter_map(column).collect();
                sum.take(&times, columns.iter().map(|column| (column.point.0, &column.values)));
            }
        }
        sum
    }

    fn take<'a>(&mut self, times: &[i64], columns: impl Iterator<Item = (u32, &'a Values)>) {
        self.add(None, times.iter().map(|&time| time as u64));
        for (point, values) in columns {
            match values {
                Values::Float(v) => self.add(Some(PointId(point)), v.iter().map(|v| v.to_bits())),
                Values::Int(v) => self.add(Some(PointId(point)), v.iter().map(|&v| v as u64)),
                Values::Bool(_) | Values::Text(_) => {}
            }
        }
    }

    fn add(&mut self, column: Option<PointId>, numbers: impl Iterator<Item = u64>) {
        let sum = self.0.entry(column).or_default();
        *sum = numbers
            .fold(*sum, |sum, number| (sum.rotate_left(5) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
}

impl Figures {
    /// Of several files together.
    fn sum(files: impl Iterator<Item = Figures>) -> Figures {
        let add = |a: Figures, b: Figures| Figures {
            depth: a.depth,
            bytes: a.bytes + b.bytes,
            points: a.points + b.points,
            decode: a.decode + b.decode,
            encode: a.encode + b.encode,
            pco: a.pco + b.pco,
            room: std::array::from_fn(|i| a.room[i] + b.room[i]),
        };
        files.reduce(add).expect("one file or more")
    }

    fn print(&self, name: &str) {
        let a_point = |bytes: u64| bytes as f64 / self.points as f64;
        let rate = |time: Duration| self.points as f64 / time.as_secs_f64() / 1e6;
        let room: Vec<String> = self.room.iter().map(|&bytes| format!("{:.4}", a_point(bytes))).collect();
        println!(
            "| {name} | {:?} | {:.4} | {} | {:.1} | {:.0} | {:.4} |",
            self.depth,
            a_point(self.bytes as u64),
            room.join(" | "),
            rate(self.encode),
            rate(self.decode),
            a_point(self.pco as u64),
        );
    }
}

/// Decodes the columns of a few assets block by block, and the same blocks packed by pco as integers: what a deep
/// column was before it had a coder of its own. The best of many short goes, in alternation, as on a busy machine the
/// others tell about its other users.
fn decode_alone(fleet: &Fleet) {
    const ASSETS: u32 = 7;
    const GOES: usize = 200;
    let mut chance = Chance(7);
    let mut writer = writer(Depth::Deep);
    let mut columns_by_pco: Vec<Vec<i64>> = Vec::new();
    let mut scales = Vec::new();
    for asset in 0..ASSETS {
        let values = (fleet.values)(&mut chance);
        columns_by_pco.resize(values.len(), Vec::new());
        scales.resize(values.len(), None);
        for ((column, scale), values) in columns_by_pco.iter_mut().zip(&mut scales).zip(&values) {
            match values {
                Values::Float(v) => {
                    let scale = *scale.get_or_insert_with(|| scale_of(v));
                    column.extend(v.iter().map(|v| (v * scale).round() as i64));
                }
                Values::Int(v) => column.extend(v),
                Values::Bool(_) | Values::Text(_) => {}
            }
        }
        writer.push_run(MODEL, AssetId(asset), &times(), &columns(values));
    }
    let mut file = writer.take();
    file.extend(writer.finish().0);
    let reader = Reader::open("fleets.seg", Bytes::from(file)).expect("just written");
    let chunk = &reader.chunks(MODEL)[0];
    let lengths: Vec<usize> = chunk.blocks.iter().map(|b| b.rows as usize).collect();
    let (mut ours, mut by_pco, mut values) = (Duration::ZERO, Duration::ZERO, 0);
    for ((point, column), scale) in (0..).zip(&columns_by_pco).zip(scales) {
        let packed = PcoColumn::of(&column[..lengths.iter().sum()], &lengths);
        let (mut best, mut best_by_pco) = (Duration::MAX, Duration::MAX);
        for _ in 0..GOES {
            let started = Instant::now();
            for block in 0..lengths.len() {
                black_box(reader.column(chunk, block, PointId(point)).expect("just written"));
            }
            best = best.min(started.elapsed());
            let started = Instant::now();
            for (page, &length) in packed.pages.iter().zip(&lengths) {
                let integers = packed.decode(page, length);
                match scale {
                    Some(scale) => {
                        drop(black_box(integers.iter().map(|&i| i as f64 / scale).collect::<Vec<_>>()));
                    }
                    None => drop(black_box(integers)),
                }
            }
            best_by_pco = best_by_pco.min(started.elapsed());
        }
        ours += best;
        by_pco += best_by_pco;
        values += lengths.iter().sum::<usize>();
    }
    let rate = |time: Duration| values as f64 / time.as_secs_f64() / 1e6;
    println!("| {} × {ASSETS} | {:.0} | {:.0} |", fleet.name, rate(ours), rate(by_pco));
}

/// The power of ten that makes integers of all `values`.
fn scale_of(values: &[f64]) -> f64 {
    let whole = |scale: f64| values.iter().all(|v| (v * scale).round() / scale == *v);
    (0..6).map(|places| 10_f64.powi(places)).find(|&scale| whole(scale)).expect("decimals of few places")
}

/// A column packed by pco, a page a block.
struct PcoColumn {
    head: ChunkDecompressor<i64>,
    pages: Vec<Vec<u8>>,
}

impl PcoColumn {
    fn of(integers: &[i64], lengths: &[usize]) -> PcoColumn {
        let paging = pco::PagingSpec::Exact(lengths.to_vec());
        let config = pco::ChunkConfig::default().with_paging_spec(paging);
        let file = FileCompressor::default();
        let mut chunk = file.chunk_compressor(integers, &config).expect("pco takes every number");
        let head = file.write_header(Vec::new()).and_then(|out| chunk.write_meta(out)).expect("into memory");
        let page = |i| chunk.write_page(i, Vec::new()).expect("into memory");
        let pages = (0..lengths.len()).map(page).collect();
        let (file, rest) = FileDecompressor::new(head.as_slice()).expect("just written");
        PcoColumn { head: file.chunk_decompressor(rest).expect("just written").0, pages }
    }

    fn decode(&self, page: &[u8], count: usize) -> Vec<i64> {
        let mut scratch = DecompressorScratch::default();
        let mut integers = vec![0; count];
        let page = self.head.page_decompressor_with_scratch(page, count, &mut scratch);
        page.and_then(|mut page| page.read(&mut integers)).expect("just written");
        integers
    }
}

/// What the values of one column of one asset take in pco's own files, without times and statistics: for comparison.
fn pco_bytes(values: &Values) -> usize {
    let config = pco::ChunkConfig::default();
    let packed = match values {
        Values::Float(v) => pco::standalone::simple_compress(v, &config),
        Values::Int(v) => pco::standalone::simple_compress(v, &config),
        Values::Bool(_) | Values::Text(_) => return 0,
    };
    packed.expect("pco takes every number").len()
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

fn floats(columns: Vec<Vec<f64>>) -> Vec<Values> {
    columns.into_iter().map(Values::Float).collect()
}

fn ints(columns: Vec<Vec<f64>>) -> Vec<Values> {
    columns.into_iter().map(|c| Values::Int(c.into_iter().map(|v| v as i64).collect())).collect()
}

/// A host of TSBS's cpu-only set: ten loads that start anywhere in 0..100, take normal steps, stay within 0..=100 and
/// are cut to `1 / scale`.
fn cpu(chance: &mut Chance, scale: f64) -> Vec<Vec<f64>> {
    let load = |_| {
        let mut load = chance.uniform() * 100.0;
        let mut step = |_| {
            let value = (load * scale).floor() / scale;
            load = (load + chance.normal()).clamp(0.0, 100.0);
            value
        };
        (0..ROWS).map(&mut step).collect()
    };
    (0..10).map(load).collect()
}

/// A turbine of 3 MW: wind that wanders about its mean with gusts on top, and what follows from it, each reported with
/// the decimals such signals have. Power, rotor and pitch follow the wind late; temperatures drift towards the load;
/// the meter counts what was produced; the status changes when the turbine starts or stops.
fn wind(chance: &mut Chance) -> Vec<Values> {
    const SIGNALS: usize = 11;
    let mut columns = vec![Vec::new(); SIGNALS];
    let mut status = Vec::with_capacity(ROWS);
    let mut mean = 4.0 + 7.0 * chance.uniform();
    let (mut gust, mut heading, mut nacelle) = (0.0, 360.0 * chance.uniform(), 0.0);
    let (mut power, mut rotor, mut pitch, mut gear, mut winding) = (0.0, 0.0, 0.0, 45.0, 60.0);
    let (mut outside, mut voltage) = (8.0 + 4.0 * chance.uniform(), 690.0);
    let mut meter = (5e6 * chance.uniform()).floor();
    for row in 0..ROWS {
        mean = (mean + 0.01 * chance.normal() + 0.0005 * (7.5 - mean)).max(0.5);
        gust = 0.95 * gust + 0.25 * chance.normal();
        let speed: f64 = (mean + gust).max(0.0);
        let runs = speed > 3.0 || (speed > 2.5 && power > 20.0);
        let share = if runs { ((speed / 12.0).powi(3)).min(1.0) } else { 0.0 };
        power += 0.3 * (3000.0 * share - power);
        rotor += 0.2 * (if runs { 6.0 + 8.0 * share.sqrt() } else { 0.0 } - rotor);
        pitch += 0.2
            * (if !runs {
                85.0
            } else if speed > 12.0 {
                3.0 * (speed - 12.0)
            } else {
                0.0
            } - pitch);
        gear += 0.002 * (45.0 + 25.0 * share - gear) + 0.05 * chance.normal();
        winding += 0.003 * (55.0 + 60.0 * share - winding) + 0.1 * chance.normal();
        heading = (heading + 0.5 * chance.normal()).rem_euclid(360.0);
        if row % 360 == 0 {
            nacelle = heading;
        }
        outside += 0.03 * chance.normal();
        voltage += 0.5 * chance.normal() + 0.1 * (690.0 - voltage);
        meter += power / 360.0;
        let now = [
            (speed, 2),
            ((power + chance.normal()).max(0.0), 1),
            (rotor, 2),
            (pitch, 2),
            (heading, 1),
            (nacelle, 1),
            (gear, 1),
            (winding, 1),
            (outside, 1),
            (voltage, 1),
            (meter, 0),
        ];
        for (column, (value, decimals)) in columns.iter_mut().zip(now) {
            let scale = 10_f64.powi(decimals);
            column.push((value * scale).round() / scale);
        }
        status.push(if runs {
            100
        } else if mean < 2.0 {
            20
        } else {
            60
        });
    }
    let mut values = floats(columns);
    values.push(Values::Int(status));
    values
}

/// Numbers that look like chance: splitmix64 and Box-Muller.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut v = self.0;
        v = (v ^ v >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        v = (v ^ v >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        v ^ v >> 31
    }

    /// In 0..1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, deviation 1.
    fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}
