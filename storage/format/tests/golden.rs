//! Files of every format version, as they were first written: they are read for ever, and what was read is written
//! back byte for byte.
//!
//! `tests/golden/<format>/v<N>/<name>.bin` is the file, `.txt` what it says. After a deliberate change of format run
//! with `WATTLINE_GOLDEN=write` and review the diff.

#![expect(clippy::unwrap_used, reason = "helpers of a test may stop it")]

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use wattline_format::log::Change;
use wattline_format::segment::{Depth, Reader, Writer};
use wattline_format::{latest, log, manifest, segment};
use wattline_model::{
    AssetId, Batch, Channel, Column, Deletion, DeletionTarget, Destination, ModelId, PointId, Quality, Rows,
    Seqno, ShardId, Source, TimeRange, Timestamp, Values,
};

/// Whether the libraries inside promise the same bytes in every version.
#[derive(Clone, Copy, PartialEq)]
enum Bytewise {
    Yes,
    /// zstd and pco promise to read what they wrote, not to write the same again.
    Packed,
}

/// The file `format`/v`version`/`name` and its readable twin.
fn places(format: &str, version: u32, name: &str) -> (PathBuf, PathBuf) {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden"));
    let folder = root.join(format).join(format!("v{version}"));
    (folder.join(format!("{name}.bin")), folder.join(format!("{name}.txt")))
}

/// A file of a version that is no longer written is read as it was.
fn check_kept(format: &str, version: u32, name: &str, describe: fn(&[u8]) -> String) {
    let (bin, txt) = places(format, version, name);
    let kept = std::fs::read(&bin).unwrap_or_else(|e| panic!("{}: {e}", bin.display()));
    let text = std::fs::read_to_string(&txt).unwrap();
    assert_eq!(describe(&kept), text, "{} is read differently", bin.display());
}

fn check(
    format: &str,
    version: u32,
    name: &str,
    written: &[u8],
    bytewise: Bytewise,
    describe: fn(&[u8]) -> String,
) {
    let (bin, txt) = places(format, version, name);
    if std::env::var("WATTLINE_GOLDEN").as_deref() == Ok("write") {
        std::fs::create_dir_all(bin.parent().unwrap()).unwrap();
        std::fs::write(&bin, written).unwrap();
        std::fs::write(&txt, describe(written)).unwrap();
    }
    check_kept(format, version, name, describe);
    let kept = std::fs::read(&bin).unwrap();
    let text = std::fs::read_to_string(&txt).unwrap();
    assert_eq!(describe(written), text, "{format}/{name} is written differently");
    if bytewise == Bytewise::Yes {
        assert!(written == kept, "{format}/{name} is written with other bytes");
    }
}

fn quality(codes: &[u8]) -> Option<Vec<Quality>> {
    Some(codes.iter().map(|&c| Quality::new(c).unwrap()).collect())
}

fn column(point: u32, rows: Rows, values: Values, quality: Option<Vec<Quality>>) -> Column {
    Column { point: PointId(point), rows, values, quality }
}

fn batches() -> Vec<Batch> {
    let one = Batch {
        shard: ShardId(3),
        model: ModelId(7),
        channel: Channel::RealTime,
        source: Source::Client,
        to: Destination::Everywhere,
        assets: vec![AssetId(300)],
        times: vec![Timestamp(1_700_000_000_123_000)],
        columns: vec![
            column(0, Rows::All, Values::Float(vec![-0.0]), None),
            column(1, Rows::All, Values::Int(vec![i64::MIN]), quality(&[9])),
            column(130, Rows::All, Values::Bool(vec![true]), None),
            column(4, Rows::All, Values::Text(["größe"].into_iter().collect()), None),
        ],
    };
    let rows = 20_usize;
    let many = Batch {
        channel: Channel::Offline,
        source: Source::Kafka { topic: 5, partition: 2, offset: 123_456 },
        assets: (0..rows as u32).map(|r| AssetId(r * 1000)).collect(),
        times: (0..rows as i64).map(|r| Timestamp(1_700_000_000_000_000 + r * 1_000_000)).collect(),
        columns: vec![
            column(
                0,
                Rows::All,
                Values::Float((0..rows).map(|r| r as f64 / 4.0).collect()),
                quality(&[2; 20]),
            ),
            column(2, Rows::Some(vec![0, 7, 19]), Values::Int(vec![1, -1, 300]), quality(&[0, 1, 2])),
            column(
                3,
                Rows::Some((2..19).collect()),
                Values::Bool((2..19).map(|r| r % 3 == 0).collect()),
                None,
            ),
        ],
        ..one
    };
    let edge = Batch {
        source: Source::Edge { edge: 9, sequence: u64::MAX },
        assets: vec![AssetId(4); 2],
        times: vec![Timestamp(5); 2],
        columns: vec![column(0, Rows::All, Values::Text(["", "b"].into_iter().collect()), None)],
        ..one
    };
    let job =
        Batch { source: Source::Job { job: 1, position: 77 }, to: Destination::History, ..edge.clone() };
    let latest = Batch { to: Destination::Latest, ..one.clone() };
    vec![one, many, edge, job, latest]
}

