//! What can go wrong with a series, told by what the caller should do about it.

use std::fmt;

use wattline_model::Timestamp;

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Change the argument that the message names.
    Input,
    /// Bring samples in the order of time, or through a [`crate::Gathered`].
    Order,
    /// Ask for less.
    Limit,
}

/// Why a function has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    pub(crate) fn input(message: impl Into<String>) -> Error {
        Error { kind: ErrorKind::Input, message: message.into() }
    }

    pub(crate) fn limit(message: impl Into<String>) -> Error {
        Error { kind: ErrorKind::Limit, message: message.into() }
    }

    pub(crate) fn order(time: Timestamp, last: Timestamp) -> Error {
        let message = format!("a sample at {time} does not come after the one at {last}");
        Error { kind: ErrorKind::Order, message }
    }

    pub(crate) fn range() -> Error {
        Error::input("a time is outside of the years -9999 to 9999")
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
