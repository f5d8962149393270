//! The operator of an as-of join: one walk along two inputs, both by key and time.
//!
//! Owns: what it wants of its inputs, and the merge. Of the right input it holds the row in force and the batches that
//! the rows being put together point to; these are bounded by [`RIGHT_BATCHES_MAX`].

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{SortOptions, interleave, take};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan,
    ExecutionPlanProperties, InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;

/// Batches of the right input that rows being put together may point to; then what is there goes on its way.
const RIGHT_BATCHES_MAX: usize = 32;

/// What a row is joined by.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) time: Arc<dyn PhysicalExpr>,
}

impl Side {
    fn order(&self) -> Option<LexOrdering> {
        let sorted =
            |expr: &Arc<dyn PhysicalExpr>| PhysicalSortExpr::new_default(Arc::clone(expr)).asc().nulls_last();
        LexOrdering::new(self.keys.iter().chain([&self.time]).map(sorted))
    }
}

/// What the operator does.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) left: Side,
    pub(super) right: Side,
    /// How far back a row may be, in microseconds.
    pub(super) tolerance: Option<i64>,
    /// Whether rows of the left input stay that have no other.
    pub(super) keeps_all: bool,
    pub(super) schema: SchemaRef,
}

/// The operator.
#[derive(Debug)]
pub(super) struct AsOfJoinExec {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    spec: Arc<Spec>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl AsOfJoinExec {
    /// The join of two inputs.
    pub(super) fn new(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        spec: Arc<Spec>,
    ) -> AsOfJoinExec {
        let mut equivalences = EquivalenceProperties::new(Arc::clone(&spec.schema));
        // The left input's columns come first, so its expressions mean the same here.
        equivalences.add_orderings(spec.left.order());
        let properties = PlanProperties::new(
            equivalences,
            left.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        AsOfJoinExec { left, right, spec, properties: Arc::new(properties), metrics }
    }
}

impl DisplayAs for AsOfJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.spec.keeps_all { "left" } else { "inner" };
        write!(f, "AsOfJoinExec: {kind}, {} <= {}", self.spec.right.time, self.spec.left.time)?;
        let keys = self.spec.left.keys.iter().zip(&self.spec.right.keys);
        keys.into_iter().try_for_each(|(left, right)| write!(f, ", {left} = {right}"))
    }
}

