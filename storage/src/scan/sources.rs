//! Where the rows of a request come from: the segments and memtables of a shard that may hold some, asset by asset.
//!
//! Owns: choosing the sources, leaving out what was deleted, the order of assets. Does not own: merging what the
//! sources give (`run`), what becomes of it (`scan`, `aggregate`).

use std::sync::Arc;

use wattline_model::{AssetId, PointId, Seqno, TimeRange, Timestamp};

use super::ScanRequest;
use crate::error::{Error, Result};
use crate::memtable::{AssetRows, SortedTable, TableView};
use crate::run::{Run, merge};
use crate::segment::{BlockPlace, SegmentCursor, pieces};
use crate::tombstone::{ANY_TIME, Tombstones};
use crate::version::{Version, partition_of};

/// The sources of one request in one shard.
pub(crate) struct Sources {
    range: TimeRange,
    partition_micros: i64,
    /// Points whose values are read, for the size of pieces.
    points: usize,
    /// Oldest first within a partition: the order that decides duplicates.
    segments: Vec<SegmentCursor>,
    /// Oldest first.
    memtables: Vec<MemtableSource>,
    /// Assets asked for that are still to come, last first; `None`: whatever the sources have.
    wanted: Option<Vec<AssetId>>,
    /// Why nobody can know the answer.
    refused: Option<Error>,
}

/// What the sources have of one asset.
pub(crate) struct AssetSources {
    pub(crate) asset: AssetId,
    /// Partitions to come with the numbers of the segments that hold rows, last first.
    pub(crate) partitions: Vec<(i64, Vec<usize>)>,
    /// Its rows in memtables, oldest memtable first.
    pub(crate) memtable_runs: Vec<Run>,
}

/// What to do next with the rows of an asset, in order of time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A block whose rows nobody else has a say in.
    Block(BlockPlace),
    /// A stretch of time whose rows are to be merged; segments have some of them where it is `settled`, else they are
    /// all in memory.
    Merge { range: TimeRange, settled: bool },
}

struct MemtableSource {
    rows: MemtableRows,
    tombstones: Tombstones,
}

enum MemtableRows {
    /// For few assets: found one by one.
    Single(AssetRows),
    /// For many: sorted once, walked in order.
    Sorted(Box<SortedTable>, usize),
}

/// A request for at most this many assets looks each of them up; one for more sorts the memtable.
const SINGLE_ASSETS_MAX: usize = 64;

impl Sources {
    /// The sources of `request`, of which `assets` belong to this shard.
    pub(crate) fn new(
        request: &ScanRequest,
        assets: Option<Vec<AssetId>>,
        version: &Version,
        memtables: &[TableView],
        partition_micros: i64,
    ) -> Sources {
        let mut points: Vec<PointId> = request.points.iter().map(|p| p.0).collect();
        points.sort_unstable();
        points.dedup();
        // Whether a row stays that a deletion took some points from can only be told from all of its points.
        let erasures = version.erasures();
        let tombstones = Tombstones::of(&erasures, request.model, Seqno::ZERO, ANY_TIME);
        let points = (!(request.every_row && tombstones.name_points())).then_some(points);
        let few = assets.as_ref().is_some_and(|a| a.len() <= SINGLE_ASSETS_MAX);
        let source = |table: &TableView| {
            let rows = match few {
                true => MemtableRows::Single(table.by_asset(points.as_deref())),
                false => MemtableRows::Sorted(Box::new(table.sorted(points.as_deref())), 0),
            };
            let tombstones = Tombstones::of(&erasures, request.model, table.first(), ANY_TIME);
            MemtableSource { rows, tombstones }
        };
        let memtables = memtables.iter().map(source).collect();
        let segments = version
            .overlapping(request.range)
            .map(|s| SegmentCursor::new(Arc::clone(s), request.model, points.clone(), &erasures))
            .collect();
        let wanted = assets.map(|mut assets| {
            assets.sort_unstable_by(|a, b| b.cmp(a));
            assets.dedup();
            assets
        });
        Sources {
            range: request.range,
            partition_micros,
            points: request.points.len(),
            segments,
            memtables,
            wanted,
            refused: version.fence(request.range),
        }
    }

