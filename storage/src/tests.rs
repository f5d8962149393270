//! The whole engine through its doors, on a real disk.

use std::collections::BTreeMap;

use wattline_env::World;
use wattline_model::{
    AssetId, Batch, BatchBuilder, Channel, Kind, ModelId, PointId, ShardCount, Source, TimeRange, Timestamp,
    Value, ValueRef, Values,
};

use crate::{Comparison, ErrorKind, Horizon, LatestCondition, ScanRequest, Settings, Store};

const MODEL: ModelId = ModelId(1);
const DAY: i64 = 86_400_000_000;

fn settings() -> Settings {
    Settings { shards: 3, partition_micros: DAY, merge_fanout: 3, ..Settings::default() }
}

fn batches(shards: ShardCount, rows: impl Iterator<Item = (u32, i64, f64)>) -> Vec<Batch> {
    let mut builder = BatchBuilder::new(shards, Source::Client);
    for (asset, time, value) in rows {
        builder.begin_row(MODEL, AssetId(asset), Channel::RealTime);
        assert!(builder.cell(PointId(0), ValueRef::Float(value), None));
        assert!(builder.cell(PointId(2), ValueRef::Int(value as i64), None));
        builder.end_row(Timestamp(time));
    }
    builder.finish()
}

fn horizon(model: ModelId, keep_from: i64) -> Horizon {
    Horizon { model, points: None, keep_from: Timestamp(keep_from) }
}

fn request() -> ScanRequest {
    ScanRequest {
        model: MODEL,
        points: vec![(PointId(0), Kind::Float), (PointId(2), Kind::Int)],
        assets: None,
        range: TimeRange::ALL,
        every_row: true,
        batch_rows: 100,
    }
}

fn scan(store: &Store, request: &ScanRequest) -> BTreeMap<(u32, i64), (f64, i64)> {
    let mut found = BTreeMap::new();
    for scan in store.scan(request) {
        let mut last = None;
        for batch in scan {
            let batch = batch.unwrap();
            assert!(batch.times.len() <= request.batch_rows);
            let (Values::Float(floats), Values::Int(ints)) =
                (&batch.columns[0].values, &batch.columns[1].values)
            else {
                panic!("kinds as asked")
            };
            for i in 0..batch.times.len() {
                let key = (batch.assets[i].0, batch.times[i]);
                assert!(last < Some(key), "{last:?} before {key:?}");
                last = Some(key);
                assert!(found.insert(key, (floats[i], ints[i])).is_none());
            }
        }
    }
    found
}

#[test]
fn what_was_written_is_read_before_and_after_flush_merge_and_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), settings(), World::real()).unwrap();
    let mut expected = BTreeMap::new();
    for round in 0..10_i64 {
        // Five days, each round a bit later, overlapping the rounds before.
        let rows: Vec<(u32, i64, f64)> = (0..3_000_i64)
            .map(|i| ((i % 7) as u32, (i * 137 + round * 50_000) * 1_000_000, (round * 10_000 + i) as f64))
            .collect();
        for &(asset, time, value) in &rows {
            expected.insert((asset, time), (value, value as i64));
        }
        store.write_blocking(batches(store.shards(), rows.into_iter())).unwrap();
        match round % 3 {
            0 => store.flush().unwrap(),
            1 => store.compact().unwrap(),
            _ => {
                store.close().unwrap();
                drop(store);
                store = Store::open(dir.path(), settings(), World::real()).unwrap();
            }
        }
        assert!(scan(&store, &request()) == expected, "round {round}");
    }
    store.flush().unwrap();
    store.compact().unwrap();
    assert!(scan(&store, &request()) == expected);
    assert!(store.status().iter().map(|s| s.compactions).sum::<u64>() > 0);

    let some = ScanRequest {
        assets: Some(vec![AssetId(5), AssetId(2)]),
        range: TimeRange::new(Timestamp(DAY / 2), Timestamp(2 * DAY)),
        ..request()
    };
    let wanted: BTreeMap<_, _> = expected
        .iter()
        .filter(|((asset, time), _)| [2, 5].contains(asset) && (DAY / 2..2 * DAY).contains(time))
        .map(|(k, v)| (*k, *v))
        .collect();
    assert!(!wanted.is_empty() && scan(&store, &some) == wanted);
}

