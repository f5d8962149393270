//! A disk in memory that knows, of every byte and every name, whether it would survive a loss of power.
//!
//! A file is its bytes (the live image) and how many of them are synced; since files grow only at their end, the
//! durable image is that prefix, except for the stretches whose sync has failed: those stay doubtful for ever, as on
//! Linux, where a failed `fsync` drops the pages and the next one says `Ok`.
//!
//! Names live in one table; the durable table trails it by a list of changes that no `sync_dir` has covered yet.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::fault::{FaultPlan, Operation, OperationKind, crashed, disk_full, sync_failed};
use crate::{Disk, WriteFile};

/// A simulated disk. Clones are handles to the same disk; [`SimDisk::crash`] makes another one.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// Identifies a file whatever its name.
pub(super) type FileId = u64;

/// Everything the disk knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<FileId, SimFile>,
    pub(super) next_file: FileId,
    /// Directories are durable as soon as they are made; that is what `create_dir_all` promises.
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) names: BTreeMap<PathBuf, FileId>,
    pub(super) durable_names: BTreeMap<PathBuf, FileId>,
    pub(super) unsynced_names: Vec<NameChange>,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) trace: Vec<Operation>,
    pub(super) plan: FaultPlan,
}

/// A file: its live bytes, and which of them are durable.
#[derive(Clone, Debug, Default)]
pub(super) struct SimFile {
    pub(super) bytes: Vec<u8>,
    /// Bytes below this offset, and the length up to it, are covered by a sync that said `Ok`…
    pub(super) synced: usize,
    /// …except these, which were written when a sync failed.
    pub(super) doubtful: Vec<Range<usize>>,
    /// Start of what no sync has been tried on.
    pub(super) untried: usize,
}

/// A change to the table of names.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link { path: PathBuf, file: FileId },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, file: FileId },
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        match self {
            NameChange::Link { path, file } => {
                names.insert(path.clone(), *file);
            }
            NameChange::Unlink { path } => {
                names.remove(path);
            }
            NameChange::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }

    /// The directory whose sync makes this change durable (of a rename, the one it goes to).
    pub(super) fn dir(&self) -> &Path {
        match self {
            NameChange::Link { path, .. } | NameChange::Unlink { path } => parent_of(path),
            NameChange::Rename { to, .. } => parent_of(to),
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        self.dir() == dir || matches!(self, NameChange::Rename { from, .. } if parent_of(from) == dir)
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    pub(super) fn from_state(state: State) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// Sets what shall go wrong from now on; the default plan is that nothing does.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.state.lock().plan = plan;
    }

    /// How many operations have been carried out or failed by plan.
    pub fn operations(&self) -> u64 {
        self.state.lock().trace.len() as u64
    }

    /// All operations so far; an operation's number is its index.
    pub fn trace(&self) -> Vec<Operation> {
        self.state.lock().trace.clone()
    }

    /// Whether the plan's crash has come.
    pub fn has_crashed(&self) -> bool {
        self.state.lock().check_power().is_err()
    }

    /// All file names, sorted by path.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state.lock().names.keys().cloned().collect()
    }

    /// Bytes that all named files hold together.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used_bytes()
    }

    /// Turns over one bit of a file, as a failing medium does. Bytes mapped before stay as they were.
    pub fn flip_bit(&self, path: &Path, byte: u64, bit: u8) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.file_mut(path)?;
        let byte = usize::try_from(byte).ok().and_then(|at| file.bytes.get_mut(at));
        let byte = byte.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        *byte ^= 1 << (bit % 8);
        Ok(())
    }
}

impl State {
    fn check_power(&self) -> io::Result<()> {
        match self.plan.crash_after {
            Some(last) if last <= self.trace.len() as u64 => Err(crashed()),
            _ => Ok(()),
        }
    }

    /// Counts an operation and gives its number, or fails because the power is gone.
    fn count(&mut self, kind: OperationKind, path: &Path, bytes: u64) -> io::Result<u64> {
        self.check_power()?;
        self.trace.push(Operation { kind, path: path.to_path_buf(), bytes });
        Ok(self.trace.len() as u64 - 1)
    }

    fn find(&self, path: &Path) -> io::Result<FileId> {
        self.names.get(path).copied().ok_or_else(|| not_found(path))
    }

    fn file(&self, path: &Path) -> io::Result<&SimFile> {
        let id = self.find(path)?;
        Ok(self.files.get(&id).expect("a named file exists"))
    }

    fn file_mut(&mut self, path: &Path) -> io::Result<&mut SimFile> {
        let id = self.find(path)?;
        Ok(self.files.get_mut(&id).expect("a named file exists"))
    }

    fn check_dir(&self, dir: &Path) -> io::Result<()> {
        if self.is_dir(dir) { Ok(()) } else { Err(not_found(dir)) }
    }

    fn is_dir(&self, dir: &Path) -> bool {
        dir.parent().is_none() || dir.as_os_str().is_empty() || self.dirs.contains(dir)
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn link_new(&mut self, path: &Path) -> FileId {
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, SimFile::default());
        self.change_name(NameChange::Link { path: path.to_path_buf(), file });
        file
    }

