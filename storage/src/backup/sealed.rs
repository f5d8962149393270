//! Text whose last line is a checksum of the lines before: the form of every list in a repository.

use std::fmt::Write as _;

use bytes::Bytes;
use wattline_format::frame::checksum;

use super::Vault;
use crate::error::{Error, ErrorKind, Result};

/// `text` with its checksum behind it.
pub(super) fn seal(mut text: String) -> String {
    let sum = checksum(text.as_bytes());
    let _ = writeln!(text, "end {sum:016x}");
    text
}

/// The lines before the checksum, which is right.
pub(super) fn unseal(text: &str) -> std::result::Result<&str, String> {
    let body_len = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
    let (body, end) = text.split_at(body_len);
    let sum = end.trim_end().strip_prefix("end ").and_then(|sum| u64::from_str_radix(sum, 16).ok());
    if sum != Some(checksum(body.as_bytes())) {
        return Err("its last line does not fit the lines before".to_owned());
    }
    Ok(body)
}

/// Reads the list `file`; `absent` makes the error where there is none.
pub(super) fn read<T>(
    repository: &dyn Vault,
    file: &str,
    absent: impl FnOnce() -> Error,
    parse: impl FnOnce(&str) -> std::result::Result<T, String>,
) -> Result<T> {
    let bytes: Bytes = repository.get(file).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => absent(),
        _ => Error::io(format_args!("read {repository}/{file}"), &e),
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is not text".to_owned());
    text.and_then(parse)
        .map_err(|what| Error::new(ErrorKind::Damaged, format!("{repository}/{file}: {what}")))
}

/// A file in a list: its length, its checksum, its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its path within the folder the list is about.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Of the whole file; for a segment, of its footer, which stands for the whole.
    pub(crate) checksum: u64,
}

impl Listed {
    /// The file `name` with this content.
    pub(super) fn new(name: String, content: &[u8]) -> Listed {
        Listed { name, bytes: content.len() as u64, checksum: checksum(content) }
    }

    /// Its line, behind the word that says what it is.
    pub(super) fn put(&self, text: &mut String, word: &str) {
        let _ = writeln!(text, "{word} {} {:016x} {}", self.bytes, self.checksum, self.name);
    }

    /// What stands behind that word.
    pub(super) fn parse(rest: &str) -> Option<Listed> {
        let mut fields = rest.splitn(3, ' ');
        let bytes = fields.next()?.parse().ok()?;
        let checksum = u64::from_str_radix(fields.next()?, 16).ok()?;
        let name = fields.next()?.to_owned();
        // A path that leads out of the folder was not written by us.
        let leads_out = name.split('/').any(|part| part.is_empty() || part == "..") || name.contains('\\');
        (!leads_out).then_some(Listed { name, bytes, checksum })
    }
}
