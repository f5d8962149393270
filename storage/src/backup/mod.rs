//! Backups: one moment of an open store, kept in another folder, and back again.
//!
//! Owns: the layout of a repository, copying into it while writing goes on, and restoring from it. Does not own: who
//! asks and when, the registry (whoever calls puts its copy beside), object stores.
//!
//! ```text
//! <repository>/segments/0000-000000000012-8f3a….wls   segments, named by shard, number and checksum; shared by backups
//! <repository>/backups/<name>/shard-0000/…            manifest, log, latest values of that moment
//! <repository>/backups/<name>/…                       what the caller put beside
//! <repository>/backups/<name>.txt                     what the backup consists of; written last, so it proves the rest
//! ```
//!
//! A segment never changes, so a backup copies only those that no backup before it had: every backup is whole, and
//! costs what is new. Nothing is ever changed in place, so a stop at any moment leaves all earlier backups as they
//! were.

mod contents;
mod restore;
mod take;

use std::path::{Path, PathBuf};

use wattline_env::{Disk, World};

pub use contents::BackupInfo;
pub(crate) use contents::Contents;
pub use restore::restore;
pub(crate) use take::take;

use crate::error::{Error, ErrorKind, Result};

/// What a backup or a restore did.
#[derive(Clone, Debug, Default)]
pub struct BackupSummary {
    /// The name of the backup.
    pub name: String,
    /// Files it consists of.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that were copied; the others were there from backups before.
    pub copied_bytes: u64,
    /// Segments it consists of.
    pub segments: u64,
    /// Segments that were copied.
    pub segments_copied: u64,
}

/// How far a backup or a restore is.
#[derive(Clone, Copy, Debug)]
pub struct BackupProgress {
    /// Bytes done.
    pub bytes: u64,
    /// Bytes to do, as far as known.
    pub bytes_total: u64,
}

/// Told after each file. To end early, answer `false`.
pub type BackupWatch<'a> = &'a mut dyn FnMut(BackupProgress) -> bool;

/// Puts files into the folder it is given and returns their names, or why it could not: what belongs to a backup
/// beside the store.
pub type Beside<'a> = &'a mut dyn FnMut(&Path) -> std::result::Result<Vec<String>, String>;

/// The complete backups in a repository, oldest first.
///
/// # Errors
/// `Io` where the folder cannot be read, `Damaged` where a list of contents is not what was written.
pub fn backups(repository: &Path, world: &World) -> Result<Vec<BackupInfo>> {
    let dir = repository.join("backups");
    if !world.disk.exists(&dir) {
        return Ok(Vec::new());
    }
    let names = list(&*world.disk, &dir)?;
    let complete = names.iter().filter_map(|name| name.strip_suffix(".txt"));
    let mut infos = Vec::new();
    for name in complete {
        infos.push(Contents::read(&*world.disk, repository, name)?.info);
    }
    infos.sort_by(|a, b| (a.created_micros, &a.name).cmp(&(b.created_micros, &b.name)));
    Ok(infos)
}

/// Removes all backups but the newest `keep`, and the segments that none of those left has. Returns the names of
/// the backups removed.
///
/// # Errors
/// As [`backups`]; a file that cannot be removed is an error, too, and the next call goes on from there.
pub fn prune(repository: &Path, keep: usize, world: &World) -> Result<Vec<String>> {
    let disk = &*world.disk;
    let all = backups(repository, world)?;
    let (old, kept) = all.split_at(all.len().saturating_sub(keep));
    let remove = |path: &Path| -> Result<()> {
        if disk.exists(path) {
            disk.remove(path).map_err(|e| Error::io(format_args!("remove {}", path.display()), &e))?;
        }
        Ok(())
    };
    for info in old {
        let contents = Contents::read(disk, repository, &info.name)?;
        // The list goes first: without it the rest is no backup, with it all of the rest has to be there.
        remove(&contents_path(repository, &info.name))?;
        for file in &contents.files {
            remove(&backup_dir(repository, &info.name).join(&file.name))?;
        }
    }
    let mut needed = std::collections::BTreeSet::new();
    for info in kept {
        let contents = Contents::read(disk, repository, &info.name)?;
        needed.extend(contents.segments.into_iter().map(|s| s.name));
    }
    let segments = repository.join("segments");
    if disk.exists(&segments) {
        for name in list(disk, &segments)?.into_iter().filter(|name| !needed.contains(name)) {
            remove(&segments.join(name))?;
        }
    }
    Ok(old.iter().map(|info| info.name.clone()).collect())
}

fn backup_dir(repository: &Path, name: &str) -> PathBuf {
    repository.join("backups").join(name)
}

fn contents_path(repository: &Path, name: &str) -> PathBuf {
    repository.join("backups").join(format!("{name}.txt"))
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>> {
    disk.list(dir).map_err(|e| Error::io(format_args!("list {}", dir.display()), &e))
}

/// Writes a whole file, and the folders above it where they are missing.
fn put(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        path.parent().map_or(Ok(()), |dir| disk.create_dir_all(dir))?;
        disk.put(path, bytes)
    };
    write().map_err(|e: std::io::Error| Error::io(format_args!("write {}", path.display()), &e))
}

/// A name is one part of a path, of characters that every file system takes.
fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(fits) {
        let what = format!("backup name {name:?}: 1 to 100 letters, digits, '-', '_' and '.' are wanted");
        return Err(Error::new(ErrorKind::Input, what));
    }
    Ok(())
}
