//! Backups by the clock.
//!
//! Owns: when one is begun. Does not own: taking it ([`crate::http::operations`]), where it goes ([`crate::vault`]).

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::http::App;
use crate::http::operations::start_backup;

/// Begins a backup `every` so often, which leaves the newest `keep`, until `stop`. Where another operation runs just
/// then, the next one is the next chance; what becomes of a backup is in the log and among the operations.
pub async fn take(app: Arc<App>, every: Duration, keep: Option<usize>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        if let Err(error) = start_backup(&app, None, keep) {
            tracing::warn!(%error, "no backup was begun");
        }
    }
}
