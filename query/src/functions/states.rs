//! Aggregates over states at times: `state_duration`, `state_changes`.
//!
//! Owns: their signatures, and the accumulator, which gathers as that of numbers does. A state is a whole number, a
//! truth value or a text. Does not own: what they mean; `state_at`, which needs no order (`edges`).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use wattline_model::Timestamp;
use wattline_series::gathered::Ranked;
use wattline_series::{Gathered, States};

use super::arguments::{Takes, check_count, constants, lists_of_ints, of_series, times};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Duration,
    Changes,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Duration => "state_duration",
            Kind::Changes => "state_changes",
        }
    }
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct StateFunction {
    kind: Kind,
    signature: Signature,
}

/// All functions of this file.
pub(super) fn all() -> impl Iterator<Item = AggregateUDF> {
    [Kind::Duration, Kind::Changes].into_iter().map(|kind| {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::new_from_impl(StateFunction { kind, signature })
    })
}

impl AggregateUDFImpl for StateFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let (name, count) = (self.name(), if self.kind == Kind::Duration { 3 } else { 2 });
        check_count(name, count, count, given.len())?;
        let state = match &given[0] {
            DataType::Boolean => DataType::Boolean,
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
            given if given.is_integer() => DataType::Int64,
            given => {
                return plan_err!(
                    "{name}: a state is a whole number, a truth value or a text, and not of type {given}"
                );
            }
        };
        let mut types = vec![state.clone(), Takes::Time.coerce(name, 1, &given[1])?];
        types.extend((self.kind == Kind::Duration).then_some(state));
        Ok(types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Duration => DataType::Float64,
            Kind::Changes => DataType::Int64,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |of| DataType::List(Arc::new(Field::new_list_field(of, true)));
        let field = |name, of| Arc::new(Field::new(format_state_name(args.name, name), list(of), true));
        let state = match args.input_fields[0].data_type() {
            DataType::Utf8 => DataType::Utf8,
            _ => DataType::Int64,
        };
        Ok(vec![field("times", DataType::Int64), field("states", state)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let wanted = constants(self.name(), args.exprs, 2)?.into_iter().next();
        let (kind, bytes) = (self.kind, 0);
        let gathering: Box<dyn Accumulator> = match args.expr_fields[0].data_type() {
            DataType::Utf8 => {
                let wanted = wanted.and_then(|w| match w {
                    ScalarValue::Utf8(text) => text,
                    _ => None,
                });
                Box::new(Gathering::<String> { kind, wanted, gathered: Gathered::new(), bytes })
            }
            _ => {
                let wanted = wanted.and_then(|w| match w {
                    ScalarValue::Int64(number) => number,
                    ScalarValue::Boolean(truth) => truth.map(i64::from),
                    _ => None,
                });
                Box::new(Gathering::<i64> { kind, wanted, gathered: Gathered::new(), bytes })
            }
        };
        Ok(gathering)
    }
}

/// A state as it is held and as it travels.
trait State: Clone + Ord + Ranked + Send + Sync + std::fmt::Debug + 'static {
    fn read(array: &ArrayRef) -> Vec<Option<Self>>;
    fn write(states: &[Self]) -> ArrayRef;
    fn bytes(&self) -> usize;
}

impl State for i64 {
    fn read(array: &ArrayRef) -> Vec<Option<i64>> {
        match array.as_boolean_opt() {
            Some(truths) => truths.iter().map(|t| t.map(i64::from)).collect(),
            None => array.as_primitive::<Int64Type>().iter().collect(),
        }
    }

    fn write(states: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(states.to_vec()))
    }

    fn bytes(&self) -> usize {
        0
    }
}

impl State for String {
    fn read(array: &ArrayRef) -> Vec<Option<String>> {
        array.as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect()
    }

    fn write(states: &[String]) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(states))
    }

    fn bytes(&self) -> usize {
        self.capacity()
    }
}

/// The samples of a group.
#[derive(Debug)]
struct Gathering<S> {
    kind: Kind,
    wanted: Option<S>,
    gathered: Gathered<S>,
    /// What the states hold beside themselves.
    bytes: usize,
}

impl<S: State> Gathering<S> {
    fn push(&mut self, time: i64, state: S) {
        self.bytes += state.bytes();
        self.gathered.push(Timestamp(time), state);
    }
}

impl<S: State> Accumulator for Gathering<S> {
    fn update_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        for (state, time) in S::read(&arrays[0]).into_iter().zip(times(&arrays[1])) {
            if let (Some(state), Some(time)) = (state, time) {
                self.push(time, state);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let states = self.gathered.fold(States::default()).map_err(of_series(self.kind.name()))?;
        Ok(match self.kind {
            Kind::Changes => ScalarValue::Int64(states.changes().map(|n| n as i64)),
            Kind::Duration => {
                let micros = self.wanted.as_ref().and_then(|wanted| states.duration(wanted));
                ScalarValue::Float64(micros.map(|micros| micros as f64 / 1e6))
            }
        })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.gathered.bytes() + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let times = Arc::new(Int64Array::from(self.gathered.times().to_vec()));
        let list = |array: ArrayRef| SingleRowListArrayBuilder::new(array).build_list_scalar();
        Ok(vec![list(times), list(S::write(self.gathered.values()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (times, states) in lists_of_ints(&states[0]).zip(states[1].as_list::<i32>().iter().flatten()) {
            let times = times.as_primitive::<Int64Type>();
            for (time, state) in times.values().iter().zip(S::read(&states)) {
                if let Some(state) = state {
                    self.push(*time, state);
                }
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let states = S::read(&arrays[0]).into_iter().zip(times(&arrays[1]));
        let mut count = 0;
        for state in states.filter(|(_, time)| time.is_some()).filter_map(|(state, _)| state) {
            count += 1;
            self.bytes = self.bytes.saturating_sub(state.bytes());
        }
        self.gathered.forget_first(count);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}
