//! `/tsdb-service`, `/tsdb-policy`, `/apim-token-service`: the EnOS-compatible data service over HTTP.
//!
//! Owns: URLs, headers, bodies and status codes; who may call; on which threads and how many at a time. Does not own:
//! parameters, reads and answers ([`wattline_dataservice`]), the life of deletion jobs ([`crate::deletions`]).
//!
//! One call: *query, body → caller → parameters → admission → read → answer*. A refusal of the service is 200 with a
//! code in the body, as its clients expect; what is no answer of the service (no access, too large a body, a failure
//! here) has HTTP's status as well.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use tokio::sync::Semaphore;
use wattline_dataservice::access::Signed;
use wattline_dataservice::deletions::Planned;
use wattline_dataservice::limits::ROWS_MAX;
use wattline_dataservice::rates::{Exceeded, Rates};
use wattline_dataservice::{
    Access, Call, Caller, DataService, Error, ErrorKind, Operation, Params, Result as Answered, Version,
    refusal, v1,
};
use wattline_model::Deletion;

use wattline_registry::Holder;

use super::body::{media_type, whole};
use super::error::{ApiError, ApiKind};
use super::{App, OPERATOR, bearer, is_token, now_micros, origin_of};
use crate::audit;
use crate::config::Settings;
use crate::open::Opened;

/// Where the data service's paths begin.
const OWN: [&str; 9] = [
    "/tsdb-service/",
    "/tsdb-policy/",
    "/apim-token-service/",
    "/asset-service/",
    "/asset-tree-service/",
    "/connect-service/",
    "/model-service/",
    "/dataService/",
    "/connectService/",
];

/// Bytes that a read of [`ROWS_MAX`] rows may take until it is answered: the rows, their texts, the JSON of them.
const READ_BYTES: u64 = 256 << 20;

/// Rows a read is admitted by at least: so small ones have an end, too.
const ROWS_MIN: usize = 1_000;

/// How long a read waits to be admitted before it is told to come again.
const ADMISSION_MAX: Duration = Duration::from_secs(10);

/// Bytes of a request for a token, which anybody may send: four short fields.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Fields of a form: what any operation has, several times.
const FIELDS_MAX: usize = 64;

/// The data service and what bounds it.
pub struct Api {
    service: DataService,
    access: Access,
    /// Rows that reads under way may answer, by the memory there is for queries.
    room: Arc<Semaphore>,
    /// Calls that manage entities, and look at all of them.
    pub(super) managing: Arc<Semaphore>,
    /// What each account asks.
    rates: Rates,
    /// Calls that were told to come later, for one account had come too often or had too many reads.
    pub limited: [AtomicU64; 2],
    /// Time for one read.
    timeout: Duration,
}

impl Api {
    /// The data service over what is open.
    pub fn new(settings: &Settings, opened: &Opened) -> Api {
        let (registry, store) = (opened.registry.clone(), opened.store.clone());
        let reads = (settings.memory.queries / READ_BYTES).clamp(1, 64) as usize;
        Api {
            service: DataService::new(registry, store, settings.others_latest_only),
            access: Access::default(),
            room: Arc::new(Semaphore::new(reads * ROWS_MAX)),
            managing: Arc::new(Semaphore::new(super::manage::AT_ONCE_MAX)),
            rates: Rates::new(settings.account_limits),
            limited: Default::default(),
            timeout: settings.sql.timeout,
        }
    }
}

impl Api {
    /// Runs what reads history on a thread where that is allowed, when there is room for `rows` more rows, within the
    /// time of a read.
    ///
    /// # Errors
    /// `Busy` where no room comes free; `Bug` where `act` panics.
    pub(super) async fn waiting<T: Send + 'static>(
        &self,
        rows: usize,
        caller: Caller,
        act: impl FnOnce(&DataService, &Call<'_>) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let rows = u32::try_from(rows.clamp(ROWS_MIN, ROWS_MAX)).expect("the limit fits");
        let permit =
            tokio::time::timeout(ADMISSION_MAX, Arc::clone(&self.room).acquire_many_owned(rows)).await;
        let busy = || ApiError::new(ApiKind::Busy, "too many large reads are under way");
        let permit = permit.map_err(|_| busy())?.expect("nobody closes the semaphore");
        let (service, deadline) = (self.service.clone(), Instant::now() + self.timeout);
        let given_up = GivenUp(Arc::default());
        let flag = Arc::clone(&given_up.0);
        let task = tokio::task::spawn_blocking(move || {
            let _held = permit;
            let stopped = move || flag.load(Ordering::Relaxed) || Instant::now() > deadline;
            let told = Call { caller, now_micros: now_micros(), stopped: &stopped };
            act(&service, &told)
        });
        let answer = task.await.map_err(|panic| ApiError::new(ApiKind::Bug, panic));
        drop(given_up);
        answer
    }

