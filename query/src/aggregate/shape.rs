//! Which aggregates over a scan the engine answers by itself, from figures of points.
//!
//! Owns: reading DataFusion's aggregates. What is not understood is left to DataFusion, so nothing here guesses.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_plan::aggregates::AggregateExec;
use wattline_model::PointId;
use wattline_storage::{AggregatePoint, Buckets, Newest, Wants};

use super::below::Below;
use super::chosen::Chosen;
use crate::columns::Role;
use crate::scan::ScanSpec;

/// What an aggregate asks for.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The points whose figures are needed.
    pub(crate) points: Vec<AggregatePoint>,
    /// How time is cut.
    pub(crate) buckets: Buckets,
    /// Whether groups are those of assets.
    pub(crate) by_asset: bool,
    /// Whether there are groups at all: an aggregate without gives one row even of nothing.
    pub(crate) grouped: bool,
    /// The point that rows must have a value of to count at all: its place in `points`.
    pub(crate) required: Option<usize>,
    /// The columns to give.
    pub(crate) outputs: Vec<Output>,
}

/// One column of the answer. Points are told by their place in [`Shape::points`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// The asset of the group.
    Asset,
    /// Where the group's bucket starts.
    Bucket,
    /// How many rows.
    Rows,
    /// The earliest time.
    FirstTime,
    /// The latest time.
    LastTime,
    /// Figures of a point.
    Point(usize, Figure),
}

/// A figure of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    /// The first value there is; or that of the first row, which may have none.
    First {
        of_row: bool,
    },
    Last {
        of_row: bool,
    },
}

impl Shape {
    /// What comes last of each asset, where nothing else is asked.
    pub(crate) fn newest(&self) -> Option<Newest> {
        if !self.by_asset || self.buckets != Buckets::Whole {
            return None;
        }
        let mut newest = Newest::Row;
        for output in &self.outputs {
            match output {
                Output::Asset | Output::LastTime | Output::Point(_, Figure::Last { of_row: true }) => {}
                Output::Point(_, Figure::Last { of_row: false }) => newest = Newest::Values,
                _ => return None,
            }
        }
        // Which assets there are is in no way about what comes last.
        self.outputs.iter().any(|output| *output != Output::Asset).then_some(newest)
    }
}

/// An aggregate that the engine answers.
pub(crate) struct Read {
    /// The scan below it.
    pub(crate) scan: Arc<ScanSpec>,
    /// What tells the assets that are meant, where a subquery does.
    pub(crate) chosen: Option<Chosen>,
    /// What is asked.
    pub(crate) shape: Shape,
}

/// What `aggregate` asks for, and of what; `None` where it is not all understood.
pub(crate) fn read(aggregate: &AggregateExec, below: &Below<'_>) -> Option<Read> {
    let scan = Arc::clone(below.scan);
    let required = below.required()?;
    // Without a required point every row counts, and the scan must not have been promised that some do not.
    if !(scan.request.every_row || required.is_some()) {
        return None;
    }
    let shape = Reader { below }.shape(aggregate, required)?;
    Some(Read { scan, chosen: below.chosen.clone(), shape })
}

struct Reader<'a> {
    below: &'a Below<'a>,
}

