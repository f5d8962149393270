//! Counts of what goes over Flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start.
#[derive(Debug, Default)]
pub struct FlightMetrics {
    /// Connections open now.
    pub connections: AtomicU64,
    /// Statements begun.
    pub statements: AtomicU64,
    /// Rows handed to clients.
    pub rows_sent: AtomicU64,
    /// Rows that came beside statements and were written.
    pub rows_written: AtomicU64,
}

/// An open connection; counts as closed when dropped.
pub struct Open(Arc<FlightMetrics>);

impl Open {
    /// A connection opens.
    pub fn new(metrics: &Arc<FlightMetrics>) -> Open {
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(metrics))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
