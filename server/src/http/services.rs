//! `/api/v1/service-accounts`: applications that may call the data service.
//!
//! Owns: paths and forms. Does not own: rules and the audit (`registry`), tokens (`dataservice`).
//!
//! The secret is told once, in the answer to the request that creates the account.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use wattline_registry::{Holder, NewServiceAccount, Registry, ServiceAccount};

use super::body::{json as decode_json, whole};
use super::error::ApiError;
use super::registry::asked_org;
use super::{App, OPERATOR, blocking, grants, now_micros};

type Shared = State<Arc<App>>;
type Answer = Result<Response, ApiError>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewJson {
    name: String,
    #[serde(default)]
    access_key: Option<String>,
    #[serde(default)]
    secret_key: Option<String>,
    /// What it is limited to; not given: it may do everything in its organization.
    #[serde(default)]
    grants: Option<Vec<String>>,
}

fn to_json(registry: &Registry, account: &ServiceAccount) -> Value {
    let created = jiff::Timestamp::from_microsecond(account.created_micros).ok().map(|time| time.to_string());
    json!({
        "accessKey": account.access_key,
        "name": account.name,
        "orgId": registry.org(account.org).map(|org| org.key.clone()),
        "created": created,
        "limited": registry.grants(Holder::service(&account.access_key)).is_some(),
    })
}

/// `GET /service-accounts`
pub async fn list(State(app): Shared) -> Json<Vec<Value>> {
    Json(app.registry.service_accounts().iter().map(|account| to_json(&app.registry, account)).collect())
}

/// `POST /service-accounts`, for the organization `?org=`.
///
/// # Errors
/// Where name, key or secret are not good, or the key is taken.
pub async fn create(State(app): Shared, Query(params): Query<HashMap<String, String>>, body: Body) -> Answer {
    app.take_changes()?;
    let org = asked_org(&app.registry, &params)?;
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let new: NewJson = decode_json(&bytes)?;
    let grants = new.grants.map(|texts| grants::read(&app.registry, &texts)).transpose()?;
    let new = NewServiceAccount {
        org: org.id,
        name: new.name,
        access_key: new.access_key,
        secret: new.secret_key.map(Into::into),
    };
    let registry = app.registry.clone();
    let account = blocking(move || {
        registry.create_service_account_with(new, grants.as_deref(), OPERATOR, now_micros())
    });
    let account = account.await?;
    let mut answer = to_json(&app.registry, &account);
    answer["secretKey"] = account.secret.expose().into();
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `DELETE /service-accounts/{key}`
///
/// # Errors
/// Where there is no such account.
pub async fn revoke(State(app): Shared, Path(key): Path<String>) -> Answer {
    app.take_changes()?;
    let (registry, access_key) = (app.registry.clone(), key.clone());
    blocking(move || registry.revoke_service_account(&access_key, OPERATOR, now_micros())).await?;
    Ok(Json(json!({"revoked": key})).into_response())
}
