//! Storage policies through the doors of a store: what history and the latest-value table have, fresh, flushed, merged
//! and after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use wattline_env::sim::{SimDisk, world};
use wattline_model::{
    AssetId, BatchBuilder, Channel, Deletion, DeletionTarget, HistoryRule, Kind, ModelId, ModelPolicy,
    PointId, PointPolicy, Policies, Quality, Source, Thinning, TimeRange, Timestamp, Tolerance, Value,
    ValueRef,
};
use wattline_storage::{Driver, Horizon, ScanRequest, Settings, Store};

use crate::support::{HOUR, START, dir, small};

const MODEL: ModelId = ModelId(1);
const SECOND: i64 = 1_000_000;

/// The float samples of point 0 of a table: (asset, time) and value.
type Floats = BTreeMap<(u32, i64), f64>;

/// A store on a simulated disk, and what rules in it.
struct Plant {
    disk: SimDisk,
    store: Store,
    policies: Arc<Policies>,
}

impl Plant {
    /// The point numbers are places in `points`.
    fn new(points: Vec<PointPolicy>) -> Plant {
        let policies = Policies {
            models: [(MODEL, ModelPolicy { points, ..ModelPolicy::default() })].into(),
            others_latest_only: false,
        };
        let (disk, policies) = (SimDisk::new(), Arc::new(policies));
        let store = Plant::open(&disk, &policies);
        Plant { disk, store, policies }
    }

    fn open(disk: &SimDisk, policies: &Arc<Policies>) -> Store {
        let settings =
            Settings { policies: Arc::clone(policies), memtable_bytes: 1 << 20, ..small(Driver::Inline) };
        Store::open(dir(), settings, world(disk, 7)).unwrap()
    }

    /// Writes rows of (asset, time, point, value) as one call of the door.
    fn write(&self, rows: &[(u32, i64, u32, f64)]) {
        let mut builder = BatchBuilder::new(self.store.shards(), Source::Client);
        for &(asset, time, point, value) in rows {
            builder.begin_row(MODEL, AssetId(asset), Channel::RealTime);
            assert!(builder.cell(PointId(point), ValueRef::Float(value), None));
            builder.end_row(Timestamp(time));
        }
        self.store.write_blocking(builder.finish()).unwrap();
    }

    fn history(&self, model: ModelId, point: u32) -> Floats {
        let request = ScanRequest {
            model,
            points: vec![(PointId(point), Kind::Float)],
            assets: None,
            range: TimeRange::ALL,
            every_row: false,
            batch_rows: 1_000,
        };
        let mut found = Floats::new();
        for batch in self.store.scan(&request).into_iter().flatten() {
            let batch = batch.unwrap();
            for (i, (asset, time)) in batch.assets.iter().zip(&batch.times).enumerate() {
                let ValueRef::Float(value) = batch.columns[0].values.get(i) else { panic!("no float") };
                assert_eq!(found.insert((asset.0, *time), value), None);
            }
        }
        found
    }

    /// Rows of the model as SQL counts them.
    fn rows(&self) -> usize {
        let request = ScanRequest {
            model: MODEL,
            points: Vec::new(),
            assets: None,
            range: TimeRange::ALL,
            every_row: true,
            batch_rows: 1_000,
        };
        self.store.scan(&request).into_iter().flatten().map(|b| b.unwrap().times.len()).sum()
    }

    fn latest(&self, asset: u32, point: u32) -> Option<(i64, Value)> {
        let latest = self.store.latest(MODEL, AssetId(asset), &[PointId(point)]).pop().unwrap();
        latest.map(|l| (l.time.0, l.value))
    }

    fn last_changed(&self, asset: u32, point: u32) -> Option<(i64, Value)> {
        let latest = self.store.last_changed(MODEL, AssetId(asset), &[PointId(point)]).pop().unwrap();
        latest.map(|l| (l.time.0, l.value))
    }

    fn restart(&mut self) {
        self.store.close().unwrap();
        self.store = Plant::open(&self.disk, &self.policies);
    }

