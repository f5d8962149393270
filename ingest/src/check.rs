//! Does a value fit its point?
//!
//! Owns: the rules of each data type, the rules of time and quality. Does not own: where the value stood in the input
//! (`decode`), which code a reply carries beyond the one a [`Fault`] names.
//!
//! | type | accepted | held as |
//! |---|---|---|
//! | INT | a whole number of 32 bits; `5.0` counts as whole | i64 |
//! | LONG | a whole number of 64 bits; a float only up to ±2^53 | i64 |
//! | FLOAT | a finite number, rounded to the nearest 32-bit float | that float, widened |
//! | DOUBLE | a finite number | f64 |
//! | BOOL | `true`, `false`, `0`, `1` | bool |
//! | STRING, FILE | text of 1 to 1,024 bytes | text |
//! | ENUM | a member (any value of the kind where the model lists none) | i64 or text |
//! | DATE | `yyyy-MM-dd HH:mm:ss` | microseconds since 1970, zoneless |
//! | TIMESTAMP | UTC milliseconds, a whole number or its digits as text | microseconds |
//! | ARRAY | a list of at most 128 items | compact JSON text |
//! | STRUCT | an object | compact JSON text |

use std::borrow::Cow;

use wattline_model::limits::{
    ARRAY_ITEMS_MAX, JSON_BYTES_MAX, STRING_BYTES_MAX, TIME_MAX_MICROS, TIME_MIN_MICROS,
};
use wattline_model::{DataType, EnumKind, Point, Quality, Timestamp, ValueRef};

use crate::code::Code;
use crate::limits::QUOTE_BYTES_MAX;

/// A value as the input had it, before anyone asked whether it fits.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number past `i64`.
    UInt(u64),
    /// A number.
    Float(f64),
    /// A number as its text, where rounding is up to the point's type.
    Number(&'a str),
    /// A text.
    Text(Cow<'a, str>),
    /// A list or object as valid JSON text.
    Json(&'a str),
    /// A list or object whose content nobody asked for.
    Nested,
}

/// Why a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// 1204 or 1206.
    pub code: Code,
    /// The reason, without the field.
    pub reason: String,
}

impl Fault {
    pub(crate) fn model(reason: impl Into<String>) -> Fault {
        Fault { code: Code::Model, reason: reason.into() }
    }

    pub(crate) fn format(reason: impl Into<String>) -> Fault {
        Fault { code: Code::Format, reason: reason.into() }
    }
}

impl Scalar<'_> {
    /// What it is, for messages.
    pub fn describe(&self) -> String {
        match self {
            Scalar::Null => "null".to_owned(),
            Scalar::Bool(v) => v.to_string(),
            Scalar::Int(v) => v.to_string(),
            Scalar::UInt(v) => v.to_string(),
            Scalar::Float(v) => v.to_string(),
            Scalar::Number(text) => quote(text).to_owned(),
            Scalar::Text(text) => format!("the text {:?}", quote(text)),
            Scalar::Json(text) if text.starts_with('[') => "a list".to_owned(),
            Scalar::Json(_) => "an object".to_owned(),
            Scalar::Nested => "a list or object".to_owned(),
        }
    }
}

