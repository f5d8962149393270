//! Newest values of a whole model that meet a condition: `latest/filter` without `assetIds` (decision 24).
//!
//! Owns: finding them by the columns of the latest-value table, so that the call costs what it finds and not what there
//! is. Does not own: what a condition means and how values are written (`latest`), what a caller may see (`selection`):
//! what was found goes through it by its names, like what is asked for by name.

use std::sync::Arc;

use wattline_model::{AssetId, Model, PointId};
use wattline_registry::{Device, Right};

use super::latest::{condition, gather, meets, newer_than};
use super::shape_of_latest;
use crate::answer::of_items;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::FILTER_ASSETS_MAX;
use crate::selection::{Selection, Unknown, asked_model, is_or_inherits};
use crate::service::Asked;

pub(super) fn filter(asked: &Asked<'_>, point: &str) -> Result<Vec<u8>> {
    let (registry, params) = (asked.registry, asked.params);
    let within = asked_model(asked, Right::Read)?.ok_or_else(|| Error::required("modelId"))?;
    let newer = newer_than(params, asked.now_micros)?;
    let shape = shape_of_latest(params)?;
    let models: Vec<Arc<Model>> = registry
        .models()
        .into_iter()
        .filter(|model| model.org == asked.org && is_or_inherits(model, &within.key))
        .collect();
    // Models that inherit from one another share the point's type.
    let known = models.iter().find_map(|model| model.point_by_key(point));
    let unknown = || Error::invalid(format!("{}: {point} is not in the model", params.version().point()));
    let condition = condition(params, known.ok_or_else(unknown)?.data_type)?;

    let mut found: Vec<AssetId> = Vec::new();
    for model in &models {
        let Some(point) = model.point_by_key(point) else { continue };
        found.extend(asked.store.select_latest(model.id, point.id, &condition)?);
    }
    if found.len() > FILTER_ASSETS_MAX {
        let what = format!("result set too large: {} assets, at most {FILTER_ASSETS_MAX}", found.len());
        return Err(Error::new(ErrorKind::TooLarge, what));
    }
    // No request gives them an order: that of their registration.
    found.sort_unstable();
    let devices: Vec<Arc<Device>> = found.into_iter().filter_map(|asset| registry.asset(asset)).collect();
    let keys: Vec<&str> = devices.iter().map(|device| &*device.asset_key).collect();
    let nothing = || Ok(of_items(asked.version(), b"", &[]));
    if keys.is_empty() {
        return nothing();
    }
    let mut selection = match Selection::resolve(asked, Right::Read, &keys, &[point], Unknown::Keep) {
        Ok(selection) => selection,
        Err(error) if error.kind() == ErrorKind::Unauthorized => return nothing(),
        Err(error) => return Err(error),
    };
    // The caller named none, so there is none to be told about.
    selection.refused.clear();
    let read = |model, asset, points: &[PointId]| asked.store.latest(model, asset, points);
    // Asked once more: a value may have changed since the column was searched.
    let series = gather(&selection, read, |latest| {
        newer.is_none_or(|newer| latest.time.0 > newer) && meets(&condition, &latest.value)
    });
    let items = shape.write(&mut selection, &series)?;
    Ok(of_items(asked.version(), &items, &selection.refused))
}
