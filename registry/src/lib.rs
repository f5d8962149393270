//! Who exists: organizations, thing models, products and devices, with their keys and secrets, and which of their data
//! is kept.
//!
//! Owns: these entities and their rules (inheritance, uniqueness, identifiers, limits), their durable home in one
//! embedded SQLite file, and a cache of all of them that answers lookups without IO.
//!
//! Does not own: measure-point data (`storage`), the digest by which a device proves itself (`ingest`), HTTP and the
//! command line (`server`).
//!
//! Reading order: [`models`], [`attributes`] → [`products`] → [`devices`], [`assets`] → [`trees`] → [`orgs`] → [`policies`],
//! [`unformatted`], [`records`] → [`deletions`] →
//! [`accounts`], [`services`] → [`grants`], [`permissions`] → [`audit`], [`calls`]; then `schema` (the file), `cache` (the memory), [`thing_json`] (JSON forms), [`secret`], [`check`] (rules), [`error`].
//!
//! One change: *check → lock → look at the cache → transaction → commit (synced) → apply the edit to the cache*.
//! Whatever a lookup returns is durable.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::cache::{Cache, Edit};

pub mod accounts;
pub mod assets;
pub mod attributes;
pub mod audit;
mod cache;
pub mod calls;
pub mod check;
pub mod deletions;
pub mod devices;
pub mod error;
pub mod grants;
pub mod models;
pub mod orgs;
pub mod permissions;
pub mod policies;
pub mod products;
pub mod records;
mod schema;
pub mod secret;
pub mod services;
mod texts;
pub mod thing_json;
pub mod trees;
pub mod unformatted;

pub use accounts::{Account, Verifier};
pub use assets::{AssetChange, NewAsset};
pub use attributes::Attribute;
pub use audit::AuditEntry;
pub use calls::AuditedCall;
pub use check::timezone;
pub use deletions::{DeletionJob, DeletionStatus};
pub use devices::{Device, NewDevice};
pub use error::{Error, ErrorKind, Rule};
pub use grants::{Grant, Holder, HolderKind, Right, Rights, Scope};
pub use models::{NewModel, NewPoint};
pub use orgs::{DEFAULT_ORG, NewOrg, Org};
pub use permissions::{Permissions, Reach};
pub use policies::{KeepFrom, Policy, PolicyGroup, PolicyPoint};
pub use products::{NewProduct, Product};
pub use records::{RecordKind, Records};
pub use secret::Secret;
pub use services::{NewServiceAccount, ServiceAccount};
pub use trees::{Branch, Tree, TreeId, TreeTexts};
pub use unformatted::Unformatted;

/// The registry: a cheap handle on one open file, safe to use from many threads.
///
/// Lookups read memory only. Changes wait for each other and for the disk: call them where blocking is allowed.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    cache: RwLock<Cache>,
    writer: Mutex<Writer>,
    version: AtomicU64,
    changes: AtomicU64,
    /// Grows with every change that what accounts may do follows from.
    grants: AtomicU64,
    permissions: Mutex<permissions::Kept>,
}

struct Writer {
    connection: Connection,
    /// Set when the medium failed under a write. What it holds is then unknown, and memory and disk might part
    /// company; no change is accepted until the file is opened, and thereby recovered, again.
    failed: bool,
}

impl Registry {
    /// Opens the registry in the file `path`, creating it where it does not exist; the folder must. One process at a
    /// time may have it open.
    ///
    /// # Errors
    /// `Io` where the file cannot be opened or another process has it, `Input` where it is of a newer release or no
    /// registry, `Damaged` where it holds what no release writes.
    pub fn open(path: &Path) -> Result<Registry, Error> {
        let (connection, cache) = recover(path).map_err(|e| e.in_file(path))?;
        let inner = Inner {
            cache: RwLock::new(cache),
            writer: Mutex::new(Writer { connection, failed: false }),
            version: AtomicU64::new(1),
            changes: AtomicU64::new(0),
            grants: AtomicU64::new(1),
            permissions: Mutex::default(),
        };
        Ok(Registry { inner: Arc::new(inner) })
    }

    /// Grows with every change; what was derived from the registry at another version may be stale.
    pub fn version(&self) -> u64 {
        self.inner.version.load(Ordering::Acquire)
    }

