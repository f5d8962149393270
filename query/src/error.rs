//! What can go wrong with a statement, told by what the caller should do about it.
//!
//! Owns: [`Error`] and the reading of DataFusion's and the parser's errors: kind, message, place in the text, the
//! name that was probably meant. Does not own: status codes (`server` maps kinds once).

use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use wattline_storage::ErrorKind as StorageKind;

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Change the statement or its parameters.
    Input,
    /// Ask for the right to: the account has not got it.
    Denied,
    /// Try again later: too many statements run, or the store is closing.
    Busy,
    /// Ask for less: a limit on memory, rows or the statement's size was passed.
    Limit,
    /// Ask for less or allow more time.
    Timeout,
    /// Nothing: somebody ended the statement.
    Cancelled,
    /// Make room on the disk.
    Full,
    /// Look at the store: what it holds could not be read.
    Damaged,
    /// Report it: the server is wrong.
    Bug,
}

impl ErrorKind {
    /// The name in answers and logs.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorKind::Input => "input",
            ErrorKind::Denied => "denied",
            ErrorKind::Busy => "busy",
            ErrorKind::Limit => "limit",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Full => "full",
            ErrorKind::Damaged => "damaged",
            ErrorKind::Bug => "bug",
        }
    }
}

/// A place in a statement's text, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The character in the line.
    pub column: u64,
}

/// Why a statement has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    position: Option<Position>,
}

impl Error {
    /// An error without a place.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), position: None }
    }

    /// The same at a place.
    pub(crate) fn at(mut self, position: Option<Position>) -> Error {
        self.position = position;
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the statement, if it can be told.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// An error met while a statement was planned: adds the place, and the table that was probably meant.
    pub(crate) fn of_planning(error: &DataFusionError, tables: &dyn Fn() -> Vec<String>) -> Error {
        let mut read = Error::read(error);
        if let Some(name) = missing_table(&read.message) {
            let help =
                nearest(&name, tables()).map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            read = Error::new(ErrorKind::Input, format!("there is no table {name}{help}"));
        }
        let diagnostic = error.diagnostic().or_else(|| error.iter().find_map(DataFusionError::diagnostic));
        if read.position.is_none()
            && let Some(span) = diagnostic.and_then(|d| d.span)
        {
            read.position = Some(Position { line: span.start.line, column: span.start.column });
        }
        read
    }

    /// An error of the store.
    pub fn of_storage(error: &wattline_storage::Error) -> Error {
        let kind = match error.kind() {
            StorageKind::Input => ErrorKind::Input,
            StorageKind::Busy | StorageKind::Closed => ErrorKind::Busy,
            StorageKind::Damaged | StorageKind::Io => ErrorKind::Damaged,
            StorageKind::Full => ErrorKind::Full,
            StorageKind::Bug => ErrorKind::Bug,
        };
        Error::new(kind, error.to_string())
    }

    /// Wrapped, so that it can travel in a stream of record batches. `Error::from` takes it out again.
    pub fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    fn read(error: &DataFusionError) -> Error {
        let root = innermost(error);
        let input = |message: String| Error::new(ErrorKind::Input, tidy(&message));
        match root {
            DataFusionError::SQL(parser, _) => of_parser(&parser.to_string()),
            DataFusionError::SchemaError(schema, _) => input(of_schema(schema)),
            DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
                Some(own) => own.clone(),
                None => Error::new(ErrorKind::Bug, inner.to_string()),
            },
            DataFusionError::ArrowError(arrow, _) => of_arrow(arrow),
            DataFusionError::Plan(text)
            | DataFusionError::Configuration(text)
            | DataFusionError::Execution(text)
            | DataFusionError::NotImplemented(text) => input(text.clone()),
            DataFusionError::ResourcesExhausted(text) => of_resources(text),
            DataFusionError::IoError(io) => of_io(io),
            other => Error::new(ErrorKind::Bug, tidy(&other.to_string())),
        }
    }
}

