//! Faults that are not crashes: a sync that fails, a disk that is full, a bit that turns over.

use std::path::PathBuf;

use wattline_env::sim::{FaultPlan, OperationKind, SimChance, SimDisk};
use wattline_model::{AssetId, ShardId, TimeRange, Timestamp};
use wattline_storage::{CheckReport, Driver, ErrorKind, Store, check as check_store};

use crate::support::{
    HOUR, Key, Oracle, Row, Rows, START, Sample, check_latest, for_seeds, open, read, write,
};

fn store() -> (SimDisk, Store) {
    let disk = SimDisk::new();
    let store = open(&disk, Driver::Inline).unwrap();
    (disk, store)
}

/// Rows of assets of one shard.
fn rows_of(shard: ShardId, store: &Store, rows: &mut Rows) -> Vec<Row> {
    loop {
        let mut some = rows.some(30);
        some.retain(|row| store.shards().shard_of(AssetId(row.asset)) == shard);
        if !some.is_empty() {
            return some;
        }
    }
}

fn check(store: &Store, oracle: &Oracle) {
    let found = read(store).unwrap();
    oracle.check(&found).unwrap();
    check_latest(store, &found);
}

/// The folder of the log that a write to this shard goes to.
fn log_folder(
    disk: &SimDisk,
    store: &Store,
    shard: ShardId,
    rows: &mut Rows,
    oracle: &mut Oracle,
) -> PathBuf {
    let before = disk.operations() as usize;
    let first = rows_of(shard, store, rows);
    write(store, &first).unwrap();
    oracle.acknowledge(&first);
    let trace = disk.trace();
    let sync = trace[before..].iter().find(|operation| operation.kind == OperationKind::Sync);
    sync.expect("a write syncs").path.parent().unwrap().to_owned()
}

#[test]
fn promise_1_after_a_failed_sync_the_shard_takes_no_writes_until_reopen() {
    for_seeds("promise_1_after_a_failed_sync", 20, |seed| {
        let (disk, store) = store();
        let (broken, sound) = (ShardId(0), ShardId(1));
        let mut rows = Rows::new(seed);
        let mut oracle = Oracle::default();
        let folder = log_folder(&disk, &store, broken, &mut rows, &mut oracle);
        for _ in 0..rows.below(8) {
            let some = rows.some(30);
            write(&store, &some).unwrap();
            oracle.acknowledge(&some);
        }

        disk.set_faults(FaultPlan {
            fail_sync_at: Some(disk.operations()),
            fail_sync_beneath: Some(folder),
            ..FaultPlan::default()
        });
        let unlucky = rows_of(broken, &store, &mut rows);
        let error = write(&store, &unlucky).unwrap_err();
        oracle.doubt(store.shards(), &unlucky);
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("sync"), "{error}");

        // The medium would say "Ok" again; the shard must not believe it.
        let next = rows_of(broken, &store, &mut rows);
        let error = write(&store, &next).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("reopened"), "{error}");
        oracle.doubt(store.shards(), &next);
        let status = store.status();
        assert!(status[broken.0 as usize].failed.is_some(), "the status tells");
        assert_eq!(status[sound.0 as usize].failed, None);

        // The other shards go on, and everything acknowledged can still be read.
        let other = rows_of(sound, &store, &mut rows);
        write(&store, &other).unwrap();
        oracle.acknowledge(&other);
        check(&store, &oracle);
        for image in [disk.crash(&SimChance::new(seed)), disk.crash_to_durable(), disk.kill()] {
            check(&open(&image, Driver::Inline).unwrap(), &oracle);
        }

        drop(store);
        let store = open(&disk, Driver::Inline).unwrap();
        check(&store, &oracle);
        let after = rows_of(broken, &store, &mut rows);
        write(&store, &after).unwrap();
        oracle.acknowledge(&after);
        check(&store, &oracle);
        check(&open(&disk.crash_to_durable(), Driver::Inline).unwrap(), &oracle);
    });
}

