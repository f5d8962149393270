//! What these tests share: rows in plain form, scripts of work, reading a whole store back, and what it must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use wattline_env::sim::{SimChance, SimDisk, below, world};
use wattline_model::{
    AssetId, Batch, BatchBuilder, Channel, Deletion, DeletionTarget, Kind, ModelId, PointId, Quality,
    ShardCount, Source, TimeRange, Timestamp, Value, ValueRef,
};
use wattline_storage::{Driver, Error, ScanBatch, ScanRequest, Settings, Store};

pub(crate) const MODELS: u32 = 4;
pub(crate) const ASSETS: u32 = 14;
pub(crate) const POINTS: u32 = 5;
pub(crate) const HOUR: i64 = 3_600_000_000;
/// 2025-01-01 00:00 UTC.
pub(crate) const START: i64 = 1_735_689_600_000_000;

/// A value that compares by bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bits {
    Float(u64),
    Int(i64),
    Bool(bool),
    Text(String),
}

impl Bits {
    pub(crate) fn of(value: ValueRef<'_>) -> Bits {
        match value {
            ValueRef::Float(v) => Bits::Float(v.to_bits()),
            ValueRef::Int(v) => Bits::Int(v),
            ValueRef::Bool(v) => Bits::Bool(v),
            ValueRef::Text(v) => Bits::Text(v.to_owned()),
        }
    }

    fn value(&self) -> Value {
        match self {
            Bits::Float(v) => Value::Float(f64::from_bits(*v)),
            Bits::Int(v) => Value::Int(*v),
            Bits::Bool(v) => Value::Bool(*v),
            Bits::Text(v) => Value::Text(v.clone()),
        }
    }
}

/// A value with its quality code; 0 where none was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) value: Bits,
    pub(crate) quality: u8,
}

/// (asset, point, time): what a sample is unique by.
pub(crate) type Key = (u32, u32, i64);

/// All samples of a store.
pub(crate) type History = BTreeMap<Key, Sample>;

/// Some values of an asset at a time.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) asset: u32,
    pub(crate) time: i64,
    pub(crate) cells: Vec<(u32, Sample)>,
}

impl Row {
    pub(crate) fn samples(&self) -> impl Iterator<Item = (Key, Sample)> + '_ {
        self.cells.iter().map(|(point, sample)| ((self.asset, *point, self.time), sample.clone()))
    }
}

pub(crate) fn model_of(asset: u32) -> ModelId {
    ModelId(asset % MODELS + 1)
}

pub(crate) fn kind_of(point: u32) -> Kind {
    [Kind::Float, Kind::Int, Kind::Bool, Kind::Text][point as usize % 4]
}

/// The settings of a small store that flushes and merges all the time.
pub(crate) fn small(driver: Driver) -> Settings {
    Settings {
        shards: 2,
        partition_micros: 24 * HOUR,
        memtable_bytes: 32 << 10,
        merge_fanout: 2,
        // Merges for the sake of readers come in between all others.
        settle_after: Duration::ZERO,
        manifest_edit_bytes: 1,
        driver,
        ..Settings::default()
    }
}

pub(crate) fn dir() -> &'static Path {
    Path::new("/store")
}

/// Opens the store on `disk`. The seed decides what chance gives; it must not matter to the data.
pub(crate) fn open(disk: &SimDisk, driver: Driver) -> Result<Store, Error> {
    Store::open(dir(), small(driver), world(disk, 7))
}

/// Makes rows whose values never repeat, so that a sample tells which write it came from.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) chance: SimChance,
    counter: u64,
    /// Where time has come to; most rows are near it, some late.
    now: i64,
}

impl Rows {
    pub(crate) fn new(seed: u64) -> Rows {
        Rows { chance: SimChance::new(seed), counter: 0, now: START }
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        below(&self.chance, bound)
    }

    /// Up to `rows_max` rows: live, late, and duplicates of both.
    pub(crate) fn some(&mut self, rows_max: u64) -> Vec<Row> {
        let rows = 1 + self.below(rows_max);
        if self.below(3) == 0 {
            self.now += 600_000_000;
        }
        (0..rows).map(|_| self.row()).collect()
    }

    fn row(&mut self) -> Row {
        let time = match self.below(8) {
            // Times repeat often: a grid of ten minutes, a day of it.
            0 => START + 600_000_000 * self.below(144) as i64,
            1 => START - 600_000_000 * self.below(300) as i64,
            _ => self.now,
        };
        let asset = self.below(u64::from(ASSETS)) as u32;
        let mut cells: Vec<(u32, Sample)> = Vec::new();
        for point in 0..POINTS {
            if self.below(2) == 0 {
                cells.push((point, self.sample(point)));
            }
        }
        if cells.is_empty() {
            cells.push((0, self.sample(0)));
        }
        Row { asset, time, cells }
    }

