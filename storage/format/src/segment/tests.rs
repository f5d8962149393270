//! Segments against plain rows: what is pushed comes back, and damage is found.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use wattline_model::{Column, Kind, ModelId, Quality, Rows, TextColumn, Value, ValueRef, Values};

use super::*;
use crate::ErrorKind;

/// One run as it is pushed.
#[derive(Clone, Debug)]
struct Pushed {
    model: ModelId,
    asset: AssetId,
    times: Vec<i64>,
    columns: Vec<Column>,
}

const HEADER: Header = Header {
    store: 0x5157_4f52_4c44,
    shard: ShardId(3),
    partition: 1_700_006_400_000_000,
    partition_micros: 7 * 86_400_000_000,
    level: 1,
    first_seqno: Seqno(10),
    last_seqno: Seqno(99),
};

fn write(runs: &[Pushed], depth: Depth) -> (Vec<u8>, Summary) {
    let mut writer = Writer::new(HEADER, depth);
    let mut file = Vec::new();
    for run in runs {
        writer.push_run(run.model, run.asset, &run.times, &run.columns);
        file.extend(writer.take());
    }
    let (rest, summary) = writer.finish();
    file.extend(rest);
    assert_eq!(summary.bytes, file.len() as u64);
    (file, summary)
}

/// A sample by (model, asset, time, point): value and quality, floats as bits.
type Samples = BTreeMap<(u32, u32, i64, u32), (Cell, Option<u8>)>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    Float(u64),
    Int(i64),
    Bool(bool),
    Text(String),
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Float(v) => Cell::Float(v.to_bits()),
        ValueRef::Int(v) => Cell::Int(v),
        ValueRef::Bool(v) => Cell::Bool(v),
        ValueRef::Text(v) => Cell::Text(v.to_owned()),
    }
}

fn put(samples: &mut Samples, model: u32, row: impl Fn(usize) -> (u32, i64), column: &Column) {
    for i in 0..column.values.len() {
        let place = match &column.rows {
            Rows::All => i,
            Rows::Some(list) => list[i] as usize,
        };
        let (asset, time) = row(place);
        let quality = column.quality.as_ref().map(|q| q[i].code());
        // No quality and a good one are the same: qualities of a chunk are all kept once one was reported.
        let quality = quality.filter(|&q| q != 0);
        let before =
            samples.insert((model, asset, time, column.point.0), (cell(column.values.get(i)), quality));
        assert_eq!(before, None, "a sample twice");
    }
}

fn pushed_samples(runs: &[Pushed]) -> Samples {
    let mut samples = Samples::new();
    for run in runs {
        for column in &run.columns {
            put(&mut samples, run.model.0, |row| (run.asset.0, run.times[row]), column);
        }
    }
    samples
}

fn read_samples(reader: &Reader) -> Samples {
    let mut samples = Samples::new();
    for model in reader.models() {
        for chunk in reader.chunks(model) {
            let assets: Vec<u32> =
                chunk.runs.iter().flat_map(|r| std::iter::repeat_n(r.asset.0, r.rows as usize)).collect();
            for (b, block) in chunk.blocks.iter().enumerate() {
                let times = reader.times(chunk, b).unwrap();
                assert_eq!(times.len(), block.rows as usize);
                assert_eq!(times.iter().min(), Some(&block.first_time));
                assert_eq!(times.iter().max(), Some(&block.last_time));
                for &point in reader.points(chunk) {
                    let Some(column) = reader.column(chunk, b, point).unwrap() else {
                        assert_eq!(reader.stats(chunk, b, point).unwrap(), None);
                        continue;
                    };
                    check_stats(&reader.stats(chunk, b, point).unwrap().unwrap(), &column, block.rows);
                    let encoding = reader.encoding(chunk, b, point).unwrap().unwrap();
                    let is_float = matches!(column.values, Values::Float(_));
                    assert_eq!(encoding.contains(", "), is_float, "{encoding}: the map, and the integers");
                    assert!(reader.value_bytes(chunk, b, point).unwrap().is_some_and(|bytes| bytes > 0));
                    let first = block.first_row as usize;
                    put(&mut samples, model.0, |row| (assets[first + row], times[row]), &column);
                }
            }
        }
    }
    samples
}