    /// Why the request cannot be answered, once.
    pub(crate) fn take_refusal(&mut self) -> Option<Error> {
        self.refused.take()
    }

    /// Cursor number `i`, at the asset in work.
    pub(crate) fn segment(&mut self, i: usize) -> &mut SegmentCursor {
        &mut self.segments[i]
    }

    /// The part of the request in the partition that starts at `partition`.
    pub(crate) fn inside(&self, partition: i64) -> TimeRange {
        let end = partition.saturating_add(self.partition_micros);
        TimeRange::new(Timestamp(partition), Timestamp(end)).intersect(self.range)
    }

    /// How to read `work`'s rows in the partition that starts at `partition`, of which the segments numbered `from` have
    /// some; returns how many blocks lie outside the request.
    ///
    /// A block counts as it is where no other segment and no memtable has rows of the asset between its first and its
    /// last time and no deletion means it.
    pub(crate) fn steps(
        &self,
        work: &AssetSources,
        partition: i64,
        from: &[usize],
        steps: &mut Vec<Step>,
    ) -> usize {
        let range = self.inside(partition);
        let (mut blocks, mut outside) = (Vec::new(), 0);
        for &i in from {
            outside += self.segments[i].blocks(work.asset, range, i, &mut blocks);
        }
        if from.len() > 1 {
            blocks.sort_by_key(|b| b.first_time);
        }
        let runs = &work.memtable_runs;
        let between = |range: TimeRange, settled: bool, steps: &mut Vec<Step>| {
            if !range.is_empty() && (settled || has_rows(runs, range.start.0, range.end.0.saturating_sub(1)))
            {
                steps.push(Step::Merge { range, settled });
            }
        };
        // From where on nothing was looked at, whether there are blocks since, and how far the latest of them goes.
        let (mut at, mut open, mut reach) = (range.start, false, i64::MIN);
        for (i, block) in blocks.iter().enumerate() {
            let next = blocks.get(i + 1).map_or(i64::MAX, |b| b.first_time);
            let alone = block.whole
                && (reach < block.first_time || i == 0)
                && (block.last_time < next || i + 1 == blocks.len())
                && !has_rows(runs, block.first_time, block.last_time)
                && !self.segments[block.cursor].may_be_erased(work.asset, block);
            reach = reach.max(block.last_time);
            if !alone {
                open = true;
                continue;
            }
            between(TimeRange::new(at, Timestamp(block.first_time)), open, steps);
            steps.push(Step::Block(*block));
            (at, open) = (Timestamp(block.last_time.saturating_add(1)), false);
        }
        between(TimeRange::new(at, range.end), open, steps);
        outside
    }

    /// `range` of `asset`, which is in work, cut so that each piece has a bounded number of rows in the segments
    /// numbered `from`.
    pub(crate) fn pieces(&self, asset: AssetId, from: &[usize], range: TimeRange) -> Vec<TimeRange> {
        pieces(from.iter().map(|&i| &self.segments[i]), asset, range, self.points)
    }

    /// The rows of `asset` in `range` from the segments numbered `from` and from `memtable_runs`, merged. Of one
    /// asset, ranges come in ascending order.
    pub(crate) fn merged(
        &mut self,
        asset: AssetId,
        range: TimeRange,
        from: &[usize],
        memtable_runs: &mut [Run],
    ) -> Result<Run> {
        let mut runs = Vec::with_capacity(from.len() + memtable_runs.len());
        for &i in from {
            runs.push(self.segments[i].read(asset, range)?);
        }
        for run in memtable_runs {
            if run.times.last().is_some_and(|&last| last < range.end.0)
                && run.times.first().is_some_and(|&first| first >= range.start.0)
            {
                runs.push(std::mem::take(run));
            } else {
                let from = run.times.partition_point(|&t| t < range.start.0);
                let to = run.times.partition_point(|&t| t < range.end.0);
                if from < to {
                    runs.push(run.slice(from, to));
                }
            }
        }
        Ok(merge(runs))
    }

