//! The tables, one module a kind: `<model>` and `normalized.<model>`, `latest.<model>`, `assets`, `models`, `system.*`.
//!
//! Owns: what a table has rows of. Does not own: names and schemas of schemas (`catalog`).
//!
//! Everything but a model's samples is small and in memory: such a table is made anew for each scan ([`RowsTable`]).

pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod blocks;
pub(crate) mod jobs;
pub(crate) mod latest;
pub(crate) mod model;
pub(crate) mod models;
pub(crate) mod policies;
pub(crate) mod queries;
pub(crate) mod settings;
pub(crate) mod system;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use wattline_storage::{Snapshot, Store};

use crate::error::{Error, ErrorKind};

/// The one snapshot that every scan of a statement reads, carried by the statement's session.
pub(crate) struct StatementSnapshot(pub(crate) Snapshot);

/// The statement's snapshot.
pub(crate) fn snapshot_of(state: &dyn Session, store: &Store) -> Snapshot {
    match state.config().get_extension::<StatementSnapshot>() {
        Some(held) => held.0.clone(),
        None => store.snapshot(),
    }
}

/// Where the rows of a [`RowsTable`] come from.
#[async_trait]
pub(crate) trait RowsSource: Any + Send + Sync {
    /// All columns.
    fn schema(&self) -> SchemaRef;

    /// The rows of now, with all columns.
    ///
    /// # Errors
    /// Where what is stored does not fit the schema.
    async fn rows(&self, state: &dyn Session) -> Result<RecordBatch, Error>;
}

/// A small table made anew for each scan.
pub(crate) struct RowsTable<S>(pub(crate) S);

impl<S> fmt::Debug for RowsTable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowsTable")
    }
}

#[async_trait]
impl<S: RowsSource> TableProvider for RowsTable<S> {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.0.rows(state).await.map_err(Error::into_datafusion)?;
        let table = MemTable::try_new(self.0.schema(), vec![vec![rows]])?;
        table.scan(state, projection, filters, limit).await
    }
}

/// A table that is there and not for the account that asks.
pub(crate) struct Refused {
    /// How statements name it.
    pub(crate) name: String,
    /// Its columns.
    pub(crate) schema: SchemaRef,
}

#[async_trait]
impl RowsSource for Refused {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let message =
            format!("permission denied: {} is for accounts that are not limited by grants", self.name);
        Err(Error::new(ErrorKind::Denied, message))
    }
}
