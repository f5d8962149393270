//! Statements that change something: what they ask for, read from their syntax.
//!
//! Owns: which statements these are, what each may say, the trait [`Changes`] by which they are carried out. Does not
//! own: carrying out (the server does, through the doors that its other ways in use), rules of values and names.
//!
//! *text → syntax tree → what is asked ([`Asked`]) → [`Changes`] → [`Answer::Changed`].* Up to what is asked nothing has
//! changed yet, and everything is within the limits of a statement. Carrying out is not: a write that was begun is
//! ended by its own limits, so that nobody is told "too slow" about what did happen.
//!
//! Reading order: this file → `insert`, `delete`, `tables` (one kind of statement each) → `names` (tables and columns
//! by name).

mod delete;
mod insert;
mod names;
mod tables;

pub use insert::Destination;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use wattline_model::{Deletion, Model, ModelId};
use wattline_registry::{NewModel, NewPoint};

use crate::engine::{Answer, Caller, DEEP, Description, Engine, unpanicked};
use crate::error::{Error, ErrorKind};
use crate::running::{self, Place};
use crate::statement;

/// Who carries changes out. Each returns when the change is durable and seen by every later statement.
#[async_trait]
pub trait Changes: Send + Sync {
    /// Writes rows of `model`: columns `asset_id`, `time`, points by their keys and `<point>_quality`. A row that is
    /// refused ends it; what was written before stays, and the error says how much.
    async fn insert(
        &self,
        caller: &Caller,
        model: &Model,
        rows: SendableRecordBatchStream,
    ) -> Result<u64, Error>;

    /// Brings a deletion into force; returns the job that gives the room back.
    async fn delete(&self, caller: &Caller, deletion: Deletion) -> Result<i64, Error>;

    /// Creates a model.
    async fn create_model(&self, caller: &Caller, model: NewModel) -> Result<(), Error>;

    /// Adds points to a model and all that inherit from it.
    async fn add_points(&self, caller: &Caller, model: ModelId, points: Vec<NewPoint>) -> Result<(), Error>;

    /// Gives a point of a model, and of all that inherit from it, another key.
    async fn rename_point(
        &self,
        caller: &Caller,
        model: ModelId,
        from: String,
        to: String,
    ) -> Result<(), Error>;
}

/// What a statement asks to be changed.
enum Asked {
    Insert {
        model: Arc<Model>,
        rows: SendableRecordBatchStream,
    },
    /// Nothing to delete where no sample can be meant.
    Delete(Option<Deletion>),
    CreateModel(NewModel),
    AddPoints(ModelId, Vec<NewPoint>),
    RenamePoint {
        model: ModelId,
        from: String,
        to: String,
    },
    /// What is there already, by a statement that said IF NOT EXISTS or IF EXISTS.
    Nothing(&'static str),
}

/// First words of statements that change something, or would elsewhere. What `KILL` changes is another statement.
const WORDS: [&str; 12] = [
    "INSERT", "DELETE", "CREATE", "ALTER", "DROP", "UPDATE", "TRUNCATE", "COMMENT", "COPY", "REPLACE",
    "MERGE", "KILL",
];

/// Whether `text` begins like a statement that changes something. Cheap: every statement is asked.
pub fn is_change(text: &str) -> bool {
    let word = first_word(text);
    WORDS.iter().any(|change| change.eq_ignore_ascii_case(word))
}

/// The first word after blanks and comments.
fn first_word(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        text = if let Some(comment) = text.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = text.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            break;
        };
    }
    text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default()
}

impl Engine {
    /// Runs a statement that changes something.
    pub(crate) async fn change(
        &self,
        caller: &Caller,
        text: &str,
        params: Vec<ScalarValue>,
    ) -> Result<Answer, Error> {
        self.change_each(caller, text, vec![params]).await
    }

