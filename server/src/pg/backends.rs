//! The connections there are, and how one cancels what another does.
//!
//! Owns: numbers and secrets of connections. Does not own: what cancelling stops (`session`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// What a connection does that can be cancelled.
#[derive(Debug, Default)]
struct Slot(Mutex<Option<CancellationToken>>);

struct Entry {
    secret: [u8; 4],
    slot: Arc<Slot>,
}

/// All connections of one listener.
#[derive(Default)]
pub struct Backends {
    entries: Mutex<HashMap<u32, Entry>>,
    last: AtomicU32,
}

impl Backends {
    /// A number and a secret for a connection, until what this gives is dropped.
    ///
    /// # Errors
    /// Where the operating system gives no random bytes.
    pub fn enter(self: &Arc<Backends>) -> Result<Backend> {
        let mut secret = [0; 4];
        getrandom::fill(&mut secret).map_err(|e| Error::failed(format!("random bytes: {e}")))?;
        let mut entries = self.entries.lock();
        // Positive as clients' signed numbers; those of old connections come round after two billion.
        let pid = loop {
            let pid = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & 0x7fff_ffff;
            if pid != 0 && !entries.contains_key(&pid) {
                break pid;
            }
        };
        let slot = Arc::<Slot>::default();
        entries.insert(pid, Entry { secret, slot: Arc::clone(&slot) });
        Ok(Backend { pid, secret, slot, token: CancellationToken::new(), backends: Arc::clone(self) })
    }

    /// Cancels what connection `pid` does, where `secret` is the one it was given.
    pub fn cancel(&self, pid: u32, secret: &[u8]) {
        let entries = self.entries.lock();
        let Some(entry) = entries.get(&pid) else { return };
        if bool::from(entry.secret[..].ct_eq(secret))
            && let Some(token) = &*entry.slot.0.lock()
        {
            token.cancel();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries.lock().len()
    }
}

/// One connection's entry.
pub struct Backend {
    /// Its number.
    pub pid: u32,
    /// What a request to cancel must show.
    pub secret: [u8; 4],
    slot: Arc<Slot>,
    token: CancellationToken,
    backends: Arc<Backends>,
}

impl Backend {
    /// Work on a message begins, which can be cancelled until [`end`](Self::end).
    pub fn begin(&mut self) {
        self.token = CancellationToken::new();
        *self.slot.0.lock() = Some(self.token.clone());
    }

    /// It ended: a request that comes later finds nothing.
    pub fn end(&mut self) {
        *self.slot.0.lock() = None;
    }

    /// Cancelled when the work is to be.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.backends.entries.lock().remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_secret_cancels_and_only_what_runs() {
        let backends = Arc::<Backends>::default();
        let mut backend = backends.enter().unwrap();
        let other = backends.enter().unwrap();
        assert_ne!(backend.pid, other.pid);
        backends.cancel(backend.pid, &backend.secret);
        backend.begin();
        assert!(!backend.token().is_cancelled(), "the request came before the statement");
        let wrong = backend.secret.map(|byte| !byte);
        backends.cancel(backend.pid, &wrong);
        backends.cancel(backend.pid, &backend.secret[..3]);
        backends.cancel(backend.pid, &[]);
        assert!(!backend.token().is_cancelled());
        backends.cancel(backend.pid, &backend.secret);
        assert!(backend.token().is_cancelled());
        backend.begin();
        backend.end();
        backends.cancel(backend.pid, &backend.secret);
        assert!(!backend.token().is_cancelled(), "the request came after the statement");
        drop(backend);
        assert_eq!(backends.count(), 1);
    }
}
