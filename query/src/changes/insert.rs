//! `INSERT INTO <model> [(columns)] VALUES … | SELECT …`, and where the rows of COPY go.
//!
//! Owns: which column of the source goes to which column of the table, and in which type it is handed over. Does not
//! own: whether a value is right (the door decides, as for every other way in): nothing is cast to the type of a
//! point, because a cast would round 1.5 to 1 where the door refuses it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, ObjectNamePart, TableObject};
use wattline_model::Model;

use super::names::{place, readings, wrong};
use super::{Asked, without};
use crate::columns::{Columns, Role, instant};
use crate::engine::{Caller, Description, Engine, parameter_number, with_params};
use crate::error::{Error, nearest};
use crate::running;
use crate::statement;

/// What rows that come beside a statement go into: a model's table, and its columns in the order of the rows.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The table's name, as [`Engine::write`] takes it.
    pub table: String,
    /// Names as the table has them.
    pub names: Vec<String>,
    /// Names that the rows handed to [`Engine::write`] must have, and the types of the table's columns.
    pub schema: SchemaRef,
}

/// Where a column of the source goes.
struct Target {
    role: Role,
    /// The column's name at the door: `asset_id`, `time`, a point's key, or that with `_quality`.
    name: String,
    /// The type it has in the table.
    data_type: DataType,
    /// The column's name in the table.
    shown: String,
}

impl Engine {
    pub(super) async fn ask_insert(
        &self,
        state: &mut SessionState,
        insert: ast::Insert,
        bindings: Vec<Vec<ScalarValue>>,
        running: &running::Statement,
    ) -> Result<Asked, Error> {
        let (model, targets, source) = self.plan_source(state, insert).await?;
        let source = with_bindings(source, bindings)?;
        let plan = hand_over(source, &targets).map_err(|e| self.planning(&e))?;
        let rows = self.execute(state, &plan, running).await?;
        Ok(Asked::Insert { model, rows })
    }

    /// What `COPY {table} ({columns})` fills; `table` and `columns` as a statement writes them, no columns meaning all.
    ///
    /// # Errors
    /// Where there is no such table or column, or asset and time are not among them.
    pub fn destination(&self, caller: &Caller, table: &str, columns: &str) -> Result<Destination, Error> {
        self.seen_by(caller).destination_seen(table, columns)
    }

