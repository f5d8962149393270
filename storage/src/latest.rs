//! The latest-value table: the newest sample of every point of every asset of a shard, in memory.
//!
//! Owns: the rule that a latest value moves only forward in event time (promise 3), and reading it without touching
//! history. Does not own: history, checkpoint files (`flush` writes them, `recover` reads them).
//!
//! Conditions over the newest values of a point run in [`filter`], column by column.
//!
//! Columnar per model: an asset has a slot, a point a column of (time, value, quality) by slot. Readers that want
//! many assets copy a stretch of slots at a time, so that the writer never waits for more than one stretch.

pub(crate) mod filter;
pub(crate) mod rebuild;

use std::sync::Arc;

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use wattline_format::latest as file;
use wattline_model::{
    AssetId, Batch, Deletion, Kind, ModelId, PointId, Policies, Presence, Quality, Rows, TimeRange,
    Timestamp, Value, ValueRef, Values,
};

use crate::error::Result;
use filter::LatestCondition;

/// The newest sample of a point of an asset.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    /// Its time.
    pub time: Timestamp,
    /// Its value.
    pub value: Value,
    /// Its quality, where the point has any.
    pub quality: Option<Quality>,
}

/// The newest samples of all assets of a model in one shard or store.
#[derive(Clone, Debug)]
pub struct LatestRows {
    /// The assets, in no particular order.
    pub assets: Vec<AssetId>,
    /// One column a point asked for, in the order asked.
    pub columns: Vec<LatestColumn>,
}

/// The newest samples of one point, one a row of [`LatestRows::assets`].
#[derive(Clone, Debug)]
pub struct LatestColumn {
    /// Times; meaningless where absent.
    pub times: Vec<Timestamp>,
    /// Values; meaningless where absent.
    pub values: Values,
    /// Qualities, where any was reported.
    pub quality: Option<Vec<Quality>>,
    /// Which assets have a value.
    pub presence: Presence,
}

/// The table of one shard.
#[derive(Default)]
pub(crate) struct LatestTable {
    models: RwLock<FxHashMap<ModelId, Arc<RwLock<ModelTable>>>>,
}

#[derive(Default)]
struct ModelTable {
    slots: FxHashMap<AssetId, u32>,
    assets: Vec<AssetId>,
    columns: Vec<Option<PointTable>>,
    /// Points whose last change is kept, ascending.
    watched: Vec<PointId>,
}

/// Times by slot ([`ABSENT`]: no value), and values. Vectors end at the last slot that has a value.
struct PointTable {
    kind: Kind,
    times: Vec<i64>,
    values: Vec<u64>,
    texts: Vec<Box<str>>,
    quality: Option<Vec<Quality>>,
    /// Where that is kept: when the value began to be what it is.
    changed: Option<Vec<i64>>,
}

/// No sample can carry this time (see `wattline_model::limits`).
const ABSENT: i64 = i64::MIN;

/// Slots copied under one lock. At a few nanoseconds a slot the writer waits for tens of microseconds at most.
const STRETCH: usize = 4_096;

impl LatestTable {
    fn model(&self, model: ModelId) -> Arc<RwLock<ModelTable>> {
        if let Some(table) = self.models.read().get(&model) {
            return Arc::clone(table);
        }
        Arc::clone(self.models.write().entry(model).or_default())
    }

    /// Moves latest values forward to the samples of `batch`. At an equal time the later write wins.
    pub(crate) fn apply(&self, batch: &Batch) {
        let table = self.model(batch.model);
        let mut table = table.write();
        let slots: Vec<u32> = batch.assets.iter().map(|&asset| table.slot(asset)).collect();
        // Messages carry rows of one asset in order of time: where the next row has the point too, this one is
        // superseded before anybody could see it.
        let superseded =
            |&row: &usize| slots.get(row + 1) == slots.get(row) && batch.times[row + 1] >= batch.times[row];
        let newest: Vec<usize> = (0..slots.len()).filter(|row| !superseded(row)).collect();
        for column in &batch.columns {
            let point = table.point(column.point, column.values.kind());
            let watched = point.changed.is_some();
            let mut advance = |i: usize, row: usize| {
                let quality = column.quality.as_ref().map(|q| q[i]);
                point.advance(slots[row], batch.times[row], column.values.get(i), quality);
            };
            match &column.rows {
                // What is superseded may have been a change.
                Rows::All if watched => (0..slots.len()).for_each(|row| advance(row, row)),
                Rows::All => newest.iter().for_each(|&row| advance(row, row)),
                Rows::Some(rows) => {
                    rows.iter().enumerate().for_each(|(i, &row)| advance(i, row as usize));
                }
            }
        }
    }

