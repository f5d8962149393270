//! The error of this crate.
//!
//! Owns: what went wrong, in words that name the item, the field and the reason, and a kind that tells the caller
//! what to do. Does not own: status codes of protocols (the server maps kinds to them).

use std::fmt;
use std::path::Path;

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The item named does not exist: create it, or name another.
    NotFound,
    /// It contradicts what exists: choose another key, or leave the existing definition as it is.
    Conflict,
    /// The request itself is wrong: fix it and send it again.
    Input,
    /// The disk or the operating system refused: see to it, then try again.
    Io,
    /// The file holds what no release writes: restore it from a backup.
    Damaged,
    /// A promise inside this crate is broken: report it.
    Bug,
}

/// Something the registry could not do.
///
/// Reads `item: field: reason`, for example `model turbine: point power: dataType is DOUBLE and cannot become INT`.
/// Secrets never appear in it.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    item: String,
    field: Option<String>,
    reason: String,
    /// The medium failed under a write: nothing is known about what it holds, so no further change is accepted.
    pub(crate) medium_failed: bool,
    #[source]
    source: Option<rusqlite::Error>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.item)?;
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What it is about, for example `device pk1/wt-09`.
    pub fn item(&self) -> &str {
        &self.item
    }

    /// The field at fault, where there is one.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn new(kind: ErrorKind, item: impl Into<String>, reason: impl Into<String>) -> Error {
        Error {
            kind,
            item: item.into(),
            field: None,
            reason: reason.into(),
            medium_failed: false,
            source: None,
        }
    }

    pub(crate) fn input(item: impl Into<String>, field: &str, reason: impl Into<String>) -> Error {
        Error { field: Some(field.to_owned()), ..Error::new(ErrorKind::Input, item, reason) }
    }

    pub(crate) fn conflict(item: impl Into<String>, field: &str, reason: impl Into<String>) -> Error {
        Error { field: Some(field.to_owned()), ..Error::new(ErrorKind::Conflict, item, reason) }
    }

    pub(crate) fn not_found(item: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, item, "does not exist")
    }

    pub(crate) fn bug(item: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Bug, item, reason)
    }

    /// A row that no release writes.
    pub(crate) fn damaged(table: &str, row: i64, field: &str, reason: impl Into<String>) -> Error {
        Error {
            field: Some(field.to_owned()),
            ..Error::new(ErrorKind::Damaged, format!("registry table {table} row {row}"), reason)
        }
    }

    /// The operating system refused to `act` on `file`.
    pub(crate) fn io(file: &Path, act: &str, error: &std::io::Error) -> Error {
        Error::new(
            ErrorKind::Io,
            format!("registry file {}", file.display()),
            format!("cannot {act}: {error}"),
        )
    }

    /// SQLite refused to `act`.
    pub(crate) fn sqlite(act: &str, error: rusqlite::Error) -> Error {
        use rusqlite::ErrorCode as Code;
        let code = error.sqlite_error_code();
        let kind = match code {
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => ErrorKind::Damaged,
            Some(Code::ConstraintViolation | Code::TypeMismatch | Code::ApiMisuse | Code::TooBig) => {
                ErrorKind::Bug
            }
            Some(Code::ParameterOutOfRange) => ErrorKind::Bug,
            // An SQL text of ours that does not fit the tables: a column is missing or of another type.
            None | Some(Code::Unknown) => ErrorKind::Damaged,
            Some(_) => ErrorKind::Io,
        };
        let reason = match code {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => "in use by another process".to_owned(),
            // SQLite's own words hold no bound values, so no secret can be in them.
            _ => error.to_string(),
        };
        Error {
            kind,
            item: "registry".to_owned(),
            field: Some(act.to_owned()),
            reason,
            medium_failed: matches!(code, Some(Code::SystemIoFailure | Code::DatabaseCorrupt)),
            source: Some(error),
        }
    }

    /// The same error, said about a more precise item.
    pub(crate) fn about(mut self, item: impl Into<String>) -> Error {
        self.item = item.into();
        self
    }
}
