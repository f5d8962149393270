//! Backups of a store that goes on, and what comes back from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use wattline_env::Disk;
use wattline_env::sim::{FaultPlan, SimChance, SimDisk, below, world};
use wattline_model::DeletionTarget;
use wattline_storage::{
    BackupSummary, Driver, Error, ErrorKind, Folder, PutBeside, Store, Until, backups, check as check_store,
    prune_backups, restore,
};

use crate::support::{History, Rows, delete_from, for_seeds, open, read, small, some_deletion, write};

/// The repository on a disk.
fn repository(disk: &SimDisk) -> Folder {
    Folder::new(Arc::new(disk.clone()), "/backups")
}

const REGISTRY: &[u8] = b"who exists";

/// Takes a backup, with a registry beside it.
fn back_up(store: &Store, disk: &SimDisk, name: &str) -> Result<BackupSummary, Error> {
    let mut beside = |put: PutBeside<'_>| put("registry.db", Bytes::from_static(REGISTRY));
    store.backup(&repository(disk), name, &mut beside, &mut |_| true)
}

/// Restores a backup into a folder of its own and opens it.
fn restored(disk: &SimDisk, name: &str, into: &str) -> Result<Store, Error> {
    let (dir, beside) = (Path::new(into).join("store"), PathBuf::from(into));
    restore(&repository(disk), name, Until::Newest, &dir, &beside, &world(disk, 7), &mut |_| true)?;
    assert_eq!(disk.read(&beside.join("registry.db")).unwrap(), REGISTRY);
    let report = check_store(&dir, &world(disk, 7), &mut |_| true).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    Store::open(&dir, small(Driver::Inline), world(disk, 7))
}

/// Some work on a store and its history.
pub(crate) fn work(store: &Store, rows: &mut Rows, history: &mut History, steps: u64) {
    for _ in 0..steps {
        match rows.below(12) {
            0 => {
                let deletion = some_deletion(rows, DeletionTarget::History);
                store.delete_blocking(&deletion).unwrap();
                delete_from(history, &deletion);
            }
            1 => store.flush().unwrap(),
            _ => {
                let some = rows.some(30);
                write(store, &some).unwrap();
                history.extend(some.iter().flat_map(|row| row.samples().collect::<Vec<_>>()));
            }
        }
    }
}

#[test]
fn a_backup_brings_back_its_moment_and_costs_what_is_new() {
    for_seeds("a_backup_brings_back", 6, |seed| {
        let disk = SimDisk::new();
        let store = open(&disk, Driver::Inline).unwrap();
        let mut rows = Rows::new(seed);
        let mut history = History::new();
        let mut moments: Vec<(String, History)> = Vec::new();
        for i in 0..4 {
            work(&store, &mut rows, &mut history, 25);
            let name = format!("moment-{i}");
            let summary = back_up(&store, &disk, &name).unwrap();
            assert!(summary.segments_copied <= summary.segments);
            moments.push((name, history.clone()));
        }
        // Nothing changed: only manifest, log and latest values are copied.
        store.flush().unwrap();
        back_up(&store, &disk, "moment-8").unwrap();
        let again = back_up(&store, &disk, "moment-9").unwrap();
        assert_eq!((again.segments_copied, again.segments > 0), (0, true), "{again:?}");
        assert_eq!(
            back_up(&store, &disk, "moment-9").unwrap_err().kind(),
            ErrorKind::Input,
            "the name is taken"
        );
        work(&store, &mut rows, &mut history, 10);

        let listed = backups(&repository(&disk)).unwrap();
        assert_eq!(listed.len(), 6);
        for (name, then) in &moments {
            let other = restored(&disk, name, &format!("/restored-{name}")).unwrap();
            assert_eq!(read(&other).unwrap(), *then, "{name}");
            // It is a store like any other.
            let mut then = then.clone();
            work(&other, &mut rows, &mut then, 10);
            other.flush().unwrap();
            assert_eq!(read(&other).unwrap(), then, "{name}, gone on");
        }
        assert_eq!(read(&store).unwrap(), history, "the store itself is not touched");

        // The oldest go; what the others need stays.
        let gone = prune_backups(&repository(&disk), 3).unwrap();
        assert_eq!(gone, ["moment-0", "moment-1", "moment-2"]);
        let error = restored(&disk, "moment-0", "/gone").map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{error}");
        let other = restored(&disk, "moment-3", "/kept").unwrap();
        assert_eq!(read(&other).unwrap(), moments[3].1);
    });
}

