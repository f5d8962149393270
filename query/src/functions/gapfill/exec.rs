//! The operator that fills gaps, series by series.
//!
//! Owns: what it wants of its input (all rows of a series in one partition, together, by time), cutting the input into
//! series, the rows and values between, memory and the limit on rows. Does not own: which buckets there are, and what
//! `locf` and `interpolate` mean (`wattline_series`).
//!
//! A series is held as a whole, since what fills a gap comes after it; of the whole input no more than that.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{concat_batches, partition, take};
use arrow::datatypes::{DataType, Float64Type, SchemaRef, TimestampMicrosecondType};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan,
    ExecutionPlanProperties, InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
};
use futures::{Stream, StreamExt};
use wattline_model::Timestamp;
use wattline_series::{Buckets, interpolate, locf};

use super::plan::Fill;
use crate::error::{Error, ErrorKind};
use crate::functions::arguments::of_series;
use crate::functions::bucket::GAPFILL;

/// Rows of one filled series: two years of minutes. More would be a mistake in interval or range.
const SERIES_ROWS_MAX: usize = 1 << 20;

/// What the operator does.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) schema: SchemaRef,
    /// The column of bucket starts.
    pub(super) time: usize,
    /// The columns that tell series apart.
    pub(super) keys: Vec<usize>,
    pub(super) fills: Vec<(usize, Fill)>,
    pub(super) buckets: Buckets,
    /// First time inside, and first time after.
    pub(super) range: (Option<Timestamp>, Option<Timestamp>),
}

/// The operator.
#[derive(Debug)]
pub(super) struct GapFillExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<Spec>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl GapFillExec {
    /// Fills the rows of `input`.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<Spec>) -> GapFillExec {
        let mut equivalences = EquivalenceProperties::new(Arc::clone(&spec.schema));
        equivalences.add_orderings(LexOrdering::new(order(&spec, &spec.schema)));
        let properties = PlanProperties::new(
            equivalences,
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        GapFillExec { input, spec, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

fn column(schema: &SchemaRef, place: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(place).name(), place))
}

/// By series, then by time: so rows go in and come out.
fn order(spec: &Spec, schema: &SchemaRef) -> Vec<PhysicalSortExpr> {
    let sorted = |place: &usize| PhysicalSortExpr::new_default(column(schema, *place)).asc().nulls_last();
    spec.keys.iter().chain([&spec.time]).map(sorted).collect()
}

impl DisplayAs for GapFillExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |places: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            places.map(|place| self.spec.schema.field(place).name().clone()).collect()
        };
        let keys = names(&mut self.spec.keys.iter().copied());
        let fills = names(&mut self.spec.fills.iter().map(|(place, _)| *place));
        write!(f, "GapFillExec: series=[{}], filled=[{}]", keys.join(", "), fills.join(", "))
    }
}