/// Recomputes statistics the long way.
fn check_stats(stats: &Stats, column: &Column, rows: u32) {
    let n = column.values.len();
    assert_eq!((stats.count as usize, stats.nulls as usize), (n, rows as usize - n));
    assert_eq!(cell(stats.first.as_ref()), cell(column.values.get(0)));
    assert_eq!(cell(stats.last.as_ref()), cell(column.values.get(n - 1)));
    match (&column.values, &stats.min, &stats.max, stats.sum) {
        (Values::Float(v), Value::Float(min), Value::Float(max), Some(Sum::Float(sum))) => {
            let mut sorted = v.clone();
            sorted.sort_by(f64::total_cmp);
            assert_eq!((min.to_bits(), max.to_bits()), (sorted[0].to_bits(), sorted[n - 1].to_bits()));
            let mut expected = 0.0;
            v.iter().for_each(|v| expected += v);
            assert!(sum.to_bits() == expected.to_bits() || (sum.is_nan() && expected.is_nan()));
        }
        (Values::Int(v), Value::Int(min), Value::Int(max), Some(Sum::Int(sum))) => {
            let mut sorted = v.clone();
            sorted.sort_unstable();
            assert_eq!((*min, *max), (sorted[0], sorted[n - 1]));
            assert_eq!(sum, v.iter().map(|&v| i128::from(v)).sum::<i128>());
        }
        (Values::Bool(v), Value::Bool(min), Value::Bool(max), None) => {
            assert_eq!((*min, *max), (!v.contains(&false), v.contains(&true)));
        }
        (Values::Text(v), Value::Text(min), Value::Text(max), None) => {
            let mut sorted: Vec<&str> = v.iter().collect();
            sorted.sort_unstable();
            assert_eq!((min.as_str(), max.as_str()), (sorted[0], sorted[n - 1]));
        }
        other => panic!("statistics of another kind: {other:?}"),
    }
}

fn round_trip(runs: &[Pushed]) {
    for depth in [Depth::Hot, Depth::Deep] {
        let (file, summary) = write(runs, depth);
        let reader = Reader::open("t.seg", Bytes::from(file)).unwrap();
        reader.verify().unwrap();
        let counted = reader.check_values().unwrap();
        assert_eq!((counted.rows, counted.samples), (summary.rows, summary.samples));
        assert_eq!((reader.header(), reader.summary()), (&HEADER, &summary));
        assert_eq!(summary.rows, runs.iter().map(|r| r.times.len() as u64).sum::<u64>());
        let expected = pushed_samples(runs);
        assert_eq!(summary.samples, expected.len() as u64);
        assert_eq!(read_samples(&reader), expected);
    }
}

fn all(point: u32, values: Values) -> Column {
    Column { point: PointId(point), rows: Rows::All, values, quality: None }
}

fn floats(n: usize, f: impl Fn(usize) -> f64) -> Values {
    Values::Float((0..n).map(f).collect())
}

fn regular(n: usize, start: i64, step: i64) -> Vec<i64> {
    (0..n as i64).map(|i| start + i * step).collect()
}

fn pushed(model: u32, asset: u32, times: Vec<i64>, columns: Vec<Column>) -> Pushed {
    Pushed { model: ModelId(model), asset: AssetId(asset), times, columns }
}

const T0: i64 = 1_700_006_400_000_000;

#[test]
fn an_empty_segment_opens() {
    let (file, summary) = write(&[], Depth::Hot);
    assert_eq!((summary.rows, summary.models), (0, 0));
    let reader = Reader::open("t.seg", Bytes::from(file)).unwrap();
    assert_eq!(reader.models().count(), 0);
    assert!(reader.chunks(ModelId(1)).is_empty());
    reader.verify().unwrap();
}

