//! Measures what a million devices cost: `cargo run --release -p wattline-registry --example million [devices]`.
//!
//! Prints the time to create them, the memory they take, the time to open the file again, and the time of a lookup.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use wattline_model::DataType;
use wattline_registry::{DEFAULT_ORG, NewDevice, NewModel, NewPoint, NewProduct, Registry};

/// Devices of one transaction.
const BATCH: u32 = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u32 = arguments.next().map_or(Ok(1_000_000), |n| n.parse())?;
    if let Some(file) = arguments.next() {
        return look(Path::new(&file), count);
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("registry.sqlite");
    create(&Registry::open(&file)?, count)?;
    // A process of its own, so that its memory holds nothing but the open registry.
    let program = std::env::current_exe()?;
    let status = Command::new(program).arg(count.to_string()).arg(&file).status()?;
    if status.success() { Ok(()) } else { Err("the second half failed".into()) }
}

fn look(file: &Path, count: u32) -> Result<(), Box<dyn std::error::Error>> {
    let before = resident_bytes().unwrap_or(0);
    let (start, cpu) = (Instant::now(), cpu_time());
    let registry = Registry::open(file)?;
    println!("open again: {:?}, of which on a core {:?}", start.elapsed(), cpu_time() - cpu);
    println!("memory: {} MB", (resident_bytes().unwrap_or(0) - before) / 1_000_000);
    for (what, among) in [("a thousand devices", 1_000), ("all devices, scattered", count)] {
        let keys: Vec<String> = (0..1_000_000_u32).map(|i| key(i.wrapping_mul(7_919) % among)).collect();
        let cpu = cpu_time();
        let found = keys.iter().filter(|key| black_box(registry.device("pk1", key)).is_some()).count();
        let elapsed = cpu_time() - cpu;
        assert_eq!(found, keys.len(), "every device is found");
        println!("lookup among {what}: {} ns on a core", elapsed.as_nanos() / keys.len() as u128);
    }
    Ok(())
}

fn create(registry: &Registry, count: u32) -> Result<(), Box<dyn std::error::Error>> {
    registry.create_model(NewModel {
        org: DEFAULT_ORG,
        key: "turbine".into(),
        name: String::new(),
        parent: None,
        points: vec![NewPoint::new("power", DataType::Double)],
    })?;
    registry.create_product(NewProduct {
        org: DEFAULT_ORG,
        key: Some("pk1".into()),
        name: String::new(),
        model_key: "turbine".into(),
        secret: None,
        dynamic_activation: false,
        require_certificate: false,
        gateway: false,
    })?;
    let start = Instant::now();
    let mut times = Vec::new();
    for first in (0..count).step_by(BATCH as usize) {
        let batch = (first..count.min(first + BATCH)).map(|i| NewDevice {
            product_key: "pk1".into(),
            device_key: Some(key(i)),
            timezone: "Europe/Berlin".into(),
            ..NewDevice::default()
        });
        let batch = batch.collect();
        let begun = Instant::now();
        registry.create_devices(batch)?;
        times.push(begun.elapsed());
    }
    let (first, slowest) = (times.first(), times.iter().max());
    println!(
        "create {count} devices: {:?}; transactions of {BATCH}: first {first:?}, slowest {slowest:?}",
        start.elapsed()
    );
    Ok(())
}

fn key(i: u32) -> String {
    format!("turbine-{i:08}")
}

/// Resident memory of this process, where the system tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

/// Time this thread has spent on a core: other work on the machine does not count. Zero where the system does not tell.
fn cpu_time() -> Duration {
    let nanos = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = nanos.and_then(|text| text.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
