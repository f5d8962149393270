//! The journal of a backup: the logs of the shards after it, sent piece by piece, with marks to go back to.
//!
//! Owns: marks, what a shipment consists of, the order in which it is put. Does not own: what the shards keep for it
//! ([`super::keep`]), when to mark and to ship (whoever holds it), reading it back ([`super::trail`]).
//!
//! A shipment is made once and then put, file by file, its list last; one that fails is tried again as it is, so
//! nobody ever finds a list whose files have changed since. Nothing of it survives the process: a journal ends with it,
//! and the next one begins with a backup of its own.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::listing::{ListedPiece, Listing, Mark};
use super::sealed::Listed;
use super::{BackupSummary, BackupWatch, Beside, Vault, check_name, keep, piece_name, put, take};
use crate::error::Result;
use crate::shard::Shard;

/// Marks that wait for a shipment, an hour of them at one a second: of more, every other one goes.
const MARKS_MAX: usize = 3_600;

/// How long a journal that has nothing to say is silent, microseconds: its reach is told that often.
const SILENCE_MICROS: i64 = 30_000_000;

/// The journal of a backup of an open store. It ends when it is dropped.
pub struct Journal {
    id: u64,
    backup: String,
    store: u64,
    created_micros: i64,
    shards: Vec<Arc<Shard>>,
    /// Not shipped yet, oldest first.
    marks: Mutex<Vec<Mark>>,
    shipping: Mutex<Shipping>,
}

/// One shipment at a time.
struct Shipping {
    /// Of the last shipment that arrived.
    number: u64,
    /// The last mark that arrived, or that of the backup.
    until: Mark,
    /// When its list was put.
    listed_micros: i64,
    /// What did not arrive yet.
    waiting: Option<Shipment>,
    /// Nothing more is shipped.
    ended: bool,
}

/// A shipment as it is put.
struct Shipment {
    listing: Listing,
    /// By name in the repository.
    files: Vec<(String, Bytes)>,
    /// How many of them have arrived.
    arrived: usize,
}

/// What became of a shipment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Up to when the journal reaches now.
    pub until_micros: i64,
    /// Files that were put, the list among them; 0 where there was nothing new.
    pub files: u64,
    /// Their bytes, without the list.
    pub bytes: u64,
}

impl Journal {
    /// Takes the backup `name` of `shards` and begins its journal, number `id` of this store, where it ends.
    pub(crate) fn begin(
        shards: &[Arc<Shard>],
        id: u64,
        repository: &dyn Vault,
        name: &str,
        beside: Beside<'_>,
        watch: BackupWatch<'_>,
    ) -> Result<(BackupSummary, Journal)> {
        let taken =
            take(shards, repository, name, beside, watch, Some(id)).inspect_err(|_| end(shards, id))?;
        let until = taken.mark;
        let journal = Journal {
            id,
            backup: name.to_owned(),
            store: taken.info.store,
            created_micros: taken.info.created_micros,
            shards: shards.to_vec(),
            marks: Mutex::new(vec![until.clone()]),
            shipping: Mutex::new(Shipping {
                number: 0,
                until,
                listed_micros: i64::MIN,
                waiting: None,
                ended: false,
            }),
        };
        Ok((taken.summary, journal))
    }

    /// The backup it belongs to.
    pub fn backup(&self) -> &str {
        &self.backup
    }

    /// Whether it has ended, or the shards could not keep what it has not sent: then a new backup begins a new one.
    pub fn is_broken(&self) -> bool {
        self.shards.iter().any(|shard| !shard.keep.lock().goes_on(self.id))
    }