fn deletion() -> Deletion {
    Deletion {
        target: DeletionTarget::History,
        model: ModelId(7),
        points: Some(vec![PointId(0), PointId(130)]),
        assets: Some(vec![AssetId(300), AssetId(70_000)]),
        range: TimeRange::new(Timestamp(-1), Timestamp(1_700_000_000_000_000)),
    }
}

#[test]
fn log() {
    let mut file =
        log::encode_header(&log::Header { store: 0x1234_5678_9ABC, shard: ShardId(3), first: Seqno(41) });
    for (i, batch) in batches().iter().enumerate() {
        let seqno = 41 + i as u64;
        log::encode_record(&mut file, Seqno(seqno), Seqno(seqno.min(42)), batch);
    }
    log::encode_deletion(&mut file, Seqno(46), Seqno(42), &deletion());
    let latest = Deletion { target: DeletionTarget::Latest, points: None, assets: None, ..deletion() };
    log::encode_deletion(&mut file, Seqno(47), Seqno(47), &latest);
    check("log", log::VERSION, "batches", &file, Bytewise::Yes, describe_log);
    check_kept("log", 1, "batches", describe_log);
    check_kept("log", 2, "batches", describe_log);
}

fn describe_log(bytes: &[u8]) -> String {
    /// As version 1 was described.
    #[derive(Debug)]
    #[expect(dead_code, reason = "read by Debug")]
    struct Record {
        seqno: Seqno,
        batch: Batch,
        end: u64,
    }
    let mut reader = log::Reader::open("golden", bytes).unwrap();
    let mut text = format!("{:?}\n", reader.header());
    loop {
        match reader.next().unwrap() {
            log::Step::Record { seqno, change: Change::Batch(batch), end } => {
                let record = format!("{:#?}", Record { seqno, batch, end });
                // Versions 1 and 2 had no word for it.
                writeln!(text, "{}", record.replace("        to: Everywhere,\n", "")).unwrap();
            }
            log::Step::Record { seqno, change: Change::Deletion(deletion), end } => {
                writeln!(text, "{seqno} to {end}: {deletion:#?}").unwrap();
            }
            last => {
                writeln!(text, "{last:#?}").unwrap();
                return text;
            }
        }
    }
}

fn meta(id: u64) -> manifest::SegmentMeta {
    manifest::SegmentMeta {
        id,
        level: 1,
        partition: -604_800_000_000,
        file: format!("{id:08}.seg"),
        bytes: 123_456,
        rows: 1000,
        samples: 10_000,
        models: 2,
        first_time: -5,
        last_time: 1_700_000_000_000_000,
        first_seqno: Seqno(1),
        last_seqno: Seqno(40),
        checksum: u64::MAX - 1,
    }
}

#[test]
fn manifest() {
    let state = manifest::State {
        store: 0x1234_5678_9ABC,
        shard: ShardId(3),
        shards: 4,
        partition_micros: 604_800_000_000,
        flushed: Seqno(40),
        next_segment: 3,
        latest_checkpoint: Some(12),
        segments: vec![meta(1), meta(2)],
        tombstones: vec![manifest::Tombstone { seqno: Seqno(39), deletion: deletion() }],
    };
    let mut file = manifest::encode_start(&state);
    let edit = manifest::Edit {
        flushed: Some(Seqno(50)),
        next_segment: Some(4),
        latest_checkpoint: Some(45),
        add: vec![meta(3)],
        remove: vec![1, 2],
        add_tombstones: vec![manifest::Tombstone { seqno: Seqno(50), deletion: deletion() }],
        remove_tombstones: vec![Seqno(39)],
    };
    manifest::encode_edit(&mut file, &edit);
    manifest::encode_edit(&mut file, &manifest::Edit::default());
    check("manifest", manifest::VERSION, "edits", &file, Bytewise::Yes, describe_manifest);
    check_kept("manifest", 1, "edits", describe_manifest);
}

