//! `wattline inspect`

use std::path::PathBuf;

use serde_json::Value;
use wattline_storage::{Cell, Inspection, inspect};

use crate::client::output::{Table, print, terminal_width};
use crate::error::{Error, Result};

/// Rows of a table that are shown where `--all` is not given.
const SHOWN_MAX: usize = 40;

/// Show what is in a file of the store. The file may belong to a running server.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Segment (.wls), log (.wll), manifest (.wlm) or latest-value checkpoint (.wlc)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Show every record and block
    #[arg(long)]
    all: bool,
}

/// Runs the command.
///
/// # Errors
/// Where a file cannot be read, is of no known kind, or is damaged.
pub fn run(args: &Args) -> Result<()> {
    for path in &args.files {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|e| Error::failed(format!("{name}: {e}")))?;
        let found = inspect(&name, bytes.into())?;
        print(&shown(&name, &found, if args.all { usize::MAX } else { SHOWN_MAX }))?;
    }
    Ok(())
}

fn shown(name: &str, found: &Inspection, shown_max: usize) -> String {
    let mut out = format!("{name}\n");
    let width = found.facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, cell) in &found.facts {
        out.push_str(&format!("  {name:width$}  {}\n", crate::client::output::text(&value(cell))));
    }
    for inspected in &found.tables {
        let mut table = Table::new(&inspected.columns);
        inspected.rows.iter().take(shown_max).for_each(|row| table.push(row.iter().map(value)));
        out.push('\n');
        out.push_str(&table.render(terminal_width()));
        let left_out = inspected.rows.len().saturating_sub(shown_max);
        if left_out > 0 {
            out.push_str(&format!("… and {left_out} more (--all shows them)\n"));
        }
    }
    found.remarks.iter().for_each(|remark| out.push_str(&format!("{remark}\n")));
    out.push('\n');
    out
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Text(text) => text.as_str().into(),
        Cell::Number(number) => (*number).into(),
        Cell::Time(micros) => jiff::Timestamp::from_microsecond(*micros)
            .map_or_else(|_| format!("{micros} us"), |time| time.to_string())
            .into(),
    }
}
