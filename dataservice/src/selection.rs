//! Which assets and points a call is about.
//!
//! Owns: resolving names, what the caller may see, the limit of assets × points. Does not own: what is read of them.
//!
//! An asset that does not exist and one that the caller has no right to are the same to the caller: nobody learns what
//! is in another organization, or beyond what was granted.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use wattline_model::{Model, ModelId, OrgId, Point};
use wattline_registry::{Device, Permissions, Reach, Registry, Right};

use crate::error::{Error, ErrorKind, Result};
use crate::limits::COMBINATIONS_MAX;
use crate::params::Params;
use crate::service::Asked;
use crate::time::Zones;

/// Who calls, and so what it may do.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Everything in every organization: the operator, or anybody where nobody must sign.
    Operator,
    /// What was granted to a service account, in its organization.
    Account(OrgId, Arc<Permissions>),
}

impl Caller {
    /// Whoever may do everything in one organization and nothing in others.
    pub fn of_organization(org: OrgId) -> Caller {
        Caller::Account(org, Arc::new(Permissions::of_organization(org)))
    }

    /// Whether an asset may be used so.
    pub fn may(&self, right: Right, device: &Device) -> bool {
        match self {
            Caller::Operator => true,
            Caller::Account(_, permissions) => permissions.may(right, device),
        }
    }

    /// How much of a model may be used so.
    pub(crate) fn reach(&self, right: Right, model: &Model) -> Reach {
        match self {
            Caller::Operator => Reach::All,
            Caller::Account(_, permissions) => permissions.reach(right, model),
        }
    }
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
pub(crate) fn organization(registry: &Registry, params: &Params, caller: &Caller) -> Result<OrgId> {
    let key = params.required("orgId")?;
    let org = registry.org_by_key(key).map(|org| org.id);
    let is_own = |org: &OrgId| match caller {
        Caller::Operator => true,
        Caller::Account(own, _) => own == org,
    };
    org.filter(is_own).ok_or_else(Error::unauthorized)
}

impl Selection {
    /// The assets of `assetIds` that may be used so, and these points of them.
    pub(crate) fn read(
        asked: &Asked<'_>,
        right: Right,
        points: &[&str],
        unknown: Unknown,
    ) -> Result<Selection> {
        let params = asked.params;
        let keys = params.list("assetIds")?;
        let combinations = keys.len().saturating_mul(points.len());
        if combinations > COMBINATIONS_MAX {
            return Err(Error::invalid(format!(
                "assetIds size × {} size is too large to query: {combinations} combinations, at most \
                 {COMBINATIONS_MAX} are allowed",
                params.version().points()
            )));
        }
        Selection::resolve(asked, right, &keys, points, unknown)
    }

    /// As [`Selection::read`], without a limit.
    pub(crate) fn resolve(
        asked: &Asked<'_>,
        right: Right,
        keys: &[&str],
        points: &[&str],
        unknown: Unknown,
    ) -> Result<Selection> {
        let (registry, params) = (asked.registry, asked.params);
        let within = asked_model(asked, right)?;
        let mut selection = Selection {
            assets: Vec::with_capacity(keys.len()),
            refused: Vec::new(),
            points: points.iter().map(|&point| point.to_owned()).collect(),
            models: Vec::new(),
            zones: Zones::default(),
        };
        let mut places: FxHashMap<ModelId, usize> = FxHashMap::default();
        for &key in keys {
            let Some(device) = asked.asset(right, key) else {
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
pub(crate) fn asked_model(asked: &Asked<'_>, right: Right) -> Result<Option<Arc<Model>>> {
    asked.params.text("modelId").map(|key| asked.model(right, key)).transpose()
}

impl Asked<'_> {
    /// The asset with this key, where it may be used so.
    pub(crate) fn asset(&self, right: Right, key: &str) -> Option<Arc<Device>> {
        let device = self.registry.asset_by_key(key)?;
        (device.org == self.org && self.caller.may(right, &device)).then_some(device)
    }

    /// The model with this key, where it or one that inherits from it has an asset that may be used so.
    pub(crate) fn model(&self, right: Right, key: &str) -> Result<Arc<Model>> {
        let model = self.registry.model_by_key(self.org, key);
        let model = model.filter(|model| self.reaches(right, model));
        model.ok_or_else(|| Error::new(ErrorKind::ModelDenied, format!("[{key}] permission denied!")))
    }

    fn reaches(&self, right: Right, model: &Model) -> bool {
        let reached = |model: &Model| self.caller.reach(right, model) != Reach::None;
        if reached(model) {
            return true;
        }
        let models = self.registry.models();
        models
            .iter()
            .any(|other| other.org == model.org && is_or_inherits(other, &model.key) && reached(other))
    }
}

/// Whether `model` is the one called `key` or inherits from it.
pub(crate) fn is_or_inherits(model: &Model, key: &str) -> bool {
    model.key == key || model.path.split('/').any(|part| part == key)
}