    pub(crate) fn sample(&mut self, point: u32) -> Sample {
        self.counter += 1;
        let number = self.counter;
        let value = match kind_of(point) {
            Kind::Float => Bits::Float((number as f64 * 0.37).to_bits()),
            Kind::Int => Bits::Int(number as i64),
            Kind::Bool => Bits::Bool(self.below(2) == 0),
            Kind::Text => Bits::Text(format!("state {number}")),
        };
        let quality = if point % 3 == 1 { self.below(10) as u8 } else { 0 };
        Sample { value, quality }
    }
}

/// Lays rows out as the door wants them.
pub(crate) fn batches(shards: ShardCount, rows: &[Row]) -> Vec<Batch> {
    let mut builder = BatchBuilder::new(shards, Source::Client);
    for row in rows {
        builder.begin_row(model_of(row.asset), AssetId(row.asset), Channel::RealTime);
        for (point, sample) in &row.cells {
            let value = sample.value.value();
            let quality = (point % 3 == 1).then(|| Quality::new(sample.quality).unwrap());
            assert!(builder.cell(PointId(*point), value.as_ref(), quality));
        }
        builder.end_row(Timestamp(row.time));
    }
    builder.finish()
}

pub(crate) fn write(store: &Store, rows: &[Row]) -> Result<(), Error> {
    store.write_blocking(batches(store.shards(), rows))
}

/// A deletion of random points, assets and times of a random model; all assets, all points, all times by chance.
pub(crate) fn some_deletion(rows: &Rows, target: DeletionTarget) -> Deletion {
    let some = |count: u32| -> Option<Vec<u32>> {
        (rows.below(3) > 0).then(|| (0..count).filter(|_| rows.below(3) == 0).collect())
    };
    let from = START + 600_000_000 * (rows.below(500) as i64 - 320);
    let range = match rows.below(4) {
        0 => TimeRange::ALL,
        _ => TimeRange::new(Timestamp(from), Timestamp(from + 600_000_000 * rows.below(200) as i64)),
    };
    Deletion {
        target,
        model: ModelId(1 + rows.below(u64::from(MODELS)) as u32),
        points: some(POINTS).map(|list| list.into_iter().map(PointId).collect()),
        assets: some(ASSETS).map(|list| list.into_iter().map(AssetId).collect()),
        range,
    }
}

/// Takes what `deletion` means out of a history.
pub(crate) fn delete_from(history: &mut History, deletion: &Deletion) {
    history.retain(|key, _| !is_meant(deletion, key));
}

/// Whether `deletion` means the sample.
fn is_meant(deletion: &Deletion, &(asset, point, time): &Key) -> bool {
    model_of(asset) == deletion.model && deletion.means(AssetId(asset), PointId(point), Timestamp(time))
}

/// A request for everything of a model.
pub(crate) fn everything(model: ModelId) -> ScanRequest {
    ScanRequest {
        model,
        points: (0..POINTS).map(|p| (PointId(p), kind_of(p))).collect(),
        assets: None,
        range: TimeRange::ALL,
        every_row: true,
        batch_rows: 50,
    }
}

/// Reads the whole store; checks on the way that each shard's rows are its own, in order, and without repeats.
pub(crate) fn read(store: &Store) -> Result<History, Error> {
    let snapshot = store.snapshot();
    let mut history = History::new();
    for model in (1..=MODELS).map(ModelId) {
        let request = everything(model);
        for scan in snapshot.scan(&request) {
            let mut last = None;
            let mut shards = BTreeSet::new();
            for batch in scan {
                let batch = batch?;
                for (i, (asset, time)) in batch.assets.iter().zip(&batch.times).enumerate() {
                    assert!(last < Some((*asset, *time)), "{asset} at {time} after {last:?}");
                    last = Some((*asset, *time));
                    shards.insert(store.shards().shard_of(*asset).0);
                    let cells = cells(&batch, &request, i);
                    assert!(!cells.is_empty(), "a row without samples: {asset} at {time}");
                    for (point, sample) in cells {
                        let old = history.insert((asset.0, point, *time), sample);
                        assert_eq!(old, None, "{asset} comes twice");
                    }
                }
            }
            assert!(shards.len() < 2, "one scan gave assets of the shards {shards:?}");
        }
    }
    Ok(history)
}

/// The samples in row `i` of a batch.
pub(crate) fn cells(batch: &ScanBatch, request: &ScanRequest, i: usize) -> Vec<(u32, Sample)> {
    assert_eq!(batch.columns.len(), request.points.len());
    let mut cells = Vec::new();
    for (column, (point, kind)) in batch.columns.iter().zip(&request.points) {
        assert_eq!(column.values.kind(), *kind);
        assert_eq!(column.values.len(), batch.times.len());
        if column.presence.as_ref().is_some_and(|presence| !presence.get(i)) {
            continue;
        }
        let quality = column.quality.as_ref().map_or(0, |quality| quality[i].code());
        cells.push((point.0, Sample { value: Bits::of(column.values.get(i)), quality }));
    }
    cells
}

