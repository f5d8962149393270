//! Brings a backup back into an empty folder.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use wattline_env::World;
use wattline_format::frame::checksum;
use wattline_format::manifest::{State, decode};
use wattline_format::segment::Reader;
use wattline_model::ShardId;

use super::contents::Contents;
use super::sealed::Listed;
use super::take::segment_name;
use super::trail::Trail;
use super::{
    BackupProgress, BackupSummary, BackupWatch, Folder, SEGMENTS, Vault, file_name, list, put, remove,
};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{file_name as log_name, first_of};
use crate::manifest::is_manifest;
use crate::recover::shard_name;

/// How far to go after a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The backup alone.
    Backup,
    /// To the end of its journal.
    Newest,
    /// To the last mark of its journal at or before this time, microseconds since the epoch; where that is the backup
    /// itself, or it has no journal, the backup alone.
    Time(i64),
}

/// Restores the backup `name` of `repository`, and its journal `until`: the store into the folder `store`, what was put
/// beside into the folder `beside`. Every byte is compared with its checksum before it counts. The manifest of the
/// first shard comes last, so a restore that was interrupted leaves no store, and is begun again; files that it left in
/// the shards' folders and that do not belong there are removed.
///
/// # Errors
/// `Input`: there is no such backup, or there is a store in `store` already. `Damaged`: a file of the backup or its
/// journal is not what was written; the message names it. `Closed`: `watch` ended it.
pub fn restore(
    repository: &dyn Vault,
    name: &str,
    until: Until,
    store: &Path,
    beside: &Path,
    world: &World,
    watch: BackupWatch<'_>,
) -> Result<BackupSummary> {
    let contents = Contents::read(repository, name)?;
    let folder = |path: &Path| Folder::new(Arc::clone(&world.disk), path);
    let (store, beside) = (folder(store), folder(beside));
    if list(&store, &shard_name(ShardId(0)))?.iter().any(|n| is_manifest(n) && n.ends_with(".wlm")) {
        let what = format!("there is a store in {store} already");
        return Err(Error::new(ErrorKind::Input, what));
    }
    let trail = Trail::find(repository, &contents, until)?;
    let bytes_total = contents.info.bytes + trail.as_ref().map_or(0, Trail::bytes);
    let mark_micros = trail.as_ref().map(|trail| trail.mark.micros);
    let summary = BackupSummary { name: name.to_owned(), mark_micros, ..BackupSummary::default() };
    let mut restoring =
        Restoring { repository, store, beside, summary, bytes_total, watch, put: BTreeSet::new() };
    let manifests = restoring.files(&contents, trail.as_ref())?;
    if let Some(trail) = &trail {
        restoring.trail(trail)?;
    }
    for (listed, bytes) in &manifests {
        let file = format!("{repository}/{}", file_name(name, &listed.name));
        restoring.segments(&decode(&file, bytes)?.state)?;
    }
    restoring.clear(contents.info.shards)?;
    // The first shard's manifest makes it a store.
    for (listed, bytes) in manifests.iter().rev() {
        put(&restoring.store, &listed.name, bytes)?;
    }
    Ok(restoring.summary)
}

struct Restoring<'a> {
    repository: &'a dyn Vault,
    store: Folder,
    beside: Folder,
    summary: BackupSummary,
    bytes_total: u64,
    watch: BackupWatch<'a>,
    /// Names within the store of files that were put there.
    put: BTreeSet<String>,
}

