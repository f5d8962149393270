//! The log: structured lines on standard error.

use std::io::{IsTerminal as _, stderr};
use std::panic;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::fmt;

use crate::config::Settings;
use crate::error::{Error, Result};

/// Starts the log of the process, panics included.
///
/// # Errors
/// Where `log.level` is not understood.
pub fn start(settings: &Settings) -> Result<()> {
    let level = &settings.log_level;
    let filter =
        EnvFilter::try_new(level).map_err(|e| Error::usage(format!("setting log.level {level:?}: {e}")))?;
    let log = fmt().with_env_filter(filter).with_writer(stderr);
    let started = if settings.log_json {
        log.json().try_init()
    } else {
        log.with_ansi(stderr().is_terminal()).try_init()
    };
    started.map_err(|e| Error::failed(format!("log: {e}")))?;
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        let trace = std::backtrace::Backtrace::capture();
        tracing::error!(place, message, %trace, "panic");
    }));
    Ok(())
}