    /// An account has to wait.
    fn later(&self, exceeded: Exceeded) -> ApiError {
        let (place, why) = match exceeded {
            Exceeded::Calls => (0, "this account calls too often (dataservice.calls_max)"),
            Exceeded::Reads => (1, "this account has too many reads under way (dataservice.reads_max)"),
        };
        self.limited[place].fetch_add(1, Ordering::Relaxed);
        ApiError::new(ApiKind::Busy, why)
    }
}

/// Whether a path is the data service's, which has its own way of letting callers in.
pub fn is_own(path: &str) -> bool {
    OWN.iter().any(|own| path.starts_with(own))
}

/// Adds the routes.
pub fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for operation in Operation::ALL {
        let read = move |State(app): State<Arc<App>>, request: Request| read(app, request, operation);
        let path = format!("/tsdb-service/{}/{}", Version::V21.name(), operation.path());
        router = router.route(&path, post(read));
        if operation.in_v20() {
            let path = format!("/tsdb-service/{}/{}", Version::V20.name(), operation.path());
            router = router.route(&path, get(read).post(read));
        }
    }
    for (operation, path) in v1::PATHS.into_iter().chain([(Operation::Raw, v1::RAW_BEFORE)]) {
        let read = move |State(app): State<Arc<App>>, request: Request| read_v1(app, request, operation);
        router = router.route(path, get(read));
    }
    router
        .route(v1::METADATA, get(metadata_v1))
        .route("/tsdb-service/v2.1/data/meta-delete", post(delete_metadata))
        .route("/tsdb-service/v2.1/data/tsdb-delete", post(submit_deletion))
        .route("/tsdb-service/v2.1/data/delete-detail", get(deletion_details))
        .route("/tsdb-service/v2.1/data/resubmit", put(resubmit_deletion))
        .route("/tsdb-policy/v2.0/policies", get(metadata))
        .route("/apim-token-service/v2.0/token/get", post(get_token))
        .route("/apim-token-service/v2.0/token/refresh", post(refresh_token))
}

async fn get_token(State(app): State<Arc<App>>, body: Body) -> Response {
    match whole(body, TOKEN_BYTES_MAX, app.http.read_timeout).await {
        Ok(body) => json(app.data.access.get(&app.registry, &body, now_micros())),
        Err(error) => error.into_response(),
    }
}

async fn refresh_token(State(app): State<Arc<App>>, body: Body) -> Response {
    match whole(body, TOKEN_BYTES_MAX, app.http.read_timeout).await {
        Ok(body) => json(app.data.access.refresh(&app.registry, &body, now_micros())),
        Err(error) => error.into_response(),
    }
}

/// A call that was let in.
struct Admitted {
    params: Params,
    caller: Caller,
    /// Who calls, for what is noted of a change.
    operator: String,
    /// `action` of the query.
    action: Option<String>,
}

/// Why there is no answer of the data service, or one that refuses.
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

type Outcome = Result<Vec<u8>, Failed>;

async fn read(app: Arc<App>, request: Request, operation: Operation) -> Response {
    let version = version_of(&request);
    in_envelope(&app.clone(), version, Noting::of(&request), async move {
        let call = admit(&app, request, version).await?;
        if version == Version::V21
            && operation == Operation::Latest
            && call.action.as_deref() == Some("delete")
        {
            return delete_latest(&app, &call).await;
        }
        answer_read(&app, call, operation).await
    })
    .await
}

