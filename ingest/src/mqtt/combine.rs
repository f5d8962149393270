//! Sub-devices of a gateway: login, login of several, logout.
//!
//! Owns: these three requests. Does not own: which devices belong to which gateway. There is no topology yet: a
//! gateway may log in any enabled device of its organization whose signature is right.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use wattline_registry::Device;

use super::answer::Answer;
use super::session::Session;
use super::topics::Combine;
use crate::check::quote;
use crate::code::Code;
use crate::limits::SUB_DEVICES_MAX;
use crate::sign::{Algorithm, verify};

#[derive(Deserialize)]
struct Envelope<P> {
    id: Option<Value>,
    method: Option<String>,
    params: P,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    product_key: String,
    device_key: String,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    timestamp: Text,
    #[serde(default, alias = "signmethod")]
    sign_method: String,
    #[serde(default, alias = "securemode")]
    secure_mode: Text,
    #[serde(default)]
    sign: String,
    clean_session: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoginBatch {
    client_id: String,
    timestamp: Text,
    #[serde(alias = "signmethod")]
    sign_method: String,
    sub_devices: Vec<Login>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logout {
    product_key: String,
    device_key: String,
}

/// A text, or something written as one: SDKs send `"2"`, `2` and `true` alike, and sign the text.
#[derive(Deserialize, Default, Clone)]
#[serde(from = "Value")]
struct Text(String);

impl From<Value> for Text {
    fn from(value: Value) -> Text {
        match value {
            Value::String(text) => Text(text),
            Value::Null => Text(String::new()),
            other => Text(other.to_string()),
        }
    }
}

/// A code and a text against a request.
type Refusal = (Code, String);

impl Session {
    /// Answers a request about sub-devices.
    pub(super) fn combine(&mut self, request: Combine, payload: &[u8], answer: &mut Answer<'_>) {
        let result = match request {
            Combine::Login => read(request, payload, answer).and_then(|login: Login| self.log_in(&login)),
            Combine::LoginBatch => {
                read(request, payload, answer).and_then(|logins: LoginBatch| self.log_in_all(logins, answer))
            }
            Combine::Logout => {
                read(request, payload, answer).and_then(|logout: Logout| self.log_out(&logout))
            }
        };
        match result {
            Ok(data) => answer.data = Some(data),
            Err((code, message)) => answer.refuse(code, message),
        }
    }

    fn log_in(&mut self, login: &Login) -> Result<Value, Refusal> {
        let name = format!("{}&{}", quote(&login.product_key), quote(&login.device_key));
        let refuse = |code, reason: &str| Err((code, format!("{name} has error: {reason}")));
        if !self.gateway {
            return refuse(Code::SubDevice, "the publisher is not a gateway");
        }
        let registry = self.endpoint.ingestor.registry();
        let found = registry.device(&login.product_key, &login.device_key);
        // A device of another organization does not exist for this one.
        let Some(device) = found.filter(|d| d.org == self.device.org && d.asset != self.device.asset) else {
            return refuse(Code::NoSuchDevice, "no such device");
        };
        let Some(product) = registry.product(&device.product_key) else {
            return refuse(Code::NoSuchDevice, "no such product");
        };
        let secret = match login.secure_mode.0.as_str() {
            "2" | "" => &device.secret,
            "3" if product.dynamic_activation => &product.secret,
            "3" => return refuse(Code::NoDynamicActivation, "dynamic activation is not allowed"),
            _ => return refuse(Code::Format, "params.secureMode is not 2 or 3"),
        };
        let Some(algorithm) = Algorithm::named(&login.sign_method) else {
            return refuse(Code::Format, "params.signMethod is not known");
        };
        if !signed(login, algorithm, secret.expose()) {
            return refuse(Code::BadSignature, "signature does not match");
        }
        if !device.enabled {
            return refuse(Code::Disabled, "the device is disabled");
        }
        if self.sub_devices.len() >= SUB_DEVICES_MAX && !self.sub_devices.contains(&device.asset) {
            return refuse(Code::SubDevice, "200 sub-devices are online already");
        }
        let mut data = described(&device);
        if login.secure_mode.0 == "3" {
            data["deviceSecret"] = device.secret.expose().into();
        }
        self.sub_devices.insert(device.asset);
        self.endpoint.ingestor.downlink().reach(device.asset, &self.mailbox);
        self.others.insert(device.asset, device);
        Ok(data)
    }

    fn log_in_all(&mut self, logins: LoginBatch, answer: &mut Answer<'_>) -> Result<Value, Refusal> {
        let (mut done, mut failed, mut faults) = (Vec::new(), Vec::new(), String::new());
        let mut code = None;
        for mut login in logins.sub_devices.into_iter() {
            login.client_id.clone_from(&logins.client_id);
            login.timestamp = logins.timestamp.clone();
            login.sign_method.clone_from(&logins.sign_method);
            match self.log_in(&login) {
                Ok(data) => done.push(data),
                Err((first, message)) => {
                    code.get_or_insert(first);
                    failed.push(json!({"productKey": login.product_key, "deviceKey": login.device_key}));
                    if faults.len() < 1_024 {
                        faults.push_str(&message);
                        faults.push(';');
                    }
                }
            }
        }
        if let Some(code) = code {
            answer.refuse(code, faults);
        }
        Ok(json!({"loginedSubDevices": done, "failedSubDevices": failed}))
    }

    fn log_out(&mut self, logout: &Logout) -> Result<Value, Refusal> {
        let registry = self.endpoint.ingestor.registry();
        let device = registry.device(&logout.product_key, &logout.device_key);
        match device.filter(|d| self.others.remove(&d.asset).is_some()) {
            Some(device) => {
                self.sub_devices.remove(&device.asset);
                self.endpoint.ingestor.downlink().lose(device.asset, &self.mailbox);
                Ok(described(&device))
            }
            None => Err((Code::SubDevice, "the sub-device is not logged in".to_owned())),
        }
    }
}

fn read<'p, P: Deserialize<'p>>(
    request: Combine,
    payload: &'p [u8],
    answer: &mut Answer<'_>,
) -> Result<P, Refusal> {
    if payload.trim_ascii().is_empty() {
        return Err((Code::Empty, "the payload is empty".to_owned()));
    }
    let envelope: Envelope<P> = serde_json::from_slice(payload)
        .map_err(|e| (Code::Json, format!("payload is not a valid message: {e}")))?;
    answer.id = match envelope.id {
        Some(Value::String(id)) => Some(quote(&id).to_owned().into()),
        Some(Value::Number(id)) => Some(id.to_string().into()),
        _ => None,
    };
    match envelope.method {
        Some(method) if method != request.method() => {
            let message = format!("method is {:?}, the topic's is {:?}", quote(&method), request.method());
            Err((Code::Method, message))
        }
        _ => Ok(envelope.params),
    }
}

/// Whether the signature is right, as the SDKs compute it (four names) or as the manual does (every name but `sign`
/// and `signMethod`).
fn signed(login: &Login, algorithm: Algorithm, secret: &str) -> bool {
    let four = [
        ("clientId", login.client_id.as_str()),
        ("deviceKey", login.device_key.as_str()),
        ("productKey", login.product_key.as_str()),
        ("timestamp", login.timestamp.0.as_str()),
    ];
    let sign = login.sign.as_bytes();
    if verify(algorithm, &four, secret, sign) {
        return true;
    }
    let clean = login.clean_session.as_ref().map(|clean| ("cleanSession", clean.0.as_str()));
    let [client, device, product, time] = four;
    let mode = ("secureMode", login.secure_mode.0.as_str());
    let all: Vec<_> = clean.into_iter().chain([client, device, product, mode, time]).collect();
    verify(algorithm, &all, secret, sign)
}

fn described(device: &Arc<Device>) -> Value {
    json!({
        "assetId": &*device.asset_key,
        "productKey": &*device.product_key,
        "deviceKey": &*device.device_key,
    })
}
