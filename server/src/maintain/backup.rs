//! `wattline backup`

use serde_json::{Map, Value, json};

use super::{operate, size};
use crate::client::connection::{Client, ServerArgs};
use crate::client::output::{print, print_json};
use crate::client::show_list;
use crate::error::Result;

/// Backups of a running server.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Act {
    /// Copy everything, as it is now, into the server's backup.dir; writing goes on
    Create {
        /// Its name [default: the time, like 2026-01-31T12-00-00Z]
        #[arg(long)]
        name: Option<String>,
        /// Remove all but the newest N backups afterwards
        #[arg(long, value_name = "N")]
        keep: Option<u64>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List complete backups, oldest first
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs the command.
///
/// # Errors
/// Where the server refuses or is not there, or the backup fails.
pub fn run(args: &Args) -> Result<()> {
    match &args.act {
        Act::Create { name, keep, json, server } => {
            let mut body = Map::new();
            body.extend(name.as_ref().map(|name| ("name".to_owned(), json!(name))));
            body.extend(keep.map(|keep| ("keep".to_owned(), json!(keep))));
            let body = Value::Object(body).to_string();
            let client = Client::new(server)?;
            let done = operate(&client, "/api/v1/operations/backup", Some(body.into()), "backing up")?;
            if *json { print_json(&done) } else { print(&shown(&done)) }
        }
        Act::List { json, server } => {
            let list = Client::new(server)?.get("/api/v1/backups")?;
            show_list(&list, *json, super::COLUMNS)
        }
    }
}

fn shown(done: &Value) -> String {
    let number = |name: &str| done[name].as_u64().unwrap_or(0);
    let mut out = format!(
        "backup {}: {} in {} files, of which {} were new\n",
        done["name"].as_str().unwrap_or_default(),
        size(number("bytes")),
        number("files"),
        size(number("copiedBytes")),
    );
    for name in done["removed"].as_array().into_iter().flatten() {
        out.push_str(&format!("removed {}\n", name.as_str().unwrap_or_default()));
    }
    out
}
