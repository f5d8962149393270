//! The ordered scan of one shard: memtables and segments merged by (asset, time), newest write wins.
//!
//! Owns: walking the sources asset by asset and partition by partition, laying the result out in batches. Does not
//! own: which sources those are (`sources`), merging two runs (`run`), pruning by anything but asset, time and point.
//!
//! Memory at any time: a piece of the rows of one asset (about a million values), the output batch, and an index over
//! the memtables.

mod sources;
mod within;

use wattline_model::{
    AssetId, Column, Kind, ModelId, PointId, Presence, Quality, Rows, TimeRange, Timestamp, ValueRef, Values,
};

use crate::error::{Error, ErrorKind, Result};
use crate::memtable::TableView;
use crate::run::{Run, without_empty_rows};
use crate::segment::{BlockPlace, cut};
use crate::version::Version;
pub(crate) use sources::{AssetSources, Sources, Step};
pub use within::Within;

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

/// What a scan cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanFigures {
    /// Blocks that lie outside the range, or whose statistics say that no row is wanted.
    pub blocks_pruned: u64,
    /// Blocks of which times and the columns of conditions were decoded, and no row was wanted.
    pub blocks_sifted: u64,
    /// Blocks that were decoded alone.
    pub blocks_decoded: u64,
    /// Rows that were merged from several sources, or come from memory.
    pub rows_merged: u64,
}

/// The rows of one shard, in batches sorted by (asset, time).
pub struct ShardScan {
    request: ScanRequest,
    conditions: Vec<Within>,
    points: Vec<PointId>,
    sources: Sources,
    /// The asset in work.
    current: Option<AssetWork>,
    output: Output,
    figures: ScanFigures,
    failed: bool,
}

/// One asset, partition by partition, and those step by step.
struct AssetWork {
    rows: AssetSources,
    /// The segments of the partition in work, and its steps to come, last first.
    sources: Vec<usize>,
    steps: Vec<Step>,
    /// A run of which the rows from `.1` on are still to be given out.
    pending: Option<(Run, usize)>,
}

impl ShardScan {
    pub(crate) fn new(
        mut request: ScanRequest,
        conditions: &[Within],
        assets: Option<Vec<AssetId>>,
        version: &Version,
        memtables: &[TableView],
        partition_micros: i64,
    ) -> ShardScan {
        request.batch_rows = request.batch_rows.max(1);
        let sources = Sources::new(&request, assets, version, memtables, partition_micros);
        let output = Output::new(&request);
        let mut points: Vec<PointId> = request.points.iter().map(|p| p.0).collect();
        points.sort_unstable();
        points.dedup();
        ShardScan {
            sources,
            // What is not read cannot be compared.
            conditions: conditions.iter().copied().filter(|c| points.contains(&c.point)).collect(),
            points,
            current: None,
            output,
            request,
            figures: ScanFigures::default(),
            failed: false,
        }
    }

    /// What it cost so far.
    pub fn figures(&self) -> ScanFigures {
        self.figures
    }

    fn advance(&mut self) -> Result<Option<ScanBatch>> {
        if let Some(error) = self.sources.take_refusal() {
            return Err(error);
        }
        loop {
            if let Some(work) = &mut self.current
                && let Some((run, from)) = &mut work.pending
            {
                let to = run.rows().min(*from + (self.request.batch_rows - self.output.rows()));
                self.output.push(work.rows.asset, run, *from, to)?;
                *from = to;
                if to == run.rows() {
                    work.pending = None;
                }
                if self.output.rows() >= self.request.batch_rows {
                    return Ok(Some(self.output.take(&self.request)));
                }
                continue;
            }
            if self.next_step()? || self.next_partition() || self.next_asset() {
                continue;
            }
            return Ok((self.output.rows() > 0).then(|| self.output.take(&self.request)));
        }
    }

