//! `POST /api/v1/models/{model}/samples`: bulk writes as an Arrow IPC stream or NDJSON.
//!
//! Owns: cutting the body into batches while it comes, the pace (the next batch is decoded while the one before is
//! written, no further), the answer. Does not own: decoding of rows (`ingest`), durability (`storage`).
//!
//! The answer comes after everything is durable and visible. An error in the middle says how many rows were written
//! before it: those stay. Sending all of it again is harmless.

mod split;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use serde_json::{Map, Value, json};
use wattline_ingest::decode::{arrow, ndjson};
use wattline_ingest::limits::REJECTS_LISTED_MAX;
use wattline_ingest::{Decoded, Ingestor, Reject};
use wattline_model::{Batch, Model};

use self::split::{Part, Splitter};
use super::App;
use super::body::{Pieces, media_type};
use super::error::{ApiError, ApiKind};
use super::registry::{asked_org, model_by_key};

/// What a request came to so far.
#[derive(Default)]
struct Tally {
    rows: u64,
    samples: u64,
    rejects: Vec<Reject>,
    rejected: u64,
    /// Rows that came, refused ones too: the number of the next.
    seen: u64,
}

/// `POST /api/v1/models/{model}/samples`
///
/// # Errors
/// Where the body is not what it says, or cannot be written.
pub async fn write(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    Query(params): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let org = asked_org(&app.registry, &params)?;
    let model = model_by_key(&app.registry, &org, &key)?;
    let splitter = match media_type(&headers).as_str() {
        "application/vnd.apache.arrow.stream" => Splitter::arrow(app.http.batch_bytes_max),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
            Splitter::lines(app.http.batch_bytes_max)
        }
        other => {
            let known = "application/vnd.apache.arrow.stream, application/x-ndjson";
            let message = format!("content type {other:?} is none of {known}");
            return Err(ApiError::new(ApiKind::Unsupported, message));
        }
    };
    let mut pieces = Pieces::new(body, app.http.read_timeout);
    let mut tally = Tally::default();
    match Box::pin(pump(&app, &model, splitter, &mut pieces, &mut tally)).await {
        Ok(()) => Ok(Json(tally.into_json().into())),
        Err(mut error) => {
            if error.kind == ApiKind::TooLarge || error.kind == ApiKind::Input {
                pieces.discard().await;
            }
            error.beside = tally.into_json();
            Err(error)
        }
    }
}

/// Body → parts → batches → store, with one write under way while the next part is read and decoded.
async fn pump(
    app: &App,
    model: &Model,
    mut splitter: Splitter,
    pieces: &mut Pieces,
    tally: &mut Tally,
) -> Result<(), ApiError> {
    let mut waiting: Option<Decoded> = None;
    let mut first = true;
    loop {
        let ingestor = &app.ingestor;
        let read = async {
            let part = splitter.next(pieces).await?;
            part.map(|part| decode(ingestor, model, &part)).transpose()
        };
        let (written, next) = match waiting.take() {
            None => (Ok(()), read.await),
            Some(mut decoded) => {
                let batches = std::mem::take(&mut decoded.batches);
                let (written, next) = futures::join!(store(app, batches, first), read);
                first = false;
                if written.is_ok() {
                    tally.rows += decoded.rows;
                    tally.samples += decoded.samples;
                }
                (written, next)
            }
        };
        written?;
        match next? {
            None => return Ok(()),
            Some((decoded, rows)) => {
                tally.refuse(&decoded, rows);
                waiting = Some(decoded);
            }
        }
    }
}

/// The first write of a request is refused where the queue is full, when nothing of it is written yet; later ones
/// wait, and the client with them.
async fn store(app: &App, batches: Vec<Batch>, first: bool) -> Result<(), ApiError> {
    if batches.is_empty() {
        return Ok(());
    }
    if first {
        app.ingestor.try_write(batches).await?;
    } else {
        app.ingestor.write(batches).await?;
    }
    Ok(())
}

fn decode(ingestor: &Ingestor, model: &Model, part: &Part) -> Result<(Decoded, u64), ApiError> {
    match part {
        Part::Rows(batch) => Ok((arrow::decode(ingestor, model, batch)?, batch.num_rows() as u64)),
        Part::Lines(bytes, lines) => Ok((ndjson::decode(ingestor, model, bytes)?, *lines)),
    }
}

impl Tally {
    fn refuse(&mut self, decoded: &Decoded, rows: u64) {
        let room = REJECTS_LISTED_MAX.saturating_sub(self.rejects.len());
        let listed = decoded.rejects.listed.iter().take(room);
        self.rejects.extend(listed.map(|reject| Reject { row: reject.row + self.seen, ..reject.clone() }));
        self.rejected += decoded.rejects.total;
        self.seen += rows;
    }

    fn into_json(self) -> Map<String, Value> {
        let rejects: Vec<Value> = self
            .rejects
            .iter()
            .map(|reject| json!({"row": reject.row, "field": reject.field, "reason": reject.reason}))
            .collect();
        let mut body = Map::new();
        body.insert("rows".to_owned(), self.rows.into());
        body.insert("samples".to_owned(), self.samples.into());
        body.insert("rejects".to_owned(), rejects.into());
        body.insert("rejected".to_owned(), self.rejected.into());
        body
    }
}

impl From<wattline_ingest::Error> for ApiError {
    fn from(error: wattline_ingest::Error) -> ApiError {
        use wattline_ingest::ErrorKind as Ingest;
        let kind = match error.kind() {
            Ingest::Input => ApiKind::Input,
            Ingest::Busy => ApiKind::Busy,
            Ingest::Closed => ApiKind::Unavailable,
            Ingest::Io => ApiKind::Storage,
            Ingest::Config | Ingest::Bug => ApiKind::Bug,
        };
        ApiError::new(kind, error)
    }
}