impl ExecutionPlan for AsOfJoinExec {
    fn name(&self) -> &str {
        "AsOfJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        if self.spec.left.keys.is_empty() {
            return InputDistributionRequirements::new(vec![Distribution::SinglePartition; 2]);
        }
        let by = |side: &Side| Distribution::KeyPartitioned(side.keys.clone());
        InputDistributionRequirements::co_partitioned(vec![by(&self.spec.left), by(&self.spec.right)])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        [&self.spec.left, &self.spec.right].map(|side| side.order().map(OrderingRequirements::from)).to_vec()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true, false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let sides = [&self.spec.left, &self.spec.right];
        for expr in sides.into_iter().flat_map(|side| side.keys.iter().chain([&side.time])) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[Arc<dyn ExecutionPlan>; 2]>::try_from(children) {
            Ok([left, right]) => Ok(Arc::new(AsOfJoinExec::new(left, right, Arc::clone(&self.spec)))),
            Err(_) => internal_err!("AsOfJoinExec has two children"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.left.schema();
        let options = SortOptions { descending: false, nulls_first: false };
        let fields = self.spec.left.keys.iter().map(|key| {
            let of = key.data_type(&schema)?;
            Ok(SortField::new_with_options(of, options))
        });
        let converter = RowConverter::new(fields.collect::<Result<Vec<_>>>()?)?;
        let right = self.right.execute(partition, Arc::clone(&context))?;
        let nothing = right.schema().fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
        let merge = Merge {
            left: self.left.execute(partition, context)?,
            right,
            right_batches: 0,
            right_ended: false,
            spec: Arc::clone(&self.spec),
            converter,
            begun: None,
            next: None,
            held: None,
            nothing,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let batches = futures::stream::try_unfold(merge, |mut merge| async move {
            Ok(merge.next_batch().await?.map(|batch| (batch, merge)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.spec.schema), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Rows of one input with what they are joined by, and how far they were used.
struct Walked {
    /// Tells batches apart.
    number: u64,
    batch: RecordBatch,
    keys: Vec<ArrayRef>,
    /// None where there are no keys.
    rows: Option<Rows>,
    times: ArrayRef,
    at: usize,
}

impl Walked {
    fn new(number: u64, batch: RecordBatch, side: &Side, converter: &mut RowConverter) -> Result<Walked> {
        let array = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&batch)?.into_array(batch.num_rows());
        let keys = side.keys.iter().map(array).collect::<Result<Vec<_>>>()?;
        let rows = if keys.is_empty() { None } else { Some(converter.convert_columns(&keys)?) };
        let times = array(&side.time)?;
        Ok(Walked { number, batch, keys, rows, times, at: 0 })
    }

    /// The time of the row it is at, if that and its keys have values.
    fn time(&self) -> Option<i64> {
        let known = self.times.is_valid(self.at) && self.keys.iter().all(|key| key.is_valid(self.at));
        known.then(|| self.times.as_primitive::<TimestampMicrosecondType>().value(self.at))
    }

    fn compare_key(&self, other: &Walked) -> Ordering {
        match (&self.rows, &other.rows) {
            (Some(rows), Some(others)) => rows.row(self.at).cmp(&others.row(other.at)),
            _ => Ordering::Equal,
        }
    }

    fn key(&self) -> Option<OwnedRow> {
        self.rows.as_ref().map(|rows| rows.row(self.at).owned())
    }
}

/// The row of the right input that is in force.
struct Held {
    /// The number of its batch.
    batch: u64,
    columns: Vec<ArrayRef>,
    row: usize,
    key: Option<OwnedRow>,
    time: i64,
}

/// Rows that are being put together: of the left batch by place, of the right ones by batch and place.
#[derive(Default)]
struct Joined {
    left: Vec<u32>,
    right: Vec<(usize, usize)>,
    /// The first one has the row for those that have no other.
    batches: Vec<Vec<ArrayRef>>,
}

struct Merge {
    left: SendableRecordBatchStream,
    right: SendableRecordBatchStream,
    right_batches: u64,
    right_ended: bool,
    spec: Arc<Spec>,
    converter: RowConverter,
    /// The left batch, where it was not used up.
    begun: Option<Walked>,
    /// The right batch, whose row it is at comes after the one in force.
    next: Option<Walked>,
    held: Option<Held>,
    /// A row of nulls.
    nothing: Vec<ArrayRef>,
    metrics: BaselineMetrics,
}

impl Merge {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let mut left = match self.begun.take() {
                Some(begun) => begun,
                None => match self.left.next().await {
                    None => return Ok(None),
                    Some(batch) => Walked::new(0, batch?, &self.spec.left, &mut self.converter)?,
                },
            };
            let mut joined = Joined { batches: vec![self.nothing.clone()], ..Joined::default() };
            // Which of these batches the row in force is in.
            let mut place = None;
            while left.at < left.batch.num_rows() && joined.batches.len() < RIGHT_BATCHES_MAX {
                self.walk_to(&left, &mut place).await?;
                match self.in_force(&left) {
                    Some(held) => {
                        let batch = *place.get_or_insert_with(|| {
                            joined.batches.push(held.columns.clone());
                            joined.batches.len() - 1
                        });
                        joined.left.push(left.at as u32);
                        joined.right.push((batch, held.row));
                    }
                    None if self.spec.keeps_all => {
                        joined.left.push(left.at as u32);
                        joined.right.push((0, 0));
                    }
                    None => {}
                }
                left.at += 1;
            }
            let batch = self.put_together(&left.batch, &joined)?;
            if left.at < left.batch.num_rows() {
                self.begun = Some(left);
            }
            if batch.num_rows() > 0 {
                self.metrics.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
        }
    }

    /// Goes on along the right input as long as its rows are not after the left one's. `place` is forgotten where the
    /// row in force is in another batch then.
    async fn walk_to(&mut self, left: &Walked, place: &mut Option<usize>) -> Result<()> {
        let Some(time) = left.time() else { return Ok(()) };
        loop {
            if self.next.as_ref().is_none_or(|next| next.at >= next.batch.num_rows()) {
                self.next = None;
                if self.right_ended {
                    return Ok(());
                }
                let Some(batch) = self.right.next().await else {
                    self.right_ended = true;
                    return Ok(());
                };
                self.right_batches += 1;
                self.next =
                    Some(Walked::new(self.right_batches, batch?, &self.spec.right, &mut self.converter)?);
                continue;
            }
            let Some(next) = &mut self.next else { return Ok(()) };
            match next.compare_key(left) {
                Ordering::Greater => return Ok(()),
                Ordering::Less => {}
                Ordering::Equal => {
                    if let Some(other) = next.time() {
                        if other > time {
                            return Ok(());
                        }
                        if hold(&mut self.held, next, other) {
                            *place = None;
                        }
                    }
                }
            }
            next.at += 1;
        }
    }

    fn in_force(&self, left: &Walked) -> Option<&Held> {
        let time = left.time()?;
        let held = self.held.as_ref()?;
        let same_key = match (&held.key, &left.rows) {
            (Some(key), Some(rows)) => key.row() == rows.row(left.at),
            _ => true,
        };
        let near = |max: i64| time.checked_sub(held.time).is_some_and(|age| age <= max);
        (same_key && self.spec.tolerance.is_none_or(near)).then_some(held)
    }

    fn put_together(&self, left: &RecordBatch, joined: &Joined) -> Result<RecordBatch> {
        let rows = UInt32Array::from(joined.left.clone());
        let mut columns = Vec::with_capacity(self.spec.schema.fields().len());
        for column in left.columns() {
            columns.push(take(column, &rows, None)?);
        }
        for place in 0..self.nothing.len() {
            let arrays: Vec<&dyn Array> = joined.batches.iter().map(|batch| batch[place].as_ref()).collect();
            columns.push(interleave(&arrays, &joined.right)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(joined.left.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.spec.schema), columns, &options)?)
    }
}

/// Holds the row that `next` is at; says whether the one before was of another batch.
fn hold(held: &mut Option<Held>, next: &Walked, time: i64) -> bool {
    match held {
        Some(held) if held.batch == next.number => {
            (held.row, held.time) = (next.at, time);
            let row = next.rows.as_ref().map(|rows| rows.row(next.at));
            if held.key.as_ref().map(OwnedRow::row) != row {
                held.key = next.key();
            }
            false
        }
        _ => {
            let columns = next.batch.columns().to_vec();
            *held = Some(Held { batch: next.number, columns, row: next.at, key: next.key(), time });
            true
        }
    }
}