#[test]
fn other_versions_are_refused_by_name() {
    for version in [0_u32, VERSION + 1] {
        let (mut file, _) = write(&[], Depth::Hot);
        file[8..12].copy_from_slice(&version.to_le_bytes());
        let error = Reader::open("t.seg", Bytes::from(file)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(&format!("version 1 to {VERSION}, found {version}")), "{error}");
    }
}

#[test]
fn what_takes_room_adds_up_to_the_file() {
    let n = 5000;
    let walk = |i: usize| ((i * 7919 % 13) as f64 + (i / 50) as f64) / 10.0;
    let runs: Vec<Pushed> = (0..4)
        .map(|a| {
            pushed(1, a, regular(n, T0, 1_000_000), vec![all(0, floats(n, walk)), all(3, floats(n, |_| 1.5))])
        })
        .collect();
    round_trip(&runs);
    for depth in [Depth::Hot, Depth::Deep] {
        let (file, summary) = write(&runs, depth);
        let room = Reader::open("t.seg", Bytes::from(file)).unwrap().room().unwrap();
        let parts = [room.times, room.values, room.heads, room.statistics, room.directory, room.index];
        assert_eq!(parts.iter().sum::<u64>(), summary.bytes, "{room:?}");
        assert_eq!(room.times, 0, "even times cost nothing");
    }
}

#[test]
fn a_chunk_of_one_row_and_ten_points_is_small() {
    let one = |model| {
        let columns = (0..10).map(|p| all(p, Values::Float(vec![f64::from(p) * 1.37 + 20.0])));
        pushed(model, 7, vec![T0 + 123_000], columns.collect())
    };
    let (empty, _) = write(&[], Depth::Hot);
    let (file, _) = write(&[one(1)], Depth::Hot);
    assert!(file.len() - empty.len() < 300, "{} bytes", file.len() - empty.len());
    round_trip(&[one(1), one(2), one(9)]);
}

#[test]
fn long_runs_are_cut_into_chunks_and_blocks() {
    let n = CHUNK_ROWS * 2 + 1500;
    let columns = vec![all(0, floats(n, |i| (i % 977) as f64 / 10.0))];
    let runs = [
        pushed(1, 5, regular(300, T0, 1_000_000), vec![all(0, floats(300, |i| i as f64))]),
        pushed(1, 9, regular(n, T0, 1_000_000), columns),
        pushed(1, 10, regular(2, T0, 1_000_000), vec![all(0, floats(2, |i| i as f64))]),
    ];
    round_trip(&runs);
    let (file, _) = write(&runs, Depth::Hot);
    let reader = Reader::open("t.seg", Bytes::from(file)).unwrap();
    let chunks = reader.chunks(ModelId(1));
    assert!(chunks.len() >= 3 && chunks.iter().all(|c| c.rows as usize <= CHUNK_ROWS));
    assert!(chunks.iter().flat_map(|c| &c.blocks).all(|b| b.rows as usize <= BLOCK_ROWS));
}

#[test]
fn short_runs_share_blocks_and_are_not_cut() {
    let runs: Vec<Pushed> = (0..400)
        .map(|a| {
            pushed(
                1,
                a * 3,
                regular(7, T0, 60_000_000),
                vec![all(2, floats(7, |i| f64::from(a) + i as f64 / 4.0))],
            )
        })
        .collect();
    round_trip(&runs);
    let (file, _) = write(&runs, Depth::Hot);
    let reader = Reader::open("t.seg", Bytes::from(file)).unwrap();
    let chunk = &reader.chunks(ModelId(1))[0];
    assert_eq!(chunk.blocks.len(), 2800_usize.div_ceil(1024 / 7 * 7));
    for run in &chunk.runs {
        let block = chunk.blocks.iter().find(|b| b.first_row + b.rows > run.first_row).unwrap();
        assert!(block.first_row <= run.first_row && run.first_row + run.rows <= block.first_row + block.rows);
    }
}

