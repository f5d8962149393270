//! A data directory as the first format version left it: three days of four assets, flushed, merged in part, with a
//! tail in the log. It opens, says what was written then, and goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wattline_env::World;
use wattline_env::sim::{SimDisk, world};
use wattline_model::{
    AssetId, BatchBuilder, Channel, Deletion, DeletionTarget, Kind, ModelId, PointId, Quality, Source,
    TimeRange, Timestamp, ValueRef,
};
use wattline_storage::{Driver, ScanRequest, Settings, Store, check};

use crate::support::{Bits, Sample, cells};

const KINDS: [Kind; 5] = [Kind::Float, Kind::Int, Kind::Bool, Kind::Text, Kind::Float];

type History = BTreeMap<(u32, u32, i64), Sample>;

/// What was written, as the program that made the directory wrote it; the later write of a sample wins.
fn written() -> History {
    let mut history = History::new();
    let mut n = 0_u32;
    for round in 0..6_i64 {
        for i in 0..60_i64 {
            for asset in 1..5_u32 {
                n += 1;
                let time = 1_735_689_600_000_000
                    + round * 36_000_000_000
                    + i * 600_000_000 * (1 + i64::from(asset % 2));
                let mut put = |point: u32, value: ValueRef<'_>, quality: u8| {
                    history.insert((asset, point, time), Sample { value: Bits::of(value), quality });
                };
                put(0, ValueRef::Float(f64::from(n % 701) / 10.0), 0);
                if !n.is_multiple_of(3) {
                    put(1, ValueRef::Int(i64::from(n) * 7 - 400), (n % 10) as u8);
                }
                if n.is_multiple_of(5) {
                    put(2, ValueRef::Bool(n.is_multiple_of(2)), 0);
                }
                if n.is_multiple_of(7) {
                    put(3, ValueRef::Text(["running", "größe", "", "fault"][n as usize % 4]), 0);
                }
                if n.is_multiple_of(11) {
                    let odd = [f64::NAN, -0.0, f64::INFINITY, 5.827000141143799];
                    put(4, ValueRef::Float(odd[n as usize % 4]), 0);
                }
            }
        }
    }
    history
}

/// The directory on a simulated disk.
fn kept() -> SimDisk {
    let disk = SimDisk::new();
    let from = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/store/v1"));
    let real = World::real();
    for shard in ["shard-0000", "shard-0001"] {
        let to = Path::new("/kept").join(shard);
        wattline_env::Disk::create_dir_all(&disk, &to).unwrap();
        for name in real.disk.list(&from.join(shard)).unwrap() {
            let mut file = wattline_env::Disk::create(&disk, &to.join(&name)).unwrap();
            file.write_all(&real.disk.read(&from.join(shard).join(&name)).unwrap()).unwrap();
            file.sync().unwrap();
        }
        wattline_env::Disk::sync_dir(&disk, &to).unwrap();
    }
    disk
}

fn open(disk: &SimDisk) -> Store {
    let settings = Settings { merge_fanout: 2, driver: Driver::Inline, ..Settings::default() };
    Store::open(Path::new("/kept"), settings, world(disk, 7)).unwrap()
}

fn read(store: &Store) -> History {
    let mut history = History::new();
    for model in [ModelId(1), ModelId(2)] {
        let request = ScanRequest {
            model,
            points: (0..5).map(|p| (PointId(p), KINDS[p as usize])).collect(),
            assets: None,
            range: TimeRange::ALL,
            every_row: true,
            batch_rows: 100,
        };
        for batch in store.scan(&request).into_iter().flatten() {
            let batch = batch.unwrap();
            for (i, (asset, time)) in batch.assets.iter().zip(&batch.times).enumerate() {
                for (point, sample) in cells(&batch, &request, i) {
                    assert_eq!(history.insert((asset.0, point, *time), sample), None);
                }
            }
        }
    }
    history
}

#[test]
fn a_data_directory_of_the_first_format_version_is_read_and_goes_on() {
    let disk = kept();
    let report = check(Path::new("/kept"), &world(&disk, 7), &mut |_| true).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(report.records > 0 && report.segments == 8, "segments, and a tail in the log: {report:?}");
    let levels = |store: &Store| store.snapshot().segments().iter().map(|s| s.level).max();
    let mut history = written();
    let store = open(&disk);
    assert_eq!(levels(&store), Some(2), "merged segments are among them");
    assert!(read(&store) == history);
    let latest = store.latest(ModelId(2), AssetId(3), &[PointId(0)]);
    let newest = history.range((3, 0, i64::MIN)..(3, 1, i64::MIN)).next_back().unwrap();
    let found = latest[0].as_ref().map(|l| (l.time.0, Bits::of(l.value.as_ref())));
    assert_eq!(found, Some((newest.0.2, newest.1.value.clone())));

    // New data beside it, a deletion, a merge of old and new files: all in today's format.
    let mut builder = BatchBuilder::new(store.shards(), Source::Client);
    for asset in 1..5_u32 {
        let time = 1_735_689_600_000_000 + i64::from(asset);
        builder.begin_row(ModelId(1 + asset % 2), AssetId(asset), Channel::RealTime);
        assert!(builder.cell(PointId(1), ValueRef::Int(-1), Quality::new(4)));
        builder.end_row(Timestamp(time));
        history.insert((asset, 1, time), Sample { value: Bits::Int(-1), quality: 4 });
    }
    store.write_blocking(builder.finish()).unwrap();
    let deletion = Deletion {
        target: DeletionTarget::History,
        model: ModelId(1),
        points: Some(vec![PointId(0)]),
        assets: Some(vec![AssetId(2)]),
        range: TimeRange::ALL,
    };
    store.delete_blocking(&deletion).unwrap();
    history.retain(|&(asset, point, _), _| (asset, point) != (2, 0));
    assert!(read(&store) == history);
    store.flush().unwrap();
    store.compact().unwrap();
    assert!(read(&store) == history);
    assert!(store.pending_deletions().is_empty());
    store.close().unwrap();
    drop(store);
    assert!(read(&open(&disk)) == history);
    let report = check(Path::new("/kept"), &world(&disk, 7), &mut |_| true).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