    /// Takes away the latest values that `deletion` means.
    pub(crate) fn delete(&self, deletion: &Deletion) {
        let Some(table) = self.models.read().get(&deletion.model).cloned() else { return };
        let mut table = table.write();
        let ModelTable { slots, columns, .. } = &mut *table;
        let wanted: Option<Vec<u32>> = deletion
            .assets
            .as_ref()
            .map(|assets| assets.iter().filter_map(|a| slots.get(a).copied()).collect());
        for (point, column) in columns.iter_mut().enumerate() {
            let Some(column) = column.as_mut().filter(|_| deletion.means_point(PointId(point as u32))) else {
                continue;
            };
            match &wanted {
                Some(slots) => slots.iter().for_each(|&slot| column.delete(slot as usize, deletion.range)),
                None => (0..column.times.len()).for_each(|slot| column.delete(slot, deletion.range)),
            }
        }
    }

    /// The newest samples of `points` of `asset`.
    pub(crate) fn latest(&self, model: ModelId, asset: AssetId, points: &[PointId]) -> Vec<Option<Latest>> {
        let Some(table) = self.models.read().get(&model).cloned() else {
            return vec![None; points.len()];
        };
        let table = table.read();
        let Some(&slot) = table.slots.get(&asset) else { return vec![None; points.len()] };
        points.iter().map(|p| table.columns.get(p.0 as usize)?.as_ref()?.get(slot)).collect()
    }

    /// Keeps the last changes of the points whose policies say so, and of no others.
    pub(crate) fn watch_all(&self, policies: &Policies) {
        let mut models: Vec<ModelId> = self.models.read().keys().copied().collect();
        models.extend(policies.models.keys());
        models.sort_unstable();
        models.dedup();
        for model in models {
            let points = policies.of(model).map_or(&[][..], |policy| &policy.points);
            let watched = points.iter().enumerate().filter(|(_, policy)| policy.last_changed);
            let watched: Vec<PointId> = watched.map(|(i, _)| PointId(i as u32)).collect();
            self.watch(model, &watched);
        }
    }

    /// Keeps the last changes of exactly these points. Of one that was not kept before, a value counts as changed
    /// at its own time until the next change.
    fn watch(&self, model: ModelId, points: &[PointId]) {
        let table = self.model(model);
        let mut table = table.write();
        points.clone_into(&mut table.watched);
        for (i, column) in table.columns.iter_mut().enumerate() {
            let Some(column) = column else { continue };
            match points.binary_search(&PointId(i as u32)) {
                Ok(_) => drop(column.changed.get_or_insert_with(|| column.times.clone())),
                Err(_) => column.changed = None,
            }
        }
    }

    /// The values of `points` of `asset`, with the times since when they are what they are.
    pub(crate) fn last_changed(
        &self,
        model: ModelId,
        asset: AssetId,
        points: &[PointId],
    ) -> Vec<Option<Latest>> {
        let changed = |table: &ModelTable, point: &PointId| {
            let slot = *table.slots.get(&asset)?;
            let column = table.columns.get(point.0 as usize)?.as_ref()?;
            let time = *column.changed.as_ref()?.get(slot as usize)?;
            column.get(slot).map(|latest| Latest { time: Timestamp(time), ..latest })
        };
        let table = self.models.read().get(&model).cloned();
        let Some(table) = table else { return vec![None; points.len()] };
        let table = table.read();
        points.iter().map(|point| changed(&table, point)).collect()
    }

    /// Appends the newest samples of every asset of `model` to `rows`, whose columns stand for `points`.
    pub(crate) fn collect(&self, model: ModelId, points: &[PointId], rows: &mut LatestRows) {
        let Some(table) = self.models.read().get(&model).cloned() else { return };
        let mut from = 0;
        loop {
            let table = table.read();
            let to = table.assets.len().min(from + STRETCH);
            if from == to {
                return;
            }
            let before = rows.assets.len();
            rows.assets.extend_from_slice(&table.assets[from..to]);
            for (column, point) in rows.columns.iter_mut().zip(points) {
                let point = table.columns.get(point.0 as usize).and_then(Option::as_ref);
                copy_stretch(column, point, from..to, before);
            }
            from = to;
        }
    }

    /// Appends the assets of `model` whose newest value of `point` meets `condition` to `assets`.
    pub(crate) fn select(
        &self,
        model: ModelId,
        point: PointId,
        condition: &LatestCondition,
        assets: &mut Vec<AssetId>,
    ) -> Result<()> {
        let Some(table) = self.models.read().get(&model).cloned() else { return Ok(()) };
        let mut from = 0;
        loop {
            let table = table.read();
            let to = table.assets.len().min(from + STRETCH);
            let column = table.columns.get(point.0 as usize).and_then(Option::as_ref);
            let Some(column) = column.filter(|_| from < to) else { return Ok(()) };
            let test = condition.test(column.kind)?;
            column.select(&test, from, to, |slot| assets.push(table.assets[slot]));
            from = to;
        }
    }

