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

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wattline_model::{Deletion, DeletionTarget};
use wattline_registry::{DeletionJob, DeletionStatus, Error as RegistryError, Registry};
use wattline_storage::{PendingDeletion, Store};

use crate::error::{Error, Result};
use crate::http::error::{ApiError, ApiKind};
use crate::http::{blocking, now_micros};

/// How often it is looked whether running jobs are carried out.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Deletion jobs of one store.
pub struct Jobs {
    registry: Registry,
    store: Store,
    /// Told when a job begins to run.
    runs: Notify,
}

impl Jobs {
    /// The jobs that `registry` notes and `store` carries out.
    pub fn new(registry: Registry, store: Store) -> Jobs {
        Jobs { registry, store, runs: Notify::new() }
    }

    /// Submits a job for `operator` and brings it into force.
    ///
    /// # Errors
    /// Where the registry or the store refuses; then the job is noted as failed.
    pub async fn submit(
        &self,
        deletion: Deletion,
        operator: &str,
    ) -> std::result::Result<DeletionJob, ApiError> {
        let (registry, operator, now) = (self.registry.clone(), operator.to_owned(), now_micros());
        let job = blocking(move || registry.submit_deletion(deletion, &operator, now)).await?;
        self.bring_into_force(job).await
    }

    /// The job with this number.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn job(&self, id: i64) -> std::result::Result<DeletionJob, ApiError> {
        let registry = self.registry.clone();
        blocking(move || registry.deletion_job(id)).await
    }

    /// Submits a failed job again.
    ///
    /// # Errors
    /// `Conflict` where it has not failed, else as [`Jobs::submit`].
    pub async fn resubmit(&self, id: i64) -> std::result::Result<DeletionJob, ApiError> {
        let job = self.job(id).await?;
        if job.status != DeletionStatus::Failed {
            let what =
                format!("deletion job {id} is {}; only a failed one is submitted again", job.status.name());
            return Err(ApiError::new(ApiKind::Conflict, what));
        }
        let job = self.change(id, DeletionStatus::Submitted, None).await?;
        self.bring_into_force(job).await
    }

    async fn bring_into_force(&self, job: DeletionJob) -> std::result::Result<DeletionJob, ApiError> {
        match self.store.delete(&job.deletion).await {
            // Latest values are in memory: there is nothing left to carry out.
            Ok(()) if job.deletion.target == DeletionTarget::Latest => {
                self.change(job.id, DeletionStatus::Finished, None).await
            }
            Ok(()) => {
                let job = self.change(job.id, DeletionStatus::Running, None).await?;
                self.runs.notify_one();
                Ok(job)
            }
            Err(error) => {
                self.change(job.id, DeletionStatus::Failed, Some(error.to_string())).await?;
                Err(error.into())
            }
        }
    }

    async fn change(
        &self,
        id: i64,
        status: DeletionStatus,
        error: Option<String>,
    ) -> std::result::Result<DeletionJob, ApiError> {
        let (registry, now) = (self.registry.clone(), now_micros());
        blocking(move || registry.move_deletion(id, status, error.as_deref(), now)).await
    }
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

/// Marks running jobs as finished when they are carried out, until `stop`. While none runs it waits for one.
pub async fn watch(jobs: Arc<Jobs>, stop: CancellationToken) {
    loop {
        let (registry, store) = (jobs.registry.clone(), jobs.store.clone());
        let some_run = match blocking(move || finish_carried_out(&registry, &store)).await {
            Ok(some_run) => some_run,
            Err(error) => {
                tracing::warn!(%error, "deletion jobs could not be looked after; it will be tried again");
                true
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY), if some_run => {}
            () = jobs.runs.notified(), if !some_run => {}
        }
    }
}

/// Whether some jobs still run.
fn finish_carried_out(registry: &Registry, store: &Store) -> std::result::Result<bool, RegistryError> {
    let mut running = registry.open_deletion_jobs()?;
    running.retain(|job| job.status == DeletionStatus::Running);
    if running.is_empty() {
        return Ok(false);
    }
    let pending = store.pending_deletions();
    let mut some_run = false;
    for job in running {
        if pending.iter().any(|p| is_part_of(p, &job.deletion)) {
            some_run = true;
        } else {
            registry.move_deletion(job.id, DeletionStatus::Finished, None, now_micros())?;
        }
    }
    Ok(some_run)
}

/// Whether `pending` may be what a shard keeps of `deletion`: the same, with the shard's assets, in the model's rows or in
/// those of its minute table.
fn is_part_of(pending: &PendingDeletion, deletion: &Deletion) -> bool {
    let p = &pending.deletion;
    let assets = match (&p.assets, &deletion.assets) {
        (None, None) => true,
        (Some(part), Some(all)) => part.iter().all(|asset| all.binary_search(asset).is_ok()),
        _ => false,
    };
    let model = p.model == deletion.model || p.model == deletion.model.by_minute();
    assets && model && (&p.points, p.range) == (&deletion.points, deletion.range)
}

#[cfg(test)]
mod tests {
    use wattline_model::{AssetId, ModelId, Seqno, ShardId, TimeRange};

    use super::*;

    #[test]
    fn a_job_is_carried_out_when_its_models_minutes_are_gone_too() {
        let target = DeletionTarget::History;
        let (model, assets) = (ModelId(3), Some(vec![AssetId(1), AssetId(2)]));
        let deletion = Deletion { target, model, points: None, assets, range: TimeRange::ALL };
        let kept = |model| PendingDeletion {
            shard: ShardId(0),
            seqno: Seqno(9),
            deletion: Deletion { model, assets: Some(vec![AssetId(2)]), ..deletion.clone() },
            segments: 1,
        };
        assert!(is_part_of(&kept(model), &deletion));
        assert!(is_part_of(&kept(model.by_minute()), &deletion));
        assert!(!is_part_of(&kept(ModelId(4)), &deletion));
    }
}
