//! Journals: every moment that was marked comes back, whatever happens to the store and on the way to the repository.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use wattline_env::real::RealDisk;
use wattline_env::sim::{FaultPlan, SimChance, SimClock, SimDisk, below};
use wattline_env::{Clock, Disk, World};
use wattline_model::PointId;
use wattline_storage::{
    BackupSummary, Driver, Error, ErrorKind, Folder, Journal, PutBeside, Settings, Shipped, Store, Until,
    Vault, backups, check as check_store, prune_backups, restore,
};

use crate::backup::work;
use crate::support::{
    ASSETS, Bits, History, Newest, POINTS, Rows, START, Sample, check_newest, for_seeds, model_of, read,
    small,
};

const SECOND: u64 = 1_000_000;

/// A store, its history, a repository, and a place to restore to, on one disk.
struct Site {
    world: World,
    clock: Arc<SimClock>,
    root: PathBuf,
    store: Store,
    rows: Rows,
    history: History,
    /// What was there at the moments that were marked.
    moments: Vec<Moment>,
    /// Grows with every step, and goes along as the file beside.
    registry: u64,
    restored: u64,
}

#[derive(Clone)]
struct Moment {
    micros: i64,
    history: History,
    latest: Newest,
    registry: u64,
}

impl Site {
    fn new(disk: Arc<dyn Disk>, root: &Path, seed: u64, settings: Settings) -> Site {
        let clock = Arc::new(SimClock::new(START));
        let world =
            World { clock: Arc::clone(&clock) as Arc<dyn Clock>, disk, chance: Arc::new(SimChance::new(7)) };
        let store = Store::open(&root.join("store"), settings, world.clone()).unwrap();
        Site {
            world,
            clock,
            root: root.to_owned(),
            store,
            rows: Rows::new(seed),
            history: History::new(),
            moments: Vec::new(),
            registry: 0,
            restored: 0,
        }
    }

    fn simulated(disk: &SimDisk, seed: u64) -> Site {
        Site::new(Arc::new(disk.clone()), Path::new("/"), seed, small(Driver::Inline))
    }

    fn repository(&self) -> Folder {
        Folder::new(Arc::clone(&self.world.disk), self.root.join("backups"))
    }

    fn begin(&self, name: &str) -> Journal {
        let mut beside = self.beside();
        self.store.backup_with_journal(&self.repository(), name, &mut beside, &mut |_| true).unwrap().1
    }

    fn beside(&self) -> impl FnMut(PutBeside<'_>) -> Result<(), Error> + use<> {
        let content = Bytes::from(self.registry.to_string());
        move |put: PutBeside<'_>| put("registry.db", content.clone())
    }

    fn work(&mut self, steps: u64) {
        work(&self.store, &mut self.rows, &mut self.history, steps);
        self.registry += 1;
        self.clock.advance(SECOND);
    }

    /// Works, and marks what came of it.
    fn step(&mut self, journal: &Journal) {
        self.work(3);
        journal.mark();
        self.moments.push(self.now());
    }

    fn now(&self) -> Moment {
        Moment {
            micros: self.clock.now_micros(),
            history: self.history.clone(),
            latest: latest(&self.store),
            registry: self.registry,
        }
    }

    fn ship(&self, journal: &Journal) -> Result<Option<Shipped>, Error> {
        journal.ship(&self.repository(), &mut self.beside())
    }

    /// Restores into a folder of its own.
    fn restore(&mut self, name: &str, until: Until) -> Result<(Store, BackupSummary, u64), Error> {
        self.restored += 1;
        let into = self.root.join(format!("restored-{}", self.restored));
        restored(&self.repository(), &self.world, name, until, &into)
    }

    /// Every moment from number `from` on comes back from the backup `name`, exactly. `shipments` says at which moments
    /// something was shipped: files beside are as old as that.
    fn check_moments(&mut self, name: &str, moments: &[Moment]) {
        for (i, moment) in moments.iter().enumerate() {
            let (store, summary, registry) =
                self.restore(name, Until::Time(moment.micros + 400_000)).unwrap();
            assert!(summary.mark_micros <= Some(moment.micros), "moment {i}: {:?}", summary.mark_micros);
            assert_eq!(read(&store).unwrap(), moment.history, "moment {i}");
            check_newest(&store, &moment.latest);
            assert!(registry >= moment.registry, "moment {i}: the data is newer than what it refers to");
        }
    }
}

