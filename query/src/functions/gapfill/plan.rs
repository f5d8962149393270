//! The node that fills gaps, as a logical plan, and the way to the operator.
//!
//! Owns: which columns the node has, its expressions (so that constants in them are folded with all others), reading
//! them when the plan is made physical. Does not own: filling (`exec`).

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::PhysicalPlanner;
use wattline_model::Timestamp;
use wattline_series::{Buckets, Zone};

use super::exec::{GapFillExec, Spec};
use super::range::{Bound, Range};
use crate::functions::arguments::{constants, input as wrong, micros, of_series};
use crate::functions::bucket::{GAPFILL, step};

/// How a column without a value gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Hash)]
pub(in crate::functions) enum Fill {
    /// The last value before.
    Locf,
    /// On the straight line between the neighbours.
    Interpolate,
}

impl Fill {
    /// Its function.
    pub(in crate::functions) const fn name(self) -> &'static str {
        match self {
            Fill::Locf => "locf",
            Fill::Interpolate => "interpolate",
        }
    }
}

/// The node. Its columns are those of its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct GapFill {
    /// The aggregation, with the values to be filled beside its columns.
    input: LogicalPlan,
    /// The column of bucket starts.
    time: usize,
    /// The columns that tell series apart.
    keys: Vec<usize>,
    /// The columns to be filled.
    fills: Vec<(usize, Fill)>,
    /// The interval, and the zone if there is one.
    grid: Vec<Expr>,
    range: Range,
    schema: DFSchemaRef,
}

