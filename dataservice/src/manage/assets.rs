//! Assets of both kinds: making logical ones, telling, finding, changing, removing (data service §7.1).

use std::collections::BTreeMap;

use serde_json::Value as Json;
use wattline_registry::AssetChange;

use super::answer::{refused, success};
use super::expression::Expression;
use super::forms::{AssetForm, asset_json, required_member, values_of};
use super::page::Page;
use super::{Ask, Done, PAGE_MAX, remove};
use crate::error::{Error, Result};

const FIELDS: &[&str] = &[
    "assetId",
    "modelId",
    "modelIdPath",
    "rootModelId",
    "productKey",
    "deviceKey",
    "timezone",
    "name",
    "name.",
    "tags.",
    "attributes.",
];

pub(super) fn create(ask: &Ask<'_>) -> Result<Done> {
    let form: AssetForm = required_member(ask.params, "asset")?;
    let made = ask.registry.create_asset(form.new_asset(ask.org)?, ask.operator, ask.now_micros);
    Ok(success(&Json::from(&*made.map_err(refused)?.asset_key), None).into())
}

pub(super) fn get(ask: &Ask<'_>) -> Result<Done> {
    let asset = ask.asset(ask.params.required("assetId")?)?;
    Ok(success(&asset_json(ask.registry, &asset), None).into())
}

pub(super) fn search(ask: &Ask<'_>) -> Result<Done> {
    let mut page = Page::read(ask.params, 10, PAGE_MAX)?;
    let expression = ask.params.text("expression").map(|text| Expression::read(text, FIELDS)).transpose()?;
    let all = ask.registry.assets();
    let found = page.take(all.iter().filter(|asset| {
        ask.sees(asset)
            && expression.as_ref().is_none_or(|e| e.meets(&|field| values_of(asset, ask.registry, field)))
    }));
    let items = found.into_iter().map(|asset| page.cut(asset_json(ask.registry, asset))).collect();
    Ok(success(&Json::Array(items), Some(&page)).into())
}

pub(super) fn update(ask: &Ask<'_>) -> Result<Done> {
    let merge = ask.params.flag("isPatchUpdate", true)?;
    let form: AssetForm = required_member(ask.params, "asset")?;
    let asset = ask.asset(form.asset_id.as_deref().ok_or_else(|| Error::required("asset.assetId"))?)?;
    let change = if merge {
        AssetChange {
            name: form.name.map(|name| name.parts()),
            description: form.description,
            timezone: form.timezone,
            tags: form.tags,
            attributes: form.attributes,
            merge,
        }
    } else {
        // What is not listed is cleared. A time zone cannot be, and stays.
        AssetChange {
            name: Some(form.name.map_or_else(|| (String::new(), BTreeMap::new()), |name| name.parts())),
            description: Some(form.description.unwrap_or_default()),
            timezone: form.timezone,
            tags: Some(form.tags.unwrap_or_default()),
            attributes: Some(form.attributes.ok_or_else(|| Error::required("asset.attributes"))?),
            merge,
        }
    };
    ask.registry.change_asset(asset.asset, change, ask.operator, ask.now_micros).map_err(refused)?;
    Ok(success(&Json::Null, None).into())
}

pub(super) fn delete(ask: &Ask<'_>) -> Result<Done> {
    let asset = ask.asset(ask.params.required("assetId")?)?;
    if asset.is_device() {
        return Err(Error::invalid("assetId: it is a device; the service of devices deletes it"));
    }
    remove(ask, &asset)
}
