//! The product from outside: every test starts the real binary and talks to it as users and devices do.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests; helpers outside of #[test] functions are tests as well"
)]

mod arrows;
mod bad_input;
mod clients;
mod commands;
mod compaction;
mod compression;
mod connections;
mod crash;
mod differential;
mod events;
mod flight;
mod flight_accounts;
mod grants;
mod integration;
mod killing;
mod manage;
mod object_backup;
mod postgres;
mod postgres_copy;
mod postgres_tools;
mod postgres_wire;
mod python_client;
mod real_data;
mod registration;
mod restart;
mod tls;

use std::path::Path;

use tempfile::TempDir;
use wattline_tests::Server;

/// A time that is in the past wherever and whenever the tests run: 2024-01-01T00:00:00Z.
const BASE_MS: i64 = 1_704_067_200_000;

/// A fresh data directory, removed when dropped.
fn data_dir() -> TempDir {
    tempfile::Builder::new().prefix("wattline-e2e-").tempdir().expect("a temporary directory")
}

/// A server on `dir` with the settings of most tests.
fn start(dir: &Path) -> Server {
    Server::start(dir, &[])
}
