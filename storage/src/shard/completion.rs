//! The answer to one call of the door, which several shards may have to give.
//!
//! Owns: counting down, keeping the first error, waking whoever waits, blocking or async. Every part answers: one
//! that is dropped unanswered counts as "closed".

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};

#[derive(Default)]
struct State {
    open: usize,
    error: Option<Error>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The waiting side.
#[derive(Default)]
pub(crate) struct Completion {
    shared: Arc<Shared>,
}

/// One part's duty to answer.
pub(crate) struct Part {
    shared: Option<Arc<Shared>>,
}

impl Completion {
    pub(crate) fn new() -> Completion {
        Completion::default()
    }

    /// One more part that will answer.
    pub(crate) fn part(&self) -> Part {
        self.shared.state.lock().open += 1;
        Part { shared: Some(Arc::clone(&self.shared)) }
    }

    /// Waits, blocking, until every part answered.
    pub(crate) fn wait(self) -> Result<()> {
        let mut state = self.shared.state.lock();
        while state.open > 0 {
            self.shared.changed.wait(&mut state);
        }
        state.error.take().map_or(Ok(()), Err)
    }
}

impl Future for Completion {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.shared.state.lock();
        if state.open == 0 {
            return Poll::Ready(state.error.take().map_or(Ok(()), Err));
        }
        if state.waker.as_ref().is_none_or(|w| !w.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Part {
    /// Answers.
    pub(crate) fn answer(mut self, result: Result<()>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<()>) {
        let Some(shared) = self.shared.take() else { return };
        let mut state = shared.state.lock();
        state.open -= 1;
        if let Err(error) = result {
            state.error.get_or_insert(error);
        }
        if state.open == 0 {
            let waker = state.waker.take();
            drop(state);
            shared.changed.notify_all();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.finish(Err(Error::closed()));
    }
}