#[test]
fn promise_9_a_failed_sync_of_any_file_loses_nothing_acknowledged() {
    // Flushes and merges sync too. Whatever fails there, what was acknowledged stays readable, now and after.
    let undisturbed = SimDisk::new();
    let operations = write_all_along(&undisturbed, &mut Oracle::default(), 25);
    let syncs = undisturbed.trace().into_iter().enumerate();
    let syncs = syncs.filter(|(_, o)| {
        matches!(o.kind, OperationKind::Sync | OperationKind::SyncDir | OperationKind::Truncate)
    });
    let syncs: Vec<u64> = syncs.map(|(number, _)| number as u64).collect();
    assert!(syncs.len() > 50 && operations > 100, "{} syncs of {operations} operations", syncs.len());
    for sync in syncs {
        let disk = SimDisk::new();
        disk.set_faults(FaultPlan { fail_sync_at: Some(sync), ..FaultPlan::default() });
        let mut oracle = Oracle::default();
        write_all_along(&disk, &mut oracle, 25);
        for image in [disk.crash(&SimChance::new(sync)), disk.crash_to_durable(), disk.kill()] {
            let what = format!("sync {sync}: {:?}", disk.trace()[sync as usize]);
            let store = open(&image, Driver::Inline).unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = read(&store).unwrap_or_else(|error| panic!("{what}: {error}"));
            oracle.check(&found).unwrap_or_else(|error| panic!("{what}: {error}"));
            check_latest(&store, &found);
        }
    }
}

#[test]
fn promise_9_what_a_failed_sync_left_in_the_cache_is_not_relied_upon() {
    // After a failed sync the system still reads the bytes from its cache, and later syncs say `Ok` without them
    // being on the medium. A restart that believes what it reads, and a power failure after that, must not meet.
    let (disk, store) = store();
    let mut rows = Rows::new(9);
    let mut oracle = Oracle::default();
    let shard = ShardId(0);
    let folder = log_folder(&disk, &store, shard, &mut rows, &mut oracle);
    let plan = FaultPlan { fail_sync_at: Some(0), fail_sync_beneath: Some(folder), ..FaultPlan::default() };
    disk.set_faults(plan);
    let unlucky = rows_of(shard, &store, &mut rows);
    write(&store, &unlucky).unwrap_err();
    oracle.doubt(store.shards(), &unlucky);
    drop(store);

    let probe = disk.kill();
    drop(open(&probe, Driver::Inline).unwrap());
    for cut in 0..=probe.operations() {
        let restarted = disk.kill();
        restarted.set_faults(FaultPlan::crash_after(cut));
        drop(open(&restarted, Driver::Inline));
        for image in [restarted.crash_to_durable(), restarted.crash(&SimChance::new(cut))] {
            let store =
                open(&image, Driver::Inline).unwrap_or_else(|error| panic!("cut after {cut}: {error}"));
            check(&store, &oracle);
        }
    }
}

/// Writes, whether or not that works, and returns the operations it took.
fn write_all_along(disk: &SimDisk, oracle: &mut Oracle, writes: usize) -> u64 {
    let mut rows = Rows::new(5);
    if let Ok(store) = open(disk, Driver::Inline) {
        for _ in 0..writes {
            let some = rows.some(40);
            match write(&store, &some) {
                Ok(()) => oracle.acknowledge(&some),
                Err(_) => oracle.doubt(store.shards(), &some),
            }
        }
        let found = read(&store).unwrap();
        oracle.check(&found).unwrap();
    }
    disk.operations()
}

