//! A shard: what its writer, its flusher, its compactor and its readers share.
//!
//! Owns: the current view (memtables and version) and changing it, counters, the signal for maintenance. Does not
//! own: the steps of a write (`writer`), deciding what to flush or merge.

mod admit;
pub(crate) mod completion;
pub(crate) mod queue;
pub(crate) mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use wattline_env::World;
use wattline_model::{Batch, ModelId, Seqno, ShardId};

use crate::backup::keep::Keep;
use crate::error::{Error, ErrorKind, Result};
use crate::latest::LatestTable;
use crate::log::Log;
use crate::manifest::Manifest;
use crate::memtable::Memtable;
use crate::settings::{Driver, Settings};
use crate::status::ShardStatus;
use crate::version::{Kept, Version};
use queue::Queue;

/// What there is to read: memtables oldest first, the last one active, and the segments before them.
#[derive(Clone, Default)]
pub(crate) struct View {
    pub(crate) memtables: Vec<Arc<Memtable>>,
    pub(crate) version: Version,
}

/// The shared part of a shard.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) dir: PathBuf,
    pub(crate) world: World,
    pub(crate) settings: Settings,
    pub(crate) store: u64,
    pub(crate) partition_micros: i64,
    pub(crate) queue: Queue,
    pub(crate) log: Mutex<Log>,
    /// What of the log journals have not sent yet. Locked before the log where both are.
    pub(crate) keep: Mutex<Keep>,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) latest: LatestTable,
    pub(crate) counters: Counters,
    pub(crate) kept: Arc<Kept>,
    pub(crate) maintenance: Arc<Signal>,
    /// The number the next segment file gets. The manifest knows a number not above it.
    pub(crate) next_segment: AtomicU64,
    /// One flush, and one merge, at a time.
    pub(crate) flushing: Mutex<()>,
    pub(crate) merging: Mutex<()>,
    /// Held while rows are published and while the view changes: a snapshot under it is of one moment.
    pub(crate) change: Mutex<()>,
    view: ArcSwap<View>,
    flushed: Mutex<Flushed>,
    flushed_changed: Condvar,
    /// When the last flush ended, or the shard was opened, by the monotonic clock.
    flushed_nanos: AtomicU64,
}

#[derive(Default)]
struct Flushed {
    seqno: Seqno,
    /// Why the last attempt to flush failed, while it did.
    error: Option<Error>,
    /// Attempts that failed since the shard was opened.
    failures: u64,
}

/// What is needed to set a shard up.
pub(crate) struct Parts {
    pub(crate) id: ShardId,
    pub(crate) dir: PathBuf,
    pub(crate) world: World,
    pub(crate) settings: Settings,
    pub(crate) store: u64,
    pub(crate) partition_micros: i64,
    pub(crate) log: Log,
    pub(crate) manifest: Manifest,
    pub(crate) version: Version,
    pub(crate) kept: Arc<Kept>,
    pub(crate) maintenance: Arc<Signal>,
}

