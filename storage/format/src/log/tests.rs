//! Records come back; a cut file is torn, a damaged one is named.

use proptest::prelude::*;
use wattline_model::{AssetId, Quality, ShardCount, TextColumn, ValueRef};

use super::*;

const HEADER: Header = Header { store: 77, shard: ShardId(3), first: Seqno(100) };

fn one_row(i: u64) -> Batch {
    let mut builder = wattline_model::BatchBuilder::new(ShardCount::new(1).unwrap(), Source::Client);
    builder.begin_row(ModelId(7), AssetId(i as u32), Channel::RealTime);
    for p in 0..10 {
        assert!(builder.cell(PointId(p), ValueRef::Float(f64::from(p) + i as f64), None));
    }
    builder.end_row(Timestamp(1_700_000_000_000_000 + i as i64));
    Batch { shard: HEADER.shard, ..builder.finish().remove(0) }
}

/// A file of records 100.. whose groups have these sizes, and where each record ends.
fn file(groups: &[u64]) -> (Vec<u8>, Vec<usize>) {
    let mut out = encode_header(&HEADER);
    let mut ends = vec![out.len()];
    let mut seqno = HEADER.first.0;
    for size in groups {
        let group = Seqno(seqno);
        for _ in 0..*size {
            encode_record(&mut out, Seqno(seqno), group, &one_row(seqno));
            ends.push(out.len());
            seqno += 1;
        }
    }
    (out, ends)
}

/// Reads to the end: how many records there were, and the last step.
/// Reads record by record, and sees to it that skipping comes to the same end.
fn read(bytes: &[u8]) -> Result<(usize, Step), Error> {
    let skipped = Reader::open("1.log", bytes)?.skip_to_end();
    let mut reader = Reader::open("1.log", bytes)?;
    let mut records = 0;
    loop {
        let step = reader.next();
        if let Ok(Step::Record { seqno, change, .. }) = &step {
            assert_eq!(seqno.0, HEADER.first.0 + records as u64);
            assert_eq!(*change, Change::Batch(one_row(seqno.0)));
            records += 1;
            continue;
        }
        let end = step.as_ref().map(|step| match step {
            Step::Torn { valid_len, what } => (*valid_len, Some(what.clone())),
            Step::End { len } => (*len, None),
            Step::Record { .. } => unreachable!("records were counted"),
        });
        assert_eq!(skipped.as_ref().map(|tail| (tail.valid_len, tail.torn.clone())), end);
        if let (Ok(tail), false) = (&skipped, reader.is_stub()) {
            assert_eq!(tail.next.0, HEADER.first.0 + records as u64);
        }
        return step.map(|step| (records, step));
    }
}

#[test]
fn records_come_back_with_their_ends() {
    let (bytes, ends) = file(&[1, 3, 2]);
    let mut reader = Reader::open("1.log", &bytes).unwrap();
    assert_eq!(reader.header(), &HEADER);
    for (i, &expected) in ends[1..].iter().enumerate() {
        let Step::Record { seqno, end, change } = reader.next().unwrap() else { panic!("record {i}") };
        assert_eq!((seqno, end), (Seqno(100 + i as u64), expected as u64));
        assert_eq!(change, Change::Batch(one_row(seqno.0)));
    }
    let end = Step::End { len: bytes.len() as u64 };
    assert_eq!(reader.next(), Ok(end.clone()));
    assert_eq!(reader.next(), Ok(end), "the end stays the end");
}

#[test]
fn a_message_of_ten_points_is_small() {
    let (bytes, _) = file(&[1]);
    let record = bytes.len() - HEADER_BYTES;
    assert!(record < 160, "{record} bytes for ten doubles");
}

#[test]
fn every_cut_is_a_torn_tail_at_the_record_before() {
    let (bytes, ends) = file(&[2, 2]);
    for len in 0..bytes.len() {
        let whole = ends.iter().filter(|&&end| end <= len).count();
        let (records, last) = read(&bytes[..len]).unwrap();
        assert_eq!(records, whole.saturating_sub(1), "cut at {len}");
        match last {
            Step::Torn { valid_len, .. } if len < HEADER_BYTES => assert_eq!(valid_len, 0),
            Step::Torn { valid_len, .. } => assert_eq!(valid_len as usize, ends[whole - 1]),
            Step::End { len: end } => assert_eq!((end as usize, ends[whole - 1]), (len, len)),
            Step::Record { .. } => unreachable!("records were counted"),
        }
    }
}

