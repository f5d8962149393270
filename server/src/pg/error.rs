//! What goes wrong, as PostgreSQL says it: SQLSTATE, message, place, hint.
//!
//! Owns: [`PgError`] and which SQLSTATE the kinds of the query engine are. Does not own: bytes (`backend`).

use std::fmt;

use wattline_query::ErrorKind;

/// A five-character code that programs tell errors by.
pub type SqlState = &'static str;

/// The codes in use here; <https://www.postgresql.org/docs/current/errcodes-appendix.html> has them all.
pub mod state {
    use super::SqlState;

    /// Data of COPY that are no rows of the table.
    pub const BAD_COPY: SqlState = "22P04";
    /// Bytes that are no text.
    pub const BAD_TEXT_BYTES: SqlState = "22021";
    /// A message that does not follow the protocol.
    pub const PROTOCOL: SqlState = "08P01";
    /// A feature that is not there.
    pub const UNSUPPORTED: SqlState = "0A000";
    /// A value that its type cannot hold.
    pub const OUT_OF_RANGE: SqlState = "22003";
    /// Division by zero.
    pub const DIVISION_BY_ZERO: SqlState = "22012";
    /// A setting's value is none of its values.
    pub const INVALID_VALUE: SqlState = "22023";
    /// A text that is no value of its type.
    pub const INVALID_TEXT: SqlState = "22P02";
    /// Bytes that are no value of their type.
    pub const INVALID_BINARY: SqlState = "22P03";
    /// After an error, until the transaction ends.
    pub const FAILED_TRANSACTION: SqlState = "25P02";
    /// No prepared statement has the name.
    pub const NO_STATEMENT: SqlState = "26000";
    /// The login does not say who.
    pub const INVALID_LOGIN: SqlState = "28000";
    /// The password is wrong, or there is no such account.
    pub const INVALID_PASSWORD: SqlState = "28P01";
    /// No portal or cursor has the name.
    pub const NO_PORTAL: SqlState = "34000";
    /// There is no such database.
    pub const NO_DATABASE: SqlState = "3D000";
    /// Other errors in a statement.
    pub const SYNTAX_OR_ACCESS: SqlState = "42000";
    /// The account has not got the right.
    pub const DENIED: SqlState = "42501";
    /// Syntax.
    pub const SYNTAX: SqlState = "42601";
    /// A column that could be one of several.
    pub const AMBIGUOUS_COLUMN: SqlState = "42702";
    /// No such column.
    pub const NO_COLUMN: SqlState = "42703";
    /// No such setting.
    pub const NO_SETTING: SqlState = "42704";
    /// No such thing of another kind: the same to PostgreSQL.
    pub const NO_OBJECT: SqlState = NO_SETTING;
    /// No such function.
    pub const NO_FUNCTION: SqlState = "42883";
    /// A prepared statement of that name is there.
    pub const DUPLICATE_STATEMENT: SqlState = "42P05";
    /// A cursor of that name is there.
    pub const DUPLICATE_CURSOR: SqlState = "42P03";
    /// No such table.
    pub const NO_TABLE: SqlState = "42P01";
    /// The type of a parameter cannot be told.
    pub const UNKNOWN_TYPE: SqlState = "42P18";
    /// Memory.
    pub const OUT_OF_MEMORY: SqlState = "53200";
    /// As many connections as there may be.
    pub const TOO_MANY_CONNECTIONS: SqlState = "53300";
    /// As many statements as there may be.
    pub const BUSY: SqlState = "53400";
    /// There is no room on the disk.
    pub const DISK_FULL: SqlState = "53100";
    /// A limit of the server.
    pub const LIMIT: SqlState = "54000";
    /// Cancelled, by request or by `statement_timeout`.
    pub const CANCELLED: SqlState = "57014";
    /// The server stops.
    pub const SHUTDOWN: SqlState = "57P01";
    /// The server starts or stops and takes no connections.
    pub const CANNOT_CONNECT: SqlState = "57P03";
    /// The server is wrong.
    pub const BUG: SqlState = "XX000";
    /// What is stored could not be read.
    pub const DAMAGED: SqlState = "XX001";
}

/// An error on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgError {
    /// Whether the connection ends with it.
    pub fatal: bool,
    /// Its SQLSTATE.
    pub state: SqlState,
    /// What is wrong.
    pub message: String,
    /// What might help.
    pub hint: Option<String>,
    /// The character in the text that was sent, from 1.
    pub position: Option<usize>,
    /// Where it happened, if not in the text: `COPY turbine, line 3, column p0`.
    pub context: Option<String>,
}

