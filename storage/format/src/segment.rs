//! Segments: immutable files of chunks, sorted by (model, asset, time). Layout: `docs/format/segment.md`.
//!
//! Owns: where chunks, blocks, statistics and indexes lie, and which encoding a column gets. Does not own: the
//! encodings themselves (`block`), files, caches, or which rows go into which segment (`storage`).
//!
//! A *chunk* holds rows of consecutive assets of one model; a *run* is the rows of one asset in it; a *block* is at
//! most [`BLOCK_ROWS`] rows, common to all columns of the chunk. Reading order: [`Writer`] → `index` → `directory` →
//! `stats` → [`Reader`].

mod cached;
mod calendar;
mod check;
mod directory;
mod index;
mod reader;
mod stats;
mod writer;

use std::sync::Arc;

use wattline_model::{AssetId, PointId, Seqno, ShardId};

use cached::Cached;
pub use check::Counted;
pub use reader::{BlockStats, ColumnStats, Reader};
pub use stats::{Figures, Scalar, Stats, Sum};
pub use writer::Writer;

/// The first and the last bytes of a segment file.
pub const MAGIC: &[u8; 8] = b"WATTSEG\0";
/// The format version written.
pub const VERSION: u32 = 3;
/// Rows of a block that is written at most, where a column has values in all of them: one decoded column of a block stays
/// in a core's first-level cache, and statistics are fine enough to answer for hours and days. Where the fullest column
/// has fewer values, a block has as many rows as that one takes for so many.
pub const BLOCK_ROWS: usize = 1024;
/// Rows of a chunk at most: bounds what a writer buffers and what a reader lays out for one chunk. A block whose columns
/// have values in few of their rows may be as long.
pub const CHUNK_ROWS: usize = 64 * 1024;
/// Rows of a block in version 2 at most.
const BLOCK_ROWS_MAX_V2: usize = 4 * BLOCK_ROWS;
/// A run of at least this many rows gets blocks of its own; shorter ones share.
pub const RUN_ROWS_ALONE: usize = 256;

/// Bytes of the header.
const HEADER_BYTES: usize = 72;
/// Bytes of the footer.
const FOOTER_BYTES: usize = 76;

/// What to spend: time or room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Encodings that are fast to write and to read.
    Hot,
    /// Encodings that are small.
    Deep,
}

impl Depth {
    /// zstd's level: 1 packs as fast as the other encodings, 9 is where the size stops falling by much.
    fn zstd_level(self) -> i32 {
        match self {
            Depth::Hot => 1,
            Depth::Deep => 9,
        }
    }
}

/// What a segment file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The store it belongs to.
    pub store: u64,
    /// The shard it belongs to.
    pub shard: ShardId,
    /// Start of its time partition, microseconds.
    pub partition: i64,
    /// Length of its time partition, microseconds.
    pub partition_micros: i64,
    /// Its level: 0 as flushed.
    pub level: u8,
    /// The lowest sequence number of the batches in it.
    pub first_seqno: Seqno,
    /// The highest sequence number of the batches in it.
    pub last_seqno: Seqno,
}

/// What a segment holds, from its footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Rows.
    pub rows: u64,
    /// Samples: values over all columns.
    pub samples: u64,
    /// Models.
    pub models: u32,
    /// Bytes of the file.
    pub bytes: u64,
    /// Time of the earliest row, microseconds; 0 in a segment without rows.
    pub first_time: i64,
    /// Time of the latest row, microseconds; 0 in a segment without rows.
    pub last_time: i64,
    /// The checksum of the footer. It covers those of index, directories and blocks, so it stands for every byte.
    pub checksum: u64,
}

/// Bytes of a segment by what they are for. Together they are the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Times.
    pub times: u64,
    /// Values, with where they are and their qualities.
    pub values: u64,
    /// What the blocks of a column have in common.
    pub heads: u64,
    /// Statistics.
    pub statistics: u64,
    /// Places, checksums and counts of blocks.
    pub directory: u64,
    /// Header, index and footer.
    pub index: u64,
}

/// Rows of consecutive assets of one model.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// How many rows.
    pub rows: u32,
    /// The assets in it, ascending, each with its rows.
    pub runs: Vec<Run>,
    /// The blocks its rows fall into, in order. A block starts where a run starts or lies within one run.
    pub blocks: Vec<BlockRows>,
    points: Arc<[PointId]>,
    place: Place,
    directory: Cached<directory::Directory>,
}

/// The rows of one asset in a chunk, times strictly ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The asset.
    pub asset: AssetId,
    /// Its first row in the chunk.
    pub first_row: u32,
    /// How many rows.
    pub rows: u32,
}

/// The rows of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRows {
    /// Its first row in the chunk.
    pub first_row: u32,
    /// How many rows.
    pub rows: u32,
    /// The earliest time in it, microseconds.
    pub first_time: i64,
    /// The latest time in it, microseconds.
    pub last_time: i64,
}

/// Where a chunk lies in the file: block data, then the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    start: u64,
    data_bytes: u64,
    directory_bytes: u64,
    directory_checksum: u32,
}

impl Chunk {
    /// The lengths of the runs block `block` falls into, in order.
    fn runs_of(&self, block: BlockRows) -> impl Iterator<Item = usize> + '_ {
        self.runs_in(block).map(|(_, rows)| rows)
    }

    /// The assets whose rows block `block` holds, in order, each with how many of its rows lie in the block.
    pub fn runs_in(&self, block: BlockRows) -> impl Iterator<Item = (AssetId, usize)> + '_ {
        let end = block.first_row + block.rows;
        let from = self.runs.partition_point(|r| r.first_row + r.rows <= block.first_row);
        let runs = self.runs.get(from..).unwrap_or_default();
        runs.iter().take_while(move |r| r.first_row < end).map(move |r| {
            let start = r.first_row.max(block.first_row);
            (r.asset, ((r.first_row + r.rows).min(end) - start) as usize)
        })
    }
}

#[cfg(test)]
mod tests;
