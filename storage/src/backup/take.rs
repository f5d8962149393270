//! Takes a backup of an open store.
//!
//! Per shard, flushes wait while log and checkpoint are copied, which are at most what memtables hold; writes go on.
//! Segments are held open, so merges do not remove them, and copied afterwards.

use std::path::Path;
use std::sync::Arc;

use wattline_env::Disk;
use wattline_format::frame::checksum;
use wattline_format::manifest::encode_start;

use super::contents::{BackupInfo, Contents, Listed};
use super::{BackupProgress, BackupSummary, BackupWatch, Beside, backup_dir, check_name, contents_path, put};
use crate::error::{Error, ErrorKind, Result};
use crate::flush::checkpoint_name;
use crate::manifest::first_file_name;
use crate::recover::shard_name;
use crate::shard::{Shard, View};
use crate::version::Segment;

/// Copies the moment at which each of `shards` is looked at into `repository`, under `name`.
pub(crate) fn take(
    shards: &[Arc<Shard>],
    repository: &Path,
    name: &str,
    beside: Beside<'_>,
    watch: BackupWatch<'_>,
) -> Result<BackupSummary> {
    check_name(name)?;
    let Some(first) = shards.first() else {
        return Err(Error::new(ErrorKind::Bug, "a store without shards"));
    };
    let disk = Arc::clone(&first.world.disk);
    if disk.exists(&contents_path(repository, name)) {
        let what = format!("there is a backup {name:?} in {} already", repository.display());
        return Err(Error::new(ErrorKind::Input, what));
    }
    let info = BackupInfo {
        name: name.to_owned(),
        created_micros: first.world.clock.now_micros(),
        store: first.store,
        shards: shards.len() as u32,
        bytes: 0,
    };
    let contents = Contents { info, files: Vec::new(), segments: Vec::new() };
    let dir = backup_dir(repository, name);
    let mut taking = Taking { disk: &*disk, contents, summary: BackupSummary::default(), watch, total: 0 };
    taking.total = shards.iter().map(|s| s.view().version.bytes()).sum();
    taking.summary.name = name.to_owned();
    for shard in shards {
        let view = taking.shard(shard, &dir)?;
        taking.segments(shard, &view, repository)?;
    }
    // After the data, so that everything the data refers to is in it.
    disk.create_dir_all(&dir).map_err(|e| Error::io(format_args!("create {}", dir.display()), &e))?;
    for name in beside(&dir).map_err(|why| Error::new(ErrorKind::Io, why))? {
        let path = dir.join(&name);
        let settle = || -> std::io::Result<Vec<u8>> {
            disk.append(&path)?.sync()?;
            disk.read(&path)
        };
        let bytes = settle().map_err(|e| Error::io(format_args!("read {}", path.display()), &e))?;
        taking.note(name, &bytes);
    }
    disk.sync_dir(&dir).map_err(|e| Error::io(format_args!("sync {}", dir.display()), &e))?;
    taking.contents.write(&*disk, repository)?;
    Ok(taking.summary)
}

struct Taking<'a> {
    disk: &'a dyn Disk,
    contents: Contents,
    summary: BackupSummary,
    watch: BackupWatch<'a>,
    total: u64,
}

impl Taking<'_> {
    /// Copies manifest, log and checkpoint of one moment, and returns the view that goes with them.
    fn shard(&mut self, shard: &Arc<Shard>, dir: &Path) -> Result<Arc<View>> {
        let _no_flush_ends = shard.flushing.lock();
        let (state, view) = {
            // What is recorded is shown under the same lock, so these are of one moment.
            let manifest = shard.manifest.lock();
            (manifest.state().clone(), shard.view())
        };
        // The log's files end with a synced group; what is appended meanwhile belongs to a later moment.
        let logs = shard.log.lock().contents();
        let folder = shard_name(shard.id);
        self.put(dir, format!("{folder}/{}", first_file_name()), &encode_start(&state))?;
        let mut copy = |name: &str, bytes_max: Option<u64>| {
            let path = shard.dir.join(name);
            let bytes =
                self.disk.map(&path).map_err(|e| Error::io(format_args!("read {}", path.display()), &e))?;
            let len = bytes_max.map_or(bytes.len(), |max| bytes.len().min(max as usize));
            self.put(dir, format!("{folder}/{name}"), &bytes[..len])
        };
        for log in logs {
            copy(&log.name, Some(log.bytes))?;
        }
        if let Some(seqno) = state.latest_checkpoint {
            copy(&checkpoint_name(seqno), None)?;
        }
        Ok(view)
    }

    fn segments(&mut self, shard: &Shard, view: &View, repository: &Path) -> Result<()> {
        if let Some(fenced) = view.version.fenced.first() {
            return Err(fenced.error.clone().within("a damaged store is not backed up"));
        }
        for segment in &view.version.segments {
            if shard.maintenance.stopped() {
                return Err(Error::closed());
            }
            self.segment(shard, segment, repository)?;
        }
        Ok(())
    }

    fn segment(&mut self, shard: &Shard, segment: &Segment, repository: &Path) -> Result<()> {
        let meta = &segment.meta;
        let name = segment_name(shard.id.0, meta.id, meta.checksum);
        let path = repository.join("segments").join(&name);
        if self.disk.len(&path).ok() != Some(meta.bytes) {
            // Damage must not spread into the copy that is to help against it.
            segment.reader.verify()?;
            segment.forget();
            put(self.disk, &path, segment.reader.bytes())?;
            self.summary.copied_bytes += meta.bytes;
            self.summary.segments_copied += 1;
        }
        self.contents.segments.push(Listed { name, bytes: meta.bytes, checksum: meta.checksum });
        self.summary.segments += 1;
        self.count(meta.bytes)
    }

    fn put(&mut self, dir: &Path, name: String, bytes: &[u8]) -> Result<()> {
        put(self.disk, &dir.join(&name), bytes)?;
        self.total += bytes.len() as u64;
        self.summary.copied_bytes += bytes.len() as u64;
        self.note(name, bytes);
        self.count(0)
    }

    fn note(&mut self, name: String, bytes: &[u8]) {
        let bytes_len = bytes.len() as u64;
        self.contents.files.push(Listed { name, bytes: bytes_len, checksum: checksum(bytes) });
        self.summary.files += 1;
        self.summary.bytes += bytes_len;
    }

    fn count(&mut self, segment_bytes: u64) -> Result<()> {
        if segment_bytes > 0 {
            self.summary.files += 1;
            self.summary.bytes += segment_bytes;
        }
        let progress = BackupProgress { bytes: self.summary.bytes, bytes_total: self.total };
        if (self.watch)(progress) { Ok(()) } else { Err(Error::closed()) }
    }
}

/// The name of a segment's copy: the number alone would repeat after a restore of an earlier backup.
pub(crate) fn segment_name(shard: u32, id: u64, checksum: u64) -> String {
    format!("{shard:04}-{id:012}-{checksum:016x}.wls")
}
