//! The way from our own plan nodes to their operators.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::asof::plan::AsOfJoin;
use super::gapfill::plan::GapFill;

/// DataFusion's planner, which also knows our nodes.
#[derive(Debug)]
pub(super) struct SeriesPlanner;

#[async_trait]
impl QueryPlanner for SeriesPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Nodes)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct Nodes;

#[async_trait]
impl ExtensionPlanner for Nodes {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        match (node.as_any().downcast_ref::<GapFill>(), node.as_any().downcast_ref::<AsOfJoin>(), inputs) {
            (Some(gapfill), _, [input]) => gapfill.physical(planner, session, input).map(Some),
            (_, Some(join), [left, right]) => join.physical(planner, session, left, right).map(Some),
            _ => Ok(None),
        }
    }
}