impl PgError {
    /// An error after which the connection goes on.
    pub fn new(state: SqlState, message: impl Into<String>) -> PgError {
        PgError { fatal: false, state, message: message.into(), hint: None, position: None, context: None }
    }

    /// An error that ends the connection.
    pub fn fatal(state: SqlState, message: impl Into<String>) -> PgError {
        PgError { fatal: true, ..PgError::new(state, message) }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> PgError {
        self.hint = Some(hint.into());
        self
    }

    /// The same with where it happened.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> PgError {
        self.context = Some(context.into());
        self
    }

    /// An error of the engine about a statement that stands in `text` from byte `offset` on.
    pub fn of_query(error: &wattline_query::Error, text: &str, offset: usize) -> PgError {
        let message = error.message();
        let (message, hint) = match message.split_once(", did you mean ") {
            Some((message, near)) => (message, Some(format!("did you mean {near}"))),
            None => (message, None),
        };
        let place = error.position().map(|place| position(text, offset, place.line, place.column));
        PgError { hint, position: place, ..PgError::new(state_of(error.kind(), message), message) }
    }
}

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.state)
    }
}

/// The character, counted from 1 in all of `text`, of a place in its part from `offset` on.
fn position(text: &str, offset: usize, line: u64, column: u64) -> usize {
    let (before, part) = text.split_at_checked(offset).unwrap_or((text, ""));
    let lines_before = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let in_lines_before: usize =
        part.split_inclusive('\n').take(lines_before).map(|line| line.chars().count()).sum();
    before.chars().count() + in_lines_before + usize::try_from(column).unwrap_or(1)
}

fn state_of(kind: ErrorKind, message: &str) -> SqlState {
    match kind {
        ErrorKind::Input => state_of_input(message),
        ErrorKind::Denied => state::DENIED,
        ErrorKind::Busy => state::BUSY,
        ErrorKind::Full => state::DISK_FULL,
        ErrorKind::Limit if message.contains("memory") || message.contains("allocate") => {
            state::OUT_OF_MEMORY
        }
        ErrorKind::Limit => state::LIMIT,
        ErrorKind::Timeout | ErrorKind::Cancelled => state::CANCELLED,
        ErrorKind::Damaged => state::DAMAGED,
        ErrorKind::Bug => state::BUG,
    }
}

/// The engine tells kinds by what to do, which for these is all the same; programs that know PostgreSQL tell more.
fn state_of_input(message: &str) -> SqlState {
    let begins: [(&str, SqlState); 9] = [
        ("there is no running statement", state::NO_OBJECT),
        ("syntax error", state::SYNTAX),
        ("there is no table", state::NO_TABLE),
        ("there is no column", state::NO_COLUMN),
        ("there is no statement", state::SYNTAX),
        ("division by zero", state::DIVISION_BY_ZERO),
        ("divide by zero", state::DIVISION_BY_ZERO),
        ("invalid function", state::NO_FUNCTION),
        ("this feature is not implemented", state::UNSUPPORTED),
    ];
    if let Some((_, state)) = begins.iter().find(|(begin, _)| message.to_lowercase().starts_with(begin)) {
        return state;
    }
    let holds: [(&str, SqlState); 5] = [
        ("is in more than one table", state::AMBIGUOUS_COLUMN),
        ("is not allowed", state::UNSUPPORTED),
        ("Cannot cast string", state::INVALID_TEXT),
        ("cannot cast string", state::INVALID_TEXT),
        ("overflow", state::OUT_OF_RANGE),
    ];
    holds.iter().find(|(part, _)| message.contains(part)).map_or(state::SYNTAX_OR_ACCESS, |&(_, state)| state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_of_all_that_was_sent() {
        // The second statement begins after "sélect 1;", nine characters and ten bytes.
        let text = "sélect 1; select\n  nowhere";
        assert_eq!(position(text, 10, 2, 3), 9 + " select\n".len() + 3);
        assert_eq!(position(text, 0, 1, 1), 1);
        assert_eq!(position("", 7, 9, 9), 9);
    }

    #[test]
    fn states_are_those_that_programs_know() {
        let of = |message| state_of(ErrorKind::Input, message);
        assert_eq!(of("syntax error: expected: an expression"), "42601");
        assert_eq!(of("there is no table turbin"), "42P01");
        assert_eq!(of("there is no column x"), "42703");
        assert_eq!(of("column x is in more than one table, say which: table.x"), "42702");
        assert_eq!(of("something else"), "42000");
    }
}
