//! Times of a block.
//!
//! Owns: the codecs for times that ascend within each run of rows. A block of one asset is one run; a block of many
//! short runs goes back in time at every boundary, which the encoder is told of. Does not own: how integers pack
//! (`ints`).

use crate::block::ints;
use crate::error::Error;
use crate::varint::{Input, put_varint, put_zigzag};

/// First time and step: any number of times at even steps.
const CODEC_REGULAR: u8 = 0;
/// Every run has its own first time and step.
const CODEC_REGULAR_RUNS: u8 = 1;
/// Steps in units of their greatest common divisor.
const CODEC_STEPS: u8 = 2;

/// Appends `times`; `runs` are the lengths of the runs they fall into. The decoder must be told the runs.
pub(crate) fn encode(out: &mut Vec<u8>, times: &[i64], runs: &[usize]) {
    debug_assert_eq!(runs.iter().sum::<usize>(), times.len());
    let Some(&first) = times.first() else { return };
    if let Some(step) = even_step(times) {
        out.push(CODEC_REGULAR);
        put_zigzag(out, first);
        put_zigzag(out, step);
        return;
    }
    let start = out.len();
    encode_steps(out, times, runs);
    let mut regular = Vec::new();
    if encode_regular_runs(&mut regular, times, runs).is_some() && regular.len() < out.len() - start {
        out.truncate(start);
        out.extend_from_slice(&regular);
    }
}

/// `count` times at even steps from `first` to `last`, where there is such a step.
pub(crate) fn even(first: i64, last: i64, count: usize) -> Option<Vec<i64>> {
    let steps = i64::try_from(count).ok()?.checked_sub(1)?;
    let length = last.checked_sub(first)?;
    let step = if steps == 0 { 0 } else { length / steps };
    (length == step * steps).then(|| (0..=steps).map(|i| first + i * step).collect())
}

/// The step between all of `times`, where there is one; 0 for fewer than two.
fn even_step(times: &[i64]) -> Option<i64> {
    let step = times.get(1).map_or(0, |t| t.wrapping_sub(times[0]));
    times.windows(2).all(|w| w[1].wrapping_sub(w[0]) == step).then_some(step)
}

/// `None` where some run has no step.
fn encode_regular_runs(out: &mut Vec<u8>, times: &[i64], runs: &[usize]) -> Option<()> {
    let (mut firsts, mut steps) = (Vec::with_capacity(runs.len()), Vec::with_capacity(runs.len()));
    let mut rest = times;
    for &len in runs {
        let (run, others) = rest.split_at_checked(len)?;
        firsts.push(*run.first()?);
        steps.push(even_step(run)?);
        rest = others;
    }
    let (unit, firsts) = in_units(firsts);
    out.push(CODEC_REGULAR_RUNS);
    put_varint(out, unit);
    put_zigzag(out, times[0]);
    ints::encode(out, &firsts);
    ints::encode(out, &steps);
    Some(())
}

/// The first time, then what each row adds: to the row before it, or at the start of a run to the start of the run
/// before.
fn encode_steps(out: &mut Vec<u8>, times: &[i64], runs: &[usize]) {
    let mut steps = Vec::with_capacity(times.len());
    let (mut at, mut run_start) = (0, times[0]);
    for &len in runs {
        for i in at..at + len {
            let before = if i == at { run_start } else { times[i - 1] };
            steps.push(times[i].wrapping_sub(before));
        }
        run_start = times.get(at).copied().unwrap_or(run_start);
        at += len;
    }
    let unit = common_unit(&steps);
    steps.iter_mut().for_each(|s| *s /= unit as i64);
    out.push(CODEC_STEPS);
    put_varint(out, unit);
    put_zigzag(out, times[0]);
    ints::encode(out, &steps[1..]);
}

/// Distances from the first value in units of their greatest common divisor.
fn in_units(mut values: Vec<i64>) -> (u64, Vec<i64>) {
    let first = values.first().copied().unwrap_or(0);
    values.iter_mut().for_each(|v| *v = v.wrapping_sub(first));
    let unit = common_unit(&values);
    values.iter_mut().for_each(|v| *v /= unit as i64);
    (unit, values)
}

