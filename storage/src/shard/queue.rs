//! The bounded queue before a shard's writer: the only place where writes wait.
//!
//! Owns: the limit, and waking both sides. Does not own: what the writer does with a message.

use std::collections::VecDeque;
use std::sync::Arc;

use event_listener::{Event, EventListener};
use parking_lot::{Condvar, Mutex};
use wattline_model::{Batch, Deletion, Policies};

use super::completion::Part;
use crate::error::{Error, ErrorKind, Result};

/// Everything that can wake a writer.
pub(crate) enum Message {
    /// Commit a batch.
    Write(Batch, Part),
    /// Commit a deletion.
    Delete(Deletion, Part),
    /// From now on these storage policies rule.
    Rule(Arc<Policies>, Part),
    /// Freeze the memtable, so that all that was written before gets flushed.
    Freeze(Part),
}

struct State {
    messages: VecDeque<Message>,
    /// Memory of the batches in `messages`, and of the group the writer has taken and not answered yet.
    bytes: usize,
    /// Why nothing is taken any more.
    shut: Option<Error>,
}

/// The queue of one shard.
pub(crate) struct Queue {
    state: Mutex<State>,
    limit: usize,
    work: Condvar,
    room: Event,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Queue {
        let state = State { messages: VecDeque::new(), bytes: 0, shut: None };
        Queue { state: Mutex::new(state), limit, work: Condvar::new(), room: Event::new() }
    }

    /// Takes `batch` if there is room; gives it back if not. A batch larger than the whole queue is taken when
    /// the queue is empty.
    pub(crate) fn push(&self, batch: Batch, part: impl FnOnce() -> Part) -> Result<Option<Batch>> {
        let bytes = batch.bytes();
        let mut state = self.state.lock();
        if let Some(error) = &state.shut {
            return Err(error.clone());
        }
        if state.bytes > 0 && state.bytes + bytes > self.limit {
            return Ok(Some(batch));
        }
        state.bytes += bytes;
        state.messages.push_back(Message::Write(batch, part()));
        drop(state);
        self.work.notify_one();
        Ok(None)
    }

    /// Asks the writer to freeze its memtable.
    pub(crate) fn freeze(&self, part: Part) -> Result<()> {
        self.put(Message::Freeze(part))
    }

    /// Asks the writer to commit a deletion.
    pub(crate) fn delete(&self, deletion: Deletion, part: Part) -> Result<()> {
        self.put(Message::Delete(deletion, part))
    }

    /// Tells the writer which storage policies rule from now on.
    pub(crate) fn rule(&self, policies: Arc<Policies>, part: Part) -> Result<()> {
        self.put(Message::Rule(policies, part))
    }

    fn put(&self, message: Message) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(error) = &state.shut {
            return Err(error.clone());
        }
        state.messages.push_back(message);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// A listener for room; make it before the [`push`](Self::push) that may find none.
    pub(crate) fn listen(&self) -> EventListener {
        self.room.listen()
    }

    /// Waits for messages and takes those that fit one group; `None` once shut and empty.
    pub(crate) fn take(&self, group_bytes: usize) -> Option<Vec<Message>> {
        let mut state = self.state.lock();
        loop {
            if !state.messages.is_empty() {
                return Some(take_group(&mut state, group_bytes));
            }
            if state.shut.is_some() {
                return None;
            }
            self.work.wait(&mut state);
        }
    }

    /// The messages that fit one group, without waiting.
    pub(crate) fn try_take(&self, group_bytes: usize) -> Option<Vec<Message>> {
        let mut state = self.state.lock();
        (!state.messages.is_empty()).then(|| take_group(&mut state, group_bytes))
    }

    /// Gives back the room of messages that were answered.
    pub(crate) fn release(&self, bytes: usize) {
        self.state.lock().bytes -= bytes;
        self.room.notify(usize::MAX);
    }

    /// Takes nothing more; what waits is still handed to the writer.
    pub(crate) fn shut(&self, error: Error) {
        let mut state = self.state.lock();
        state.shut.get_or_insert(error);
        drop(state);
        self.work.notify_all();
        self.room.notify(usize::MAX);
    }

    /// Why nothing is taken any more, unless that is because the store was closed.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.state.lock().shut.clone().filter(|e| e.kind() != ErrorKind::Closed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.state.lock().bytes as u64
    }
}

/// Messages up to `group_bytes`, at least one; whatever is no write is a group of its own.
fn take_group(state: &mut State, group_bytes: usize) -> Vec<Message> {
    let mut group = Vec::new();
    let mut bytes = 0;
    while let Some(message) = state.messages.front() {
        match message {
            Message::Write(batch, _) => {
                bytes += batch.bytes();
                if bytes > group_bytes && !group.is_empty() {
                    break;
                }
                group.extend(state.messages.pop_front());
            }
            _ => {
                if group.is_empty() {
                    group.extend(state.messages.pop_front());
                }
                break;
            }
        }
    }
    group
}
