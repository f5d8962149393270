//! [`SeriesAggregate`]: an aggregate by asset and bucket as a physical plan.
//!
//! Owns: spreading shards over threads, the memory it holds, what EXPLAIN shows. One partition: groups are few beside
//! the rows they come from.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions, SendableRecordBatchStream,
};
use tokio::sync::mpsc::Sender;
use wattline_storage::{AggregateFigures, AggregateRequest, Buckets, Groups, ShardAggregate};

use super::arrays;
use super::shape::{Output, Shape};
use crate::error::Error;
use crate::scan::{BATCHES_AHEAD, ScanSpec, write_part};

/// Assets up to which an aggregate runs where it is asked for: handing it to another thread would cost more than it
/// takes.
const INLINE_ASSETS_MAX: usize = 16;
/// Rows, as guessed, up to which it does.
const INLINE_ROWS_MAX: usize = 500_000;

/// The plan node.
pub(crate) struct SeriesAggregate {
    spec: Arc<ScanSpec>,
    shape: Arc<Shape>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SeriesAggregate {
    /// An aggregate of `shape` over what `spec` scans, which gives columns of `schema`.
    pub(crate) fn new(spec: Arc<ScanSpec>, shape: Shape, schema: SchemaRef) -> SeriesAggregate {
        let properties = PlanProperties::new(
            equivalences(&shape, &spec, schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        SeriesAggregate {
            spec,
            shape: Arc::new(shape),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// What is read.
    pub(crate) fn spec(&self) -> &Arc<ScanSpec> {
        &self.spec
    }

    /// The same aggregate over another scan of the same shape.
    pub(crate) fn over(&self, spec: ScanSpec) -> SeriesAggregate {
        SeriesAggregate {
            spec: Arc::new(spec),
            shape: Arc::clone(&self.shape),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

/// Buckets come in order where they are of one asset, or of all assets together.
fn equivalences(shape: &Shape, spec: &ScanSpec, schema: SchemaRef) -> EquivalenceProperties {
    let mut properties = EquivalenceProperties::new(Arc::clone(&schema));
    let single = spec.listed == Some(1);
    let bucket = shape.outputs.iter().position(|output| *output == Output::Bucket);
    if let (Some(bucket), true) = (bucket, single || !shape.by_asset) {
        let column = Arc::new(Column::new(schema.field(bucket).name(), bucket)) as Arc<dyn PhysicalExpr>;
        let ascending = SortOptions { descending: false, nulls_first: false };
        properties.add_ordering([PhysicalSortExpr::new(column, ascending)]);
    }
    properties
}

impl fmt::Debug for SeriesAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl DisplayAs for SeriesAggregate {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(format, DisplayFormatType::TreeRender) {
            return writeln!(f, "model={}", self.spec.model.key);
        }
        f.write_str("SeriesAggregate: by=[")?;
        let asset = if self.shape.by_asset { "asset_id" } else { "" };
        f.write_str(asset)?;
        if let Buckets::Every { origin, micros } = self.shape.buckets {
            write!(f, "{}{micros}us", if asset.is_empty() { "" } else { ", " })?;
            if origin != 0 {
                write!(f, " from {origin}us")?;
            }
        }
        f.write_str("], ")?;
        write_part(&self.spec, f)
    }
}

impl ExecutionPlan for SeriesAggregate {
    fn name(&self) -> &str {
        "SeriesAggregate"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !children.is_empty() {
            return internal_err!("SeriesAggregate is a leaf");
        }
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("SeriesAggregate has no partition {partition}");
        }
        let run = Run {
            spec: Arc::clone(&self.spec),
            shape: Arc::clone(&self.shape),
            schema: self.schema(),
            memory: MemoryConsumer::new("SeriesAggregate").register(context.memory_pool()),
            baseline: BaselineMetrics::new(&self.metrics, 0),
            costs: Costs::new(&self.metrics),
        };
        let few = self.spec.request.assets.as_ref().is_some_and(|assets| assets.len() <= INLINE_ASSETS_MAX);
        if few && self.spec.rows_guess <= INLINE_ROWS_MAX {
            let schema = self.schema();
            let batches = futures::stream::once(async move { run.inline() });
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)));
        }
        let threads = context.session_config().target_partitions().max(1);
        Ok(run.on_threads(threads))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }
}

/// What EXPLAIN ANALYZE tells of the blocks.
#[derive(Clone)]
struct Costs {
    pruned: Count,
    answered: Count,
    decoded: Count,
    merged: Count,
}

impl Costs {
    fn new(metrics: &ExecutionPlanMetricsSet) -> Costs {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, 0);
        Costs {
            pruned: counter("blocks_pruned"),
            answered: counter("blocks_answered_from_statistics"),
            decoded: counter("blocks_decoded"),
            merged: counter("rows_merged"),
        }
    }

    fn add(&self, figures: AggregateFigures) {
        self.pruned.add(figures.blocks_pruned as usize);
        self.answered.add(figures.blocks_answered as usize);
        self.decoded.add(figures.blocks_decoded as usize);
        self.merged.add(figures.rows_merged as usize);
    }
}

/// One run of an aggregate.
struct Run {
    spec: Arc<ScanSpec>,
    shape: Arc<Shape>,
    schema: SchemaRef,
    memory: MemoryReservation,
    baseline: BaselineMetrics,
    costs: Costs,
}

/// Where complete groups by asset go; `false` when nobody wants them any more.
type Give<'a> = &'a mut dyn FnMut(Groups) -> Result<bool>;

impl Run {
    fn shards(&self) -> Vec<ShardAggregate> {
        let request = &self.spec.request;
        self.spec.snapshot.aggregate(&AggregateRequest {
            model: request.model,
            points: self.shape.points.clone(),
            assets: request.assets.clone(),
            range: request.range,
            buckets: self.shape.buckets,
            by_asset: self.shape.by_asset,
        })
    }

    fn inline(self) -> Result<RecordBatch> {
        let timer = self.baseline.elapsed_compute().clone();
        let _running = timer.timer();
        let mut all = Groups::new(&self.shape.points, self.shape.by_asset);
        for shard in self.shards() {
            let rest = self.shard(shard, &mut |groups| {
                all.merge(&groups);
                self.memory.try_resize(all.bytes())?;
                Ok(true)
            })?;
            if let Some(rest) = rest {
                all.merge(&rest);
            }
        }
        self.last_batch(all)
    }

    /// Runs one shard to its end, as long as groups are wanted, and returns the groups that are left.
    fn shard(&self, mut shard: ShardAggregate, give: Give<'_>) -> Result<Option<Groups>> {
        let failed = |e: wattline_storage::Error| Error::of_storage(&e).into_datafusion();
        let mut held = 0;
        let wanted = loop {
            if !shard.advance().map_err(failed)? {
                break true;
            }
            if let Some(groups) = shard.take_some()
                && !give(groups)?
            {
                break false;
            }
            let bytes = shard.bytes();
            if bytes > held {
                // In steps, so that the pool is not asked at every asset.
                self.memory.try_grow(bytes * 2 - held)?;
                held = bytes * 2;
            }
        };
        self.costs.add(shard.figures());
        self.memory.shrink(held);
        Ok(wanted.then(|| shard.finish()))
    }

    /// The answer from groups that are complete: buckets of all assets together are put in order.
    fn last_batch(&self, groups: Groups) -> Result<RecordBatch> {
        let batch = if groups.is_empty() && !self.shape.grouped {
            arrays::of_nothing(&self.schema, &self.shape).map_err(Error::into_datafusion)?
        } else {
            let groups = if self.shape.by_asset { groups } else { groups.in_order() };
            self.batch(&groups)?
        };
        self.baseline.record_output(batch.num_rows());
        Ok(batch)
    }

    fn batch(&self, groups: &Groups) -> Result<RecordBatch> {
        arrays::batch(&self.schema, &self.shape, &self.spec.registry, groups).map_err(Error::into_datafusion)
    }

    fn on_threads(self, threads: usize) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), BATCHES_AHEAD);
        let sender = stream.tx();
        stream.spawn_blocking(move || {
            let timer = self.baseline.elapsed_compute().clone();
            let _running = timer.timer();
            let queue = parking_lot::Mutex::new(self.shards());
            let together = parking_lot::Mutex::new(Groups::new(&self.shape.points, self.shape.by_asset));
            let work = || -> Result<()> {
                loop {
                    let Some(shard) = queue.lock().pop() else { return Ok(()) };
                    if !self.shard_to(shard, &sender, &together)? {
                        queue.lock().clear();
                    }
                }
            };
            let results: Vec<Result<()>> = std::thread::scope(|scope| {
                let more = threads.min(queue.lock().len()).saturating_sub(1);
                let spawned: Vec<_> = (0..more).map(|_| scope.spawn(work)).collect();
                let mine = work();
                let panicked = || internal_err!("a thread of an aggregate panicked");
                let joined = spawned.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked()));
                std::iter::once(mine).chain(joined).collect()
            });
            results.into_iter().collect::<Result<()>>()?;
            if !self.shape.by_asset {
                let batch = self.last_batch(together.into_inner())?;
                drop(sender.blocking_send(Ok(batch)));
            }
            Ok::<(), DataFusionError>(())
        });
        stream.build()
    }

    /// Runs a shard; groups by asset go to `sender`, others into `together`. `false` where nobody listens any more.
    fn shard_to(
        &self,
        shard: ShardAggregate,
        sender: &Sender<Result<RecordBatch>>,
        together: &parking_lot::Mutex<Groups>,
    ) -> Result<bool> {
        let mut send = |groups: Groups| -> Result<bool> {
            let batch = self.batch(&groups)?;
            self.baseline.record_output(batch.num_rows());
            Ok(sender.blocking_send(Ok(batch)).is_ok())
        };
        let Some(rest) = self.shard(shard, &mut send)? else { return Ok(false) };
        if self.shape.by_asset {
            return if rest.is_empty() { Ok(!sender.is_closed()) } else { send(rest) };
        }
        let mut together = together.lock();
        let before = together.bytes();
        together.merge(&rest);
        self.memory.try_grow(together.bytes().saturating_sub(before))?;
        Ok(!sender.is_closed())
    }
}
