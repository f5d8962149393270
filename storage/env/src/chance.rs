//! Chance, as a seam.

use std::fmt::Debug;

/// Gives numbers that differ between processes and machines; in simulation, a sequence fixed by its seed.
pub trait Chance: Send + Sync + Debug {
    /// The next number, all 64 bits of it uniform.
    fn next_u64(&self) -> u64;
}
