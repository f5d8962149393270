//! Which assets and points a call is about.
//!
//! Owns: resolving names, what the caller may see, the limit of assets × points. Does not own: what is read of them.
//!
//! An asset that does not exist and one that is not the caller's are the same to the caller: nobody learns what is in
//! another organization.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use wattline_model::{Model, ModelId, OrgId, Point};
use wattline_registry::{Device, Registry};

use crate::error::{Error, ErrorKind, Result};
use crate::limits::COMBINATIONS_MAX;
use crate::params::Params;
use crate::time::Zones;

/// Whose data a call may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Every organization's: the operator, or anybody where nobody must sign.
    Operator,
    /// One organization's: a service account.
    Organization(OrgId),
}

/// What a call is about.
pub(crate) struct Selection {
    /// In the order of the request.
    pub(crate) assets: Vec<Asset>,
    /// What was asked for and is not the caller's, as it was written.
    pub(crate) refused: Vec<String>,
    /// The points asked for, as they were written.
    pub(crate) points: Vec<String>,
    /// The models of the assets.
    pub(crate) models: Vec<ModelPart>,
    pub(crate) zones: Zones,
}

/// An asset of a [`Selection`].
pub(crate) struct Asset {
    pub(crate) device: Arc<Device>,
    /// Its place in [`Selection::models`].
    pub(crate) model: usize,
    /// The number of its zone.
    pub(crate) zone: usize,
}

/// A model of a [`Selection`].
pub(crate) struct ModelPart {
    pub(crate) model: Arc<Model>,
    /// For each point asked for, its number in the model.
    points: Vec<Option<usize>>,
}

impl ModelPart {
    /// Point `i` of those asked for, where the model has it.
    pub(crate) fn point(&self, i: usize) -> Option<&Point> {
        self.points[i].map(|place| &self.model.points[place])
    }
}

/// What to do about points that no model has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Refuse,
    /// They may be in unformatted data.
    Keep,
}

/// The organization of a call: `orgId`, which must be the caller's.
pub(crate) fn organization(registry: &Registry, params: &Params, caller: Caller) -> Result<OrgId> {
    let key = params.required("orgId")?;
    let org = registry.org_by_key(key).map(|org| org.id);
    let org = org.filter(|&org| caller == Caller::Operator || caller == Caller::Organization(org));
    org.ok_or_else(Error::unauthorized)
}

impl Selection {
    /// The assets of `assetIds` and these points of them.
    pub(crate) fn read(
        registry: &Registry,
        params: &Params,
        org: OrgId,
        points: &[&str],
        unknown: Unknown,
    ) -> Result<Selection> {
        let keys = params.list("assetIds")?;
        let combinations = keys.len().saturating_mul(points.len());
        if combinations > COMBINATIONS_MAX {
            return Err(Error::invalid(format!(
                "assetIds size × {} size is too large to query: {combinations} combinations, at most \
                 {COMBINATIONS_MAX} are allowed",
                params.version().points()
            )));
        }
        Selection::resolve(registry, params, org, &keys, points, unknown)
    }

    /// As [`Selection::read`], without a limit.
    pub(crate) fn resolve(
        registry: &Registry,
        params: &Params,
        org: OrgId,
        keys: &[&str],
        points: &[&str],
        unknown: Unknown,
    ) -> Result<Selection> {
        let within = asked_model(registry, params, org)?;
        let mut selection = Selection {
            assets: Vec::with_capacity(keys.len()),
            refused: Vec::new(),
            points: points.iter().map(|&point| point.to_owned()).collect(),
            models: Vec::new(),
            zones: Zones::default(),
        };
        let mut places: FxHashMap<ModelId, usize> = FxHashMap::default();
        for &key in keys {
            let Some(device) = registry.asset_by_key(key).filter(|device| device.org == org) else {
                selection.refused.push(key.to_owned());
                continue;
            };
            let model = match places.get(&device.model) {
                Some(&place) => place,
                None => {
                    let model = registry.model(device.model);
                    let model = model.ok_or_else(|| Error::internal(format!("asset {key} has no model")))?;
                    let place = selection.add_model(model);
                    places.insert(device.model, place);
                    place
                }
            };
            if let Some(within) = &within
                && !is_or_inherits(&selection.models[model].model, &within.key)
            {
                return Err(Error::invalid(format!("assetIds: {key} is not of model {}", within.key)));
            }
            let zone = selection.zones.number(&device.timezone)?;
            selection.assets.push(Asset { device, model, zone });
        }
        if selection.assets.is_empty() {
            return Err(Error::unauthorized());
        }
        for (i, point) in selection.points.iter().enumerate() {
            if unknown == Unknown::Refuse && selection.models.iter().all(|model| model.points[i].is_none()) {
                let what = params.version().point();
                return Err(Error::invalid(format!("{what}: {point} is not in the model")));
            }
        }
        Ok(selection)
    }

    fn add_model(&mut self, model: Arc<Model>) -> usize {
        let number = |key: &String| model.point_by_key(key).map(|point| point.id.0 as usize);
        let points = self.points.iter().map(number).collect();
        self.models.push(ModelPart { model, points });
        self.models.len() - 1
    }

    /// The model of asset `i`.
    pub(crate) fn model_of(&self, i: usize) -> &ModelPart {
        &self.models[self.assets[i].model]
    }
}

/// The model that `modelId` restricts the call to.
pub(crate) fn asked_model(registry: &Registry, params: &Params, org: OrgId) -> Result<Option<Arc<Model>>> {
    let Some(key) = params.text("modelId") else { return Ok(None) };
    let denied = || Error::new(ErrorKind::ModelDenied, format!("[{key}] permission denied!"));
    registry.model_by_key(org, key).ok_or_else(denied).map(Some)
}

/// Whether `model` is the one called `key` or inherits from it.
pub(crate) fn is_or_inherits(model: &Model, key: &str) -> bool {
    model.key == key || model.path.split('/').any(|part| part == key)
}