    async fn change_each(
        &self,
        caller: &Caller,
        text: &str,
        bindings: Vec<Vec<ScalarValue>>,
    ) -> Result<Answer, Error> {
        if first_word(text).eq_ignore_ascii_case("KILL") {
            return self.kill_named(caller, text);
        }
        let Some(changes) = self.changes() else { return Err(refused("changing anything", "here")) };
        // The parser knows COPY … TO alone.
        if first_word(text).eq_ignore_ascii_case("COPY") {
            let why =
                "over this wire no rows come beside it; INSERT them, or POST them to the model's samples";
            return Err(refused("COPY", why));
        }
        let mut admitted = self.admit(caller, text).await?;
        let deep = admitted.note(statement::depth(text))?.0 >= DEEP;
        let ask = Box::pin(self.ask(text, bindings, &admitted.statement));
        let asked = self.bounded(&admitted, deep, ask).await?;
        let place = admitted.place.take();
        let asked = match asked {
            // The source of the rows has the limits of a statement; writing them has not.
            Asked::Insert { model, rows } => Asked::Insert { model, rows: self.guard(rows, admitted, None) },
            other => other,
        };
        ended(place, unpanicked(carry_out(&**changes, caller, asked)).await)
    }

    /// Ends the statement that a `KILL` names. It needs no turn: it may be what gives others theirs.
    fn kill_named(&self, caller: &Caller, text: &str) -> Result<Answer, Error> {
        statement::depth(text)?;
        match change_of(statement::parse_any(&self.session(), text)?)? {
            ast::Statement::Kill { modifier: None | Some(ast::KillType::Query), id } => {
                self.kill(id, caller)?;
                tracing::info!(
                    id,
                    account = caller.account.as_deref(),
                    wire = caller.wire,
                    "statement killed"
                );
                Ok(Answer::Changed { tag: "KILL", rows: None, job: None })
            }
            _ => Err(refused("this KILL", "it is KILL and the number of a statement in system.queries")),
        }
    }

    /// Runs a changing statement once for each of `bindings`, the values of its parameters. An `INSERT` of `VALUES`
    /// takes all of them as one statement.
    ///
    /// # Errors
    /// The first that fails; those before it stay.
    pub async fn run_each(
        &self,
        caller: &Caller,
        text: &str,
        bindings: Vec<Vec<ScalarValue>>,
    ) -> Result<Answer, Error> {
        if !first_word(text).eq_ignore_ascii_case("INSERT") {
            let mut last = Answer::Changed { tag: "", rows: Some(0), job: None };
            for parameters in bindings {
                last = self.run(caller, text, parameters).await?;
            }
            return Ok(last);
        }
        Box::pin(self.seen_by(caller).change_each(caller, text, bindings)).await
    }

    /// Writes rows that a client sends beside statements (COPY, bulk ingest) into `table`, named as a statement names
    /// it, and returns how many. Their columns are called as those of the table; errors in `rows` that are
    /// [`Error`]s come back as they are.
    ///
    /// # Errors
    /// See [`ErrorKind`]; the message says how many rows were written before.
    pub async fn write(
        &self,
        caller: &Caller,
        table: &str,
        rows: SendableRecordBatchStream,
    ) -> Result<u64, Error> {
        let Some(changes) = self.changes() else { return Err(refused("writing", "here")) };
        let mut admitted = self.admit(caller, &format!("COPY {table} FROM STDIN")).await?;
        // A client may take its time with its rows.
        admitted.deadline = None;
        let engine = self.seen_by(caller);
        let found = engine.catalog().model_of(table).ok_or_else(|| engine.no_table(table));
        let model = admitted.note(found)?;
        let place = admitted.place.take();
        let rows = self.guard(rows, admitted, None);
        ended(place, unpanicked(changes.insert(caller, &model, rows)).await)
    }

    /// What a changing statement wants, without running it.
    pub(crate) async fn describe_change(&self, text: &str) -> Result<Description, Error> {
        let mut state = self.session();
        match change_of(statement::parse_any(&state, text)?)? {
            ast::Statement::Insert(insert) => self.describe_insert(&mut state, insert).await,
            ast::Statement::Delete(delete) => self.describe_delete(&mut state, delete).await,
            _ => Ok(Description::of_nothing()),
        }
    }

    async fn ask(
        &self,
        text: &str,
        mut bindings: Vec<Vec<ScalarValue>>,
        running: &running::Statement,
    ) -> Result<Asked, Error> {
        let mut state = self.session();
        match change_of(statement::parse_any(&state, text)?)? {
            ast::Statement::Insert(insert) => self.ask_insert(&mut state, insert, bindings, running).await,
            ast::Statement::Delete(delete) => {
                let params = bindings.pop().unwrap_or_default();
                self.ask_delete(&mut state, delete, params).await
            }
            ast::Statement::CreateTable(create) => self.ask_create(create),
            ast::Statement::AlterTable(alter) => self.ask_alter(alter),
            other => Err(refuse(&other)),
        }
    }
}