    /// The power fails: what is not synced is gone.
    fn power_failure(&mut self) {
        let disk = self.disk.crash_to_durable();
        self.store = Plant::open(&disk, &self.policies);
        self.disk = disk;
    }

    /// Calls `check` now, after a restart, after a flush, after another restart and after a merge.
    fn in_every_state(&mut self, check: impl Fn(&Plant)) {
        check(self);
        self.restart();
        check(self);
        self.store.flush().unwrap();
        check(self);
        self.restart();
        check(self);
        self.store.compact().unwrap();
        check(self);
    }
}

fn kept(rule: HistoryRule) -> PointPolicy {
    PointPolicy { history: Some(rule), ..PointPolicy::default() }
}

const AS_SENT: HistoryRule = HistoryRule::AS_SENT;
const BY_MINUTE: HistoryRule = HistoryRule { by_minute: true, ..AS_SENT };
const ONCE: HistoryRule = HistoryRule { modifiable: false, ..AS_SENT };

/// The example of the data service §3.2: 08:00:03→7.1, 08:00:41→7.4, 08:00:20→7.0 in this order are 08:00:00→7.0.
#[test]
fn of_each_minute_the_value_that_arrives_last_is_kept() {
    let normalized = PointPolicy { normalized: true, ..kept(AS_SENT) };
    let mut plant = Plant::new(vec![kept(BY_MINUTE), normalized]);
    let eight = START + 8 * HOUR;
    let sent = [(eight + 3 * SECOND, 7.1), (eight + 41 * SECOND, 7.4), (eight + 20 * SECOND, 7.0)];
    for (time, value) in sent {
        plant.write(&[(5, time, 0, value), (5, time, 1, value)]);
    }
    let together: Vec<_> = sent.iter().map(|&(time, value)| (6, time, 0, value)).collect();
    plant.write(&together);
    plant.in_every_state(|plant| {
        assert_eq!(plant.history(MODEL, 0), [((5, eight), 7.0), ((6, eight), 7.0)].into(), "PI");
        assert_eq!(plant.history(MODEL.by_minute(), 1), [((5, eight), 7.0)].into(), "AI_NORMALIZED");
        assert_eq!(plant.history(MODEL, 1).len(), 3, "AI_RAW beside it");
        assert_eq!(
            plant.latest(5, 0),
            Some((eight + 41 * SECOND, Value::Float(7.4))),
            "the latest is as sent"
        );
    });
}

#[test]
fn points_without_a_policy_have_a_latest_value_and_no_history() {
    let mut plant = Plant::new(vec![kept(AS_SENT)]);
    plant.write(&[(1, START, 0, 1.0), (1, START, 1, 2.0), (1, START + SECOND, 1, 3.0), (2, START, 7, 4.0)]);
    plant.in_every_state(|plant| {
        assert_eq!(plant.history(MODEL, 0), [((1, START), 1.0)].into());
        assert!(plant.history(MODEL, 1).is_empty() && plant.history(MODEL, 7).is_empty());
        assert_eq!(plant.rows(), 1, "a row is what has a sample");
        assert_eq!(plant.latest(1, 1), Some((START + SECOND, Value::Float(3.0))));
        assert_eq!(plant.latest(2, 7), Some((START, Value::Float(4.0))));
    });
}

#[test]
fn latest_values_alone_do_not_keep_the_log_for_ever() {
    let plant = Plant::new(Vec::new());
    let log_bytes = || plant.store.status().iter().map(|s| s.log_bytes).sum::<u64>();
    let mut largest = 0;
    for i in 0..1_500_i64 {
        let rows: Vec<_> = (0..500).map(|asset| (asset, START + i * SECOND, 0, i as f64)).collect();
        plant.write(&rows);
        largest = largest.max(log_bytes());
    }
    assert!(largest > 1 << 20, "{largest} bytes: the test writes too little");
    // A row takes 21 bytes of a batch and 13 or so of the log, and four memtables' worth of batches may be there.
    assert!(
        log_bytes() < largest && largest < 8 << 20,
        "{} of {largest} bytes: no flush gave room back",
        log_bytes()
    );
    assert_eq!(plant.store.status().iter().map(|s| s.segments).sum::<u64>(), 0);
    assert_eq!(plant.latest(499, 0), Some((START + 1_499 * SECOND, Value::Float(1_499.0))));
}

