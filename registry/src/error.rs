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

/// A rule that was broken, where a protocol has a number of its own for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// There is no such tree.
    NoTree,
    /// The parent is not in the tree.
    NoParent,
    /// The asset is not in the tree.
    NoNode,
    /// The asset is in the tree already.
    InTree,
    /// The root of a tree is neither moved nor removed.
    Root,
    /// A node with others below it is not removed.
    HasChildren,
    /// A branch cannot hang below itself.
    Descendant,
    /// A tree has too many layers.
    Layers,
    /// An organization has too many trees.
    TreesMax,
    /// The device key is taken.
    DeviceKey,
    /// The product has too many devices.
    DevicesMax,
    /// Attributes are not as the model defines them.
    Attributes,
}

/// Something the registry could not do.
///
/// Reads `item: field: reason`, for example `model turbine: point power: dataType is DOUBLE and cannot become INT`.
/// Secrets never appear in it.
#[derive(Debug)]
pub struct Error(Box<Detail>);

#[derive(Debug)]
struct Detail {
    kind: ErrorKind,
    item: String,
    field: Option<String>,
    reason: String,
    rule: Option<Rule>,
    medium_failed: bool,
    source: Option<rusqlite::Error>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.item)?;
        if let Some(field) = &self.0.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.0.reason)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What it is about, for example `device pk1/wt-09`.
    pub fn item(&self) -> &str {
        &self.0.item
    }

    /// The field at fault, where there is one.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The rule that was broken, where protocols tell it apart.
    pub fn rule(&self) -> Option<Rule> {
        self.0.rule
    }

    /// The same error, telling the rule that was broken.
    pub(crate) fn under(mut self, rule: Rule) -> Error {
        self.0.rule = Some(rule);
        self
    }

    /// Whether the medium failed under a write: nothing is known about what it holds, so no further change may be
    /// accepted.
    pub(crate) fn medium_failed(&self) -> bool {
        self.0.medium_failed
    }

    pub(crate) fn new(kind: ErrorKind, item: impl Into<String>, reason: impl Into<String>) -> Error {
        let (item, reason) = (item.into(), reason.into());
        Error(Box::new(Detail {
            kind,
            item,
            field: None,
            reason,
            rule: None,
            medium_failed: false,
            source: None,
        }))
    }

    fn with_field(mut self, field: &str) -> Error {
        self.0.field = Some(field.to_owned());
        self
    }

    pub(crate) fn input(item: impl Into<String>, field: &str, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Input, item, reason).with_field(field)
    }

    pub(crate) fn conflict(item: impl Into<String>, field: &str, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Conflict, item, reason).with_field(field)
    }

    pub(crate) fn not_found(item: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, item, "does not exist")
    }

    pub(crate) fn bug(item: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Bug, item, reason)
    }

    /// A row that no release writes.
    pub(crate) fn damaged(table: &str, row: i64, field: &str, reason: impl Into<String>) -> Error {
        let item = format!("registry table {table} row {row}");
        Error::new(ErrorKind::Damaged, item, reason).with_field(field)
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
        let mut made = Error::new(kind, "registry", reason).with_field(act);
        made.0.medium_failed = matches!(code, Some(Code::SystemIoFailure | Code::DatabaseCorrupt));
        made.0.source = Some(error);
        made
    }

    /// The same error, naming the file it was found in.
    pub(crate) fn in_file(mut self, path: &Path) -> Error {
        if let Some(rest) = self.0.item.strip_prefix("registry").filter(|rest| !rest.starts_with(" file")) {
            self.0.item = format!("registry {}{rest}", path.display());
        }
        self
    }

    /// The same error, said about a more precise item.
    pub(crate) fn about(mut self, item: impl Into<String>) -> Error {
        self.0.item = item.into();
        self
    }
}
