//! Instants, dates, times of day and spans as PostgreSQL writes and reads them.
//!
//! Owns: their text forms (ISO dates, `postgres` intervals) and the session's time zone. Does not own: other values.

use std::fmt::Write as _;

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, civil};

/// Microseconds from 1970 to 2000, where PostgreSQL's binary times begin.
pub const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Days from 1970 to 2000.
pub const EPOCH_DAYS: i32 = 10_957;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The time zone of a session, under the name it was set with.
#[derive(Clone, Debug)]
pub struct Zone {
    /// As the client named it.
    pub name: String,
    zone: TimeZone,
    /// Set where the offset never changes.
    fixed: Option<i32>,
}

impl Zone {
    /// UTC.
    pub fn utc() -> Zone {
        Zone { name: "UTC".to_owned(), zone: TimeZone::UTC, fixed: Some(0) }
    }

    /// The zone a client means: an IANA name, or an offset like `+02`, `-03:30`, `2`.
    pub fn named(name: &str) -> Option<Zone> {
        let name = name.trim();
        if ["utc", "gmt", "z", "zulu", "etc/utc", "default", "local"].contains(&name.to_lowercase().as_str())
        {
            let shown = if name.eq_ignore_ascii_case("gmt") { "GMT" } else { "UTC" };
            return Some(Zone { name: shown.to_owned(), ..Zone::utc() });
        }
        if let Some(seconds) = offset_of(name) {
            let zone = TimeZone::fixed(Offset::from_seconds(seconds).ok()?);
            return Some(Zone { name: offset_name(seconds), zone, fixed: Some(seconds) });
        }
        let zone = TimeZone::get(name).ok()?;
        let name = zone.iana_name().unwrap_or(name).to_owned();
        Some(Zone { name, zone, fixed: None })
    }

    /// Seconds east of Greenwich at an instant.
    pub fn offset_at(&self, micros: i64) -> i32 {
        match self.fixed {
            Some(seconds) => seconds,
            None => match Timestamp::from_microsecond(micros) {
                Ok(instant) => self.zone.to_offset(instant).seconds(),
                // Beyond year 9999 no rule is known.
                Err(_) => 0,
            },
        }
    }

    /// The instant of a local time; where clocks are set back the first, where they are set forward the later.
    pub fn instant_of(&self, local: civil::DateTime) -> Option<i64> {
        let zoned = self.zone.to_ambiguous_zoned(local).compatible().ok()?;
        Some(zoned.timestamp().as_microsecond())
    }
}

/// `+02`, `-3`, `+05:30`, `5.5`: seconds.
fn offset_of(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        b'0'..=b'9' => (1, text),
        _ => return None,
    };
    let seconds = match digits.split_once(':') {
        Some((hours, minutes)) => {
            let minutes: i32 = minutes.parse().ok().filter(|m| (0..60).contains(m))?;
            hours.parse::<i32>().ok()?.checked_mul(3_600)? + minutes * 60
        }
        None => (digits.parse::<f64>().ok()? * 3_600.0).round() as i32,
    };
    (seconds.abs() <= 16 * 3_600).then_some(sign * seconds)
}

fn offset_name(seconds: i32) -> String {
    let mut name = String::new();
    write_offset(&mut name, seconds);
    // PostgreSQL shows such zones as POSIX does: signs the other way round.
    let posix = if seconds <= 0 { name.replace('-', "+") } else { name.replace('+', "-") };
    format!("<{name}>{posix}")
}

fn write_offset(out: &mut String, seconds: i32) {
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    let _ = write!(out, "{sign}{:02}", seconds / 3_600);
    if seconds % 3_600 != 0 {
        let _ = write!(out, ":{:02}", seconds / 60 % 60);
    }
    if seconds % 60 != 0 {
        let _ = write!(out, ":{:02}", seconds % 60);
    }
}

