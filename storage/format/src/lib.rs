//! Bytes to values and back: everything Wattline keeps on disk.
//!
//! Owns: the layout of log files, manifests, latest-value checkpoints and segments, byte by byte; their checksums and
//! versions; telling whole from torn from damaged. Does not own: files, syncs, names, caches, threads (`storage`).
//! Nothing here does IO or waits, and no bytes make it panic.
//!
//! Reading order: [`frame`] → [`log`] → [`manifest`] → [`latest`] → [`segment`]. Each kind of file has a page under
//! `docs/format/`; a change of layout starts there.

mod block;
mod columns;
mod deletion;
mod error;
pub mod frame;
pub mod latest;
pub mod log;
pub mod manifest;
pub mod segment;
mod varint;

pub use error::{Error, ErrorKind};
