//! Aggregates by asset and bucket of time, without DataFusion's operators.
//!
//! Owns: the rule that finds such an aggregate in a plan and puts an operator of ours in its place. Does not own: what
//! is understood (`below`, `shape`, `stretches`), running it (`exec`), figures as columns (`arrays`), finding the figures (`storage`).
//!
//! DataFusion hashes a group's key for every row. Samples lie sorted by asset and time, so a group is a stretch of
//! rows, and where a whole block is in one bucket its statistics are the answer (decision 14). Where statistics do not
//! tell, because of another function, an expression or a condition, the rows are read and DataFusion's accumulators fold
//! them stretch by stretch ([`StretchAggregate`]). Between the aggregate and
//! its scan may stand `point IS NOT NULL` and `asset_id IN (SELECT ...)`: figures of a point tell the first, and the
//! second is asked before anything is read.

mod arrays;
mod below;
mod chosen;
mod exec;
mod shape;
mod stretches;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};

use below::Below;
pub(crate) use exec::SeriesAggregate;
use shape::Output;
pub(crate) use stretches::StretchAggregate;

/// The rule. It comes first: the others then see what our operator gives and wants.
#[derive(Debug)]
pub(crate) struct AggregateSeries;

impl PhysicalOptimizerRule for AggregateSeries {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_down(|node| {
            Ok(match ours(&node) {
                Some(aggregate) => Transformed::yes(aggregate),
                None => Transformed::no(node),
            })
        })?;
        let limited = changed.data.transform_down(|node| {
            Ok(match newest_buckets(&node) {
                Some(node) => Transformed::yes(node),
                None => Transformed::no(node),
            })
        })?;
        Ok(limited.data)
    }

    fn name(&self) -> &str {
        "aggregate_series"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The two steps that every aggregate is planned as, where ours can stand for both.
fn ours(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let last = node.downcast_ref::<AggregateExec>()?;
    let first = match last.mode() {
        AggregateMode::Final | AggregateMode::FinalPartitioned => {
            last.input().downcast_ref::<AggregateExec>()?
        }
        _ => return None,
    };
    if *first.mode() != AggregateMode::Partial || last.limit_options().is_some() {
        return None;
    }
    let below = Below::read(first.input())?;
    if !first.group_expr().is_single() {
        return None;
    }
    if let Some(read) = shape::read(first, &below) {
        return Some(Arc::new(SeriesAggregate::new(read, last.schema())));
    }
    Some(Arc::new(stretches::read(first, &below, last.schema())?))
}

/// A sort that keeps some of the newest buckets, with an aggregate below it that finds no more than those.
fn newest_buckets(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let sort = node.downcast_ref::<SortExec>()?;
    let wanted = sort.fetch()?;
    let first = sort.expr().first();
    if !first.options.descending {
        return None;
    }
    let mut place = first.expr.downcast_ref::<Column>()?.index();
    let projection = sort.input().downcast_ref::<ProjectionExec>();
    let below = projection.map_or_else(|| sort.input(), ProjectionExec::input);
    if let Some(projection) = projection {
        place = projection.expr().get(place)?.expr.downcast_ref::<Column>()?.index();
    }
    let aggregate = below.downcast_ref::<SeriesAggregate>()?;
    let shape = aggregate.shape();
    // Where rows must have a value of some point, the newest buckets may hold none that count.
    let counts_all = !shape.by_asset && shape.required.is_none();
    if !counts_all || shape.outputs.get(place) != Some(&Output::Bucket) {
        return None;
    }
    let aggregate: Arc<dyn ExecutionPlan> = Arc::new(aggregate.of_newest_buckets(wanted));
    let below = match projection {
        Some(_) => over(sort.input(), aggregate)?,
        None => aggregate,
    };
    over(node, below)
}

/// `node` with another input.
fn over(node: &Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let anew = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(node).replace_children(vec![input], anew).ok()
}
