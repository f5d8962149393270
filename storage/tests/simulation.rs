//! Days in the life of a node, by seed: clients that send again until they are answered, late data, deletions,
//! retention, backups and their journals, a disk that fills up, fails to sync, turns bits over and loses power, restarts of every kind.
//!
//! After every step the store is compared with an oracle of what was acknowledged. Everything that happens follows
//! from the seed: the same seed leaves the same trace on the disk. `WATTLINE_SEEDS=10000` runs as many; see
//! `CONTRIBUTING.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wattline_env::sim::{FaultPlan, NameOrder, SimChance, SimClock, SimDisk};
use wattline_env::{Clock, Disk, World};
use wattline_model::{Deletion, DeletionTarget, ModelId, PointId, ShardCount, TimeRange, Timestamp};
use wattline_storage::{
    Driver, Error, ErrorKind, Folder, Horizon, Journal, PutBeside, Settings, Store, Until, check, restore,
};

use crate::support::{
    HOUR, History, Key, MODELS, Oracle, POINTS, Row, Rows, START, dir, for_seeds, model_of, read, small,
    some_deletion, write,
};

/// What a run went through: a simulation that meets nothing proves nothing.
#[derive(Debug, Default)]
struct Met {
    seconds: u64,
    acknowledged: u64,
    sent_again: u64,
    deletions: u64,
    power_failures: u64,
    kills: u64,
    full: u64,
    failed_syncs: u64,
    turned_bits: u64,
    expired: u64,
    restored: u64,
    marks_restored: u64,
}

struct Node {
    chance: SimChance,
    clock: Arc<SimClock>,
    disk: SimDisk,
    store: Store,
    rows: Rows,
    /// Rows that a client has sent and got no answer for.
    unanswered: Vec<Vec<Row>>,
    oracle: Oracle,
    /// Rows of each model before this time have passed their retention.
    horizons: Vec<Horizon>,
    journal: Option<Journal>,
    /// The last moment that was shipped: its backup, its time, and what was there.
    shipped: Option<(String, i64, History)>,
    met: Met,
}

const PARTITION: i64 = 24 * HOUR;

impl Node {
    fn new(seed: u64) -> Node {
        let clock = Arc::new(SimClock::new(START));
        let disk = SimDisk::new();
        let store = open(&disk, &clock).unwrap();
        Node {
            chance: SimChance::new(seed ^ 0x5EED),
            clock,
            disk,
            store,
            rows: Rows::new(seed),
            unanswered: Vec::new(),
            oracle: Oracle::default(),
            horizons: Vec::new(),
            journal: None,
            shipped: None,
            met: Met::default(),
        }
    }

    fn below(&self, bound: u64) -> u64 {
        wattline_env::sim::below(&self.chance, bound)
    }

    fn live(&mut self, steps: u64) {
        for _ in 0..steps {
            let seconds = 1 + self.below(60);
            self.clock.advance(seconds * 1_000_000);
            self.met.seconds += seconds;
            self.step();
            self.compare();
        }
        self.recover_from_faults();
        self.settle_down();
    }

    fn step(&mut self) {
        match self.below(45) {
            0..=21 => self.send(),
            22..=24 => self.delete(),
            25 => self.outcome_of(|node| node.store.flush()),
            26 => self.outcome_of(|node| node.store.compact()),
            27 => self.restart(),
            28..=30 if !self.disk.has_crashed() => {
                // The power fails some operations from now, in the middle of whatever happens then.
                let plan = FaultPlan::crash_after(self.disk.operations() + self.below(120));
                self.disk.set_faults(plan);
            }
            31 => self.kill(),
            32 => {
                let room = self.below(20_000);
                let plan =
                    FaultPlan { capacity_bytes: Some(self.disk.used_bytes() + room), ..FaultPlan::default() };
                self.disk.set_faults(plan);
                self.met.full += 1;
            }
            33 => self.recover_from_faults(),
            34 => {
                let at = Some(self.disk.operations() + self.below(60));
                self.disk.set_faults(FaultPlan { fail_sync_at: at, ..FaultPlan::default() });
                self.met.failed_syncs += 1;
            }
            35 => self.turn_a_bit(),
            36 => self.expire(),
            37 => self.back_up(),
            38..=41 => self.ship(),
            42 => self.go_back(),
            _ => self.send(),
        }
    }

