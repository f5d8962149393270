//! What an engine may use, and what is said where a statement wants more.
//!
//! Owns: [`QuerySettings`], their bounds, the messages of limits. Does not own: keeping statements within them
//! (`guard`, `memory`, `engine`), how an operator sets them (`server`, by the names that the messages tell).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Settings of an [`Engine`](crate::Engine).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerySettings {
    /// Memory that the operators of all statements together may hold (sorts, joins, groups).
    pub memory_bytes: usize,
    /// Memory that those of one statement may hold; `None`: as much as all together.
    pub statement_memory_bytes: Option<usize>,
    /// Where operators put what does not fit; `None`: a statement that needs more memory fails.
    pub spill: Option<Spill>,
    /// Partitions that one statement is spread over.
    pub target_partitions: usize,
    /// Statements that run at the same time.
    pub statements_max: usize,
    /// How long a statement may run, answer included; `None`: no end.
    pub timeout: Option<Duration>,
    /// How many rows an answer may have; `None`: any number.
    pub rows_max: Option<u64>,
}

/// Where statements put what does not fit into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spill {
    /// A folder of their own. What a statement puts there goes with it.
    pub dir: PathBuf,
    /// Bytes that all statements together may have there.
    pub bytes_max: u64,
}

impl Default for QuerySettings {
    fn default() -> QuerySettings {
        QuerySettings {
            memory_bytes: 512 << 20,
            statement_memory_bytes: None,
            spill: None,
            target_partitions: std::thread::available_parallelism().map_or(2, NonZeroUsize::get),
            statements_max: 32,
            timeout: Some(Duration::from_secs(300)),
            rows_max: None,
        }
    }
}

impl QuerySettings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::Input, format!("setting {what}")));
        if self.memory_bytes < 1 << 20 {
            return wrong("memory_bytes must be at least 1048576");
        }
        if self.statement_memory_bytes.is_some_and(|bytes| bytes < 1 << 20) {
            return wrong("statement_memory_bytes must be at least 1048576");
        }
        if !(1..=1_024).contains(&self.target_partitions) {
            return wrong("target_partitions must be 1 to 1024");
        }
        if !(1..=10_000).contains(&self.statements_max) {
            return wrong("statements_max must be 1 to 10000");
        }
        if self.timeout.is_some_and(|t| t.is_zero()) {
            return wrong("timeout must be longer than nothing");
        }
        Ok(())
    }

    /// Memory that one statement may hold.
    pub(crate) fn statement_bytes(&self) -> usize {
        self.statement_memory_bytes.map_or(self.memory_bytes, |bytes| bytes.min(self.memory_bytes))
    }

    pub(crate) fn too_slow(&self) -> Error {
        let limit = self.timeout.unwrap_or_default().as_secs_f64();
        Error::new(
            ErrorKind::Timeout,
            format!("the statement ran longer than {limit} s (setting sql.timeout)"),
        )
    }

    pub(crate) fn too_many_rows(&self) -> Error {
        let limit = self.rows_max.unwrap_or(0);
        Error::new(ErrorKind::Limit, format!("the answer has more than {limit} rows (setting sql.rows_max)"))
    }

    pub(crate) fn too_many_statements(&self) -> Error {
        let running = self.statements_max;
        let message =
            format!("{running} statements are running, try again later (setting sql.concurrency_max)");
        Error::new(ErrorKind::Busy, message)
    }
}