    /// Takes up the next asset that may have rows.
    pub(crate) fn next_asset(&mut self) -> Option<AssetSources> {
        loop {
            let asset = match &mut self.wanted {
                Some(wanted) => wanted.pop(),
                None => self
                    .segments
                    .iter()
                    .filter_map(SegmentCursor::peek)
                    .chain(self.memtables.iter().filter_map(MemtableSource::peek))
                    .min(),
            }?;
            let range = self.range;
            let memtable_runs: Vec<Run> = self
                .memtables
                .iter_mut()
                .map(|m| m.read(asset, range))
                .filter(|run| run.rows() > 0)
                .collect();
            let mut partitions: Vec<(i64, Vec<usize>)> = Vec::new();
            for (i, segment) in self.segments.iter_mut().enumerate() {
                if self.wanted.is_some() {
                    segment.seek(asset);
                }
                if segment.peek() != Some(asset) {
                    continue;
                }
                // Segments come by partition, so those of one partition are neighbours.
                match partitions.last_mut() {
                    Some(last) if last.0 == segment.partition() => last.1.push(i),
                    _ => partitions.push((segment.partition(), vec![i])),
                }
            }
            add_partitions(&mut partitions, &memtable_runs, self.partition_micros);
            if partitions.is_empty() {
                continue;
            }
            partitions.sort_unstable_by_key(|p| std::cmp::Reverse(p.0));
            return Some(AssetSources { asset, partitions, memtable_runs });
        }
    }
}

/// Whether any of `runs` has a row within `[first, last]`.
fn has_rows(runs: &[Run], first: i64, last: i64) -> bool {
    runs.iter().any(|run| {
        let from = run.times.partition_point(|&t| t < first);
        run.times.get(from).is_some_and(|&t| t <= last)
    })
}

/// Adds the partitions that only memtables have rows in.
fn add_partitions(partitions: &mut Vec<(i64, Vec<usize>)>, runs: &[Run], partition_micros: i64) {
    for run in runs {
        let mut at = 0;
        while let Some(&time) = run.times.get(at) {
            let partition = partition_of(time, partition_micros);
            if !partitions.iter().any(|p| p.0 == partition) {
                partitions.push((partition, Vec::new()));
            }
            at += run.times[at..].partition_point(|&t| t < partition.saturating_add(partition_micros)).max(1);
        }
    }
}

impl MemtableSource {
    fn peek(&self) -> Option<AssetId> {
        match &self.rows {
            MemtableRows::Single(_) => None,
            MemtableRows::Sorted(table, next) => (*next < table.len()).then(|| table.asset(*next)),
        }
    }

    fn read(&mut self, asset: AssetId, range: TimeRange) -> Run {
        let run = match &mut self.rows {
            MemtableRows::Single(rows) => rows.run(asset, range),
            MemtableRows::Sorted(table, next) => {
                while *next < table.len() && table.asset(*next) < asset {
                    *next += 1;
                }
                if *next == table.len() || table.asset(*next) != asset {
                    return Run::default();
                }
                *next += 1;
                table.run(*next - 1, range)
            }
        };
        self.tombstones.erase(asset, run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_memtable_rows_are_found_whatever_their_age() {
        let run = Run { times: vec![-5, 3, 9, 25], columns: vec![] };
        let mut partitions = vec![(0, vec![4])];
        add_partitions(&mut partitions, &[run], 10);
        partitions.sort();
        assert_eq!(partitions, [(-10, vec![]), (0, vec![4]), (20, vec![])]);
    }
}