impl Reader<'_> {
    fn shape(&self, aggregate: &AggregateExec, required: Option<usize>) -> Option<Shape> {
        let mut shape = Shape {
            points: Vec::new(),
            buckets: Buckets::Whole,
            by_asset: false,
            grouped: !aggregate.group_expr().is_empty(),
            required: None,
            outputs: Vec::new(),
        };
        shape.required = required.map(|point| self.point(point, &mut shape));
        for (expr, _) in aggregate.group_expr().expr() {
            let expr = self.below(expr)?;
            if self.role(&expr) == Some(Role::Asset) {
                shape.by_asset = true;
                shape.outputs.push(Output::Asset);
            } else {
                let buckets = self.below.buckets(&expr)?;
                if shape.buckets != Buckets::Whole && shape.buckets != buckets {
                    return None;
                }
                shape.buckets = buckets;
                shape.outputs.push(Output::Bucket);
            }
        }
        if aggregate.filter_expr().iter().any(Option::is_some) {
            return None;
        }
        for function in aggregate.aggr_expr() {
            let output = self.function(function, &mut shape)?;
            shape.outputs.push(self.among_required(output, &shape)?);
        }
        Some(shape)
    }

    /// `expr` in terms of the scan's columns.
    fn below(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
        self.below.resolve(expr)
    }

    fn role(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Role> {
        self.below.role(expr)
    }

    fn spec(&self) -> &ScanSpec {
        self.below.scan
    }

    fn function(&self, function: &AggregateFunctionExpr, shape: &mut Shape) -> Option<Output> {
        let name = function.fun().name();
        if function.is_distinct() && !matches!(name, "min" | "max") {
            return None;
        }
        let args = function.expressions();
        let arg = self.below(args.first()?)?;
        match name {
            "count" if args.len() == 1 => self.count(&arg, shape),
            "sum" | "avg" | "min" | "max" if args.len() == 1 && function.order_bys().is_empty() => {
                self.figure(name, &arg, shape)
            }
            "first_value" | "last_value" if args.len() == 1 => {
                let descending = self.time_order(function.order_bys())?;
                let is_first = (name == "first_value") != descending;
                self.end(&arg, is_first, !function.ignore_nulls(), shape)
            }
            // The functions of `docs/functions.md`: the value at the earliest or latest time that has one.
            "first" | "last" if args.len() == 2 && function.order_bys().is_empty() => {
                let time = self.below(&args[1])?;
                if self.role(&time) != Some(Role::Time) {
                    return None;
                }
                self.end(&arg, name == "first", false, shape)
            }
            _ => None,
        }
    }

    /// `output` where only rows with a value of the required point count; `None` where the figures do not tell it.
    fn among_required(&self, output: Output, shape: &Shape) -> Option<Output> {
        let Some(required) = shape.required else { return Some(output) };
        match output {
            Output::Asset | Output::Bucket => Some(output),
            Output::Rows => Some(Output::Point(required, Figure::Count)),
            Output::FirstTime | Output::LastTime => None,
            Output::Point(place, _) if place != required => None,
            // The first row that counts is that of the first value.
            Output::Point(place, Figure::First { .. }) => {
                Some(Output::Point(place, Figure::First { of_row: false }))
            }
            Output::Point(place, Figure::Last { .. }) => {
                Some(Output::Point(place, Figure::Last { of_row: false }))
            }
            Output::Point(..) => Some(output),
        }
    }

    fn count(&self, arg: &Arc<dyn PhysicalExpr>, shape: &mut Shape) -> Option<Output> {
        if let Some(literal) = arg.downcast_ref::<Literal>() {
            return (!literal.value().is_null()).then_some(Output::Rows);
        }
        match self.role(arg)? {
            Role::Asset | Role::Time => Some(Output::Rows),
            Role::Value(point) => Some(Output::Point(self.point(point, shape), Figure::Count)),
            Role::Quality(_) | Role::ValueTime(_) => None,
        }
    }

    fn figure(&self, name: &str, arg: &Arc<dyn PhysicalExpr>, shape: &mut Shape) -> Option<Output> {
        let is_extreme = matches!(name, "min" | "max");
        let arg = match arg.downcast_ref::<CastExpr>() {
            Some(cast) if !is_extreme && self.widens(cast, name) => cast.expr(),
            _ => arg,
        };
        match (self.role(arg)?, name) {
            (Role::Time, "min") => Some(Output::FirstTime),
            (Role::Time, "max") => Some(Output::LastTime),
            (Role::Value(point), _) => {
                let data_type = self.spec().columns.schema.field(arg.downcast_ref::<Column>()?.index());
                if !is_extreme && !data_type.data_type().is_numeric() {
                    return None;
                }
                let place = self.point(point, shape);
                let wants = &mut shape.points[place].wants;
                let figure = match name {
                    "min" => Figure::Min,
                    "max" => Figure::Max,
                    "sum" => Figure::Sum,
                    _ => Figure::Avg,
                };
                (wants.sum, wants.extremes) = (wants.sum || !is_extreme, wants.extremes || is_extreme);
                Some(Output::Point(place, figure))
            }
            _ => None,
        }
    }

    /// Whether a cast only makes room, as the planner puts it before sums.
    fn widens(&self, cast: &CastExpr, name: &str) -> bool {
        let Some(column) = cast.expr().downcast_ref::<Column>() else { return false };
        let from = self.spec().columns.schema.field(column.index()).data_type();
        use DataType::{Float32, Float64, Int32, Int64};
        matches!((from, cast.cast_type()), (Int32, Int64) | (Float32 | Int32, Float64))
            || (name == "avg" && matches!((from, cast.cast_type()), (Int64, Float64)))
    }

    fn end(
        &self,
        arg: &Arc<dyn PhysicalExpr>,
        is_first: bool,
        of_row: bool,
        shape: &mut Shape,
    ) -> Option<Output> {
        match self.role(arg)? {
            Role::Asset if shape.by_asset => Some(Output::Asset),
            // Several assets may share the first time, and then no order says whose value comes first.
            _ if !shape.by_asset && self.spec().listed != Some(1) => None,
            Role::Time => Some(if is_first { Output::FirstTime } else { Output::LastTime }),
            Role::Value(point) => {
                let place = self.point(point, shape);
                shape.points[place].wants.ends = true;
                let figure = if is_first { Figure::First { of_row } } else { Figure::Last { of_row } };
                Some(Output::Point(place, figure))
            }
            _ => None,
        }
    }

    /// Whether rows are ordered by time, ascending (`false`) or descending, apart from what is the same in a group.
    fn time_order(&self, order: &[PhysicalSortExpr]) -> Option<bool> {
        for sort in order {
            let expr = self.below(&sort.expr)?;
            match self.role(&expr)? {
                Role::Asset => {}
                Role::Time => return Some(sort.options.descending),
                _ => return None,
            }
        }
        None
    }

    /// The place of a point of the model among those asked for.
    fn point(&self, point: usize, shape: &mut Shape) -> usize {
        let id = PointId(point as u32);
        let known = shape.points.iter().position(|p| p.point == id);
        known.unwrap_or_else(|| {
            let kind = self.spec().model.points[point].data_type.kind();
            shape.points.push(AggregatePoint { point: id, kind, wants: Wants::default() });
            shape.points.len() - 1
        })
    }
}
