//! A statement with its parameters, run as far as it was asked for.
//!
//! Owns: the run of a portal, of each kind of statement. Does not own: messages (`session`), rows (`running`).

use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;
use wattline_query::ScalarValue;

use super::backend::{Column, Transaction};
use super::command::Command;
use super::copy::{Copy, Direction};
use super::encode::Shape;
use super::error::{PgError, state};
use super::frontend::{Bind, Format, format_of};
use super::params::parameter;
use super::prepared::{Prepared, parse};
use super::running::{Piece, Running, Task};
use super::session::{Done, Session, no_portal};
use super::time::Zone;
use wattline_query::pg::types::oid;

/// A portal, or a cursor.
pub struct Portal {
    /// Of which statement.
    pub statement: Arc<Prepared>,
    /// Forms of its columns.
    pub formats: Vec<Format>,
    params: Vec<ScalarValue>,
    state: State,
    /// Whether it outlives the series of messages that made it.
    pub holds: bool,
}

enum State {
    Fresh,
    Running(Running, Vec<Column>),
    Ended,
}

/// What a statement of the engine gave.
enum Given {
    /// So many rows, and whether that was all.
    Rows(u64, bool),
    /// It changed something.
    Changed(&'static str, Option<u64>),
}

impl Portal {
    /// As `Bind` has it.
    ///
    /// # Errors
    /// Where parameters do not fit the statement.
    pub fn bound(statement: Arc<Prepared>, bind: Bind, zone: &Zone) -> Result<Portal, PgError> {
        let n = bind.parameters.len();
        let wanted = statement.parameters.len();
        if n != wanted {
            let message =
                format!("bind message supplies {n} parameters, but the statement requires {wanted}");
            return Err(PgError::new(state::PROTOCOL, message));
        }
        let mut params = Vec::with_capacity(n);
        for (i, (bytes, &oid)) in bind.parameters.iter().zip(&statement.parameters).enumerate() {
            let format = format_of(&bind.formats, i, n).map_err(|e| PgError::new(state::PROTOCOL, e.0))?;
            params.push(parameter(i + 1, oid, format, bytes.as_deref(), zone)?);
        }
        Ok(Portal { statement, formats: bind.results, params, state: State::Fresh, holds: false })
    }

    /// Of a statement without parameters, in text.
    pub fn simple(statement: Arc<Prepared>) -> Portal {
        Portal { statement, formats: Vec::new(), params: Vec::new(), state: State::Fresh, holds: false }
    }
}

impl Session {
    /// Runs `portal` for `rows` more, or to its end. `simple`: the client did not ask what will come, and is told.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn run_portal(&mut self, portal: &mut Portal, rows: Option<u64>, simple: bool) -> Done<()> {
        if matches!(portal.state, State::Fresh) {
            self.listener.metrics.statement();
        }
        let statement = Arc::clone(&portal.statement);
        match &statement.command {
            Command::Run => self.run_query(portal, rows, simple).await,
            Command::Copy(copy) => self.run_copy(portal, copy).await,
            Command::Declare(name, at) => self.declare(name, *at, &statement).await,
            Command::Fetch(name, n) => self.fetch(name, *n, &portal.formats, simple).await,
            Command::Move(..) => {
                Err(PgError::new(state::UNSUPPORTED, "MOVE is not served: FETCH, and leave out").into())
            }
            Command::Show(name) => {
                let (name, value) = self.settings.get(name)?;
                let rows = vec![vec![Some(value.to_owned())]];
                let names = [name.to_owned()];
                self.local_rows(portal, &names, &rows, simple, "SHOW");
                Ok(())
            }
            Command::ShowAll => {
                let all = self.settings.all();
                let rows: Vec<_> = all
                    .map(|(name, value)| vec![Some(name.to_owned()), Some(value.to_owned()), None])
                    .collect();
                let names = ["name", "setting", "description"].map(str::to_owned);
                self.local_rows(portal, &names, &rows, simple, "SHOW");
                Ok(())
            }
            command => self.run_command(command),
        }
    }

