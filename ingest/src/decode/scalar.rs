//! A JSON value as a [`Scalar`], with an optional quality beside it.
//!
//! Owns: the two value forms of the device protocol (bare, and `{"value": …, "quality": …}`) for any JSON input. Does
//! not own: whether the value fits ([`crate::check`]).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wattline_model::{BatchBuilder, DataType, Point};

use crate::check::{self, Fault, Scalar};

/// How to read a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As JSON has it.
    Plain,
    /// Numbers as text: the point's type rounds them, or they may be past what 64 bits hold.
    Text,
    /// Lists and objects as text.
    Nested,
}

impl Form {
    pub(crate) fn of(data_type: DataType) -> Form {
        match data_type {
            DataType::Float => Form::Text,
            DataType::Array | DataType::Struct => Form::Nested,
            _ => Form::Plain,
        }
    }
}

/// A value and what came with it.
#[derive(Debug)]
pub(crate) struct Cell<'a> {
    pub(crate) value: Scalar<'a>,
    pub(crate) quality: Option<Scalar<'a>>,
    /// A member of the object form that means nothing.
    pub(crate) stray: Option<String>,
}

impl<'a> Cell<'a> {
    fn bare(value: Scalar<'a>) -> Cell<'a> {
        Cell { value, quality: None, stray: None }
    }
}

/// Puts a value into the open row, where it fits its point.
pub(crate) fn put(
    rows: &mut BatchBuilder,
    point: &Point,
    cell: &Cell<'_>,
    scratch: &mut String,
) -> Result<(), Fault> {
    if let Some(stray) = &cell.stray {
        return Err(Fault::format(format!("has a member {stray:?} beside value and quality")));
    }
    let quality = match &cell.quality {
        None | Some(Scalar::Null) => None,
        Some(_) if !point.has_quality => {
            return Err(Fault::model("has a quality, and the model gives this point none"));
        }
        Some(quality) => Some(check::quality(quality)?),
    };
    let value = check::value(point, &cell.value, scratch)?;
    if rows.cell(point.id, value, quality) {
        Ok(())
    } else {
        Err(Fault::model("is held as another kind of value in this batch"))
    }
}

/// Reads a [`Cell`].
pub(crate) struct CellSeed {
    pub(crate) form: Form,
    /// Whether an object is the value itself and not the form with a quality.
    pub(crate) object_is_value: bool,
}

impl<'de> DeserializeSeed<'de> for CellSeed {
    type Value = Cell<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cell<'de>, D::Error> {
        if self.form == Form::Plain {
            let CellSeed { form, object_is_value } = self;
            return deserializer.deserialize_any(CellVisitor { form, object_is_value });
        }
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        match raw.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => return Ok(Cell::bare(Scalar::Number(raw))),
            Some(b'[') => return Ok(Cell::bare(Scalar::Json(raw))),
            Some(b'{') if self.object_is_value => return Ok(Cell::bare(Scalar::Json(raw))),
            _ => {}
        }
        let mut inner = serde_json::Deserializer::from_str(raw);
        let visitor = CellVisitor { form: self.form, object_is_value: false };
        inner.deserialize_any(visitor).map_err(D::Error::custom)
    }
}

struct CellVisitor {
    form: Form,
    object_is_value: bool,
}

macro_rules! bare {
    ($($method:ident($type:ty) => $scalar:expr;)*) => {
        $(fn $method<E>(self, v: $type) -> Result<Cell<'de>, E> {
            Ok(Cell::bare(($scalar)(v)))
        })*
    };
}

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    bare! {
        visit_bool(bool) => Scalar::Bool;
        visit_i64(i64) => Scalar::Int;
        visit_u64(u64) => |v| i64::try_from(v).map_or(Scalar::UInt(v), Scalar::Int);
        visit_f64(f64) => Scalar::Float;
        visit_borrowed_str(&'de str) => |v| Scalar::Text(Cow::Borrowed(v));
        visit_str(&str) => |v: &str| Scalar::Text(Cow::Owned(v.to_owned()));
    }

    fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::bare(Scalar::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cell<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::bare(Scalar::Nested))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell<'de>, A::Error> {
        if self.object_is_value {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Cell::bare(Scalar::Nested));
        }
        let mut cell = Cell { value: Scalar::Null, quality: None, stray: None };
        while let Some(member) = map.next_key_seed(MemberSeed)? {
            match member {
                Member::Value => cell.value = map.next_value_seed(ScalarSeed { form: self.form })?,
                Member::Quality => {
                    cell.quality = Some(map.next_value_seed(ScalarSeed { form: Form::Plain })?);
                }
                Member::Other(name) => {
                    map.next_value::<IgnoredAny>()?;
                    cell.stray.get_or_insert(name);
                }
            }
        }
        Ok(cell)
    }
}

/// Reads a [`Scalar`] where no second form is possible.
pub(crate) struct ScalarSeed {
    pub(crate) form: Form,
}

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar<'de>, D::Error> {
        let cell = CellSeed { form: self.form, object_is_value: true };
        Ok(cell.deserialize(deserializer)?.value)
    }
}

enum Member {
    Value,
    Quality,
    Other(String),
}

struct MemberSeed;

impl<'de> DeserializeSeed<'de> for MemberSeed {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberSeed {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Member, E> {
        Ok(match name {
            "value" => Member::Value,
            "quality" => Member::Quality,
            other => Member::Other(crate::check::quote(other).to_owned()),
        })
    }
}
