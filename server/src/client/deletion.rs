//! `wattline delete`

use hyper::Method;
use serde_json::{Map, Value};

use super::connection::{Client, ServerArgs};
use super::{show_list, show_one, with_query};
use crate::error::{Error, Result};

const COLUMNS: [(&str, &str); 11] = [
    ("job", "id"),
    ("status", "status"),
    ("error", "error"),
    ("target", "target"),
    ("model", "modelId"),
    ("points", "points"),
    ("assets", "assets"),
    ("from", "from"),
    ("to", "to"),
    ("submitted", "submitted"),
    ("ended", "ended"),
];

/// Deletions.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Act {
    /// Delete samples: nobody sees them any more once this returns; their room comes back later
    Submit {
        /// Model
        #[arg(long)]
        model: String,
        /// Points, separated by commas [default: all, and so whole rows]
        #[arg(long, value_delimiter = ',')]
        points: Option<Vec<String>>,
        /// Assets, separated by commas [default: all]
        #[arg(long, value_delimiter = ',')]
        assets: Option<Vec<String>>,
        /// First time deleted, like 2026-01-31T00:00:00Z [default: from the beginning]
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// First time after it that stays [default: to the end]
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Delete latest values instead of history
        #[arg(long)]
        latest: bool,
        /// Yes, everything of the model: needed where neither points, assets nor times are named
        #[arg(long)]
        everything: bool,
        /// Organization [default: default]
        #[arg(long)]
        org: Option<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List deletion jobs, newest first
    List {
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a deletion job
    Show {
        /// Its number
        job: u64,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Submit a failed job again
    Resubmit {
        /// Its number
        job: u64,
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
/// Where the server refuses or is not there.
pub fn run(args: &Args) -> Result<()> {
    match &args.act {
        Act::Submit { model, points, assets, from, to, latest, everything, org, json, server } => {
            let named = points.is_some() || assets.is_some() || from.is_some() || to.is_some();
            if !named && !everything {
                return Err(Error::usage(format!(
                    "this deletes everything of {model}; say --everything where that is meant"
                )));
            }
            let mut body = Map::new();
            body.insert("modelId".to_owned(), model.as_str().into());
            for (name, list) in [("points", points), ("assets", assets)] {
                body.extend(list.as_ref().map(|list| (name.to_owned(), list.clone().into())));
            }
            for (name, time) in [("from", from), ("to", to)] {
                body.extend(time.as_ref().map(|time| (name.to_owned(), time.as_str().into())));
            }
            body.insert("target".to_owned(), if *latest { "latest" } else { "history" }.into());
            let path = with_query("/api/v1/deletions", &[("org", org.as_deref())]);
            let body = Value::Object(body).to_string();
            let job = Client::new(server)?.json(Method::POST, &path, Some(body.into()))?;
            show_one(&job, *json, &COLUMNS)
        }
        Act::List { limit, json, server } => {
            let path = format!("/api/v1/deletions?limit={limit}");
            show_list(&Client::new(server)?.get(&path)?, *json, &COLUMNS)
        }
        Act::Show { job, json, server } => {
            let path = format!("/api/v1/deletions/{job}");
            show_one(&Client::new(server)?.get(&path)?, *json, &COLUMNS)
        }
        Act::Resubmit { job, json, server } => {
            let path = format!("/api/v1/deletions/{job}/resubmit");
            show_one(&Client::new(server)?.json(Method::POST, &path, None)?, *json, &COLUMNS)
        }
    }
}
