//! The list of what a backup consists of: text, one line a file, with a checksum over all of it.

use std::fmt::Write as _;

use wattline_format::frame::checksum;

use super::{Vault, check_name, contents_name, put};
use crate::error::{Error, ErrorKind, Result};

const FIRST_LINE: &str = "wattline backup 1";

/// A complete backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its name.
    pub name: String,
    /// When it was begun, microseconds since the epoch.
    pub created_micros: i64,
    /// The store it is of.
    pub store: u64,
    /// How many shards that has.
    pub shards: u32,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its path within the backup's folder; for a segment, its name in the folder of segments.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Of the whole file; for a segment, of its footer, which stands for the whole.
    pub(crate) checksum: u64,
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
        let file = contents_name(name);
        let bytes = repository.get(&file).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                let what = format!("there is no complete backup {name:?} in {repository}");
                Error::new(ErrorKind::Input, what)
            }
            _ => Error::io(format_args!("read {repository}/{file}"), &e),
        })?;
        let damaged = |what: &str| Error::new(ErrorKind::Damaged, format!("{repository}/{file}: {what}"));
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
        Contents::parse(name, text).map_err(|what| damaged(&what))
    }

    pub(crate) fn write(&self, repository: &dyn Vault) -> Result<()> {
        put(repository, &contents_name(&self.info.name), &self.text().into())
    }

    fn text(&self) -> String {
        let info = &self.info;
        let mut text = format!(
            "{FIRST_LINE}\ncreated_micros {}\nstore {}\nshards {}\n",
            info.created_micros, info.store, info.shards
        );
        for (kind, list) in [("file", &self.files), ("segment", &self.segments)] {
            for listed in list {
                let _ = writeln!(text, "{kind} {} {:016x} {}", listed.bytes, listed.checksum, listed.name);
            }
        }
        let sum = checksum(text.as_bytes());
        let _ = writeln!(text, "end {sum:016x}");
        text
    }

    fn parse(name: &str, text: &str) -> std::result::Result<Contents, String> {
        let body_len = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
        let (body, end) = text.split_at(body_len);
        let sum = end.trim_end().strip_prefix("end ").and_then(|sum| u64::from_str_radix(sum, 16).ok());
        if sum != Some(checksum(body.as_bytes())) {
            return Err("its last line does not fit the lines before".to_owned());
        }
        let mut lines = body.lines();
        let first = lines.next().unwrap_or_default();
        if first != FIRST_LINE {
            return Err(format!("expected {FIRST_LINE:?}, found {first:?}"));
        }
        let info = BackupInfo { name: name.to_owned(), created_micros: 0, store: 0, shards: 0, bytes: 0 };
        let mut contents = Contents { info, files: Vec::new(), segments: Vec::new() };
        for line in lines {
            contents.line(line).ok_or_else(|| format!("line {line:?} is not understood"))?;
        }
        let all = contents.files.iter().chain(&contents.segments);
        contents.info.bytes = all.map(|listed| listed.bytes).sum();
        Ok(contents)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "created_micros" => self.info.created_micros = rest.parse().ok()?,
            "store" => self.info.store = rest.parse().ok()?,
            "shards" => self.info.shards = rest.parse().ok()?,
            "file" | "segment" => {
                let mut fields = rest.splitn(3, ' ');
                let bytes = fields.next()?.parse().ok()?;
                let checksum = u64::from_str_radix(fields.next()?, 16).ok()?;
                let name = fields.next()?.to_owned();
                // A path that leads out of the folder was not written by a backup.
                if name.split('/').any(|part| part.is_empty() || part == "..") || name.contains('\\') {
                    return None;
                }
                let list = if word == "file" { &mut self.files } else { &mut self.segments };
                list.push(Listed { name, bytes, checksum });
            }
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
        let info =
            BackupInfo { name: "a".to_owned(), created_micros: -5, store: u64::MAX, shards: 3, bytes: 30 };
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
        let outside = "wattline backup 1\nfile 1 00 ../../etc/passwd\n";
        let outside = format!("{outside}end {:016x}\n", checksum(outside.as_bytes()));
        assert!(Contents::parse("a", &outside).is_err());
    }
}
