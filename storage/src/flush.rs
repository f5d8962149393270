//! Flush: a frozen memtable becomes segments, one a time partition.
//!
//! Owns: writing segment files and latest-value checkpoints, recording them, giving the log's room back. Does not
//! own: when to freeze (`shard`), merging segments (`compact`, which uses [`SegmentFile`] too).
//!
//! The order is what makes a crash harmless at any point: files and their directory are synced, then the manifest
//! records them, then readers see them, and only then does the log shrink. Files that no manifest lists are removed
//! at the next start.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wattline_env::{Disk, WriteFile};
use wattline_format::latest as checkpoint;
use wattline_format::manifest::{Edit, SegmentMeta, State, Tombstone};
use wattline_format::segment::{Depth, Header, Reader, Writer};
use wattline_model::{AssetId, ModelId, Seqno, TimeRange};

use crate::backup::keep;
use crate::error::{Error, ErrorKind, Result};
use crate::memtable::Memtable;
use crate::run::Run;
use crate::shard::{Counters, Shard, View};
use crate::version::{Kept, Segment, partition_of};

/// Bytes of a segment that are gathered before they go to the disk.
const WRITE_BYTES: usize = 1 << 20;

/// Flushes the oldest frozen memtable; `false` where there is none.
pub(crate) fn flush_oldest(shard: &Arc<Shard>) -> Result<bool> {
    let _one_at_a_time = shard.flushing.lock();
    let Some(memtable) = shard.oldest_frozen() else { return Ok(false) };
    let result = flush(shard, &memtable);
    match &result {
        Ok(flushed) => {
            shard.note_flushed(*flushed);
            Counters::count(&shard.counters.flushes);
        }
        Err(error) => shard.note_flush_failed(error),
    }
    result.map(|_| true)
}

fn flush(shard: &Arc<Shard>, memtable: &Arc<Memtable>) -> Result<Seqno> {
    let (first, flushed) = memtable.seqnos();
    let segments = write_segments(shard, memtable, first, flushed)?;
    if let Err(error) = write_checkpoint(shard, flushed) {
        segments.iter().for_each(|s| s.retire());
        return Err(error);
    }
    let bytes: u64 = segments.iter().map(|s| s.meta.bytes).sum();
    commit(shard, segments, &[], Some((flushed, memtable)))?;
    shard.counters.flushed_bytes.fetch_add(bytes, Ordering::Relaxed);
    remove_superfluous(shard, flushed);
    Ok(flushed)
}

/// Writes the memtable's rows, a segment a partition.
fn write_segments(
    shard: &Arc<Shard>,
    memtable: &Memtable,
    first: Seqno,
    last: Seqno,
) -> Result<Vec<Arc<Segment>>> {
    let mut files: BTreeMap<i64, SegmentFile> = BTreeMap::new();
    for view in memtable.views() {
        let table = view.sorted(None);
        for i in 0..table.len() {
            let run = table.run(i, TimeRange::ALL);
            split(&run, shard.partition_micros, |partition, part| {
                let file = match files.entry(partition) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        entry.insert(SegmentFile::create(shard, partition, 0, first, last, Depth::Hot)?)
                    }
                };
                file.push(view.model(), table.asset(i), part)
            })?;
        }
    }
    let mut segments = Vec::with_capacity(files.len());
    for file in files.into_values() {
        segments.push(file.finish(shard)?);
    }
    sync_dir(shard)?;
    Ok(segments)
}

/// Hands the parts of `run` that lie in one partition each to `take`.
fn split(run: &Run, partition_micros: i64, mut take: impl FnMut(i64, &Run) -> Result<()>) -> Result<()> {
    let mut from = 0;
    while let Some(&time) = run.times.get(from) {
        let partition = partition_of(time, partition_micros);
        let end = partition.saturating_add(partition_micros);
        let to = from + run.times[from..].partition_point(|&t| t < end);
        if from == 0 && to == run.rows() {
            return take(partition, run);
        }
        take(partition, &run.slice(from, to))?;
        from = to;
    }
    Ok(())
}