/// The newest sample of each (asset, point) of a history.
pub(crate) fn newest(history: &History) -> Newest {
    // Keys ascend by time within a point, so the last one stays.
    history.iter().map(|(&(asset, point, time), sample)| ((asset, point), (time, sample.clone()))).collect()
}

/// Newest samples by (asset, point): what the latest-value table must hold.
pub(crate) type Newest = BTreeMap<(u32, u32), (i64, Sample)>;

/// The latest-value table, read both ways it can be, is what the history says (promise 3).
pub(crate) fn check_latest(store: &Store, history: &History) {
    check_newest(store, &newest(history));
}

/// The latest-value table, read both ways it can be, holds `expected`.
pub(crate) fn check_newest(store: &Store, expected: &Newest) {
    let points: Vec<PointId> = (0..POINTS).map(PointId).collect();
    for asset in 0..ASSETS {
        let found = store.latest(model_of(asset), AssetId(asset), &points);
        for (point, latest) in points.iter().zip(found) {
            let found = latest.map(|l| {
                let quality = l.quality.map_or(0, Quality::code);
                (l.time.0, Sample { value: Bits::of(l.value.as_ref()), quality })
            });
            assert_eq!(found.as_ref(), expected.get(&(asset, point.0)), "latest of asset {asset} {point}");
        }
    }
    let mut found = BTreeMap::new();
    for model in (1..=MODELS).map(ModelId) {
        let typed: Vec<(PointId, Kind)> = points.iter().map(|p| (*p, kind_of(p.0))).collect();
        let rows = store.latest_rows(model, &typed);
        for (point, column) in points.iter().zip(&rows.columns) {
            for (i, asset) in rows.assets.iter().enumerate().filter(|(i, _)| column.presence.get(*i)) {
                let quality = column.quality.as_ref().map_or(0, |quality| quality[i].code());
                let sample = Sample { value: Bits::of(column.values.get(i)), quality };
                let old = found.insert((asset.0, point.0), (column.times[i].0, sample));
                assert_eq!(old, None, "{asset} comes twice among the latest");
            }
        }
    }
    assert_eq!(found, *expected, "latest rows");
}

/// What a store must and may hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    /// What was acknowledged, the last write of each sample.
    acknowledged: History,
    /// Batches whose writes failed, oldest first: each may be there, as a whole, or not.
    doubtful: Vec<History>,
    /// What deletions meant in one shard whose calls failed: each may have gone, as a whole, or not.
    doubtful_deletions: Vec<BTreeSet<Key>>,
    /// Whether history was deleted and latest values were not, so that the one does not tell the other.
    latest_differ: bool,
}

impl Oracle {
    pub(crate) fn acknowledge(&mut self, rows: &[Row]) {
        for (key, sample) in rows.iter().flat_map(Row::samples) {
            // What came before an acknowledged write can no longer win over it.
            self.doubtful.iter_mut().for_each(|batch| drop(batch.remove(&key)));
            self.doubtful_deletions.iter_mut().for_each(|deletion| {
                deletion.remove(&key);
            });
            self.acknowledged.insert(key, sample);
        }
    }

    /// Notes a deletion of history, and whether latest values went with it.
    pub(crate) fn acknowledge_deletion(&mut self, deletion: &Deletion, latest_too: bool) {
        delete_from(&mut self.acknowledged, deletion);
        self.doubtful.iter_mut().for_each(|batch| delete_from(batch, deletion));
        // What is gone now tells nothing about a deletion before whose fate is not known.
        self.doubtful_deletions
            .iter_mut()
            .for_each(|doubtful| doubtful.retain(|key| !is_meant(deletion, key)));
        self.latest_differ |= !latest_too;
    }

    /// Notes a deletion that failed.
    pub(crate) fn doubt_deletion(&mut self, shards: ShardCount, deletion: &Deletion) {
        self.latest_differ = true;
        let mut parts: BTreeMap<u32, BTreeSet<Key>> = BTreeMap::new();
        // Of a doubtful batch, too, it may have taken a part.
        let keys = self.acknowledged.keys().chain(self.doubtful.iter().flat_map(BTreeMap::keys));
        for key in keys.filter(|key| is_meant(deletion, key)) {
            parts.entry(shards.shard_of(AssetId(key.0)).0).or_default().insert(*key);
        }
        self.doubtful_deletions.extend(parts.into_values());
    }

