//! `wattline check`

use std::path::{Path, PathBuf};

use serde_json::Value;
use wattline_env::World;
use wattline_storage::{CheckReport, check};

use super::{Bar, operate, size};
use crate::client::connection::{Client, ServerArgs};
use crate::client::output::{Table, print, print_json, terminal_width};
use crate::error::{Error, ErrorKind, Result};
use crate::http::operations::report_json;

/// Check that every file is what was written.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Check this data directory, which no server has open; without it, the segments of a running server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// `Damaged` where something that was acknowledged is lost or cannot be read; the report was printed then.
pub fn run(args: &Args) -> Result<()> {
    let report = match &args.data_dir {
        Some(dir) => report_json(&offline(dir)?),
        None => operate(&Client::new(&args.server)?, "/api/v1/operations/check", None, "checking")?,
    };
    if args.json {
        print_json(&report)?
    } else {
        print(&shown(&report, args.data_dir.is_some()))?
    }
    let findings = report["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let damaged = findings.iter().filter(|f| f["severity"] == "damage").count();
    if damaged > 0 {
        return Err(Error::new(ErrorKind::Damaged, format!("{damaged} files are damaged or missing")));
    }
    Ok(())
}

fn offline(dir: &Path) -> Result<CheckReport> {
    let bar = Bar::new("checking");
    let report = check(&dir.join("store"), &World::real(), &mut |at| {
        bar.to(at.bytes, at.bytes_total);
        true
    });
    bar.clear();
    Ok(report?)
}

fn shown(report: &Value, offline: bool) -> String {
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    let mut out = format!(
        "{} in {} files of {} shards: {} segments with {} samples in {} rows",
        size(number("bytes")),
        number("files"),
        number("shards"),
        number("segments"),
        number("samples"),
        number("rows"),
    );
    if offline {
        out.push_str(&format!("; {} records in logs", number("records")));
    }
    let findings = report["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    if findings.is_empty() {
        out.push_str("\nall sound\n");
        return out;
    }
    out.push('\n');
    let mut table = Table::new(&["severity", "file", "what"]);
    for finding in findings {
        table.push([&finding["severity"], &finding["file"], &finding["what"]].map(Value::clone));
    }
    out + &table.render(terminal_width())
}
