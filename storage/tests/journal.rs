//! Journals: every moment that was marked comes back, whatever happens to the store and on the way to the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use wattline_env::real::RealDisk;
use wattline_env::sim::{SimChance, SimClock, SimDisk};
use wattline_env::{Clock, Disk, World};
use wattline_model::PointId;
use wattline_storage::{
    BackupSummary, Driver, Error, Folder, Journal, PutBeside, Settings, Shipped, Store, Until, Vault,
    backups, check as check_store, prune_backups, restore,
};

use crate::backup::work;
use crate::support::{
    ASSETS, Bits, History, Newest, POINTS, Rows, START, Sample, check_newest, for_seeds, model_of, read,
    small,
};

const SECOND: u64 = 1_000_000;

/// A store, its history, a repository, and a place to restore to, on one disk.
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) root: PathBuf,
    pub(crate) store: Store,
    pub(crate) rows: Rows,
    pub(crate) history: History,
    /// What was there at the moments that were marked.
    pub(crate) moments: Vec<Moment>,
    /// Grows with every step, and goes along as the file beside.
    pub(crate) registry: u64,
    pub(crate) restored: u64,
}

#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) micros: i64,
    pub(crate) history: History,
    pub(crate) latest: Newest,
    pub(crate) registry: u64,
}

impl Site {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: &Path, seed: u64, settings: Settings) -> Site {
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

    pub(crate) fn simulated(disk: &SimDisk, seed: u64) -> Site {
        Site::new(Arc::new(disk.clone()), Path::new("/"), seed, small(Driver::Inline))
    }

    pub(crate) fn repository(&self) -> Folder {
        Folder::new(Arc::clone(&self.world.disk), self.root.join("backups"))
    }

    pub(crate) fn begin(&self, name: &str) -> Journal {
        let mut beside = self.beside();
        self.store.backup_with_journal(&self.repository(), name, &mut beside, &mut |_| true).unwrap().1
    }

    pub(crate) fn beside(&self) -> impl FnMut(PutBeside<'_>) -> Result<(), Error> + use<> {
        let content = Bytes::from(self.registry.to_string());
        move |put: PutBeside<'_>| put("registry.db", content.clone())
    }

    pub(crate) fn work(&mut self, steps: u64) {
        work(&self.store, &mut self.rows, &mut self.history, steps);
        self.registry += 1;
        self.clock.advance(SECOND);
    }

    /// Works, and marks what came of it.
    pub(crate) fn step(&mut self, journal: &Journal) {
        self.work(3);
        journal.mark();
        self.moments.push(self.now());
    }

    pub(crate) fn now(&self) -> Moment {
        Moment {
            micros: self.clock.now_micros(),
            history: self.history.clone(),
            latest: latest(&self.store),
            registry: self.registry,
        }
    }

    pub(crate) fn ship(&self, journal: &Journal) -> Result<Option<Shipped>, Error> {
        journal.ship(&self.repository(), &mut self.beside())
    }

    /// Restores into a folder of its own.
    pub(crate) fn restore(&mut self, name: &str, until: Until) -> Result<(Store, BackupSummary, u64), Error> {
        self.restored += 1;
        let into = self.root.join(format!("restored-{}", self.restored));
        restored(&self.repository(), &self.world, name, until, &into)
    }

    /// Each of `moments` comes back from the backup `name`, exactly.
    pub(crate) fn check_moments(&mut self, name: &str, moments: &[Moment]) {
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

pub(crate) fn restored(
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

#[test]
fn a_journal_that_cannot_ship_breaks_at_its_limit_and_a_new_backup_goes_on() {
    let settings = Settings { journal_keep_bytes: 60_000, ..small(Driver::Inline) };
    let disk = SimDisk::new();
    let mut site = Site::new(Arc::new(disk), Path::new("/"), 4, settings);
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

pub(crate) fn journal_files(disk: &SimDisk, backup: &str) -> Vec<PathBuf> {
    let folder = Path::new("/backups/journals").join(backup);
    disk.files().into_iter().filter(|path| path.starts_with(&folder)).collect()
}
