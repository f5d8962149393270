//! Texts to instants.
//!
//! Owns: the forms of time a file may use, finding out which one it uses, zones, and the rule for local times that a
//! clock change skips or repeats. Does not own: which column holds the time (`infer`).
//!
//! The rule: a time that carries an offset is that instant. A time without one is local time of the zone given. A
//! local time that the clock change skipped is moved forward by the length of the change; one that happened twice
//! means the first occurrence (RFC 5545, `Dst::Compatible`). Both are counted. Finer than a microsecond is cut off.

use jiff::civil::{DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::error::Error;

/// What to do with local times that a clock change skips or repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Dst {
    /// Skipped: moved forward by the change. Repeated: the first occurrence.
    Compatible,
    /// Skipped: moved back by the change. Repeated: the first occurrence.
    Earlier,
    /// Skipped: moved forward by the change. Repeated: the second occurrence.
    Later,
    /// The line is refused.
    Reject,
}

/// How times are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// ISO 8601 or RFC 3339, `T` or a blank between date and time, offset optional.
    Iso,
    /// A count since 1970-01-01T00:00:00Z in units of this many nanoseconds; decimals allowed.
    Epoch {
        /// Nanoseconds of one unit.
        unit_nanos: i64,
    },
    /// A strptime pattern.
    Pattern(String),
}

/// Patterns `Format::detect` tries, in order; where two of them read every sample differently, it asks.
const PATTERNS: [&str; 12] = [
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M",
    "%d.%m.%Y %H:%M:%S%.f",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M:%S%.f",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S%.f",
    "%m/%d/%Y %H:%M",
    "%d-%m-%Y %H:%M:%S%.f",
    "%d-%m-%Y %H:%M",
    "%d %m %Y %H:%M:%S%.f",
    "%d %m %Y %H:%M",
];

impl Format {
    /// The format a flag names; `None` for `auto`.
    pub fn from_flag(text: &str) -> Result<Option<Format>, Error> {
        let epoch = |unit_nanos| Ok(Some(Format::Epoch { unit_nanos }));
        match text {
            "auto" => Ok(None),
            "iso" => Ok(Some(Format::Iso)),
            "epoch-s" => epoch(1_000_000_000),
            "epoch-ms" => epoch(1_000_000),
            "epoch-us" => epoch(1_000),
            "epoch-ns" => epoch(1),
            pattern if pattern.contains('%') => Ok(Some(Format::Pattern(pattern.to_owned()))),
            _ => Err(Error::usage(format!(
                "--time-format {text:?} is neither auto, iso, epoch-s, epoch-ms, epoch-us, epoch-ns nor a pattern with %"
            ))),
        }
    }

    /// The format that reads every sample.
    ///
    /// Digits alone are a count since 1970, its unit told by its size: seconds up to 11 digits, then milliseconds,
    /// microseconds, nanoseconds by three digits each.
    pub fn detect(samples: &[&str]) -> Result<Format, String> {
        let Some(first) = samples.first() else {
            return Err("the file has no row to find the time format from".to_owned());
        };
        let mut candidates = vec![Format::Iso];
        if let Some(epoch) = epoch_by_size(first) {
            candidates.push(epoch);
        }
        candidates.extend(PATTERNS.iter().map(|p| Format::Pattern((*p).to_owned())));
        let reads = |format: &Format| -> Option<Vec<i64>> {
            let mut reader = TimeReader::new(format.clone(), TimeZone::UTC, Dst::Compatible);
            samples.iter().map(|s| reader.read(s.as_bytes()).ok()).collect()
        };
        let mut found: Vec<(Format, Vec<i64>)> = Vec::new();
        for format in candidates {
            if let Some(times) = reads(&format)
                && !found.iter().any(|(_, known)| *known == times)
            {
                found.push((format, times));
            }
        }
        match found.len() {
            0 => Err(format!("{first:?} is in no form known; give --time-format, e.g. '%d.%m.%Y %H:%M'")),
            1 => Ok(found.swap_remove(0).0),
            _ => {
                let names: Vec<String> = found.iter().map(|(format, _)| format.to_string()).collect();
                Err(format!("{first:?} can be read as {}; give --time-format", names.join(" or as ")))
            }
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Format::Iso => f.write_str("iso"),
            Format::Epoch { unit_nanos: 1_000_000_000 } => f.write_str("epoch-s"),
            Format::Epoch { unit_nanos: 1_000_000 } => f.write_str("epoch-ms"),
            Format::Epoch { unit_nanos: 1_000 } => f.write_str("epoch-us"),
            Format::Epoch { .. } => f.write_str("epoch-ns"),
            Format::Pattern(pattern) => write!(f, "{pattern:?}"),
        }
    }
}

fn epoch_by_size(sample: &str) -> Option<Format> {
    let digits = sample.split('.').next()?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let unit_nanos = match digits.len() {
        // Eight digits are more likely 20180131 than 1970-08-22; fewer are no time anybody measured at.
        ..=8 => return None,
        9..=11 => 1_000_000_000,
        12..=14 => 1_000_000,
        15..=17 => 1_000,
        _ => 1,
    };
    Some(Format::Epoch { unit_nanos })
}