impl Shard {
    pub(crate) fn new(parts: Parts, active: Arc<Memtable>) -> Shard {
        let state = parts.manifest.state();
        let (flushed, next_segment) = (state.flushed, state.next_segment);
        let opened_nanos = AtomicU64::new(parts.world.clock.monotonic_nanos());
        let counters = Counters::default();
        counters.durable.store(flushed.0, Ordering::Relaxed);
        counters.published.store(flushed.0, Ordering::Relaxed);
        Shard {
            id: parts.id,
            dir: parts.dir,
            world: parts.world,
            store: parts.store,
            partition_micros: parts.partition_micros,
            flushed_nanos: opened_nanos,
            queue: Queue::new(parts.settings.queue_bytes),
            settings: parts.settings,
            log: Mutex::new(parts.log),
            keep: Mutex::default(),
            manifest: Mutex::new(parts.manifest),
            latest: LatestTable::default(),
            counters,
            kept: parts.kept,
            maintenance: parts.maintenance,
            next_segment: AtomicU64::new(next_segment),
            flushing: Mutex::default(),
            merging: Mutex::default(),
            change: Mutex::default(),
            view: ArcSwap::from_pointee(View { memtables: vec![active], version: parts.version }),
            flushed: Mutex::new(Flushed { seqno: flushed, error: None, failures: 0 }),
            flushed_changed: Condvar::new(),
        }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Replaces the view by what `change` makes of it.
    pub(crate) fn change_view(&self, change: impl FnOnce(&View) -> View) {
        let _consistent = self.change.lock();
        let next = change(&self.view.load());
        self.view.store(Arc::new(next));
    }

    /// Replaces the version in the view by what `change` makes of it.
    pub(crate) fn change_version(&self, change: impl FnOnce(&Version) -> Version) {
        self.change_view(|view| View { memtables: view.memtables.clone(), version: change(&view.version) });
    }

    /// Counts rows that nobody will see, as they are older than their retention.
    fn count_expired(&self, batch: &Batch) {
        let view = self.view.load();
        let expiry = &view.version.expiry;
        if !expiry.is_empty() {
            let rows = expiry.count_over(batch.model, &batch.times) as u64;
            self.counters.expired.fetch_add(rows, Ordering::Relaxed);
        }
    }

    /// Whether a memtable or a segment has rows of `model`. A segment that is fenced off may.
    pub(crate) fn knows(&self, model: ModelId) -> bool {
        let view = self.view();
        let version = &view.version;
        !version.fenced.is_empty()
            || view.memtables.iter().any(|m| m.views().iter().any(|table| table.model() == model))
            || version.segments.iter().any(|s| s.reader.models().any(|m| m == model))
    }

    /// The memtable to flush next.
    pub(crate) fn oldest_frozen(&self) -> Option<Arc<Memtable>> {
        let view = self.view.load();
        (view.memtables.len() > 1).then(|| Arc::clone(&view.memtables[0]))
    }

    fn frozen(&self) -> usize {
        self.view.load().memtables.len() - 1
    }

    /// Waits until one more memtable may be frozen: the writer's back-pressure on itself. An attempt to flush that
    /// fails meanwhile ends the wait with its error.
    pub(crate) fn wait_for_frozen_room(self: &Arc<Self>) -> Result<()> {
        let failures = self.flushed.lock().failures;
        while self.frozen() >= self.settings.frozen_max {
            if self.settings.driver == Driver::Inline {
                crate::flush::flush_oldest(self)?;
                continue;
            }
            self.maintenance.notify();
            let mut flushed = self.flushed.lock();
            if flushed.failures > failures
                && let Some(error) = &flushed.error
            {
                return Err(error.clone());
            }
            if self.frozen() >= self.settings.frozen_max {
                self.flushed_changed.wait_for(&mut flushed, Duration::from_millis(100));
            }
            if self.queue.failure().is_some() || self.maintenance.stopped() {
                return Err(Error::closed());
            }
        }
        Ok(())
    }

    /// Notes that all batches up to `seqno` are in segments.
    pub(crate) fn note_flushed(&self, seqno: Seqno) {
        let mut flushed = self.flushed.lock();
        (flushed.seqno, flushed.error) = (seqno, None);
        self.flushed_nanos.store(self.world.clock.monotonic_nanos(), Ordering::Relaxed);
        self.flushed_changed.notify_all();
    }

    /// Notes that a flush failed and will be tried again.
    pub(crate) fn note_flush_failed(&self, error: &Error) {
        let mut flushed = self.flushed.lock();
        flushed.error = Some(error.clone());
        flushed.failures += 1;
        self.flushed_changed.notify_all();
    }

    /// Waits until all batches up to `seqno` are in segments, or an attempt failed.
    pub(crate) fn wait_flushed(&self, seqno: Seqno) -> Result<()> {
        let mut flushed = self.flushed.lock();
        loop {
            if flushed.seqno >= seqno {
                return Ok(());
            }
            if let Some(error) = &flushed.error {
                return Err(error.clone());
            }
            if self.maintenance.stopped() {
                return Err(Error::closed());
            }
            self.flushed_changed.wait_for(&mut flushed, Duration::from_millis(100));
        }
    }

    pub(crate) fn status(&self) -> ShardStatus {
        let view = self.view();
        let (log_files, log_bytes) = {
            let log = self.log.lock();
            (log.files(), log.bytes())
        };
        let flushed = self.flushed.lock();
        let failed = self.queue.failure().or_else(|| flushed.error.clone()).map(|e| e.to_string());
        let counters = &self.counters;
        ShardStatus {
            shard: self.id,
            durable: Seqno(counters.durable.load(Ordering::Relaxed)),
            published: Seqno(counters.published.load(Ordering::Relaxed)),
            flushed: flushed.seqno,
            log_files,
            log_bytes,
            memtable_rows: view.memtables.iter().map(|m| m.rows() as u64).sum(),
            memtable_bytes: view.memtables.iter().map(|m| m.bytes() as u64).sum(),
            frozen: view.memtables.len() as u64 - 1,
            segments: view.version.segments.len() as u64,
            segment_bytes: view.version.bytes(),
            queue_bytes: self.queue.bytes(),
            latest_assets: self.latest.assets(),
            samples_written: counters.samples.load(Ordering::Relaxed),
            batches_written: counters.batches.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            expired_rows: counters.expired.load(Ordering::Relaxed),
            flushes: counters.flushes.load(Ordering::Relaxed),
            compactions: counters.compactions.load(Ordering::Relaxed),
            flushed_bytes: counters.flushed_bytes.load(Ordering::Relaxed),
            merged_bytes: counters.merged_bytes.load(Ordering::Relaxed),
            damaged: view.version.damaged() as u64,
            tombstones: view.version.tombstones.len() as u64,
            merging_bytes: Some(counters.merging_bytes.load(Ordering::Relaxed)).filter(|&bytes| bytes > 0),
            failed,
        }
    }

    /// How long until the shard is quiet, so that segments are merged for the sake of readers alone; `None`: it is.
    pub(crate) fn settles_in(&self) -> Option<Duration> {
        let now = self.world.clock.monotonic_nanos();
        let passed = Duration::from_nanos(now.saturating_sub(self.flushed_nanos.load(Ordering::Relaxed)));
        self.settings.settle_after.checked_sub(passed).filter(|left| !left.is_zero())
    }

    /// Whether writers or flushes are short of room, so that merging should give way.
    pub(crate) fn is_pressed(&self) -> bool {
        self.frozen() > 0 || self.queue.bytes() * 4 > self.settings.queue_bytes as u64
    }
}

/// What happened since the shard was opened, and how far it is.
#[derive(Default)]
pub(crate) struct Counters {
    durable: AtomicU64,
    published: AtomicU64,
    samples: AtomicU64,
    batches: AtomicU64,
    syncs: AtomicU64,
    expired: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) flushed_bytes: AtomicU64,
    pub(crate) merged_bytes: AtomicU64,
    /// Of the segments that are being merged; 0 where none are.
    pub(crate) merging_bytes: AtomicU64,
}

