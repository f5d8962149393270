//! Deletion jobs: what was asked to be deleted, by whom, and what became of it.
//!
//! Owns: the jobs and their states. Does not own: deleting (`storage`), watching until it is carried out (`server`).
//!
//! Jobs are read from the file each time: they are few and asked for by people.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};
use wattline_model::{AssetId, Deletion, DeletionTarget, ModelId, PointId, TimeRange, Timestamp};

use crate::Registry;
use crate::cache::Edit;
use crate::error::Error;

/// Jobs that are kept: the oldest finished or failed ones beyond go. An audit of years, at some per day.
pub const DELETION_JOBS_MAX: u32 = 10_000;

/// What became of a deletion job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionStatus {
    /// Accepted; not in force yet.
    Submitted,
    /// In force: nobody sees the samples any more. Their room is being given back.
    Running,
    /// Carried out: nothing of it is on disk any more.
    Finished,
    /// Not or not wholly in force; the job says why. To be resubmitted.
    Failed,
}

impl DeletionStatus {
    /// Its name in the APIs.
    pub fn name(self) -> &'static str {
        match self {
            DeletionStatus::Submitted => "submitted",
            DeletionStatus::Running => "running",
            DeletionStatus::Finished => "finished",
            DeletionStatus::Failed => "failed",
        }
    }

    fn named(name: &str) -> Option<DeletionStatus> {
        use DeletionStatus::{Failed, Finished, Running, Submitted};
        [Submitted, Running, Finished, Failed].into_iter().find(|status| status.name() == name)
    }
}

/// A deletion job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionJob {
    /// Its number, from 1.
    pub id: i64,
    /// What it deletes.
    pub deletion: Deletion,
    /// Who asked for it.
    pub operator: String,
    /// What became of it.
    pub status: DeletionStatus,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was submitted, the last time, microseconds since the epoch.
    pub submitted_micros: i64,
    /// When it finished or failed.
    pub ended_micros: Option<i64>,
}

const COLUMNS: &str = "id, model, target, points, assets, start_micros, end_micros, operator, status, error, \
                       submitted_micros, ended_micros";

impl Registry {
    /// Notes a new job as submitted.
    ///
    /// # Errors
    /// `Input` where the deletion is not well-formed, `Io` where the file cannot be written.
    pub fn submit_deletion(
        &self,
        deletion: Deletion,
        operator: &str,
        now_micros: i64,
    ) -> Result<DeletionJob, Error> {
        deletion.check().map_err(|e| Error::input("deletion", "assets, points", e.to_string()))?;
        self.change(|transaction, _| {
            let id = insert(transaction, &deletion, operator, now_micros)?;
            let job = DeletionJob {
                id,
                deletion,
                operator: operator.to_owned(),
                status: DeletionStatus::Submitted,
                error: None,
                submitted_micros: now_micros,
                ended_micros: None,
            };
            Ok((job, Edit::Uncached))
        })
    }

    /// Moves a job to another state; `error` says why where that is [`DeletionStatus::Failed`]. Moving it back to
    /// [`DeletionStatus::Submitted`] submits it again, now.
    ///
    /// # Errors
    /// `NotFound` where there is no such job.
    pub fn move_deletion(
        &self,
        id: i64,
        status: DeletionStatus,
        error: Option<&str>,
        now_micros: i64,
    ) -> Result<DeletionJob, Error> {
        self.change(|transaction, _| {
            let act = |e| Error::sqlite("change a deletion job", e);
            let ended =
                matches!(status, DeletionStatus::Finished | DeletionStatus::Failed).then_some(now_micros);
            let submitted = (status == DeletionStatus::Submitted).then_some(now_micros);
            transaction
                .execute(
                    "UPDATE deletion_jobs SET status = ?2, error = ?3, ended_micros = ?4, \
                     submitted_micros = coalesce(?5, submitted_micros) WHERE id = ?1",
                    (id, status.name(), error, ended, submitted),
                )
                .map_err(act)?;
            let job = read_one(transaction, id)?.ok_or_else(|| not_found(id))?;
            Ok((job, Edit::Uncached))
        })
    }

    /// The job with this number.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub fn deletion_job(&self, id: i64) -> Result<DeletionJob, Error> {
        read_one(&self.inner.writer.lock().connection, id)?.ok_or_else(|| not_found(id))
    }

    /// Jobs, the newest first, from number `offset` of that order on.
    ///
    /// # Errors
    /// `Io` where the file cannot be read.
    pub fn deletion_jobs(&self, offset: u32, limit: u32) -> Result<Vec<DeletionJob>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM deletion_jobs ORDER BY id DESC LIMIT ?1 OFFSET ?2");
        read_all(&self.inner.writer.lock().connection, &sql, [limit, offset])
    }

    /// Jobs that are submitted or running, oldest first.
    ///
    /// # Errors
    /// `Io` where the file cannot be read.
    pub fn open_deletion_jobs(&self) -> Result<Vec<DeletionJob>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM deletion_jobs WHERE status IN ('submitted', 'running') ORDER BY id LIMIT ?1"
        );
        read_all(&self.inner.writer.lock().connection, &sql, [u32::MAX])
    }
}

fn not_found(id: i64) -> Error {
    Error::not_found(format!("deletion job {id}"))
}

