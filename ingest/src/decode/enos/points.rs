//! The points of one entry, straight into the open row.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use wattline_model::{DataType, Model, Point};

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
                    map.next_value::<IgnoredAny>()?;
                    unknown(state, place, model, &key);
                }
            }
        }
        if nth == 0 {
            state.tally.refuse(Code::Empty, || format!("{place}.measurepoints is empty"));
        }
        Ok(())
    }
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
fn guess(model: &Model, key: &str, cell: &Cell<'_>) -> Option<Missing> {
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