#[test]
fn where_a_policy_says_not_modifiable_the_first_write_stays() {
    let mut plant = Plant::new(vec![kept(ONCE), kept(AS_SENT)]);
    let at = |i: i64| START + i * SECOND;
    plant.write(&[(1, at(1), 0, 1.0), (1, at(1), 0, 1.5), (1, at(3), 0, 3.0), (1, at(1), 1, 1.0)]);
    plant.write(&[(1, at(3), 0, 3.5), (1, at(2), 0, 2.0), (1, at(1), 1, 9.0), (2, at(1), 0, 7.0)]);
    let expected: Floats =
        [((1, at(1)), 1.0), ((1, at(2)), 2.0), ((1, at(3)), 3.0), ((2, at(1)), 7.0)].into();
    let again = [(1, at(1), 0, 8.0), (1, at(2), 0, 8.0), (1, at(3), 0, 8.0), (2, at(1), 0, 8.0)];
    plant.in_every_state(|plant| {
        plant.write(&again);
        assert_eq!(plant.history(MODEL, 0), expected);
        assert_eq!(plant.history(MODEL, 1), [((1, at(1)), 9.0)].into(), "others are modifiable");
        assert_eq!(plant.latest(1, 0), Some((at(3), Value::Float(3.0))));
    });
    // Late, new, and far from everything known.
    plant.write(&[(1, at(-9), 0, -9.0)]);
    plant.write(&[(1, at(-9), 0, 0.0), (1, at(4), 0, 4.0)]);
    assert_eq!(plant.history(MODEL, 0)[&(1, at(-9))], -9.0);
    // What was deleted is not there, so it may be written anew, once.
    let deletion = Deletion {
        target: DeletionTarget::History,
        model: MODEL,
        points: None,
        assets: Some(vec![AssetId(1)]),
        range: TimeRange::new(Timestamp(at(2)), Timestamp(at(3))),
    };
    plant.store.delete_blocking(&deletion).unwrap();
    plant.write(&[(1, at(2), 0, 2.25)]);
    plant.write(&[(1, at(2), 0, 2.75)]);
    assert_eq!(plant.history(MODEL, 0)[&(1, at(2))], 2.25);
}

fn thinned(dead_band: Option<f64>, swinging_door: Option<f64>) -> PointPolicy {
    let tolerance = |deviation| Tolerance { deviation, spacing_min: 0, spacing_max: Some(600 * SECOND) };
    let thinning =
        Thinning { dead_band: dead_band.map(tolerance), swinging_door: swinging_door.map(tolerance) };
    kept(HistoryRule { thinning, ..AS_SENT })
}

#[test]
fn a_dead_band_keeps_what_differs_from_what_it_kept() {
    let mut plant = Plant::new(vec![thinned(Some(0.5), None)]);
    let sent = [0.0, 0.4, 0.5, 0.6, 0.9, 1.2, 1.0, 0.6, f64::NAN, 0.6, 0.7];
    for (i, value) in sent.into_iter().enumerate() {
        plant.write(&[(1, START + i as i64 * SECOND, 0, value)]);
    }
    let at = |i: i64| (1, START + i * SECOND);
    plant.in_every_state(|plant| {
        let mut found = plant.history(MODEL, 0);
        assert!(found.remove(&at(8)).unwrap().is_nan());
        // By hand: 0.6 differs from 0.0 by more than 0.5, 1.2 from 0.6; then NaN, and the first after it.
        assert_eq!(found, [(at(0), 0.0), (at(3), 0.6), (at(5), 1.2), (at(7), 0.6), (at(9), 0.6)].into());
        assert_eq!(
            plant.latest(1, 0),
            Some((at(10).1, Value::Float(0.7))),
            "the latest value is every sample's"
        );
    });
    plant.write(&[(1, START + 1_000 * SECOND, 0, 0.6)]);
    assert!(plant.history(MODEL, 0).contains_key(&at(1_000)), "too long ago");
}

