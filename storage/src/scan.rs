//! The ordered scan of one shard: memtables and segments merged by (asset, time), newest write wins.
//!
//! Owns: which sources a request needs, walking them asset by asset and partition by partition, laying the result
//! out in batches. Does not own: merging two runs (`run`), pruning by anything but asset, time and point.
//!
//! Memory at any time: a piece of the rows of one asset (about a million values), the output batch, and an index over
//! the memtables.

use std::sync::Arc;

use wattline_model::{
    AssetId, Column, Kind, ModelId, PointId, Presence, Quality, Rows, Seqno, TimeRange, Timestamp, ValueRef,
    Values,
};

use crate::error::{Error, ErrorKind, Result};
use crate::memtable::{AssetRows, SortedTable, TableView};
use crate::run::{Run, merge, without_empty_rows};
use crate::segment::{SegmentCursor, pieces};
use crate::tombstone::{ANY_TIME, Tombstones};
use crate::version::{Version, partition_of};

/// What to scan.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// The model whose rows are wanted.
    pub model: ModelId,
    /// The points wanted, one column each in this order, with the kind the model gives them.
    pub points: Vec<(PointId, Kind)>,
    /// The assets wanted; `None` for all.
    pub assets: Option<Vec<AssetId>>,
    /// The times wanted.
    pub range: TimeRange,
    /// Whether rows are wanted where only other points of the model have a sample: SQL's meaning of a row.
    pub every_row: bool,
    /// Rows of a batch; the last one, and one before a longer pause, may have fewer.
    pub batch_rows: usize,
}

/// Rows by (asset, time).
#[derive(Clone, Debug)]
pub struct ScanBatch {
    /// The asset of each row.
    pub assets: Vec<AssetId>,
    /// The time of each row, in microseconds since the epoch.
    pub times: Vec<i64>,
    /// One column a point asked for.
    pub columns: Vec<ScanColumn>,
}

/// One point over the rows of a [`ScanBatch`].
#[derive(Clone, Debug)]
pub struct ScanColumn {
    /// One value a row; meaningless where absent.
    pub values: Values,
    /// Which rows have a value; `None`: all.
    pub presence: Option<Presence>,
    /// One quality a row, where any was reported.
    pub quality: Option<Vec<Quality>>,
}

/// The rows of one shard, in batches sorted by (asset, time).
pub struct ShardScan {
    request: ScanRequest,
    partition_micros: i64,
    /// Oldest first within a partition: the order that decides duplicates.
    segments: Vec<SegmentCursor>,
    /// Oldest first.
    memtables: Vec<MemtableSource>,
    /// Assets asked for that are still to come, last first; `None`: whatever the sources have.
    wanted: Option<Vec<AssetId>>,
    /// The asset in work.
    current: Option<AssetWork>,
    output: Output,
    /// What the next call answers before all else.
    refused: Option<Error>,
    failed: bool,
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

/// One asset, partition by partition, and those in pieces.
struct AssetWork {
    asset: AssetId,
    /// Partitions to come with the numbers of the segments that hold rows, last first.
    partitions: Vec<(i64, Vec<usize>)>,
    /// The segments of the partition in work, and its ranges to come, last first.
    sources: Vec<usize>,
    pieces: Vec<TimeRange>,
    memtable_runs: Vec<Run>,
    /// A merged run of which the rows from `.1` on are still to be given out.
    pending: Option<(Run, usize)>,
}

/// A request for at most this many assets looks each of them up; one for more sorts the memtable.
const SINGLE_ASSETS_MAX: usize = 64;

impl ShardScan {
    pub(crate) fn new(
        mut request: ScanRequest,
        assets: Option<Vec<AssetId>>,
        version: &Version,
        memtables: &[TableView],
        partition_micros: i64,
    ) -> ShardScan {
        request.batch_rows = request.batch_rows.max(1);
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
        let output = Output::new(&request);
        ShardScan {
            partition_micros,
            segments,
            memtables,
            wanted,
            current: None,
            output,
            refused: version.fence(request.range),
            request,
            failed: false,
        }
    }

