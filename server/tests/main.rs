//! The real binary, started on free ports in folders of its own: settings, start and stop, HTTP, the command line.

mod harness;

mod cli;
mod http;
mod lifecycle;
mod settings;
mod sql;
mod writes;