impl From<DataFusionError> for Error {
    /// Reads an item of a stream that [`crate::Engine::sql`] returned.
    fn from(error: DataFusionError) -> Error {
        Error::read(&error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.position {
            Some(Position { line, column }) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The error behind contexts, diagnostics, shares and collections.
fn innermost(error: &DataFusionError) -> &DataFusionError {
    let mut error = error;
    loop {
        error = match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => inner,
            DataFusionError::Shared(inner) => inner,
            DataFusionError::Collection(all) => match all.first() {
                Some(first) => first,
                None => return error,
            },
            DataFusionError::External(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(inner) => inner,
                None => return error,
            },
            DataFusionError::ArrowError(arrow, _) => match &**arrow {
                ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                    Some(inner) => inner,
                    None => return error,
                },
                _ => return error,
            },
            _ => return error,
        }
    }
}

/// Of memory. Most of it comes from `memory`, and names the setting; where nothing may be put on disk, a sort says
/// only that.
fn of_resources(text: &str) -> Error {
    if text.contains("DiskManager is disabled") {
        let message = "a sort wants more memory than one statement may hold (settings sql.memory_max, memory_budget), \
                       and nothing may be put on disk (setting sql.spill_max)";
        return Error::new(ErrorKind::Limit, message);
    }
    Error::new(ErrorKind::Limit, tidy(text))
}

/// Of the folder that operators spill into; the store reports its files in its own words.
fn of_io(error: &std::io::Error) -> Error {
    let text = error.to_string();
    // How DataFusion says that the folder has reached its size, in words of its own settings.
    if text.contains("max_temp_directory_size") {
        let message = "what statements put on disk for want of memory is as much as may be there (setting \
                       sql.spill_max); ask for less, or allow more memory or disk";
        return Error::new(ErrorKind::Limit, message);
    }
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        _ => ErrorKind::Damaged,
    };
    Error::new(kind, format!("a file that the statement put on disk for want of memory: {text}"))
}

fn of_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<Error>() {
            Some(own) => own.clone(),
            None => Error::new(ErrorKind::Bug, inner.to_string()),
        },
        ArrowError::CastError(text)
        | ArrowError::ParseError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::ArithmeticOverflow(text)
        | ArrowError::NotYetImplemented(text) => Error::new(ErrorKind::Input, tidy(text)),
        ArrowError::DivideByZero => Error::new(ErrorKind::Input, "division by zero"),
        ArrowError::MemoryError(text) => Error::new(ErrorKind::Limit, tidy(text)),
        ArrowError::IoError(_, io) => of_io(io),
        other => Error::new(ErrorKind::Bug, other.to_string()),
    }
}

/// The parser tells the place at the end of its text: "… at Line: 1, Column: 8".
fn of_parser(text: &str) -> Error {
    let text = text.strip_prefix("sql parser error: ").unwrap_or(text);
    let (text, position) = match text.rsplit_once(" at Line: ") {
        Some((before, place)) => match place.split_once(", Column: ") {
            Some((line, column)) => {
                let position = line.trim().parse().ok().zip(column.trim().parse().ok());
                (before, position.map(|(line, column)| Position { line, column }))
            }
            None => (text, None),
        },
        None => (text, None),
    };
    let message = match text {
        "recursion limit exceeded" => "the statement is nested too deeply".to_owned(),
        text => format!("syntax error: {}", tidy(text)),
    };
    Error::new(ErrorKind::Input, message).at(position)
}

fn of_schema(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let near = nearest(&field.name, valid_fields.iter().map(|c| c.name.clone()));
            let help = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            format!("there is no column {}{help}", field.flat_name())
        }
        SchemaError::AmbiguousReference { field } => {
            format!("column {} is in more than one table, say which: table.{}", field.name, field.name)
        }
        other => other.to_string(),
    }
}

/// "table 'catalog.schema.name' not found" → "schema.name" (or just the name, in `public`).
fn missing_table(message: &str) -> Option<String> {
    let full = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    let name = full.strip_prefix("wattline.").unwrap_or(full);
    Some(name.strip_prefix("public.").unwrap_or(name).to_owned())
}

/// First line, no full stop, no capital where the word is an ordinary one, no request to report to others.
fn tidy(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    // What one of our functions says about its arguments is said inside of what DataFusion says about it.
    let line = line.split_once("coercion failed with: ").map_or(line, |(_, own)| own);
    let line = line.strip_prefix("Error during planning: ").unwrap_or(line);
    let line = line.split_once(". No function matches").map_or(line, |(own, _)| own);
    let line = line.strip_suffix('.').unwrap_or(line);
    let mut chars = line.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_ascii_uppercase() && second.is_ascii_lowercase() => {
            format!("{}{}", first.to_ascii_lowercase(), &line[1..])
        }
        _ => line.to_owned(),
    }
}

/// The name nearest to `wanted`, if any is near: at most a quarter of its characters differ, capitals apart.
pub(crate) fn nearest(wanted: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    let wanted = wanted.to_lowercase();
    let far = wanted.chars().count().div_ceil(4);
    names
        .into_iter()
        .map(|name| (distance(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("größe", "grösse", 2)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = || ["turbine", "meter", "assets"].map(str::to_owned);
        assert_eq!(nearest("Turbin", names()), Some("turbine".to_owned()));
        assert_eq!(nearest("metre", names()), Some("meter".to_owned()));
        assert_eq!(nearest("weather_station", names()), None);
    }

    #[test]
    fn the_parsers_place_is_read() {
        let error = of_parser("sql parser error: Expected: an expression, found: EOF at Line: 2, Column: 8");
        assert_eq!(error.position(), Some(Position { line: 2, column: 8 }));
        assert_eq!(error.message(), "syntax error: expected: an expression, found: EOF");
        let error = of_parser("sql parser error: Unterminated string literal at Line: 1, Column: 8");
        assert_eq!(error.position(), Some(Position { line: 1, column: 8 }));
    }

    #[test]
    fn own_errors_come_back_from_a_stream() {
        let own = Error::new(ErrorKind::Timeout, "too slow");
        let wrapped = DataFusionError::Context("c".to_owned(), Box::new(own.clone().into_datafusion()));
        assert_eq!(Error::from(wrapped), own);
        let arrow = ArrowError::ExternalError(Box::new(own.clone()));
        assert_eq!(Error::from(DataFusionError::from(arrow)), own);
    }
}