#[test]
fn promise_9_a_full_disk_is_said_and_writing_resumes_when_there_is_room() {
    // The disk fills up at any byte: in the log, in a segment, in a checkpoint, in the manifest.
    for_seeds("promise_9_a_full_disk", 40, |seed| {
        let (disk, store) = store();
        let mut rows = Rows::new(seed);
        let mut oracle = Oracle::default();
        for _ in 0..rows.below(10) {
            let some = rows.some(40);
            write(&store, &some).unwrap();
            oracle.acknowledge(&some);
        }
        let room = rows.below(30_000);
        disk.set_faults(FaultPlan { capacity_bytes: Some(disk.used_bytes() + room), ..FaultPlan::default() });
        let mut refused = 0;
        for _ in 0..200 {
            let some = rows.some(40);
            match write(&store, &some) {
                Ok(()) => oracle.acknowledge(&some),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                    assert!(error.to_string().contains("full"), "{error}");
                    oracle.doubt(store.shards(), &some);
                    refused += 1;
                    if refused == 5 {
                        break;
                    }
                }
            }
        }
        assert_eq!(refused, 5, "the disk never filled up");
        check(&store, &oracle);
        for image in [disk.crash(&SimChance::new(seed)), disk.kill()] {
            image.set_faults(FaultPlan::default());
            check(&open(&image, Driver::Inline).unwrap(), &oracle);
        }

        disk.set_faults(FaultPlan::default());
        for _ in 0..5 {
            let some = rows.some(40);
            write(&store, &some).unwrap_or_else(|error| panic!("there is room again, but: {error}"));
            oracle.acknowledge(&some);
        }
        store.flush().unwrap();
        check(&store, &oracle);
        assert!(store.status().iter().all(|shard| shard.failed.is_none()), "{:?}", store.status());
        check(&open(&disk.crash_to_durable(), Driver::Inline).unwrap(), &oracle);
    });
}

/// What a check of the store on `disk` says.
fn checked(disk: &SimDisk) -> CheckReport {
    let world = wattline_env::sim::world(disk, 7);
    check_store(crate::support::dir(), &world, &mut |_| true).unwrap()
}

#[test]
fn promise_8_a_turned_bit_is_named_and_never_served() {
    let (disk, store) = store();
    let mut rows = Rows::new(3);
    let mut oracle = Oracle::default();
    let mut ever: Vec<(Key, Sample)> = Vec::new();
    for _ in 0..50 {
        let some = rows.some(60);
        write(&store, &some).unwrap();
        oracle.acknowledge(&some);
        ever.extend(some.iter().flat_map(Row::samples));
    }
    store.close().unwrap();
    drop(store);
    let sound = read(&open(&disk.kill(), Driver::Inline).unwrap()).unwrap();
    oracle.check(&sound).unwrap();
    let report = checked(&disk.kill());
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(report.samples > 0 && report.records > 0 && report.segments > 3, "{report:?}");

    let mut noticed = 0;
    let mut tried = 0;
    let chance = SimChance::new(11);
    let names = disk.files();
    for path in &names {
        let bytes = wattline_env::Disk::len(&disk, path).unwrap();
        for _ in 0..bytes.min(16) {
            let image = disk.kill();
            let (byte, bit) =
                (wattline_env::sim::below(&chance, bytes), wattline_env::sim::below(&chance, 8));
            image.flip_bit(path, byte, bit as u8).unwrap();
            tried += 1;
            let what = format!("bit {bit} of byte {byte} of {} in {}", bytes, path.display());
            let report = checked(&image.kill());
            let outcome = open(&image, Driver::Inline).and_then(|store| read(&store));
            let name = path.file_name().unwrap().to_str().unwrap();
            match outcome {
                Err(error) => {
                    noticed += 1;
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
                    assert!(report.is_damaged(), "{what}: {error}; the check finds {:?}", report.findings);
                    // An edit that was turned at the end of the manifest looks torn; what it listed is missed then.
                    let named = if name.starts_with("manifest-") { "manifest" } else { name };
                    let missed = name.starts_with("manifest-") && error.to_string().contains("are missing");
                    assert!(
                        missed || error.to_string().contains(named),
                        "{what}: {error} does not name the file"
                    );
                }
                // The end of the newest log file looks like a torn write, which nobody was told was durable; it is
                // cut off. Everything else is either found out or did not matter.
                Ok(found) if name.starts_with("log-") => {
                    let written = |sample: (&Key, &Sample)| ever.iter().any(|e| (&e.0, &e.1) == sample);
                    assert!(found == sound || found.iter().all(written), "{what}: invented");
                }
                Ok(found) => assert!(found == sound, "{what}: other samples are served"),
            }
        }
    }
    assert!(noticed * 3 > tried, "{noticed} of {tried} turned bits were noticed");
}

