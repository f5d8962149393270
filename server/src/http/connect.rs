//! The frame of `/connect-service`: who calls, for which organization and device, and the envelope around answers.
//!
//! Owns: letting callers in, reading parameters and bodies, naming devices, codes and envelopes of these calls. Does not
//! own: what the calls do ([`super::integration`], [`super::events`], [`super::commands`]).
//!
//! The envelope is `{"code":0,"msg":"OK","requestId":…,"data":…}`. A refusal is 200 with its code, as with the data
//! service; HTTP says so, too, where somebody is not let in, a body is too large, or the failure is ours.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::{Map, Value as Json, json};
use wattline_dataservice::Caller;
use wattline_model::OrgId;
use wattline_registry::{Device, Registry, Right};

use super::App;
use super::body::{media_type, whole};
use super::dataservice::{Ended, let_in, pairs};
use super::error::ApiError;

/// A parameter is missing or wrong.
pub const BAD_PARAMETER: u32 = 99_400;
/// The caller may not do this.
pub const NO_PERMISSION: u32 = 99_403;
/// There is no such thing.
pub const NOT_FOUND: u32 = 99_404;
/// Our failure.
pub const INTERNAL: u32 = 99_500;

/// Which envelope answers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// `code`, `requestId`
    Connect,
    /// `status`, `submsg`: calls of May 2019.
    V1,
}

/// A call that was let in.
pub struct Connected {
    /// The headers.
    pub headers: HeaderMap,
    /// The parameters of the query.
    pub query: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The organization it is about, which is the caller's.
    pub org: OrgId,
    /// Who calls.
    pub caller: Caller,
}

/// A refusal.
#[derive(Debug)]
pub struct Refused {
    /// The code in the envelope.
    pub code: u32,
    /// Why.
    pub message: String,
    data: Json,
    status: StatusCode,
    headers: Option<Box<HeaderMap>>,
}

