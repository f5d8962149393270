//! The journal of the newest backup, while the server runs.
//!
//! Owns: which journal goes on, when a copy of the registry goes with it, what is counted of it. Does not own: when to
//! mark and to ship ([`crate::backups`]), what is shipped (`storage`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use wattline_registry::Registry;
use wattline_storage::{Journal, PutBeside, Shipped, Vault};

use crate::http::now_micros;
use crate::http::operations::copy_registry;
use crate::vault;

/// The journal that goes on, and what is known of it.
pub struct Journaling {
    dir: String,
    registry: Registry,
    /// Opened once: an object store has threads and connections of its own.
    repository: Mutex<Option<Arc<dyn Vault>>>,
    running: Mutex<Option<Arc<Running>>>,
    counts: JournalCounts,
}

struct Running {
    journal: Journal,
    /// The count of changes that the newest copy of the registry knows.
    copied: Mutex<u64>,
}

/// Counts of shipments.
#[derive(Debug)]
pub struct JournalCounts {
    /// Everything written before this time is in the repository; microseconds.
    pub shipped_micros: AtomicI64,
    /// Bytes that were shipped.
    pub bytes: AtomicU64,
    /// Shipments that failed and are tried again.
    pub failures: AtomicU64,
    /// Journals that broke: moments before the next backup are missing.
    pub gaps: AtomicU64,
}

impl Journaling {
    /// None goes on yet; they are going to be shipped to `dir`.
    pub fn new(dir: String, registry: Registry) -> Journaling {
        let counts = JournalCounts {
            shipped_micros: now_micros().into(),
            bytes: 0.into(),
            failures: 0.into(),
            gaps: 0.into(),
        };
        Journaling { dir, registry, repository: Mutex::default(), running: Mutex::default(), counts }
    }

    /// Counts of shipments.
    pub fn counts(&self) -> &JournalCounts {
        &self.counts
    }

    /// Bytes of log that are on the disk for the journal alone.
    pub fn kept_bytes(&self) -> u64 {
        self.running().map_or(0, |running| running.journal.kept_bytes())
    }

    /// Whether there is a journal that is not broken.
    pub fn goes_on(&self) -> bool {
        self.running().is_some_and(|running| !running.journal.is_broken())
    }

    /// Goes on with `journal`, whose backup has a copy of the registry with `copied` changes; ships the last of the one
    /// before. Blocking.
    pub fn begin(&self, journal: Journal, copied: u64) {
        tracing::info!(backup = journal.backup(), "a journal begins");
        let next = Arc::new(Running { journal, copied: Mutex::new(copied) });
        let old = self.running.lock().replace(next);
        if let Some(old) = old {
            self.count(&old, Running::finish);
        }
        self.counts.shipped_micros.store(now_micros(), Ordering::Relaxed);
    }

    /// Notes this moment. Blocking.
    pub fn mark(&self) {
        if let Some(running) = self.running() {
            running.journal.mark();
        }
    }

    /// Ships what is new. Blocking.
    pub fn ship(&self) {
        if let Some(running) = self.running()
            && self.count(&running, Running::ship)
        {
            // Nothing more of it can be shipped; what it keeps is let go. Another one may have begun meanwhile.
            self.running.lock().take_if(|now| Arc::ptr_eq(now, &running));
        }
    }

    /// Ships what is left. Blocking.
    pub fn finish(&self) {
        let last = self.running.lock().take();
        if let Some(last) = last {
            self.count(&last, Running::finish);
        }
    }

    fn running(&self) -> Option<Arc<Running>> {
        self.running.lock().clone()
    }

    fn repository(&self) -> Result<Arc<dyn Vault>, String> {
        let mut repository = self.repository.lock();
        if let Some(open) = &*repository {
            return Ok(Arc::clone(open));
        }
        let open = vault::open(&self.dir).map_err(|e| e.to_string())?;
        *repository = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Does `act` to a journal, counts what comes of it, and says whether it is broken.
    fn count(&self, running: &Running, act: ShipAs) -> bool {
        let shipped = self.repository().and_then(|repository| act(running, &*repository, &self.registry));
        let (backup, counts) = (running.journal.backup(), &self.counts);
        match shipped {
            Ok(Some(shipped)) => {
                counts.shipped_micros.fetch_max(shipped.until_micros, Ordering::Relaxed);
                counts.bytes.fetch_add(shipped.bytes, Ordering::Relaxed);
                false
            }
            Ok(None) => {
                counts.gaps.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(backup, "the journal has a gap up to the next backup");
                true
            }
            Err(error) => {
                counts.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(backup, error, "a piece of the journal could not be shipped");
                false
            }
        }
    }
}

type ShipAs = fn(&Running, &dyn Vault, &Registry) -> Result<Option<Shipped>, String>;

impl Running {
    fn ship(&self, repository: &dyn Vault, registry: &Registry) -> Result<Option<Shipped>, String> {
        let mut beside = |put: PutBeside<'_>| self.beside(registry, put);
        self.journal.ship(repository, &mut beside).map_err(|e| e.to_string())
    }

    fn finish(&self, repository: &dyn Vault, registry: &Registry) -> Result<Option<Shipped>, String> {
        let mut beside = |put: PutBeside<'_>| self.beside(registry, put);
        self.journal.finish(repository, &mut beside).map_err(|e| e.to_string())
    }

    /// Puts a copy of the registry beside the logs where it has changed since the last one.
    fn beside(&self, registry: &Registry, put: PutBeside<'_>) -> wattline_storage::Result<()> {
        let mut copied = self.copied.lock();
        let changes = registry.changes();
        if *copied != changes {
            copy_registry(registry, put)?;
            *copied = changes;
        }
        Ok(())
    }
}

/// Ships the last piece at the end of the server, for as long as that may take.
pub async fn finish(journaling: Arc<Journaling>, patience: Duration) {
    let finishing = tokio::task::spawn_blocking(move || journaling.finish());
    match tokio::time::timeout(patience, finishing).await {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => tracing::error!(%panic, "the last piece of the journal was not shipped"),
        Err(_) => tracing::warn!("the last piece of the journal was not shipped within shutdown_timeout"),
    }
}