#[test]
fn promise_9_latest_values_come_back_from_history_where_their_checkpoint_is_damaged() {
    for_seeds("latest_values_come_back_from_history", 6, |seed| {
        let (disk, store) = store();
        let mut rows = Rows::new(seed);
        let mut oracle = Oracle::default();
        for _ in 0..40 {
            let some = rows.some(60);
            write(&store, &some).unwrap();
            oracle.acknowledge(&some);
        }
        store.close().unwrap();
        drop(store);
        let files = disk.files();
        let checkpoints: Vec<_> = files.iter().filter(|path| is_named(path, "latest-")).collect();
        assert_eq!(checkpoints.len(), 2, "one a shard");
        disk.flip_bit(checkpoints[0], 50, 3).unwrap();
        wattline_env::Disk::remove(&disk, checkpoints[1]).unwrap();
        assert!(checked(&disk.kill()).is_damaged());

        let store = open(&disk, Driver::Inline).unwrap();
        let found = read(&store).unwrap();
        oracle.check(&found).unwrap();
        oracle.check_latest(&store, &found);
        // The next flush writes sound ones.
        let some = rows.some(60);
        write(&store, &some).unwrap();
        oracle.acknowledge(&some);
        store.flush().unwrap();
        store.close().unwrap();
        drop(store);
        let store = open(&disk.kill(), Driver::Inline).unwrap();
        let found = read(&store).unwrap();
        oracle.check_latest(&store, &found);
    });
}

#[test]
fn promise_9_a_log_file_whose_start_failed_is_passed_over() {
    // A full disk may leave the beginning of a header, or nothing; writing went on in the file before.
    for stub in [0, 17] {
        let (disk, store) = store();
        let mut rows = Rows::new(6);
        let mut oracle = Oracle::default();
        for _ in 0..6 {
            let some = rows_of(ShardId(0), &store, &mut rows);
            write(&store, &some).unwrap();
            oracle.acknowledge(&some);
        }
        drop(store);
        let image = disk.kill();
        let logs: Vec<PathBuf> = image.files().into_iter().filter(|path| is_named(path, "log-")).collect();
        let header = wattline_env::Disk::read(&image, &logs[0]).unwrap();
        let path = logs[0].with_file_name("log-00000000000000000003.wll");
        let mut file = wattline_env::Disk::create(&image, &path).unwrap();
        file.write_all(&header[..stub]).unwrap();
        file.sync().unwrap();
        let later = open(&image, Driver::Inline).map(|store| (read(&store).unwrap(), store)).unwrap().0;
        oracle.check(&later).unwrap();
        assert!(!image.files().contains(&path), "it is cleared away");
        // With a later file of the log behind it, too.
        let mut file = wattline_env::Disk::create(&image, &path).unwrap();
        file.write_all(&header[..stub]).unwrap();
        file.sync().unwrap();
        let report = checked(&image.kill());
        assert!(!report.is_damaged() && !report.findings.is_empty(), "{:?}", report.findings);
        check(&open(&image, Driver::Inline).unwrap(), &oracle);
    }
}

