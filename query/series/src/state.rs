//! How long a series was in each state, and how often it changed.
//!
//! Owns: [`States`], the fold behind `state_duration` and `state_changes`. (`state_at` is [`crate::Last::push_until`].)
//!
//! A state holds from its sample until the next one, as in the data service's DI duration (§2.6): time before the first
//! sample is in no state, and the last sample's state has not lasted yet.

use std::collections::BTreeMap;

use wattline_model::Timestamp;

use crate::error::Error;
use crate::gathered::{Fold, Sample, check_order};

/// States that are told apart: far more than an enumeration has, and little memory.
pub const STATES_MAX: usize = 10_000;

/// The fold behind `state_duration` and `state_changes`.
#[derive(Clone, Debug, PartialEq)]
pub struct States<S> {
    /// The first and the last sample.
    pub ends: Option<(Sample<S>, Sample<S>)>,
    /// How long it was in each state, in microseconds.
    pub durations: BTreeMap<S, i64>,
    /// How often a sample had another state than the one before.
    pub changes: u64,
}

impl<S> Default for States<S> {
    fn default() -> States<S> {
        States { ends: None, durations: BTreeMap::new(), changes: 0 }
    }
}

impl<S: Ord + Clone> States<S> {
    /// Microseconds in `state`: 0 where it never was; `None` without samples.
    pub fn duration(&self, state: &S) -> Option<i64> {
        self.ends.as_ref().map(|_| self.durations.get(state).copied().unwrap_or(0))
    }

    /// How often the state changed; `None` without samples.
    pub fn changes(&self) -> Option<u64> {
        self.ends.as_ref().map(|_| self.changes)
    }

    fn add(&mut self, state: S, micros: i64) -> Result<(), Error> {
        if self.durations.len() >= STATES_MAX && !self.durations.contains_key(&state) {
            return Err(Error::limit(format!("a series has more than {STATES_MAX} states")));
        }
        let held = self.durations.entry(state).or_insert(0);
        *held = held.saturating_add(micros);
        Ok(())
    }
}

impl<S: Ord + Clone> Fold<S> for States<S> {
    fn push(&mut self, time: Timestamp, state: S) -> Result<(), Error> {
        check_order(self.ends.as_ref().map(|(_, last)| last.time), time)?;
        let sample = Sample::new(time, state);
        self.ends = match self.ends.take() {
            None => Some((sample.clone(), sample)),
            Some((first, last)) => {
                self.changes += u64::from(last.value != sample.value);
                self.add(last.value, time.micros().saturating_sub(last.time.micros()))?;
                Some((first, sample))
            }
        };
        Ok(())
    }

    fn append(&mut self, later: &States<S>) -> Result<(), Error> {
        let Some((first, last)) = &later.ends else { return Ok(()) };
        self.push(first.time, first.value.clone())?;
        for (state, micros) in &later.durations {
            self.add(state.clone(), *micros)?;
        }
        self.changes += later.changes;
        self.ends = self.ends.take().map(|(start, _)| (start, last.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn durations_and_changes() {
        // run 0–30 (a second sample at 10 changes nothing), stop 30–45, run 45–50, then fault.
        let mut states = States::default();
        for (second, state) in [(0, "run"), (10, "run"), (30, "stop"), (45, "run"), (50, "fault")] {
            states.push(Timestamp(second), state).unwrap();
        }
        let seconds = ["run", "stop", "fault", "idle"].map(|state| states.duration(&state));
        assert_eq!(seconds, [Some(35), Some(15), Some(0), Some(0)]);
        assert_eq!(states.changes(), Some(3));
    }

    #[test]
    fn few_samples() {
        let mut states = States::default();
        assert_eq!((states.duration(&1), states.changes()), (None, None));
        states.push(Timestamp(5), 1).unwrap();
        assert_eq!((states.duration(&1), states.changes()), (Some(0), Some(0)));
        assert_eq!(states.push(Timestamp(5), 2).unwrap_err().kind(), ErrorKind::Order);
    }

    #[test]
    fn a_series_has_so_many_states() {
        let mut states = States::default();
        for i in 0..=STATES_MAX as i64 {
            states.push(Timestamp(i), i).unwrap();
        }
        let error = states.push(Timestamp(i64::MAX), -1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }
}
