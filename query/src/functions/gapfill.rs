//! `time_bucket_gapfill(interval, time [, zone] [, start, finish])` with `locf(…)` and `interpolate(…)`.
//!
//! Owns: the three names, and the rule that puts a [`plan::GapFill`] above the aggregation that groups by the first of
//! them. Does not own: filling (`exec`), the node (`plan`), which buckets there are and what is put into them
//! (`wattline_series`).
//!
//! `time_bucket_gapfill` itself is `time_bucket`; the rows between those that the aggregation gives are the node's work.
//! `locf(x)` and `interpolate(x)` become columns of the node: `x` is computed below it, and filled in it.
//! The range comes from the arguments, else from the conditions on the time in WHERE; where neither has a bound the first
//! and the last bucket of each series are the bounds.

mod exec;
pub(super) mod plan;
mod range;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, internal_err, plan_err};
use datafusion::logical_expr::{Aggregate, Expr, Extension, LogicalPlan, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use super::bucket::{GAPFILL, TimeBucket};
use super::marker::Marker;
use plan::{Fill, GapFill};

/// The functions.
pub(super) fn functions() -> [ScalarUDF; 3] {
    [
        ScalarUDF::new_from_impl(TimeBucket::gapfill()),
        ScalarUDF::new_from_impl(Marker::locf()),
        ScalarUDF::new_from_impl(Marker::interpolate()),
    ]
}

/// The rule.
#[derive(Debug)]
pub(super) struct FillGaps;

impl AnalyzerRule for FillGaps {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        // Most statements have nothing to do with it.
        if !mentions(&plan)? {
            return Ok(plan);
        }
        plan.transform_up_with_subqueries(rewrite).map(|t| t.data)
    }

    fn name(&self) -> &str {
        "fill_gaps"
    }
}

fn mentions(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|e| Ok(is_call(e, GAPFILL) || marker(e).is_some()))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Aggregate(aggregate) = plan {
        return above_aggregate(aggregate);
    }
    let mut markers = Vec::new();
    plan.apply_expressions(|expr| {
        expr.apply(|e| {
            if is_call(e, GAPFILL) {
                return plan_err!("{GAPFILL} belongs into GROUP BY");
            }
            if let Some((fill, value)) = marker(e) {
                markers.push((fill, value.clone(), e.schema_name().to_string()));
                return Ok(TreeNodeRecursion::Jump);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if markers.is_empty() {
        return Ok(Transformed::no(plan));
    }
    let before = Arc::clone(plan.schema());
    let inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let [input] = <[LogicalPlan; 1]>::try_from(inputs).or_else(|_| misplaced(markers[0].0))?;
    let input = with_fills(input, &markers)?;
    let expressions = plan.expressions().into_iter().map(without_markers).collect::<Result<Vec<_>>>()?;
    let plan = plan.with_new_exprs(expressions, vec![input])?;
    // Nodes that hand all columns on hand these on as well; whatever chooses columns has the same as before.
    if matches!(plan, LogicalPlan::Projection(_)) && plan.schema().field_names() != before.field_names() {
        return internal_err!("filling gaps changed names: {:?}", plan.schema().field_names());
    }
    Ok(Transformed::yes(plan))
}

fn above_aggregate(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let is_gapfill = |expr: &Expr| is_call(unaliased(expr), GAPFILL);
    let groups = aggregate.group_expr.iter().enumerate();
    let calls: Vec<usize> = groups.filter(|(_, expr)| is_gapfill(expr)).map(|(i, _)| i).collect();
    for (i, expr) in aggregate.group_expr.iter().chain(&aggregate.aggr_expr).enumerate() {
        if expr.exists(|e| Ok(marker(e).is_some()))? {
            return misplaced(Fill::Locf);
        }
        if !calls.contains(&i) && expr.exists(|e| Ok(is_call(e, GAPFILL)))? {
            return plan_err!("{GAPFILL} must stand alone in GROUP BY");
        }
    }
    let [time] = calls[..] else {
        if calls.len() > 1 {
            return plan_err!("a query can be grouped by one {GAPFILL} only");
        }
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    };
    let Expr::ScalarFunction(call) = unaliased(&aggregate.group_expr[time]).clone() else {
        return internal_err!("{GAPFILL} is no function");
    };
    let range = range::of(&call.args, &aggregate.input)?;
    let keys = (0..aggregate.group_expr.len()).filter(|i| *i != time).collect();
    let node = GapFill::new(LogicalPlan::Aggregate(aggregate), time, keys, call.args, range)?;
    Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

/// The plan with a column for each marker, found below nodes that hand all columns on.
fn with_fills(plan: LogicalPlan, markers: &[(Fill, Expr, String)]) -> Result<LogicalPlan> {
    match &plan {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<GapFill>() {
            Some(gapfill) => {
                let node = Arc::new(gapfill.with_fills(markers)?);
                Ok(LogicalPlan::Extension(Extension { node }))
            }
            None => misplaced(markers[0].0),
        },
        LogicalPlan::Filter(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
            let input = plan.inputs()[0].clone();
            let expressions = plan.expressions();
            plan.with_new_exprs(expressions, vec![with_fills(input, markers)?])
        }
        _ => misplaced(markers[0].0),
    }
}

fn misplaced<T>(fill: Fill) -> Result<T> {
    plan_err!("{} belongs around a value of a query that is grouped by {GAPFILL}", fill.name())
}

fn without_markers(expr: Expr) -> Result<Expr> {
    let replaced = expr.transform_down(|e| {
        if marker(&e).is_none() {
            return Ok(Transformed::no(e));
        }
        let column = Expr::Column(Column::new_unqualified(e.schema_name().to_string()));
        Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
    })?;
    Ok(replaced.data)
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        expr => expr,
    }
}

fn is_call(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == name)
}

fn marker(expr: &Expr) -> Option<(Fill, &Expr)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let marker = call.func.inner().downcast_ref::<Marker>()?;
    Some((marker.fill()?, call.args.first()?))
}
