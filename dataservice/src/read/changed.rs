//! When values last changed, and whether that is too long ago (data service §2.13, §2.14).

use serde_json::Value as Json;
use wattline_registry::Right;

use super::latest::gather;
use super::shape_of_latest;
use crate::answer::of_items;
use crate::cell::{Cell, push_json};
use crate::error::{Error, Result};
use crate::items::separate;
use crate::limits::COMBINATIONS_MAX;
use crate::selection::{Selection, Unknown};
use crate::service::Asked;

pub(crate) fn last_changed(asked: &Asked<'_>) -> Result<Vec<u8>> {
    let params = asked.params;
    let points = params.list(params.version().points())?;
    let mut selection = Selection::read(asked, Right::Read, &points, Unknown::Refuse)?;
    let shape = shape_of_latest(params)?;
    let series = gather(&selection, |m, a, points| asked.store.last_changed(m, a, points), |_| true);
    let items = shape.write(&mut selection, &series)?;
    Ok(of_items(asked.version(), &items, &selection.refused))
}

/// One entry of `payload`.
struct Check {
    asset: String,
    point: String,
    interval_ms: i64,
}

pub(crate) fn check_dead(asked: &Asked<'_>) -> Result<Vec<u8>> {
    let checks = read_payload(asked.params.nested("payload"))?;
    let mut items = Vec::new();
    let mut refused: Vec<String> = Vec::new();
    let mut permitted = false;
    for check in &checks {
        let device = asked.asset(Right::Read, &check.asset);
        let Some(device) = device else {
            if !refused.contains(&check.asset) {
                refused.push(check.asset.clone());
            }
            continue;
        };
        permitted = true;
        let model = asked.registry.model(device.model);
        let model = model.ok_or_else(|| Error::internal(format!("asset {} has no model", check.asset)))?;
        let point = model.point_by_key(&check.point);
        let point =
            point.ok_or_else(|| Error::invalid(format!("pointId: {} is not in the model", check.point)))?;
        let found = asked.store.last_changed(model.id, device.asset, &[point.id]);
        let Some(Some(changed)) = found.into_iter().next() else { continue };
        let duration = asked.now_micros.saturating_sub(changed.time.0) / 1_000;
        separate(&mut items);
        items.extend_from_slice(b"{\"assetId\":");
        push_json(&mut items, &check.asset);
        items.extend_from_slice(b",\"pointId\":");
        push_json(&mut items, &check.point);
        items.extend_from_slice(b",\"duration\":");
        push_json(&mut items, &duration);
        items.extend_from_slice(b",\"judgeResult\":");
        push_json(&mut items, &(duration > check.interval_ms));
        items.extend_from_slice(b",\"lastChangedValue\":");
        Cell::new(point.data_type, changed.value.as_ref()).write(&mut items);
        items.extend_from_slice(b",\"lastChangedTimestamp\":");
        push_json(&mut items, &changed.time.millis());
        items.push(b'}');
    }
    if !permitted {
        return Err(Error::unauthorized());
    }
    Ok(of_items(asked.version(), &items, &refused))
}

fn read_payload(payload: Option<&Json>) -> Result<Vec<Check>> {
    let Some(payload) = payload else { return Err(Error::required("payload")) };
    let wrong = |why: &str| Error::invalid(format!("payload: {why}"));
    let entries = payload.as_array().ok_or_else(|| wrong("expected a list"))?;
    if entries.is_empty() {
        return Err(Error::required("payload"));
    }
    if entries.len() > COMBINATIONS_MAX {
        return Err(wrong(&format!("{} entries, at most {COMBINATIONS_MAX} are allowed", entries.len())));
    }
    entries.iter().map(read_check).collect()
}

fn read_check(entry: &Json) -> Result<Check> {
    let text = |name: &str| {
        let text = entry.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| Error::required(&format!("payload: {name}")))
    };
    let interval = match entry.get("interval") {
        Some(Json::Number(number)) => number.as_i64(),
        Some(Json::String(text)) => text.parse().ok(),
        None | Some(Json::Null) => return Err(Error::required("payload: interval")),
        Some(_) => None,
    };
    let interval_ms = interval.filter(|&ms| ms >= 0);
    let interval_ms =
        interval_ms.ok_or_else(|| Error::invalid("payload: interval is no number of milliseconds"))?;
    Ok(Check { asset: text("assetId")?, point: text("pointId")?, interval_ms })
}
