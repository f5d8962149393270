//! Types of a statement's parameters, told by where they stand.
//!
//! Owns: what is found out about a parameter before its value is there. Does not own: their values (`engine`), types
//! that a client declares (it knows better).
//!
//! The first place that tells a type decides, as with PostgreSQL: a comparison with a column (the planner has noted
//! that), a cast (`$1::double precision`), a list that a column is looked for in (`= ANY ($1)`), the other side of an
//! addition and the like, LIMIT and OFFSET.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable as _, Limit, LogicalPlan, Operator};

/// The parameters of `plan` by their names (`$1`), with their types where those can be told.
pub(crate) fn types(plan: &LogicalPlan) -> Result<BTreeMap<String, Option<DataType>>> {
    let mut found = Found::default();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(Limit { skip, fetch, .. }) = node {
            for rows in [skip, fetch].into_iter().flatten() {
                found.note(rows, &DataType::Int64);
            }
        }
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found.visit(expr, &schema);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found.0)
}

#[derive(Default)]
struct Found(BTreeMap<String, Option<DataType>>);

impl Found {
    /// Notes what `expr` tells of the parameters directly in it, before they are come to themselves.
    fn visit(&mut self, expr: &Expr, schema: &DFSchema) {
        match expr {
            Expr::Placeholder(Placeholder { id, field }) => {
                let known = self.0.entry(id.clone()).or_default();
                if known.is_none() {
                    *known = field.as_ref().map(|field| field.data_type().clone());
                }
            }
            Expr::Cast(cast) => self.note(&cast.expr, cast.field.data_type()),
            Expr::TryCast(cast) => self.note(&cast.expr, cast.field.data_type()),
            Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "array_has" => {
                if let [list @ Expr::Placeholder(_), item] = &args[..]
                    && let Ok((_, item)) = item.to_field(schema)
                    && *item.data_type() != DataType::Null
                {
                    // With what else is known of the items: which of PostgreSQL's types they are.
                    let of = Field::new("item", plain(item.data_type().clone()), true);
                    self.note(list, &DataType::List(Arc::new(of.with_metadata(item.metadata().clone()))));
                }
            }
            Expr::BinaryExpr(binary) if is_arithmetic(binary.op) => {
                for (one, other) in [(&binary.left, &binary.right), (&binary.right, &binary.left)] {
                    // Beside an instant a parameter may be a span or an instant.
                    if matches!(&**one, Expr::Placeholder(_))
                        && let Ok(other) = other.get_type(schema)
                        && other.is_numeric()
                    {
                        self.note(one, &other);
                    }
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, expr: &Expr, data_type: &DataType) {
        if let Expr::Placeholder(Placeholder { id, field: None }) = expr {
            self.0.entry(id.clone()).or_default().get_or_insert_with(|| data_type.clone());
        }
    }
}

fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

/// Texts in lists are as clients send them.
fn plain(data_type: DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        other => other,
    }
}
