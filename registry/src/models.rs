//! Thing models: typed measure points, inheritance, and numbers that never change.
//!
//! Owns: creating models, adding points to them and to all that inherit from them, renaming points, and their rows. Does not own: the
//! shape of a model ([`wattline_model::Model`]) or its JSON form (`thing_json`).
//!
//! Points are kept flattened: every model has rows for all its points, the inherited too, under its own dense
//! numbers. Stored samples refer to those numbers, so a row once written keeps its number and its type for ever.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use rusqlite::params;
use serde_json::json;
use wattline_model::limits::MODEL_POINTS_MAX;
use wattline_model::{DataType, EnumKind, Model, ModelId, OrgId, Point, PointId, SignalType};

use crate::audit::Note;
use crate::cache::{Cache, Edit, ModelEntry};
use crate::error::{Error, ErrorKind};
use crate::unformatted::UNFORMATTED;
use crate::{Attribute, Registry, attributes, audit, check, number};

use self::rows::insert_points;
pub(crate) use self::rows::load;

mod rename;
mod rows;

/// Models of one registry: each is a table to SQL and a part of every catalog answer.
pub const MODELS_MAX: usize = 100_000;

/// Models in one line of inheritance. Deeper families are a mistake (and a path of this many keys is 2 KiB).
pub const MODEL_DEPTH_MAX: usize = 16;

/// Names that SQL gives to other things: columns of every model's table, columns that name an asset on write.
pub const RESERVED_POINT_KEYS: [&str; 4] = ["asset_id", "time", "product_key", "device_key"];

/// Tables that stand beside the models' tables.
pub const RESERVED_MODEL_KEYS: [&str; 3] = ["assets", "models", UNFORMATTED];

/// What the column of a point's quality has behind the point's key.
pub const QUALITY_SUFFIX: &str = "_quality";

/// A model to create.
#[derive(Clone, Debug, PartialEq)]
pub struct NewModel {
    /// The organization it belongs to.
    pub org: OrgId,
    /// Its identifier, unique in the organization; the table name in SQL.
    pub key: String,
    /// Display name; empty = the key.
    pub name: String,
    /// The identifier of the model it inherits from, in the same organization.
    pub parent: Option<String>,
    /// Its own points, beside those it inherits.
    pub points: Vec<NewPoint>,
}

/// A measure point to add to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPoint {
    /// Its identifier: the key in device messages and the column name in SQL.
    pub key: String,
    /// Display name; empty = the key.
    pub name: String,
    /// Data type.
    pub data_type: DataType,
    /// Signal type.
    pub signal: SignalType,
    /// Whether devices send a quality beside the value; numbers only.
    pub has_quality: bool,
    /// Unit, for people.
    pub unit: Option<String>,
    /// For ENUM of integers: the values allowed; empty = any.
    pub enum_ints: Vec<i64>,
    /// For ENUM of texts: the values allowed; empty = any.
    pub enum_texts: Vec<String>,
}

impl NewPoint {
    /// A generic point without quality, unit or display name: what auto-registration makes.
    pub fn new(key: impl Into<String>, data_type: DataType) -> NewPoint {
        NewPoint {
            key: key.into(),
            name: String::new(),
            data_type,
            signal: SignalType::Generic,
            has_quality: false,
            unit: None,
            enum_ints: Vec::new(),
            enum_texts: Vec::new(),
        }
    }
}

impl Registry {
    /// The model with this number, inheritance flattened.
    pub fn model(&self, id: ModelId) -> Option<Arc<Model>> {
        self.cache().model(id).map(|entry| Arc::clone(&entry.model))
    }

    /// The model with this identifier.
    pub fn model_by_key(&self, org: OrgId, key: &str) -> Option<Arc<Model>> {
        self.cache().model_by_key(org, key).map(|entry| Arc::clone(&entry.model))
    }

    /// All models, oldest first.
    pub fn models(&self) -> Vec<Arc<Model>> {
        self.cache().models().map(|entry| Arc::clone(&entry.model)).collect()
    }

