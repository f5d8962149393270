//! Recovery: from what is on disk to a running shard.
//!
//! Owns: reading the manifest, opening segments, filling the latest-value table, replaying the log through the same
//! `apply` and `publish` as a write, and clearing away what a stop left half done. Does not own: any of those steps.

use std::path::Path;
use std::sync::Arc;

use wattline_env::World;
use wattline_format::latest as checkpoint;
use wattline_format::log::{Change, Reader, Step};
use wattline_format::manifest::State;
use wattline_model::{Batch, Seqno, ShardId};

use crate::error::{Error, ErrorKind, Result};
use crate::flush::{checkpoint_name, listed_file_error, open_segment};
use crate::latest::rebuild::rebuild;
use crate::log::{Log, LogFile, file_name, first_of};
use crate::manifest::{Manifest, is_manifest};
use crate::memtable::{Memtable, MemtableWriter};
use crate::settings::Settings;
use crate::shard::writer::Writer;
use crate::shard::{Parts, Shard, Signal};
use crate::version::{Fenced, Kept, Segment, Version};

/// Log files that a restart replays without saying how far it is: as many as one that ran well leaves.
const PROGRESS_FILES: usize = 4;

/// Makes a new, empty shard.
pub(crate) fn create(world: &World, dir: &Path, state: State) -> Result<()> {
    world.disk.create_dir_all(dir).map_err(|e| Error::io(format_args!("create {}", dir.display()), &e))?;
    Manifest::create(&*world.disk, dir, &state)
}

/// Opens the shard in `dir` and brings it to where its log ends.
pub(crate) fn open(
    world: &World,
    dir: &Path,
    settings: &Settings,
    maintenance: &Arc<Signal>,
) -> Result<(Arc<Shard>, Writer)> {
    let manifest = Manifest::open(Arc::clone(&world.disk), dir, settings.manifest_edit_bytes)?;
    let state = manifest.state().clone();
    let kept = Arc::new(Kept::new(settings.directory_bytes));
    let (segments, fenced) = open_segments(world, dir, &state, &kept)?;
    let tombstones = state.tombstones.iter().cloned().map(Arc::new).collect();
    let logs = read_logs(world, dir, &state)?;
    let next = logs.next;
    let log = Log::create(Arc::clone(&world.disk), dir, state.store, state.shard, next, logs.files.clone())?;
    remove_leftovers(world, dir, &state, &log)?;

    let memtable = Arc::new(Memtable::default());
    let parts = Parts {
        id: state.shard,
        dir: dir.to_owned(),
        world: world.clone(),
        settings: settings.clone(),
        store: state.store,
        partition_micros: state.partition_micros,
        log,
        manifest,
        version: Version::new(segments, fenced, tombstones),
        kept,
        maintenance: Arc::clone(maintenance),
    };
    let shard = Arc::new(Shard::new(parts, Arc::clone(&memtable)));
    if let Some(seqno) = state.latest_checkpoint {
        match read_checkpoint(world, dir, seqno) {
            Ok(models) => shard.latest.restore(models),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                tracing::error!(%error, "latest values are rebuilt from history; those of points without history are lost");
                rebuild(&shard);
            }
            Err(error) => return Err(error),
        }
    }
    shard.latest.watch_all(&settings.policies);
    let mut writer = Writer::new(Arc::clone(&shard), MemtableWriter::new(memtable), state.flushed.next());
    replay(world, dir, &logs.files, &mut writer, state.flushed)?;
    if writer.next() != next {
        return Err(Error::new(
            ErrorKind::Bug,
            format!("{}: replayed up to {}, expected {next}", dir.display(), writer.next()),
        ));
    }
    Ok((shard, writer))
}

/// Opens what the manifest lists. A file that is damaged or missing is fenced off: the rest serves on.
fn open_segments(
    world: &World,
    dir: &Path,
    state: &State,
    kept: &Arc<Kept>,
) -> Result<(Vec<Arc<Segment>>, Vec<Fenced>)> {
    let (mut segments, mut fenced) = (Vec::with_capacity(state.segments.len()), Vec::new());
    for meta in &state.segments {
        match open_segment(&world.disk, dir, meta.clone(), kept) {
            Ok(segment) => segments.push(Arc::new(segment)),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                tracing::error!(%error, "a segment is fenced off; queries that need it fail, the rest serves on");
                fenced.push(Fenced { meta: meta.clone(), error });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((segments, fenced))
}

fn read_checkpoint(world: &World, dir: &Path, seqno: u64) -> Result<Vec<checkpoint::ModelLatest>> {
    let path = dir.join(checkpoint_name(seqno));
    let bytes = world.disk.map(&path).map_err(|e| listed_file_error(&path, &e))?;
    Ok(checkpoint::decode(&path.display().to_string(), &bytes)?.2)
}

/// The log as it is after its torn end was cut off.
struct Logs {
    /// Files with batches that are not in segments, oldest first.
    files: Vec<LogFile>,
    /// The number after the last batch.
    next: Seqno,
}

/// Finds the log files, checks that no batch is missing between them, cuts the torn end off and makes the rest
/// durable: what is readable now may so far be in the system's cache only.
fn read_logs(world: &World, dir: &Path, state: &State) -> Result<Logs> {
    let names = list(world, dir)?;
    let mut firsts: Vec<Seqno> = names.iter().filter_map(|n| first_of(n)).collect();
    firsts.sort_unstable();
    let mut logs = Logs { files: Vec::new(), next: state.flushed.next() };
    let mut end_of_previous: Option<Seqno> = None;
    for (i, &first) in firsts.iter().enumerate() {
        let is_last = i + 1 == firsts.len();
        if firsts.get(i + 1).is_some_and(|&next| next <= state.flushed.next()) {
            continue; // All its batches are in segments; only its removal was lost.
        }
        let name = file_name(first);
        let expected = end_of_previous.unwrap_or(logs.next);
        if first > expected {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!(
                    "{}: {name} begins at {first}, but batches from {expected} on are missing",
                    dir.display()
                ),
            ));
        }
        let Some((end, len)) = settle(world, dir, &name, state, first, is_last)? else { continue };
        end_of_previous = Some(end);
        if end > first {
            logs.files.push(LogFile { first, name, bytes: len });
        }
        logs.next = logs.next.max(end);
    }
    Ok(logs)
}

