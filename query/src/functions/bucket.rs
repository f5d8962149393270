//! `time_bucket(interval, time [, origin] [, zone])`, and `time_bucket_gapfill(interval, time [, zone] [, start, finish])`,
//! which is the same as far as rows go that are there (`gapfill` adds the others).
//!
//! Owns: the scalar functions, and reading its arguments into `wattline_series::Buckets`. The result ascends with the
//! time, and says so, so that grouping by it streams.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use wattline_model::Timestamp;
use wattline_series::{Buckets, Step, Zone};

use super::arguments::{Takes, check_count, micros, of_series};

const NAME: &str = "time_bucket";

/// The name of the function whose gaps are filled.
pub(super) const GAPFILL: &str = "time_bucket_gapfill";

/// Grids that one batch of rows may use before what was read of them is forgotten: zones of assets are few.
const GRIDS_MAX: usize = 1_000;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeBucket {
    name: &'static str,
    signature: Signature,
}

impl TimeBucket {
    /// `time_bucket`.
    pub(super) fn new() -> TimeBucket {
        TimeBucket { name: NAME, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// `time_bucket_gapfill`.
    pub(super) fn gapfill() -> TimeBucket {
        TimeBucket { name: GAPFILL, ..TimeBucket::new() }
    }

    /// What the argument at `place` of `count`, of type `given`, is to be.
    fn takes(&self, place: usize, count: usize, given: &DataType) -> Takes {
        let is_zone = self.name == GAPFILL && place == 2 && count % 2 == 1;
        match (place, given) {
            (0, _) => Takes::Interval,
            (1, _) | (_, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) => Takes::Time,
            _ if is_zone || self.name == NAME => Takes::Text,
            _ => Takes::Time,
        }
    }
}

/// A text is a zone, or an origin where it begins like a date.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Further {
    Text(String),
    Time(i64),
}

/// What makes a grid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Grid {
    interval: IntervalMonthDayNano,
    further: [Option<Further>; 2],
}

impl Grid {
    /// The buckets; `own_zone` is that of the time's type.
    fn buckets(&self, own_zone: &str) -> Result<Buckets, wattline_series::Error> {
        let is_date = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let mut zone = None;
        for further in self.further.iter().flatten() {
            if let Further::Text(text) = further
                && !is_date(text)
            {
                zone = Some(Zone::by_name(text)?);
            }
        }
        let zone = match zone {
            Some(zone) => zone,
            None => Zone::by_name(own_zone)?,
        };
        let mut origin = None;
        for further in self.further.iter().flatten() {
            match further {
                Further::Time(time) => origin = Some(Timestamp(*time)),
                Further::Text(text) if is_date(text) => origin = Some(zone.time(text)?),
                Further::Text(_) => {}
            }
        }
        Buckets::new(step(self.interval)?, origin, zone)
    }
}

/// The step of an interval.
pub(super) fn step(interval: IntervalMonthDayNano) -> Result<Step, wattline_series::Error> {
    let (months, days, nanos) = IntervalMonthDayNanoType::to_parts(interval);
    Step::new(months, days, nanos / 1_000)
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(self.name, 2, if self.name == GAPFILL { 5 } else { 4 }, given.len())?;
        let types = given.iter().enumerate();
        types.map(|(i, of)| self.takes(i, given.len(), of).coerce(self.name, i, of)).collect()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.get(1) {
            Some(DataType::Timestamp(_, zone)) => Ok(micros(zone.clone())),
            _ => plan_err!("{NAME}: argument 2 must be a time"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (rows, mut args) = (args.number_rows, args.args);
        if self.name == GAPFILL {
            // Start and finish say which rows are added, not where buckets begin.
            args.truncate(2 + args.len() % 2);
        }
        let DataType::Timestamp(_, zone) = args[1].data_type() else {
            return exec_err!("{NAME}: argument 2 must be a time");
        };
        let own_zone = zone.as_deref().unwrap_or("UTC");
        let one_row = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let times = args[1].to_array(if one_row { 1 } else { rows })?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let fixed = args.iter().enumerate().all(|(i, arg)| i == 1 || matches!(arg, ColumnarValue::Scalar(_)));
        let starts = match fixed {
            true => in_one_grid(&args, times, own_zone)?,
            false => in_many_grids(&args, times, own_zone)?,
        };
        let starts: ArrayRef = Arc::new(starts.with_timezone_opt(zone));
        if one_row {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&starts, 0)?));
        }
        Ok(ColumnarValue::Array(starts))
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        let constant = |p: &ExprProperties| p.sort_properties == SortProperties::Singleton;
        match input {
            [interval, time, further @ ..] if constant(interval) && further.iter().all(constant) => {
                Ok(time.sort_properties)
            }
            _ => Ok(SortProperties::Unordered),
        }
    }
}

fn in_one_grid(
    args: &[ColumnarValue],
    times: &TimestampMicrosecondArray,
    own_zone: &str,
) -> Result<TimestampMicrosecondArray> {
    let Some(grid) = grid(args, 0)? else { return Ok(TimestampMicrosecondArray::new_null(times.len())) };
    let mut buckets = grid.buckets(own_zone).map_err(of_series(NAME))?;
    let mut starts = TimestampMicrosecondArray::builder(times.len());
    for time in times {
        let start = time.map(|time| buckets.start(Timestamp(time))).transpose();
        starts.append_option(start.map_err(of_series(NAME))?.map(Timestamp::micros));
    }
    Ok(starts.finish())
}

/// Zones, intervals or origins by row: those of the asset, for example.
fn in_many_grids(
    args: &[ColumnarValue],
    times: &TimestampMicrosecondArray,
    own_zone: &str,
) -> Result<TimestampMicrosecondArray> {
    let mut grids: Vec<(Grid, Buckets)> = Vec::new();
    let mut starts = TimestampMicrosecondArray::builder(times.len());
    for row in 0..times.len() {
        let Some(grid) = grid(args, row)?.filter(|_| times.is_valid(row)) else {
            starts.append_null();
            continue;
        };
        let known = grids.iter().position(|(known, _)| *known == grid);
        let place = match known {
            Some(place) => place,
            None => {
                if grids.len() == GRIDS_MAX {
                    grids.clear();
                }
                let buckets = grid.buckets(own_zone).map_err(of_series(NAME))?;
                grids.push((grid, buckets));
                grids.len() - 1
            }
        };
        let start = grids[place].1.start(Timestamp(times.value(row))).map_err(of_series(NAME))?;
        starts.append_value(start.micros());
    }
    Ok(starts.finish())
}

/// The grid of a row; `None` where an argument is null.
fn grid(args: &[ColumnarValue], row: usize) -> Result<Option<Grid>> {
    let at = |arg: &ColumnarValue| match arg {
        ColumnarValue::Scalar(value) => Ok(value.clone()),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row),
    };
    let ScalarValue::IntervalMonthDayNano(Some(interval)) = at(&args[0])? else { return Ok(None) };
    let mut further = [None, None];
    for (slot, arg) in further.iter_mut().zip(&args[2..]) {
        *slot = match at(arg)? {
            ScalarValue::Utf8(Some(text)) => Some(Further::Text(text)),
            ScalarValue::TimestampMicrosecond(Some(time), _) => Some(Further::Time(time)),
            _ => return Ok(None),
        };
    }
    Ok(Some(Grid { interval, further }))
}
