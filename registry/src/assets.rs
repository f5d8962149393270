//! Assets of both kinds: logical ones to make, and changes and the end of any.
//!
//! Owns: logical assets (a site, a line, a fleet: what no device stands behind), changing what people may change of an
//! asset, and removing it. Does not own: devices and the rows of assets ([`crate::devices`]), places in trees
//! ([`crate::trees`]), the samples of an asset that is removed (`server` deletes them).
//!
//! What is removed leaves its keys to others and its number to nobody. Its row stays with the number, because samples of
//! it may still be on their way out.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::params;
use serde_json::{Value as Json, json};
use wattline_model::{AssetId, OrgId};

use crate::audit::Note;
use crate::cache::Edit;
use crate::devices::{DEFAULT_TIMEZONE, DEVICES_MAX, described, free_key};
use crate::error::{Error, ErrorKind};
use crate::texts::encode_texts;
use crate::{Device, Registry, Secret, attributes, audit, check, number};

/// A logical asset to create.
#[derive(Clone, Debug)]
pub struct NewAsset {
    /// Its organization.
    pub org: OrgId,
    /// The identifier of its model, in the same organization.
    pub model_key: String,
    /// Its identifier as an asset; none = generated.
    pub asset_key: Option<String>,
    /// Display name; empty = its identifier.
    pub name: String,
    /// Display names in further languages, by locale.
    pub names: BTreeMap<String, String>,
    /// What people say about it; may be empty.
    pub description: String,
    /// Its time zone; empty = `UTC`.
    pub timezone: String,
    /// Free keys and texts.
    pub tags: BTreeMap<String, String>,
    /// Attributes, as the model defines them.
    pub attributes: BTreeMap<String, Json>,
}

/// What is to change of an asset; nothing = as it is.
#[derive(Clone, Debug, Default)]
pub struct AssetChange {
    /// Display name and those in further languages; an empty name is the asset's key.
    pub name: Option<(String, BTreeMap<String, String>)>,
    /// What people say about it.
    pub description: Option<String>,
    /// Its time zone.
    pub timezone: Option<String>,
    /// All its tags.
    pub tags: Option<BTreeMap<String, String>>,
    /// Its attributes: all of them, or, with `merge`, those to change; `null` removes one.
    pub attributes: Option<BTreeMap<String, Json>>,
    /// Whether attributes that are not named stay.
    pub merge: bool,
}

