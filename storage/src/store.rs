//! The store: its doors, its threads, opening and closing.
//!
//! Owns: routing batches to shards, the life of the threads. Does not own: anything a shard does.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use wattline_env::World;
use wattline_format::manifest::{State, Tombstone};
use wattline_model::{
    AssetId, Batch, Deletion, Kind, ModelId, PointId, Policies, Seqno, ShardCount, ShardId,
};

use crate::backup::{self, BackupSummary, BackupWatch, Beside, Journal, Vault};
use crate::check::{CheckProgress, CheckReport, Severity, Watch, check_segment};
use crate::compact::{compact_now, compact_once, pending_segments};
use crate::error::{Error, ErrorKind, Result};
use crate::expiry::{Expiry, Horizon};
use crate::flush::flush_oldest;
use crate::latest::filter::LatestCondition;
use crate::latest::{Latest, LatestRows};
use crate::manifest::{Manifest, is_manifest};
use crate::recover;
use crate::scan::{ScanRequest, ShardScan};
use crate::settings::{Driver, Settings};
use crate::shard::completion::Completion;
use crate::shard::writer::Writer;
use crate::shard::{Shard, Signal, passes};
use crate::snapshot::Snapshot;
use crate::status::{PendingDeletion, ShardStatus};

/// How long maintenance waits before it tries again what a full disk refused.
const RETRY: Duration = Duration::from_millis(500);

/// A time-series store in one folder. A cheap handle; the store closes when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    count: ShardCount,
    shards: Vec<Arc<Shard>>,
    /// The writers, where the calling thread runs them; one a shard.
    writers: Vec<Mutex<Writer>>,
    maintenance: Arc<Signal>,
    /// Journals that were begun, for their numbers.
    journals: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    driver: Driver,
    /// Keeps other processes out of the folder until the store is closed.
    lock: Mutex<Option<Box<dyn Any + Send + Sync>>>,
}

impl Store {
    /// Opens the store in `dir`, or makes a new one there. When this returns, all that was ever acknowledged is
    /// readable.
    ///
    /// # Errors
    /// `Busy`: another process has the folder. `Damaged`: a file is not what was written; the message names it.
    /// `Input`: a setting is out of bounds. `Io`, `Full`: whatever the disk says.
    pub fn open(dir: &Path, settings: Settings, world: World) -> Result<Store> {
        settings.check()?;
        world
            .disk
            .create_dir_all(dir)
            .map_err(|e| Error::io(format_args!("create {}", dir.display()), &e))?;
        let lock = world.disk.lock(&dir.join("LOCK")).map_err(|e| {
            let error = Error::io(format_args!("lock {}", dir.display()), &e);
            match error.kind() {
                ErrorKind::Busy => {
                    Error::new(ErrorKind::Busy, format!("{} is in use by another process", dir.display()))
                }
                _ => error,
            }
        })?;
        let count = create_or_count(dir, &settings, &world)?;
        let maintenance = Arc::new(Signal::default());
        let mut shards = Vec::new();
        let mut writers = Vec::new();
        for (shard, writer) in open_shards(dir, count, &settings, &world, &maintenance)? {
            shards.push(shard);
            writers.push(writer);
        }
        let mut inner = Inner {
            count,
            shards,
            writers: Vec::new(),
            maintenance,
            journals: AtomicU64::new(0),
            threads: Mutex::default(),
            driver: settings.driver,
            lock: Mutex::new(Some(lock)),
        };
        match settings.driver {
            Driver::Threads => inner.start_threads(writers)?,
            Driver::Inline => inner.writers = writers.into_iter().map(Mutex::new).collect(),
        }
        let store = Store { inner: Arc::new(inner) };
        store.inner.maintain_inline()?;
        Ok(store)
    }

    /// How many shards the store has.
    pub fn shards(&self) -> ShardCount {
        self.inner.count
    }

    /// The one door for writes. `Ok`: every batch is durable, and visible to the next snapshot. Waits for room in
    /// the queues of the shards, then for the sync.
    ///
    /// A batch goes in whole or not at all; after an error some batches of the call may be in, others not. Writing
    /// them again is harmless.
    ///
    /// # Errors
    /// `Input`: a batch is not well-formed. `Full`: the disk is. `Io`: the medium failed. `Closed`.
    pub async fn write(&self, batches: Vec<Batch>) -> Result<()> {
        let completion = Completion::new();
        for batch in batches {
            let shard = self.inner.shard_for(&batch)?;
            let mut waiting = Some(batch);
            while let Some(batch) = waiting.take() {
                let listener = shard.queue.listen();
                waiting = shard.queue.push(batch, || completion.part())?;
                if waiting.is_some() {
                    listener.await;
                }
            }
        }
        self.inner.commit_inline()?;
        completion.await
    }

