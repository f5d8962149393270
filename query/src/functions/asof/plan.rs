//! The as-of join as a logical plan, and the way to the operator.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::{DFSchemaRef, JoinType, Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::builder::build_join_schema;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::PhysicalPlanner;

use super::exec::{AsOfJoinExec, Side, Spec};
use crate::functions::arguments::{constants, fixed_micros, input as wrong};
use crate::functions::marker::ASOF;

/// The node. Its columns are those of the left input and then those of the right one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct AsOfJoin {
    left: LogicalPlan,
    right: LogicalPlan,
    /// What must be equal.
    keys: Vec<(Expr, Expr)>,
    /// The times.
    times: (Expr, Expr),
    /// How far back a row may be.
    tolerance: Option<Expr>,
    join_type: JoinType,
    schema: DFSchemaRef,
}

impl PartialOrd for AsOfJoin {
    fn partial_cmp(&self, other: &AsOfJoin) -> Option<std::cmp::Ordering> {
        self.left.partial_cmp(&other.left)
    }
}

impl AsOfJoin {
    /// A node; the first of each pair is of the left input.
    pub(super) fn new(
        left: LogicalPlan,
        right: LogicalPlan,
        keys: Vec<(Expr, Expr)>,
        times: (Expr, Expr),
        tolerance: Option<Expr>,
        join_type: JoinType,
    ) -> Result<AsOfJoin> {
        if tolerance.as_ref().is_some_and(|t| !t.column_refs().is_empty()) {
            return plan_err!("{ASOF}: the tolerance must be the same for all rows");
        }
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &join_type)?);
        Ok(AsOfJoin { left, right, keys, times, tolerance, join_type, schema })
    }

    /// The operator.
    pub(in crate::functions) fn physical(
        &self,
        planner: &dyn PhysicalPlanner,
        session: &dyn Session,
        left: &Arc<dyn ExecutionPlan>,
        right: &Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let context = PhysicalPlanningContext::default();
        let side = |input: &LogicalPlan, keys: Vec<&Expr>, time: &Expr| -> Result<Side> {
            let physical =
                |expr: &Expr| planner.create_physical_expr(expr, input.schema(), session, &context);
            let keys = keys.into_iter().map(physical).collect::<Result<Vec<_>>>()?;
            Ok(Side { keys, time: physical(time)? })
        };
        let tolerance = match &self.tolerance {
            None => None,
            Some(expr) => {
                let expr = planner.create_physical_expr(expr, self.left.schema(), session, &context)?;
                match constants(ASOF, &[expr], 0)?.pop() {
                    Some(ScalarValue::IntervalMonthDayNano(Some(interval))) => {
                        let micros = fixed_micros(interval).filter(|micros| *micros >= 0);
                        Some(micros.ok_or_else(|| {
                            wrong(format!("{ASOF}: the tolerance must be of days or times"))
                        })?)
                    }
                    _ => return Err(wrong(format!("{ASOF}: the tolerance must be an interval"))),
                }
            }
        };
        let spec = Spec {
            left: side(&self.left, self.keys.iter().map(|(left, _)| left).collect(), &self.times.0)?,
            right: side(&self.right, self.keys.iter().map(|(_, right)| right).collect(), &self.times.1)?,
            tolerance,
            keeps_all: self.join_type == JoinType::Left,
            schema: Arc::clone(self.schema.inner()),
        };
        Ok(Arc::new(AsOfJoinExec::new(Arc::clone(left), Arc::clone(right), Arc::new(spec))))
    }
}

impl UserDefinedLogicalNodeCore for AsOfJoin {
    fn name(&self) -> &str {
        "AsOfJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = self.keys.iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
        let times = [self.times.0.clone(), self.times.1.clone()];
        keys.chain(times).chain(self.tolerance.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsOfJoin: {}, {} <= {}", self.join_type, self.times.1, self.times.0)?;
        self.keys.iter().try_for_each(|(left, right)| write!(f, ", {left} = {right}"))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<AsOfJoin> {
        let [left, right] = <[LogicalPlan; 2]>::try_from(inputs)
            .or_else(|inputs| internal_err!("AsOfJoin has two inputs and not {}", inputs.len()))?;
        let count = 2 * self.keys.len() + 2 + usize::from(self.tolerance.is_some());
        if exprs.len() != count {
            return internal_err!("AsOfJoin has {count} expressions and not {}", exprs.len());
        }
        let mut exprs = exprs.into_iter();
        let mut pair = || match (exprs.next(), exprs.next()) {
            (Some(left), Some(right)) => Ok((left, right)),
            _ => internal_err!("AsOfJoin with too few expressions"),
        };
        let keys = self.keys.iter().map(|_| pair()).collect::<Result<Vec<_>>>()?;
        let times = pair()?;
        AsOfJoin::new(left, right, keys, times, exprs.next(), self.join_type)
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let (left, right): (Vec<usize>, Vec<usize>) = output.iter().partition(|place| **place < width);
        Some(vec![left, right.into_iter().map(|place| place - width).collect()])
    }
}
