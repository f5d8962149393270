//! Attributes that a model defines for its assets: which there may be, of which type, and which there must be.
//!
//! Owns: definitions with their rules and rows, and whether values fit them. Does not own: the values, which are parts of
//! the assets ([`crate::devices`]).
//!
//! A model that defines none leaves its assets free to have any. Definitions are made with the model and stay, so what
//! was accepted stays valid.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, Transaction, params};
use serde_json::Value as Json;
use wattline_model::{DataType, EnumKind, ModelId};

use crate::error::{Error, Rule};
use crate::models::{DATA_TYPES, type_name};
use crate::{check, number};

/// Characters of a STRING attribute (data service §8).
pub const TEXT_CHARS_MAX: usize = 1_024;

/// Items of an ARRAY attribute (data service §8).
pub const ITEMS_MAX: usize = 128;

/// An attribute that a model defines.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its identifier: the key in an asset's attributes.
    pub key: String,
    /// Display name; empty in a definition to make = the key.
    pub name: String,
    /// Data type.
    pub data_type: DataType,
    /// Whether every asset must have it.
    pub required: bool,
    /// Unit, for people.
    pub unit: Option<String>,
    /// For ENUM of integers: the values allowed; empty = any.
    pub enum_ints: Vec<i64>,
    /// For ENUM of texts: the values allowed; empty = any.
    pub enum_texts: Vec<String>,
}

impl Attribute {
    /// Why `value` cannot be a value of it, where it cannot.
    pub fn reason_against(&self, value: &Json) -> Option<String> {
        let fits = match self.data_type {
            DataType::Int => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            DataType::Long => value.is_i64(),
            DataType::Float => value.as_f64().is_some_and(|n| (n as f32).is_finite()),
            DataType::Double => value.is_number(),
            DataType::Bool => value.is_boolean() || matches!(value.as_i64(), Some(0 | 1)),
            DataType::String | DataType::File => is_text(value, TEXT_CHARS_MAX),
            DataType::Enum(EnumKind::Int) => {
                let allowed = |n: i64| self.enum_ints.is_empty() || self.enum_ints.contains(&n);
                value.as_i64().is_some_and(|n| i32::try_from(n).is_ok() && allowed(n))
            }
            DataType::Enum(EnumKind::Text) => {
                let allowed = |t: &str| self.enum_texts.is_empty() || self.enum_texts.iter().any(|e| e == t);
                is_text(value, check::ENUM_TEXT_CHARS_MAX) && value.as_str().is_some_and(allowed)
            }
            DataType::Date => value.as_str().is_some_and(is_date),
            DataType::Timestamp => {
                value.is_i64() || value.as_str().is_some_and(|text| text.parse::<i64>().is_ok())
            }
            DataType::Array => value.as_array().is_some_and(|items| items.len() <= ITEMS_MAX),
            DataType::Struct => value.is_object(),
        };
        (!fits).then(|| {
            let shown: String = value.to_string().chars().take(60).collect();
            let values = match (self.enum_ints.is_empty(), self.enum_texts.is_empty()) {
                (true, true) => String::new(),
                (false, _) => format!(" {:?}", self.enum_ints),
                (true, false) => format!(" {:?}", self.enum_texts),
            };
            format!("{shown} is no {}{values}", type_name(self.data_type))
        })
    }
}

fn is_text(value: &Json, chars_max: usize) -> bool {
    value.as_str().is_some_and(|text| text.chars().count() <= chars_max)
}

/// `2024-03-05`, or with a time behind it.
fn is_date(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok_and(|_| text.len() == 10)
        || text.parse::<jiff::civil::DateTime>().is_ok_and(|_| text.len() >= 19)
}

/// Whether `values` fit `definitions`. What must be there is asked for where the asset is made by a person (`whole`), not
/// where a message makes it.
///
/// # Errors
/// `Input` under [`Rule::Attributes`], naming the attribute.
pub(crate) fn check_values(
    item: &str,
    definitions: &[Attribute],
    values: &BTreeMap<String, Json>,
    whole: bool,
) -> Result<(), Error> {
    if definitions.is_empty() {
        return Ok(());
    }
    let wrong = |key: &str, reason: String| {
        Err(Error::input(item, &format!("attributes.{key}"), reason).under(Rule::Attributes))
    };
    for (key, value) in values {
        let Some(definition) = definitions.iter().find(|definition| definition.key == *key) else {
            return wrong(key, "is not in the model".to_owned());
        };
        if let Some(reason) = definition.reason_against(value) {
            return wrong(key, reason);
        }
    }
    match definitions
        .iter()
        .find(|definition| whole && definition.required && !values.contains_key(&definition.key))
    {
        Some(missing) => wrong(&missing.key, "is required".to_owned()),
        None => Ok(()),
    }
}

