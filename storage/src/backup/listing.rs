//! The list of one shipment of a journal: marks, pieces of logs, files beside. Text with a checksum, like the list of a
//! backup.

use std::fmt::Write as _;

use wattline_model::Seqno;

use super::sealed::{self, Listed, seal, unseal};
use super::{Vault, listing_name, put};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Position;

const FIRST_LINE: &str = "wattline journal 1";

/// A moment that can be brought back: how far the log of each shard was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Noted after the logs were looked at: nothing before these positions is newer.
    pub(super) micros: i64,
    /// By shard.
    pub(super) logs: Vec<Position>,
}

/// A part of a log file, in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedPiece {
    pub(super) shard: u32,
    pub(super) first: Seqno,
    pub(super) offset: u64,
    pub(super) file: Listed,
}

/// What one shipment consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Counted from 1 within the journal.
    pub(super) number: u64,
    /// Store and beginning of the backup whose journal it is: a name can be given twice.
    pub(super) store: u64,
    pub(super) created_micros: i64,
    /// Oldest first; never empty.
    pub(super) marks: Vec<Mark>,
    pub(super) pieces: Vec<ListedPiece>,
    /// Files beside the store, which replace earlier ones of their names.
    pub(super) files: Vec<Listed>,
}

impl Listing {
    pub(super) fn read(repository: &dyn Vault, backup: &str, number: u64) -> Result<Listing> {
        let file = listing_name(backup, number);
        let absent = || {
            let what = format!("{repository}/{file}: it belongs to the journal and is not there");
            Error::new(ErrorKind::Damaged, what)
        };
        sealed::read(repository, &file, absent, |text| {
            let listing = Listing::parse(text)?;
            if listing.number != number {
                return Err(format!("it is number {}", listing.number));
            }
            Ok(listing)
        })
    }

    pub(super) fn write(&self, repository: &dyn Vault, backup: &str) -> Result<()> {
        put(repository, &listing_name(backup, self.number), &self.text().into())
    }

    fn text(&self) -> String {
        let mut text = FIRST_LINE.to_owned();
        let _ = write!(
            text,
            "\nnumber {}\nstore {}\ncreated_micros {}\n",
            self.number, self.store, self.created_micros
        );
        for mark in &self.marks {
            let _ = write!(text, "mark {}", mark.micros);
            for log in &mark.logs {
                let _ = write!(text, " {}:{}", log.first.0, log.bytes);
            }
            text.push('\n');
        }
        for piece in &self.pieces {
            piece.file.put(&mut text, &format!("piece {} {} {}", piece.shard, piece.first.0, piece.offset));
        }
        self.files.iter().for_each(|listed| listed.put(&mut text, "file"));
        seal(text)
    }

    fn parse(text: &str) -> std::result::Result<Listing, String> {
        let mut lines = unseal(text)?.lines();
        let first = lines.next().unwrap_or_default();
        if first != FIRST_LINE {
            return Err(format!("expected {FIRST_LINE:?}, found {first:?}"));
        }
        let mut listing = Listing::default();
        for line in lines {
            listing.line(line).ok_or_else(|| format!("line {line:?} is not understood"))?;
        }
        if listing.marks.is_empty() || !listing.marks.is_sorted_by_key(|mark| mark.micros) {
            return Err("its marks are missing or not in order".to_owned());
        }
        Ok(listing)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "number" => self.number = rest.parse().ok()?,
            "store" => self.store = rest.parse().ok()?,
            "created_micros" => self.created_micros = rest.parse().ok()?,
            "mark" => {
                let mut fields = rest.split(' ');
                let micros = fields.next()?.parse().ok()?;
                let logs = fields.map(position).collect::<Option<_>>()?;
                self.marks.push(Mark { micros, logs });
            }
            "piece" => {
                let mut fields = rest.splitn(4, ' ');
                let shard = fields.next()?.parse().ok()?;
                let first = Seqno(fields.next()?.parse().ok()?);
                let offset = fields.next()?.parse().ok()?;
                let file = Listed::parse(fields.next()?)?;
                self.pieces.push(ListedPiece { shard, first, offset, file });
            }
            "file" => self.files.push(Listed::parse(rest)?),
            _ => return None,
        }
        Some(())
    }
}

fn position(text: &str) -> Option<Position> {
    let (first, bytes) = text.split_once(':')?;
    Some(Position { first: Seqno(first.parse().ok()?), bytes: bytes.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_come_back_and_changed_ones_do_not() {
        let at = |first, bytes| Position { first: Seqno(first), bytes };
        let file = |name: &str| Listed { name: name.to_owned(), bytes: 15, checksum: 0xAB };
        let listing = Listing {
            number: 7,
            store: u64::MAX,
            created_micros: -3,
            marks: vec![
                Mark { micros: -1, logs: vec![at(1, 40), at(1, 300)] },
                Mark { micros: 1_000_000, logs: vec![at(9, 40), at(1, 900)] },
            ],
            pieces: vec![ListedPiece { shard: 1, first: Seqno(1), offset: 300, file: file("1-1-300.wll") }],
            files: vec![file("registry.db")],
        };
        let text = listing.text();
        assert_eq!(Listing::parse(&text), Ok(listing.clone()));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).expect("a bit of ASCII was turned over");
            let same = changed.trim_end() == text.trim_end();
            assert!(same || Listing::parse(&changed).is_err(), "byte {at}");
            assert!(at + 1 == text.len() || Listing::parse(&text[..at]).is_err(), "cut at {at}");
        }
        let unsorted = Listing { marks: listing.marks.iter().rev().cloned().collect(), ..listing.clone() };
        assert!(Listing::parse(&unsorted.text()).is_err());
        assert!(Listing::parse(&Listing { marks: Vec::new(), ..listing }.text()).is_err());
    }
}