    /// What changes the session and gives nothing.
    fn run_command(&mut self, command: &Command) -> Done<()> {
        let tag = match command {
            Command::Empty => {
                self.wire.out.empty();
                return Ok(());
            }
            Command::Begin => {
                if self.transaction != Transaction::Idle {
                    self.wire.out.notice("WARNING", "25001", "there is already a transaction in progress");
                } else {
                    self.transaction = Transaction::Open;
                }
                "BEGIN"
            }
            Command::Commit | Command::Rollback => self.end_transaction(*command == Command::Commit),
            Command::Savepoint(tag) => {
                if self.transaction == Transaction::Idle {
                    let message = format!("{tag} can only be used in transaction blocks");
                    return Err(PgError::new("25P01", message).into());
                }
                if *tag == "ROLLBACK" {
                    self.transaction = Transaction::Open;
                }
                tag
            }
            Command::Set(name, value) => {
                if let Some((name, value)) = self.settings.set(name, value.as_deref())? {
                    self.wire.out.parameter(name, &value);
                }
                "SET"
            }
            Command::SetNothing => "SET",
            Command::Reset(name) => {
                self.reset(name.as_deref())?;
                "RESET"
            }
            Command::Discard(tag) => {
                if *tag == "DISCARD ALL" {
                    self.portals.clear();
                    self.statements.clear();
                    self.reset(None)?;
                }
                tag
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Command::Deallocate(Some(name)) => {
                if self.statements.remove(name).is_none() {
                    let message = format!("prepared statement \"{name}\" does not exist");
                    return Err(PgError::new(state::NO_STATEMENT, message).into());
                }
                "DEALLOCATE"
            }
            Command::Close(None) => {
                self.portals.clear();
                "CLOSE CURSOR ALL"
            }
            Command::Close(Some(name)) => {
                self.portals.remove(name).ok_or_else(|| no_portal(name))?;
                "CLOSE CURSOR"
            }
            Command::Unlisten => "UNLISTEN",
            Command::Run
            | Command::Copy(_)
            | Command::Declare(..)
            | Command::Fetch(..)
            | Command::Move(..)
            | Command::Show(_)
            | Command::ShowAll => {
                return Err(PgError::new(state::BUG, "a statement went the wrong way").into());
            }
        };
        self.wire.out.complete(tag);
        Ok(())
    }

    /// There is nothing to take back: what changed data was durable at once.
    fn end_transaction(&mut self, commit: bool) -> &'static str {
        let before = std::mem::take(&mut self.transaction);
        self.portals.retain(|_, portal| portal.holds);
        match before {
            Transaction::Idle => {
                self.wire.out.notice("WARNING", "25P01", "there is no transaction in progress");
                if commit { "COMMIT" } else { "ROLLBACK" }
            }
            Transaction::Open if commit => "COMMIT",
            Transaction::Open | Transaction::Failed => "ROLLBACK",
        }
    }

    fn reset(&mut self, name: Option<&str>) -> Result<(), PgError> {
        let changed = match name {
            Some(name) => self.settings.set(name, None)?.into_iter().collect(),
            None => self.settings.reset(),
        };
        for (name, value) in changed {
            self.wire.out.parameter(name, &value);
        }
        Ok(())
    }

    async fn run_query(&mut self, portal: &mut Portal, rows: Option<u64>, simple: bool) -> Done<()> {
        if matches!(portal.state, State::Ended) {
            self.wire.out.complete("SELECT 0");
            return Ok(());
        }
        match self.pull(portal, Shape::Rows, rows, simple).await? {
            Given::Rows(n, true) => self.wire.out.complete(&format!("SELECT {n}")),
            Given::Rows(_, false) => self.wire.out.suspended(),
            Given::Changed(tag, n) => self.wire.out.complete(&changed_tag(tag, n)),
        }
        Ok(())
    }

    /// Starts the portal where it has not begun, and passes on its rows.
    async fn pull(
        &mut self,
        portal: &mut Portal,
        shape: Shape,
        rows: Option<u64>,
        tell: bool,
    ) -> Done<Given> {
        let until = self.settings.timeout().map(|limit| Instant::now() + limit);
        let tell_copy = match &shape {
            Shape::Copy(form) => Some(form.format()),
            Shape::Rows => None,
        };
        if matches!(portal.state, State::Fresh) {
            let task = self.task(portal, shape);
            let mut running = Running::start(&self.listener.app, task);
            match self.piece(&mut running, until).await? {
                Piece::Columns(columns) => portal.state = State::Running(running, columns),
                Piece::Changed { tag, rows } => {
                    portal.state = State::Ended;
                    return Ok(Given::Changed(tag, rows));
                }
                Piece::Failed(error) => return Err(error.into()),
                _ => return Err(PgError::new(state::BUG, "an answer began in its middle").into()),
            }
        }
        let State::Running(running, columns) = &mut portal.state else {
            return Ok(Given::Rows(0, true));
        };
        match tell_copy {
            Some(format) => self.wire.out.copy_out(format, columns.len()),
            None if tell => self.wire.out.columns(columns),
            None => {}
        }
        running.want(rows.unwrap_or(u64::MAX)).await;
        let mut given = 0;
        loop {
            match self.piece(running, until).await? {
                Piece::Rows { bytes, rows } => {
                    given += rows;
                    self.listener.metrics.rows(rows);
                    self.put(bytes).await?;
                }
                Piece::Suspended => return Ok(Given::Rows(given, false)),
                Piece::End => {
                    portal.state = State::Ended;
                    return Ok(Given::Rows(given, true));
                }
                Piece::Failed(error) => {
                    portal.state = State::Ended;
                    return Err(error.into());
                }
                Piece::Columns(_) | Piece::Changed { .. } => {
                    return Err(PgError::new(state::BUG, "an answer began twice").into());
                }
            }
        }
    }

    /// Small answers leave with what ends them; of large ones each piece leaves by itself.
    async fn put(&mut self, bytes: BytesMut) -> Done<()> {
        self.wire.put(bytes);
        self.wire.flush_if_full().await?;
        Ok(())
    }

