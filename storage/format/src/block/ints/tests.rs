//! Lists of every shape, compared with themselves; sizes where a codec is meant to be used.

use proptest::prelude::*;

use super::*;

fn encoded(values: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, values);
    let mut input = Input::new("t", 0, &out);
    assert_eq!(decode(&mut input, values.len()).as_deref(), Ok(values));
    assert_eq!(input.end(), Ok(()));
    out
}

#[test]
fn extremes_come_back() {
    encoded(&[]);
    for v in [0, -1, i64::MIN, i64::MAX] {
        encoded(&[v]);
        encoded(&[v, v]);
        encoded(&[v; 1024]);
        encoded(&[v, v.wrapping_add(1)]);
    }
    encoded(&[i64::MIN, i64::MAX, i64::MIN, 0, i64::MAX]);
    encoded(&[i64::MAX, i64::MIN, i64::MAX, i64::MIN]);
}

#[test]
fn each_shape_gets_its_size() {
    let n = 1024;
    assert!(encoded(&vec![77; n]).len() <= 3);
    let counter: Vec<i64> = (0..n as i64).map(|i| 1_000_000 + i * 17).collect();
    assert!(encoded(&counter).len() <= 16, "a straight line");
    let steps: Vec<i64> = (0..n as i64).map(|i| i / 100 * 1_000_003).collect();
    assert!(encoded(&steps).len() <= 80, "runs");
    let small: Vec<i64> = (0..n as i64).map(|i| 500 + i * 7919 % 16).collect();
    assert!(encoded(&small).len() <= n / 2 + 10, "four bits a value");
    let mut gaps = counter;
    gaps.iter_mut().skip(500).for_each(|v| *v += 1_000_000_000);
    assert!(encoded(&gaps).len() <= 32, "a straight line with one gap: {}", encoded(&gaps).len());
}

#[test]
fn a_run_of_runs_is_refused() {
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        bytes.extend([CODEC_RUNS, 2]);
    }
    assert!(decode(&mut Input::new("t", 0, &bytes), 10).is_err());
}

fn lists() -> impl Strategy<Value = Vec<i64>> {
    let len = prop_oneof![0..5_usize, 0..70_usize, 250..301_usize];
    let value = prop_oneof![
        any::<i64>().boxed(),
        (0..4_i64).boxed(),
        (-100..100_i64).boxed(),
        prop_oneof![9 => 0..10_i64, 1 => any::<i64>()].boxed(),
    ];
    (len, 0..4_u8, prop::collection::vec(value, 301)).prop_map(|(len, sums, mut list)| {
        list.truncate(len);
        for _ in 0..sums.min(2) {
            let mut sum = 0_i64;
            for v in &mut list {
                sum = sum.wrapping_add(*v);
                *v = sum;
            }
        }
        list
    })
}

proptest! {
    #[test]
    fn lists_come_back(list in lists()) {
        encoded(&list);
    }

    #[test]
    fn mutated_bytes_do_not_panic(list in lists(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encoded(&list);
        if !bytes.is_empty() {
            let at = place.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&mut Input::new("t", 0, &bytes), list.len());
        }
    }
}
