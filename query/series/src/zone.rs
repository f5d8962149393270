//! Time zones: what a clock on a wall shows at an instant.
//!
//! Owns: [`Zone`], its names, and [`Span`]s of one offset. Does not own: the rules of zones (`jiff` has them).

use jiff::Timestamp as Instant;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use wattline_model::Timestamp;

use crate::error::Error;

/// A time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

/// Instants at which the clock is ahead of UTC by the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first one, in microseconds.
    pub from: i64,
    /// The first one after it.
    pub until: i64,
    /// Microseconds that the clock is ahead of UTC.
    pub offset: i64,
    /// The offset before, where there was one.
    pub before: Option<i64>,
}

impl Zone {
    /// UTC.
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// The zone of an IANA name (`Europe/Berlin`) or of a fixed offset (`+08:00`).
    ///
    /// # Errors
    /// Input where there is none.
    pub fn by_name(name: &str) -> Result<Zone, Error> {
        let name = name.trim();
        if matches!(name, "UTC" | "Z" | "utc") {
            return Ok(Zone::UTC);
        }
        if name.starts_with(['+', '-']) {
            let offset = fixed_offset(name)
                .ok_or_else(|| Error::input(format!("{name:?} is no offset: write it as +08:00")))?;
            return Ok(Zone(TimeZone::fixed(offset)));
        }
        let zone =
            TimeZone::get(name).map_err(|_| Error::input(format!("there is no time zone {name:?}")))?;
        Ok(Zone(zone))
    }

    /// The instant that a text names: with an offset of its own, or as the zone's clock shows it. Where the clock shows
    /// it twice it is the first time; where the clock skips it, as much later as was skipped.
    ///
    /// # Errors
    /// Input where it is none.
    pub fn time(&self, text: &str) -> Result<Timestamp, Error> {
        if let Ok(instant) = text.parse::<Instant>() {
            return Ok(Timestamp(instant.as_microsecond()));
        }
        let shown = text.parse::<DateTime>().and_then(|shown| self.0.to_timestamp(shown));
        let instant = shown
            .map_err(|_| Error::input(format!("{text:?} is no time: write it as 2026-01-31 06:00:00")))?;
        Ok(Timestamp(instant.as_microsecond()))
    }

    /// Whether the clock never changes its offset.
    pub fn is_fixed(&self) -> bool {
        self.0.to_fixed_offset().is_ok()
    }

    /// The span that `time` is in. Beyond the years that calendars know, offsets are those at their ends.
    pub fn span(&self, time: i64) -> Span {
        if let Ok(offset) = self.0.to_fixed_offset() {
            return Span { from: i64::MIN, until: i64::MAX, offset: micros(offset), before: None };
        }
        let instant =
            Instant::from_microsecond(time).unwrap_or(if time < 0 { Instant::MIN } else { Instant::MAX });
        let offset = self.0.to_offset(instant);
        // Some transitions change the name of the time only. The last one of those to ask about is this instant's own.
        let asked = instant.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(instant);
        let (mut from, mut before) = (i64::MIN, None);
        let mut began = None;
        for transition in self.0.preceding(asked) {
            if transition.offset() != offset {
                before = began.map(|_| micros(transition.offset()));
                break;
            }
            began = Some(transition.timestamp());
        }
        if before.is_none()
            && let Some(first) = began
        {
            // The first transition of the zone: before it the clock was at what it began with.
            let earlier = first.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(first);
            before = Some(micros(self.0.to_offset(earlier)));
        }
        if let (Some(began), Some(_)) = (began, before) {
            from = began.as_microsecond();
        }
        let mut transitions = self.0.following(instant);
        let until =
            transitions.find(|t| t.offset() != offset).map_or(i64::MAX, |t| t.timestamp().as_microsecond());
        Span { from, until, offset: micros(offset), before }
    }
}

impl From<TimeZone> for Zone {
    fn from(zone: TimeZone) -> Zone {
        Zone(zone)
    }
}

fn micros(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1_000_000
}

/// `+08:00`, `-0330`, `+8`.
fn fixed_offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.split_at(1) {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() > 2 => digits.split_at_checked(digits.len() - 2)?,
        None => (digits, "0"),
    };
    let number = |text: &str| {
        let right = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        right.then(|| text.parse::<i32>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 18 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Instant>().unwrap().as_microsecond()
    }

    #[test]
    fn names_and_offsets() {
        let hour = 3_600_000_000;
        for (name, offset) in [
            ("UTC", 0),
            ("+08:00", 8 * hour),
            ("-0330", -7 * hour / 2),
            ("+5", 5 * hour),
            ("Asia/Kolkata", 11 * hour / 2),
        ] {
            assert_eq!(
                Zone::by_name(name).unwrap().span(at("2026-01-01T00:00:00Z")).offset,
                offset,
                "{name}"
            );
        }
        for name in ["Europe/Atlantis", "+99:00", "+8:5x", "", "-", "+1:99", "+éé"] {
            assert!(Zone::by_name(name).is_err(), "{name}");
        }
        assert!(Zone::by_name("+01:00").unwrap().is_fixed());
        assert!(!Zone::by_name("Europe/Berlin").unwrap().is_fixed());
    }

    #[test]
    fn times_are_those_of_the_clock_or_of_their_own_offset() {
        let berlin = Zone::by_name("Europe/Berlin").unwrap();
        for (text, time) in [
            ("2026-07-01", "2026-06-30T22:00:00Z"),
            ("2026-07-01 06:00:00", "2026-07-01T04:00:00Z"),
            ("2026-07-01T06:00:00+08:00", "2026-06-30T22:00:00Z"),
            ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
            ("2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
        ] {
            assert_eq!(berlin.time(text).unwrap().0, at(time), "{text}");
        }
        assert!(berlin.time("2026-13-01").is_err());
    }

    #[test]
    fn spans_meet_at_transitions() {
        let berlin = Zone::by_name("Europe/Berlin").unwrap();
        let summer = berlin.span(at("2026-03-29T01:00:00Z"));
        assert_eq!((summer.from, summer.until), (at("2026-03-29T01:00:00Z"), at("2026-10-25T01:00:00Z")));
        assert_eq!((summer.offset, summer.before), (7_200_000_000, Some(3_600_000_000)));
        let winter = berlin.span(summer.from - 1);
        assert_eq!((winter.until, winter.offset), (summer.from, 3_600_000_000));
    }

    #[test]
    fn instants_beyond_the_calendar_have_a_span() {
        for name in ["Europe/Berlin", "America/New_York", "UTC"] {
            let zone = Zone::by_name(name).unwrap();
            for time in [i64::MIN, i64::MAX, 0] {
                let span = zone.span(time);
                assert!(span.from <= time && time <= span.until, "{name} {time}: {span:?}");
            }
        }
    }
}
