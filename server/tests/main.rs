//! The real binary, started on free ports in folders of its own: settings, start and stop, HTTP, the command line.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    missing_docs,
    reason = "tests: a failure here is a failed test"
)]

mod harness;

mod cli;
mod dataservice;
mod http;
mod lifecycle;
mod maintain;
mod policies;
mod settings;
mod sql;
mod statements;
mod writes;
