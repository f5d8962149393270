//! The farm's models, products and devices on the server.
//!
//! Owns: making sure they are there, and learning the devices' secrets. Does not own: the REST connection (`import`'s
//! client), the login itself (`publish`).

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::import::rest::{Rest, segment};

use super::farm::{DeviceInfo, DeviceKind};

/// Devices created with one request.
const CREATE_AT_ONCE: usize = 500;

/// What a device needs to log in.
#[derive(Clone)]
pub struct Login {
    /// Product key.
    pub product: &'static str,
    /// Device key.
    pub device: String,
    /// Device secret.
    pub secret: String,
}

/// The thing model of a kind of device, as JSON.
pub fn model_text(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Turbine => include_str!("models/wind_turbine.json"),
        DeviceKind::Meter => include_str!("models/energy_meter.json"),
        DeviceKind::Mast => include_str!("models/met_mast.json"),
    }
}

/// The product of a kind of device: key, name, model.
fn product(kind: DeviceKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        DeviceKind::Turbine => ("demo-turbine", "Demo wind turbine", "wind_turbine"),
        DeviceKind::Meter => ("demo-meter", "Demo energy meter", "energy_meter"),
        DeviceKind::Mast => ("demo-mast", "Demo mast", "met_mast"),
    }
}

/// Registers what is missing; one login a device, in order.
pub fn register(rest: &mut Rest, devices: &[DeviceInfo]) -> Result<Vec<Login>> {
    for kind in [DeviceKind::Turbine, DeviceKind::Meter, DeviceKind::Mast] {
        let (key, name, model) = product(kind);
        if rest.get(&format!("/api/v1/models/{}", segment(model)))?.is_none() {
            // As it stands in the file: the order of its points becomes the order of columns.
            rest.create("/api/v1/models", model_text(kind).as_bytes().to_vec())?;
        }
        if rest.get(&format!("/api/v1/products/{}", segment(key)))?.is_none() {
            let body = json!({"productKey": key, "productName": name, "modelId": model});
            rest.create("/api/v1/products", body.to_string().into_bytes())?;
        }
    }
    let mut secrets = Vec::new();
    for device in devices {
        secrets.push(secret(rest, device)?);
    }
    let missing: Vec<usize> = (0..devices.len()).filter(|i| secrets[*i].is_none()).collect();
    for some in missing.chunks(CREATE_AT_ONCE) {
        let body: Vec<Value> = some.iter().map(|i| device_json(&devices[*i])).collect();
        rest.create("/api/v1/devices", Value::Array(body).to_string().into_bytes())?;
    }
    for i in missing {
        secrets[i] = secret(rest, &devices[i])?;
    }
    devices
        .iter()
        .zip(secrets)
        .map(|(device, secret)| {
            let key = &device.key;
            let secret = secret.ok_or_else(|| {
                Error::failed(format!(
                    "device {key} could not be registered: its asset id {key} belongs to another one"
                ))
            })?;
            Ok(Login { product: product(device.kind).0, device: key.clone(), secret })
        })
        .collect()
}

fn device_json(device: &DeviceInfo) -> Value {
    json!({
        "productKey": product(device.kind).0,
        "deviceKey": device.key,
        "assetId": device.key,
        "deviceName": device.name,
        "timezone": "Europe/Vienna",
        "tags": {"site": "demo", "kind": format!("{:?}", device.kind).to_lowercase()},
    })
}

fn secret(rest: &mut Rest, device: &DeviceInfo) -> Result<Option<String>> {
    let product = product(device.kind).0;
    let path = format!("/api/v1/devices/{}/{}?secret=true", segment(product), segment(&device.key));
    let Some(answer) = rest.get(&path)? else { return Ok(None) };
    match answer["deviceSecret"].as_str() {
        Some(secret) => Ok(Some(secret.to_owned())),
        None => Err(Error::failed(format!("the server keeps the secret of device {} to itself", device.key))),
    }
}