#[test]
fn a_swinging_door_keeps_a_line_that_passes_every_sample_within_the_deviation() {
    let deviation = 0.25;
    for seed in 0..20_u64 {
        let mut plant = Plant::new(vec![thinned(None, Some(deviation))]);
        let mut sent = Vec::new();
        let (mut value, mut state) = (10.0_f64, seed * 2 + 1);
        for i in 0..400_i64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            value += ((state >> 40) as f64 / f64::from(1 << 24) - 0.5) * 0.3 + 0.1 * (i as f64 / 40.0).sin();
            sent.push((START + i * SECOND, value));
        }
        for (n, chunk) in sent.chunks(7).enumerate() {
            let rows: Vec<_> = chunk.iter().map(|&(time, value)| (3, time, 0, value)).collect();
            plant.write(&rows);
            match n % 9 {
                3 => plant.restart(),
                5 => plant.power_failure(),
                7 => plant.store.flush().unwrap(),
                _ => {}
            }
        }
        let newest = *sent.last().unwrap();
        assert_eq!(plant.latest(3, 0), Some((newest.0, Value::Float(newest.1))));
        let mut kept = plant.history(MODEL, 0);
        assert!(kept.len() < sent.len() * 3 / 4, "seed {seed}: {} of {} kept", kept.len(), sent.len());
        // The newest sample may be waiting in the latest-value table.
        kept.insert((3, newest.0), newest.1);
        let corners: Vec<(i64, f64)> = kept.iter().map(|(key, value)| (key.1, *value)).collect();
        for &(time, value) in &sent {
            let next = corners.partition_point(|c| c.0 < time);
            let (right, left) = (corners[next], corners[next.saturating_sub(1)]);
            let part =
                if right.0 == left.0 { 0.0 } else { (time - left.0) as f64 / (right.0 - left.0) as f64 };
            let line = left.1 + (right.1 - left.1) * part;
            assert!((line - value).abs() <= deviation + 1e-9, "seed {seed}: {value} is beside {line}");
        }
    }
}

#[test]
fn late_samples_of_a_thinned_point_are_kept() {
    let plant = Plant::new(vec![thinned(Some(5.0), Some(5.0))]);
    let at = |i: i64| START + i * SECOND;
    plant.write(&[(1, at(10), 0, 1.0), (1, at(20), 0, 1.0), (1, at(5), 0, 1.0), (1, at(30), 0, 1.0)]);
    assert_eq!(plant.history(MODEL, 0), [((1, at(5)), 1.0), ((1, at(10)), 1.0)].into());
    // Redelivery adds what is true, and changes nothing else.
    plant.write(&[(1, at(20), 0, 1.0)]);
    assert!(plant.history(MODEL, 0).values().all(|&v| v == 1.0));
}

#[test]
fn the_last_change_is_kept_beside_the_latest_value() {
    let mut plant = Plant::new(vec![PointPolicy { last_changed: true, ..PointPolicy::default() }]);
    let at = |i: i64| START + i * SECOND;
    plant.write(&[(1, at(1), 0, 5.0), (1, at(2), 0, 6.0), (1, at(3), 0, 6.0)]);
    plant.write(&[(1, at(4), 0, 6.0), (1, at(0), 0, 9.0)]);
    plant.in_every_state(|plant| {
        assert_eq!(plant.last_changed(1, 0), Some((at(2), Value::Float(6.0))));
        assert_eq!(plant.latest(1, 0), Some((at(4), Value::Float(6.0))));
    });
    plant.write(&[(1, at(5), 0, 5.0)]);
    plant.write(&[(1, at(6), 0, 5.0)]);
    plant.in_every_state(|plant| assert_eq!(plant.last_changed(1, 0), Some((at(5), Value::Float(5.0)))));
    plant.store.rule(Arc::default()).unwrap();
    assert_eq!(plant.last_changed(1, 0), None, "no policy keeps it any more");
}

