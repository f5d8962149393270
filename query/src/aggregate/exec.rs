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
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions, SendableRecordBatchStream,
};
use futures::TryStreamExt as _;
use parking_lot::Mutex;
use tokio::sync::mpsc::Sender;
use wattline_model::{AssetId, TimeRange, Timestamp};
use wattline_storage::{AggregateFigures, AggregateRequest, Buckets, Groups, Newest, ShardAggregate};

use super::arrays;
use super::chosen::{self, Chosen};
use super::shape::{Output, Read, Shape};
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
    /// What tells the assets.
    chosen: Option<Chosen>,
    shape: Arc<Shape>,
    /// How many of the newest buckets are enough.
    newest_buckets: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SeriesAggregate {
    /// What was `read`, as columns of `schema`.
    pub(crate) fn new(read: Read, schema: SchemaRef) -> SeriesAggregate {
        let Read { scan: spec, chosen, shape } = read;
        let properties = PlanProperties::new(
            equivalences(&shape, &spec, schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        SeriesAggregate {
            spec,
            chosen,
            shape: Arc::new(shape),
            newest_buckets: None,
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
        SeriesAggregate { spec: Arc::new(spec), ..self.anew() }
    }

    /// The same aggregate, of which nothing has run.
    fn anew(&self) -> SeriesAggregate {
        SeriesAggregate {
            spec: Arc::clone(&self.spec),
            chosen: self.chosen.clone(),
            shape: Arc::clone(&self.shape),
            newest_buckets: self.newest_buckets,
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// What is asked for.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The same aggregate for somebody to whom the newest `count` buckets are enough.
    pub(super) fn of_newest_buckets(&self, count: usize) -> SeriesAggregate {
        SeriesAggregate { newest_buckets: Some(count), ..self.anew() }
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
        if let Some(buckets) = self.newest_buckets {
            write!(f, "newest_buckets={buckets}, ")?;
        }
        if self.shape.newest().is_some() {
            f.write_str("newest, ")?;
        }
        if let Some(point) = self.shape.required.and_then(|place| self.shape.points.get(place)) {
            let key = self.spec.model.point(point.point).map_or("", |point| point.key.as_str());
            write!(f, "present={key}, ")?;
        }
        if self.chosen.is_some() {
            f.write_str("assets_of_input, ")?;
        }
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
        self.chosen.iter().map(|chosen| &chosen.input).collect()
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        self.chosen.iter().map(|_| Distribution::SinglePartition).collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        self.chosen.iter().map(|_| false).collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (&self.chosen, children.pop(), children.is_empty()) {
            (None, None, _) => Ok(self),
            (Some(chosen), Some(input), true) => {
                let chosen = Some(Chosen { input, column: chosen.column });
                Ok(Arc::new(SeriesAggregate { chosen, ..self.anew() }))
            }
            _ => internal_err!("SeriesAggregate has one input where a subquery tells its assets, else none"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.anew()))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("SeriesAggregate has no partition {partition}");
        }
        let mut run = Run {
            newest_buckets: self.newest_buckets,
            assets: self.spec.request.assets.clone(),
            spec: Arc::clone(&self.spec),
            shape: Arc::clone(&self.shape),
            schema: self.schema(),
            memory: MemoryConsumer::new("SeriesAggregate").register(context.memory_pool()),
            baseline: BaselineMetrics::new(&self.metrics, 0),
            costs: Costs::new(&self.metrics),
            sender: None,
        };
        let threads = context.session_config().target_partitions().max(1);
        if let Some(chosen) = &self.chosen {
            let (rows, column) = (chosen.input.execute(0, context)?, chosen.column);
            let answer = async move {
                run.assets = Some(chosen::assets(rows, column, &run.spec).await?);
                Ok::<_, DataFusionError>(run.on_threads(threads))
            };
            let answer = futures::stream::once(answer).try_flatten();
            return Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), answer)));
        }
        let few = self.spec.request.assets.as_ref().is_some_and(|assets| assets.len() <= INLINE_ASSETS_MAX);
        if few && self.spec.rows_guess <= INLINE_ROWS_MAX {
            let schema = self.schema();
            let batches = futures::stream::once(async move { run.inline() });
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)));
        }
        Ok(run.on_threads(threads))
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

/// Each time too few of the newest buckets were found, so many times as long a stretch is looked at.
const STRETCH_FACTOR: i64 = 8;

/// One run of an aggregate.
struct Run {
    newest_buckets: Option<usize>,
    /// The assets that are meant; `None`: all.
    assets: Option<Vec<AssetId>>,
    spec: Arc<ScanSpec>,
    shape: Arc<Shape>,
    schema: SchemaRef,
    memory: MemoryReservation,
    baseline: BaselineMetrics,
    costs: Costs,
    /// Where its batches go, when it runs on threads of its own.
    sender: Option<Sender<Result<RecordBatch>>>,
}

/// Where complete groups by asset go; `false` when nobody wants them any more.
type Give<'a> = &'a mut dyn FnMut(Groups) -> Result<bool>;

impl Run {
    fn request(&self) -> AggregateRequest {
        let request = &self.spec.request;
        AggregateRequest {
            model: request.model,
            points: self.shape.points.clone(),
            assets: self.assets.clone(),
            range: request.range,
            buckets: self.shape.buckets,
            by_asset: self.shape.by_asset,
            newest: self.shape.newest(),
        }
    }

