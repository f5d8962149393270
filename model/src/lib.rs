//! The vocabulary every part of Wattline speaks.
//!
//! Owns: time and ranges of time, identifiers, data types and values, quality, thing models and their measure
//! points, the columnar [`Batch`], storage policies and what thinning means, sequence numbers and source positions, and
//! the limits of all of these.
//!
//! Does not own: IO, async, serialisation for protocols, who exists (that is `registry`), or any decision about
//! where data is kept (`storage`). Nothing in this crate can block or fail for reasons of the outside world.
//!
//! Reading order: [`time`] → [`id`] → [`thing`] → [`value`] → [`quality`] → [`batch`] →
//! [`deletion`] → [`policy`] → [`thin`] → [`seqno`] → [`limits`].

pub mod batch;
pub mod deletion;
pub mod id;
pub mod limits;
pub mod policy;
pub mod quality;
pub mod seqno;
pub mod thin;
pub mod thing;
pub mod time;
pub mod value;

pub use batch::{Batch, BatchBuilder, BatchError, Channel, Column, Destination, Rows};
pub use deletion::{Deletion, DeletionError, DeletionTarget};
pub use id::{AssetId, ModelId, OrgId, PointId, ShardCount, ShardId};
pub use policy::{
    HistoryRule, ModelPolicy, PointPolicy, Policies, Retention, StorageType, Thinning, Tolerance,
};
pub use quality::Quality;
pub use seqno::{Seqno, Source};
pub use thing::{DataType, EnumKind, Model, Point, SignalType};
pub use time::{TimeRange, Timestamp};
pub use value::{Kind, Presence, TextColumn, Value, ValueRef, Values};