    /// [`write`](Self::write) for threads without a runtime.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_blocking(&self, batches: Vec<Batch>) -> Result<()> {
        let completion = Completion::new();
        for batch in batches {
            let shard = self.inner.shard_for(&batch)?;
            let mut waiting = Some(batch);
            while let Some(batch) = waiting.take() {
                let listener = shard.queue.listen();
                waiting = shard.queue.push(batch, || completion.part())?;
                if waiting.is_some() {
                    match self.inner.driver {
                        Driver::Threads => event_listener::Listener::wait(listener),
                        Driver::Inline => self.inner.commit_inline()?,
                    }
                }
            }
        }
        self.inner.commit_inline()?;
        completion.wait()
    }

    /// [`write`](Self::write) for doors that would rather tell their client to come back than wait for room.
    ///
    /// # Errors
    /// `Busy`: the queue of a shard is full; batches before that one may be in. Else as [`write`](Self::write).
    pub async fn try_write(&self, batches: Vec<Batch>) -> Result<()> {
        let completion = Completion::new();
        for batch in batches {
            let shard = self.inner.shard_for(&batch)?;
            if shard.queue.push(batch, || completion.part())?.is_some() {
                return Err(Error::new(ErrorKind::Busy, format!("the write queue of {} is full", shard.id)));
            }
        }
        self.inner.commit_inline()?;
        completion.await
    }

    /// Deletes samples: when this returns, nobody sees them any more, now and after a restart, and what is written
    /// from then on is not touched. The room they take on disk comes back as segments are merged; see
    /// [`pending_deletions`](Self::pending_deletions).
    ///
    /// # Errors
    /// `Input`: the deletion is not well-formed. `Busy`: too many deletions are still being carried out. `Full`,
    /// `Io`, `Closed` as for [`write`](Self::write). After an error some shards may have deleted their part.
    pub async fn delete(&self, deletion: &Deletion) -> Result<()> {
        let completion = self.inner.send_deletion(deletion)?;
        self.inner.commit_inline()?;
        completion.await
    }

    /// [`delete`](Self::delete) for threads without a runtime.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn delete_blocking(&self, deletion: &Deletion) -> Result<()> {
        let completion = self.inner.send_deletion(deletion)?;
        self.inner.commit_inline()?;
        completion.wait()
    }

    /// The deletions of history that are in force and not carried out on disk yet, by shard and sequence number.
    pub fn pending_deletions(&self) -> Vec<PendingDeletion> {
        let of_shard = |shard: &Arc<Shard>| {
            let version = shard.view().version.clone();
            let pending = |t: &Arc<Tombstone>| PendingDeletion {
                shard: shard.id,
                seqno: t.seqno,
                deletion: t.deletion.clone(),
                segments: pending_segments(t, &version),
            };
            version.tombstones.iter().map(pending).collect::<Vec<_>>()
        };
        self.inner.shards.iter().flat_map(of_shard).collect()
    }

    /// From now on these storage policies rule what is written; what is stored stays as it is. They are forgotten when
    /// the store closes: the next start is told them in its [`Settings`]. Blocking.
    ///
    /// # Errors
    /// `Closed`.
    pub fn rule(&self, policies: Arc<Policies>) -> Result<()> {
        let completion = Completion::new();
        for shard in &self.inner.shards {
            shard.queue.rule(Arc::clone(&policies), completion.part())?;
        }
        self.inner.commit_inline()?;
        completion.wait()
    }

    /// Says from when on samples are kept: rows of a model, and, where they go earlier, some of its points. What is not
    /// named is kept for ever. It replaces what was said before, and is forgotten when the store closes. Only whole
    /// time partitions expire: nobody sees them any more from now on, and their room is given back in the background.
    pub fn expire(&self, horizons: &[Horizon]) -> Result<()> {
        for shard in &self.inner.shards {
            let expiry = Arc::new(Expiry::new(shard.partition_micros, horizons));
            shard.change_version(|version| version.with_expiry(expiry));
        }
        self.inner.maintain_inline()
    }

    /// Copies the store as it is now into `repository`, as the backup `name`; writing goes on. Segments that an
    /// earlier backup has are not copied again. `beside` is called when the data is copied, to put what belongs to it
    /// into the backup. Blocking.
    ///
    /// # Errors
    /// `Input`: the name is taken or not fit for a file. `Damaged`: a segment is not what was written; a damaged
    /// store is not backed up. `Full`, `Io`: whatever the disk says. `Closed`: `watch` ended it.
    pub fn backup(
        &self,
        repository: &dyn Vault,
        name: &str,
        beside: Beside<'_>,
        watch: BackupWatch<'_>,
    ) -> Result<BackupSummary> {
        backup::take(&self.inner.shards, repository, name, beside, watch, None).map(|taken| taken.summary)
    }

    /// [`backup`](Self::backup), and from its end on a journal: with what it ships, every moment it marks can be
    /// brought back. There may be several; each ends when it is dropped.
    ///
    /// # Errors
    /// As [`backup`](Self::backup).
    pub fn backup_with_journal(
        &self,
        repository: &dyn Vault,
        name: &str,
        beside: Beside<'_>,
        watch: BackupWatch<'_>,
    ) -> Result<(BackupSummary, Journal)> {
        let id = self.inner.journals.fetch_add(1, Ordering::Relaxed);
        Journal::begin(&self.inner.shards, id, repository, name, beside, watch)
    }

    /// Reads every segment of the open store to the last value, and says what does not check out; such a segment is
    /// not merged from then on, and what is sound in it is still served. Blocking, beside everything else.
    ///
    /// # Errors
    /// `Closed` where `watch` ended it or the store closed. What is wrong with files is in the report.
    pub fn check(&self, watch: Watch<'_>) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let views: Vec<_> = self.inner.shards.iter().map(|shard| (shard, shard.view())).collect();
        let bytes_total = views.iter().map(|(_, view)| view.version.bytes()).sum();
        for (shard, view) in views {
            report.shards += 1;
            for fenced in view.version.fenced.iter() {
                report.find(&shard.dir.join(&fenced.meta.file), Severity::Damage, &fenced.error);
            }
            for segment in &view.version.segments {
                if self.inner.maintenance.stopped() {
                    return Err(Error::closed());
                }
                match check_segment(&segment.reader, &segment.meta, None) {
                    Ok(()) => {
                        report.rows += segment.meta.rows;
                        report.samples += segment.meta.samples;
                    }
                    Err(error) => {
                        segment.note_damage(&error);
                        report.find(&segment.path, Severity::Damage, error);
                    }
                }
                segment.forget();
                report.segments += 1;
                report.files += 1;
                report.bytes += segment.meta.bytes;
                if !watch(CheckProgress { path: &segment.path, bytes: report.bytes, bytes_total }) {
                    return Err(Error::closed());
                }
            }
        }
        Ok(report)
    }

    /// This moment, for reading.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.inner.shards)
    }

    /// Scans the store as it is now; see [`Snapshot::scan`].
    pub fn scan(&self, request: &ScanRequest) -> Vec<ShardScan> {
        self.snapshot().scan(request)
    }

    /// The newest samples of `points` of an asset, in the order asked. Never leaves memory.
    pub fn latest(&self, model: ModelId, asset: AssetId, points: &[PointId]) -> Vec<Option<Latest>> {
        let shard = self.inner.count.shard_of(asset);
        self.inner.shards[shard.0 as usize].latest.latest(model, asset, points)
    }

    /// The values that `points` of an asset have, with the times since when they have them, where a policy says
    /// LAST_CHANGED. Late samples change nothing, as with latest values. Never leaves memory.
    pub fn last_changed(&self, model: ModelId, asset: AssetId, points: &[PointId]) -> Vec<Option<Latest>> {
        let shard = self.inner.count.shard_of(asset);
        self.inner.shards[shard.0 as usize].latest.last_changed(model, asset, points)
    }

    /// The newest samples of all assets of a model: one column a point, with the kind the model gives it.
    pub fn latest_rows(&self, model: ModelId, points: &[(PointId, Kind)]) -> LatestRows {
        let ids: Vec<PointId> = points.iter().map(|p| p.0).collect();
        let mut rows = LatestRows::new(points.iter().map(|p| p.1));
        for shard in &self.inner.shards {
            shard.latest.collect(model, &ids, &mut rows);
        }
        rows
    }

    /// The assets of `model` whose newest value of `point` meets `condition`, in no particular order. Never leaves
    /// memory.
    ///
    /// # Errors
    /// `Input` where the condition's values are not of the point's kind.
    pub fn select_latest(
        &self,
        model: ModelId,
        point: PointId,
        condition: &LatestCondition,
    ) -> Result<Vec<AssetId>> {
        let mut assets = Vec::new();
        for shard in &self.inner.shards {
            shard.latest.select(model, point, condition, &mut assets)?;
        }
        Ok(assets)
    }

    /// The state of every shard.
    pub fn status(&self) -> Vec<ShardStatus> {
        self.inner.shards.iter().map(|s| s.status()).collect()
    }

    /// Brings everything written so far into segments. Blocking.
    ///
    /// # Errors
    /// The first flush that failed; it is tried again in the background.
    pub fn flush(&self) -> Result<()> {
        let inner = &self.inner;
        let completion = Completion::new();
        for shard in &inner.shards {
            shard.queue.freeze(completion.part())?;
        }
        inner.commit_inline()?;
        completion.wait()?;
        for shard in &inner.shards {
            let last = shard.view().memtables.iter().rev().skip(1).map(|m| m.seqnos().1).max();
            shard.wait_flushed(last.unwrap_or(Seqno::ZERO))?;
        }
        Ok(())
    }

    /// Merges segments until there is nothing left to merge, those that overlap without waiting for quiet. Blocking;
    /// for tests and tools, as it happens by itself in the background.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn compact(&self) -> Result<()> {
        self.compact_while(&mut || true).map(drop)
    }

    /// As [`Store::compact`], as long as `go_on` says so, which is asked before each merge. Returns how many there were.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn compact_while(&self, go_on: &mut dyn FnMut() -> bool) -> Result<u64> {
        let mut merges = 0;
        for shard in &self.inner.shards {
            while go_on() && compact_now(shard)? {
                merges += 1;
            }
        }
        Ok(merges)
    }

    /// Takes no more writes, commits what waits, and stops. Blocking. What is in memtables is in the log, and comes
    /// back at the next start.
    ///
    /// # Errors
    /// `Bug`: a thread of the store had panicked.
    pub fn close(&self) -> Result<()> {
        self.inner.close()
    }
}