fn restored(
    from: &dyn Vault,
    world: &World,
    name: &str,
    until: Until,
    into: &Path,
) -> Result<(Store, BackupSummary, u64), Error> {
    let dir = into.join("store");
    let summary = restore(from, name, until, &dir, into, world, &mut |_| true)?;
    let report = check_store(&dir, world, &mut |_| true).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let registry = String::from_utf8(world.disk.read(&into.join("registry.db")).unwrap()).unwrap();
    let store = Store::open(&dir, small(Driver::Inline), world.clone())?;
    Ok((store, summary, registry.parse().unwrap()))
}

fn latest(store: &Store) -> Newest {
    let points: Vec<PointId> = (0..POINTS).map(PointId).collect();
    let mut newest = BTreeMap::new();
    for asset in 0..ASSETS {
        let found = store.latest(model_of(asset), wattline_model::AssetId(asset), &points);
        for (point, latest) in points.iter().zip(found) {
            if let Some(l) = latest {
                let quality = l.quality.map_or(0, wattline_model::Quality::code);
                let sample = Sample { value: Bits::of(l.value.as_ref()), quality };
                newest.insert((asset, point.0), (l.time.0, sample));
            }
        }
    }
    newest
}

/// Lives through writes, deletions, flushes, merges and shipments, and brings every mark back.
fn live_and_go_back(mut site: Site, steps: u64) {
    site.work(20);
    let journal = site.begin("base");
    for _ in 0..steps {
        site.step(&journal);
        if site.rows.below(4) == 0 {
            assert!(site.ship(&journal).unwrap().is_some());
            site.store.compact().unwrap();
        }
    }
    journal.finish(&site.repository(), &mut site.beside()).unwrap().unwrap();
    assert!(journal.is_broken(), "it has ended");
    let last = site.clock.now_micros();
    assert_eq!(backups(&site.repository()).unwrap()[0].reaches_micros, Some(last));
    // What comes later is not in it.
    site.work(10);
    site.store.flush().unwrap();
    let moments = site.moments.clone();
    site.check_moments("base", &moments);
    let (store, summary, registry) = site.restore("base", Until::Newest).unwrap();
    let end = moments.last().unwrap();
    assert_eq!((summary.mark_micros, registry), (Some(last), end.registry));
    assert_eq!(read(&store).unwrap(), end.history);
    // It is a store like any other.
    let mut history = end.history.clone();
    work(&store, &mut site.rows, &mut history, 10);
    store.flush().unwrap();
    assert_eq!(read(&store).unwrap(), history);
    // The backup alone is the moment it was taken.
    let (store, summary, _) = site.restore("base", Until::Backup).unwrap();
    let (before, _, _) = site.restore("base", Until::Time(START)).unwrap();
    assert_eq!(summary.mark_micros, None);
    assert_eq!(read(&before).unwrap(), read(&store).unwrap());
}

#[test]
fn promise_8_every_mark_of_a_journal_comes_back() {
    for_seeds("promise_8_every_mark", 4, |seed| {
        live_and_go_back(Site::simulated(&SimDisk::new(), seed), 20);
    });
}

#[test]
fn marks_come_back_from_a_real_disk_with_threads_at_work() {
    let root = tempfile::tempdir().unwrap();
    let settings = small(Driver::Threads);
    live_and_go_back(Site::new(Arc::new(RealDisk), root.path(), 11, settings), 12);
}

