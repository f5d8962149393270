//! Parameters of prepared statements: text or binary → a value.
//!
//! Owns: reading each type's forms. Does not own: which types parameters have (`prepared`).

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use bytes::Buf as _;
use wattline_query::ScalarValue;
use wattline_query::pg::types::{arrow_of, by_array, by_oid, oid};

use super::error::{PgError, state};
use super::frontend::Format;
use super::time::{self, EPOCH_DAYS, EPOCH_MICROS, Zone};

/// Items of an array parameter at most: an `= ANY ($1)` of all assets of a large plant fits.
const ITEMS_MAX: usize = 1 << 20;

/// Reads parameter `number` (from 1), of the type with number `oid`.
///
/// # Errors
/// Where the bytes are no value of the type.
pub fn parameter(
    number: usize,
    type_oid: u32,
    format: Format,
    bytes: Option<&[u8]>,
    zone: &Zone,
) -> Result<ScalarValue, PgError> {
    let Some(bytes) = bytes else { return Ok(null(type_oid)) };
    let name = by_oid(type_oid).or_else(|| by_array(type_oid)).map_or("unknown", |t| t.name);
    match format {
        Format::Text => {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                PgError::new(
                    "22021",
                    format!("parameter ${number}: invalid byte sequence for encoding \"UTF8\""),
                )
            })?;
            of_text(type_oid, text, zone).ok_or_else(|| {
                let message =
                    format!("invalid input syntax for type {name} in parameter ${number}: {text:?}");
                PgError::new(state::INVALID_TEXT, message)
            })
        }
        Format::Binary => of_binary(type_oid, bytes).ok_or_else(|| {
            let message = format!("incorrect binary data format in parameter ${number} of type {name}");
            PgError::new(state::INVALID_BINARY, message)
        }),
    }
}

fn null(type_oid: u32) -> ScalarValue {
    arrow_of(type_oid).and_then(|t| ScalarValue::try_from(&t).ok()).unwrap_or(ScalarValue::Null)
}

/// A value from its text; `None` where it is none of its type.
pub fn of_text(type_oid: u32, text: &str, zone: &Zone) -> Option<ScalarValue> {
    let trimmed = text.trim();
    Some(match type_oid {
        oid::BOOL => ScalarValue::Boolean(Some(match trimmed.to_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => true,
            "f" | "false" | "n" | "no" | "off" | "0" => false,
            _ => return None,
        })),
        oid::INT2 => ScalarValue::Int16(Some(trimmed.parse().ok()?)),
        oid::INT4 => ScalarValue::Int32(Some(trimmed.parse().ok()?)),
        oid::INT8 | oid::OID => ScalarValue::Int64(Some(trimmed.parse().ok()?)),
        oid::FLOAT4 => ScalarValue::Float32(Some(trimmed.parse().ok()?)),
        oid::FLOAT8 => ScalarValue::Float64(Some(trimmed.parse().ok()?)),
        oid::NUMERIC => decimal(trimmed)?,
        oid::BYTEA => ScalarValue::Binary(Some(hex(trimmed.strip_prefix("\\x")?)?)),
        oid::DATE => ScalarValue::Date32(Some(time::read_date(trimmed)?)),
        oid::TIME => ScalarValue::Time64Microsecond(Some(time::read_time(trimmed)?)),
        oid::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(time::read_timestamp(trimmed)?), None),
        oid::TIMESTAMPTZ => instant(time::read_timestamptz(trimmed, zone)?),
        oid::INTERVAL => span(time::read_interval(trimmed)?)?,
        _ => match by_array(type_oid) {
            Some(element) => {
                let items = array_items(trimmed)?;
                let items = items.into_iter().map(|item| match item {
                    Some(text) => of_text(element.oid, &text, zone),
                    None => Some(null(element.oid)),
                });
                list(element.oid, items.collect::<Option<Vec<_>>>()?)?
            }
            None => ScalarValue::Utf8(Some(text.to_owned())),
        },
    })
}

