//! [`StretchAggregate`]: any aggregate by asset, or by asset and bucket, over the rows of a scan.
//!
//! Owns: folding rows stretch by stretch with DataFusion's accumulators. Does not own: aggregates that statistics answer
//! (`exec`).
//!
//! Rows come by (asset, time), so a group is a stretch of them: no key is hashed, a group is complete when the next one
//! begins, and shards need not be put together. Conditions and expressions are evaluated on the thread that reads, batch
//! by batch. It is a leaf, so that nothing can come between the rows and their order.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, PrimitiveArray, RecordBatch, UInt32Array,
};
use arrow::compute::{concat, filter_record_batch, take_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use wattline_model::AssetId;
use wattline_storage::Buckets;

use super::below::Below;
use crate::columns::Role;
use crate::error::{Error, ErrorKind};
use crate::leaf::leaf_plan;
use crate::scan::{BATCHES_AHEAD, Reading, ScanSpec, Scans, write_part};

/// Groups that are complete and not handed on yet, at most: a batch of an answer.
const GROUPS_AT_ONCE: usize = 8_192;

/// What is asked of the rows, all of it in terms of the scan's columns.
struct Asked {
    buckets: Buckets,
    /// The columns of a group's key.
    keys: Vec<Arc<dyn PhysicalExpr>>,
    /// What rows must meet.
    conditions: Vec<Arc<dyn PhysicalExpr>>,
    figures: Vec<Figure>,
}

/// One aggregate.
struct Figure {
    function: Arc<AggregateFunctionExpr>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    /// Its own condition (`FILTER`).
    condition: Option<Arc<dyn PhysicalExpr>>,
}

/// The operator for `aggregate`; `None` where it is not all understood.
pub(super) fn read(
    aggregate: &AggregateExec,
    below: &Below<'_>,
    schema: SchemaRef,
) -> Option<StretchAggregate> {
    let (mut buckets, mut by_asset) = (Buckets::Whole, false);
    let mut keys = Vec::new();
    for (key, _) in aggregate.group_expr().expr() {
        let key = below.resolve(key)?;
        if below.role(&key) == Some(Role::Asset) {
            by_asset = true;
        } else {
            let found = below.buckets(&key)?;
            if buckets != Buckets::Whole && buckets != found {
                return None;
            }
            buckets = found;
        }
        keys.push(key);
    }
    if !by_asset || below.chosen.is_some() {
        return None;
    }
    let mut figures = Vec::new();
    for (function, condition) in aggregate.aggr_expr().iter().zip(aggregate.filter_expr()) {
        let plain = !function.is_distinct() && function.order_bys().is_empty();
        if !(plain && function.groups_accumulator_supported()) {
            return None;
        }
        let args = function.expressions().iter().map(|arg| below.resolve(arg)).collect::<Option<_>>()?;
        let condition = match condition {
            Some(condition) => Some(below.resolve(condition)?),
            None => None,
        };
        figures.push(Figure { function: Arc::clone(function), args, condition });
    }
    let all = below.conditions.iter().chain(figures.iter().flat_map(|f| f.args.iter().chain(&f.condition)));
    if all.into_iter().any(is_volatile) {
        return None;
    }
    let asked = Asked { buckets, keys, conditions: below.conditions.clone(), figures };
    let properties = PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(below.scan.partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    Some(StretchAggregate {
        spec: Arc::clone(below.scan),
        asked: Arc::new(asked),
        scans: Arc::default(),
        properties: Arc::new(properties),
        metrics: ExecutionPlanMetricsSet::new(),
    })
}

/// The plan node: a partition for each of the scan's.
pub(crate) struct StretchAggregate {
    spec: Arc<ScanSpec>,
    asked: Arc<Asked>,
    scans: Arc<Scans>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl StretchAggregate {
    /// What is read.
    pub(crate) fn spec(&self) -> &Arc<ScanSpec> {
        &self.spec
    }

    /// The same aggregate over another scan of the same shape.
    pub(crate) fn over(&self, spec: ScanSpec) -> StretchAggregate {
        StretchAggregate {
            spec: Arc::new(spec),
            asked: Arc::clone(&self.asked),
            scans: Arc::default(),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl fmt::Debug for StretchAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl DisplayAs for StretchAggregate {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(format, DisplayFormatType::TreeRender) {
            return writeln!(f, "model={}", self.spec.model.key);
        }
        f.write_str("StretchAggregate: by=[asset_id")?;
        if let Buckets::Every { origin, micros } = self.asked.buckets {
            write!(f, ", {micros}us")?;
            if origin != 0 {
                write!(f, " from {origin}us")?;
            }
        }
        let names: Vec<&str> = self.asked.figures.iter().map(|figure| figure.function.name()).collect();
        write!(f, "], aggr=[{}], ", names.join(", "))?;
        if !self.asked.conditions.is_empty() {
            let conditions: Vec<String> = self.asked.conditions.iter().map(ToString::to_string).collect();
            write!(f, "filter={}, ", conditions.join(" AND "))?;
        }
        write_part(&self.spec, f)
    }
}

impl ExecutionPlan for StretchAggregate {
    leaf_plan!("StretchAggregate");

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.spec.partitions {
            return internal_err!("StretchAggregate has no partition {partition}");
        }
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (spec, scans, of_blocks) =
            (Arc::clone(&self.spec), Arc::clone(&self.scans), self.metrics.clone());
        let (asked, schema) = (Arc::clone(&self.asked), self.schema());
        let memory = MemoryConsumer::new("StretchAggregate").register(context.memory_pool());
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&schema), BATCHES_AHEAD);
        let sender = stream.tx();
        stream.spawn_blocking(move || {
            let timer = metrics.elapsed_compute().clone();
            let Some(rows) = scans.open(&spec, partition, &of_blocks) else { return Ok(()) };
            let mut fold = Fold::new(asked, &spec, schema, memory)?;
            let mut rows = Some(rows);
            while let Some(reading) = &mut rows {
                let answer = {
                    let _running = timer.timer();
                    let answer = fold.advance(reading, &|| sender.is_closed())?;
                    if answer.is_none() {
                        rows = None;
                    }
                    answer.map_or_else(|| fold.emit(EmitTo::All), |batch| Ok(Some(batch)))?
                };
                let Some(answer) = answer else { break };
                metrics.record_output(answer.num_rows());
                // Nobody listens any more: the statement was cancelled or has enough.
                if sender.blocking_send(Ok(answer)).is_err() {
                    break;
                }
            }
            Ok::<(), DataFusionError>(())
        });
        Ok(stream.build())
    }
}

/// The groups of one partition that were not handed on yet.
struct Fold {
    asked: Arc<Asked>,
    schema: SchemaRef,
    /// The place of the time among the scan's columns, where groups are told apart by it.
    time: Option<usize>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// Of each key column, its values group by group, in pieces.
    keys: Vec<Vec<ArrayRef>>,
    groups: usize,
    /// The group in work: its asset, and the start of its bucket.
    current: Option<(AssetId, i64)>,
    memory: MemoryReservation,
}

impl Fold {
    fn new(asked: Arc<Asked>, spec: &ScanSpec, schema: SchemaRef, memory: MemoryReservation) -> Result<Fold> {
        let accumulators = asked.figures.iter().map(|figure| figure.function.create_groups_accumulator());
        let mut time = spec.columns.roles.iter().position(|role| *role == Role::Time);
        match asked.buckets {
            Buckets::Whole => time = None,
            Buckets::Every { .. } if time.is_none() => return internal_err!("buckets without times"),
            Buckets::Every { .. } => {}
        }
        Ok(Fold {
            accumulators: accumulators.collect::<Result<_>>()?,
            keys: vec![Vec::new(); asked.keys.len()],
            asked,
            schema,
            time,
            groups: 0,
            current: None,
            memory,
        })
    }

    /// Reads until some groups are complete; `None` at the end of the rows, or where nobody wants them any more.
    fn advance(&mut self, rows: &mut Reading, given_up: &dyn Fn() -> bool) -> Result<Option<RecordBatch>> {
        for batch in rows {
            let (batch, assets) = batch.map_err(Error::into_datafusion)?;
            self.take(batch, assets)?;
            if given_up() {
                break;
            }
            if self.groups > GROUPS_AT_ONCE {
                // The last one may go on.
                return self.emit(EmitTo::First(self.groups - 1));
            }
        }
        Ok(None)
    }

    fn take(&mut self, batch: RecordBatch, assets: Vec<AssetId>) -> Result<()> {
        let (batch, assets) = self.filter(batch, assets)?;
        if assets.is_empty() {
            return Ok(());
        }
        let (group_of_row, firsts) = self.stretches(&batch, &assets)?;
        if !firsts.is_empty() {
            let rows = firsts.len();
            let firsts = take_record_batch(&batch, &UInt32Array::from(firsts))?;
            for (pieces, key) in self.keys.iter_mut().zip(&self.asked.keys) {
                pieces.push(key.evaluate(&firsts)?.into_array(rows)?);
            }
        }
        let rows = batch.num_rows();
        for (figure, accumulator) in self.asked.figures.iter().zip(&mut self.accumulators) {
            let args = figure.args.iter().map(|arg| arg.evaluate(&batch)?.into_array(rows));
            let args: Vec<ArrayRef> = args.collect::<Result<_>>()?;
            let condition = figure.condition.as_ref().map(|condition| mask(condition, &batch)).transpose()?;
            accumulator.update_batch(&args, &group_of_row, condition.as_ref(), self.groups)?;
        }
        self.memory.try_resize(self.bytes())
    }

    /// The rows that meet all conditions.
    fn filter(
        &self,
        mut batch: RecordBatch,
        mut assets: Vec<AssetId>,
    ) -> Result<(RecordBatch, Vec<AssetId>)> {
        for condition in &self.asked.conditions {
            let mask = mask(condition, &batch)?;
            // A row of which nobody knows whether it meets the condition does not.
            let kept = |row: usize| mask.is_valid(row) && mask.value(row);
            if mask.true_count() < mask.len() {
                batch = filter_record_batch(&batch, &mask)?;
                let mut row = 0;
                assets.retain(|_| {
                    row += 1;
                    kept(row - 1)
                });
            }
        }
        Ok((batch, assets))
    }

    /// The group of each row, and the first rows of groups that begin here.
    fn stretches(&mut self, batch: &RecordBatch, assets: &[AssetId]) -> Result<(Vec<usize>, Vec<u32>)> {
        let times: Option<&PrimitiveArray<TimestampMicrosecondType>> =
            self.time.and_then(|place| batch.column(place).as_primitive_opt());
        let times: &[i64] = times.map_or(&[], |times| times.values());
        if self.time.is_some() && times.len() != assets.len() {
            return internal_err!("a time of the scan is no instant");
        }
        let (mut groups, mut firsts) = (Vec::with_capacity(assets.len()), Vec::new());
        let mut from = 0;
        while let Some(&asset) = assets.get(from) {
            let rows = assets[from..].partition_point(|&other| other == asset);
            let mut end = from + rows;
            let mut start = i64::MIN;
            if let Some(&time) = times.get(from) {
                let bucket = self.asked.buckets.of(time);
                start = bucket.0;
                end = from + times[from..end].partition_point(|&time| time <= bucket.1);
            }
            if self.current != Some((asset, start)) {
                self.current = Some((asset, start));
                self.groups += 1;
                firsts.push(from as u32);
            }
            groups.resize(end, self.groups - 1);
            from = end;
        }
        Ok((groups, firsts))
    }

    /// The first groups, or all of them, as a batch of the answer; `None` where there are none.
    fn emit(&mut self, groups: EmitTo) -> Result<Option<RecordBatch>> {
        let count = if let EmitTo::First(count) = groups { count } else { self.groups };
        if count == 0 {
            return Ok(None);
        }
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for pieces in &mut self.keys {
            let all = concat(&pieces.iter().map(|piece| &**piece).collect::<Vec<_>>())?;
            columns.push(all.slice(0, count));
            *pieces = vec![all.slice(count, all.len() - count)];
        }
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.evaluate(groups)?);
        }
        self.groups -= count;
        self.memory.try_resize(self.bytes())?;
        let wrong = |e| Error::new(ErrorKind::Bug, format!("groups of an aggregate: {e}")).into_datafusion();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map(Some).map_err(wrong)
    }

    fn bytes(&self) -> usize {
        let keys = self.keys.iter().flatten().map(|piece| piece.get_array_memory_size());
        let states = self.accumulators.iter().map(|accumulator| accumulator.size());
        keys.chain(states).sum()
    }
}

fn mask(condition: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    let mask = condition.evaluate(batch)?.into_array(batch.num_rows())?;
    match mask.as_boolean_opt() {
        Some(mask) => Ok(mask.clone()),
        None => internal_err!("the condition {condition} is none"),
    }
}
