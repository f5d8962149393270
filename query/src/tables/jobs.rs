//! `system.jobs`: what runs beside statements, and the last of what ran: deletion jobs, backups, checks, flushes and
//! merges.
//!
//! Owns: the columns and rows. Does not own: jobs (`registry`), operations (whoever implements
//! [`Reports`]), what shards do by themselves (`storage`).

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use wattline_model::{DeletionTarget, TimeRange};
use wattline_registry::{DeletionJob, Registry};
use wattline_storage::{ShardStatus, Store};

use crate::arrays::instants;
use crate::columns::instant;
use crate::error::{Error, ErrorKind};
use crate::reports::{OperationReport, Reports};
use crate::scan::record_batch;
use crate::tables::RowsSource;

/// Deletion jobs that are shown, the newest: the registry keeps all there ever were.
const DELETIONS_SHOWN: u32 = 1_000;

/// The source of `system.jobs`.
pub(crate) struct Jobs(Arc<Sources>);

struct Sources {
    registry: Registry,
    store: Store,
    reports: Arc<OnceLock<Arc<dyn Reports>>>,
    schema: SchemaRef,
}

/// A row.
#[derive(Default)]
struct Job {
    kind: &'static str,
    /// Its number among those of its kind; those of a shard by itself have none.
    id: Option<i64>,
    state: &'static str,
    target: Option<String>,
    account: Option<String>,
    started: Option<i64>,
    ended: Option<i64>,
    bytes: Option<u64>,
    bytes_total: Option<u64>,
    error: Option<String>,
}

impl Jobs {
    /// The jobs of `registry`, of `store`, and those that `reports` tells, once it is there.
    pub(crate) fn new(registry: Registry, store: Store, reports: Arc<OnceLock<Arc<dyn Reports>>>) -> Jobs {
        let field = |name: &str, data_type, nullable| Field::new(name, data_type, nullable);
        let schema = Schema::new(vec![
            field("kind", ArrowType::Utf8View, false),
            field("id", ArrowType::Int64, true),
            field("state", ArrowType::Utf8View, false),
            field("target", ArrowType::Utf8View, true),
            field("account", ArrowType::Utf8View, true),
            field("started", instant(), true),
            field("ended", instant(), true),
            field("bytes", ArrowType::UInt64, true),
            field("bytes_total", ArrowType::UInt64, true),
            field("error", ArrowType::Utf8View, true),
        ]);
        Jobs(Arc::new(Sources { registry, store, reports, schema: Arc::new(schema) }))
    }
}

impl Sources {
    /// Waits for the registry's file.
    fn rows(&self) -> Result<RecordBatch, Error> {
        let deletions = self.registry.deletion_jobs(0, DELETIONS_SHOWN);
        let deletions = deletions.map_err(|e| Error::new(ErrorKind::Damaged, e.to_string()))?;
        let operations = self.reports.get().map(|reports| reports.operations()).unwrap_or_default();
        let mut jobs: Vec<Job> = deletions.into_iter().rev().map(|job| self.of_deletion(job)).collect();
        jobs.extend(operations.into_iter().map(of_operation));
        jobs.extend(self.store.status().iter().flat_map(of_shard));
        self.batch(&jobs)
    }

    fn of_deletion(&self, job: DeletionJob) -> Job {
        let deletion = &job.deletion;
        let model = self.registry.model(deletion.model);
        let model = model.map_or_else(|| deletion.model.to_string(), |model| model.key.clone());
        let what = match deletion.target {
            DeletionTarget::Latest => "latest values",
            DeletionTarget::History => "history",
        };
        let assets = match &deletion.assets {
            None => "all assets".to_owned(),
            Some(assets) => format!("{} assets", assets.len()),
        };
        let span = if deletion.range == TimeRange::ALL { "" } else { " in a range of time" };
        Job {
            kind: "deletion",
            id: Some(job.id),
            state: job.status.name(),
            target: Some(format!("{what} of {model}, {assets}{span}")),
            account: Some(job.operator),
            started: Some(job.submitted_micros),
            ended: job.ended_micros,
            error: job.error,
            ..Job::default()
        }
    }

    fn batch(&self, jobs: &[Job]) -> Result<RecordBatch, Error> {
        let text = |of: fn(&Job) -> Option<&str>| -> ArrayRef {
            Arc::new(jobs.iter().map(of).collect::<StringViewArray>())
        };
        let count = |of: fn(&Job) -> Option<u64>| -> ArrayRef {
            Arc::new(jobs.iter().map(of).collect::<UInt64Array>())
        };
        let time = |of: fn(&Job) -> Option<i64>| -> ArrayRef {
            let nulls = jobs.iter().map(|job| of(job).is_some()).collect::<NullBuffer>();
            Arc::new(instants(jobs.iter().map(|job| of(job).unwrap_or(0)).collect(), Some(nulls)))
        };
        let arrays: Vec<ArrayRef> = vec![
            text(|job| Some(job.kind)),
            Arc::new(jobs.iter().map(|job| job.id).collect::<Int64Array>()),
            text(|job| Some(job.state)),
            text(|job| job.target.as_deref()),
            text(|job| job.account.as_deref()),
            time(|job| job.started),
            time(|job| job.ended),
            count(|job| job.bytes),
            count(|job| job.bytes_total),
            text(|job| job.error.as_deref()),
        ];
        record_batch(&self.schema, arrays, jobs.len())
    }
}

fn of_operation(operation: OperationReport) -> Job {
    let ended = operation.started_micros.saturating_add(operation.elapsed_micros);
    Job {
        kind: operation.kind,
        id: i64::try_from(operation.id).ok(),
        state: operation.state,
        started: Some(operation.started_micros),
        ended: Some(ended).filter(|_| operation.state != "running"),
        bytes: Some(operation.bytes),
        bytes_total: Some(operation.bytes_total),
        error: operation.error,
        ..Job::default()
    }
}

/// What a shard does by itself just now.
fn of_shard(shard: &ShardStatus) -> impl Iterator<Item = Job> {
    let job = |kind, bytes| Job {
        kind,
        state: "running",
        target: Some(format!("shard {}", shard.shard.0)),
        bytes_total: bytes,
        ..Job::default()
    };
    let flush = (shard.frozen > 0).then(|| job("flush", None));
    let merge = shard.merging_bytes.map(|bytes| job("merge", Some(bytes)));
    flush.into_iter().chain(merge)
}

#[async_trait]
impl RowsSource for Jobs {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let sources = Arc::clone(&self.0);
        let rows = tokio::task::spawn_blocking(move || sources.rows()).await;
        rows.unwrap_or_else(|e| Err(Error::new(ErrorKind::Bug, format!("the jobs could not be listed: {e}"))))
    }
}
