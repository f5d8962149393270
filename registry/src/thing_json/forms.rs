//! The JSON forms themselves: what a request may hold, and how each member becomes a value of ours.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;
use wattline_model::{DataType, EnumKind};

use super::empty;
use crate::error::Error;
use crate::models::{DATA_TYPES, SIGNAL_TYPES};
use crate::{Attribute, NewDevice, NewPoint, Secret};

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ModelJson {
    pub(super) model_id: String,
    pub(super) model_id_path: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) org_id: Option<String>,
    pub(super) name: Option<TextJson>,
    #[serde(rename = "desc")]
    _desc: Option<TextJson>,
    pub(super) measurepoints: Option<Members<PointJson>>,
    pub(super) points: Option<Members<PointJson>>,
    pub(super) attributes: Option<Members<AttributeJson>>,
    pub(super) services: Option<Json>,
    pub(super) events: Option<Json>,
    pub(super) tags: Option<Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PointsJson {
    #[serde(alias = "measurepoints")]
    pub(super) points: Members<PointJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PointJson {
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
    pub(super) fn into_point(self, item: &str, key: String) -> Result<NewPoint, Error> {
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AttributeJson {
    identifier: Option<String>,
    name: Option<TextJson>,
    #[serde(rename = "desc")]
    _desc: Option<TextJson>,
    tags: Option<Json>,
    data_type: String,
    data_definition: Option<Json>,
    #[serde(default)]
    required: bool,
    default_value: Option<Json>,
    unit: Option<UnitJson>,
}

impl AttributeJson {
    pub(super) fn into_attribute(self, item: &str, key: String) -> Result<Attribute, Error> {
        let field = |name: &str| format!("attribute {key}: {name}");
        if self.default_value.as_ref().is_some_and(|value| !value.is_null()) {
            return Err(Error::input(item, &field("defaultValue"), "is not supported; leave it out"));
        }
        let required = self.required;
        // But for what it requires, an attribute is defined as a point is.
        let point = PointJson {
            identifier: self.identifier,
            name: self.name,
            _desc: None,
            tags: self.tags,
            data_type: self.data_type,
            data_definition: self.data_definition,
            has_quality: false,
            signal_type: None,
            unit: self.unit,
        };
        let point = point.into_point(item, key)?;
        Ok(Attribute {
            key: point.key,
            name: point.name,
            data_type: point.data_type,
            required,
            unit: point.unit,
            enum_ints: point.enum_ints,
            enum_texts: point.enum_texts,
        })
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
pub(super) struct EnumJson {
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

/// A text, alone or with translations.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or {\"defaultValue\": text, \"i18nValue\": {}}")]
pub(super) enum TextJson {
    Plain(String),
    Translated(TranslatedJson),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TranslatedJson {
    #[serde(default)]
    default_value: String,
    #[serde(rename = "i18nValue", default)]
    i18n_value: Option<BTreeMap<String, String>>,
}

impl TextJson {
    pub(super) fn into_text(self) -> String {
        match self {
            TextJson::Plain(text) => text,
            TextJson::Translated(text) => text.default_value,
        }
    }

    /// The default, and the translations by locale.
    pub(super) fn into_texts(self) -> (String, BTreeMap<String, String>) {
        match self {
            TextJson::Plain(text) => (text, BTreeMap::new()),
            TextJson::Translated(text) => (text.default_value, text.i18n_value.unwrap_or_default()),
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
pub(super) struct ScaledUnitJson {
    unit_id: String,
    multiplier: Option<String>,
}

impl UnitJson {
    pub(super) fn into_text(self, item: &str, field: &str) -> Result<Option<String>, Error> {
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
pub(super) struct ProductJson {
    pub(super) product_key: Option<String>,
    pub(super) product_name: Option<TextJson>,
    pub(super) org_id: Option<String>,
    pub(super) model_id: String,
    pub(super) product_secret: Option<String>,
    #[serde(default)]
    pub(super) dynamic_activation: bool,
    #[serde(default)]
    pub(super) require_certificate: bool,
    #[serde(default)]
    pub(super) gateway: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DeviceJson {
    product_key: String,
    device_key: Option<String>,
    asset_id: Option<String>,
    device_name: Option<TextJson>,
    #[serde(default)]
    description: String,
    device_secret: Option<String>,
    timezone: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    attributes: BTreeMap<String, Json>,
}

impl DeviceJson {
    pub(super) fn into_device(self) -> NewDevice {
        let (name, names) = self.device_name.map(TextJson::into_texts).unwrap_or_default();
        NewDevice {
            product_key: self.product_key,
            device_key: self.device_key,
            asset_key: self.asset_id,
            name,
            names,
            description: self.description,
            secret: self.device_secret.map(Secret::from),
            timezone: self.timezone.unwrap_or_default(),
            tags: self.tags,
            attributes: self.attributes,
        }
    }
}

/// The members of an object in document order; a key given twice is refused.
pub(super) struct Members<T>(pub(super) Vec<(String, T)>);

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
                let mut keys = HashSet::new();
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
