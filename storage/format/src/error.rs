//! What can be wrong with bytes.
//!
//! Owns: the one error type of this crate. Does not own: what to do about it (`storage` fences the file off).

use std::fmt;

/// What the caller should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes are not what was written: fence the file off and say so.
    Damaged,
    /// The bytes are whole and of a format version (or with a codec) this build does not know: use a newer build.
    Unsupported,
    /// The bytes ask for more than a limit of this build allows.
    Limit,
}

/// Bytes that cannot be decoded: which file, where, what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    file: String,
    offset: u64,
    what: String,
}

impl Error {
    /// An error of `kind` at byte `offset` of `file`; `what` reads "expected X, found Y".
    pub fn new(kind: ErrorKind, file: &str, offset: u64, what: impl Into<String>) -> Error {
        Error { kind, file: file.to_owned(), offset, what: what.into() }
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file, as it was named to the decoder.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The byte in the file where decoding stopped.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What was expected and what was found.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}: at offset {}: {}", self.file, self.offset, self.what)
    }
}

impl std::error::Error for Error {}
