//! Aggregates that keep one sample: `first`, `last`, `state_at`.
//!
//! Owns: their signatures and accumulator, for values of any type. They need no order of rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use wattline_model::Timestamp;
use wattline_series::{First, Last};

use super::arguments::{Takes, check_count, micros, times};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    First,
    Last,
    StateAt,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::First => "first",
            Kind::Last => "last",
            Kind::StateAt => "state_at",
        }
    }
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct EdgeFunction {
    kind: Kind,
    signature: Signature,
}

/// All functions of this file.
pub(super) fn all() -> impl Iterator<Item = AggregateUDF> {
    [Kind::First, Kind::Last, Kind::StateAt].into_iter().map(|kind| {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::new_from_impl(EdgeFunction { kind, signature })
    })
}

impl AggregateUDFImpl for EdgeFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let (name, count) = (self.name(), if self.kind == Kind::StateAt { 3 } else { 2 });
        check_count(name, count, count, given.len())?;
        let mut types = vec![given[0].clone()];
        for (place, given) in given.iter().enumerate().skip(1) {
            types.push(Takes::Time.coerce(name, place, given)?);
        }
        Ok(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(value) => Ok(value.clone()),
            None => plan_err!("{} takes a value and a time", self.name()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name, of| Arc::new(Field::new(format_state_name(args.name, name), of, true));
        let value = args.input_fields[0].data_type().clone();
        Ok(vec![field("value", value), field("time", micros(None))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let null = ScalarValue::try_from(args.expr_fields[0].data_type())?;
        let edge = match self.kind {
            Kind::First => Edge::First(First::default()),
            Kind::Last | Kind::StateAt => Edge::Last(Last::default()),
        };
        Ok(Box::new(Keeping { edge, null }))
    }
}

#[derive(Debug)]
enum Edge {
    First(First<ScalarValue>),
    Last(Last<ScalarValue>),
}

impl Edge {
    /// Whether a sample at `time` may have to be kept.
    fn wants(&self, time: i64) -> bool {
        match self {
            Edge::First(First { sample: Some(kept) }) => time <= kept.time.micros(),
            Edge::Last(Last { sample: Some(kept) }) => time >= kept.time.micros(),
            _ => true,
        }
    }

    fn push(&mut self, time: i64, value: ScalarValue) {
        match self {
            Edge::First(first) => first.push(Timestamp(time), value),
            Edge::Last(last) => last.push(Timestamp(time), value),
        };
    }

    /// The place, among those of `places`, of the time that is nearest to the edge.
    fn nearest(&self, times: &TimestampMicrosecondArray, places: impl Iterator<Item = usize>) -> Option<i64> {
        let times = places.map(|place| times.value(place));
        match self {
            Edge::First(_) => times.min(),
            Edge::Last(_) => times.max(),
        }
    }
}

/// The sample of a group.
#[derive(Debug)]
struct Keeping {
    edge: Edge,
    null: ScalarValue,
}

impl Keeping {
    fn take(
        &mut self,
        values: &ArrayRef,
        times: &TimestampMicrosecondArray,
        until: Option<&TimestampMicrosecondArray>,
    ) -> Result<()> {
        let counts = |row: usize| {
            let before = |until: &TimestampMicrosecondArray| {
                until.is_valid(row) && times.value(row) <= until.value(row)
            };
            values.is_valid(row) && times.is_valid(row) && until.is_none_or(before)
        };
        let counts = &counts;
        let rows = || (0..values.len()).filter(move |row| counts(*row));
        // Values are looked at only where they are at the edge of all times of the batch.
        let Some(nearest) = self.edge.nearest(times, rows()).filter(|time| self.edge.wants(*time)) else {
            return Ok(());
        };
        for row in rows().filter(|row| times.value(*row) == nearest) {
            let mut value = ScalarValue::try_from_array(values, row)?;
            // Else the whole batch would stay in memory for the sake of one value.
            value.compact();
            self.edge.push(nearest, value);
        }
        Ok(())
    }
}

impl Accumulator for Keeping {
    fn update_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        self.take(&arrays[0], times(&arrays[1]), arrays.get(2).map(times))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = match &self.edge {
            Edge::First(first) => first.sample.as_ref().map(|s| s.value.clone()),
            Edge::Last(last) => last.sample.as_ref().map(|s| s.value.clone()),
        };
        Ok(value.unwrap_or_else(|| self.null.clone()))
    }

    fn size(&self) -> usize {
        let kept = match &self.edge {
            Edge::First(first) => first.sample.as_ref().map(|s| s.value.size()),
            Edge::Last(last) => last.sample.as_ref().map(|s| s.value.size()),
        };
        size_of_val(self) + kept.unwrap_or(0) + self.null.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let time = match &self.edge {
            Edge::First(first) => first.sample.as_ref().map(|s| s.time.micros()),
            Edge::Last(last) => last.sample.as_ref().map(|s| s.time.micros()),
        };
        Ok(vec![self.evaluate()?, ScalarValue::TimestampMicrosecond(time, None)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.take(&states[0], times(&states[1]), None)
    }
}
