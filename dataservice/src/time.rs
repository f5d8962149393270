//! Times: what a caller's text means, and how an instant is written on an asset's clock (data service §1.5).
//!
//! Owns: the two forms of a time, ranges that mean another absolute time in each zone, local texts. Does not own:
//! zones themselves (`registry` reads them, `series` looks into them).

use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustc_hash::FxHashMap;
use wattline_model::{TimeRange, Timestamp};
use wattline_series::Zone;
use wattline_series::zone::Span;

use crate::error::{Error, Result};
use crate::params::Params;

/// A time as the caller wrote it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Time {
    /// What the clock of each asset shows.
    Local(DateTime),
    /// An instant.
    Absolute(Timestamp),
}

/// The range of a call, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Range {
    /// As the clocks of the assets show it.
    Local(DateTime, DateTime),
    /// The same for all.
    Absolute(TimeRange),
}

impl Range {
    /// `startTime` and `endTime`.
    pub(crate) fn read(params: &Params) -> Result<Range> {
        let start = read_time("startTime", params.required("startTime")?)?;
        let end = read_time("endTime", params.required("endTime")?)?;
        let backwards = || Error::invalid("endTime is earlier than startTime");
        match (start, end) {
            (Time::Local(start), Time::Local(end)) if start <= end => Ok(Range::Local(start, end)),
            (Time::Absolute(start), Time::Absolute(end)) if start <= end => {
                Ok(Range::Absolute(TimeRange::new(start, end)))
            }
            (Time::Local(_), Time::Local(_)) | (Time::Absolute(_), Time::Absolute(_)) => Err(backwards()),
            _ => {
                Err(Error::invalid("startTime and endTime must have the same form, local or with an offset"))
            }
        }
    }

    /// Whether it is read on each asset's clock.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Range::Local(..))
    }

    /// The instants meant in `zone`. A time that the clock shows twice is the first one, one that it skips as much
    /// later as was skipped.
    pub(crate) fn of(&self, zone: &TimeZone) -> Result<TimeRange> {
        let instant = |shown: DateTime| {
            let instant = zone.to_timestamp(shown);
            instant.map_err(|_| Error::invalid(format!("{shown} is beyond all time"))).map(micros)
        };
        match *self {
            Range::Absolute(range) => Ok(range),
            Range::Local(start, end) => Ok(TimeRange::new(instant(start)?, instant(end)?)),
        }
    }
}

fn micros(instant: jiff::Timestamp) -> Timestamp {
    Timestamp(instant.as_microsecond())
}