impl ExecutionPlan for GapFillExec {
    fn name(&self) -> &str {
        "GapFillExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let schema = self.input.schema();
        let keys: Vec<Arc<dyn PhysicalExpr>> =
            self.spec.keys.iter().map(|key| column(&schema, *key)).collect();
        InputDistributionRequirements::new(vec![match keys.is_empty() {
            true => Distribution::SinglePartition,
            false => Distribution::KeyPartitioned(keys),
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![LexOrdering::new(order(&self.spec, &self.input.schema())).map(OrderingRequirements::from)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
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
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(GapFillExec::new(input, Arc::clone(&self.spec)))),
            _ => internal_err!("GapFillExec has one child"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let types = self.spec.keys.iter().map(|key| self.spec.schema.field(*key).data_type());
        let fields = types.map(|of| SortField::new(of.clone())).collect();
        Ok(Box::pin(GapFillStream {
            input: Some(input),
            spec: Arc::clone(&self.spec),
            converter: RowConverter::new(fields)?,
            pending: Pending::default(),
            ready: Vec::new().into_iter(),
            reservation: MemoryConsumer::new("GapFill").register(context.memory_pool()),
            batch_rows: context.session_config().batch_size(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The rows of the series that has not ended yet.
#[derive(Default)]
struct Pending {
    key: Option<OwnedRow>,
    parts: Vec<RecordBatch>,
    bytes: usize,
}

struct GapFillStream {
    /// `None` once its end was reached.
    input: Option<SendableRecordBatchStream>,
    spec: Arc<Spec>,
    converter: RowConverter,
    pending: Pending,
    /// Filled rows that were not handed on yet.
    ready: std::vec::IntoIter<RecordBatch>,
    reservation: MemoryReservation,
    batch_rows: usize,
    metrics: BaselineMetrics,
}

impl GapFillStream {
    /// Takes a batch, and gives the filled rows of all series that ended before its last one.
    fn take_batch(&mut self, batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let mut filled = Vec::new();
        if batch.num_rows() == 0 {
            return Ok(filled);
        }
        let keys: Vec<ArrayRef> = self.spec.keys.iter().map(|key| Arc::clone(batch.column(*key))).collect();
        if keys.is_empty() {
            self.hold(batch.clone())?;
            return Ok(filled);
        }
        let rows = self.converter.convert_columns(&keys)?;
        for range in partition(&keys)?.ranges() {
            let key = rows.row(range.start);
            if self.pending.key.as_ref().is_none_or(|held| held.row() != key) {
                filled.extend(self.end_series()?);
                self.pending.key = Some(key.owned());
            }
            self.hold(batch.slice(range.start, range.len()))?;
        }
        Ok(filled)
    }

    fn hold(&mut self, rows: RecordBatch) -> Result<()> {
        // A slice counts as much as it holds of its batch.
        let all = rows.get_array_memory_size();
        self.pending.bytes += all;
        self.reservation.try_resize(self.pending.bytes)?;
        self.pending.parts.push(rows);
        Ok(())
    }

    /// The filled rows of the series that was pending, in batches.
    fn end_series(&mut self) -> Result<Vec<RecordBatch>> {
        let pending = std::mem::take(&mut self.pending);
        if pending.parts.is_empty() {
            return Ok(Vec::new());
        }
        let rows = concat_batches(&self.input_schema(&pending), &pending.parts)?;
        let filled = fill(&self.spec, &rows)?;
        self.reservation.try_resize(pending.bytes + filled.get_array_memory_size())?;
        self.reservation.shrink(pending.bytes);
        let starts = (0..filled.num_rows()).step_by(self.batch_rows.max(1));
        Ok(starts.map(|start| filled.slice(start, self.batch_rows.min(filled.num_rows() - start))).collect())
    }

    fn input_schema(&self, pending: &Pending) -> SchemaRef {
        pending.parts.first().map_or_else(|| Arc::clone(&self.spec.schema), RecordBatch::schema)
    }
}

impl Stream for GapFillStream {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        let this = self.get_mut();
        loop {
            if let Some(batch) = this.ready.next() {
                return this.metrics.record_poll(Poll::Ready(Some(Ok(batch))));
            }
            let Some(input) = &mut this.input else { return Poll::Ready(None) };
            let polled = ready!(input.poll_next_unpin(cx));
            let timer = this.metrics.elapsed_compute().clone();
            let _running = timer.timer();
            let filled = match polled {
                Some(Ok(batch)) => this.take_batch(&batch),
                Some(Err(e)) => Err(e),
                None => {
                    this.input = None;
                    this.end_series()
                }
            };
            match filled {
                Ok(filled) => this.ready = filled.into_iter(),
                Err(e) => {
                    this.input = None;
                    return Poll::Ready(Some(Err(e)));
                }
            }
        }
    }
}

impl RecordBatchStream for GapFillStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.spec.schema)
    }
}

/// The rows of one series with those between, filled.
fn fill(spec: &Spec, rows: &RecordBatch) -> Result<RecordBatch> {
    let times = rows.column(spec.time).as_primitive::<TimestampMicrosecondType>();
    let (starts, places) = with_gaps(spec, times)?;
    let places: UInt32Array = places.into_iter().collect();
    let first = UInt32Array::from_value(0, places.len());
    let times = |zone: Option<Arc<str>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(starts.clone()).with_timezone_opt(zone))
    };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns());
    for (place, values) in rows.columns().iter().enumerate() {
        let fill = spec.fills.iter().find(|(filled, _)| *filled == place).map(|(_, fill)| *fill);
        columns.push(match fill {
            _ if place == spec.time => match values.data_type() {
                DataType::Timestamp(_, zone) => times(zone.clone()),
                other => return internal_err!("buckets of type {other}"),
            },
            _ if spec.keys.contains(&place) => take(values, &first, None)?,
            None => take(values, &places, None)?,
            Some(Fill::Locf) => carried(values, &places)?,
            Some(Fill::Interpolate) => interpolated(&starts, values, &places)?,
        });
    }
    Ok(RecordBatch::try_new(Arc::clone(&spec.schema), columns)?)
}

/// All bucket starts of a series with the row that each has, if any. Rows without a time come last.
#[expect(clippy::type_complexity, reason = "two columns side by side")]
fn with_gaps(spec: &Spec, times: &TimestampMicrosecondArray) -> Result<(Vec<Option<i64>>, Vec<Option<u32>>)> {
    let failed = of_series(GAPFILL);
    let known: Vec<i64> = times.iter().flatten().collect();
    let mut buckets = spec.buckets.clone();
    let first = match spec.range.0 {
        Some(start) => Some(buckets.start(start).map_err(&failed)?.micros()),
        None => known.first().copied(),
    };
    let end = spec.range.1.map(Timestamp::micros).or_else(|| known.last().map(|last| last.saturating_add(1)));
    let mut next = first.filter(|_| end.is_some());
    let end = end.unwrap_or(i64::MIN);
    let (mut starts, mut places) = (Vec::new(), Vec::new());
    let mut row = 0;
    loop {
        let grid = next.filter(|next| *next < end);
        let own = known.get(row).copied();
        let (start, place) = match (grid, own) {
            (None, None) => break,
            (Some(grid), Some(own)) if grid < own => (grid, None),
            (Some(grid), None) => (grid, None),
            (_, Some(own)) => (own, Some(row as u32)),
        };
        if place.is_some() {
            row += 1;
        }
        if grid == Some(start) {
            next = Some(buckets.next(Timestamp(start)).map_err(&failed)?.micros());
        }
        starts.push(Some(start));
        places.push(place);
        if starts.len() > SERIES_ROWS_MAX {
            let message = format!("{GAPFILL}: a series would have more than {SERIES_ROWS_MAX} buckets");
            return Err(Error::new(ErrorKind::Limit, message).into_datafusion());
        }
    }
    for row in known.len()..times.len() {
        starts.push(None);
        places.push(Some(row as u32));
    }
    Ok((starts, places))
}

fn carried(values: &ArrayRef, places: &UInt32Array) -> Result<ArrayRef> {
    let nulls = values.logical_nulls();
    let known =
        |place: Option<u32>| place.is_some_and(|p| nulls.as_ref().is_none_or(|n| n.is_valid(p as usize)));
    let held = locf(places.iter().map(known));
    let from: UInt32Array = held.into_iter().map(|bucket| bucket.map(|b| places.value(b))).collect();
    Ok(take(values, &from, None)?)
}

fn interpolated(starts: &[Option<i64>], values: &ArrayRef, places: &UInt32Array) -> Result<ArrayRef> {
    let values = values.as_primitive::<Float64Type>();
    let value = |place: u32| values.is_valid(place as usize).then(|| values.value(place as usize));
    let known: Vec<Option<f64>> = places.iter().map(|place| place.and_then(value)).collect();
    // Rows without a time come last, and are as they are.
    let dated = starts.iter().flatten().count();
    let times: Vec<i64> = starts.iter().flatten().copied().collect();
    let mut filled = interpolate(&times, &known[..dated]);
    filled.extend_from_slice(&known[dated..]);
    Ok(Arc::new(filled.into_iter().collect::<Float64Array>()))
}
