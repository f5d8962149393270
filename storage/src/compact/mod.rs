//! Compaction: several segments of one partition become one, and what was deleted or expired goes.
//!
//! Owns: keeping the number of segments bounded, and giving the room of deleted samples back. [`pick`] decides,
//! purely; `merge` carries it out at the speed that `pace` allows.

mod merge;
mod pace;
mod pick;

pub(crate) use merge::{compact_now, compact_once, pending_segments};
