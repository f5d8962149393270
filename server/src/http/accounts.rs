//! `/api/v1/accounts`: who may sign in.
//!
//! Owns: paths and forms. Does not own: grants ([`super::grants`]), rules and the audit (`registry`), the arithmetic of passwords ([`crate::pg::scram`]).
//!
//! A password never comes this way: whoever sets one sends a verifier made of it, in PostgreSQL's form
//! `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, and no answer holds one.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use wattline_registry::{Account, Holder, Registry, Verifier};

use super::body::{json as decode_json, whole};
use super::error::ApiError;
use super::{App, OPERATOR, blocking, grants, now_micros};
use crate::pg::scram::read_verifier;

type Shared = State<Arc<App>>;
type Answer = Result<Response, ApiError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    name: String,
    verifier: String,
    /// What it is limited to; not given: it may do everything.
    #[serde(default)]
    grants: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewVerifier {
    verifier: String,
}

fn verifier(text: &str) -> Result<Verifier, ApiError> {
    let expected =
        "field verifier: expected SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>, in Base64";
    read_verifier(text).ok_or_else(|| ApiError::input(expected))
}

fn to_json(registry: &Registry, account: &Account) -> Value {
    let created = jiff::Timestamp::from_microsecond(account.created_micros).ok().map(|time| time.to_string());
    json!({
        "name": account.name,
        "created": created,
        "limited": registry.grants(Holder::account(&account.name)).is_some(),
    })
}

/// `GET /accounts`
pub async fn list(State(app): Shared) -> Json<Vec<Value>> {
    Json(app.registry.accounts().iter().map(|account| to_json(&app.registry, account)).collect())
}

/// `POST /accounts`
///
/// # Errors
/// Where name or verifier are not good, or the name is taken.
pub async fn create(State(app): Shared, body: Body) -> Answer {
    app.take_changes()?;
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let new: NewAccount = decode_json(&bytes)?;
    let (registry, verifier) = (app.registry.clone(), verifier(&new.verifier)?);
    let grants = new.grants.map(|texts| grants::read(&app.registry, &texts)).transpose()?;
    let account = blocking(move || {
        registry.create_account_with(&new.name, verifier, grants.as_deref(), OPERATOR, now_micros())
    });
    let account = account.await?;
    Ok((StatusCode::CREATED, Json(to_json(&app.registry, &account))).into_response())
}

/// `PUT /accounts/{account}/verifier`: another password.
///
/// # Errors
/// Where there is no such account or the verifier is not good.
pub async fn set_verifier(State(app): Shared, Path(name): Path<String>, body: Body) -> Answer {
    app.take_changes()?;
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let new: NewVerifier = decode_json(&bytes)?;
    let (registry, verifier, account) = (app.registry.clone(), verifier(&new.verifier)?, name.clone());
    blocking(move || registry.set_account_verifier(&account, verifier, OPERATOR, now_micros())).await?;
    Ok(Json(json!({"changed": name})).into_response())
}

/// `DELETE /accounts/{account}`
///
/// # Errors
/// Where there is no such account.
pub async fn delete(State(app): Shared, Path(name): Path<String>) -> Answer {
    app.take_changes()?;
    let (registry, account) = (app.registry.clone(), name.clone());
    blocking(move || registry.delete_account(&account, OPERATOR, now_micros())).await?;
    Ok(Json(json!({"removed": name})).into_response())
}