impl Inner {
    fn shard_for(&self, batch: &Batch) -> Result<&Arc<Shard>> {
        batch.check().map_err(|e| Error::new(ErrorKind::Input, format!("batch of {}: {e}", batch.model)))?;
        let wrong = batch.assets.iter().find(|&&asset| self.count.shard_of(asset) != batch.shard);
        if let Some(asset) = wrong {
            return Err(Error::new(ErrorKind::Input, format!("{asset} does not belong to {}", batch.shard)));
        }
        self.shards
            .get(batch.shard.0 as usize)
            .ok_or_else(|| Error::new(ErrorKind::Input, format!("there is no {}", batch.shard)))
    }

    fn send_deletion(&self, deletion: &Deletion) -> Result<Completion> {
        deletion.check().map_err(|e| Error::new(ErrorKind::Input, format!("deletion: {e}")))?;
        let completion = Completion::new();
        for shard in &self.shards {
            let mine = |a: &AssetId| self.count.shard_of(*a) == shard.id;
            let assets: Option<Vec<AssetId>> =
                deletion.assets.as_ref().map(|list| list.iter().copied().filter(mine).collect());
            if deletion.range.is_empty() || assets.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            shard.queue.delete(Deletion { assets, ..deletion.clone() }, completion.part())?;
        }
        Ok(completion)
    }