fn of_binary(type_oid: u32, mut bytes: &[u8]) -> Option<ScalarValue> {
    let n = bytes.len();
    let fits = |size: usize| (n == size).then_some(());
    Some(match type_oid {
        oid::BOOL => {
            fits(1)?;
            ScalarValue::Boolean(Some(bytes[0] != 0))
        }
        oid::INT2 => {
            fits(2)?;
            ScalarValue::Int16(Some(bytes.get_i16()))
        }
        oid::INT4 => {
            fits(4)?;
            ScalarValue::Int32(Some(bytes.get_i32()))
        }
        oid::OID => {
            fits(4)?;
            ScalarValue::Int64(Some(i64::from(bytes.get_u32())))
        }
        oid::INT8 => {
            fits(8)?;
            ScalarValue::Int64(Some(bytes.get_i64()))
        }
        oid::FLOAT4 => {
            fits(4)?;
            ScalarValue::Float32(Some(bytes.get_f32()))
        }
        oid::FLOAT8 => {
            fits(8)?;
            ScalarValue::Float64(Some(bytes.get_f64()))
        }
        oid::NUMERIC => decimal(&numeric_text(bytes)?)?,
        oid::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
        oid::DATE => {
            fits(4)?;
            ScalarValue::Date32(Some(bytes.get_i32().checked_add(EPOCH_DAYS)?))
        }
        oid::TIME => {
            fits(8)?;
            let micros = bytes.get_i64();
            (0..=86_400_000_000).contains(&micros).then_some(())?;
            ScalarValue::Time64Microsecond(Some(micros))
        }
        oid::TIMESTAMP => {
            fits(8)?;
            ScalarValue::TimestampMicrosecond(Some(bytes.get_i64().checked_add(EPOCH_MICROS)?), None)
        }
        oid::TIMESTAMPTZ => {
            fits(8)?;
            instant(bytes.get_i64().checked_add(EPOCH_MICROS)?)
        }
        oid::INTERVAL => {
            fits(16)?;
            let micros = bytes.get_i64();
            let days = bytes.get_i32();
            span((bytes.get_i32(), days, micros))?
        }
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::JSON | oid::UNKNOWN | 0 => {
            ScalarValue::Utf8(Some(std::str::from_utf8(bytes).ok()?.to_owned()))
        }
        _ => return array_of_binary(by_array(type_oid)?.oid, bytes),
    })
}

fn instant(micros: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

fn span((months, days, micros): (i32, i32, i64)) -> Option<ScalarValue> {
    let nanos = micros.checked_mul(1_000)?;
    Some(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos))))
}

/// A decimal of up to 38 digits; what is longer, or no plain number, is a float.
fn decimal(text: &str) -> Option<ScalarValue> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() <= 38
        && !(whole.is_empty() && fraction.is_empty())
        && (whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit())
    {
        let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
        let unscaled = if negative { -unscaled } else { unscaled };
        return Some(ScalarValue::Decimal128(Some(unscaled), 38, i8::try_from(fraction.len()).ok()?));
    }
    text.parse().ok().map(|x| ScalarValue::Float64(Some(x)))
}

