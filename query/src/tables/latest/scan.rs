//! Reading `latest.<model>` as a physical plan.
//!
//! Owns: which assets a run of the plan asks for, and that it happens on a thread that may wait. Does not own: the rows
//! (`latest`), which plans are kept (`plans`).

use std::fmt;
use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Result, ScalarValue, Statistics, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};

use super::{Latest, only_assets};
use crate::columns::Columns;
use crate::error::Error;
use crate::leaf::leaf_plan;
use crate::prune::{self, AssetFilter};
use crate::scan::BATCHES_AHEAD;
use crate::template::with_values;

/// The rows of `latest.<model>` as of when it runs.
#[derive(Debug)]
pub(crate) struct LatestScan {
    wanted: Arc<Wanted>,
    /// The assets that the filters let through.
    assets: Arc<AssetFilter>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What does not depend on values.
#[derive(Debug)]
struct Wanted {
    latest: Arc<Latest>,
    columns: Columns,
    /// All of them speak of assets alone; with placeholders where it is planned for more than one statement.
    filters: Vec<Expr>,
    limit: Option<usize>,
    /// Whether it is.
    is_template: bool,
}

impl LatestScan {
    /// The rows that `filters` let through; where `values` are given, with them in place of placeholders. `None` where
    /// they do not fit.
    pub(super) fn new(
        latest: Arc<Latest>,
        columns: Columns,
        filters: &[Expr],
        limit: Option<usize>,
        values: Option<&[ScalarValue]>,
    ) -> Option<LatestScan> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&columns.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let is_template = values.is_some();
        let wanted = Wanted { latest, columns, filters: filters.to_vec(), limit, is_template };
        Some(LatestScan {
            assets: Arc::new(wanted.assets(values.unwrap_or_default())?),
            wanted: Arc::new(wanted),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// Whether it can be made anew with other values.
    pub(crate) fn is_renewable(&self) -> bool {
        self.wanted.is_template
    }

    /// The same with other values; `None` where they do not fit.
    pub(crate) fn renewed(&self, values: &[ScalarValue]) -> Option<LatestScan> {
        Some(LatestScan {
            assets: Arc::new(self.wanted.assets(values)?),
            wanted: Arc::clone(&self.wanted),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

impl Wanted {
    fn assets(&self, values: &[ScalarValue]) -> Option<AssetFilter> {
        let mut filters = Vec::with_capacity(self.filters.len());
        for filter in &self.filters {
            let filter = with_values(filter, values)?;
            // It was promised that no filter has to run again.
            only_assets(&filter)?;
            filters.push(filter);
        }
        Some(prune::prune_all(&filters).assets)
    }
}

impl DisplayAs for LatestScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = &self.wanted;
        write!(f, "LatestScan: model={}, assets=", wanted.latest.model.key)?;
        match &*self.assets {
            AssetFilter::All => f.write_str("all")?,
            AssetFilter::Only(texts) => write!(f, "{}", texts.len())?,
        }
        wanted.limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl ExecutionPlan for LatestScan {
    leaf_plan!("LatestScan");

    /// As many rows as there are assets who may have one: a join is to hold these, not the history beside them.
    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let assets = match &*self.assets {
            AssetFilter::All => self.wanted.latest.registry.device_count(),
            AssetFilter::Only(texts) => texts.len(),
        };
        let rows = assets.min(self.wanted.limit.unwrap_or(usize::MAX));
        let statistics = Statistics::new_unknown(&self.wanted.columns.schema);
        Ok(Arc::new(statistics.with_num_rows(Precision::Inexact(rows))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition > 0 {
            return internal_err!("LatestScan has no partition {partition}");
        }
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (wanted, assets) = (Arc::clone(&self.wanted), Arc::clone(&self.assets));
        let schema = Arc::clone(&wanted.columns.schema);
        let mut stream = RecordBatchReceiverStream::builder(schema, BATCHES_AHEAD);
        let sender = stream.tx();
        stream.spawn_blocking(move || {
            let rows = {
                let _running = metrics.elapsed_compute().timer();
                wanted.latest.rows(&wanted.columns, &assets).map_err(Error::into_datafusion)?
            };
            // One copy of the table, all of it at once; what is handed on are parts of it.
            let held = MemoryConsumer::new("latest values").register(context.memory_pool());
            held.try_grow(rows.get_array_memory_size())?;
            let end = rows.num_rows().min(wanted.limit.unwrap_or(usize::MAX));
            let step = context.session_config().batch_size().max(1);
            for from in (0..end).step_by(step) {
                let part = rows.slice(from, step.min(end - from));
                metrics.record_output(part.num_rows());
                // Nobody listens any more: the statement was cancelled or has enough.
                if sender.blocking_send(Ok(part)).is_err() {
                    break;
                }
            }
            Ok::<(), DataFusionError>(())
        });
        Ok(stream.build())
    }
}
