//! What may stand between an aggregate and its scan: projections, filters, and a subquery that tells the assets.
//!
//! Owns: reading DataFusion's plan there, and saying everything in terms of the scan's columns. Does not own: what of it
//! the engine answers (`shape`, `stretches`).

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{JoinType, ScalarValue};
use datafusion::physical_expr::expressions::{CastExpr, Column, IsNotNullExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use wattline_series::Step;
use wattline_storage::Buckets;

use super::chosen::Chosen;
use crate::columns::Role;
use crate::scan::{ModelScan, ScanSpec};

/// What lies between an aggregate and its scan.
pub(super) struct Below<'a> {
    /// The scan, without a limit.
    pub(super) scan: &'a Arc<ScanSpec>,
    /// The columns that the aggregate sees, in terms of the scan's.
    columns: Vec<Arc<dyn PhysicalExpr>>,
    /// What rows must meet, in terms of the scan's columns.
    pub(super) conditions: Vec<Arc<dyn PhysicalExpr>>,
    /// What tells the assets, where a subquery does.
    pub(super) chosen: Option<Chosen>,
}

impl<'a> Below<'a> {
    /// What lies below `node`, itself included; `None` where there is anything else.
    pub(super) fn read(node: &'a Arc<dyn ExecutionPlan>) -> Option<Below<'a>> {
        if let Some(scan) = node.downcast_ref::<ModelScan>() {
            let scan = Some(scan.spec()).filter(|spec| spec.limit.is_none())?;
            let fields = scan.columns.schema.fields().iter().enumerate();
            let columns = fields.map(|(i, field)| Arc::new(Column::new(field.name(), i)) as _).collect();
            return Some(Below { scan, columns, conditions: Vec::new(), chosen: None });
        }
        if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
            let below = Below::read(projection.input())?;
            let columns = projection.expr().iter().map(|column| below.resolve(&column.expr));
            return Some(Below { columns: columns.collect::<Option<_>>()?, ..below });
        }
        if let Some(filter) = node.downcast_ref::<FilterExec>() {
            let mut below = Below::read(filter.input())?;
            for condition in split_conjunction(filter.predicate()) {
                below.conditions.push(below.resolve(condition)?);
            }
            return below.select(filter.projection().as_deref());
        }
        let join = node.downcast_ref::<HashJoinExec>()?;
        let ([(key, other)], None, JoinType::LeftSemi) = (join.on(), join.filter(), join.join_type()) else {
            return None;
        };
        let mut below = Below::read(join.left())?;
        if below.role(&below.resolve(key)?)? != Role::Asset || below.chosen.is_some() {
            return None;
        }
        let column = other.downcast_ref::<Column>()?.index();
        below.chosen = Some(Chosen { input: Arc::clone(join.right()), column });
        below.select(join.projection.as_deref())
    }

