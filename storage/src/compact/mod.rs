//! Compaction: several segments of one partition become one.
//!
//! Owns: keeping the number of segments bounded. [`pick`] decides, purely; `merge` carries it out.

mod merge;
mod pick;

pub(crate) use merge::compact_once;
