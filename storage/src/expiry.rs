//! Retention: from when on the samples of each point are kept.
//!
//! Owns: the horizons, and what they mean for a partition. Does not own: policies and the clock (whoever calls
//! [`Store::expire`](crate::Store::expire)), removing what has expired (`compact`).
//!
//! Whole partitions expire, never a part of one: what is still inside its retention is never touched, a sample is
//! kept for at most one partition longer than asked, and dropping it costs no more than removing a file. Where only
//! some points of a model have expired, its segments are rewritten without them, once.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use wattline_format::manifest::Tombstone;
use wattline_model::{Deletion, DeletionTarget, ModelId, PointId, Seqno, TimeRange, Timestamp};

use crate::version::partition_of;

/// From when on samples of a model are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The model.
    pub model: ModelId,
    /// Some of its points, ascending; `None`: all, and so whole rows.
    pub points: Option<Vec<PointId>>,
    /// What is at this time or later is kept.
    pub keep_from: Timestamp,
}

/// The horizons of all models that have one.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    partition_micros: i64,
    /// Starts of the oldest partitions of which any row is kept.
    rows: FxHashMap<ModelId, i64>,
    /// What has expired of models of which rows are kept, as a deletion of all that was ever written.
    points: Vec<Arc<Tombstone>>,
}

impl Expiry {
    /// Keeps what is inside the horizons, and the rest of its partition.
    pub(crate) fn new(partition_micros: i64, horizons: &[Horizon]) -> Expiry {
        let mut expiry = Expiry { partition_micros, ..Expiry::default() };
        for Horizon { model, points, keep_from } in horizons {
            let start = partition_of(keep_from.0, partition_micros);
            let Some(points) = points else {
                expiry.rows.insert(*model, start);
                continue;
            };
            let deletion = Deletion {
                target: DeletionTarget::History,
                model: *model,
                points: Some(points.clone()),
                assets: None,
                range: TimeRange::new(Timestamp::MIN, Timestamp(start)),
            };
            expiry.points.push(Arc::new(Tombstone { seqno: Seqno(u64::MAX), deletion }));
        }
        expiry
    }

    /// Whether everything is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.points.is_empty()
    }

    /// What has expired of rows that are kept, for the time being.
    pub(crate) fn points(&self) -> &[Arc<Tombstone>] {
        &self.points
    }

    /// Whether the rows of `model` in the partition that starts at `partition` have expired.
    pub(crate) fn is_over(&self, model: ModelId, partition: i64) -> bool {
        let horizon = self.rows.get(&model);
        horizon.is_some_and(|&horizon| partition.saturating_add(self.partition_micros) <= horizon)
    }

    /// How many of `times` are too old to be kept.
    pub(crate) fn count_over(&self, model: ModelId, times: &[Timestamp]) -> usize {
        match self.rows.get(&model) {
            None => 0,
            Some(&horizon) => times.iter().filter(|time| time.0 < horizon).count(),
        }
    }

    /// The part of `range` in which rows of `model` are kept.
    pub(crate) fn kept(&self, model: ModelId, range: TimeRange) -> TimeRange {
        let horizon = self.rows.get(&model).copied().unwrap_or(i64::MIN);
        TimeRange::new(range.start.max(Timestamp(horizon)), range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_expires_when_its_last_instant_does() {
        let model = ModelId(1);
        let horizon = |keep_from| Horizon { model, points: None, keep_from: Timestamp(keep_from) };
        let expiry = |keep_from| Expiry::new(10, &[horizon(keep_from)]);
        assert!(!expiry(29).is_over(model, 20), "29 is still inside");
        assert!(expiry(30).is_over(model, 20));
        assert!(expiry(30).is_over(model, -10));
        assert!(!expiry(30).is_over(ModelId(2), -10), "a model without a horizon is kept");
        let all = expiry(29).kept(model, TimeRange::ALL);
        assert_eq!(all, TimeRange::new(Timestamp(20), Timestamp::MAX), "what is served is what is kept");
        assert_eq!(Expiry::default().kept(model, TimeRange::ALL), TimeRange::ALL);
    }

    #[test]
    fn points_expire_by_partition_too() {
        let horizon = Horizon { model: ModelId(1), points: Some(vec![PointId(3)]), keep_from: Timestamp(29) };
        let expiry = Expiry::new(10, &[horizon]);
        assert!(!expiry.is_over(ModelId(1), -100), "its rows have other points");
        let gone = &expiry.points()[0].deletion;
        assert!(gone.means_point(PointId(3)) && !gone.means_point(PointId(2)));
        assert!(gone.range.contains(Timestamp(19)) && !gone.range.contains(Timestamp(20)));
    }
}