#[test]
fn promise_8_a_damaged_segment_is_fenced_and_the_rest_serves_on() {
    for_seeds("promise_8_a_damaged_segment", 12, |seed| {
        let (disk, store) = store();
        let mut rows = Rows::new(seed);
        let mut oracle = Oracle::default();
        // Some hours of the first days, then a day far from them.
        for _ in 0..30 {
            let some = rows.some(60);
            write(&store, &some).unwrap();
            oracle.acknowledge(&some);
        }
        store.flush().unwrap();
        let far = START + 100 * 24 * HOUR;
        let mut later = rows.some(60);
        later.iter_mut().for_each(|row| row.time += 100 * 24 * HOUR);
        write(&store, &later).unwrap();
        oracle.acknowledge(&later);
        store.close().unwrap();
        drop(store);

        let segments: Vec<PathBuf> = disk.files().into_iter().filter(|p| is_named(p, "segment-")).collect();
        let path = &segments[rows.below(segments.len() as u64) as usize];
        let bytes = wattline_env::Disk::len(&disk, path).unwrap();
        if rows.below(2) == 0 {
            // The footer: the file cannot be opened.
            disk.flip_bit(path, bytes - 1 - rows.below(70), 3).unwrap();
        } else {
            wattline_env::Disk::remove(&disk, path).unwrap();
        }
        let store = open(&disk, Driver::Inline).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let damaged: Vec<_> =
            store.snapshot().segments().into_iter().filter(|s| s.damage.is_some()).collect();
        assert_eq!(damaged.len(), 1, "the status tells");
        assert_eq!(damaged[0].file, name);
        assert_eq!(store.status().iter().map(|s| s.damaged).sum::<u64>(), 1);

        // What needs it fails and says why, what does not is served, and writing goes on.
        let error = read(&store).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.to_string().contains(name), "{error}");
        let sound = TimeRange::new(Timestamp(far - 10 * 24 * HOUR), Timestamp(far + 10 * 24 * HOUR));
        assert!(damaged[0].partition_end <= sound.start);
        let found: usize = (1..=crate::support::MODELS)
            .flat_map(|model| {
                let request = crate::support::everything(wattline_model::ModelId(model));
                store.scan(&wattline_storage::ScanRequest { range: sound, ..request })
            })
            .flatten()
            .map(|batch| batch.unwrap().times.len())
            .sum();
        let distinct: std::collections::BTreeSet<(u32, i64)> =
            later.iter().map(|row| (row.asset, row.time)).collect();
        assert_eq!(found, distinct.len());
        for _ in 0..20 {
            write(&store, &rows.some(60)).unwrap();
        }
        store.flush().unwrap();
        store.compact().unwrap();
        let after: Vec<_> = store.snapshot().segments().into_iter().filter(|s| s.damage.is_some()).collect();
        assert_eq!(after.len(), 1, "it is neither merged nor forgotten");
        assert_eq!(after[0].file, name);
        drop(store);
        assert_eq!(open(&disk, Driver::Inline).unwrap().status().iter().map(|s| s.damaged).sum::<u64>(), 1);
    });
}

#[test]
fn promise_8_a_missing_file_is_named_and_nothing_is_begun_anew() {
    let (disk, store) = store();
    let mut rows = Rows::new(4);
    for _ in 0..40 {
        write(&store, &rows.some(60)).unwrap();
    }
    store.close().unwrap();
    drop(store);
    let sound = read(&open(&disk.kill(), Driver::Inline).unwrap()).unwrap();

    let files = disk.files();
    for (i, path) in files.iter().enumerate() {
        // Nothing on disk refers to the newest log file of a shard: without it the shard ends where it began.
        let next_is_log = files.get(i + 1).is_some_and(|next| is_named(next, "log-"));
        if is_named(path, "log-") && !next_is_log {
            continue;
        }
        let image = disk.kill();
        wattline_env::Disk::remove(&image, path).unwrap();
        let left = image.files();
        match open(&image, Driver::Inline).and_then(|store| read(&store)) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "without {}: {error}", path.display());
                let folder = path.parent().unwrap().to_str().unwrap();
                let named = if is_named(path, "manifest-") { "manifest" } else { folder };
                assert!(error.to_string().contains(named), "without {}: {error}", path.display());
                if is_named(path, "segment-") {
                    continue; // The store works on without it, and so changes its files.
                }
                let lost = left.iter().filter(|p| !image.files().contains(p) && !is_named(p, "manifest-"));
                assert_eq!(
                    lost.collect::<Vec<_>>(),
                    Vec::<&PathBuf>::new(),
                    "removed without {}",
                    path.display()
                );
            }
            // Of the lock and of an empty log file nothing is missed.
            Ok(found) => assert!(found == sound, "without {} other samples are served", path.display()),
        }
    }
}

fn is_named(path: &std::path::Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}
