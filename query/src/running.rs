//! The statements that run, and the last ones that ended.
//!
//! Owns: what is told of a statement (`system.queries`), its number, ending it from elsewhere (`KILL`). Does not own:
//! a statement's limits (`guard`), the table (`tables::queries`).
//!
//! A statement is known from before it has a turn until its [`Place`] is dropped, whatever way it came. What runs is
//! held here rather than by whoever reads it: a statement whose client does not read is ended all the same, and what
//! it holds is free at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use arrow::array::{Array, RecordBatch, StringViewArray};
use datafusion::execution::SendableRecordBatchStream;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::engine::Caller;
use crate::error::{Error, ErrorKind};
use crate::memory::StatementMemory;

/// Ended statements that are remembered: some minutes of people's work. With their texts they take a megabyte.
pub const ENDED_STATEMENTS_MAX: usize = 256;

/// Bytes of a statement's text that are kept to be shown; the rest is cut.
pub const SHOWN_TEXT_BYTES_MAX: usize = 4 << 10;

/// Who is told how statements end. Told where they end, so it must not wait.
pub trait Watch: Send + Sync {
    /// A statement of `caller` ended so; `text` is it, or the beginning of it.
    fn ended(&self, caller: &Caller, text: &str, outcome: Result<(), &Error>);
}

/// All statements.
#[derive(Default)]
pub(crate) struct Statements {
    watch: Arc<OnceLock<Arc<dyn Watch>>>,
    known: Mutex<Known>,
    last: AtomicU64,
}

#[derive(Default)]
struct Known {
    running: BTreeMap<u64, Arc<Statement>>,
    /// Oldest first.
    ended: VecDeque<Arc<Statement>>,
}

/// One statement.
pub(crate) struct Statement {
    /// Its number, from 1 at each start.
    pub(crate) id: u64,
    /// Whose it is.
    pub(crate) caller: Caller,
    /// Its text, or the beginning of it.
    pub(crate) text: String,
    /// When it came, microseconds by the operating system's clock.
    pub(crate) started_micros: i64,
    /// What its operators hold.
    pub(crate) memory: Arc<StatementMemory>,
    begun: Instant,
    has_turn: AtomicBool,
    rows: AtomicU64,
    bytes: AtomicU64,
    cancel: CancellationToken,
    killed_by: OnceLock<String>,
    outcome: OnceLock<Outcome>,
    watch: Arc<OnceLock<Arc<dyn Watch>>>,
    /// What runs, where rows are still to come.
    pub(crate) held: Mutex<Option<Held>>,
}

struct Outcome {
    state: State,
    elapsed: Duration,
    error: Option<String>,
}

/// What a statement that gives rows holds until its end.
pub(crate) struct Held {
    pub(crate) rows: SendableRecordBatchStream,
    /// Its turn among the statements.
    pub(crate) _turn: OwnedSemaphorePermit,
    /// With it the statement ends, where its rows are its answer.
    pub(crate) place: Option<Place>,
}

/// How far a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }
}

impl Statements {
    /// From here on `watch` is told how statements end.
    pub(crate) fn watch(&self, watch: Arc<dyn Watch>) {
        // One server has one; should there be more, the first stays.
        let _ = self.watch.set(watch);
    }

    /// A statement begins.
    pub(crate) fn enter(
        self: &Arc<Statements>,
        caller: &Caller,
        text: &str,
        memory: Arc<StatementMemory>,
    ) -> Place {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let statement = Arc::new(Statement {
            id: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            caller: caller.clone(),
            text: shown(text),
            started_micros: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
            memory,
            begun: Instant::now(),
            has_turn: AtomicBool::new(false),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            cancel: CancellationToken::new(),
            killed_by: OnceLock::new(),
            outcome: OnceLock::new(),
            watch: Arc::clone(&self.watch),
            held: Mutex::new(None),
        });
        self.known.lock().running.insert(statement.id, Arc::clone(&statement));
        Place { statement, among: Arc::clone(self) }
    }

    /// Those that run and the last that ended, by number.
    pub(crate) fn list(&self) -> Vec<Arc<Statement>> {
        let known = self.known.lock();
        let mut all: Vec<_> = known.ended.iter().chain(known.running.values()).cloned().collect();
        drop(known);
        all.sort_unstable_by_key(|statement| statement.id);
        all
    }

