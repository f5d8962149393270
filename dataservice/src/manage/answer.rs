//! Envelopes of the services that manage entities (data service §1.3, §1.8).

use serde_json::{Value as Json, json};
use wattline_registry::secret::random_uuid;
use wattline_registry::{ErrorKind as Kind, Rule};

use crate::error::{Error, ErrorKind};
use crate::manage::page::Page;

/// A bad parameter.
const BAD_PARAMETER: u32 = 99_400;
/// No permission.
const NO_PERMISSION: u32 = 99_403;
/// Not found.
const NOT_FOUND: u32 = 99_404;
/// Our failure.
const INTERNAL: u32 = 99_500;

/// A product has as many devices as it may have.
pub(super) const DEVICES_MAX: u32 = 11_739;

/// The body of an answer with this `data`.
pub(super) fn success(data: &Json, page: Option<&Page>) -> Vec<u8> {
    let mut answer = json!({"code": 0, "msg": "OK", "requestId": request_id(), "data": data});
    if let Some(page) = page {
        answer["pagination"] = page.json();
    }
    answer.to_string().into_bytes()
}

/// As [`success`], of `data` as its JSON: members keep the order they were written in.
pub(super) fn success_text(data: &str) -> Vec<u8> {
    format!(r#"{{"code":0,"msg":"OK","requestId":"{}","data":{data}}}"#, request_id()).into_bytes()
}

/// The body of a refusal with this code.
pub fn refusal(code: u32, message: &str) -> Vec<u8> {
    json!({"code": code, "msg": message, "requestId": request_id(), "data": null}).to_string().into_bytes()
}

impl Error {
    /// The code of it in the services that manage entities.
    pub fn managed_code(&self) -> u32 {
        match (self.number(), self.kind()) {
            (Some(number), _) => number,
            (None, ErrorKind::NotFound) => NOT_FOUND,
            (None, ErrorKind::AccessKey | ErrorKind::Unauthorized | ErrorKind::ModelDenied) => NO_PERMISSION,
            (None, ErrorKind::Stopped | ErrorKind::Internal) => INTERNAL,
            (None, ErrorKind::Required | ErrorKind::Invalid | ErrorKind::TooLarge) => BAD_PARAMETER,
        }
    }

    /// The body of the answer of the services that manage entities.
    pub fn managed_body(&self) -> Vec<u8> {
        refusal(self.managed_code(), &self.to_string())
    }
}

/// What the registry refused, with the number its rule has in the API.
pub(super) fn refused(error: wattline_registry::Error) -> Error {
    let number = error.rule().map(|rule| match rule {
        Rule::DeviceKey => 11_702,
        Rule::DevicesMax => DEVICES_MAX,
        Rule::Attributes => 12_958,
        Rule::NoTree | Rule::NoNode => 17_404,
        Rule::NoParent => 17_752,
        Rule::InTree => 17_758,
        Rule::Root => 17_764,
        Rule::HasChildren => 17_766,
        Rule::Descendant => 17_768,
        Rule::Layers => 17_770,
        Rule::TreesMax => 17_772,
    });
    let kind = match error.kind() {
        Kind::NotFound => ErrorKind::NotFound,
        Kind::Conflict | Kind::Input => ErrorKind::Invalid,
        Kind::Io | Kind::Damaged | Kind::Bug => ErrorKind::Internal,
    };
    Error::new(kind, error.to_string()).numbered(number)
}

/// Names an answer, for who asks about it. Without randomness it has no name.
fn request_id() -> String {
    random_uuid().unwrap_or_default()
}