    /// Bytes of log files that are on the medium for journals alone.
    pub fn kept_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.keep.lock().bytes()).sum()
    }

    /// Notes a moment that can be gone back to once it is shipped. May wait for a sync of the log.
    pub fn mark(&self) {
        let mut marks = self.marks.lock();
        push(&mut marks, Mark::now(&self.shards));
    }

    /// Sends what was logged since the last shipment, and marks this moment. `beside` may add files that belong to it,
    /// which replace those of the backup; it is asked after the logs were looked at. `None`, once, where the journal
    /// turns out to be broken; after that, and after its end, nothing is sent. Blocking; after an error, call it again.
    ///
    /// # Errors
    /// `Io`, `Full`: whatever the repository or the disk says; or the error of `beside`.
    pub fn ship(&self, repository: &dyn Vault, beside: Beside<'_>) -> Result<Option<Shipped>> {
        let mut shipping = self.shipping.lock();
        self.ship_as(&mut shipping, repository, beside)
    }

    /// Ships what is left, and ends the journal, whatever comes of it.
    ///
    /// # Errors
    /// As [`ship`](Self::ship).
    pub fn finish(&self, repository: &dyn Vault, beside: Beside<'_>) -> Result<Option<Shipped>> {
        // Whoever waits to ship meanwhile finds it ended.
        let mut shipping = self.shipping.lock();
        let mut shipped = self.ship_as(&mut shipping, repository, beside);
        if let Ok(Some(first)) = shipped
            && shipping.until.logs != Mark::now(&self.shards).logs
        {
            // It was one that had waited.
            let last = self.ship_as(&mut shipping, repository, beside);
            shipped = last.map(|last| last.map(|last| last.after(first)));
        }
        (shipping.waiting, shipping.ended) = (None, true);
        end(&self.shards, self.id);
        shipped
    }

    fn ship_as(
        &self,
        shipping: &mut Shipping,
        repository: &dyn Vault,
        beside: Beside<'_>,
    ) -> Result<Option<Shipped>> {
        if shipping.ended {
            return Ok(Some(Shipped { until_micros: shipping.until.micros, ..Shipped::default() }));
        }
        // A broken journal sends nothing more, not even what waits.
        if shipping.waiting.is_none() || self.is_broken() {
            let Some(next) = self.next(shipping, beside)? else {
                (shipping.waiting, shipping.ended) = (None, true);
                return Ok(None);
            };
            let now = next.listing.marks.last().map_or(i64::MIN, |mark| mark.micros);
            let is_new = !next.files.is_empty() || shipping.number == 0;
            if !is_new && now.saturating_sub(shipping.listed_micros) < SILENCE_MICROS {
                return Ok(Some(Shipped { until_micros: now, ..Shipped::default() }));
            }
            shipping.waiting = Some(next);
        }
        let Some(waiting) = &mut shipping.waiting else { return Ok(None) };
        while let Some((name, content)) = waiting.files.get(waiting.arrived) {
            put(repository, name, content)?;
            waiting.arrived += 1;
        }
        waiting.listing.write(repository, &self.backup)?;
        let arrived = shipping.waiting.take();
        Ok(arrived.map(|shipment| self.settle(shipping, &shipment)))
    }

    /// Makes the next shipment: everything up to a mark of now. `None` where the journal is broken.
    fn next(&self, shipping: &Shipping, beside: Beside<'_>) -> Result<Option<Shipment>> {
        let number = shipping.number + 1;
        let marks = {
            let mut marks = self.marks.lock();
            // Looked at under the lock, as all are: marks are in order.
            push(&mut marks, Mark::now(&self.shards));
            marks.clone()
        };
        let closing = marks.last().expect("one was just added").logs.clone();
        let mut listing = Listing {
            number,
            store: self.store,
            created_micros: self.created_micros,
            marks,
            ..Listing::default()
        };
        let mut files = Vec::new();
        for (shard, to) in self.shards.iter().zip(closing) {
            let Some(pieces) = keep::pieces(shard, self.id, to)? else { return Ok(None) };
            for piece in pieces {
                let name = format!("{:04}-{}-{}.wll", shard.id.0, piece.first.0, piece.offset);
                let file = Listed::new(name, &piece.content);
                files.push((piece_name(&self.backup, number, &file.name), piece.content));
                listing.pieces.push(ListedPiece {
                    shard: shard.id.0,
                    first: piece.first,
                    offset: piece.offset,
                    file,
                });
            }
        }
        // After the logs, so that everything the data refers to is in it.
        beside(&mut |name, content| {
            check_name(name)?;
            files.push((piece_name(&self.backup, number, name), content.clone()));
            listing.files.push(Listed::new(name.to_owned(), &content));
            Ok(())
        })?;
        Ok(Some(Shipment { listing, files, arrived: 0 }))
    }

    /// Takes note that `shipment` has arrived.
    fn settle(&self, shipping: &mut Shipping, shipment: &Shipment) -> Shipped {
        let until = shipment.listing.marks.last().cloned().unwrap_or_else(|| shipping.until.clone());
        for (shard, to) in self.shards.iter().zip(&until.logs) {
            shard.keep.lock().advance(self.id, *to);
        }
        // The last one stays: the next ones are compared with it, and the next list begins with it.
        let mut marks = self.marks.lock();
        marks.retain(|mark| mark.is_after(&until));
        marks.insert(0, until.clone());
        drop(marks);
        let bytes = shipment.files.iter().map(|(_, content)| content.len() as u64).sum();
        shipping.number = shipment.listing.number;
        shipping.listed_micros = until.micros;
        shipping.until = until;
        Shipped { until_micros: shipping.until.micros, files: shipment.files.len() as u64 + 1, bytes }
    }
}

/// Lets the shards forget journal `id`.
fn end(shards: &[Arc<Shard>], id: u64) {
    shards.iter().for_each(|shard| shard.keep.lock().end(id));
}

impl Drop for Journal {
    fn drop(&mut self) {
        end(&self.shards, self.id);
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("id", &self.id).field("backup", &self.backup).finish_non_exhaustive()
    }
}

impl Shipped {
    /// This one, sent after `first`.
    fn after(self, first: Shipped) -> Shipped {
        Shipped {
            until_micros: self.until_micros,
            files: self.files + first.files,
            bytes: self.bytes + first.bytes,
        }
    }
}

impl Mark {
    /// How far the logs of `shards` are. The clock is asked last: what is in them is not newer.
    pub(super) fn now(shards: &[Arc<Shard>]) -> Mark {
        let logs = shards.iter().map(|shard| shard.log.lock().end()).collect();
        let micros = shards.first().map_or(0, |shard| shard.world.clock.now_micros());
        Mark { micros, logs }
    }

    /// Whether something was logged between `other` and this one. Logs only grow.
    fn is_after(&self, other: &Mark) -> bool {
        self.logs != other.logs && self.logs.iter().zip(&other.logs).all(|(log, before)| log >= before)
    }
}

/// Adds a mark. Where the clock was put back, time stands still until it has come up again: order matters more. Of marks
/// of the same logs, the first and the last stay.
fn push(marks: &mut Vec<Mark>, mut mark: Mark) {
    if let Some(last) = marks.last() {
        mark.micros = mark.micros.max(last.micros);
    }
    match &mut marks[..] {
        [.., before, last] if before.logs == mark.logs && last.logs == mark.logs => last.micros = mark.micros,
        _ => marks.push(mark),
    }
    if marks.len() > MARKS_MAX {
        // Not the last one, which a shipment may be about to end with.
        let len = marks.len();
        let mut i = 0;
        marks.retain(|_| {
            i += 1;
            i % 2 == 0 || i == len
        });
    }
}
