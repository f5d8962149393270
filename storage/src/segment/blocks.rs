//! The blocks of an asset one by one, for readers to whom the statistics of some are enough.

use wattline_format::segment::{BlockStats, ColumnStats, Stats};
use wattline_model::{AssetId, Column, PointId, TimeRange, Timestamp};

use super::SegmentCursor;
use crate::error::{Error, Result};
use crate::run::Run;

/// A block with rows of an asset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockPlace {
    /// The number of the cursor, for its owner to tell.
    pub(crate) cursor: usize,
    chunk: usize,
    block: usize,
    /// Its rows.
    pub(crate) rows: u32,
    /// Whether all of them are the asset's.
    pub(crate) whole: bool,
    /// The earliest time in it, microseconds.
    pub(crate) first_time: i64,
    /// The latest time in it, microseconds.
    pub(crate) last_time: i64,
}

/// The statistics of some points in one chunk.
pub(crate) struct ChunkStats {
    chunk: usize,
    /// One a point; `None` where the chunk has no value of it.
    columns: Vec<Option<ColumnStats>>,
}

impl ChunkStats {
    /// Whether the block is of this chunk; the cursor must be the one that gave both.
    pub(crate) fn is_of(&self, place: &BlockPlace) -> bool {
        self.chunk == place.chunk
    }

    /// What is known of each point in a block of this chunk.
    pub(crate) fn block(&self, place: &BlockPlace) -> impl Iterator<Item = BlockStats> + '_ {
        let block = place.block;
        self.columns.iter().map(move |c| c.as_ref().map_or(BlockStats::Empty, |c| c.block(block)))
    }
}

impl SegmentCursor {
    /// Appends the blocks with rows of `asset`, which is at the cursor, that reach into `range`; returns how many do
    /// not.
    pub(crate) fn blocks(
        &self,
        asset: AssetId,
        range: TimeRange,
        cursor: usize,
        out: &mut Vec<BlockPlace>,
    ) -> usize {
        let chunks = self.segment.reader.chunks(self.model);
        let (mut at, mut run, mut outside) = (self.chunk, self.run, 0);
        while let Some(chunk) = chunks.get(at)
            && let Some(found) = chunk.runs.get(run).filter(|r| r.asset == asset)
        {
            let end = found.first_row + found.rows;
            let begin = chunk.blocks.partition_point(|b| b.first_row + b.rows <= found.first_row);
            for (block, b) in chunk.blocks.iter().enumerate().skip(begin) {
                if b.first_row >= end {
                    break;
                }
                if !range.overlaps_closed(Timestamp(b.first_time), Timestamp(b.last_time)) {
                    outside += 1;
                    continue;
                }
                let whole = b.first_row >= found.first_row && b.first_row + b.rows <= end;
                let (first_time, last_time) = (b.first_time, b.last_time);
                out.push(BlockPlace { cursor, chunk: at, block, rows: b.rows, whole, first_time, last_time });
            }
            // Only the last run of a chunk can go on in the next one.
            (at, run) = (at + 1, 0);
        }
        outside
    }

    /// Whether some row of `asset` in the block may have been deleted.
    pub(crate) fn may_be_erased(&self, asset: AssetId, place: &BlockPlace) -> bool {
        self.tombstones.may_mean(asset, place.first_time, place.last_time)
    }

    /// The statistics of `points` in the chunk that the block is of.
    pub(crate) fn chunk_stats(
        &self,
        place: &BlockPlace,
        points: impl Iterator<Item = PointId>,
    ) -> Result<ChunkStats> {
        let segment = &self.segment;
        let chunk = &segment.reader.chunks(self.model)[place.chunk];
        let columns: std::result::Result<_, _> =
            points.map(|point| segment.reader.column_stats(chunk, point)).collect();
        let columns = columns.map_err(Error::from).inspect_err(|error| segment.note_damage(error))?;
        Ok(ChunkStats { chunk: place.chunk, columns })
    }

    /// The statistics of `point` in a block; `None` where it has no values.
    pub(crate) fn block_stats(&self, place: &BlockPlace, point: PointId) -> Result<Option<Stats>> {
        let segment = &self.segment;
        let chunk = &segment.reader.chunks(self.model)[place.chunk];
        let stats = segment.reader.stats(chunk, place.block, point);
        stats.map_err(Error::from).inspect_err(|error| segment.note_damage(error))
    }

    /// The rows of a block that is one asset's, with the values of `points`.
    pub(crate) fn block_rows(&self, place: &BlockPlace, points: &[PointId]) -> Result<Run> {
        let segment = &self.segment;
        let chunk = &segment.reader.chunks(self.model)[place.chunk];
        let times = segment.reader.times(chunk, place.block).map_err(Error::from);
        let times = times.inspect_err(|error| segment.note_damage(error))?;
        Ok(Run { times, columns: self.block_columns(place, points)? })
    }

    /// The values of `points` in a block that is one asset's; none for points without any.
    pub(crate) fn block_columns(&self, place: &BlockPlace, points: &[PointId]) -> Result<Vec<Column>> {
        let segment = &self.segment;
        let chunk = &segment.reader.chunks(self.model)[place.chunk];
        let read = || {
            let mut columns = Vec::with_capacity(points.len());
            for &point in points {
                columns.extend(segment.reader.column(chunk, place.block, point)?);
            }
            Ok(columns)
        };
        read().inspect_err(|error| segment.note_damage(error))
    }
}