    fn shards(&self, range: TimeRange) -> Vec<ShardAggregate> {
        self.spec.snapshot.aggregate(&AggregateRequest { range, ..self.request() })
    }

    fn inline(self) -> Result<RecordBatch> {
        let timer = self.baseline.elapsed_compute().clone();
        let _running = timer.timer();
        let groups = self.groups(1)?;
        self.last_batch(groups)
    }

    /// All groups, or at least the newest buckets that are wanted.
    fn groups(&self, threads: usize) -> Result<Groups> {
        let whole = self.spec.request.range;
        let (Some(wanted), Buckets::Every { micros, .. }) = (self.newest_buckets, self.shape.buckets) else {
            return self.groups_of(whole, threads);
        };
        let Some(last) = self.last_time()? else { return self.groups_of(whole, threads) };
        // Where buckets are empty there are fewer than wanted in a stretch of so many.
        let mut buckets = wanted as i64;
        loop {
            let back = micros.saturating_mul(buckets.saturating_sub(1));
            let start = self.shape.buckets.of(last).0.saturating_sub(back);
            if start <= whole.start.0 || back == i64::MAX {
                return self.groups_of(whole, threads);
            }
            let groups = self.groups_of(TimeRange::new(Timestamp(start), whole.end), threads)?;
            if groups.len() >= wanted {
                return Ok(groups);
            }
            buckets = buckets.saturating_mul(STRETCH_FACTOR);
        }
    }

    /// The time of the last row.
    fn last_time(&self) -> Result<Option<i64>> {
        let last = AggregateRequest {
            points: Vec::new(),
            buckets: Buckets::Whole,
            by_asset: true,
            newest: Some(Newest::Row),
            ..self.request()
        };
        let mut found = None;
        for mut shard in self.spec.snapshot.aggregate(&last) {
            while shard.advance().map_err(|e| Error::of_storage(&e).into_datafusion())? {}
            self.costs.add(shard.figures());
            found = found.max(shard.finish().last_times.into_iter().max());
        }
        Ok(found)
    }

    /// The groups in `range`, found by so many threads.
    fn groups_of(&self, range: TimeRange, threads: usize) -> Result<Groups> {
        let all = Mutex::new(Groups::new(&self.shape.points, self.shape.by_asset));
        self.each_shard(range, threads, &|shard| {
            let take = |groups: &Groups| -> Result<()> {
                let mut all = all.lock();
                let before = all.bytes();
                all.merge(groups);
                self.memory.try_grow(all.bytes().saturating_sub(before))
            };
            let rest = self.shard(shard, &mut |groups| take(&groups).map(|()| true))?;
            rest.map_or(Ok(()), |rest| take(&rest)).map(|()| true)
        })?;
        Ok(all.into_inner())
    }

    /// Hands the shards to `work`, on so many threads, until it answers `false`.
    fn each_shard(
        &self,
        range: TimeRange,
        threads: usize,
        work: &(dyn Fn(ShardAggregate) -> Result<bool> + Sync),
    ) -> Result<()> {
        let queue = Mutex::new(self.shards(range));
        let work = || -> Result<()> {
            loop {
                let Some(shard) = queue.lock().pop() else { return Ok(()) };
                if !work(shard)? {
                    queue.lock().clear();
                }
            }
        };
        let more = threads.min(queue.lock().len()).saturating_sub(1);
        if more == 0 {
            return work();
        }
        std::thread::scope(|scope| {
            let spawned: Vec<_> = (0..more).map(|_| scope.spawn(work)).collect();
            let mine = work();
            let panicked = || internal_err!("a thread of an aggregate panicked");
            let joined = spawned.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked()));
            std::iter::once(mine).chain(joined).collect()
        })
    }

    /// Runs one shard to its end, as long as groups are wanted, and returns the groups that are left.
    fn shard(&self, mut shard: ShardAggregate, give: Give<'_>) -> Result<Option<Groups>> {
        let failed = |e: wattline_storage::Error| Error::of_storage(&e).into_datafusion();
        let mut held = 0;
        let wanted = loop {
            // The statement ended before its answer: nobody would stop this otherwise.
            if self.sender.as_ref().is_some_and(Sender::is_closed) {
                break false;
            }
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

    fn on_threads(mut self, threads: usize) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), BATCHES_AHEAD);
        let sender = stream.tx();
        self.sender = Some(sender.clone());
        stream.spawn_blocking(move || {
            let timer = self.baseline.elapsed_compute().clone();
            let _running = timer.timer();
            if self.shape.by_asset {
                let whole = self.spec.request.range;
                return self.each_shard(whole, threads, &|shard| self.send(shard, &sender));
            }
            let batch = self.last_batch(self.groups(threads)?)?;
            // Nobody may listen any more.
            drop(sender.blocking_send(Ok(batch)));
            Ok::<(), DataFusionError>(())
        });
        stream.build()
    }

    /// Sends the groups of a shard, which are by asset; `false` where nobody listens any more.
    fn send(&self, shard: ShardAggregate, sender: &Sender<Result<RecordBatch>>) -> Result<bool> {
        let mut send = |groups: Groups| -> Result<bool> {
            let batch = self.batch(&groups)?;
            self.baseline.record_output(batch.num_rows());
            Ok(sender.blocking_send(Ok(batch)).is_ok())
        };
        match self.shard(shard, &mut send)? {
            None => Ok(false),
            Some(rest) if rest.is_empty() => Ok(!sender.is_closed()),
            Some(rest) => send(rest),
        }
    }
}
