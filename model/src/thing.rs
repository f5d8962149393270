//! Thing models: which measure points an asset has, and of which type.
//!
//! Owns: the shape of a model as the hot path needs it. Does not own: how models are stored, created or inherited
//! (`registry` flattens inheritance before it hands a [`Model`] out).

use std::collections::HashMap;

use crate::id::{ModelId, OrgId, PointId};
use crate::value::Kind;

/// The data type of a measure point, as the thing model declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// 32-bit signed integer.
    Int,
    /// 64-bit signed integer.
    Long,
    /// IEEE 754 binary32.
    Float,
    /// IEEE 754 binary64.
    Double,
    /// true or false; devices may send 0 or 1.
    Bool,
    /// UTF-8 text, 1 to [`crate::limits::STRING_BYTES_MAX`] bytes.
    String,
    /// One of a list of values, all integers or all texts.
    Enum(EnumKind),
    /// A civil date and time without zone, `yyyy-MM-dd HH:mm:ss`, held as microseconds since 1970-01-01 00:00:00.
    Date,
    /// An instant, sent as UTC milliseconds (number or digits in a string), held as microseconds since the epoch.
    Timestamp,
    /// A list, held as compact JSON text.
    Array,
    /// Named members, held as compact JSON text.
    Struct,
    /// A URI.
    File,
}

/// What the values of an ENUM are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnumKind {
    /// 32-bit integers.
    Int,
    /// Texts.
    Text,
}

impl DataType {
    /// How values of this type are held in columns.
    ///
    /// A FLOAT is held as the `f64` of exactly the same number; encoders find out that it fits 32 bits.
    pub const fn kind(self) -> Kind {
        match self {
            DataType::Int | DataType::Long | DataType::Enum(EnumKind::Int) => Kind::Int,
            DataType::Date | DataType::Timestamp => Kind::Int,
            DataType::Float | DataType::Double => Kind::Float,
            DataType::Bool => Kind::Bool,
            DataType::String | DataType::Enum(EnumKind::Text) => Kind::Text,
            DataType::Array | DataType::Struct | DataType::File => Kind::Text,
        }
    }

    /// The name in thing-model JSON. ENUM does not tell its kind here.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::Int => "INT",
            DataType::Long => "LONG",
            DataType::Float => "FLOAT",
            DataType::Double => "DOUBLE",
            DataType::Bool => "BOOL",
            DataType::String => "STRING",
            DataType::Enum(_) => "ENUM",
            DataType::Date => "DATE",
            DataType::Timestamp => "TIMESTAMP",
            DataType::Array => "ARRAY",
            DataType::Struct => "STRUCT",
            DataType::File => "FILE",
        }
    }
}

/// What kind of signal a point is; decides the storage types open to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SignalType {
    /// Anything.
    #[default]
    Generic,
    /// Analogue input: a measured number.
    Ai,
    /// Digital input: a status.
    Di,
    /// Pulse input: energy and meter readings.
    Pi,
}

impl SignalType {
    /// The name in thing-model JSON.
    pub const fn name(self) -> &'static str {
        match self {
            SignalType::Generic => "Generic",
            SignalType::Ai => "AI",
            SignalType::Di => "DI",
            SignalType::Pi => "PI",
        }
    }
}

/// One measure point of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its number, dense within the model.
    pub id: PointId,
    /// Its identifier: the key in device messages and the column name in SQL.
    pub key: String,
    /// Display name.
    pub name: String,
    /// Data type.
    pub data_type: DataType,
    /// Signal type.
    pub signal: SignalType,
    /// Whether devices send a quality beside the value.
    pub has_quality: bool,
    /// Unit, for people.
    pub unit: Option<String>,
    /// For ENUM of integers: the values allowed, sorted; empty = any.
    pub enum_ints: Vec<i64>,
    /// For ENUM of texts: the values allowed, sorted; empty = any.
    pub enum_texts: Vec<String>,
}

/// A thing model with everything it inherits, immutable; a changed model is a new value with a higher `version`.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its number.
    pub id: ModelId,
    /// Its organization.
    pub org: OrgId,
    /// Its identifier: the table name in SQL.
    pub key: String,
    /// `/root/parent/child`.
    pub path: String,
    /// Its points; `points[i].id == PointId(i)`.
    pub points: Vec<Point>,
    /// Counts changes of this model.
    pub version: u64,
    by_key: HashMap<String, PointId>,
}

impl Model {
    /// A model of `points`, which must be numbered `0..n` in order.
    ///
    /// # Panics
    /// Where they are not: the registry that numbers them is broken.
    pub fn new(
        id: ModelId,
        org: OrgId,
        key: String,
        path: String,
        points: Vec<Point>,
        version: u64,
    ) -> Model {
        for (i, point) in points.iter().enumerate() {
            assert_eq!(point.id.0 as usize, i, "points of model {key} are not numbered densely");
        }
        let by_key = points.iter().map(|p| (p.key.clone(), p.id)).collect();
        Model { id, org, key, path, points, version, by_key }
    }

    /// The point with this identifier.
    pub fn point_by_key(&self, key: &str) -> Option<&Point> {
        self.by_key.get(key).map(|id| &self.points[id.0 as usize])
    }

    /// The point with this number.
    pub fn point(&self, id: PointId) -> Option<&Point> {
        self.points.get(id.0 as usize)
    }
}
