//! `POST /sql`: one statement in, its rows out as they come, or what it changed.
//!
//! Owns: the forms of a request, streaming of the answer. Does not own: planning and limits of statements (`query`),
//! forms of answers (`encode`).
//!
//! A statement runs as a task on threads of its own and hands finished bytes over a short channel: a client that reads
//! slowly stops it there, one that goes away ends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json as json_value};
use tokio::sync::mpsc;
use wattline_query::{Answer, Caller, ScalarValue};

use super::body::{json, media_type, whole};
use super::encode::{Encoder, Format};
use super::error::{ApiError, ApiKind};
use super::{App, origin_of};

/// Pieces of an answer that wait for the client; each is one record batch.
const PIECES_MAX: usize = 2;

/// Bytes gathered before a piece is handed over, so that tiny batches do not cost a packet each.
const PIECE_BYTES: usize = 16 * 1_024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sql: String,
    #[serde(default)]
    params: Vec<Value>,
}

/// A part of an answer.
enum Part {
    /// Of rows, in the form asked for.
    Rows(Bytes),
    /// The rest of them, where all went well.
    Last(Bytes),
    /// All there is to say of a change: JSON, whatever form rows would have.
    Changed(Bytes),
}

type Piece = Result<Part, ApiError>;

/// `POST /sql`
///
/// # Errors
/// Whatever goes wrong up to the first rows; later it is said in the answer, or the answer breaks off.
pub async fn run(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let headers = head.headers;
    let caller = app.logins.caller(&app, &headers, origin_of(&head.extensions)).await?;
    let format = Format::accepted(&headers).ok_or_else(|| {
        let known = "application/json, application/x-ndjson, text/csv, application/vnd.apache.arrow.stream";
        ApiError::new(ApiKind::Unsupported, format!("none of the accepted types is one of {known}"))
    })?;
    let bytes = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let (text, params) = decode(&headers, &bytes)?;
    if app.is_stopping() {
        return Err(ApiError::new(ApiKind::Unavailable, "the server is stopping"));
    }

    let (sender, mut pieces) = mpsc::channel::<Piece>(PIECES_MAX);
    let queries = app.queries.clone();
    let task = Task(queries.spawn(async move {
        let _counted = Counted::new(&app);
        execute(&app, &caller, format, (&text, params), &sender).await;
    }));
    match pieces.recv().await {
        Some(Ok(Part::Rows(first))) => Ok(answer(format, first, pieces, task)),
        Some(Ok(Part::Last(all))) => Ok(response(format, Body::from(all))),
        Some(Ok(Part::Changed(json))) => Ok(response(Format::Json, Body::from(json))),
        Some(Err(refusal)) => Err(refusal),
        None => Err(ApiError::new(ApiKind::Bug, "the statement ended without an answer; the log says more")),
    }
}

fn decode(headers: &HeaderMap, bytes: &[u8]) -> Result<(String, Vec<ScalarValue>), ApiError> {
    match media_type(headers).as_str() {
        "application/json" => {
            let request: Asked = json(bytes)?;
            let params = request.params.into_iter().enumerate().map(|(i, value)| parameter(i, value));
            Ok((request.sql, params.collect::<Result<_, _>>()?))
        }
        // The last is what `curl -d` sends where it is told nothing else.
        "application/sql" | "text/plain" | "" | "application/x-www-form-urlencoded" => {
            match std::str::from_utf8(bytes) {
                Ok(text) => Ok((text.to_owned(), Vec::new())),
                Err(error) => Err(ApiError::input(format!("request body is not UTF-8: {error}"))),
            }
        }
        other => {
            let message = format!("content type {other} is neither application/sql nor application/json");
            Err(ApiError::new(ApiKind::Unsupported, message))
        }
    }
}

fn parameter(i: usize, value: Value) -> Result<ScalarValue, ApiError> {
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(flag) => Ok(ScalarValue::Boolean(Some(flag))),
        Value::String(text) => Ok(ScalarValue::Utf8(Some(text))),
        Value::Number(number) => Ok(match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => ScalarValue::Int64(Some(n)),
            (None, Some(n)) => ScalarValue::UInt64(Some(n)),
            (None, None) => ScalarValue::Float64(number.as_f64()),
        }),
        Value::Array(_) | Value::Object(_) => {
            let message = format!("parameter ${}: expected null, true, false, a number or a text", i + 1);
            Err(ApiError::input(message))
        }
    }
}

