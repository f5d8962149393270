//! The one error of this crate. Its kind says what the caller should do.

use std::fmt;
use std::io;

use wattline_format as format;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later: a bounded queue is full.
    Busy,
    /// Fix the request: the batch or the setting is wrong.
    Input,
    /// Look at the named file: its content is not what was written.
    Damaged,
    /// Make room: the disk is full. Writing resumes by itself once there is some.
    Full,
    /// The medium failed; the shard takes no more writes until the store is opened again.
    Io,
    /// The store was closed.
    Closed,
    /// Report it: an invariant of this crate does not hold.
    Bug,
}

/// Why something could not be done.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of this kind; the message names the item and the reason.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// An IO error while doing `what`, with its kind told apart.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                ErrorKind::Full
            }
            io::ErrorKind::WouldBlock => ErrorKind::Busy,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("{what}: {error}"))
    }

    pub(crate) fn closed() -> Error {
        Error::new(ErrorKind::Closed, "the store is closed")
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error with `context` before its message.
    pub(crate) fn within(self, context: impl fmt::Display) -> Error {
        Error { kind: self.kind, message: format!("{context}: {}", self.message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<format::Error> for Error {
    fn from(error: format::Error) -> Error {
        // Only decoders fail, so a limit that is passed was passed by the bytes of a file.
        let kind = match error.kind() {
            format::ErrorKind::Damaged | format::ErrorKind::Unsupported | format::ErrorKind::Limit => {
                ErrorKind::Damaged
            }
        };
        Error::new(kind, error.to_string())
    }
}
