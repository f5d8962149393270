//! `wattline model`

use std::path::PathBuf;

use hyper::Method;
use serde_json::Value;

use super::connection::{Client, ServerArgs, segment};
use super::output::{Table, print, print_json, terminal_width};
use super::{read_file, show_list, with_query};
use crate::error::Result;

/// Thing models and their measure points.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Args, Clone, Debug)]
struct Common {
    /// Organization [default: default]
    #[arg(long)]
    org: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Act {
    /// Create a model from a JSON file
    Create {
        /// File with the thing model; - for standard input
        #[arg(long, short)]
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Add measure points to a model from a JSON file: {"points": {...}}
    AddPoints {
        /// Identifier of the model
        model: String,
        /// File with the points; - for standard input
        #[arg(long, short)]
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// List models
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show a model and its measure points
    Show {
        /// Identifier of the model
        model: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Runs the command.
///
/// # Errors
/// Where the server refuses or is not there.
pub fn run(args: &Args) -> Result<()> {
    match &args.act {
        Act::Create { file, common } => {
            let path = with_query("/api/v1/models", &[("org", common.org.as_deref())]);
            let model = Client::new(&common.server)?.json(Method::POST, &path, Some(read_file(file)?))?;
            show(&model, common.json)
        }
        Act::AddPoints { model, file, common } => {
            let path = format!("/api/v1/models/{}/points", segment(model));
            let path = with_query(&path, &[("org", common.org.as_deref())]);
            let model = Client::new(&common.server)?.json(Method::POST, &path, Some(read_file(file)?))?;
            show(&model, common.json)
        }
        Act::List { common } => {
            let path = with_query("/api/v1/models", &[("org", common.org.as_deref())]);
            let columns = [
                ("model", "modelId"),
                ("name", "name"),
                ("points", "points"),
                ("path", "modelIdPath"),
                ("org", "orgId"),
            ];
            show_list(&Client::new(&common.server)?.get(&path)?, common.json, &columns)
        }
        Act::Show { model, common } => {
            let path = format!("/api/v1/models/{}", segment(model));
            let path = with_query(&path, &[("org", common.org.as_deref())]);
            show(&Client::new(&common.server)?.get(&path)?, common.json)
        }
    }
}

fn show(model: &Value, json: bool) -> Result<()> {
    if json {
        return print_json(model);
    }
    let mut table = Table::new(&["point", "type", "signal", "quality", "unit", "name"]);
    for (key, point) in model["measurepoints"].as_object().into_iter().flatten() {
        let unit = match &point["unit"] {
            Value::Object(unit) => {
                unit.get("multiplierPlusUnit").or_else(|| unit.get("unitId")).cloned().unwrap_or_default()
            }
            other => other.clone(),
        };
        let name = match &point["name"] {
            Value::Object(name) => name.get("defaultValue").cloned().unwrap_or_default(),
            other => other.clone(),
        };
        let quality = if point["hasQuality"] == true { "yes" } else { "" };
        table.push([
            key.as_str().into(),
            point["dataType"].clone(),
            point["signalType"].clone(),
            quality.into(),
            unit,
            name,
        ]);
    }
    let path = model["modelIdPath"].as_str().unwrap_or_default();
    let id = model["modelId"].as_str().unwrap_or_default();
    let org = model["orgId"].as_str().unwrap_or_default();
    print(&format!("model {id} ({path}, organization {org})\n{}", table.render(terminal_width())))
}
