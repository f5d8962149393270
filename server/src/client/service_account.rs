//! `wattline service-account`

use hyper::Method;
use serde_json::json;

use super::connection::{Client, ServerArgs, segment};
use super::{show_list, show_one};
use crate::error::Result;

const COLUMNS: [(&str, &str); 5] = [
    ("access key", "accessKey"),
    ("name", "name"),
    ("org", "orgId"),
    ("limited", "limited"),
    ("created", "created"),
];

const CREATED: [(&str, &str); 4] =
    [("access key", "accessKey"), ("secret key", "secretKey"), ("name", "name"), ("org", "orgId")];

const PATH: &str = "/api/v1/service-accounts";

/// Service accounts.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Act {
    /// Create a service account and print its key and secret; the secret is shown this once
    Create {
        /// Display name
        name: String,
        /// Its organization
        #[arg(long, default_value = "default")]
        org: String,
        /// What it may do in its organization and nothing else, such as read:model:turbine; several times
        #[arg(long = "grant", value_name = "GRANT")]
        grants: Vec<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List service accounts
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Revoke a service account; its tokens end at once
    Revoke {
        /// Its access key
        access_key: String,
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
        Act::Create { name, org, grants, json, server } => {
            let path = format!("{PATH}?org={}", segment(org));
            let mut body = json!({"name": name});
            if !grants.is_empty() {
                body["grants"] = grants.clone().into();
            }
            let account = Client::new(server)?.json(Method::POST, &path, Some(body.to_string().into()))?;
            show_one(&account, *json, &CREATED)
        }
        Act::List { json, server } => show_list(&Client::new(server)?.get(PATH)?, *json, &COLUMNS),
        Act::Revoke { access_key, server } => {
            let path = format!("{PATH}/{}", segment(access_key));
            Client::new(server)?.json(Method::DELETE, &path, None)?;
            Ok(())
        }
    }
}
