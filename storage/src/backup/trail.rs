//! The journal of a backup, read back: how far it reaches, and what the logs were at a moment of it.
//!
//! Owns: reading listings in order, finding a mark, putting log files together from their pieces. Does not own: where
//! the files go ([`super::restore()`]), the text of a listing ([`super::listing`]).

use std::collections::BTreeMap;

use bytes::Bytes;
use wattline_model::{Seqno, ShardId};

use super::contents::{BackupInfo, Contents};
use super::listing::{Listing, Mark};
use super::restore::{Until, read};
use super::sealed::Listed;
use super::{Vault, file_name, journal_folder, list, listing_name, piece_name, pieces_folder, remove};
use crate::error::{Error, ErrorKind, Result};
use crate::log::first_of;
use crate::recover::shard_name;

/// Up to when the journal of a backup reaches; `None` where it has none. A list that is damaged is passed over with a
/// warning: what came before it can be brought back.
pub(super) fn reach(repository: &dyn Vault, info: &BackupInfo) -> Result<Option<i64>> {
    for number in (1..=last_number(repository, &info.name)?).rev() {
        match Listing::read(repository, &info.name, number) {
            Ok(listing) if listing.is_of(info) => return Ok(listing.marks.last().map(|mark| mark.micros)),
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                tracing::warn!(%error, "a journal cannot be read to its end");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Removes the journal of `backup`, from its end, so that what is left of it after an interruption is a journal.
pub(super) fn remove_journal(repository: &dyn Vault, backup: &str) -> Result<()> {
    for number in (1..=last_number(repository, backup)?).rev() {
        remove(repository, &listing_name(backup, number))?;
    }
    let folder = pieces_folder(backup);
    for name in list(repository, &folder)? {
        remove(repository, &format!("{folder}/{name}"))?;
    }
    Ok(())
}

fn last_number(repository: &dyn Vault, backup: &str) -> Result<u64> {
    let names = list(repository, &journal_folder(backup))?;
    let numbers = names.iter().filter_map(|name| name.strip_suffix(".txt")?.parse().ok());
    Ok(numbers.max().unwrap_or(0))
}

/// Everything that brings back one moment of a journal.
pub(super) struct Trail {
    pub(super) mark: Mark,
    /// By shard and first batch.
    pub(super) logs: BTreeMap<(u32, Seqno), Vec<Part>>,
    /// The newest of each name, by the name beside the store.
    pub(super) beside: BTreeMap<String, Part>,
}

/// A file in the repository that is a part of one to restore, from its beginning.
#[derive(Debug)]
pub(super) struct Part {
    /// Its name in the repository.
    name: String,
    listed: Listed,
    /// Its bytes that count.
    bytes: u64,
}

impl Trail {
    /// What brings back the backup `contents` and its journal up to the last mark that `until` wants; `None` where the
    /// backup alone is that.
    pub(super) fn find(repository: &dyn Vault, contents: &Contents, until: Until) -> Result<Option<Trail>> {
        let backup = &contents.info.name;
        let at = match until {
            Until::Backup => return Ok(None),
            Until::Newest => i64::MAX,
            Until::Time(micros) => micros,
        };
        let mut listings: Vec<Listing> = Vec::new();
        let mut found: Option<(Mark, usize)> = None;
        for number in 1..=last_number(repository, backup)? {
            let listing = Listing::read(repository, backup, number)?;
            if !listing.is_of(&contents.info) {
                let what = format!("{repository}/{}: it is of another backup", listing_name(backup, number));
                return Err(Error::new(ErrorKind::Damaged, what));
            }
            let mark = listing.marks.iter().rfind(|mark| mark.micros <= at).cloned();
            let is_far_enough = listing.marks.last().is_some_and(|last| last.micros >= at);
            listings.push(listing);
            found = mark.map(|mark| (mark, listings.len())).or(found);
            if is_far_enough {
                break;
            }
        }
        let Some((mark, listings_len)) = found else { return Ok(None) };
        listings.truncate(listings_len);
        Trail::along(repository, contents, &listings, mark).map(Some)
    }

    /// Puts the logs of the backup and the pieces of `listings` together, up to `mark`.
    fn along(repository: &dyn Vault, contents: &Contents, listings: &[Listing], mark: Mark) -> Result<Trail> {
        let backup = &contents.info.name;
        let mut trail = Trail { mark, logs: BTreeMap::new(), beside: BTreeMap::new() };
        for shard in 0..contents.info.shards {
            let folder = shard_name(ShardId(shard));
            for file in &contents.files {
                let name = file.name.strip_prefix(&folder).and_then(|name| name.strip_prefix('/'));
                if let Some(first) = name.and_then(first_of) {
                    let part = Part::new(file_name(backup, &file.name), file);
                    trail.logs.entry((shard, first)).or_default().push(part);
                }
            }
        }
        for listing in listings {
            let list = format!("{repository}/{}", listing_name(backup, listing.number));
            for piece in &listing.pieces {
                let name = piece_name(backup, listing.number, &piece.file.name);
                trail.add((piece.shard, piece.first), piece.offset, Part::new(name, &piece.file), &list)?;
            }
            for file in &listing.files {
                let name = piece_name(backup, listing.number, &file.name);
                trail.beside.insert(file.name.clone(), Part::new(name, file));
            }
        }
        trail.cut(repository, contents)?;
        Ok(trail)
    }

    /// Adds a piece, which has to follow what is there.
    fn add(&mut self, log: (u32, Seqno), offset: u64, part: Part, list: &str) -> Result<()> {
        let newest = self.logs.range((log.0, Seqno(0))..=(log.0, Seqno(u64::MAX))).next_back();
        let is_newest = newest.is_none_or(|(&(_, first), _)| first <= log.1);
        let parts = self.logs.entry(log).or_default();
        let len: u64 = parts.iter().map(|part| part.bytes).sum();
        if !is_newest || len != offset {
            let what = format!("{list}: {} does not follow the pieces before it", part.listed.name);
            return Err(Error::new(ErrorKind::Damaged, what));
        }
        parts.push(part);
        Ok(())
    }

    /// Takes away what was logged after the mark.
    fn cut(&mut self, repository: &dyn Vault, contents: &Contents) -> Result<()> {
        let short = |what: &str| {
            let journal = journal_folder(&contents.info.name);
            Error::new(ErrorKind::Damaged, format!("{repository}/{journal}: {what}"))
        };
        if self.mark.logs.len() != contents.info.shards as usize {
            return Err(short("a mark is not of this many shards"));
        }
        for (shard, end) in (0..).zip(&self.mark.logs) {
            self.logs.retain(|&(of, first), _| of != shard || first <= end.first);
            let parts = self.logs.get_mut(&(shard, end.first));
            let parts = parts.ok_or_else(|| short("a log file that a mark names is missing"))?;
            let mut left = end.bytes;
            parts.retain_mut(|part| {
                part.bytes = part.bytes.min(left);
                left -= part.bytes;
                part.bytes > 0
            });
            if left > 0 {
                return Err(short("a log file is shorter than a mark says"));
            }
        }
        Ok(())
    }

    /// Bytes that will be read.
    pub(super) fn bytes(&self) -> u64 {
        self.logs.values().flatten().chain(self.beside.values()).map(|part| part.listed.bytes).sum()
    }
}

impl Part {
    fn new(name: String, listed: &Listed) -> Part {
        Part { name, listed: listed.clone(), bytes: listed.bytes }
    }

    /// Its bytes that count; all of it was compared with its checksum.
    pub(super) fn read(&self, repository: &dyn Vault) -> Result<Bytes> {
        Ok(read(repository, &self.name, &self.listed)?.slice(..self.bytes as usize))
    }
}

impl Listing {
    fn is_of(&self, info: &BackupInfo) -> bool {
        (self.store, self.created_micros) == (info.store, info.created_micros)
    }
}
