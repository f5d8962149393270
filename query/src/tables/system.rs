//! `system.shards` and `system.segments`: what the store tells about itself.
//!
//! Owns: the columns and rows. Does not own: the figures (`storage`).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray, UInt8Array, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use wattline_model::Timestamp;
use wattline_storage::{SegmentInfo, ShardStatus, Store};

use crate::arrays::instants;
use crate::columns::instant;
use crate::error::Error;
use crate::scan::record_batch;
use crate::tables::{RowsSource, snapshot_of};

type Count<T> = (&'static str, fn(&T) -> u64);

/// The counters of a shard, in the order of the columns.
const SHARD_COUNTS: &[Count<ShardStatus>] = &[
    ("durable", |s| s.durable.0),
    ("published", |s| s.published.0),
    ("flushed", |s| s.flushed.0),
    ("log_files", |s| s.log_files),
    ("log_bytes", |s| s.log_bytes),
    ("memtable_rows", |s| s.memtable_rows),
    ("memtable_bytes", |s| s.memtable_bytes),
    ("frozen", |s| s.frozen),
    ("segments", |s| s.segments),
    ("segment_bytes", |s| s.segment_bytes),
    ("queue_bytes", |s| s.queue_bytes),
    ("latest_assets", |s| s.latest_assets),
    ("samples_written", |s| s.samples_written),
    ("batches_written", |s| s.batches_written),
    ("syncs", |s| s.syncs),
    ("expired_rows", |s| s.expired_rows),
    ("flushes", |s| s.flushes),
    ("compactions", |s| s.compactions),
    ("flushed_bytes", |s| s.flushed_bytes),
    ("merged_bytes", |s| s.merged_bytes),
    ("damaged_segments", |s| s.damaged),
    ("pending_deletions", |s| s.tombstones),
];

/// The source of `system.shards`.
pub(crate) struct Shards {
    store: Store,
    schema: SchemaRef,
}

impl Shards {
    /// The shards of `store`.
    pub(crate) fn new(store: Store) -> Shards {
        let mut fields = vec![Field::new("shard", ArrowType::UInt32, false)];
        fields.extend(SHARD_COUNTS.iter().map(|(name, _)| Field::new(*name, ArrowType::UInt64, false)));
        fields.push(Field::new("failed", ArrowType::Utf8View, true));
        Shards { store, schema: Arc::new(Schema::new(fields)) }
    }
}

#[async_trait]
impl RowsSource for Shards {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let shards = self.store.status();
        let mut arrays: Vec<ArrayRef> =
            vec![Arc::new(UInt32Array::from_iter_values(shards.iter().map(|s| s.shard.0)))];
        for (_, count) in SHARD_COUNTS {
            arrays.push(Arc::new(UInt64Array::from_iter_values(shards.iter().map(count))));
        }
        arrays.push(Arc::new(shards.iter().map(|s| s.failed.clone()).collect::<StringViewArray>()));
        record_batch(&self.schema, arrays, shards.len())
    }
}

/// The counters of a segment that follow its times, in the order of the columns.
const SEGMENT_COUNTS: &[Count<SegmentInfo>] = &[
    ("rows", |s| s.rows),
    ("samples", |s| s.samples),
    ("bytes", |s| s.bytes),
    ("first_seqno", |s| s.first_seqno.0),
    ("last_seqno", |s| s.last_seqno.0),
];

/// A column's name and where its value comes from.
type TimeColumn = (&'static str, fn(&SegmentInfo) -> Timestamp);

/// The instants of a segment, in the order of the columns.
const SEGMENT_TIMES: &[TimeColumn] = &[
    ("partition_start", |s| s.partition_start),
    ("partition_end", |s| s.partition_end),
    ("first_time", |s| s.first_time),
    ("last_time", |s| s.last_time),
];

/// The source of `system.segments`.
pub(crate) struct Segments {
    store: Store,
    schema: SchemaRef,
}

impl Segments {
    /// The segments of `store`.
    pub(crate) fn new(store: Store) -> Segments {
        let field = |name: &str, data_type| Field::new(name, data_type, false);
        let mut fields = vec![
            field("shard", ArrowType::UInt32),
            field("id", ArrowType::UInt64),
            field("level", ArrowType::UInt8),
            field("models", ArrowType::UInt32),
        ];
        fields.extend(SEGMENT_TIMES.iter().map(|(name, _)| field(name, instant())));
        fields.extend(SEGMENT_COUNTS.iter().map(|(name, _)| field(name, ArrowType::UInt64)));
        fields.push(field("file", ArrowType::Utf8View));
        fields.push(Field::new("damage", ArrowType::Utf8View, true));
        Segments { store, schema: Arc::new(Schema::new(fields)) }
    }
}

#[async_trait]
impl RowsSource for Segments {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, state: &dyn Session) -> Result<RecordBatch, Error> {
        let segments = snapshot_of(state, &self.store).segments();
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from_iter_values(segments.iter().map(|s| s.shard.0))),
            Arc::new(UInt64Array::from_iter_values(segments.iter().map(|s| s.id))),
            Arc::new(UInt8Array::from_iter_values(segments.iter().map(|s| s.level))),
            Arc::new(UInt32Array::from_iter_values(segments.iter().map(|s| s.models))),
        ];
        for (_, time) in SEGMENT_TIMES {
            arrays.push(Arc::new(instants(segments.iter().map(|s| time(s).0).collect(), None)));
        }
        for (_, count) in SEGMENT_COUNTS {
            arrays.push(Arc::new(UInt64Array::from_iter_values(segments.iter().map(count))));
        }
        arrays.push(Arc::new(segments.iter().map(|s| Some(s.file.clone())).collect::<StringViewArray>()));
        arrays.push(Arc::new(segments.iter().map(|s| s.damage.clone()).collect::<StringViewArray>()));
        record_batch(&self.schema, arrays, segments.len())
    }
}
