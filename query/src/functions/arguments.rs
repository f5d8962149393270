//! What functions are called with: types they take, constants, samples out of arrays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Schema, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use wattline_model::Timestamp;

use crate::error::{Error, ErrorKind};

/// What an argument may be, and so what it is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Takes {
    /// Any number, as a double.
    Number,
    /// An instant, in microseconds.
    Time,
    /// An interval, also written as a text.
    Interval,
    /// A text.
    Text,
    /// A whole number.
    Count,
}

impl Takes {
    /// The type that an argument of type `given` is turned into.
    ///
    /// # Errors
    /// Plan where it cannot be.
    pub(crate) fn coerce(self, function: &str, place: usize, given: &DataType) -> Result<DataType> {
        let text = matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let to = match (self, given) {
            (Takes::Number, DataType::Null) => Some(DataType::Float64),
            (Takes::Number, given) if given.is_numeric() => Some(DataType::Float64),
            (Takes::Time, DataType::Timestamp(_, zone)) => Some(micros(zone.clone())),
            (Takes::Time, DataType::Null | DataType::Date32 | DataType::Date64) => Some(micros(None)),
            (Takes::Time, _) if text => Some(micros(Some("UTC".into()))),
            (Takes::Interval, DataType::Interval(_) | DataType::Null) => Some(interval()),
            (Takes::Interval, DataType::Duration(_)) => Some(interval()),
            (Takes::Interval, _) if text => Some(interval()),
            (Takes::Text, DataType::Null) => Some(DataType::Utf8),
            (Takes::Text, _) if text => Some(DataType::Utf8),
            (Takes::Count, DataType::Null) => Some(DataType::Int64),
            (Takes::Count, given) if given.is_integer() => Some(DataType::Int64),
            _ => None,
        };
        let Some(to) = to else {
            let wanted = self.name();
            return plan_err!("{function}: argument {} must be {wanted}, and is of type {given}", place + 1);
        };
        Ok(to)
    }

    const fn name(self) -> &'static str {
        match self {
            Takes::Number => "a number",
            Takes::Time => "a time",
            Takes::Interval => "an interval",
            Takes::Text => "a text",
            Takes::Count => "a whole number",
        }
    }
}

/// Turns the types that a function was called with into those that it takes, of which the first `required` must be
/// there.
///
/// # Errors
/// Plan where they do not fit.
pub(crate) fn coerce(
    function: &str,
    takes: &[Takes],
    required: usize,
    given: &[DataType],
) -> Result<Vec<DataType>> {
    check_count(function, required, takes.len(), given.len())?;
    let types = takes.iter().zip(given).enumerate();
    types.map(|(place, (takes, given))| takes.coerce(function, place, given)).collect()
}

/// # Errors
/// Plan where a function was called with another number of arguments.
pub(crate) fn check_count(function: &str, least: usize, most: usize, given: usize) -> Result<()> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    let wanted = if least == most { format!("{least}") } else { format!("{least} to {most}") };
    plan_err!("{function} takes {wanted} arguments, and was given {given}")
}

/// The type of an instant.
pub(crate) fn micros(zone: Option<Arc<str>>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone)
}

/// The type of an interval.
pub(crate) fn interval() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

/// The arguments from `from` on, which must not depend on rows.
///
/// # Errors
/// Input where one does.
pub(crate) fn constants(
    function: &str,
    exprs: &[Arc<dyn PhysicalExpr>],
    from: usize,
) -> Result<Vec<ScalarValue>> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let constant = |(place, expr): (usize, &Arc<dyn PhysicalExpr>)| match expr.evaluate(&nothing) {
        Ok(ColumnarValue::Scalar(value)) => Ok(value),
        Ok(ColumnarValue::Array(array)) if array.len() == 1 => ScalarValue::try_from_array(&array, 0),
        _ => Err(input(format!(
            "{function}: argument {} must be the same for all rows: a constant",
            place + 1
        ))),
    };
    exprs.iter().enumerate().skip(from).map(constant).collect()
}

/// A number among constants; `None` where it is null or missing.
pub(crate) fn number(constants: &[ScalarValue], place: usize) -> Option<f64> {
    match constants.get(place) {
        Some(ScalarValue::Float64(value)) => *value,
        _ => None,
    }
}

/// A text among constants; `None` where it is null or missing.
pub(crate) fn text(constants: &[ScalarValue], place: usize) -> Option<&str> {
    match constants.get(place) {
        Some(ScalarValue::Utf8(value)) => value.as_deref(),
        _ => None,
    }
}

/// The microseconds of an interval without months among constants; `None` where it is null or missing.
///
/// # Errors
/// Input where it has months, which are of no fixed length, or is not longer than nothing.
pub(crate) fn unit(function: &str, constants: &[ScalarValue], place: usize) -> Result<Option<i64>> {
    let Some(ScalarValue::IntervalMonthDayNano(Some(interval))) = constants.get(place) else {
        return Ok(None);
    };
    let micros = fixed_micros(*interval).filter(|micros| *micros > 0);
    let message = || input(format!("{function}: the unit must be an interval of days or times above 0"));
    micros.map(Some).ok_or_else(message)
}

/// The microseconds of an interval that has no months.
pub(crate) fn fixed_micros(interval: arrow::datatypes::IntervalMonthDayNano) -> Option<i64> {
    let (months, days, nanos) = IntervalMonthDayNanoType::to_parts(interval);
    let days = i64::from(days).checked_mul(86_400_000_000)?;
    (months == 0).then_some(())?;
    days.checked_add(nanos / 1_000)
}

/// The samples of two columns of numbers and times. What is null or no finite number is none.
pub(crate) fn samples(arrays: &[ArrayRef]) -> impl Iterator<Item = (Timestamp, f64)> + '_ {
    let values = arrays[0].as_primitive::<Float64Type>();
    let times = arrays[1].as_primitive::<TimestampMicrosecondType>();
    let sample = |(value, time): (Option<f64>, Option<i64>)| Some((Timestamp(time?), value?));
    values.iter().zip(times.iter()).filter_map(sample).filter(|(_, value)| value.is_finite())
}

/// The times of a column.
pub(crate) fn times(array: &ArrayRef) -> &TimestampMicrosecondArray {
    array.as_primitive::<TimestampMicrosecondType>()
}

/// The integers of the lists of a column, list by list.
pub(crate) fn lists_of_ints(array: &ArrayRef) -> impl Iterator<Item = ArrayRef> + '_ {
    let lists = array.as_list::<i32>();
    debug_assert!(lists.values().as_primitive_opt::<Int64Type>().is_some());
    lists.iter().flatten()
}

/// Something that the statement is to be changed for.
pub(crate) fn input(message: impl Into<String>) -> datafusion::common::DataFusionError {
    Error::new(ErrorKind::Input, message).into_datafusion()
}

/// What a function of a series complains about.
pub(crate) fn of_series(
    function: &str,
) -> impl Fn(wattline_series::Error) -> datafusion::common::DataFusionError + '_ {
    move |error| {
        let kind = match error.kind() {
            wattline_series::ErrorKind::Input => ErrorKind::Input,
            wattline_series::ErrorKind::Limit => ErrorKind::Limit,
            // Samples are put in order before they are folded.
            wattline_series::ErrorKind::Order => ErrorKind::Bug,
        };
        Error::new(kind, format!("{function}: {error}")).into_datafusion()
    }
}