    /// A client sends: something new, or what it got no answer for. Sending twice changes nothing.
    fn send(&mut self) {
        let again = !self.unanswered.is_empty() && self.below(3) > 0;
        let rows = if again { self.unanswered.remove(0) } else { self.rows.some(25) };
        self.met.sent_again += u64::from(again);
        let crashed = self.disk.has_crashed();
        let result = write(&self.store, &rows);
        match result {
            Ok(()) => {
                // It may fail later in the same call, while the engine tidies up.
                assert!(!crashed, "acknowledged after the power had failed");
                self.oracle.acknowledge(&rows);
                self.met.acknowledged += 1;
            }
            Err(error) => {
                self.oracle.doubt(shards(), &rows);
                self.unanswered.push(rows);
                self.failed(&error);
            }
        }
    }

    fn delete(&mut self) {
        let deletion = some_deletion(&self.rows, DeletionTarget::History);
        // With all of time, latest values go too, so that history still tells them.
        let latest_too = deletion.range == TimeRange::ALL;
        let mut result = self.store.delete_blocking(&deletion);
        if latest_too && result.is_ok() {
            let latest = Deletion { target: DeletionTarget::Latest, ..deletion.clone() };
            result = self.store.delete_blocking(&latest);
        }
        match result {
            Ok(()) => {
                self.oracle.acknowledge_deletion(&deletion, latest_too);
                self.met.deletions += 1;
            }
            Err(error) => {
                self.oracle.doubt_deletion(shards(), &deletion);
                self.failed(&error);
            }
        }
    }

    fn outcome_of(&mut self, act: impl FnOnce(&Node) -> Result<(), Error>) {
        if let Err(error) = act(self) {
            self.failed(&error);
        }
    }

    /// An error is never without a cause, and says what kind it is; then the node is brought back as an operator
    /// would, where it cannot help itself.
    fn failed(&mut self, error: &Error) {
        match error.kind() {
            _ if self.disk.has_crashed() => self.power_up(),
            ErrorKind::Full => {}
            ErrorKind::Io | ErrorKind::Closed => self.restart(),
            kind => panic!("{kind:?}: {error}"),
        }
    }

    /// After a loss of power: any state of the medium that it allows.
    fn power_up(&mut self) {
        let order = if self.below(2) == 0 { NameOrder::Kept } else { NameOrder::Any };
        self.disk = self.disk.crash_with(&self.chance, order);
        self.met.power_failures += 1;
        self.reopen();
    }

    /// The process is killed; the system keeps what it was given.
    fn kill(&mut self) {
        if self.disk.has_crashed() {
            return self.power_up();
        }
        self.disk = self.disk.kill();
        self.met.kills += 1;
        self.reopen();
    }

    fn restart(&mut self) {
        let _ = self.store.close();
        self.kill();
    }

    fn reopen(&mut self) {
        // A journal ends with the process.
        self.journal = None;
        self.store = open(&self.disk, &self.clock).unwrap_or_else(|error| panic!("does not open: {error}"));
        self.apply_expiry();
        let report = check(dir(), &world(&self.disk.kill(), &self.clock), &mut |_| true).unwrap();
        assert!(!report.is_damaged(), "{:?}", report.findings);
        // Whoever reads now may rely on what he saw.
        let found = read(&self.store).unwrap();
        self.check(&found);
        self.oracle.settle(&found);
    }

