//! A connection after its login: message by message to the end.
//!
//! Owns: prepared statements, portals, transactions' state, what happens after an error, waiting for a statement and for
//! whoever wants it to stop. Does not own: statements (`running`), layouts (`frontend`, `backend`), the login (`startup`).
//!
//! In the simple protocol a text comes, and answers, and *ready*. In the extended protocol messages come in series, each
//! answered by itself, up to `Sync`; after an error the rest of the series is skipped.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wattline_query::Caller;

use super::Listener;
use super::backend::{Column, Transaction};
use super::backends::Backend;
use super::command::Command;
use super::error::{PgError, state};
use super::frontend::{Bind, Format, Malformed, Message, Target};
use super::limits::{MESSAGE_BYTES_MAX, PORTALS_MAX, STATEMENTS_BYTES_MAX, STATEMENTS_MAX};
use super::portal::Portal;
use super::prepared::{Prepared, parse};
use super::running::{Piece, Running};
use super::settings::Settings;
use super::wire::{Gone, Wire};

/// How a message failed.
pub enum Trouble {
    /// The client is told, and goes on.
    Error(PgError),
    /// There is nobody to tell.
    Gone(Gone),
}

impl From<PgError> for Trouble {
    fn from(error: PgError) -> Trouble {
        Trouble::Error(error)
    }
}

impl From<Gone> for Trouble {
    fn from(gone: Gone) -> Trouble {
        Trouble::Gone(gone)
    }
}

/// What came of the work on a message.
pub type Done<T> = std::result::Result<T, Trouble>;

/// A logged-in connection.
pub struct Session {
    /// What all connections share.
    pub listener: Arc<Listener>,
    /// The two directions.
    pub wire: Wire,
    /// Its number and secret.
    pub backend: Backend,
    /// Who is there.
    pub caller: Caller,
    /// Its settings.
    pub settings: Settings,
    /// Whether a transaction is open.
    pub transaction: Transaction,
    /// Prepared statements by name.
    pub statements: HashMap<String, Arc<Prepared>>,
    /// Portals and cursors by name.
    pub portals: HashMap<String, Portal>,
    /// Cancelled when the server stops.
    pub shutdown: CancellationToken,
}

impl Session {
    /// Serves it until the client leaves or the server stops.
    ///
    /// # Errors
    /// Where it ended otherwise.
    pub async fn serve(&mut self) -> Result<(), Gone> {
        self.wire.out.ready(self.transaction);
        loop {
            self.wire.flush().await?;
            let shutdown = self.shutdown.clone();
            let message = tokio::select! {
                // A message that is there already is still answered.
                biased;
                message = self.wire.message(MESSAGE_BYTES_MAX) => message?,
                () = shutdown.cancelled() => return self.farewell().await,
            };
            let message = match message {
                Ok(Message::Terminate) => return Ok(()),
                Ok(message) => message,
                Err((kind, malformed)) => {
                    self.malformed(kind, malformed).await?;
                    continue;
                }
            };
            self.backend.begin();
            let answered = self.answer(message).await;
            self.backend.end();
            answered?;
        }
    }

    /// A message that cannot be read: its kind tells where answers go on.
    async fn malformed(&mut self, kind: u8, malformed: Malformed) -> Result<(), Gone> {
        match kind {
            b'P' | b'B' | b'D' | b'E' | b'C' => {
                self.failed(&PgError::new(state::PROTOCOL, malformed.0));
                self.skip_to_sync().await
            }
            b'Q' | b'F' | b'S' => {
                self.failed(&PgError::new(state::PROTOCOL, malformed.0));
                self.wire.out.ready(self.transaction);
                Ok(())
            }
            _ => Err(malformed.into()),
        }
    }

    async fn farewell(&mut self) -> Result<(), Gone> {
        let reason = "terminating connection due to administrator command";
        self.wire.out.error(&PgError::fatal(state::SHUTDOWN, reason));
        self.wire.flush().await
    }

