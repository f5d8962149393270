//! The `wattline` binary as a library: protocols, settings, wiring, lifecycle, and the tools of the command line.
//!
//! Owns: HTTP, the PostgreSQL wire, Flight SQL, settings, TLS, start and stop of the server, what SQL changes, deletion jobs, commands to devices, checks and backups as operations;
//! `wattline sql`, `model`, `product`, `device`, `org`, `delete`, `import`, `demo`, `flush`, `check`, `inspect`,
//! `backup`, `restore`. Does not own: any decision about data (`storage`, `ingest`, `query`), who exists (`registry`).
//!
//! Reading order: [`cli`] → [`config`] → [`serve`] → [`open`] → [`http`] → [`pg`], [`flight`] → [`writing`] → [`deletions`], [`commands`], [`operations`], [`reports`] → [`shutdown`]; [`client`], [`prompt`],
//! [`import`], [`maintain`] and [`demo`] are the other end of the line.

pub mod audit;
pub mod backups;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod deletions;
pub mod demo;
pub mod error;
pub mod flight;
pub mod http;
pub mod import;
pub mod journal;
pub mod log;
pub mod maintain;
pub mod open;
pub mod operations;
pub mod pg;
pub mod policies;
pub mod prompt;
pub mod reports;
pub mod serve;
pub mod shutdown;
pub mod tls;
pub mod vault;
pub mod writing;

pub use cli::main;