    fn start_threads(&mut self, writers: Vec<Writer>) -> Result<()> {
        let mut threads = Vec::new();
        let mut start = |name: String, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.clone()).spawn(run);
            thread.map(|t| threads.push(t)).map_err(|e| Error::io(format_args!("start thread {name}"), &e))
        };
        for (i, writer) in writers.into_iter().enumerate() {
            start(format!("writer-{i}"), Box::new(move || writer.run()))?;
        }
        for (name, job) in JOBS {
            let (shards, signal) = (self.shards.clone(), Arc::clone(&self.maintenance));
            start(name.to_owned(), Box::new(move || maintain(name, &shards, &signal, job)))?;
        }
        *self.threads.lock() = threads;
        Ok(())
    }

    /// Commits what waits, where the calling thread does that, and tidies up.
    fn commit_inline(&self) -> Result<()> {
        for writer in &self.writers {
            writer.lock().run_waiting();
        }
        self.maintain_inline()
    }

    fn maintain_inline(&self) -> Result<()> {
        if self.driver == Driver::Threads {
            self.maintenance.notify();
            return Ok(());
        }
        for shard in &self.shards {
            // A write that is durable is not refused because tidying up failed: that is tried again next time.
            let tidy = || -> Result<()> {
                while flush_oldest(shard)? {}
                while compact_once(shard)? {}
                Ok(())
            };
            if let Err(error) = tidy() {
                tracing::warn!(shard = shard.id.0, %error, "flushing or merging failed; it will be tried again");
            }
        }
        Ok(())
    }

    fn close(&self) -> Result<()> {
        for shard in &self.shards {
            shard.queue.shut(Error::closed());
        }
        for writer in &self.writers {
            writer.lock().run_waiting();
        }
        let mut panicked = None;
        let mut threads = self.threads.lock();
        // Writers first: what they still hold gets committed; maintenance may be what they wait for.
        let writers_len = threads.len().saturating_sub(JOBS.len());
        let maintenance = threads.split_off(writers_len);
        let writers = std::mem::take(&mut *threads);
        for thread in writers {
            let name = thread.thread().name().unwrap_or("writer").to_owned();
            if thread.join().is_err() {
                panicked = Some(name);
            }
        }
        self.maintenance.stop();
        for thread in maintenance {
            let name = thread.thread().name().unwrap_or("maintenance").to_owned();
            if thread.join().is_err() {
                panicked = Some(name);
            }
        }
        drop(self.lock.lock().take());
        panicked.map_or(Ok(()), |name| Err(Error::new(ErrorKind::Bug, format!("thread {name} had panicked"))))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the store");
        }
    }
}

