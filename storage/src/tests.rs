//! The whole engine through its doors, on a real disk.

use std::collections::BTreeMap;

use wattline_env::World;
use wattline_model::{
    AssetId, Batch, BatchBuilder, Channel, Kind, ModelId, PointId, ShardCount, Source, TimeRange, Timestamp,
    Value, ValueRef, Values,
};

use crate::{ErrorKind, ScanRequest, Settings, Store};

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