fn describe_manifest(bytes: &[u8]) -> String {
    let text = format!("{:#?}\n", manifest::decode("golden", bytes).unwrap());
    // Version 1 had none, and was described without them.
    text.replace("        tombstones: [],\n", "")
}

#[test]
fn latest() {
    let floats = latest::LatestColumn {
        point: PointId(0),
        rows: Rows::Some(vec![0, 2]),
        times: vec![1, 1_700_000_000_000_000],
        changed: Some(vec![0, 1_600_000_000_000_000]),
        values: Values::Float(vec![f64::NEG_INFINITY, 20.5]),
        quality: quality(&[0, 4]),
    };
    let texts = latest::LatestColumn {
        point: PointId(3),
        rows: Rows::All,
        times: vec![9; 3],
        changed: None,
        values: Values::Text(["on", "off", ""].into_iter().collect()),
        quality: None,
    };
    let assets = vec![AssetId(10), AssetId(20), AssetId(70_000)];
    let models = [latest::ModelLatest { model: ModelId(7), assets, columns: vec![floats, texts] }];
    let file = latest::encode(ShardId(3), Seqno(45), &models);
    let describe = |bytes: &[u8]| {
        let text = format!("{:#?}\n", latest::decode("golden", bytes).unwrap());
        // Version 1 had no word for it.
        text.replace("                    changed: None,\n", "")
    };
    check("latest", latest::VERSION, "table", &file, Bytewise::Packed, describe);
    check_kept("latest", 1, "table", describe);
}

fn segment_header() -> segment::Header {
    segment::Header {
        store: 0x1234_5678_9ABC,
        shard: ShardId(3),
        partition: 1_699_488_000_000_000,
        partition_micros: 604_800_000_000,
        level: 2,
        first_seqno: Seqno(1),
        last_seqno: Seqno(40),
    }
}

/// Runs that bring out every encoding: long and short, even and uneven times, sparse columns, odd values.
fn segment_file(depth: Depth) -> Vec<u8> {
    let t0 = 1_699_488_000_000_000_i64;
    let mut writer = Writer::new(segment_header(), depth);
    let floats = |n: usize, f: &dyn Fn(usize) -> f64| Values::Float((0..n).map(f).collect());
    let n = 300;
    let times: Vec<i64> = (0..n as i64).map(|i| t0 + i * 600_000_000).collect();
    let mixed = |i: usize| [f64::NAN, -0.0, f64::INFINITY, 5e-324][i / 70 % 4];
    let long = [
        column(0, Rows::All, floats(n, &|i| (i * 37 % 101) as f64 / 10.0), None),
        column(1, Rows::All, floats(n, &|i| f64::from((i * 37 % 101) as f32 / 1000.0)), None),
        column(2, Rows::All, floats(n, &|i| (i * 37 % 101) as f64 * 0.1), quality(&[0; 300])),
        column(3, Rows::All, floats(n, &|i| if i % 70 == 0 { mixed(i) } else { i as f64 }), None),
        column(4, Rows::All, Values::Int((0..n as i64).map(|i| i * i - 5).collect()), None),
        column(5, Rows::All, Values::Int((0..n as i64).map(|i| i / 50).collect()), None),
        column(6, Rows::All, Values::Bool((0..n).map(|i| i / 90 % 2 == 1).collect()), None),
        column(7, Rows::All, Values::Text((0..n).map(|i| ["run", "stop", "fault"][i % 3]).collect()), None),
        column(9, Rows::Some(vec![3, 299]), Values::Int(vec![i64::MIN, i64::MAX]), quality(&[7, 0])),
    ];
    writer.push_run(ModelId(7), AssetId(5), &times, &long);
    for asset in 6..9_u32 {
        let times: Vec<i64> = (0..4).map(|i| t0 + i64::from(asset) * 17_000 + i * i * 1_000_000).collect();
        let bits = |i: usize| f64::from_bits(0x3FF5_5555_1234_5678 + u64::from(asset) * 977 + i as u64);
        let columns = [
            column(0, Rows::All, floats(4, &bits), quality(&[1, 1, 2, 0])),
            column(6, Rows::Some(vec![2]), Values::Bool(vec![true]), None),
        ];
        writer.push_run(ModelId(7), AssetId(asset), &times, &columns);
    }
    writer.push_run(ModelId(8), AssetId(1), &[t0], &[column(0, Rows::All, Values::Float(vec![21.5]), None)]);
    let mut file = writer.take();
    file.extend(writer.finish().0);
    file
}

