//! Takes a backup of an open store.
//!
//! Per shard, flushes wait while log and checkpoint are copied, which are at most what memtables hold; writes go on.
//! Segments are held open, so merges do not remove them, and copied afterwards.

use std::sync::Arc;

use bytes::Bytes;
use wattline_format::manifest::encode_start;

use super::contents::{BackupInfo, Contents};
use super::listing::Mark;
use super::sealed::Listed;
use super::{
    BackupProgress, BackupSummary, BackupWatch, Beside, SEGMENTS, Vault, check_name, contents_name,
    file_name, put,
};
use crate::error::{Error, ErrorKind, Result};
use crate::flush::checkpoint_name;
use crate::manifest::first_file_name;
use crate::recover::shard_name;
use crate::shard::{Shard, View};
use crate::version::Segment;

/// A backup that was taken.
pub(crate) struct Taken {
    pub(crate) summary: BackupSummary,
    pub(crate) info: BackupInfo,
    /// The moment at which it was finished.
    pub(super) mark: Mark,
}

/// Copies the moment at which each of `shards` is looked at into `repository`, under `name`. Where there is to be a
/// journal, each shard keeps what it logs from that moment on.
pub(crate) fn take(
    shards: &[Arc<Shard>],
    repository: &dyn Vault,
    name: &str,
    beside: Beside<'_>,
    watch: BackupWatch<'_>,
    journal: Option<u64>,
) -> Result<Taken> {
    check_name(name)?;
    let Some(first) = shards.first() else {
        return Err(Error::new(ErrorKind::Bug, "a store without shards"));
    };
    if length(repository, &contents_name(name))?.is_some() {
        let what = format!("there is a backup {name:?} in {repository} already");
        return Err(Error::new(ErrorKind::Input, what));
    }
    let info = BackupInfo {
        name: name.to_owned(),
        created_micros: first.world.clock.now_micros(),
        finished_micros: 0,
        reaches_micros: None,
        store: first.store,
        shards: shards.len() as u32,
        bytes: 0,
    };
    let contents = Contents { info, files: Vec::new(), segments: Vec::new() };
    let mut taking =
        Taking { repository, contents, summary: BackupSummary::default(), watch, total: 0, journal };
    taking.total = shards.iter().map(|s| s.view().version.bytes()).sum();
    taking.summary.name = name.to_owned();
    for shard in shards {
        let view = taking.shard(shard)?;
        taking.segments(shard, &view)?;
    }
    // After the data, so that everything the data refers to is in it.
    beside(&mut |name, bytes| {
        check_name(name)?;
        taking.put(name.to_owned(), &bytes)
    })?;
    let mut mark = Mark::now(shards);
    mark.micros = mark.micros.max(taking.contents.info.created_micros);
    taking.contents.info.finished_micros = mark.micros;
    taking.contents.write(repository)?;
    Ok(Taken { summary: taking.summary, info: taking.contents.info, mark })
}

struct Taking<'a> {
    repository: &'a dyn Vault,
    contents: Contents,
    summary: BackupSummary,
    watch: BackupWatch<'a>,
    total: u64,
    journal: Option<u64>,
}

impl Taking<'_> {
    /// Copies manifest, log and checkpoint of one moment, and returns the view that goes with them.
    fn shard(&mut self, shard: &Arc<Shard>) -> Result<Arc<View>> {
        let _no_flush_ends = shard.flushing.lock();
        let (state, view) = {
            // What is recorded is shown under the same lock, so these are of one moment.
            let manifest = shard.manifest.lock();
            (manifest.state().clone(), shard.view())
        };
        // The log's files end with a synced group; what is appended meanwhile belongs to a later moment, and to the
        // journal.
        let logs = {
            let mut keep = shard.keep.lock();
            let log = shard.log.lock();
            if let Some(journal) = self.journal {
                keep.begin(journal, log.end());
            }
            log.contents()
        };
        let folder = shard_name(shard.id);
        self.put(format!("{folder}/{}", first_file_name()), &encode_start(&state).into())?;
        let mut copy = |name: &str, bytes_max: Option<u64>| {
            let path = shard.dir.join(name);
            let bytes = shard
                .world
                .disk
                .map(&path)
                .map_err(|e| Error::io(format_args!("read {}", path.display()), &e))?;
            let len = bytes_max.map_or(bytes.len(), |max| bytes.len().min(max as usize));
            self.put(format!("{folder}/{name}"), &bytes.slice(..len))
        };
        for log in logs {
            copy(&log.name, Some(log.bytes))?;
        }
        if let Some(seqno) = state.latest_checkpoint {
            copy(&checkpoint_name(seqno), None)?;
        }
        Ok(view)
    }

    fn segments(&mut self, shard: &Shard, view: &View) -> Result<()> {
        if let Some(fenced) = view.version.fenced.first() {
            return Err(fenced.error.clone().within("a damaged store is not backed up"));
        }
        for segment in &view.version.segments {
            if shard.maintenance.stopped() {
                return Err(Error::closed());
            }
            self.segment(shard, segment)?;
        }
        Ok(())
    }

    fn segment(&mut self, shard: &Shard, segment: &Segment) -> Result<()> {
        let meta = &segment.meta;
        let name = segment_name(shard.id.0, meta.id, meta.checksum);
        let file = format!("{SEGMENTS}/{name}");
        if length(self.repository, &file)? != Some(meta.bytes) {
            // Damage must not spread into the copy that is to help against it.
            segment.reader.verify()?;
            segment.forget();
            put(self.repository, &file, segment.reader.bytes())?;
            self.summary.copied_bytes += meta.bytes;
            self.summary.segments_copied += 1;
        }
        self.contents.segments.push(Listed { name, bytes: meta.bytes, checksum: meta.checksum });
        self.summary.segments += 1;
        self.count(meta.bytes)
    }

    fn put(&mut self, name: String, bytes: &Bytes) -> Result<()> {
        put(self.repository, &file_name(&self.contents.info.name, &name), bytes)?;
        self.total += bytes.len() as u64;
        self.summary.copied_bytes += bytes.len() as u64;
        self.note(name, bytes);
        self.count(0)
    }

    fn note(&mut self, name: String, bytes: &[u8]) {
        let bytes_len = bytes.len() as u64;
        self.contents.files.push(Listed::new(name, bytes));
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

fn length(repository: &dyn Vault, name: &str) -> Result<Option<u64>> {
    repository.len(name).map_err(|e| Error::io(format_args!("look for {repository}/{name}"), &e))
}

/// The name of a segment's copy: the number alone would repeat after a restore of an earlier backup.
pub(crate) fn segment_name(shard: u32, id: u64, checksum: u64) -> String {
    format!("{shard:04}-{id:012}-{checksum:016x}.wls")
}