/// Checks definitions for themselves and puts their values in order.
pub(crate) fn check_definitions(
    item: &str,
    mut definitions: Vec<Attribute>,
) -> Result<Vec<Attribute>, Error> {
    let mut keys = HashSet::new();
    for definition in &mut definitions {
        check::identifier(item, "attribute identifier", &definition.key)?;
        let field = format!("attribute {}", definition.key);
        let input = |reason: &str| Err(Error::input(item, &field, reason));
        if !keys.insert(definition.key.clone()) {
            return input("is given twice");
        }
        if definition.name.is_empty() {
            definition.name.clone_from(&definition.key);
        }
        check::name(item, &field, &definition.name)?;
        if let Some(unit) = &definition.unit {
            check::printable(item, &format!("{field} unit"), unit, check::UNIT_CHARS_MAX)?;
        }
        let is_int = definition.data_type == DataType::Enum(EnumKind::Int);
        let is_text = definition.data_type == DataType::Enum(EnumKind::Text);
        if (!definition.enum_ints.is_empty() && !is_int) || (!definition.enum_texts.is_empty() && !is_text) {
            return input("has values of an ENUM of another kind than its dataType");
        }
        if definition.enum_ints.len().max(definition.enum_texts.len()) > check::ENUM_VALUES_MAX {
            return input(&format!("has more than {} ENUM values", check::ENUM_VALUES_MAX));
        }
        for text in &definition.enum_texts {
            check::printable(item, &format!("{field} ENUM value"), text, check::ENUM_TEXT_CHARS_MAX)?;
        }
        definition.enum_ints.sort_unstable();
        definition.enum_texts.sort_unstable();
    }
    Ok(definitions)
}

/// The inherited definitions and then the new ones. What is inherited may be repeated as it is.
pub(crate) fn inherit(
    item: &str,
    inherited: &[Attribute],
    new: &[Attribute],
) -> Result<Vec<Attribute>, Error> {
    let mut all = inherited.to_vec();
    for definition in new {
        match inherited.iter().find(|known| known.key == definition.key) {
            None => all.push(definition.clone()),
            Some(known) if known == definition => {}
            Some(_) => {
                let reason = "is inherited with another definition";
                return Err(Error::conflict(item, &format!("attribute {}", definition.key), reason));
            }
        }
    }
    if all.len() > check::ATTRIBUTES_MAX {
        let reason = format!("{} defined; at most {} are allowed", all.len(), check::ATTRIBUTES_MAX);
        return Err(Error::input(item, "attributes", reason));
    }
    Ok(all)
}

pub(crate) fn insert(
    transaction: &Transaction<'_>,
    model: ModelId,
    definitions: &[Attribute],
) -> Result<(), Error> {
    let act = |e| Error::sqlite("define attributes", e);
    let mut insert = transaction
        .prepare_cached(
            "INSERT INTO model_attributes (model, id, key, name, data_type, required, unit, enum_values)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .map_err(act)?;
    for (id, definition) in (0_u32..).zip(definitions) {
        let values = match (definition.enum_ints.is_empty(), definition.enum_texts.is_empty()) {
            (false, _) => Some(serde_json::json!(definition.enum_ints).to_string()),
            (true, false) => Some(serde_json::json!(definition.enum_texts).to_string()),
            (true, true) => None,
        };
        insert
            .execute(params![
                model.0,
                id,
                definition.key,
                definition.name,
                type_name(definition.data_type),
                definition.required,
                definition.unit,
                values,
            ])
            .map_err(act)?;
    }
    Ok(())
}

/// All definitions by model, in their order.
pub(crate) fn load(connection: &Connection) -> Result<BTreeMap<ModelId, Vec<Attribute>>, Error> {
    let act = |e| Error::sqlite("read attributes of models", e);
    let sql = "SELECT model, id, key, name, data_type, required, unit, enum_values
               FROM model_attributes ORDER BY model, id";
    let mut statement = connection.prepare(sql).map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    let mut models: BTreeMap<ModelId, Vec<Attribute>> = BTreeMap::new();
    while let Some(row) = rows.next().map_err(act)? {
        let model_row: i64 = row.get(0).map_err(act)?;
        let damaged =
            |field: &str, reason: String| Error::damaged("model_attributes", model_row, field, reason);
        let definitions = models.entry(ModelId(number("model_attributes", model_row)?)).or_default();
        let id: i64 = row.get(1).map_err(act)?;
        if usize::try_from(id) != Ok(definitions.len()) {
            return Err(damaged("id", format!("is {id} where {} follows", definitions.len())));
        }
        let type_text: String = row.get(4).map_err(act)?;
        let data_type = DATA_TYPES.into_iter().find(|&t| type_name(t) == type_text);
        let data_type = data_type.ok_or_else(|| damaged("data_type", format!("is {type_text:?}")))?;
        let (mut enum_ints, mut enum_texts) = (Vec::new(), Vec::new());
        let values: Option<String> = row.get(7).map_err(act)?;
        if let Some(json) = values {
            let bad = |e: serde_json::Error| damaged("enum_values", e.to_string());
            match data_type {
                DataType::Enum(EnumKind::Int) => enum_ints = serde_json::from_str(&json).map_err(bad)?,
                _ => enum_texts = serde_json::from_str(&json).map_err(bad)?,
            }
        }
        definitions.push(Attribute {
            key: row.get(2).map_err(act)?,
            name: row.get(3).map_err(act)?,
            data_type,
            required: row.get(5).map_err(act)?,
            unit: row.get(6).map_err(act)?,
            enum_ints,
            enum_texts,
        });
    }
    Ok(models)
}

#[cfg(test)]
mod tests;
