//! A statement that was read and, for the engine's, planned once to tell what it wants and gives.
//!
//! Owns: types of parameters and columns before a statement runs. Does not own: running it (`portal`).

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::backend::Column;
use super::command::{Command, command};
use super::copy::Direction;
use super::error::{PgError, state};
use super::frontend::{Format, format_of};
use wattline_query::Caller;

use crate::http::App;
use wattline_query::pg::types::{arrow_of, oid, oid_of};

/// A statement.
#[derive(Debug)]
pub struct Prepared {
    /// Its text.
    pub text: Arc<str>,
    /// What it is.
    pub command: Command,
    /// Types of its parameters.
    pub parameters: Vec<u32>,
    /// Names and types of its columns, where it has any and they are known before it runs.
    pub described: Option<Vec<(String, u32)>>,
    /// What the client sent, and where in it this begins.
    pub sent: (Arc<str>, usize),
}

impl Prepared {
    /// A statement of a simple query, which nobody asks about before it runs.
    ///
    /// # Errors
    /// Where it begins like a statement of the session and does not go on so.
    pub fn simple(text: &str, sent: Arc<str>, offset: usize) -> Result<Prepared, PgError> {
        let command = command(text)?;
        Ok(Prepared {
            text: Arc::from(text),
            command,
            parameters: Vec::new(),
            described: None,
            sent: (sent, offset),
        })
    }

    /// Its columns in the forms of a `Bind`; `None` where it has none.
    pub fn columns(&self, formats: &[Format]) -> Option<Vec<Column>> {
        let described = self.described.as_ref()?;
        let columns = described.iter().enumerate().map(|(i, (name, oid))| Column {
            name: name.clone(),
            oid: *oid,
            // A wrong number of forms is told when the portal runs.
            format: format_of(formats, i, described.len()).unwrap_or(Format::Text),
        });
        Some(columns.collect())
    }
}

impl Command {
    /// Whether it may follow on an error within a transaction.
    pub fn ends_transaction(&self) -> bool {
        matches!(self, Command::Commit | Command::Rollback | Command::Savepoint("ROLLBACK"))
    }
}

/// Reads and plans a statement to prepare; `declared` are the types the client gave.
///
/// # Errors
/// Where it is no statement, or several, or cannot be planned.
pub async fn parse(
    app: Arc<App>,
    caller: Caller,
    text: String,
    declared: Vec<u32>,
) -> Result<Prepared, PgError> {
    let sent: Arc<str> = Arc::from(text);
    let statements = super::lex::statements(&sent);
    let (offset, statement) = match statements[..] {
        [] => (0, ""),
        [one] => one,
        _ => {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(PgError::new(state::SYNTAX, message));
        }
    };
    let mut prepared = Prepared::simple(statement, Arc::clone(&sent), offset)?;
    match &prepared.command {
        Command::Run => {}
        Command::Show(name) => {
            prepared.described = Some(vec![(name.clone(), oid::TEXT)]);
            return Ok(prepared);
        }
        Command::ShowAll => {
            let names = ["name", "setting", "description"];
            prepared.described = Some(names.map(|name| (name.to_owned(), oid::TEXT)).to_vec());
            return Ok(prepared);
        }
        Command::Copy(copy) if copy.direction == Direction::Out => return Ok(prepared),
        _ => return Ok(prepared),
    }
    let given = |number: &u32| Some(*number).filter(|&number| number != 0 && number != oid::UNKNOWN);
    let types: Vec<_> = declared.iter().map(|number| given(number).and_then(arrow_of)).collect();
    let (engine, text) = (app.engine.clone(), Arc::clone(&prepared.text));
    // Planning may be work: it is done where statements are, and no longer than somebody waits for it.
    let planning = app.queries.spawn(async move { engine.describe_with(&caller, &text, Some(&types)).await });
    let description = match AbortOnDropHandle::new(planning).await {
        Ok(Ok(description)) => description,
        Ok(Err(error)) => return Err(PgError::of_query(&error, &sent, offset)),
        Err(panic) => {
            let message = format!("the statement could not be planned: {panic}");
            return Err(PgError::new(state::BUG, message));
        }
    };
    let found = description.parameters.iter().map(|found| found.as_ref().map_or(oid::TEXT, oid_of));
    prepared.parameters =
        found.enumerate().map(|(i, found)| declared.get(i).and_then(given).unwrap_or(found)).collect();
    let fields = description.schema.fields();
    if !fields.is_empty() {
        let columns = fields.iter().map(|field| (field.name().clone(), super::values::shown_as(field)));
        prepared.described = Some(columns.collect());
    }
    Ok(prepared)
}
