//! Long work that a client starts and then watches: checks and backups of the open store.
//!
//! Owns: one of them at a time, how far each is, cancelling, what came of the last ones. Does not own: the work.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value, json};
use wattline_query::OperationReport;

use crate::http::now_micros;

/// Operations whose outcome is remembered: enough for whoever started one to come back for it.
const REMEMBERED_MAX: usize = 32;

/// The operations of one server.
#[derive(Default)]
pub struct Operations {
    list: Mutex<VecDeque<Arc<Operation>>>,
    last_id: AtomicU64,
}

/// One operation.
pub struct Operation {
    /// Its number, from 1 at each start of the server.
    pub id: u64,
    kind: &'static str,
    started: Instant,
    /// The same by the operating system's clock, microseconds since the epoch.
    started_micros: i64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    cancelled: AtomicBool,
    /// What came of it: what it found, or why it failed; and how long it took.
    outcome: Mutex<Option<(Result<Value, String>, f64)>>,
}

impl Operations {
    /// Starts `work` on a thread of its own; what it returns is the outcome. `None` where another operation runs:
    /// they would only take the disk from each other.
    pub fn start(
        self: &Arc<Self>,
        kind: &'static str,
        work: impl FnOnce(&Operation) -> Result<Value, String> + Send + 'static,
    ) -> Option<Arc<Operation>> {
        let mut list = self.list.lock();
        if list.back().is_some_and(|last| last.is_running()) {
            return None;
        }
        let operation = Arc::new(Operation {
            id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            kind,
            started: Instant::now(),
            started_micros: now_micros(),
            bytes: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            outcome: Mutex::new(None),
        });
        if list.len() == REMEMBERED_MAX {
            list.pop_front();
        }
        list.push_back(Arc::clone(&operation));
        drop(list);
        let running = Arc::clone(&operation);
        let thread = std::thread::Builder::new().name(kind.to_owned()).spawn(move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&running)));
            let result =
                result.unwrap_or_else(|_| Err("it ended in a panic; the server's log says more".to_owned()));
            if let Err(why) = &result {
                tracing::warn!(operation = running.id, kind, why, "an operation failed");
            }
            running.end(result);
        });
        if let Err(error) = thread {
            operation.end(Err(format!("no thread for it: {error}")));
        }
        Some(operation)
    }

    /// Whether one runs.
    pub fn is_busy(&self) -> bool {
        self.list.lock().back().is_some_and(|last| last.is_running())
    }

    /// The operation with this number.
    pub fn get(&self, id: u64) -> Option<Arc<Operation>> {
        self.list.lock().iter().find(|operation| operation.id == id).cloned()
    }

    /// Those that are remembered, oldest first.
    pub fn list(&self) -> Vec<Arc<Operation>> {
        self.list.lock().iter().cloned().collect()
    }

    /// Ends what runs, for the end of the server.
    pub fn cancel_all(&self) {
        self.list.lock().iter().for_each(|operation| operation.cancel());
    }
}

impl Operation {
    /// Notes how far it is; `false` where it is to end.
    pub fn progress(&self, bytes: u64, bytes_total: u64) -> bool {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.bytes_total.store(bytes_total, Ordering::Relaxed);
        !self.cancelled.load(Ordering::Relaxed)
    }

    /// Asks it to end.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    fn is_running(&self) -> bool {
        self.outcome.lock().is_none()
    }

    fn end(&self, result: Result<Value, String>) {
        *self.outcome.lock() = Some((result, self.started.elapsed().as_secs_f64()));
    }

    /// As `system.jobs` shows it.
    pub fn report(&self) -> OperationReport {
        let outcome = self.outcome.lock();
        let elapsed =
            outcome.as_ref().map_or_else(|| self.started.elapsed().as_secs_f64(), |(_, took)| *took);
        let is_cancelled = self.cancelled.load(Ordering::Relaxed);
        let (state, error) = match outcome.as_ref().map(|(result, _)| result) {
            None => ("running", None),
            Some(Ok(_)) => ("finished", None),
            Some(Err(_)) if is_cancelled => ("cancelled", None),
            Some(Err(why)) => ("failed", Some(why.clone())),
        };
        OperationReport {
            kind: self.kind,
            id: self.id,
            state,
            started_micros: self.started_micros,
            elapsed_micros: (elapsed * 1e6) as i64,
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_total: self.bytes_total.load(Ordering::Relaxed),
            error,
        }
    }

    /// As clients see it.
    pub fn json(&self) -> Value {
        let outcome = self.outcome.lock().clone();
        let (state, seconds, result, error) = match outcome {
            None => ("running", self.started.elapsed().as_secs_f64(), Value::Null, None),
            Some((Ok(result), seconds)) => ("finished", seconds, result, None),
            Some((Err(_), seconds)) if self.cancelled.load(Ordering::Relaxed) => {
                ("cancelled", seconds, Value::Null, None)
            }
            Some((Err(why), seconds)) => ("failed", seconds, Value::Null, Some(why)),
        };
        json!({
            "id": self.id,
            "kind": self.kind,
            "state": state,
            "seconds": (seconds * 1e3).round() / 1e3,
            "bytes": self.bytes.load(Ordering::Relaxed),
            "bytesTotal": self.bytes_total.load(Ordering::Relaxed),
            "result": result,
            "error": error,
        })
    }
}
