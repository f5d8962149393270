//! Backups by the clock, and the journal of the newest one.
//!
//! Owns: when a backup is begun, when the journal is marked and shipped. Does not own: taking a backup
//! ([`crate::http::operations`]), what a journal is ([`crate::journal`]), where both go ([`crate::vault`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::http::App;
use crate::http::operations::start_backup;
use crate::journal::Journaling;

/// How far apart the moments are that a journal can bring back: what an operator can tell apart.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// How soon a gap is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long to wait before a backup that a journal needs is tried again; doubled each time, up to the other.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Does what the settings say of backups until `stop`.
pub async fn watch(app: Arc<App>, settings: Settings, stop: CancellationToken) {
    let doing = async {
        match app.journaling.clone().zip(settings.backup_journal) {
            None => by_the_clock(&app, &settings).await,
            Some((journaling, every)) => {
                let ((), (), ()) = tokio::join!(
                    with_journal(&app, &settings, &journaling),
                    repeat(MARK_EVERY, &journaling, Journaling::mark),
                    repeat(every, &journaling, Journaling::ship),
                );
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = doing => {}
    }
}

/// Begins a backup every so often, which leaves the newest ones the settings say. Where another operation runs just
/// then, the next one is the next chance; what becomes of a backup is in the log and among the operations.
async fn by_the_clock(app: &App, settings: &Settings) {
    let Some(every) = settings.backup_every else { return };
    loop {
        tokio::time::sleep(every).await;
        begin(app, settings);
    }
}

/// As [`by_the_clock`], and at once where there is no journal that goes on: at the start, and after a gap.
async fn with_journal(app: &App, settings: &Settings, journaling: &Journaling) {
    let (mut begun, mut retry, mut pause) = (Instant::now(), Instant::now(), RETRY_MIN);
    loop {
        let now = Instant::now();
        let goes_on = journaling.goes_on();
        let is_due = settings.backup_every.is_some_and(|every| now >= begun + every);
        if !app.operations.is_busy() && (is_due || (!goes_on && now >= retry)) {
            begin(app, settings);
            (begun, retry) = (now, now + pause);
            pause = (pause * 2).min(RETRY_MAX);
        }
        if goes_on {
            pause = RETRY_MIN;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn begin(app: &App, settings: &Settings) {
    if let Err(error) = start_backup(app, None, settings.backup_keep) {
        tracing::warn!(%error, "no backup was begun");
    }
}

/// Does `act` every so often, where it may wait for disks and networks; one at a time.
async fn repeat(every: Duration, journaling: &Arc<Journaling>, act: fn(&Journaling)) {
    loop {
        tokio::time::sleep(every).await;
        let journaling = Arc::clone(journaling);
        if let Err(panic) = tokio::task::spawn_blocking(move || act(&journaling)).await {
            tracing::error!(%panic, "the journal could not be gone on with");
        }
    }
}
