//! Whatever way a series is cut into parts, the joined parts give what one pass gives; and so do samples in any order.

use proptest::prelude::*;
use wattline_model::Timestamp;

use crate::{Counter, Energy, First, Fold, Gathered, Last, MeterRule, Method, States, Weighted};

/// Distinct ascending times with small whole values: sums of these are exact, so the results must be equal, not near.
fn series() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::vec((1_i64..1_000_000_000, -3_i64..6), 0..40).prop_map(|steps| {
        let mut time = 0;
        let sample = |(step, value): (i64, i64)| {
            time += step;
            (time, value * 16)
        };
        steps.into_iter().map(sample).collect()
    })
}

fn one_pass<V, F: Fold<V>>(fold: &F, samples: &[(i64, V)]) -> F
where
    V: Clone,
{
    let mut fold = fold.clone();
    for (time, value) in samples {
        fold.push(Timestamp(*time), value.clone()).unwrap();
    }
    fold
}

/// The parts between `cuts`, joined pairwise like a tree.
fn in_parts<V: Clone, F: Fold<V>>(fold: &F, samples: &[(i64, V)], cuts: &[usize]) -> F {
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (samples.len() + 1)).collect();
    cuts.extend([0, samples.len()]);
    cuts.sort_unstable();
    let mut parts: Vec<F> = cuts.windows(2).map(|c| one_pass(fold, &samples[c[0]..c[1]])).collect();
    while parts.len() > 1 {
        parts = parts
            .chunks(2)
            .map(|pair| {
                let mut joined = pair[0].clone();
                if let Some(later) = pair.get(1) {
                    joined.append(later).unwrap();
                }
                joined
            })
            .collect();
    }
    parts.pop().unwrap_or_else(|| fold.clone())
}

/// A NaN in places, to see that it is passed over on both ways.
fn floats(samples: &[(i64, i64)]) -> Vec<(i64, f64)> {
    samples.iter().map(|&(t, v)| (t, if v == 48 { f64::NAN } else { v as f64 })).collect()
}

fn same<T: PartialEq + std::fmt::Debug>(a: T, b: T) -> Result<(), TestCaseError> {
    prop_assert_eq!(a, b);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_joined_are_one_pass(samples in series(), cuts in prop::collection::vec(0_usize..50, 0..6)) {
        let numbers = floats(&samples);
        let counter = Counter::default();
        same(one_pass(&counter, &numbers), in_parts(&counter, &numbers, &cuts))?;
        for method in [Method::Linear, Method::Last, Method::Next] {
            let weighted = Weighted::new(method);
            same(one_pass(&weighted, &numbers), in_parts(&weighted, &numbers, &cuts))?;
        }
        for rule in [
            MeterRule::default(),
            MeterRule::new(Some(64.0), Some(300_000.0), Some(2.0)).unwrap(),
            MeterRule::new(None, Some(1_000_000.0), None).unwrap(),
        ] {
            let energy = Energy::new(rule);
            same(one_pass(&energy, &numbers), in_parts(&energy, &numbers, &cuts))?;
        }
        let states = States::default();
        same(one_pass(&states, &samples), in_parts(&states, &samples, &cuts))?;
    }

    #[test]
    fn samples_in_any_order_are_one_series(samples in series().prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())), cut in 0_usize..50) {
        let (ordered, shuffled) = samples;
        let (ordered, shuffled) = (floats(&ordered), floats(&shuffled));
        let cut = cut % (shuffled.len() + 1);
        let gather = |part: &[(i64, f64)]| {
            let mut gathered = Gathered::new();
            for &(time, value) in part {
                gathered.push(Timestamp(time), value);
            }
            gathered
        };
        let (mut left, right) = (gather(&shuffled[..cut]), gather(&shuffled[cut..]));
        let mut swapped = right.clone();
        swapped.merge(&left);
        left.merge(&right);
        let counter = one_pass(&Counter::default(), &ordered);
        same(left.fold(Counter::default()).unwrap(), counter)?;
        same(swapped.fold(Counter::default()).unwrap(), counter)?;
        let energy = Energy::new(MeterRule::new(Some(64.0), Some(300_000.0), None).unwrap());
        same(left.fold(energy).unwrap(), one_pass(&energy, &ordered))?;

        let (mut first, mut last) = (First::default(), Last::default());
        for &(time, value) in shuffled.iter().filter(|(_, v)| !v.is_nan()) {
            first.push(Timestamp(time), value);
            last.push(Timestamp(time), value);
        }
        let ends = counter.ends;
        same(first.sample, ends.map(|(first, _)| first))?;
        same(last.sample, ends.map(|(_, last)| last))?;
    }
}