async fn answer_read(app: &Arc<App>, call: Admitted, operation: Operation) -> Outcome {
    if operation.in_memory() {
        let never = || false;
        let told = Call { caller: call.caller, now_micros: now_micros(), stopped: &never };
        return Ok(app.data.service.read(operation, &call.params, &told)?);
    }
    let rows = match operation {
        // They have no page.
        Operation::Di | Operation::DiDuration => ROWS_MAX,
        // It may find all assets of a model.
        Operation::FilterLatest if !call.params.is_given("assetIds") => {
            wattline_dataservice::limits::FILTER_ASSETS_MAX
        }
        Operation::FilterLatest | Operation::CurrentDay => call.params.series_asked(),
        _ => call.params.rows_asked(),
    };
    waiting(app, call, rows, move |service, params, told| service.read(operation, params, told)).await
}

/// A call by its name of May 2019.
async fn read_v1(app: Arc<App>, request: Request, operation: Operation) -> Response {
    in_envelope(&app.clone(), Version::V20, Noting::of(&request), async move {
        let call = admit(&app, request, Version::V20).await?;
        v1::check(operation, &call.params)?;
        let page_size = call.params.text("pageSize").and_then(|size| size.parse().ok());
        let answer = answer_read(&app, call, operation).await?;
        Ok(v1::page(&answer, page_size)?)
    })
    .await
}

/// `getPointsTSDBMetaData`: the path of May 2019 of what `/tsdb-policy/v2.0/policies` tells.
async fn metadata_v1(State(app): State<Arc<App>>, request: Request) -> Response {
    metadata(State(app), request).await
}

async fn delete_metadata(State(app): State<Arc<App>>, request: Request) -> Response {
    in_envelope(&app.clone(), Version::V21, Noting::of(&request), async move {
        let call = admit(&app, request, Version::V21).await?;
        app.take_changes()?;
        let operator = call.operator.clone();
        let deletion = planned(&app, call).await?;
        let job = app.deletions.submit(deletion, &operator).await?;
        Ok(app.data.service.submitted(Version::V21, job.id))
    })
    .await
}

/// What deletes a point's metadata. Looking for its history waits for the disk.
async fn planned(app: &Arc<App>, call: Admitted) -> Result<Deletion, Failed> {
    let (service, timeout) = (app.data.service.clone(), app.data.timeout);
    let looked = tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + timeout;
        let stopped = move || Instant::now() > deadline;
        let told = Call { caller: call.caller, now_micros: now_micros(), stopped: &stopped };
        service.metadata_to_delete(&call.params, &told)
    });
    Ok(looked.await.map_err(|panic| ApiError::new(ApiKind::Bug, panic))??)
}

async fn metadata(State(app): State<Arc<App>>, request: Request) -> Response {
    in_envelope(&app.clone(), Version::V20, Noting::of(&request), async move {
        let call = admit(&app, request, Version::V20).await?;
        let never = || false;
        let told = Call { caller: call.caller, now_micros: now_micros(), stopped: &never };
        Ok(app.data.service.metadata(&call.params, &told)?)
    })
    .await
}

async fn delete_latest(app: &App, call: &Admitted) -> Outcome {
    app.take_changes()?;
    let planned: Planned = app.data.service.latest_to_delete(&call.params, &told(call))?;
    for deletion in &planned.deletions {
        app.deletions.submit(deletion.clone(), &call.operator).await?;
    }
    Ok(planned.answer(Version::V21))
}

async fn submit_deletion(State(app): State<Arc<App>>, request: Request) -> Response {
    in_envelope(&app.clone(), Version::V21, Noting::of(&request), async move {
        let call = admit(&app, request, Version::V21).await?;
        app.take_changes()?;
        let deletion = app.data.service.history_to_delete(&call.params, &told(&call))?;
        let job = app.deletions.submit(deletion, &call.operator).await?;
        Ok(app.data.service.submitted(Version::V21, job.id))
    })
    .await
}