    /// One bit of one file turns over while the node is down: what is served is right, or the file is named. Then
    /// the operator brings the right file back.
    fn turn_a_bit(&mut self) {
        if self.disk.has_crashed() {
            return self.power_up();
        }
        let _ = self.store.close();
        self.disk = self.disk.kill();
        let image = self.disk.kill();
        let is_sealed = |path: &&PathBuf| path.extension().is_some_and(|e| e == "wls" || e == "wlc");
        let files = image.files();
        let sealed: Vec<&PathBuf> = files.iter().filter(is_sealed).collect();
        if !sealed.is_empty() {
            let path = sealed[self.below(sealed.len() as u64) as usize];
            let byte = self.below(image.len(path).unwrap());
            image.flip_bit(path, byte, self.below(8) as u8).unwrap();
            let outcome = open(&image, &self.clock).and_then(|store| {
                store.expire(&self.horizons)?;
                read(&store)
            });
            match outcome {
                Ok(found) => self.check(&found),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                    let name = path.file_name().unwrap().to_str().unwrap();
                    assert!(error.to_string().contains(name), "{error} does not name {name}");
                }
            }
            self.met.turned_bits += 1;
        }
        self.reopen();
    }

    /// Retention moves on for one model, or for one of its points.
    fn expire(&mut self) {
        let model = ModelId(1 + self.below(u64::from(MODELS)) as u32);
        let keep_from = START - 4 * PARTITION + self.below(5 * PARTITION as u64) as i64;
        let point = (self.below(3) == 0).then(|| vec![PointId(self.below(u64::from(POINTS)) as u32)]);
        match self.horizons.iter_mut().find(|h| h.model == model && h.points == point) {
            Some(horizon) => horizon.keep_from = horizon.keep_from.max(Timestamp(keep_from)),
            None => self.horizons.push(Horizon { model, points: point, keep_from: Timestamp(keep_from) }),
        }
        self.met.expired += 1;
        self.apply_expiry();
    }

    fn apply_expiry(&mut self) {
        if let Err(error) = self.store.expire(&self.horizons) {
            self.failed(&error);
        }
    }

    /// A backup, and what comes back from it in another place.
    fn back_up(&mut self) {
        if self.disk.has_crashed() || self.oracle.doubts() {
            return;
        }
        let name = format!("at-{}", self.clock.now_micros());
        let mut beside = |_: PutBeside<'_>| Ok(());
        let repository = repository(&self.disk);
        match self.store.backup_with_journal(&repository, &name, &mut beside, &mut |_| true) {
            Ok((_, journal)) => self.journal = Some(journal),
            Err(error) => return self.failed(&error),
        }
        let image = self.disk.kill();
        let (other, world) = (Path::new("/other"), world(&image, &self.clock));
        restore(
            &Folder::new(Arc::new(image), "/backups"),
            &name,
            Until::Backup,
            other,
            other,
            &world,
            &mut |_| true,
        )
        .unwrap();
        let store = Store::open(other, settings(), world).unwrap();
        store.expire(&self.horizons).unwrap();
        self.check(&read(&store).unwrap());
        self.met.restored += 1;
    }

    /// Marks this moment and ships it, where it is known what is there.
    fn ship(&mut self) {
        if self.disk.has_crashed() || self.oracle.doubts() {
            return;
        }
        let (now, repository) = (self.clock.now_micros(), repository(&self.disk));
        let Some(journal) = &self.journal else { return self.back_up() };
        let shipped = journal.ship(&repository, &mut |_: PutBeside<'_>| Ok(()));
        match shipped.and_then(|shipped| Ok((shipped, read(&self.store)?))) {
            Ok((Some(shipped), history)) if shipped.until_micros == now => {
                self.shipped = Some((journal.backup().to_owned(), now, history));
            }
            // What had waited was shipped now; of which moment it is, nobody noted.
            Ok((Some(_), _)) => {}
            Ok((None, _)) => self.journal = None,
            Err(error) => self.failed(&error),
        }
    }

    /// The last moment that was shipped comes back in another place, whatever came after it.
    fn go_back(&mut self) {
        if self.disk.has_crashed() {
            return self.power_up();
        }
        let Some((backup, at, history)) = &self.shipped else { return };
        let image = self.disk.kill();
        let (other, world) = (Path::new("/other"), world(&image, &self.clock));
        let until = Until::Time(*at);
        restore(&repository(&image), backup, until, other, other, &world, &mut |_| true).unwrap();
        let store = Store::open(other, settings(), world).unwrap();
        store.expire(&self.horizons).unwrap();
        let mut expected = history.clone();
        expected.retain(|key, _| !is_over(&self.horizons, key));
        assert_eq!(read(&store).unwrap(), expected, "the moment {at}");
        self.met.marks_restored += 1;
    }

    fn recover_from_faults(&mut self) {
        if self.disk.has_crashed() {
            return self.power_up();
        }
        self.disk.set_faults(FaultPlan::default());
        if self.store.status().iter().any(|shard| shard.failed.is_some()) {
            self.restart();
        }
    }

    fn compare(&mut self) {
        if self.disk.has_crashed() {
            return self.power_up();
        }
        match read(&self.store) {
            Ok(found) => self.check(&found),
            Err(error) => self.failed(&error),
        }
    }

    fn check(&mut self, found: &History) {
        self.oracle.forget(|key| is_over(&self.horizons, key));
        self.oracle.check(found).unwrap_or_else(|error| panic!("{error}"));
        if self.horizons.is_empty() {
            self.oracle.check_latest(&self.store, found);
        }
    }

    /// Every client gets its answer at last, and nothing is left of what was deleted.
    fn settle_down(&mut self) {
        while let Some(rows) = self.unanswered.pop() {
            write(&self.store, &rows)
                .unwrap_or_else(|error| panic!("nothing is wrong any more, but: {error}"));
            self.oracle.acknowledge(&rows);
        }
        self.store.flush().unwrap();
        self.store.compact().unwrap();
        self.compare();
        assert!(self.store.pending_deletions().is_empty(), "{:?}", self.store.pending_deletions());
        self.restart();
    }
}

