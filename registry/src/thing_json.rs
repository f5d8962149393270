//! JSON forms of models, products and devices, for REST and the command line.
//!
//! Owns: decoding requests (unknown fields are refused by name, document order is kept) and encoding answers. Does
//! not own: rules about what may exist; what is decoded here is checked again by [`crate::Registry`].
//!
//! The form of a model is the ThingModel of the data service (§8), or a shorter one: `points` for `measurepoints`,
//! names and units as plain texts, everything but `dataType` optional. What Wattline would not keep it refuses,
//! except display texts in further languages and descriptions.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;
use wattline_model::{DataType, EnumKind, Model, Point};

use crate::error::{Error, ErrorKind};
use crate::models::{DATA_TYPES, SIGNAL_TYPES};
use crate::{Device, NewDevice, NewModel, NewPoint, NewProduct, Org, Product, Secret};

/// SI prefixes as `unit.multiplier` spells them, and as people do.
const MULTIPLIERS: [(&str, &str); 21] = [
    ("YOTTA", "Y"),
    ("ZETTA", "Z"),
    ("EXA", "E"),
    ("PETA", "P"),
    ("TERA", "T"),
    ("GIGA", "G"),
    ("MEGA", "M"),
    ("KILO", "k"),
    ("HECTO", "h"),
    ("DECA", "da"),
    ("ONE", ""),
    ("DECI", "d"),
    ("CENTI", "c"),
    ("MILLI", "m"),
    ("MICRO", "µ"),
    ("NANO", "n"),
    ("PICO", "p"),
    ("FEMTO", "f"),
    ("ATTO", "a"),
    ("ZEPTO", "z"),
    ("YOCTO", "y"),
];

/// Decodes a thing model for `org`.
///
/// # Errors
/// `Input`, naming the field and where it stands in the text.
pub fn decode_model(org: &Org, text: &[u8]) -> Result<NewModel, Error> {
    let json: ModelJson = decode("model", text)?;
    let item = format!("model {}", json.model_id);
    own_org(&item, org, json.org_id.as_deref())?;
    empty(&item, "attributes", json.attributes.as_ref())?;
    empty(&item, "services", json.services.as_ref())?;
    empty(&item, "events", json.events.as_ref())?;
    empty(&item, "tags", json.tags.as_ref())?;
    let parent = parent(&item, &json)?;
    let points = match (json.measurepoints, json.points) {
        (Some(_), Some(_)) => return Err(Error::input(item, "points", "is given beside measurepoints")),
        (points, None) | (None, points) => points.unwrap_or_default(),
    };
    Ok(NewModel {
        org: org.id,
        points: points.0.into_iter().map(|(key, p)| p.into_point(&item, key)).collect::<Result<_, _>>()?,
        key: json.model_id,
        name: json.name.map(TextJson::into_text).unwrap_or_default(),
        parent,
    })
}

/// Decodes points to add to a model: `{"points": {"wind_speed": {"dataType": "DOUBLE"}}}`, or `measurepoints`.
///
/// # Errors
/// `Input`, naming the field and where it stands in the text.
pub fn decode_points(text: &[u8]) -> Result<Vec<NewPoint>, Error> {
    let json: PointsJson = decode("points", text)?;
    json.points.0.into_iter().map(|(key, point)| point.into_point("points", key)).collect()
}

/// Encodes a model as a ThingModel; [`decode_model`] of it gives the same points in the same order.
pub fn encode_model(model: &Model, name: &str, org: &Org) -> String {
    serde_json::to_string(&EncodeModel { model, name, org }).expect("maps with text keys always encode")
}

