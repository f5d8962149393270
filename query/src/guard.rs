//! The rows of a running statement, within its limits.
//!
//! Owns: [`Guarded`], which ends a statement's rows when its time is over, when they are too many, when somebody kills
//! it and when it panics. Does not own: the limits (`settings`), memory (`memory`).

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::Stream;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::engine::Admitted;
use crate::error::{Error, ErrorKind};
use crate::running::{Held, Statement};
use crate::settings::QuerySettings;

type Polled = Poll<Option<Result<RecordBatch, DataFusionError>>>;

/// The rows of a running statement, with its limits. What runs is held by the statement, so that it can be ended while
/// nobody reads.
pub(crate) struct Guarded {
    schema: SchemaRef,
    statement: Arc<Statement>,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
    sleep: Option<Pin<Box<Sleep>>>,
    rows_left: Option<u64>,
    settings: Arc<QuerySettings>,
    /// Whether the end, or an error, was given out.
    is_over: bool,
}

impl Guarded {
    /// `rows` as the answer of the statement that was admitted, or as the rows it changes something with: then its end
    /// is not theirs.
    pub(crate) fn new(
        rows: SendableRecordBatchStream,
        admitted: Admitted,
        settings: &Arc<QuerySettings>,
        rows_max: Option<u64>,
    ) -> Guarded {
        let Admitted { turn, deadline, statement, place } = admitted;
        let schema = rows.schema();
        *statement.held.lock() = Some(Held { rows, _turn: turn, place });
        Guarded {
            schema,
            killed: Box::pin(statement.cancel_token().clone().cancelled_owned()),
            sleep: deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline))),
            rows_left: rows_max,
            settings: Arc::clone(settings),
            statement,
            is_over: false,
        }
    }

    fn poll_rows(&mut self, cx: &mut Context<'_>) -> Polled {
        let failed = |error: Error| Poll::Ready(Some(Err(error.into_datafusion())));
        if self.killed.as_mut().poll(cx).is_ready() {
            return failed(self.statement.killed());
        }
        if let Some(sleep) = &mut self.sleep
            && sleep.as_mut().poll(cx).is_ready()
        {
            return failed(self.settings.too_slow());
        }
        let polled = {
            let mut held = self.statement.held.lock();
            // Killed since it was looked at above.
            let Some(Held { rows, .. }) = &mut *held else { return failed(self.statement.killed()) };
            std::panic::catch_unwind(AssertUnwindSafe(|| rows.as_mut().poll_next(cx)))
        };
        // After the lock is let go: whoever kills it from here on finds it free, and ends it.
        if self.statement.cancel_token().is_cancelled() {
            return failed(self.statement.killed());
        }
        let Ok(polled) = polled else { return failed(panicked()) };
        let Poll::Ready(Some(Ok(batch))) = polled else { return polled };
        if let Some(left) = &mut self.rows_left {
            match left.checked_sub(batch.num_rows() as u64) {
                Some(rest) => *left = rest,
                None => return failed(self.settings.too_many_rows()),
            }
        }
        self.statement.give(&batch);
        Poll::Ready(Some(Ok(batch)))
    }

    /// Lets go of all the statement holds, and so ends it where these rows are its answer.
    fn let_go(&self, outcome: Option<Result<(), &Error>>) {
        let held = self.statement.held.lock().take();
        if let (Some(outcome), Some(Held { place: Some(place), .. })) = (outcome, &held) {
            place.statement.end(outcome);
        }
        drop(held);
    }
}

/// What is said of a statement that panicked.
pub(crate) fn panicked() -> Error {
    Error::new(ErrorKind::Bug, "the statement made the server panic; the log tells where")
}

impl Stream for Guarded {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = self.poll_rows(cx);
        // After the end or an error nothing of the statement goes on in the background.
        match polled {
            Poll::Ready(None) => {
                self.is_over = true;
                self.let_go(Some(Ok(())));
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.is_over = true;
                let error = Error::from(error);
                self.let_go(Some(Err(&error)));
                Poll::Ready(Some(Err(error.into_datafusion())))
            }
            other => other,
        }
    }
}

impl RecordBatchStream for Guarded {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.let_go(None);
    }
}