    /// The display name of a model.
    pub fn model_name(&self, id: ModelId) -> Option<Arc<str>> {
        self.cache().model(id).map(|entry| Arc::clone(&entry.name))
    }

    /// Creates a model with all points of its parent and its own.
    ///
    /// # Errors
    /// `Input` for a bad definition, `NotFound` where the organization or parent does not exist, `Conflict` where the
    /// key is taken or an inherited point is defined again.
    pub fn create_model(&self, new: NewModel) -> Result<Arc<Model>, Error> {
        free_of_reserved(&new)?;
        self.create_any_model(new, Vec::new(), None)
    }

    /// [`create_model`](Self::create_model) with attributes of its assets, beside those it inherits; `by` is who asks for
    /// it and when, to be noted.
    ///
    /// # Errors
    /// As [`create_model`](Self::create_model); `Conflict` where an inherited attribute is defined again.
    pub fn create_model_with(
        &self,
        new: NewModel,
        attributes: Vec<Attribute>,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<Model>, Error> {
        free_of_reserved(&new)?;
        self.create_any_model(new, attributes, Some((operator, now_micros)))
    }

    /// The attributes that a model defines for its assets, the inherited ones first. Without any, its assets may have
    /// whatever attributes they like.
    pub fn model_attributes(&self, id: ModelId) -> Arc<[Attribute]> {
        self.cache().model(id).map_or_else(Default::default, |entry| Arc::clone(&entry.attributes))
    }

    /// [`create_model`](Self::create_model), whatever its key.
    pub(crate) fn create_any_model(
        &self,
        new: NewModel,
        attributes: Vec<Attribute>,
        by: Option<(&str, i64)>,
    ) -> Result<Arc<Model>, Error> {
        let item = format!("model {}", new.key);
        let name = if new.name.is_empty() { new.key.clone() } else { new.name };
        check::name(&item, "name", &name)?;
        let points = check_points(&item, new.points)?;
        let attributes = attributes::check_definitions(&item, attributes)?;
        self.change(|transaction, cache| {
            if cache.org(new.org).is_none() {
                return Err(Error::not_found(new.org.to_string()));
            }
            if cache.model_by_key(new.org, &new.key).is_some() {
                return Err(Error::conflict(item, "modelId", "is taken"));
            }
            if cache.models().count() >= MODELS_MAX {
                return Err(Error::new(ErrorKind::Input, item, format!("there are {MODELS_MAX} already")));
            }
            let parent = parent_of(cache, &item, new.org, new.parent.as_deref())?;
            let mut all = parent.map_or_else(Vec::new, |entry| entry.model.points.clone());
            extend(&item, &mut all, &points)?;
            let inherited = parent.map_or_else(Default::default, |entry| Arc::clone(&entry.attributes));
            let attributes = attributes::inherit(&item, &inherited, &attributes)?;
            let path = format!("{}/{}", parent.map_or("", |entry| &entry.model.path), new.key);
            let parent = parent.map(|entry| entry.model.id);
            transaction
                .execute(
                    "INSERT INTO models (org, key, name, parent, version) VALUES (?1, ?2, ?3, ?4, 1)",
                    params![new.org.0, new.key, name, parent.map(|id| id.0)],
                )
                .map_err(|e| Error::sqlite("create a model", e))?;
            let id = ModelId(number("models", transaction.last_insert_rowid())?);
            insert_points(transaction, id, &all)?;
            attributes::insert(transaction, id, &attributes)?;
            if let Some((operator, micros)) = by {
                let after = Some(json!({"points": all.len(), "attributes": attributes.len()}));
                let action = "create model";
                let note = Note { operator, action, item: &new.key, before: None, after, micros };
                audit::note(transaction, &note)?;
            }
            let model = Arc::new(Model::new(id, new.org, new.key, path, all, 1));
            let attributes = attributes.into();
            let entry = ModelEntry { model: Arc::clone(&model), name: name.into(), parent, attributes };
            Ok((model, Edit::Models(vec![entry])))
        })
    }

    /// Adds points to a model and to all that inherit from it, each under the model's next number. Points the model
    /// has already with the same definition are left as they are, so repeating a call changes nothing.
    ///
    /// # Errors
    /// `Conflict` where the model or a descendant has the key with another definition; then nothing is added.
    pub fn add_points(&self, model: ModelId, points: Vec<NewPoint>) -> Result<Arc<Model>, Error> {
        self.add(model, points, false)
    }

    /// Adds those of `points` whose keys the model does not have, whatever the definition of those it has: for
    /// auto-registration, where two messages may race and the first decides. Look at the returned model for the types
    /// that hold.
    ///
    /// # Errors
    /// As [`Registry::add_points`]; `Conflict` only where a descendant has a new key with another definition.
    pub fn ensure_points(&self, model: ModelId, points: Vec<NewPoint>) -> Result<Arc<Model>, Error> {
        self.add(model, points, true)
    }

    fn add(&self, id: ModelId, points: Vec<NewPoint>, keep_existing: bool) -> Result<Arc<Model>, Error> {
        let found = self.model(id).ok_or_else(|| Error::not_found(id.to_string()))?;
        let points = check_points(&format!("model {}", found.key), points)?;
        self.change(|transaction, cache| {
            let top = cache.model(id).ok_or_else(|| Error::bug(id.to_string(), "vanished"))?;
            let wanted: Vec<Point> = points
                .into_iter()
                .filter(|point| !keep_existing || top.model.point_by_key(&point.key).is_none())
                .collect();
            let mut changed = Vec::new();
            for entry in family(cache, top) {
                let old = &entry.model;
                let mut all = old.points.clone();
                extend(&format!("model {}", old.key), &mut all, &wanted)?;
                if all.len() == old.points.len() {
                    continue;
                }
                insert_points(transaction, old.id, &all[old.points.len()..])?;
                transaction
                    .execute("UPDATE models SET version = version + 1 WHERE id = ?1", [old.id.0])
                    .map_err(|e| Error::sqlite("change a model", e))?;
                let version = old.version + 1;
                let model = Model::new(old.id, old.org, old.key.clone(), old.path.clone(), all, version);
                changed.push(ModelEntry { model: Arc::new(model), ..entry.clone() });
            }
            let now = changed.iter().map(|entry| &entry.model).find(|model| model.id == id);
            let now = Arc::clone(now.unwrap_or(&top.model));
            let edit = if changed.is_empty() { Edit::Nothing } else { Edit::Models(changed) };
            Ok((now, edit))
        })
    }
}

fn free_of_reserved(new: &NewModel) -> Result<(), Error> {
    check::identifier("model", "modelId", &new.key)?;
    if RESERVED_MODEL_KEYS.contains(&new.key.as_str()) {
        let item = format!("model {}", new.key);
        return Err(Error::input(item, "modelId", "is the name of a table of the system"));
    }
    Ok(())
}

/// The parent that `key` names, and whether a child may still hang below it.
fn parent_of<'a>(
    cache: &'a Cache,
    item: &str,
    org: OrgId,
    key: Option<&str>,
) -> Result<Option<&'a ModelEntry>, Error> {
    let Some(key) = key else { return Ok(None) };
    check::identifier(item, "parent", key)?;
    let parent = cache.model_by_key(org, key).ok_or_else(|| Error::not_found(format!("model {key}")))?;
    if parent.model.path.matches('/').count() >= MODEL_DEPTH_MAX {
        let reason = format!("inheritance is deeper than {MODEL_DEPTH_MAX} models");
        return Err(Error::input(item, "parent", reason));
    }
    Ok(Some(parent))
}

