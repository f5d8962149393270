//! Opens a data directory: lock, registry, store, the way in, the way out.
//!
//! Owns: the layout of the directory, the lock, the division of the memory budget among the parts. Does not own:
//! listeners (`serve`).
//!
//! ```text
//! <data_dir>/lock          held while a server runs; names its process
//! <data_dir>/registry.db   who exists (SQLite)
//! <data_dir>/store/        the data
//! <data_dir>/spill/        what statements that run put on disk for want of memory; emptied at each start
//! <data_dir>/restoring     there while a backup is brought back; nothing opens the directory then
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use wattline_env::World;
use wattline_ingest::{IngestSettings, Ingestor};
use wattline_query::{Engine, QuerySettings, Spill};
use wattline_registry::Registry;
use wattline_storage::Store;

use crate::config::Settings;
use crate::deletions::Jobs;
use crate::error::{Error, ErrorKind, Result};
use crate::writing::Writing;

/// Batches committed with one sync: beyond this a longer group brings no more throughput, only delay.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// In a data directory whose restore has not ended.
pub const RESTORING_FILE: &str = "restoring";

/// Everything that is open.
pub struct Opened {
    /// Who exists.
    pub registry: Registry,
    /// The data.
    pub store: Store,
    /// The way in.
    pub ingestor: Ingestor,
    /// The way out, and statements that change something.
    pub engine: Engine,
    /// Deletion jobs.
    pub deletions: Arc<Jobs>,
    /// Released when dropped, last of all.
    _lock: Lock,
}

/// Opens what `settings` name, creating it where it is not there.
///
/// # Errors
/// `InUse` where another process has the directory, `Damaged` where it holds what was not written.
pub fn open(settings: &Settings) -> Result<Opened> {
    let dir = &settings.data_dir;
    let failed = |e: std::io::Error| Error::failed(format!("data directory {}: {e}", dir.display()));
    fs::create_dir_all(dir).map_err(failed)?;
    let lock = Lock::take(dir)?;
    if dir.join(RESTORING_FILE).exists() {
        let what = format!(
            "data directory {}: its restore was interrupted; run wattline restore again",
            dir.display()
        );
        return Err(Error::new(ErrorKind::Damaged, what));
    }
    let registry = Registry::open(&dir.join("registry.db")).map_err(registry_error)?;
    let path = dir.join("store");
    fs::create_dir_all(&path).map_err(failed)?;
    let policies = Arc::new(registry.policies(settings.others_latest_only));
    let storage = wattline_storage::Settings { policies, ..storage_settings(settings) };
    let store = Store::open(&path, storage, World::real())?;
    let ingest = IngestSettings {
        auto_register_devices: settings.ingest.auto_register_devices,
        auto_register_points: settings.ingest.auto_register_points,
        future_limit_micros: i64::try_from(settings.ingest.future_limit.as_micros()).unwrap_or(i64::MAX),
    };
    let ingestor = Ingestor::new(registry.clone(), store.clone(), ingest);
    let query = QuerySettings {
        memory_bytes: settings.memory.queries as usize,
        statement_memory_bytes: settings.sql.memory_bytes_max,
        spill: spill(settings)?,
        statements_max: settings.sql.concurrency_max,
        timeout: Some(settings.sql.timeout),
        rows_max: settings.sql.rows_max,
        ..QuerySettings::default()
    };
    let engine =
        Engine::new(registry.clone(), store.clone(), query).map_err(|e| Error::failed(e.message()))?;
    let deletions = Arc::new(Jobs::new(registry.clone(), store.clone()));
    let engine = engine.with_changes(Arc::new(Writing::new(ingestor.clone(), Arc::clone(&deletions))));
    Ok(Opened { registry, store, ingestor, engine, deletions, _lock: lock })
}

/// Where statements put what does not fit into memory, empty: what is there is of a process that was killed.
fn spill(settings: &Settings) -> Result<Option<Spill>> {
    let dir = settings.data_dir.join("spill");
    let failed = |e: std::io::Error| Error::failed(format!("folder {}: {e}", dir.display()));
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    if settings.sql.spill_bytes_max == 0 {
        return Ok(None);
    }
    fs::create_dir_all(&dir).map_err(failed)?;
    Ok(Some(Spill { dir, bytes_max: settings.sql.spill_bytes_max }))
}

/// The shares of the budget, by shard: a shard may hold one active memtable and `frozen_max` that wait.
fn storage_settings(settings: &Settings) -> wattline_storage::Settings {
    let defaults = wattline_storage::Settings::default();
    let shards = u64::from(settings.shards);
    let memtables = shards * (1 + defaults.frozen_max as u64);
    let queue_bytes = (settings.memory.queues / shards) as usize;
    wattline_storage::Settings {
        shards: settings.shards,
        memtable_bytes: (settings.memory.memtables / memtables) as usize,
        queue_bytes,
        group_bytes: GROUP_BYTES_MAX.min(queue_bytes / 2),
        directory_bytes: (settings.memory.directories / shards) as usize,
        journal_keep_bytes: settings.journal_keep_bytes / shards,
        settle_after: settings.settle_after,
        merge_bytes_per_second: settings.merge_bytes_per_second,
        ..defaults
    }
}

fn registry_error(error: wattline_registry::Error) -> Error {
    use wattline_registry::ErrorKind as Registry;
    let kind = match error.kind() {
        Registry::Damaged => ErrorKind::Damaged,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, error.to_string())
}

/// The lock on a data directory. The operating system lets go of it when the process ends, however it ends.
struct Lock(#[expect(dead_code, reason = "holds the lock while it is open")] File);

impl Lock {
    fn take(dir: &Path) -> Result<Lock> {
        let path = dir.join("lock");
        let failed = |e: std::io::Error| Error::failed(format!("lock file {}: {e}", path.display()));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: whoever holds the lock may be writing it just now.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let who = if holder.is_empty() {
                    "another process".to_owned()
                } else {
                    format!("process {holder}")
                };
                let message = format!("data directory {} is in use by {who}", dir.display());
                return Err(Error::new(ErrorKind::InUse, message));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(failed)?;
        Ok(Lock(file))
    }
}
