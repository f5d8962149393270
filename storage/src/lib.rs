//! The storage engine: order, durability, visibility, latest values, segments, compaction.
//!
//! Owns: the path of a batch from the one door to readers (`sequence → log → apply → publish`), what is on disk,
//! and what a reader sees. Does not own: protocols, SQL, text names of anything (`registry`), reading the wall
//! clock, files as such (`env`), bytes inside files (`format`).
//!
//! A [`Store`] is a fixed number of shards that share nothing. A shard has one writer, one log, one active
//! memtable, a list of segments and a slice of the latest-value table.
//!
//! Reading order, as the data meets it: [`Store`] (the doors) → `shard` (queue, admit, writer, log) → `memtable` →
//! `latest` → `version` → `flush` → `manifest` → `tombstone`, `expiry` → `compact` → `run` (merging) → `scan` →
//! `recover`; beside that path `check`, `inspect` and
//! `backup`.

mod aggregate;
mod backup;
mod blocks;
mod check;
mod compact;
mod error;
mod expiry;
mod flush;
mod inspect;
mod latest;
mod log;
mod manifest;
mod memtable;
mod recover;
mod run;
mod scan;
mod segment;
mod settings;
mod shard;
mod snapshot;
mod status;
mod store;
mod tombstone;
mod version;

pub use aggregate::{
    AggregateFigures, AggregatePoint, AggregateRequest, Buckets, Cells, Groups, Newest, PointCell,
    ShardAggregate, Wants,
};
pub use backup::{
    BackupInfo, BackupProgress, BackupSummary, BackupWatch, Beside, Folder, Journal, PutBeside, Shipped,
    Until, Vault, backups, prune as prune_backups, restore,
};
pub use blocks::{BlockFilter, BlockInfo, Blocks};
pub use check::{CheckProgress, CheckReport, Finding, Severity, Watch, check};
pub use error::{Error, ErrorKind, Result};
pub use expiry::Horizon;
pub use inspect::{Cell, InspectedTable, Inspection, inspect};
pub use latest::filter::{Comparison, LatestCondition};
pub use latest::{Latest, LatestColumn, LatestRows};
pub use scan::{ScanBatch, ScanColumn, ScanFigures, ScanRequest, ShardScan, Within};
pub use settings::{Driver, Settings};
pub use snapshot::Snapshot;
pub use status::{PendingDeletion, SegmentInfo, ShardStatus};
pub use store::Store;

#[cfg(test)]
mod tests;
