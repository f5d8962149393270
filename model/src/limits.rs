//! Every limit of the data model, with its reason. Limits of queues and files sit in the crate that has them.

/// Shards of a store. More than cores bring nothing; a Kafka topic of this size is still comfortable.
pub const SHARDS_MAX: u32 = 1_024;

/// Bytes of one device message (device protocol §4.9: 512 KB).
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// Bytes of a STRING, ENUM or FILE value (device protocol §4.9).
pub const STRING_BYTES_MAX: usize = 1_024;

/// Items of an ARRAY value (device protocol §4.9).
pub const ARRAY_ITEMS_MAX: usize = 128;

/// Bytes of a STRUCT or ARRAY value as JSON text. Not documented; bounds what one sample can cost.
pub const JSON_BYTES_MAX: usize = 16 * 1024;

/// Points of one model: wide SCADA models have a few thousand; a table of more columns serves nobody.
pub const MODEL_POINTS_MAX: usize = 10_000;

/// Bytes of an identifier of a model, point, product or device (documented: 64, later 128 characters).
pub const IDENTIFIER_BYTES_MAX: usize = 128;

/// Rows of one batch. Bounds the memory a single write can ask for; row numbers fit `u32` with room.
pub const BATCH_ROWS_MAX: usize = 1 << 20;

/// Assets that one deletion may name; for more, name none and mean all. Bounds what a tombstone costs while it is kept.
pub const DELETION_ASSETS_MAX: usize = 1 << 16;

/// The earliest time a sample may carry, 1970-01-01T00:00:00Z in microseconds. What comes with an earlier one is a
/// device whose clock was never set (year 1 is .NET's zero), not a measurement.
pub const TIME_MIN_MICROS: i64 = 0;

/// The latest time a sample may carry whatever the configuration says, 2200-01-01T00:00:00Z in microseconds.
/// A doorkeeper sets a tighter bound relative to its clock: one sample from the year 9999 would pin its
/// latest value for ever.
pub const TIME_MAX_MICROS: i64 = 7_258_118_400_000_000;

const _: () = assert!(TIME_MIN_MICROS < TIME_MAX_MICROS);
const _: () = assert!(STRING_BYTES_MAX <= JSON_BYTES_MAX && JSON_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(BATCH_ROWS_MAX <= u32::MAX as usize / 4);
