//! The asset of a row of a bulk write.

use std::sync::Arc;

use wattline_model::{AssetId, Model};
use wattline_registry::{Device, Registry};

use crate::check::quote;

/// How a row names its asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// By its asset identifier.
    Asset(&'a str),
    /// By product and device key.
    Device(&'a str, &'a str),
}

/// An asset, or the field at fault and why.
pub(super) type Resolved = Result<AssetId, (&'static str, String)>;

/// The asset named, where it is one of `model` and may be written.
pub(super) fn resolve(registry: &Registry, model: &Model, key: Key<'_>) -> Resolved {
    let (field, device): (_, Option<Arc<Device>>) = match key {
        Key::Asset(id) => ("asset_id", registry.asset_by_key(id)),
        Key::Device(product, device) => ("device_key", registry.device(product, device)),
    };
    let name = match key {
        Key::Asset(id) => format!("asset {:?}", quote(id)),
        Key::Device(product, device) => format!("device {:?} of product {:?}", quote(device), quote(product)),
    };
    match device {
        None => Err((field, format!("{name} does not exist"))),
        Some(device) if device.model != model.id => {
            Err((field, format!("{name} is not of model {}", model.key)))
        }
        Some(device) if !device.enabled => Err((field, format!("{name} is disabled"))),
        Some(device) => Ok(device.asset),
    }
}
