//! Filters → stretches of values that let a scan leave rows out.
//!
//! Owns: the reading of comparisons of one point with a literal. What is not understood says nothing, and every filter
//! read here runs again above the scan, so the answer only has to hold every row that is wanted.

use std::ops::Bound;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use wattline_model::PointId;
use wattline_storage::Within;

use crate::columns::{Columns, Role};

/// What `filters` say about single points; `columns` are the table's.
pub(crate) fn conditions(filters: &[Expr], columns: &Columns) -> Vec<Within> {
    let parts = filters.iter().flat_map(split_conjunction);
    parts.filter_map(|part| condition(part, columns)).collect()
}

fn condition(filter: &Expr, columns: &Columns) -> Option<Within> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
            (column, Expr::Literal(literal, _)) => compared(column, *op, literal, columns),
            (Expr::Literal(literal, _), column) => compared(column, op.swap()?, literal, columns),
            _ => None,
        },
        Expr::Between(Between { expr, negated: false, low, high }) => match (&**low, &**high) {
            (Expr::Literal(low, _), Expr::Literal(high, _)) => {
                within(expr, Bound::Included(low), Bound::Included(high), columns)
            }
            _ => None,
        },
        _ => None,
    }
}

fn compared(column: &Expr, op: Operator, literal: &ScalarValue, columns: &Columns) -> Option<Within> {
    let (low, high) = match op {
        Operator::Eq => (Bound::Included(literal), Bound::Included(literal)),
        Operator::Gt => (Bound::Excluded(literal), Bound::Unbounded),
        Operator::GtEq => (Bound::Included(literal), Bound::Unbounded),
        Operator::Lt => (Bound::Unbounded, Bound::Excluded(literal)),
        Operator::LtEq => (Bound::Unbounded, Bound::Included(literal)),
        _ => return None,
    };
    within(column, low, high, columns)
}

fn within(
    column: &Expr,
    low: Bound<&ScalarValue>,
    high: Bound<&ScalarValue>,
    columns: &Columns,
) -> Option<Within> {
    let (name, widened) = match column {
        Expr::Column(column) => (&column.name, false),
        Expr::Cast(cast) => match &*cast.expr {
            Expr::Column(column) if *cast.field.data_type() == DataType::Float64 => (&column.name, true),
            _ => return None,
        },
        _ => return None,
    };
    let place = columns.schema.index_of(name).ok()?;
    let Role::Value(point) = columns.roles[place] else { return None };
    let point = PointId(point as u32);
    match (columns.schema.field(place).data_type(), widened) {
        // A REAL is held as the double that is exactly it, and so it compares.
        (DataType::Float64, _) | (DataType::Float32, true) => {
            let double = |v: &ScalarValue| if let ScalarValue::Float64(v) = v { *v } else { None };
            Some(Within::floats(point, bound(low, double)?, bound(high, double)?))
        }
        (DataType::Float32, false) => {
            let real =
                |v: &ScalarValue| if let ScalarValue::Float32(v) = v { v.map(f64::from) } else { None };
            Some(Within::floats(point, bound(low, real)?, bound(high, real)?))
        }
        (DataType::Int32 | DataType::Int64, false) => {
            let integer = |v: &ScalarValue| match v {
                ScalarValue::Int32(v) => v.map(i64::from),
                ScalarValue::Int64(v) => *v,
                _ => None,
            };
            Some(Within::ints(point, bound(low, integer)?, bound(high, integer)?))
        }
        _ => None,
    }
}

fn bound<T>(bound: Bound<&ScalarValue>, read: impl Fn(&ScalarValue) -> Option<T>) -> Option<Bound<T>> {
    Some(match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(v) => Bound::Included(read(v)?),
        Bound::Excluded(v) => Bound::Excluded(read(v)?),
    })
}
