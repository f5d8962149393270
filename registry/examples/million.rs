//! Measures what a million devices cost: `cargo run --release -p wattline-registry --example million [devices]`.
//!
//! Prints the time to create them, the memory they take, the time to open the file again, and the time of a lookup.

use std::hint::black_box;
use std::time::{Duration, Instant};

use wattline_model::DataType;
use wattline_registry::{DEFAULT_ORG, NewDevice, NewModel, NewPoint, NewProduct, Registry};

/// Devices of one transaction.
const BATCH: u32 = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u32 = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("registry.sqlite");
    create(&Registry::open(&file)?, count)?;

    let before = resident_bytes();
    let start = Instant::now();
    let registry = Registry::open(&file)?;
    println!("open again: {:?}", start.elapsed());
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        println!("resident before opening {} MB, after {} MB", before / 1_000_000, after / 1_000_000);
    }
    for (what, step) in [("in order", 1), ("scattered", 7_919)] {
        let keys: Vec<String> = (0..1_000_000_u32).map(|i| key(i.wrapping_mul(step) % count)).collect();
        let elapsed = time(&registry, &keys);
        println!("lookup by keys, {what}: {} ns", elapsed.as_nanos() / keys.len() as u128);
    }
    let hot: Vec<String> = (0..1_000_000_u32).map(|i| key(i % 1_000 % count)).collect();
    let elapsed = time(&registry, &hot);
    println!("lookup by keys, a thousand devices: {} ns", elapsed.as_nanos() / hot.len() as u128);
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
    let mut slowest = Duration::ZERO;
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
        slowest = slowest.max(begun.elapsed());
    }
    println!("create {count} devices: {:?}; slowest transaction of {BATCH}: {slowest:?}", start.elapsed());
    Ok(())
}

fn time(registry: &Registry, keys: &[String]) -> Duration {
    let start = Instant::now();
    let found = keys.iter().filter(|key| black_box(registry.device("pk1", key)).is_some()).count();
    assert_eq!(found, keys.len(), "every device is found");
    start.elapsed()
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
