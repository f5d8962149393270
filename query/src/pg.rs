//! What PostgreSQL's clients expect to find: its types, system tables and functions.
//!
//! Owns: the numbers of types and tables, `pg_catalog.*`, the functions those clients call, and the rewriting of their
//! syntax. Does not own: the wire (`server`), our own tables (`tables`).
//!
//! Reading order: [`types`] → `relations` (numbers of tables) → `tables` (rows) → `listed`
//! (functions for time series) → `functions` → `rewrite`.

pub(crate) mod functions;
mod listed;
pub(crate) mod relations;
pub(crate) mod rewrite;
pub(crate) mod tables;
pub mod types;
