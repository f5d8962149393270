//! SQL over a real store in a folder of its own.
//!
//! `scripts` runs `tests/slt/*.slt` (answers worked out by hand from `fixture`), `pushdown` compares random filters
//! with and without pushdown, `documentation` runs the examples of `docs/functions.md`, `errors` and `limits` hold what a statement may not do and how it is told, `running` what is known of
//! it meanwhile, `grants` what limited accounts see, `spilling` what it puts on disk.

#![expect(clippy::unwrap_used, reason = "helpers of a test may stop it")]

mod aggregates;
mod documentation;
mod errors;
mod fixture;
mod grants;
mod latest;
mod limits;
mod parameters;
mod pushdown;
mod running;
mod scripts;
mod spilling;
