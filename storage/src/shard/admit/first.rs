//! "Not modifiable": of several writes for one time the first stays.
//!
//! Owns: finding out which samples of a batch are stored already. Does not own: the rule that else the later write
//! wins (`run`).
//!
//! A sample newer than all of its series cannot be stored already; that is most samples, and costs one look into a
//! map. The others are looked up in memtables and segments.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use wattline_model::{AssetId, Batch, Column, Kind, ModelId, PointId, Rows, TimeRange, Timestamp, Values};

use crate::error::Result;
use crate::run::rows_of;
use crate::scan::ScanRequest;
use crate::shard::Shard;
use crate::snapshot::Snapshot;

/// Series whose newest time is remembered, a shard: some 30 bytes each. Beyond, all are forgotten and looked up again.
const SERIES_MAX: usize = 1 << 20;

type Series = (ModelId, AssetId, PointId);

/// What is known of series whose first writes stay.
#[derive(Default)]
pub(super) struct FirstWrites {
    /// No sample of the series is stored after this time.
    newest: FxHashMap<Series, i64>,
    /// Samples of the group that is being admitted: they are in no memtable yet.
    group: FxHashSet<(Series, i64)>,
}

impl FirstWrites {
    /// The group is admitted: from now on its samples are found where they are stored.
    pub(super) fn end_group(&mut self) {
        self.group.clear();
        if self.newest.len() > SERIES_MAX {
            self.newest.clear();
        }
    }

    /// Takes the samples out of the `wanted` columns of `batch` that are stored already, or twice in it.
    pub(super) fn keep_first(
        &mut self,
        shard: &Arc<Shard>,
        batch: &mut Batch,
        wanted: impl Fn(&Column) -> bool,
    ) {
        let (model, stored) = (batch.model, self.stored(shard, batch, &wanted));
        for column in batch.columns.iter_mut().filter(|c| wanted(c)) {
            let mut kept = Vec::new();
            for (i, row) in rows_of(column).enumerate() {
                let (asset, time) = (batch.assets[row as usize], batch.times[row as usize].0);
                let series = (model, asset, column.point);
                if stored.contains(&(asset, column.point, time)) || !self.group.insert((series, time)) {
                    continue;
                }
                // Where nothing could be looked up, nothing is known.
                if let Some(newest) = self.newest.get_mut(&series) {
                    *newest = time.max(*newest);
                }
                kept.push(i);
            }
            if kept.len() < column.values.len() {
                pick(column, &kept);
            }
        }
        batch.columns.retain(|c| !c.values.is_empty());
    }

    /// Those samples of the `wanted` columns that are in memtables or segments.
    fn stored(
        &mut self,
        shard: &Arc<Shard>,
        batch: &Batch,
        wanted: impl Fn(&Column) -> bool,
    ) -> FxHashSet<(AssetId, PointId, i64)> {
        // Per asset the span of times in doubt.
        let mut spans: FxHashMap<AssetId, (i64, i64)> = FxHashMap::default();
        let mut points: Vec<(PointId, Kind)> = Vec::new();
        for column in batch.columns.iter().filter(|c| wanted(c)) {
            let mut doubt = false;
            for row in rows_of(column) {
                let (asset, time) = (batch.assets[row as usize], batch.times[row as usize].0);
                let newest = self.newest.get(&(batch.model, asset, column.point));
                if newest.is_some_and(|&newest| time > newest) {
                    continue;
                }
                doubt = true;
                let span = spans.entry(asset).or_insert((time, time));
                *span = (span.0.min(time), span.1.max(time));
            }
            if doubt {
                points.push((column.point, column.values.kind()));
            }
        }
        let mut stored = FxHashSet::default();
        let snapshot = Snapshot::new(std::slice::from_ref(shard));
        for (asset, (first, last)) in spans {
            if let Err(error) =
                self.look_up(&snapshot, batch.model, asset, &points, (first, last), &mut stored)
            {
                // Nobody can tell what a damaged segment had. The new sample is the only one that can be read.
                tracing::warn!(%error, "what is stored cannot be read; samples that may not be modified are written");
            }
        }
        stored
    }

    fn look_up(
        &mut self,
        snapshot: &Snapshot,
        model: ModelId,
        asset: AssetId,
        points: &[(PointId, Kind)],
        (first, last): (i64, i64),
        stored: &mut FxHashSet<(AssetId, PointId, i64)>,
    ) -> Result<()> {
        // To the end of time where nothing is known of a series, so that its newest sample is known from now on.
        let known = points.iter().all(|p| self.newest.contains_key(&(model, asset, p.0)));
        let end = if known { Timestamp(last.saturating_add(1)) } else { Timestamp::MAX };
        let request = ScanRequest {
            model,
            points: points.to_vec(),
            assets: Some(vec![asset]),
            range: TimeRange::new(Timestamp(first), end),
            every_row: false,
            batch_rows: 4_096,
        };
        let mut newest = vec![first - 1; points.len()];
        for scan in snapshot.scan(&request) {
            for rows in scan {
                let rows = rows?;
                for ((column, (point, _)), newest) in rows.columns.iter().zip(points).zip(&mut newest) {
                    for (i, &time) in rows.times.iter().enumerate() {
                        if column.presence.as_ref().is_some_and(|p| !p.get(i)) {
                            continue;
                        }
                        *newest = time.max(*newest);
                        if time <= last {
                            stored.insert((asset, *point, time));
                        }
                    }
                }
            }
        }
        if !known {
            for ((point, _), newest) in points.iter().zip(newest) {
                self.newest.entry((model, asset, *point)).or_insert(newest);
            }
        }
        Ok(())
    }
}

/// Keeps the values of a column with these numbers.
fn pick(column: &mut Column, kept: &[usize]) {
    let rows: Vec<u32> = rows_of(column).collect();
    let mut values = Values::with_capacity(column.values.kind(), kept.len());
    for &i in kept {
        let fits = values.push(column.values.get(i));
        debug_assert!(fits);
    }
    column.values = values;
    column.rows = Rows::Some(kept.iter().map(|&i| rows[i]).collect());
    column.quality = column.quality.as_ref().map(|q| kept.iter().map(|&i| q[i]).collect());
}
