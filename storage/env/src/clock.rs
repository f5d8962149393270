//! Time, as a seam.

use std::fmt::Debug;

/// Tells the time. Two readings, because they answer different questions.
pub trait Clock: Send + Sync + Debug {
    /// Wall clock: microseconds since 1970-01-01 UTC. May jump, also backwards.
    fn now_micros(&self) -> i64;

    /// Nanoseconds since some fixed moment of this process. Never goes backwards; only differences mean anything.
    fn monotonic_nanos(&self) -> u64;
}
