//! Points in time and half-open ranges of them.
//!
//! Owns: [`Timestamp`] and [`TimeRange`]. Does not own: reading a clock (`env`), calendars and zones (callers use
//! `jiff`), text forms of time.

use std::fmt;

/// An instant: microseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
///
/// Devices send milliseconds; anything finer than a microsecond is truncated toward minus infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest instant that can be held.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest instant that can be held.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// The instant `ms` milliseconds after the epoch, or `None` where that does not fit.
    pub fn from_millis(ms: i64) -> Option<Timestamp> {
        ms.checked_mul(1_000).map(Timestamp)
    }

    /// The instant `micros` microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded toward minus infinity.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// A half-open range of time: `start` is inside, `end` is not. Empty where `end <= start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
}

impl TimeRange {
    /// Every instant but [`Timestamp::MAX`], which no accepted sample can carry (see [`crate::limits`]).
    pub const ALL: TimeRange = TimeRange { start: Timestamp::MIN, end: Timestamp::MAX };

    /// The range `[start, end)`.
    pub const fn new(start: Timestamp, end: Timestamp) -> TimeRange {
        TimeRange { start, end }
    }

    /// Whether no instant is inside.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether `time` is inside.
    pub fn contains(self, time: Timestamp) -> bool {
        self.start <= time && time < self.end
    }

    /// Whether some instant of the closed interval `[first, last]` is inside.
    pub fn overlaps_closed(self, first: Timestamp, last: Timestamp) -> bool {
        self.start <= last && first < self.end
    }

    /// Whether the closed interval `[first, last]` lies wholly inside.
    pub fn covers_closed(self, first: Timestamp, last: Timestamp) -> bool {
        self.start <= first && last < self.end
    }

    /// The instants that are in both.
    pub fn intersect(self, other: TimeRange) -> TimeRange {
        TimeRange { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_start_and_not_its_end() {
        let range = TimeRange::new(Timestamp(10), Timestamp(20));
        assert!(range.contains(Timestamp(10)));
        assert!(!range.contains(Timestamp(20)));
        assert!(range.overlaps_closed(Timestamp(0), Timestamp(10)));
        assert!(!range.overlaps_closed(Timestamp(20), Timestamp(30)));
        assert!(range.covers_closed(Timestamp(10), Timestamp(19)));
        assert!(!range.covers_closed(Timestamp(10), Timestamp(20)));
    }

    #[test]
    fn milliseconds_before_the_epoch_round_down() {
        assert_eq!(Timestamp(-1).millis(), -1);
        assert_eq!(Timestamp(-1_000).millis(), -1);
        assert_eq!(Timestamp(1_999).millis(), 1);
        assert_eq!(Timestamp::from_millis(i64::MAX), None);
    }
}
