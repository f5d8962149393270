//! Functions for time series in SQL; what each means is in `wattline_series`, how it is used in `docs/functions.md`.
//!
//! Owns: names, signatures and types, the way between Arrow and the folds, states that travel between the parts of a
//! plan. Does not own: any rule about samples.
//!
//! One file a family: `bucket` (`time_bucket`), `edges` (`first`, `last`, `state_at`), `numbers` (`delta`, `increase`,
//! `rate`, `counter_energy`, `time_weighted_avg`, `integral`, `lttb`, `swinging_door`), `states` (`state_duration`,
//! `state_changes`), `session`, `gapfill` (`time_bucket_gapfill`, `locf`, `interpolate`), `asof` (joins); `arguments` reads what
//! they are called with, `marker` has the names that are only names.

mod arguments;
mod asof;
mod bucket;
mod edges;
mod gapfill;
mod marker;
mod numbers;
mod planner;
mod session;
mod states;

use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use planner::SeriesPlanner;

/// Adds all functions to those that a session knows.
pub(crate) fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let scalars = [ScalarUDF::new_from_impl(bucket::TimeBucket::new()), asof::function()];
    let scalars = scalars.into_iter().chain(gapfill::functions());
    builder.scalar_functions().get_or_insert_default().extend(scalars.map(Arc::new));
    let aggregates = numbers::all().chain(states::all()).chain(edges::all());
    builder.aggregate_functions().get_or_insert_default().extend(aggregates.map(Arc::<AggregateUDF>::new));
    builder.window_functions().get_or_insert_default().push(Arc::new(session::function()));
    builder
        .with_analyzer_rule(Arc::new(gapfill::FillGaps))
        .with_analyzer_rule(Arc::new(asof::JoinAsOf))
        .with_query_planner(Arc::new(SeriesPlanner))
}