/// `2024-03-05 08:00:00[.SSS]`, or `2024-03-05T08:00:00[.SSS]` with an offset or `Z`.
pub(crate) fn read_time(name: &str, text: &str) -> Result<Time> {
    let wrong = || {
        Error::invalid(format!(
            "{name}: {text:?} is no time: write it as 2024-03-05 08:00:00 or 2024-03-05T08:00:00+08:00"
        ))
    };
    // jiff reads more than the two forms: only these have the same meaning everywhere.
    let shape = text.get(..19).ok_or_else(wrong)?.as_bytes();
    let digits = (0..19).filter(|i| ![4, 7, 10, 13, 16].contains(i)).all(|i| shape[i].is_ascii_digit());
    let marks = [shape[4], shape[7], shape[13], shape[16]] == *b"--::";
    if !digits || !marks {
        return Err(wrong());
    }
    match shape[10] {
        b' ' if text[19..].bytes().all(|c| c == b'.' || c.is_ascii_digit()) => {
            text.parse().map(Time::Local).map_err(|_| wrong())
        }
        b'T' => text.parse().map(|t| Time::Absolute(micros(t))).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

/// How local times are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalForm {
    /// `2024-03-05T08:00:00+08:00` rather than `2024-03-05 08:00:00`.
    pub(crate) offset: bool,
    /// With milliseconds.
    pub(crate) millis: bool,
}

impl LocalForm {
    /// `localTimeFormat` and `localTimeAccuracy`, which is `millis` where it is not given.
    pub(crate) fn read(params: &Params, millis: bool) -> Result<LocalForm> {
        let offset = match params.version() {
            crate::params::Version::V20 => false,
            crate::params::Version::V21 => params.int_within("localTimeFormat", 0, 0, 1)? == 1,
        };
        Ok(LocalForm { offset, millis: params.flag("localTimeAccuracy", millis)? })
    }
}

/// The zones of the assets of a call, each once.
#[derive(Default)]
pub(crate) struct Zones {
    known: FxHashMap<Arc<str>, usize>,
    list: Vec<(TimeZone, Clock)>,
}

impl Zones {
    /// The number of the zone with this text.
    pub(crate) fn number(&mut self, text: &Arc<str>) -> Result<usize> {
        if let Some(&number) = self.known.get(text) {
            return Ok(number);
        }
        // The registry lets in no zone that it cannot read.
        let zone = wattline_registry::timezone(text).map_err(Error::internal)?;
        let number = self.list.len();
        self.list.push((zone.clone(), Clock::new(Zone::from(zone))));
        self.known.insert(Arc::clone(text), number);
        Ok(number)
    }

    /// Zone `number`.
    pub(crate) fn zone(&self, number: usize) -> &TimeZone {
        &self.list[number].0
    }

    /// The clock of zone `number`.
    pub(crate) fn clock(&mut self, number: usize) -> &mut Clock {
        &mut self.list[number].1
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

/// What a zone's clock shows, quickly for times near each other.
pub(crate) struct Clock {
    zone: Zone,
    span: Span,
}

impl Clock {
    fn new(zone: Zone) -> Clock {
        let span = zone.span(0);
        Clock { zone, span }
    }

    /// Appends what the clock shows at `time`, microseconds since the epoch.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, time: i64, form: LocalForm) {
        if time < self.span.from || time >= self.span.until {
            self.span = self.zone.span(time);
        }
        write_civil(
            out,
            time.saturating_add(self.span.offset),
            if form.offset { b'T' } else { b' ' },
            form.millis,
        );
        if form.offset {
            let minutes = self.span.offset / 60_000_000;
            out.push(if minutes < 0 { b'-' } else { b'+' });
            out.extend_from_slice(&two_digits(minutes.abs() / 60));
            out.push(b':');
            out.extend_from_slice(&two_digits(minutes.abs() % 60));
        }
    }
}

/// Appends a civil time, held as microseconds as if it were UTC.
pub(crate) fn write_civil(out: &mut Vec<u8>, micros: i64, between: u8, millis: bool) {
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000) / 1_000);
    // Days to a date of the Gregorian calendar, counted in eras of 400 years that begin in March (H. Hinnant).
    let day = days + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, ms) = (rest / 1_000, rest % 1_000);
    // In place, and appended at once: an answer has up to 640,000 of them.
    let mut text = *b"0000-00-00 00:00:00.000";
    text[10] = between;
    let year = year.rem_euclid(10_000);
    let pairs = [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, seconds / 3_600),
        (14, seconds / 60 % 60),
        (17, seconds % 60),
        (20, ms / 10),
    ];
    for (at, number) in pairs {
        [text[at], text[at + 1]] = two_digits(number);
    }
    text[22] += (ms % 10) as u8;
    out.extend_from_slice(if millis { &text } else { &text[..19] });
}

