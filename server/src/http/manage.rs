//! `/asset-service`, `/asset-tree-service`, `/connect-service/…/devices`, `/model-service` and policies by `policyId`: the
//! EnOS-compatible management of who exists, over HTTP.
//!
//! Owns: URLs, bodies, files and status codes; on which threads and how many at a time; carrying out what follows from a
//! change (sessions, samples, policies). Does not own: calls and their answers ([`wattline_dataservice::manage`]), who is
//! let in ([`super::dataservice`]).
//!
//! One call: *query, body → caller → operation → admission → registry → effects → answer*. As in the data service, a
//! refusal is 200 with a code in the body, unless it is none of the service.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use wattline_dataservice::manage::batch::{self, Imported, Template};
use wattline_dataservice::manage::{
    DEVICES, Done, Effect, Operation, Request as Asked, manage, policies, refusal,
};
use wattline_dataservice::{Caller, Error, ErrorKind, Params, Result as Answered, Version};

use super::body::{media_type, whole};
use super::dataservice::{Ended, Noting, json, let_in, noted, pairs};
use super::error::{ApiError, ApiKind};
use super::{App, now_micros};

/// Calls under way at once. A search looks at every asset, and a file of devices takes a hundred megabytes for a moment.
pub const AT_ONCE_MAX: usize = 2;

/// How long a call waits for its turn before it is told to come again.
const TURN_MAX: Duration = Duration::from_secs(10);

/// Bytes around a file in a form.
const FORM_BYTES: usize = 64 << 10;

/// What an .xlsx file is called in HTTP.
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// Adds the routes.
pub fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for path in Operation::PATHS {
        let handler = move |State(app): State<Arc<App>>, request: Request| handle(app, request, path);
        router = router.route(path, get(handler).post(handler));
    }
    for version in [Version::V20, Version::V21] {
        let show = move |app, id, request| by_id(app, id, request, version, Act::Show);
        let save = move |app, id, request| by_id(app, id, request, version, Act::Save);
        let delete = move |app, id, request| by_id(app, id, request, version, Act::Delete);
        let path = format!("/tsdb-policy/{}/policies/{{id}}", version.name());
        router = router.route(&path, get(show).post(save).delete(delete));
    }
    router
        .route("/tsdb-policy/v2.1/policies/unformatted/detail", get(show_unformatted))
        .route("/tsdb-policy/v2.1/policies/unformatted/update", get(keep_unformatted).post(keep_unformatted))
}

