//! Aggregates against a map of all samples, over everything the model test does to a store; and that statistics are
//! really what answers.

use std::collections::BTreeMap;
use std::time::Duration;

use wattline_env::sim::{SimDisk, world};
use wattline_model::{AssetId, Kind, PointId, TimeRange, Timestamp, Value};
use wattline_storage::{
    AggregateFigures, AggregatePoint, AggregateRequest, Buckets, Cells, Driver, Groups, Newest, ScanRequest,
    Settings, Snapshot, Store, Wants,
};

use crate::support::{Bits, History, Row, Rows, START, Sample, dir, kind_of, model_of, small, write};

const ALL: Wants = Wants { sum: true, extremes: true, ends: true };

/// What is known of a point in a group: count, least, greatest, first and last with their times.
type Found = (u64, Vec<Bits>, Option<(i64, i64)>);

/// By (asset, or 0; start of the bucket): rows, earliest and latest time, points.
type Answer = BTreeMap<(u32, i64), (u64, i64, i64, BTreeMap<u32, (Found, Option<f64>)>)>;

/// The same rows as `scan` asks for, in random buckets.
pub(crate) fn request(scan: &ScanRequest, rows: &Rows) -> AggregateRequest {
    let mut points = Vec::new();
    for &(point, kind) in &scan.points {
        let wants = if rows.below(3) == 0 { Wants::default() } else { ALL };
        points.push(AggregatePoint { point, kind, wants });
    }
    let micros = [1, 600_000_000, 3_600_000_000, 86_400_000_000, 7 * 86_400_000_000][rows.below(5) as usize];
    let origin = [0, START + 17][rows.below(2) as usize];
    AggregateRequest {
        model: scan.model,
        points,
        assets: scan.assets.clone(),
        range: scan.range,
        buckets: if rows.below(4) == 0 { Buckets::Whole } else { Buckets::Every { origin, micros } },
        by_asset: rows.below(2) == 0,
        newest: None,
    }
}

/// Asserts that the engine and the map agree on `request`.
pub(crate) fn check(snapshot: &Snapshot, request: &AggregateRequest, history: &History) {
    let (found, expected) = (answered(snapshot, request).0, expected(history, request));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{request:?}");
    for (key, theirs) in &expected {
        let ours = &found[key];
        assert_eq!((ours.0, ours.1, ours.2), (theirs.0, theirs.1, theirs.2), "{key:?} of {request:?}");
        for (point, (figures, sum)) in &theirs.3 {
            let ((count, values, times), our_sum) = &ours.3[point];
            // Which of several assets comes first at the same time is nobody's promise.
            let known = if request.by_asset { values.len() } else { values.len().min(2) };
            let figures = (figures.0, figures.1[..known].to_vec(), figures.2);
            assert_eq!(
                (*count, values[..known].to_vec(), *times),
                figures,
                "point {point} in {key:?} of {request:?}"
            );
            assert!(is_near(*our_sum, *sum), "{our_sum:?} is not {sum:?}: {point} in {key:?} of {request:?}");
        }
    }
}

/// Asserts that what comes last of each asset is the same when only that is asked.
pub(crate) fn check_newest(snapshot: &Snapshot, request: &AggregateRequest) {
    let all = |point: &AggregatePoint| AggregatePoint { wants: ALL, ..*point };
    let whole = AggregateRequest {
        points: request.points.iter().map(all).collect(),
        buckets: Buckets::Whole,
        by_asset: true,
        newest: None,
        ..request.clone()
    };
    let expected = answered(snapshot, &whole).0;
    for newest in [Newest::Row, Newest::Values] {
        let found = answered(snapshot, &AggregateRequest { newest: Some(newest), ..whole.clone() }).0;
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{request:?}");
        for (key, theirs) in &expected {
            let ours = &found[key];
            assert_eq!(ours.2, theirs.2, "{key:?} of {request:?}");
            for (point, ((_, values, times), _)) in &theirs.3 {
                let last = times.map(|t| t.1).filter(|&t| newest == Newest::Values || t == theirs.2);
                let ((_, our_values, our_times), _) = &ours.3[point];
                let our_last = our_times.map(|t| t.1).filter(|&t| newest == Newest::Values || t == ours.2);
                assert_eq!(our_last, last, "point {point} in {key:?} of {request:?}");
                assert!(
                    last.is_none() || our_values[3] == values[3],
                    "point {point} in {key:?} of {request:?}"
                );
            }
        }
    }
}

/// Sums of floats depend on the order by a little.
fn is_near(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
        }
        (a, b) => a == b,
    }
}

