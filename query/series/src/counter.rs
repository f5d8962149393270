//! What a value changed by, and what a counter counted.
//!
//! Owns: [`Counter`]: `delta`, `increase` and `rate`.
//!
//! *Delta* is the last value minus the first one. *Increase* reads the value as a counter that only grows and starts
//! again at nothing: it is the sum of the steps from each sample to the next, where a step to a smaller value is a
//! reset and counts that value. *Rate* is the increase divided by the time from the first to the last sample. These
//! are the rules of Prometheus' `delta`, `increase` and `rate`
//! (<https://prometheus.io/docs/prometheus/latest/querying/functions/>) without its extrapolation to the bounds of the
//! range: nothing is added for the time before the first and after the last sample. All three need two samples.

use wattline_model::Timestamp;

use crate::error::Error;
use crate::gathered::{Fold, Sample, check_order};

/// The fold behind `delta`, `increase` and `rate`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counter {
    /// The first and the last sample.
    pub ends: Option<(Sample, Sample)>,
    /// The steps in between, resets considered.
    pub increase: f64,
    /// How often the value fell.
    pub resets: u64,
}

impl Counter {
    /// The last value minus the first one; `None` for fewer than two samples.
    pub fn delta(&self) -> Option<f64> {
        self.span().map(|(first, last)| last.value - first.value)
    }

    /// What was counted from the first to the last sample; `None` for fewer than two.
    pub fn increase(&self) -> Option<f64> {
        self.span().map(|_| self.increase)
    }

    /// The increase in `unit` microseconds; `None` for fewer than two samples.
    pub fn rate(&self, unit: i64) -> Option<f64> {
        let (first, last) = self.span()?;
        Some(self.increase / elapsed(first.time, last.time) * unit as f64)
    }

    fn span(&self) -> Option<(Sample, Sample)> {
        self.ends.filter(|(first, last)| first.time < last.time)
    }

    fn step(&mut self, from: f64, to: f64) {
        if to < from {
            self.resets += 1;
            self.increase += to;
        } else {
            self.increase += to - from;
        }
    }
}

/// Microseconds from one time to a later one. As a float, since the difference of two times may not fit.
pub(crate) fn elapsed(from: Timestamp, to: Timestamp) -> f64 {
    match to.micros().checked_sub(from.micros()) {
        Some(micros) => micros as f64,
        None => to.micros() as f64 - from.micros() as f64,
    }
}

impl Fold<f64> for Counter {
    fn push(&mut self, time: Timestamp, value: f64) -> Result<(), Error> {
        check_order(self.ends.map(|(_, last)| last.time), time)?;
        if !value.is_finite() {
            return Ok(());
        }
        let sample = Sample::new(time, value);
        self.ends = match self.ends {
            None => Some((sample, sample)),
            Some((first, last)) => {
                self.step(last.value, value);
                Some((first, sample))
            }
        };
        Ok(())
    }

    fn append(&mut self, later: &Counter) -> Result<(), Error> {
        let Some((first, last)) = later.ends else { return Ok(()) };
        self.push(first.time, first.value)?;
        self.increase += later.increase;
        self.resets += later.resets;
        self.ends = self.ends.map(|(start, _)| (start, last));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn counter(samples: &[(i64, f64)]) -> Counter {
        let mut counter = Counter::default();
        for &(seconds, value) in samples {
            counter.push(Timestamp(seconds * 1_000_000), value).unwrap();
        }
        counter
    }

    #[test]
    fn a_counter_with_resets() {
        // 10 → 30 (+20), reset to 5 (+5), → 15 (+10), reset to 0 (+0), → 4 (+4): 39 in 50 s.
        let counter = counter(&[(0, 10.0), (10, 30.0), (20, 5.0), (30, 15.0), (40, 0.0), (50, 4.0)]);
        assert_eq!(counter.increase(), Some(39.0));
        assert_eq!(counter.resets, 2);
        assert_eq!(counter.delta(), Some(-6.0));
        assert_eq!(counter.rate(1_000_000), Some(0.78));
        assert_eq!(counter.rate(3_600_000_000), Some(2_808.0));
    }

    #[test]
    fn fewer_than_two_samples_say_nothing() {
        for counter in [counter(&[]), counter(&[(0, 5.0)]), counter(&[(0, 5.0), (1, f64::NAN)])] {
            assert_eq!((counter.delta(), counter.increase(), counter.rate(1)), (None, None, None));
        }
    }

    #[test]
    fn what_is_no_number_is_no_sample() {
        let with = counter(&[(0, 1.0), (1, f64::NAN), (2, f64::INFINITY), (3, 4.0)]);
        assert_eq!(with.increase(), Some(3.0));
        assert_eq!(with.resets, 0);
    }

    #[test]
    fn order_is_kept() {
        let mut counter = counter(&[(5, 1.0)]);
        for seconds in [5, 4] {
            let error = counter.push(Timestamp(seconds * 1_000_000), 2.0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Order);
        }
        assert_eq!(counter.append(&counter.clone()).unwrap_err().kind(), ErrorKind::Order);
        counter.append(&Counter::default()).unwrap();
    }
}