    /// One message, and in the extended protocol the rest of its series where it fails.
    async fn answer(&mut self, message: Message) -> Result<(), Gone> {
        let worked = match message {
            Message::Query(text) => {
                // The unnamed ones end with the next simple query.
                self.portals.remove("");
                let ran = Box::pin(self.script(&text)).await;
                let told = self.tell(ran)?;
                if told.is_err() {
                    self.end_implicit();
                }
                self.end_implicit();
                self.wire.out.ready(self.transaction);
                return Ok(());
            }
            Message::Parse { name, text, types } => Box::pin(self.parse(name, text, types)).await,
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(target, name) => Box::pin(self.describe(target, &name)).await,
            Message::Execute { portal, rows } => Box::pin(self.execute(&portal, rows)).await,
            Message::Close(target, name) => {
                match target {
                    Target::Statement => drop(self.statements.remove(&name)),
                    Target::Portal => drop(self.portals.remove(&name)),
                }
                self.wire.out.closed();
                Ok(())
            }
            Message::Flush => return self.wire.flush().await,
            Message::Sync => {
                self.end_implicit();
                self.wire.out.ready(self.transaction);
                return Ok(());
            }
            // What is left of a COPY that failed.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::FunctionCall => {
                let refused = PgError::new(state::UNSUPPORTED, "function calls by number are not served");
                self.failed(&refused);
                self.wire.out.ready(self.transaction);
                return Ok(());
            }
            Message::Password(_) | Message::Terminate => {
                Err(PgError::new(state::PROTOCOL, "unexpected message type").into())
            }
        };
        if self.tell(worked)?.is_err() {
            return self.skip_to_sync().await;
        }
        self.wire.flush_if_full().await
    }

    /// Tells the client of an error; the outer one is that it is not there.
    fn tell(&mut self, worked: Done<()>) -> Result<Result<(), ()>, Gone> {
        match worked {
            Ok(()) => Ok(Ok(())),
            Err(Trouble::Gone(gone)) => Err(gone),
            Err(Trouble::Error(error)) => {
                self.failed(&error);
                Ok(Err(()))
            }
        }
    }

    fn failed(&mut self, error: &PgError) {
        self.listener.metrics.failed(error.state);
        self.wire.out.error(error);
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
    }

    /// Outside a transaction portals end with the series that made them.
    fn end_implicit(&mut self) {
        if self.transaction == Transaction::Idle {
            self.portals.retain(|_, portal| portal.holds);
        }
    }

    /// After an error everything is skipped up to `Sync`.
    async fn skip_to_sync(&mut self) -> Result<(), Gone> {
        loop {
            self.wire.flush_if_full().await?;
            // What comes next may wait for the error before it sends on.
            self.wire.flush().await?;
            match self.wire.message(MESSAGE_BYTES_MAX).await? {
                Ok(Message::Sync) => break,
                Ok(Message::Terminate) => return Err(Gone::Left),
                _ => {}
            }
        }
        self.end_implicit();
        self.wire.out.ready(self.transaction);
        Ok(())
    }

    async fn parse(&mut self, name: String, text: String, types: Vec<u32>) -> Done<()> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(PgError::new(state::DUPLICATE_STATEMENT, message).into());
        }
        let bytes: usize = self.statements.values().map(|s| s.text.len()).sum();
        if self.statements.len() >= STATEMENTS_MAX || bytes + text.len() > STATEMENTS_BYTES_MAX {
            let message = format!(
                "a connection may prepare {STATEMENTS_MAX} statements of {STATEMENTS_BYTES_MAX} bytes together"
            );
            return Err(PgError::new(state::LIMIT, message).into());
        }
        let prepared =
            self.stoppable(parse(Arc::clone(&self.listener.app), self.caller.clone(), text, types)).await??;
        self.statements.insert(name, Arc::new(prepared));
        self.wire.out.parsed();
        Ok(())
    }

    fn bind(&mut self, bind: Bind) -> Done<()> {
        let statement = self.statement(&bind.statement)?;
        let failed_now = self.transaction == Transaction::Failed && !statement.command.ends_transaction();
        if failed_now {
            return Err(in_failed_transaction().into());
        }
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let message = format!("cursor \"{}\" already exists", bind.portal);
            return Err(PgError::new(state::DUPLICATE_CURSOR, message).into());
        }
        let name = bind.portal.clone();
        let portal = Portal::bound(statement, bind, self.settings.zone())?;
        self.add_portal(name, portal)?;
        self.wire.out.bound();
        Ok(())
    }

    /// Keeps a portal under a name.
    ///
    /// # Errors
    /// Where there are as many as there may be.
    pub fn add_portal(&mut self, name: String, portal: Portal) -> Result<(), PgError> {
        if self.portals.len() >= PORTALS_MAX {
            let message = format!("a connection may have {PORTALS_MAX} portals and cursors");
            return Err(PgError::new(state::LIMIT, message));
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<Arc<Prepared>, PgError> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            PgError::new(state::NO_STATEMENT, message)
        })
    }

    async fn describe(&mut self, target: Target, name: &str) -> Done<()> {
        match target {
            Target::Statement => {
                let statement = self.statement(name)?;
                self.wire.out.parameters(&statement.parameters);
                match self.columns(&statement, &[]) {
                    Some(columns) => self.wire.out.columns(&columns),
                    None => self.wire.out.no_data(),
                }
            }
            Target::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                match self.columns(&portal.statement, &portal.formats) {
                    Some(columns) => self.wire.out.columns(&columns),
                    None => self.wire.out.no_data(),
                }
            }
        }
        Ok(())
    }

    /// The columns a statement gives; those of FETCH are its cursor's.
    fn columns(&self, statement: &Prepared, formats: &[Format]) -> Option<Vec<Column>> {
        match &statement.command {
            Command::Fetch(cursor, _) => self.portals.get(cursor)?.statement.columns(formats),
            _ => statement.columns(formats),
        }
    }

    async fn execute(&mut self, name: &str, rows: Option<u64>) -> Done<()> {
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let executed = Box::pin(self.run_portal(&mut portal, rows, false)).await;
        // A portal that failed is gone; one that came to its end may be asked again and gives nothing.
        if executed.is_ok() {
            self.portals.insert(name.to_owned(), portal);
        }
        executed
    }

    /// Every statement of a simple query, up to the first that fails.
    async fn script(&mut self, text: &str) -> Done<()> {
        let sent: Arc<str> = Arc::from(text);
        let statements = super::lex::statements(text);
        if statements.len() > super::limits::SCRIPT_STATEMENTS_MAX {
            return Err(PgError::new(state::LIMIT, "too many statements in one query").into());
        }
        if statements.is_empty() {
            self.wire.out.empty();
        }
        for (offset, statement) in statements {
            let prepared = Prepared::simple(statement, Arc::clone(&sent), offset)?;
            if self.transaction == Transaction::Failed && !prepared.command.ends_transaction() {
                return Err(in_failed_transaction().into());
            }
            let mut portal = Portal::simple(Arc::new(prepared));
            Box::pin(self.run_portal(&mut portal, None, true)).await?;
            self.wire.flush_if_full().await?;
        }
        Ok(())
    }

    /// The next piece of `running`, unless somebody wants it to stop first: the client by leaving, another connection
    /// by cancelling, the clock.
    pub async fn piece(&mut self, running: &mut Running, until: Option<Instant>) -> Done<Piece> {
        self.stoppable_until(running.next(), until).await
    }

    /// Waits for `work`, unless it is to stop.
    pub async fn stoppable<T>(&mut self, work: impl Future<Output = T>) -> Done<T> {
        let until = self.settings.timeout().map(|limit| Instant::now() + limit);
        self.stoppable_until(work, until).await
    }

    /// The same up to an instant.
    pub async fn stoppable_until<T>(
        &mut self,
        work: impl Future<Output = T>,
        until: Option<Instant>,
    ) -> Done<T> {
        let stop = self.backend.token();
        let expired = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = stop.cancelled() => Err(cancelled("user request").into()),
            () = expired => Err(cancelled("statement timeout").into()),
            gone = self.wire.watch() => Err(gone.into()),
        }
    }
}

/// A statement ends before its end, because of `what`.
pub fn cancelled(what: &str) -> PgError {
    PgError::new(state::CANCELLED, format!("canceling statement due to {what}"))
}

/// The portal or cursor is not there.
pub fn no_portal(name: &str) -> PgError {
    PgError::new(state::NO_PORTAL, format!("portal \"{name}\" does not exist"))
}

fn in_failed_transaction() -> PgError {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    PgError::new(state::FAILED_TRANSACTION, message)
}
