//! Backups: one moment of an open store, kept in another place, every moment after it where it has a journal, and back
//! again.
//!
//! Owns: the layout of a repository, copying into it while writing goes on, and restoring from it. Does not own: who
//! asks and when, the registry (whoever calls puts its copy beside), object stores (they are a [`Vault`]).
//!
//! Reading order: `contents` (what a backup is) → `take` → `keep` (what shards keep for a journal) → `journal` → `listing`
//! → `trail` (a journal read back) → `restore`; `sealed` and `vault` below them.
//!
//! ```text
//! segments/0000-000000000012-8f3a….wls   segments, named by shard, number and checksum; shared by backups
//! backups/<name>/shard-0000/…            manifest, log, latest values of that moment
//! backups/<name>/…                       what the caller put beside
//! backups/<name>.txt                     what the backup consists of; written last, so it proves the rest
//! journals/<name>/pieces/…               parts of log files, by shipment, shard, file and offset; files beside
//! journals/<name>/00000001.txt           what a shipment consists of, and its marks; written last
//! ```
//!
//! A segment never changes, so a backup copies only those that no backup before it had: every backup is whole, and
//! costs what is new. Nothing is ever changed in place, so a stop at any moment leaves all earlier backups as they
//! were.

mod contents;
mod journal;
pub(crate) mod keep;
mod listing;
mod restore;
mod sealed;
mod take;
mod trail;
mod vault;

use bytes::Bytes;

pub use contents::BackupInfo;
pub(crate) use contents::Contents;
pub use journal::{Journal, Shipped};
pub use restore::{Until, restore};
pub(crate) use take::take;
pub use vault::{Folder, Vault};

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
    /// The mark of a journal that was restored, microseconds since the epoch; `None` for the backup alone.
    pub mark_micros: Option<i64>,
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

/// Keeps a file beside the store: its name in the backup, which has no slash, and what is in it.
pub type PutBeside<'a> = &'a mut dyn FnMut(&str, Bytes) -> Result<()>;

/// Hands over what belongs to a backup beside the store, or says why it could not.
pub type Beside<'a> = &'a mut dyn FnMut(PutBeside<'_>) -> Result<()>;

/// The complete backups in a repository, oldest first, with how far their journals reach.
///
/// # Errors
/// `Io` where the folder cannot be read, `Damaged` where a list of contents is not what was written.
pub fn backups(repository: &dyn Vault) -> Result<Vec<BackupInfo>> {
    let mut infos = complete(repository)?;
    for info in &mut infos {
        info.reaches_micros = trail::reach(repository, info)?;
    }
    Ok(infos)
}

fn complete(repository: &dyn Vault) -> Result<Vec<BackupInfo>> {
    let names = list(repository, BACKUPS)?;
    let complete = names.iter().filter_map(|name| name.strip_suffix(".txt"));
    let mut infos = Vec::new();
    for name in complete {
        infos.push(Contents::read(repository, name)?.info);
    }
    infos.sort_by(|a, b| (a.created_micros, &a.name).cmp(&(b.created_micros, &b.name)));
    Ok(infos)
}

/// Removes all backups but the newest `keep`, their journals, and the segments that none of those left has. Returns the
/// names of the backups removed. No journal of one of them may be going on.
///
/// # Errors
/// As [`backups`]; a file that cannot be removed is an error, too, and the next call goes on from there.
pub fn prune(repository: &dyn Vault, keep: usize) -> Result<Vec<String>> {
    let all = complete(repository)?;
    let (old, kept) = all.split_at(all.len().saturating_sub(keep));
    for info in old {
        let contents = Contents::read(repository, &info.name)?;
        // While the backup is there, the next call finds what is left of its journal.
        trail::remove_journal(repository, &info.name)?;
        // The list goes first: without it the rest is no backup, with it all of the rest has to be there.
        remove(repository, &contents_name(&info.name))?;
        for file in &contents.files {
            remove(repository, &file_name(&info.name, &file.name))?;
        }
    }
    let mut needed = std::collections::BTreeSet::new();
    for info in kept {
        let contents = Contents::read(repository, &info.name)?;
        needed.extend(contents.segments.into_iter().map(|s| s.name));
    }
    for name in list(repository, SEGMENTS)?.into_iter().filter(|name| !needed.contains(name)) {
        remove(repository, &format!("{SEGMENTS}/{name}"))?;
    }
    Ok(old.iter().map(|info| info.name.clone()).collect())
}

const BACKUPS: &str = "backups";
const SEGMENTS: &str = "segments";
const JOURNALS: &str = "journals";

/// The name in the repository of a file of a backup.
fn file_name(backup: &str, file: &str) -> String {
    format!("{BACKUPS}/{backup}/{file}")
}

fn contents_name(backup: &str) -> String {
    format!("{BACKUPS}/{backup}.txt")
}

/// The folder of the lists of a backup's journal.
fn journal_folder(backup: &str) -> String {
    format!("{JOURNALS}/{backup}")
}

/// The folder of everything else of it: folders are never removed, so there is not one for each shipment.
fn pieces_folder(backup: &str) -> String {
    format!("{JOURNALS}/{backup}/pieces")
}

/// The name in the repository of the list of shipment `number`.
fn listing_name(backup: &str, number: u64) -> String {
    format!("{}/{number:08}.txt", journal_folder(backup))
}

/// The name in the repository of a file of shipment `number`.
fn piece_name(backup: &str, number: u64, file: &str) -> String {
    format!("{}/{number:08}-{file}", pieces_folder(backup))
}

fn remove(repository: &dyn Vault, name: &str) -> Result<()> {
    repository.remove(name).map_err(|e| Error::io(format_args!("remove {repository}/{name}"), &e))
}

fn list(repository: &dyn Vault, folder: &str) -> Result<Vec<String>> {
    repository.list(folder).map_err(|e| Error::io(format_args!("list {repository}/{folder}"), &e))
}

fn put(repository: &dyn Vault, name: &str, bytes: &Bytes) -> Result<()> {
    repository.put(name, bytes).map_err(|e| Error::io(format_args!("write {repository}/{name}"), &e))
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