    /// Ends the statement `id` where whose it is may be ended by `by`; it will say who did.
    ///
    /// # Errors
    /// Input where none of that number runs.
    pub(crate) fn kill(&self, id: u64, by: &Caller, may: impl Fn(&Caller) -> bool) -> Result<(), Error> {
        let found = self.known.lock().running.get(&id).cloned();
        let none = || {
            let message = format!("there is no running statement {id}: system.queries has those that run");
            Error::new(ErrorKind::Input, message)
        };
        let Some(statement) = found else { return Err(none()) };
        if !may(&statement.caller) {
            // That of another does not exist for who may not see it.
            return Err(none());
        }
        // Whoever was first is named.
        let _ = statement.killed_by.set(match &by.account {
            Some(account) => format!("account {account} over {}", by.wire),
            None => format!("somebody over {}", by.wire),
        });
        statement.cancel.cancel();
        // Where it is at work just now it finds out by itself; where nobody reads on, nobody would.
        if let Some(mut held) = statement.held.try_lock() {
            let held = held.take();
            drop(held);
        }
        Ok(())
    }
}

/// The beginning of `text`.
fn shown(text: &str) -> String {
    let text = text.trim();
    text[..text.floor_char_boundary(SHOWN_TEXT_BYTES_MAX)].to_owned()
}

impl Statement {
    /// How far it is.
    pub(crate) fn state(&self) -> State {
        match self.outcome.get() {
            Some(outcome) => outcome.state,
            None if self.has_turn.load(Ordering::Relaxed) => State::Running,
            None => State::Waiting,
        }
    }

    /// How long it took, or takes so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.outcome.get().map_or_else(|| self.begun.elapsed(), |outcome| outcome.elapsed)
    }

    /// Why it failed, or who cancelled it.
    pub(crate) fn error(&self) -> Option<&str> {
        self.outcome.get()?.error.as_deref()
    }

    /// Rows and bytes it gave, or took from its source, so far.
    pub(crate) fn given(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// It gave `batch`.
    pub(crate) fn give(&self, batch: &RecordBatch) {
        self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(batch.columns().iter().map(|column| bytes_of(column)).sum(), Ordering::Relaxed);
    }

    /// Its turn has come.
    pub(crate) fn take_turn(&self) {
        self.has_turn.store(true, Ordering::Relaxed);
    }

    /// Cancelled when somebody ends it.
    pub(crate) fn cancel_token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// What it says once somebody ended it.
    pub(crate) fn killed(&self) -> Error {
        let by = self.killed_by.get().map_or("somebody", String::as_str);
        Error::new(ErrorKind::Cancelled, format!("the statement was cancelled by {by}"))
    }

    /// It ended like this; only the first end counts.
    pub(crate) fn end(&self, outcome: Result<(), &Error>) {
        if self.outcome.get().is_none()
            && let Some(watch) = self.watch.get()
        {
            watch.ended(&self.caller, &self.text, outcome);
        }
        let (state, error) = match outcome {
            Ok(()) => (State::Done, None),
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                (State::Cancelled, Some(error.message().to_owned()))
            }
            Err(error) => (State::Failed, Some(error.to_string())),
        };
        let _ = self.outcome.set(Outcome { state, elapsed: self.begun.elapsed(), error });
    }
}

/// The bytes of the values of `column`, without what its buffers hold beside them.
fn bytes_of(column: &dyn Array) -> u64 {
    let long_texts =
        column.as_any().downcast_ref::<StringViewArray>().map_or(0, |texts| texts.total_buffer_bytes_used());
    (column.to_data().get_slice_memory_size().unwrap_or(0) + long_texts) as u64
}

/// A statement's place among those that run. It ends when this is dropped.
pub(crate) struct Place {
    pub(crate) statement: Arc<Statement>,
    among: Arc<Statements>,
}

impl Place {
    /// Notes how it ends, where this is its end.
    ///
    /// # Errors
    /// The error of `result`.
    pub(crate) fn note<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| self.statement.end(Err(error)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.statement.outcome.get().is_none() {
            let error = match self.statement.cancel.is_cancelled() {
                true => self.statement.killed(),
                false => Error::new(ErrorKind::Cancelled, "its client cancelled it or went away"),
            };
            self.statement.end(Err(&error));
        }
        let mut known = self.among.known.lock();
        if let Some(statement) = known.running.remove(&self.statement.id) {
            if known.ended.len() == ENDED_STATEMENTS_MAX {
                known.ended.pop_front();
            }
            known.ended.push_back(statement);
        }
    }
}
