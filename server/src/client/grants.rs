//! `wattline account grant`, `revoke`, `unlimit`, `grants`
//!
//! A grant is written `<rights>:<org|model|branch|asset>:<key>`; the server reads it.

use hyper::Method;
use serde_json::{Value, json};

use super::connection::{Client, ServerArgs, segment};
use super::output::{print, print_json};
use crate::error::Result;

/// The account a command is about.
#[derive(clap::Args, Clone, Debug)]
struct Whose {
    /// Its name; with --service its access key
    name: String,
    /// It is a service account
    #[arg(long)]
    service: bool,
}

impl Whose {
    fn path(&self) -> String {
        let of = if self.service { "service-accounts" } else { "accounts" };
        format!("/api/v1/{of}/{}/grants", segment(&self.name))
    }
}

/// Grants to give or to take.
#[derive(clap::Args, Clone, Debug)]
pub struct Change {
    #[command(flatten)]
    whose: Whose,
    /// Such as read:org:default, read,write:model:acme/turbine (inheritors as well), read:branch:TREE/ASSET or
    /// all:asset:aX7pQ2Lm; rights are
    /// read, write, control, manage and all
    #[arg(required = true, value_name = "GRANT")]
    grants: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// An account.
#[derive(clap::Args, Clone, Debug)]
pub struct Named {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    server: ServerArgs,
}

/// What was granted to an account.
#[derive(clap::Args, Clone, Debug)]
pub struct List {
    #[command(flatten)]
    whose: Whose,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl Change {
    /// Gives them.
    ///
    /// # Errors
    /// Where the server refuses or is not there.
    pub fn grant(&self) -> Result<()> {
        let body = json!({"grants": self.grants}).to_string();
        Client::new(&self.server)?.json(Method::POST, &self.whose.path(), Some(body.into()))?;
        Ok(())
    }

    /// Takes them.
    ///
    /// # Errors
    /// As [`grant`](Change::grant).
    pub fn revoke(&self) -> Result<()> {
        let query: Vec<String> =
            self.grants.iter().map(|grant| format!("grant={}", segment(grant))).collect();
        let path = format!("{}?{}", self.whose.path(), query.join("&"));
        Client::new(&self.server)?.json(Method::DELETE, &path, None)?;
        Ok(())
    }
}

impl Named {
    /// Lifts all limits.
    ///
    /// # Errors
    /// Where the server refuses or is not there.
    pub fn unlimit(&self) -> Result<()> {
        let body = json!({"grants": null}).to_string();
        Client::new(&self.server)?.json(Method::PUT, &self.whose.path(), Some(body.into()))?;
        Ok(())
    }
}

impl List {
    /// Shows them.
    ///
    /// # Errors
    /// Where the server refuses or is not there.
    pub fn show(&self) -> Result<()> {
        let answer = Client::new(&self.server)?.get(&self.whose.path())?;
        if self.json {
            return print_json(&answer);
        }
        match &answer["grants"] {
            Value::Array(grants) => {
                let lines = grants.iter().filter_map(Value::as_str).map(|grant| format!("{grant}\n"));
                print(&lines.collect::<String>())
            }
            _ if self.whose.service => print("not limited: everything in its organization\n"),
            _ => print("not limited: everything\n"),
        }
    }
}
