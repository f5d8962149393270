//! The ordered scan of one shard: memtables and segments merged by (asset, time), newest write wins.
//!
//! Owns: walking the sources asset by asset and partition by partition, laying the result out in batches. Does not
//! own: which sources those are (`sources`), merging two runs (`run`), pruning by anything but asset, time and point.
//!
//! Memory at any time: a piece of the rows of one asset (about a million values), the output batch, and an index over
//! the memtables.

mod output;
mod sources;
mod within;

use wattline_model::{AssetId, Kind, ModelId, PointId, Presence, Quality, TimeRange, Timestamp, Values};

use crate::error::Result;
use crate::memtable::TableView;
use crate::run::{Run, without_empty_rows};
use crate::segment::{BlockPlace, cut};
use crate::version::Version;
use output::Output;
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
    pending: Option<Pending>,
}

/// A run of which some rows are still to be given out.
struct Pending {
    run: Run,
    /// The rows that are wanted, ascending; `None`: all.
    wanted: Option<Vec<u32>>,
    /// How many of them were given out.
    given: usize,
}

impl Pending {
    fn len(&self) -> usize {
        self.wanted.as_ref().map_or(self.run.rows(), Vec::len)
    }
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
                && let Some(pending) = &mut work.pending
            {
                let (from, all) = (pending.given, pending.len());
                let to = all.min(from + (self.request.batch_rows - self.output.rows()));
                match &pending.wanted {
                    None => self.output.push(work.rows.asset, &pending.run, from, to)?,
                    Some(rows) => self.output.pick(work.rows.asset, &pending.run, &rows[from..to])?,
                }
                pending.given = to;
                if to == all {
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
        let found = match step {
            Step::Block(block) => self.block(&block)?,
            Step::Merge { range, settled } => self.merge(range, settled)?.map(|run| (run, None)),
        };
        if let (Some(work), Some((run, wanted))) = (&mut self.current, found) {
            // What meets a condition has a value.
            let whole = self.request.every_row || wanted.is_some();
            let run = if whole { run } else { without_empty_rows(run) };
            work.pending = (run.rows() > 0).then_some(Pending { run, wanted, given: 0 });
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

    /// The rows of a block, and which of them are wanted. The columns of conditions are decoded first, the others only
    /// where some row is left.
    fn block(&mut self, block: &BlockPlace) -> Result<Option<(Run, Option<Vec<u32>>)>> {
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
            return Ok(Some((if whole { run } else { cut(&run, range) }, None)));
        }
        let compared: Vec<PointId> = self.conditions.iter().map(|c| c.point).collect();
        let mut run = cursor.block_rows(block, &compared)?;
        let mut keep: Vec<bool> = run.times.iter().map(|&t| range.contains(Timestamp(t))).collect();
        for (condition, column) in self.conditions.iter().zip(&run.columns) {
            condition.sift(column, &mut keep);
        }
        let wanted: Vec<u32> = (0..).zip(&keep).filter(|(_, keep)| **keep).map(|(row, _)| row).collect();
        if wanted.is_empty() {
            self.figures.blocks_sifted += 1;
            return Ok(None);
        }
        self.figures.blocks_decoded += 1;
        run.columns.dedup_by_key(|c| c.point);
        let others: Vec<PointId> = self.points.iter().copied().filter(|p| !compared.contains(p)).collect();
        run.columns.extend(cursor.block_columns(block, &others)?);
        run.columns.sort_by_key(|c| c.point);
        run.columns.dedup_by_key(|c| c.point);
        let wanted = (wanted.len() < run.rows()).then_some(wanted);
        Ok(Some((run, wanted)))
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
