//! `wattline device`

use std::path::PathBuf;

use hyper::Method;
use serde_json::{Map, Value};

use super::connection::{Client, ServerArgs, segment};
use super::{read_file, show_list, show_one, with_query};
use crate::error::{Error, Result};

const COLUMNS: [(&str, &str); 11] = [
    ("asset", "assetId"),
    ("product", "productKey"),
    ("device", "deviceKey"),
    ("name", "deviceName"),
    ("model", "modelId"),
    ("timezone", "timezone"),
    ("enabled", "enabled"),
    ("active", "active"),
    ("tags", "tags"),
    ("attributes", "attributes"),
    ("secret", "deviceSecret"),
];

/// Devices.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Act {
    /// Create a device, or many from a JSON file; the answer holds the secrets
    Create {
        /// Product
        #[arg(long, required_unless_present = "file")]
        product: Option<String>,
        /// Identifier in its product [default: generated]
        #[arg(long)]
        key: Option<String>,
        /// Identifier as an asset [default: generated]
        #[arg(long)]
        asset_id: Option<String>,
        /// Display name
        #[arg(long)]
        name: Option<String>,
        /// Time zone: an IANA name, or an offset such as +08:00 [default: UTC]
        #[arg(long)]
        timezone: Option<String>,
        /// Secret [default: generated]
        #[arg(long)]
        secret: Option<String>,
        /// File with one device (an object) or many (an array); - for standard input
        #[arg(long, short, conflicts_with_all = ["product", "key", "asset_id", "name", "timezone", "secret"])]
        file: Option<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List devices, oldest first
    List {
        /// Only those of this product
        #[arg(long)]
        product: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 1_000)]
        limit: u32,
        /// How many to leave out first
        #[arg(long, default_value_t = 0)]
        offset: u32,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a device: PRODUCT/DEVICE, or its asset id
    Show {
        /// PRODUCT/DEVICE, or an asset id
        device: String,
        /// Show its secret too (with PRODUCT/DEVICE)
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
        Act::Create { product, key, asset_id, name, timezone, secret, file, json, server } => {
            let body = match file {
                Some(path) => read_file(path)?,
                None => {
                    let members = [
                        ("productKey", product),
                        ("deviceKey", key),
                        ("assetId", asset_id),
                        ("deviceName", name),
                        ("timezone", timezone),
                        ("deviceSecret", secret),
                    ];
                    let given = members.into_iter().filter_map(|(member, text)| {
                        Some((member.to_owned(), Value::from(text.as_deref()?)))
                    });
                    Value::Object(given.collect::<Map<_, _>>()).to_string().into()
                }
            };
            let made = Client::new(server)?.json(Method::POST, "/api/v1/devices", Some(body))?;
            if made.is_array() { show_list(&made, *json, &COLUMNS) } else { show_one(&made, *json, &COLUMNS) }
        }
        Act::List { product, limit, offset, json, server } => {
            let (limit, offset) = (limit.to_string(), offset.to_string());
            let params =
                [("product", product.as_deref()), ("limit", Some(&*limit)), ("offset", Some(&*offset))];
            let list = Client::new(server)?.get(&with_query("/api/v1/devices", &params))?;
            show_list(&list, *json, &COLUMNS[..8])
        }
        Act::Show { device, with_secret, json, server } => {
            let path = match device.split_once('/') {
                Some((product, key)) => {
                    let path = format!("/api/v1/devices/{}/{}", segment(product), segment(key));
                    with_query(&path, &[("secret", with_secret.then_some("true"))])
                }
                None if *with_secret => {
                    return Err(Error::usage("--with-secret wants the device as PRODUCT/DEVICE"));
                }
                None => format!("/api/v1/assets/{}", segment(device)),
            };
            show_one(&Client::new(server)?.get(&path)?, *json, &COLUMNS)
        }
    }
}
