//! `wattline account`
//!
//! The password is read from standard input or made here, never from the command line, where others on the machine see
//! it; the server gets a verifier of it only.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use hyper::Method;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;
use wattline_registry::Secret;

use super::connection::{Client, ServerArgs, segment};
use super::output::print;
use super::{grants, show_list};
use crate::error::{Error, Result};
use crate::pg::scram::{verifier_of, verifier_text};

const COLUMNS: [(&str, &str); 3] = [("account", "name"), ("limited", "limited"), ("created", "created")];

const PATH: &str = "/api/v1/accounts";

/// Accounts.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Act {
    /// Create an account; its password is read from standard input
    Create {
        /// Its name
        name: String,
        /// What it may do and nothing else, such as read:org:default or read,write:model:turbine; several times
        #[arg(long = "grant", value_name = "GRANT")]
        grants: Vec<String>,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List accounts
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Give an account another password, read from standard input; open connections stay
    SetPassword {
        /// Its name
        name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete an account with its grants; open connections stay and may do nothing any more
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Grant rights to an account, which from then on has what it was granted and nothing else
    Grant(grants::Change),
    /// Take rights from an account
    Revoke(grants::Change),
    /// Lift all limits from an account: it may do everything again, a service account in its organization
    Unlimit(grants::Named),
    /// List what was granted to an account
    Grants(grants::List),
}

#[derive(clap::Args, Clone, Debug)]
struct Password {
    /// Make a password and print it, instead of reading one
    #[arg(long)]
    generate: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the server refuses or is not there.
pub fn run(args: &Args) -> Result<()> {
    match &args.act {
        Act::Create { name, grants, password, server } => {
            let (verifier, made) = password.get()?;
            let mut body = json!({"name": name, "verifier": verifier});
            if !grants.is_empty() {
                body["grants"] = grants.clone().into();
            }
            Client::new(server)?.json(Method::POST, PATH, Some(body.to_string().into()))?;
            tell(name, made)
        }
        Act::List { json, server } => show_list(&Client::new(server)?.get(PATH)?, *json, &COLUMNS),
        Act::SetPassword { name, password, server } => {
            let (verifier, made) = password.get()?;
            let path = format!("{PATH}/{}/verifier", segment(name));
            let body = json!({"verifier": verifier});
            Client::new(server)?.json(Method::PUT, &path, Some(body.to_string().into()))?;
            tell(name, made)
        }
        Act::Delete { name, server } => {
            Client::new(server)?.json(Method::DELETE, &format!("{PATH}/{}", segment(name)), None)?;
            Ok(())
        }
        Act::Grant(change) => change.grant(),
        Act::Revoke(change) => change.revoke(),
        Act::Unlimit(named) => named.unlimit(),
        Act::Grants(list) => list.show(),
    }
}

fn tell(name: &str, made: Option<Secret>) -> Result<()> {
    match made {
        Some(password) => print(&format!("account   {name}\npassword  {}\n", password.expose())),
        None => Ok(()),
    }
}

impl Password {
    /// The verifier, and the password where it was made here.
    fn get(&self) -> Result<(String, Option<Secret>)> {
        if self.generate {
            let made = Secret::generate().map_err(Error::failed)?;
            return Ok((verifier_text(&verifier_of(made.expose())?), Some(made)));
        }
        let password = read_password()?;
        Ok((verifier_text(&verifier_of(password.expose())?), None))
    }
}

/// One line; at a terminal asked for twice and not shown.
fn read_password() -> Result<Secret> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return read_line();
    }
    let shown = tcgetattr(&stdin).map_err(|e| Error::failed(format!("terminal: {e}")))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let set = |modes| tcsetattr(&stdin, OptionalActions::Now, modes);
    set(&hidden).map_err(|e| Error::failed(format!("terminal: {e}")))?;
    let asked = ask("password: ").and_then(|first| Ok((first, ask("again: ")?)));
    let restored = set(&shown);
    let (first, again) = asked?;
    restored.map_err(|e| Error::failed(format!("terminal: {e}")))?;
    if first.expose() == again.expose() { Ok(first) } else { Err(Error::usage("the two passwords differ")) }
}

fn ask(prompt: &str) -> Result<Secret> {
    eprint!("{prompt}");
    let _ = std::io::stderr().flush();
    let line = read_line();
    eprintln!();
    line
}

fn read_line() -> Result<Secret> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|e| Error::failed(format!("standard input: {e}")))?;
    Ok(Secret::from(line.trim_end_matches(['\r', '\n'])))
}
