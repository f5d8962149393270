//! The scenarios. Each starts its own server on its own directory and returns a table.

mod cold_start;
mod data_service;
mod disk;
mod ingest;
mod latest;
mod memory;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wattline_tests::admin::model_json;
use wattline_tests::{Device, Server};

use crate::Args;
use crate::payload::POINTS;
use crate::procfs;
use crate::report::Report;

/// A scenario: its name and what runs it.
pub(crate) type Scenario = (&'static str, fn(&Args) -> Report);

/// Every scenario, in the order of `all`.
pub(crate) const ALL: &[Scenario] = &[
    ("mqtt10", ingest::mqtt10),
    ("mqtt-batch100", ingest::mqtt_batch100),
    ("http-bulk", ingest::http_bulk),
    ("csv-import", ingest::csv_import),
    ("latest", latest::latest),
    ("data-service", data_service::data_service),
    ("disk", disk::disk),
    ("memory", memory::memory),
    ("cold-start", cold_start::cold_start),
];

/// The model of generated load: `p0` to `p9`, DOUBLE.
const MODEL: &str = "bench";

/// A data directory for one scenario.
fn work_dir(args: &Args) -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("wattline-bench-");
    match &args.work_dir {
        Some(dir) => builder.tempdir_in(dir),
        None => builder.tempdir(),
    }
    .expect("a directory for data")
}

/// The release server on `dir`.
fn serve(args: &Args, dir: &Path) -> Server {
    let extra: Vec<&str> = args.serve_args.split_whitespace().collect();
    Server::start(dir, &extra)
}

/// The model and `count` devices of it.
fn fleet(server: &Server, count: usize) -> Vec<Device> {
    let names: Vec<String> = (0..POINTS).map(|i| format!("p{i}")).collect();
    let points: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "DOUBLE")).collect();
    let http = server.http();
    http.create_model(&model_json(MODEL, &points));
    http.create_product("pk-bench", MODEL);
    let names: Vec<String> = (0..count).map(|i| format!("dk-{i}")).collect();
    http.create_devices("pk-bench", &names)
}

/// What happened between two moments of a load.
#[derive(Clone, Copy, Debug)]
struct Measured {
    seconds: f64,
    points: u64,
    cpu_micros: u64,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.points as f64 / self.seconds
    }

    fn cpu_micros_per_point(&self) -> f64 {
        self.cpu_micros as f64 / self.points as f64
    }
}

/// Lets a load warm up, then measures it for `seconds`.
fn measure(server: &Server, acknowledged: impl Fn() -> u64, seconds: u64) -> Measured {
    std::thread::sleep(WARM_UP);
    let (begin, points, cpu) = (Instant::now(), acknowledged(), procfs::cpu_micros(server.pid()));
    std::thread::sleep(Duration::from_secs(seconds));
    Measured {
        seconds: begin.elapsed().as_secs_f64(),
        points: acknowledged() - points,
        cpu_micros: procfs::cpu_micros(server.pid()) - cpu,
    }
}

/// Time a load runs before it is measured.
const WARM_UP: Duration = Duration::from_secs(3);

/// Fails where SQL does not find every acknowledged point. Rows carry all points, so rows are counted.
fn check_stored(server: &Server, acknowledged_points: u64) {
    let rows = server.http().sql_number(&format!("SELECT count(*) FROM {MODEL}")) as u64;
    assert!(
        rows * POINTS as u64 >= acknowledged_points,
        "{rows} rows stored, {acknowledged_points} points acknowledged"
    );
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(std::sync::atomic::Ordering::Relaxed)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}
