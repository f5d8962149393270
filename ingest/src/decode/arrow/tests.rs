use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{Field, Int32Type, Schema};
use tempfile::TempDir;
use wattline_env::World;
use wattline_storage::{Settings, Store};

use super::*;
use crate::error::ErrorKind;
use crate::fixture::{Plant, samples};
use crate::ingestor::IngestSettings;

const T: i64 = 1_767_225_000_000_000;

struct Bench {
    plant: Plant,
    ingestor: Ingestor,
    _dir: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let plant = Plant::new();
        let store = Store::open(dir.path(), Settings::default(), World::real()).unwrap();
        let ingestor = Ingestor::new(plant.registry.clone(), store, IngestSettings::default());
        Bench { plant, ingestor, _dir: dir }
    }

    fn decode(&self, columns: Vec<(&str, ArrayRef)>) -> Result<Decoded, Error> {
        let fields: Vec<Field> =
            columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        decode(&self.ingestor, &self.plant.model(), &batch)
    }

    /// Rows of the turbine at consecutive milliseconds with one more column: its samples and rejects.
    fn column(&self, name: &str, array: ArrayRef) -> (Vec<String>, Vec<String>) {
        let n = array.len();
        let decoded =
            self.decode(vec![("asset_id", self.assets("dkT", n)), ("time", times(n)), (name, array)]);
        let decoded = decoded.unwrap();
        let rejects = decoded.rejects.listed.iter().map(|r| format!("{} {}: {}", r.row, r.field, r.reason));
        let rejects = rejects.collect();
        let found = samples(&self.plant.registry, &decoded.batches);
        assert_eq!(decoded.samples as usize, found.len());
        // `dkT.Point@time=value` in order of time; only the values matter here.
        (found.iter().map(|s| s.split_once('=').unwrap().1.to_owned()).collect(), rejects)
    }

    fn assets(&self, device: &str, n: usize) -> ArrayRef {
        let key = self.plant.device("pkT", device).asset_key.to_string();
        Arc::new(StringArray::from(vec![key; n]))
    }
}

fn times(n: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values((0..n as i64).map(|i| T + i * 1_000)))
}

#[test]
fn rows_are_laid_out_by_asset_and_time() {
    let bench = Bench::new();
    let decoded = bench
        .decode(vec![
            ("product_key", Arc::new(StringArray::from(vec!["pkT", "pkS", "pkS", "pkG"]))),
            ("device_key", Arc::new(StringViewArray::from(vec!["dkT", "dkS1", "dkS1", "dkG"]))),
            ("time", Arc::new(Int64Array::from(vec![1_000, 2_000, 3_000, 4_000]))),
            ("Temp", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(3.5), None]))),
            ("ActPower", Arc::new(Int32Array::from(vec![None, Some(2), Some(3), None]))),
            ("ActPower_quality", Arc::new(UInt8Array::from(vec![None, Some(9), None, None]))),
            ("Label", Arc::new(StringArray::from(vec![Some("a"), None, Some("ü"), None]))),
        ])
        .unwrap();
    assert_eq!((decoded.rows, decoded.samples, decoded.rejects.total), (3, 6, 0));
    let expected = [
        "dkS1.ActPower@2000=2.0#9",
        "dkS1.ActPower@3000=3.0#0",
        "dkS1.Label@3000=ü",
        "dkS1.Temp@3000=3.5",
        "dkT.Label@1000=a",
        "dkT.Temp@1000=1.5",
    ];
    let found = samples(&bench.plant.registry, &decoded.batches);
    assert_eq!(found, expected);
}