#[test]
fn an_asset_may_come_again_with_later_times() {
    let part =
        |from: i64, n: usize| pushed(1, 5, regular(n, T0 + from, 10), vec![all(0, floats(n, |i| i as f64))]);
    round_trip(&[part(0, 100), part(5_000, 3000), part(100_000, 1)]);
}

#[test]
fn sparse_columns_cost_what_their_values_cost() {
    // 500 points that take turns, against the same values each as the only point of a device of its own.
    let n = 60_000;
    let value = |i: usize| (i * 7919 % 10_007) as f64 / 100.0;
    let sparse = (0..500_u32).map(|p| {
        let rows: Vec<u32> = (0..n as u32).filter(|r| r % 500 == p).collect();
        let values = Values::Float(rows.iter().map(|&r| value(r as usize)).collect());
        Column { point: PointId(p), rows: Rows::Some(rows), values, quality: None }
    });
    let sparse = [pushed(1, 1, regular(n, T0, 1_000_000), sparse.collect())];
    round_trip(&sparse);
    let alone = |p: usize| {
        let values = (p..n).step_by(500).map(value).collect();
        pushed(1, p as u32, regular(n / 500, T0, 500_000_000), vec![all(0, Values::Float(values))])
    };
    let alone: Vec<Pushed> = (0..500).map(alone).collect();
    let [wide, narrow] = [&sparse[..], &alone].map(|runs| write(runs, Depth::Hot).0.len() as f64 / n as f64);
    assert!(wide < narrow * 1.5, "{wide} bytes a value, {narrow} for itself");
}

#[test]
fn a_column_that_comes_and_goes_keeps_its_rows_and_qualities() {
    let q = |codes: &[u8]| Some(codes.iter().map(|&c| Quality::new(c).unwrap()).collect());
    let mut late = all(4, Values::Int(vec![i64::MIN, i64::MAX]));
    late.quality = q(&[3, 0]);
    let texts: TextColumn = ["a", "", "größe"].into_iter().collect();
    let runs = [
        pushed(1, 1, regular(3, T0, 5), vec![all(0, floats(3, |i| i as f64)), all(1, Values::Text(texts))]),
        pushed(1, 2, regular(2, T0, 5), vec![late, all(2, Values::Bool(vec![true, false]))]),
        pushed(1, 3, regular(2, T0, 5), vec![all(4, Values::Int(vec![1, 2])), all(0, floats(2, |_| -0.0))]),
    ];
    round_trip(&runs);
}

#[test]
fn a_missing_point_model_or_block_is_no_damage() {
    let runs = [pushed(4, 1, regular(3, T0, 5), vec![all(6, floats(3, |i| i as f64))])];
    let (file, _) = write(&runs, Depth::Hot);
    let reader = Reader::open("t.seg", Bytes::from(file)).unwrap();
    let chunk = &reader.chunks(ModelId(4))[0];
    assert_eq!(reader.column(chunk, 0, PointId(5)), Ok(None));
    assert_eq!(reader.stats(chunk, 0, PointId(7)), Ok(None));
    assert!(reader.chunks(ModelId(3)).is_empty());
    assert_eq!(reader.times(chunk, 1).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
#[should_panic(expected = "does not come after")]
fn assets_out_of_order_are_refused() {
    let one = |asset| pushed(1, asset, vec![T0], vec![all(0, floats(1, |_| 1.0))]);
    write(&[one(5), one(4)], Depth::Hot);
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Float), Just(Kind::Int), Just(Kind::Bool), Just(Kind::Text)]
}

