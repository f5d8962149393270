//! What happened on the wire.
//!
//! Owns: counters and latencies, shared by all devices. Does not own: showing them (`view`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Latencies are shown over one to two windows of this length.
const WINDOW: Duration = Duration::from_secs(10);
/// Longest latency told apart: a minute, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Counters of all devices.
pub struct Stats {
    /// Devices with a connection.
    pub connected: AtomicU64,
    /// Messages handed to the network.
    pub messages: AtomicU64,
    /// Messages acknowledged.
    pub acks: AtomicU64,
    /// Samples (one device, one time) acknowledged live.
    pub live: AtomicU64,
    /// Samples acknowledged as back-fill.
    pub resumed: AtomicU64,
    /// Samples that wait for a link.
    pub waiting: AtomicU64,
    /// Samples dropped because too many waited.
    pub dropped: AtomicU64,
    /// Replies with a code other than 200, refused logins, lost connections.
    pub errors: AtomicU64,
    latency: Mutex<Latency>,
    last_error: Mutex<Option<String>>,
}

struct Latency {
    recent: Histogram<u64>,
    before: Histogram<u64>,
    since: Instant,
}

impl Stats {
    /// Nothing happened yet.
    pub fn new() -> Stats {
        let empty = || Histogram::new_with_max(LATENCY_MAX_US, 2).expect("the bounds are constants that fit");
        Stats {
            connected: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            acks: AtomicU64::new(0),
            live: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            latency: Mutex::new(Latency { recent: empty(), before: empty(), since: Instant::now() }),
            last_error: Mutex::new(None),
        }
    }

    /// Notes the time from publish to acknowledgement of one message.
    pub fn acknowledged(&self, latency: Duration) {
        self.acks.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US);
        let mut windows = self.latency.lock();
        if windows.since.elapsed() >= WINDOW {
            let windows = &mut *windows;
            std::mem::swap(&mut windows.recent, &mut windows.before);
            windows.recent.reset();
            windows.since = Instant::now();
        }
        windows.recent.saturating_record(micros);
    }

    /// Median and 99th percentile of the latency lately.
    pub fn latency(&self) -> (Duration, Duration) {
        let windows = self.latency.lock();
        let mut both = windows.recent.clone();
        // Both have the same bounds, so adding cannot fail; were it to, the recent ones alone are right too.
        let _ = both.add(&windows.before);
        let at = |q| Duration::from_micros(both.value_at_quantile(q));
        (at(0.5), at(0.99))
    }

    /// Notes something that went wrong.
    pub fn failed(&self, what: String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock() = Some(what);
    }

    /// The last thing that went wrong.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }
}

impl Default for Stats {
    fn default() -> Stats {
        Stats::new()
    }
}
