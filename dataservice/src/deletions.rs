//! Deletions as the data service has them (data service §2.15, §2.16): what is asked for, and how jobs are told.
//!
//! Owns: parameters to a [`Deletion`], jobs to JSON, whose jobs a caller sees. Does not own: submitting a job and its
//! life (`server`), deleting (`storage`).

use serde_json::{Value as Json, json};
use wattline_model::{AssetId, Deletion, DeletionTarget, PointId, TimeRange, Timestamp};
use wattline_registry::{DeletionJob, DeletionStatus, Reach, Registry, Right};

use crate::answer::success;
use crate::error::{Error, Result};
use crate::limits::JOBS_PAGE_MAX;
use crate::meta::is_meta;
use crate::params::{Params, Version, split_list};
use crate::selection::{Selection, Unknown, asked_model};
use crate::service::{Asked, Call, DataService};

/// Deletions to submit, and what to answer when they are in force.
#[derive(Clone, Debug)]
pub struct Planned {
    /// One for each model.
    pub deletions: Vec<Deletion>,
    /// Assets that were asked for and are not the caller's.
    refused: Vec<String>,
}

impl Planned {
    /// The body of the answer once all are in force.
    pub fn answer(&self, version: Version) -> Vec<u8> {
        success(version, b"null", &self.refused)
    }
}

impl DataService {
    /// What `latest?action=delete` deletes (§2.15).
    ///
    /// # Errors
    /// As [`DataService::read`].
    pub fn latest_to_delete(&self, params: &Params, call: &Call<'_>) -> Result<Planned> {
        let asked = self.ask(params, call)?;
        let points = params.list(params.version().points())?;
        let selection = Selection::read(&asked, Right::Write, &points, Unknown::Refuse)?;
        let mut deletions = Vec::new();
        for (place, part) in selection.models.iter().enumerate() {
            let points = (0..points.len()).filter_map(|p| part.point(p)).map(|point| point.id);
            let assets = selection.assets.iter().filter(|asset| asset.model == place);
            let points: Vec<PointId> = sorted(points.collect());
            if points.is_empty() {
                continue;
            }
            deletions.push(Deletion {
                target: DeletionTarget::Latest,
                model: part.model.id,
                points: Some(points),
                assets: Some(sorted(assets.map(|asset| asset.device.asset).collect())),
                range: TimeRange::ALL,
            });
        }
        Ok(Planned { deletions, refused: selection.refused })
    }

