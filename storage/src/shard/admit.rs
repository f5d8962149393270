//! Storage policies at work: what is written for a batch that was sent.
//!
//! Owns: taking a batch apart by the policies of its points, and the state that takes: what thinning remembers of a
//! series, and what is known to be new where the first write wins. Does not own: policies (`registry`), order and
//! durability (`writer`).
//!
//! It runs before the log, so a replay needs no policy: the log says which samples went where, and recovery does the
//! same again whatever the policies have become. A model whose samples are all kept as sent passes untouched.

mod first;

use std::sync::Arc;

use rustc_hash::FxHashMap;
use wattline_model::{
    AssetId, Batch, BatchBuilder, Column, Destination, ModelId, ModelPolicy, PointId, PointPolicy, Policies,
    Quality, Rows, ShardCount, Thinning, Timestamp, ValueRef,
};

use super::Shard;
use crate::run::rows_of;
use first::FirstWrites;
use wattline_model::thin::{Measured, Number, Series};

/// One minute, in microseconds.
const MINUTE: i64 = 60_000_000;

/// Series whose thinning is remembered, a shard: some 130 bytes each. Beyond, all are forgotten, and each starts
/// again with its next sample.
const SERIES_MAX: usize = 1 << 19;

/// The state of one writer.
#[derive(Default)]
pub(crate) struct Admission {
    policies: Arc<Policies>,
    series: FxHashMap<(ModelId, AssetId, PointId), Series>,
    first: FirstWrites,
}

/// A sample that a policy made: where and when it goes, and what it is.
struct Made<'a> {
    model: ModelId,
    asset: AssetId,
    time: i64,
    point: PointId,
    value: ValueRef<'a>,
    quality: Option<Quality>,
}

/// What becomes of one column.
enum Fate {
    /// It goes everywhere as it is.
    AsSent,
    /// History gets what is made of it, if anything.
    Apart,
}

impl Admission {
    /// From now on these policies rule. What thinning remembers of series goes: each starts again.
    pub(crate) fn rule(&mut self, policies: Arc<Policies>) {
        *self = Admission { policies, ..Admission::default() };
    }

    /// Forgets what it knows of samples that were admitted and could not be written: the next ones start again from
    /// what is stored.
    pub(crate) fn forget(&mut self) {
        self.series.clear();
        self.first = FirstWrites::default();
    }

    /// What is written for these batches, in order.
    pub(crate) fn admit(&mut self, shard: &Arc<Shard>, batches: Vec<Batch>) -> Vec<Batch> {
        if self.policies.models.is_empty() && !self.policies.others_latest_only {
            return batches;
        }
        let policies = Arc::clone(&self.policies);
        let mut admitted = Vec::with_capacity(batches.len());
        for batch in batches {
            match policies.of(batch.model) {
                Some(policy) if !is_plain(policy, &batch) => {
                    self.take_apart(shard, policy, batch, &mut admitted)
                }
                _ => admitted.push(batch),
            }
        }
        self.first.end_group();
        admitted
    }

    fn take_apart(
        &mut self,
        shard: &Arc<Shard>,
        policy: &ModelPolicy,
        mut batch: Batch,
        out: &mut Vec<Batch>,
    ) {
        let kept_once = |column: &Column| is_kept_once(policy.point(column.point));
        if batch.columns.iter().any(kept_once) {
            self.first.keep_first(shard, &mut batch, kept_once);
        }
        let mut made = Vec::new();
        let (mut as_sent, mut apart) = (Vec::new(), Vec::new());
        for (i, column) in batch.columns.iter().enumerate() {
            match self.decide(shard, policy.point(column.point), &batch, column, &mut made) {
                Fate::AsSent => as_sent.push(i),
                Fate::Apart => apart.push(i),
            }
        }
        let made = lay_out(made, &batch);
        let source = &mut batch;
        let everywhere = part(source, &as_sent, Destination::Everywhere);
        let latest = part(source, &apart, Destination::Latest);
        out.extend([everywhere, latest].into_iter().flatten());
        out.extend(made);
    }

