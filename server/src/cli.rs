//! The command line: which commands there are, and their way to an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Settings, SettingsArgs, print};
use crate::error::{ErrorKind, Result};
use crate::{client, demo, import, maintain, prompt, serve};

#[derive(Parser, Debug)]
#[command(name = "wattline", version, about = "Time-series database for energy and industrial IoT")]
#[command(propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the server
    Serve(serve::Args),
    /// Show the settings in effect, or every setting with its default
    Config(ConfigArgs),
    /// SQL: a prompt, one statement, or a script from standard input
    Sql(prompt::Args),
    /// Accounts: who may sign in from other machines
    Account(client::account::Args),
    /// Service accounts: applications that call the data service
    ServiceAccount(client::service_account::Args),
    /// Organizations
    Org(client::org::Args),
    /// Thing models and their measure points
    Model(client::model::Args),
    /// Products: what devices of one make have in common
    Product(client::product::Args),
    /// Devices
    Device(client::device::Args),
    /// Storage policies: what is kept of which points, and for how long
    Policy(client::policy::Args),
    /// Who changed what
    Audit(client::policy::AuditArgs),
    /// Delete samples of a model, or list what was deleted
    Delete(client::deletion::Args),
    /// Import CSV or Parquet files
    Import(import::Args),
    /// Run a simulated wind farm against a server
    Demo(demo::Args),
    /// Bring everything written so far into segments
    Flush(maintain::flush::Args),
    /// Merge segments until there is nothing left to merge
    Compact(maintain::compact::Args),
    /// Check that every file is what was written, of a running server or of a data directory
    Check(maintain::check::Args),
    /// Show what is in a segment, a log, a manifest or a latest-value checkpoint
    Inspect(maintain::inspect::Args),
    /// Back up a running server, or list its backups
    Backup(maintain::backup::Args),
    /// Restore a backup into an empty data directory
    Restore(maintain::restore::Args),
}

#[derive(clap::Args, Clone, Debug)]
struct ConfigArgs {
    /// Print the default wattline.toml, with what every setting does
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the command the process was started with.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The user who interrupts knows it.
            if error.kind() != ErrorKind::Interrupted {
                eprintln!("wattline: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Config(args) => config(&args),
        Command::Sql(args) => prompt::run(&args),
        Command::Account(args) => client::account::run(&args),
        Command::ServiceAccount(args) => client::service_account::run(&args),
        Command::Org(args) => client::org::run(&args),
        Command::Model(args) => client::model::run(&args),
        Command::Product(args) => client::product::run(&args),
        Command::Device(args) => client::device::run(&args),
        Command::Policy(args) => client::policy::run(&args),
        Command::Audit(args) => client::policy::audit(&args),
        Command::Delete(args) => client::deletion::run(&args),
        Command::Import(args) => import::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Flush(args) => maintain::flush::run(&args),
        Command::Compact(args) => maintain::compact::run(&args),
        Command::Check(args) => maintain::check::run(&args),
        Command::Inspect(args) => maintain::inspect::run(&args),
        Command::Backup(args) => maintain::backup::run(&args),
        Command::Restore(args) => maintain::restore::run(&args),
    }
}

fn config(args: &ConfigArgs) -> Result<()> {
    if args.default {
        return client::output::print(&print::default_file());
    }
    let gathered = args.settings.gather()?;
    Settings::new(&gathered)?;
    for warning in &gathered.warnings {
        eprintln!("wattline: {warning}");
    }
    client::output::print(&print::effective(&gathered))
}
