//! What lies in the blocks of segments, by their statistics: rows of `system.blocks`.
//!
//! Owns: walking the blocks of many segments with little in memory, leaving out what is not asked for before it is
//! read. Does not own: statistics (`wattline_format::segment`), names of models and points.

use std::sync::Arc;

use wattline_model::{AssetId, ModelId, PointId, ShardId, Timestamp, Value};

use crate::error::Result;
use crate::version::Segment;

/// Which blocks are asked for; `None` lets all through.
#[derive(Clone, Debug, Default)]
pub struct BlockFilter {
    /// Of these shards.
    pub shards: Option<Vec<u32>>,
    /// Of segments with these numbers.
    pub segments: Option<Vec<u64>>,
    /// Of these models.
    pub models: Option<Vec<ModelId>>,
    /// Of these points of them.
    pub points: Option<Vec<(ModelId, PointId)>>,
    /// Whether to tell encodings, for which the blocks themselves are read.
    pub encodings: bool,
}

/// One column of one block.
#[derive(Clone, Debug)]
pub struct BlockInfo {
    /// The shard.
    pub shard: ShardId,
    /// The segment's number within the shard.
    pub segment: u64,
    /// The model.
    pub model: ModelId,
    /// The chunk's place among those of the model in the segment.
    pub chunk: u32,
    /// The block's place in the chunk.
    pub block: u32,
    /// The assets whose rows it holds: the first, the last, how many.
    pub assets: (AssetId, AssetId, u32),
    /// The point.
    pub point: PointId,
    /// The earliest time of its rows.
    pub first_time: Timestamp,
    /// The latest time of its rows.
    pub last_time: Timestamp,
    /// Its rows.
    pub rows: u32,
    /// Those without a value of the point.
    pub nulls: u32,
    /// The least value.
    pub min: Value,
    /// The greatest value.
    pub max: Value,
    /// Bytes of the values.
    pub bytes: u64,
    /// How they are encoded, where that was asked for.
    pub encoding: Option<String>,
}

/// Walks blocks: segment by segment, model by model, chunk by chunk, point by point.
pub struct Blocks {
    segments: std::vec::IntoIter<(ShardId, Arc<Segment>)>,
    filter: BlockFilter,
    at: Option<At>,
}

/// Where in a segment.
struct At {
    shard: ShardId,
    segment: Arc<Segment>,
    /// Models that are still to be walked; the last is next.
    models: Vec<ModelId>,
    chunk: usize,
    /// The place among the chunk's points.
    point: usize,
    /// What was kept of the chunk's directory before.
    kept_before: usize,
}

impl Blocks {
    pub(crate) fn new(segments: Vec<(ShardId, Arc<Segment>)>, filter: BlockFilter) -> Blocks {
        Blocks { segments: segments.into_iter(), filter, at: None }
    }

    /// The blocks of the next point of a chunk; `None` after the last.
    ///
    /// # Errors
    /// Where a directory, or a block whose encoding is asked for, is damaged; the next call goes on after it.
    pub fn next_point(&mut self) -> Option<Result<Vec<BlockInfo>>> {
        loop {
            if self.at.is_none() {
                self.at = Some(self.next_segment()?);
            }
            let at = self.at.as_mut()?;
            match at.next(&self.filter) {
                Some(blocks) => return Some(blocks.inspect_err(|error| at.segment.note_damage(error))),
                None => self.at = None,
            }
        }
    }

    fn next_segment(&mut self) -> Option<At> {
        let filter = &self.filter;
        let asked = |(shard, segment): &(ShardId, Arc<Segment>)| {
            filter.shards.as_ref().is_none_or(|shards| shards.contains(&shard.0))
                && filter.segments.as_ref().is_none_or(|ids| ids.contains(&segment.meta.id))
        };
        let (shard, segment) = self.segments.find(asked)?;
        let wanted = |model: &ModelId| filter.models.as_ref().is_none_or(|models| models.contains(model));
        let mut models: Vec<ModelId> = segment.reader.models().filter(wanted).collect();
        models.reverse();
        let mut at = At { shard, segment, models, chunk: 0, point: 0, kept_before: 0 };
        at.kept_before = at.kept();
        Some(at)
    }
}

impl At {
    fn next(&mut self, filter: &BlockFilter) -> Option<Result<Vec<BlockInfo>>> {
        loop {
            let &model = self.models.last()?;
            let segment = Arc::clone(&self.segment);
            let Some(chunk) = segment.reader.chunks(model).get(self.chunk) else {
                self.models.pop();
                self.go_to(0);
                continue;
            };
            let Some(&point) = segment.reader.points(chunk).get(self.point) else {
                self.go_to(self.chunk + 1);
                continue;
            };
            self.point += 1;
            if filter.points.as_ref().is_none_or(|points| points.contains(&(model, point))) {
                return Some(self.blocks_of(model, point, filter.encodings));
            }
        }
    }

    /// Goes on to another chunk of the model; what was kept of this one's directory counts for the segment.
    fn go_to(&mut self, chunk: usize) {
        self.leave();
        (self.chunk, self.point) = (chunk, 0);
        self.kept_before = self.kept();
    }

    fn kept(&self) -> usize {
        let reader = &self.segment.reader;
        let chunk = self.models.last().and_then(|&model| reader.chunks(model).get(self.chunk));
        chunk.map_or(0, |chunk| reader.kept_bytes(chunk))
    }

    fn leave(&mut self) {
        let grown = self.kept().saturating_sub(self.kept_before);
        if grown > 0 {
            self.segment.left_chunk(grown);
        }
    }

    fn blocks_of(&self, model: ModelId, point: PointId, encodings: bool) -> Result<Vec<BlockInfo>> {
        let reader = &self.segment.reader;
        let Some(chunk) = reader.chunks(model).get(self.chunk) else { return Ok(Vec::new()) };
        let mut blocks = Vec::with_capacity(chunk.blocks.len());
        for (i, rows) in chunk.blocks.iter().enumerate() {
            let Some(stats) = reader.stats(chunk, i, point)? else { continue };
            let mut assets = chunk.runs_in(*rows).map(|(asset, _)| asset);
            let Some(first) = assets.next() else { continue };
            let (last, more) = assets.fold((first, 0), |(_, n), asset| (asset, n + 1));
            blocks.push(BlockInfo {
                shard: self.shard,
                segment: self.segment.meta.id,
                model,
                chunk: self.chunk as u32,
                block: i as u32,
                assets: (first, last, more + 1),
                point,
                first_time: Timestamp(rows.first_time),
                last_time: Timestamp(rows.last_time),
                rows: rows.rows,
                nulls: stats.nulls,
                min: stats.min,
                max: stats.max,
                bytes: reader.value_bytes(chunk, i, point)?.unwrap_or_default(),
                encoding: if encodings { reader.encoding(chunk, i, point)? } else { None },
            });
        }
        Ok(blocks)
    }
}

impl Drop for At {
    fn drop(&mut self) {
        self.leave();
    }
}
