//! The first and the last value of a series, and the value in force at a time.
//!
//! Owns: [`First`] and [`Last`]. They need no order: they are folded and merged in any.

use std::cmp::Ordering;

use wattline_model::Timestamp;

use crate::gathered::Sample;

/// The earliest sample; of two of one time the one with the larger value.
#[derive(Clone, Debug, PartialEq)]
pub struct First<V> {
    /// It, where there is any.
    pub sample: Option<Sample<V>>,
}

/// The newest sample; of two of one time the one with the larger value.
#[derive(Clone, Debug, PartialEq)]
pub struct Last<V> {
    /// It, where there is any.
    pub sample: Option<Sample<V>>,
}

impl<V> Default for First<V> {
    fn default() -> First<V> {
        First { sample: None }
    }
}

impl<V> Default for Last<V> {
    fn default() -> Last<V> {
        Last { sample: None }
    }
}

impl<V: PartialOrd> First<V> {
    /// Takes a sample of any time; says whether it is the first now.
    pub fn push(&mut self, time: Timestamp, value: V) -> bool {
        replace(&mut self.sample, time, value, Ordering::Less)
    }
}

impl<V: PartialOrd> Last<V> {
    /// Takes a sample of any time; says whether it is the last now.
    pub fn push(&mut self, time: Timestamp, value: V) -> bool {
        replace(&mut self.sample, time, value, Ordering::Greater)
    }

    /// Takes a sample of any time where it is not after `at`: then `sample` is what is in force at `at`.
    pub fn push_until(&mut self, at: Timestamp, time: Timestamp, value: V) -> bool {
        time <= at && self.push(time, value)
    }
}

fn replace<V: PartialOrd>(held: &mut Option<Sample<V>>, time: Timestamp, value: V, wins: Ordering) -> bool {
    let replaces = match held {
        None => true,
        Some(held) => match time.cmp(&held.time) {
            Ordering::Equal => value.partial_cmp(&held.value) == Some(Ordering::Greater),
            order => order == wins,
        },
    };
    if replaces {
        *held = Some(Sample::new(time, value));
    }
    replaces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_of_samples_in_any_order() {
        let samples = [(20, 2), (10, 1), (30, 4), (30, 3), (10, 7)];
        let (mut first, mut last, mut at) = (First::default(), Last::default(), Last::default());
        for (time, value) in samples {
            first.push(Timestamp(time), value);
            last.push(Timestamp(time), value);
            at.push_until(Timestamp(29), Timestamp(time), value);
        }
        assert_eq!(first.sample, Some(Sample::new(Timestamp(10), 7)));
        assert_eq!(last.sample, Some(Sample::new(Timestamp(30), 4)));
        assert_eq!(at.sample, Some(Sample::new(Timestamp(20), 2)));
        at = Last::default();
        assert!(!at.push_until(Timestamp(9), Timestamp(10), 1));
        assert_eq!(at.sample, None);
    }
}
