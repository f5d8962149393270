//! Values as answers show them.
//!
//! Owns: the JSON form of each data type, and what comparing values means. Does not own: items and envelopes (`items`, `answer`).

use std::cmp::Ordering;

use serde::Serialize;
use wattline_model::{DataType, Kind, Value, ValueRef};

use crate::error::{Error, Result};
use crate::time::write_civil;

/// A value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Nothing is known.
    Null,
    Float(f64),
    /// A binary32, whose shortest digits are other ones than those of the binary64 of the same number.
    Float32(f32),
    Int(i64),
    /// A civil time, microseconds.
    Civil(i64),
    /// An instant, which devices send as milliseconds in a text.
    Millis(i64),
    Text(String),
    /// JSON as it was sent.
    Json(String),
}

impl Cell {
    /// A stored value of a point of this type. BOOL is 0 or 1, as devices send it (data service §8).
    pub(crate) fn new(data_type: DataType, value: ValueRef<'_>) -> Cell {
        match (data_type, value) {
            // Exact: a FLOAT is held as the same number.
            (DataType::Float, ValueRef::Float(v)) => Cell::Float32(v as f32),
            (_, ValueRef::Float(v)) => Cell::Float(v),
            (DataType::Date, ValueRef::Int(v)) => Cell::Civil(v),
            (DataType::Timestamp, ValueRef::Int(v)) => Cell::Millis(v.div_euclid(1_000)),
            (_, ValueRef::Int(v)) => Cell::Int(v),
            (_, ValueRef::Bool(v)) => Cell::Int(i64::from(v)),
            (DataType::Array | DataType::Struct, ValueRef::Text(v)) if is_json(v) => Cell::Json(v.to_owned()),
            (_, ValueRef::Text(v)) => Cell::Text(v.to_owned()),
        }
    }

    /// As a number, where it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match *self {
            Cell::Float(v) => Some(v),
            Cell::Float32(v) => Some(f64::from(v)),
            Cell::Int(v) => Some(v as f64),
            _ => None,
        }
    }

    /// Bytes of text it holds.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Cell::Text(text) | Cell::Json(text) => text.len(),
            _ => 0,
        }
    }

    /// Appends it as JSON. NaN and infinities have no form there and are `null`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Cell::Float(v) if v.is_finite() => push_json(out, v),
            Cell::Float32(v) if v.is_finite() => push_json(out, v),
            Cell::Int(v) => push_json(out, v),
            Cell::Civil(micros) => {
                out.push(b'"');
                write_civil(out, *micros, b' ', false);
                out.push(b'"');
            }
            Cell::Millis(ms) => push_json(out, &ms.to_string()),
            Cell::Text(text) => push_json(out, text),
            Cell::Json(text) => out.extend_from_slice(text.as_bytes()),
            Cell::Null | Cell::Float(_) | Cell::Float32(_) => out.extend_from_slice(b"null"),
        }
    }
}

/// Appends `value` as JSON.
pub(crate) fn push_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("numbers and texts have a form, and a vector takes all");
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

/// The literal of a caller as a value of a point of this type.
pub(crate) fn read_literal(name: &str, data_type: DataType, text: &str) -> Result<Value> {
    let wrong =
        || Error::invalid(format!("{name}: {text:?} is no value of a point of type {}", data_type.name()));
    match data_type.kind() {
        _ if data_type == DataType::Date => {
            let civil: jiff::civil::DateTime = text.parse().map_err(|_| wrong())?;
            let utc = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
            Ok(Value::Int(utc.timestamp().as_microsecond()))
        }
        _ if data_type == DataType::Timestamp => {
            let ms: i64 = text.parse().map_err(|_| wrong())?;
            ms.checked_mul(1_000).map(Value::Int).ok_or_else(wrong)
        }
        Kind::Float if data_type == DataType::Float => {
            let number: f32 = text.parse().map_err(|_| wrong())?;
            Ok(Value::Float(f64::from(number)))
        }
        Kind::Float => text.parse().map(Value::Float).map_err(|_| wrong()),
        Kind::Int => text.parse().map(Value::Int).map_err(|_| wrong()),
        Kind::Bool => match text {
            "0" | "false" => Ok(Value::Bool(false)),
            "1" | "true" => Ok(Value::Bool(true)),
            _ => Err(wrong()),
        },
        Kind::Text => Ok(Value::Text(text.to_owned())),
    }
}

/// How two values of one kind compare; floats as IEEE 754 says, so NaN compares with nothing.
pub(crate) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data_type: DataType, value: ValueRef<'_>) -> String {
        let mut out = Vec::new();
        Cell::new(data_type, value).write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_type_has_its_form() {
        for (data_type, value, json) in [
            (DataType::Double, ValueRef::Float(7.4), "7.4"),
            (DataType::Double, ValueRef::Float(1_610.0), "1610.0"),
            (DataType::Double, ValueRef::Float(f64::NAN), "null"),
            (DataType::Float, ValueRef::Float(f64::from(7.4_f32)), "7.4"),
            (DataType::Int, ValueRef::Int(-3), "-3"),
            (DataType::Bool, ValueRef::Bool(true), "1"),
            (DataType::Date, ValueRef::Int(1_709_596_800_000_000), "\"2024-03-05 00:00:00\""),
            (DataType::Timestamp, ValueRef::Int(1_709_596_800_000_000), "\"1709596800000\""),
            (DataType::String, ValueRef::Text("a\"ö"), "\"a\\\"ö\""),
            (DataType::Array, ValueRef::Text("[1,2.50]"), "[1,2.50]"),
            (DataType::Struct, ValueRef::Text("no json"), "\"no json\""),
        ] {
            assert_eq!(shown(data_type, value), json, "{data_type:?}");
        }
    }
}