/// Runs the statement and sends its answer; stops where nobody takes it any more.
async fn execute(
    app: &App,
    caller: &Caller,
    format: Format,
    statement: (&str, Vec<ScalarValue>),
    out: &mpsc::Sender<Piece>,
) {
    let begin = Instant::now();
    // A closed channel means that the client is gone, and with it the reason to go on.
    if let Err(refusal) = Box::pin(stream(app, caller, format, statement, out, begin)).await {
        drop(out.send(Err(refusal)).await);
    }
}

async fn stream(
    app: &App,
    caller: &Caller,
    format: Format,
    (text, params): (&str, Vec<ScalarValue>),
    out: &mpsc::Sender<Piece>,
    begin: Instant,
) -> Result<(), ApiError> {
    let mut rows = match app.engine.run(caller, text, params).await? {
        Answer::Rows(rows) => rows,
        Answer::Changed { tag, rows, job } => {
            let ms = begin.elapsed().as_secs_f64() * 1e3;
            let json = json_value!({"tag": tag, "changed": rows, "job": job, "elapsed_ms": ms});
            drop(out.send(Ok(Part::Changed(json.to_string().into()))).await);
            return Ok(());
        }
    };
    let mut encoder = Encoder::new(format, rows.schema()).map_err(no_form)?;
    // The first batch comes before the first byte, so that most errors still find their status code.
    let mut next = rows.next().await.transpose().map_err(wattline_query::Error::from)?;
    let mut piece = Vec::new();
    encoder.head(&mut piece);
    let mut sent = false;
    while let Some(batch) = next {
        encoder.batch(&batch, &mut piece).map_err(no_form)?;
        if piece.len() >= PIECE_BYTES {
            if out.send(Ok(Part::Rows(std::mem::take(&mut piece).into()))).await.is_err() {
                return Ok(());
            }
            sent = true;
        }
        next = match rows.next().await.transpose() {
            Ok(next) => next,
            Err(error) => {
                let error = ApiError::from(wattline_query::Error::from(error));
                if !sent || !encoder.broken(&error, &mut piece) {
                    return Err(error);
                }
                drop(out.send(Ok(Part::Rows(piece.into()))).await);
                return Ok(());
            }
        };
    }
    encoder.tail(begin.elapsed(), &mut piece).map_err(no_form)?;
    drop(out.send(Ok(Part::Last(piece.into()))).await);
    Ok(())
}

fn no_form(error: impl std::fmt::Display) -> ApiError {
    ApiError::input(format!("the answer has no form in the type asked for: {error}"))
}

fn answer(format: Format, first: Bytes, pieces: mpsc::Receiver<Piece>, task: Task) -> Response {
    let rest = futures::stream::unfold((pieces, task), |(mut pieces, task)| async move {
        let piece = pieces.recv().await?;
        let bytes = piece.map(|(Part::Rows(bytes) | Part::Last(bytes) | Part::Changed(bytes))| bytes);
        Some((bytes, (pieces, task)))
    });
    // A compressor asks once more after the end, where `unfold` would panic.
    response(format, Body::from_stream(futures::stream::iter([Ok(first)]).chain(rest).fuse()))
}

fn response(format: Format, body: Body) -> Response {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(format.media_type()));
    response
}

/// The running statement; dropping it ends the statement.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A statement under way; counts as ended when dropped.
pub(crate) struct Counted<'a>(&'a App);

impl<'a> Counted<'a> {
    /// A statement begins.
    pub(crate) fn new(app: &'a App) -> Counted<'a> {
        app.statements.fetch_add(1, Ordering::Relaxed);
        Counted(app)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.statements.fetch_sub(1, Ordering::Relaxed);
    }
}

impl From<wattline_query::Error> for ApiError {
    fn from(error: wattline_query::Error) -> ApiError {
        use wattline_query::ErrorKind as Query;
        let kind = match error.kind() {
            Query::Input => ApiKind::Input,
            Query::Denied => ApiKind::Forbidden,
            Query::Busy => ApiKind::Busy,
            Query::Limit => ApiKind::Resources,
            Query::Timeout => ApiKind::Overtime,
            Query::Cancelled => ApiKind::Cancelled,
            Query::Full => ApiKind::Full,
            Query::Damaged => ApiKind::Storage,
            Query::Bug => ApiKind::Bug,
        };
        let mut refusal = ApiError::new(kind, error.message());
        refusal.position = error.position().map(|place| (place.line, place.column));
        refusal
    }
}
