//! The scan of a model's samples as a physical plan.
//!
//! Owns: partitions (one a shard that can hold asked assets), the way from the store's blocking iterators to async
//! streams, what order is promised, what EXPLAIN shows. Does not own: reading filters (`prune`), merging and
//! duplicates (`storage`).
//!
//! A partition's iterator runs on a blocking thread and hands batches over a channel of [`BATCHES_AHEAD`]; when the
//! stream is dropped the channel closes and the thread stops at its next batch.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Result, Statistics, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use parking_lot::Mutex;
use wattline_model::{AssetId, Model, TimeRange};
use wattline_registry::Registry;
use wattline_storage::{ScanBatch, ScanFigures, ScanRequest, ShardScan, Snapshot, Within};

use crate::arrays;
use crate::columns::{Columns, Role};
use crate::error::{Error, ErrorKind};
use crate::leaf::leaf_plan;
use crate::template::Template;

/// Batches a scan decodes before somebody asks: enough to overlap decoding with the query, little to throw away.
pub(crate) const BATCHES_AHEAD: usize = 2;

/// Everything a scan needs to know; fixed when the statement is planned.
pub(crate) struct ScanSpec {
    /// The model.
    pub(crate) model: Arc<Model>,
    /// Names the assets.
    pub(crate) registry: Registry,
    /// What is read.
    pub(crate) snapshot: Snapshot,
    /// Which part of it.
    pub(crate) request: ScanRequest,
    /// Conditions of which some other operator holds the rest: rows that do not meet them may be left out.
    pub(crate) conditions: Vec<Within>,
    /// How many shards can hold it; one partition each.
    pub(crate) partitions: usize,
    /// The columns to give.
    pub(crate) columns: Columns,
    /// Rows after which a partition may stop.
    pub(crate) limit: Option<usize>,
    /// Whether the text ids of the asked assets ascend with their numbers: then rows come in the order of
    /// (`asset_id`, `time`).
    pub(crate) in_key_order: bool,
    /// How many assets a filter lists, known or not; `None` where it lets all through.
    pub(crate) listed: Option<usize>,
    /// How to make the like of it for other values, where the plan is kept.
    pub(crate) template: Option<Arc<Template>>,
    /// A guess at the rows, for choosing the small side of a join.
    pub(crate) rows_guess: usize,
}