#[test]
fn damage_before_a_later_group_is_named() {
    let (bytes, ends) = file(&[1, 2, 1]);
    for at in ends[0]..ends[3] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x40;
        let error = read(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let record = ends.iter().rfind(|&&end| end <= at).unwrap();
        assert_eq!(error.offset(), *record as u64, "byte {at}: {error}");
    }
}

#[test]
fn a_broken_record_of_the_last_group_is_torn_even_before_whole_ones() {
    // The medium may have written the second half of an unfinished group and not the first.
    let (bytes, ends) = file(&[2, 3]);
    for at in ends[2]..ends[5] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let (records, last) = read(&bytes).unwrap();
        let whole = ends.iter().filter(|&&end| end <= at).count() - 1;
        assert_eq!(records, whole);
        assert!(
            matches!(last, Step::Torn { valid_len, .. } if valid_len as usize == ends[whole]),
            "byte {at}"
        );
    }
}

#[test]
fn zeros_after_the_records_are_a_torn_tail() {
    let (mut bytes, ends) = file(&[2]);
    bytes.resize(bytes.len() + 4096, 0);
    let (records, last) = read(&bytes).unwrap();
    assert_eq!(records, 2);
    assert!(matches!(last, Step::Torn { valid_len, .. } if valid_len as usize == ends[2]), "{last:?}");
}