    fn destination_seen(&self, table: &str, columns: &str) -> Result<Destination, Error> {
        let list = if columns.is_empty() { String::new() } else { format!("({columns}\n)") };
        let state = self.session();
        // The syntax of names is that of INSERT, so its parser reads them.
        let statement = statement::parse_any(&state, &format!("INSERT INTO {table} {list} SELECT 1"))?;
        let ast::Statement::Insert(insert) = super::change_of(statement)? else {
            return Err(wrong("a table and its columns are expected"));
        };
        check_clauses(&insert)?;
        let TableObject::TableName(name) = &insert.table else {
            return Err(wrong("rows go into a table that is named"));
        };
        let model = self.model_named(name)?;
        let given = match insert.columns.len() {
            0 => Columns::of_samples(&model).roles.len(),
            named => named,
        };
        let targets = targets(&model, &insert.columns, given)?;
        let fields = targets.iter().map(|t| Field::new(&t.name, t.data_type.clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let names = targets.into_iter().map(|t| t.shown).collect();
        Ok(Destination { table: model.key.clone(), names, schema })
    }

    pub(super) async fn describe_insert(
        &self,
        state: &mut SessionState,
        insert: ast::Insert,
    ) -> Result<Description, Error> {
        let (_, targets, source) = self.plan_source(state, insert).await?;
        let mut description = Description::of(&source)?;
        for (i, target) in targets.iter().enumerate() {
            for parameter in parameters_at(&source, i) {
                let slot = &mut description.parameters[parameter_number(parameter)? - 1];
                slot.get_or_insert_with(|| target.data_type.clone());
            }
        }
        Ok(Description { schema: Description::of_nothing().schema, ..description })
    }

    /// The model, the targets of the source's columns, and the source.
    async fn plan_source(
        &self,
        state: &mut SessionState,
        insert: ast::Insert,
    ) -> Result<(Arc<Model>, Vec<Target>, LogicalPlan), Error> {
        check_clauses(&insert)?;
        let TableObject::TableName(table) = &insert.table else {
            return Err(wrong("INSERT goes into a table that is named"));
        };
        let model = self.model_named(table)?;
        let Some(source) = insert.source else {
            return Err(wrong("INSERT has no rows: give VALUES or SELECT"));
        };
        statement::check_source(&source)?;
        let query = Statement::Statement(Box::new(ast::Statement::Query(source)));
        let plan = self.plan(state, query).await?;
        let given = plan.schema().fields().len();
        let targets = targets(&model, &insert.columns, given)?;
        Ok((model, targets, plan))
    }
}

/// The source with its parameters put in: the rows of VALUES once for each binding.
fn with_bindings(source: LogicalPlan, mut bindings: Vec<Vec<ScalarValue>>) -> Result<LogicalPlan, Error> {
    if bindings.len() < 2 {
        return with_params(source, bindings.pop().unwrap_or_default());
    }
    if !matches!(source, LogicalPlan::Values(_)) {
        let message = "INSERT of a query runs with one row of parameters; several are for VALUES";
        return Err(wrong(message));
    }
    let mut rows = Vec::new();
    for params in bindings {
        if let LogicalPlan::Values(values) = with_params(source.clone(), params)? {
            rows.extend(values.values);
        }
    }
    LogicalPlanBuilder::values(rows).and_then(LogicalPlanBuilder::build).map_err(Error::from)
}

fn check_clauses(insert: &ast::Insert) -> Result<(), Error> {
    without(
        "INSERT",
        &[
            ("ON CONFLICT", insert.on.is_some()),
            ("OR", insert.or.is_some()),
            ("IGNORE", insert.ignore),
            ("OVERWRITE", insert.overwrite),
            ("REPLACE", insert.replace_into),
            ("RETURNING", insert.returning.is_some() || insert.output.is_some()),
            ("SET", !insert.assignments.is_empty()),
            ("PARTITION", insert.partitioned.is_some() || !insert.after_columns.is_empty()),
            ("an alias", insert.table_alias.is_some() || insert.insert_alias.is_some()),
            ("SETTINGS", insert.settings.is_some()),
            ("FORMAT", insert.format_clause.is_some()),
            ("a second table", insert.multi_table_insert_type.is_some()),
        ],
    )
}

/// The columns named, or the first ones of the table.
fn targets(model: &Model, named: &[ast::ObjectName], given: usize) -> Result<Vec<Target>, Error> {
    let columns = Columns::of_samples(model);
    let places: Vec<usize> = if named.is_empty() {
        (0..given.min(columns.roles.len())).collect()
    } else {
        named.iter().map(|name| column_named(&columns, model, name)).collect::<Result<_, _>>()?
    };
    if places.len() != given {
        let (wanted, table) = (places.len(), &model.key);
        let message = match named.is_empty() {
            true => format!("the rows have {given} values; table {table} has {wanted} columns"),
            false => format!("the rows have {given} values for {wanted} columns"),
        };
        return Err(wrong(message));
    }
    for (i, at) in places.iter().enumerate() {
        if places[..i].contains(at) {
            return Err(wrong(format!("column {} is named twice", columns.schema.field(*at).name())));
        }
    }
    for (role, name) in [(Role::Asset, "asset_id"), (Role::Time, "time")] {
        if !places.iter().any(|&at| columns.roles[at] == role) {
            return Err(wrong(format!("column {name} is missing: every sample has an asset and a time")));
        }
    }
    Ok(places.into_iter().map(|at| target(&columns, model, at)).collect())
}

fn target(columns: &Columns, model: &Model, at: usize) -> Target {
    let field = columns.schema.field(at);
    let role = columns.roles[at];
    let name = match role {
        Role::Value(point) => model.points[point].key.clone(),
        Role::Quality(point) => format!("{}_quality", model.points[point].key),
        Role::Asset | Role::Time | Role::ValueTime(_) => field.name().clone(),
    };
    Target { role, name, data_type: field.data_type().clone(), shown: field.name().clone() }
}

fn column_named(columns: &Columns, model: &Model, name: &ast::ObjectName) -> Result<usize, Error> {
    let [ObjectNamePart::Identifier(ident)] = &name.0[..] else {
        return Err(wrong(format!("{name} is no column of table {}", model.key)));
    };
    let found = readings(ident).iter().find_map(|name| columns.schema.index_of(name).ok());
    found.ok_or_else(|| {
        let names = columns.schema.fields().iter().map(|f| f.name().clone());
        let help = nearest(&ident.value, names).map(|near| format!(", did you mean {near}?"));
        let message = format!("there is no column {}{}", ident.value, help.unwrap_or_default());
        wrong(message).at(place(ident))
    })
}

/// The source with the names and types that the door reads.
fn hand_over(source: LogicalPlan, targets: &[Target]) -> datafusion::common::Result<LogicalPlan> {
    let mut exprs = Vec::with_capacity(targets.len());
    for (i, target) in targets.iter().enumerate() {
        let (table, field) = source.schema().qualified_field(i);
        let column = Expr::Column(Column::new(table.cloned(), field.name()));
        let expr = match (target.role, field.data_type()) {
            // Texts are instants where an instant is wanted, as in a comparison. Whole numbers are not: a statement
            // does not say of what unit.
            (Role::Time, from) if !is_instant(from) && !from.is_integer() => cast(column, instant()),
            (Role::Time, from) if from.is_integer() => {
                let message = format!("column time: expected a timestamp or a text, got {from}");
                return Err(wrong(message).into_datafusion());
            }
            (
                _,
                DataType::Decimal32(..)
                | DataType::Decimal64(..)
                | DataType::Decimal128(..)
                | DataType::Decimal256(..),
            ) => cast(column, DataType::Float64),
            _ => column,
        };
        exprs.push(expr.alias(&target.name));
    }
    LogicalPlanBuilder::from(source).project(exprs)?.build()
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

/// The parameters that stand alone where column `i` of `plan` comes from.
fn parameters_at(plan: &LogicalPlan, i: usize) -> Vec<&str> {
    let exprs: Vec<&Expr> = match plan {
        LogicalPlan::Values(values) => values.values.iter().filter_map(|row| row.get(i)).collect(),
        LogicalPlan::Projection(projection) => projection.expr.get(i).into_iter().collect(),
        LogicalPlan::Sort(sort) => return parameters_at(&sort.input, i),
        LogicalPlan::Limit(limit) => return parameters_at(&limit.input, i),
        _ => Vec::new(),
    };
    exprs.into_iter().filter_map(parameter_of).collect()
}

fn parameter_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Placeholder(placeholder) => Some(&placeholder.id),
        Expr::Alias(alias) => parameter_of(&alias.expr),
        Expr::Cast(cast) => parameter_of(&cast.expr),
        _ => None,
    }
}
