//! HTTP: what may be asked of the server, and the frame around every answer.
//!
//! Owns: routes, the shape of refusals, metrics of requests, the token, limits on bodies and patience. Does not own:
//! what exists (`registry`), decoding of samples (`ingest`), SQL (`query`), durability (`storage`).
//!
//! Reading order: [`connection`] → this file (routes, frame) → [`samples`], [`sql`] (with [`encode`], [`login`]), [`latest`],
//! [`dataservice`], [`manage`], [`connect`] (with [`integration`], [`events`], [`commands`]), [`registry`], [`accounts`], [`services`], [`grants`], [`policies`], [`deletions`], [`operations`], [`health`], [`metrics`] → [`body`], [`error`].
//!
//! One request: *accept → TLS → head → count → token → handler → answer*. A panic in a handler is answered 500 and ends
//! there.

pub mod accounts;
pub mod body;
pub mod commands;
pub mod connect;
pub mod connection;
pub mod dataservice;
pub mod deletions;
pub mod encode;
pub mod error;
pub mod events;
pub mod grants;
pub mod health;
pub mod integration;
pub mod latest;
pub mod login;
pub mod manage;
pub mod metrics;
pub mod operations;
pub mod policies;
pub mod process;
pub mod registry;
pub mod samples;
pub mod services;
pub mod sql;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures::FutureExt as _;
use subtle::ConstantTimeEq as _;
use tokio::runtime::Handle;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use wattline_ingest::Ingestor;
use wattline_query::Engine;
use wattline_registry::Registry;
use wattline_storage::Store;

use self::error::{ApiError, ApiKind};
use self::metrics::HttpMetrics;
use crate::audit::{Auditor, Noted, Outcome};
use crate::commands::Commands;
use crate::config::HttpSettings;
use crate::deletions::Jobs;
use crate::flight::FlightMetrics;
use crate::journal::Journaling;
use crate::operations::Operations;
use crate::policies::Ruling;
use crate::serve::Listening;

/// The path that needs no token: whoever watches the process must not need to know secrets.
const OPEN_PATH: &str = "/healthz";

/// The path of statements.
const SQL_PATH: &str = "/sql";

/// Answers below this are sent as they are: they fit a packet either way.
const COMPRESSED_BYTES_MIN: u16 = 1_024;

/// What handlers share.
pub struct App {
    /// Who exists.
    pub registry: Registry,
    /// The data.
    pub store: Store,
    /// The way in.
    pub ingestor: Ingestor,
    /// The way out.
    pub engine: Engine,
    /// Where statements run: threads of their own, so that a heavy one delays neither intake nor health checks.
    pub queries: Handle,
    /// Checks and backups.
    pub operations: Arc<Operations>,
    /// Keeps the store to the storage policies.
    pub ruling: Arc<Ruling>,
    /// Deletion jobs.
    pub deletions: Arc<Jobs>,
    /// Where backups go, where that is set.
    pub backup_dir: Option<String>,
    /// The journal of the newest backup, where there is to be one.
    pub journaling: Option<Arc<Journaling>>,
    /// Limits and patience.
    pub http: HttpSettings,
    /// Statements under way.
    pub statements: AtomicU64,
    /// Counts of the PostgreSQL wire.
    pub pg: Arc<crate::pg::metrics::Metrics>,
    /// Counts of what goes over Flight.
    pub flight: Arc<FlightMetrics>,
    /// Commands to devices.
    pub commands: Arc<Commands>,
    /// The data service.
    pub data: dataservice::Api,
    /// Calls on their way into the audit log.
    pub audit: Arc<Auditor>,
    /// Checks of passwords.
    pub logins: login::Logins,
    /// Counts of requests.
    pub metrics: HttpMetrics,
    /// Listeners, once all are open.
    pub listening: OnceLock<Vec<Listening>>,
    /// When the process began to start.
    pub started: Instant,
    /// Set when the end began.
    pub stopping: AtomicBool,
}

impl App {
    /// Whether the end began.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Refuses what would change something once the end began.
    ///
    /// # Errors
    /// `Unavailable` then.
    pub fn take_changes(&self) -> Result<(), ApiError> {
        if self.is_stopping() {
            return Err(ApiError::new(ApiKind::Unavailable, "the server is stopping"));
        }
        Ok(())
    }
}

/// Who asks while there are no accounts.
pub const OPERATOR: &str = "api";

/// The time by the operating system's clock, for what is noted of a change.
pub fn now_micros() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Runs what waits for the disk, where waiting is allowed.
///
/// # Errors
/// Those of `act`; `Bug` where it panics.
pub async fn blocking<T, E>(act: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, ApiError>
where
    T: Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => Err(ApiError::new(ApiKind::Bug, format!("the change ended in a panic: {error}"))),
    }
}