fn values(kind: Kind, n: usize) -> BoxedStrategy<Values> {
    match kind {
        Kind::Float => prop_oneof![
            prop::collection::vec(any::<u64>().prop_map(f64::from_bits), n).prop_map(Values::Float),
            prop::collection::vec((-5000_i32..5000).prop_map(|i| f64::from(i) / 100.0), n)
                .prop_map(Values::Float),
            prop::collection::vec((-5000_i32..5000).prop_map(|i| f64::from(i as f32 / 1000.0)), n)
                .prop_map(Values::Float),
        ]
        .boxed(),
        Kind::Int => prop_oneof![
            prop::collection::vec(any::<i64>(), n).prop_map(Values::Int),
            prop::collection::vec(0_i64..300, n).prop_map(Values::Int)
        ]
        .boxed(),
        Kind::Bool => prop::collection::vec(any::<bool>(), n).prop_map(Values::Bool).boxed(),
        Kind::Text => prop::collection::vec("[a-cé]{0,4}", n)
            .prop_map(|v| Values::Text(v.iter().map(String::as_str).collect()))
            .boxed(),
    }
}

fn column(point: u32, kind: Kind, rows: usize) -> impl Strategy<Value = Option<Column>> {
    (prop::collection::vec(any::<bool>(), rows), 0..3_u8).prop_flat_map(move |(mask, density)| {
        let listed: Vec<u32> = (0..rows as u32).filter(|&r| density == 0 || mask[r as usize]).collect();
        let n = listed.len();
        let quality = prop::option::of(prop::collection::vec(0..10_u8, n));
        (values(kind, n), quality).prop_map(move |(values, quality)| {
            let quality = quality.map(|q| q.into_iter().map(|c| Quality::new(c).unwrap()).collect());
            let rows = if density == 0 { Rows::All } else { Rows::Some(listed.clone()) };
            (n > 0).then_some(Column { point: PointId(point), rows, values, quality })
        })
    })
}

fn runs() -> impl Strategy<Value = Vec<Pushed>> {
    let run = |kinds: Vec<Kind>| {
        (1..40_usize, 0..3_u32, 0..3_u32, any::<bool>(), prop::collection::vec(1..100_000_i64, 40))
            .prop_flat_map(move |(n, model_gap, asset_gap, even, gaps)| {
                let columns: Vec<_> =
                    kinds.iter().enumerate().map(|(p, &kind)| column(p as u32, kind, n)).collect();
                columns.prop_map(move |columns| {
                    let mut time = T0;
                    let times = gaps[..n].iter().map(|gap| {
                        time += if even { 1_000_000 } else { *gap };
                        time
                    });
                    (model_gap, asset_gap, times.collect::<Vec<_>>(), columns)
                })
            })
    };
    prop::collection::vec(kind(), 1..4)
        .prop_flat_map(move |kinds| prop::collection::vec(run(kinds), 0..8))
        .prop_map(|list| {
            let (mut model, mut asset) = (1, 0);
            let runs = list.into_iter().map(|(model_gap, asset_gap, times, columns)| {
                model += model_gap / 2;
                asset += asset_gap + 1;
                pushed(model, asset, times, columns.into_iter().flatten().collect())
            });
            runs.collect()
        })
}

/// Reads everything there is; errors are fine, panics are not.
fn read_all(bytes: Vec<u8>) -> Result<(), crate::Error> {
    let reader = Reader::open("t.seg", Bytes::from(bytes))?;
    let verified = reader.verify();
    let _ = reader.room();
    for model in reader.models() {
        for chunk in reader.chunks(model) {
            for block in 0..chunk.blocks.len() {
                let _ = reader.times(chunk, block);
                for &point in reader.points(chunk) {
                    let _ = reader.column(chunk, block, point);
                    let _ = reader.stats(chunk, block, point);
                }
            }
        }
    }
    verified
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_pushed_comes_back(runs in runs()) {
        round_trip(&runs);
    }

    #[test]
    fn every_flipped_byte_is_found(runs in runs(), place in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let (mut file, _) = write(&runs, Depth::Hot);
        let at = place.index(file.len());
        file[at] ^= flip;
        prop_assert!(read_all(file).is_err(), "byte {}", at);
    }

    #[test]
    fn every_cut_is_found(runs in runs(), place in any::<prop::sample::Index>()) {
        let (mut file, _) = write(&runs, Depth::Hot);
        file.truncate(place.index(file.len()));
        prop_assert!(read_all(file).is_err());
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read_all(bytes).is_err());
    }
}