fn repository(disk: &SimDisk) -> Folder {
    Folder::new(Arc::new(disk.clone()), "/backups")
}

/// Whether a sample has passed its retention.
fn is_over(horizons: &[Horizon], &(asset, point, time): &Key) -> bool {
    let partition_end = (time.div_euclid(PARTITION) + 1) * PARTITION;
    let means = |h: &&Horizon| {
        h.model == model_of(asset) && h.points.as_ref().is_none_or(|points| points.contains(&PointId(point)))
    };
    let is_over = |h: &Horizon| partition_end <= h.keep_from.0.div_euclid(PARTITION) * PARTITION;
    horizons.iter().filter(means).any(is_over)
}

fn shards() -> ShardCount {
    ShardCount::new(settings().shards).unwrap()
}

fn settings() -> Settings {
    Settings { memtable_bytes: 12 << 10, partition_micros: PARTITION, ..small(Driver::Inline) }
}

fn world(disk: &SimDisk, clock: &Arc<SimClock>) -> World {
    World {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        disk: Arc::new(disk.clone()),
        chance: Arc::new(SimChance::new(7)),
    }
}

fn open(disk: &SimDisk, clock: &Arc<SimClock>) -> Result<Store, Error> {
    Store::open(dir(), settings(), world(disk, clock))
}

const STEPS: u64 = 40;

#[test]
fn promises_hold_over_days_of_a_node_that_everything_happens_to() {
    let total = std::sync::Mutex::new(Met::default());
    for_seeds("promises_hold_over_days", 200, |seed| {
        let mut node = Node::new(seed);
        node.live(STEPS);
        let (met, mut total) = (node.met, total.lock().unwrap());
        total.seconds += met.seconds;
        total.acknowledged += met.acknowledged;
        total.sent_again += met.sent_again;
        total.deletions += met.deletions;
        total.power_failures += met.power_failures;
        total.kills += met.kills;
        total.full += met.full;
        total.failed_syncs += met.failed_syncs;
        total.turned_bits += met.turned_bits;
        total.expired += met.expired;
        total.restored += met.restored;
        total.marks_restored += met.marks_restored;
    });
    let met = total.into_inner().unwrap();
    eprintln!("{met:?}");
    if std::env::var_os("WATTLINE_SEED").is_none() {
        let counts =
            [met.sent_again, met.deletions, met.power_failures, met.kills, met.full, met.turned_bits];
        assert!(counts.iter().all(|&count| count > 20) && met.restored > 20 && met.expired > 20, "{met:?}");
        assert!(met.marks_restored > 20, "{met:?}");
    }
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let trace = |seed| {
        let mut node = Node::new(seed);
        node.live(STEPS);
        node.disk.trace()
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4), "the seed does not matter");
}
