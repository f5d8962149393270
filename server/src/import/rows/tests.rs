use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};

use super::*;
use crate::import::columns::PointInfo;
use crate::import::csv::Records;
use crate::import::time::Dst;

fn dialect(decimal_comma: bool) -> Dialect {
    Dialect {
        delimiter: if decimal_comma { b';' } else { b',' },
        quote: Some(b'"'),
        comment: None,
        header: false,
        encoding: None,
        decimal_comma,
        nulls: [b"".to_vec(), b"NaN".to_vec(), b"-999".to_vec()].to_vec(),
    }
}

fn rows(owner: Owner, roles: Vec<Role>, kinds: &[Kind], decimal_comma: bool) -> Rows {
    let point =
        |(i, kind): (usize, &Kind)| PointInfo { key: format!("p{i}"), name: String::new(), kind: *kind };
    let layout = Layout {
        names: (0..roles.len()).map(|i| format!("c{i}")).collect(),
        roles,
        points: kinds.iter().enumerate().map(point).collect(),
    };
    let time = TimeReader::new(
        Format::Epoch { unit_nanos: 1_000_000_000 },
        jiff::tz::TimeZone::UTC,
        Dst::Compatible,
    );
    Rows::new(0, Arc::new(layout), owner, &dialect(decimal_comma), time)
}

/// Pushes every line; the refusals as (line, column, reason).
fn push(rows: &mut Rows, text: &[u8], decimal_comma: bool) -> Vec<(u64, Option<String>, String)> {
    let mut records = Records::new(text, &dialect(decimal_comma));
    let mut refused = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        if let Err(refusal) = rows.push(&record) {
            refused.push((record.line, refusal.column, refusal.reason));
        }
    }
    refused
}

#[test]
fn a_line_is_taken_whole_or_not_at_all() {
    let roles = vec![Role::Time, Role::Point(0), Role::Skip, Role::Point(1)];
    let mut rows = rows(Owner::Asset("T1".to_owned()), roles, &[Kind::Float, Kind::Int], false);
    let text =
        b"1,0.1,x,7\n2,1.5,x,seven\n3,,x,-999\nnever,1,x,1\n5,1,x\n6,inf,x,1\n7,5.827000141143799,x,8.0\n";
    let refused = push(&mut rows, text, false);
    let short: Vec<_> = refused.iter().map(|(line, column, _)| (*line, column.as_deref())).collect();
    assert_eq!(short, [(2, Some("c3")), (4, Some("c0")), (5, None), (6, Some("c1"))]);
    assert!(refused[0].2.contains("\"seven\" is not a whole number"), "{}", refused[0].2);
    assert!(rows.is_full(3) && !rows.is_full(4));
    assert_eq!(refused[2].2, "3 fields instead of 4");
    assert!(refused[3].2.contains("not a finite number"));

    let chunk = rows.take().unwrap();
    let column = |name| chunk.rows.column_by_name(name).unwrap();
    let times: Vec<i64> = column("time").as_primitive::<TimestampMicrosecondType>().values().to_vec();
    assert_eq!(times, [1_000_000, 3_000_000, 7_000_000]);
    let floats: Vec<_> = column("p0").as_primitive::<Float64Type>().iter().collect();
    assert_eq!(floats, [Some(0.1), None, Some(5.827000141143799)]);
    let ints: Vec<_> = column("p1").as_primitive::<Int64Type>().iter().collect();
    assert_eq!(ints, [Some(7), None, Some(8)]);
    assert_eq!(column("asset_id").as_string::<i32>().value(2), "T1");
    assert_eq!(chunk.samples, 4);
    assert_eq!(chunk.marks.iter().map(|m| m.line).collect::<Vec<_>>(), [1, 3, 7]);
    assert!(rows.take().is_none(), "gathering starts anew");
}

#[test]
fn assets_from_a_column() {
    let roles = vec![Role::Asset, Role::Time, Role::Point(0)];
    let mut rows = rows(Owner::Column("c0".to_owned()), roles, &[Kind::Text], false);
    let refused = push(&mut rows, b"A,1,x\nB,2,y\n,3,z\nA,4,\"w,\"\"v\"\"\"\n", false);
    assert_eq!(refused, [(3, Some("c0".to_owned()), "no asset id".to_owned())]);
    let chunk = rows.take().unwrap();
    let texts = |name| -> Vec<String> {
        chunk
            .rows
            .column_by_name(name)
            .unwrap()
            .as_string::<i32>()
            .iter()
            .flatten()
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(texts("asset_id"), ["A", "B", "A"]);
    assert_eq!(texts("p0"), ["x", "y", "w,\"v\""]);
}

#[test]
fn decimal_commas() {
    assert_eq!(float(b"1,5", true), Ok(1.5));
    assert_eq!(float(b" -0,25 ", true), Ok(-0.25));
    assert!(float(b"1.000,5", true).is_err(), "a point is not guessed to group thousands");
    assert!(float(b"1,5", false).is_err());
    let mut rows =
        rows(Owner::Asset("T1".to_owned()), vec![Role::Time, Role::Point(0)], &[Kind::Float], true);
    assert!(push(&mut rows, b"1;3,25\n", true).is_empty());
    assert_eq!(rows.take().unwrap().rows.column(2).as_primitive::<Float64Type>().value(0), 3.25);
}

#[test]
fn numbers_are_exact_and_nothing_else() {
    assert_eq!(float(b"259.9949036", false), Ok(259.9949036));
    assert_eq!(float(b"-1e-3", false), Ok(-0.001));
    assert!(float(b"-0.0", false).unwrap().is_sign_negative());
    for bad in [&b"0x10"[..], b"1_000", b"1 000", b"NaN", b"--1", b"\xFF"] {
        assert!(float(bad, false).is_err(), "{bad:?}");
    }
    assert_eq!(int(b"9223372036854775807", false), Ok(i64::MAX));
    assert!(int(b"9223372036854775808", false).is_err());
    assert!(int(b"1.5", false).is_err());
    assert_eq!(truth(b"TRUE"), Ok(true));
    assert!(truth(b"yes").is_err());
}

#[test]
fn the_end_of_a_truncated_file_is_named() {
    let make =
        || rows(Owner::Asset("T1".to_owned()), vec![Role::Time, Role::Point(0)], &[Kind::Float], false);
    let mut whole = make();
    assert!(push(&mut whole, b"1,2\n3,4", false).is_empty(), "only the last line end is missing");
    assert_eq!(whole.take().unwrap().rows.num_rows(), 2);
    let refused = push(&mut make(), b"1,2\n3", false);
    assert!(refused[0].2.contains("ends in the middle of this line, with 1 of 2 fields"), "{refused:?}");
    let refused = push(&mut make(), b"1,2\n3,\"4", false);
    assert!(refused[0].2.contains("ends inside a quoted field"), "{refused:?}");
}
