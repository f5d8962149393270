//! `wattline restore`

use std::path::{Path, PathBuf};

use serde_json::Value;
use wattline_env::World;
use wattline_storage::{BackupInfo, BackupProgress, Until, Vault, backups, restore};

use super::{Bar, COLUMNS, size};
use crate::client::output::print;
use crate::client::show_list;
use crate::error::{Error, Result};
use crate::http::operations::{info_json, time_text};
use crate::open::RESTORING_FILE;
use crate::vault;

/// Restore a backup into an empty data directory.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where the backups are: the server's backup.dir, a folder or a URL
    #[arg(long, value_name = "DIR")]
    from: String,
    /// The backup to restore, without its journal [default: the newest backup, to the end of its journal]
    #[arg(long, conflicts_with = "at")]
    name: Option<String>,
    /// Go back to this moment, like 2026-01-31T12:00:00Z: the last second before it that a journal knows, or else the
    /// newest backup that was finished then
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Data directory to make; it must not hold one yet
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    data_dir: Option<PathBuf>,
    /// Only list the backups
    #[arg(long)]
    list: bool,
}

/// Runs the command.
///
/// # Errors
/// Where there is no such backup, the directory is in use, or a file of the backup is damaged.
pub fn run(args: &Args) -> Result<()> {
    let repository = vault::open(&args.from)?;
    let all = backups(&*repository)?;
    if args.list {
        let list: Value = all.iter().map(info_json).collect();
        return show_list(&list, false, COLUMNS);
    }
    let Some(dir) = &args.data_dir else { return Err(Error::usage("--data-dir is missing")) };
    let is_there = ["registry.db", "store"].iter().any(|part| dir.join(part).exists());
    if is_there && !dir.join(RESTORING_FILE).exists() {
        return Err(Error::usage(format!("{} is a data directory already", dir.display())));
    }
    let info = choose(&all, args)?;
    let until = match (&args.name, args.at) {
        (Some(_), _) => Until::Backup,
        (None, Some(at)) => Until::Time(at.as_microsecond()),
        (None, None) => Until::Newest,
    };
    into(&*repository, info, until, dir)
}

/// The backup that leads to the latest moment that is not too late; of several the newest.
fn choose<'a>(all: &'a [BackupInfo], args: &Args) -> Result<&'a BackupInfo> {
    let found = match (&args.name, &args.at) {
        (Some(name), _) => all.iter().find(|info| info.name == *name),
        (None, Some(at)) => {
            let reaching = all.iter().filter(|info| info.reaches(at.as_microsecond()).is_some());
            reaching.max_by_key(|info| info.reaches(at.as_microsecond()))
        }
        (None, None) => all.last(),
    };
    found.ok_or_else(|| {
        let which = match (&args.name, &args.at) {
            (Some(name), _) => format!("backup {name:?}"),
            (None, Some(at)) => format!("backup that was finished at {at} or before"),
            (None, None) => "complete backup".to_owned(),
        };
        Error::usage(format!("there is no {which} in {}", args.from))
    })
}

fn into(from: &dyn Vault, info: &BackupInfo, until: Until, dir: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::failed(format!("data directory {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(dir.join(RESTORING_FILE), format!("{}\n", info.name)).map_err(failed)?;
    let bar = Bar::new("restoring");
    let mut watch = |at: BackupProgress| {
        bar.to(at.bytes, at.bytes_total);
        true
    };
    let done = restore(from, &info.name, until, &dir.join("store"), dir, &World::real(), &mut watch);
    bar.clear();
    let done = done?;
    std::fs::remove_file(dir.join(RESTORING_FILE)).map_err(failed)?;
    let mark = done.mark_micros.and_then(time_text);
    print(&format!(
        "restored {}{} ({} in {} files, every byte checked) into {}\n",
        done.name,
        mark.map_or_else(String::new, |mark| format!(" and its journal up to {mark}")),
        size(done.bytes),
        done.files,
        dir.display()
    ))
}