/// Why there is no answer, or one that refuses.
enum Failed {
    /// Said by HTTP, too.
    Http(ApiError),
    /// Said by the service.
    Service(Error),
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Failed {
        Failed::Http(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Service(error)
    }
}

/// A call that was let in.
struct Admitted {
    params: Params,
    body: Bytes,
    caller: Caller,
    /// Who calls, for what is noted of a change.
    operator: String,
    headers: HeaderMap,
}

impl Admitted {
    fn action(&self) -> Option<&str> {
        self.params.text("action")
    }
}

async fn handle(app: Arc<App>, request: Request, path: &'static str) -> Response {
    let is_post = request.method() == Method::POST;
    let noting = Noting::of(&request);
    let changes = noting.is_action(&["import"])
        || Operation::find(path, is_post, noting.asked()).is_ok_and(Operation::changes);
    let answered = Arc::clone(&app);
    let answer = async move {
        let call = admit(&app, request, Version::V21).await?;
        match (path == DEVICES, is_post, call.action()) {
            (true, false, Some("template")) => return template(&app, call).await,
            (true, true, Some("import")) => return import(&app, call).await,
            _ => {}
        }
        let operator = call.operator.clone();
        let operation = Operation::find(path, is_post, call.action())?;
        if operation.changes() {
            app.take_changes()?;
        }
        let done = in_turn(&app, call, move |app, asked| manage(&app.registry, operation, asked)).await?;
        Ok(json(carry_out(&app, done, &operator).await?))
    };
    in_envelope(&answered, noting.changing(changes), answer, Error::managed_body, refusal).await
}

async fn template(app: &Arc<App>, call: Admitted) -> Result<Response, Failed> {
    let Template { name, bytes } =
        in_turn(app, call, |app, asked| batch::template(&app.registry, asked)).await?;
    Ok(file(&name, XLSX, bytes.into()))
}

/// Takes a file of devices. Whoever accepts text alone gets `errmsg.txt`, others the whole answer.
async fn import(app: &Arc<App>, call: Admitted) -> Result<Response, Failed> {
    app.take_changes()?;
    let wants = call.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wants_text = wants.trim_start().starts_with("text/plain");
    let operator = call.operator.clone();
    let Imported { done, errmsg } =
        in_turn(app, call, |app, asked| batch::import(&app.registry, asked)).await?;
    let body = carry_out(app, done, &operator).await?;
    Ok(if wants_text { file("errmsg.txt", "text/plain;charset=UTF-8", errmsg.into()) } else { json(body) })
}

fn file(name: &str, content: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    // Keys of products have no character that a header could not.
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// What is to be done with one policy.
#[derive(Clone, Copy)]
enum Act {
    Show,
    Save,
    Delete,
}

async fn by_id(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
    version: Version,
    act: Act,
) -> Response {
    let noting = Noting::of(&request).changing(!matches!(act, Act::Show));
    policy_answer(&Arc::clone(&app), noting, version, async move {
        let call = admit(&app, request, version).await?;
        let operator = call.operator.clone();
        if !matches!(act, Act::Show) {
            app.take_changes()?;
        }
        let done = in_turn(&app, call, move |app, asked| match act {
            Act::Show => policies::show(&app.registry, &id, asked).map(Done::from),
            Act::Save => policies::save(&app.registry, &id, asked),
            Act::Delete => policies::delete(&app.registry, &id, asked),
        });
        let done = done.await?;
        Ok(json(carry_out(&app, done, &operator).await?))
    })
    .await
}

async fn show_unformatted(State(app): State<Arc<App>>, request: Request) -> Response {
    let noting = Noting::of(&request);
    policy_answer(&Arc::clone(&app), noting, Version::V21, async move {
        let call = admit(&app, request, Version::V21).await?;
        let shown =
            in_turn(&app, call, |app, asked| policies::show_unformatted(&app.registry, asked)).await?;
        Ok(json(shown))
    })
    .await
}

async fn keep_unformatted(State(app): State<Arc<App>>, request: Request) -> Response {
    let noting = Noting::of(&request).changing(true);
    policy_answer(&Arc::clone(&app), noting, Version::V21, async move {
        let call = admit(&app, request, Version::V21).await?;
        let operator = call.operator.clone();
        app.take_changes()?;
        let done = in_turn(&app, call, |app, asked| policies::keep_unformatted(&app.registry, asked)).await?;
        Ok(json(carry_out(&app, done, &operator).await?))
    })
    .await
}

/// Runs a call where waiting for the disk is allowed, when it is its turn.
async fn in_turn<T: Send + 'static>(
    app: &Arc<App>,
    call: Admitted,
    act: impl FnOnce(&App, &Asked<'_>) -> Answered<T> + Send + 'static,
) -> Result<T, Failed> {
    let turn = tokio::time::timeout(TURN_MAX, Arc::clone(&app.data.managing).acquire_owned()).await;
    let busy = || ApiError::new(ApiKind::Busy, "too many calls that manage entities are under way");
    let turn = turn.map_err(|_| busy())?.expect("nobody closes the semaphore");
    let app = Arc::clone(app);
    let task = tokio::task::spawn_blocking(move || {
        let _held = turn;
        let is_online = |asset| app.ingestor.is_online(asset);
        let asked = Asked {
            params: &call.params,
            body: &call.body,
            caller: &call.caller,
            operator: &call.operator,
            now_micros: now_micros(),
            is_online: &is_online,
        };
        act(&app, &asked)
    });
    Ok(task.await.map_err(|panic| ApiError::new(ApiKind::Bug, panic))??)
}

/// Carries out what follows from a change; its answer is good only then.
async fn carry_out(app: &Arc<App>, done: Done, operator: &str) -> Result<Vec<u8>, Failed> {
    for effect in done.effects {
        match effect {
            Effect::EndSession(asset) => app.ingestor.end_session(asset),
            Effect::Delete(deletions) => {
                for deletion in deletions {
                    app.deletions.submit(deletion, operator).await?;
                }
            }
            Effect::Rule => {
                let app = Arc::clone(app);
                super::blocking(move || app.ruling.apply(&app.store)).await?;
            }
        }
    }
    Ok(done.body)
}

/// Reads the request and lets its caller in.
async fn admit(app: &App, request: Request, version: Version) -> Result<Admitted, Failed> {
    let (head, body) = request.into_parts();
    let query: Vec<(String, String)> = pairs(head.uri.query().unwrap_or_default().as_bytes());
    let is_file = matches!(
        media_type(&head.headers).as_str(),
        XLSX | "multipart/form-data" | "application/octet-stream"
    );
    let bytes_max = match is_file {
        true => app.http.body_bytes_max.min(batch::BYTES_MAX + FORM_BYTES),
        false => app.http.body_bytes_max,
    };
    let body = whole(body, bytes_max, app.http.read_timeout).await?;
    // Files and forms are not signed, JSON is.
    let signed = if is_file { Bytes::new() } else { body.clone() };
    let (caller, operator) = let_in(app, &head.headers, &query, &signed)?;
    let (params, body) = if is_file {
        (Params::from_pairs(version, query), file_of(&head.headers, body).await?)
    } else {
        (Params::from_json(version, query, &body)?, body)
    };
    Ok(Admitted { params, body, caller, operator, headers: head.headers })
}

/// The file in the body: the body itself, or the first file of a form.
async fn file_of(headers: &HeaderMap, body: Bytes) -> Result<Bytes, ApiError> {
    if media_type(headers) != "multipart/form-data" {
        return Ok(body);
    }
    let wrong = |e: multer::Error| ApiError::input(format!("request body: {e}"));
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = multer::parse_boundary(content.unwrap_or_default()).map_err(wrong)?;
    let whole = futures::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body)));
    let mut form = multer::Multipart::new(whole, boundary);
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        if field.file_name().is_some() {
            return field.bytes().await.map_err(wrong);
        }
    }
    Err(ApiError::input("request body: the form has no file"))
}