/// `top` and all that inherit from it, parents before children.
fn family<'a>(cache: &'a Cache, top: &'a ModelEntry) -> Vec<&'a ModelEntry> {
    let mut children: BTreeMap<ModelId, Vec<&ModelEntry>> = BTreeMap::new();
    for entry in cache.models() {
        if let Some(parent) = entry.parent {
            children.entry(parent).or_default().push(entry);
        }
    }
    let mut found = Vec::new();
    let mut open = VecDeque::from([top]);
    while let Some(entry) = open.pop_front() {
        found.push(entry);
        open.extend(children.get(&entry.model.id).into_iter().flatten().copied());
    }
    found
}

/// Adds to `all` those of `new` it does not have, numbered on. A key it has must have the same definition.
fn extend(item: &str, all: &mut Vec<Point>, new: &[Point]) -> Result<(), Error> {
    let known: BTreeMap<String, Point> = all.iter().map(|p| (p.key.clone(), p.clone())).collect();
    for point in new {
        match known.get(&point.key) {
            None => all.push(Point { id: PointId(all.len() as u32), ..point.clone() }),
            Some(old) => same_definition(item, old, point)?,
        }
    }
    if all.len() > MODEL_POINTS_MAX {
        let reason = format!("would have {} points; at most {MODEL_POINTS_MAX} are allowed", all.len());
        return Err(Error::input(item, "measurepoints", reason));
    }
    quality_columns(item, all)
}

