//! `wattline org`

use hyper::Method;
use serde_json::json;

use super::connection::{Client, ServerArgs};
use super::{show_list, show_one};
use crate::error::Result;

const COLUMNS: [(&str, &str); 2] = [("org", "orgId"), ("name", "name")];

/// Organizations.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Act {
    /// Create an organization
    Create {
        /// Its identifier
        key: String,
        /// Display name
        #[arg(long)]
        name: Option<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List organizations
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
/// Where the server refuses or is not there.
pub fn run(args: &Args) -> Result<()> {
    match &args.act {
        Act::Create { key, name, json, server } => {
            let body = json!({"orgId": key, "name": name.as_deref().unwrap_or_default()});
            let org =
                Client::new(server)?.json(Method::POST, "/api/v1/orgs", Some(body.to_string().into()))?;
            show_one(&org, *json, &COLUMNS)
        }
        Act::List { json, server } => show_list(&Client::new(server)?.get("/api/v1/orgs")?, *json, &COLUMNS),
    }
}
