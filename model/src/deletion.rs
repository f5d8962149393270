//! Deletions: what somebody wants gone.
//!
//! Owns: [`Deletion`], which samples it means and its limits. Does not own: making them disappear (`storage`), jobs
//! and who asked (`registry`).

use std::fmt;

use crate::id::{AssetId, ModelId, PointId};
use crate::limits::{DELETION_ASSETS_MAX, MODEL_POINTS_MAX};
use crate::time::{TimeRange, Timestamp};

/// Where samples are deleted from. History and latest values are deleted apart, as in EnOS's data service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeletionTarget {
    /// The stored history; latest values stay.
    History,
    /// The latest-value table; history stays, and the next sample of a point becomes its latest whatever its time.
    Latest,
}

/// Samples of a model to delete: those of the points *and* assets named, with a time inside `range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Where from.
    pub target: DeletionTarget,
    /// The model.
    pub model: ModelId,
    /// The points, strictly ascending; `None`: all, and so whole rows.
    pub points: Option<Vec<PointId>>,
    /// The assets, strictly ascending; `None`: all.
    pub assets: Option<Vec<AssetId>>,
    /// The times.
    pub range: TimeRange,
}

/// Why a deletion is not well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionError(String);

impl fmt::Display for DeletionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeletionError {}

impl Deletion {
    /// Whether samples of `asset` are meant.
    pub fn means_asset(&self, asset: AssetId) -> bool {
        self.assets.as_ref().is_none_or(|assets| assets.binary_search(&asset).is_ok())
    }

    /// Whether samples of `point` are meant.
    pub fn means_point(&self, point: PointId) -> bool {
        self.points.as_ref().is_none_or(|points| points.binary_search(&point).is_ok())
    }

    /// Whether the sample of `point` of `asset` at `time` is meant; its model is this one's.
    pub fn means(&self, asset: AssetId, point: PointId, time: Timestamp) -> bool {
        self.range.contains(time) && self.means_asset(asset) && self.means_point(point)
    }

    /// What every reader of a deletion relies on: lists that ascend, within their limits.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self) -> Result<(), DeletionError> {
        let error = |what: String| Err(DeletionError(what));
        if let Some(points) = &self.points {
            if !points.is_sorted_by(|a, b| a < b) {
                return error("points do not ascend".to_owned());
            }
            if points.len() > MODEL_POINTS_MAX {
                return error(format!("{} points, more than {MODEL_POINTS_MAX}", points.len()));
            }
        }
        if let Some(assets) = &self.assets {
            if !assets.is_sorted_by(|a, b| a < b) {
                return error("assets do not ascend".to_owned());
            }
            if assets.len() > DELETION_ASSETS_MAX {
                return error(format!("{} assets, more than {DELETION_ASSETS_MAX}", assets.len()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_means_points_and_assets_and_times_together() {
        let deletion = Deletion {
            target: DeletionTarget::History,
            model: ModelId(1),
            points: Some(vec![PointId(2), PointId(4)]),
            assets: Some(vec![AssetId(7)]),
            range: TimeRange::new(Timestamp(10), Timestamp(20)),
        };
        assert_eq!(deletion.check(), Ok(()));
        assert!(deletion.means(AssetId(7), PointId(4), Timestamp(10)));
        assert!(!deletion.means(AssetId(7), PointId(4), Timestamp(20)), "the end is not inside");
        assert!(!deletion.means(AssetId(7), PointId(3), Timestamp(10)));
        assert!(!deletion.means(AssetId(8), PointId(4), Timestamp(10)));
        let wrong = Deletion { points: Some(vec![PointId(4), PointId(4)]), ..deletion.clone() };
        assert_eq!(wrong.check().unwrap_err().to_string(), "points do not ascend");
        let all = Deletion { points: None, assets: None, ..deletion };
        assert!(all.means(AssetId(9), PointId(0), Timestamp(19)));
    }
}