#[test]
fn every_type_is_read_from_the_arrow_types_that_hold_it() {
    let bench = Bench::new();
    let fine = |name: &str, array: ArrayRef, expected: &[&str]| {
        let (found, rejects) = bench.column(name, array);
        assert_eq!(rejects, Vec::<String>::new(), "{name}");
        assert_eq!(found, expected, "{name}");
    };
    fine("Temp", Arc::new(Float64Array::from(vec![-0.0, 1.5])), &["-0.0", "1.5"]);
    fine("Temp", Arc::new(Float32Array::from(vec![0.1_f32])), &["0.10000000149011612"]);
    fine("Temp", Arc::new(UInt64Array::from(vec![u64::MAX])), &["1.8446744073709552e19"]);
    fine("Speed", Arc::new(Float64Array::from(vec![0.1])), &["0.10000000149011612"]);
    fine("Count", Arc::new(Int16Array::from(vec![-5_i16])), &["-5"]);
    fine("Count", Arc::new(Float64Array::from(vec![5.0])), &["5"]);
    fine(
        "Total",
        Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN])),
        &["9223372036854775807", "-9223372036854775808"],
    );
    fine("On", Arc::new(BooleanArray::from(vec![true, false])), &["true", "false"]);
    fine("On", Arc::new(UInt8Array::from(vec![1, 0])), &["true", "false"]);
    fine("State", Arc::new(Int8Array::from(vec![3_i8])), &["3"]);
    let words: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    fine("Mode", Arc::new(words), &["a", "b", "a"]);
    fine("Label", Arc::new(LargeStringArray::from(vec!["x"])), &["x"]);
    fine("Day", Arc::new(TimestampSecondArray::from(vec![1_767_323_045])), &["1767323045000000"]);
    fine("Day", Arc::new(StringArray::from(vec!["2026-01-02 03:04:05"])), &["1767323045000000"]);
    fine("Day", Arc::new(Date32Array::from(vec![1])), &["86400000000"]);
    fine("At", Arc::new(TimestampNanosecondArray::from(vec![-1_i64])), &["-1"]);
    fine("At", Arc::new(Int64Array::from(vec![5])), &["5000"]);
    fine("BranchCur", Arc::new(StringArray::from(vec![" [1, 2] "])), &["[1,2]"]);
    fine("Pos", Arc::new(StringArray::from(vec![r#"{"a": 1}"#])), &[r#"{"a":1}"#]);
    fine("Temp", Arc::new(NullArray::new(3)), &[]);
}

#[test]
fn a_wrong_value_refuses_its_sample() {
    let bench = Bench::new();
    let wrong = |name: &str, array: ArrayRef, kept: usize, says: &str| {
        let (found, rejects) = bench.column(name, array);
        assert_eq!((found.len(), rejects.len()), (kept, 1), "{name}: {rejects:?}");
        assert!(rejects[0].starts_with(&format!("1 {name}: ")) && rejects[0].contains(says), "{rejects:?}");
    };
    wrong("Temp", Arc::new(Float64Array::from(vec![1.0, f64::NAN, 2.0])), 2, "finite 64-bit float, got NaN");
    wrong("Speed", Arc::new(Float64Array::from(vec![1.0, 1e39])), 1, "finite 32-bit float");
    wrong("Count", Arc::new(Int64Array::from(vec![1, 1 << 40])), 1, "32-bit integer");
    wrong("Count", Arc::new(Float64Array::from(vec![1.0, 1.5])), 1, "32-bit integer");
    wrong("Total", Arc::new(UInt64Array::from(vec![1, u64::MAX])), 1, "64-bit integer");
    wrong("On", Arc::new(Int32Array::from(vec![1, 2])), 1, "true, false, 0 or 1");
    wrong("State", Arc::new(Int32Array::from(vec![1, 7])), 1, "enumeration");
    wrong("Label", Arc::new(StringArray::from(vec!["x", ""])), 1, "empty");
    wrong("Pos", Arc::new(StringArray::from(vec!["{}", "{"])), 1, "not valid JSON");
    wrong("BranchCur", Arc::new(StringArray::from(vec!["[]", "{}"])), 1, "expected a list");
    wrong("At", Arc::new(Int64Array::from(vec![1, i64::MAX])), 1, "out of range");
}

#[test]
fn a_wrong_quality_takes_its_sample_with_it() {
    let bench = Bench::new();
    let decoded = bench
        .decode(vec![
            ("asset_id", bench.assets("dkT", 2)),
            ("time", times(2)),
            ("ActPower", Arc::new(Float64Array::from(vec![1.0, 2.0]))),
            ("ActPower_quality", Arc::new(Int64Array::from(vec![10, 1]))),
        ])
        .unwrap();
    assert_eq!((decoded.samples, decoded.rejects.total), (1, 1));
    assert_eq!(decoded.rejects.listed[0].field, "ActPower_quality");
}

#[test]
fn a_wrong_asset_or_time_refuses_its_row() {
    let bench = Bench::new();
    let key = bench.plant.device("pkT", "dkT").asset_key.to_string();
    let foreign = bench.plant.device("pkX", "dkX").asset_key.to_string();
    let year_9999 = 253_402_300_799_000_000;
    let decoded = bench
        .decode(vec![
            (
                "asset_id",
                Arc::new(StringArray::from(vec![
                    Some(&*key),
                    Some("nobody"),
                    None,
                    Some(&*foreign),
                    Some(&*key),
                    Some(&*key),
                    Some(&*key),
                ])),
            ),
            (
                "time",
                Arc::new(TimestampMicrosecondArray::from(vec![
                    Some(T),
                    Some(T),
                    Some(T),
                    Some(T),
                    Some(-1),
                    Some(year_9999),
                    None,
                ])),
            ),
            ("Temp", Arc::new(Float64Array::from(vec![1.0; 7]))),
        ])
        .unwrap();
    assert_eq!((decoded.rows, decoded.samples), (1, 1));
    let rejects: Vec<String> =
        decoded.rejects.listed.iter().map(|r| format!("{} {}: {}", r.row, r.field, r.reason)).collect();
    assert_eq!(rejects.len(), 6);
    for (reject, says) in rejects.iter().zip([
        "1 asset_id: asset \"nobody\" does not exist",
        "2 asset_id: is null",
        "is not of model Turbine",
        "4 time: -1 ms is before 1970",
        "5 time: 253402300799000 ms is after",
        "6 time: is null",
    ]) {
        assert!(reject.contains(says), "{reject}");
    }
}

#[test]
fn a_wrong_column_refuses_the_batch_by_name() {
    let bench = Bench::new();
    let base = || vec![("asset_id", bench.assets("dkT", 1)), ("time", times(1))];
    let ints = || -> ArrayRef { Arc::new(Int64Array::from(vec![1])) };
    let with = |name: &'static str, array: ArrayRef| [base(), vec![(name, array)]].concat();
    for (columns, says) in [
        (vec![("time", times(1))], "columns asset_id"),
        (vec![("asset_id", bench.assets("dkT", 1))], "column time is missing"),
        (vec![("asset_id", ints()), ("time", times(1))], "column asset_id: expected text"),
        (
            vec![("asset_id", bench.assets("dkT", 1)), ("time", bench.assets("dkT", 1))],
            "column time: expected a timestamp",
        ),
        (with("Nope", ints()), "column Nope: model Turbine has no such point"),
        (with("Nope_quality", ints()), "column Nope_quality"),
        (with("ActPower_quality", ints()), "column ActPower_quality"),
        (with("Temp", bench.assets("dkT", 1)), "column Temp: DOUBLE cannot be read from Utf8"),
        (with("Label", ints()), "column Label: expected text, got Int64"),
        ([base(), vec![("Temp", ints()), ("Temp_quality", ints())]].concat(), "gives this point no quality"),
    ] {
        let error = bench.decode(columns).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn rejects_are_listed_up_to_a_bound_and_counted_beyond() {
    let bench = Bench::new();
    let array: ArrayRef = Arc::new(Float64Array::from(vec![f64::INFINITY; 1_000]));
    let decoded = bench
        .decode(vec![("asset_id", bench.assets("dkT", 1_000)), ("time", times(1_000)), ("Temp", array)])
        .unwrap();
    assert_eq!((decoded.rejects.total, decoded.rejects.listed.len()), (1_000, 100));
    assert_eq!((decoded.rows, decoded.batches.len()), (0, 0));
}
