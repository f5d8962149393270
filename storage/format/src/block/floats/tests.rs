//! Floats of every kind, compared by bits.

use proptest::prelude::*;

use super::*;

fn heads(values: &[f64]) -> Heads {
    let mut heads = Heads::default();
    heads.mapping = Some(Mapping::choose(values).0);
    heads
}

fn encoded(values: &[f64]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, values, Mapping::choose(values));
    let mut input = Input::new("t", 0, &out);
    let back = decode(&mut input, values.len(), &heads(values)).unwrap();
    assert_eq!(input.end(), Ok(()));
    let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back), bits(values));
    out
}

#[test]
fn odd_values_come_back() {
    let payload = f64::from_bits(0x7FF8_0000_DEAD_BEEF);
    let signalling = f64::from_bits(0xFFF0_0000_0000_0001);
    let odd = [
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        payload,
        signalling,
        f64::INFINITY,
        -f64::INFINITY,
        5e-324,
        f64::MAX,
    ];
    encoded(&[]);
    encoded(&odd);
    for v in odd {
        encoded(&[v]);
        encoded(&[v; 300]);
        let mut mixed: Vec<f64> = (0..1024).map(|i| f64::from(i) / 100.0).collect();
        mixed[0] = v;
        mixed[511] = v;
        mixed[1023] = v;
        assert!(encoded(&mixed).len() < 100, "{v:e} costs the others: {}", encoded(&mixed).len());
    }
}

#[test]
fn negative_zeros_among_decimals_cost_little() {
    // 1,983 negative zeros once cost a whole column 16 %.
    let values: Vec<f64> =
        (0..1024).map(|i| if i % 10 == 0 { -0.0 } else { f64::from(i * 7919 % 1000) / 10.0 }).collect();
    assert!(encoded(&values).len() < 1024 * 10 / 8 + 160, "{}", encoded(&values).len());
}

#[test]
fn each_shape_gets_its_size() {
    let size = |f: &dyn Fn(i32) -> f64| encoded(&(0..1024).map(f).collect::<Vec<_>>()).len();
    let noise = |i: i32| f64::from((i.wrapping_mul(7919) ^ i >> 3) % 1000);
    assert!(size(&|_| 21.5) < 10);
    assert!(size(&|i| noise(i) / 10.0) < 1024 * 11 / 8 + 20);
    assert!(size(&|i| f64::from((noise(i) / 1000.0) as f32)) < 1024 * 11 / 8 + 20);
    assert!(size(&|i| noise(i) * 0.1) < 1024 * 13 / 8 + 20, "a unit in the last place off: two bits more");
    assert!(size(&|i| (f64::from(i) / 99.0).sin()) <= 1024 * 8 + 24, "raw is the floor");
    assert!(
        size(&|i| f64::from((f64::from(i) / 99.0).sin() as f32)) <= 1024 * 4 + 24,
        "32 bits stay 32 bits"
    );
}

fn floats() -> impl Strategy<Value = Vec<f64>> {
    let odd = prop_oneof![
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(5e-324),
        any::<u64>().prop_map(f64::from_bits)
    ];
    let value = prop_oneof![
        any::<u64>().prop_map(f64::from_bits).boxed(),
        any::<f32>().prop_map(f64::from).boxed(),
        (0..12_u8, -100_000_i32..100_000).prop_map(|(p, i)| f64::from(i) / 10_f64.powi(p.into())).boxed(),
        prop_oneof![20 => (-1000_i32..1000).prop_map(|i| f64::from(i) / 100.0), 1 => odd].boxed(),
        (-9000_i32..9000).prop_map(|i| f64::from(i as f32 / 1000.0)).boxed(),
        (-9000_i32..9000).prop_map(|i| f64::from(i) * 0.001).boxed(),
        any::<f32>().prop_map(|f| format!("{f:.9e}").parse().unwrap()).boxed(),
    ];
    let len = prop_oneof![0..5_usize, 0..80_usize, 250..301_usize];
    (len, prop::collection::vec(value, 301)).prop_map(|(len, mut list)| {
        list.truncate(len);
        list
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn lists_come_back(list in floats()) {
        encoded(&list);
    }

    #[test]
    fn mutated_bytes_do_not_panic(list in floats(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encoded(&list);
        if !bytes.is_empty() {
            let at = place.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&mut Input::new("t", 0, &bytes), list.len(), &heads(&list));
        }
    }
}