/// The greatest common divisor, at least 1 and positive as an `i64`.
fn common_unit(values: &[i64]) -> u64 {
    let mut unit = 0_u64;
    for value in values {
        let (mut a, mut b) = (unit, value.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        unit = a;
        if unit == 1 {
            break;
        }
    }
    if i64::try_from(unit).is_ok() { unit.max(1) } else { 1 }
}

/// Reads the times of runs of these lengths.
pub(crate) fn decode(input: &mut Input<'_>, runs: &[usize]) -> Result<Vec<i64>, Error> {
    let count = runs.iter().sum();
    if count == 0 {
        return Ok(Vec::new());
    }
    match input.u8()? {
        CODEC_REGULAR => {
            let (first, step) = (input.zigzag()?, input.zigzag()?);
            Ok((0..count as i64).map(|i| first.wrapping_add(step.wrapping_mul(i))).collect())
        }
        CODEC_REGULAR_RUNS => {
            let (unit, first) = (input.varint()? as i64, input.zigzag()?);
            let firsts = ints::decode(input, runs.len())?;
            let steps = ints::decode(input, runs.len())?;
            let mut times = Vec::with_capacity(count);
            for ((&len, start), step) in runs.iter().zip(firsts).zip(steps) {
                let start = first.wrapping_add(start.wrapping_mul(unit));
                times.extend((0..len as i64).map(|i| start.wrapping_add(step.wrapping_mul(i))));
            }
            Ok(times)
        }
        CODEC_STEPS => {
            let (unit, first) = (input.varint()? as i64, input.zigzag()?);
            let steps = ints::decode(input, count - 1)?;
            let mut times = Vec::with_capacity(count);
            let mut steps = std::iter::once(0).chain(steps);
            let mut run_start = first;
            for &len in runs {
                let mut time = run_start;
                for (i, step) in steps.by_ref().take(len).enumerate() {
                    time = time.wrapping_add(step.wrapping_mul(unit));
                    if i == 0 {
                        run_start = time;
                    }
                    times.push(time);
                }
            }
            Ok(times)
        }
        codec => Err(input.unknown("codec of times", codec)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(times: &[i64], runs: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, times, runs);
        let mut input = Input::new("t", 0, &out);
        assert_eq!(decode(&mut input, runs).as_deref(), Ok(times));
        assert_eq!(input.end(), Ok(()));
        out
    }

    #[test]
    fn each_shape_gets_its_size() {
        const T0: i64 = 1_700_006_400_000_000;
        let even: Vec<i64> = (0..1024).map(|i| T0 + i * 600_000_000).collect();
        assert!(encoded(&even, &[1024]).len() < 20);
        let mut gap = even;
        gap.iter_mut().skip(300).for_each(|t| *t += 3_600_000_000);
        assert!(encoded(&gap, &[1024]).len() < 30, "{}", encoded(&gap, &[1024]).len());
        let jitter: Vec<i64> = (0..1024).map(|i| T0 + i * 1_000_000 + i * 7919 % 16 * 1000).collect();
        assert!(encoded(&jitter, &[1024]).len() < 1024 * 6 / 8 + 20, "{}", encoded(&jitter, &[1024]).len());
        let short: Vec<i64> = (0..1000).map(|i| T0 + i / 10 * 137_000 + i % 10 * 1_000_000).collect();
        assert!(encoded(&short, &[10; 100]).len() < 40, "{}", encoded(&short, &[10; 100]).len());
        assert!(encoded(&[T0; 1000], &[1; 1000]).len() < 20);
    }

    #[test]
    fn extremes_come_back() {
        encoded(&[], &[]);
        encoded(&[i64::MIN], &[1]);
        encoded(&[i64::MIN, i64::MAX], &[2]);
        encoded(&[i64::MIN, 0, i64::MAX], &[3]);
        encoded(&[i64::MAX, i64::MIN, 5], &[1, 1, 1]);
        encoded(&[5, i64::MAX, i64::MIN, i64::MAX], &[2, 2]);
    }

    proptest! {
        #[test]
        fn runs_come_back(runs in prop::collection::vec(prop::collection::vec(any::<i64>(), 1..20), 1..20), unit in 0..3_usize) {
            let unit = [1, 1000, 1_000_000][unit];
            let mut times = Vec::new();
            let mut lengths = Vec::new();
            for mut run in runs {
                run.iter_mut().for_each(|t| *t = t.wrapping_mul(unit));
                run.sort_unstable();
                run.dedup();
                lengths.push(run.len());
                times.extend(run);
            }
            encoded(&times, &lengths);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), runs in prop::collection::vec(1..30_usize, 0..30)) {
            if let Ok(times) = decode(&mut Input::new("t", 0, &bytes), &runs) {
                prop_assert_eq!(times.len(), runs.iter().sum::<usize>());
            }
        }
    }
}
