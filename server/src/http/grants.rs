//! `/api/v1/accounts/{account}/grants`, `/api/v1/service-accounts/{key}/grants`: what accounts may do.
//!
//! Owns: paths and forms. Does not own: what a grant is, rules and the audit (`registry`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use wattline_registry::{Grant, Holder, HolderKind, Registry};

use super::body::{json as decode_json, whole};
use super::error::ApiError;
use super::{App, OPERATOR, blocking, now_micros};

type Shared = State<Arc<App>>;
type Answer = Result<Response, ApiError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    grants: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replaced {
    /// `null`: not limited any more. It has to be said: what is left out lifts no limit.
    #[serde(deserialize_with = "Option::deserialize")]
    grants: Option<Vec<String>>,
}

/// The grants that `texts` say.
///
/// # Errors
/// Where one says none, or names what does not exist.
pub(super) fn read(registry: &Registry, texts: &[String]) -> Result<Vec<Grant>, ApiError> {
    Ok(texts.iter().map(|text| registry.read_grant(text)).collect::<Result<_, _>>()?)
}

/// The grants of an account as texts; null where it is not limited to any.
pub(super) fn to_json(registry: &Registry, holder: Holder<'_>) -> Value {
    let grants = registry.grants(holder);
    grants.map_or(Value::Null, |grants| grants.into_iter().map(|grant| registry.grant_text(grant)).collect())
}

/// Adds the routes.
pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let of = |kind: HolderKind| {
        get(move |app: Shared, name: Path<String>| show(app, kind, name))
            .post(move |app: Shared, name: Path<String>, body: Body| grant(app, kind, name, body))
            .put(move |app: Shared, name: Path<String>, body: Body| replace(app, kind, name, body))
            .delete(move |app: Shared, name: Path<String>, query: Query<Vec<(String, String)>>| {
                revoke(app, kind, name, query)
            })
    };
    router
        .route("/accounts/{account}/grants", of(HolderKind::Account))
        .route("/service-accounts/{key}/grants", of(HolderKind::Service))
}

fn answer(app: &App, holder: Holder<'_>) -> Response {
    Json(json!({"grants": to_json(&app.registry, holder)})).into_response()
}

/// `GET`
async fn show(State(app): Shared, kind: HolderKind, Path(name): Path<String>) -> Answer {
    let exists = match kind {
        HolderKind::Account => app.registry.account(&name).is_some(),
        HolderKind::Service => app.registry.service_account(&name).is_some(),
    };
    match exists {
        true => Ok(answer(&app, Holder { kind, name: &name })),
        false => Err(ApiError::not_found(format!("there is no account {name}"))),
    }
}

/// `POST`: these as well.
async fn grant(State(app): Shared, kind: HolderKind, Path(name): Path<String>, body: Body) -> Answer {
    app.take_changes()?;
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let grants = read(&app.registry, &decode_json::<Listed>(&bytes)?.grants)?;
    change(app, kind, name, move |registry, holder| registry.grant(holder, &grants, OPERATOR, now_micros()))
        .await
}

/// `PUT`: these and no others.
async fn replace(State(app): Shared, kind: HolderKind, Path(name): Path<String>, body: Body) -> Answer {
    app.take_changes()?;
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let given: Replaced = decode_json(&bytes)?;
    let grants = given.grants.map(|texts| read(&app.registry, &texts)).transpose()?;
    change(app, kind, name, move |registry, holder| {
        registry.set_grants(holder, grants.as_deref(), OPERATOR, now_micros())
    })
    .await
}

/// `DELETE ?grant=…`: not these any more.
async fn revoke(
    State(app): Shared,
    kind: HolderKind,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    app.take_changes()?;
    if let Some((other, _)) = query.iter().find(|(name, _)| name != "grant") {
        return Err(ApiError::input(format!("query: there is no parameter {other}; there is grant")));
    }
    if query.is_empty() {
        return Err(ApiError::input("query: parameter grant is missing; it may be given several times"));
    }
    let texts: Vec<String> = query.into_iter().map(|(_, text)| text).collect();
    let grants = read(&app.registry, &texts)?;
    change(app, kind, name, move |registry, holder| {
        registry.revoke_grants(holder, &grants, OPERATOR, now_micros())
    })
    .await
}

async fn change(
    app: Arc<App>,
    kind: HolderKind,
    name: String,
    act: impl FnOnce(&Registry, Holder<'_>) -> Result<(), wattline_registry::Error> + Send + 'static,
) -> Answer {
    let (registry, holder) = (app.registry.clone(), name.clone());
    blocking(move || act(&registry, Holder { kind, name: &holder })).await?;
    Ok(answer(&app, Holder { kind, name: &name }))
}
