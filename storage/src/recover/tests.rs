//! A log that is longer than memory is replayed within it.

use wattline_env::sim::{FaultPlan, SimDisk, world};
use wattline_format::log::encode_record;
use wattline_model::{
    AssetId, BatchBuilder, Channel, ModelId, PointId, ShardCount, Source, Timestamp, ValueRef,
};

use super::*;
use crate::flush::flush_oldest;
use crate::settings::Driver;

const FILES: u64 = 12;
/// Of one file: they fill a memtable.
const ROWS: u64 = 440;

fn settings() -> Settings {
    Settings {
        shards: 1,
        memtable_bytes: 32 << 10,
        group_bytes: 512,
        frozen_max: 2,
        driver: Driver::Inline,
        ..Settings::default()
    }
}

/// Rows of one record.
fn batch(first_row: u64) -> Batch {
    let mut builder = BatchBuilder::new(ShardCount::new(1).expect("one"), Source::Client);
    for row in first_row..first_row + 20 {
        builder.begin_row(ModelId(1), AssetId((row % 7) as u32), Channel::RealTime);
        (0..4).for_each(|p| assert!(builder.cell(PointId(p), ValueRef::Float(row as f64), None)));
        builder.end_row(Timestamp(1_700_000_000_000_000 + row as i64 * 1_000));
    }
    builder.finish().remove(0)
}

/// A shard whose log has `files` files with `rows` rows each, and nothing in segments.
fn with_log(disk: &SimDisk, files: u64, rows: u64) -> std::path::PathBuf {
    let (world, dir) = (world(disk, 1), Path::new("/store/shard-0000").to_owned());
    let state = State {
        store: 5,
        shard: ShardId(0),
        shards: 1,
        partition_micros: 86_400_000_000,
        flushed: Seqno::ZERO,
        next_segment: 1,
        latest_checkpoint: None,
        segments: Vec::new(),
        tombstones: Vec::new(),
    };
    create(&world, &dir, state).expect("made");
    let disk = Arc::clone(&world.disk);
    let mut log = Log::create(disk, &dir, 5, ShardId(0), Seqno(1), Vec::new()).expect("made");
    let mut seqno = Seqno(1);
    for file in 0..files {
        if file > 0 {
            log.rotate(seqno).expect("rotated");
        }
        for row in (file * rows..(file + 1) * rows).step_by(20) {
            let mut record = Vec::new();
            encode_record(&mut record, seqno, seqno, &batch(row));
            log.append(&record).expect("appended");
            seqno = seqno.next();
        }
    }
    dir
}

fn opened(disk: &SimDisk, dir: &Path) -> Result<Arc<Shard>> {
    open(&world(disk, 1), dir, &settings(), &Arc::default()).map(|(shard, _)| shard)
}

/// Rows in memtables, their memory, and rows in segments.
fn held(shard: &Shard) -> (u64, u64, u64) {
    let status = shard.status();
    let segments = &shard.view().version.segments;
    (status.memtable_rows, status.memtable_bytes, segments.iter().map(|s| s.meta.rows).sum())
}

#[test]
fn a_long_log_is_flushed_while_it_is_replayed() {
    // Many files of about a memtable each; and one that is far larger than a memtable may be.
    for (files, rows) in [(FILES, ROWS), (1, FILES * ROWS)] {
        let disk = SimDisk::new();
        let dir = with_log(&disk, files, rows);
        let shard = opened(&disk, &dir).expect("opens");
        let (in_memory, bytes, in_segments) = held(&shard);
        assert_eq!(in_memory + in_segments, FILES * ROWS);
        assert!(in_segments > in_memory && shard.status().flushes > 3, "{:?}", shard.status());
        // An active memtable and two that are frozen; so small ones grow by half their size at a time.
        let share = 3 * 2 * settings().memtable_bytes as u64;
        assert!(bytes <= share, "{files} files: {bytes} bytes in memtables, their share is {share}");
        // Nothing is lost or double when it is opened once more.
        drop(shard);
        let shard = opened(&disk, &dir).expect("opens");
        while flush_oldest(&shard).expect("flushes") {}
        assert_eq!(held(&shard).2, FILES * ROWS);
    }
}

#[test]
fn a_usual_start_writes_no_segment() {
    let disk = SimDisk::new();
    let dir = with_log(&disk, 3, ROWS);
    let shard = opened(&disk, &dir).expect("opens");
    assert_eq!((held(&shard).2, shard.status().flushes), (0, 0));
    // Nor do many files with hardly anything in them, which a disk without room would refuse.
    let disk = SimDisk::new();
    let dir = with_log(&disk, 9, 20);
    assert_eq!(held(&opened(&disk, &dir).expect("opens")).2, 0);
}

#[test]
fn a_long_log_on_a_full_disk_opens_once_there_is_room() {
    let disk = SimDisk::new();
    let dir = with_log(&disk, FILES, ROWS);
    let plan = FaultPlan { capacity_bytes: Some(disk.used_bytes() + 100), ..FaultPlan::default() };
    disk.set_faults(plan);
    let error = opened(&disk, &dir).map(drop).expect_err("there is no room for segments");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    disk.set_faults(FaultPlan::default());
    let (in_memory, _, in_segments) = held(&opened(&disk, &dir).expect("opens"));
    assert_eq!(in_memory + in_segments, FILES * ROWS);
}
