//! `/api/v1/operations` and `/api/v1/backups`: flushes, merges, checks and backups of the open store.
//!
//! Owns: paths, parameters, the JSON of outcomes. Does not own: running them ([`crate::operations`]), the work
//! (`storage`).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use wattline_env::World;
use wattline_registry::Registry;
use wattline_storage::{
    BackupInfo, BackupProgress, BackupSummary, CheckReport, PutBeside, Severity, Vault, backups,
    prune_backups,
};

use super::body::{json as decode_json, whole};
use super::error::{ApiError, ApiKind};
use super::{App, blocking};
use crate::operations::Operation;
use crate::vault;

type Shared = State<Arc<App>>;
type Answer = Result<Response, ApiError>;

/// Name of the registry's copy in a backup.
pub const REGISTRY_FILE: &str = "registry.db";

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct BackupJson {
    name: Option<String>,
    keep: Option<usize>,
}

/// `GET /operations`: the running one and the last ones, oldest first.
pub async fn list(State(app): Shared) -> Json<Value> {
    Json(app.operations.list().iter().map(|operation| operation.json()).collect())
}

/// `GET /operations/{id}`
pub async fn show(State(app): Shared, Path(id): Path<u64>) -> Answer {
    Ok(Json(find(&app, id)?.json()).into_response())
}

/// `DELETE /operations/{id}`: asks it to end.
pub async fn cancel(State(app): Shared, Path(id): Path<u64>) -> Answer {
    let operation = find(&app, id)?;
    operation.cancel();
    Ok(Json(operation.json()).into_response())
}

/// `POST /operations/check`: reads every segment to the last value.
pub async fn check(State(app): Shared) -> Answer {
    let store = app.store.clone();
    start(&app, "check", move |operation| {
        let report = store.check(&mut |at| operation.progress(at.bytes, at.bytes_total));
        report.map(|report| report_json(&report)).map_err(|e| e.to_string())
    })
}

/// `POST /operations/flush`: brings everything written so far into segments.
pub async fn flush(State(app): Shared) -> Answer {
    let store = app.store.clone();
    start(&app, "flush", move |_| store.flush().map(|()| json!({})).map_err(|e| e.to_string()))
}

/// `POST /operations/compact`: merges segments until there is nothing left to merge. It may be asked to end between two
/// merges.
pub async fn compact(State(app): Shared) -> Answer {
    let store = app.store.clone();
    start(&app, "compact", move |operation| {
        let segments = || store.status().into_iter().map(|shard| (shard.segments, shard.merged_bytes));
        let merged = || segments().map(|(_, merged_bytes)| merged_bytes).sum::<u64>();
        let before = merged();
        // What will be left to merge is not known, so there is no total.
        let merges = store.compact_while(&mut || operation.progress(merged() - before, 0));
        let merges = merges.map_err(|e| e.to_string())?;
        let left: u64 = segments().map(|(segments, _)| segments).sum();
        Ok(json!({"merges": merges, "bytes": merged() - before, "segments": left}))
    })
}

/// `POST /operations/backup`: copies the store and the registry into `backup.dir`.
pub async fn backup(State(app): Shared, body: Body) -> Answer {
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let asked: BackupJson = if bytes.is_empty() { BackupJson::default() } else { decode_json(&bytes)? };
    if asked.keep == Some(0) {
        return Err(ApiError::input("field keep: at least 1, the backup itself"));
    }
    start_backup(&app, asked.name, asked.keep)
}

/// Starts a backup called `name` (by the time where that is left out), which leaves the newest `keep`.
///
/// # Errors
/// Where there is no place for backups, or another operation runs.
pub fn start_backup(app: &App, name: Option<String>, keep: Option<usize>) -> Answer {
    let dir = backup_dir(app)?.to_owned();
    let name = name.unwrap_or_else(|| default_name(jiff::Timestamp::now()));
    let (store, registry, journaling) = (app.store.clone(), app.registry.clone(), app.journaling.clone());
    start(app, "backup", move |operation| {
        let repository = vault::open(&dir).map_err(|e| e.to_string())?;
        let mut copied = 0;
        let mut beside = |put: PutBeside<'_>| {
            copied = registry.changes();
            copy_registry(&registry, put)
        };
        let mut watch = |at: BackupProgress| operation.progress(at.bytes, at.bytes_total);
        let (repository, beside, watch) = (&*repository, &mut beside, &mut watch);
        let summary = match &journaling {
            None => store.backup(repository, &name, beside, watch).map_err(|e| e.to_string())?,
            Some(journaling) => {
                let taken = store.backup_with_journal(repository, &name, beside, watch);
                let (summary, journal) = taken.map_err(|e| e.to_string())?;
                // The journal before ends here, so that it can be removed with its backup.
                journaling.begin(journal, copied);
                summary
            }
        };
        let removed = match keep {
            None => Vec::new(),
            Some(keep) => prune_backups(repository, keep).map_err(|e| {
                format!("the backup {name} is complete, but old ones could not be removed: {e}")
            })?,
        };
        let mut json = summary_json(&summary);
        json["removed"] = removed.into();
        Ok(json)
    })
}