fn write_checkpoint(shard: &Shard, seqno: Seqno) -> Result<()> {
    let bytes = checkpoint::encode(shard.id, seqno, &shard.latest.checkpoint());
    let path = shard.dir.join(checkpoint_name(seqno.0));
    let disk = &shard.world.disk;
    let write = || {
        if disk.exists(&path) {
            disk.remove(&path)?;
        }
        let mut file = disk.create(&path)?;
        file.write_all(&bytes)?;
        file.sync()?;
        disk.sync_dir(&shard.dir)
    };
    write().map_err(|e: std::io::Error| Error::io(format_args!("write {}", path.display()), &e))
}

/// The name of the latest-value checkpoint taken when batches up to `seqno` were flushed.
pub(crate) fn checkpoint_name(seqno: u64) -> String {
    format!("latest-{seqno:020}.wlc")
}

/// Records in the manifest that `add` came and `remove` went, and with `flushed`, that the batches up to that number
/// are in segments and that memtable is done with; then shows it to readers. Whoever holds the manifest's lock sees
/// both or neither.
pub(crate) fn commit(
    shard: &Shard,
    add: Vec<Arc<Segment>>,
    remove: &[u64],
    flushed: Option<(Seqno, &Arc<Memtable>)>,
) -> Result<()> {
    let mut manifest = shard.manifest.lock();
    let seqno = flushed.map(|(seqno, _)| seqno);
    let edit = Edit {
        flushed: seqno,
        next_segment: Some(shard.next_segment.load(Ordering::Relaxed)),
        latest_checkpoint: seqno.map(|f| f.0),
        add: add.iter().map(|s| s.meta.clone()).collect(),
        remove: remove.to_vec(),
        // The log forgets what is flushed, so the manifest has to know the deletions in it.
        add_tombstones: seqno.map_or_else(Vec::new, |f| unrecorded_tombstones(shard, manifest.state(), f)),
        remove_tombstones: Vec::new(),
    };
    let result = manifest.record(&edit);
    if let Err(error) = &result {
        drop(manifest);
        if error.kind() == ErrorKind::Full {
            add.iter().for_each(|s| s.retire());
        } else {
            // The edit may be on the medium: its files must stay for the next start to find.
            shard.refuse(error);
        }
        return result;
    }
    let done = |m: &&Arc<Memtable>| flushed.is_none_or(|(_, memtable)| !Arc::ptr_eq(m, memtable));
    shard.change_view(|view| View {
        memtables: view.memtables.iter().filter(done).cloned().collect(),
        version: view.version.change(add, remove),
    });
    Ok(())
}

/// The tombstones in force up to batch `flushed` that the manifest does not have.
fn unrecorded_tombstones(shard: &Shard, state: &State, flushed: Seqno) -> Vec<Tombstone> {
    let known = |t: &Tombstone| state.tombstones.iter().any(|k| k.seqno == t.seqno);
    let view = shard.view();
    let tombstones = view.version.tombstones.iter().filter(|t| t.seqno <= flushed && !known(t));
    tombstones.map(|t| Tombstone::clone(t)).collect()
}

/// Removes log files and checkpoints that the flush made superfluous. What stays by mistake goes at the next start.
fn remove_superfluous(shard: &Shard, flushed: Seqno) {
    let mut names: Vec<String> = keep::take_flushed(shard, flushed).into_iter().map(|f| f.name).collect();
    if let Ok(all) = shard.world.disk.list(&shard.dir) {
        names
            .extend(all.into_iter().filter(|n| n.starts_with("latest-") && *n != checkpoint_name(flushed.0)));
    }
    for name in names {
        if let Err(error) = shard.world.disk.remove(&shard.dir.join(&name)) {
            tracing::warn!(file = name, %error, "a superfluous file could not be removed");
        }
    }
}

/// Makes the names of files in the shard's folder durable.
pub(crate) fn sync_dir(shard: &Shard) -> Result<()> {
    shard
        .world
        .disk
        .sync_dir(&shard.dir)
        .map_err(|e| Error::io(format_args!("sync {}", shard.dir.display()), &e))
}

