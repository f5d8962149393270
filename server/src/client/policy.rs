//! `wattline policy` and `wattline audit`

use std::path::PathBuf;

use hyper::Method;
use serde_json::{Value, json};

use super::connection::{Client, ServerArgs, segment};
use super::{output, read_file, show_list, with_query};
use crate::error::{Error, Result};

/// One line a policy.
const COLUMNS: [(&str, &str); 6] = [
    ("group", "group"),
    ("type", "type"),
    ("retention", "retention"),
    ("modifiable", "modifiable"),
    ("models", "models"),
    ("points", "points"),
];

const AUDIT_COLUMNS: [(&str, &str); 4] =
    [("time", "time"), ("operator", "operator"), ("action", "action"), ("item", "item")];

/// Storage policies.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Act {
    /// List the groups with their policies
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Show a group as the document that `apply` takes
    Show {
        /// Its name
        group: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Make a group what a file says; it rules at once, for what is written from then on
    Apply {
        /// The group, as JSON; - for standard input
        #[arg(short, long)]
        file: PathBuf,
        #[command(flatten)]
        asked: Asked,
    },
    /// Keep what devices send beside their models as text, or refuse it; without a flag: show which
    Unformatted {
        /// Keep it this long from now on: 1M, 3M, 6M, 1y, 2y, 3y, 5y, 10y, 15y, 20y, or forever
        #[arg(long, value_name = "HOW_LONG", conflicts_with = "refuse")]
        keep: Option<String>,
        /// Refuse it from now on; what is kept stays
        #[arg(long)]
        refuse: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Remove a group that has no models any more
    Delete {
        /// Its name
        group: String,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Of which organization, on which server.
#[derive(clap::Args, Clone, Debug)]
struct Asked {
    /// Organization [default: default]
    #[arg(long)]
    org: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

impl Asked {
    /// The path of all groups, or of one.
    fn path(&self, group: Option<&str>) -> String {
        let group = group.map_or_else(String::new, |name| format!("/{}", segment(name)));
        with_query(&format!("/api/v1/policies{group}"), &[("org", self.org.as_deref())])
    }
}

/// Who changed what.
#[derive(clap::Args, Clone, Debug)]
pub struct AuditArgs {
    /// How many changes, newest first
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Answer in JSON, with what each thing was before and became
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs `wattline policy`.
///
/// # Errors
/// Where the server refuses or is not there.
pub fn run(args: &Args) -> Result<()> {
    match &args.act {
        Act::List { json, asked } => {
            let groups = Client::new(&asked.server)?.get(&asked.path(None))?;
            if *json {
                return output::print_json(&groups);
            }
            let lines: Vec<Value> = groups.as_array().into_iter().flatten().flat_map(lines).collect();
            show_list(&Value::from(lines), false, &COLUMNS)
        }
        Act::Show { group, asked } => {
            output::print_json(&Client::new(&asked.server)?.get(&asked.path(Some(group)))?)
        }
        Act::Apply { file, asked } => {
            let document = read_file(file)?;
            let wrong = |e: String| Error::usage(format!("{}: {e}", file.display()));
            let group: Value = serde_json::from_slice(&document).map_err(|e| wrong(e.to_string()))?;
            let name = group["name"].as_str().ok_or_else(|| wrong("field name is missing".to_owned()))?;
            let path = asked.path(Some(name));
            let saved = Client::new(&asked.server)?.json(Method::PUT, &path, Some(document))?;
            show_list(&Value::from(lines(&saved)), false, &COLUMNS)
        }
        Act::Unformatted { keep, refuse, asked } => {
            let client = Client::new(&asked.server)?;
            let path = with_query("/api/v1/unformatted", &[("org", asked.org.as_deref())]);
            let answer = match keep.as_deref() {
                _ if *refuse => client.json(Method::DELETE, &path, None)?,
                None => client.get(&path)?,
                Some("forever") => client.json(Method::PUT, &path, Some("{}".into()))?,
                Some(retention) => {
                    let body = json!({"retention": retention}).to_string();
                    client.json(Method::PUT, &path, Some(body.into()))?
                }
            };
            let told = match (&answer["kept"], answer["retention"].as_str()) {
                (Value::Bool(true), Some(retention)) => format!("kept for {retention}"),
                (Value::Bool(true), None) => "kept for ever".to_owned(),
                _ => "refused".to_owned(),
            };
            output::print(&format!("what devices send beside their models is {told}\n"))
        }
        Act::Delete { group, asked } => {
            Client::new(&asked.server)?.json(Method::DELETE, &asked.path(Some(group)), None)?;
            output::print(&format!("policy group {group} is removed; what history holds stays\n"))
        }
    }
}

/// Runs `wattline audit`.
///
/// # Errors
/// Where the server refuses or is not there.
pub fn audit(args: &AuditArgs) -> Result<()> {
    let entries = Client::new(&args.server)?.get(&format!("/api/v1/audit?limit={}", args.limit))?;
    show_list(&entries, args.json, &AUDIT_COLUMNS)
}

/// A line for each policy of a group; one for a group without any.
fn lines(group: &Value) -> Vec<Value> {
    let models = group["models"].as_array().map_or(0, Vec::len);
    let line = |policy: &Value| {
        let points = policy["points"].as_object();
        let points = points.map(|of| of.values().filter_map(Value::as_array).map(Vec::len).sum::<usize>());
        json!({
            "group": group["name"],
            "type": policy["type"],
            "retention": policy["retention"].as_str().unwrap_or("for ever"),
            "modifiable": policy["modifiable"],
            "models": models,
            "points": points,
        })
    };
    match group["policies"].as_array().map(Vec::as_slice) {
        None | Some([]) => vec![json!({"group": group["name"], "models": models, "points": 0})],
        Some(policies) => policies.iter().map(line).collect(),
    }
}
