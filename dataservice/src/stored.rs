//! Where a point's history is, and of which storage type it is.
//!
//! Owns: what each operation may read of a point (data service §2, *Reads*). Does not own: policies (`registry`).
//!
//! The policy of now decides. A model that belongs to no policy group keeps every sample as it is sent, unless the
//! operator wants latest values only; its points are then of the storage type of their signal type, and a measured
//! point's samples stand for its minute values, too.

use std::sync::Arc;

use parking_lot::Mutex;
use wattline_model::{Model, ModelId, Point, Policies, StorageType};
use wattline_registry::Registry;

/// The policies in force, kept until the registry changes.
pub(crate) struct InForce {
    others_latest_only: bool,
    known: Mutex<Option<(u64, Arc<Policies>)>>,
}

impl InForce {
    pub(crate) fn new(others_latest_only: bool) -> InForce {
        InForce { others_latest_only, known: Mutex::new(None) }
    }

    pub(crate) fn get(&self, registry: &Registry) -> Arc<Policies> {
        let version = registry.version();
        if let Some((of, policies)) = &*self.known.lock()
            && *of == version
        {
            return Arc::clone(policies);
        }
        let policies = Arc::new(registry.policies(self.others_latest_only));
        *self.known.lock() = Some((version, Arc::clone(&policies)));
        policies
    }
}

/// The table with what is stored of `point` as `storage`; `None` where it is not stored so.
pub(crate) fn table(
    policies: &Policies,
    model: &Model,
    point: &Point,
    storage: StorageType,
) -> Option<ModelId> {
    if storage.signal().is_some_and(|signal| signal != point.signal) {
        return None;
    }
    let Some(policy) = policies.of(model.id) else { return Some(model.id) };
    let policy = policy.point(point.id);
    match storage {
        StorageType::AiNormalized => policy.normalized.then(|| model.id.by_minute()),
        StorageType::LastChanged => policy.last_changed.then_some(model.id),
        _ => policy.history.map(|_| model.id),
    }
}

/// The table with the samples of `point` as they are, of whatever type: minute values only where nothing else is
/// stored.
pub(crate) fn raw_table(policies: &Policies, model: &Model, point: &Point) -> Option<ModelId> {
    let Some(policy) = policies.of(model.id) else { return Some(model.id) };
    let policy = policy.point(point.id);
    match (policy.history, policy.normalized) {
        (Some(_), _) => Some(model.id),
        (None, true) => Some(model.id.by_minute()),
        (None, false) => None,
    }
}

/// The storage types of a point, as the policy API names them (data service §3.9).
pub(crate) fn types(policies: &Policies, model: &Model, point: &Point) -> Vec<StorageType> {
    let stored = |storage: &StorageType| match policies.of(model.id) {
        // Outside policy groups there are no minute values and no last changes.
        None => !matches!(storage, StorageType::AiNormalized | StorageType::LastChanged),
        Some(_) => true,
    };
    let types = StorageType::ALL.into_iter().filter(stored);
    types.filter(|&storage| table(policies, model, point, storage).is_some()).collect()
}
