//! Counts of the PostgreSQL wire, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::error::SqlState;

/// The counts.
#[derive(Debug, Default)]
pub struct Metrics {
    open: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    statements: AtomicU64,
    rows: AtomicU64,
    written: AtomicU64,
    /// Our own codes are few, so this does not grow with what clients send.
    errors: Mutex<BTreeMap<SqlState, u64>>,
}

/// An open connection.
pub struct Open<'a>(&'a Metrics);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A connection begins, and ends when this is dropped.
    pub fn open(&self) -> Open<'_> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    /// A connection was one too many.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A statement begins.
    pub fn statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// Rows were handed over.
    pub fn rows(&self, n: u64) {
        self.rows.fetch_add(n, Ordering::Relaxed);
    }

    /// Rows of COPY were written.
    pub fn written(&self, n: u64) {
        self.written.fetch_add(n, Ordering::Relaxed);
    }

    /// A client was told of an error.
    pub fn failed(&self, state: SqlState) {
        *self.errors.lock().entry(state).or_default() += 1;
    }

    /// Name, kind, help and value of each count.
    pub fn counts(&self) -> [(&'static str, &'static str, &'static str, u64); 6] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("wattline_pg_connections", "gauge", "PostgreSQL connections open.", of(&self.open)),
            ("wattline_pg_connections_total", "counter", "PostgreSQL connections taken.", of(&self.accepted)),
            (
                "wattline_pg_refused_total",
                "counter",
                "PostgreSQL connections beyond the limit.",
                of(&self.refused),
            ),
            (
                "wattline_pg_statements_total",
                "counter",
                "Statements of PostgreSQL clients.",
                of(&self.statements),
            ),
            ("wattline_pg_rows_total", "counter", "Rows sent to PostgreSQL clients.", of(&self.rows)),
            (
                "wattline_pg_rows_written_total",
                "counter",
                "Rows of COPY from PostgreSQL clients that were written.",
                of(&self.written),
            ),
        ]
    }

    /// Errors told, by SQLSTATE.
    pub fn errors(&self) -> Vec<(SqlState, u64)> {
        self.errors.lock().iter().map(|(state, n)| (*state, *n)).collect()
    }
}
