//! `wattline flush`, `compact`, `check`, `inspect`, `backup`, `restore`: what an operator does with files.
//!
//! Owns: flags, progress on a terminal, tables. Does not own: the work (`storage`, [`crate::operations`]).

pub mod backup;
pub mod check;
pub mod compact;
pub mod flush;
pub mod inspect;
pub mod restore;

use std::io::IsTerminal as _;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::client::connection::{Client, block_on};
use crate::error::{Error, ErrorKind, Result};

/// Headings of a table of backups, and what is below them.
const COLUMNS: &[(&str, &str)] =
    &[("name", "name"), ("created", "created"), ("reaches to", "reachesTo"), ("bytes", "bytes")];

/// How often a running operation is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// A bar on a terminal, nothing elsewhere.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(what: &'static str) -> Bar {
        Bar(std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template(
                "{msg} {bar:32.cyan/blue} {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  eta {eta}",
            );
            bar.set_style(style.expect("the template is a constant"));
            bar.set_message(what);
            bar
        }))
    }

    fn to(&self, bytes: u64, bytes_total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(bytes_total.max(bytes));
            bar.set_position(bytes);
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Starts an operation of the server, shows how far it is, and returns what came of it. Ctrl-C cancels it.
fn operate(client: &Client, path: &str, body: Option<Bytes>, what: &'static str) -> Result<Value> {
    let mut operation = client.json(Method::POST, path, body)?;
    let path = format!("/api/v1/operations/{}", operation["id"]);
    let bar = Bar::new(what);
    while operation["state"] == "running" {
        let number = |name: &str| operation[name].as_u64().unwrap_or(0);
        bar.to(number("bytes"), number("bytesTotal"));
        let next = block_on(async { tokio::time::sleep(ASK_EVERY).await }).and_then(|()| client.get(&path));
        operation = match next {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                client.json(Method::DELETE, &path, None)?;
                return Err(error);
            }
            next => next?,
        };
    }
    bar.clear();
    match operation["state"].as_str() {
        Some("finished") => Ok(operation["result"].take()),
        _ => {
            let why = operation["error"].as_str().unwrap_or("it was cancelled");
            Err(Error::failed(format!("{what}: {why}")))
        }
    }
}

/// Sizes as people read them.
fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
