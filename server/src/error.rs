//! The one error of the binary: what went wrong, in words, and which exit code says so.

use std::fmt;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What the person at the terminal should do about an [`Error`]; each kind is an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The operation was tried and did not succeed: the message says why.
    Failed,
    /// Fix the command line or the settings.
    Usage,
    /// Start the server, or name the right one; or free the address.
    Unreachable,
    /// Another process has the data directory.
    InUse,
    /// Look at the named file: its content is not what was written.
    Damaged,
    /// Look at what was refused; the rest is done.
    Partly,
    /// Stopped by the user.
    Interrupted,
}

/// Why something could not be done.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// The operation did not succeed.
    pub fn failed(message: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Failed, message.to_string())
    }

    /// The command line or the settings are wrong.
    pub fn usage(message: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Usage, message.to_string())
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The exit code of the process: 1 failed, 2 usage, 3 unreachable or partly, 4 in use, 5 damaged, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Failed => 1,
            ErrorKind::Usage => 2,
            // An import says "failed" where the server is away, so that 3 has one meaning in each command.
            ErrorKind::Unreachable | ErrorKind::Partly => 3,
            ErrorKind::InUse => 4,
            ErrorKind::Damaged => 5,
            ErrorKind::Interrupted => 130,
        }
    }

    /// The same error with `context` before its message.
    #[must_use]
    pub fn within(self, context: impl fmt::Display) -> Error {
        Error { kind: self.kind, message: format!("{context}: {}", self.message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<wattline_storage::Error> for Error {
    fn from(error: wattline_storage::Error) -> Error {
        use wattline_storage::ErrorKind as Storage;
        let kind = match error.kind() {
            Storage::Damaged => ErrorKind::Damaged,
            Storage::Input => ErrorKind::Usage,
            Storage::Busy | Storage::Full | Storage::Io | Storage::Closed | Storage::Bug => ErrorKind::Failed,
        };
        Error::new(kind, error.to_string())
    }
}