/// The plan node.
pub(crate) struct ModelScan {
    spec: Arc<ScanSpec>,
    scans: Arc<Scans>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ModelScan {
    /// A scan of `spec`.
    pub(crate) fn new(spec: ScanSpec) -> ModelScan {
        let properties = PlanProperties::new(
            equivalences(&spec),
            Partitioning::UnknownPartitioning(spec.partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        ModelScan {
            spec: Arc::new(spec),
            scans: Arc::default(),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl ModelScan {
    /// The same scan of other rows: `spec` is of the same shape.
    pub(crate) fn over(&self, spec: ScanSpec) -> ModelScan {
        ModelScan {
            spec: Arc::new(spec),
            scans: Arc::default(),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// What it scans.
    pub(crate) fn spec(&self) -> &Arc<ScanSpec> {
        &self.spec
    }
}

/// The iterators of a scan, made at the first call because making them costs (memtables are put in order), and each
/// taken by its partition. A shard without rows has none, so the last partitions may stay empty.
#[derive(Default)]
pub(crate) struct Scans(Mutex<Option<Vec<Option<ShardScan>>>>);

impl Scans {
    /// The iterator of `partition`. A partition executed again (a loop in a recursive query) gets a fresh one.
    fn take(&self, spec: &ScanSpec, partition: usize) -> Option<ShardScan> {
        let fresh = || spec.snapshot.scan_where(&spec.request, &spec.conditions);
        let mut scans = self.0.lock();
        let slot = scans.get_or_insert_with(|| fresh().into_iter().map(Some).collect()).get_mut(partition)?;
        slot.take().or_else(|| fresh().into_iter().nth(partition))
    }

    /// The rows of `partition`; what it costs goes to `metrics`.
    pub(crate) fn open(
        &self,
        spec: &Arc<ScanSpec>,
        partition: usize,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Option<Reading> {
        let scan = self.take(spec, partition)?;
        let costs = Costs::new(metrics, partition);
        Some(Reading { scan, spec: Arc::clone(spec), costs, told: ScanFigures::default() })
    }
}

/// The rows of one partition, batch by batch. Blocking.
pub(crate) struct Reading {
    scan: ShardScan,
    spec: Arc<ScanSpec>,
    costs: Costs,
    told: ScanFigures,
}

impl Iterator for Reading {
    /// The columns asked for, and the asset of each row.
    type Item = Result<(RecordBatch, Vec<AssetId>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.scan.next();
        self.costs.add(self.scan.figures(), &mut self.told);
        Some(batch?.map_err(|e| Error::of_storage(&e)).and_then(|batch| to_arrow(&self.spec, batch)))
    }
}

/// What EXPLAIN ANALYZE tells of the blocks.
struct Costs {
    pruned: Count,
    sifted: Count,
    decoded: Count,
    merged: Count,
}

impl Costs {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Costs {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Costs {
            pruned: counter("blocks_pruned"),
            sifted: counter("blocks_sifted"),
            decoded: counter("blocks_decoded"),
            merged: counter("rows_merged"),
        }
    }

    /// Adds what `now` has more than what was `told`.
    fn add(&self, now: ScanFigures, told: &mut ScanFigures) {
        self.pruned.add((now.blocks_pruned - told.blocks_pruned) as usize);
        self.sifted.add((now.blocks_sifted - told.blocks_sifted) as usize);
        self.decoded.add((now.blocks_decoded - told.blocks_decoded) as usize);
        self.merged.add((now.rows_merged - told.rows_merged) as usize);
        *told = now;
    }
}

/// What is known of the order of the rows of each partition. The store orders by the assets' numbers, so `asset_id`
/// takes part only where the texts are in the same order; with a single asset `time` alone is in order as well.
fn equivalences(spec: &ScanSpec) -> EquivalenceProperties {
    let schema = Arc::clone(&spec.columns.schema);
    let mut properties = EquivalenceProperties::new(schema);
    let place = |role: Role| spec.columns.roles.iter().position(|r| *r == role);
    let sorted = |name: &str, index: usize| {
        PhysicalSortExpr::new_default(Arc::new(Column::new(name, index)) as Arc<dyn PhysicalExpr>)
            .asc()
            .nulls_last()
    };
    let time = place(Role::Time).map(|i| sorted(crate::columns::TIME, i));
    let asset = place(Role::Asset).map(|i| sorted(crate::columns::ASSET_ID, i));
    let single = spec.listed == Some(1);
    let mut orderings: Vec<Vec<PhysicalSortExpr>> = Vec::new();
    if single {
        orderings.extend(time.clone().map(|t| vec![t]));
    }
    if spec.in_key_order {
        orderings.extend(asset.map(|a| std::iter::once(a).chain(time).collect()));
    }
    properties.add_orderings(orderings.into_iter().filter_map(LexOrdering::new));
    properties
}

impl fmt::Debug for ModelScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_spec(&self.spec, f)
    }
}

impl DisplayAs for ModelScan {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => write_spec(&self.spec, f),
            DisplayFormatType::TreeRender => writeln!(f, "model={}", self.spec.model.key),
        }
    }
}

fn write_spec(spec: &ScanSpec, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("WattlineScan: ")?;
    write_part(spec, f)?;
    write!(f, ", every_row={}, partitions={}", spec.request.every_row, spec.partitions)?;
    match spec.limit {
        Some(limit) => write!(f, ", limit={limit}"),
        None => Ok(()),
    }
}

/// Which part of a model is read.
pub(crate) fn write_part(spec: &ScanSpec, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let request = &spec.request;
    let points: Vec<&str> =
        request.points.iter().filter_map(|(id, _)| spec.model.point(*id)).map(|p| p.key.as_str()).collect();
    write!(f, "model={}, points=[{}], assets=", spec.model.key, points.join(", "))?;
    match &request.assets {
        None => f.write_str("all")?,
        Some(assets) => write!(f, "{}", assets.len())?,
    }
    write!(f, ", range={}", Range(request.range))
}

/// A range for people: an open end is left out.
struct Range(TimeRange);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |f: &mut fmt::Formatter<'_>, micros: i64, open: i64| {
            if micros == open {
                return Ok(());
            }
            match arrow::temporal_conversions::timestamp_us_to_datetime(micros) {
                Some(time) => write!(f, "{}Z", time.format("%Y-%m-%dT%H:%M:%S%.f")),
                None => write!(f, "{micros}us"),
            }
        };
        f.write_str("[")?;
        end(f, self.0.start.0, i64::MIN)?;
        f.write_str("..")?;
        end(f, self.0.end.0, i64::MAX)?;
        f.write_str(")")
    }
}

impl ExecutionPlan for ModelScan {
    leaf_plan!("WattlineScan");

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.spec.partitions {
            return internal_err!("WattlineScan has no partition {partition}");
        }
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (spec, scans, of_blocks) =
            (Arc::clone(&self.spec), Arc::clone(&self.scans), self.metrics.clone());
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&spec.columns.schema), BATCHES_AHEAD);
        let sender = stream.tx();
        stream.spawn_blocking(move || {
            let mut left = spec.limit.unwrap_or(usize::MAX);
            let timer = metrics.elapsed_compute().clone();
            let Some(mut rows) = scans.open(&spec, partition, &of_blocks) else { return Ok(()) };
            while left > 0 {
                let batch = {
                    let _running = timer.timer();
                    rows.next()
                };
                let Some(batch) = batch else { break };
                let (batch, _) = batch.map_err(Error::into_datafusion)?;
                let batch = if batch.num_rows() > left { batch.slice(0, left) } else { batch };
                left -= batch.num_rows();
                metrics.record_output(batch.num_rows());
                // Nobody listens any more: the statement was cancelled or has enough.
                if sender.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok::<(), DataFusionError>(())
        });
        Ok(stream.build())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let partitions = if args.partition().is_some() { self.spec.partitions.max(1) } else { 1 };
        let rows = (self.spec.rows_guess / partitions).max(1);
        let statistics = Statistics::new_unknown(&self.spec.columns.schema);
        Ok(Arc::new(statistics.with_num_rows(Precision::Inexact(rows))))
    }
}

