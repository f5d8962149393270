//! SQL over the store.
//!
//! Owns: which tables there are and what they hold, reading a statement's filters, the scan as a DataFusion plan,
//! the limits of a running statement, what a changing statement asks for, errors that tell the place and the remedy.
//! Does not own: files (`storage`), who exists (`registry`), how a change is carried out (whoever implements
//! [`Changes`]), HTTP and the text forms of answers (`server`).
//!
//! The way of a statement: [`Engine::sql`] → `statement` (one statement that only reads) → `catalog` (its tables) →
//! `tables` (a provider each; `scope` says for whom) → `prune` (filters → assets and time) → `scan` (partitions, blocking iterators →
//! streams) → `arrays` (columns → Arrow). `functions` are those for time series. `columns` says what a model's columns are
//! called. A statement that changes something goes through [`Engine::run`] → `changes` → [`Changes`]. While either runs it
//! is known to `running`, its rows are within the limits of `guard` and `settings`, and its memory within `memory`.

mod aggregate;
mod arrays;
mod catalog;
mod changes;
mod columns;
mod conditions;
mod engine;
mod error;
mod functions;
mod guard;
mod leaf;
mod memory;
mod parameters;
pub mod pg;
mod plans;
mod prune;
mod reports;
mod running;
mod scan;
mod scope;
mod settings;
mod statement;
mod tables;
mod template;
mod yields;

pub use catalog::TableInfo;
pub use changes::{Changes, Destination, is_change};
pub use datafusion::common::ScalarValue;
pub use datafusion::error::DataFusionError;
pub use datafusion::execution::SendableRecordBatchStream;
pub use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
pub use engine::{Answer, Caller, Description, Engine};
pub use error::{Error, ErrorKind, Position};
pub use reports::{OperationReport, Reports, SettingReport};
pub use running::{ENDED_STATEMENTS_MAX, SHOWN_TEXT_BYTES_MAX, Watch};
pub use settings::{QuerySettings, Spill};
pub use statement::{CHAIN_OPERATORS_MAX, COMBINED_QUERIES_MAX, EXPANDED_TABLES_MAX, STATEMENT_BYTES_MAX};