#[test]
fn promise_3_the_latest_value_moves_only_forward_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for reopened in [false, true, true] {
        let store = Store::open(dir.path(), settings(), World::real()).unwrap();
        if !reopened {
            store.write_blocking(batches(store.shards(), [(4, 50, 5.0), (4, 40, 4.0)].into_iter())).unwrap();
            store.flush().unwrap();
            store.write_blocking(batches(store.shards(), [(4, 30, 3.0), (9, 10, 1.0)].into_iter())).unwrap();
        }
        let latest = store.latest(MODEL, AssetId(4), &[PointId(0), PointId(1)]);
        assert_eq!(
            latest[0].as_ref().map(|l| (l.time, l.value.clone())),
            Some((Timestamp(50), Value::Float(5.0)))
        );
        assert_eq!(latest[1], None);
        let rows = store.latest_rows(MODEL, &[(PointId(2), Kind::Int), (PointId(1), Kind::Bool)]);
        assert_eq!(rows.assets.len(), 2);
        assert_eq!((rows.columns[0].presence.present(), rows.columns[1].presence.present()), (2, 0));
        store.close().unwrap();
    }
}

#[test]
fn a_folder_belongs_to_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), settings(), World::real()).unwrap();
    let second = Store::open(dir.path(), settings(), World::real()).err().unwrap();
    assert_eq!(second.kind(), ErrorKind::Busy);
    store.close().unwrap();
    assert_eq!(
        store.write_blocking(batches(store.shards(), [(1, 1, 1.0)].into_iter())).unwrap_err().kind(),
        ErrorKind::Closed
    );
    Store::open(dir.path(), settings(), World::real()).unwrap();
}

#[test]
fn a_batch_for_another_shard_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), settings(), World::real()).unwrap();
    let wrong = batches(ShardCount::new(1).unwrap(), (0..20).map(|a| (a, 1, 1.0)));
    let error = store.write_blocking(wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().contains("does not belong to shard#0"), "{error}");
}

#[test]
fn one_asset_with_more_rows_than_fit_a_piece_is_merged_and_scanned_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), settings(), World::real()).unwrap();
    let mut expected = BTreeMap::new();
    // Some 240,000 rows within a day: three flushes whose rows interleave, repeat each other, and reach over chunks.
    for round in 0..3_i64 {
        let rows: Vec<(u32, i64, f64)> = (0..120_000_i64)
            .map(|i| (1, (i * 2 + round % 2) * 300_000, (round * 1_000_000 + i) as f64))
            .collect();
        expected.extend(rows.iter().map(|&(asset, time, value)| ((asset, time), (value, value as i64))));
        for some in rows.chunks(20_000) {
            store.write_blocking(batches(store.shards(), some.iter().copied())).unwrap();
        }
        store.flush().unwrap();
        let whole = ScanRequest { batch_rows: 7_000, ..request() };
        assert!(scan(&store, &whole) == expected, "round {round}");
    }
    store.compact().unwrap();
    let segments = store.snapshot().segments();
    assert_eq!(segments.len(), 1, "{segments:?}");
    assert_eq!(segments[0].rows, expected.len() as u64);
    let range = TimeRange::new(Timestamp(19_661_000_000), Timestamp(60_000_000_000));
    for range in [TimeRange::ALL, range] {
        let some = ScanRequest { batch_rows: 7_000, range, ..request() };
        let wanted = expected.iter().filter(|((_, time), _)| range.contains(Timestamp(*time)));
        assert!(scan(&store, &some) == wanted.map(|(k, v)| (*k, *v)).collect());
    }
}

#[test]
fn expired_partitions_are_not_served_and_their_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), settings(), World::real()).unwrap();
    // Five days of one model in files, and one more row that is only in the memtable.
    let rows = (0..500_i64).map(|i| ((i % 7) as u32, i * DAY / 100, i as f64));
    store.write_blocking(batches(store.shards(), rows)).unwrap();
    store.flush().unwrap();
    store.write_blocking(batches(store.shards(), [(3, 5, 5.0)].into_iter())).unwrap();
    let files = store.snapshot().segments().len();

    let other = ModelId(MODEL.0 + 1);
    store.expire(&[horizon(other, 10 * DAY)]).unwrap();
    assert_eq!(scan(&store, &request()).len(), 501, "another model's retention");

    let keep_from = 2 * DAY + DAY / 2;
    store.expire(&[horizon(MODEL, keep_from)]).unwrap();
    let kept = |found: BTreeMap<(u32, i64), _>| found.len() == 300 && found.keys().all(|k| k.1 >= 2 * DAY);
    assert!(kept(scan(&store, &request())), "whole days only: the third one is still inside");
    store.compact().unwrap();
    let left = store.snapshot().segments();
    assert!(left.len() < files && left.iter().all(|s| s.partition_start.0 >= 2 * DAY), "{left:?}");
    assert!(kept(scan(&store, &request())));

    // The row in the memtable goes when it comes to the disk.
    store.flush().unwrap();
    store.compact().unwrap();
    assert!(store.snapshot().segments().iter().all(|s| s.partition_start.0 >= 2 * DAY));

    // A segment that holds two models loses one of them.
    let mut both = BatchBuilder::new(store.shards(), Source::Client);
    for model in [MODEL, other] {
        both.begin_row(model, AssetId(7), Channel::RealTime);
        assert!(
            both.cell(PointId(0), ValueRef::Float(1.0), None)
                && both.cell(PointId(2), ValueRef::Int(1), None)
        );
        both.end_row(Timestamp(20 * DAY));
    }
    store.write_blocking(both.finish()).unwrap();
    store.flush().unwrap();
    store.expire(&[horizon(MODEL, 30 * DAY)]).unwrap();
    store.compact().unwrap();
    assert_eq!(scan(&store, &request()).len(), 0);
    let left = store.snapshot().segments();
    assert_eq!(left.iter().map(|s| (s.models, s.rows)).collect::<Vec<_>>(), [(1, 1)], "{left:?}");
    assert_eq!(scan(&store, &ScanRequest { model: other, ..request() }).len(), 1);
}