impl Restoring<'_> {
    /// Restores the files of the backup that the journal does not bring, and returns the manifests by shard.
    fn files(&mut self, contents: &Contents, trail: Option<&Trail>) -> Result<Vec<(Listed, Bytes)>> {
        let mut manifests = Vec::new();
        for listed in &contents.files {
            let (name, file) = (&listed.name, listed.name.split_once('/').map(|(_, file)| file));
            let is_newer = match file {
                Some(file) => trail.is_some() && first_of(file).is_some(),
                None => trail.is_some_and(|trail| trail.beside.contains_key(name)),
            };
            if is_newer {
                continue;
            }
            let bytes = read(self.repository, &file_name(&contents.info.name, name), listed)?;
            self.count(listed.bytes)?;
            match file {
                Some(file) if is_manifest(file) => manifests.push((listed.clone(), bytes)),
                Some(_) => self.put(name, &bytes)?,
                None => put(&self.beside, name, &bytes)?,
            }
        }
        manifests.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        Ok(manifests)
    }

    /// Restores the logs as they were at a mark, and the files beside of that time.
    fn trail(&mut self, trail: &Trail) -> Result<()> {
        for (&(shard, first), parts) in &trail.logs {
            // One log file at a time, which is about as long as a memtable is large.
            let mut log = Vec::new();
            for part in parts {
                let bytes = part.read(self.repository)?;
                self.count(bytes.len() as u64)?;
                log.extend_from_slice(&bytes);
            }
            self.put(&format!("{}/{}", shard_name(ShardId(shard)), log_name(first)), &log.into())?;
        }
        for (name, part) in &trail.beside {
            let bytes = part.read(self.repository)?;
            self.count(bytes.len() as u64)?;
            put(&self.beside, name, &bytes)?;
        }
        Ok(())
    }

    fn segments(&mut self, state: &State) -> Result<()> {
        let repository = self.repository;
        for meta in &state.segments {
            let name = segment_name(state.shard.0, meta.id, meta.checksum);
            let file = format!("{SEGMENTS}/{name}");
            let bytes = repository.get(&file).map_err(|e| missing(repository, &file, &e))?;
            let reader = Reader::open(&format!("{repository}/{file}"), bytes)?;
            if (reader.summary().checksum, reader.summary().bytes) != (meta.checksum, meta.bytes) {
                let what = format!("{repository}/{file}: it is not the segment that was backed up");
                return Err(Error::new(ErrorKind::Damaged, what));
            }
            reader.verify()?;
            self.put(&format!("{}/{}", shard_name(state.shard), meta.file), reader.bytes())?;
            self.summary.segments += 1;
            self.summary.segments_copied += 1;
            self.count(meta.bytes)?;
        }
        Ok(())
    }

    /// Removes what an earlier attempt left: a log file of a later moment would be replayed.
    fn clear(&self, shards: u32) -> Result<()> {
        for folder in (0..shards).map(|shard| shard_name(ShardId(shard))) {
            for file in list(&self.store, &folder)? {
                let name = format!("{folder}/{file}");
                if !self.put.contains(&name) {
                    remove(&self.store, &name)?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, name: &str, bytes: &Bytes) -> Result<()> {
        put(&self.store, name, bytes)?;
        self.put.insert(name.to_owned());
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<()> {
        let summary = &mut self.summary;
        summary.files += 1;
        summary.bytes += bytes;
        summary.copied_bytes += bytes;
        let progress = BackupProgress { bytes: summary.bytes, bytes_total: self.bytes_total };
        if (self.watch)(progress) { Ok(()) } else { Err(Error::closed()) }
    }
}

/// A file of a backup or its journal, compared with its checksum.
pub(super) fn read(repository: &dyn Vault, file: &str, listed: &Listed) -> Result<Bytes> {
    let bytes = repository.get(file).map_err(|e| missing(repository, file, &e))?;
    let found = (bytes.len() as u64, checksum(&bytes));
    if found != (listed.bytes, listed.checksum) {
        let what = format!(
            "{repository}/{file}: expected {} bytes with checksum {:016x}, found {} with {:016x}",
            listed.bytes, listed.checksum, found.0, found.1
        );
        return Err(Error::new(ErrorKind::Damaged, what));
    }
    Ok(bytes)
}

fn missing(repository: &dyn Vault, file: &str, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            ErrorKind::Damaged,
            format!("{repository}/{file}: it belongs to the backup and is not there"),
        ),
        _ => Error::io(format_args!("read {repository}/{file}"), error),
    }
}
