//! The limits of the data service, each with its reason.

/// Assets × points of one call (data service §1.7).
pub const COMBINATIONS_MAX: usize = 3_000;

/// Assets × points × `pageSize` of one call, and the records of one series that a DI duration looks at (§1.7).
pub const ROWS_MAX: usize = 640_000;

/// Rows of a point of an asset where the call does not say (§1.7).
pub const PAGE_SIZE_DEFAULT: usize = 1_000;

/// Assets of one call to filter latest values, which has no documented limit: the fleets it is meant for, twice.
pub const FILTER_ASSETS_MAX: usize = 200_000;

/// Operands of the operator `in`: what a person or a program lists, far below what would make a filter slow.
pub const OPERANDS_MAX: usize = 1_000;

/// Minutes of a bucket at most (§2.4).
pub const INTERVAL_MINUTES_MAX: i64 = 1_440;

/// Seconds between two instants of `boundaryType=sample`: a day.
pub const SAMPLE_SECONDS_MAX: i64 = 86_400;

/// How far before the range a DI's state is looked for (§2.5).
pub const LOOK_BACK_MICROS: i64 = 30 * 86_400_000_000;

/// Bytes of the texts that one answer gathers. 640,000 rows of the longest values would take gigabytes.
pub const TEXT_BYTES_MAX: usize = 64 << 20;

/// A point whose newest sample is younger than this still has data arriving: slow meters send every hour.
pub const STILL_ARRIVING_MICROS: i64 = 3_600_000_000;

/// Records of devices on one page of a search.
pub const SEARCH_PAGE_MAX: usize = 1_000;

/// How deep pages of a search go: it holds as many records until it knows which are the newest.
pub const SEARCH_DEPTH_MAX: usize = 10_000;

/// Events of a page where the search does not say (§7.2).
pub const EVENTS_PAGE_DEFAULT: usize = 10;

/// How far back a search for events looks where it does not say: a week (§7.2).
pub const EVENTS_RANGE_DEFAULT_MICROS: i64 = 7 * 86_400_000_000;

/// Jobs of one page of deletion details.
pub const JOBS_PAGE_MAX: u32 = 1_000;

/// Seconds an access token is good for (§1.2).
pub const TOKEN_SECONDS: i64 = 7_200;

/// How far a caller's clock may be from ours: what a machine without a time service is off by, and no more, because
/// requests are remembered for as long as they could be sent again.
pub const CLOCK_SKEW_MICROS: i64 = 15 * 60 * 1_000_000;

/// Token requests remembered, to know one that is sent again. Only requests that prove the secret get in; at one a
/// second for each account of a thousand it holds a minute and a half, and a full table refuses.
pub const REPLAYS_MAX: usize = 100_000;

const _: () = assert!(COMBINATIONS_MAX * PAGE_SIZE_DEFAULT > ROWS_MAX, "the product needs its own limit");