fn answered(snapshot: &Snapshot, request: &AggregateRequest) -> (Answer, AggregateFigures) {
    let mut all = Groups::new(&request.points, request.by_asset);
    let mut figures = AggregateFigures::default();
    for mut shard in snapshot.aggregate(request) {
        while shard.advance().unwrap() {
            if let Some(groups) = shard.take_some() {
                all.merge(&groups);
            }
        }
        let cost = shard.figures();
        figures.blocks_answered += cost.blocks_answered;
        figures.blocks_decoded += cost.blocks_decoded;
        figures.blocks_pruned += cost.blocks_pruned;
        figures.rows_merged += cost.rows_merged;
        all.merge(&shard.finish());
    }
    let mut answer = Answer::new();
    for i in 0..all.len() {
        let key = (all.assets.get(i).map_or(0, |a| a.0), all.starts[i]);
        let points = request.points.iter().zip(&all.points);
        let points = points.map(|(point, cells)| (point.point.0, figures_of(cells, i, point.wants)));
        let group = (all.rows[i], all.first_times[i], all.last_times[i], points.collect());
        assert_eq!(answer.insert(key, group), None, "{key:?} comes twice");
    }
    (answer, figures)
}

fn figures_of(cells: &Cells, i: usize, wants: Wants) -> (Found, Option<f64>) {
    let (count, values, times, sum) = match cells {
        Cells::Float(cells) => {
            let c = &cells[i];
            let values = [c.min, c.max, c.first, c.last].map(|v| Bits::of(Value::Float(v).as_ref()));
            (c.count, values, (c.first_time, c.last_time), Some(c.sum))
        }
        Cells::Int(cells) => {
            let c = &cells[i];
            let values = [c.min, c.max, c.first, c.last].map(|v| Bits::of(Value::Int(v).as_ref()));
            (c.count, values, (c.first_time, c.last_time), Some(c.sum as f64))
        }
        Cells::Other(cells) => {
            let c = &cells[i];
            if c.count == 0 || wants == Wants::default() {
                return ((c.count, Vec::new(), None), None);
            }
            let values = [&c.min, &c.max, &c.first, &c.last].map(|v| Bits::of(v.as_ref().unwrap().as_ref()));
            (c.count, values, (c.first_time, c.last_time), None)
        }
    };
    if count == 0 || wants == Wants::default() {
        return ((count, Vec::new(), None), None);
    }
    ((count, values.to_vec(), Some(times)), sum)
}

fn expected(history: &History, request: &AggregateRequest) -> Answer {
    let start_of = |time: i64| match request.buckets {
        Buckets::Whole => i64::MIN,
        Buckets::Every { origin, micros } => origin + (time - origin).div_euclid(micros) * micros,
    };
    // By asset and bucket, rows by time.
    type Row<'a> = BTreeMap<u32, &'a Sample>;
    let mut groups: BTreeMap<(u32, i64), BTreeMap<(i64, u32), Row<'_>>> = BTreeMap::new();
    for ((asset, point, time), sample) in history {
        let asked = model_of(*asset) == request.model
            && request.range.contains(Timestamp(*time))
            && request.assets.as_ref().is_none_or(|assets| assets.contains(&AssetId(*asset)));
        if asked {
            let key = (if request.by_asset { *asset } else { 0 }, start_of(*time));
            groups.entry(key).or_default().entry((*time, *asset)).or_default().insert(*point, sample);
        }
    }
    let mut answer = Answer::new();
    for (key, rows) in groups {
        let times: Vec<i64> = rows.keys().map(|k| k.0).collect();
        let points = request.points.iter().map(|point| {
            let samples = rows.iter().filter_map(|((time, _), cells)| {
                cells.get(&point.point.0).map(|sample| (*time, sample.value.clone()))
            });
            (point.point.0, figures_in_map(samples.collect(), point.wants))
        });
        let group = (rows.len() as u64, times[0], *times.last().unwrap(), points.collect());
        answer.insert(key, group);
    }
    answer
}

fn figures_in_map(samples: Vec<(i64, Bits)>, wants: Wants) -> (Found, Option<f64>) {
    let count = samples.len() as u64;
    if count == 0 || wants == Wants::default() {
        return ((count, Vec::new(), None), None);
    }
    let order = |value: &Bits| match value {
        Bits::Float(bits) => {
            let bits = *bits as i64;
            (bits ^ (((bits >> 63) as u64) >> 1) as i64, String::new())
        }
        Bits::Int(value) => (*value, String::new()),
        Bits::Bool(value) => (i64::from(*value), String::new()),
        Bits::Text(text) => (0, text.clone()),
    };
    let min = samples.iter().map(|s| &s.1).min_by_key(|v| order(v)).unwrap().clone();
    let max = samples.iter().map(|s| &s.1).max_by_key(|v| order(v)).unwrap().clone();
    let (first, last) = (samples[0].clone(), samples.last().unwrap().clone());
    let sum = match &first.1 {
        Bits::Float(_) => {
            Some(samples.iter().map(|s| if let Bits::Float(b) = s.1 { f64::from_bits(b) } else { 0.0 }).sum())
        }
        Bits::Int(_) => {
            Some(samples.iter().map(|s| if let Bits::Int(v) = s.1 { i128::from(v) } else { 0 }).sum::<i128>()
                as f64)
        }
        _ => None,
    };
    ((count, vec![min, max, first.1, last.1], Some((first.0, last.0))), sum)
}

