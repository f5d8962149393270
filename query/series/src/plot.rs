//! Fewer samples that draw the same picture.
//!
//! Owns: `lttb` and `swinging_door` over a whole series. The swinging door's rule itself is [`wattline_model::thin`],
//! which storage policies use as well.
//!
//! *LTTB*, largest triangle three buckets, is from S. Steinarsson, "Downsampling Time Series for Visual Representation",
//! University of Iceland, 2013: the first and the last sample stay; the others are divided into buckets of (nearly) the
//! same number, and of each bucket the sample stays that makes the largest triangle with the one that stayed before and
//! the average of the bucket after.

use wattline_model::thin::{Measured, Number, Series};
use wattline_model::{Thinning, Tolerance};

use crate::error::Error;
use crate::gathered::Sample;

/// At most `count` samples of a series that show its shape: all, where there are no more. Values are finite.
///
/// # Errors
/// Input where `count` is below 2.
pub fn lttb(series: &[Sample], count: usize) -> Result<Vec<Sample>, Error> {
    if count < 2 {
        return Err(Error::input("lttb keeps at least 2 samples"));
    }
    let (Some(first), Some(last)) = (series.first(), series.last()) else { return Ok(Vec::new()) };
    if series.len() <= count {
        return Ok(series.to_vec());
    }
    let inner = &series[1..series.len() - 1];
    let buckets = count - 2;
    let bounds = |bucket: usize| inner.len() * bucket / buckets;
    let mut kept = Vec::with_capacity(count);
    kept.push(*first);
    for bucket in 0..buckets {
        let next = match bucket + 1 < buckets {
            true => average(&inner[bounds(bucket + 1)..bounds(bucket + 2)], first.time.micros()),
            false => (offset(last, first.time.micros()), last.value),
        };
        let before = *kept.last().unwrap_or(first);
        let before = (offset(&before, first.time.micros()), before.value);
        let mut best: Option<(f64, Sample)> = None;
        for sample in &inner[bounds(bucket)..bounds(bucket + 1)] {
            let here = (offset(sample, first.time.micros()), sample.value);
            let area = triangle(before, here, next);
            if best.is_none_or(|(largest, _)| area > largest) {
                best = Some((area, *sample));
            }
        }
        kept.extend(best.map(|(_, sample)| sample));
    }
    kept.push(*last);
    Ok(kept)
}

/// The corners of a line that passes every sample of the series within `deviation`: the first, the last and those at
/// which the swinging door closes. Values are finite.
///
/// # Errors
/// Input where `deviation` is no number of at least 0.
pub fn swinging_door(series: &[Sample], deviation: f64) -> Result<Vec<Sample>, Error> {
    if !deviation.is_finite() || deviation < 0.0 {
        return Err(Error::input("the deviation of a swinging door must be a number of at least 0"));
    }
    let door = Tolerance { deviation, spacing_min: 0, spacing_max: None };
    let thinning = Thinning { dead_band: None, swinging_door: Some(door) };
    let mut door = Series::default();
    let mut kept = Vec::new();
    let sample = |m: Measured| match m.value {
        Number::Float(value) => Some(Sample::new(wattline_model::Timestamp(m.time), value)),
        Number::Int(_) => None,
    };
    for s in series {
        let measured = Measured { time: s.time.micros(), value: Number::Float(s.value), quality: None };
        door.take(&thinning, measured, |m| kept.extend(sample(m)));
    }
    kept.extend(door.waiting().and_then(sample));
    Ok(kept)
}

/// Microseconds since `origin`: small numbers keep their digits as floats.
fn offset(sample: &Sample, origin: i64) -> f64 {
    sample.time.micros().saturating_sub(origin) as f64
}

fn average(samples: &[Sample], origin: i64) -> (f64, f64) {
    let count = samples.len().max(1) as f64;
    let time: f64 = samples.iter().map(|s| offset(s, origin) / count).sum();
    (time, samples.iter().map(|s| s.value / count).sum())
}

/// Twice the area of a triangle.
fn triangle(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> f64 {
    ((a.0 - c.0) * (b.1 - a.1) - (a.0 - b.0) * (c.1 - a.1)).abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;
    use wattline_model::Timestamp;

    fn series(values: &[f64]) -> Vec<Sample> {
        values.iter().enumerate().map(|(i, v)| Sample::new(Timestamp(i as i64), *v)).collect()
    }

    fn times(series: &[Sample]) -> Vec<i64> {
        series.iter().map(|s| s.time.0).collect()
    }

    #[test]
    fn a_peak_stays() {
        let samples = series(&[0.0, 0.0, 9.0, 0.0, 0.0, 0.0, -5.0, 0.0]);
        // Buckets of three: 1–3 with the peak at 2, 4–6 with the dip at 6.
        assert_eq!(times(&lttb(&samples, 4).unwrap()), [0, 2, 6, 7]);
        assert_eq!(times(&lttb(&samples, 2).unwrap()), [0, 7]);
        assert_eq!(lttb(&samples, 8).unwrap(), samples);
        assert_eq!(lttb(&[], 5).unwrap(), []);
        assert_eq!(lttb(&samples, 1).unwrap_err().kind(), ErrorKind::Input);
    }

    #[test]
    fn the_corners_of_a_line_stay() {
        // Up to 3 at 3, flat, down from 6 on.
        let samples = series(&[0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 2.0, 1.0]);
        assert_eq!(times(&swinging_door(&samples, 0.0).unwrap()), [0, 3, 6, 8]);
        assert_eq!(times(&swinging_door(&samples, 100.0).unwrap()), [0, 8]);
        assert_eq!(swinging_door(&[], 1.0).unwrap(), []);
        assert_eq!(times(&swinging_door(&samples[..1], 1.0).unwrap()), [0]);
        assert!(swinging_door(&samples, -1.0).is_err());
        assert!(swinging_door(&samples, f64::NAN).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_sample_lies_near_the_line(values in prop::collection::vec(-100_i32..100, 0..200), deviation in 0_u8..40) {
            let samples = series(&values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
            let kept = swinging_door(&samples, f64::from(deviation)).unwrap();
            prop_assert_eq!(kept.first(), samples.first());
            prop_assert_eq!(kept.last(), samples.last());
            for pair in kept.windows(2) {
                let (a, b) = (pair[0], pair[1]);
                for sample in samples.iter().filter(|s| a.time < s.time && s.time < b.time) {
                    let share = (sample.time.0 - a.time.0) as f64 / (b.time.0 - a.time.0) as f64;
                    let line = a.value + (b.value - a.value) * share;
                    prop_assert!((line - sample.value).abs() <= f64::from(deviation) + 1e-9);
                }
            }
        }

        #[test]
        fn lttb_keeps_so_many_samples_of_the_series(values in prop::collection::vec(-100_i32..100, 0..200), count in 2_usize..50) {
            let samples = series(&values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
            let kept = lttb(&samples, count).unwrap();
            prop_assert_eq!(kept.len(), samples.len().min(count));
            prop_assert!(kept.windows(2).all(|p| p[0].time < p[1].time));
            prop_assert!(kept.iter().all(|k| samples.contains(k)));
        }
    }
}
