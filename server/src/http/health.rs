//! Whether the process is up, and whether it can take and give data.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::App;

/// `GET /healthz`: the process answers.
pub async fn healthz() -> Json<Value> {
    Json(json!({"status": "up", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /readyz`: 200 where every shard takes writes and the end has not begun; 503 otherwise, with the reason.
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let shards = app.store.status();
    let failed =
        shards.iter().find_map(|s| s.failed.as_ref().map(|why| format!("shard {}: {why}", s.shard.0)));
    let reason = if app.is_stopping() { Some("stopping".to_owned()) } else { failed };
    let listeners: Vec<Value> = app
        .listening
        .get()
        .map(|all| all.iter().map(|l| json!({"protocol": l.protocol, "url": l.url})).collect())
        .unwrap_or_default();
    let reason = reason.or_else(|| app.listening.get().is_none().then(|| "starting".to_owned()));
    let shards: Vec<Value> = shards
        .iter()
        .map(|s| {
            json!({
                "shard": s.shard.0,
                "writable": s.failed.is_none(),
                "durable": s.durable.0,
                "published": s.published.0,
                "flushed": s.flushed.0,
            })
        })
        .collect();
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": if reason.is_none() { "ready" } else { "not ready" },
        "reason": reason,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.started.elapsed().as_secs(),
        "listeners": listeners,
        "shards": shards,
    });
    (status, Json(body)).into_response()
}
