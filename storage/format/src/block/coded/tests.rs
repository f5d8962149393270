use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::varint::{Input, put_zigzag};

fn read(head: &[u8], page: &[u8], count: usize) -> Result<Vec<i64>, Error> {
    let mut input = Input::new("t", 0, head);
    let head = Head::get(&mut input)?;
    input.end()?;
    head.page_as(&mut Input::new("t", 0, page), count, |value| value)
}

/// The bytes of all pages.
fn round_trip(values: &[i64], lengths: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (head, pages) = encode(values, lengths).unwrap();
    assert_eq!(pages.len(), lengths.len());
    let mut at = 0;
    for (page, &length) in pages.iter().zip(lengths) {
        assert_eq!(read(&head, page, length).as_deref(), Ok(&values[at..at + length]));
        at += length;
    }
    (head, pages)
}

#[test]
fn tokens_come_back() {
    for step in (0..3000).chain((0..64).map(|i| u64::MAX >> i)) {
        let (number, extra, low) = token(step);
        assert!(number < TOKENS);
        assert_eq!(of_token(number), (step - low, extra));
    }
}

#[test]
fn extremes_come_back() {
    round_trip(&[i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN], &[1, 5]);
    round_trip(&[7; 2000], &[1000, 1000]);
    round_trip(&[3], &[1]);
    assert!(encode(&[], &[]).is_none());
}

/// Lanes and tiles end somewhere else with each length, and extra bits are read in four ways.
#[test]
fn every_length_comes_back() {
    for spread in [1_u64, 7, 300, 1 << 15, 1 << 40, u64::MAX] {
        let mut state = 1_u64;
        let mut noise = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state ^ state >> 31) as i64 % (spread as i64).max(1)
        };
        let lengths: Vec<usize> =
            (1..24).chain([63, 64, 65, 66, 67, 127, 130, 255, 256, 260, 1024, 4096]).collect();
        let values: Vec<i64> = (0..lengths.iter().sum()).map(&mut noise).collect();
        round_trip(&values, &lengths);
        let sums = values.iter().scan(0_i64, |sum, v| Some(std::mem::replace(sum, sum.wrapping_add(*v))));
        round_trip(&sums.collect::<Vec<_>>(), &lengths);
    }
}

#[test]
fn a_block_of_even_steps_is_its_first_values() {
    let values: Vec<i64> = (0..2000).map(|i| i * 3).collect();
    let (_, pages) = round_trip(&values, &[1000, 1000]);
    assert!(pages.iter().all(|page| page.len() <= 4), "{pages:?}");
}

#[test]
fn heads_that_cannot_be_are_refused() {
    let head = |shape: u8, lengths: &[i64], frequencies: &[i64]| {
        let mut out = vec![shape];
        put_zigzag(&mut out, 0);
        crate::block::ints::encode(&mut out, lengths);
        crate::block::ints::encode(&mut out, frequencies);
        out
    };
    let fits = |head: &[u8]| read(head, &[0; 6], 4).is_ok();
    assert!(fits(&head(0, &[1], &[2048])));
    for (shape, lengths, frequencies) in [
        (3, vec![1], vec![2048]),
        (0x20, vec![1], vec![2048]),
        (0, vec![497], vec![2048; 497]),
        (0, vec![-1], vec![]),
        (0, vec![1], vec![2047]),
        (0, vec![2], vec![2048, 1]),
        (0, vec![3], vec![2048, -1, 1]),
        (0, vec![2], vec![i64::MAX, i64::MIN]),
    ] {
        assert!(!fits(&head(shape, &lengths, &frequencies)), "{shape} {lengths:?} {frequencies:?}");
    }
    // Contexts that do not occur lead back to the first state, and a page that leads there does not get stuck.
    assert!(fits(&head(0x10, &[0, 0, 0], &[])));
    assert!(read(&head(0x10, &[0, 9, 0], &[0, 0, 0, 0, 0, 0, 0, 0, 2048]), &[0xFF; 6], 4).is_err());
}

#[test]
fn a_page_cut_short_or_too_long_is_refused() {
    let values: Vec<i64> = (0..1000).map(|i| i * i % 701).collect();
    let (head, pages) = round_trip(&values, &[1000]);
    for len in 3..pages[0].len() {
        assert!(read(&head, &pages[0][..len], 1000).is_err(), "{len}");
    }
    let mut page = pages[0].clone();
    page.push(0);
    assert!(read(&head, &page, 1000).is_err());
}

#[test]
fn resting_at_an_edge_costs_little() {
    let mut state = 1_u64;
    let mut level = 0_i64;
    let mut walk = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        level = (level + (state >> 60) as i64 - 10).max(0);
        level
    };
    let values: Vec<i64> = (0..8000).map(&mut walk).collect();
    let bytes: usize = round_trip(&values, &[1000; 8]).1.iter().map(Vec::len).sum();
    assert!(bytes < 3200, "{bytes} bytes, four bits a value away from the edge");
}

fn lists() -> impl Strategy<Value = (Vec<i64>, Vec<usize>)> {
    let value = prop_oneof![
        any::<i64>().boxed(),
        (0..50_i64).boxed(),
        Just(i64::MIN).boxed(),
        prop_oneof![20 => -3..4_i64, 1 => any::<i64>()].boxed(),
    ];
    (prop::collection::vec(1..90_usize, 1..6), 0..3_u8, prop::collection::vec(value, 540)).prop_map(
        |(lengths, sums, mut values)| {
            values.truncate(lengths.iter().sum());
            for _ in 0..sums {
                let mut sum = 0_i64;
                for v in &mut values {
                    sum = sum.wrapping_add(*v);
                    *v = sum;
                }
            }
            (values, lengths)
        },
    )
}

proptest! {
    #[test]
    fn lists_come_back((values, lengths) in lists()) {
        round_trip(&values, &lengths);
    }

    #[test]
    fn mutated_bytes_do_not_panic(
        (values, lengths) in lists(),
        of_head in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (mut head, pages) = round_trip(&values, &lengths);
        let mut page = pages[0].clone();
        let bytes = if of_head { &mut head } else { &mut page };
        // A page of steps of 0 alone may have no bytes.
        bytes.push(0);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read(&head, &page, lengths[0]);
    }
}