async fn resubmit_deletion(State(app): State<Arc<App>>, request: Request) -> Response {
    in_envelope(&app.clone(), Version::V21, Noting::of(&request), async move {
        let call = admit(&app, request, Version::V21).await?;
        app.take_changes()?;
        let id = found(&app, call).await?;
        let job = app.deletions.resubmit(id).await;
        let job = job.map_err(|error| match error.kind {
            ApiKind::Conflict => Failed::Service(Error::rejected(error.message)),
            _ => Failed::Http(error),
        })?;
        Ok(app.data.service.submitted(Version::V21, job.id))
    })
    .await
}

/// The job that a call is about. Jobs are rows of a file.
async fn found(app: &Arc<App>, call: Admitted) -> Result<i64, Failed> {
    let service = app.data.service.clone();
    let looked = tokio::task::spawn_blocking(move || service.job_to_resubmit(&call.params, &told(&call)));
    Ok(looked.await.map_err(|panic| ApiError::new(ApiKind::Bug, panic))??)
}

async fn deletion_details(State(app): State<Arc<App>>, request: Request) -> Response {
    in_envelope(&app.clone(), Version::V21, Noting::of(&request), async move {
        let call = admit(&app, request, Version::V21).await?;
        waiting(&app, call, ROWS_MIN, |service, params, told| service.deletion_details(params, told)).await
    })
    .await
}

fn told(call: &Admitted) -> Call<'static> {
    Call { caller: call.caller.clone(), now_micros: now_micros(), stopped: &|| false }
}

/// Runs what waits for the disk on a thread where that is allowed, when there is room for `rows` more rows.
async fn waiting(
    app: &Arc<App>,
    call: Admitted,
    rows: usize,
    act: impl FnOnce(&DataService, &Params, &Call<'_>) -> Answered<Vec<u8>> + Send + 'static,
) -> Outcome {
    let reading = match call.caller {
        Caller::Operator => None,
        Caller::Account(..) => {
            let reading = app.data.rates.read(&call.operator, now_micros());
            Some(reading.map_err(|exceeded| app.data.later(exceeded))?)
        }
    };
    let rows = u32::try_from(rows.clamp(ROWS_MIN, ROWS_MAX)).expect("the limit fits");
    let permit =
        tokio::time::timeout(ADMISSION_MAX, Arc::clone(&app.data.room).acquire_many_owned(rows)).await;
    let busy = || ApiError::new(ApiKind::Busy, "too many large reads are under way");
    let permit = permit.map_err(|_| busy())?.expect("nobody closes the semaphore");
    let (service, deadline) = (app.data.service.clone(), Instant::now() + app.data.timeout);
    let given_up = GivenUp(Arc::default());
    let flag = Arc::clone(&given_up.0);
    let task = tokio::task::spawn_blocking(move || {
        let _held = (permit, reading);
        let stopped = move || flag.load(Ordering::Relaxed) || Instant::now() > deadline;
        let told = Call { caller: call.caller, now_micros: now_micros(), stopped: &stopped };
        act(&service, &call.params, &told)
    });
    let answer = task.await.map_err(|panic| ApiError::new(ApiKind::Bug, panic))?;
    drop(given_up);
    Ok(answer?)
}

/// Dropped when the client goes away: the read ends then.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn version_of(request: &Request) -> Version {
    match request.uri().path().contains("/v2.0/") {
        true => Version::V20,
        false => Version::V21,
    }
}

/// Reads the request and lets its caller in.
async fn admit(app: &App, request: Request, version: Version) -> Result<Admitted, Failed> {
    let (head, body) = request.into_parts();
    let query: Vec<(String, String)> = pairs(head.uri.query().unwrap_or_default().as_bytes());
    let body = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    // Forms are not signed, JSON is.
    let signed = if version == Version::V21 { body.clone() } else { Bytes::new() };
    let (caller, operator) = let_in(app, &head.headers, &query, &signed)?;
    let action = query.iter().find(|(name, _)| name == "action").map(|(_, value)| value.clone());
    let params = match version {
        Version::V21 => Params::from_json(version, query, &body)?,
        Version::V20 => {
            let form = read_form(&head, body).await?;
            Params::from_pairs(version, query.into_iter().chain(form))
        }
    };
    Ok(Admitted { params, caller, operator, action })
}

pub(super) fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(encoded).into_owned().collect()
}

