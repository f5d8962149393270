//! Rows of models and points: written once, never changed but for their keys, read at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, Transaction, params};
use wattline_model::{DataType, EnumKind, Model, ModelId, OrgId, Point, PointId};

use super::{DATA_TYPES, SIGNAL_TYPES, enum_json, type_name};
use crate::attributes;
use crate::cache::{Cache, Edit, ModelEntry};
use crate::error::Error;
use crate::number;

pub(super) fn insert_points(
    transaction: &Transaction<'_>,
    model: ModelId,
    points: &[Point],
) -> Result<(), Error> {
    let act = |e| Error::sqlite("add points", e);
    let mut insert = transaction
        .prepare_cached(
            "INSERT INTO points (model, id, key, name, data_type, signal, has_quality, unit, enum_values)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .map_err(act)?;
    for point in points {
        insert
            .execute(params![
                model.0,
                point.id.0,
                point.key,
                point.name,
                type_name(point.data_type),
                point.signal.name(),
                point.has_quality,
                point.unit,
                enum_json(point),
            ])
            .map_err(act)?;
    }
    Ok(())
}

/// Reads all models into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read models", e);
    let mut points = load_points(connection)?;
    let mut attributes = attributes::load(connection)?;
    // A parent is older than its children, so its path is known when theirs is made.
    let mut statement = connection
        .prepare("SELECT id, org, key, name, parent, version FROM models ORDER BY id")
        .map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    while let Some(row) = rows.next().map_err(act)? {
        let id = ModelId(number("models", row.get(0).map_err(act)?)?);
        let org = OrgId(number("models", row.get(1).map_err(act)?)?);
        let key: String = row.get(2).map_err(act)?;
        let name: String = row.get(3).map_err(act)?;
        let parent: Option<i64> = row.get(4).map_err(act)?;
        let version: i64 = row.get(5).map_err(act)?;
        let parent = parent.map(|row| number("models", row).map(ModelId)).transpose()?;
        let mut path = String::new();
        if let Some(parent) = parent {
            let parent = cache
                .model(parent)
                .ok_or_else(|| Error::damaged("models", i64::from(id.0), "parent", "does not exist"))?;
            path.clone_from(&parent.model.path);
        }
        path.push('/');
        path.push_str(&key);
        let version = u64::try_from(version)
            .map_err(|_| Error::damaged("models", i64::from(id.0), "version", "is negative"))?;
        let own = points.remove(&id).unwrap_or_default();
        let model = Arc::new(Model::new(id, org, key, path, own, version));
        let attributes = attributes.remove(&id).unwrap_or_default().into();
        cache.apply(Edit::Models(vec![ModelEntry { model, name: name.into(), parent, attributes }]));
    }
    if let Some(id) = attributes.keys().next() {
        return Err(Error::damaged("model_attributes", i64::from(id.0), "model", "does not exist"));
    }
    match points.keys().next() {
        Some(id) => Err(Error::damaged("points", i64::from(id.0), "model", "does not exist")),
        None => Ok(()),
    }
}

/// All points by model, numbered densely.
fn load_points(connection: &Connection) -> Result<BTreeMap<ModelId, Vec<Point>>, Error> {
    let act = |e| Error::sqlite("read points", e);
    let mut statement = connection
        .prepare(
            "SELECT model, id, key, name, data_type, signal, has_quality, unit, enum_values
             FROM points ORDER BY model, id",
        )
        .map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    let mut models: BTreeMap<ModelId, Vec<Point>> = BTreeMap::new();
    while let Some(row) = rows.next().map_err(act)? {
        let model = ModelId(number("points", row.get(0).map_err(act)?)?);
        let points = models.entry(model).or_default();
        let point = decode_point(row, model, points.len())?;
        points.push(point);
    }
    Ok(models)
}

fn decode_point(row: &Row<'_>, model: ModelId, expected: usize) -> Result<Point, Error> {
    let act = |e| Error::sqlite("read points", e);
    let damaged = |field: &str, reason: String| Error::damaged("points", i64::from(model.0), field, reason);
    let id: i64 = row.get(1).map_err(act)?;
    if usize::try_from(id) != Ok(expected) {
        return Err(damaged("id", format!("is {id} where {expected} follows")));
    }
    let type_text: String = row.get(4).map_err(act)?;
    let signal_text: String = row.get(5).map_err(act)?;
    let data_type = DATA_TYPES
        .into_iter()
        .find(|&t| type_name(t) == type_text)
        .ok_or_else(|| damaged("data_type", format!("is {type_text:?}")))?;
    let signal = SIGNAL_TYPES
        .into_iter()
        .find(|s| s.name() == signal_text)
        .ok_or_else(|| damaged("signal", format!("is {signal_text:?}")))?;
    let values: Option<String> = row.get(8).map_err(act)?;
    let (mut enum_ints, mut enum_texts) = (Vec::new(), Vec::new());
    if let Some(json) = values {
        let bad = |e: serde_json::Error| damaged("enum_values", e.to_string());
        match data_type {
            DataType::Enum(EnumKind::Int) => enum_ints = serde_json::from_str(&json).map_err(bad)?,
            DataType::Enum(EnumKind::Text) => enum_texts = serde_json::from_str(&json).map_err(bad)?,
            _ => return Err(damaged("enum_values", format!("are given for {type_text}"))),
        }
    }
    Ok(Point {
        id: PointId(expected as u32),
        key: row.get(2).map_err(act)?,
        name: row.get(3).map_err(act)?,
        data_type,
        signal,
        has_quality: row.get(6).map_err(act)?,
        unit: row.get(7).map_err(act)?,
        enum_ints,
        enum_texts,
    })
}