/// Year, month and day of a day counted from 1970, in the calendar of today for all times.
fn civil_of(days: i64) -> (i64, u32, u32) {
    // Eras of 400 years from 1 March 0000, as they all have the same length.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

/// Two digits.
fn two(out: &mut String, n: u32) {
    out.push(char::from(b'0' + (n / 10 % 10) as u8));
    out.push(char::from(b'0' + (n % 10) as u8));
}

/// A date; `true` where " BC" must follow what comes after it.
fn date_part(out: &mut String, days: i64) -> bool {
    let (year, month, day) = civil_of(days);
    let before_christ = year <= 0;
    let year = if before_christ { 1 - year } else { year };
    if (1_000..10_000).contains(&year) {
        two(out, (year / 100) as u32);
        two(out, (year % 100) as u32);
    } else {
        let _ = write!(out, "{year:04}");
    }
    out.push('-');
    two(out, month);
    out.push('-');
    two(out, day);
    before_christ
}

/// A date.
pub fn date(out: &mut String, days: i64) {
    if date_part(out, days) {
        out.push_str(" BC");
    }
}

/// A time of day, microseconds from midnight.
pub fn time(out: &mut String, micros: i64) {
    let (seconds, fraction) = (micros.div_euclid(SECOND), micros.rem_euclid(SECOND));
    two(out, (seconds / 3_600) as u32);
    out.push(':');
    two(out, (seconds / 60 % 60) as u32);
    out.push(':');
    two(out, (seconds % 60) as u32);
    fraction_part(out, fraction);
}

/// `.5` of 500,000 microseconds; nothing of 0.
fn fraction_part(out: &mut String, micros: i64) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// A local date and time.
pub fn timestamp(out: &mut String, micros: i64) {
    let before_christ = date_part(out, micros.div_euclid(DAY));
    out.push(' ');
    time(out, micros.rem_euclid(DAY));
    if before_christ {
        out.push_str(" BC");
    }
}

/// An instant, in a zone.
pub fn timestamptz(out: &mut String, micros: i64, zone: &Zone) {
    let offset = zone.offset_at(micros);
    let local = micros.saturating_add(i64::from(offset) * SECOND);
    let before_christ = date_part(out, local.div_euclid(DAY));
    out.push(' ');
    time(out, local.rem_euclid(DAY));
    write_offset(out, offset);
    if before_christ {
        out.push_str(" BC");
    }
}

/// A span of months, days and microseconds, in the style `postgres`.
pub fn interval(out: &mut String, months: i32, days: i32, micros: i64) {
    let start = out.len();
    let mut negative_before = false;
    let mut part = |out: &mut String, n: i32, one: &str, many: &str| {
        if n != 0 {
            let space = if out.len() > start { " " } else { "" };
            // After a negative part a positive one says so.
            let sign = if negative_before && n > 0 { "+" } else { "" };
            let _ = write!(out, "{space}{sign}{n} {}", if n == 1 { one } else { many });
            negative_before = n < 0;
        }
    };
    part(out, months / 12, "year", "years");
    part(out, months % 12, "mon", "mons");
    part(out, days, "day", "days");
    if micros != 0 || out.len() == start {
        let space = if out.len() > start { " " } else { "" };
        let sign = match (micros < 0, negative_before) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        let _ = write!(out, "{space}{sign}");
        let micros = micros.unsigned_abs();
        let (seconds, fraction) = (micros / SECOND.unsigned_abs(), micros % SECOND.unsigned_abs());
        let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
        fraction_part(out, fraction as i64);
    }
}

/// Reads a local date and time; a time may be missing.
pub fn read_timestamp(text: &str) -> Option<i64> {
    let local = read_local(text.trim())?;
    Some(TimeZone::UTC.to_ambiguous_zoned(local).compatible().ok()?.timestamp().as_microsecond())
}

/// Reads an instant; without an offset or zone it is one of `zone`.
pub fn read_timestamptz(text: &str, zone: &Zone) -> Option<i64> {
    let text = text.trim();
    if let Some(local) = read_local(text) {
        return zone.instant_of(local);
    }
    let text = text.strip_suffix(['Z', 'z']).map_or_else(|| text.to_owned(), |local| format!("{local}+00"));
    // `2024-01-01 00:00:00 Europe/Berlin`
    if let Some((local, name)) = text.rsplit_once(' ')
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        return Zone::named(name)?.instant_of(read_local(local.trim())?);
    }
    // The date's hyphens are not its sign.
    let sign = text.get(10..)?.rfind(['+', '-'])? + 10;
    let offset = read_offset(&text[sign..])?;
    let local = read_local(text[..sign].trim())?;
    let utc = TimeZone::UTC.to_ambiguous_zoned(local).compatible().ok()?.timestamp().as_microsecond();
    utc.checked_sub(i64::from(offset) * SECOND)
}

