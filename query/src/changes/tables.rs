//! `CREATE TABLE`, `ALTER TABLE`: models and points by their definitions in SQL.
//!
//! Owns: SQL types and options → points of a model. Does not own: which names and definitions are right (`registry`).

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use datafusion::sql::sqlparser::ast::{
    self, AlterTableOperation, ColumnDef, ColumnOption, CreateTable, CreateTableOptions, EnumMember,
    ExactNumberInfo, Expr, SqlOption, TableConstraint, TimezoneInfo, Value,
};
use wattline_model::{DataType, EnumKind, Model, SignalType};
use wattline_registry::{DEFAULT_ORG, NewModel, NewPoint, Permissions, Reach, Right, Rights};

use super::names::{in_public, place, readings, wrong};
use super::{Asked, refused, without};
use crate::columns::{ASSET_ID, TIME};
use crate::engine::Engine;
use crate::error::Error;

impl Engine {
    pub(super) fn ask_create(&self, create: CreateTable) -> Result<Asked, Error> {
        check_clauses(&create)?;
        let table = in_public(&create.name)?;
        let registry = self.catalog().registry();
        let mut new = NewModel {
            org: DEFAULT_ORG,
            key: table.value.clone(),
            name: String::new(),
            parent: None,
            points: Vec::new(),
        };
        let CreateTableOptions::With(options) = &create.table_options else {
            return self.finish_create(create, new);
        };
        for option in options {
            let (key, value) = key_value(option)?;
            match key.as_str() {
                "organization" => {
                    let wanted = text(&key, value)?;
                    let org = registry.orgs().into_iter().find(|org| org.key == wanted);
                    new.org = org.ok_or_else(|| wrong(format!("organization {wanted} does not exist")))?.id;
                }
                "name" => new.name = text(&key, value)?,
                "parent" => new.parent = Some(text(&key, value)?),
                _ => return Err(unknown_option(&key, "organization, name, parent")),
            }
        }
        self.finish_create(create, new)
    }

    fn finish_create(&self, create: CreateTable, mut new: NewModel) -> Result<Asked, Error> {
        let rights = |permissions: &Permissions| permissions.on_organization(new.org);
        self.scope()
            .demand(Right::Manage, rights, || "the organization, and so to create a table in it".into())?;
        if create.if_not_exists && self.catalog().registry().model_by_key(new.org, &new.key).is_some() {
            return Ok(Asked::Nothing("CREATE TABLE"));
        }
        create.constraints.iter().try_for_each(check_constraint)?;
        let [asset, time, points @ ..] = &create.columns[..] else {
            return Err(wrong(
                "a table begins with the columns asset_id TEXT, time TIMESTAMP WITH TIME ZONE",
            ));
        };
        check_fixed(asset, ASSET_ID, "TEXT", |t| point_type(t).is_ok_and(|(t, _)| t == DataType::String))?;
        check_fixed(time, TIME, "TIMESTAMP WITH TIME ZONE", |t| {
            point_type(t).is_ok_and(|(t, _)| matches!(t, DataType::Timestamp | DataType::Date))
        })?;
        new.points = points.iter().map(point).collect::<Result<_, _>>()?;
        Ok(Asked::CreateModel(new))
    }

    pub(super) fn ask_alter(&self, alter: ast::AlterTable) -> Result<Asked, Error> {
        without(
            "ALTER TABLE",
            &[
                ("ON CLUSTER", alter.on_cluster.is_some()),
                ("SET LOCATION", alter.location.is_some()),
                ("another kind of table", alter.table_type.is_some()),
            ],
        )?;
        let model = match self.model_named(&alter.name) {
            Err(_) if alter.if_exists => return Ok(Asked::Nothing("ALTER TABLE")),
            found => found?,
        };
        let rights = |permissions: &Permissions| match permissions.reach(Right::Manage, &model) {
            Reach::All => Right::Manage.into(),
            Reach::Some | Reach::None => Rights::NONE,
        };
        self.scope().demand(Right::Manage, rights, || format!("model {}", model.key))?;
        if let [AlterTableOperation::RenameColumn { old_column_name, new_column_name }] =
            &alter.operations[..]
        {
            let known = readings(old_column_name);
            let from = known.into_iter().find(|key| model.point_by_key(key).is_some()).ok_or_else(|| {
                wrong(format!("model {} has no point {}", model.key, old_column_name.value))
                    .at(place(old_column_name))
            })?;
            return Ok(Asked::RenamePoint { model: model.id, from, to: new_column_name.value.clone() });
        }
        self.ask_add(&model, &alter.operations)
    }