/// As much of `text` as a message may quote.
pub(crate) fn quote(text: &str) -> &str {
    let mut end = text.len().min(QUOTE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The value of `point` that `scalar` stands for. `scratch` holds text that has to be rewritten.
///
/// # Errors
/// Says why it does not fit.
pub fn value<'s>(
    point: &Point,
    scalar: &'s Scalar<'_>,
    scratch: &'s mut String,
) -> Result<ValueRef<'s>, Fault> {
    match point.data_type {
        DataType::Double => double(scalar).map(ValueRef::Float),
        DataType::Float => float(scalar).map(|v| ValueRef::Float(f64::from(v))),
        DataType::Int => {
            whole(scalar, "a 32-bit integer", i64::from(i32::MIN), i64::from(i32::MAX)).map(ValueRef::Int)
        }
        DataType::Long => whole(scalar, "a 64-bit integer", i64::MIN, i64::MAX).map(ValueRef::Int),
        DataType::Bool => match scalar {
            Scalar::Bool(v) => Ok(ValueRef::Bool(*v)),
            Scalar::Int(v @ (0 | 1)) => Ok(ValueRef::Bool(*v == 1)),
            Scalar::Number(v @ ("0" | "1")) => Ok(ValueRef::Bool(*v == "1")),
            other => Err(expected("true, false, 0 or 1", other)),
        },
        DataType::String | DataType::File => text(scalar).map(ValueRef::Text),
        DataType::Enum(EnumKind::Int) => {
            let v = whole(scalar, "a 32-bit integer", i64::from(i32::MIN), i64::from(i32::MAX))?;
            let member = point.enum_ints.is_empty() || point.enum_ints.binary_search(&v).is_ok();
            if member { Ok(ValueRef::Int(v)) } else { Err(not_a_member(scalar)) }
        }
        DataType::Enum(EnumKind::Text) => {
            let v = text(scalar)?;
            let listed = &point.enum_texts;
            let member = listed.is_empty() || listed.binary_search_by(|m| m.as_str().cmp(v)).is_ok();
            if member { Ok(ValueRef::Text(v)) } else { Err(not_a_member(scalar)) }
        }
        DataType::Date => match scalar {
            Scalar::Text(text) => date(text).map(ValueRef::Int),
            other => Err(expected("a text yyyy-MM-dd HH:mm:ss", other)),
        },
        DataType::Timestamp => instant(scalar).map(ValueRef::Int),
        DataType::Array => json(scalar, b'[', "a list", scratch),
        DataType::Struct => json(scalar, b'{', "an object", scratch),
    }
}

fn expected(what: &str, got: &Scalar<'_>) -> Fault {
    Fault::format(format!("expected {what}, got {}", got.describe()))
}

fn not_a_member(got: &Scalar<'_>) -> Fault {
    Fault::model(format!("{} is not a value of this enumeration", got.describe()))
}

fn double(scalar: &Scalar<'_>) -> Result<f64, Fault> {
    let v = match scalar {
        Scalar::Float(v) => *v,
        #[expect(clippy::cast_precision_loss, reason = "a JSON number is what a double holds nearest to it")]
        Scalar::Int(v) => *v as f64,
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        Scalar::UInt(v) => *v as f64,
        Scalar::Number(text) => text.parse().map_err(|_| expected("a number", scalar))?,
        other => return Err(expected("a number", other)),
    };
    if v.is_finite() { Ok(v) } else { Err(expected("a finite 64-bit float", scalar)) }
}

/// Rounds once: from the text where there is one, for rounding to 64 bits first can end one unit off.
fn float(scalar: &Scalar<'_>) -> Result<f32, Fault> {
    let v = match scalar {
        Scalar::Number(text) => text.parse().map_err(|_| expected("a number", scalar))?,
        #[expect(clippy::cast_possible_truncation, reason = "rounding to 32 bits is the point")]
        Scalar::Float(v) if v.is_finite() => *v as f32,
        #[expect(clippy::cast_precision_loss, reason = "rounding is the point")]
        Scalar::Int(v) => *v as f32,
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        Scalar::UInt(v) => *v as f32,
        other => return Err(expected("a finite number", other)),
    };
    if v.is_finite() { Ok(v) } else { Err(expected("a number that fits a 32-bit float", scalar)) }
}

fn whole(scalar: &Scalar<'_>, what: &str, min: i64, max: i64) -> Result<i64, Fault> {
    let v = match scalar {
        Scalar::Int(v) => Some(*v),
        Scalar::Float(v) => whole_float(*v),
        Scalar::Number(text) => text.parse().ok().or_else(|| text.parse().ok().and_then(whole_float)),
        _ => None,
    };
    v.filter(|v| (min..=max).contains(v)).ok_or_else(|| expected(what, scalar))
}

/// A float that is a whole number every one of whose neighbours could also be told apart.
fn whole_float(v: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    (v.fract() == 0.0 && v.abs() <= EXACT).then_some(v as i64)
}

fn text<'s>(scalar: &'s Scalar<'_>) -> Result<&'s str, Fault> {
    let Scalar::Text(text) = scalar else { return Err(expected("a text", scalar)) };
    match text.len() {
        0 => Err(Fault::format("is an empty text")),
        1..=STRING_BYTES_MAX => Ok(text),
        n => Err(Fault::format(format!("has {n} bytes, more than {STRING_BYTES_MAX}"))),
    }
}

