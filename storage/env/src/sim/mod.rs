//! The simulated world: a clock that moves when told, chance fixed by a seed, and a disk that can lose power.
//!
//! Owns: [`SimClock`], [`SimChance`], [`SimDisk`] with its faults ([`FaultPlan`]) and crashes ([`SimDisk::crash`]).
//!
//! Does not own: threads. A trace repeats exactly only where the engine is driven from one thread.
//!
//! Reading order: `disk` (files, names, what is durable) → `fault` (what goes wrong, and when) → `crash` (what a
//! restart may find).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::{Chance, Clock, World};

mod crash;
mod disk;
mod fault;

pub use crash::NameOrder;
pub use disk::SimDisk;
pub use fault::{FaultPlan, Operation, OperationKind};

/// A whole simulated world around `disk`: a clock at 2025-01-01 00:00 UTC and chance from `seed`.
pub fn world(disk: &SimDisk, seed: u64) -> World {
    World {
        clock: Arc::new(SimClock::new(1_735_689_600_000_000)),
        disk: Arc::new(disk.clone()),
        chance: Arc::new(SimChance::new(seed)),
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct SimClock {
    wall_micros: AtomicI64,
    monotonic_nanos: AtomicU64,
}

impl SimClock {
    /// A clock whose wall reading is `now_micros` and whose monotonic reading is zero.
    pub fn new(now_micros: i64) -> SimClock {
        SimClock { wall_micros: AtomicI64::new(now_micros), monotonic_nanos: AtomicU64::new(0) }
    }

    /// Lets time pass, on both readings.
    pub fn advance(&self, micros: u64) {
        self.wall_micros.fetch_add(i64::try_from(micros).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.monotonic_nanos.fetch_add(micros.saturating_mul(1_000), Ordering::SeqCst);
    }

    /// Sets the wall reading alone, forwards or backwards, as an operator or a time server does.
    pub fn set_wall(&self, now_micros: i64) {
        self.wall_micros.store(now_micros, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now_micros(&self) -> i64 {
        self.wall_micros.load(Ordering::SeqCst)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.monotonic_nanos.load(Ordering::SeqCst)
    }
}

/// Chance fixed by a seed (the SplitMix64 sequence).
#[derive(Debug)]
pub struct SimChance {
    state: AtomicU64,
}

impl SimChance {
    /// The sequence of this seed, from its beginning.
    pub fn new(seed: u64) -> SimChance {
        SimChance { state: AtomicU64::new(seed) }
    }
}

impl Chance for SimChance {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.state.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A number below `bound`, which must not be zero. The bias of the remainder does not matter to a simulation.
pub fn below(chance: &dyn Chance, bound: u64) -> u64 {
    chance.next_u64() % bound
}

#[cfg(test)]
mod tests;