type Job = fn(&Arc<Shard>) -> Result<bool>;

/// What runs beside the writers, a thread each.
const JOBS: [(&str, Job); 2] = [("flush", flush_oldest), ("compact", compact_once)];

/// Does `job` on every shard whenever something changed, until told to stop.
fn maintain(name: &str, shards: &[Arc<Shard>], signal: &Signal, job: Job) {
    let mut seen = 0;
    let mut pause = Duration::from_secs(60);
    loop {
        let quiet = shards.iter().filter_map(|shard| shard.settles_in()).min();
        seen = signal.wait(seen, quiet.map_or(pause, |quiet| pause.min(quiet)));
        pause = Duration::from_secs(60);
        for shard in shards {
            while !signal.stopped() {
                match job(shard) {
                    Ok(true) => signal.notify(),
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(job = name, shard = shard.id.0, %error, "will be tried again");
                        pause = if passes(&error) { RETRY } else { pause.min(RETRY * 10) };
                        break;
                    }
                }
            }
        }
        if signal.stopped() {
            return;
        }
    }
}

/// The number of shards in `dir`; makes them where there are none. Shard 0 is made last, so a store is complete when
/// that one has a manifest.
fn create_or_count(dir: &Path, settings: &Settings, world: &World) -> Result<ShardCount> {
    let first = recover::shard_dir(dir, ShardId(0));
    if world.disk.exists(&first) && Manifest::exists(&*world.disk, &first) {
        let shards = Manifest::peek(&*world.disk, &first)?.shards;
        return ShardCount::new(shards).ok_or_else(|| {
            Error::new(
                ErrorKind::Damaged,
                format!("the manifest in {} says {shards} shards", first.display()),
            )
        });
    }
    let count = settings.check()?;
    let store = world.chance.next_u64();
    for shard in (0..count.get()).rev().map(ShardId) {
        let state = State {
            store,
            shard,
            shards: count.get(),
            partition_micros: settings.partition_micros,
            flushed: Seqno::ZERO,
            next_segment: 1,
            latest_checkpoint: None,
            segments: Vec::new(),
            tombstones: Vec::new(),
        };
        let dir: PathBuf = recover::shard_dir(dir, shard);
        clear(world, &dir)?;
        recover::create(world, &dir, state)?;
    }
    Ok(count)
}

/// Removes what an interrupted creation left in a shard's folder: nothing but a manifest. Anything more means that
/// the first shard's manifest was lost, and the data of the others must not be.
fn clear(world: &World, dir: &Path) -> Result<()> {
    for name in world.disk.list(dir).unwrap_or_default() {
        let path = dir.join(&name);
        if !is_manifest(&name) {
            let what = format!("{} exists, but the manifest of shard 0 is missing", path.display());
            return Err(Error::new(ErrorKind::Damaged, what));
        }
        world.disk.remove(&path).map_err(|e| Error::io(format_args!("remove {}", path.display()), &e))?;
    }
    Ok(())
}

/// Opens all shards; with threads, side by side, as each one's recovery is its own.
fn open_shards(
    dir: &Path,
    count: ShardCount,
    settings: &Settings,
    world: &World,
    maintenance: &Arc<Signal>,
) -> Result<Vec<(Arc<Shard>, Writer)>> {
    let open = |shard| recover::open(world, &recover::shard_dir(dir, shard), settings, maintenance);
    if settings.driver == Driver::Inline {
        return count.iter().map(open).collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = count.iter().map(|shard| scope.spawn(move || open(shard))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Bug, "opening a shard panicked"))))
            .collect()
    })
}
