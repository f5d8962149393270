//! `wattline flush`

use super::operate;
use crate::client::connection::{Client, ServerArgs};
use crate::error::Result;

/// Bring everything written so far into segments.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// Where the server refuses or is not there, or a flush fails.
pub fn run(args: &Args) -> Result<()> {
    operate(&Client::new(&args.server)?, "/api/v1/operations/flush", None, "flushing").map(drop)
}
