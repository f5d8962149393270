//! Retention: from when on the rows of each model are kept.
//!
//! Owns: the horizon of each model, and what it means for a partition. Does not own: policies and the clock (whoever
//! calls [`Store::expire`](crate::Store::expire)), removing what has expired (`compact`).
//!
//! Whole partitions expire, never a part of one: what is still inside its retention is never touched, a sample is
//! kept for at most one partition longer than asked, and dropping it costs no more than removing a file.

use rustc_hash::FxHashMap;
use wattline_model::{ModelId, TimeRange, Timestamp};

use crate::version::partition_of;

/// The horizons of the models that have one.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    partition_micros: i64,
    /// Starts of the oldest partitions that are kept.
    horizons: FxHashMap<ModelId, i64>,
}

impl Expiry {
    /// Keeps what is at each model's time or later, and the rest of its partition.
    pub(crate) fn new(partition_micros: i64, keep_from: &[(ModelId, Timestamp)]) -> Expiry {
        let horizon = |&(model, time): &(ModelId, Timestamp)| (model, partition_of(time.0, partition_micros));
        Expiry { partition_micros, horizons: keep_from.iter().map(horizon).collect() }
    }

    /// Whether everything is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.horizons.is_empty()
    }

    /// Whether the rows of `model` in the partition that starts at `partition` have expired.
    pub(crate) fn is_over(&self, model: ModelId, partition: i64) -> bool {
        let horizon = self.horizons.get(&model);
        horizon.is_some_and(|&horizon| partition.saturating_add(self.partition_micros) <= horizon)
    }

    /// The part of `range` in which rows of `model` are kept.
    pub(crate) fn kept(&self, model: ModelId, range: TimeRange) -> TimeRange {
        let horizon = self.horizons.get(&model).copied().unwrap_or(i64::MIN);
        TimeRange::new(range.start.max(Timestamp(horizon)), range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_expires_when_its_last_instant_does() {
        let model = ModelId(1);
        let expiry = |keep_from| Expiry::new(10, &[(model, Timestamp(keep_from))]);
        assert!(!expiry(29).is_over(model, 20), "29 is still inside");
        assert!(expiry(30).is_over(model, 20));
        assert!(expiry(30).is_over(model, -10));
        assert!(!expiry(30).is_over(ModelId(2), -10), "a model without a horizon is kept");
        let all = expiry(29).kept(model, TimeRange::ALL);
        assert_eq!(all, TimeRange::new(Timestamp(20), Timestamp::MAX), "what is served is what is kept");
        assert_eq!(Expiry::default().kept(model, TimeRange::ALL), TimeRange::ALL);
    }
}