/// A point's quality is a column beside it; no point may have that column's name.
fn quality_columns(item: &str, points: &[Point]) -> Result<(), Error> {
    let keys: HashSet<&str> = points.iter().map(|p| p.key.as_str()).collect();
    for point in points.iter().filter(|p| p.has_quality) {
        let column = format!("{}{QUALITY_SUFFIX}", point.key);
        if keys.contains(column.as_str()) {
            let reason = format!("is the column of the quality of point {}", point.key);
            return Err(Error::conflict(item, &format!("point {column}"), reason));
        }
    }
    Ok(())
}

fn same_definition(item: &str, old: &Point, new: &Point) -> Result<(), Error> {
    let differs = |field: &str, was: &dyn std::fmt::Debug, asked: &dyn std::fmt::Debug| {
        let reason = format!("{field} is {was:?} and cannot become {asked:?}");
        Error::conflict(item, &format!("point {}", new.key), reason)
    };
    if old.data_type != new.data_type {
        let reason = format!(
            "dataType is {} and cannot become {}",
            type_name(old.data_type),
            type_name(new.data_type)
        );
        return Err(Error::conflict(item, &format!("point {}", new.key), reason));
    }
    if old.signal != new.signal {
        return Err(differs("signalType", &old.signal.name(), &new.signal.name()));
    }
    if old.has_quality != new.has_quality {
        return Err(differs("hasQuality", &old.has_quality, &new.has_quality));
    }
    if old.unit != new.unit {
        return Err(differs("unit", &old.unit, &new.unit));
    }
    if (&old.enum_ints, &old.enum_texts) != (&new.enum_ints, &new.enum_texts) {
        let (old, new) = (enum_json(old), enum_json(new));
        return Err(differs("values", &old, &new));
    }
    if old.name != new.name {
        return Err(differs("name", &old.name, &new.name));
    }
    Ok(())
}

/// Checks a list of points for itself; numbers are given later.
fn check_points(item: &str, points: Vec<NewPoint>) -> Result<Vec<Point>, Error> {
    if points.len() > MODEL_POINTS_MAX {
        let reason = format!("{} given; at most {MODEL_POINTS_MAX} are allowed", points.len());
        return Err(Error::input(item, "measurepoints", reason));
    }
    let mut keys = HashSet::with_capacity(points.len());
    let points = points.into_iter().map(|point| check_point(item, point)).collect::<Result<Vec<_>, _>>()?;
    match points.iter().find(|point| !keys.insert(point.key.as_str())) {
        Some(twice) => Err(Error::input(item, &format!("point {}", twice.key), "is given twice")),
        None => Ok(points),
    }
}

