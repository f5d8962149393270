//! Values of Arrow columns as PostgreSQL's text and binary forms.
//!
//! Owns: the forms of each type. Does not own: rows and messages (`encode`), times (`time`), parameters (`params`).
//!
//! A batch's columns are brought to a handful of canonical types first, so that the loop over rows has one short branch a
//! value. Text forms are those of PostgreSQL with its default settings: shortest floats, hexadecimal `bytea`.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringViewArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::{BufMut as _, BytesMut};
use wattline_query::pg::types::{by_array, oid, oid_of_field};

use super::time::{self, EPOCH_DAYS, EPOCH_MICROS, Zone};

/// A column of one batch, ready to be written value by value.
pub struct Values {
    array: Kind,
    /// How the client was told the type.
    oid: u32,
}

enum Kind {
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Text(StringViewArray),
    Bytes(BinaryViewArray),
    Instant(TimestampMicrosecondArray),
    Local(TimestampMicrosecondArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Span(IntervalMonthDayNanoArray),
    Decimal(Decimal128Array),
    List(ListArray, u32),
    /// Everything else, as Arrow shows it.
    Shown(ArrayRef),
}

/// The type a column is brought to before it is written.
fn canonical(data_type: &DataType) -> DataType {
    use TimeUnit::Microsecond;
    match data_type {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::BinaryView,
        DataType::Timestamp(_, zone) => DataType::Timestamp(Microsecond, zone.clone()),
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(Microsecond),
        DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Dictionary(_, value) => canonical(value),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => DataType::List(Arc::clone(item)),
        other => other.clone(),
    }
}

impl Values {
    /// The values of `array`, shown as the type of number `oid`.
    ///
    /// # Errors
    /// Where values do not fit the type they are shown as.
    pub fn new(array: &ArrayRef, oid: u32) -> Result<Values, ArrowError> {
        let target = canonical(array.data_type());
        let array = match (&target == array.data_type(), array.data_type()) {
            (true, _) => Arc::clone(array),
            // There is no cast from durations to calendar spans where they do not fit into nanoseconds.
            (false, DataType::Duration(_)) => {
                let micros = cast(array, &DataType::Duration(TimeUnit::Microsecond))?;
                let micros = cast(&micros, &DataType::Int64)?;
                let spans = micros.as_primitive::<Int64Type>().iter().map(|micros| {
                    let nanos = micros?.checked_mul(1_000)?;
                    Some(arrow::datatypes::IntervalMonthDayNano::new(0, 0, nanos))
                });
                Arc::new(spans.collect::<IntervalMonthDayNanoArray>())
            }
            (false, _) => cast(array, &target)?,
        };
        let kind = match &target {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Bool(array.as_boolean().clone()),
            DataType::Int16 => Kind::Int2(array.as_primitive::<Int16Type>().clone()),
            DataType::Int32 => Kind::Int4(array.as_primitive::<Int32Type>().clone()),
            DataType::Int64 => Kind::Int8(array.as_primitive::<Int64Type>().clone()),
            DataType::Float32 => Kind::Float4(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Kind::Float8(array.as_primitive::<Float64Type>().clone()),
            DataType::Utf8View => Kind::Text(array.as_string_view().clone()),
            DataType::BinaryView => Kind::Bytes(array.as_binary_view().clone()),
            DataType::Timestamp(_, Some(_)) => {
                Kind::Instant(array.as_primitive::<TimestampMicrosecondType>().clone())
            }
            DataType::Timestamp(_, None) => {
                Kind::Local(array.as_primitive::<TimestampMicrosecondType>().clone())
            }
            DataType::Date32 => Kind::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Time64(_) => Kind::Time(array.as_primitive::<Time64MicrosecondType>().clone()),
            DataType::Interval(_) => Kind::Span(array.as_primitive::<IntervalMonthDayNanoType>().clone()),
            DataType::Decimal128(..) => Kind::Decimal(array.as_primitive::<Decimal128Type>().clone()),
            DataType::List(item) => {
                let element = by_array(oid).map_or_else(|| oid_of_field(item), |t| t.oid);
                Kind::List(array.as_list::<i32>().clone(), element)
            }
            _ => Kind::Shown(array),
        };
        Ok(Values { array: kind, oid })
    }

    /// Whether the value of `row` is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        match &self.array {
            Kind::Null => true,
            Kind::Bool(a) => a.is_null(row),
            Kind::Int2(a) => a.is_null(row),
            Kind::Int4(a) => a.is_null(row),
            Kind::Int8(a) => a.is_null(row),
            Kind::Float4(a) => a.is_null(row),
            Kind::Float8(a) => a.is_null(row),
            Kind::Text(a) => a.is_null(row),
            Kind::Bytes(a) => a.is_null(row),
            Kind::Instant(a) | Kind::Local(a) => a.is_null(row),
            Kind::Date(a) => a.is_null(row),
            Kind::Time(a) => a.is_null(row),
            Kind::Span(a) => a.is_null(row),
            Kind::Decimal(a) => a.is_null(row),
            Kind::List(a, _) => a.is_null(row),
            Kind::Shown(a) => a.is_null(row),
        }
    }