async fn policy_answer(
    app: &App,
    noting: Noting,
    version: Version,
    act: impl Future<Output = Result<Response, Failed>>,
) -> Response {
    let refused = move |status, message: &str| wattline_dataservice::refusal(version, status, message, None);
    in_envelope(app, noting, act, move |error| error.body(version), refused).await
}

/// The answer of `act`, refusals of every kind in the service's envelope.
async fn in_envelope(
    app: &App,
    noting: Noting,
    act: impl Future<Output = Result<Response, Failed>>,
    body: impl FnOnce(&Error) -> Vec<u8>,
    refused: impl FnOnce(u32, &str) -> Vec<u8>,
) -> Response {
    let ended = |answer: &Result<Response, Failed>| match answer {
        Ok(_) => Ended::Done,
        Err(Failed::Service(error)) => Ended::of(error),
        Err(Failed::Http(error)) => Ended::of_http(error),
    };
    match noted(app, noting, act, ended).await {
        Ok(response) => response,
        Err(Failed::Service(error)) => {
            let mut response = json(body(&error));
            if error.kind() == ErrorKind::Internal {
                tracing::error!(reason = %error, "managing entities failed");
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            response
        }
        Err(Failed::Http(error)) => {
            let message = error.message.clone();
            let (mut head, _) = error.into_response().into_parts();
            head.headers.remove(header::CONTENT_LENGTH);
            let body = refused(head.status.as_u16().into(), &message);
            Response::from_parts(head, Body::from(body))
        }
    }
}
