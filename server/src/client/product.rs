//! `wattline product`

use hyper::Method;
use serde_json::{Map, Value};

use super::connection::{Client, ServerArgs, segment};
use super::{show_list, show_one, with_query};
use crate::error::Result;

const COLUMNS: [(&str, &str); 8] = [
    ("product", "productKey"),
    ("name", "productName"),
    ("model", "modelId"),
    ("org", "orgId"),
    ("activation", "dynamicActivation"),
    ("certificate", "requireCertificate"),
    ("gateway", "gateway"),
    ("secret", "productSecret"),
];

/// Products.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Act {
    /// Create a product; the answer holds its secret
    Create {
        /// Model of its devices
        #[arg(long)]
        model: String,
        /// Identifier [default: generated]
        #[arg(long)]
        key: Option<String>,
        /// Display name
        #[arg(long)]
        name: Option<String>,
        /// Secret [default: generated]
        #[arg(long)]
        secret: Option<String>,
        /// Devices may prove themselves with the product's secret
        #[arg(long)]
        dynamic_activation: bool,
        /// Devices must connect over TLS with a certificate
        #[arg(long)]
        require_certificate: bool,
        /// Its devices speak for others
        #[arg(long)]
        gateway: bool,
        /// Organization [default: default]
        #[arg(long)]
        org: Option<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List products
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a product
    Show {
        /// Identifier
        key: String,
        /// Show its secret too
        #[arg(long)]
        with_secret: bool,
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
        Act::Create {
            model,
            key,
            name,
            secret,
            dynamic_activation,
            require_certificate,
            gateway,
            org,
            json,
            server,
        } => {
            let mut body = Map::new();
            body.insert("modelId".to_owned(), model.as_str().into());
            let texts = [("productKey", key), ("productName", name), ("productSecret", secret)];
            for (member, text) in texts {
                if let Some(text) = text {
                    body.insert(member.to_owned(), text.as_str().into());
                }
            }
            body.insert("dynamicActivation".to_owned(), (*dynamic_activation).into());
            body.insert("requireCertificate".to_owned(), (*require_certificate).into());
            body.insert("gateway".to_owned(), (*gateway).into());
            let path = with_query("/api/v1/products", &[("org", org.as_deref())]);
            let body = Value::Object(body).to_string();
            let product = Client::new(server)?.json(Method::POST, &path, Some(body.into()))?;
            show_one(&product, *json, &COLUMNS)
        }
        Act::List { json, server } => {
            show_list(&Client::new(server)?.get("/api/v1/products")?, *json, &COLUMNS[..7])
        }
        Act::Show { key, with_secret, json, server } => {
            let path = format!("/api/v1/products/{}", segment(key));
            let path = with_query(&path, &[("secret", with_secret.then_some("true"))]);
            show_one(&Client::new(server)?.get(&path)?, *json, &COLUMNS)
        }
    }
}
