//! `system.audit`: who changed what, and who was denied what.
//!
//! Owns: the columns and rows. Does not own: the entries (`registry`), which calls become some (`server`).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray, UInt64Array};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use wattline_registry::{AuditEntry, AuditedCall, Registry};

use crate::arrays::instants;
use crate::columns::instant;
use crate::error::{Error, ErrorKind};
use crate::scan::record_batch;
use crate::tables::RowsSource;

/// Entries that are shown of each kind, the newest: what fits a statement's memory.
const SHOWN_MAX: u32 = 100_000;

/// The source of `system.audit`.
pub(crate) struct Audit {
    registry: Registry,
    schema: SchemaRef,
}

/// A row.
struct Row {
    micros: i64,
    last_micros: i64,
    count: u64,
    account: Option<String>,
    wire: Option<String>,
    origin: Option<String>,
    action: String,
    item: String,
    outcome: String,
    detail: Option<String>,
}

impl Audit {
    /// The audit log of `registry`.
    pub(crate) fn new(registry: Registry) -> Audit {
        let text = |name: &str, nullable| Field::new(name, ArrowType::Utf8View, nullable);
        let schema = Schema::new(vec![
            Field::new("time", instant(), false),
            Field::new("last_time", instant(), false),
            Field::new("count", ArrowType::UInt64, false),
            text("account", true),
            text("wire", true),
            text("origin", true),
            text("action", false),
            text("item", false),
            text("outcome", false),
            text("detail", true),
        ]);
        Audit { registry, schema: Arc::new(schema) }
    }
}

fn of_call(call: AuditedCall) -> Row {
    Row {
        micros: call.micros,
        last_micros: call.last_micros,
        count: call.count,
        account: call.account,
        wire: Some(call.wire),
        origin: call.origin,
        action: call.action,
        item: call.item,
        outcome: call.outcome,
        detail: call.reason,
    }
}

/// A change of what the registry holds; what it was and became is the detail.
fn of_change(entry: AuditEntry) -> Row {
    let detail = match (entry.before, entry.after) {
        (None, None) => None,
        (before, after) => Some(serde_json::json!({"before": before, "after": after}).to_string()),
    };
    Row {
        micros: entry.micros,
        last_micros: entry.micros,
        count: 1,
        account: Some(entry.operator),
        wire: None,
        origin: None,
        action: entry.action,
        item: entry.item,
        outcome: "done".to_owned(),
        detail,
    }
}

/// Waits for the registry's file.
fn read(registry: &Registry) -> Result<Vec<Row>, Error> {
    let failed = |e: wattline_registry::Error| Error::new(ErrorKind::Damaged, e.to_string());
    let calls = registry.audited_calls(SHOWN_MAX).map_err(failed)?;
    let changes = registry.audit(0, SHOWN_MAX).map_err(failed)?;
    let mut rows: Vec<Row> =
        calls.into_iter().map(of_call).chain(changes.into_iter().map(of_change)).collect();
    rows.sort_by_key(|row| row.micros);
    Ok(rows)
}

#[async_trait]
impl RowsSource for Audit {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let registry = self.registry.clone();
        let read = tokio::task::spawn_blocking(move || read(&registry)).await;
        let rows = read.unwrap_or_else(|e| {
            Err(Error::new(ErrorKind::Bug, format!("the audit log was not read: {e}")))
        })?;
        let text = |of: fn(&Row) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(of).collect::<StringViewArray>())
        };
        let time =
            |of: fn(&Row) -> i64| -> ArrayRef { Arc::new(instants(rows.iter().map(of).collect(), None)) };
        let arrays: Vec<ArrayRef> = vec![
            time(|row| row.micros),
            time(|row| row.last_micros),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.count))),
            text(|row| row.account.as_deref()),
            text(|row| row.wire.as_deref()),
            text(|row| row.origin.as_deref()),
            text(|row| Some(&row.action)),
            text(|row| Some(&row.item)),
            text(|row| Some(&row.outcome)),
            text(|row| row.detail.as_deref()),
        ];
        record_batch(&self.schema, arrays, rows.len())
    }
}
