//! Samples in any order, put in order once.
//!
//! Owns: [`Sample`], [`Fold`] (what every function over ordered samples can do), [`Gathered`]: samples as they come,
//! and the rule for two of one time. Does not own: any function's meaning.

use std::cmp::Ordering;

use wattline_model::Timestamp;

use crate::error::Error;

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<V = f64> {
    /// When.
    pub time: Timestamp,
    /// What.
    pub value: V,
}

impl<V> Sample<V> {
    /// `value` at `time`.
    pub const fn new(time: Timestamp, value: V) -> Sample<V> {
        Sample { time, value }
    }
}

/// A function over samples that come in the order of time.
pub trait Fold<V>: Clone {
    /// Takes the next sample.
    ///
    /// # Errors
    /// Order where `time` is not after the last one.
    fn push(&mut self, time: Timestamp, value: V) -> Result<(), Error>;

    /// Joins a fold, made with the same arguments, over later samples to this one. What came between the two is the
    /// step from the last sample here to the first one there.
    ///
    /// # Errors
    /// Order where it begins before this one ends.
    fn append(&mut self, later: &Self) -> Result<(), Error>;
}

/// Whether `time` may follow `last`.
///
/// # Errors
/// Order where not.
pub(crate) fn check_order(last: Option<Timestamp>, time: Timestamp) -> Result<(), Error> {
    match last {
        Some(last) if time <= last => Err(Error::order(time, last)),
        _ => Ok(()),
    }
}

/// A value that two samples of one time can be told apart by.
pub trait Ranked {
    /// A total order.
    fn rank(&self, other: &Self) -> Ordering;
}

impl Ranked for f64 {
    fn rank(&self, other: &f64) -> Ordering {
        self.total_cmp(other)
    }
}

impl Ranked for i64 {
    fn rank(&self, other: &i64) -> Ordering {
        self.cmp(other)
    }
}

impl Ranked for String {
    fn rank(&self, other: &String) -> Ordering {
        self.cmp(other)
    }
}

/// Samples in the order of arrival. Joining two of them in any order gives the same series.
///
/// It holds every sample: a sample that comes late changes the step between its neighbours, so no step is sure before
/// all samples are there. Where times are known to ascend, use the fold itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered<V = f64> {
    times: Vec<i64>,
    values: Vec<V>,
}

impl<V: Clone + Ranked> Gathered<V> {
    /// No samples.
    pub fn new() -> Gathered<V> {
        Gathered { times: Vec::new(), values: Vec::new() }
    }

    /// Takes a sample of any time.
    pub fn push(&mut self, time: Timestamp, value: V) {
        self.times.push(time.micros());
        self.values.push(value);
    }

    /// Takes all samples of another one.
    pub fn merge(&mut self, other: &Gathered<V>) {
        self.times.extend_from_slice(&other.times);
        self.values.extend_from_slice(&other.values);
    }

    /// Forgets the `count` samples that came first: for windows that move on.
    pub fn forget_first(&mut self, count: usize) {
        let count = count.min(self.times.len());
        self.times.drain(..count);
        self.values.drain(..count);
    }

    /// How many samples, those of one time counted each.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Times in the order of arrival, in microseconds.
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// Values in the order of arrival.
    pub fn values(&self) -> &[V] {
        &self.values
    }

    /// Bytes of memory held, apart from what values hold themselves.
    pub fn bytes(&self) -> usize {
        self.times.capacity() * size_of::<i64>() + self.values.capacity() * size_of::<V>()
    }

    /// The series: ascending times, of two samples of one time the one with the larger value.
    pub fn ordered(&self) -> Vec<Sample<V>> {
        let sample = |i: usize| Sample::new(Timestamp(self.times[i]), self.values[i].clone());
        if self.times.windows(2).all(|pair| pair[0] < pair[1]) {
            return (0..self.times.len()).map(sample).collect();
        }
        let mut places: Vec<usize> = (0..self.times.len()).collect();
        let values = &self.values;
        // The larger value first, so that it is the one that stays.
        places.sort_by(|&a, &b| self.times[a].cmp(&self.times[b]).then_with(|| values[b].rank(&values[a])));
        places.dedup_by_key(|place| self.times[*place]);
        places.into_iter().map(sample).collect()
    }

    /// The fold of the series, beginning with `fold`.
    ///
    /// # Errors
    /// Those of the fold.
    pub fn fold<F: Fold<V>>(&self, mut fold: F) -> Result<F, Error> {
        for sample in self.ordered() {
            fold.push(sample.time, sample.value)?;
        }
        Ok(fold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_gives_one_series_and_the_larger_of_two_stands() {
        let mut gathered = Gathered::new();
        for (time, value) in [(30, 3.0), (10, 1.0), (20, 2.0), (10, 5.0), (20, -2.0)] {
            gathered.push(Timestamp(time), value);
        }
        let series: Vec<(i64, f64)> = gathered.ordered().iter().map(|s| (s.time.0, s.value)).collect();
        assert_eq!(series, [(10, 5.0), (20, 2.0), (30, 3.0)]);
        assert_eq!(gathered.len(), 5);
    }

    #[test]
    fn a_window_that_moves_on_forgets_what_came_first() {
        let mut gathered = Gathered::new();
        for time in 0..5 {
            gathered.push(Timestamp(time), time);
        }
        gathered.forget_first(3);
        assert_eq!(gathered.times(), [3, 4]);
        gathered.forget_first(9);
        assert!(gathered.is_empty());
        assert!(gathered.ordered().is_empty());
    }
}