#[test]
fn points_expire_each_at_its_own_time() {
    let mut plant = Plant::new(vec![kept(AS_SENT), kept(AS_SENT)]);
    let day = |i: i64| START + i * 24 * HOUR;
    for i in 0..6 {
        plant.write(&[(1, day(i), 0, i as f64), (1, day(i), 1, i as f64), (2, day(i), 0, i as f64)]);
    }
    plant.store.flush().unwrap();
    let horizons = [
        Horizon { model: MODEL, points: None, keep_from: Timestamp(day(1)) },
        Horizon { model: MODEL, points: Some(vec![PointId(0)]), keep_from: Timestamp(day(4)) },
    ];
    let check = |plant: &Plant| {
        plant.store.expire(&horizons).unwrap();
        let days = |point| plant.history(MODEL, point).into_keys().map(|k| (k.1 - START) / (24 * HOUR));
        assert_eq!(days(0).collect::<Vec<_>>(), [4, 5, 4, 5]);
        assert_eq!(days(1).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(plant.rows(), 5 + 2, "asset 2 has no row where only point 0 was");
    };
    check(&plant);
    plant.in_every_state(check);
    let samples: u64 = plant.store.snapshot().segments().iter().map(|s| s.samples).sum();
    assert_eq!(samples, 4 + 5, "what expired is gone from the disk");
}

#[test]
fn deleting_a_models_history_deletes_its_minutes() {
    let plant = Plant::new(vec![PointPolicy { normalized: true, ..kept(AS_SENT) }]);
    plant.write(&[(1, START, 0, 1.0), (1, START + HOUR, 0, 2.0)]);
    let deletion = Deletion {
        target: DeletionTarget::History,
        model: MODEL,
        points: None,
        assets: None,
        range: TimeRange::new(Timestamp(START), Timestamp(START + HOUR)),
    };
    plant.store.delete_blocking(&deletion).unwrap();
    let left: Floats = [((1, START + HOUR), 2.0)].into();
    assert_eq!((plant.history(MODEL, 0), plant.history(MODEL.by_minute(), 0)), (left.clone(), left));
}

#[test]
fn a_change_of_policy_means_what_is_written_from_then_on() {
    let plant = Plant::new(vec![kept(AS_SENT)]);
    plant.write(&[(1, START, 0, 1.0)]);
    plant.store.rule(Arc::new(Policies { others_latest_only: true, ..Policies::default() })).unwrap();
    plant.write(&[(1, START + HOUR, 0, 2.0)]);
    assert_eq!(plant.history(MODEL, 0), [((1, START), 1.0)].into());
    assert_eq!(plant.latest(1, 0), Some((START + HOUR, Value::Float(2.0))));
    plant.store.rule(Arc::default()).unwrap();
    plant.write(&[(1, START + 2 * HOUR, 0, 3.0)]);
    assert_eq!(plant.history(MODEL, 0).len(), 2, "models without a group keep all, unless told otherwise");
}

#[test]
fn qualities_go_where_their_values_go() {
    let plant = Plant::new(vec![kept(BY_MINUTE)]);
    let mut builder = BatchBuilder::new(plant.store.shards(), Source::Client);
    builder.begin_row(MODEL, AssetId(1), Channel::RealTime);
    assert!(builder.cell(PointId(0), ValueRef::Float(1.0), Quality::new(4)));
    builder.end_row(Timestamp(START + SECOND));
    plant.store.write_blocking(builder.finish()).unwrap();
    let request = ScanRequest {
        model: MODEL,
        points: vec![(PointId(0), Kind::Float)],
        assets: None,
        range: TimeRange::ALL,
        every_row: true,
        batch_rows: 10,
    };
    let batch = plant.store.scan(&request).into_iter().flatten().next().unwrap().unwrap();
    assert_eq!(batch.columns[0].quality, Some(vec![Quality::new(4).unwrap()]));
}
