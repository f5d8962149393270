//! Reading a segment: a cursor over the runs of one model, asset by asset.
//!
//! Owns: finding an asset's blocks, skipping blocks outside a range, cutting packed blocks to one asset, leaving out
//! what was deleted, and where long runs are best cut to be read in pieces. Does not own: decoding
//! (`wattline_format::segment`), merging with other sources (`run`).

mod blocks;

use std::sync::Arc;

use wattline_format::manifest::Tombstone;
use wattline_format::segment::Chunk;
use wattline_model::{AssetId, Column, ModelId, PointId, TimeRange, Timestamp};

use crate::error::Result;
use crate::run::{Run, slice_column};
use crate::tombstone::Tombstones;
use crate::version::Segment;

pub(crate) use blocks::{BlockPlace, ChunkStats};

/// Walks the runs of a model in asset order.
pub(crate) struct SegmentCursor {
    segment: Arc<Segment>,
    model: ModelId,
    /// Points to decode; all of a chunk where `None`.
    points: Option<Vec<PointId>>,
    tombstones: Tombstones,
    chunk: usize,
    run: usize,
    /// What was kept of the directory of the chunk at the cursor when the cursor came to it.
    kept_before: usize,
    /// The last block that several assets share: its neighbours will want it next.
    shared: Option<SharedBlock>,
}

struct SharedBlock {
    chunk: usize,
    block: usize,
    times: Vec<i64>,
    columns: Vec<Column>,
}

/// Values that are read at once of an asset, more or less: bounds memory whatever the history of one asset.
const PIECE_VALUES: usize = 1 << 20;
/// Rows that are read at once of an asset, at least and at most: a block, and a chunk.
const PIECE_ROWS: (usize, usize) = (1_024, 65_536);

impl SegmentCursor {
    /// A cursor before the first run of `model`. Of the tombstones, those count that the segment does not reflect.
    pub(crate) fn new(
        segment: Arc<Segment>,
        model: ModelId,
        points: Option<Vec<PointId>>,
        tombstones: &[Arc<Tombstone>],
    ) -> SegmentCursor {
        let range = (segment.meta.first_time, segment.meta.last_time);
        let tombstones = Tombstones::of(tombstones, model, segment.meta.last_seqno, range);
        let mut cursor = SegmentCursor {
            segment,
            model,
            points,
            tombstones,
            chunk: 0,
            run: 0,
            kept_before: 0,
            shared: None,
        };
        cursor.kept_before = cursor.kept();
        cursor
    }

    /// What is kept of the directory of the chunk at the cursor.
    fn kept(&self) -> usize {
        let chunk = self.segment.reader.chunks(self.model).get(self.chunk);
        chunk.map_or(0, |chunk| self.segment.reader.kept_bytes(chunk))
    }

    /// Goes on to the first run of chunk `chunk`.
    fn go_to(&mut self, chunk: usize) {
        self.leave();
        (self.chunk, self.run) = (chunk, 0);
        self.kept_before = self.kept();
    }

    fn leave(&self) {
        let grown = self.kept().saturating_sub(self.kept_before);
        if grown > 0 {
            self.segment.left_chunk(grown);
        }
    }

    pub(crate) fn partition(&self) -> i64 {
        self.segment.meta.partition
    }

    /// Points of the model in the widest chunk.
    pub(crate) fn points_max(&self) -> usize {
        let reader = &self.segment.reader;
        reader.chunks(self.model).iter().map(|chunk| reader.points(chunk).len()).max().unwrap_or(0)
    }

    /// The asset of the next run.
    pub(crate) fn peek(&self) -> Option<AssetId> {
        Some(self.segment.reader.chunks(self.model).get(self.chunk)?.runs.get(self.run)?.asset)
    }

    /// Goes on to the first run of `asset` or of a later one.
    pub(crate) fn seek(&mut self, asset: AssetId) {
        let segment = Arc::clone(&self.segment);
        let chunks = segment.reader.chunks(self.model);
        let ends_before = |chunk: &Chunk| chunk.runs.last().is_none_or(|r| r.asset < asset);
        let ahead =
            chunks.get(self.chunk..).unwrap_or_default().iter().take_while(|c| ends_before(c)).count();
        if ahead > 0 {
            self.go_to(self.chunk + ahead);
        }
        if let Some(chunk) = chunks.get(self.chunk) {
            self.run += chunk.runs[self.run..].partition_point(|r| r.asset < asset);
        }
    }

