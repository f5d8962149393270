//! The log of a shard on disk: one file a memtable, appended and synced in groups.
//!
//! Owns: which files there are, appending a group with one sync, removing files that segments made superfluous. Does
//! not own: record bytes (`wattline_format::log`), reading them back (`recover`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wattline_env::{Disk, WriteFile};
use wattline_format::log as format;
use wattline_model::{Seqno, ShardId};

use crate::error::{Error, ErrorKind, Result};

/// The log of one shard, open for appending.
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: u64,
    shard: ShardId,
    file: Box<dyn WriteFile>,
    path: PathBuf,
    /// Files by first batch, ascending; the last one is open.
    files: Vec<LogFile>,
}

/// One file of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogFile {
    pub(crate) first: Seqno,
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// A place in the log of a shard between two groups: so many bytes of the file whose first batch is `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) first: Seqno,
    pub(crate) bytes: u64,
}

impl LogFile {
    /// Where it ends.
    pub(crate) fn end(&self) -> Position {
        Position { first: self.first, bytes: self.bytes }
    }
}

/// The name of the file whose first batch is `first`.
pub(crate) fn file_name(first: Seqno) -> String {
    format!("log-{:020}.wll", first.0)
}

/// The first batch of the file `name`, where that is a log file's name.
pub(crate) fn first_of(name: &str) -> Option<Seqno> {
    name.strip_prefix("log-")?.strip_suffix(".wll")?.parse().ok().map(Seqno)
}

impl Log {
    /// Opens a new file for batches from `first` on, behind the `older` ones.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        store: u64,
        shard: ShardId,
        first: Seqno,
        older: Vec<LogFile>,
    ) -> Result<Log> {
        let (file, entry) = create_file(&*disk, dir, store, shard, first)?;
        let path = dir.join(&entry.name);
        let mut files = older;
        files.push(entry);
        Ok(Log { disk, dir: dir.to_owned(), store, shard, file, path, files })
    }

    /// Appends `records` and syncs. After an error of kind `Full` the log is as before and may be tried again;
    /// after any other it must not be used any more.
    pub(crate) fn append(&mut self, records: &[u8]) -> Result<()> {
        let before = self.file.len();
        if let Err(error) = self.file.write_all(records) {
            let error = Error::io(format_args!("append to {}", self.path.display()), &error);
            return Err(self.cut_back(before, error));
        }
        if let Err(error) = self.file.sync() {
            return Err(self.sync_failed(before, &error));
        }
        if let Some(last) = self.files.last_mut() {
            last.bytes = self.file.len();
        }
        Ok(())
    }

    /// After a failed sync nobody knows what the medium holds, and later syncs do not tell: only a restart, which
    /// reads it, can. The restart must not read what is in the system's cache alone, so that is cut off.
    fn sync_failed(&self, len: u64, error: &std::io::Error) -> Error {
        if let Err(second) = self.disk.truncate(&self.path, len) {
            tracing::warn!(file = %self.path.display(), error = %second, "what was not synced could not be cut off");
        }
        let path = self.path.display();
        Error::new(ErrorKind::Io, format!("sync {path}: {error}; writes stop until the store is reopened"))
    }

    /// Removes what a failed append left, so that the next one does not follow half a record.
    fn cut_back(&mut self, len: u64, error: Error) -> Error {
        if error.kind() != ErrorKind::Full {
            return error;
        }
        match self.disk.cut_back(&self.path, len) {
            Ok(file) => {
                self.file = file;
                error
            }
            Err(second) => {
                Error::new(ErrorKind::Io, format!("{error}; and cutting the file back failed: {second}"))
            }
        }
    }

    /// Starts a new file: batches from `first` on go there.
    pub(crate) fn rotate(&mut self, first: Seqno) -> Result<()> {
        let (file, entry) = create_file(&*self.disk, &self.dir, self.store, self.shard, first)?;
        self.path = self.dir.join(&entry.name);
        self.file = file;
        self.files.push(entry);
        Ok(())
    }

    /// Forgets the files all of whose batches are `flushed`, and returns them: the caller removes them, so that the
    /// writer does not wait for it.
    pub(crate) fn take_flushed(&mut self, flushed: Seqno) -> Vec<LogFile> {
        let done = self.files.windows(2).take_while(|w| w[1].first <= flushed.next()).count();
        self.files.drain(..done).collect()
    }

    /// Where it ends: after the last group that is synced.
    pub(crate) fn end(&self) -> Position {
        self.files.last().map(LogFile::end).expect("the file that is open is one of them")
    }

    /// Whether `name` is one of its files.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.files.iter().any(|f| f.name == name)
    }

    /// Its files, each with the bytes that are synced.
    pub(crate) fn contents(&self) -> Vec<LogFile> {
        self.files.clone()
    }

    pub(crate) fn files(&self) -> u64 {
        self.files.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }
}

fn create_file(
    disk: &dyn Disk,
    dir: &Path,
    store: u64,
    shard: ShardId,
    first: Seqno,
) -> Result<(Box<dyn WriteFile>, LogFile)> {
    let name = file_name(first);
    let path = dir.join(&name);
    let header = format::encode_header(&format::Header { store, shard, first });
    let create = || {
        if disk.exists(&path) {
            // Left by an attempt that failed half way, for want of room say. It never held a batch: batches up
            // to `first` are elsewhere, and `first` itself is not written yet.
            disk.remove(&path)?;
        }
        let mut file = disk.create(&path)?;
        file.write_all(&header)?;
        file.sync()?;
        disk.sync_dir(dir)?;
        Ok(file)
    };
    let file: Box<dyn WriteFile> = create().map_err(|e: std::io::Error| {
        // Half a file helps nobody. Where it cannot be removed either, the next start does that.
        let _ = disk.remove(&path);
        Error::io(format_args!("create {}", path.display()), &e)
    })?;
    Ok((file, LogFile { first, name, bytes: header.len() as u64 }))
}