    fn ask_add(&self, model: &Arc<Model>, operations: &[AlterTableOperation]) -> Result<Asked, Error> {
        let mut points = Vec::new();
        for operation in operations {
            let AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } =
                operation
            else {
                let known = "ALTER TABLE has ADD COLUMN, and RENAME COLUMN alone; columns are kept for ever";
                return Err(refused(&operation.to_string(), known));
            };
            let point = point(column_def)?;
            match model.point_by_key(&point.key) {
                Some(_) if *if_not_exists => {}
                Some(_) => {
                    let message = format!("model {} has a point {} already", model.key, point.key);
                    return Err(wrong(message).at(place(&column_def.name)));
                }
                None => points.push(point),
            }
        }
        match points.is_empty() {
            true => Ok(Asked::Nothing("ALTER TABLE")),
            false => Ok(Asked::AddPoints(model.id, points)),
        }
    }
}

/// A statement made of the parts that are read must be the one that came.
fn check_clauses(create: &CreateTable) -> Result<(), Error> {
    let read = CreateTableBuilder::new(create.name.clone())
        .if_not_exists(create.if_not_exists)
        .columns(create.columns.clone())
        .constraints(create.constraints.clone())
        .table_options(create.table_options.clone())
        .hive_formats(create.hive_formats.clone())
        .build();
    let no_options = matches!(&create.table_options, CreateTableOptions::None | CreateTableOptions::With(_));
    if no_options && read == *create {
        return Ok(());
    }
    Err(wrong(
        "CREATE TABLE has a clause that has no meaning here; it is CREATE TABLE [IF NOT EXISTS] name (asset_id TEXT, \
         time TIMESTAMP WITH TIME ZONE, point TYPE [OPTIONS (…)], …) [WITH (organization = '…', name = '…', parent = \
         '…')]",
    ))
}

/// A sample is unique by asset and time: a statement may say so, and nothing else.
fn check_constraint(constraint: &TableConstraint) -> Result<(), Error> {
    if let TableConstraint::PrimaryKey(key) = constraint {
        let columns: Vec<String> = key.columns.iter().map(|column| column.column.expr.to_string()).collect();
        if columns == [ASSET_ID, TIME] {
            return Ok(());
        }
    }
    Err(refused(
        &constraint.to_string(),
        "a table has PRIMARY KEY (asset_id, time) by itself and no other constraint",
    ))
}

fn check_fixed(
    column: &ColumnDef,
    name: &str,
    data_type: &str,
    fits: impl Fn(&ast::DataType) -> bool,
) -> Result<(), Error> {
    let plain = column.options.iter().all(|option| matches!(option.option, ColumnOption::NotNull));
    if !readings(&column.name).iter().any(|reading| reading == name) || !fits(&column.data_type) || !plain {
        let message = format!("expected the column {name} {data_type} here, got {column}");
        return Err(wrong(message).at(place(&column.name)));
    }
    Ok(())
}

/// A column as a point.
fn point(column: &ColumnDef) -> Result<NewPoint, Error> {
    let key = column.name.value.clone();
    let (data_type, enum_texts) = point_type(&column.data_type)
        .map_err(|reason| wrong(format!("column {key}: {reason}")).at(place(&column.name)))?;
    let mut new = NewPoint { enum_texts, ..NewPoint::new(key.as_str(), data_type) };
    for option in &column.options {
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::Comment(text) => new.name.clone_from(text),
            ColumnOption::Options(options) => options.iter().try_for_each(|o| read_option(&mut new, o))?,
            other => {
                let what = format!("column {key}: {other}");
                return Err(refused(&what, "a point may have a sample or none, and OPTIONS and COMMENT"));
            }
        }
    }
    Ok(new)
}

