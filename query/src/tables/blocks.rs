//! `system.blocks`: a row for each point in each block of each segment, with its statistics.
//!
//! Owns: the columns and rows, which filters spare reading. Does not own: walking segments (`storage`).
//!
//! A store has millions of blocks: the rows are made while they are read, a batch at a time, and filters on `shard`,
//! `segment`, `model` and `point` leave out what they do not mean before it is touched.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use wattline_model::{AssetId, ModelId, Value};
use wattline_registry::Registry;
use wattline_storage::{BlockFilter, BlockInfo, Blocks as Walk, Snapshot, Store};

use crate::arrays::instants;
use crate::columns::instant;
use crate::error::Error;
use crate::scan::{BATCHES_AHEAD, record_batch};
use crate::tables::snapshot_of;

/// Characters of a text among least and greatest values that are shown.
const VALUE_CHARACTERS_MAX: usize = 64;

/// The table.
pub(crate) struct Blocks {
    registry: Registry,
    store: Store,
    schema: SchemaRef,
}

impl Blocks {
    /// The blocks of `store`, with names from `registry`.
    pub(crate) fn new(registry: Registry, store: Store) -> Blocks {
        let field = |name: &str, data_type| Field::new(name, data_type, false);
        let schema = Schema::new(vec![
            field("shard", ArrowType::UInt32),
            field("segment", ArrowType::UInt64),
            field("model", ArrowType::Utf8View),
            field("chunk", ArrowType::UInt32),
            field("block", ArrowType::UInt32),
            field("first_asset_id", ArrowType::Utf8View),
            field("last_asset_id", ArrowType::Utf8View),
            field("assets", ArrowType::UInt32),
            field("point", ArrowType::Utf8View),
            field("first_time", instant()),
            field("last_time", instant()),
            field("rows", ArrowType::UInt32),
            field("nulls", ArrowType::UInt32),
            field("min", ArrowType::Utf8View),
            field("max", ArrowType::Utf8View),
            field("bytes", ArrowType::UInt64),
            Field::new("encoding", ArrowType::Utf8View, true),
        ]);
        Blocks { registry, store, schema: Arc::new(schema) }
    }

    /// What `filters` leave to be read; they run again on the rows.
    fn filter(&self, filters: &[Expr]) -> BlockFilter {
        let numbers = |column: &str| -> Option<Vec<u64>> {
            let values = listed(filters, column)?;
            let are_whole = values.iter().all(|v| v.data_type().is_integer());
            are_whole.then(|| values.iter().filter_map(number).collect())
        };
        let texts = |column: &str| -> Option<Vec<String>> {
            let values = listed(filters, column)?;
            values.iter().map(|v| v.try_as_str().flatten().map(str::to_owned)).collect()
        };
        let shards = numbers("shard");
        let shards = shards.map(|ids| ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect());
        let all =
            || self.registry.models().into_iter().flat_map(|m| [(m.id, m.clone()), (m.id.by_minute(), m)]);
        let models = texts("model").map(|names| {
            all()
                .filter(|(id, _)| names.contains(&model_name(&self.registry, *id)))
                .map(|(id, _)| id)
                .collect()
        });
        let points = texts("point").map(|keys| {
            all()
                .flat_map(|(id, model)| {
                    let found = keys.iter().filter_map(|key| model.point_by_key(key)).map(|p| (id, p.id));
                    found.collect::<Vec<_>>()
                })
                .collect()
        });
        BlockFilter { shards, segments: numbers("segment"), models, points, encodings: false }
    }
}

/// The values that some filter says `column` is one of.
fn listed(filters: &[Expr], column: &str) -> Option<Vec<ScalarValue>> {
    let is_column = |expr: &Expr| matches!(strip(expr), Expr::Column(c) if c.name == column);
    let literal = |expr: &Expr| match strip(expr) {
        Expr::Literal(value, _) => Some(value.clone()),
        _ => None,
    };
    filters.iter().find_map(|filter| match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let value = if is_column(left) { right } else { is_column(right).then_some(left)? };
            Some(vec![literal(value)?])
        }
        Expr::InList(list) if !list.negated && is_column(&list.expr) => {
            list.list.iter().map(literal).collect()
        }
        _ => None,
    })
}

/// `expr` without casts, which do not change which of small numbers and texts are equal.
fn strip(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => strip(&cast.expr),
        other => other,
    }
}