    /// Forgets samples: from now on they are not there.
    pub(crate) fn forget(&mut self, gone: impl Fn(&Key) -> bool) {
        self.acknowledged.retain(|key, _| !gone(key));
        self.doubtful.iter_mut().for_each(|batch| batch.retain(|key, _| !gone(key)));
        self.doubtful_deletions.iter_mut().for_each(|deletion| deletion.retain(|key| !gone(key)));
    }

    /// Whether something may or may not be there.
    pub(crate) fn doubts(&self) -> bool {
        !self.doubtful.iter().all(BTreeMap::is_empty)
            || !self.doubtful_deletions.iter().all(BTreeSet::is_empty)
    }

    /// The latest-value table is what `found` says, where that can be told.
    pub(crate) fn check_latest(&self, store: &Store, found: &History) {
        if !self.latest_differ {
            check_latest(store, found);
        }
    }

    /// Notes rows whose write failed.
    pub(crate) fn doubt(&mut self, shards: ShardCount, rows: &[Row]) {
        let mut parts: BTreeMap<(u32, u32), History> = BTreeMap::new();
        for row in rows {
            let part = (shards.shard_of(AssetId(row.asset)).0, model_of(row.asset).0);
            parts.entry(part).or_default().extend(row.samples());
        }
        self.doubtful.extend(parts.into_values());
    }

    /// From now on exactly this is in the store: whoever has seen it may rely on it.
    pub(crate) fn settle(&mut self, found: &History) {
        let latest_differ = self.latest_differ;
        *self = Oracle { acknowledged: found.clone(), latest_differ, ..Oracle::default() };
    }

    pub(crate) fn samples(&self) -> usize {
        self.acknowledged.len()
    }

    /// Promises 1, 2 and 9: every acknowledged sample is there with the value acknowledged last, nothing is invented,
    /// and of each batch that was not acknowledged all is there or nothing.
    pub(crate) fn check(&self, found: &History) -> Result<(), String> {
        for (key, sample) in found {
            let allowed = self.allowed(key);
            if !allowed.contains(&Some(sample)) {
                return Err(format!("{key:?} is {sample:?}; allowed: {allowed:?}"));
            }
        }
        for (key, sample) in &self.acknowledged {
            let may_be_gone = self.doubtful_deletions.iter().any(|deletion| deletion.contains(key));
            if !found.contains_key(key) && !may_be_gone {
                return Err(format!("{key:?} is lost; acknowledged was {sample:?}"));
            }
        }
        for (i, batch) in self.doubtful.iter().enumerate() {
            let told_apart = |key: &Key, sample: &Sample| {
                let others = self.doubtful.iter().enumerate().filter(|other| other.0 != i);
                self.acknowledged.get(key) != Some(sample)
                    && !self.doubtful_deletions.iter().any(|deletion| deletion.contains(key))
                    && !others.into_iter().any(|o| o.1.contains_key(key))
            };
            let fates: BTreeSet<bool> = batch
                .iter()
                .filter(|(key, sample)| told_apart(key, sample))
                .map(|(key, sample)| found.get(key) == Some(sample))
                .collect();
            if fates.len() > 1 {
                return Err(format!("half a batch is there: {batch:?}"));
            }
        }
        for (i, deletion) in self.doubtful_deletions.iter().enumerate() {
            let others = |key: &Key| {
                let others = self.doubtful_deletions.iter().enumerate().filter(|other| other.0 != i);
                others.into_iter().any(|other| other.1.contains(key))
                    || self.doubtful.iter().any(|batch| batch.contains_key(key))
            };
            let fates: BTreeSet<bool> =
                deletion.iter().filter(|key| !others(key)).map(|key| found.contains_key(key)).collect();
            if fates.len() > 1 {
                return Err(format!("half of what was deleted is there: {deletion:?}"));
            }
        }
        Ok(())
    }

    fn allowed(&self, key: &Key) -> Vec<Option<&Sample>> {
        let doubtful = self.doubtful.iter().filter_map(|batch| batch.get(key).map(Some));
        [self.acknowledged.get(key)].into_iter().chain(doubtful).collect()
    }
}

/// The seed to start from and how many to run: `WATTLINE_SEED` replays one, `WATTLINE_SEEDS` runs that many.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("WATTLINE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WATTLINE_SEEDS").unwrap_or(count)).collect(),
    }
}

/// Runs `test` for each seed; a failure says how to run that one again.
pub(crate) fn for_seeds(name: &str, count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds(count) {
        let outcome = std::panic::catch_unwind(|| test(seed));
        if let Err(panic) = outcome {
            eprintln!(
                "seed {seed} failed; again: WATTLINE_SEED={seed} cargo test -p wattline-storage --test main {name}"
            );
            std::panic::resume_unwind(panic);
        }
    }
}
