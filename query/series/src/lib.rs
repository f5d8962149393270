//! Functions of time series, free of SQL, Arrow, IO and async.
//!
//! Owns: what each function means, to the last rule (nulls, NaN, duplicates, order, single samples), as *folds* over
//! samples in the order of time and as functions over slices. Does not own: types and names in SQL (`query`),
//! windows and watermarks of stream jobs, where samples come from.
//!
//! A fold is plain data. `push` takes the next sample, `append` joins a fold over later samples to one over earlier
//! ones, and its fields are public, so that whoever runs it can write it down and go on later. Folds want ascending
//! times; [`Gathered`] puts samples in order where they come in any. Whatever way a series is cut into parts, the
//! joined parts give what one pass gives.
//!
//! Rules that hold for all:
//! * A sample is a time and a value. What has no value, or NaN where numbers are asked for, is no sample. Infinity is
//!   none either where differences or areas are formed.
//! * Two samples of one time: the larger value stands ([`Gathered`]). A fold refuses the second one.
//! * Nothing is known before the first sample or after the last one; nothing is guessed there.
//!
//! Reading order: [`error`] → [`gathered`] → [`edge`] → [`counter`] → [`energy`] → [`weighted`] → [`state`] →
//! [`zone`] → [`bucket`] → [`fill`] → [`session`] → [`plot`] → [`asof`].

pub mod asof;
pub mod bucket;
pub mod counter;
pub mod edge;
pub mod energy;
pub mod error;
pub mod fill;
pub mod gathered;
pub mod plot;
pub mod session;
pub mod state;
pub mod weighted;
pub mod zone;

#[cfg(test)]
mod splits;

pub use asof::AsOf;
pub use bucket::{Buckets, Step};
pub use counter::Counter;
pub use edge::{First, Last};
pub use energy::{Energy, MeterRule};
pub use error::{Error, ErrorKind};
pub use fill::{interpolate, locf};
pub use gathered::{Fold, Gathered, Sample};
pub use plot::{lttb, swinging_door};
pub use session::Sessions;
pub use state::States;
pub use weighted::{Method, Weighted};
pub use zone::Zone;
