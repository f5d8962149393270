//! `wattline compact`

use super::operate;
use crate::client::connection::{Client, ServerArgs};
use crate::error::Result;

/// Merge segments until there is nothing left to merge.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// Where the server refuses or is not there, or a merge fails.
pub fn run(args: &Args) -> Result<()> {
    let done = operate(&Client::new(&args.server)?, "/api/v1/operations/compact", None, "merging")?;
    let number = |name: &str| done[name].as_u64().unwrap_or(0);
    println!(
        "{} merges, {} bytes written; {} segments",
        number("merges"),
        number("bytes"),
        number("segments")
    );
    Ok(())
}
