//! Aggregates over numbers at times: `delta`, `increase`, `rate`, `counter_energy`, `time_weighted_avg`, `integral`,
//! `lttb`, `swinging_door`.
//!
//! Owns: their signatures, and the accumulator they share. It gathers the samples of a group, in any order and from any
//! number of partitions, and folds them when the result is asked for. Does not own: what they mean.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StructArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use wattline_model::Timestamp;
use wattline_series::{Counter, Energy, Gathered, MeterRule, Method, Sample, Weighted, lttb, swinging_door};

use super::arguments::{
    Takes, coerce, constants, input, lists_of_ints, micros, number, of_series, samples, text, unit,
};

const SECOND: i64 = 1_000_000;

/// Samples that `lttb` may be asked for: more than any screen has pixels.
const LTTB_MAX: i64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Delta,
    Increase,
    Rate,
    CounterEnergy,
    TimeWeightedAvg,
    Integral,
    Lttb,
    SwingingDoor,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Delta,
        Kind::Increase,
        Kind::Rate,
        Kind::CounterEnergy,
        Kind::TimeWeightedAvg,
        Kind::Integral,
        Kind::Lttb,
        Kind::SwingingDoor,
    ];

    const fn name(self) -> &'static str {
        match self {
            Kind::Delta => "delta",
            Kind::Increase => "increase",
            Kind::Rate => "rate",
            Kind::CounterEnergy => "counter_energy",
            Kind::TimeWeightedAvg => "time_weighted_avg",
            Kind::Integral => "integral",
            Kind::Lttb => "lttb",
            Kind::SwingingDoor => "swinging_door",
        }
    }

    /// What it takes after value and time, and how many of these must be there.
    const fn further(self) -> (&'static [Takes], usize) {
        match self {
            Kind::Delta | Kind::Increase => (&[], 0),
            Kind::Rate => (&[Takes::Interval], 0),
            Kind::CounterEnergy => (&[Takes::Number, Takes::Number, Takes::Number], 0),
            Kind::TimeWeightedAvg => (&[Takes::Text], 0),
            Kind::Integral => (&[Takes::Interval, Takes::Text], 0),
            Kind::Lttb => (&[Takes::Count], 1),
            Kind::SwingingDoor => (&[Takes::Number], 1),
        }
    }

    fn gives_samples(self) -> bool {
        matches!(self, Kind::Lttb | Kind::SwingingDoor)
    }
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NumberFunction {
    kind: Kind,
    signature: Signature,
}

/// All functions of this file.
pub(super) fn all() -> impl Iterator<Item = AggregateUDF> {
    Kind::ALL.into_iter().map(|kind| {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::new_from_impl(NumberFunction { kind, signature })
    })
}

/// How the gathered samples become a result.
#[derive(Clone, Debug)]
enum Finish {
    Delta,
    Increase,
    Rate(i64),
    Energy(MeterRule),
    Average(Method),
    Integral(i64, Method),
    Lttb(usize),
    SwingingDoor(f64),
}

impl Finish {
    fn of(kind: Kind, given: &[ScalarValue]) -> Result<Finish> {
        let name = kind.name();
        let method =
            |place| text(given, place).map_or(Ok(Method::Linear), Method::by_name).map_err(of_series(name));
        Ok(match kind {
            Kind::Delta => Finish::Delta,
            Kind::Increase => Finish::Increase,
            Kind::Rate => Finish::Rate(unit(name, given, 0)?.unwrap_or(SECOND)),
            Kind::CounterEnergy => {
                let rule = MeterRule::new(number(given, 0), number(given, 1), number(given, 2));
                Finish::Energy(rule.map_err(of_series(name))?)
            }
            Kind::TimeWeightedAvg => Finish::Average(method(0)?),
            Kind::Integral => Finish::Integral(unit(name, given, 0)?.unwrap_or(SECOND), method(1)?),
            Kind::Lttb => match given.first() {
                Some(ScalarValue::Int64(Some(count @ 2..=LTTB_MAX))) => Finish::Lttb(*count as usize),
                _ => return Err(input(format!("{name}: argument 3 must be 2 to {LTTB_MAX}"))),
            },
            Kind::SwingingDoor => match number(given, 0) {
                Some(deviation) if deviation.is_finite() && deviation >= 0.0 => {
                    Finish::SwingingDoor(deviation)
                }
                _ => return Err(input(format!("{name}: argument 3 must be a number of at least 0"))),
            },
        })
    }