/// A model that serialises as a ThingModel, to put into a larger answer.
pub struct EncodeModel<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its display name.
    pub name: &'a str,
    /// Its organization.
    pub org: &'a Org,
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ModelJson {
    model_id: String,
    model_id_path: Option<String>,
    parent: Option<String>,
    org_id: Option<String>,
    name: Option<TextJson>,
    #[serde(rename = "desc")]
    _desc: Option<TextJson>,
    measurepoints: Option<Members<PointJson>>,
    points: Option<Members<PointJson>>,
    attributes: Option<Json>,
    services: Option<Json>,
    events: Option<Json>,
    tags: Option<Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PointsJson {
    #[serde(alias = "measurepoints")]
    points: Members<PointJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PointJson {
    identifier: Option<String>,
    name: Option<TextJson>,
    #[serde(rename = "desc")]
    _desc: Option<TextJson>,
    tags: Option<Json>,
    data_type: String,
    data_definition: Option<Json>,
    #[serde(default)]
    has_quality: bool,
    signal_type: Option<String>,
    unit: Option<UnitJson>,
}

impl PointJson {
    fn into_point(self, item: &str, key: String) -> Result<NewPoint, Error> {
        let field = |name: &str| format!("point {key}: {name}");
        if let Some(identifier) = self.identifier.filter(|identifier| *identifier != key) {
            let reason = format!("is {identifier:?}, but the point stands under {key:?}");
            return Err(Error::input(item, &field("identifier"), reason));
        }
        empty(item, &field("tags"), self.tags.as_ref())?;
        let definition = self.data_definition.unwrap_or_default();
        let mut point = NewPoint::new(String::new(), data_type(item, &field("dataType"), &self.data_type)?);
        if let DataType::Enum(_) = point.data_type {
            decode_enum(item, &field("dataDefinition"), definition, &mut point)?;
        } else {
            empty(item, &field("dataDefinition"), Some(&definition))?;
        }
        if let Some(name) = self.signal_type {
            point.signal = SIGNAL_TYPES.into_iter().find(|s| s.name() == name).ok_or_else(|| {
                let reason = format!("{name:?} is none of {}", SIGNAL_TYPES.map(|s| s.name()).join(", "));
                Error::input(item, &field("signalType"), reason)
            })?;
        }
        point.unit = self.unit.map(|unit| unit.into_text(item, &field("unit"))).transpose()?.flatten();
        point.has_quality = self.has_quality;
        point.name = self.name.map(TextJson::into_text).unwrap_or_default();
        Ok(NewPoint { key, ..point })
    }
}

/// The data type that `name` names; an ENUM is of integers until its definition says otherwise.
fn data_type(item: &str, field: &str, name: &str) -> Result<DataType, Error> {
    DATA_TYPES.into_iter().find(|t| t.name() == name).ok_or_else(|| {
        let mut names = DATA_TYPES.map(DataType::name).to_vec();
        names.dedup();
        Error::input(item, field, format!("{name:?} is none of {}", names.join(", ")))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnumJson {
    enum_type: String,
    #[serde(default)]
    values: EnumValuesJson,
}

/// The values of an ENUM: a list, or a map from value to description.
#[derive(Default, Deserialize)]
#[serde(untagged, expecting = "expected values as a list, or an object of value and description")]
enum EnumValuesJson {
    #[default]
    Any,
    List(Vec<Json>),
    Described(BTreeMap<String, String>),
}

fn decode_enum(item: &str, field: &str, definition: Json, point: &mut NewPoint) -> Result<(), Error> {
    let input = |reason: String| Error::input(item, field, reason);
    let json: EnumJson = serde_json::from_value(definition).map_err(|e| {
        input(format!("is not {{\"enumType\": \"INT\" or \"STRING\", \"values\": […]}}: {e}"))
    })?;
    let values: Vec<Json> = match json.values {
        EnumValuesJson::Any => Vec::new(),
        EnumValuesJson::List(values) => values,
        EnumValuesJson::Described(values) => values.into_keys().map(Json::String).collect(),
    };
    match json.enum_type.as_str() {
        "INT" => {
            let number = |value: &Json| value.as_i64().or_else(|| value.as_str()?.parse().ok());
            for value in &values {
                point
                    .enum_ints
                    .push(number(value).ok_or_else(|| input(format!("value {value} is no integer")))?);
            }
        }
        "STRING" => {
            point.data_type = DataType::Enum(EnumKind::Text);
            for value in &values {
                let text = value.as_str().ok_or_else(|| input(format!("value {value} is no text")))?;
                point.enum_texts.push(text.to_owned());
            }
        }
        other => return Err(input(format!("enumType {other:?} is none of INT, STRING"))),
    }
    Ok(())
}

/// A text, alone or with translations, of which the default is kept.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or {\"defaultValue\": text, \"i18nValue\": {}}")]
enum TextJson {
    Plain(String),
    Translated(TranslatedJson),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TranslatedJson {
    #[serde(default)]
    default_value: String,
    #[serde(rename = "i18nValue", default)]
    _i18n_value: Option<BTreeMap<String, String>>,
}

impl TextJson {
    fn into_text(self) -> String {
        match self {
            TextJson::Plain(text) => text,
            TextJson::Translated(text) => text.default_value,
        }
    }
}

/// A unit: `"kW"`, or `{"unitId": "W", "multiplier": "KILO"}`, which is the same.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a unit as a text or {\"unitId\": text, \"multiplier\": text}")]
enum UnitJson {
    Plain(String),
    Scaled(ScaledUnitJson),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScaledUnitJson {
    unit_id: String,
    multiplier: Option<String>,
}

impl UnitJson {
    fn into_text(self, item: &str, field: &str) -> Result<Option<String>, Error> {
        let (unit, multiplier) = match self {
            UnitJson::Plain(unit) => (unit, None),
            UnitJson::Scaled(scaled) => (scaled.unit_id, scaled.multiplier),
        };
        if unit.is_empty() {
            return Ok(None);
        }
        let Some(multiplier) = multiplier else { return Ok(Some(unit)) };
        match MULTIPLIERS.iter().find(|(name, _)| *name == multiplier) {
            Some((_, prefix)) => Ok(Some(format!("{prefix}{unit}"))),
            None => {
                Err(Error::input(item, field, format!("multiplier {multiplier:?} is none of YOTTA to YOCTO")))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProductJson {
    product_key: Option<String>,
    product_name: Option<TextJson>,
    org_id: Option<String>,
    model_id: String,
    product_secret: Option<String>,
    #[serde(default)]
    dynamic_activation: bool,
    #[serde(default)]
    require_certificate: bool,
    #[serde(default)]
    gateway: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeviceJson {
    product_key: String,
    device_key: Option<String>,
    asset_id: Option<String>,
    device_name: Option<TextJson>,
    device_secret: Option<String>,
    timezone: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    attributes: BTreeMap<String, Json>,
}

impl DeviceJson {
    fn into_device(self) -> NewDevice {
        NewDevice {
            product_key: self.product_key,
            device_key: self.device_key,
            asset_key: self.asset_id,
            name: self.device_name.map(TextJson::into_text).unwrap_or_default(),
            secret: self.device_secret.map(Secret::from),
            timezone: self.timezone.unwrap_or_default(),
            tags: self.tags,
            attributes: self.attributes,
        }
    }
}

/// The members of an object in document order; a key given twice is refused.
struct Members<T>(Vec<(String, T)>);

impl<T> Default for Members<T> {
    fn default() -> Members<T> {
        Members(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<T>, D::Error> {
        struct Collect<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Collect<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
                let mut members = Vec::new();
                let mut keys = std::collections::HashSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    if !keys.insert(key.clone()) {
                        return Err(A::Error::custom(format!("{key:?} is given twice")));
                    }
                    let value = map.next_value().map_err(|e| A::Error::custom(format!("in {key:?}: {e}")))?;
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect(PhantomData))
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
        for unused in ["attributes", "services", "events"] {
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

fn encode_point(point: &Point) -> Json {
    let definition = match point.data_type {
        DataType::Enum(EnumKind::Int) => serde_json::json!({"enumType": "INT", "values": point.enum_ints}),
        DataType::Enum(EnumKind::Text) => {
            serde_json::json!({"enumType": "STRING", "values": point.enum_texts})
        }
        _ => Json::Null,
    };
    serde_json::json!({
        "identifier": point.key,
        "name": text(&point.name),
        "desc": "",
        "tags": {},
        "dataType": point.data_type.name(),
        "dataDefinition": definition,
        "hasQuality": point.has_quality,
        "signalType": point.signal.name(),
        "unit": point.unit.as_ref().map(|unit| serde_json::json!({"unitId": unit, "multiplier": "ONE"})),
    })
}

fn text(text: &str) -> Json {
    serde_json::json!({"defaultValue": text, "i18nValue": {}})
}

#[cfg(test)]
mod tests;