/// A batch of the store in the columns asked for, and the asset of each row.
///
/// # Errors
/// Damaged where it does not fit the model.
fn to_arrow(spec: &ScanSpec, batch: ScanBatch) -> Result<(RecordBatch, Vec<AssetId>), Error> {
    let rows = batch.assets.len();
    let asked = &spec.request.points;
    if batch.times.len() != rows || batch.columns.len() != asked.len() {
        return Err(Error::new(ErrorKind::Bug, "the store gave a batch of another shape than asked"));
    }
    let mut times = Some(batch.times);
    let mut taken = Vec::with_capacity(batch.columns.len());
    for ((id, _), column) in asked.iter().zip(batch.columns) {
        let point = spec
            .model
            .point(*id)
            .ok_or_else(|| Error::new(ErrorKind::Bug, format!("{id} is not in model {}", spec.model.key)))?;
        let nulls = arrays::nulls(point, rows, column.presence)?;
        taken.push((point, nulls, Some(column.values), column.quality));
    }
    let slot = |point: usize| asked.iter().position(|(id, _)| id.0 as usize == point);
    let twice = || Error::new(ErrorKind::Bug, "a column was asked for twice");
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(spec.columns.roles.len());
    for role in &spec.columns.roles {
        arrays.push(match *role {
            Role::Asset => arrays::asset_ids(&spec.registry, &batch.assets)?,
            Role::Time => Arc::new(arrays::instants(times.take().ok_or_else(twice)?, None)),
            Role::Value(point) => {
                let (point, nulls, values, _) = &mut taken[slot(point).ok_or_else(twice)?];
                arrays::values(point, rows, values.take().ok_or_else(twice)?, nulls.clone())?
            }
            Role::Quality(point) => {
                let (point, nulls, _, quality) = &taken[slot(point).ok_or_else(twice)?];
                arrays::qualities(point, rows, quality.as_deref(), nulls.clone())?
            }
            Role::ValueTime(_) => return Err(Error::new(ErrorKind::Bug, "samples have no value times")),
        });
    }
    Ok((record_batch(&spec.columns.schema, arrays, rows)?, batch.assets))
}

/// A record batch that knows its rows even without columns (`count(*)`).
///
/// # Errors
/// Bug where the arrays do not fit the schema.
pub(crate) fn record_batch(
    schema: &SchemaRef,
    arrays: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, Error> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|e| Error::new(ErrorKind::Bug, format!("a batch does not fit its schema: {e}")))
}