#[test]
fn what_is_written_while_a_backup_and_its_journal_begin_is_in_neither_or_one() {
    let root = tempfile::tempdir().unwrap();
    let mut site = Site::new(Arc::new(RealDisk), root.path(), 5, small(Driver::Threads));
    site.work(30);
    // A writer that never rests, with values that tell how far it was.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let journal = std::thread::scope(|scope| {
        let (store, rows) = (site.store.clone(), &stop);
        let writer = scope.spawn(move || {
            let mut some = Rows::new(99);
            let mut written = History::new();
            while !rows.load(std::sync::atomic::Ordering::Relaxed) {
                let batch = some.some(20);
                crate::support::write(&store, &batch).unwrap();
                written.extend(batch.iter().flat_map(|row| row.samples().collect::<Vec<_>>()));
            }
            written
        });
        let journal = site.begin("first");
        for i in 0..30 {
            journal.mark();
            if i % 3 == 0 {
                site.ship(&journal).unwrap().unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let second = site.begin("second");
        journal.finish(&site.repository(), &mut site.beside()).unwrap().unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        site.history.extend(writer.join().unwrap());
        second
    });
    journal.finish(&site.repository(), &mut site.beside()).unwrap().unwrap();
    let (store, _, _) = site.restore("second", Until::Newest).unwrap();
    assert_eq!(read(&store).unwrap(), site.history, "nothing is missing between a backup and its journal");
    assert!(site.restore("first", Until::Newest).is_ok());
}

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
fn a_journal_that_cannot_ship_breaks_at_its_limit_and_a_new_backup_goes_on() {
    let settings = Settings { journal_keep_bytes: 60_000, ..small(Driver::Inline) };
    let disk = SimDisk::new();
    let mut site = Site::new(Arc::new(disk.clone()), Path::new("/"), 4, settings);
    let journal = site.begin("base");
    let mut kept = 0;
    while !journal.is_broken() {
        site.work(5);
        kept = kept.max(journal.kept_bytes());
        assert!(journal.kept_bytes() <= 2 * 60_000, "a limit for each shard");
    }
    assert!(kept > 20_000, "{kept} bytes were kept before");
    assert_eq!(site.ship(&journal).unwrap(), None);
    let after = journal.finish(&site.repository(), &mut site.beside()).unwrap();
    assert_eq!(after.map(|shipped| shipped.files), Some(0), "it is said once");
    drop(journal);
    let journal = site.begin("next");
    for _ in 0..10 {
        site.step(&journal);
        site.ship(&journal).unwrap().unwrap();
    }
    assert_eq!(journal.kept_bytes(), 0, "what was sent is let go");
    let moments = site.moments.clone();
    site.check_moments("next", &moments);
    // The first backup is as it was.
    let (store, summary, _) = site.restore("base", Until::Newest).unwrap();
    assert_eq!((summary.mark_micros, read(&store).unwrap()), (None, History::new()));
    // A journal that is dropped costs nothing any more.
    drop(journal);
    site.work(10);
    site.store.flush().unwrap();
    let journal = site.begin("last");
    assert_eq!(journal.kept_bytes(), 0);
}

#[test]
fn journals_of_two_backups_overlap_and_go_with_their_backups() {
    let disk = SimDisk::new();
    let mut site = Site::simulated(&disk, 9);
    site.work(5);
    let first = site.begin("first");
    (0..3).for_each(|_| site.step(&first));
    site.ship(&first).unwrap().unwrap();
    let second = site.begin("second");
    for _ in 0..4 {
        site.step(&first);
        second.mark();
        site.ship(&second).unwrap().unwrap();
    }
    first.finish(&site.repository(), &mut site.beside()).unwrap().unwrap();
    site.step(&second);
    site.ship(&second).unwrap().unwrap();
    let moments = site.moments.clone();
    site.check_moments("first", &moments[..7]);
    site.check_moments("second", &moments[3..]);
    let infos = backups(&site.repository()).unwrap();
    assert_eq!(infos.len(), 2);
    assert!(infos[0].reaches_micros < infos[1].reaches_micros, "{infos:?}");

    // Without changes nothing is sent, except that it is told now and then how far the journal reaches.
    let files = journal_files(&disk, "second");
    let mut nothing = |_: PutBeside<'_>| Ok(());
    for _ in 0..5 {
        site.clock.advance(SECOND);
        second.mark();
        let shipped = second.ship(&site.repository(), &mut nothing).unwrap().unwrap();
        assert_eq!((shipped.files, shipped.until_micros), (0, site.clock.now_micros()));
    }
    assert_eq!(journal_files(&disk, "second"), files);
    site.clock.advance(100 * SECOND);
    assert_eq!(second.ship(&site.repository(), &mut nothing).unwrap().unwrap().files, 1);

    assert!(!journal_files(&disk, "first").is_empty());
    assert_eq!(prune_backups(&site.repository(), 1).unwrap(), ["first"]);
    assert_eq!(journal_files(&disk, "first"), Vec::<PathBuf>::new());
    site.check_moments("second", &moments[3..]);
}

fn journal_files(disk: &SimDisk, backup: &str) -> Vec<PathBuf> {
    let folder = Path::new("/backups/journals").join(backup);
    disk.files().into_iter().filter(|path| path.starts_with(&folder)).collect()
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
