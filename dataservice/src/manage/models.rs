//! Thing models: making, telling, finding, importing (data service §8).

use std::sync::Arc;

use serde_json::{Value as Json, json};
use wattline_model::Model;
use wattline_registry::thing_json::{EncodeModel, decode_thing, decode_things};
use wattline_registry::{Attribute, NewModel, Org};

use super::answer::{refused, success, success_text};
use super::expression::Expression;
use super::forms::start;
use super::page::Page;
use super::{Ask, Done, PAGE_MAX};
use crate::error::{Error, Result};

const FIELDS: &[&str] = &["modelId", "modelIdPath", "rootModelId", "name", "measurepointId", "attributeId"];

/// Models of one import: an organization's library.
const IMPORTED_MAX: usize = 1_000;

pub(super) fn create(ask: &Ask<'_>) -> Result<Done> {
    let org = org(ask)?;
    let (new, attributes) = decode_thing(&org, ask.body).map_err(refused)?;
    let made =
        ask.registry.create_model_with(new, attributes, ask.operator, ask.now_micros).map_err(refused)?;
    Ok(success(&Json::from(made.key.as_str()), None).into())
}

pub(super) fn get(ask: &Ask<'_>) -> Result<Done> {
    let key = ask.params.required("modelId")?;
    let model = ask.registry.model_by_key(ask.org, key);
    let model = model.ok_or_else(|| Error::not_found(format!("model {} does not exist", start(key))))?;
    let org = org(ask)?;
    let text = encoded(ask, &org, &model, |model| serde_json::to_string(model))?;
    Ok(success_text(&text).into())
}

pub(super) fn search(ask: &Ask<'_>) -> Result<Done> {
    let mut page = Page::read(ask.params, 10, PAGE_MAX)?;
    let expression = ask.params.text("expression").map(|text| Expression::read(text, FIELDS)).transpose()?;
    let org = org(ask)?;
    let all = ask.registry.models();
    let found = page.take(all.iter().filter(|model| {
        model.org == ask.org
            && expression.as_ref().is_none_or(|e| e.meets(&|field| values(ask, model, field)))
    }));
    let items = found
        .into_iter()
        .map(|model| Ok(page.cut(encoded(ask, &org, model, |model| serde_json::to_value(model))?)))
        .collect::<Result<Vec<Json>>>()?;
    Ok(success(&Json::Array(items), Some(&page)).into())
}

pub(super) fn import(ask: &Ask<'_>) -> Result<Done> {
    let org = org(ask)?;
    let things = decode_things(&org, ask.body).map_err(refused)?;
    if things.len() > IMPORTED_MAX {
        let what = format!("{} models given; at most {IMPORTED_MAX} are allowed", things.len());
        return Err(Error::invalid(what));
    }
    let mut results = Vec::with_capacity(things.len());
    for (new, attributes) in things {
        let key = new.key.clone();
        let result = import_one(ask, new, attributes)?;
        results.push(json!({"modelId": key, "result": result}));
    }
    Ok(success(&Json::Array(results), None).into())
}

/// Makes a model, or adds the points it does not have yet.
fn import_one(ask: &Ask<'_>, new: NewModel, attributes: Vec<Attribute>) -> Result<&'static str> {
    let Some(known) = ask.registry.model_by_key(ask.org, &new.key) else {
        ask.registry.create_model_with(new, attributes, ask.operator, ask.now_micros).map_err(refused)?;
        return Ok("created");
    };
    let parent = known.path.rsplit('/').nth(1).filter(|key| !key.is_empty());
    if parent != new.parent.as_deref() {
        return Err(Error::invalid(format!("model {}: it is there with another parent", new.key)));
    }
    let defined = ask.registry.model_attributes(known.id);
    for attribute in &attributes {
        let name = if attribute.name.is_empty() { attribute.key.clone() } else { attribute.name.clone() };
        let asked = Attribute { name, ..attribute.clone() };
        if !defined.contains(&asked) {
            let what = "attributes are defined with the model and stay";
            return Err(Error::invalid(format!("model {}: attribute {}: {what}", new.key, attribute.key)));
        }
    }
    let now = ask.registry.extend_model(known.id, new.points, ask.operator, ask.now_micros);
    Ok(if now.map_err(refused)?.version == known.version { "unchanged" } else { "extended" })
}

fn org(ask: &Ask<'_>) -> Result<Arc<Org>> {
    ask.registry.org(ask.org).ok_or_else(|| Error::internal("the organization is gone"))
}

fn encoded<T>(
    ask: &Ask<'_>,
    org: &Org,
    model: &Model,
    encode: impl FnOnce(&EncodeModel<'_>) -> serde_json::Result<T>,
) -> Result<T> {
    let (name, attributes) = (ask.registry.model_name(model.id), ask.registry.model_attributes(model.id));
    let name = name.as_deref().unwrap_or(&model.key);
    encode(&EncodeModel { model, name, org, attributes: &attributes }).map_err(Error::internal)
}

fn values(ask: &Ask<'_>, model: &Model, field: &str) -> Vec<Json> {
    let one = |text: &str| vec![Json::from(text)];
    match field {
        "modelId" => one(&model.key),
        "modelIdPath" => one(&model.path),
        "rootModelId" => model.path.split('/').nth(1).map(one).unwrap_or_default(),
        "name" => ask.registry.model_name(model.id).map(|name| one(&name)).unwrap_or_default(),
        "measurepointId" => model.points.iter().map(|point| Json::from(point.key.as_str())).collect(),
        _ => {
            let attributes = ask.registry.model_attributes(model.id);
            attributes.iter().map(|attribute| Json::from(attribute.key.as_str())).collect()
        }
    }
}
