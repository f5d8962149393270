//! What goes wrong, and when: operations are counted, and a plan names the one at which something happens.

use std::io;
use std::path::{Path, PathBuf};

/// What a counted operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OperationKind {
    /// A directory was made, with those above it.
    CreateDir,
    /// A file was created (by `create`, or by `lock` where it was missing).
    Create,
    /// Bytes were appended to a file.
    Write,
    /// A file was synced.
    Sync,
    /// A file was cut and synced.
    Truncate,
    /// A file got another name.
    Rename,
    /// A file was removed.
    Remove,
    /// A directory was synced.
    SyncDir,
}

/// One counted operation. Its number is its place in [`crate::sim::SimDisk::trace`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// What it did.
    pub kind: OperationKind,
    /// To what; of a rename, the old name.
    pub path: PathBuf,
    /// How many bytes a write had, or the length a truncate asked for; else zero.
    pub bytes: u64,
}

/// What shall go wrong. Operations are numbered from 0 in the order in which they reach the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// The power fails after this many operations have been carried out; each later call fails, reads too.
    pub crash_after: Option<u64>,
    /// The first sync (of a file or a directory) at or after this operation fails, once.
    pub fail_sync_at: Option<u64>,
    /// Only syncs beneath this directory (or of this very path) fail by `fail_sync_at`.
    pub fail_sync_beneath: Option<PathBuf>,
    /// Files may hold this many bytes together; what goes beyond fails with [`io::ErrorKind::StorageFull`] after as
    /// much as fits was written.
    pub capacity_bytes: Option<u64>,
}

impl FaultPlan {
    /// The power fails after `operations` operations.
    pub fn crash_after(operations: u64) -> FaultPlan {
        FaultPlan { crash_after: Some(operations), ..FaultPlan::default() }
    }

    /// Whether operation `number`, a sync of `path`, shall fail.
    pub(super) fn fails_sync(&self, number: u64, path: &Path) -> bool {
        self.fail_sync_at.is_some_and(|first| first <= number)
            && self.fail_sync_beneath.as_ref().is_none_or(|dir| path.starts_with(dir))
    }
}

pub(super) fn crashed() -> io::Error {
    io::Error::other("simulated crash")
}

pub(super) fn sync_failed(path: &Path) -> io::Error {
    io::Error::other(format!("simulated sync failure of {}", path.display()))
}

pub(super) fn disk_full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "simulated disk full")
}