impl PartialOrd for GapFill {
    fn partial_cmp(&self, other: &GapFill) -> Option<std::cmp::Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl GapFill {
    /// A node above `input`, whose column `time` is a call with `args`.
    pub(super) fn new(
        input: LogicalPlan,
        time: usize,
        keys: Vec<usize>,
        args: Vec<Expr>,
        range: Range,
    ) -> Result<GapFill> {
        let mut grid = vec![args[0].clone()];
        if args.len() % 2 == 1 {
            grid.push(args[2].clone());
        }
        if grid.iter().any(|expr| !expr.column_refs().is_empty()) {
            return plan_err!("{GAPFILL}: interval and zone must be the same for all rows");
        }
        for Bound { time, .. } in range.starts.iter().chain(&range.finishes) {
            if !time.column_refs().is_empty() {
                return plan_err!("{GAPFILL}: start and finish must be the same for all rows");
            }
        }
        let schema = nullable(&input, time, &keys)?;
        Ok(GapFill { input, time, keys, fills: Vec::new(), grid, range, schema })
    }

    /// The node with a column more for each of (how it is filled, its value, its name) that is not there yet.
    pub(super) fn with_fills(&self, fills: &[(Fill, Expr, String)]) -> Result<GapFill> {
        let mut node = self.clone();
        let mut exprs: Vec<Expr> = node.input.schema().columns().into_iter().map(Expr::Column).collect();
        for (fill, value, name) in fills {
            if exprs.iter().any(|e| e.schema_name().to_string() == *name) {
                continue;
            }
            // Its type is that of the function.
            let value = match fill {
                Fill::Locf => value.clone(),
                Fill::Interpolate => {
                    value.clone().cast_to(&DataType::Float64, node.input.schema().as_ref())?
                }
            };
            node.fills.push((exprs.len(), *fill));
            exprs.push(value.alias(name.clone()));
        }
        node.input = LogicalPlanBuilder::from(node.input).project(exprs)?.build()?;
        node.schema = nullable(&node.input, node.time, &node.keys)?;
        Ok(node)
    }

    /// The operator.
    pub(in crate::functions) fn physical(
        &self,
        planner: &dyn PhysicalPlanner,
        session: &dyn Session,
        input: &Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let constant = |expr: &Expr| constant(planner, session, expr);
        let ScalarValue::IntervalMonthDayNano(Some(interval)) = constant(&self.grid[0])? else {
            return Err(wrong(format!("{GAPFILL}: the interval is null")));
        };
        let own_zone = match self.schema.field(self.time).data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            other => return internal_err!("buckets of type {other}"),
        };
        let zone = match self.grid.get(1).map(constant).transpose()? {
            Some(ScalarValue::Utf8(Some(zone))) => Zone::by_name(&zone),
            _ => Zone::by_name(own_zone.as_deref().unwrap_or("UTC")),
        };
        let failed = of_series(GAPFILL);
        let step = step(interval).map_err(&failed)?;
        let buckets = Buckets::new(step, None, zone.map_err(&failed)?).map_err(&failed)?;
        let time = |bound: &Bound, beyond: i64| -> Result<Option<i64>> {
            match constant(&bound.time)?.cast_to(&micros(Some("UTC".into())))? {
                ScalarValue::TimestampMicrosecond(time, _) => Ok(time.map(|t| t.saturating_add(beyond))),
                other => internal_err!("a bound of type {}", other.data_type()),
            }
        };
        let mut start: Option<i64> = None;
        for bound in &self.range.starts {
            start = start.max(time(bound, i64::from(!bound.inside))?);
        }
        let mut finish: Option<i64> = None;
        for bound in &self.range.finishes {
            let bound = time(bound, i64::from(bound.inside))?;
            finish = match (finish, bound) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let spec = Spec {
            schema: Arc::clone(self.schema.inner()),
            time: self.time,
            keys: self.keys.clone(),
            fills: self.fills.clone(),
            buckets,
            range: (start.map(Timestamp), finish.map(Timestamp)),
        };
        Ok(Arc::new(GapFillExec::new(Arc::clone(input), Arc::new(spec))))
    }
}

/// The input's columns, of which all but buckets and keys may be null.
fn nullable(input: &LogicalPlan, time: usize, keys: &[usize]) -> Result<DFSchemaRef> {
    let fields = input.schema().iter().enumerate().map(|(i, (qualifier, field))| {
        let keeps = i == time || keys.contains(&i);
        let field = if keeps { Arc::clone(field) } else { Arc::new(Field::clone(field).with_nullable(true)) };
        (qualifier.cloned(), field)
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), input.schema().metadata().clone())?;
    Ok(Arc::new(schema))
}

fn constant(planner: &dyn PhysicalPlanner, session: &dyn Session, expr: &Expr) -> Result<ScalarValue> {
    if let Expr::Literal(value, _) = expr {
        return Ok(value.clone());
    }
    let expr = planner.create_physical_expr(
        expr,
        &DFSchema::empty(),
        session,
        &PhysicalPlanningContext::default(),
    )?;
    let mut values = constants(GAPFILL, &[expr], 0)?;
    values.pop().ok_or_else(|| wrong(format!("{GAPFILL}: a bound has no value")))
}

impl UserDefinedLogicalNodeCore for GapFill {
    fn name(&self) -> &str {
        "GapFill"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let bounds = self.range.starts.iter().chain(&self.range.finishes).map(|bound| bound.time.clone());
        self.grid.iter().cloned().chain(bounds).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |i: &usize| self.schema.field(*i).name().clone();
        let keys: Vec<String> = self.keys.iter().map(name).collect();
        write!(f, "GapFill: series=[{}]", keys.join(", "))?;
        let fills: Vec<String> = self.fills.iter().map(|(i, _)| name(i)).collect();
        write!(f, ", filled=[{}]", fills.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<GapFill> {
        let mut node = self.clone();
        let [input] = <[LogicalPlan; 1]>::try_from(inputs)
            .or_else(|inputs| internal_err!("GapFill has one input and not {}", inputs.len()))?;
        if exprs.len() != self.expressions().len() {
            return internal_err!(
                "GapFill has {} expressions and not {}",
                self.expressions().len(),
                exprs.len()
            );
        }
        let mut exprs = exprs.into_iter();
        let times = node.range.starts.iter_mut().chain(&mut node.range.finishes).map(|bound| &mut bound.time);
        for (slot, expr) in node.grid.iter_mut().chain(times).zip(&mut exprs) {
            *slot = expr;
        }
        node.schema = nullable(&input, node.time, &node.keys)?;
        node.input = input;
        Ok(node)
    }
}