    /// Appends the text form of the value of `row`, which is not NULL.
    ///
    /// # Errors
    /// Where Arrow cannot show it.
    pub fn text(&self, row: usize, zone: &Zone, out: &mut String) -> Result<(), ArrowError> {
        let written = match &self.array {
            Kind::Null => Ok(()),
            Kind::Bool(a) => {
                out.push(if a.value(row) { 't' } else { 'f' });
                Ok(())
            }
            Kind::Int2(a) => write!(out, "{}", a.value(row)),
            Kind::Int4(a) => write!(out, "{}", a.value(row)),
            Kind::Int8(a) => write!(out, "{}", a.value(row)),
            Kind::Float4(a) => {
                float(out, f64::from(a.value(row)), &format_args!("{:e}", a.value(row)), 6);
                Ok(())
            }
            Kind::Float8(a) => {
                float(out, a.value(row), &format_args!("{:e}", a.value(row)), 15);
                Ok(())
            }
            Kind::Text(a) => out.write_str(a.value(row)),
            Kind::Bytes(a) => {
                out.push_str("\\x");
                a.value(row).iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
            Kind::Instant(a) => {
                time::timestamptz(out, a.value(row), zone);
                Ok(())
            }
            Kind::Local(a) => {
                time::timestamp(out, a.value(row));
                Ok(())
            }
            Kind::Date(a) => {
                time::date(out, i64::from(a.value(row)));
                Ok(())
            }
            Kind::Time(a) => {
                time::time(out, a.value(row));
                Ok(())
            }
            Kind::Span(a) => {
                let span = a.value(row);
                time::interval(out, span.months, span.days, span.nanoseconds / 1_000);
                Ok(())
            }
            Kind::Decimal(a) => out.write_str(&a.value_as_string(row)),
            Kind::List(a, element) => return list_text(&a.value(row), *element, zone, out),
            Kind::Shown(a) => {
                let options = FormatOptions::default();
                write!(out, "{}", ArrayFormatter::try_new(a.as_ref(), &options)?.value(row))
            }
        };
        written.map_err(|_| ArrowError::CastError("a value cannot be shown as text".to_owned()))
    }

    /// Appends the binary form of the value of `row`, which is not NULL.
    ///
    /// # Errors
    /// Where it has none.
    pub fn binary(&self, row: usize, zone: &Zone, out: &mut BytesMut) -> Result<(), ArrowError> {
        match (&self.array, self.oid) {
            (Kind::Null, _) => {}
            (Kind::Bool(a), oid::BOOL) => out.put_u8(u8::from(a.value(row))),
            (Kind::Int2(a), oid::INT2) => out.put_i16(a.value(row)),
            (Kind::Int4(a), number) if four_bytes(number) => out.put_i32(a.value(row)),
            (Kind::Int8(a), oid::INT8) => out.put_i64(a.value(row)),
            (Kind::Float4(a), oid::FLOAT4) => out.put_f32(a.value(row)),
            (Kind::Float8(a), oid::FLOAT8) => out.put_f64(a.value(row)),
            (Kind::Text(a), number) if is_text(number) => out.put_slice(a.value(row).as_bytes()),
            (Kind::Bytes(a), oid::BYTEA) => out.put_slice(a.value(row)),
            (Kind::Instant(a), oid::TIMESTAMPTZ) | (Kind::Local(a), oid::TIMESTAMP) => {
                out.put_i64(a.value(row).saturating_sub(EPOCH_MICROS));
            }
            (Kind::Date(a), oid::DATE) => out.put_i32(a.value(row).saturating_sub(EPOCH_DAYS)),
            (Kind::Time(a), oid::TIME) => out.put_i64(a.value(row)),
            (Kind::Span(a), oid::INTERVAL) => {
                let span = a.value(row);
                out.put_i64(span.nanoseconds / 1_000);
                out.put_i32(span.days);
                out.put_i32(span.months);
            }
            (Kind::Decimal(a), oid::NUMERIC) => numeric(&a.value_as_string(row), out),
            (Kind::List(a, element), number) if by_array(number).is_some() => {
                return list_binary(&a.value(row), *element, zone, out);
            }
            // Announced as a text, whatever it is.
            (_, number) if is_text(number) => {
                let mut text = String::new();
                self.text(row, zone, &mut text)?;
                out.put_slice(text.as_bytes());
            }
            (_, number) => {
                return Err(ArrowError::CastError(format!(
                    "it is not of the type {number} that was announced"
                )));
            }
        }
        Ok(())
    }
}

/// Whether a type's binary form is its text.
fn is_text(number: u32) -> bool {
    matches!(
        number,
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::JSON | oid::UNKNOWN
    )
}

/// Whether the type is a number of four bytes: `int4`, `oid` and those that look like names.
fn four_bytes(number: u32) -> bool {
    matches!(number, oid::INT4 | oid::OID | 24 | 2205 | 2206 | 4089)
}

/// Writes a float as PostgreSQL does: the fewest digits that give it back, and an exponent from 10^`digits` on and
/// below 10^-4. `scientific` is Rust's `{:e}`, which has those digits.
fn float(out: &mut String, value: f64, scientific: &std::fmt::Arguments<'_>, digits: i32) {
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let start = out.len();
    let _ = write!(out, "{scientific}");
    let Some(at) = out[start..].rfind('e').map(|at| start + at) else { return };
    let exponent: i32 = out[at + 1..].parse().unwrap_or(0);
    if (-4..digits).contains(&exponent) {
        let mantissa = out[start..at].to_owned();
        out.truncate(start);
        place_point(out, &mantissa, exponent);
    } else {
        out.truncate(at);
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "e{sign}{:02}", exponent.abs());
    }
}