#[test]
fn an_interrupted_backup_or_restore_leaves_everything_before_it_whole() {
    let disk = SimDisk::new();
    let store = open(&disk, Driver::Inline).unwrap();
    let (mut rows, mut history) = (Rows::new(3), History::new());
    work(&store, &mut rows, &mut history, 30);
    back_up(&store, &disk, "first").unwrap();
    let then = history.clone();
    work(&store, &mut rows, &mut history, 30);
    store.close().unwrap();
    drop(store);

    let probe = disk.kill();
    let store = open(&probe, Driver::Inline).unwrap();
    let before = probe.operations();
    back_up(&store, &probe, "second").unwrap();
    let taking = probe.operations() - before;
    let before = probe.operations();
    restore(
        &repository(&probe),
        "second",
        Until::Newest,
        Path::new("/r/store"),
        Path::new("/r"),
        &world(&probe, 7),
        &mut |_| true,
    )
    .unwrap();
    let restoring = probe.operations() - before;
    assert!(taking > 40 && restoring > 40, "{taking} and {restoring} operations");

    for cut in (0..taking).step_by(3) {
        let disk = disk.kill();
        let store = open(&disk, Driver::Inline).unwrap();
        disk.set_faults(FaultPlan::crash_after(disk.operations() + cut));
        let outcome = back_up(&store, &disk, "second");
        drop(store);
        let image = disk.crash(&SimChance::new(cut));
        let complete = backups(&repository(&image)).unwrap();
        assert!(outcome.is_err() || complete.len() == 2, "cut {cut}: acknowledged and not there");
        for (info, expected) in complete.iter().zip([&then, &history]) {
            let other = restored(&image, &info.name, &format!("/restored-{}", info.name)).unwrap();
            assert_eq!(read(&other).unwrap(), *expected, "cut {cut}, {}", info.name);
        }
        // Taken again under the same name, it is whole.
        if complete.len() == 1 {
            let store = open(&image, Driver::Inline).unwrap();
            back_up(&store, &image, "second").unwrap();
            let other = restored(&image, "second", "/restored-again").unwrap();
            assert_eq!(read(&other).unwrap(), history, "cut {cut}, again");
        }
    }

    for cut in (0..restoring).step_by(5) {
        let disk = probe.kill();
        disk.set_faults(FaultPlan::crash_after(disk.operations() + cut));
        let again = |disk: &SimDisk| {
            let (store, beside) = (Path::new("/new/store"), Path::new("/new"));
            restore(&repository(disk), "second", Until::Newest, store, beside, &world(disk, 7), &mut |_| true)
        };
        let outcome = again(&disk);
        let image = disk.crash(&SimChance::new(cut));
        match again(&image) {
            Ok(_) => assert!(outcome.is_err(), "cut {cut}: restored and not there"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Input, "cut {cut}: {error}"),
        }
        let store = Store::open(Path::new("/new/store"), small(Driver::Inline), world(&image, 7)).unwrap();
        assert_eq!(read(&store).unwrap(), history, "cut {cut}");
    }
}

#[test]
fn promise_8_a_turned_bit_in_a_backup_is_named_and_not_restored() {
    let disk = SimDisk::new();
    let store = open(&disk, Driver::Inline).unwrap();
    let (mut rows, mut history) = (Rows::new(8), History::new());
    work(&store, &mut rows, &mut history, 60);
    store.flush().unwrap();
    back_up(&store, &disk, "only").unwrap();
    let files: Vec<PathBuf> = disk.files().into_iter().filter(|path| path.starts_with("/backups")).collect();
    assert!(files.len() > 10, "{files:?}");
    let chance = SimChance::new(5);
    for path in &files {
        for _ in 0..4 {
            let image = disk.kill();
            let bytes = image.len(path).unwrap();
            image.flip_bit(path, below(&chance, bytes), below(&chance, 8) as u8).unwrap();
            match restored(&image, "only", "/r") {
                Ok(_) => panic!("{} was changed, and restored", path.display()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                    let name = path.file_name().unwrap().to_str().unwrap();
                    assert!(error.to_string().contains(name), "{error} does not name {name}");
                }
            }
        }
    }
}