    fn number(&self, gathered: &Gathered) -> Result<Option<f64>, wattline_series::Error> {
        let counter = || gathered.fold(Counter::default());
        Ok(match self {
            Finish::Delta => counter()?.delta(),
            Finish::Increase => counter()?.increase(),
            Finish::Rate(unit) => counter()?.rate(*unit),
            Finish::Energy(rule) => gathered.fold(Energy::new(*rule))?.energy(),
            Finish::Average(method) => gathered.fold(Weighted::new(*method))?.average(),
            Finish::Integral(unit, method) => gathered.fold(Weighted::new(*method))?.integral(*unit),
            Finish::Lttb(_) | Finish::SwingingDoor(_) => None,
        })
    }

    fn samples(&self, gathered: &Gathered) -> Result<Vec<Sample>, wattline_series::Error> {
        match self {
            Finish::Lttb(count) => lttb(&gathered.ordered(), *count),
            Finish::SwingingDoor(deviation) => swinging_door(&gathered.ordered(), *deviation),
            _ => Ok(Vec::new()),
        }
    }
}

impl AggregateUDFImpl for NumberFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let (further, required) = self.kind.further();
        let takes: Vec<Takes> = [Takes::Number, Takes::Time].iter().chain(further).copied().collect();
        coerce(self.name(), &takes, 2 + required, given)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if !self.kind.gives_samples() {
            return Ok(DataType::Float64);
        }
        match types.get(1) {
            Some(time) => Ok(list_of(DataType::Struct(sample_fields(time)))),
            None => internal_err!("{} without a time", self.name()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name, of| Arc::new(Field::new(format_state_name(args.name, name), list_of(of), true));
        Ok(vec![field("times", DataType::Int64), field("values", DataType::Float64)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let given = constants(self.name(), args.exprs, 2)?;
        Ok(Box::new(Gathering {
            kind: self.kind,
            finish: Finish::of(self.kind, &given)?,
            time: args.expr_fields[1].data_type().clone(),
            gathered: Gathered::new(),
        }))
    }
}

/// The samples of a group.
#[derive(Debug)]
struct Gathering {
    kind: Kind,
    finish: Finish,
    /// The type of the times.
    time: DataType,
    gathered: Gathered,
}

impl Accumulator for Gathering {
    fn update_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        samples(arrays).for_each(|(time, value)| self.gathered.push(time, value));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let failed = of_series(self.kind.name());
        if !self.kind.gives_samples() {
            return Ok(ScalarValue::Float64(self.finish.number(&self.gathered).map_err(failed)?));
        }
        let fields = sample_fields(&self.time);
        if self.gathered.is_empty() {
            return ScalarValue::try_from(&list_of(DataType::Struct(fields)));
        }
        let samples = self.finish.samples(&self.gathered).map_err(failed)?;
        let DataType::Timestamp(_, zone) = &self.time else {
            return internal_err!("a time of type {}", self.time);
        };
        let times = TimestampMicrosecondArray::from_iter_values(samples.iter().map(|s| s.time.micros()));
        let values = Float64Array::from_iter_values(samples.iter().map(|s| s.value));
        let columns: Vec<ArrayRef> = vec![Arc::new(times.with_timezone_opt(zone.clone())), Arc::new(values)];
        let samples = StructArray::try_new(fields, columns, None)?;
        Ok(SingleRowListArrayBuilder::new(Arc::new(samples)).build_list_scalar())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.gathered.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let times = Int64Array::from(self.gathered.times().to_vec());
        let values = Float64Array::from(self.gathered.values().to_vec());
        let list = |array: ArrayRef| SingleRowListArrayBuilder::new(array).build_list_scalar();
        Ok(vec![list(Arc::new(times)), list(Arc::new(values))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (times, values) in lists_of_ints(&states[0]).zip(states[1].as_list::<i32>().iter().flatten()) {
            let times = times.as_primitive::<Int64Type>();
            let values = values.as_primitive::<Float64Type>();
            for (time, value) in times.values().iter().zip(values.values()) {
                self.gathered.push(Timestamp(*time), *value);
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        // Windows give rows back in the order in which they gave them.
        let count = samples(arrays).count();
        self.gathered.forget_first(count);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

fn list_of(of: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(of, true)))
}

fn sample_fields(time: &DataType) -> Fields {
    let zone = match time {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    Fields::from(vec![Field::new("time", micros(zone), false), Field::new("value", DataType::Float64, false)])
}