    /// The job that `data/tsdb-delete` submits.
    ///
    /// # Errors
    /// As [`DataService::read`].
    pub fn history_to_delete(&self, params: &Params, call: &Call<'_>) -> Result<Deletion> {
        let asked = self.ask(params, call)?;
        params.required("modelId")?;
        let model = asked_model(&asked, Right::Write)?;
        let model = model.ok_or_else(|| Error::required("modelId"))?;
        // A sample of the documentation writes `pointIds`.
        let points = params.text("pointId").or_else(|| params.text("pointIds")).map(split_list);
        let ids = |keys: Vec<&str>| {
            let id = |key: &str| {
                let unknown = || Error::invalid(format!("pointId: {key} is not in the model"));
                model.point_by_key(key).map(|point| point.id).ok_or_else(unknown)
            };
            keys.into_iter().map(id).collect::<Result<Vec<PointId>>>()
        };
        let points = points.map(ids).transpose()?.map(sorted);
        if points.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::required("pointId"));
        }
        let assets = params.list("assetIds")?;
        let asset = |key: &&str| -> Result<AssetId> {
            let device = asked.asset(Right::Write, key);
            let device = device.ok_or_else(Error::unauthorized)?;
            if device.model != model.id {
                return Err(Error::invalid(format!("assetIds: {key} is not of model {}", model.key)));
            }
            Ok(device.asset)
        };
        let assets = sorted(assets.iter().map(asset).collect::<Result<Vec<_>>>()?);
        let range = TimeRange::new(millis(params, "startTime")?, millis(params, "endTime")?);
        if range.is_empty() {
            return Err(Error::invalid("endTime is not after startTime"));
        }
        let target = DeletionTarget::History;
        let deletion = Deletion { target, model: model.id, points, assets: Some(assets), range };
        deletion.check().map_err(|e| Error::invalid(e.to_string()))?;
        Ok(deletion)
    }

    /// The body of the answer once the job with this number is submitted.
    pub fn submitted(&self, version: Version, job: i64) -> Vec<u8> {
        success(version, job.to_string().as_bytes(), &[])
    }

    /// The number of the job that `data/resubmit` is about, which is the caller's.
    ///
    /// # Errors
    /// As [`DataService::read`].
    pub fn job_to_resubmit(&self, params: &Params, call: &Call<'_>) -> Result<i64> {
        let asked = self.ask(params, call)?;
        let id = match (params.int("JobId")?, params.int("jobId")?) {
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => return Err(Error::required("JobId")),
        };
        job_of(&asked, Right::Write, id).map(|job| job.id)
    }

    /// The body of the answer to `data/delete-detail`. Reads the registry's file.
    ///
    /// # Errors
    /// As [`DataService::read`].
    pub fn deletion_details(&self, params: &Params, call: &Call<'_>) -> Result<Vec<u8>> {
        let asked = self.ask(params, call)?;
        let page = params.int_within("pageNo", 1, 1, i64::from(u32::MAX))?;
        let size = params.int_within("pageSize", 10, 1, i64::from(JOBS_PAGE_MAX))?;
        let id = match params.int("id")? {
            Some(id) => Some(id),
            None => params.int("queryId")?,
        };
        let jobs = match id {
            Some(id) => vec![job_of(&asked, Right::Read, id)?],
            None => jobs(&asked)?,
        };
        let skipped = usize::try_from((page - 1) * size).unwrap_or(usize::MAX);
        let list: Vec<Json> =
            jobs.iter().skip(skipped).take(size as usize).map(|job| job_json(asked.registry, job)).collect();
        let data = json!({"total": jobs.len(), "pageNum": page, "pageSize": size, "list": list});
        Ok(success(asked.version(), data.to_string().as_bytes(), &[]))
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

/// Milliseconds since the epoch.
fn millis(params: &Params, name: &str) -> Result<Timestamp> {
    let ms = params.int(name)?.ok_or_else(|| Error::required(name))?;
    Timestamp::from_millis(ms).ok_or_else(|| Error::invalid(format!("{name}: {ms} is beyond all time")))
}

/// Whether a job is about history or metadata of the organization, and all the assets it is about may be used so.
fn is_own(asked: &Asked<'_>, right: Right, deletion: &Deletion) -> bool {
    let model = asked.registry.model(deletion.model);
    let Some(model) = model.filter(|model| model.org == asked.org) else { return false };
    let may =
        |asset: &AssetId| asked.registry.asset(*asset).is_some_and(|device| asked.caller.may(right, &device));
    (deletion.target == DeletionTarget::History || is_meta(deletion))
        && match &deletion.assets {
            None => asked.caller.reach(right, &model) == Reach::All,
            Some(assets) => assets.iter().all(may),
        }
}

/// A job that is the caller's; another one does not exist for it.
fn job_of(asked: &Asked<'_>, right: Right, id: i64) -> Result<DeletionJob> {
    let unknown = || Error::invalid(format!("deletion job {id} does not exist"));
    let job = match asked.registry.deletion_job(id) {
        Err(e) if e.kind() == wattline_registry::ErrorKind::NotFound => return Err(unknown()),
        job => job?,
    };
    if is_own(asked, right, &job.deletion) { Ok(job) } else { Err(unknown()) }
}

/// The jobs that the caller sees, newest first. The registry keeps a bounded number of them.
fn jobs(asked: &Asked<'_>) -> Result<Vec<DeletionJob>> {
    let mut found = Vec::new();
    let mut offset = 0;
    loop {
        let page = asked.registry.deletion_jobs(offset, JOBS_PAGE_MAX)?;
        let last = page.len() < JOBS_PAGE_MAX as usize;
        found.extend(page.into_iter().filter(|job| is_own(asked, Right::Read, &job.deletion)));
        if last {
            return Ok(found);
        }
        offset += JOBS_PAGE_MAX;
    }
}

fn job_json(registry: &Registry, job: &DeletionJob) -> Json {
    let deletion = &job.deletion;
    let model = registry.model(deletion.model);
    let points = deletion.points.as_ref().map(|points| {
        let key = |id: &PointId| model.as_ref().and_then(|m| m.point(*id)).map(|point| point.key.as_str());
        points.iter().filter_map(key).collect::<Vec<_>>().join(",")
    });
    let assets = deletion.assets.as_ref().map(|assets| {
        let key = |id: &AssetId| registry.asset(*id).map(|device| device.asset_key.to_string());
        assets.iter().filter_map(key).collect::<Vec<_>>().join(",")
    });
    // 3 and 4, suspended and canceled, are states that no job gets into here.
    let status = match job.status {
        DeletionStatus::Submitted => 0,
        DeletionStatus::Running => 1,
        DeletionStatus::Finished => 2,
        DeletionStatus::Failed => 5,
    };
    json!({
        "id": job.id,
        "status": status,
        "modelId": model.as_ref().map(|model| model.key.as_str()),
        "assetIds": assets,
        "measurement": points,
        "startTime": deletion.range.start.millis(),
        "endTime": deletion.range.end.millis(),
        "launchTime": job.submitted_micros.div_euclid(1_000),
        "finishTime": job.ended_micros.map(|micros| micros.div_euclid(1_000)),
        "operator": job.operator,
    })
}
