//! Journals when things go wrong: places that fail, losses of power, turned bits, restores and prunings cut short.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use wattline_env::sim::{FaultPlan, SimChance, SimDisk, below};
use wattline_env::{Disk, World};
use wattline_storage::{
    Driver, ErrorKind, Folder, Settings, Store, Until, Vault, backups, prune_backups, restore,
};

use crate::journal::{Site, journal_files, restored};
use crate::support::{History, for_seeds, read, small};

/// A place that fails, before or after it has done what it was asked.
struct Flaky {
    folder: Folder,
    chance: SimChance,
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.folder.fmt(f)
    }
}

impl Vault for Flaky {
    fn put(&self, name: &str, bytes: &Bytes) -> io::Result<()> {
        let fate = below(&self.chance, 4);
        if fate > 0 {
            self.folder.put(name, bytes)?;
        }
        if fate < 2 { Err(io::Error::other("the line is bad")) } else { Ok(()) }
    }

    fn get(&self, name: &str) -> io::Result<Bytes> {
        self.folder.get(name)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.folder.len(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.folder.list(folder)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
}

#[test]
fn a_shipment_that_fails_is_tried_again_and_what_is_listed_is_always_whole() {
    for_seeds("a_shipment_that_fails", 4, |seed| {
        let mut site = Site::simulated(&SimDisk::new(), seed);
        site.work(10);
        let journal = site.begin("base");
        let flaky = Flaky { folder: site.repository(), chance: SimChance::new(seed + 1) };
        let mut failed = 0;
        for _ in 0..15 {
            site.step(&journal);
            let shipped = journal.ship(&flaky, &mut site.beside());
            failed += u64::from(shipped.is_err());
            // At any time it reaches to a moment there was, and not beyond what was marked.
            let (store, summary, _) = site.restore("base", Until::Newest).unwrap();
            if let Some(mark) = summary.mark_micros {
                let moment = site.moments.iter().rfind(|m| m.micros <= mark);
                let expected = moment.map(|m| m.history.clone());
                assert!(expected.is_none_or(|history| read(&store).unwrap() == history), "at {mark}");
            }
            if let Ok(shipped) = shipped {
                assert!(shipped.is_some() && summary.mark_micros == shipped.map(|s| s.until_micros));
            }
        }
        assert!(failed > 3, "{failed} shipments failed");
        journal.finish(&site.repository(), &mut site.beside()).unwrap().unwrap();
        let moments = site.moments.clone();
        site.check_moments("base", &moments);
        let (store, _, _) = site.restore("base", Until::Newest).unwrap();
        assert_eq!(read(&store).unwrap(), site.history);
    });
}

#[test]
fn a_loss_of_power_while_shipping_leaves_what_was_shipped_before() {
    // Lives the same life up to a shipment, with the power failing after `cut` operations of it.
    let live = |cut: Option<u64>| {
        let disk = SimDisk::new();
        let mut site = Site::simulated(&disk, 21);
        site.work(15);
        let journal = site.begin("base");
        (0..4).for_each(|_| site.step(&journal));
        let before = site.ship(&journal).unwrap().unwrap();
        (0..4).for_each(|_| site.step(&journal));
        let begun = disk.operations();
        if let Some(cut) = cut {
            disk.set_faults(FaultPlan::crash_after(begun + cut));
        }
        let shipped = site.ship(&journal);
        let operations = disk.operations() - begun;
        let moments = std::mem::take(&mut site.moments);
        drop((journal, site));
        (disk, before, shipped, operations, moments)
    };
    let (_, _, shipped, operations, _) = live(None);
    assert!(shipped.unwrap().unwrap().files > 2 && operations > 15, "{operations} operations");
    for cut in 0..=operations {
        let (disk, before, shipped, _, moments) = live(Some(cut));
        let image = disk.crash(&SimChance::new(cut));
        let mut site = Site::simulated(&image, 1);
        let reach = backups(&site.repository()).unwrap()[0].reaches_micros.unwrap();
        let shipped = shipped.ok().flatten().unwrap_or(before);
        assert!(reach >= shipped.until_micros, "cut {cut}: {reach}, acknowledged was {shipped:?}");
        let (store, summary, _) = site.restore("base", Until::Newest).unwrap();
        assert_eq!(summary.mark_micros, Some(reach), "cut {cut}");
        let moment = moments.iter().rfind(|m| m.micros <= reach).unwrap();
        assert_eq!(read(&store).unwrap(), moment.history, "cut {cut}");
        // The next start goes on with a backup of its own.
        site.history = read(&site.store).unwrap();
        let journal = site.begin("next");
        site.step(&journal);
        site.ship(&journal).unwrap().unwrap();
        let (store, _, _) = site.restore("next", Until::Newest).unwrap();
        assert_eq!(read(&store).unwrap(), site.history, "cut {cut}");
    }
}

#[test]
fn promise_8_a_turned_bit_or_a_lost_file_of_a_journal_is_named() {
    let disk = SimDisk::new();
    let mut site = Site::simulated(&disk, 8);
    site.work(10);
    let journal = site.begin("base");
    for _ in 0..4 {
        site.step(&journal);
        site.ship(&journal).unwrap().unwrap();
    }
    drop(journal);
    let files: Vec<PathBuf> =
        disk.files().into_iter().filter(|path| path.starts_with("/backups/journals")).collect();
    assert!(files.len() > 12, "{files:?}");
    let chance = SimChance::new(5);
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        for turn in 0..5 {
            let image = disk.kill();
            if turn == 0 {
                image.remove(path).unwrap();
            } else {
                image
                    .flip_bit(path, below(&chance, image.len(path).unwrap()), below(&chance, 8) as u8)
                    .unwrap();
            }
            let world = World { disk: Arc::new(image.clone()), ..site.world.clone() };
            let from = Folder::new(Arc::new(image.clone()), "/backups");
            let is_last_list = turn == 0 && path == Path::new("/backups/journals/base/00000004.txt");
            let is_old_registry = name.ends_with("registry.db") && !name.starts_with("00000004");
            match restored(&from, &world, "base", Until::Newest, Path::new("/r")) {
                // Without its list a shipment never was; of files beside, only the newest counts.
                Ok(_) => {
                    assert!(is_last_list || is_old_registry, "{} was changed, and restored", path.display())
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                    assert!(error.to_string().contains(name), "{error} does not name {name}");
                }
            }
            // What came before the damage comes back.
            if name.starts_with("00000004") {
                let moment = &site.moments[2];
                let until = Until::Time(moment.micros);
                let (store, _, _) = restored(&from, &world, "base", until, Path::new("/r2")).unwrap();
                assert_eq!(read(&store).unwrap(), moment.history);
                assert!(backups(&from).unwrap()[0].reaches_micros >= Some(moment.micros));
            }
        }
    }
}

#[test]
fn pruning_that_was_interrupted_is_gone_on_with() {
    let disk = SimDisk::new();
    let mut site = Site::simulated(&disk, 31);
    for name in ["first", "second"] {
        let journal = site.begin(name);
        for _ in 0..2 {
            site.step(&journal);
            site.ship(&journal).unwrap().unwrap();
        }
    }
    let probe = disk.kill();
    let before = probe.operations();
    prune_backups(&Folder::new(Arc::new(probe.clone()), "/backups"), 1).unwrap();
    let operations = probe.operations() - before;
    assert!(operations > 10, "{operations} operations");
    for cut in 0..operations {
        let disk = disk.kill();
        disk.set_faults(FaultPlan::crash_after(disk.operations() + cut));
        prune_backups(&Folder::new(Arc::new(disk.clone()), "/backups"), 1).unwrap_err();
        let image = disk.kill();
        let from = Folder::new(Arc::new(image.clone()), "/backups");
        for info in backups(&from).unwrap().iter().filter(|info| info.name == "first") {
            // Half gone, it is a shorter journal, or says what is missing; it never brings back something else.
            let world = World { disk: Arc::new(image.clone()), ..site.world.clone() };
            match restored(&from, &world, &info.name, Until::Newest, Path::new("/r")) {
                Ok((store, summary, _)) => {
                    let moment = site.moments[..2].iter().rfind(|m| Some(m.micros) <= summary.mark_micros);
                    let expected = moment.map_or_else(History::new, |m| m.history.clone());
                    assert_eq!(read(&store).unwrap(), expected, "cut {cut}");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "cut {cut}: {error}"),
            }
        }
        prune_backups(&from, 1).unwrap();
        assert_eq!(journal_files(&image, "first"), Vec::<PathBuf>::new(), "cut {cut}");
        assert_eq!(backups(&from).unwrap().len(), 1);
    }
}

#[test]
fn a_restore_that_was_interrupted_leaves_nothing_to_one_of_an_earlier_moment() {
    let disk = SimDisk::new();
    let mut site = Site::simulated(&disk, 13);
    let journal = site.begin("base");
    for _ in 0..6 {
        site.step(&journal);
    }
    site.ship(&journal).unwrap().unwrap();
    for files in 1.. {
        let into = PathBuf::from(format!("/half-{files}"));
        let (from, world) = (site.repository(), site.world.clone());
        let mut left = files;
        let mut some = |_| {
            left -= 1;
            left > 0
        };
        let half = restore(&from, "base", Until::Newest, &into.join("store"), &into, &world, &mut some);
        let Err(error) = half else { return assert!(files > 6, "{files} files") };
        assert_eq!(error.kind(), ErrorKind::Closed);
        let moment = &site.moments[1];
        let (store, _, _) = restored(&from, &world, "base", Until::Time(moment.micros), &into).unwrap();
        assert_eq!(read(&store).unwrap(), moment.history, "after {files} files");
    }
}

#[test]
fn a_long_journal_opens_within_its_memory_and_through_losses_of_power() {
    let disk = SimDisk::new();
    let mut site = Site::simulated(&disk, 17);
    let journal = site.begin("base");
    for _ in 0..6 {
        // Every flush begins another log file.
        site.work(6);
        site.store.flush().unwrap();
    }
    site.ship(&journal).unwrap().unwrap();
    let into = Path::new("/long");
    let from = site.repository();
    restore(&from, "base", Until::Newest, &into.join("store"), into, &site.world, &mut |_| true).unwrap();
    let logs =
        disk.files().into_iter().filter(|p| p.starts_with(into) && p.extension().is_some_and(|e| e == "wll"));
    assert!(logs.count() > 6);

    // Smaller than the memtables that wrote the logs, so that files are taken apart.
    let settings =
        Settings { memtable_bytes: 4_096, group_bytes: 64, frozen_max: 1, ..small(Driver::Inline) };
    let open = |disk: &SimDisk| {
        let world = World { disk: Arc::new(disk.clone()), ..site.world.clone() };
        Store::open(&into.join("store"), settings.clone(), world)
    };
    let probe = disk.kill();
    let before = probe.operations();
    assert_eq!(read(&open(&probe).unwrap()).unwrap(), site.history);
    let operations = probe.operations() - before;
    assert!(operations > 300, "{operations} operations");
    for cut in (0..operations).step_by(31) {
        let disk = disk.kill();
        disk.set_faults(FaultPlan::crash_after(disk.operations() + cut));
        let _ = open(&disk);
        let image = disk.crash(&SimChance::new(cut));
        assert_eq!(read(&open(&image).unwrap()).unwrap(), site.history, "cut {cut}");
    }
}
