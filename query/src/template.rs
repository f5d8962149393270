//! Scans with values to be put in: what makes a plan fit for the next statement of its shape.
//!
//! Owns: what of a scan depends on values, making it anew, and telling when the plan does not fit any more. Does not
//! own: which statements are of one shape, and keeping plans (`plans`).
//!
//! Values stand only where a filter of a scan says which assets and times are meant. Everything above the scan was
//! planned with nothing but placeholders, so it holds for all values as long as the scan keeps what it promised: which
//! filters it settles for good, how many partitions it has, how its rows are ordered.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Placeholder;
use wattline_storage::Snapshot;

use crate::prune::{self, Pruned};
use crate::scan::ScanSpec;
use crate::tables::model::{Samples, Wanted};

/// The values of a statement: `$1` stands for the first. Carried by the session that plans for more than one statement.
pub(crate) struct Values(pub(crate) Vec<ScalarValue>);

/// A scan without values.
pub(crate) struct Template {
    samples: Arc<Samples>,
    wanted: Wanted,
    /// Of each filter, whether it was promised that it need not run again.
    exact: Vec<bool>,
}

/// What the plan above a scan relies on.
#[derive(PartialEq, Eq)]
struct Promise {
    listed: Option<usize>,
    partitions: usize,
    every_row: bool,
    batch_rows: usize,
}

impl Promise {
    fn of(spec: &ScanSpec) -> Promise {
        Promise {
            listed: spec.listed,
            partitions: spec.partitions,
            every_row: spec.request.every_row,
            batch_rows: spec.request.batch_rows,
        }
    }
}

impl Template {
    /// The scan of what is `wanted` with `values`, made so that others can be made from it.
    ///
    /// # Errors
    /// Plan where the values do not fit.
    pub(crate) fn spec(
        samples: &Arc<Samples>,
        wanted: Wanted,
        values: &Values,
        snapshot: Snapshot,
    ) -> Result<ScanSpec> {
        let exact = wanted.filters.iter().map(|filter| prune::prune(&with_examples(filter)).exact).collect();
        let template = Template { samples: Arc::clone(samples), wanted, exact };
        let Some(pruned) = template.prune(&values.0) else { return plan_err!("the values do not fit") };
        let spec = samples.spec(&template.wanted, pruned, snapshot);
        Ok(ScanSpec { template: Some(Arc::new(template)), ..spec })
    }

    /// What the filters say with `values`; `None` where they do not settle what they promised to.
    fn prune(&self, values: &[ScalarValue]) -> Option<Pruned> {
        let mut filters = Vec::with_capacity(self.wanted.filters.len());
        for (filter, &exact) in self.wanted.filters.iter().zip(&self.exact) {
            let filter = with_values(filter, values)?;
            if exact && !prune::prune(&filter).exact {
                return None;
            }
            filters.push(filter);
        }
        Some(prune::prune_all(&filters))
    }
}

/// The scan like `before` with other values, as of `snapshot`; `None` where the plan above would not fit it.
pub(crate) fn renewed(before: &ScanSpec, values: &[ScalarValue], snapshot: Snapshot) -> Option<ScanSpec> {
    let template = before.template.as_ref()?;
    let spec = template.samples.spec(&template.wanted, template.prune(values)?, snapshot);
    let ordered = spec.in_key_order || !before.in_key_order;
    let spec = ScanSpec { template: Some(Arc::clone(template)), ..spec };
    (ordered && Promise::of(&spec) == Promise::of(before)).then_some(spec)
}

/// `filter` with values in place of placeholders; `None` where one does not fit.
pub(crate) fn with_values(filter: &Expr, values: &[ScalarValue]) -> Option<Expr> {
    let mut fits = true;
    let filled = filled(filter, |placeholder| {
        let number = placeholder.id.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        let value = number.and_then(|n| values.get(n.checked_sub(1)?));
        let value = value.zip(placeholder.field.as_ref()).and_then(|(v, field)| typed(v, field.data_type()));
        fits &= value.is_some();
        value
    });
    filled.filter(|_| fits)
}

/// `filter` with what `value` gives in place of placeholders; those it gives nothing for stay.
fn filled(filter: &Expr, mut value: impl FnMut(&Placeholder) -> Option<ScalarValue>) -> Option<Expr> {
    let replaced = filter.clone().transform_up(|expr| {
        let Expr::Placeholder(placeholder) = &expr else { return Ok(Transformed::no(expr)) };
        Ok(match value(placeholder) {
            Some(value) => Transformed::yes(Expr::Literal(value, None)),
            None => Transformed::no(expr),
        })
    });
    replaced.ok().map(|replaced| replaced.data)
}

/// `value` as it means the same in the type that a placeholder was planned with.
fn typed(value: &ScalarValue, data_type: &DataType) -> Option<ScalarValue> {
    use ScalarValue::{
        LargeUtf8, TimestampMicrosecond, TimestampMillisecond, TimestampSecond, Utf8, Utf8View,
    };
    let keeps = match value {
        Utf8(Some(_)) | Utf8View(Some(_)) | LargeUtf8(Some(_)) => true,
        // A coarser instant is as good in microseconds, a finer one is not.
        TimestampSecond(Some(_), _) | TimestampMillisecond(Some(_), _) | TimestampMicrosecond(Some(_), _) => {
            matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _))
        }
        _ => false,
    };
    if !keeps {
        return None;
    }
    value.cast_to(data_type).ok().filter(|value| !value.is_null())
}

/// `filter` with some value in place of placeholders: what can be said of it whatever the values.
pub(crate) fn with_examples(filter: &Expr) -> Expr {
    let example = |data_type: &DataType| match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            ScalarValue::Utf8(Some("a".to_owned())).cast_to(data_type).ok()
        }
        DataType::Timestamp(..) => ScalarValue::TimestampMicrosecond(Some(0), None).cast_to(data_type).ok(),
        _ => None,
    };
    let example_of = |placeholder: &Placeholder| example(placeholder.field.as_ref()?.data_type());
    filled(filter, example_of).unwrap_or_else(|| filter.clone())
}
