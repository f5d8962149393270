//! Checkpoints come back whole or not at all.

use proptest::prelude::*;
use wattline_model::TextColumn;

use super::*;

fn sample() -> Vec<ModelLatest> {
    let quality = [0, 9, 3].map(|c| Quality::new(c).unwrap()).to_vec();
    let floats = LatestColumn {
        point: PointId(0),
        rows: Rows::All,
        times: (0..300).map(|i| 1_700_000_000_000_000 + i * 77).collect(),
        changed: Some((0..300).map(|i| 1_700_000_000_000_000 - i).collect()),
        values: Values::Float((0..300).map(|i| f64::from(i) / 8.0).collect()),
        quality: None,
    };
    let texts = LatestColumn {
        point: PointId(4),
        rows: Rows::Some(vec![1, 5, 299]),
        times: vec![i64::MIN, 0, i64::MAX],
        changed: None,
        values: Values::Text(["", "on", "größe"].into_iter().collect::<TextColumn>()),
        quality: Some(quality),
    };
    let ints = LatestColumn {
        point: PointId(2),
        rows: Rows::All,
        times: vec![3],
        changed: None,
        values: Values::Int(vec![i64::MIN]),
        quality: Some(vec![Quality::GOOD]),
    };
    let bools =
        LatestColumn { point: PointId(3), values: Values::Bool(vec![true]), quality: None, ..ints.clone() };
    vec![
        ModelLatest {
            model: ModelId(1),
            assets: (0..300).map(|a| AssetId(a * 3)).collect(),
            columns: vec![floats, texts],
        },
        ModelLatest { model: ModelId(u32::MAX), assets: vec![AssetId(u32::MAX)], columns: vec![ints, bools] },
        ModelLatest { model: ModelId(5), assets: Vec::new(), columns: Vec::new() },
    ]
}

#[test]
fn a_checkpoint_comes_back() {
    let bytes = encode(ShardId(6), Seqno(u64::MAX), &sample());
    assert_eq!(decode("l", &bytes), Ok((ShardId(6), Seqno(u64::MAX), sample())));
    let bytes = encode(ShardId(0), Seqno(0), &[]);
    assert_eq!(decode("l", &bytes), Ok((ShardId(0), Seqno(0), Vec::new())));
}

#[test]
fn every_cut_and_every_flipped_byte_is_found() {
    let bytes = encode(ShardId(6), Seqno(12), &sample());
    for at in 0..bytes.len() {
        assert!(decode("l", &bytes[..at]).is_err(), "cut at {at}");
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x20;
        let error = decode("l", &flipped).unwrap_err();
        assert_eq!(error.file(), "l");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(decode("l", &longer).is_err());
}

proptest! {
    #[test]
    fn wrong_bytes_under_right_checksums_do_not_panic(place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut plain = Vec::new();
        put_model(&mut plain, &sample()[0]);
        let at = place.index(plain.len());
        if cut { plain.truncate(at) } else { plain[at] = byte }
        let _ = model(&mut Input::new("l", 0, &plain), VERSION);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = model(&mut Input::new("l", 0, &bytes), VERSION);
        prop_assert!(decode("l", &bytes).is_err());
    }
}