fn describe_segment(bytes: &[u8]) -> String {
    let reader = Reader::open("golden", Bytes::copy_from_slice(bytes)).unwrap();
    reader.verify().unwrap();
    let s = reader.summary();
    let mut text = format!("{:?}\n", reader.header());
    // Sizes and checksums change with the libraries inside; what the file says does not.
    writeln!(
        text,
        "rows {} samples {} models {} times {}..={}",
        s.rows, s.samples, s.models, s.first_time, s.last_time
    )
    .unwrap();
    for model in reader.models() {
        for chunk in reader.chunks(model) {
            writeln!(text, "{model}: {} rows, {:?}", chunk.rows, reader.points(chunk)).unwrap();
            chunk.runs.iter().for_each(|run| writeln!(text, "  {run:?}").unwrap());
            for (i, block) in chunk.blocks.iter().enumerate() {
                writeln!(text, "  {block:?}\n    times {:?}", reader.times(chunk, i).unwrap()).unwrap();
                for &point in reader.points(chunk) {
                    let Some(column) = reader.column(chunk, i, point).unwrap() else { continue };
                    writeln!(text, "    {:?}", reader.stats(chunk, i, point).unwrap().unwrap()).unwrap();
                    writeln!(text, "    {column:?}").unwrap();
                    if let Values::Float(v) = &column.values {
                        let bits: Vec<String> = v.iter().map(|v| format!("{:x}", v.to_bits())).collect();
                        writeln!(text, "    bits {}", bits.join(" ")).unwrap();
                    }
                }
            }
        }
    }
    text
}

/// A model of 60 points that take turns, at uneven times: what version 3 is for.
fn wide_segment_file(depth: Depth) -> Vec<u8> {
    let mut writer = Writer::new(segment_header(), depth);
    for asset in 1..3_u32 {
        let rows = 3_000 / asset;
        let time = |row: u32| 1_699_488_000_000_000 + i64::from(row) * 1_000_000 + i64::from(row * 7 % 13);
        let times: Vec<i64> = (0..rows).map(time).collect();
        let columns: Vec<Column> = (0..60)
            .map(|point| {
                let mine = |row: &u32| row * 31 % 60 == point || row * row % 600 == point;
                let list: Vec<u32> = (0..rows).filter(mine).collect();
                let values = list.iter().map(|&row| f64::from(row % 97) / 10.0).collect();
                column(point, Rows::Some(list), Values::Float(values), None)
            })
            .collect();
        writer.push_run(ModelId(7), AssetId(asset), &times, &columns);
    }
    let mut file = writer.take();
    file.extend(writer.finish().0);
    file
}

#[test]
fn segments_of_versions_1_and_2_are_read() {
    for version in [1, 2] {
        check_kept("segment", version, "hot", describe_segment);
        check_kept("segment", version, "deep", describe_segment);
    }
}

#[test]
fn segment_v3_hot() {
    check("segment", 3, "hot", &segment_file(Depth::Hot), Bytewise::Yes, describe_segment);
    check("segment", 3, "wide-hot", &wide_segment_file(Depth::Hot), Bytewise::Yes, describe_segment);
}

#[test]
fn segment_v3_deep() {
    check("segment", 3, "deep", &segment_file(Depth::Deep), Bytewise::Packed, describe_segment);
    check("segment", 3, "wide-deep", &wide_segment_file(Depth::Deep), Bytewise::Packed, describe_segment);
}

#[test]
fn all_versions_say_the_same() {
    for name in ["hot", "deep"] {
        let texts = [1, 2, 3].map(|version| std::fs::read(places("segment", version, name).1).unwrap());
        assert!(texts[0] == texts[1] && texts[1] == texts[2], "{name}");
    }
}
