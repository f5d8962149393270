//! JSON forms of models, products and devices, for REST and the command line.
//!
//! Owns: decoding requests (unknown fields are refused by name, document order is kept) and encoding answers. Does
//! not own: rules about what may exist; what is decoded here is checked again by [`crate::Registry`].
//!
//! The form of a model is the ThingModel of the data service (§8), or a shorter one: `points` for `measurepoints`,
//! names and units as plain texts, everything but `dataType` optional. What Wattline would not keep it refuses,
//! except display texts in further languages and descriptions.

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value as Json;
use wattline_model::{DataType, EnumKind, Model, Point};

use self::forms::{DeviceJson, ModelJson, PointsJson, ProductJson, TextJson};
use crate::error::{Error, ErrorKind};
use crate::{Attribute, Device, NewDevice, NewModel, NewPoint, NewProduct, Org, Product, Secret};

mod forms;

/// Decodes a thing model with the attributes it defines, for `org`.
///
/// # Errors
/// `Input`, naming the field and where it stands in the text.
pub fn decode_thing(org: &Org, text: &[u8]) -> Result<(NewModel, Vec<Attribute>), Error> {
    let json: ModelJson = decode("model", text)?;
    let item = format!("model {}", json.model_id);
    own_org(&item, org, json.org_id.as_deref())?;
    empty(&item, "services", json.services.as_ref())?;
    empty(&item, "events", json.events.as_ref())?;
    empty(&item, "tags", json.tags.as_ref())?;
    let parent = parent(&item, &json)?;
    let points = match (json.measurepoints, json.points) {
        (Some(_), Some(_)) => return Err(Error::input(item, "points", "is given beside measurepoints")),
        (points, None) | (None, points) => points.unwrap_or_default(),
    };
    let attributes = json.attributes.unwrap_or_default().0.into_iter();
    let attributes = attributes.map(|(key, a)| a.into_attribute(&item, key)).collect::<Result<_, _>>()?;
    let new = NewModel {
        org: org.id,
        points: points.0.into_iter().map(|(key, p)| p.into_point(&item, key)).collect::<Result<_, _>>()?,
        key: json.model_id,
        name: json.name.map(TextJson::into_text).unwrap_or_default(),
        parent,
    };
    Ok((new, attributes))
}

/// Decodes points to add to a model: `{"points": {"wind_speed": {"dataType": "DOUBLE"}}}`, or `measurepoints`.
///
/// # Errors
/// `Input`, naming the field and where it stands in the text.
pub fn decode_points(text: &[u8]) -> Result<Vec<NewPoint>, Error> {
    let json: PointsJson = decode("points", text)?;
    json.points.0.into_iter().map(|(key, point)| point.into_point("points", key)).collect()
}

/// Encodes a model as a ThingModel; [`decode_thing`] of it gives the same points and attributes in the same order.
pub fn encode_model(model: &Model, name: &str, org: &Org, attributes: &[Attribute]) -> String {
    serde_json::to_string(&EncodeModel { model, name, org, attributes })
        .expect("maps with text keys always encode")
}

/// A model that serialises as a ThingModel, to put into a larger answer.
pub struct EncodeModel<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its display name.
    pub name: &'a str,
    /// Its organization.
    pub org: &'a Org,
    /// The attributes it defines for its assets.
    pub attributes: &'a [Attribute],
}

/// Decodes a product for `org`.
///
/// # Errors
/// `Input`, naming the field and where it stands in the text.
pub fn decode_product(org: &Org, text: &[u8]) -> Result<NewProduct, Error> {
    let json: ProductJson = decode("product", text)?;
    let item = format!("product {}", json.product_key.as_deref().unwrap_or_default());
    own_org(&item, org, json.org_id.as_deref())?;
    Ok(NewProduct {
        org: org.id,
        key: json.product_key,
        name: json.product_name.map(TextJson::into_text).unwrap_or_default(),
        model_key: json.model_id,
        secret: json.product_secret.map(Secret::from),
        dynamic_activation: json.dynamic_activation,
        require_certificate: json.require_certificate,
        gateway: json.gateway,
    })
}

/// Decodes one device (an object) or many (an array of objects).
///
/// # Errors
/// `Input`, naming the field and where it stands in the text.
pub fn decode_devices(text: &[u8]) -> Result<Vec<NewDevice>, Error> {
    let is_list = text.iter().find(|c| !c.is_ascii_whitespace()) == Some(&b'[');
    let list = if is_list { decode("devices", text)? } else { vec![decode::<DeviceJson>("device", text)?] };
    Ok(list.into_iter().map(DeviceJson::into_device).collect())
}

/// A product as JSON. Its secret is shown only where asked for.
pub fn product_json(product: &Product, model_key: &str, with_secret: bool) -> Json {
    let mut json = serde_json::json!({
        "productKey": product.key,
        "productName": product.name,
        "modelId": model_key,
        "dynamicActivation": product.dynamic_activation,
        "requireCertificate": product.require_certificate,
        "gateway": product.gateway,
    });
    if with_secret {
        json["productSecret"] = product.secret.expose().into();
    }
    json
}

