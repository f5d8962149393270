//! Devices: making, telling, finding, letting in and shutting out, removing (data service §7.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use wattline_registry::{Device, NewDevice, Product};

use super::answer::{refused, success};
use super::expression::Expression;
use super::forms::{Text, member, start, text_json, values_of};
use super::page::Page;
use super::{Ask, Done, Effect, remove};
use crate::error::{Error, Result};

const FIELDS: &[&str] = &[
    "modelId",
    "deviceAttributes.",
    "deviceTags.",
    "productKey",
    "deviceKey",
    "assetId",
    "productType",
    "deviceName",
    "deviceName.",
    "status",
];

/// Devices of one page (documented for the search).
const DEVICES_PAGE_MAX: usize = 200;

/// The product that `productKey` names; one of another organization does not exist.
pub(super) fn product(ask: &Ask<'_>) -> Result<Arc<Product>> {
    let key = ask.params.required("productKey")?;
    let product = ask.registry.product(key).filter(|product| product.org == ask.org);
    product.ok_or_else(|| Error::not_found(format!("product {} does not exist", start(key))))
}

pub(super) fn create(ask: &Ask<'_>) -> Result<Done> {
    let params = ask.params;
    let product = product(ask)?;
    let name: Option<Text> = match params.text("deviceName") {
        Some(text) => Some(Text::Plain(text.to_owned())),
        None => member(params, "deviceName")?,
    };
    let (name, names) = name.ok_or_else(|| Error::required("deviceName"))?.parts();
    if name.is_empty() {
        return Err(Error::required("deviceName"));
    }
    let attributes: Option<BTreeMap<String, Json>> = member(params, "deviceAttributes")?;
    let tags: Option<BTreeMap<String, String>> = member(params, "deviceTags")?;
    let new = NewDevice {
        product_key: product.key.clone(),
        device_key: params.text("deviceKey").map(str::to_owned),
        name,
        names,
        description: params.text("deviceDesc").unwrap_or_default().to_owned(),
        timezone: params.required("timezone")?.to_owned(),
        tags: tags.unwrap_or_default(),
        attributes: attributes.unwrap_or_default(),
        ..NewDevice::default()
    };
    let made = ask.registry.register_devices(vec![new], ask.operator, ask.now_micros).map_err(refused)?;
    let made = made.first().ok_or_else(|| Error::internal("a device was made and is not there"))?;
    Ok(success(&created_json(made), None).into())
}

/// A device that was made, with its secret.
pub(super) fn created_json(device: &Device) -> Json {
    json!({
        "assetId": &*device.asset_key,
        "productKey": &*device.product_key,
        "deviceKey": &*device.device_key,
        "deviceSecret": device.secret.expose(),
    })
}

pub(super) fn get(ask: &Ask<'_>) -> Result<Done> {
    Ok(success(&device_json(ask, &*named(ask)?, true), None).into())
}

pub(super) fn search(ask: &Ask<'_>) -> Result<Done> {
    let mut page = Page::read(ask.params, 10, DEVICES_PAGE_MAX)?;
    let expression = ask.params.text("expression").map(|text| Expression::read(text, FIELDS)).transpose()?;
    let all = ask.registry.assets();
    // The newest first, as documented. Numbers ascend with time.
    let found = page.take(all.iter().rev().filter(|device| {
        device.is_device()
            && ask.sees(device)
            && expression.as_ref().is_none_or(|e| e.meets(&|field| values(ask, device, field)))
    }));
    let items = found.into_iter().map(|device| page.cut(device_json(ask, device, false))).collect();
    Ok(success(&Json::Array(items), Some(&page)).into())
}

pub(super) fn enable(ask: &Ask<'_>, enabled: bool) -> Result<Done> {
    let device = named(ask)?;
    ask.registry.set_device_enabled(device.asset, enabled, ask.operator, ask.now_micros).map_err(refused)?;
    let effects = if enabled { Vec::new() } else { vec![Effect::EndSession(device.asset)] };
    Ok(Done { body: success(&Json::Null, None), effects })
}

pub(super) fn delete(ask: &Ask<'_>) -> Result<Done> {
    remove(ask, &*named(ask)?)
}

fn named(ask: &Ask<'_>) -> Result<Arc<Device>> {
    let found = ask.named_asset()?;
    match found.is_device() {
        true => Ok(found),
        false => Err(Error::not_found(format!("asset {} is no device", found.asset_key))),
    }
}

fn status(ask: &Ask<'_>, device: &Device) -> &'static str {
    match (device.enabled, device.active) {
        (false, _) => "disable",
        (true, _) if (ask.is_online)(device.asset) => "online",
        (true, true) => "offline",
        (true, false) => "inactive",
    }
}

fn product_type(ask: &Ask<'_>, device: &Device) -> &'static str {
    match ask.registry.product(&device.product_key) {
        Some(product) if product.gateway => "Gateway",
        _ => "Device",
    }
}

fn values(ask: &Ask<'_>, device: &Device, field: &str) -> Vec<Json> {
    match field {
        "status" => vec![status(ask, device).into()],
        "productType" => vec![product_type(ask, device).into()],
        _ => values_of(device, ask.registry, field),
    }
}

fn device_json(ask: &Ask<'_>, device: &Device, with_secret: bool) -> Json {
    let model = ask.registry.model(device.model);
    let product = ask.registry.product(&device.product_key);
    let mut json = json!({
        "orgId": ask.registry.org(device.org).map(|org| org.key.clone()),
        "assetId": &*device.asset_key,
        "modelId": model.as_ref().map(|model| &model.key),
        "modelIdPath": model.as_ref().map(|model| &model.path),
        "productKey": &*device.product_key,
        "productName": product.map(|product| text_json(&product.name, &BTreeMap::new())),
        "productType": product_type(ask, device),
        "dataFormat": "Json",
        "deviceKey": &*device.device_key,
        "deviceName": text_json(&device.name, &device.names),
        "deviceDesc": (!device.description.is_empty()).then_some(&*device.description),
        "timezone": &*device.timezone,
        "deviceAttributes": device.attributes,
        "deviceTags": device.tags,
        "createTime": device.created_micros.div_euclid(1_000),
        "status": status(ask, device),
    });
    if with_secret {
        json["deviceSecret"] = device.secret.expose().into();
    }
    json
}
