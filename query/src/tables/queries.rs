//! `system.queries`: a row for each statement that runs, and for the last ones that ended.
//!
//! Owns: the columns and rows. Does not own: the statements (`running`).

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringViewArray, UInt64Array};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::execution::memory_pool::MemoryPool as _;

use crate::arrays::instants;
use crate::columns::instant;
use crate::error::Error;
use crate::running::{State, Statement, Statements};
use crate::scan::record_batch;
use crate::scope::Limit;
use crate::tables::RowsSource;

/// How statements name the table.
pub(crate) const QUERIES_TABLE: &str = "system.queries";

/// The source of `system.queries`.
pub(crate) struct Queries {
    statements: Arc<Statements>,
    limit: Option<Limit>,
    schema: SchemaRef,
}

impl Queries {
    /// The statements of `statements`; of them its own where an account is limited.
    pub(crate) fn new(statements: Arc<Statements>, limit: Option<Limit>) -> Queries {
        let field = |name: &str, data_type| Field::new(name, data_type, false);
        let schema = Schema::new(vec![
            field("id", ArrowType::UInt64),
            field("wire", ArrowType::Utf8View),
            Field::new("account", ArrowType::Utf8View, true),
            field("statement", ArrowType::Utf8View),
            field("state", ArrowType::Utf8View),
            field("started", instant()),
            field("elapsed_ms", ArrowType::Float64),
            field("rows", ArrowType::UInt64),
            field("bytes", ArrowType::UInt64),
            field("memory_bytes", ArrowType::UInt64),
            field("memory_peak_bytes", ArrowType::UInt64),
            Field::new("error", ArrowType::Utf8View, true),
        ]);
        Queries { statements, limit, schema: Arc::new(schema) }
    }
}

#[async_trait]
impl RowsSource for Queries {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let mut all = self.statements.list();
        if let Some(limit) = &self.limit {
            all.retain(|statement| statement.caller.account.as_ref() == Some(&limit.account));
        }
        let text = |of: fn(&Statement) -> Option<&str>| -> ArrayRef {
            Arc::new(all.iter().map(|statement| of(statement)).collect::<StringViewArray>())
        };
        let count = |of: fn(&Statement) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(all.iter().map(|statement| of(statement))))
        };
        let elapsed = all.iter().map(|statement| statement.elapsed().as_secs_f64() * 1e3);
        let arrays: Vec<ArrayRef> = vec![
            count(|statement| statement.id),
            text(|statement| Some(statement.caller.wire)),
            text(|statement| statement.caller.account.as_deref()),
            text(|statement| Some(&statement.text)),
            text(|statement| Some(State::name(statement.state()))),
            Arc::new(instants(all.iter().map(|statement| statement.started_micros).collect(), None)),
            Arc::new(Float64Array::from_iter_values(elapsed)),
            count(|statement| statement.given().0),
            count(|statement| statement.given().1),
            count(|statement| statement.memory.reserved() as u64),
            count(|statement| statement.memory.most() as u64),
            text(Statement::error),
        ];
        record_batch(&self.schema, arrays, all.len())
    }
}