/// A device as JSON. Its secret is shown only where asked for.
pub fn device_json(device: &Device, with_secret: bool) -> Json {
    let mut json = serde_json::json!({
        "assetId": &*device.asset_key,
        "productKey": &*device.product_key,
        "deviceKey": &*device.device_key,
        "deviceName": &*device.name,
        "description": &*device.description,
        "timezone": &*device.timezone,
        "enabled": device.enabled,
        "active": device.active,
        "tags": device.tags,
        "attributes": device.attributes,
        "createTime": device.created_micros.div_euclid(1_000),
    });
    if with_secret {
        json["deviceSecret"] = device.secret.expose().into();
    }
    json
}

fn decode<T: DeserializeOwned>(item: &str, text: &[u8]) -> Result<T, Error> {
    // serde_json's messages name the field, or the place; they repeat at most the wrong token, never a secret,
    // because every field that holds a secret takes any text.
    serde_json::from_slice(text).map_err(|e| Error::new(ErrorKind::Input, item, format!("invalid JSON: {e}")))
}

fn own_org(item: &str, org: &Org, given: Option<&str>) -> Result<(), Error> {
    match given {
        Some(key) if key != org.key => Err(Error::input(
            item,
            "orgId",
            format!("is {key:?}, but the request is for organization {:?}", org.key),
        )),
        _ => Ok(()),
    }
}

/// What is part of a ThingModel and not kept here may be present only where it says nothing.
fn empty(item: &str, field: &str, value: Option<&Json>) -> Result<(), Error> {
    let says_nothing = match value {
        None | Some(Json::Null) => true,
        Some(Json::Object(members)) => members.is_empty(),
        Some(Json::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    if says_nothing {
        Ok(())
    } else {
        Err(Error::input(item, field, "is not supported; leave it out or empty"))
    }
}

/// The parent a document names, by `parent` or as the last but one of `modelIdPath`.
fn parent(item: &str, json: &ModelJson) -> Result<Option<String>, Error> {
    let Some(path) = &json.model_id_path else { return Ok(json.parent.clone()) };
    let mut keys = path.split('/').rev();
    if !path.starts_with('/') || keys.next() != Some(&json.model_id) {
        return Err(Error::input(
            item,
            "modelIdPath",
            format!("is not a path that ends in /{}", json.model_id),
        ));
    }
    let from_path = keys.next().filter(|key| !key.is_empty()).map(str::to_owned);
    match &json.parent {
        Some(parent) if from_path.as_ref() != Some(parent) => {
            Err(Error::input(item, "parent", format!("is {parent:?}, but modelIdPath is {path:?}")))
        }
        _ => Ok(from_path),
    }
}

impl Serialize for EncodeModel<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("modelId", &self.model.key)?;
        map.serialize_entry("modelIdPath", &self.model.path)?;
        map.serialize_entry("orgId", &self.org.key)?;
        map.serialize_entry("name", &text(self.name))?;
        map.serialize_entry("measurepoints", &EncodePoints(&self.model.points))?;
        map.serialize_entry("attributes", &EncodeAttributes(self.attributes))?;
        for unused in ["services", "events"] {
            map.serialize_entry(unused, &serde_json::json!({}))?;
        }
        map.end()
    }
}

struct EncodePoints<'a>(&'a [Point]);

impl Serialize for EncodePoints<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A map written in the order of the points' numbers: a `Value` would sort it by key.
        serializer.collect_map(self.0.iter().map(|point| (&point.key, encode_point(point))))
    }
}

struct EncodeAttributes<'a>(&'a [Attribute]);

impl Serialize for EncodeAttributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|attribute| (&attribute.key, encode_attribute(attribute))))
    }
}

fn encode_attribute(attribute: &Attribute) -> Json {
    let Attribute { data_type, enum_ints, enum_texts, .. } = attribute;
    serde_json::json!({
        "identifier": attribute.key,
        "name": text(&attribute.name),
        "desc": "",
        "tags": {},
        "dataType": data_type.name(),
        "dataDefinition": encode_enum(*data_type, enum_ints, enum_texts),
        "required": attribute.required,
        "unit": attribute.unit.as_deref().map(encode_unit),
    })
}

fn encode_enum(data_type: DataType, ints: &[i64], texts: &[String]) -> Json {
    match data_type {
        DataType::Enum(EnumKind::Int) => serde_json::json!({"enumType": "INT", "values": ints}),
        DataType::Enum(EnumKind::Text) => serde_json::json!({"enumType": "STRING", "values": texts}),
        _ => Json::Null,
    }
}

fn encode_unit(unit: &str) -> Json {
    serde_json::json!({"unitId": unit, "multiplier": "ONE"})
}

fn encode_point(point: &Point) -> Json {
    let definition = encode_enum(point.data_type, &point.enum_ints, &point.enum_texts);
    serde_json::json!({
        "identifier": point.key,
        "name": text(&point.name),
        "desc": "",
        "tags": {},
        "dataType": point.data_type.name(),
        "dataDefinition": definition,
        "hasQuality": point.has_quality,
        "signalType": point.signal.name(),
        "unit": point.unit.as_deref().map(encode_unit),
    })
}

fn text(text: &str) -> Json {
    serde_json::json!({"defaultValue": text, "i18nValue": {}})
}

#[cfg(test)]
mod tests;