    fn task(&self, portal: &Portal, shape: Shape) -> Task {
        let statement = &portal.statement;
        let (text, offset) = match &statement.command {
            Command::Copy(copy) => (Arc::from(copy.query.as_str()), copy.offset.unwrap_or(0)),
            _ => (Arc::clone(&statement.text), 0),
        };
        let described =
            statement.described.as_ref().map(|columns| columns.iter().map(|(_, oid)| *oid).collect());
        Task {
            caller: self.caller.clone(),
            text,
            sent: (Arc::clone(&statement.sent.0), statement.sent.1 + offset),
            params: portal.params.clone(),
            formats: portal.formats.clone(),
            described,
            shape,
            zone: self.settings.zone().clone(),
        }
    }

    async fn run_copy(&mut self, portal: &mut Portal, copy: &Copy) -> Done<()> {
        if copy.direction == Direction::In {
            if matches!(portal.state, State::Ended) {
                return Err(PgError::new("55000", "a COPY that ran cannot run again: bind it anew").into());
            }
            portal.state = State::Ended;
            return Box::pin(self.copy_in(copy)).await;
        }
        match self.pull(portal, Shape::Copy(copy.form.clone()), None, false).await? {
            Given::Rows(n, _) => {
                self.wire.out.copy_done();
                self.wire.out.complete(&format!("COPY {n}"));
                Ok(())
            }
            Given::Changed(..) => {
                Err(PgError::new(state::UNSUPPORTED, "COPY copies the rows of a query").into())
            }
        }
    }

    async fn declare(&mut self, name: &str, at: usize, statement: &Arc<Prepared>) -> Done<()> {
        if self.portals.contains_key(name) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(PgError::new(state::DUPLICATE_CURSOR, message).into());
        }
        let hold = statement.text[..at].to_lowercase().contains("with hold");
        if self.transaction == Transaction::Idle && !hold {
            let message = "DECLARE CURSOR can only be used in transaction blocks, or WITH HOLD";
            return Err(PgError::new("25P01", message).into());
        }
        // Planned now: clients ask what a cursor gives before they fetch from it.
        let query = statement.text[at..].to_owned();
        let app = Arc::clone(&self.listener.app);
        let mut query = self.stoppable(parse(app, self.caller.clone(), query, Vec::new())).await??;
        query.sent = (Arc::clone(&statement.sent.0), statement.sent.1 + at);
        if query.command != Command::Run || query.described.is_none() {
            return Err(PgError::new(state::UNSUPPORTED, "a cursor is of a query").into());
        }
        let mut portal = Portal::simple(Arc::new(query));
        portal.holds = hold;
        self.add_portal(name.to_owned(), portal)?;
        self.wire.out.complete("DECLARE CURSOR");
        Ok(())
    }

    async fn fetch(&mut self, name: &str, rows: Option<u64>, formats: &[Format], tell: bool) -> Done<()> {
        let missing = || PgError::new(state::NO_PORTAL, format!("cursor \"{name}\" does not exist"));
        let mut portal = self.portals.remove(name).ok_or_else(missing)?;
        if matches!(portal.state, State::Fresh) {
            portal.formats = formats.to_vec();
        } else if portal.formats != formats {
            let message = "a cursor's rows come in the form of its first FETCH";
            return Err(PgError::new(state::UNSUPPORTED, message).into());
        }
        if matches!(portal.state, State::Ended) && tell {
            let columns = portal.statement.columns(formats).unwrap_or_default();
            self.wire.out.columns(&columns);
        }
        let given = match rows {
            Some(0) => Given::Rows(0, false),
            rows => self.pull(&mut portal, Shape::Rows, rows, tell).await?,
        };
        let Given::Rows(n, _) = given else {
            return Err(PgError::new(state::UNSUPPORTED, "a cursor is of a query").into());
        };
        self.portals.insert(name.to_owned(), portal);
        self.wire.out.complete(&format!("FETCH {n}"));
        Ok(())
    }

    /// An answer that is known here, all texts.
    fn local_rows(
        &mut self,
        portal: &Portal,
        names: &[String],
        rows: &[Vec<Option<String>>],
        tell: bool,
        tag: &str,
    ) {
        if tell {
            let columns = names.iter().enumerate().map(|(i, name)| Column {
                name: name.clone(),
                oid: oid::TEXT,
                format: format_of(&portal.formats, i, names.len()).unwrap_or(Format::Text),
            });
            self.wire.out.columns(&columns.collect::<Vec<_>>());
        }
        for row in rows {
            self.wire.out.texts(row);
        }
        self.wire.out.complete(tag);
    }
}

/// `INSERT 0 5`, as PostgreSQL has it: the first number was once an object's.
fn changed_tag(tag: &str, rows: Option<u64>) -> String {
    match (tag, rows) {
        ("INSERT", rows) => format!("INSERT 0 {}", rows.unwrap_or(0)),
        (tag, Some(rows)) => format!("{tag} {rows}"),
        (tag, None) => tag.to_owned(),
    }
}
