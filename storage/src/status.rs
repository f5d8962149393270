//! What the store tells about itself: rows of `system.shards` and `system.segments`, and metrics.

use wattline_model::{Deletion, Seqno, ShardId, Timestamp};

/// The state of one shard.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// The last batch that is synced to the log.
    pub durable: Seqno,
    /// The last batch that readers see.
    pub published: Seqno,
    /// The last batch that is in segments.
    pub flushed: Seqno,
    /// Files of the log.
    pub log_files: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Rows in memtables, the frozen ones too.
    pub memtable_rows: u64,
    /// Memory of memtables, the frozen ones too.
    pub memtable_bytes: u64,
    /// Frozen memtables that wait for their flush.
    pub frozen: u64,
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Memory of batches that wait for the writer.
    pub queue_bytes: u64,
    /// Assets in the latest-value table.
    pub latest_assets: u64,
    /// Samples written since the store was opened.
    pub samples_written: u64,
    /// Batches written since the store was opened.
    pub batches_written: u64,
    /// Syncs of the log since the store was opened.
    pub syncs: u64,
    /// Rows written since the start that were older than their retention, so that nobody sees them.
    pub expired_rows: u64,
    /// Flushes since the store was opened.
    pub flushes: u64,
    /// Merges of segments since the store was opened.
    pub compactions: u64,
    /// Bytes of segments that flushes wrote since the store was opened.
    pub flushed_bytes: u64,
    /// Bytes of segments that merges wrote since the store was opened.
    pub merged_bytes: u64,
    /// Segments that are damaged or missing.
    pub damaged: u64,
    /// Deletions that some segment does not reflect yet; nobody sees what they mean.
    pub tombstones: u64,
    /// Bytes of the segments that are being merged just now.
    pub merging_bytes: Option<u64>,
    /// Why the shard takes no more writes, where it does not.
    pub failed: Option<String>,
}

/// A deletion that is in force and not yet carried out on disk.
#[derive(Clone, Debug)]
pub struct PendingDeletion {
    /// The shard it is in.
    pub shard: ShardId,
    /// Its sequence number in the log of the shard.
    pub seqno: Seqno,
    /// What it deletes.
    pub deletion: Deletion,
    /// Segments that still hold samples it means, memtables not counted.
    pub segments: u64,
}

/// One segment.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    /// The shard it belongs to.
    pub shard: ShardId,
    /// Its number within the shard.
    pub id: u64,
    /// How many merges lie behind it: 0 for a flushed one.
    pub level: u8,
    /// Start of its time partition.
    pub partition_start: Timestamp,
    /// End of its time partition (exclusive).
    pub partition_end: Timestamp,
    /// How many models it holds rows of.
    pub models: u32,
    /// Its rows.
    pub rows: u64,
    /// Its samples.
    pub samples: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The earliest time in it.
    pub first_time: Timestamp,
    /// The latest time in it.
    pub last_time: Timestamp,
    /// The first batch that may have rows in it.
    pub first_seqno: Seqno,
    /// The last batch that may have rows in it.
    pub last_seqno: Seqno,
    /// The file's name within the shard's folder.
    pub file: String,
    /// What is wrong with the file, where something is.
    pub damage: Option<String>,
}
