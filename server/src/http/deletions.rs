//! `/api/v1/deletions`: deletion jobs.
//!
//! Owns: paths and JSON, from names to numbers and back. Does not own: the states of a job ([`crate::deletions`]),
//! deleting (`storage`).

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use wattline_model::{AssetId, Deletion, DeletionTarget, Model, PointId, TimeRange, Timestamp};
use wattline_registry::{DeletionJob, Registry, deletions::target_name};

use super::body::{json as decode_json, whole};
use super::error::ApiError;
use super::registry::{asked_org, asset_by_key, model_by_key};
use super::{App, OPERATOR, blocking};

type Shared = State<Arc<App>>;
type Params = Query<HashMap<String, String>>;
type Answer = Result<Response, ApiError>;

/// Jobs of one page.
const PAGE_MAX: u32 = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeletionJson {
    model_id: String,
    #[serde(default)]
    points: Option<Vec<String>>,
    #[serde(default)]
    assets: Option<Vec<String>>,
    #[serde(default)]
    from: Option<TimeJson>,
    #[serde(default)]
    to: Option<TimeJson>,
    #[serde(default)]
    target: TargetJson,
}

/// Milliseconds since the epoch, or RFC 3339.
#[derive(Deserialize)]
#[serde(untagged)]
enum TimeJson {
    Millis(i64),
    Text(String),
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum TargetJson {
    #[default]
    History,
    Latest,
}

/// `POST /deletions`: 201 when the deletion is in force, with the job that gives the room back.
pub async fn submit(State(app): Shared, Query(params): Params, body: Body) -> Answer {
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let asked: DeletionJson = decode_json(&bytes)?;
    let org = asked_org(&app.registry, &params)?;
    let model = model_by_key(&app.registry, &org, &asked.model_id)?;
    let deletion = resolve(&app.registry, &model, &asked)?;
    app.take_changes()?;
    let job = app.deletions.submit(deletion, OPERATOR).await?;
    Ok((StatusCode::CREATED, Json(job_json(&app.registry, &job))).into_response())
}

/// `GET /deletions`, newest first, in pages of `?limit=` from `?offset=`.
pub async fn list(State(app): Shared, Query(params): Params) -> Answer {
    let number = |name: &str, default: u32| match params.get(name) {
        None => Ok(default),
        Some(text) => text
            .parse::<u32>()
            .map_err(|_| ApiError::input(format!("parameter {name}: {text:?} is no whole number"))),
    };
    let (offset, limit) = (number("offset", 0)?, number("limit", 100)?.min(PAGE_MAX));
    let registry = app.registry.clone();
    let jobs = blocking(move || registry.deletion_jobs(offset, limit)).await?;
    let list: Vec<Value> = jobs.iter().map(|job| job_json(&app.registry, job)).collect();
    Ok(Json(list).into_response())
}

/// `GET /deletions/{id}`
pub async fn show(State(app): Shared, Path(id): Path<i64>) -> Answer {
    let job = app.deletions.job(id).await?;
    Ok(Json(job_json(&app.registry, &job)).into_response())
}

/// `POST /deletions/{id}/resubmit`: once more, for a job that failed.
pub async fn resubmit(State(app): Shared, Path(id): Path<i64>) -> Answer {
    app.take_changes()?;
    let job = app.deletions.resubmit(id).await?;
    Ok(Json(job_json(&app.registry, &job)).into_response())
}

fn resolve(registry: &Registry, model: &Model, asked: &DeletionJson) -> Result<Deletion, ApiError> {
    let range = TimeRange::new(
        asked.from.as_ref().map_or(Ok(TimeRange::ALL.start), |time| instant("from", time))?,
        asked.to.as_ref().map_or(Ok(TimeRange::ALL.end), |time| instant("to", time))?,
    );
    if range.is_empty() {
        return Err(ApiError::input("fields from, to: from must be before to"));
    }
    let point = |key: &String| -> Result<PointId, ApiError> {
        let unknown = || ApiError::input(format!("field points: model {} has no {key}", model.key));
        Ok(model.point_by_key(key).ok_or_else(unknown)?.id)
    };
    let asset = |key: &String| -> Result<AssetId, ApiError> {
        let device = asset_by_key(registry, key)?;
        if device.model == model.id {
            Ok(device.asset)
        } else {
            Err(ApiError::input(format!("field assets: {key} is not of model {}", model.key)))
        }
    };
    let points = asked.points.as_ref().map(|keys| keys.iter().map(point).collect::<Result<Vec<_>, _>>());
    let assets = asked.assets.as_ref().map(|keys| keys.iter().map(asset).collect::<Result<Vec<_>, _>>());
    let target = match asked.target {
        TargetJson::History => DeletionTarget::History,
        TargetJson::Latest => DeletionTarget::Latest,
    };
    let deletion = Deletion {
        target,
        model: model.id,
        points: sorted("points", points.transpose()?)?,
        assets: sorted("assets", assets.transpose()?)?,
        range,
    };
    deletion.check().map_err(ApiError::input)?;
    Ok(deletion)
}

/// An empty list is a mistake rather than "nothing": leaving it out means all, which must not come about by accident.
fn sorted<T: Ord>(field: &str, list: Option<Vec<T>>) -> Result<Option<Vec<T>>, ApiError> {
    let Some(mut list) = list else { return Ok(None) };
    if list.is_empty() {
        return Err(ApiError::input(format!("field {field}: it is empty; leave it out to mean all")));
    }
    list.sort_unstable();
    list.dedup();
    Ok(Some(list))
}

fn instant(field: &str, time: &TimeJson) -> Result<Timestamp, ApiError> {
    let wrong = |shown: &dyn std::fmt::Display| {
        ApiError::input(format!(
            "field {field}: {shown} is neither milliseconds since the epoch nor RFC 3339"
        ))
    };
    match time {
        TimeJson::Millis(ms) => Timestamp::from_millis(*ms).ok_or_else(|| wrong(ms)),
        TimeJson::Text(text) => {
            let parsed: jiff::Timestamp = text.parse().map_err(|_| wrong(text))?;
            Ok(Timestamp(parsed.as_microsecond()))
        }
    }
}

fn job_json(registry: &Registry, job: &DeletionJob) -> Value {
    let deletion = &job.deletion;
    let model = registry.model(deletion.model);
    let point =
        |id: &PointId| model.as_ref().and_then(|m| m.points.get(id.0 as usize)).map(|p| p.key.clone());
    let asset = |id: &AssetId| registry.asset(*id).map(|device| device.asset_key.to_string());
    let time = |micros: i64| jiff::Timestamp::from_microsecond(micros).ok().map(|time| time.to_string());
    let open =
        |end: Timestamp| (end != TimeRange::ALL.start && end != TimeRange::ALL.end).then(|| time(end.0));
    json!({
        "id": job.id,
        "status": job.status.name(),
        "error": job.error,
        "target": target_name(deletion.target),
        "modelId": model.as_ref().map(|m| m.key.clone()),
        "points": deletion.points.as_ref().map(|list| list.iter().map(point).collect::<Vec<_>>()),
        "assets": deletion.assets.as_ref().map(|list| list.iter().map(asset).collect::<Vec<_>>()),
        "from": open(deletion.range.start),
        "to": open(deletion.range.end),
        "operator": job.operator,
        "submitted": time(job.submitted_micros),
        "ended": job.ended_micros.map(time),
    })
}