fn insert(
    transaction: &Transaction<'_>,
    deletion: &Deletion,
    operator: &str,
    now_micros: i64,
) -> Result<i64, Error> {
    let act = |e| Error::sqlite("submit a deletion job", e);
    let numbers = |list: Option<Vec<u32>>| list.map(|list| serde_json::Value::from(list).to_string());
    let points = deletion.points.as_ref().map(|list| list.iter().map(|p| p.0).collect());
    let assets = deletion.assets.as_ref().map(|list| list.iter().map(|a| a.0).collect());
    transaction
        .execute(
            "INSERT INTO deletion_jobs (model, target, points, assets, start_micros, end_micros, operator, status, \
             submitted_micros) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            (
                deletion.model.0,
                target_name(deletion.target),
                numbers(points),
                numbers(assets),
                deletion.range.start.0,
                deletion.range.end.0,
                operator,
                DeletionStatus::Submitted.name(),
                now_micros,
            ),
        )
        .map_err(act)?;
    let id = transaction.last_insert_rowid();
    transaction
        .execute(
            "DELETE FROM deletion_jobs WHERE status IN ('finished', 'failed') AND id <= ?1",
            [id - i64::from(DELETION_JOBS_MAX)],
        )
        .map_err(act)?;
    Ok(id)
}

/// The name of a target in the file and in the APIs.
pub fn target_name(target: DeletionTarget) -> &'static str {
    match target {
        DeletionTarget::History => "history",
        DeletionTarget::Latest => "latest",
    }
}

fn read_one(connection: &Connection, id: i64) -> Result<Option<DeletionJob>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM deletion_jobs WHERE id = ?1");
    let act = |e| Error::sqlite("read a deletion job", e);
    let mut statement = connection.prepare(&sql).map_err(act)?;
    statement.query_row([id], |row| Ok(job(row))).optional().map_err(act)?.transpose()
}

fn read_all<const N: usize>(
    connection: &Connection,
    sql: &str,
    params: [u32; N],
) -> Result<Vec<DeletionJob>, Error> {
    let act = |e| Error::sqlite("read deletion jobs", e);
    let mut statement = connection.prepare(sql).map_err(act)?;
    let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(act)?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next().map_err(act)? {
        jobs.push(job(row)?);
    }
    Ok(jobs)
}

fn job(row: &Row<'_>) -> Result<DeletionJob, Error> {
    let act = |e| Error::sqlite("read a deletion job", e);
    let id: i64 = row.get(0).map_err(act)?;
    let wrong = |field: &str, what: &str| Error::damaged("deletion_jobs", id, field, what.to_owned());
    let numbers = |column: usize, field: &str| -> Result<Option<Vec<u32>>, Error> {
        let text: Option<String> = row.get(column).map_err(act)?;
        let parse =
            |text: String| serde_json::from_str(&text).map_err(|_| wrong(field, "is no list of numbers"));
        text.map(parse).transpose()
    };
    let target: String = row.get(2).map_err(act)?;
    let target =
        [DeletionTarget::History, DeletionTarget::Latest].into_iter().find(|t| target_name(*t) == target);
    let status: String = row.get(8).map_err(act)?;
    let deletion = Deletion {
        model: ModelId(row.get(1).map_err(act)?),
        target: target.ok_or_else(|| wrong("target", "is unknown"))?,
        points: numbers(3, "points")?.map(|list| list.into_iter().map(PointId).collect()),
        assets: numbers(4, "assets")?.map(|list| list.into_iter().map(AssetId).collect()),
        range: TimeRange::new(Timestamp(row.get(5).map_err(act)?), Timestamp(row.get(6).map_err(act)?)),
    };
    Ok(DeletionJob {
        id,
        deletion,
        operator: row.get(7).map_err(act)?,
        status: DeletionStatus::named(&status).ok_or_else(|| wrong("status", "is unknown"))?,
        error: row.get(9).map_err(act)?,
        submitted_micros: row.get(10).map_err(act)?,
        ended_micros: row.get(11).map_err(act)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_moves_through_its_states_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.db");
        let deletion = Deletion {
            target: DeletionTarget::History,
            model: ModelId(3),
            points: Some(vec![PointId(0), PointId(7)]),
            assets: None,
            range: TimeRange::new(Timestamp(i64::MIN), Timestamp(5)),
        };
        let registry = Registry::open(&path).unwrap();
        let job = registry.submit_deletion(deletion.clone(), "api", 100).unwrap();
        assert_eq!((job.id, job.status), (1, DeletionStatus::Submitted));
        let second = registry.submit_deletion(deletion, "api", 101).unwrap();
        registry.move_deletion(second.id, DeletionStatus::Running, None, 102).unwrap();
        let failed = registry.move_deletion(job.id, DeletionStatus::Failed, Some("disk full"), 110).unwrap();
        assert_eq!((failed.ended_micros, failed.error.as_deref()), (Some(110), Some("disk full")));
        drop(registry);

        let registry = Registry::open(&path).unwrap();
        assert_eq!(registry.deletion_job(job.id).unwrap(), failed);
        assert_eq!(registry.deletion_jobs(0, 10).unwrap().iter().map(|j| j.id).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(registry.open_deletion_jobs().unwrap().iter().map(|j| j.id).collect::<Vec<_>>(), [2]);
        let again = registry.move_deletion(job.id, DeletionStatus::Submitted, None, 120).unwrap();
        assert_eq!((again.submitted_micros, again.ended_micros, again.error), (120, None, None));
        assert_eq!(again.deletion, job.deletion);
        let error = registry.deletion_job(99).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound);
    }

    #[test]
    fn a_copy_of_the_registry_is_a_registry() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry.db")).unwrap();
        registry.create_org(crate::NewOrg { key: "north".to_owned(), name: String::new() }).unwrap();
        let copy = dir.path().join("copy.db");
        registry.copy_to(&copy).unwrap();
        assert!(registry.copy_to(&copy).is_err(), "nothing is overwritten");
        let other = Registry::open(&copy).unwrap();
        assert_eq!(other.orgs(), registry.orgs());
    }
}