    fn decide<'a>(
        &mut self,
        shard: &Shard,
        policy: PointPolicy,
        batch: &'a Batch,
        column: &'a Column,
        made: &mut Vec<Made<'a>>,
    ) -> Fate {
        if policy.normalized {
            made.extend(samples(batch, column).map(|s| by_minute(s, batch.model.by_minute())));
        }
        let Some(rule) = policy.history else { return Fate::Apart };
        if rule.by_minute {
            made.extend(samples(batch, column).map(|s| by_minute(s, batch.model)));
            return Fate::Apart;
        }
        if rule.thinning.is_none() {
            return Fate::AsSent;
        }
        for sample in samples(batch, column) {
            self.thin(shard, &rule.thinning, sample, made);
        }
        Fate::Apart
    }

    /// Hands the samples that are kept because of `sample` to `made`.
    fn thin<'a>(&mut self, shard: &Shard, thinning: &Thinning, sample: Made<'a>, made: &mut Vec<Made<'a>>) {
        let value = match sample.value {
            ValueRef::Float(v) => Number::Float(v),
            ValueRef::Int(v) => Number::Int(v),
            _ => return made.push(sample),
        };
        let Made { model, asset, point, time, quality, .. } = sample;
        if self.series.len() >= SERIES_MAX {
            self.series.clear();
        }
        let series = self.series.entry((model, asset, point)).or_insert_with(|| {
            // The newest sample before a restart may not be in history yet: it was waiting for this one.
            let newest = shard.latest.latest(model, asset, &[point]).pop().flatten();
            let newest = newest.filter(|l| l.time.0 < time).and_then(|l| {
                let value = Number::of(l.value.as_ref())?;
                Some(Measured { time: l.time.0, value, quality: l.quality })
            });
            Series::new(newest.filter(|_| thinning.swinging_door.is_some()))
        });
        series.take(thinning, Measured { time, value, quality }, |kept| {
            let Measured { time, value, quality } = kept;
            made.push(Made { model, asset, time, point, value: value.as_value(), quality });
        });
    }
}

/// Whether every sample of the batch is kept as it is sent.
fn is_plain(policy: &ModelPolicy, batch: &Batch) -> bool {
    batch.columns.iter().all(|column| {
        let policy = policy.point(column.point);
        policy.history == Some(wattline_model::HistoryRule::AS_SENT) && !policy.normalized
    })
}

/// Whether the first write of a time stays.
fn is_kept_once(policy: PointPolicy) -> bool {
    policy.history.is_some_and(|rule| !rule.modifiable)
}

/// The samples of a column, as they were sent.
fn samples<'a>(batch: &'a Batch, column: &'a Column) -> impl Iterator<Item = Made<'a>> {
    rows_of(column).enumerate().map(move |(i, row)| Made {
        model: batch.model,
        asset: batch.assets[row as usize],
        time: batch.times[row as usize].0,
        point: column.point,
        value: column.values.get(i),
        quality: column.quality.as_ref().map(|q| q[i]),
    })
}

fn by_minute(sample: Made<'_>, model: ModelId) -> Made<'_> {
    Made { model, time: sample.time.div_euclid(MINUTE) * MINUTE, ..sample }
}

/// The columns numbered `columns` as a batch of their own, with the rows that have a value; `None` where there are
/// none.
fn part(batch: &mut Batch, columns: &[usize], to: Destination) -> Option<Batch> {
    let take = |&i: &usize| {
        let column = &mut batch.columns[i];
        let empty = wattline_model::Values::new(column.values.kind());
        Column {
            point: column.point,
            rows: std::mem::replace(&mut column.rows, Rows::Some(Vec::new())),
            values: std::mem::replace(&mut column.values, empty),
            quality: column.quality.take(),
        }
    };
    let columns: Vec<Column> = columns.iter().map(take).filter(|c| !c.values.is_empty()).collect();
    if columns.is_empty() {
        return None;
    }
    let part = Batch { to, assets: batch.assets.clone(), times: batch.times.clone(), columns, ..*batch };
    Some(without_bare_rows(part))
}

/// The batch without rows that no column has a value for.
fn without_bare_rows(mut batch: Batch) -> Batch {
    if batch.columns.iter().any(|c| c.rows == Rows::All) {
        return batch;
    }
    let mut place = vec![u32::MAX; batch.rows()];
    batch.columns.iter().flat_map(rows_of).for_each(|row| place[row as usize] = 0);
    let mut rows = 0;
    for (from, place) in place.iter_mut().enumerate().filter(|(_, place)| **place == 0) {
        *place = rows;
        batch.assets[rows as usize] = batch.assets[from];
        batch.times[rows as usize] = batch.times[from];
        rows += 1;
    }
    batch.assets.truncate(rows as usize);
    batch.times.truncate(rows as usize);
    for column in &mut batch.columns {
        if let Rows::Some(list) = &mut column.rows {
            list.iter_mut().for_each(|row| *row = place[*row as usize]);
        }
    }
    batch
}

/// The samples made of `batch` as batches for history. Of two for one time the one that was sent last wins.
fn lay_out(mut made: Vec<Made<'_>>, batch: &Batch) -> Vec<Batch> {
    // Stable, so that samples of one time stay in the order of their arrival.
    made.sort_by_key(|s| (s.model, s.asset, s.time));
    let one_shard = ShardCount::new(1).expect("one is a number of shards");
    let mut builder = BatchBuilder::new(one_shard, batch.source);
    for row in made.chunk_by(|a, b| (a.model, a.asset, a.time) == (b.model, b.asset, b.time)) {
        builder.begin_row(row[0].model, row[0].asset, batch.channel);
        for sample in row {
            let fits = builder.cell(sample.point, sample.value, sample.quality);
            debug_assert!(fits, "a point has one kind");
        }
        builder.end_row(Timestamp(row[0].time));
    }
    let mut batches = builder.finish();
    for made in &mut batches {
        (made.shard, made.to) = (batch.shard, Destination::History);
    }
    batches
}