    /// How many assets have a slot.
    pub(crate) fn assets(&self) -> u64 {
        self.models.read().values().map(|t| t.read().assets.len() as u64).sum()
    }

    /// The table as a checkpoint holds it, models ascending.
    pub(crate) fn checkpoint(&self) -> Vec<file::ModelLatest> {
        let mut tables: Vec<_> = self.models.read().iter().map(|(m, t)| (*m, Arc::clone(t))).collect();
        tables.sort_by_key(|t| t.0);
        tables.into_iter().map(|(model, table)| table.read().checkpoint(model)).collect()
    }

    /// Fills an empty table from a checkpoint.
    pub(crate) fn restore(&self, models: Vec<file::ModelLatest>) {
        for saved in models {
            let table = self.model(saved.model);
            let mut table = table.write();
            let slots: Vec<u32> = saved.assets.iter().map(|&asset| table.slot(asset)).collect();
            // By value: what was read of a column is let go before the next one takes its room in the table.
            for column in saved.columns {
                let point = table.point(column.point, column.values.kind());
                point.reserve(slots.len());
                if let Some(changed) = &column.changed {
                    let kept = point.changed.get_or_insert_default();
                    kept.resize(slots.len(), ABSENT);
                    match &column.rows {
                        Rows::All => slots.iter().zip(changed).for_each(|(&s, &t)| kept[s as usize] = t),
                        Rows::Some(rows) => {
                            rows.iter()
                                .zip(changed)
                                .for_each(|(&r, &t)| kept[slots[r as usize] as usize] = t);
                        }
                    }
                }
                let mut put = |i: usize, row: u32| {
                    let quality = column.quality.as_ref().map(|q| q[i]);
                    let time = Timestamp(column.times[i]);
                    point.set(slots[row as usize], time, column.values.get(i), quality);
                };
                match &column.rows {
                    Rows::All => (0..column.times.len()).for_each(|i| put(i, i as u32)),
                    Rows::Some(rows) => rows.iter().enumerate().for_each(|(i, &row)| put(i, row)),
                }
            }
        }
    }
}

impl LatestRows {
    /// No rows, with a column for each kind.
    pub(crate) fn new(kinds: impl Iterator<Item = Kind>) -> LatestRows {
        let column = |kind| LatestColumn {
            times: Vec::new(),
            values: Values::new(kind),
            quality: None,
            presence: Presence::new(),
        };
        LatestRows { assets: Vec::new(), columns: kinds.map(column).collect() }
    }
}

impl ModelTable {
    fn slot(&mut self, asset: AssetId) -> u32 {
        let next = self.assets.len() as u32;
        let slot = *self.slots.entry(asset).or_insert(next);
        if slot == next {
            self.assets.push(asset);
        }
        slot
    }

    fn point(&mut self, point: PointId, kind: Kind) -> &mut PointTable {
        let i = point.0 as usize;
        let watched = self.watched.binary_search(&point).is_ok();
        if self.columns.len() <= i {
            self.columns.resize_with(i + 1, || None);
        }
        self.columns[i].get_or_insert_with(|| PointTable {
            kind,
            times: Vec::new(),
            values: Vec::new(),
            texts: Vec::new(),
            quality: None,
            changed: watched.then(Vec::new),
        })
    }

    fn checkpoint(&self, model: ModelId) -> file::ModelLatest {
        let columns = self.columns.iter().enumerate().filter_map(|(i, column)| {
            let column = column.as_ref()?;
            let rows: Vec<u32> =
                (0..column.times.len() as u32).filter(|&s| column.times[s as usize] != ABSENT).collect();
            let mut values = Values::with_capacity(column.kind, rows.len());
            for &slot in &rows {
                let fits = values.push(column.value(slot as usize));
                debug_assert!(fits);
            }
            let quality = column.quality.as_ref().map(|q| {
                rows.iter().map(|&s| q.get(s as usize).copied().unwrap_or_default()).collect::<Vec<_>>()
            });
            let times = rows.iter().map(|&s| column.times[s as usize]).collect();
            let changed = column.changed.as_ref().map(|c| rows.iter().map(|&s| c[s as usize]).collect());
            let rows = if rows.len() == self.assets.len() { Rows::All } else { Rows::Some(rows) };
            Some(file::LatestColumn { point: PointId(i as u32), rows, times, changed, values, quality })
        });
        file::ModelLatest { model, assets: self.assets.clone(), columns: columns.collect() }
    }
}

