//! Reading a segment: a cursor over the runs of one model, asset by asset.
//!
//! Owns: finding an asset's blocks, skipping blocks outside a range, cutting packed blocks to one asset. Does not
//! own: decoding (`wattline_format::segment`), merging with other sources (`run`).

use std::sync::Arc;

use wattline_format::segment::Chunk;
use wattline_model::{AssetId, Column, ModelId, PointId, TimeRange, Timestamp};

use crate::error::Result;
use crate::run::{Run, slice_column};
use crate::version::Segment;

/// Walks the runs of a model in asset order.
pub(crate) struct SegmentCursor {
    segment: Arc<Segment>,
    model: ModelId,
    /// Points to decode; all of a chunk where `None`.
    points: Option<Vec<PointId>>,
    chunk: usize,
    run: usize,
    /// The last block that several assets share: its neighbours will want it next.
    shared: Option<SharedBlock>,
}

struct SharedBlock {
    chunk: usize,
    block: usize,
    times: Vec<i64>,
    columns: Vec<Column>,
}

impl SegmentCursor {
    pub(crate) fn new(segment: Arc<Segment>, model: ModelId, points: Option<Vec<PointId>>) -> SegmentCursor {
        SegmentCursor { segment, model, points, chunk: 0, run: 0, shared: None }
    }

    pub(crate) fn partition(&self) -> i64 {
        self.segment.meta.partition
    }

    /// The asset of the next run.
    pub(crate) fn peek(&self) -> Option<AssetId> {
        Some(self.segment.reader.chunks(self.model).get(self.chunk)?.runs.get(self.run)?.asset)
    }

    /// Goes on to the first run of `asset` or of a later one.
    pub(crate) fn seek(&mut self, asset: AssetId) {
        let segment = Arc::clone(&self.segment);
        let chunks = segment.reader.chunks(self.model);
        while let Some(chunk) = chunks.get(self.chunk) {
            if chunk.runs.last().is_some_and(|r| r.asset >= asset) {
                self.run += chunk.runs[self.run..].partition_point(|r| r.asset < asset);
                return;
            }
            (self.chunk, self.run) = (self.chunk + 1, 0);
        }
    }

    /// Reads the rows of `asset`, which must be the one at the cursor, in `range`, and goes past them.
    pub(crate) fn read(&mut self, asset: AssetId, range: TimeRange) -> Result<Run> {
        let segment = Arc::clone(&self.segment);
        let chunks = segment.reader.chunks(self.model);
        let mut whole = Run::default();
        while self.peek() == Some(asset) {
            let chunk = &chunks[self.chunk];
            self.read_run(chunk, range, &mut whole)?;
            self.run += 1;
            if self.run == chunk.runs.len() {
                (self.chunk, self.run) = (self.chunk + 1, 0);
            }
        }
        Ok(whole)
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

/// The rows of `run` inside `range`.
fn cut(run: &Run, range: TimeRange) -> Run {
    let from = run.times.partition_point(|&t| t < range.start.0);
    let to = run.times.partition_point(|&t| t < range.end.0);
    if from < to { run.slice(from, to) } else { Run::default() }
}
