//! Aggregates of one shard: counts, sums, extremes and ends by asset and bucket of time.
//!
//! Owns: telling which blocks lie wholly in one bucket and are nobody else's business, so that their statistics are
//! the answer; decoding and folding the others. Does not own: which sources there are (`scan::sources`), SQL's
//! functions (`query`).
//!
//! What lies between blocks that count as they are (`Sources::steps`) is merged as in a scan, by the same rule.
//!
//! Memory at any time: what a scan holds of one asset, and the groups.

mod cells;
mod groups;

use wattline_format::segment::BlockStats;
use wattline_model::{AssetId, Kind, ModelId, PointId, Rows, TimeRange, Timestamp};

use cells::Cell;
pub use cells::{Cell as PointCell, Cells, Wants};
pub use groups::{AggregatePoint, Buckets, Groups};

use crate::error::Result;
use crate::memtable::TableView;
use crate::run::Run;
use crate::scan::{AssetSources, ScanRequest, Sources, Step};
use crate::segment::{BlockPlace, ChunkStats};
use crate::version::Version;

/// What to aggregate.
#[derive(Clone, Debug)]
pub struct AggregateRequest {
    /// The model whose rows are meant.
    pub model: ModelId,
    /// Its points, each once.
    pub points: Vec<AggregatePoint>,
    /// The assets wanted; `None` for all.
    pub assets: Option<Vec<AssetId>>,
    /// The times wanted.
    pub range: TimeRange,
    /// How time is cut.
    pub buckets: Buckets,
    /// Whether each asset has groups of its own.
    pub by_asset: bool,
    /// Whether nothing is wanted but what comes last of each asset. Groups then know only that: the latest time, and
    /// the last values. For assets apart and time not cut.
    pub newest: Option<Newest>,
}

/// What comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// The last row; points without a value in it count as having none.
    Row,
    /// The last value of each point.
    Values,
}

/// What an aggregate cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AggregateFigures {
    /// Blocks that lie outside the range.
    pub blocks_pruned: u64,
    /// Blocks whose statistics were the answer.
    pub blocks_answered: u64,
    /// Blocks that were decoded alone.
    pub blocks_decoded: u64,
    /// Rows that were merged from several sources, or come from memory.
    pub rows_merged: u64,
}

/// The groups of one shard, found step by step.
pub struct ShardAggregate {
    request: AggregateRequest,
    points: Vec<PointId>,
    sources: Sources,
    current: Option<AssetSources>,
    groups: Groups,
    figures: AggregateFigures,
    steps: Vec<Step>,
    /// The statistics of the chunk that each segment was last asked for.
    stats: Vec<Option<ChunkStats>>,
}

/// Groups by asset that are handed over at once.
const GROUPS_AT_ONCE: usize = 8_192;

impl ShardAggregate {
    pub(crate) fn new(
        request: AggregateRequest,
        assets: Option<Vec<AssetId>>,
        version: &Version,
        memtables: &[TableView],
        partition_micros: i64,
    ) -> ShardAggregate {
        let points: Vec<(PointId, Kind)> = request.points.iter().map(|p| (p.point, p.kind)).collect();
        let scan = ScanRequest {
            model: request.model,
            points: points.clone(),
            assets: None,
            range: request.range,
            every_row: true,
            batch_rows: 1,
        };
        ShardAggregate {
            sources: Sources::new(&scan, assets, version, memtables, partition_micros),
            points: points.into_iter().map(|p| p.0).collect(),
            current: None,
            groups: Groups::new(&request.points, request.by_asset),
            figures: AggregateFigures::default(),
            steps: Vec::new(),
            stats: Vec::new(),
            request,
        }
    }

    /// Goes on for a while, one partition of one asset; `false` at the end.
    ///
    /// # Errors
    /// As a scan.
    pub fn advance(&mut self) -> Result<bool> {
        if let Some(error) = self.sources.take_refusal() {
            return Err(error);
        }
        let mut work = match self.current.take().filter(|work| !work.partitions.is_empty()) {
            Some(work) => work,
            None => match self.sources.next_asset() {
                Some(work) => work,
                None => return Ok(false),
            },
        };
        if let Some(newest) = self.request.newest {
            let partitions = std::mem::take(&mut work.partitions);
            self.newest(&mut work, &partitions, newest)?;
        } else if let Some((partition, from)) = work.partitions.pop() {
            self.partition(&mut work, partition, &from)?;
            from.iter().for_each(|&i| self.sources.segment(i).pass(work.asset));
        }
        self.current = Some(work);
        Ok(true)
    }

