//! Expected texts and bytes are what PostgreSQL 15 gives for the same values.

use arrow::array::{
    BinaryArray, DictionaryArray, DurationSecondArray, Int8Array, Int64Array, LargeStringArray, StringArray,
    TimestampNanosecondArray, UInt8Array, UInt64Array,
};
use arrow::datatypes::Int32Type;
use wattline_query::pg::types::oid_of;

use super::*;

fn text_of(array: ArrayRef) -> Vec<Option<String>> {
    let values = Values::new(&array, oid_of(array.data_type())).unwrap();
    let shown = (0..array.len()).map(|row| {
        (!values.is_null(row)).then(|| {
            let mut out = String::new();
            values.text(row, &Zone::utc(), &mut out).unwrap();
            out
        })
    });
    shown.collect()
}

fn binary_of(array: ArrayRef) -> Vec<u8> {
    let values = Values::new(&array, oid_of(array.data_type())).unwrap();
    let mut out = BytesMut::new();
    values.binary(0, &Zone::utc(), &mut out).unwrap();
    out.to_vec()
}

fn check(array: impl Array + 'static, expected: &[&str]) {
    let expected: Vec<Option<String>> = expected.iter().map(|&text| Some(text.to_owned())).collect();
    assert_eq!(text_of(Arc::new(array)), expected);
}

#[test]
fn floats_are_written_as_postgresql_writes_them() {
    check(
        Float64Array::from(vec![
            0.0,
            -0.0,
            1.0,
            -1.5,
            0.1,
            1e14,
            123_456_789_012_345.0,
            1e15,
            1.5e15,
            0.0001,
            0.00001,
            1e-7,
            1.234_567_890_123_456_8e17,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            100.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ]),
        &[
            "0",
            "-0",
            "1",
            "-1.5",
            "0.1",
            "100000000000000",
            "123456789012345",
            "1e+15",
            "1.5e+15",
            "0.0001",
            "1e-05",
            "1e-07",
            "1.2345678901234568e+17",
            "1.7976931348623157e+308",
            "2.2250738585072014e-308",
            "5e-324",
            "100",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    );
    check(
        Float32Array::from(vec![0.1, 16_777_216.0, 100_000.0, 1e6, 3.25, f32::MAX]),
        &["0.1", "1.6777216e+07", "100000", "1e+06", "3.25", "3.4028235e+38"],
    );
}

#[test]
fn other_texts() {
    check(BooleanArray::from(vec![true, false]), &["t", "f"]);
    check(Int8Array::from(vec![-128]), &["-128"]);
    check(UInt8Array::from(vec![255]), &["255"]);
    check(UInt64Array::from(vec![u64::MAX]), &["18446744073709551615"]);
    check(LargeStringArray::from(vec!["grün"]), &["grün"]);
    check(BinaryArray::from(vec![&b"\x00\xff\x10"[..]]), &["\\x00ff10"]);
    check(
        Decimal128Array::from(vec![-12_345, 5, 0]).with_precision_and_scale(10, 2).unwrap(),
        &["-123.45", "0.05", "0.00"],
    );
    check(TimestampNanosecondArray::from(vec![1_500]), &["1970-01-01 00:00:00.000001"]);
    check(DurationSecondArray::from(vec![90]), &["00:01:30"]);
    check(["a", "b", "a"].into_iter().collect::<DictionaryArray<Int32Type>>(), &["a", "b", "a"]);
    assert_eq!(text_of(Arc::new(Int64Array::from(vec![None, Some(1)]))), [None, Some("1".to_owned())]);
}

#[test]
fn lists_are_arrays() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None, Some(-3)]),
        Some(vec![]),
        None,
    ]);
    let shown = text_of(Arc::new(list.clone()));
    assert_eq!(shown, [Some("{1,NULL,-3}".to_owned()), Some("{}".to_owned()), None]);
    assert_eq!(
        binary_of(Arc::new(list)),
        b"\0\0\0\x01\0\0\0\x01\0\0\0\x17\0\0\0\x03\0\0\0\x01\
          \0\0\0\x04\0\0\0\x01\xff\xff\xff\xff\0\0\0\x04\xff\xff\xff\xfd"
    );
    let mut out = String::new();
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["plain", "", "null", "a b", "q\"\\", "{,}"]));
    list_text(&texts, 25, &Zone::utc(), &mut out).unwrap();
    assert_eq!(out, r#"{plain,"","null","a b","q\"\\","{,}"}"#);
}

#[test]
fn binary_forms() {
    assert_eq!(binary_of(Arc::new(Int16Array::from(vec![-2]))), [0xff, 0xfe]);
    assert_eq!(binary_of(Arc::new(Float64Array::from(vec![1.5]))), [0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
    // 2000-01-01T00:00:01Z is one million microseconds after PostgreSQL's epoch.
    let instant = TimestampMicrosecondArray::from(vec![946_684_801_000_000]).with_timezone("UTC");
    assert_eq!(binary_of(Arc::new(instant)), 1_000_000_i64.to_be_bytes());
    assert_eq!(binary_of(Arc::new(Date32Array::from(vec![10_958]))), 1_i32.to_be_bytes());
    let numeric_of = |text: &str| {
        let mut out = BytesMut::new();
        numeric(text, &mut out);
        out.to_vec()
    };
    // select numeric_send(x)
    assert_eq!(numeric_of("0"), [0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(numeric_of("12345.678"), [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c]);
    assert_eq!(numeric_of("-0.0001"), [0, 1, 0xff, 0xff, 0x40, 0, 0, 4, 0, 1]);
    assert_eq!(numeric_of("10000"), [0, 1, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert_eq!(numeric_of("0.00"), [0, 0, 0, 0, 0, 0, 0, 2]);
}

#[test]
fn what_was_announced_as_text_is_sent_as_text() {
    let array: ArrayRef = Arc::new(Int32Array::from(vec![42]));
    let values = Values::new(&array, oid::TEXT).unwrap();
    let mut out = BytesMut::new();
    values.binary(0, &Zone::utc(), &mut out).unwrap();
    assert_eq!(&out[..], b"42");
}
