//! Deletion jobs: from submitted to finished.
//!
//! Owns: the order of a job's steps, and noticing that it is carried out. Does not own: jobs as rows (`registry`),
//! deleting (`storage`), HTTP.
//!
//! *submitted (noted) → in force (logged by every shard) → running → nothing left on disk → finished.* A job that a
//! stop meets before it is in force is failed at the next start rather than begun again by itself: what was written
//! meanwhile must not be deleted by a request nobody was told had succeeded.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wattline_model::{Deletion, DeletionTarget};
use wattline_registry::{DeletionJob, DeletionStatus, Error as RegistryError, Registry};
use wattline_storage::{PendingDeletion, Store};

use crate::error::{Error, Result};
use crate::http::App;
use crate::http::deletions::panicked;
use crate::http::error::{ApiError, ApiKind};

/// How often it is looked whether running jobs are carried out.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who asks while there are no accounts.
const OPERATOR: &str = "api";

/// Submits a job and brings it into force.
///
/// # Errors
/// Where the registry or the store refuses; then the job is noted as failed.
pub async fn submit(app: &App, deletion: Deletion) -> std::result::Result<DeletionJob, ApiError> {
    if app.is_stopping() {
        return Err(ApiError::new(ApiKind::Unavailable, "the server is stopping"));
    }
    let now = now_micros();
    let job = blocking(app, move |registry| registry.submit_deletion(deletion, OPERATOR, now)).await?;
    bring_into_force(app, job).await
}

/// Submits a failed job again.
///
/// # Errors
/// `Conflict` where it has not failed, else as [`submit`].
pub async fn resubmit(app: &App, id: i64) -> std::result::Result<DeletionJob, ApiError> {
    let job = blocking(app, move |registry| registry.deletion_job(id)).await?;
    if job.status != DeletionStatus::Failed {
        let what =
            format!("deletion job {id} is {}; only a failed one is submitted again", job.status.name());
        return Err(ApiError::new(ApiKind::Conflict, what));
    }
    let job = change(app, id, DeletionStatus::Submitted, None).await?;
    bring_into_force(app, job).await
}

async fn bring_into_force(app: &App, job: DeletionJob) -> std::result::Result<DeletionJob, ApiError> {
    match app.store.delete(&job.deletion).await {
        // Latest values are in memory: there is nothing left to carry out.
        Ok(()) if job.deletion.target == DeletionTarget::Latest => {
            change(app, job.id, DeletionStatus::Finished, None).await
        }
        Ok(()) => change(app, job.id, DeletionStatus::Running, None).await,
        Err(error) => {
            change(app, job.id, DeletionStatus::Failed, Some(error.to_string())).await?;
            Err(error.into())
        }
    }
}

async fn change(
    app: &App,
    id: i64,
    status: DeletionStatus,
    error: Option<String>,
) -> std::result::Result<DeletionJob, ApiError> {
    let now = now_micros();
    blocking(app, move |registry| registry.move_deletion(id, status, error.as_deref(), now)).await
}

/// Runs `act` where blocking is allowed.
///
/// # Errors
/// Those of `act`.
pub async fn blocking<T: Send + 'static>(
    app: &App,
    act: impl FnOnce(&Registry) -> std::result::Result<T, RegistryError> + Send + 'static,
) -> std::result::Result<T, ApiError> {
    let registry = app.registry.clone();
    Ok(tokio::task::spawn_blocking(move || act(&registry)).await.map_err(panicked)??)
}

/// Fails the jobs that the last stop met before they were in force.
///
/// # Errors
/// Where the registry cannot be changed.
pub fn fail_interrupted(registry: &Registry) -> Result<()> {
    let failed = |e: RegistryError| Error::failed(format!("deletion jobs: {e}"));
    for job in registry.open_deletion_jobs().map_err(failed)? {
        if job.status == DeletionStatus::Submitted {
            let why = "the server stopped before it was in force everywhere; submit it again";
            registry
                .move_deletion(job.id, DeletionStatus::Failed, Some(why), now_micros())
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// Marks running jobs as finished when they are carried out, until `stop`.
pub async fn watch(app: Arc<App>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let (registry, store) = (app.registry.clone(), app.store.clone());
        let looked = tokio::task::spawn_blocking(move || finish_carried_out(&registry, &store)).await;
        if let Ok(Err(error)) = looked {
            tracing::warn!(%error, "deletion jobs could not be looked after; it will be tried again");
        }
    }
}

fn finish_carried_out(registry: &Registry, store: &Store) -> std::result::Result<(), RegistryError> {
    let jobs = registry.open_deletion_jobs()?;
    let running = jobs.iter().filter(|job| job.status == DeletionStatus::Running);
    let mut running = running.peekable();
    if running.peek().is_none() {
        return Ok(());
    }
    let pending = store.pending_deletions();
    for job in running {
        if !pending.iter().any(|p| is_part_of(p, &job.deletion)) {
            registry.move_deletion(job.id, DeletionStatus::Finished, None, now_micros())?;
        }
    }
    Ok(())
}

/// Whether `pending` may be what a shard keeps of `deletion`: the same, with the shard's assets.
fn is_part_of(pending: &PendingDeletion, deletion: &Deletion) -> bool {
    let p = &pending.deletion;
    let assets = match (&p.assets, &deletion.assets) {
        (None, None) => true,
        (Some(part), Some(all)) => part.iter().all(|asset| all.binary_search(asset).is_ok()),
        _ => false,
    };
    assets && (p.model, &p.points, p.range) == (deletion.model, &deletion.points, deletion.range)
}

fn now_micros() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