/// A segment file being written. Removed when it is dropped unfinished.
pub(crate) struct SegmentFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    name: String,
    id: u64,
    header: Header,
    writer: Option<Writer>,
    file: Option<Box<dyn WriteFile>>,
    buffer: Vec<u8>,
}

impl SegmentFile {
    /// Starts a segment of one partition for batches `first` to `last`.
    pub(crate) fn create(
        shard: &Shard,
        partition: i64,
        level: u8,
        first: Seqno,
        last: Seqno,
        depth: Depth,
    ) -> Result<SegmentFile> {
        let id = shard.next_segment.fetch_add(1, Ordering::Relaxed);
        let name = file_name(id);
        let path = shard.dir.join(&name);
        let header = Header {
            store: shard.store,
            shard: shard.id,
            partition,
            partition_micros: shard.partition_micros,
            level,
            first_seqno: first,
            last_seqno: last,
        };
        let file = shard
            .world
            .disk
            .create(&path)
            .map_err(|e| Error::io(format_args!("create {}", path.display()), &e))?;
        let writer = Some(Writer::new(header, depth));
        let disk = Arc::clone(&shard.world.disk);
        Ok(SegmentFile { disk, path, name, id, header, writer, file: Some(file), buffer: Vec::new() })
    }

    /// Appends a run; runs come in (model, asset, time) order.
    pub(crate) fn push(&mut self, model: ModelId, asset: AssetId, run: &Run) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.push_run(model, asset, &run.times, &run.columns);
        self.buffer.append(&mut writer.take());
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.len()) + self.buffer.len() as u64
    }

    /// Whether no row was appended.
    pub(crate) fn is_empty(&self) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.rows() == 0)
    }

    fn write(&mut self) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let result = file.write_all(&self.buffer);
        self.buffer.clear();
        result.map_err(|e| Error::io(format_args!("write {}", self.path.display()), &e))
    }

    /// Completes and syncs the file and opens it for reading. The directory is left for the caller to sync.
    pub(crate) fn finish(mut self, shard: &Shard) -> Result<Arc<Segment>> {
        let (rest, summary) = self.writer.take().expect("a file is finished once").finish();
        self.buffer.extend(rest);
        self.write()?;
        let synced = self.file.as_mut().map_or(Ok(()), |file| file.sync());
        synced.map_err(|e| Error::io(format_args!("sync {}", self.path.display()), &e))?;
        let meta = SegmentMeta {
            id: self.id,
            level: self.header.level,
            partition: self.header.partition,
            file: self.name.clone(),
            bytes: summary.bytes,
            rows: summary.rows,
            samples: summary.samples,
            models: summary.models,
            first_time: summary.first_time,
            last_time: summary.last_time,
            first_seqno: self.header.first_seqno,
            last_seqno: self.header.last_seqno,
            checksum: summary.checksum,
        };
        let segment = open_segment(&shard.world.disk, &shard.dir, meta, &shard.kept)?;
        self.file = None;
        Ok(Arc::new(segment))
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = self.disk.remove(&self.path);
        }
    }
}

fn file_name(id: u64) -> String {
    format!("segment-{id:012}.wls")
}

/// Opens a segment that a manifest lists.
pub(crate) fn open_segment(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    meta: SegmentMeta,
    kept: &Arc<Kept>,
) -> Result<Segment> {
    let path = dir.join(&meta.file);
    let bytes = disk.map(&path).map_err(|e| listed_file_error(&path, &e))?;
    let reader = Reader::open(&path.display().to_string(), bytes)?;
    if reader.summary().checksum != meta.checksum {
        let what = format!("{}: sound, but not the file that the manifest lists", path.display());
        return Err(Error::new(ErrorKind::Damaged, what));
    }
    Ok(Segment::new(meta, reader, path, Arc::clone(disk), Arc::clone(kept)))
}

/// Why a file that a manifest lists cannot be opened: one that is gone is damage, not a failing medium.
pub(crate) fn listed_file_error(path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            ErrorKind::Damaged,
            format!("{}: the manifest lists it, but it is not there", path.display()),
        ),
        _ => Error::io(format_args!("open {}", path.display()), error),
    }
}
