//! `GET /api/v1/assets/{asset}/latest`: newest values of one asset, from memory.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json_, json};
use wattline_model::{DataType, Point, Timestamp, Value};
use wattline_storage::Latest;

use super::App;
use super::error::{ApiError, ApiKind};
use super::registry::asset_by_key;

/// Newest value, time and quality of the points `?points=a,b` names, or of all; `null` where a point has none. Where a
/// policy says LAST_CHANGED, also since when the value is what it is.
///
/// # Errors
/// Where the asset or a point does not exist.
pub async fn read(
    State(app): State<Arc<App>>,
    Path(asset): Path<String>,
    Query(params): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let device = asset_by_key(&app.registry, &asset)?;
    let model = app.registry.model(device.model);
    let model = model.ok_or_else(|| ApiError::new(ApiKind::Bug, format!("asset {asset} has no model")))?;
    let points: Vec<&Point> = match params.get("points").filter(|names| !names.is_empty()) {
        None => model.points.iter().collect(),
        Some(names) => names
            .split(',')
            .map(|name| {
                let unknown =
                    || ApiError::input(format!("parameter points: model {} has no {name}", model.key));
                model.point_by_key(name.trim()).ok_or_else(unknown)
            })
            .collect::<Result<_, _>>()?,
    };
    let ids: Vec<_> = points.iter().map(|point| point.id).collect();
    let latest = app.store.latest(model.id, device.asset, &ids);
    let changed = app.store.last_changed(model.id, device.asset, &ids);
    let values: Map<String, Json_> = points
        .iter()
        .zip(latest.iter().zip(&changed))
        .map(|(point, (latest, changed))| (point.key.clone(), point_json(point, latest, changed)))
        .collect();
    let body = json!({"asset_id": &*device.asset_key, "model": model.key, "points": values});
    Ok(Json(body).into_response())
}

fn point_json(point: &Point, latest: &Option<Latest>, changed: &Option<Latest>) -> Json_ {
    let Some(latest) = latest else { return Json_::Null };
    let mut answer = json!({
        "time": latest.time.millis(),
        "time_iso": iso(latest.time),
        "value": value_json(point.data_type, &latest.value),
        "quality": latest.quality.map(|quality| quality.code()),
    });
    // Only where a policy has it kept.
    if let Some(changed) = changed {
        answer["changed"] = changed.time.millis().into();
        answer["changed_iso"] = iso(changed.time).into();
    }
    answer
}

/// NaN and infinities have no form in JSON and are `null`, as in answers of `/sql`.
pub(super) fn value_json(data_type: DataType, value: &Value) -> Json_ {
    match (data_type, value) {
        (DataType::Date, Value::Int(micros)) => civil(*micros).into(),
        (DataType::Timestamp, Value::Int(micros)) => iso(Timestamp(*micros)).into(),
        (DataType::Array | DataType::Struct, Value::Text(text)) => {
            // Held as the compact JSON that came; what is not JSON after all is shown as the text it is.
            serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
        }
        (_, Value::Float(number)) => (*number).into(),
        (_, Value::Int(number)) => (*number).into(),
        (_, Value::Bool(flag)) => (*flag).into(),
        (_, Value::Text(text)) => text.as_str().into(),
    }
}

fn iso(time: Timestamp) -> Option<String> {
    jiff::Timestamp::from_microsecond(time.micros()).ok().map(|time| time.to_string())
}

/// A civil time is held as if it were UTC.
fn civil(micros: i64) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(micros).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