    /// Takes the next step in the partition in work; `false` when there is none left.
    fn next_step(&mut self) -> Result<bool> {
        let Some(work) = &mut self.current else { return Ok(false) };
        let Some(step) = work.steps.pop() else { return Ok(false) };
        let run = match step {
            Step::Block(block) => self.block(&block)?,
            Step::Merge { range, settled } => self.merge(range, settled)?,
        };
        let run = run.map(|run| if self.request.every_row { run } else { without_empty_rows(run) });
        if let (Some(work), Some(run)) = (&mut self.current, run) {
            work.pending = (run.rows() > 0).then_some((run, 0));
        }
        Ok(true)
    }

    /// Merges the first piece of `range` and leaves the rest for the next step.
    fn merge(&mut self, range: TimeRange, settled: bool) -> Result<Option<Run>> {
        let Some(work) = &mut self.current else { return Ok(None) };
        let from: &[usize] = if settled { &work.sources } else { &[] };
        let mut pieces = self.sources.pieces(work.rows.asset, from, range);
        if pieces.len() > 1 {
            work.steps.extend(pieces.drain(1..).rev().map(|range| Step::Merge { range, settled }));
        }
        let Some(&piece) = pieces.first() else { return Ok(None) };
        let run = self.sources.merged(work.rows.asset, piece, from, &mut work.rows.memtable_runs)?;
        self.figures.rows_merged += run.rows() as u64;
        Ok(Some(run))
    }

    /// The rows wanted of a block. The columns of conditions are decoded first, the others only where some row is left.
    fn block(&mut self, block: &BlockPlace) -> Result<Option<Run>> {
        let cursor = self.sources.segment(block.cursor);
        for condition in &self.conditions {
            let stats = cursor.block_stats(block, condition.point)?;
            if !stats.is_some_and(|stats| condition.may_hold(&stats)) {
                self.figures.blocks_pruned += 1;
                return Ok(None);
            }
        }
        let range = self.request.range;
        let whole = range.covers_closed(Timestamp(block.first_time), Timestamp(block.last_time));
        if self.conditions.is_empty() {
            self.figures.blocks_decoded += 1;
            let run = cursor.block_rows(block, &self.points)?;
            return Ok(Some(if whole { run } else { cut(&run, range) }));
        }
        let compared: Vec<PointId> = self.conditions.iter().map(|c| c.point).collect();
        let mut run = cursor.block_rows(block, &compared)?;
        let mut keep: Vec<bool> = run.times.iter().map(|&t| range.contains(Timestamp(t))).collect();
        for (condition, column) in self.conditions.iter().zip(&run.columns) {
            condition.sift(column, &mut keep);
        }
        if !keep.contains(&true) {
            self.figures.blocks_sifted += 1;
            return Ok(None);
        }
        self.figures.blocks_decoded += 1;
        run.columns.dedup_by_key(|c| c.point);
        let others: Vec<PointId> = self.points.iter().copied().filter(|p| !compared.contains(p)).collect();
        run.columns.extend(cursor.block_columns(block, &others)?);
        run.columns.sort_by_key(|c| c.point);
        run.columns.dedup_by_key(|c| c.point);
        Ok(Some(run.keep(&keep)))
    }

    /// Takes up the next partition of the asset in work; `false` when it has none left.
    fn next_partition(&mut self) -> bool {
        let Some(work) = &mut self.current else { return false };
        for &source in &work.sources {
            self.sources.segment(source).pass(work.rows.asset);
        }
        let Some((partition, sources)) = work.rows.partitions.pop() else {
            self.current = None;
            return false;
        };
        let outside = self.sources.steps(&work.rows, partition, &sources, &mut work.steps);
        self.figures.blocks_pruned += outside as u64;
        work.steps.reverse();
        work.sources = sources;
        true
    }

    /// Takes up the next asset that may have rows; `false` when there is none.
    fn next_asset(&mut self) -> bool {
        let Some(rows) = self.sources.next_asset() else { return false };
        self.current = Some(AssetWork { rows, sources: Vec::new(), steps: Vec::new(), pending: None });
        true
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