/// The decimal text of a binary `numeric`.
fn numeric_text(mut bytes: &[u8]) -> Option<String> {
    if bytes.len() < 8 {
        return None;
    }
    let groups = usize::from(bytes.get_u16());
    let weight = bytes.get_i16();
    let sign = bytes.get_u16();
    let scale = usize::from(bytes.get_u16());
    // What no clients send, and what would only be large: 131072 digits before the point are PostgreSQL's limit.
    if bytes.len() != groups * 2 || !(-5_000..=5_000).contains(&weight) || scale > 16_383 {
        return None;
    }
    let mut text = String::new();
    match sign {
        0 => {}
        0x4000 => text.push('-'),
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("inf".to_owned()),
        0xF000 => return Some("-inf".to_owned()),
        _ => return None,
    }
    let digits: Vec<u16> = (0..groups).map(|_| bytes.get_u16()).collect();
    if digits.iter().any(|&group| group > 9_999) {
        return None;
    }
    let group = |at: i32| {
        let i = i32::from(weight) - at;
        usize::try_from(i).ok().and_then(|i| digits.get(i)).copied().unwrap_or(0)
    };
    let mut whole: String =
        (0..=i32::from(weight).max(0)).rev().map(|at| format!("{:04}", group(at))).collect();
    let zeros = whole.bytes().take_while(|&b| b == b'0').count().min(whole.len() - 1);
    whole.drain(..zeros);
    text.push_str(&whole);
    if scale > 0 {
        let mut fraction: String =
            (1..=scale.div_ceil(4) as i32).map(|at| format!("{:04}", group(-at))).collect();
        fraction.truncate(scale);
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

fn list(element: u32, items: Vec<ScalarValue>) -> Option<ScalarValue> {
    let item_type = match items.iter().find(|item| !item.is_null()) {
        Some(item) => item.data_type(),
        None => arrow_of(element).unwrap_or(DataType::Utf8),
    };
    // Decimals may come with different numbers of digits; the first that is not NULL says what they all are.
    let items = items.into_iter().map(|item| item.cast_to(&item_type).ok()).collect::<Option<Vec<_>>>()?;
    Some(ScalarValue::List(ScalarValue::new_list_nullable(&items, &item_type)))
}

fn array_of_binary(element: u32, mut bytes: &[u8]) -> Option<ScalarValue> {
    if bytes.len() < 12 {
        return None;
    }
    let dimensions = bytes.get_i32();
    let _has_nulls = bytes.get_i32();
    if bytes.get_u32() != element {
        return None;
    }
    if dimensions == 0 {
        return list(element, Vec::new());
    }
    if dimensions != 1 || bytes.len() < 8 {
        return None;
    }
    let n = usize::try_from(bytes.get_i32()).ok().filter(|&n| n <= ITEMS_MAX)?;
    let _lower_bound = bytes.get_i32();
    let mut items = Vec::new();
    for _ in 0..n {
        if bytes.len() < 4 {
            return None;
        }
        items.push(match bytes.get_i32() {
            -1 => null(element),
            length => {
                let (item, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
                bytes = rest;
                of_binary(element, item)?
            }
        });
    }
    if bytes.is_empty() { list(element, items) } else { None }
}

/// The items of `{a,"b c",NULL}`, of one dimension.
fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inner.chars().peekable();
    loop {
        let (mut item, mut quoted) = (String::new(), false);
        while chars.peek().is_some_and(|c| c.is_whitespace()) {
            chars.next();
        }
        if chars.peek() == Some(&'"') {
            chars.next();
            quoted = true;
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => item.push(chars.next()?),
                    c => item.push(c),
                }
            }
            while chars.peek().is_some_and(|c| c.is_whitespace()) {
                chars.next();
            }
        } else {
            while let Some(&c) = chars.peek().filter(|&&c| c != ',') {
                chars.next();
                match c {
                    '\\' => item.push(chars.next()?),
                    '{' | '}' | '"' => return None,
                    c => item.push(c),
                }
            }
            item.truncate(item.trim_end().len());
            if item.is_empty() {
                return None;
            }
        }
        if items.len() == ITEMS_MAX {
            return None;
        }
        items.push((quoted || !item.eq_ignore_ascii_case("null")).then_some(item));
        match chars.next() {
            None => return Some(items),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(type_oid: u32, text: &str) -> Option<ScalarValue> {
        of_text(type_oid, text, &Zone::utc())
    }

    #[test]
    fn texts_are_read_by_type() {
        assert_eq!(text(oid::BOOL, "t"), Some(ScalarValue::Boolean(Some(true))));
        assert_eq!(text(oid::INT2, "70000"), None);
        assert_eq!(text(oid::INT8, " -7 "), Some(ScalarValue::Int64(Some(-7))));
        assert_eq!(text(oid::FLOAT8, "Infinity"), Some(ScalarValue::Float64(Some(f64::INFINITY))));
        assert_eq!(text(oid::NUMERIC, "-12.50"), Some(ScalarValue::Decimal128(Some(-1_250), 38, 2)));
        assert_eq!(text(oid::NUMERIC, "12"), Some(ScalarValue::Decimal128(Some(12), 38, 0)));
        assert_eq!(text(oid::BYTEA, "\\x00fF"), Some(ScalarValue::Binary(Some(vec![0, 255]))));
        assert_eq!(text(oid::BYTEA, "\\x0"), None);
        assert_eq!(text(oid::TIMESTAMPTZ, "1970-01-01 00:00:01+00"), Some(instant(1_000_000)));
        assert_eq!(text(0, " as it is "), Some(ScalarValue::Utf8(Some(" as it is ".to_owned()))));
    }

    #[test]
    fn arrays_are_read_with_quotes_and_nulls() {
        let items = |text: &str| array_items(text);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(items("{}"), Some(vec![]));
        assert_eq!(
            items(r#"{a,"b, c",NULL,"NULL","q\"\\", d }"#),
            Some(vec![some("a"), some("b, c"), None, some("NULL"), some("q\"\\"), some("d"),])
        );
        for wrong in ["", "{", "{a", "a}", "{a,}", "{,a}", "{{1},{2}}", "{\"a}", "{\"a\"b}"] {
            assert_eq!(items(wrong), None, "{wrong}");
        }
        let Some(ScalarValue::List(list)) = text(1007, "{1,NULL,3}") else { panic!("a list") };
        assert_eq!(list.value(0).len(), 3);
    }

    #[test]
    fn binary_numbers_are_those_of_numeric_send() {
        // select numeric_send(12345.678), numeric_send(-0.0001), numeric_send(0), numeric_send(100000000)
        for (bytes, expected) in [
            (&[0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c][..], "12345.678"),
            (&[0, 1, 0xff, 0xff, 0x40, 0, 0, 4, 0, 1], "-0.0001"),
            (&[0, 0, 0, 0, 0, 0, 0, 0], "0"),
            (&[0, 1, 0, 2, 0, 0, 0, 0, 0, 1], "100000000"),
        ] {
            assert_eq!(numeric_text(bytes).as_deref(), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            type_oid in proptest::sample::select(vec![
                16_u32, 17, 20, 21, 23, 25, 26, 114, 700, 701, 705, 1000, 1007, 1009, 1016, 1022, 1082, 1083, 1114,
                1184, 1185, 1186, 1231, 1700, 0, 9_999_999,
            ]),
            bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 0..40),
        ) {
            for format in [Format::Text, Format::Binary] {
                let _ = parameter(1, type_oid, format, Some(&bytes), &Zone::utc());
            }
        }

        #[test]
        fn no_text_makes_it_panic(
            type_oid in proptest::sample::select(vec![16_u32, 17, 20, 1007, 1009, 1082, 1083, 1114, 1184, 1186, 1700]),
            text in "[-+0-9a-z:. {},\"\\\\é]{0,30}",
        ) {
            let _ = of_text(type_oid, &text, &Zone::utc());
        }

        #[test]
        fn numbers_come_back(unscaled in any::<i64>(), scale in 0_usize..12) {
            let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let sign = if unscaled < 0 { "-" } else { "" };
            let point = if scale > 0 { "." } else { "" };
            let text = format!("{sign}{whole}{point}{fraction}");
            let mut bytes = bytes::BytesMut::new();
            super::super::values::numeric(&text, &mut bytes);
            prop_assert_eq!(numeric_text(&bytes), Some(text));
        }
    }
}