impl Registry {
    /// Creates a logical asset.
    ///
    /// # Errors
    /// `Input` for a bad definition, `NotFound` where the model does not exist, `Conflict` where the key is taken,
    /// [`crate::Rule::Attributes`].
    pub fn create_asset(&self, new: NewAsset, operator: &str, now_micros: i64) -> Result<Arc<Device>, Error> {
        let item =
            format!("asset {}", new.name.chars().take(64).filter(|c| !c.is_control()).collect::<String>());
        if let Some(key) = &new.asset_key {
            check::device_key(&item, "assetId", key)?;
        }
        if !new.name.is_empty() {
            check::name(&item, "name", &new.name)?;
        }
        check::names(&item, "name", &new.names)?;
        check::description(&item, &new.description)?;
        check::tags(&item, &new.tags)?;
        let attributes = check::attributes(&item, &new.attributes)?;
        let timezone = zone(&item, if new.timezone.is_empty() { DEFAULT_TIMEZONE } else { &new.timezone })?;
        self.change(|transaction, cache| {
            let model = cache.model_by_key(new.org, &new.model_key);
            let model = model.ok_or_else(|| Error::not_found(format!("model {}", new.model_key)))?;
            attributes::check_values(&item, &model.attributes, &new.attributes, true)?;
            if cache.device_count() >= DEVICES_MAX {
                return Err(Error::new(ErrorKind::Input, item, format!("there are {DEVICES_MAX} already")));
            }
            let asset_key = free_key(&item, "assetId", new.asset_key.as_deref(), |key| {
                cache.asset_by_key(key).is_none()
            })?;
            let name = if new.name.is_empty() { Arc::clone(&asset_key) } else { new.name.as_str().into() };
            transaction
                .execute(
                    "INSERT INTO devices (asset_key, name, secret, timezone, enabled, active, tags, attributes,
                     created_micros, model, names, description)
                     VALUES (?1, ?2, '', ?3, 1, 0, ?4, ?5, ?6, ?7, ?8, ?9)",
                    params![
                        asset_key,
                        name,
                        timezone,
                        encode_texts(&new.tags),
                        attributes,
                        now_micros,
                        model.model.id.0,
                        encode_texts(&new.names),
                        described(&new.description),
                    ],
                )
                .map_err(|e| Error::sqlite("create an asset", e))?;
            let made = Arc::new(Device {
                asset: AssetId(number("devices", transaction.last_insert_rowid())?),
                asset_key,
                org: new.org,
                model: model.model.id,
                product_key: "".into(),
                device_key: "".into(),
                name,
                names: new.names,
                description: new.description.into(),
                secret: Secret::from(""),
                timezone: cache.zone(&timezone).unwrap_or(timezone),
                enabled: true,
                active: false,
                tags: new.tags,
                attributes: new.attributes,
                created_micros: now_micros,
            });
            let after = Some(json!({"modelId": model.model.key, "name": &*made.name}));
            let (action, item) = ("create asset", &*made.asset_key);
            audit::note(transaction, &Note { operator, action, item, before: None, after, micros: now_micros })?;
            Ok((Arc::clone(&made), Edit::NewDevices(vec![made])))
        })
    }

    /// Changes an asset of either kind.
    ///
    /// # Errors
    /// `Input` for bad values, `NotFound` where it does not exist, [`crate::Rule::Attributes`].
    pub fn change_asset(
        &self,
        id: AssetId,
        change: AssetChange,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<Device>, Error> {
        self.change(|transaction, cache| {
            let old = cache.asset(id).ok_or_else(|| Error::not_found(id.to_string()))?;
            let definitions = cache.model(old.model).map(|entry| Arc::clone(&entry.attributes));
            let new = changed(old, change, &definitions.unwrap_or_default())?;
            let (before, after) = differences(old, &new);
            if before == after {
                return Ok((Arc::clone(old), Edit::Nothing));
            }
            let attributes = check::attributes(&item(old), &new.attributes)?;
            transaction
                .execute(
                    "UPDATE devices SET name = ?2, names = ?3, description = ?4, timezone = ?5, tags = ?6,
                     attributes = ?7 WHERE id = ?1",
                    params![
                        id.0,
                        new.name,
                        encode_texts(&new.names),
                        described(&new.description),
                        new.timezone,
                        encode_texts(&new.tags),
                        attributes,
                    ],
                )
                .map_err(|e| Error::sqlite("change an asset", e))?;
            let (action, item, micros) = ("change asset", &*old.asset_key, now_micros);
            let (before, after) = (Some(before), Some(after));
            audit::note(transaction, &Note { operator, action, item, before, after, micros })?;
            let new = Arc::new(Device { timezone: cache.zone(&new.timezone).unwrap_or(new.timezone), ..new });
            Ok((Arc::clone(&new), Edit::ChangedDevices(vec![new])))
        })
    }

    /// Removes an asset of either kind that is in no tree. Its keys are free then; what remains of it is found under its
    /// number alone.
    ///
    /// # Errors
    /// `NotFound` where it does not exist, `Conflict` where it is in a tree.
    pub fn delete_asset(&self, id: AssetId, operator: &str, now_micros: i64) -> Result<Arc<Device>, Error> {
        self.change(|transaction, cache| {
            let old = cache.asset(id).ok_or_else(|| Error::not_found(id.to_string()))?;
            let trees = cache.trees();
            if let Some(tree) = trees.of_asset(id).first().and_then(|&tree| trees.tree(tree)) {
                let reason = format!("is in asset tree {}; remove it from there first", tree.key);
                return Err(Error::conflict(item(old), "trees", reason));
            }
            transaction
                .execute(
                    "UPDATE devices SET gone = 1, enabled = 0, secret = '', tags = NULL, attributes = NULL,
                     names = NULL, description = NULL WHERE id = ?1",
                    [id.0],
                )
                .map_err(|e| Error::sqlite("delete an asset", e))?;
            let before = json!({
                "productKey": &*old.product_key, "deviceKey": &*old.device_key, "name": &*old.name,
            });
            let action = if old.is_device() { "delete device" } else { "delete asset" };
            let (item, before, micros) = (&*old.asset_key, Some(before), now_micros);
            audit::note(transaction, &Note { operator, action, item, before, after: None, micros })?;
            let rest = Arc::new(Device {
                enabled: false,
                secret: Secret::from(""),
                names: BTreeMap::new(),
                description: "".into(),
                tags: BTreeMap::new(),
                attributes: BTreeMap::new(),
                ..Device::clone(old)
            });
            Ok((Arc::clone(&rest), Edit::GoneDevices(vec![rest])))
        })
    }
}

fn item(asset: &Device) -> String {
    format!("asset {}", asset.asset_key)
}

/// The time zone that `text` names, as it is written down.
fn zone(item: &str, text: &str) -> Result<Arc<str>, Error> {
    let zone = check::timezone(text).map_err(|e| e.about(item))?;
    Ok(check::timezone_name(&zone, text).into())
}

/// What `old` becomes.
fn changed(old: &Device, change: AssetChange, definitions: &[crate::Attribute]) -> Result<Device, Error> {
    let item = item(old);
    let mut new = Device::clone(old);
    if let Some((name, names)) = change.name {
        check::names(&item, "name", &names)?;
        new.name = match name.is_empty() {
            false => {
                check::name(&item, "name", &name)?;
                name.into()
            }
            true if old.is_device() => Arc::clone(&old.device_key),
            true => Arc::clone(&old.asset_key),
        };
        new.names = names;
    }
    if let Some(description) = change.description {
        check::description(&item, &description)?;
        new.description = description.into();
    }
    if let Some(timezone) = change.timezone {
        new.timezone = zone(&item, &timezone)?;
    }
    if let Some(tags) = change.tags {
        check::tags(&item, &tags)?;
        new.tags = tags;
    }
    if let Some(attributes) = change.attributes {
        if !change.merge {
            new.attributes = BTreeMap::new();
        }
        for (key, value) in attributes {
            if value.is_null() {
                new.attributes.remove(&key);
            } else {
                new.attributes.insert(key, value);
            }
        }
        attributes::check_values(&item, definitions, &new.attributes, true)?;
    }
    Ok(new)
}

/// The members that differ, as they were and as they are.
fn differences(old: &Device, new: &Device) -> (Json, Json) {
    let shown = |asset: &Device| {
        [
            ("name", json!(&*asset.name)),
            ("names", json!(asset.names)),
            ("description", json!(&*asset.description)),
            ("timezone", json!(&*asset.timezone)),
            ("tags", json!(asset.tags)),
            ("attributes", json!(asset.attributes)),
        ]
    };
    let (mut before, mut after) = (json!({}), json!({}));
    for ((name, was), (_, is)) in shown(old).into_iter().zip(shown(new)) {
        if was != is {
            (before[name], after[name]) = (was, is);
        }
    }
    (before, after)
}

#[cfg(test)]
mod tests;