    /// Groups that are complete, once they are many. By asset only: others are complete at the end.
    pub fn take_some(&mut self) -> Option<Groups> {
        let complete = self.groups.len().saturating_sub(1);
        (self.request.by_asset && complete >= GROUPS_AT_ONCE).then(|| self.groups.take_before(complete))
    }

    /// Bytes that the groups held now take.
    pub fn bytes(&self) -> usize {
        self.groups.bytes()
    }

    /// What it cost so far.
    pub fn figures(&self) -> AggregateFigures {
        self.figures
    }

    /// All groups that are left. To be asked at the end.
    pub fn finish(self) -> Groups {
        self.groups
    }

    fn partition(&mut self, work: &mut AssetSources, partition: i64, from: &[usize]) -> Result<()> {
        let range = self.sources.inside(partition);
        let mut steps = std::mem::take(&mut self.steps);
        steps.clear();
        self.figures.blocks_pruned += self.sources.steps(work, partition, from, &mut steps) as u64;
        for step in &steps {
            match step {
                Step::Block(block) => self.block(work.asset, block, range)?,
                Step::Merge { range, settled } => {
                    self.merge(work, if *settled { from } else { &[] }, *range)?;
                }
            }
        }
        self.steps = steps;
        Ok(())
    }

    /// Goes back from the last row of an asset until everything that comes last was seen. `partitions` are last first.
    fn newest(
        &mut self,
        work: &mut AssetSources,
        partitions: &[(i64, Vec<usize>)],
        newest: Newest,
    ) -> Result<()> {
        let mut steps = std::mem::take(&mut self.steps);
        'all: for (partition, from) in partitions {
            steps.clear();
            self.figures.blocks_pruned += self.sources.steps(work, *partition, from, &mut steps) as u64;
            let range = self.sources.inside(*partition);
            for step in steps.iter().rev() {
                let marks: Vec<_> = from.iter().map(|&i| self.sources.segment(i).mark()).collect();
                match step {
                    Step::Block(block) => self.block(work.asset, block, range)?,
                    Step::Merge { range, settled } => {
                        self.merge(work, if *settled { from } else { &[] }, *range)?;
                    }
                }
                // Cursors go forward only, and earlier blocks are still to come.
                from.iter().zip(marks).for_each(|(&i, mark)| self.sources.segment(i).back_to(mark));
                if self.groups.knows_last(work.asset, newest) {
                    break 'all;
                }
            }
        }
        for &i in partitions.iter().flat_map(|(_, from)| from) {
            self.sources.segment(i).pass(work.asset);
        }
        self.steps = steps;
        Ok(())
    }

    fn merge(&mut self, work: &mut AssetSources, from: &[usize], range: TimeRange) -> Result<()> {
        for piece in self.sources.pieces(work.asset, from, range) {
            let run = self.sources.merged(work.asset, piece, from, &mut work.memtable_runs)?;
            self.figures.rows_merged += run.rows() as u64;
            self.fold(work.asset, &run, TimeRange::ALL)?;
        }
        Ok(())
    }

    fn block(&mut self, asset: AssetId, block: &BlockPlace, range: TimeRange) -> Result<()> {
        let (start, end) = self.request.buckets.of(block.first_time);
        let inside = range.covers_closed(Timestamp(block.first_time), Timestamp(block.last_time));
        if inside && block.last_time <= end && self.answer(asset, start, block)? {
            self.figures.blocks_answered += 1;
            return Ok(());
        }
        let run = self.sources.segment(block.cursor).block_rows(block, &self.points)?;
        self.figures.blocks_decoded += 1;
        self.fold(asset, &run, range)
    }

    /// Takes in the statistics of a block; `false`, and nothing done, where they do not tell what is wanted.
    fn answer(&mut self, asset: AssetId, start: i64, block: &BlockPlace) -> Result<bool> {
        if self.stats.len() <= block.cursor {
            self.stats.resize_with(block.cursor + 1, || None);
        }
        let kept = &mut self.stats[block.cursor];
        if !kept.as_ref().is_some_and(|stats| stats.is_of(block)) {
            let points = self.points.iter().copied();
            *kept = Some(self.sources.segment(block.cursor).chunk_stats(block, points)?);
        }
        let Some(stats) = kept else { return Ok(false) };
        // Without a value in every row the times of the first and the last one are not known.
        let lacks_ends = |count: u32, point: &AggregatePoint| point.wants.ends && count < block.rows;
        let (mut at_hand, mut enough) = (true, true);
        for (of, point) in stats.block(block).zip(&self.request.points) {
            match of {
                BlockStats::Empty => {}
                BlockStats::Elsewhere => at_hand = false,
                BlockStats::Float(count, _) | BlockStats::Int(count, _) => {
                    enough &= !lacks_ends(count, point)
                }
            }
        }
        if !enough {
            return Ok(false);
        }
        if !at_hand {
            return self.answer_from_afar(asset, start, block);
        }
        let Some(stats) = &self.stats[block.cursor] else { return Ok(false) };
        let times = (block.first_time, block.last_time);
        let group = self.groups.at(asset, start);
        self.groups.count(group, block.rows as usize, times);
        let cells = self.groups.points.iter_mut().zip(&self.request.points);
        for ((cells, point), of) in cells.zip(stats.block(block)) {
            cells.fold_block(group, of, times, point.wants)?;
        }
        Ok(true)
    }

    /// As `answer`, for blocks whose statistics are not numbers at hand: those of texts, and those that have to be
    /// computed as there are few values.
    fn answer_from_afar(&mut self, asset: AssetId, start: i64, block: &BlockPlace) -> Result<bool> {
        let times = (block.first_time, block.last_time);
        let cursor = self.sources.segment(block.cursor);
        let mut all = Vec::with_capacity(self.points.len());
        for point in &self.request.points {
            let stats = cursor.block_stats(block, point.point)?;
            if point.wants.ends && stats.as_ref().is_some_and(|s| s.nulls > 0) {
                return Ok(false);
            }
            all.push(stats);
        }
        let group = self.groups.at(asset, start);
        self.groups.count(group, block.rows as usize, times);
        for ((cells, point), stats) in self.groups.points.iter_mut().zip(&self.request.points).zip(all) {
            if let Some(stats) = stats {
                cells.fold_stats(group, stats, times, point.wants)?;
            }
        }
        Ok(true)
    }

    /// Takes in the rows of `run` inside `range`.
    fn fold(&mut self, asset: AssetId, run: &Run, range: TimeRange) -> Result<()> {
        let mut from = run.times.partition_point(|&t| t < range.start.0);
        let end = run.times.partition_point(|&t| t < range.end.0);
        let columns: Vec<Option<&wattline_model::Column>> =
            self.points.iter().map(|p| run.columns.iter().find(|c| c.point == *p)).collect();
        // Where the values of each sparse column go on.
        let mut next: Vec<usize> = columns.iter().map(|c| c.map_or(0, |c| first_value(c, from))).collect();
        while from < end {
            let (start, last) = self.request.buckets.of(run.times[from]);
            let to = from + run.times[from..end].partition_point(|&t| t <= last);
            let group = self.groups.at(asset, start);
            self.groups.count(group, to - from, (run.times[from], run.times[to - 1]));
            for (i, column) in columns.iter().enumerate() {
                let Some(column) = column else { continue };
                let wants = self.request.points[i].wants;
                let (values, times) = match &column.rows {
                    Rows::All => ((from, to), (run.times[from], run.times[to - 1])),
                    Rows::Some(rows) => {
                        let first = next[i];
                        let after = first + rows[first..].partition_point(|&r| (r as usize) < to);
                        next[i] = after;
                        if first == after {
                            continue;
                        }
                        let time = |value: usize| run.times[rows[value] as usize];
                        ((first, after), (time(first), time(after - 1)))
                    }
                };
                self.groups.points[i].fold(group, &column.values, values, times, wants)?;
            }
            from = to;
        }
        Ok(())
    }
}

/// The number of the first value of `column` in row `row` or later.
fn first_value(column: &wattline_model::Column, row: usize) -> usize {
    match &column.rows {
        Rows::All => row,
        Rows::Some(rows) => rows.partition_point(|&r| (r as usize) < row),
    }
}
