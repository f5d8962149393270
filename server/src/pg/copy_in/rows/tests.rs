use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::{DataType, Field, Float64Type, Int16Type, Schema, TimeUnit, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;
use crate::pg::copy::copy;

fn destination() -> Destination {
    let schema = Schema::new(vec![
        Field::new("asset_id", DataType::Utf8View, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("power", DataType::Float64, true),
        Field::new("power_quality", DataType::UInt8, true),
        Field::new("on", DataType::Boolean, true),
    ]);
    let names = ["asset_id", "time", "power", "power_quality", "on"].map(str::to_owned).to_vec();
    Destination { table: "t".to_owned(), names, schema: Arc::new(schema) }
}

fn decoder(statement: &str) -> Decoder {
    Decoder::new(&destination(), &copy(statement).unwrap(), Zone::utc())
}

/// Every batch of `data`, which comes in pieces of `step` bytes.
fn read(statement: &str, data: &[u8], step: usize) -> Result<Vec<RecordBatch>, PgError> {
    let (mut decoder, mut batches) = (decoder(statement), Vec::new());
    for piece in data.chunks(step.max(1)) {
        decoder.feed(piece);
        while let Some(batch) = decoder.batch()? {
            batches.push(batch);
        }
    }
    decoder.end();
    while let Some(batch) = decoder.batch()? {
        batches.push(batch);
    }
    assert!(decoder.has_ended());
    Ok(batches)
}

#[test]
fn rows_become_columns() {
    let text = b"a\t2024-01-01 00:00:00+01\t1.5\t3\tt\nb\t2024-01-01\t\\N\t\\N\tf\n\\.\nnot read";
    let csv =
        b"asset_id,time,power,power_quality,on\na,2023-12-31T23:00:00Z,1.5,3,yes\nb,2024-01-01 00:00,,,off";
    for (statement, data) in [
        ("COPY t FROM STDIN", &text[..]),
        ("COPY t FROM STDIN (FORMAT csv, HEADER match)", csv),
        ("COPY t FROM STDIN (FORMAT csv, HEADER)", csv),
    ] {
        for step in [1, 7, 1_000] {
            let batches = read(statement, data, step).unwrap();
            let [batch] = &batches[..] else { panic!("{} batches", batches.len()) };
            assert_eq!(batch.num_rows(), 2, "{statement}");
            let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
            assert_eq!(times.values(), &[1_704_063_600_000_000, 1_704_067_200_000_000]);
            let power = batch.column(2).as_primitive::<Float64Type>();
            assert!(power.value(0) == 1.5 && power.is_null(1));
            assert_eq!(batch.column(3).as_primitive::<Int16Type>().value(0), 3);
            assert!(batch.column(4).as_boolean().value(0) && !batch.column(4).as_boolean().value(1));
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let told = |statement: &str, data: &str| {
        let error = read(statement, data.as_bytes(), 5).unwrap_err();
        (error.state, error.message, error.context.unwrap_or_default())
    };
    let text = "COPY t FROM STDIN";
    let csv = "COPY t FROM STDIN (FORMAT csv, HEADER match)";
    let head = "asset_id,time,power,power_quality,on\n";
    assert_eq!(
        told(text, "a\t2024-01-01\t1\t1\tt\nb\t2024-01-01\tmuch\t1\tt\n"),
        (
            "22P02",
            "invalid input syntax for type double precision: \"much\"".to_owned(),
            "COPY t, line 2, column power: \"much\"".to_owned()
        )
    );
    assert_eq!(
        told(csv, &format!("{head}\"a\nb\",2024-01-01,1,1,t\nb,2024-01-01,1,1\n")),
        ("22P04", "missing data for column \"on\"".to_owned(), "COPY t, line 4".to_owned())
    );
    assert_eq!(told(csv, "asset_id,when,power,power_quality,on\n").2, "COPY t, line 1: \"when\"");
    assert_eq!(told(text, "a\tb\tc\td\te\tf\n").1, "extra data after last expected column");
    assert_eq!(told(text, "a\t2024-01-01\t1\t70000\tt").2, "COPY t, line 1, column power_quality: \"70000\"");
    assert_eq!(told("COPY t FROM STDIN BINARY", "a,b,c,d,e,f,g,h").1, "COPY file signature not recognized");
    let long = "x".repeat(COPY_ROW_BYTES_MAX + 1);
    let mut endless = decoder(text);
    endless.feed(long.as_bytes());
    assert_eq!(endless.batch().unwrap_err().state, state::LIMIT);
}

#[test]
fn a_binary_row_that_is_cut_is_not_the_end() {
    let file = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\x01a";
    let error = read("COPY t FROM STDIN BINARY", file, 4).unwrap_err();
    assert_eq!((error.state, error.message.as_str()), ("22P04", "unexpected EOF in COPY data"));
}

#[test]
fn large_data_come_as_many_batches() {
    let row = "a\t2024-01-01 00:00:00Z\t1\t1\tt\n";
    let batches = read("COPY t FROM STDIN", row.repeat(20_000).as_bytes(), 1 << 16).unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8_192, 8_192, 3_616]);
}

#[test]
fn places_count_lines_within_fields() {
    let mut places = Places { lines: true, shifts: Vec::new() };
    // A header, a row of three lines, then rows of one.
    for (row, line) in [(1, 2), (2, 5), (3, 6)] {
        places.note(row, line);
    }
    assert_eq!([1, 2, 3, 9].map(|row| places.of(row)), ["line 2", "line 5", "line 6", "line 12"]);
    assert_eq!(Places::default().of(7), "row 7");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        data in proptest::collection::vec(
            prop_oneof![Just(b'\t'), Just(b'\n'), Just(b','), Just(b'"'), Just(b'\\'), Just(b'.'), Just(b'1'), Just(0), any::<u8>()],
            0..80,
        ),
        has_head in any::<bool>(),
        step in 1_usize..9,
    ) {
        for statement in [
            "COPY t FROM STDIN",
            "COPY t FROM STDIN (FORMAT csv, HEADER)",
            "COPY t FROM STDIN (FORMAT csv, QUOTE '''', ESCAPE '\\')",
            "COPY t FROM STDIN BINARY",
        ] {
            let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x05";
            let data = if has_head { [&head[..], &data].concat() } else { data.clone() };
            let _ = read(statement, &data, step);
        }
    }
}