    /// Where the cursor is.
    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.chunk, self.run)
    }

    /// Goes back to where the cursor was.
    pub(crate) fn back_to(&mut self, (chunk, run): (usize, usize)) {
        if chunk != self.chunk {
            self.go_to(chunk);
        }
        self.run = run;
    }

    /// Reads the rows of `asset`, which must be the one at the cursor, in `range`. Ranges come in ascending order;
    /// [`pass`](Self::pass) ends the asset.
    pub(crate) fn read(&mut self, asset: AssetId, range: TimeRange) -> Result<Run> {
        let segment = Arc::clone(&self.segment);
        let whole = self.read_runs(&segment, asset, range).inspect_err(|error| segment.note_damage(error))?;
        Ok(self.tombstones.erase(asset, whole))
    }

    fn read_runs(&mut self, segment: &Segment, asset: AssetId, range: TimeRange) -> Result<Run> {
        let chunks = segment.reader.chunks(self.model);
        let mut whole = Run::default();
        while self.peek() == Some(asset) {
            let chunk = &chunks[self.chunk];
            self.read_run(chunk, range, &mut whole)?;
            let last = last_block_of(chunk, self.run).map(|b| b.last_time);
            if last.is_some_and(|last| last >= range.end.0) {
                break; // A later range may want the rest of this run.
            }
            self.step(chunk);
        }
        Ok(whole)
    }

    /// Goes past `asset`.
    pub(crate) fn pass(&mut self, asset: AssetId) {
        let segment = Arc::clone(&self.segment);
        let chunks = segment.reader.chunks(self.model);
        while self.peek() == Some(asset) {
            self.step(&chunks[self.chunk]);
        }
    }

    fn step(&mut self, chunk: &Chunk) {
        self.run += 1;
        if self.run == chunk.runs.len() {
            self.go_to(self.chunk + 1);
        }
    }

    /// Blocks of `asset`, which is at the cursor: the time each ends and its rows.
    fn stretches(&self, asset: AssetId, range: TimeRange, out: &mut Vec<(i64, usize)>) {
        let chunks = self.segment.reader.chunks(self.model);
        let (mut at, mut run) = (self.chunk, self.run);
        while let Some(chunk) = chunks.get(at)
            && let Some(found) = chunk.runs.get(run).filter(|r| r.asset == asset)
        {
            let begin = chunk.blocks.partition_point(|b| b.first_row + b.rows <= found.first_row);
            let blocks =
                chunk.blocks[begin..].iter().take_while(|b| b.first_row < found.first_row + found.rows);
            let inside =
                blocks.filter(|b| range.overlaps_closed(Timestamp(b.first_time), Timestamp(b.last_time)));
            out.extend(inside.map(|b| (b.last_time, b.rows.min(found.rows) as usize)));
            // Only the last run of a chunk can go on in the next one.
            (at, run) = (at + 1, 0);
        }
    }

    /// Appends the rows of the run at the cursor that lie in `range`.
    fn read_run(&mut self, chunk: &Chunk, range: TimeRange, whole: &mut Run) -> Result<()> {
        let run = &chunk.runs[self.run];
        let (first, last) = (run.first_row, run.first_row + run.rows);
        let begin = chunk.blocks.partition_point(|b| b.first_row + b.rows <= first);
        for (i, block) in chunk.blocks.iter().enumerate().skip(begin) {
            if block.first_row >= last {
                break;
            }
            if !range.overlaps_closed(Timestamp(block.first_time), Timestamp(block.last_time)) {
                continue;
            }
            let from = first.max(block.first_row) - block.first_row;
            let to = last.min(block.first_row + block.rows) - block.first_row;
            let part = if from == 0 && to == block.rows {
                let times = self.segment.reader.times(chunk, i)?;
                let covered = range.covers_closed(Timestamp(block.first_time), Timestamp(block.last_time));
                let columns = self.decode(chunk, i)?;
                let run = Run { times, columns };
                if covered { run } else { cut(&run, range) }
            } else {
                let shared = self.shared_block(chunk, i)?;
                let times = shared.times[from as usize..to as usize].to_vec();
                let columns = shared.columns.iter().filter_map(|c| slice_column(c, from, to, from)).collect();
                cut(&Run { times, columns }, range)
            };
            if part.rows() > 0 {
                whole.extend(part);
            }
        }
        Ok(())
    }

    fn decode(&self, chunk: &Chunk, block: usize) -> Result<Vec<Column>> {
        let reader = &self.segment.reader;
        let points = self.points.as_deref().unwrap_or_else(|| reader.points(chunk));
        let mut columns = Vec::with_capacity(points.len());
        for &point in points {
            columns.extend(reader.column(chunk, block, point)?);
        }
        Ok(columns)
    }

    fn shared_block(&mut self, chunk: &Chunk, block: usize) -> Result<&SharedBlock> {
        let known = self.shared.as_ref().is_some_and(|s| (s.chunk, s.block) == (self.chunk, block));
        if !known {
            let times = self.segment.reader.times(chunk, block)?;
            let columns = self.decode(chunk, block)?;
            self.shared = Some(SharedBlock { chunk: self.chunk, block, times, columns });
        }
        Ok(self.shared.as_ref().expect("set just now"))
    }
}

