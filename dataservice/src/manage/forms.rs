//! The JSON of assets and texts, both ways.
//!
//! Owns: what a document may hold; unknown members do no harm, as in every call of the API. Does not own: rules
//! (`registry`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use wattline_registry::{Device, NewAsset, Registry};

use crate::error::{Error, Result};
use crate::params::Params;

/// A text, alone or in several languages.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or {\"defaultValue\": text, \"i18nValue\": {locale: text}}")]
pub(super) enum Text {
    Plain(String),
    #[serde(rename_all = "camelCase")]
    Translated {
        #[serde(default)]
        default_value: Option<String>,
        #[serde(default, rename = "i18nValue")]
        i18n_value: Option<BTreeMap<String, String>>,
    },
}

impl Text {
    /// The default, and the text of each locale.
    pub(super) fn parts(self) -> (String, BTreeMap<String, String>) {
        match self {
            Text::Plain(text) => (text, BTreeMap::new()),
            Text::Translated { default_value, i18n_value } => {
                (default_value.unwrap_or_default(), i18n_value.unwrap_or_default())
            }
        }
    }
}

/// An asset to make or to change.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AssetForm {
    pub(super) asset_id: Option<String>,
    #[serde(alias = "modelID")]
    pub(super) model_id: Option<String>,
    pub(super) name: Option<Text>,
    #[serde(alias = "desc")]
    pub(super) description: Option<String>,
    pub(super) timezone: Option<String>,
    pub(super) attributes: Option<BTreeMap<String, Json>>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

impl AssetForm {
    /// The asset to make.
    pub(super) fn new_asset(self, org: wattline_model::OrgId) -> Result<NewAsset> {
        let required = |text: Option<String>, name: &str| {
            text.filter(|text| !text.is_empty()).ok_or_else(|| Error::required(name))
        };
        let (name, names) = self.name.ok_or_else(|| Error::required("asset.name"))?.parts();
        Ok(NewAsset {
            org,
            model_key: required(self.model_id, "asset.modelId")?,
            asset_key: self.asset_id.filter(|key| !key.is_empty()),
            name: required(Some(name), "asset.name")?,
            names,
            description: self.description.unwrap_or_default(),
            timezone: required(self.timezone, "asset.timezone")?,
            tags: self.tags.unwrap_or_default(),
            attributes: self.attributes.unwrap_or_default(),
        })
    }
}

/// Member `name` of the body, as what it should be.
pub(super) fn member<T: DeserializeOwned>(params: &Params, name: &str) -> Result<Option<T>> {
    match params.nested(name) {
        None if params.text(name).is_some() => {
            Err(Error::invalid(format!("{name}: expected an object or a list")))
        }
        None => Ok(None),
        Some(value) => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|e| Error::invalid(format!("{name}: {e}"))),
    }
}

/// Member `name` of the body, which must be there.
pub(super) fn required_member<T: DeserializeOwned>(params: &Params, name: &str) -> Result<T> {
    member(params, name)?.ok_or_else(|| Error::required(name))
}

/// The start of a text from outside, for messages.
pub(super) fn start(text: &str) -> String {
    text.chars().take(128).filter(|c| !c.is_control()).collect()
}

/// A text in several languages.
pub(super) fn text_json(text: &str, names: &BTreeMap<String, String>) -> Json {
    json!({"defaultValue": text, "i18nValue": names})
}

/// An asset as the asset service tells it.
pub(super) fn asset_json(registry: &Registry, asset: &Device) -> Json {
    let model = registry.model(asset.model);
    let description = (!asset.description.is_empty()).then_some(&*asset.description);
    json!({
        "assetId": &*asset.asset_key,
        "orgId": registry.org(asset.org).map(|org| org.key.clone()),
        "modelId": model.as_ref().map(|model| &model.key),
        "modelIdPath": model.as_ref().map(|model| &model.path),
        "name": text_json(&asset.name, &asset.names),
        "description": description,
        // One page of the documentation calls it so.
        "desc": description,
        "timezone": &*asset.timezone,
        "attributes": asset.attributes,
        "tags": asset.tags,
    })
}

/// What an asset is called in `locale`, or else by default.
pub(super) fn name_in<'a>(asset: &'a Device, locale: &str) -> &'a str {
    asset.names.get(locale).map_or(&*asset.name, String::as_str)
}

/// The values that field `field` of an expression has: those every asset has, whatever they are called before the point.
pub(super) fn values_of(asset: &Device, registry: &Registry, field: &str) -> Vec<Json> {
    let one = |text: &str| vec![Json::from(text)];
    let keyed = |text: &str| if asset.is_device() { one(text) } else { Vec::new() };
    let model = || registry.model(asset.model);
    match field.split_once('.') {
        None => match field {
            "assetId" => one(&asset.asset_key),
            "modelId" => model().iter().flat_map(|model| one(&model.key)).collect(),
            "modelIdPath" => model().iter().flat_map(|model| one(&model.path)).collect(),
            "rootModelId" => {
                model().iter().filter_map(|model| model.path.split('/').nth(1)).flat_map(one).collect()
            }
            "productKey" => keyed(&asset.product_key),
            "deviceKey" => keyed(&asset.device_key),
            "timezone" => one(&asset.timezone),
            "name" | "deviceName" => std::iter::once(&*asset.name)
                .chain(asset.names.values().map(String::as_str))
                .map(Json::from)
                .collect(),
            _ => Vec::new(),
        },
        Some(("name" | "deviceName", "default")) => one(&asset.name),
        Some(("name" | "deviceName", locale)) => one(name_in(asset, locale)),
        Some(("tags" | "deviceTags", key)) => asset.tags.get(key).iter().flat_map(|text| one(text)).collect(),
        Some(("attributes" | "deviceAttributes", key)) => {
            asset.attributes.get(key).cloned().into_iter().collect()
        }
        Some(_) => Vec::new(),
    }
}