fn check_point(item: &str, new: NewPoint) -> Result<Point, Error> {
    check::identifier(item, "point identifier", &new.key)?;
    let field = format!("point {}", new.key);
    let input = |reason: &str| Error::input(item, &field, reason);
    if RESERVED_POINT_KEYS.contains(&new.key.as_str()) {
        return Err(input("is the name of a column that every table has"));
    }
    let name = if new.name.is_empty() { new.key.clone() } else { new.name };
    check::name(item, &field, &name)?;
    if let Some(unit) = &new.unit {
        check::printable(item, &format!("{field} unit"), unit, check::UNIT_CHARS_MAX)?;
    }
    let is_number =
        matches!(new.data_type, DataType::Int | DataType::Long | DataType::Float | DataType::Double);
    if new.has_quality && !is_number {
        return Err(input("hasQuality is allowed for numbers (INT, LONG, FLOAT, DOUBLE) only"));
    }
    if matches!(new.signal, SignalType::Ai | SignalType::Pi) && !is_number {
        return Err(input("signalType AI and PI need a number (INT, LONG, FLOAT, DOUBLE)"));
    }
    let (mut enum_ints, mut enum_texts) = (new.enum_ints, new.enum_texts);
    let is_int = new.data_type == DataType::Enum(EnumKind::Int);
    let is_text = new.data_type == DataType::Enum(EnumKind::Text);
    if (!enum_ints.is_empty() && !is_int) || (!enum_texts.is_empty() && !is_text) {
        return Err(input("has values of an ENUM of another kind than its dataType"));
    }
    if enum_ints.len().max(enum_texts.len()) > check::ENUM_VALUES_MAX {
        return Err(input(&format!("has more than {} ENUM values", check::ENUM_VALUES_MAX)));
    }
    if enum_ints.iter().any(|&value| i32::try_from(value).is_err()) {
        return Err(input("has an ENUM value outside 32 bits"));
    }
    for text in &enum_texts {
        check::printable(item, &format!("{field} ENUM value"), text, check::ENUM_TEXT_CHARS_MAX)?;
    }
    enum_ints.sort_unstable();
    enum_texts.sort_unstable();
    if enum_ints.windows(2).any(|w| w[0] == w[1]) || enum_texts.windows(2).any(|w| w[0] == w[1]) {
        return Err(input("has an ENUM value twice"));
    }
    Ok(Point {
        id: PointId(0),
        key: new.key,
        name,
        data_type: new.data_type,
        signal: new.signal,
        has_quality: new.has_quality,
        unit: new.unit,
        enum_ints,
        enum_texts,
    })
}

/// The name of a data type in the file and in messages.
pub(crate) fn type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Enum(EnumKind::Int) => "ENUM of INT",
        DataType::Enum(EnumKind::Text) => "ENUM of STRING",
        other => other.name(),
    }
}

/// Every data type there is.
pub(crate) const DATA_TYPES: [DataType; 13] = [
    DataType::Int,
    DataType::Long,
    DataType::Float,
    DataType::Double,
    DataType::Bool,
    DataType::String,
    DataType::Enum(EnumKind::Int),
    DataType::Enum(EnumKind::Text),
    DataType::Date,
    DataType::Timestamp,
    DataType::Array,
    DataType::Struct,
    DataType::File,
];

/// Every signal type there is.
pub(crate) const SIGNAL_TYPES: [SignalType; 4] =
    [SignalType::Generic, SignalType::Ai, SignalType::Di, SignalType::Pi];

/// The values an ENUM allows, as JSON; nothing where it allows any.
fn enum_json(point: &Point) -> Option<String> {
    let json = match (point.enum_ints.is_empty(), point.enum_texts.is_empty()) {
        (false, _) => serde_json::json!(point.enum_ints),
        (true, false) => serde_json::json!(point.enum_texts),
        (true, true) => return None,
    };
    Some(json.to_string())
}

#[cfg(test)]
mod tests;