/// Reads one column of times.
pub struct TimeReader {
    format: Format,
    zone: TimeZone,
    dst: Dst,
    /// Local times that the clock change skipped.
    pub skipped: u64,
    /// Local times that happened twice.
    pub repeated: u64,
}

impl TimeReader {
    /// A reader of times in `format`, local to `zone` where they carry no offset.
    pub fn new(format: Format, zone: TimeZone, dst: Dst) -> TimeReader {
        TimeReader { format, zone, dst, skipped: 0, repeated: 0 }
    }

    /// Microseconds since 1970-01-01T00:00:00Z, or the reason why there are none.
    pub fn read(&mut self, bytes: &[u8]) -> Result<i64, String> {
        let bytes = bytes.trim_ascii();
        match &self.format {
            Format::Epoch { unit_nanos } => epoch(bytes, *unit_nanos),
            Format::Iso => {
                static PARSER: DateTimeParser = DateTimeParser::new();
                // A civil time is tried first: it refuses a `Z`, and a written offset must not be ignored.
                if !has_offset(bytes) {
                    return match PARSER.parse_datetime(bytes) {
                        Ok(local) => self.place(local),
                        Err(_) => Err(format!("{} is no ISO 8601 time", shown(bytes))),
                    };
                }
                match PARSER.parse_timestamp(bytes) {
                    Ok(instant) => Ok(micros(instant)),
                    Err(_) => Err(format!("{} is no ISO 8601 time", shown(bytes))),
                }
            }
            Format::Pattern(pattern) => {
                let parsed = BrokenDownTime::parse(pattern, bytes)
                    .map_err(|_| format!("{} does not match {pattern:?}", shown(bytes)))?;
                if parsed.offset().is_some() || parsed.timestamp().is_some() {
                    let instant = parsed.to_timestamp().map_err(|e| format!("{}: {e}", shown(bytes)))?;
                    return Ok(micros(instant));
                }
                let date = parsed.to_date().map_err(|e| format!("{}: {e}", shown(bytes)))?;
                let time = if parsed.hour().is_none() { Ok(Time::midnight()) } else { parsed.to_time() };
                let time = time.map_err(|e| format!("{}: {e}", shown(bytes)))?;
                self.place(date.to_datetime(time))
            }
        }
    }

    /// The instant of a local time.
    pub fn place(&mut self, local: DateTime) -> Result<i64, String> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => {}
            AmbiguousOffset::Gap { .. } => self.skipped += 1,
            AmbiguousOffset::Fold { .. } => self.repeated += 1,
        }
        let instant = match self.dst {
            Dst::Compatible => ambiguous.compatible(),
            Dst::Earlier => ambiguous.earlier(),
            Dst::Later => ambiguous.later(),
            Dst::Reject => ambiguous.unambiguous(),
        };
        instant.map(micros).map_err(|_| match self.dst {
            Dst::Reject => format!("{local} does not exist, or happened twice, where the clock changes"),
            _ => format!("{local} is out of range"),
        })
    }
}

/// Whether an ISO text ends in `Z` or an offset (a sign after the date).
fn has_offset(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|b| matches!(b, b'Z' | b'z' | b']'))
        || bytes.iter().skip(10).any(|b| matches!(b, b'+' | b'-'))
}

fn micros(instant: jiff::Timestamp) -> i64 {
    // Toward minus infinity, as the vocabulary says; jiff's own conversion rounds toward zero.
    let nanos = instant.as_nanosecond().div_euclid(1_000);
    i64::try_from(nanos).expect("jiff's years -9999 to 9999 fit microseconds in 64 bits")
}

/// A count with decimals, exactly: no float touches it.
fn epoch(bytes: &[u8], unit_nanos: i64) -> Result<i64, String> {
    let refuse = || format!("{} is no count since 1970", shown(bytes));
    let text = std::str::from_utf8(bytes).map_err(|_| refuse())?;
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let count: i128 = whole.parse().map_err(|_| refuse())?;
    if !decimals.bytes().all(|b| b.is_ascii_digit()) || decimals.len() > 18 {
        return Err(refuse());
    }
    let mut nanos = count * i128::from(unit_nanos);
    if !decimals.is_empty() {
        let part: i128 = decimals.parse().map_err(|_| refuse())?;
        let scale = 10_i128.pow(decimals.len() as u32);
        let part = (part * i128::from(unit_nanos)).div_euclid(scale);
        nanos += if whole.starts_with('-') { -part } else { part };
    }
    i64::try_from(nanos.div_euclid(1_000)).map_err(|_| refuse())
}

/// Input as it may be shown in a message: quoted, cut after 40 characters.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().count() <= 40 {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(40).collect();
    format!("{head:?}…")
}

#[cfg(test)]
mod tests;