fn read_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |d| d.parse::<i32>().ok());
    let (hours, minutes, seconds) = match digits.len() {
        1 => (digits.parse().ok()?, 0, 0),
        2 | 4 | 6 => (part(0)?, part(2)?, part(4)?),
        _ => return None,
    };
    Some(sign * (hours * 3_600 + minutes * 60 + seconds))
}

fn read_local(text: &str) -> Option<civil::DateTime> {
    if text.len() <= 10 {
        return Some(text.parse::<civil::Date>().ok()?.to_datetime(civil::Time::midnight()));
    }
    // With an offset it is no local time, and jiff would let that pass.
    if text.get(10..)?.contains(['+', '-', 'Z', 'z', '[']) || !text.is_ascii() {
        return None;
    }
    text.replacen(' ', "T", 1).parse().ok()
}

/// Reads a date, as days from 1970.
pub fn read_date(text: &str) -> Option<i32> {
    let days = read_timestamp(text.trim())?.div_euclid(DAY);
    i32::try_from(days).ok()
}

/// Reads a time of day, as microseconds from midnight.
pub fn read_time(text: &str) -> Option<i64> {
    let time: civil::Time = text.trim().parse().ok()?;
    let seconds = i64::from(time.hour()) * 3_600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Some(seconds * SECOND + i64::from(time.subsec_nanosecond()) / 1_000)
}

/// Reads a span of numbers with units, ending perhaps in a time: `1 day 02:03:04.5`, `-3 mons`, `90 minutes`.
pub fn read_interval(text: &str) -> Option<(i32, i32, i64)> {
    let (mut months, mut days, mut micros) = (0_i32, 0_i32, 0_i64);
    let mut words = text.split_whitespace().filter(|word| *word != "@").peekable();
    words.peek()?;
    while let Some(word) = words.next() {
        if word.contains(':') {
            let (sign, digits) = match word.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, word.trim_start_matches('+')),
            };
            let mut parts = digits.split(':');
            let hours: i64 = parts.next()?.parse().ok()?;
            let minutes: i64 = parts.next()?.parse().ok()?;
            let seconds: f64 = parts.next().map_or(Some(0.0), |s| s.parse().ok())?;
            let whole =
                hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?.checked_mul(SECOND)?;
            micros = micros.checked_add(sign * (whole + (seconds * 1e6).round() as i64))?;
            continue;
        }
        let split = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
        let number: f64 = word[..split].parse().ok()?;
        let unit = if split < word.len() { &word[split..] } else { words.next()? };
        let unit = unit.to_lowercase();
        let unit = unit.strip_suffix('s').filter(|u| !u.is_empty() && *u != "m").unwrap_or(&unit);
        match unit {
            "year" | "yr" | "y" => months = months.checked_add(whole(number * 12.0)?)?,
            "month" | "mon" => months = months.checked_add(whole(number)?)?,
            "week" | "w" => days = days.checked_add(whole(number * 7.0)?)?,
            "day" | "d" => {
                days = days.checked_add(whole(number.trunc())?)?;
                micros = micros.checked_add((number.fract() * 86_400e6).round() as i64)?;
            }
            "hour" | "hr" | "h" => micros = micros.checked_add((number * 3_600e6).round() as i64)?,
            "minute" | "min" | "m" => micros = micros.checked_add((number * 60e6).round() as i64)?,
            "second" | "sec" | "s" => micros = micros.checked_add((number * 1e6).round() as i64)?,
            "millisecond" | "ms" => micros = micros.checked_add((number * 1e3).round() as i64)?,
            "microsecond" | "us" => micros = micros.checked_add(number.round() as i64)?,
            _ => return None,
        }
    }
    Some((months, days, micros))
}

fn whole(number: f64) -> Option<i32> {
    let rounded = number.round();
    (rounded.abs() <= f64::from(i32::MAX)).then_some(rounded as i32)
}

#[cfg(test)]
mod tests;