/// `1.25` and 1: `12.5`.
fn place_point(out: &mut String, mantissa: &str, exponent: i32) {
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    out.push_str(sign);
    let digits = mantissa.replace('.', "");
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(&digits);
        return;
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        out.push_str(&digits);
        out.extend(std::iter::repeat_n('0', whole - digits.len()));
    } else {
        out.push_str(&digits[..whole]);
        out.push('.');
        out.push_str(&digits[whole..]);
    }
}

/// The binary form of a decimal number: digits to the base of 10,000.
pub fn numeric(text: &str, out: &mut BytesMut) {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let scale = fraction.len();
    let pad = whole.len().next_multiple_of(4) - whole.len();
    let mut digits = "0".repeat(pad) + whole;
    let weight = digits.len() as i16 / 4 - 1;
    digits.push_str(fraction);
    digits.extend(std::iter::repeat_n('0', scale.next_multiple_of(4) - scale));
    let mut groups: Vec<u16> = digits
        .as_bytes()
        .chunks(4)
        .map(|four| four.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0')))
        .collect();
    let leading = groups.iter().take_while(|&&g| g == 0).count();
    groups.drain(..leading);
    let weight = if groups.is_empty() { 0 } else { weight - leading as i16 };
    while groups.last() == Some(&0) {
        groups.pop();
    }
    out.put_u16(groups.len() as u16);
    out.put_i16(weight);
    out.put_u16(if negative && !groups.is_empty() { 0x4000 } else { 0 });
    out.put_u16(scale as u16);
    groups.iter().for_each(|&group| out.put_u16(group));
}

fn list_text(items: &ArrayRef, element: u32, zone: &Zone, out: &mut String) -> Result<(), ArrowError> {
    let values = Values::new(items, element)?;
    out.push('{');
    for i in 0..items.len() {
        if i > 0 {
            out.push(',');
        }
        if values.is_null(i) {
            out.push_str("NULL");
            continue;
        }
        let mut item = String::new();
        values.text(i, zone, &mut item)?;
        if needs_quotes(&item) {
            out.push('"');
            for c in item.chars() {
                if matches!(c, '"' | '\\') {
                    out.push('\\');
                }
                out.push(c);
            }
            out.push('"');
        } else {
            out.push_str(&item);
        }
    }
    out.push('}');
    Ok(())
}

fn needs_quotes(item: &str) -> bool {
    item.is_empty()
        || item.eq_ignore_ascii_case("null")
        || item.contains(|c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_ascii_whitespace())
}

fn list_binary(items: &ArrayRef, element: u32, zone: &Zone, out: &mut BytesMut) -> Result<(), ArrowError> {
    let values = Values::new(items, element)?;
    let nulls = (0..items.len()).any(|i| values.is_null(i));
    out.put_i32(i32::from(!items.is_empty()));
    out.put_i32(i32::from(nulls));
    out.put_u32(element);
    if items.is_empty() {
        return Ok(());
    }
    out.put_i32(items.len() as i32);
    out.put_i32(1);
    for i in 0..items.len() {
        if values.is_null(i) {
            out.put_i32(-1);
            continue;
        }
        let at = out.len();
        out.put_i32(0);
        values.binary(i, zone, out)?;
        let length = i32::try_from(out.len() - at - 4).unwrap_or(i32::MAX);
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// The number of the type a field is shown as.
pub fn shown_as(field: &Field) -> u32 {
    oid_of_field(field)
}

#[cfg(test)]
mod tests;
