//! `session(time, gap) OVER (PARTITION BY … ORDER BY time)`: when the session of a row began.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use wattline_model::Timestamp;
use wattline_series::{ErrorKind, Sessions};

use super::arguments::{Takes, coerce, constants, fixed_micros, input, of_series, times};

const NAME: &str = "session";

/// The function.
pub(super) fn function() -> WindowUDF {
    WindowUDF::new_from_impl(Session { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Session {
    signature: Signature,
}

impl WindowUDFImpl for Session {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerce(NAME, &[Takes::Time, Takes::Interval], 2, given)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let gap = constants(NAME, args.input_exprs(), 1)?.into_iter().next();
        let Some(ScalarValue::IntervalMonthDayNano(Some(gap))) = gap else {
            return Err(input(format!("{NAME}: the gap must be an interval")));
        };
        let gap =
            fixed_micros(gap).ok_or_else(|| input(format!("{NAME}: the gap must be of days or times")))?;
        Ok(Box::new(Evaluator { sessions: Sessions::new(gap).map_err(of_series(NAME))? }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let Some(time) = args.input_fields().first() else { return internal_err!("{NAME} without a time") };
        Ok(Arc::new(Field::new(args.name(), time.data_type().clone(), true)))
    }
}

/// The rows of one partition.
#[derive(Debug)]
struct Evaluator {
    sessions: Sessions,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let times = times(&values[0]);
        let mut sessions = self.sessions;
        let mut began = TimestampMicrosecondArray::builder(rows);
        for time in times {
            let start = time.map(|time| sessions.push(Timestamp(time))).transpose();
            let start = start.map_err(|error| match error.kind() {
                ErrorKind::Order => input(format!("{NAME}: rows must come by time: OVER (… ORDER BY time)")),
                _ => of_series(NAME)(error),
            })?;
            began.append_option(start.map(Timestamp::micros));
        }
        let zone = match times.data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        Ok(Arc::new(began.finish().with_timezone_opt(zone)))
    }
}