fn date(text: &str) -> Result<i64, Fault> {
    let fault = || Fault::format(format!("expected yyyy-MM-dd HH:mm:ss, got the text {:?}", quote(text)));
    let bytes = text.as_bytes();
    if bytes.len() != 19 || bytes[10] != b' ' {
        return Err(fault());
    }
    let civil: jiff::civil::DateTime =
        jiff::fmt::temporal::DateTimeParser::new().parse_datetime(text).map_err(|_| fault())?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| fault())?;
    Ok(zoned.timestamp().as_microsecond())
}

fn instant(scalar: &Scalar<'_>) -> Result<i64, Fault> {
    let ms = match scalar {
        Scalar::Text(text) => text.parse().ok(),
        other => whole(other, "", i64::MIN, i64::MAX).ok(),
    };
    ms.and_then(Timestamp::from_millis)
        .map(Timestamp::micros)
        .ok_or_else(|| expected("UTC milliseconds", scalar))
}

fn json<'s>(
    scalar: &Scalar<'_>,
    open: u8,
    what: &str,
    scratch: &'s mut String,
) -> Result<ValueRef<'s>, Fault> {
    let Scalar::Json(text) = scalar else { return Err(expected(what, scalar)) };
    if text.as_bytes().first() != Some(&open) {
        return Err(expected(what, scalar));
    }
    scratch.clear();
    let commas = compact(text, scratch);
    if scratch.len() > JSON_BYTES_MAX {
        return Err(Fault::format(format!("has {} bytes, more than {JSON_BYTES_MAX}", scratch.len())));
    }
    let items = if scratch.len() == 2 { 0 } else { commas + 1 };
    if open == b'[' && items > ARRAY_ITEMS_MAX {
        return Err(Fault::format(format!("has {items} items, more than {ARRAY_ITEMS_MAX}")));
    }
    Ok(ValueRef::Text(scratch))
}

/// Copies valid JSON without the blanks between its tokens and returns the number of commas of its outermost level.
/// Numbers and texts keep their spelling: nothing is read and written anew that could change on the way.
fn compact(text: &str, out: &mut String) -> usize {
    let (mut depth, mut commas, mut in_text, mut escaped) = (0_usize, 0, false, false);
    let mut kept_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => commas += 1,
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.push_str(&text[kept_from..at]);
                kept_from = at + 1;
            }
            _ => {}
        }
    }
    out.push_str(&text[kept_from..]);
    commas
}

/// The quality `scalar` stands for.
///
/// # Errors
/// Where it is not a whole number from 0 to 9.
pub fn quality(scalar: &Scalar<'_>) -> Result<Quality, Fault> {
    let code = whole(scalar, "", 0, 9).ok().and_then(|v| u8::try_from(v).ok());
    code.and_then(Quality::new).ok_or_else(|| {
        let got = scalar.describe();
        Fault::format(format!("expected a quality from 0 to 9, got {got}"))
    })
}

/// The latest time a sample may carry when it is `now` and clocks may run ahead by `future_limit_micros`.
pub fn time_max(now: Timestamp, future_limit_micros: i64) -> Timestamp {
    Timestamp(now.0.saturating_add(future_limit_micros.max(0)).min(TIME_MAX_MICROS))
}

/// The time that `scalar`, in UTC milliseconds, stands for. Fractions of a millisecond are cut off.
///
/// # Errors
/// Where it is no number, before 1970 or after `max`.
pub fn time_millis(scalar: &Scalar<'_>, max: Timestamp) -> Result<Timestamp, Fault> {
    let ms = match scalar {
        Scalar::Int(ms) => Some(*ms),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates, and the range check refuses the ends"
        )]
        Scalar::Float(ms) => Some(ms.floor() as i64),
        Scalar::UInt(_) => Some(i64::MAX),
        Scalar::Text(text) => text.parse().ok(),
        _ => None,
    };
    let Some(ms) = ms else { return Err(expected("UTC milliseconds", scalar)) };
    time(Timestamp(ms.saturating_mul(1_000)), max)
}

/// `time`, where a sample may carry it.
///
/// # Errors
/// Where it is before 1970 or after `max`.
pub fn time(time: Timestamp, max: Timestamp) -> Result<Timestamp, Fault> {
    if time.0 < TIME_MIN_MICROS {
        return Err(Fault::format(format!("{} ms is before 1970", time.millis())));
    }
    if time > max {
        return Err(Fault::format(format!(
            "{} ms is after {} ms, the latest accepted now",
            time.millis(),
            max.millis()
        )));
    }
    Ok(time)
}

#[cfg(test)]
mod tests;
