use arrow::array::{Date32Array, Int32Array, TimestampNanosecondArray, TimestampSecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use jiff::tz::TimeZone;

use super::*;
use crate::import::columns::PointInfo;
use crate::import::time::{Dst, Format};

fn converter(roles: Vec<Role>, kinds: &[Kind], zone: TimeZone) -> Converter {
    let point =
        |(i, kind): (usize, &Kind)| PointInfo { key: format!("p{i}"), name: String::new(), kind: *kind };
    let layout = Layout {
        names: (0..roles.len()).map(|i| format!("c{i}")).collect(),
        roles,
        points: kinds.iter().enumerate().map(point).collect(),
    };
    Converter {
        file: 0,
        layout: Arc::new(layout),
        owner: Owner::Asset("T1".to_owned()),
        time: TimeReader::new(Format::Iso, zone, Dst::Compatible),
        rows: 0,
        nan_is_null: true,
    }
}

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn times(chunk: &Chunk) -> Vec<i64> {
    let column = chunk.rows.column_by_name("time").unwrap();
    column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

const NEW_YEAR_2018_S: i64 = 1_514_764_800;

#[test]
fn timestamps_of_any_unit() {
    let floats = || Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef;
    let seconds = TimestampSecondArray::from(vec![NEW_YEAR_2018_S, NEW_YEAR_2018_S + 1]);
    let mut local = converter(
        vec![Role::Time, Role::Point(0)],
        &[Kind::Float],
        TimeZone::get("Europe/Istanbul").unwrap(),
    );
    let (chunk, refused) = local.convert(&batch(vec![Arc::new(seconds.clone()), floats()])).unwrap();
    assert!(refused.is_empty());
    let utc = (NEW_YEAR_2018_S - 3 * 3600) * 1_000_000;
    assert_eq!(times(&chunk.unwrap()), [utc, utc + 1_000_000], "without a zone: local time");

    let (chunk, _) =
        local.convert(&batch(vec![Arc::new(seconds.with_timezone("+00:00")), floats()])).unwrap();
    let utc = NEW_YEAR_2018_S * 1_000_000;
    assert_eq!(times(&chunk.unwrap()), [utc, utc + 1_000_000], "with a zone: an instant");

    let nanos = TimestampNanosecondArray::from(vec![-1, 1_999]).with_timezone("UTC");
    let (chunk, _) = local.convert(&batch(vec![Arc::new(nanos), floats()])).unwrap();
    assert_eq!(times(&chunk.unwrap()), [-1, 1], "below a microsecond is cut toward the past");

    let texts = StringArray::from(vec!["2018-01-01T00:00:00Z", "nonsense"]);
    let (chunk, refused) = local.convert(&batch(vec![Arc::new(texts), floats()])).unwrap();
    assert_eq!(times(&chunk.unwrap()), [utc]);
    assert_eq!(refused[0].0.line, 8, "rows are numbered through the file");
    assert!(refused[0].1.reason.contains("nonsense"));
}

#[test]
fn values_that_do_not_fit_refuse_their_row() {
    let time = Arc::new(TimestampSecondArray::from(vec![Some(1), Some(2), Some(3), None, Some(5)]));
    let floats = Arc::new(Float64Array::from(vec![1.5, f64::NAN, f64::INFINITY, 1.0, 2.0]));
    let ints = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, 4.0, 0.5]));
    let dates = Arc::new(Date32Array::from(vec![1, 2, 3, 4, 5]));
    let roles = vec![Role::Time, Role::Point(0), Role::Point(1), Role::Point(2)];
    let mut converter = converter(roles, &[Kind::Float, Kind::Int, Kind::Civil], TimeZone::UTC);
    let (chunk, refused) = converter.convert(&batch(vec![time, floats, ints, dates])).unwrap();
    let chunk = chunk.unwrap();
    assert_eq!(times(&chunk), [1_000_000, 2_000_000]);
    let column = chunk.rows.column_by_name("p0").unwrap().as_primitive::<Float64Type>();
    assert_eq!(column.iter().collect::<Vec<_>>(), [Some(1.5), None], "NaN is no value");
    let civil = chunk.rows.column_by_name("p2").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(civil.value(0), 86_400_000_000);
    assert_eq!(chunk.samples, 5);
    let reasons: Vec<_> = refused.iter().map(|(m, r)| (m.line, r.column.as_deref().unwrap())).collect();
    assert_eq!(reasons, [(3, "c1"), (4, "c0"), (5, "c2")]);
}

#[test]
fn a_written_file_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let columns = batch(vec![
        Arc::new(TimestampSecondArray::from(vec![1, 2, 3])),
        Arc::new(Int32Array::from(vec![7, 8, 9])),
    ]);
    let file = File::create(&path).unwrap();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, columns.schema(), None).unwrap();
    writer.write(&columns).unwrap();
    writer.close().unwrap();
    assert!(is_parquet(&path).unwrap());
    assert_eq!(rows(&path).unwrap(), 3);
    let kinds: Vec<_> = schema(&path).unwrap().into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [Some(Kind::Civil), Some(Kind::Int)]);
    let read: Vec<RecordBatch> = open(&path, 2).unwrap().map(|b| b.unwrap()).collect();
    assert_eq!(read.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1]);
    std::fs::write(&path, "time,a\n").unwrap();
    assert!(!is_parquet(&path).unwrap());
}