/// Reads one file to its end, cuts off a torn tail and syncs it. Returns the number after its last batch and the
/// bytes that are valid; `None` where it never held a batch and others follow: an attempt to start it had failed, for
/// want of room say, and writing went on in the file before.
fn settle(
    world: &World,
    dir: &Path,
    name: &str,
    state: &State,
    first: Seqno,
    is_last: bool,
) -> Result<Option<(Seqno, u64)>> {
    let path = dir.join(name);
    let io = |e: std::io::Error| Error::io(format_args!("open {}", path.display()), &e);
    let bytes = world.disk.map(&path).map_err(io)?;
    let shown = path.display().to_string();
    let mut reader = Reader::open(&shown, &bytes)?;
    if reader.is_stub() && !is_last {
        return Ok(None);
    }
    let header = reader.header();
    if !reader.is_stub() && (header.store, header.shard, header.first) != (state.store, state.shard, first) {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!("{shown}: the header belongs to another log file"),
        ));
    }
    let tail = reader.skip_to_end()?;
    if let Some(what) = tail.torn {
        if !is_last {
            let what = format!("{shown}: {what}, though a later file of the log follows");
            return Err(Error::new(ErrorKind::Damaged, what));
        }
        let valid_len = tail.valid_len;
        tracing::warn!(
            file = shown,
            valid_len,
            what,
            "the end of the log was cut off; it was never acknowledged"
        );
        world.disk.truncate(&path, valid_len).map_err(io)?;
    }
    sync(world, &path)?;
    Ok(Some((if reader.is_stub() { first } else { tail.next }, tail.valid_len)))
}

fn sync(world: &World, path: &Path) -> Result<()> {
    let sync = || world.disk.append(path)?.sync();
    sync().map_err(|e: std::io::Error| Error::io(format_args!("sync {}", path.display()), &e))
}

/// Applies the batches after `flushed`, freezing as the writer would have. A log that is longer than what memtables may
/// hold, a restored one say, is flushed on the way.
fn replay(world: &World, dir: &Path, files: &[LogFile], writer: &mut Writer, flushed: Seqno) -> Result<()> {
    let bytes_total: u64 = files.iter().map(|file| file.bytes).sum();
    let mut bytes_before = 0;
    for file in files {
        let path = dir.join(&file.name);
        let bytes =
            world.disk.map(&path).map_err(|e| Error::io(format_args!("open {}", path.display()), &e))?;
        writer.make_room_to_replay()?;
        let mut reader = Reader::open(&path.display().to_string(), &bytes)?;
        while let Step::Record { seqno, change, end } = reader.next()? {
            match change {
                _ if seqno <= flushed => continue,
                Change::Batch(batch) => {
                    check(&batch, &path, seqno)?;
                    writer.replay(seqno, batch);
                }
                Change::Deletion(deletion) => writer.replay_deletion(seqno, deletion),
            }
            if writer.is_full_before(file.bytes.saturating_sub(end)) {
                writer.start_memtable();
                tracing::info!(
                    file = %path.display(),
                    bytes_done = bytes_before + end,
                    bytes_total,
                    "replaying the log"
                );
                writer.make_room_to_replay()?;
            }
        }
        bytes_before += file.bytes;
        // One file held one memtable before the stop; keeping to that lets its flush give the file back.
        writer.start_memtable_after_rows();
        if files.len() > PROGRESS_FILES {
            tracing::info!(file = %path.display(), bytes_done = bytes_before, bytes_total, "replayed the log");
        }
    }
    Ok(())
}

fn check(batch: &Batch, path: &Path, seqno: Seqno) -> Result<()> {
    batch
        .check()
        .map_err(|e| Error::new(ErrorKind::Damaged, format!("{}: batch {seqno}: {e}", path.display())))
}

/// Removes files that nothing refers to: a stop came between writing them and recording them.
fn remove_leftovers(world: &World, dir: &Path, state: &State, log: &Log) -> Result<()> {
    for name in list(world, dir)? {
        if is_referred_to(&name, state) || log.holds(&name) {
            continue;
        }
        let path = dir.join(&name);
        tracing::info!(file = %path.display(), "removing a file that a stop left behind");
        world.disk.remove(&path).map_err(|e| Error::io(format_args!("remove {}", path.display()), &e))?;
    }
    Ok(())
}

/// Whether `name` is a manifest, or a segment or checkpoint that the manifest knows.
pub(crate) fn is_referred_to(name: &str, state: &State) -> bool {
    (is_manifest(name) && !name.ends_with(".tmp"))
        || state.segments.iter().any(|s| s.file == name)
        || state.latest_checkpoint.is_some_and(|seqno| checkpoint_name(seqno) == name)
}

fn list(world: &World, dir: &Path) -> Result<Vec<String>> {
    world.disk.list(dir).map_err(|e| Error::io(format_args!("list {}", dir.display()), &e))
}

/// The folder of a shard.
pub(crate) fn shard_dir(dir: &Path, shard: ShardId) -> std::path::PathBuf {
    dir.join(shard_name(shard))
}

/// The name of that folder.
pub(crate) fn shard_name(shard: ShardId) -> String {
    format!("shard-{:04}", shard.0)
}

#[cfg(test)]
mod tests;
