use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow_ipc::reader::StreamReader;
use axum::http::HeaderValue;

use super::super::error::ApiKind;
use super::*;

fn batch() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
        ("f", Arc::new(Float64Array::from(vec![0.1, f64::NAN]))),
        ("b", Arc::new(BooleanArray::from(vec![true, false]))),
        ("say, \"t\"", Arc::new(StringArray::from(vec!["a,\"b\"\n", "ü"]))),
        ("time", Arc::new(TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("+00:00"))),
        ("d", Arc::new(Decimal128Array::from(vec![150, -5]).with_precision_and_scale(5, 2).unwrap())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn encode(format: Format) -> Vec<u8> {
    let batch = batch();
    let mut encoder = Encoder::new(format, batch.schema()).unwrap();
    let mut out = Vec::new();
    encoder.head(&mut out);
    encoder.batch(&batch, &mut out).unwrap();
    encoder.tail(Duration::from_micros(1_500), &mut out).unwrap();
    out
}

#[test]
fn json_has_columns_rows_and_a_count() {
    let answer: Value = serde_json::from_slice(&encode(Format::Json)).unwrap();
    assert_eq!(answer["columns"][0], json!({"name": "i", "type": "int64"}));
    assert_eq!(answer["columns"][4], json!({"name": "time", "type": "timestamptz"}));
    let rows = json!([
        [9_223_372_036_854_775_807_i64, 0.1, true, "a,\"b\"\n", "1970-01-01T00:00:00Z", 1.5],
        [null, null, false, "ü", "1970-01-01T00:00:00.000001Z", -0.05],
    ]);
    assert_eq!(answer["rows"], rows);
    assert_eq!((&answer["rows_count"], &answer["elapsed_ms"]), (&json!(2), &json!(1.5)));
}

#[test]
fn ndjson_has_one_object_a_line() {
    let text = String::from_utf8(encode(Format::Ndjson)).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["say, \"t\""], "ü");
    assert_eq!(lines[1]["i"], Value::Null);
}

#[test]
fn csv_quotes_and_keeps_what_is_not_a_number() {
    let text = String::from_utf8(encode(Format::Csv)).unwrap();
    let expected = "i,f,b,\"say, \"\"t\"\"\",time,d\n\
                    9223372036854775807,0.1,true,\"a,\"\"b\"\"\n\",1970-01-01T00:00:00Z,1.50\n\
                    ,NaN,false,ü,1970-01-01T00:00:00.000001Z,-0.05\n";
    assert_eq!(text, expected);
}

#[test]
fn arrow_comes_back_as_it_was() {
    let bytes = encode(Format::Arrow);
    let back: Vec<RecordBatch> =
        StreamReader::try_new(&bytes[..], None).unwrap().map(Result::unwrap).collect();
    assert_eq!(format!("{back:?}"), format!("{:?}", vec![batch()]));
}

#[test]
fn an_empty_answer_is_whole_in_every_form() {
    for format in [Format::Json, Format::Ndjson, Format::Csv, Format::Arrow] {
        let mut encoder = Encoder::new(format, batch().schema()).unwrap();
        let mut out = Vec::new();
        encoder.head(&mut out);
        encoder.tail(Duration::ZERO, &mut out).unwrap();
        match format {
            Format::Json => assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["rows"], json!([])),
            Format::Ndjson => assert!(out.is_empty()),
            Format::Csv => assert_eq!(String::from_utf8(out).unwrap().lines().count(), 1),
            Format::Arrow => assert_eq!(StreamReader::try_new(&out[..], None).unwrap().count(), 0),
        }
    }
}

#[test]
fn an_error_in_the_middle_is_said_or_the_answer_breaks_off() {
    let error = ApiError::new(ApiKind::Timeout, "too slow");
    let mut encoder = Encoder::new(Format::Json, batch().schema()).unwrap();
    let mut out = Vec::new();
    encoder.head(&mut out);
    encoder.batch(&batch(), &mut out).unwrap();
    assert!(encoder.broken(&error, &mut out));
    let answer: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&answer["error"]["kind"], &answer["rows_count"]), (&json!("timeout"), &json!(2)));
    assert!(!Encoder::new(Format::Csv, batch().schema()).unwrap().broken(&error, &mut Vec::new()));
}

#[test]
fn the_best_accepted_form_wins() {
    for (accept, expected) in [
        ("", Some(Format::Json)),
        ("*/*", Some(Format::Json)),
        ("text/csv", Some(Format::Csv)),
        ("application/json;q=0.5, text/csv;q=0.9", Some(Format::Csv)),
        ("text/html, application/vnd.apache.arrow.stream", Some(Format::Arrow)),
        ("text/html, */*;q=0.1", Some(Format::Json)),
        ("image/png", None),
        ("application/json;q=0", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        assert_eq!(Format::accepted(&headers), expected, "{accept}");
    }
    assert_eq!(Format::accepted(&HeaderMap::new()), Some(Format::Json));
}
