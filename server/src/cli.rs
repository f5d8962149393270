//! The command line: which commands there are, and their way to an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Settings, SettingsArgs, print};
use crate::error::{ErrorKind, Result};
use crate::{client, demo, import, prompt, serve};

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
    /// Organizations
    Org(client::org::Args),
    /// Thing models and their measure points
    Model(client::model::Args),
    /// Products: what devices of one make have in common
    Product(client::product::Args),
    /// Devices
    Device(client::device::Args),
    /// Import CSV or Parquet files
    Import(import::Args),
    /// Run a simulated wind farm against a server
    Demo(demo::Args),
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
        Command::Org(args) => client::org::run(&args),
        Command::Model(args) => client::model::run(&args),
        Command::Product(args) => client::product::run(&args),
        Command::Device(args) => client::device::run(&args),
        Command::Import(args) => import::run(args),
        Command::Demo(args) => demo::run(args),
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