#[test]
fn deletions_stand_between_batches_and_only_from_version_2_on() {
    let deletion = wattline_model::Deletion {
        target: wattline_model::DeletionTarget::History,
        model: ModelId(7),
        points: Some(vec![PointId(3)]),
        assets: None,
        range: wattline_model::TimeRange::new(Timestamp(5), Timestamp(9)),
    };
    let mut bytes = encode_header(&HEADER);
    encode_record(&mut bytes, Seqno(100), Seqno(100), &one_row(100));
    encode_deletion(&mut bytes, Seqno(101), Seqno(100), &deletion);
    let mut reader = Reader::open("1.log", &bytes).unwrap();
    assert!(matches!(reader.next(), Ok(Step::Record { change: Change::Batch(_), .. })));
    let end = bytes.len() as u64;
    let found = reader.next();
    assert_eq!(found, Ok(Step::Record { seqno: Seqno(101), change: Change::Deletion(deletion), end }));

    // The same bytes under version 1, which had no such record.
    bytes.splice(8..12, 1_u32.to_le_bytes());
    let sum = frame::checksum(&bytes[..HEADER_BYTES - 8]);
    bytes.splice(HEADER_BYTES - 8..HEADER_BYTES, sum.to_le_bytes());
    let mut reader = Reader::open("1.log", &bytes).unwrap();
    assert!(matches!(reader.next(), Ok(Step::Record { .. })));
    assert_eq!(reader.next().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_gap_in_the_sequence_is_damage() {
    let mut bytes = encode_header(&HEADER);
    encode_record(&mut bytes, Seqno(100), Seqno(100), &one_row(100));
    encode_record(&mut bytes, Seqno(102), Seqno(102), &one_row(102));
    assert_eq!(read(&bytes).unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn headers_are_checked() {
    let (bytes, _) = file(&[1]);
    for at in 0..HEADER_BYTES {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x40;
        let error = Reader::open("1.log", &bytes).unwrap_err();
        let version = (8..12).contains(&at);
        assert_eq!(
            error.kind(),
            if version { ErrorKind::Unsupported } else { ErrorKind::Damaged },
            "{error}"
        );
    }
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::Client),
        any::<(u32, u32, i64)>().prop_map(|(topic, partition, offset)| Source::Kafka {
            topic,
            partition,
            offset
        }),
        any::<(u32, u64)>().prop_map(|(edge, sequence)| Source::Edge { edge, sequence }),
        any::<(u32, u64)>().prop_map(|(job, position)| Source::Job { job, position }),
    ]
}

fn column(point: u32, rows: usize) -> impl Strategy<Value = Column> {
    (prop::collection::vec(any::<bool>(), rows), 0..4_u8, any::<bool>(), any::<u64>(), any::<u8>()).prop_map(
        move |(mask, kind, listed, seed, quality)| {
            let list: Vec<u32> = (0..rows as u32).filter(|&r| !listed || mask[r as usize]).collect();
            let bits = |r: &u32| seed.wrapping_mul(u64::from(*r) * 2 + 1);
            let values = match kind {
                0 => Values::Float(list.iter().map(|r| f64::from((bits(r) >> 33) as u32) / 10.0).collect()),
                1 => Values::Int(list.iter().map(|r| bits(r) as i64).collect()),
                2 => Values::Bool(list.iter().map(|r| bits(r) & 1 == 1).collect()),
                _ => {
                    let texts: Vec<String> = list.iter().map(|r| "é".repeat(bits(r) as usize % 5)).collect();
                    Values::Text(texts.iter().map(String::as_str).collect::<TextColumn>())
                }
            };
            let n = list.len();
            let rows = if listed { Rows::Some(list) } else { Rows::All };
            let code =
                |i: usize| if quality & 1 == 0 { quality % 10 } else { (i as u8).wrapping_mul(quality) % 10 };
            let quality = (quality > 99).then(|| (0..n).map(|i| Quality::new(code(i)).unwrap()).collect());
            Column { point: PointId(point * 3), rows, values, quality }
        },
    )
}

fn batch() -> impl Strategy<Value = Batch> {
    (0..40_usize, 0..5_u32, any::<bool>(), source(), 0..3_u8).prop_flat_map(
        |(rows, columns, offline, source, to)| {
            let to = [Destination::Everywhere, Destination::Latest, Destination::History][to as usize];
            let columns: Vec<_> = (0..columns).map(|p| column(p, rows)).collect();
            let id = prop_oneof![0..3_u32, any::<u32>()];
            let time = prop_oneof![0..3_i64, any::<i64>()];
            (columns, prop::collection::vec((id, time), rows)).prop_map(move |(columns, rows)| Batch {
                shard: HEADER.shard,
                model: ModelId(9),
                channel: if offline { Channel::Offline } else { Channel::RealTime },
                source,
                to,
                assets: rows.iter().map(|r| AssetId(r.0)).collect(),
                times: rows.iter().map(|r| Timestamp(r.1)).collect(),
                columns,
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn batches_come_back(batch in batch()) {
        let mut bytes = encode_header(&HEADER);
        encode_record(&mut bytes, HEADER.first, HEADER.first, &batch);
        let mut reader = Reader::open("1.log", &bytes).unwrap();
        let end = bytes.len() as u64;
        prop_assert_eq!(reader.next(), Ok(Step::Record { seqno: HEADER.first, change: Change::Batch(batch), end }));
    }

    #[test]
    fn a_record_with_a_right_checksum_and_wrong_bytes_does_not_panic(
        batch in batch(), place in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut record = Vec::new();
        encode_record(&mut record, HEADER.first, HEADER.first, &batch);
        let body = frame::RECORD_HEAD_BYTES + 16;
        let at = body + place.index(record.len() - body);
        record[at] = byte;
        let mut bytes = encode_header(&HEADER);
        frame::put_record(&mut bytes, |out| out.extend_from_slice(&record[frame::RECORD_HEAD_BYTES..]));
        match Reader::open("1.log", &bytes).unwrap().next() {
            Ok(Step::Record { change: Change::Batch(batch), .. }) => prop_assert_eq!(batch.check(), Ok(())),
            Ok(Step::Record { change: Change::Deletion(deletion), .. }) => prop_assert_eq!(deletion.check(), Ok(())),
            Ok(other) => prop_assert!(false, "{:?}", other),
            Err(error) => prop_assert!(error.offset() >= HEADER_BYTES as u64),
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(tail in prop::collection::vec(any::<u8>(), 0..200), with_header in any::<bool>()) {
        let mut bytes = if with_header { encode_header(&HEADER) } else { Vec::new() };
        bytes.extend(tail);
        let _ = read(&bytes);
    }
}