    /// With those of its columns only, in this order.
    fn select(self, places: Option<&[usize]>) -> Option<Below<'a>> {
        let Some(places) = places else { return Some(self) };
        let columns = places.iter().map(|&place| self.columns.get(place).cloned());
        Some(Below { columns: columns.collect::<Option<_>>()?, ..self })
    }

    /// `expr`, which is in terms of what the aggregate sees, in terms of the scan's columns.
    pub(super) fn resolve(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
        let replaced = Arc::clone(expr).transform_up(|expr| {
            let column = expr.downcast_ref::<Column>().and_then(|c| self.columns.get(c.index()));
            Ok(match column {
                Some(column) => Transformed::yes(Arc::clone(column)),
                None => Transformed::no(expr),
            })
        });
        replaced.ok().map(|replaced| replaced.data)
    }

    /// What a column of the scan is.
    pub(super) fn role(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Role> {
        self.scan.columns.roles.get(expr.downcast_ref::<Column>()?.index()).copied()
    }

    /// The point of the model that rows must have a value of, if any; `None` where they must meet anything else.
    pub(super) fn required(&self) -> Option<Option<usize>> {
        let mut required = None;
        for condition in &self.conditions {
            let value = condition.downcast_ref::<IsNotNullExpr>()?;
            let Role::Value(point) = self.role(value.arg())? else { return None };
            if required.is_some_and(|before| before != point) {
                return None;
            }
            required = Some(point);
        }
        Some(required)
    }

    /// The buckets that `expr`, which is in terms of the scan's columns, puts rows into; `None` where it is no such function.
    pub(super) fn buckets(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Buckets> {
        let function = expr.downcast_ref::<ScalarFunctionExpr>()?;
        let literal = |i: usize| function.args().get(i)?.downcast_ref::<Literal>().map(Literal::value);
        let is_time = |i: usize| function.args().get(i).is_some_and(|arg| self.is_time(arg));
        match (function.name(), function.args().len()) {
            ("date_bin", 2) if is_time(1) => {
                Some(Buckets::Every { origin: 0, micros: micros_of(literal(0)?)? })
            }
            ("time_bucket", 2) if is_time(1) => {
                let micros = micros_of(literal(0)?)?;
                Some(Buckets::Every { origin: Step::origin_of_micros(micros), micros })
            }
            ("date_bin" | "time_bucket", 3) if is_time(1) => {
                Some(Buckets::Every { origin: instant_of(literal(2)?)?, micros: micros_of(literal(0)?)? })
            }
            ("date_trunc", 2) if is_time(1) => truncation(literal(0)?),
            _ => None,
        }
    }

    /// Whether `expr` is the time, possibly in nanoseconds: `date_bin` knows no others.
    fn is_time(&self, expr: &Arc<dyn PhysicalExpr>) -> bool {
        let finer = |cast: &CastExpr| matches!(cast.cast_type(), DataType::Timestamp(TimeUnit::Nanosecond, Some(zone)) if **zone == *"UTC");
        match expr.downcast_ref::<CastExpr>() {
            Some(cast) => finer(cast) && self.role(cast.expr()) == Some(Role::Time),
            None => self.role(expr) == Some(Role::Time),
        }
    }
}

/// An interval of a fixed length in whole microseconds.
fn micros_of(interval: &ScalarValue) -> Option<i64> {
    let micros = match interval {
        ScalarValue::IntervalMonthDayNano(Some(v)) if v.months == 0 => {
            let nanos = i128::from(v.days) * 86_400_000_000_000 + i128::from(v.nanoseconds);
            (nanos % 1_000 == 0).then_some(nanos / 1_000)?
        }
        ScalarValue::IntervalDayTime(Some(v)) => {
            (i128::from(v.days) * 86_400_000 + i128::from(v.milliseconds)) * 1_000
        }
        _ => return None,
    };
    i64::try_from(micros).ok().filter(|&m| m > 0)
}

fn instant_of(literal: &ScalarValue) -> Option<i64> {
    match literal {
        ScalarValue::TimestampMicrosecond(Some(v), _) => Some(*v),
        ScalarValue::TimestampSecond(Some(v), _) => v.checked_mul(1_000_000),
        ScalarValue::TimestampMillisecond(Some(v), _) => v.checked_mul(1_000),
        ScalarValue::TimestampNanosecond(Some(v), _) => (v % 1_000 == 0).then_some(v / 1_000),
        _ => None,
    }
}

/// The units of `date_trunc` that are of one length; weeks start on Monday.
fn truncation(unit: &ScalarValue) -> Option<Buckets> {
    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    let unit = unit.try_as_str()??.to_ascii_lowercase();
    let (origin, micros) = match unit.as_str() {
        "millisecond" => (0, 1_000),
        "second" => (0, SECOND),
        "minute" => (0, 60 * SECOND),
        "hour" => (0, 3_600 * SECOND),
        "day" => (0, DAY),
        // 1970-01-05 was a Monday.
        "week" => (4 * DAY, 7 * DAY),
        _ => return None,
    };
    Some(Buckets::Every { origin, micros })
}