impl PointTable {
    /// Makes room for `slots` slots in all, at once rather than by doubling.
    fn reserve(&mut self, slots: usize) {
        let missing = slots.saturating_sub(self.times.len());
        self.times.reserve_exact(missing);
        self.values.reserve_exact(missing);
    }

    /// Moves forward to a sample, unless it is older than what is there.
    fn advance(&mut self, slot: u32, time: Timestamp, value: ValueRef<'_>, quality: Option<Quality>) {
        let before = self.times.get(slot as usize).copied().unwrap_or(ABSENT);
        if time.0 < before {
            return;
        }
        if self.changed.is_some() {
            let same = before != ABSENT && same_value(self.value(slot as usize), value);
            if let Some(changed) = self.changed.as_mut().filter(|_| !same) {
                if changed.len() <= slot as usize {
                    changed.resize(slot as usize + 1, ABSENT);
                }
                changed[slot as usize] = time.0;
            }
        }
        self.set(slot, time, value, quality);
    }

    fn set(&mut self, slot: u32, time: Timestamp, value: ValueRef<'_>, quality: Option<Quality>) {
        let slot = slot as usize;
        if self.times.len() <= slot {
            self.times.resize(slot + 1, ABSENT);
            self.values.resize(slot + 1, 0);
            if self.kind == Kind::Text {
                self.texts.resize(slot + 1, "".into());
            }
        }
        self.times[slot] = time.0;
        match value {
            ValueRef::Float(v) => self.values[slot] = v.to_bits(),
            ValueRef::Int(v) => self.values[slot] = v as u64,
            ValueRef::Bool(v) => self.values[slot] = u64::from(v),
            ValueRef::Text(v) => {
                if &*self.texts[slot] != v {
                    self.texts[slot] = v.into();
                }
            }
        }
        if quality.is_some() || self.quality.is_some() {
            let qualities = self.quality.get_or_insert_default();
            if qualities.len() <= slot {
                qualities.resize(slot + 1, Quality::GOOD);
            }
            qualities[slot] = quality.unwrap_or_default();
        }
    }

    fn delete(&mut self, slot: usize, range: TimeRange) {
        if let Some(time) = self.times.get_mut(slot)
            && range.contains(Timestamp(*time))
        {
            *time = ABSENT;
        }
    }

    fn value(&self, slot: usize) -> ValueRef<'_> {
        let bits = self.values[slot];
        match self.kind {
            Kind::Float => ValueRef::Float(f64::from_bits(bits)),
            Kind::Int => ValueRef::Int(bits as i64),
            Kind::Bool => ValueRef::Bool(bits != 0),
            Kind::Text => ValueRef::Text(&self.texts[slot]),
        }
    }

    fn get(&self, slot: u32) -> Option<Latest> {
        let slot = slot as usize;
        let time = *self.times.get(slot).filter(|&&t| t != ABSENT)?;
        let quality = self.quality.as_ref().map(|q| q.get(slot).copied().unwrap_or_default());
        Some(Latest { time: Timestamp(time), value: self.value(slot).to_owned(), quality })
    }
}

/// Whether two values are the same bit for bit, but for the sign of zero: −0.0 after 0.0 is no change to anybody.
fn same_value(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    match (a, b) {
        (ValueRef::Float(a), ValueRef::Float(b)) => a == b || a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

/// Appends slots `range` of `point` to `column`, which has `before` rows.
fn copy_stretch(
    column: &mut LatestColumn,
    point: Option<&PointTable>,
    range: std::ops::Range<usize>,
    before: usize,
) {
    let with_quality = point.is_some_and(|p| p.quality.is_some()) || column.quality.is_some();
    if with_quality && column.quality.is_none() {
        column.quality = Some(vec![Quality::GOOD; before]);
    }
    for slot in range {
        let time = point.and_then(|p| p.times.get(slot).copied()).unwrap_or(ABSENT);
        let present = point.filter(|p| time != ABSENT && p.kind == column.values.kind());
        column.presence.push(present.is_some());
        match present {
            Some(point) => {
                column.times.push(Timestamp(time));
                let fits = column.values.push(point.value(slot));
                debug_assert!(fits);
            }
            None => {
                column.times.push(Timestamp(0));
                column.values.push_absent();
            }
        }
        if let Some(quality) = &mut column.quality {
            let own = point.and_then(|p| p.quality.as_ref()).and_then(|q| q.get(slot).copied());
            quality.push(own.unwrap_or_default());
        }
    }
}
