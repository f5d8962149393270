//! The outside world as the engine sees it: clock, disk, chance.
//!
//! Owns: the three seams ([`Clock`], [`Disk`], [`Chance`]), their real implementations ([`real`]) and the simulated
//! ones ([`sim`]), and [`World`], the value that carries one of each into the engine.
//!
//! Does not own: what is written where (that is `storage`), the bytes of any file format, threads, or the network.
//!
//! All three seams are ordinary code: nothing is chosen by `cfg`, so the engine that is tested is the engine that runs.
//!
//! Reading order: [`clock`] → [`chance`] → [`disk`] → [`real`] → [`sim`].

use std::sync::Arc;

pub mod chance;
pub mod clock;
pub mod disk;
pub mod real;
pub mod sim;

pub use chance::Chance;
pub use clock::Clock;
pub use disk::{Disk, WriteFile};

/// One clock, one disk, one source of chance: everything outside the process that the engine may touch.
#[derive(Clone, Debug)]
pub struct World {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Keeps files.
    pub disk: Arc<dyn Disk>,
    /// Gives numbers nobody can foresee.
    pub chance: Arc<dyn Chance>,
}

impl World {
    /// The operating system's clock, file system and randomness.
    pub fn real() -> World {
        World {
            clock: Arc::new(real::RealClock::new()),
            disk: Arc::new(real::RealDisk),
            chance: Arc::new(real::RealChance),
        }
    }
}
