//! The error of this crate.
//!
//! Owns: what went wrong, what the caller should do, and the code and text of it in each version of the API
//! (data service §1.8). Does not own: HTTP's status codes.

use std::fmt;

use crate::params::Version;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Give the parameter that is missing.
    Required,
    /// Fix the parameter named.
    Invalid,
    /// Name an access key that exists.
    AccessKey,
    /// None of the assets is the caller's.
    Unauthorized,
    /// The model is not the caller's, or does not exist.
    ModelDenied,
    /// Name another thing: there is none of that name.
    NotFound,
    /// Ask for less: the answer would be too large.
    TooLarge,
    /// Ask again later, or for less: it was stopped, as it ran too long or the server is ending.
    Stopped,
    /// Report it, or see to the disk.
    Internal,
}

/// Something the data service could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    /// The number that the rule which was broken has in the API, where it has one of its own.
    number: Option<u32>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), number: None }
    }

    pub(crate) fn numbered(mut self, number: Option<u32>) -> Error {
        self.number = number;
        self
    }

    pub(crate) fn number(&self) -> Option<u32> {
        self.number
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn required(name: &str) -> Error {
        Error::new(ErrorKind::Required, format!("{name} is required"))
    }

    pub(crate) fn unauthorized() -> Error {
        Error::new(ErrorKind::Unauthorized, "All asset authentication failed")
    }

    /// Something that is not the caller's fault.
    pub fn internal(message: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Internal, message.to_string())
    }

    /// The request contradicts what exists.
    pub fn rejected(message: impl Into<String>) -> Error {
        Error::invalid(message)
    }

    /// It was stopped before its end.
    pub fn stopped(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Stopped, message)
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The code of the API: `status` of v2.0, `code` of v2.1.
    pub fn code(&self, version: Version) -> u32 {
        match (version, self.kind) {
            (
                Version::V20,
                ErrorKind::Required | ErrorKind::AccessKey | ErrorKind::Unauthorized | ErrorKind::ModelDenied,
            ) => 400,
            (Version::V20, ErrorKind::Invalid | ErrorKind::NotFound) => 702,
            (Version::V20, ErrorKind::TooLarge) => 430,
            (Version::V20, ErrorKind::Stopped | ErrorKind::Internal) => 701,
            (Version::V21, ErrorKind::Unauthorized | ErrorKind::ModelDenied) => 80_401,
            (Version::V21, ErrorKind::Stopped | ErrorKind::Internal) => 80_500,
            (Version::V21, _) => 80_400,
        }
    }

    /// `msg` and `submsg` of the envelope: v2.1 has a fixed text for each code, v2.0 the reason itself.
    pub(crate) fn texts(&self, version: Version) -> (&str, Option<&str>) {
        let fixed = match (version, self.code(version)) {
            (Version::V20, _) => return (&self.message, None),
            (Version::V21, 80_400) => "Invalid param error",
            (Version::V21, 80_401) => "Asset unauthorized",
            (Version::V21, _) => "Internal server error",
        };
        (fixed, Some(&self.message))
    }
}

impl From<wattline_storage::Error> for Error {
    fn from(error: wattline_storage::Error) -> Error {
        Error::internal(error)
    }
}

impl From<wattline_registry::Error> for Error {
    fn from(error: wattline_registry::Error) -> Error {
        use wattline_registry::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound | Kind::Conflict | Kind::Input => Error::invalid(error.to_string()),
            Kind::Io | Kind::Damaged | Kind::Bug => Error::internal(error),
        }
    }
}

impl From<wattline_series::Error> for Error {
    fn from(error: wattline_series::Error) -> Error {
        Error::invalid(error.to_string())
    }
}
