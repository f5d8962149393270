//! The list of what a backup consists of: text, one line a file, with a checksum over all of it.

use std::fmt::Write as _;

use super::sealed::{self, Listed, seal, unseal};
use super::{Vault, check_name, contents_name, put};
use crate::error::{Error, ErrorKind, Result};

/// What a list begins with, by version: the first did not say when the backup was finished.
const FIRST_LINES: [&str; 2] = ["wattline backup 1", "wattline backup 2"];

/// A complete backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its name.
    pub name: String,
    /// When it was begun, microseconds since the epoch.
    pub created_micros: i64,
    /// When it was finished: nothing in it is newer. Of a backup that does not say, when it was begun.
    pub finished_micros: i64,
    /// Up to when its journal reaches, where it has one.
    pub reaches_micros: Option<i64>,
    /// The store it is of.
    pub store: u64,
    /// How many shards that has.
    pub shards: u32,
    /// Bytes of all its files, without those of its journal.
    pub bytes: u64,
}

impl BackupInfo {
    /// The latest moment at or before `at` that can be brought back from it, give or take the second between two marks
    /// of its journal; `None` where it is newer.
    pub fn reaches(&self, at: i64) -> Option<i64> {
        let newest = self.reaches_micros.unwrap_or(self.created_micros);
        (self.finished_micros <= at).then(|| newest.min(at))
    }
}

/// What a backup consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) info: BackupInfo,
    pub(crate) files: Vec<Listed>,
    pub(crate) segments: Vec<Listed>,
}

impl Contents {
    pub(crate) fn read(repository: &dyn Vault, name: &str) -> Result<Contents> {
        check_name(name)?;
        let absent = || {
            let what = format!("there is no complete backup {name:?} in {repository}");
            Error::new(ErrorKind::Input, what)
        };
        sealed::read(repository, &contents_name(name), absent, |text| Contents::parse(name, text))
    }

    pub(crate) fn write(&self, repository: &dyn Vault) -> Result<()> {
        put(repository, &contents_name(&self.info.name), &self.text().into())
    }

    fn text(&self) -> String {
        let info = &self.info;
        let mut text = FIRST_LINES[1].to_owned();
        let _ = write!(
            text,
            "\ncreated_micros {}\nfinished_micros {}\nstore {}\nshards {}\n",
            info.created_micros, info.finished_micros, info.store, info.shards
        );
        self.files.iter().for_each(|listed| listed.put(&mut text, "file"));
        self.segments.iter().for_each(|listed| listed.put(&mut text, "segment"));
        seal(text)
    }

    fn parse(name: &str, text: &str) -> std::result::Result<Contents, String> {
        let mut lines = unseal(text)?.lines();
        let first = lines.next().unwrap_or_default();
        if !FIRST_LINES.contains(&first) {
            return Err(format!("expected {:?}, found {first:?}", FIRST_LINES[1]));
        }
        let info = BackupInfo {
            name: name.to_owned(),
            created_micros: 0,
            finished_micros: i64::MIN,
            reaches_micros: None,
            store: 0,
            shards: 0,
            bytes: 0,
        };
        let mut contents = Contents { info, files: Vec::new(), segments: Vec::new() };
        for line in lines {
            contents.line(line).ok_or_else(|| format!("line {line:?} is not understood"))?;
        }
        let info = &mut contents.info;
        info.finished_micros = info.finished_micros.max(info.created_micros);
        info.bytes = contents.files.iter().chain(&contents.segments).map(|listed| listed.bytes).sum();
        Ok(contents)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "created_micros" => self.info.created_micros = rest.parse().ok()?,
            "finished_micros" => self.info.finished_micros = rest.parse().ok()?,
            "store" => self.info.store = rest.parse().ok()?,
            "shards" => self.info.shards = rest.parse().ok()?,
            "file" => self.files.push(Listed::parse(rest)?),
            "segment" => self.segments.push(Listed::parse(rest)?),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_come_back_and_changed_ones_do_not() {
        let info = BackupInfo {
            name: "a".to_owned(),
            created_micros: -5,
            finished_micros: 7,
            reaches_micros: None,
            store: u64::MAX,
            shards: 3,
            bytes: 30,
        };
        let listed = |name: &str| Listed { name: name.to_owned(), bytes: 15, checksum: 0xFF };
        let contents = Contents { info, files: vec![listed("shard-0000/a b")], segments: vec![listed("s")] };
        let text = contents.text();
        assert_eq!(Contents::parse("a", &text), Ok(contents));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(other) = String::from_utf8(bytes)
                && other.trim_end() != text.trim_end()
            {
                assert!(Contents::parse("a", &other).is_err(), "byte {at}");
            }
            assert!(at + 1 == text.len() || Contents::parse("a", &text[..at]).is_err(), "cut at {at}");
        }
        let outside = seal("wattline backup 1\nfile 1 00 ../../etc/passwd\n".to_owned());
        assert!(Contents::parse("a", &outside).is_err());
    }

    #[test]
    fn a_backup_of_the_first_version_counts_as_finished_when_it_was_begun() {
        let text = "wattline backup 1\ncreated_micros 5\nstore 9\nshards 2\nfile 3 00000000000000ff a\n";
        let info = Contents::parse("a", &seal(text.to_owned())).unwrap().info;
        assert_eq!((info.created_micros, info.finished_micros, info.bytes), (5, 5, 3));
        assert!(Contents::parse("a", &seal(text.replace("backup 1", "backup 3"))).is_err());
    }

    #[test]
    fn what_a_backup_can_bring_back_lies_between_its_end_and_that_of_its_journal() {
        let mut info =
            Contents::parse("a", &seal("wattline backup 2\ncreated_micros 5\nfinished_micros 8\n".into()))
                .unwrap()
                .info;
        assert_eq!([7, 8, 99].map(|at| info.reaches(at)), [None, Some(5), Some(5)]);
        info.reaches_micros = Some(20);
        assert_eq!([7, 8, 19, 99].map(|at| info.reaches(at)), [None, Some(8), Some(19), Some(20)]);
    }
}
