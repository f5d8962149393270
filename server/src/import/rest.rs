//! The server's REST interface, as `import` and `demo` use it: one blocking request after the other.
//!
//! Owns: a thread's way into the async client, what an answer means to them. Does not own: connections and TLS
//! (`client`), whether to try again (`send`), what is created (`create`).

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode, header};
use serde_json::Value;

use crate::client::connection::{Client, ServerArgs, whole};
use crate::error::{Error, ErrorKind, Result};

pub use crate::client::connection::segment;

/// Patience for an answer: the server answers after its sync, and may wait for room in its queue before.
const ANSWER_WAIT: Duration = Duration::from_secs(120);

/// What the server said.
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Seconds of `Retry-After`, where given.
    pub retry_after: Option<u64>,
    /// Body, whatever its type.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|_| {
            Error::failed(format!("the server answered {} without JSON; is it Wattline?", self.status))
        })
    }

    /// The reason a refusal gives: the message of its `error`, else its text.
    pub fn reason(&self) -> String {
        let parsed: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        match parsed["error"]["message"].as_str() {
            Some(message) => format!("{message} ({})", self.status.as_u16()),
            None => {
                let text = String::from_utf8_lossy(&self.body);
                format!("{} {}", self.status, text.chars().take(400).collect::<String>())
            }
        }
    }
}

/// A client of the server for one thread.
pub struct Rest {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Rest {
    /// A client of the server `args` name; connects with each request.
    pub fn new(args: &ServerArgs) -> Result<Rest> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::failed(format!("no runtime for the HTTP client: {e}")))?;
        Ok(Rest { client: Client::new(args)?, runtime })
    }

    /// Sends one request and waits for its whole answer. `Unreachable` means that it is not known whether it arrived.
    pub fn request(&mut self, method: Method, path: &str, content_type: &str, body: Bytes) -> Result<Answer> {
        let exchange = async {
            let response = self.client.send(method, path, (content_type, "application/json"), body).await?;
            let status = response.status();
            let retry_after = response
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|text| text.trim().parse().ok());
            Ok(Answer { status, retry_after, body: whole(response).await? })
        };
        let late = |_| {
            let message = format!("no answer to {path} within {} s", ANSWER_WAIT.as_secs());
            Error::new(ErrorKind::Unreachable, message)
        };
        self.runtime.block_on(async { tokio::time::timeout(ANSWER_WAIT, exchange).await.map_err(late)? })
    }

    /// `GET path`; `None` where the server has no such thing.
    pub fn get(&mut self, path: &str) -> Result<Option<Value>> {
        let answer = self.request(Method::GET, path, "application/json", Bytes::new())?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer.json()?)),
            _ => Err(Error::failed(format!("GET {path}: {}", answer.reason()))),
        }
    }

    /// `POST path` with JSON; the answer's JSON, or `None` where the thing exists already (409).
    pub fn create(&mut self, path: &str, body: Vec<u8>) -> Result<Option<Value>> {
        let answer = self.request(Method::POST, path, "application/json", Bytes::from(body))?;
        match answer.status {
            StatusCode::CONFLICT => Ok(None),
            status if status.is_success() => Ok(Some(answer.json()?)),
            _ => Err(Error::failed(format!("POST {path}: {}", answer.reason()))),
        }
    }
}
