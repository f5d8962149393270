//! Manifests against states kept beside them.

use proptest::prelude::*;
use wattline_model::{AssetId, DeletionTarget, ModelId, TimeRange};

use super::*;

fn meta(id: u64) -> SegmentMeta {
    SegmentMeta {
        id,
        level: (id % 4) as u8,
        partition: id as i64 * -604_800_000_000,
        file: format!("{id:06}.seg"),
        bytes: id * 1000,
        rows: id * 10,
        samples: u64::MAX - id,
        models: 3,
        first_time: i64::MIN,
        last_time: id as i64,
        first_seqno: Seqno(id),
        last_seqno: Seqno(id + 5),
        checksum: id.wrapping_mul(0x9E37_79B9_7F4A_7C15),
    }
}

fn start() -> State {
    State {
        store: 42,
        shard: ShardId(2),
        shards: 4,
        partition_micros: 604_800_000_000,
        flushed: Seqno(5),
        next_segment: 3,
        latest_checkpoint: None,
        segments: vec![meta(1), meta(2)],
        tombstones: vec![tombstone(4)],
    }
}

fn tombstone(seqno: u64) -> Tombstone {
    let deletion = Deletion {
        target: DeletionTarget::History,
        model: ModelId(seqno as u32),
        points: None,
        assets: Some(vec![AssetId(0), AssetId(u32::MAX)]),
        range: TimeRange::ALL,
    };
    Tombstone { seqno: Seqno(seqno), deletion }
}

fn edits() -> Vec<Edit> {
    let flush = |seqno, id| Edit {
        flushed: Some(Seqno(seqno)),
        next_segment: Some(id + 1),
        add: vec![meta(id)],
        ..Edit::default()
    };
    let checkpoint = Edit { latest_checkpoint: Some(9), ..Edit::default() };
    let merge = Edit { next_segment: Some(6), add: vec![meta(5)], remove: vec![1, 3], ..Edit::default() };
    let deleted = Edit { add_tombstones: vec![tombstone(21), tombstone(22)], ..flush(22, 6) };
    let purged = Edit { remove_tombstones: vec![Seqno(4), Seqno(21)], ..Edit::default() };
    vec![flush(9, 3), checkpoint, flush(20, 4), merge, deleted, purged]
}

/// The file after each edit, and the state.
fn files() -> (Vec<u8>, Vec<usize>, Vec<State>) {
    let mut state = start();
    let mut bytes = encode_start(&state);
    let (mut ends, mut states) = (vec![bytes.len()], vec![state.clone()]);
    for edit in edits() {
        encode_edit(&mut bytes, &edit);
        state.apply(&edit).unwrap();
        ends.push(bytes.len());
        states.push(state.clone());
    }
    (bytes, ends, states)
}

#[test]
fn edits_change_what_they_name() {
    let (_, _, states) = files();
    let last = states.last().unwrap();
    assert_eq!(last.segments.iter().map(|s| s.id).collect::<Vec<_>>(), [2, 4, 5, 6]);
    assert_eq!((last.flushed, last.next_segment, last.latest_checkpoint), (Seqno(22), 7, Some(9)));
    assert_eq!(last.tombstones, [tombstone(22)]);
    assert_eq!((last.store, last.shard, last.shards), (42, ShardId(2), 4));
}

#[test]
fn every_cut_gives_the_state_before_it() {
    let (bytes, ends, states) = files();
    for len in 0..=bytes.len() {
        let whole = ends.iter().filter(|&&end| end <= len).count();
        let decoded = decode("m", &bytes[..len]);
        if whole == 0 {
            assert_eq!(decoded.unwrap_err().kind(), ErrorKind::Damaged, "cut at {len}");
            continue;
        }
        let decoded = decoded.unwrap();
        assert_eq!(decoded.state, states[whole - 1], "cut at {len}");
        assert_eq!(decoded.valid_len as usize, ends[whole - 1]);
        assert_eq!(decoded.torn.is_some(), len != ends[whole - 1]);
    }
}

#[test]
fn a_broken_record_is_torn_at_the_end_and_damage_before() {
    let (bytes, ends, states) = files();
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        let decoded = decode("m", &bytes);
        if at >= ends[ends.len() - 2] {
            let decoded = decoded.unwrap();
            assert!(decoded.torn.is_some());
            assert_eq!(decoded.state, states[states.len() - 2], "byte {at}");
        } else {
            let error = decoded.unwrap_err();
            assert!(error.offset() <= at.max(HEADER_BYTES) as u64, "byte {at}: {error}");
        }
    }
}

#[test]
fn an_edit_for_another_state_is_refused_and_changes_nothing() {
    let wrong = [
        Edit { remove: vec![7], ..Edit::default() },
        Edit { add: vec![meta(2)], ..Edit::default() },
        Edit { add: vec![meta(8), meta(8)], ..Edit::default() },
        Edit { flushed: Some(Seqno(4)), ..Edit::default() },
        Edit { next_segment: Some(1), ..Edit::default() },
        Edit { remove_tombstones: vec![Seqno(5)], ..Edit::default() },
        Edit { add_tombstones: vec![tombstone(4)], ..Edit::default() },
    ];
    for edit in wrong {
        let mut state = start();
        assert_eq!(state.apply(&edit).unwrap_err().kind(), ErrorKind::Damaged, "{edit:?}");
        assert_eq!(state, start());
        let mut bytes = encode_start(&start());
        let offset = bytes.len() as u64;
        encode_edit(&mut bytes, &edit);
        let error = decode("shard-2.manifest", &bytes).unwrap_err();
        assert_eq!((error.file(), error.offset()), ("shard-2.manifest", offset));
    }
    // A segment may be replaced under its own number.
    let mut state = start();
    state.apply(&Edit { remove: vec![2], add: vec![meta(2)], ..Edit::default() }).unwrap();
    assert_eq!(state, start());
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(tail in prop::collection::vec(any::<u8>(), 0..200), body in any::<bool>()) {
        let mut bytes = encode_start(&start());
        if body {
            frame::put_record(&mut bytes, |out| { out.push(RECORD_EDIT); out.extend(&tail); });
        } else {
            bytes.extend(&tail);
        }
        let _ = decode("m", &bytes);
        let _ = decode("m", &tail);
    }
}