    fn used_bytes(&self) -> u64 {
        let sizes =
            self.names.values().filter_map(|id| self.files.get(id)).map(|file| file.bytes.len() as u64);
        sizes.sum()
    }

    /// Fails, once, where the plan says that this sync shall.
    fn check_sync(&mut self, number: u64, path: &Path) -> io::Result<()> {
        if !self.plan.fails_sync(number, path) {
            return Ok(());
        }
        self.plan.fail_sync_at = None;
        Err(sync_failed(path))
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if dir.ancestors().any(|path| state.names.contains_key(path)) {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, dir.display().to_string()));
        }
        if state.is_dir(dir) {
            return state.check_power();
        }
        state.count(OperationKind::CreateDir, dir, 0)?;
        for path in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            state.dirs.insert(path.to_path_buf());
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.check_power()?;
        state.check_dir(dir)?;
        let names = state.names.keys().filter(|path| parent_of(path) == dir);
        let mut names: Vec<String> =
            names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state.lock();
        state.check_power()?;
        state.check_dir(parent_of(path))?;
        if state.names.contains_key(path) || state.is_dir(path) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.display().to_string()));
        }
        state.count(OperationKind::Create, path, 0)?;
        let file = state.link_new(path);
        Ok(Box::new(SimHandle { disk: self.clone(), path: path.to_path_buf(), file, len: 0 }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let state = self.state.lock();
        state.check_power()?;
        let file = state.find(path)?;
        let len = state.file(path)?.bytes.len() as u64;
        Ok(Box::new(SimHandle { disk: self.clone(), path: path.to_path_buf(), file, len }))
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        self.read(path).map(Bytes::from)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        state.check_power()?;
        Ok(state.file(path)?.bytes.clone())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.check_power()?;
        Ok(state.file(path)?.bytes.len() as u64)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_power()?;
        state.find(path)?;
        let number = state.count(OperationKind::Truncate, path, len)?;
        state.check_sync(number, path)?;
        let len = usize::try_from(len).map_err(|_| disk_full())?;
        let file = state.file_mut(path)?;
        file.bytes.resize(len, 0);
        file.doubtful.retain_mut(|range| {
            range.end = range.end.min(len);
            range.start < range.end
        });
        file.synced = len;
        file.untried = len;
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_power()?;
        let file = state.find(from)?;
        state.check_dir(parent_of(to))?;
        state.count(OperationKind::Rename, from, 0)?;
        if from != to {
            state.change_name(NameChange::Rename { from: from.to_path_buf(), to: to.to_path_buf(), file });
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_power()?;
        state.find(path)?;
        state.count(OperationKind::Remove, path, 0)?;
        state.change_name(NameChange::Unlink { path: path.to_path_buf() });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check_power()?;
        state.check_dir(dir)?;
        let number = state.count(OperationKind::SyncDir, dir, 0)?;
        // Unlike file data, names stay in the journal when a sync fails: a later sync makes them durable.
        state.check_sync(number, dir)?;
        let State { durable_names, unsynced_names, .. } = &mut *state;
        unsynced_names.retain(|change| {
            let synced = change.touches(dir);
            if synced {
                change.apply(durable_names);
            }
            !synced
        });
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        let state = self.state.lock();
        state.names.contains_key(path) || state.is_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut state = self.state.lock();
        state.check_power()?;
        state.check_dir(parent_of(path))?;
        if state.locks.contains(path) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        if !state.names.contains_key(path) {
            state.count(OperationKind::Create, path, 0)?;
            state.link_new(path);
        }
        state.locks.insert(path.to_path_buf());
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_path_buf() }))
    }
}

/// A held lock; dropping it gives it back.
#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state.lock().locks.remove(&self.path);
    }
}

/// A simulated file open for writing at its end. It follows the file, not the name.
#[derive(Debug)]
struct SimHandle {
    disk: SimDisk,
    /// The name it was opened by, for the trace.
    path: PathBuf,
    file: FileId,
    len: u64,
}

impl WriteFile for SimHandle {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.count(OperationKind::Write, &self.path, bytes.len() as u64)?;
        let room = match state.plan.capacity_bytes {
            Some(capacity) => {
                usize::try_from(capacity.saturating_sub(state.used_bytes())).unwrap_or(usize::MAX)
            }
            None => usize::MAX,
        };
        let fits = &bytes[..bytes.len().min(room)];
        let file = state.files.get_mut(&self.file).expect("files are kept as long as the disk");
        file.bytes.extend_from_slice(fits);
        self.len = file.bytes.len() as u64;
        if fits.len() < bytes.len() { Err(disk_full()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let number = state.count(OperationKind::Sync, &self.path, 0)?;
        let outcome = state.check_sync(number, &self.path);
        let file = state.files.get_mut(&self.file).expect("files are kept as long as the disk");
        let covered = file.untried..file.bytes.len();
        file.untried = covered.end;
        match outcome {
            Ok(()) => file.synced = covered.end,
            Err(_) if covered.is_empty() => {}
            Err(_) => file.doubtful.push(covered),
        }
        outcome
    }

    fn len(&self) -> u64 {
        self.len
    }
}

pub(super) fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}
