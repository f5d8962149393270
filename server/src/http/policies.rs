//! `/api/v1/policies`, `/api/v1/unformatted` and `/api/v1/audit`: storage policy groups, what models do not define, and
//! who changed what.
//!
//! Owns: paths and pages. Does not own: the JSON form and the rules of a group (`registry`), making it rule
//! ([`crate::policies`]).

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use wattline_model::Retention;
use wattline_registry::Unformatted;

use super::body::{json as decode_json, whole};
use super::error::ApiError;
use super::registry::{asked_org, number};
use super::{App, blocking};
use crate::policies;

type Shared = State<Arc<App>>;
type Params = Query<HashMap<String, String>>;
type Answer = Result<Response, ApiError>;

/// Entries of one page of the audit log.
const PAGE_MAX: usize = 1_000;

/// `GET /policies`: the groups of the organization `?org=` or the default one.
pub async fn list(State(app): Shared, Query(params): Params) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    let groups = app.registry.policy_groups(org.id);
    let list: Vec<Value> = groups.iter().map(|group| app.registry.policy_group_to_json(group)).collect();
    Ok(Json(list).into_response())
}

/// `GET /policies/{group}`
pub async fn show(State(app): Shared, Path(name): Path<String>, Query(params): Params) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    let group = app.registry.policy_group(org.id, &name);
    let group = group.ok_or_else(|| ApiError::not_found(format!("policy group {name} does not exist")))?;
    Ok(Json(app.registry.policy_group_to_json(&group)).into_response())
}

/// `PUT /policies/{group}`: from now on the group is what the body says; it rules when this returns.
pub async fn save(State(app): Shared, Path(name): Path<String>, Query(params): Params, body: Body) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let group = app.registry.policy_group_from_json(org.id, &bytes)?;
    if group.name != name {
        let what = format!("field name: the path says {name:?}, the document {:?}", group.name);
        return Err(ApiError::input(what));
    }
    let saved = policies::save(&app, group).await?;
    Ok(Json(app.registry.policy_group_to_json(&saved)).into_response())
}

/// `DELETE /policies/{group}`, once it has no models.
pub async fn delete(State(app): Shared, Path(name): Path<String>, Query(params): Params) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    policies::delete(&app, org.id, name.clone()).await?;
    Ok(Json(json!({"removed": name})).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnformattedJson {
    #[serde(default)]
    retention: Option<String>,
}

/// `GET /unformatted`: whether the organization keeps what models do not define, and for how long.
pub async fn show_unformatted(State(app): Shared, Query(params): Params) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    Ok(Json(unformatted_json(app.registry.unformatted(org.id))).into_response())
}

/// `PUT /unformatted`: keeps it from now on, for `retention` or for ever.
pub async fn keep_unformatted(State(app): Shared, Query(params): Params, body: Body) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let asked: UnformattedJson = decode_json(&bytes)?;
    let named = |name: &String| {
        let known = Retention::NAMES.join(", ");
        Retention::by_name(name)
            .ok_or_else(|| ApiError::input(format!("field retention: {name:?} is none of {known}")))
    };
    let retention = asked.retention.as_ref().map(named).transpose()?;
    let kept = policies::keep_unformatted(&app, org.id, Some(retention)).await?;
    Ok(Json(unformatted_json(kept)).into_response())
}

/// `DELETE /unformatted`: refuses it from now on; what is kept stays.
pub async fn refuse_unformatted(State(app): Shared, Query(params): Params) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    let kept = policies::keep_unformatted(&app, org.id, None).await?;
    Ok(Json(unformatted_json(kept)).into_response())
}

fn unformatted_json(kept: Option<Unformatted>) -> Value {
    json!({
        "kept": kept.is_some(),
        "retention": kept.and_then(|kept| kept.retention).map(Retention::name),
    })
}

/// `GET /audit`, newest first, in pages of `?limit=` from `?offset=`.
pub async fn audit(State(app): Shared, Query(params): Params) -> Answer {
    let offset = number(&params, "offset", 0, u32::MAX as usize)?;
    let limit = number(&params, "limit", 100, PAGE_MAX)?;
    let registry = app.registry.clone();
    let entries = blocking(move || registry.audit(offset as u32, limit as u32)).await?;
    let time = |micros| jiff::Timestamp::from_microsecond(micros).ok().map(|time| time.to_string());
    let list: Vec<Value> = entries
        .into_iter()
        .map(|e| {
            json!({
                "id": e.id,
                "time": time(e.micros),
                "operator": e.operator,
                "action": e.action,
                "item": e.item,
                "before": e.before,
                "after": e.after,
            })
        })
        .collect();
    Ok(Json(list).into_response())
}