    fn advance(&mut self) -> Result<Option<ScanBatch>> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        loop {
            if let Some(work) = &mut self.current
                && let Some((run, from)) = &mut work.pending
            {
                let to = run.rows().min(*from + (self.request.batch_rows - self.output.rows()));
                self.output.push(work.asset, run, *from, to)?;
                *from = to;
                if to == run.rows() {
                    work.pending = None;
                }
                if self.output.rows() >= self.request.batch_rows {
                    return Ok(Some(self.output.take(&self.request)));
                }
                continue;
            }
            if self.next_piece()? || self.next_partition() || self.next_asset() {
                continue;
            }
            return Ok((self.output.rows() > 0).then(|| self.output.take(&self.request)));
        }
    }

    /// Merges the next piece of the partition in work; `false` when it has none left.
    fn next_piece(&mut self) -> Result<bool> {
        let Some(work) = &mut self.current else { return Ok(false) };
        let Some(range) = work.pieces.pop() else { return Ok(false) };
        let mut runs = Vec::with_capacity(work.sources.len() + work.memtable_runs.len());
        for &source in &work.sources {
            runs.push(self.segments[source].read(work.asset, range)?);
        }
        for run in &mut work.memtable_runs {
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
        let mut run = merge(runs);
        if !self.request.every_row {
            run = without_empty_rows(run);
        }
        work.pending = (run.rows() > 0).then_some((run, 0));
        Ok(true)
    }

    /// Takes up the next partition of the asset in work; `false` when it has none left.
    fn next_partition(&mut self) -> bool {
        let Some(work) = &mut self.current else { return false };
        for &source in &work.sources {
            self.segments[source].pass(work.asset);
        }
        let Some((partition, sources)) = work.partitions.pop() else {
            self.current = None;
            return false;
        };
        let inside =
            TimeRange::new(Timestamp(partition), Timestamp(partition.saturating_add(self.partition_micros)));
        let range = inside.intersect(self.request.range);
        let cursors = sources.iter().map(|&source| &self.segments[source]);
        work.pieces = pieces(cursors, work.asset, range, self.request.points.len());
        work.pieces.reverse();
        work.sources = sources;
        true
    }

    /// Takes up the next asset that may have rows; `false` when there is none.
    fn next_asset(&mut self) -> bool {
        loop {
            let asset = match &mut self.wanted {
                Some(wanted) => wanted.pop(),
                None => self
                    .segments
                    .iter()
                    .filter_map(SegmentCursor::peek)
                    .chain(self.memtables.iter().filter_map(MemtableSource::peek))
                    .min(),
            };
            let Some(asset) = asset else { return false };
            let memtable_runs: Vec<Run> = self
                .memtables
                .iter_mut()
                .map(|m| m.read(asset, self.request.range))
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
            self.current = Some(AssetWork {
                asset,
                partitions,
                sources: Vec::new(),
                pieces: Vec::new(),
                memtable_runs,
                pending: None,
            });
            return true;
        }
    }
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

impl Iterator for ShardScan {
    type Item = Result<ScanBatch>;

    fn next(&mut self) -> Option<Result<ScanBatch>> {
        if self.failed {
            return None;
        }
        let result = self.advance();
        self.failed = result.is_err();
        result.transpose()
    }
}

/// The batch being filled.
struct Output {
    assets: Vec<AssetId>,
    times: Vec<i64>,
    columns: Vec<ScanColumn>,
    points: Vec<PointId>,
}

impl Output {
    fn new(request: &ScanRequest) -> Output {
        Output {
            assets: Vec::new(),
            times: Vec::new(),
            columns: request.points.iter().map(|p| ScanColumn::new(p.1)).collect(),
            points: request.points.iter().map(|p| p.0).collect(),
        }
    }

    fn rows(&self) -> usize {
        self.times.len()
    }

    fn take(&mut self, request: &ScanRequest) -> ScanBatch {
        let full = std::mem::replace(self, Output::new(request));
        ScanBatch { assets: full.assets, times: full.times, columns: full.columns }
    }

    fn push(&mut self, asset: AssetId, run: &Run, from: usize, to: usize) -> Result<()> {
        let before = self.rows();
        self.times.extend_from_slice(&run.times[from..to]);
        self.assets.resize(before + to - from, asset);
        for (output, point) in self.columns.iter_mut().zip(&self.points) {
            match run.columns.binary_search_by_key(point, |c| c.point) {
                Ok(i) => output.append(&run.columns[i], from, to, before)?,
                Err(_) => output.append_absent(to - from, before),
            }
        }
        Ok(())
    }
}

impl ScanColumn {
    fn new(kind: Kind) -> ScanColumn {
        ScanColumn { values: Values::new(kind), presence: None, quality: None }
    }

    fn append_absent(&mut self, rows: usize, before: usize) {
        let presence = self.presence.get_or_insert_with(|| Presence::filled(before, true));
        for _ in 0..rows {
            self.values.push_absent();
            presence.push(false);
        }
        if let Some(quality) = &mut self.quality {
            quality.resize(before + rows, Quality::GOOD);
        }
    }

    /// Appends rows `[from, to)` of a run's column; there are `before` rows already.
    fn append(&mut self, column: &Column, from: usize, to: usize, before: usize) -> Result<()> {
        if column.values.kind() != self.values.kind() {
            return Err(Error::new(
                ErrorKind::Bug,
                format!(
                    "{} holds {} values, the request says {}",
                    column.point,
                    column.values.kind().name(),
                    self.values.kind().name()
                ),
            ));
        }
        let (first, last) = match &column.rows {
            Rows::All => (from, to),
            Rows::Some(rows) => {
                (rows.partition_point(|&r| (r as usize) < from), rows.partition_point(|&r| (r as usize) < to))
            }
        };
        if column.quality.is_some() && self.quality.is_none() {
            self.quality = Some(vec![Quality::GOOD; before]);
        }
        if last - first == to - from {
            self.append_dense(column, first, last);
        } else {
            self.append_sparse(column, from, to, (first, last), before);
        }
        Ok(())
    }

    fn append_dense(&mut self, column: &Column, first: usize, last: usize) {
        match (&mut self.values, &column.values) {
            (Values::Float(a), Values::Float(b)) => a.extend_from_slice(&b[first..last]),
            (Values::Int(a), Values::Int(b)) => a.extend_from_slice(&b[first..last]),
            (Values::Bool(a), Values::Bool(b)) => a.extend_from_slice(&b[first..last]),
            (Values::Text(a), Values::Text(b)) => (first..last).for_each(|i| a.push(b.get(i))),
            _ => unreachable!("kinds were compared"),
        }
        if let Some(presence) = &mut self.presence {
            (first..last).for_each(|_| presence.push(true));
        }
        if let Some(quality) = &mut self.quality {
            match &column.quality {
                Some(own) => quality.extend_from_slice(&own[first..last]),
                None => quality.resize(quality.len() + last - first, Quality::GOOD),
            }
        }
    }

    fn append_sparse(
        &mut self,
        column: &Column,
        from: usize,
        to: usize,
        values: (usize, usize),
        before: usize,
    ) {
        let presence = self.presence.get_or_insert_with(|| Presence::filled(before, true));
        let Rows::Some(rows) = &column.rows else { unreachable!("a dense column has a value a row") };
        let mut next = values.0;
        for row in from..to {
            let present = next < values.1 && rows[next] as usize == row;
            presence.push(present);
            if present {
                let value: ValueRef<'_> = column.values.get(next);
                let fits = self.values.push(value);
                debug_assert!(fits, "kinds were compared");
            } else {
                self.values.push_absent();
            }
            if let Some(quality) = &mut self.quality {
                let own = if present { column.quality.as_ref().map(|q| q[next]) } else { None };
                quality.push(own.unwrap_or_default());
            }
            next += usize::from(present);
        }
    }
}

#[cfg(test)]
mod tests;
