//! `wattline restore`

use std::path::{Path, PathBuf};

use serde_json::Value;
use wattline_env::World;
use wattline_storage::{BackupInfo, Vault, backups, restore};

use super::{Bar, size};
use crate::client::output::print;
use crate::client::show_list;
use crate::error::{Error, Result};
use crate::http::operations::info_json;
use crate::open::RESTORING_FILE;
use crate::vault;

/// Restore a backup into an empty data directory.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where the backups are: the server's backup.dir, a folder or a URL
    #[arg(long, value_name = "DIR")]
    from: String,
    /// The backup to restore [default: the newest]
    #[arg(long, conflicts_with = "at")]
    name: Option<String>,
    /// The newest backup that was begun at or before this time, like 2026-01-31T12:00:00Z
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
        return show_list(&list, false, &[("name", "name"), ("created", "created"), ("bytes", "bytes")]);
    }
    let Some(dir) = &args.data_dir else { return Err(Error::usage("--data-dir is missing")) };
    if dir.join("registry.db").exists() && !dir.join(RESTORING_FILE).exists() {
        return Err(Error::usage(format!("{} is a data directory already", dir.display())));
    }
    let info = choose(&all, args)?;
    into(&*repository, info, dir)
}

fn choose<'a>(all: &'a [BackupInfo], args: &Args) -> Result<&'a BackupInfo> {
    let found = match (&args.name, &args.at) {
        (Some(name), _) => all.iter().find(|info| info.name == *name),
        (None, Some(at)) => all.iter().rfind(|info| info.created_micros <= at.as_microsecond()),
        (None, None) => all.last(),
    };
    found.ok_or_else(|| {
        let which = match (&args.name, &args.at) {
            (Some(name), _) => format!("backup {name:?}"),
            (None, Some(at)) => format!("backup from {at} or before"),
            (None, None) => "complete backup".to_owned(),
        };
        Error::usage(format!("there is no {which} in {}", args.from))
    })
}

fn into(from: &dyn Vault, info: &BackupInfo, dir: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::failed(format!("data directory {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(dir.join(RESTORING_FILE), format!("{}\n", info.name)).map_err(failed)?;
    let bar = Bar::new("restoring");
    let done = restore(from, &info.name, &dir.join("store"), dir, &World::real(), &mut |at| {
        bar.to(at.bytes, at.bytes_total);
        true
    });
    bar.clear();
    let done = done?;
    std::fs::remove_file(dir.join(RESTORING_FILE)).map_err(failed)?;
    print(&format!(
        "restored {} ({} in {} files, every byte checked) into {}\n",
        done.name,
        size(done.bytes),
        done.files,
        dir.display()
    ))
}