fn read_option(point: &mut NewPoint, option: &SqlOption) -> Result<(), Error> {
    let (key, value) = key_value(option)?;
    match key.as_str() {
        "name" => point.name = text(&key, value)?,
        "unit" => point.unit = Some(text(&key, value)?),
        "signal" => {
            let name = text(&key, value)?;
            let known = [SignalType::Generic, SignalType::Ai, SignalType::Di, SignalType::Pi];
            let found = known.into_iter().find(|signal| signal.name().eq_ignore_ascii_case(&name));
            point.signal = found
                .ok_or_else(|| wrong(format!("option signal: {name} is none of Generic, AI, DI and PI")))?;
        }
        "quality" => match value {
            Expr::Value(value) if value.value == Value::Boolean(true) => point.has_quality = true,
            Expr::Value(value) if value.value == Value::Boolean(false) => point.has_quality = false,
            other => return Err(wrong(format!("option quality: {other} is neither true nor false"))),
        },
        _ => return Err(unknown_option(&key, "name, unit, signal, quality")),
    }
    Ok(())
}

fn key_value(option: &SqlOption) -> Result<(String, &Expr), Error> {
    match option {
        SqlOption::KeyValue { key, value } => Ok((key.value.to_lowercase(), value)),
        other => Err(wrong(format!("option {other}: expected a name = value"))),
    }
}

fn unknown_option(key: &str, known: &str) -> Error {
    wrong(format!("there is no option {key}; there are {known}"))
}

fn text(key: &str, value: &Expr) -> Result<String, Error> {
    let found = match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        Expr::Identifier(ident) => Some(ident.value.clone()),
        _ => None,
    };
    found.ok_or_else(|| wrong(format!("option {key}: {value} is no text")))
}

/// The type of a point's values, and the texts it may have.
fn point_type(data_type: &ast::DataType) -> Result<(DataType, Vec<String>), String> {
    use ast::DataType as Sql;
    let point = match data_type {
        Sql::SmallInt(_) | Sql::Int2(_) | Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) | Sql::Int32 => {
            DataType::Int
        }
        Sql::BigInt(_) | Sql::Int8(_) | Sql::Int64 => DataType::Long,
        Sql::Float(ExactNumberInfo::Precision(25..)) => DataType::Double,
        Sql::Real | Sql::Float4 | Sql::Float32 | Sql::Float(_) => DataType::Float,
        Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 | Sql::Float64 => DataType::Double,
        Sql::Bool | Sql::Boolean => DataType::Bool,
        Sql::Text | Sql::String(_) | Sql::Varchar(None) | Sql::CharacterVarying(None) => DataType::String,
        Sql::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => DataType::Timestamp,
        Sql::Timestamp(..) | Sql::Date => DataType::Date,
        Sql::JSON | Sql::JSONB => DataType::Struct,
        Sql::Array(_) => DataType::Array,
        Sql::Enum(members, None) => {
            let text = |member: &EnumMember| match member {
                EnumMember::Name(text) => Ok(text.clone()),
                EnumMember::NamedValue(text, _) => Err(format!("ENUM value {text} has a number")),
            };
            let texts = members.iter().map(text).collect::<Result<_, _>>()?;
            return Ok((DataType::Enum(EnumKind::Text), texts));
        }
        other => {
            return Err(format!(
                "type {other} has no point; there are INT, BIGINT, REAL, DOUBLE, BOOLEAN, TEXT, ENUM ('a', …), \
                 TIMESTAMP, TIMESTAMP WITH TIME ZONE, JSON and arrays"
            ));
        }
    };
    Ok((point, Vec::new()))
}
