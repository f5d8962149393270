//! What the columns of a model are called and which Arrow type each has.
//!
//! Owns: the schemas of `<model>` and `latest.<model>`, and what each column stands for. Does not own: values
//! (`arrays`), which tables exist (`catalog`).
//!
//! `asset_id` and `time` come first and always have these names. Points follow in the order of their numbers, each
//! directly followed by its companions, so that a point added later never renames an earlier column. A column whose
//! name is already taken (a point called `time`, or `x_quality` beside a point `x` with quality) gets underscores
//! appended until it is free.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef, TimeUnit};
use wattline_model::{DataType, EnumKind, Model};

/// The column that names the asset.
pub(crate) const ASSET_ID: &str = "asset_id";

/// The column that tells the instant.
pub(crate) const TIME: &str = "time";

/// What a column of a model's table stands for. Points are told by their place in [`Model::points`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The asset's text id.
    Asset,
    /// The instant of the row.
    Time,
    /// The value of a point.
    Value(usize),
    /// The quality of a point's value.
    Quality(usize),
    /// The instant of a point's newest value; only in `latest`.
    ValueTime(usize),
}

/// A table's schema with the role of each of its columns.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// The schema.
    pub(crate) schema: SchemaRef,
    /// One role a field.
    pub(crate) roles: Vec<Role>,
}

impl Columns {
    /// The columns of `<model>`.
    pub(crate) fn of_samples(model: &Model) -> Columns {
        Columns::build(model, false)
    }

    /// The columns of `latest.<model>`.
    pub(crate) fn of_latest(model: &Model) -> Columns {
        Columns::build(model, true)
    }

    fn build(model: &Model, value_times: bool) -> Columns {
        let mut taken = HashSet::new();
        let mut fields = Vec::new();
        let mut roles = Vec::new();
        let mut add = |name: String, data_type: ArrowType, nullable: bool, role: Role| {
            let name = free_name(&mut taken, name);
            fields.push(Field::new(&name, data_type, nullable));
            roles.push(role);
            name
        };
        add(ASSET_ID.to_owned(), ArrowType::Utf8View, false, Role::Asset);
        add(TIME.to_owned(), instant(), false, Role::Time);
        for (i, point) in model.points.iter().enumerate() {
            let name = add(point.key.clone(), arrow_type(point.data_type), true, Role::Value(i));
            if value_times {
                add(format!("{name}_time"), instant(), true, Role::ValueTime(i));
            }
            if point.has_quality {
                add(format!("{name}_quality"), ArrowType::UInt8, true, Role::Quality(i));
            }
        }
        Columns { schema: Arc::new(Schema::new(fields)), roles }
    }

    /// The columns at `projection` in that order, or all of them.
    pub(crate) fn project(&self, projection: Option<&Vec<usize>>) -> Columns {
        let Some(projection) = projection else { return self.clone() };
        let fields: Vec<_> = projection.iter().map(|&i| Arc::clone(&self.schema.fields()[i])).collect();
        let roles = projection.iter().map(|&i| self.roles[i]).collect();
        Columns { schema: Arc::new(Schema::new(fields)), roles }
    }

    /// The points the columns need, ascending, each once.
    pub(crate) fn points(&self) -> Vec<usize> {
        let mut points: Vec<usize> = self
            .roles
            .iter()
            .filter_map(|role| match role {
                Role::Asset | Role::Time => None,
                Role::Value(i) | Role::Quality(i) | Role::ValueTime(i) => Some(*i),
            })
            .collect();
        points.sort_unstable();
        points.dedup();
        points
    }
}

fn free_name(taken: &mut HashSet<String>, mut name: String) -> String {
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// The type of instants: microseconds, UTC.
pub(crate) fn instant() -> ArrowType {
    ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The Arrow type of a point's values.
pub(crate) fn arrow_type(data_type: DataType) -> ArrowType {
    match data_type {
        DataType::Int | DataType::Enum(EnumKind::Int) => ArrowType::Int32,
        DataType::Long => ArrowType::Int64,
        DataType::Float => ArrowType::Float32,
        DataType::Double => ArrowType::Float64,
        DataType::Bool => ArrowType::Boolean,
        DataType::Date => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp => instant(),
        DataType::String
        | DataType::Enum(EnumKind::Text)
        | DataType::Array
        | DataType::Struct
        | DataType::File => ArrowType::Utf8View,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattline_model::{ModelId, OrgId, Point, PointId, SignalType};

    fn model(points: &[(&str, bool)]) -> Model {
        let points = points
            .iter()
            .enumerate()
            .map(|(i, &(key, has_quality))| Point {
                id: PointId(i as u32),
                key: key.to_owned(),
                name: key.to_owned(),
                data_type: DataType::Double,
                signal: SignalType::Generic,
                has_quality,
                unit: None,
                enum_ints: Vec::new(),
                enum_texts: Vec::new(),
            })
            .collect();
        Model::new(ModelId(1), OrgId(1), "m".to_owned(), "/m".to_owned(), points, 1)
    }

    fn names(columns: &Columns) -> Vec<&str> {
        columns.schema.fields().iter().map(|f| f.name().as_str()).collect()
    }

    #[test]
    fn points_follow_the_fixed_columns() {
        let model = model(&[("power", true), ("wind", false)]);
        assert_eq!(
            names(&Columns::of_samples(&model)),
            ["asset_id", "time", "power", "power_quality", "wind"]
        );
        assert_eq!(
            names(&Columns::of_latest(&model)),
            ["asset_id", "time", "power", "power_time", "power_quality", "wind", "wind_time"]
        );
    }

    #[test]
    fn a_taken_name_gets_underscores() {
        let model = model(&[("time", false), ("x", true), ("x_quality", false)]);
        assert_eq!(
            names(&Columns::of_samples(&model)),
            ["asset_id", "time", "time_", "x", "x_quality", "x_quality_"]
        );
    }

    #[test]
    fn a_projection_asks_for_the_points_behind_its_columns() {
        let columns = Columns::of_samples(&model(&[("a", true), ("b", false), ("c", true)]));
        let projected = columns.project(Some(&vec![6, 3, 1]));
        assert_eq!(names(&projected), ["c_quality", "a_quality", "time"]);
        assert_eq!(projected.points(), [0, 2]);
    }
}