async fn read_form(head: &Parts, body: Bytes) -> Result<Vec<(String, String)>, ApiError> {
    if head.method == Method::GET || body.is_empty() {
        return Ok(Vec::new());
    }
    match media_type(&head.headers).as_str() {
        "application/x-www-form-urlencoded" => Ok(pairs(&body)),
        "multipart/form-data" => {
            let wrong = |e: multer::Error| ApiError::input(format!("request body: {e}"));
            let content = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let boundary = multer::parse_boundary(content.unwrap_or_default()).map_err(wrong)?;
            let whole = futures::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body)));
            let mut form = multer::Multipart::new(whole, boundary);
            let mut fields = Vec::new();
            while let Some(field) = form.next_field().await.map_err(wrong)? {
                let name = field.name().unwrap_or_default().to_owned();
                fields.push((name, field.text().await.map_err(wrong)?));
                if fields.len() > FIELDS_MAX {
                    return Err(ApiError::input(format!("request body: more than {FIELDS_MAX} fields")));
                }
            }
            Ok(fields)
        }
        other => {
            let what = format!(
                "content type {other:?} is neither multipart/form-data nor a form in the query's form"
            );
            Err(ApiError::new(ApiKind::Unsupported, what))
        }
    }
}

/// Who calls: a signed call, a token alone, the operator's token, or anybody where nobody must prove anything.
pub(super) fn let_in(
    app: &App,
    headers: &HeaderMap,
    query: &[(String, String)],
    body: &[u8],
) -> Result<(Caller, String), ApiError> {
    let refused = |why: String| ApiError::new(ApiKind::Unauthorized, why);
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let account = if let Some(token) = text("apim-accesstoken") {
        let signed = Signed {
            token,
            signature: text("apim-signature").unwrap_or_default(),
            timestamp: text("apim-timestamp").unwrap_or_default(),
            query,
            body,
        };
        app.data.access.signed(&app.registry, &signed, now_micros())
    } else if let Some(signed) =
        body.is_empty().then(|| v1::signed(&app.registry, query, now_micros())).flatten()
    {
        signed
    } else if let Some(shown) = bearer(headers) {
        if app.http.token.as_ref().is_some_and(|token| is_token(token, shown)) {
            return Ok((Caller::Operator, OPERATOR.to_owned()));
        }
        let shown = std::str::from_utf8(shown).unwrap_or_default();
        app.data.access.bearer(&app.registry, shown, now_micros())
    } else if app.http.token.is_none() && !app.registry.has_service_accounts() {
        return Ok((Caller::Operator, OPERATOR.to_owned()));
    } else {
        let why = "this call must be signed (apim-accesstoken, apim-signature, apim-timestamp) or show \
                   \"Authorization: Bearer <token>\"";
        return Err(refused(why.to_owned()));
    };
    let account = account.map_err(|refusal| refused(refusal.0))?;
    let operator = &account.access_key;
    // Nobody notes calls that only get a token.
    let _ = CALLING.try_with(|calling| drop(calling.set(operator.clone())));
    app.data.rates.call(operator, now_micros()).map_err(|exceeded| app.data.later(exceeded))?;
    let permissions = app.registry.permissions(Holder::service(operator));
    Ok((Caller::Account(account.org, permissions), account.access_key.clone()))
}

tokio::task_local! {
    /// Who makes the call under way, once that is known.
    static CALLING: OnceLock<String>;
}

/// What the audit log wants to know of a call.
pub(super) struct Noting {
    action: String,
    /// `action` of the query.
    asked: Option<String>,
    org: String,
    origin: Option<Arc<str>>,
    /// Whether it changes something, unless it is refused.
    changes: bool,
}

impl Noting {
    /// What is known before anybody is let in.
    pub(super) fn of(request: &Request) -> Noting {
        let path = request.uri().path();
        let query = pairs(request.uri().query().unwrap_or_default().as_bytes());
        let of = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let deletes = of("action") == Some("delete") && path.ends_with("/v2.1/latest");
        let changes =
            deletes || ["/tsdb-delete", "/resubmit", "/meta-delete"].iter().any(|end| path.ends_with(end));
        let asked = of("action").map(str::to_owned);
        let action = match &asked {
            Some(asked) => format!("{} {path}?action={asked}", request.method()),
            None => format!("{} {path}", request.method()),
        };
        let org = of("orgId").unwrap_or_default().to_owned();
        Noting { action, asked, org, origin: origin_of(request.extensions()), changes }
    }

