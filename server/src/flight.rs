//! Arrow Flight SQL: rows in and out as Arrow batches over gRPC, for ADBC, JDBC and whoever speaks Flight.
//!
//! Owns: the listener, who may ask, statements and their parameters as the protocol has them, streams of batches, what
//! the protocol asks of a catalog. Does not own: planning and limits of statements (`query`), checks of written rows
//! (`ingest`), durability (`storage`).
//!
//! Reading order: [`connection`] → [`auth`] → [`service`] (one method a command) → [`handle`] (a statement with its
//! parameters as bytes) → [`running`] (rows out, cancelling) → [`rows`] (rows in) → [`catalog`] → [`metrics`].
//!
//! The server keeps nothing between two calls: a prepared statement, with the parameters bound to it, is in the handle
//! that the client holds. So there is nothing to expire, to leak or to lose at a restart.

pub mod auth;
pub mod catalog;
pub mod connection;
pub mod handle;
pub mod metrics;
pub mod rows;
pub mod running;
pub mod service;

pub use connection::serve;
pub use metrics::FlightMetrics;