impl Refused {
    /// A refusal with this code.
    pub fn new(code: u32, message: impl Into<String>) -> Refused {
        let status = if code == INTERNAL { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        Refused { code, message: message.into(), data: Json::Null, status, headers: None }
    }

    /// With this `data` beside the reason.
    pub fn with(self, data: Json) -> Refused {
        Refused { data, ..self }
    }

    /// A parameter is missing or wrong.
    pub fn parameter(message: impl Into<String>) -> Refused {
        Refused::new(BAD_PARAMETER, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Refused {
        Refused::new(NOT_FOUND, message)
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Refused {
        let message = error.message.clone();
        let (mut head, _) = error.into_response().into_parts();
        for own in [header::CONTENT_LENGTH, header::CONTENT_TYPE] {
            head.headers.remove(own);
        }
        Refused {
            code: head.status.as_u16().into(),
            message,
            data: Json::Null,
            status: head.status,
            headers: Some(Box::new(head.headers)),
        }
    }
}

/// What a call answers: `data`, and members beside it.
pub struct Told {
    data: Json,
    beside: Map<String, Json>,
}

impl Told {
    /// With this `data`.
    pub fn data(data: Json) -> Told {
        Told { data, beside: Map::new() }
    }

    /// With `pagination` beside the data.
    pub fn page(data: Json, pagination: Json) -> Told {
        Told { data, beside: Map::from_iter([("pagination".to_owned(), pagination)]) }
    }
}

/// Reads a request and lets its caller in.
pub async fn admit(app: &App, request: Request) -> Result<Connected, Refused> {
    let (head, body) = request.into_parts();
    let query = pairs(head.uri.query().unwrap_or_default().as_bytes());
    let body = whole(body, app.http.body_bytes_max, app.http.read_timeout).await?;
    let is_form = media_type(&head.headers) == "multipart/form-data" || head.method == Method::GET;
    let signed = if is_form { Bytes::new() } else { body.clone() };
    let (caller, _) = let_in(app, &shown(&head.headers), &query, &signed)?;
    let org = organization(&app.registry, &query, &caller)?;
    Ok(Connected { headers: head.headers, query, body, org, caller })
}

/// Headers as the rules of access want them: clients of the integration calls show the token alone in
/// `apim-accesstoken`, without a signature.
fn shown(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    if headers.contains_key("apim-signature") {
        return headers;
    }
    if let Some(token) = headers.remove("apim-accesstoken") {
        let bearer = [b"Bearer ".as_slice(), token.as_bytes()].concat();
        if let Ok(bearer) = HeaderValue::from_bytes(&bearer) {
            headers.insert(header::AUTHORIZATION, bearer);
        }
    }
    headers
}

fn organization(registry: &Registry, query: &[(String, String)], caller: &Caller) -> Result<OrgId, Refused> {
    let key = find(query, "orgId").ok_or_else(|| Refused::parameter("orgId is required"))?;
    let org = registry.org_by_key(key).map(|org| org.id);
    let is_own = |org: &OrgId| match caller {
        Caller::Operator => true,
        Caller::Account(own, _) => own == org,
    };
    let org = org.filter(is_own);
    org.ok_or_else(|| Refused::new(NO_PERMISSION, format!("orgId: {key:?} is not the caller's organization")))
}

fn find<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = query.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

impl Connected {
    /// A parameter of the query, unless it is missing or empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// A parameter of the query that must be there.
    pub fn required(&self, name: &str) -> Result<&str, Refused> {
        self.param(name).ok_or_else(|| Refused::parameter(format!("{name} is required")))
    }

    /// A whole number of the query from `least` to `greatest`, or `default`.
    pub fn int(&self, name: &str, default: i64, least: i64, greatest: i64) -> Result<i64, Refused> {
        let Some(text) = self.param(name) else { return Ok(default) };
        let value = text.parse().ok().filter(|value| (least..=greatest).contains(value));
        value.ok_or_else(|| Refused::parameter(format!("{name}: {text:?} is not from {least} to {greatest}")))
    }

    /// The body as a JSON object; nothing is an empty one.
    pub fn json(&self) -> Result<Map<String, Json>, Refused> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        serde_json::from_slice(&self.body)
            .map_err(|e| Refused::parameter(format!("request body: expected a JSON object: {e}")))
    }

    /// The device that `assetId`, or `productKey` and `deviceKey`, of the query name. One that may not be used so is as
    /// one that does not exist.
    pub fn device(&self, registry: &Registry, right: Right) -> Result<Arc<Device>, Refused> {
        let (device, name) = match (self.param("assetId"), self.param("productKey"), self.param("deviceKey"))
        {
            (Some(asset), _, _) => (registry.asset_by_key(asset), format!("asset {asset:?}")),
            (None, Some(product), Some(device)) => {
                (registry.device(product, device), format!("device {device:?} of product {product:?}"))
            }
            _ => return Err(Refused::parameter("assetId, or productKey and deviceKey, are required")),
        };
        let may = |device: &Arc<Device>| device.org == self.org && self.caller.may(right, device);
        let device = device.filter(may);
        device.ok_or_else(|| Refused::not_found(format!("{name} does not exist")))
    }
}

/// How a call ended, for the audit log.
pub(super) fn ended(told: &Result<Told, Refused>) -> Ended {
    match told {
        Ok(_) => Ended::Done,
        Err(refused) if refused.code == NO_PERMISSION || refused.status == StatusCode::UNAUTHORIZED => {
            Ended::Denied(refused.message.clone())
        }
        Err(refused) => Ended::Failed(refused.message.clone()),
    }
}

/// The answer to a call.
pub fn answer(envelope: Envelope, told: Result<Told, Refused>) -> Response {
    let request = request_id();
    let (mut body, refused) = match told {
        Ok(Told { data, beside }) => {
            let mut body = match envelope {
                Envelope::Connect => json!({"code": 0, "msg": "OK", "requestId": request, "data": data}),
                Envelope::V1 => {
                    json!({"status": 0, "requestId": request, "msg": "success", "submsg": null, "data": data})
                }
            };
            if let Json::Object(body) = &mut body {
                body.extend(beside);
            }
            (body, None)
        }
        Err(refused) => {
            if refused.status.is_server_error() {
                tracing::error!(reason = %refused.message, "connect service failed");
            }
            let (code, message, data) = (refused.code, &refused.message, &refused.data);
            let name = if envelope == Envelope::Connect { "code" } else { "status" };
            let body = json!({name: code, "msg": message, "requestId": request, "data": data});
            (body, Some(refused))
        }
    };
    if envelope == Envelope::V1
        && let Json::Object(body) = &mut body
    {
        body.entry("submsg").or_insert(Json::Null);
    }
    let mut response = Response::new(Body::from(body.to_string()));
    if let Some(refused) = refused {
        *response.status_mut() = refused.status;
        if let Some(headers) = refused.headers {
            response.headers_mut().extend(*headers);
        }
    }
    let content = HeaderValue::from_static("application/json;charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content);
    response
}

/// A UUID of version 4.
fn request_id() -> String {
    let mut bytes = [0_u8; 16];
    // It only has to differ: without randomness the answer still counts.
    let _ = getrandom::fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0F) | 0x40;
    bytes[8] = (bytes[8] & 0x3F) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
