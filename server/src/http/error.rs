//! Refusals over HTTP: one shape, one mapping from the kinds of the crates below to status codes.

use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// Seconds a client told "busy" should wait: a full queue drains within one.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What the caller should do, as `error.kind` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKind {
    /// Fix the request.
    Input,
    /// Show the token.
    Unauthorized,
    /// A web page of another origin asks through somebody's browser, or an account has not got the right.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// There is no such method here.
    Method,
    /// It contradicts what exists.
    Conflict,
    /// Send less at once.
    TooLarge,
    /// Send another type, or accept another.
    Unsupported,
    /// Send sooner.
    Timeout,
    /// Try again later.
    Busy,
    /// Ask for less: a limit on memory, rows or the statement's size was passed.
    Resources,
    /// Ask for less, or allow more time: the statement ran too long.
    Overtime,
    /// Nothing: somebody ended the statement.
    Cancelled,
    /// The server is starting or stopping.
    Unavailable,
    /// The disk is full.
    Full,
    /// The disk failed, or holds what was not written.
    Storage,
    /// Report it.
    Bug,
}

impl ApiKind {
    /// Status code and name.
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            ApiKind::Input => (StatusCode::BAD_REQUEST, "input"),
            ApiKind::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            ApiKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            ApiKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            ApiKind::Method => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            ApiKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            ApiKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            ApiKind::Unsupported => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported"),
            ApiKind::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            ApiKind::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            ApiKind::Resources => (StatusCode::UNPROCESSABLE_ENTITY, "limit"),
            // Not 408, upon which clients send the same once more by themselves.
            ApiKind::Overtime => (StatusCode::UNPROCESSABLE_ENTITY, "timeout"),
            // What HTTP itself has no code for; gRPC's "cancelled" is mapped to this one everywhere.
            ApiKind::Cancelled => (cancelled(), "cancelled"),
            ApiKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ApiKind::Full => (StatusCode::INSUFFICIENT_STORAGE, "full"),
            ApiKind::Storage => (StatusCode::INTERNAL_SERVER_ERROR, "storage"),
            ApiKind::Bug => (StatusCode::INTERNAL_SERVER_ERROR, "bug"),
        }
    }
}

/// Of requests that were cancelled.
fn cancelled() -> StatusCode {
    StatusCode::from_u16(499).expect("499 has three digits")
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What the caller should do.
    pub kind: ApiKind,
    /// Item, field, reason.
    pub message: String,
    /// Line and column in a statement, from 1.
    pub position: Option<(u64, u64)>,
    /// Further members of the answer beside `error`.
    pub beside: Map<String, Value>,
}

impl ApiError {
    /// A refusal of `kind`.
    pub fn new(kind: ApiKind, message: impl fmt::Display) -> ApiError {
        ApiError { kind, message: message.to_string(), position: None, beside: Map::new() }
    }

    /// The request is wrong.
    pub fn input(message: impl fmt::Display) -> ApiError {
        ApiError::new(ApiKind::Input, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl fmt::Display) -> ApiError {
        ApiError::new(ApiKind::NotFound, message)
    }

    /// The `error` member.
    pub fn to_json(&self) -> Value {
        let mut error = json!({"kind": self.kind.parts().1, "message": self.message});
        if let Some((line, column)) = self.position {
            error["line"] = line.into();
            error["column"] = column.into();
        }
        error
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.kind.parts().0;
        if status.is_server_error() && self.kind != ApiKind::Unavailable {
            // The one place where a refusal that is our fault is logged.
            tracing::error!(status = status.as_u16(), reason = %self.message, "request failed");
        }
        let mut body = self.beside.clone();
        body.insert("error".to_owned(), self.to_json());
        let mut response = (status, Json(Value::Object(body))).into_response();
        match self.kind {
            ApiKind::Busy | ApiKind::Unavailable => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
            }
            ApiKind::Unauthorized => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

impl From<wattline_registry::Error> for ApiError {
    fn from(error: wattline_registry::Error) -> ApiError {
        use wattline_registry::ErrorKind as Registry;
        let kind = match error.kind() {
            Registry::NotFound => ApiKind::NotFound,
            Registry::Conflict => ApiKind::Conflict,
            Registry::Input => ApiKind::Input,
            Registry::Io | Registry::Damaged => ApiKind::Storage,
            Registry::Bug => ApiKind::Bug,
        };
        ApiError::new(kind, error)
    }
}

impl From<wattline_storage::Error> for ApiError {
    fn from(error: wattline_storage::Error) -> ApiError {
        use wattline_storage::ErrorKind as Storage;
        let kind = match error.kind() {
            Storage::Busy => ApiKind::Busy,
            Storage::Input => ApiKind::Input,
            Storage::Full => ApiKind::Full,
            Storage::Closed => ApiKind::Unavailable,
            Storage::Damaged | Storage::Io => ApiKind::Storage,
            Storage::Bug => ApiKind::Bug,
        };
        ApiError::new(kind, error)
    }
}
