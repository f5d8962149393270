//! Texts of segments beside FSST (Boncz et al., "FSST: Fast Random Access String Compression", VLDB 2020), which
//! databases use for them.
//!
//! `cargo run --release -p wattline-format --example texts`
//!
//! FSST gets a symbol table of its own for each column of 65,536 texts, trained on all of them, and a byte for each
//! length: the most it can do. Both must give every text back.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fsst::Compressor;
use wattline_format::segment::{Depth, Header, Reader, Writer};
use wattline_model::{AssetId, Column, ModelId, PointId, Rows, Seqno, ShardId, TextColumn, Values};

const MODEL: ModelId = ModelId(1);
const ROWS: usize = 65_536;

fn main() {
    println!("| texts | plain B | hot B | deep B | FSST B | hot MB/s | deep MB/s | FSST MB/s |");
    println!("|---|---|---|---|---|---|---|---|");
    for (name, texts) in columns() {
        let plain: usize = texts.iter().map(String::len).sum();
        let (hot, hot_time) = ours(&texts, Depth::Hot);
        let (deep, deep_time) = ours(&texts, Depth::Deep);
        let (fsst, fsst_time) = fsst(&texts);
        let each = |bytes: usize| bytes as f64 / ROWS as f64;
        let speed = |time: Duration| plain as f64 / 1e6 / time.as_secs_f64();
        println!(
            "| {name} | {:.1} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
            each(plain),
            each(hot),
            each(deep),
            each(fsst),
            speed(hot_time),
            speed(deep_time),
            speed(fsst_time)
        );
    }
}

/// Texts as plants send them.
fn columns() -> Vec<(&'static str, Vec<String>)> {
    let mut state = 11_u64;
    let mut below = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let states = ["running", "idle", "fault", "maintenance", "curtailed by grid operator"];
    let parts = ["gearbox oil", "main bearing", "generator winding", "converter", "hydraulic pump"];
    let column = |make: &mut dyn FnMut(usize) -> String| (0..ROWS).map(make).collect::<Vec<_>>();
    vec![
        ("status, 5 values in runs", column(&mut |i| states[i / 300 % 5].to_owned())),
        ("status, 5 values at random", column(&mut |_| states[below(5) as usize].to_owned())),
        (
            "alarms with numbers",
            column(&mut |_| {
                let (part, value) = (parts[below(5) as usize], below(900) as f64 / 10.0);
                format!("WT{:02}: temperature of {part} is {value} degC, limit 80", below(30))
            }),
        ),
        (
            "JSON positions",
            column(&mut |_| {
                format!(
                    "{{\"lat\":{:.5},\"lon\":{:.5}}}",
                    48.0 + below(99_999) as f64 / 1e5,
                    11.0 + below(99_999) as f64 / 1e5
                )
            }),
        ),
        ("serial numbers", column(&mut |_| format!("SN-{:08X}", below(1 << 31)))),
    ]
}

/// Bytes of a segment with the texts, and the time to read them.
fn ours(texts: &[String], depth: Depth) -> (usize, Duration) {
    let header = Header {
        store: 1,
        shard: ShardId(0),
        partition: 0,
        partition_micros: i64::MAX,
        level: 0,
        first_seqno: Seqno(1),
        last_seqno: Seqno(1),
    };
    let times: Vec<i64> = (0..ROWS as i64).map(|i| i * 1_000_000).collect();
    let values = Values::Text(texts.iter().map(String::as_str).collect::<TextColumn>());
    let column = Column { point: PointId(0), rows: Rows::All, values, quality: None };
    let mut writer = Writer::new(header, depth);
    writer.push_run(MODEL, AssetId(1), &times, std::slice::from_ref(&column));
    let mut bytes = writer.take();
    bytes.extend(writer.finish().0);
    let len = bytes.len();
    let reader = Reader::open("texts", Bytes::from(bytes)).expect("a segment");
    let read = || {
        let mut all = TextColumn::default();
        for chunk in reader.chunks(MODEL) {
            for block in 0..chunk.blocks.len() {
                let column = reader.column(chunk, block, PointId(0)).expect("sound").expect("present");
                if let Values::Text(texts) = column.values {
                    texts.iter().for_each(|text| all.push(text));
                }
            }
        }
        all
    };
    assert!(read().iter().eq(texts.iter().map(String::as_str)), "every text comes back");
    (len, fastest(|| drop(black_box(read()))))
}

fn fsst(texts: &[String]) -> (usize, Duration) {
    let lines: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let compressor = Compressor::train(&lines);
    let packed = compressor.compress_bulk(&lines);
    let table = compressor.symbol_table().len() * 8 + compressor.symbol_lengths().len();
    let bytes = table + packed.iter().map(|p| p.len() + 1).sum::<usize>();
    let decompressor = compressor.decompressor();
    let together: Vec<u8> = packed.concat();
    let mut room = Vec::with_capacity(decompressor.max_decompression_capacity(&together) + 8);
    // All at once is FSST at its fastest; the lengths tell the texts apart afterwards.
    assert_eq!(decompressor.decompress(&together), texts.concat().into_bytes(), "every text comes back");
    let time = fastest(|| {
        let len = decompressor.decompress_into(&together, room.spare_capacity_mut());
        black_box(len);
    });
    (bytes, time)
}

/// The fastest of many runs.
fn fastest(mut act: impl FnMut()) -> Duration {
    (0..20)
        .map(|_| {
            let begin = Instant::now();
            act();
            begin.elapsed()
        })
        .min()
        .unwrap_or_default()
}
