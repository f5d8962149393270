//! The end of the server: a signal, a drain with a bound, a closed store.
//!
//! Owns: what a signal means. Does not own: how listeners drain (each knows its own).

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wattline_storage::Store;

use crate::error::{Error, Result};

/// Exit code after a second signal, as shells number a death by SIGINT.
const EXIT_AT_ONCE: i32 = 130;

/// Cancels `token` at the first SIGTERM or SIGINT; the second ends the process where it stands, which loses nothing
/// that was acknowledged.
///
/// # Errors
/// Where the operating system gives no signals.
pub fn on_signal(token: CancellationToken) -> Result<()> {
    let listen = |kind| signal(kind).map_err(|e| Error::failed(format!("signals: {e}")));
    let mut term = listen(SignalKind::terminate())?;
    let mut int = listen(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for first in [true, false] {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            };
            if first {
                tracing::info!(
                    signal = name,
                    "stopping: no new connections, requests under way are finished"
                );
                token.cancel();
            } else {
                tracing::warn!(signal = name, "stopping at once");
                std::process::exit(EXIT_AT_ONCE);
            }
        }
    });
    Ok(())
}

/// Stops the writers and syncs.
///
/// # Errors
/// Where that fails or takes longer than `patience`. Acknowledged data is in the log either way.
pub async fn close(store: Store, patience: Duration) -> Result<()> {
    let closing = tokio::task::spawn_blocking(move || store.close());
    match tokio::time::timeout(patience, closing).await {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(panic)) => Err(Error::failed(format!("closing the store: {panic}"))),
        Err(_) => Err(Error::failed(format!("closing the store took longer than {} s", patience.as_secs()))),
    }
}