/// Notes how the statement in `place` ended.
fn ended<T>(place: Option<Place>, result: Result<T, Error>) -> Result<T, Error> {
    if let Some(place) = place {
        place.statement.end(result.as_ref().map(drop));
    }
    result
}

async fn carry_out(changes: &dyn Changes, caller: &Caller, asked: Asked) -> Result<Answer, Error> {
    let changed = |tag| Ok(Answer::Changed { tag, rows: None, job: None });
    match asked {
        Asked::Insert { model, rows } => {
            let rows = changes.insert(caller, &model, rows).await?;
            Ok(Answer::Changed { tag: "INSERT", rows: Some(rows), job: None })
        }
        Asked::Delete(None) => Ok(Answer::Changed { tag: "DELETE", rows: Some(0), job: None }),
        Asked::Delete(Some(deletion)) => {
            let job = changes.delete(caller, deletion).await?;
            Ok(Answer::Changed { tag: "DELETE", rows: None, job: Some(job) })
        }
        Asked::CreateModel(model) => {
            changes.create_model(caller, model).await?;
            changed("CREATE TABLE")
        }
        Asked::AddPoints(model, points) => {
            changes.add_points(caller, model, points).await?;
            changed("ALTER TABLE")
        }
        Asked::RenamePoint { model, from, to } => {
            changes.rename_point(caller, model, from, to).await?;
            changed("ALTER TABLE")
        }
        Asked::Nothing(tag) => changed(tag),
    }
}

/// The statement proper.
fn change_of(statement: Statement) -> Result<ast::Statement, Error> {
    match statement {
        Statement::Statement(statement) => Ok(*statement),
        Statement::CreateExternalTable(_) => {
            Err(refused("CREATE EXTERNAL TABLE", "a model has no files of its own"))
        }
        Statement::CopyTo(_) => Err(refused("COPY … TO", "a statement writes no files; read its answer")),
        Statement::Explain(_) | Statement::Reset(_) => Err(refused("this statement", "it changes nothing")),
    }
}

/// Says of a statement that is not carried out what to do instead.
fn refuse(statement: &ast::Statement) -> Error {
    use ast::Statement::{Comment, CreateView, Drop, Merge, Truncate, Update};
    match statement {
        Update(_) => {
            refused("UPDATE", "INSERT the asset and time again; the newer value wins, point by point")
        }
        Merge(_) => refused("MERGE", "INSERT replaces values of the same asset and time"),
        Truncate(_) => refused("TRUNCATE", "use DELETE FROM; it is a job and leaves the model"),
        Drop { .. } => {
            refused("DROP", "models are kept, as devices refer to them; DELETE FROM empties a table")
        }
        Comment { .. } => refused("COMMENT ON", "display names are given where a table or column is created"),
        CreateView(_) => refused("CREATE VIEW", "there are no views"),
        other => {
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            let known = "what changes something is INSERT, DELETE, CREATE TABLE, ALTER TABLE and KILL";
            refused(&words.join(" "), known)
        }
    }
}

fn refused(what: &str, why: &str) -> Error {
    Error::new(ErrorKind::Input, format!("{what} is not allowed: {why}"))
}

/// Refuses a statement that has one of the `clauses` that are present.
fn without(statement: &str, clauses: &[(&str, bool)]) -> Result<(), Error> {
    match clauses.iter().find(|(_, present)| *present) {
        Some((clause, _)) => Err(refused(&format!("{clause} in {statement}"), "it has no meaning here")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_told_by_its_first_word() {
        for text in
            ["INSERT INTO t VALUES (1)", " \n delete from t", "-- why\n/* x */ create table t ()", "Copy t"]
        {
            assert!(is_change(text), "{text}");
        }
        for text in
            ["SELECT 1", "", "--", "/* insert", "INSERTED", "(INSERT)", "EXPLAIN INSERT INTO t VALUES (1)"]
        {
            assert!(!is_change(text), "{text}");
        }
    }
}
