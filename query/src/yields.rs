//! Makes operators that can work for ever on one input batch give way now and then.
//!
//! Owns: the rule that puts such a point behind them. A timeout or a cancelled statement takes effect only when the
//! plan gives its thread back. DataFusion sees to that at the leaves; but a join can make billions of rows from one
//! batch of its leaf, and whatever pulls from it would not come back before the last one.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// Operators whose output has no bound in terms of an input batch.
const MULTIPLYING: [&str; 8] = [
    "CrossJoinExec",
    "GapFillExec",
    "HashJoinExec",
    "NestedLoopJoinExec",
    "PiecewiseMergeJoinExec",
    "RecursiveQueryExec",
    "SortMergeJoinExec",
    "UnnestExec",
];

/// The rule. It comes last, so that it sees the plan that will run.
#[derive(Debug)]
pub(crate) struct YieldAfterMultiplying;

impl PhysicalOptimizerRule for YieldAfterMultiplying {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|node| {
            Ok(if MULTIPLYING.contains(&node.name()) {
                Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>)
            } else {
                Transformed::no(node)
            })
        })?;
        Ok(wrapped.data)
    }

    fn name(&self) -> &str {
        "yield_after_multiplying"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