/// The last two digits of `number`, which is not negative, with zeros before.
fn two_digits(number: i64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Version;

    fn range(start: &str, end: &str) -> Result<Range> {
        let pairs = [("startTime", start), ("endTime", end)].map(|(n, t)| (n.to_owned(), t.to_owned()));
        Range::read(&Params::from_pairs(Version::V21, pairs))
    }

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    fn zone(text: &str) -> TimeZone {
        wattline_registry::timezone(text).unwrap()
    }

    #[test]
    fn local_ranges_follow_each_zone_and_absolute_ones_do_not() {
        let local = range("2024-03-05 08:00:00", "2024-03-05 09:00:00.250").unwrap();
        let shanghai = local.of(&zone("Asia/Shanghai")).unwrap();
        // The spec's example: 2024-03-05 08:00 at +08:00 is 1709596800000.
        assert_eq!(shanghai.start.0, 1_709_596_800_000_000);
        assert_eq!(shanghai.end.0, at("2024-03-05T01:00:00.25Z"));
        assert_eq!(local.of(&zone("+05:30")).unwrap().start.0, at("2024-03-05T02:30:00Z"));
        let absolute = range("2024-03-05T08:00:00+08:00", "2024-03-05T01:00:00Z").unwrap();
        assert_eq!(absolute.of(&zone("-08:00")).unwrap().start.0, 1_709_596_800_000_000);
    }

    #[test]
    fn a_local_day_may_have_23_or_25_hours() {
        let berlin = zone("Europe/Berlin");
        for (day, next, hours) in [
            ("2024-03-30 00:00:00", "2024-03-31 00:00:00", 24),
            ("2024-03-31 00:00:00", "2024-04-01 00:00:00", 23),
            ("2024-10-27 00:00:00", "2024-10-28 00:00:00", 25),
        ] {
            let range = range(day, next).unwrap().of(&berlin).unwrap();
            assert_eq!((range.end.0 - range.start.0) / 3_600_000_000, hours, "{day}");
        }
    }

    #[test]
    fn other_texts_mixed_forms_and_backward_ranges_are_refused() {
        let (local, utc) = ("2024-03-05 08:00:00", "2024-03-05T08:00:00Z");
        for (start, end) in [(local, utc), (utc, local)] {
            assert!(range(start, end).unwrap_err().to_string().contains("same form"));
        }
        assert!(range(local, "2024-03-05 07:59:59").unwrap_err().to_string().contains("earlier"));
        assert!(range(local, local).unwrap().of(&zone("UTC")).unwrap().is_empty());
        for text in [
            "2024-03-05",
            "2024-03-05T08:00:00",
            "2024-03-05 08:00:00+08:00",
            "2024-03-05T08:00:00 08:00",
            "2024-13-05 08:00:00",
            "1709596800000",
            "6/11/2019 6:35:00 PM",
            "2024-03-05 08:00:0é",
        ] {
            assert!(range(text, text).is_err(), "{text}");
        }
        assert_eq!(range("", local).unwrap_err().to_string(), "startTime is required");
    }

    #[test]
    fn clocks_show_local_times_across_changes() {
        let mut zones = Zones::default();
        let berlin = zones.number(&"Europe/Berlin".into()).unwrap();
        assert_eq!(zones.number(&"Europe/Berlin".into()).unwrap(), berlin);
        let mut shown = |time: &str, offset, millis| {
            let mut out = Vec::new();
            zones.clock(berlin).write(&mut out, at(time), LocalForm { offset, millis });
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown("2024-10-27T00:30:00Z", true, false), "2024-10-27T02:30:00+02:00");
        assert_eq!(shown("2024-10-27T01:30:00Z", true, false), "2024-10-27T02:30:00+01:00");
        assert_eq!(shown("2024-03-31T00:59:59.999Z", false, true), "2024-03-31 01:59:59.999");
        assert_eq!(shown("2024-03-31T01:00:00Z", false, false), "2024-03-31 03:00:00");
    }

    #[test]
    fn civil_times_are_those_of_the_calendar() {
        for day in -800_000..200_000_i64 {
            let micros = day * 86_400_000_000 + 3_723_004_000;
            let Ok(time) = jiff::Timestamp::from_microsecond(micros) else { continue };
            if day % 97 != 0 || time.to_zoned(TimeZone::UTC).year() < 0 {
                continue;
            }
            let mut out = Vec::new();
            write_civil(&mut out, micros, b' ', true);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                time.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string(),
                "day {day}"
            );
        }
    }
}
