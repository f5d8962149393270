//! Deleting what is known of a point beside its history (data service §2.16, `data/meta-delete`).
//!
//! Owns: when that is allowed and what it means here. Does not own: submitting the job (`server`), deleting (`storage`).
//!
//! A point's definition belongs to its model and stays: its number is never given to another point. What goes is what the
//! store still holds of it: newest values and last changes, of all assets. The preconditions are those documented: no
//! policy names the point, its history is deleted, and nothing arrives any more.

use wattline_model::{Deletion, DeletionTarget, TimeRange};
use wattline_registry::{Reach, Right};
use wattline_storage::ScanRequest;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::STILL_ARRIVING_MICROS;
use crate::params::Params;
use crate::selection::asked_model;
use crate::service::{Call, DataService};

/// Whether a deletion is one of these: everything that is newest of one point.
pub(crate) fn is_meta(deletion: &Deletion) -> bool {
    deletion.target == DeletionTarget::Latest
        && deletion.assets.is_none()
        && deletion.points.as_ref().is_some_and(|points| points.len() == 1)
}

impl DataService {
    /// The job that `data/meta-delete` submits. Reads history.
    ///
    /// # Errors
    /// As [`DataService::read`]; `Invalid` where a precondition does not hold.
    pub fn metadata_to_delete(&self, params: &Params, call: &Call<'_>) -> Result<Deletion> {
        let asked = self.ask(params, call)?;
        params.required("modelId")?;
        let model = asked_model(&asked, Right::Write)?.ok_or_else(|| Error::required("modelId"))?;
        // It is about all assets of the model.
        if asked.caller.reach(Right::Write, &model) != Reach::All {
            return Err(Error::new(ErrorKind::ModelDenied, format!("[{}] permission denied!", model.key)));
        }
        let key = params.required("pointId")?;
        let point = model.point_by_key(key);
        let point = point.ok_or_else(|| Error::invalid(format!("pointId: {key} is not in the model")))?;
        for group in asked.registry.policy_groups(asked.org).iter() {
            let named = group
                .policies
                .iter()
                .find(|policy| policy.points.iter().any(|p| (p.model, p.point) == (model.id, point.id)));
            if let Some(policy) = named {
                return Err(Error::invalid(format!(
                    "pointId: {key} is still stored as {} by policy group {}; remove it from the policy first",
                    policy.storage.name(),
                    group.name
                )));
            }
        }
        let kind = point.data_type.kind();
        let since = asked.now_micros.saturating_sub(STILL_ARRIVING_MICROS);
        let newest = asked.store.latest_rows(model.id, &[(point.id, kind)]);
        let column = &newest.columns[0];
        let arrives =
            (0..newest.assets.len()).any(|row| column.presence.get(row) && column.times[row].0 > since);
        if arrives {
            let minutes = STILL_ARRIVING_MICROS / 60_000_000;
            let why =
                format!("pointId: samples of {key} still arrive, the last one within {minutes} minutes");
            return Err(Error::invalid(why));
        }
        let snapshot = asked.store.snapshot();
        for table in [model.id, model.id.by_minute()] {
            let request = ScanRequest {
                model: table,
                points: vec![(point.id, kind)],
                assets: None,
                range: TimeRange::ALL,
                every_row: false,
                batch_rows: 1,
            };
            for scan in snapshot.scan(&request) {
                for batch in scan {
                    if (asked.stopped)() {
                        return Err(Error::stopped("the call was given up or took too long"));
                    }
                    if !batch?.times.is_empty() {
                        let why = "has history; delete it first (data/tsdb-delete)";
                        return Err(Error::invalid(format!("pointId: {key} {why}")));
                    }
                }
            }
        }
        let (target, points) = (DeletionTarget::Latest, Some(vec![point.id]));
        Ok(Deletion { target, model: model.id, points, assets: None, range: TimeRange::ALL })
    }
}
