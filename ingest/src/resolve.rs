//! Keys to points, fast.
//!
//! Owns: the memory of the order a device names its points in. Does not own: who exists (`registry`), what a model
//! holds (`model`).

use rustc_hash::FxHashSet;
use wattline_model::{AssetId, Model, ModelId, Point, PointId};

use crate::limits::KEY_ORDER_MAX;

/// The order in which points were named last time. A device names them in the same order every time, so comparing
/// one key usually replaces hashing it.
#[derive(Debug, Default)]
pub struct KeyOrder {
    model: ModelId,
    version: u64,
    points: Vec<PointId>,
}

impl KeyOrder {
    /// Forgets what belongs to another model, or to another version of this one.
    pub fn begin(&mut self, model: &Model) {
        if (self.model, self.version) != (model.id, model.version) {
            (self.model, self.version) = (model.id, model.version);
            self.points.clear();
        }
    }

    /// The point with this key, which is the `place`th of its message.
    pub fn resolve<'m>(&mut self, model: &'m Model, place: usize, key: &str) -> Option<&'m Point> {
        let guess = self.points.get(place).and_then(|&id| model.point(id));
        if let Some(point) = guess
            && point.key == key
        {
            return Some(point);
        }
        let point = model.point_by_key(key)?;
        if place < self.points.len() {
            self.points[place] = point.id;
        } else if place == self.points.len() && place < KEY_ORDER_MAX {
            self.points.push(point.id);
        }
        Some(point)
    }
}

/// The sub-devices that are online through one gateway.
pub type SubDevices = FxHashSet<AssetId>;