/// Every route.
pub fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .route("/orgs", get(registry::list_orgs).post(registry::create_org))
        .route("/models", get(registry::list_models).post(registry::create_model))
        .route("/models/{model}", get(registry::show_model))
        .route("/models/{model}/points", post(registry::add_points))
        .route("/models/{model}/samples", post(samples::write))
        .route("/products", get(registry::list_products).post(registry::create_product))
        .route("/products/{product}", get(registry::show_product))
        .route("/devices", get(registry::list_devices).post(registry::create_devices))
        .route("/devices/{product}/{device}", get(registry::show_device))
        .route("/assets/{asset}", get(registry::show_asset))
        .route("/assets/{asset}/latest", get(latest::read))
        .route("/policies", get(policies::list))
        .route("/policies/{group}", get(policies::show).put(policies::save).delete(policies::delete))
        .route(
            "/unformatted",
            get(policies::show_unformatted)
                .put(policies::keep_unformatted)
                .delete(policies::refuse_unformatted),
        )
        .route("/accounts", get(accounts::list).post(accounts::create))
        .route("/accounts/{account}", axum::routing::delete(accounts::delete))
        .route("/accounts/{account}/verifier", axum::routing::put(accounts::set_verifier))
        .route("/service-accounts", get(services::list).post(services::create))
        .route("/service-accounts/{key}", axum::routing::delete(services::revoke))
        .route("/audit", get(policies::audit))
        .route("/deletions", get(deletions::list).post(deletions::submit))
        .route("/deletions/{id}", get(deletions::show))
        .route("/deletions/{id}/resubmit", post(deletions::resubmit))
        .route("/operations", get(operations::list))
        .route("/operations/check", post(operations::check))
        .route("/operations/flush", post(operations::flush))
        .route("/operations/compact", post(operations::compact))
        .route("/operations/backup", post(operations::backup))
        .route("/operations/{id}", get(operations::show).delete(operations::cancel))
        .route("/backups", get(operations::list_backups));
    let api = grants::routes(api);
    let own = manage::routes(integration::routes(dataservice::routes(Router::new())));
    commands::routes(events::routes(own))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::render))
        .route(SQL_PATH, post(sql::run))
        .nest("/api/v1", api)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(compression())
        .layer(from_fn_with_state(Arc::clone(&app), frame))
        .with_state(app)
}

/// Compresses answers for who accepts that, piece by piece as they come, with little time for each byte: networks in
/// plants are slow, and processors have other things to do.
fn compression() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN))
}

async fn unknown_path(request: Request) -> ApiError {
    ApiError::not_found(format!("there is no {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> ApiError {
    ApiError::new(ApiKind::Method, format!("{} is not for {}", request.uri().path(), request.method()))
}

/// Around every request: counts it, asks for the token, turns a panic into an answer.
async fn frame(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", |path| path.as_str()).to_owned();
    let flying = app.metrics.begin();
    let noting = Noting::of(&request);
    let response = match same_origin(&request).and_then(|()| authorize(&app, &request)) {
        Err(refusal) => refusal.into_response(),
        // The state a handler shares is behind locks that do not poison, or atomics: nothing half-done is seen.
        Ok(()) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            // The panic hook has logged message and place.
            Err(_) => ApiError::new(ApiKind::Bug, "the server failed on this request; its log says more")
                .into_response(),
        },
    };
    noting.note(&app, &method, &route, response.status());
    flying.end(&method, &route, response.status(), begin.elapsed());
    tracing::debug!(%method, route, status = response.status().as_u16(), elapsed = ?begin.elapsed(), "request");
    response
}

/// What the audit log wants to know of a request.
struct Noting {
    path: String,
    origin: Option<Arc<str>>,
}

impl Noting {
    fn of(request: &Request) -> Noting {
        Noting { path: request.uri().path().to_owned(), origin: origin_of(request.extensions()) }
    }

    /// Notes a request of the operator that changed something, and any that was refused for who asked. Statements and
    /// calls of the data service are noted where more is known of them.
    fn note(self, app: &App, method: &Method, route: &str, status: StatusCode) {
        let is_own = route == SQL_PATH || dataservice::is_own(&self.path);
        let outcome = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !is_own => Outcome::Denied,
            _ if is_own || method.is_safe() || route == "unknown" => return,
            status if status.is_success() => Outcome::Done,
            _ => Outcome::Failed,
        };
        let account = (outcome != Outcome::Denied).then(|| Arc::from(OPERATOR));
        let action = format!("{method} {route}");
        let noted = Noted { account, wire: "http", origin: self.origin, action, item: self.path, outcome };
        app.audit.note(noted, None);
    }
}

/// Where a request comes from.
fn origin_of(extensions: &Extensions) -> Option<Arc<str>> {
    extensions.get::<connection::Origin>()?.0.map(crate::audit::origin)
}

/// Being bound to loopback keeps other machines out, but not web pages: a browser on this one sends what any page tells
/// it to. It also says, in `Origin`, which page that was.
fn same_origin(request: &Request) -> Result<(), ApiError> {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    let host = request.headers().get(header::HOST).map(|value| value.as_bytes()).unwrap_or_default();
    let origin = origin.as_bytes();
    let from =
        origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://")).unwrap_or_default();
    if !host.is_empty() && from.eq_ignore_ascii_case(host) {
        Ok(())
    } else {
        Err(ApiError::new(ApiKind::Forbidden, "requests of web pages of another origin are not answered"))
    }
}

fn authorize(app: &App, request: &Request) -> Result<(), ApiError> {
    let Some(token) = &app.http.token else { return Ok(()) };
    // The data service lets in service accounts, too.
    if request.uri().path() == OPEN_PATH || dataservice::is_own(request.uri().path()) {
        return Ok(());
    }
    // Statements may be run by accounts, which show a password.
    if request.uri().path() == SQL_PATH && login::shows_password(request.headers()) {
        return Ok(());
    }
    if is_token(token, bearer(request.headers()).unwrap_or_default()) {
        Ok(())
    } else {
        Err(ApiError::new(ApiKind::Unauthorized, "this server wants \"Authorization: Bearer <token>\""))
    }
}

/// What `Authorization: Bearer` shows.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let shown = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = shown.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest)
}

fn is_token(token: &str, shown: &[u8]) -> bool {
    bool::from(shown.ct_eq(token.as_bytes()))
}