#[test]
fn whole_blocks_are_answered_from_statistics_and_late_rows_cost_only_the_blocks_they_touch() {
    let disk = SimDisk::new();
    let settings = Settings {
        memtable_bytes: 64 << 20,
        merge_fanout: 8,
        settle_after: Duration::from_secs(3_600),
        ..small(Driver::Inline)
    };
    let store = Store::open(dir(), settings, world(&disk, 7)).unwrap();
    let (asset, second) = (1, 1_000_000_i64);
    let kind = kind_of(0);
    assert_eq!(kind, Kind::Float);
    let day = START - START.rem_euclid(86_400 * second);
    let row = |i: i64, value: f64| {
        let sample = Sample { value: Bits::Float(value.to_bits()), quality: 0 };
        Row { asset, time: day + i * second, cells: vec![(0, sample)] }
    };
    let rows: Vec<Row> = (0..20_000).map(|i| row(i, (i % 100) as f64)).collect();
    rows.chunks(1_000).for_each(|rows| write(&store, rows).unwrap());
    store.flush().unwrap();
    let request = AggregateRequest {
        model: model_of(asset),
        points: vec![AggregatePoint { point: PointId(0), kind, wants: ALL }],
        assets: None,
        range: TimeRange::ALL,
        buckets: Buckets::Whole,
        by_asset: true,
        newest: None,
    };
    let (answer, figures) = answered(&store.snapshot(), &request);
    let (rows, .., points) = &answer[&(asset, i64::MIN)];
    assert_eq!((*rows, points[&0].1), (20_000, Some(200.0 * 4_950.0)));
    assert_eq!((figures.blocks_answered, figures.blocks_decoded, figures.rows_merged), (23, 0, 0));

    // The writer made a block a quarter of an hour: 22 of 900 rows, and one of 200. So they answer for hours, too.
    let hours = Buckets::Every { origin: 0, micros: 3_600 * second };
    let (answer, figures) =
        answered(&store.snapshot(), &AggregateRequest { buckets: hours, ..request.clone() });
    let hour = |hour: i64| {
        (
            answer[&(asset, day + hour * 3_600 * second)].0,
            &answer[&(asset, day + hour * 3_600 * second)].3[&0].1,
        )
    };
    assert_eq!((hour(0), hour(5)), ((3_600, &Some(36.0 * 4_950.0)), (2_000, &Some(20.0 * 4_950.0))));
    assert_eq!((figures.blocks_answered, figures.blocks_decoded), (23, 0));

    // An edge of the range decodes one.
    let (from, to) = (Timestamp(day + 100 * second), Timestamp(day + 9_100 * second));
    let part = AggregateRequest { range: TimeRange::new(from, to), ..request.clone() };
    let (answer, figures) = answered(&store.snapshot(), &part);
    assert_eq!(answer[&(asset, i64::MIN)].0, 9_000);
    assert_eq!((figures.blocks_answered, figures.blocks_decoded, figures.blocks_pruned), (9, 2, 12));

    // What comes last is in the last block, and the statistics know it.
    let newest = AggregateRequest { newest: Some(Newest::Row), ..request.clone() };
    let (answer, figures) = answered(&store.snapshot(), &newest);
    assert_eq!(answer[&(asset, i64::MIN)].2, day + 19_999 * second);
    assert_eq!(answer[&(asset, i64::MIN)].3[&0].0.1[3], Bits::Float(99_f64.to_bits()));
    assert_eq!((figures.blocks_answered, figures.blocks_decoded, figures.rows_merged), (1, 0, 0));

    // A late row in memory and one in another segment cost a block each.
    write(&store, &[row(5_000, 1e6)]).unwrap();
    store.flush().unwrap();
    write(&store, &[row(9_000, 2e6)]).unwrap();
    let (answer, figures) = answered(&store.snapshot(), &request);
    let (rows, .., points) = &answer[&(asset, i64::MIN)];
    let sum = 200.0 * 4_950.0 + 1e6 + 2e6; // both replace a value of 0
    assert_eq!(
        (*rows, points[&0].1, points[&0].0.1[1].clone()),
        (20_000, Some(sum), Bits::Float(2e6_f64.to_bits()))
    );
    assert_eq!((figures.blocks_answered, figures.blocks_decoded), (21, 0));
    assert!(figures.rows_merged <= 2 * 900, "{figures:?}");
}