    /// `action` of the query.
    pub(super) fn asked(&self) -> Option<&str> {
        self.asked.as_deref()
    }

    /// Whether `action` of the query is one of these.
    pub(super) fn is_action(&self, actions: &[&str]) -> bool {
        self.asked.as_deref().is_some_and(|asked| actions.contains(&asked))
    }

    /// The same of a call that changes something, or does not.
    pub(super) fn changing(self, changes: bool) -> Noting {
        Noting { changes, ..self }
    }

    /// Notes a call that was denied, or that changes something.
    fn note(self, app: &App, account: Option<String>, ended: Ended) {
        let (outcome, reason) = match ended {
            Ended::Denied(why) => (audit::Outcome::Denied, Some(why)),
            _ if !self.changes => return,
            Ended::Done => (audit::Outcome::Done, None),
            Ended::Failed(why) => (audit::Outcome::Failed, Some(why)),
        };
        let noted = audit::Noted {
            account: account.map(Into::into),
            wire: "rest",
            origin: self.origin,
            action: self.action,
            item: self.org,
            outcome,
        };
        app.audit.note(noted, reason.as_deref());
    }
}

/// How a call ended.
pub(super) enum Ended {
    Done,
    /// The caller may not do this, and why.
    Denied(String),
    /// Something else is the matter.
    Failed(String),
}

impl Ended {
    /// As an error of the service says.
    pub(super) fn of(error: &Error) -> Ended {
        let denied = [ErrorKind::Unauthorized, ErrorKind::ModelDenied, ErrorKind::AccessKey];
        match denied.contains(&error.kind()) {
            true => Ended::Denied(error.to_string()),
            false => Ended::Failed(error.to_string()),
        }
    }

    /// As an error of HTTP says.
    pub(super) fn of_http(error: &ApiError) -> Ended {
        match error.kind {
            ApiKind::Unauthorized => Ended::Denied(error.message.clone()),
            _ => Ended::Failed(error.message.clone()),
        }
    }
}

/// What `act` gives, noted in the audit log if it was denied or changes something.
pub(super) async fn noted<T>(
    app: &App,
    noting: Noting,
    act: impl Future<Output = T>,
    ended: impl FnOnce(&T) -> Ended,
) -> T {
    let (outcome, account) = CALLING
        .scope(OnceLock::new(), async {
            let outcome = act.await;
            (outcome, CALLING.with(|calling| calling.get().cloned()))
        })
        .await;
    noting.note(app, account, ended(&outcome));
    outcome
}

/// The answer of `act`, refusals of every kind in the service's envelope.
async fn in_envelope(
    app: &App,
    version: Version,
    noting: Noting,
    act: impl Future<Output = Outcome>,
) -> Response {
    let ended = |outcome: &Outcome| match outcome {
        Ok(_) => Ended::Done,
        Err(Failed::Service(error)) => Ended::of(error),
        Err(Failed::Http(error)) => Ended::of_http(error),
    };
    match noted(app, noting, act, ended).await {
        Ok(body) => json(body),
        Err(Failed::Service(error)) => {
            let mut response = json(error.body(version));
            *response.status_mut() = match error.kind() {
                ErrorKind::Internal => {
                    tracing::error!(reason = %error, "data service failed");
                    StatusCode::INTERNAL_SERVER_ERROR
                }
                ErrorKind::Stopped => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::OK,
            };
            response
        }
        Err(Failed::Http(error)) => {
            let message = error.message.clone();
            let (mut head, _) = error.into_response().into_parts();
            head.headers.remove(header::CONTENT_LENGTH);
            let body = refusal(version, head.status.as_u16().into(), &message, None);
            Response::from_parts(head, Body::from(body))
        }
    }
}

pub(super) fn json(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    let content = HeaderValue::from_static("application/json;charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content);
    response
}