impl Counters {
    /// A group before `next` was synced.
    fn logged(&self, next: Seqno, batches: usize) {
        self.durable.store(next.0 - 1, Ordering::Relaxed);
        self.batches.fetch_add(batches as u64, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    fn applied(&self, samples: usize) {
        self.samples.fetch_add(samples as u64, Ordering::Relaxed);
    }

    fn published(&self, last: Seqno) {
        self.published.store(last.0, Ordering::Relaxed);
        // While replaying, what is published was durable before.
        self.durable.fetch_max(last.0, Ordering::Relaxed);
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Wakes the threads that flush and merge, and tells them to stop.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Default)]
struct SignalState {
    /// Counts notifications, so that none is lost between a look and a wait.
    notified: u64,
    stopped: bool,
}

impl Signal {
    /// There may be something to do.
    pub(crate) fn notify(&self) {
        self.state.lock().notified += 1;
        self.changed.notify_all();
    }

    /// Tells everybody to stop.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    pub(crate) fn stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Waits for a notification after number `seen`, or for `timeout`, and returns the newest number.
    pub(crate) fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let mut state = self.state.lock();
        if state.notified == seen && !state.stopped {
            self.changed.wait_for(&mut state, timeout);
        }
        state.notified
    }
}

/// The kinds of error that pass by themselves: maintenance tries again later.
pub(crate) fn passes(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Full | ErrorKind::Busy)
}
