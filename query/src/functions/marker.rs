//! Functions that are only names: rules of ours put something else in their place. Where a call is left over, it stands
//! where it has no meaning, and says so.

use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{Takes, check_count, coerce, input};
use super::gapfill::plan::Fill;

/// The name of the condition of an as-of join.
pub(super) const ASOF: &str = "asof";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Fill(Fill),
    Asof,
}

/// One of the names.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Marker {
    kind: Kind,
    signature: Signature,
}

impl Marker {
    pub(super) fn locf() -> Marker {
        Marker::new(Kind::Fill(Fill::Locf))
    }

    pub(super) fn interpolate() -> Marker {
        Marker::new(Kind::Fill(Fill::Interpolate))
    }

    pub(super) fn asof() -> Marker {
        Marker::new(Kind::Asof)
    }

    fn new(kind: Kind) -> Marker {
        Marker { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// How it fills, where it does.
    pub(super) fn fill(&self) -> Option<Fill> {
        match self.kind {
            Kind::Fill(fill) => Some(fill),
            Kind::Asof => None,
        }
    }
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Fill(fill) => fill.name(),
            Kind::Asof => ASOF,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match self.kind {
            Kind::Asof => coerce(ASOF, &[Takes::Time, Takes::Time, Takes::Interval], 2, given),
            Kind::Fill(Fill::Interpolate) => coerce(self.name(), &[Takes::Number], 1, given),
            Kind::Fill(Fill::Locf) => {
                check_count(self.name(), 1, 1, given.len())?;
                Ok(given.to_vec())
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.kind, types.first()) {
            (Kind::Asof, _) => Ok(DataType::Boolean),
            (Kind::Fill(Fill::Interpolate), _) => Ok(DataType::Float64),
            (Kind::Fill(Fill::Locf), Some(value)) => Ok(value.clone()),
            (Kind::Fill(Fill::Locf), None) => internal_err!("locf without a value"),
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(input(match self.kind {
            Kind::Asof => "asof belongs into the condition of a JOIN, joined to others by AND".to_owned(),
            Kind::Fill(fill) => {
                format!(
                    "{} belongs around a value of a query that is grouped by time_bucket_gapfill",
                    fill.name()
                )
            }
        }))
    }
}
