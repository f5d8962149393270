//! Brings a backup back into an empty folder.

use std::path::Path;

use wattline_env::World;
use wattline_format::frame::checksum;
use wattline_format::manifest::decode;
use wattline_format::segment::Reader;
use wattline_model::ShardId;

use super::contents::{Contents, Listed};
use super::take::segment_name;
use super::{BackupProgress, BackupSummary, BackupWatch, backup_dir, list, put};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::is_manifest;
use crate::recover::shard_dir;

/// Restores the backup `name` of `repository`: the store into the folder `store`, what was put beside into the
/// folder `beside`. Every byte is compared with its checksum before it counts. The manifest of the first shard comes
/// last, so a restore that was interrupted leaves no store, and is begun again.
///
/// # Errors
/// `Input`: there is no such backup, or there is a store in `store` already. `Damaged`: a file of the backup is not
/// what was written; the message names it. `Closed`: `watch` ended it.
pub fn restore(
    repository: &Path,
    name: &str,
    store: &Path,
    beside: &Path,
    world: &World,
    watch: BackupWatch<'_>,
) -> Result<BackupSummary> {
    let disk = &*world.disk;
    let contents = Contents::read(disk, repository, name)?;
    let first = shard_dir(store, ShardId(0));
    if disk.exists(&first) && list(disk, &first)?.iter().any(|n| is_manifest(n) && n.ends_with(".wlm")) {
        let what = format!("there is a store in {} already", store.display());
        return Err(Error::new(ErrorKind::Input, what));
    }
    let mut summary = BackupSummary { name: name.to_owned(), ..BackupSummary::default() };
    let mut done = |summary: &mut BackupSummary, bytes: u64| {
        summary.files += 1;
        summary.bytes += bytes;
        summary.copied_bytes += bytes;
        let progress = BackupProgress { bytes: summary.bytes, bytes_total: contents.info.bytes };
        if watch(progress) { Ok(()) } else { Err(Error::closed()) }
    };
    let dir = backup_dir(repository, name);
    let mut manifests: Vec<(&Listed, Vec<u8>)> = Vec::new();
    for listed in &contents.files {
        let bytes = read(world, &dir.join(&listed.name), listed)?;
        match listed.name.split_once('/') {
            Some((_, file)) if is_manifest(file) => manifests.push((listed, bytes)),
            Some(_) => put(disk, &store.join(&listed.name), &bytes)?,
            None => put(disk, &beside.join(&listed.name), &bytes)?,
        }
        done(&mut summary, listed.bytes)?;
    }
    for (listed, bytes) in &manifests {
        let path = dir.join(&listed.name);
        let state = decode(&path.display().to_string(), bytes)?.state;
        for meta in &state.segments {
            let name = segment_name(state.shard.0, meta.id, meta.checksum);
            let path = repository.join("segments").join(&name);
            let bytes = disk.map(&path).map_err(|e| missing(&path, &e))?;
            let reader = Reader::open(&path.display().to_string(), bytes)?;
            if (reader.summary().checksum, reader.summary().bytes) != (meta.checksum, meta.bytes) {
                let what = format!("{}: it is not the segment that was backed up", path.display());
                return Err(Error::new(ErrorKind::Damaged, what));
            }
            reader.verify()?;
            put(disk, &shard_dir(store, state.shard).join(&meta.file), reader.bytes())?;
            summary.segments += 1;
            summary.segments_copied += 1;
            done(&mut summary, meta.bytes)?;
        }
    }
    // The first shard's manifest makes it a store.
    manifests.sort_by(|a, b| b.0.name.cmp(&a.0.name));
    for (listed, bytes) in &manifests {
        put(disk, &store.join(&listed.name), bytes)?;
    }
    Ok(summary)
}

fn read(world: &World, path: &Path, listed: &Listed) -> Result<Vec<u8>> {
    let bytes = world.disk.read(path).map_err(|e| missing(path, &e))?;
    let found = (bytes.len() as u64, checksum(&bytes));
    if found != (listed.bytes, listed.checksum) {
        let what = format!(
            "{}: expected {} bytes with checksum {:016x}, found {} with {:016x}",
            path.display(),
            listed.bytes,
            listed.checksum,
            found.0,
            found.1
        );
        return Err(Error::new(ErrorKind::Damaged, what));
    }
    Ok(bytes)
}

fn missing(path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            ErrorKind::Damaged,
            format!("{}: it belongs to the backup and is not there", path.display()),
        ),
        _ => Error::io(format_args!("read {}", path.display()), error),
    }
}