#[test]
fn conditions_over_newest_values_select_what_a_loop_selects() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), settings(), World::real()).unwrap();
    let mut builder = BatchBuilder::new(store.shards(), Source::Client);
    let odd = [f64::NAN, -0.0, f64::INFINITY, f64::NEG_INFINITY];
    let float = |asset: u32| {
        if asset.is_multiple_of(97) { odd[asset as usize / 97 % 4] } else { f64::from(asset % 501) }
    };
    let text = |asset: u32| ["run", "stop", "", "fault"][asset as usize % 4];
    // More than one stretch of slots; some assets lack some points.
    let has = |asset: u32, point: u32| !asset.is_multiple_of(point + 5);
    for asset in 0..20_000_u32 {
        builder.begin_row(MODEL, AssetId(asset), Channel::RealTime);
        assert!(builder.cell(PointId(9), ValueRef::Int(0), None));
        let cells = [
            (0, ValueRef::Float(float(asset))),
            (1, ValueRef::Int(i64::from(asset % 501) - 250)),
            (2, ValueRef::Bool(asset % 3 == 0)),
            (3, ValueRef::Text(text(asset))),
        ];
        for (point, value) in cells.into_iter().filter(|cell| has(asset, cell.0)) {
            assert!(builder.cell(PointId(point), value, None));
        }
        builder.end_row(Timestamp(10));
    }
    store.write_blocking(builder.finish()).unwrap();
    let check = |point: u32, condition: LatestCondition, meets: &dyn Fn(u32) -> bool| {
        let mut found = store.select_latest(MODEL, PointId(point), &condition).unwrap();
        found.sort();
        let expected: Vec<AssetId> =
            (0..20_000).filter(|&asset| has(asset, point) && meets(asset)).map(AssetId).collect();
        assert!(!expected.is_empty() && found == expected, "{condition:?}: {} found", found.len());
    };
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    let is = |comparison, value| LatestCondition::Is(comparison, value);
    check(0, is(Gt, Value::Float(250.0)), &|a| float(a) > 250.0);
    check(0, is(Ge, Value::Int(250)), &|a| float(a) >= 250.0);
    check(0, is(Lt, Value::Float(0.5)), &|a| float(a) < 0.5);
    check(0, is(Le, Value::Float(0.0)), &|a| float(a) <= 0.0);
    check(0, is(Eq, Value::Float(0.0)), &|a| float(a) == 0.0);
    check(0, is(Ne, Value::Float(7.0)), &|a| float(a) != 7.0);
    let between = LatestCondition::Between(Value::Float(10.0), Value::Float(20.0));
    check(0, between, &|a| (10.0..=20.0).contains(&float(a)));
    check(0, LatestCondition::In(vec![Value::Float(3.0), Value::Int(400)]), &|a| {
        [3.0, 400.0].contains(&float(a))
    });
    let int = |asset: u32| i64::from(asset % 501) - 250;
    check(1, is(Gt, Value::Int(-7)), &|a| int(a) > -7);
    check(1, is(Ne, Value::Int(-250)), &|a| int(a) != -250);
    check(1, LatestCondition::Between(Value::Int(-3), Value::Int(3)), &|a| (-3..=3).contains(&int(a)));
    check(1, LatestCondition::In([9, -9, 9].map(Value::Int).to_vec()), &|a| [9, -9].contains(&int(a)));
    check(2, is(Eq, Value::Bool(true)), &|a| a % 3 == 0);
    let words = |list: &[&str]| list.iter().map(|t| Value::Text((*t).to_owned())).collect::<Vec<_>>();
    check(3, LatestCondition::In(words(&["run", ""])), &|a| ["run", ""].contains(&text(a)));
    check(3, is(Gt, Value::Text("fault".to_owned())), &|a| text(a) > "fault");

    let wrong = store.select_latest(MODEL, PointId(2), &is(Eq, Value::Int(1))).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Input);
    assert!(store.select_latest(MODEL, PointId(77), &is(Eq, Value::Int(1))).unwrap().is_empty());
    assert!(store.select_latest(ModelId(77), PointId(0), &is(Eq, Value::Int(1))).unwrap().is_empty());
}
