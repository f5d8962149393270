//! Request bodies: read whole within a limit, or piece by piece, never longer silent than the timeout.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use super::error::{ApiError, ApiKind};

/// Bytes of a refused body that are still taken and thrown away: a client that is cut off while it sends often does not
/// read the answer that tells why.
const DISCARD_BYTES_MAX: usize = 8 << 20;

/// A body that is read piece by piece.
pub struct Pieces {
    stream: BodyDataStream,
    silence_max: Duration,
}

impl Pieces {
    /// The pieces of `body`.
    pub fn new(body: Body, silence_max: Duration) -> Pieces {
        Pieces { stream: body.into_data_stream(), silence_max }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// Where the client is silent for too long or breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        match tokio::time::timeout(self.silence_max, self.stream.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            Ok(Some(Err(error))) => Err(ApiError::input(format!("request body broke off: {error}"))),
            Err(_) => Err(ApiError::new(
                ApiKind::Timeout,
                format!("nothing of the request body came for {} ms", self.silence_max.as_millis()),
            )),
        }
    }
}

impl Pieces {
    /// Takes what still comes, within bounds, and throws it away.
    pub async fn discard(&mut self) {
        let mut left = DISCARD_BYTES_MAX;
        while let Ok(Some(piece)) = self.next().await {
            match left.checked_sub(piece.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}

/// The whole of `body`, at most `bytes_max`.
///
/// # Errors
/// Where it is longer, or stops coming.
pub async fn whole(body: Body, bytes_max: usize, silence_max: Duration) -> Result<Bytes, ApiError> {
    let mut pieces = Pieces::new(body, silence_max);
    // Most bodies are one piece: that needs no copy.
    let first = pieces.next().await?.unwrap_or_default();
    let mut next = if first.len() > bytes_max { Some(Bytes::new()) } else { pieces.next().await? };
    if next.is_none() {
        return Ok(first);
    }
    let mut all = BytesMut::from(&*first);
    while let Some(piece) = next {
        if all.len() + piece.len() > bytes_max {
            pieces.discard().await;
            let message = format!("request body is larger than {bytes_max} bytes");
            return Err(ApiError::new(ApiKind::TooLarge, message));
        }
        all.extend_from_slice(&piece);
        next = pieces.next().await?;
    }
    Ok(all.freeze())
}

/// The media type without parameters, in lower case; empty where none is given.
pub fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `bytes` as JSON.
///
/// # Errors
/// Line, column and reason. Nesting is limited (by `serde_json`, to 128 levels), so depth cannot exhaust the stack.
pub fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::input(format!("request body: {error}")))
}