fn number(value: &ScalarValue) -> Option<u64> {
    match value.cast_to(&ArrowType::UInt64) {
        Ok(ScalarValue::UInt64(number)) => number,
        _ => None,
    }
}

/// The table that shows the samples of `id`.
fn model_name(registry: &Registry, id: ModelId) -> String {
    let key = registry.model(id.of_samples()).map_or_else(|| id.of_samples().to_string(), |m| m.key.clone());
    if id.is_by_minute() { format!("normalized.{key}") } else { key }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blocks")
    }
}

#[async_trait]
impl TableProvider for Blocks {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let encoding = self.schema.index_of("encoding")?;
        let encodings = projection.is_none_or(|columns| columns.contains(&encoding));
        let partition = BlockRows {
            registry: self.registry.clone(),
            snapshot: snapshot_of(state, &self.store),
            filter: BlockFilter { encodings, ..self.filter(filters) },
            batch_rows: state.config().batch_size(),
            schema: Arc::clone(&self.schema),
        };
        let partitions: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(partition)];
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, projection, [], false, limit)?))
    }
}

/// The rows, as they are read.
struct BlockRows {
    registry: Registry,
    snapshot: Snapshot,
    filter: BlockFilter,
    batch_rows: usize,
    schema: SchemaRef,
}

impl fmt::Debug for BlockRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocks({:?})", self.filter)
    }
}

impl PartitionStream for BlockRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), BATCHES_AHEAD);
        let sender = stream.tx();
        let (registry, schema, batch_rows) =
            (self.registry.clone(), Arc::clone(&self.schema), self.batch_rows);
        let mut walk = self.snapshot.blocks(self.filter.clone());
        stream.spawn_blocking(move || {
            loop {
                let rows = some_rows(&mut walk, batch_rows).map_err(Error::into_datafusion)?;
                if rows.is_empty() {
                    return Ok(());
                }
                let batch = batch(&registry, &schema, &rows).map_err(Error::into_datafusion)?;
                // Nobody listens any more.
                if sender.blocking_send(Ok(batch)).is_err() {
                    return Ok(());
                }
            }
        });
        stream.build()
    }
}

/// At least so many rows, or the last ones. A point of a chunk brings some hundred at most.
fn some_rows(walk: &mut Walk, wanted: usize) -> std::result::Result<Vec<BlockInfo>, Error> {
    let mut rows = Vec::with_capacity(wanted);
    while rows.len() < wanted {
        let Some(blocks) = walk.next_point() else { break };
        rows.extend(blocks.map_err(|e| Error::of_storage(&e))?);
    }
    Ok(rows)
}

fn batch(
    registry: &Registry,
    schema: &SchemaRef,
    rows: &[BlockInfo],
) -> std::result::Result<RecordBatch, Error> {
    let text = |of: &dyn Fn(&BlockInfo) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(of)))
    };
    let number = |of: fn(&BlockInfo) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(of)))
    };
    let large = |of: fn(&BlockInfo) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(of)))
    };
    let time =
        |of: fn(&BlockInfo) -> i64| -> ArrayRef { Arc::new(instants(rows.iter().map(of).collect(), None)) };
    let asset = |id: AssetId| registry.asset(id).map_or_else(|| id.to_string(), |a| a.asset_key.to_string());
    let point = |row: &BlockInfo| {
        let model = registry.model(row.model.of_samples());
        let point = model.and_then(|model| model.point(row.point).map(|point| point.key.clone()));
        point.unwrap_or_else(|| row.point.to_string())
    };
    let arrays: Vec<ArrayRef> = vec![
        number(|row| row.shard.0),
        large(|row| row.segment),
        text(&|row| model_name(registry, row.model)),
        number(|row| row.chunk),
        number(|row| row.block),
        text(&|row| asset(row.assets.0)),
        text(&|row| asset(row.assets.1)),
        number(|row| row.assets.2),
        text(&point),
        time(|row| row.first_time.0),
        time(|row| row.last_time.0),
        number(|row| row.rows),
        number(|row| row.nulls),
        text(&|row| shown(&row.min)),
        text(&|row| shown(&row.max)),
        large(|row| row.bytes),
        Arc::new(rows.iter().map(|row| row.encoding.as_deref()).collect::<StringViewArray>()),
    ];
    record_batch(schema, arrays, rows.len())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Float(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Text(value) => value.chars().take(VALUE_CHARACTERS_MAX).collect(),
    }
}
