//! `… JOIN b ON a.key = b.key AND asof(a.time, b.time [, tolerance])`: for each row of one table the row of another one
//! that was in force.
//!
//! Owns: the rule that makes a join whose condition has `asof` an [`plan::AsOfJoin`]. Does not own: the node (`plan`),
//! the merge of two ordered inputs (`exec`), which row is in force (`wattline_series::AsOf` says it for slices).

mod exec;
pub(super) mod plan;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, Result, plan_err};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Extension, Join, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use super::marker::{ASOF, Marker};
use plan::AsOfJoin;

/// The function that stands in the condition.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(Marker::asof())
}

/// The rule.
#[derive(Debug)]
pub(super) struct JoinAsOf;

impl AnalyzerRule for JoinAsOf {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut found = false;
        plan.apply_with_subqueries(|node| {
            found |= matches!(node, LogicalPlan::Join(join) if has_asof(join)?);
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !found {
            return Ok(plan);
        }
        let rewritten = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if has_asof(&join)? => {
                let node = Arc::new(of_join(join)?);
                Ok(Transformed::yes(LogicalPlan::Extension(Extension { node })))
            }
            node => Ok(Transformed::no(node)),
        });
        rewritten.map(|t| t.data)
    }

    fn name(&self) -> &str {
        "join_as_of"
    }
}

fn is_asof(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == ASOF)
}

fn has_asof(join: &Join) -> Result<bool> {
    join.filter.as_ref().map_or(Ok(false), |filter| filter.exists(|e| Ok(is_asof(e))))
}

fn of_join(join: Join) -> Result<AsOfJoin> {
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return plan_err!("{ASOF} works in JOIN and LEFT JOIN, and not in {} JOIN", join.join_type);
    }
    let is_left = |expr: &Expr| belongs_to(expr, &join.left);
    let is_right = |expr: &Expr| belongs_to(expr, &join.right);
    let mut keys = join.on.clone();
    let mut asof = None;
    for condition in join.filter.iter().flat_map(split_conjunction) {
        match condition {
            Expr::ScalarFunction(call) if call.func.name() == ASOF => {
                if asof.replace(call.args.clone()).is_some() {
                    return plan_err!("a join can have one {ASOF} only");
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
                if is_left(left) && is_right(right) =>
            {
                keys.push(((**left).clone(), (**right).clone()));
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
                if is_right(left) && is_left(right) =>
            {
                keys.push(((**right).clone(), (**left).clone()));
            }
            _ => {
                return plan_err!(
                    "beside {ASOF} a join's condition has only equalities of the two tables, joined by AND"
                );
            }
        }
    }
    let mut args = asof.unwrap_or_default().into_iter();
    let (Some(left), Some(right)) = (args.next(), args.next()) else {
        return plan_err!("{ASOF} must be joined to other conditions by AND");
    };
    if !is_left(&left) || !is_right(&right) {
        return plan_err!("{ASOF} takes a time of the table before JOIN, and then one of the table after it");
    }
    AsOfJoin::new(
        Arc::unwrap_or_clone(join.left),
        Arc::unwrap_or_clone(join.right),
        keys,
        (left, right),
        args.next(),
        join.join_type,
    )
}

/// Whether an expression is of columns of this input, and of some.
fn belongs_to(expr: &Expr, plan: &LogicalPlan) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.iter().all(|column| plan.schema().has_column(column))
}
