//! `/connect-service/v2.1/events`, and how long events are kept.
//!
//! Owns: the actions of that path, and `/api/v1/events/retention`. Does not own: searching ([`wattline_dataservice`]),
//! taking events in ([`super::integration`], MQTT).

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use wattline_dataservice::{Call, Caller, DataService, Error, ErrorKind, Result as Answered};
use wattline_model::Retention;

use super::body::whole;
use super::connect::{Envelope, INTERNAL, Refused, Told, admit, answer, ended};
use super::dataservice::{Noting, noted};
use super::error::ApiError;
use super::registry::asked_org;
use super::{App, OPERATOR, blocking, now_micros};

/// Bytes of a body that sets a retention.
const RETENTION_BYTES_MAX: usize = 4 << 10;

/// Rows a search is admitted by: what a page of events takes, with what is held until it is known.
const ROWS: usize = 10_000;

/// Adds the routes.
pub fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router
        .route("/connect-service/v2.1/events", get(events).post(events))
        .route("/api/v1/events/retention", get(show_retention).put(set_retention))
}

async fn events(State(app): State<Arc<App>>, request: Request) -> Response {
    let noting = Noting::of(&request);
    let told = async {
        let call = admit(&app, request).await?;
        let (org, caller) = (call.org, call.caller.clone());
        match call.required("action")? {
            "get" => {
                let id = call.required("eventId")?.to_owned();
                let wanted = id.clone();
                let event =
                    waiting(&app, caller, move |service, told| service.event(org, &wanted, told)).await?;
                let event =
                    event.ok_or_else(|| Refused::not_found(format!("event {id:?} does not exist")))?;
                Ok(Told::data(event))
            }
            "search" => {
                let body = call.json()?;
                let search =
                    move |service: &DataService, told: &Call<'_>| service.search_events(org, &body, told);
                let (data, pagination) = waiting(&app, caller, search).await?;
                Ok(Told::page(data, pagination))
            }
            other => Err(Refused::parameter(format!("action: {other:?} is neither get nor search"))),
        }
    };
    answer(Envelope::Connect, noted(&app, noting, told, ended).await)
}

/// Runs what reads history where that is allowed, within the room and time of the data service.
async fn waiting<T: Send + 'static>(
    app: &Arc<App>,
    caller: Caller,
    act: impl FnOnce(&DataService, &Call<'_>) -> Answered<T> + Send + 'static,
) -> Result<T, Refused> {
    app.data.waiting(ROWS, caller, act).await?.map_err(|error| refused(&error))
}

/// A refusal of the data service in the codes of this one.
pub(super) fn refused(error: &Error) -> Refused {
    match error.kind() {
        ErrorKind::Internal => Refused::new(INTERNAL, error.to_string()),
        ErrorKind::Stopped => ApiError::new(super::error::ApiKind::Unavailable, error.to_string()).into(),
        _ => Refused::parameter(error.to_string()),
    }
}

async fn show_retention(
    State(app): State<Arc<App>>,
    Query(params): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let org = asked_org(&app.registry, &params)?;
    let kept = app.registry.records(org.id, wattline_registry::RecordKind::Events);
    let retention = kept.and_then(|records| records.retention).map(Retention::name);
    Ok(Json(json!({"retention": retention})).into_response())
}

/// `{"retention": "1y"}`, or `{}` for ever.
async fn set_retention(
    State(app): State<Arc<App>>,
    Query(params): Query<HashMap<String, String>>,
    body: Body,
) -> Result<Response, ApiError> {
    app.take_changes()?;
    let org = asked_org(&app.registry, &params)?;
    let body = whole(body, RETENTION_BYTES_MAX, app.http.read_timeout).await?;
    let body: Value =
        serde_json::from_slice(&body).map_err(|e| ApiError::input(format!("request body: {e}")))?;
    let retention = match body.get("retention") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(Retention::by_name(name).ok_or_else(|| {
            let known = Retention::NAMES.join(", ");
            ApiError::input(format!("retention: {name:?} is none of {known}"))
        })?),
        Some(_) => return Err(ApiError::input("retention: expected a text")),
    };
    let applied = Arc::clone(&app);
    blocking(move || {
        applied.registry.keep_events(org.id, retention, OPERATOR, now_micros())?;
        Ok::<_, ApiError>(applied.ruling.apply(&applied.store)?)
    })
    .await?;
    Ok(Json(json!({"retention": retention.map(Retention::name)})).into_response())
}
