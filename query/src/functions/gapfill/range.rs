//! Which range is filled: what the call says, or the conditions on the time in WHERE.

use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, Expr, LogicalPlan, Operator};

/// A bound that does not depend on rows, and whether the time it names is inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) struct Bound {
    pub(crate) time: Expr,
    pub(crate) inside: bool,
}

/// All that is known of a range: the narrowest of its bounds hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) struct Range {
    pub(crate) starts: Vec<Bound>,
    pub(crate) finishes: Vec<Bound>,
}

/// The range of a call `(interval, time [, zone] [, start, finish])` over `input`.
pub(super) fn of(args: &[Expr], input: &LogicalPlan) -> Result<Range> {
    let mut range = Range::default();
    if let [.., start, finish] = args
        && args.len() >= 4
    {
        range.starts.push(Bound { time: start.clone(), inside: true });
        range.finishes.push(Bound { time: finish.clone(), inside: false });
        return Ok(range);
    }
    if let Some(Expr::Column(column)) = args.get(1).map(without_casts) {
        read_plan(input, column, &mut range);
    }
    Ok(range)
}

/// Conditions above anything that could give rows other times.
fn read_plan(plan: &LogicalPlan, column: &Column, range: &mut Range) {
    match plan {
        LogicalPlan::Filter(filter) => {
            for condition in split_conjunction(&filter.predicate) {
                read_condition(condition, column, range);
            }
            read_plan(&filter.input, column, range);
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let place = alias.schema.maybe_index_of_column(column);
            if let Some(place) = place {
                let (qualifier, field) = alias.input.schema().qualified_field(place);
                read_plan(&alias.input, &Column::from((qualifier, field)), range);
            }
        }
        LogicalPlan::Projection(projection) => {
            let place = projection.schema.maybe_index_of_column(column);
            let expr = place.and_then(|place| projection.expr.get(place));
            if let Some(Expr::Column(column)) = expr.map(unaliased) {
                read_plan(&projection.input, column, range);
            }
        }
        _ => {}
    }
}

fn read_condition(condition: &Expr, column: &Column, range: &mut Range) {
    let is_time = |expr: &Expr| matches!(without_casts(expr), Expr::Column(c) if c == column);
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, bound) = match (is_time(left), is_time(right)) {
                (true, false) => (Some(*op), right),
                (false, true) => (op.swap(), left),
                _ => return,
            };
            let Some(op) = op.filter(|_| is_constant(bound)) else { return };
            let bound = |inside| Bound { time: (**bound).clone(), inside };
            match op {
                Operator::GtEq => range.starts.push(bound(true)),
                Operator::Gt => range.starts.push(bound(false)),
                Operator::LtEq => range.finishes.push(bound(true)),
                Operator::Lt => range.finishes.push(bound(false)),
                Operator::Eq => {
                    range.starts.push(bound(true));
                    range.finishes.push(bound(true));
                }
                _ => {}
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) if is_time(expr) => {
            if is_constant(low) {
                range.starts.push(Bound { time: (**low).clone(), inside: true });
            }
            if is_constant(high) {
                range.finishes.push(Bound { time: (**high).clone(), inside: true });
            }
        }
        _ => {}
    }
}

/// A placeholder is a constant, too: a plan whose bounds have no values yet cannot be made physical, so no plan is kept
/// with the bounds of one statement for another.
fn is_constant(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    let changes = |e: &Expr| Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..)));
    expr.column_refs().is_empty() && !expr.is_volatile() && !expr.exists(changes).unwrap_or(true)
}

fn without_casts(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => without_casts(&cast.expr),
        Expr::Alias(alias) => without_casts(&alias.expr),
        expr => expr,
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        expr => expr,
    }
}
