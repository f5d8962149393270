//! The points of one entry, straight into the open row.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use wattline_model::limits::JSON_BYTES_MAX;
use wattline_model::{DataType, Model, OrgId, Point};

use super::entry::{Place, Target};
use super::{Missing, State};
use crate::check::{Scalar, quote};
use crate::code::Code;
use crate::decode::scalar::{Cell, CellSeed, Form, put};
use crate::resolve::KeyOrder;

/// Reads `{point: value, …}` into the open row of `target`.
pub(super) struct PointsSeed<'s, 'x, 'c, 'p> {
    pub(super) state: &'s mut State<'x, 'c, 'p>,
    pub(super) target: Target,
    pub(super) place: Place,
}

impl<'de> DeserializeSeed<'de> for PointsSeed<'_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PointsSeed<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.measurepoints to be an object", self.place)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let PointsSeed { state, target, place } = self;
        let model: &Model = match &target {
            Target::Own => state.context.model,
            Target::Other(_, model) => model,
        };
        state.context.order.begin(model);
        let mut nth = 0;
        while let Some(found) = map.next_key_seed(PointSeed { order: state.context.order, model, nth })? {
            nth += 1;
            match found {
                Found::Point(point) => {
                    let cell = map.next_value_seed(seed_of(point.data_type, state.raw_numbers))?;
                    if let Err(fault) = put(state.rows, point, &cell, state.context.scratch) {
                        let key = &point.key;
                        let message = || format!("{place}.measurepoints.{key}: {}", fault.reason);
                        state.tally.invalid(fault.code, message);
                    }
                }
                Found::Unknown(key) if state.context.collect_missing => {
                    let cell =
                        map.next_value_seed(CellSeed { form: Form::Nested, object_is_value: false })?;
                    let missing = guess(model, &key, &cell);
                    unknown(state, place, model, &key);
                    state.tally.missing.extend(missing);
                }
                Found::Unknown(key) => {
                    let value = map.next_value::<&'de RawValue>()?;
                    if !state.keep_unformatted(model.org, &key, value.get()) {
                        unknown(state, place, model, &key);
                    }
                }
            }
        }
        if nth == 0 {
            state.tally.refuse(Code::Empty, || format!("{place}.measurepoints is empty"));
        }
        Ok(())
    }
}

impl State<'_, '_, '_> {
    /// Takes note of a value that the model does not define; `false` where it is not kept.
    fn keep_unformatted(&mut self, org: OrgId, key: &str, value: &str) -> bool {
        let registry = self.context.registry;
        let Some(model) = registry.unformatted(org).and_then(|kept| registry.model(kept.model)) else {
            return false;
        };
        let Some(text) = unformatted_text(value) else { return false };
        match model.point_by_key(key) {
            Some(point) => {
                self.unformatted.push((point.id, text));
                true
            }
            None => {
                let (model, key, data_type) = (model.id, key.to_owned(), DataType::String);
                let missing = Missing { model, key, data_type, has_quality: false };
                self.tally.missing.extend(self.context.collect_unformatted.then_some(missing));
                false
            }
        }
    }
}

/// What is kept of a value that no model defines: texts as they are, all else as the JSON that came; `None` where it is
/// nothing, or too much.
pub(crate) fn unformatted_text(value: &str) -> Option<String> {
    let text = match serde_json::from_str::<Cow<'_, str>>(value) {
        Ok(text) => text.into_owned(),
        Err(_) if value == "null" => return None,
        Err(_) => value.to_owned(),
    };
    (!text.is_empty() && text.len() <= JSON_BYTES_MAX).then_some(text)
}

fn unknown(state: &mut State<'_, '_, '_>, place: Place, model: &Model, key: &str) {
    let key = quote(key);
    let message = || format!("{place}.measurepoints.{key}: model {} has no such point", model.key);
    state.tally.invalid(Code::Model, message);
}

fn seed_of(data_type: DataType, raw_numbers: bool) -> CellSeed {
    let form = match Form::of(data_type) {
        Form::Plain if raw_numbers => Form::Text,
        form => form,
    };
    CellSeed { form, object_is_value: data_type == DataType::Struct }
}

/// The definition of an unknown point that its first value suggests.
pub(crate) fn guess(model: &Model, key: &str, cell: &Cell<'_>) -> Option<Missing> {
    let data_type = match &cell.value {
        Scalar::Bool(_) => DataType::Bool,
        Scalar::Int(_) | Scalar::UInt(_) | Scalar::Float(_) | Scalar::Number(_) => DataType::Double,
        Scalar::Text(_) => DataType::String,
        Scalar::Json(text) if text.starts_with('[') => DataType::Array,
        Scalar::Json(_) => DataType::Struct,
        Scalar::Null if cell.stray.is_some() => DataType::Struct,
        Scalar::Null | Scalar::Nested => return None,
    };
    let has_quality = cell.quality.is_some() && data_type == DataType::Double;
    Some(Missing { model: model.id, key: key.to_owned(), data_type, has_quality })
}

/// Reads a key as the point it names.
struct PointSeed<'o, 'm> {
    order: &'o mut KeyOrder,
    model: &'m Model,
    nth: usize,
}

enum Found<'m> {
    Point(&'m Point),
    Unknown(String),
}

impl<'de, 'm> DeserializeSeed<'de> for PointSeed<'_, 'm> {
    type Value = Found<'m>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'m>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'m> Visitor<'_> for PointSeed<'_, 'm> {
    type Value = Found<'m>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of a point")
    }

    fn visit_str<E>(self, key: &str) -> Result<Found<'m>, E> {
        Ok(match self.order.resolve(self.model, self.nth, key) {
            Some(point) => Found::Point(point),
            None => Found::Unknown(key.to_owned()),
        })
    }
}