    /// How many changes were committed since it was opened, those that lookups do not show among them, calls that were
    /// noted in the audit log not. What a lookup
    /// shows has been counted before: a copy made after two equal answers would be like one made between them.
    pub fn changes(&self) -> u64 {
        self.inner.changes.load(Ordering::Acquire)
    }

    /// Writes a copy of the registry, as it is now, to the new file `path`, readable by its owner alone.
    ///
    /// # Errors
    /// `Io` where the file is there already or cannot be written.
    pub fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let writer = self.inner.writer.lock();
        let act = |e| Error::sqlite("copy the registry", e);
        writer.connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]).map_err(act)?;
        schema::restrict(path)
    }

    fn cache(&self) -> RwLockReadGuard<'_, Cache> {
        self.inner.cache.read()
    }

    /// The one door for changes: runs `act` in a transaction with sight of everything that exists, commits, then
    /// shows the edit to readers.
    fn change<T>(
        &self,
        act: impl FnOnce(&Transaction<'_>, &Cache) -> Result<(T, Edit), Error>,
    ) -> Result<T, Error> {
        let mut writer = self.inner.writer.lock();
        if writer.failed {
            let reason = "stopped accepting changes after a failed write; restart to recover";
            return Err(Error::new(ErrorKind::Io, "registry", reason));
        }
        let result = self.commit(&mut writer.connection, act);
        match result {
            Ok((value, Edit::Nothing)) => Ok(value),
            Ok((value, Edit::Uncached | Edit::Calls)) => Ok(value),
            Ok((value, edit)) => {
                let is_of_grants = edit.is_of_grants();
                self.inner.cache.write().apply(edit);
                if is_of_grants {
                    self.inner.grants.fetch_add(1, Ordering::Release);
                }
                self.inner.version.fetch_add(1, Ordering::Release);
                Ok(value)
            }
            Err(error) => {
                writer.failed |= error.medium_failed();
                Err(error)
            }
        }
    }

    fn commit<T>(
        &self,
        connection: &mut Connection,
        act: impl FnOnce(&Transaction<'_>, &Cache) -> Result<(T, Edit), Error>,
    ) -> Result<(T, Edit), Error> {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| Error::sqlite("begin a change", e))?;
        // The cache cannot change under us: whoever changes it holds the writer's lock, which is ours.
        let (value, edit) = act(&transaction, &self.cache())?;
        if !matches!(edit, Edit::Nothing) {
            transaction.commit().map_err(|e| Error::sqlite("commit a change", e))?;
            if !matches!(edit, Edit::Calls) {
                self.inner.changes.fetch_add(1, Ordering::Release);
            }
        }
        Ok((value, edit))
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("version", &self.version()).finish_non_exhaustive()
    }
}

/// Opens the file and reads everything in it; SQLite has undone what a crash left half done.
fn recover(path: &Path) -> Result<(Connection, Cache), Error> {
    let connection = schema::open(path)?;
    let mut cache = Cache::default();
    orgs::load(&connection, &mut cache)?;
    models::load(&connection, &mut cache)?;
    products::load(&connection, &mut cache)?;
    devices::load(&connection, &mut cache)?;
    trees::load(&connection, &mut cache)?;
    policies::load(&connection, &mut cache)?;
    unformatted::load(&connection, &mut cache)?;
    records::load(&connection, &mut cache)?;
    accounts::load(&connection, &mut cache)?;
    services::load(&connection, &mut cache)?;
    grants::load(&connection, &mut cache)?;
    // Reading everything has filled the page cache; what is cached here is not read from there again.
    connection.execute_batch("PRAGMA shrink_memory").map_err(|e| Error::sqlite("open", e))?;
    Ok((connection, cache))
}

/// A row number as an id of ours. Numbers come from SQLite's AUTOINCREMENT: they grow and are never reused.
fn number(table: &str, row: i64) -> Result<u32, Error> {
    match u32::try_from(row) {
        Ok(id) if id > 0 => Ok(id),
        _ => Err(Error::damaged(table, row, "id", "is outside 1 to 4294967295")),
    }
}

#[cfg(test)]
mod tests;
