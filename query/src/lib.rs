//! SQL over the store.
//!
//! Owns: which tables there are and what they hold, reading a statement's filters, the scan as a DataFusion plan,
//! the limits of a running statement, errors that tell the place and the remedy. Does not own: files (`storage`),
//! who exists (`registry`), HTTP and the text forms of answers (`server`).
//!
//! The way of a statement: [`Engine::sql`] → `statement` (one statement that only reads) → `catalog` (its tables) →
//! `tables` (a provider each) → `prune` (filters → assets and time) → `scan` (partitions, blocking iterators →
//! streams) → `arrays` (columns → Arrow). `functions` are those for time series. `columns` says what a model's columns are called.

mod aggregate;
mod arrays;
mod catalog;
mod columns;
mod conditions;
mod engine;
mod error;
mod functions;
pub mod pg;
mod plans;
mod prune;
mod scan;
mod statement;
mod tables;
mod template;
mod yields;

pub use datafusion::common::ScalarValue;
pub use datafusion::execution::SendableRecordBatchStream;
pub use engine::{Answer, Caller, Description, Engine, QuerySettings};
pub use error::{Error, ErrorKind, Position};
pub use statement::{CHAIN_OPERATORS_MAX, COMBINED_QUERIES_MAX, EXPANDED_TABLES_MAX, STATEMENT_BYTES_MAX};