impl Drop for SegmentCursor {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The block with the last rows of run `run`.
fn last_block_of(chunk: &Chunk, run: usize) -> Option<&wattline_format::segment::BlockRows> {
    let run = chunk.runs.get(run)?;
    let end = run.first_row + run.rows;
    let after = chunk.blocks.partition_point(|b| b.first_row < end);
    chunk.blocks.get(after.checked_sub(1)?)
}

/// `range` in pieces of ascending time, such that in each the cursors have a bounded number of rows of `asset`. Those
/// of the cursors that are not at `asset` do not count.
pub(crate) fn pieces<'a>(
    cursors: impl Iterator<Item = &'a SegmentCursor>,
    asset: AssetId,
    range: TimeRange,
    points: usize,
) -> Vec<TimeRange> {
    let mut stretches: Vec<(i64, usize)> = Vec::new();
    cursors.for_each(|cursor| cursor.stretches(asset, range, &mut stretches));
    let rows_max = (PIECE_VALUES / points.max(1)).clamp(PIECE_ROWS.0, PIECE_ROWS.1);
    cut_up(stretches, range, rows_max)
}

/// Cuts `range` where stretches end, as soon as there are `rows_max` rows before the cut.
fn cut_up(mut stretches: Vec<(i64, usize)>, range: TimeRange, rows_max: usize) -> Vec<TimeRange> {
    stretches.sort_unstable();
    let (mut pieces, mut start, mut rows) = (Vec::new(), range.start, 0);
    for (last, more) in stretches {
        rows += more;
        let end = Timestamp(last.saturating_add(1));
        if rows >= rows_max && end > start && end < range.end {
            pieces.push(TimeRange::new(start, end));
            (start, rows) = (end, 0);
        }
    }
    pieces.push(TimeRange::new(start, range.end));
    pieces
}

/// The rows of `run` inside `range`.
pub(crate) fn cut(run: &Run, range: TimeRange) -> Run {
    let from = run.times.partition_point(|&t| t < range.start.0);
    let to = run.times.partition_point(|&t| t < range.end.0);
    if from < to { run.slice(from, to) } else { Run::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_cut_where_blocks_end() {
        let range = TimeRange::new(Timestamp(0), Timestamp(100));
        let blocks = vec![(9, 10), (19, 10), (29, 10), (15, 4), (250, 10)];
        let pieces: Vec<(i64, i64)> =
            cut_up(blocks, range, 20).into_iter().map(|p| (p.start.0, p.end.0)).collect();
        assert_eq!(pieces, [(0, 20), (20, 100)]);
        assert_eq!(cut_up(Vec::new(), range, 20), [range]);
    }
}
