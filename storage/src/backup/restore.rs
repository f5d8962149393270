//! Brings a backup back into an empty folder.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use wattline_env::World;
use wattline_format::frame::checksum;
use wattline_format::manifest::decode;
use wattline_format::segment::Reader;
use wattline_model::ShardId;

use super::contents::{Contents, Listed};
use super::take::segment_name;
use super::{BackupProgress, BackupSummary, BackupWatch, Folder, SEGMENTS, Vault, file_name, list, put};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::is_manifest;
use crate::recover::shard_name;

/// Restores the backup `name` of `repository`: the store into the folder `store`, what was put beside into the
/// folder `beside`. Every byte is compared with its checksum before it counts. The manifest of the first shard comes
/// last, so a restore that was interrupted leaves no store, and is begun again.
///
/// # Errors
/// `Input`: there is no such backup, or there is a store in `store` already. `Damaged`: a file of the backup is not
/// what was written; the message names it. `Closed`: `watch` ended it.
pub fn restore(
    repository: &dyn Vault,
    name: &str,
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
    let mut summary = BackupSummary { name: name.to_owned(), ..BackupSummary::default() };
    let mut done = |summary: &mut BackupSummary, bytes: u64| {
        summary.files += 1;
        summary.bytes += bytes;
        summary.copied_bytes += bytes;
        let progress = BackupProgress { bytes: summary.bytes, bytes_total: contents.info.bytes };
        if watch(progress) { Ok(()) } else { Err(Error::closed()) }
    };
    let mut manifests: Vec<(&Listed, Bytes)> = Vec::new();
    for listed in &contents.files {
        let bytes = read(repository, &file_name(name, &listed.name), listed)?;
        match listed.name.split_once('/') {
            Some((_, file)) if is_manifest(file) => manifests.push((listed, bytes)),
            Some(_) => put(&store, &listed.name, &bytes)?,
            None => put(&beside, &listed.name, &bytes)?,
        }
        done(&mut summary, listed.bytes)?;
    }
    for (listed, bytes) in &manifests {
        let file = format!("{repository}/{}", file_name(name, &listed.name));
        let state = decode(&file, bytes)?.state;
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
            put(&store, &format!("{}/{}", shard_name(state.shard), meta.file), reader.bytes())?;
            summary.segments += 1;
            summary.segments_copied += 1;
            done(&mut summary, meta.bytes)?;
        }
    }
    // The first shard's manifest makes it a store.
    manifests.sort_by(|a, b| b.0.name.cmp(&a.0.name));
    for (listed, bytes) in &manifests {
        put(&store, &listed.name, bytes)?;
    }
    Ok(summary)
}

fn read(repository: &dyn Vault, file: &str, listed: &Listed) -> Result<Bytes> {
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
