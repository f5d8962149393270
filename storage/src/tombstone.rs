//! Deletions that some segments do not reflect yet, and how they are applied to what is read.
//!
//! Owns: which tombstones mean a source of rows, taking the rows they mean out of a run, and how much of a segment
//! they mean. Does not own: their order in the log (`shard`), keeping them (`manifest`), rewriting (`compact`).
//!
//! A tombstone means what was written before it. A writer freezes its memtable before it logs a deletion, so a
//! memtable lies wholly before or wholly after every tombstone. A segment says up to which batch it reflects
//! deletions ([`last_seqno`](wattline_format::manifest::SegmentMeta::last_seqno)): older tombstones were applied when
//! it was written, because whoever merges applies what its inputs do not reflect.

use std::sync::Arc;

use wattline_format::manifest::Tombstone;
use wattline_format::segment::Chunk;
use wattline_model::{AssetId, Column, DeletionTarget, ModelId, Rows, Seqno, TimeRange, Timestamp};

use crate::run::{Run, without_empty_rows};
use crate::version::Segment;

/// Tombstones that mean rows of one model in one source.
#[derive(Clone, Default)]
pub(crate) struct Tombstones(Vec<Arc<Tombstone>>);

/// How much of a segment tombstones mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Share {
    #[default]
    None,
    Some,
    All,
}

/// How many deletions a shard keeps until its segments reflect them: every scan looks at each.
pub(crate) const TOMBSTONES_MAX: usize = 1_024;

impl Tombstones {
    /// Those of `all` that mean rows of `model` within `[first, last]` in a source that reflects deletions up to
    /// `reflected`.
    pub(crate) fn of(
        all: &[Arc<Tombstone>],
        model: ModelId,
        reflected: Seqno,
        (first, last): (i64, i64),
    ) -> Tombstones {
        let means = |t: &&Arc<Tombstone>| {
            t.seqno > reflected
                && t.deletion.model == model
                && t.deletion.target == DeletionTarget::History
                && t.deletion.range.overlaps_closed(Timestamp(first), Timestamp(last))
        };
        Tombstones(all.iter().filter(means).cloned().collect())
    }

    /// Whether some take points out of rows that stay.
    pub(crate) fn name_points(&self) -> bool {
        self.0.iter().any(|t| t.deletion.points.is_some())
    }

    /// Whether some sample of `asset` within `[first, last]` may be meant.
    pub(crate) fn may_mean(&self, asset: AssetId, first: i64, last: i64) -> bool {
        let means = |t: &Arc<Tombstone>| {
            t.deletion.means_asset(asset)
                && t.deletion.range.overlaps_closed(Timestamp(first), Timestamp(last))
        };
        self.0.iter().any(means)
    }

    /// `run` without the samples of `asset` that are meant.
    pub(crate) fn erase(&self, asset: AssetId, mut run: Run) -> Run {
        for Tombstone { deletion, .. } in self.0.iter().map(Arc::as_ref) {
            if !deletion.means_asset(asset) {
                continue;
            }
            let from = run.times.partition_point(|&t| t < deletion.range.start.0);
            let to = run.times.partition_point(|&t| t < deletion.range.end.0);
            if from >= to {
                continue;
            }
            run = match &deletion.points {
                None => {
                    let mut kept = run.slice(0, from);
                    kept.extend(run.slice(to, run.rows()));
                    kept
                }
                Some(points) => {
                    let columns = run.columns.into_iter().filter_map(|column| {
                        if points.binary_search(&column.point).is_err() {
                            return Some(column);
                        }
                        without_rows(&column, from as u32, to as u32, run.times.len() as u32)
                    });
                    without_empty_rows(Run { columns: columns.collect(), times: run.times })
                }
            };
        }
        run
    }

    /// How much of `chunk`, which has some rows of the model, is meant.
    fn share(&self, chunk: &Chunk, points: &[wattline_model::PointId]) -> Share {
        let Some(last) = chunk.blocks.iter().map(|b| b.last_time).max() else { return Share::None };
        let first = chunk.blocks.iter().map(|b| b.first_time).min().unwrap_or(last);
        let (first, last) = (Timestamp(first), Timestamp(last));
        let mut share = Share::None;
        for Tombstone { deletion, .. } in self.0.iter().map(Arc::as_ref) {
            let some_asset = chunk.runs.iter().any(|run| deletion.means_asset(run.asset));
            let some_point = points.iter().any(|&point| deletion.means_point(point));
            if !some_asset || !some_point || !deletion.range.overlaps_closed(first, last) {
                continue;
            }
            let all_assets = chunk.runs.iter().all(|run| deletion.means_asset(run.asset));
            let all_points = points.iter().all(|&point| deletion.means_point(point));
            if all_assets && all_points && deletion.range.covers_closed(first, last) {
                return Share::All;
            }
            share = Share::Some;
        }
        share
    }
}

/// How much of `segment` is meant by `tombstones` or lies in `expired` models.
pub(crate) fn share_of(
    segment: &Segment,
    tombstones: &[Arc<Tombstone>],
    expired: impl Fn(ModelId) -> bool,
) -> Share {
    let (mut all, mut none) = (true, true);
    let range = (segment.meta.first_time, segment.meta.last_time);
    for model in segment.reader.models() {
        if expired(model) {
            none = false;
            continue;
        }
        let tombstones = Tombstones::of(tombstones, model, segment.meta.last_seqno, range);
        if tombstones.0.is_empty() {
            all = false;
            continue;
        }
        for chunk in segment.reader.chunks(model) {
            let share = tombstones.share(chunk, segment.reader.points(chunk));
            all &= share == Share::All;
            none &= share == Share::None;
        }
    }
    match (none, all) {
        (true, _) => Share::None,
        (_, true) => Share::All,
        _ => Share::Some,
    }
}

/// `column` without its values in rows `[from, to)` of `rows`; `None` where none are left.
fn without_rows(column: &Column, from: u32, to: u32, rows: u32) -> Option<Column> {
    let before = crate::run::slice_column(column, 0, from, 0);
    let after = crate::run::slice_column(column, to, rows, to);
    match (before, after) {
        (None, None) => None,
        (Some(before), None) => Some(listed(before, 0)),
        (None, Some(after)) => Some(listed(after, to)),
        (Some(before), Some(after)) => {
            let mut before = listed(before, 0);
            crate::run::append_column(&mut before, &listed(after, to));
            Some(before)
        }
    }
}

/// The column with its rows listed, `origin` added to each.
fn listed(column: Column, origin: u32) -> Column {
    let rows = crate::run::rows_of(&column).map(|row| row + origin).collect();
    Column { rows: Rows::Some(rows), ..column }
}

/// The whole of time, for sources whose times are not known.
pub(crate) const ANY_TIME: (i64, i64) = (TimeRange::ALL.start.0, TimeRange::ALL.end.0);

#[cfg(test)]
mod tests;
