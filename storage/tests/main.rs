//! The engine against a simulated world: crashes at every operation, faults of the medium, and a model.
//!
//! Everything here drives a whole [`wattline_storage::Store`] over a simulated disk and compares it with a reference
//! that is too simple to be wrong. Tests are named after the promises of the design they hold.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed; the exception for tests misses helpers"
)]

mod aggregates;
mod backup;
mod crash;
mod faults;
mod journal;
mod journal_faults;
mod model;
mod policies;
mod simulation;
mod support;
mod upgrade;