/// `GET /backups`: the complete ones, oldest first.
pub async fn list_backups(State(app): Shared) -> Answer {
    let dir = backup_dir(&app)?.to_owned();
    let list = blocking(move || -> Result<_, ApiError> {
        let repository: Arc<dyn Vault> = vault::open(&dir).map_err(|e| ApiError::new(ApiKind::Storage, e))?;
        Ok(backups(&*repository)?)
    })
    .await?;
    let list: Vec<Value> = list.iter().map(info_json).collect();
    Ok(Json(list).into_response())
}

/// Puts a copy of the registry, as it is now, beside the data.
///
/// # Errors
/// `Io` where it cannot be copied; or the error of `put`.
pub fn copy_registry(registry: &Registry, put: PutBeside<'_>) -> wattline_storage::Result<()> {
    let failed = |e: &dyn std::fmt::Display| {
        wattline_storage::Error::new(wattline_storage::ErrorKind::Io, format!("copy the registry: {e}"))
    };
    // It holds secrets: the folder is readable by its owner alone, and goes when this returns.
    let dir = tempfile::tempdir().map_err(|e| failed(&e))?;
    let path = dir.path().join(REGISTRY_FILE);
    registry.copy_to(&path).map_err(|e| failed(&e))?;
    let bytes = World::real().disk.map(&path).map_err(|e| failed(&e))?;
    put(REGISTRY_FILE, bytes)
}

/// The name of a backup that was given none: when it was begun, in UTC.
pub fn default_name(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

fn backup_dir(app: &App) -> Result<&str, ApiError> {
    app.backup_dir.as_deref().ok_or_else(|| {
        ApiError::new(ApiKind::Conflict, "setting backup.dir is not set: the server has no place for backups")
    })
}

fn find(app: &App, id: u64) -> Result<Arc<Operation>, ApiError> {
    app.operations.get(id).ok_or_else(|| ApiError::not_found(format!("operation {id} does not exist")))
}

fn start(
    app: &App,
    kind: &'static str,
    work: impl FnOnce(&Operation) -> Result<Value, String> + Send + 'static,
) -> Answer {
    app.take_changes()?;
    match app.operations.start(kind, work) {
        Some(operation) => Ok((StatusCode::ACCEPTED, Json(operation.json())).into_response()),
        None => Err(ApiError::new(ApiKind::Busy, "another operation is running")),
    }
}

/// A report as JSON.
pub fn report_json(report: &CheckReport) -> Value {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|f| {
            let severity = if f.severity == Severity::Damage { "damage" } else { "notice" };
            json!({"severity": severity, "file": f.path.display().to_string(), "what": f.what})
        })
        .collect();
    json!({
        "shards": report.shards,
        "files": report.files,
        "bytes": report.bytes,
        "segments": report.segments,
        "rows": report.rows,
        "samples": report.samples,
        "records": report.records,
        "findings": findings,
    })
}

/// What a backup did, as JSON.
pub fn summary_json(summary: &BackupSummary) -> Value {
    json!({
        "name": summary.name,
        "files": summary.files,
        "bytes": summary.bytes,
        "copiedBytes": summary.copied_bytes,
        "segments": summary.segments,
        "copiedSegments": summary.segments_copied,
    })
}

/// A time as clients see it.
pub fn time_text(micros: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(micros).ok().map(|time| time.to_string())
}

/// A backup as JSON.
pub fn info_json(info: &BackupInfo) -> Value {
    json!({
        "name": info.name,
        "created": time_text(info.created_micros),
        "finished": time_text(info.finished_micros),
        "reachesTo": info.reaches_micros.and_then(time_text),
        "shards": info.shards,
        "bytes": info.bytes,
    })
}
