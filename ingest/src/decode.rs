//! Bytes to checked, resolved rows and rejects: one module a format.
//!
//! Owns: reading each format and saying what was wrong with which item. Does not own: the rules of values
//! ([`crate::check`]), durability (`storage`).

pub mod arrow;
mod assets;
pub mod enos;
pub mod event;
pub mod integration;
pub mod ndjson;
mod rejects;
pub(crate) mod scalar;

pub use rejects::{Decoded, Reject, Rejects};
