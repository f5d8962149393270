//! Settings of a store: plain data, checked once at open.

use std::sync::Arc;
use std::time::Duration;

use wattline_model::{Policies, ShardCount};

use crate::error::{Error, ErrorKind, Result};

/// Who runs the shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// A writer thread a shard, and a thread each for flushing and for compaction.
    #[default]
    Threads,
    /// The thread that calls: each write commits, flushes and compacts before it returns. For simulation, where the
    /// same calls must do the same things in the same order.
    Inline,
}

/// Settings of a store. Sizes are per shard unless the name says otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many shards a *new* store gets; an existing one keeps what it has.
    pub shards: u32,
    /// Width of a time partition of a new store, in microseconds. Segments never cross one.
    pub partition_micros: i64,
    /// Memory of the active memtable at which it is frozen and flushed.
    pub memtable_bytes: usize,
    /// How many frozen memtables may wait for their flush before the writer waits too.
    pub frozen_max: usize,
    /// Memory of batches that wait for the writer; a full queue makes the doors wait.
    pub queue_bytes: usize,
    /// Memory of the batches committed with one sync.
    pub group_bytes: usize,
    /// Memory of what is kept of segments' directories between reads.
    pub directory_bytes: usize,
    /// How many segments of one level and partition are merged into one of the next level.
    pub merge_fanout: usize,
    /// How long a shard must not have flushed until segments are merged because they overlap, though they are fewer than
    /// `merge_fanout`.
    pub settle_after: Duration,
    /// Bytes a second that a merge writes at most; `None`: as fast as it can while it gives way to writes.
    pub merge_bytes_per_second: Option<u64>,
    /// Bytes of edits after which the manifest is written anew, unless its state alone is larger: keeps opening fast.
    pub manifest_edit_bytes: u64,
    /// Bytes of log files that stay on disk after their flush until journals have sent them; past it the journals
    /// break, so that a place for backups that cannot be reached does not fill the disk.
    pub journal_keep_bytes: u64,
    /// The storage policies that rule until [`Store::rule`](crate::Store::rule) says otherwise.
    pub policies: Arc<Policies>,
    /// Who runs the shards.
    pub driver: Driver,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            shards: 2,
            partition_micros: 7 * 86_400_000_000,
            memtable_bytes: 96 << 20,
            frozen_max: 2,
            queue_bytes: 32 << 20,
            group_bytes: 4 << 20,
            directory_bytes: 32 << 20,
            merge_fanout: 4,
            settle_after: Duration::from_secs(10),
            merge_bytes_per_second: None,
            manifest_edit_bytes: 256 << 10,
            journal_keep_bytes: 512 << 20,
            policies: Arc::default(),
            driver: Driver::Threads,
        }
    }
}

impl Settings {
    /// Checks what can be checked without a store.
    ///
    /// # Errors
    /// Names the setting and its bounds.
    pub(crate) fn check(&self) -> Result<ShardCount> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::Input, format!("setting {what}")));
        if self.partition_micros < 3_600_000_000 {
            return wrong("partition_micros must be at least an hour");
        }
        if self.memtable_bytes < 4_096 {
            return wrong("memtable_bytes must be at least 4096");
        }
        if self.frozen_max < 1 {
            return wrong("frozen_max must be at least 1");
        }
        if self.queue_bytes < 4_096 || self.group_bytes < 1 {
            return wrong("queue_bytes must be at least 4096 and group_bytes at least 1");
        }
        if self.merge_fanout < 2 {
            return wrong("merge_fanout must be at least 2");
        }
        match ShardCount::new(self.shards) {
            Some(shards) => Ok(shards),
            None => wrong("shards must be 1 to 1024"),
        }
    }
}
