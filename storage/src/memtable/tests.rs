use wattline_model::{
    AssetId, Batch, BatchBuilder, Channel, ModelId, PointId, Quality, ShardCount, Source, TimeRange,
    Timestamp, ValueRef, Values,
};

use super::*;

const MODEL: ModelId = ModelId(3);

/// Rows as (asset, time, [(point, value)]).
type Row<'a> = (u32, i64, &'a [(u32, f64)]);

fn batch(rows: &[Row<'_>]) -> Batch {
    let mut builder = BatchBuilder::new(ShardCount::new(1).unwrap(), Source::Client);
    for (asset, time, cells) in rows {
        builder.begin_row(MODEL, AssetId(*asset), Channel::RealTime);
        for (point, value) in *cells {
            assert!(builder.cell(PointId(*point), ValueRef::Float(*value), None));
        }
        builder.end_row(Timestamp(*time));
    }
    builder.finish().remove(0)
}

fn filled(batches: &[Batch]) -> (Arc<Memtable>, MemtableWriter) {
    let memtable = Arc::new(Memtable::default());
    let mut writer = MemtableWriter::new(Arc::clone(&memtable));
    for (i, batch) in batches.iter().enumerate() {
        writer.insert(Seqno(i as u64 + 1), batch);
    }
    writer.publish();
    (memtable, writer)
}

fn values(run: &crate::run::Run, point: u32) -> Vec<(i64, f64)> {
    let Some(column) = run.columns.iter().find(|c| c.point == PointId(point)) else { return Vec::new() };
    let Values::Float(values) = &column.values else { panic!("floats were inserted") };
    crate::run::rows_of(column).zip(values).map(|(row, v)| (run.times[row as usize], *v)).collect()
}

/// Both ways of reading must agree.
fn read(memtable: &Memtable, asset: u32, range: TimeRange) -> crate::run::Run {
    let view = memtable.view(MODEL).unwrap();
    let single = view.by_asset(None).run(AssetId(asset), range);
    let table = view.sorted(None);
    let place = table.assets().position(|a| a == AssetId(asset));
    let sorted = place.map(|i| table.run(i, range)).unwrap_or_default();
    assert_eq!(single, sorted);
    single
}

#[test]
fn rows_come_back_by_time_and_the_last_write_wins() {
    let (memtable, _writer) = filled(&[
        batch(&[(1, 30, &[(0, 3.0)]), (2, 10, &[(0, 9.0)]), (1, 10, &[(0, 1.0), (1, 7.0)])]),
        batch(&[(1, 20, &[(1, 2.0)]), (1, 10, &[(0, 1.5)])]),
    ]);
    let run = read(&memtable, 1, TimeRange::ALL);
    assert_eq!(run.times, [10, 20, 30]);
    assert_eq!(values(&run, 0), [(10, 1.5), (30, 3.0)]);
    assert_eq!(values(&run, 1), [(10, 7.0), (20, 2.0)]);
    let part = read(&memtable, 1, TimeRange::new(Timestamp(10), Timestamp(30)));
    assert_eq!(part.times, [10, 20]);
    assert_eq!(read(&memtable, 7, TimeRange::ALL), crate::run::Run::default());
}

#[test]
fn a_view_does_not_change_while_the_writer_goes_on() {
    let (memtable, mut writer) = filled(&[batch(&[(1, 10, &[(0, 1.0)])])]);
    let before = memtable.view(MODEL).unwrap();
    writer.insert(Seqno(2), &batch(&[(1, 20, &[(0, 2.0)]), (1, 10, &[(0, 8.0), (5, 5.0)])]));
    assert_eq!(memtable.view(MODEL).unwrap().rows(), 1, "inserted, not published");
    writer.publish();
    let old = before.by_asset(None).run(AssetId(1), TimeRange::ALL);
    assert_eq!((values(&old, 0), values(&old, 5)), (vec![(10, 1.0)], vec![]));
    assert_eq!(values(&before.sorted(None).run(0, TimeRange::ALL), 0), [(10, 1.0)]);
    assert_eq!(values(&read(&memtable, 1, TimeRange::ALL), 0), [(10, 8.0), (20, 2.0)]);
}

#[test]
fn qualities_that_begin_late_are_good_before() {
    let mut late = batch(&[(1, 20, &[(0, 2.0)])]);
    late.columns[0].quality = Some(vec![Quality::new(5).unwrap()]);
    let (memtable, _writer) = filled(&[batch(&[(1, 10, &[(0, 1.0)])]), late, batch(&[(1, 30, &[(0, 3.0)])])]);
    let run = read(&memtable, 1, TimeRange::ALL);
    let codes: Vec<u8> = run.columns[0].quality.as_ref().unwrap().iter().map(|q| q.code()).collect();
    assert_eq!(codes, [0, 5, 0]);
}

#[test]
fn texts_come_back() {
    let mut builder = BatchBuilder::new(ShardCount::new(1).unwrap(), Source::Client);
    let long = "x".repeat(500);
    for (time, text) in [(10, "run"), (20, "stop"), (30, "run"), (40, &*long), (50, "")] {
        builder.begin_row(MODEL, AssetId(1), Channel::RealTime);
        assert!(builder.cell(PointId(2), ValueRef::Text(text), None));
        builder.end_row(Timestamp(time));
    }
    let (memtable, _writer) = filled(&builder.finish());
    let run = read(&memtable, 1, TimeRange::ALL);
    let Values::Text(texts) = &run.columns[0].values else { panic!("texts were inserted") };
    assert_eq!(texts.iter().collect::<Vec<_>>(), ["run", "stop", "run", &long, ""]);
}

#[test]
fn sparse_columns_cost_their_values() {
    // 500 points, each row carries one: 10,000 rows and values.
    let rows: Vec<Batch> =
        (0..10_000_u32).map(|i| batch(&[(i % 10, i64::from(i), &[((i * 7) % 500, f64::from(i))])])).collect();
    let (memtable, _writer) = filled(&rows);
    let dense: Vec<Batch> =
        (0..10_000_u32).map(|i| batch(&[(i % 10, i64::from(i), &[(0, f64::from(i))])])).collect();
    let (narrow, _narrow_writer) = filled(&dense);
    let (wide, narrow) = (memtable.bytes(), narrow.bytes());
    assert!(wide < narrow * 2, "wide {wide}, narrow {narrow}");
    let run = read(&memtable, 3, TimeRange::ALL);
    assert_eq!(run.rows(), 1_000);
    assert_eq!(run.columns.iter().map(|c| c.values.len()).sum::<usize>(), 1_000);
}
