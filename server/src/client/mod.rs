//! `wattline account`, `service-account`, `org`, `model`, `product`, `device`, `policy`, `audit`, `delete`: the registry and deletions from the command
//! line, through a running server.
//!
//! Owns: flags, requests, tables. Does not own: any rule; the server has them, for everybody.

pub mod account;
pub mod connection;
pub mod deletion;
pub mod device;
pub mod grants;
pub mod model;
pub mod org;
pub mod output;
pub mod policy;
pub mod product;
pub mod service_account;

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;

use self::output::{Table, print, print_json, terminal_width};
use crate::error::{Error, Result};

/// Bytes of a definition read from a file: the largest model there can be fits ten times.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The content of `path`, standard input for `-`.
fn read_file(path: &Path) -> Result<Bytes> {
    let failed = |e: std::io::Error| Error::failed(format!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    let reader: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    reader.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::failed(format!("{}: larger than {} MiB", path.display(), FILE_BYTES_MAX >> 20)));
    }
    Ok(bytes.into())
}

/// `path?name=value` for those that have one.
fn with_query(path: &str, params: &[(&str, Option<&str>)]) -> String {
    let given =
        params.iter().filter_map(|(name, value)| Some(format!("{name}={}", connection::segment((*value)?))));
    let query: Vec<String> = given.collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Shows a list as JSON or as a table of the members `columns` name: (heading, member).
pub(crate) fn show_list(list: &Value, json: bool, columns: &[(&str, &str)]) -> Result<()> {
    if json {
        return print_json(list);
    }
    let mut table = Table::new(&columns.iter().map(|(heading, _)| *heading).collect::<Vec<_>>());
    for item in list.as_array().into_iter().flatten() {
        table.push(columns.iter().map(|(_, member)| item[*member].clone()));
    }
    print(&table.render(terminal_width()))
}

/// Shows one thing as JSON or as lines of the members `columns` name; those it does not have are left out.
fn show_one(item: &Value, json: bool, columns: &[(&str, &str)]) -> Result<()> {
    if json {
        return print_json(item);
    }
    let mut out = String::new();
    let width = columns.iter().map(|(heading, _)| heading.len()).max().unwrap_or(0);
    for (heading, member) in columns {
        match &item[*member] {
            Value::Null => {}
            value => out.push_str(&format!("{heading:width$}  {}\n", output::text(value))),
        }
    }
    print(&out)
}
