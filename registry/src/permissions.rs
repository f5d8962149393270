//! What an account may do, worked out from its grants so that asking costs no IO and next to no time.
//!
//! Owns: [`Permissions`], made once for an account and kept until grants, accounts, models or trees change. Does not own: the
//! grants ([`crate::grants`]), where they are enforced.
//!
//! An asset is asked for by what it is: of an organization, of a model, itself. So an asset that is new needs nothing to
//! be made anew. Branches of trees are the exception: their assets are written out, and a tree that changes counts as a
//! change of grants.

use std::collections::HashMap as Map;
use std::sync::Arc;

use hashbrown::HashMap;
use wattline_model::{AssetId, Model, ModelId, OrgId};

use crate::cache::Cache;
use crate::grants::{Granted, Holder, HolderKind, Right, Rights, Scope};
use crate::{Device, Registry};

/// Accounts whose permissions are kept; beyond, all are worked out again when they are asked for.
const KEPT_MAX: usize = 4_096;

/// Assets in all permissions that are kept, at some 16 bytes each: twenty accounts with the largest tree there may be.
const KEPT_ASSETS_MAX: usize = 4_000_000;

/// What an account may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// On everything there is.
    everywhere: Rights,
    orgs: Vec<(OrgId, Rights)>,
    /// Models that were granted, and those that inherit from them.
    models: HashMap<ModelId, Rights>,
    assets: HashMap<AssetId, Rights>,
    /// Of models some of whose assets were granted.
    within: HashMap<ModelId, Rights>,
    /// Of organizations in which anything was granted.
    inside: HashMap<OrgId, Rights>,
}

/// How much of a table or a model an account reaches with a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every asset, those to come as well.
    All,
    /// Some assets: each has to be asked for.
    Some,
    /// None.
    None,
}

impl Permissions {
    /// Every right on everything.
    pub fn everything() -> Permissions {
        Permissions { everywhere: Rights::ALL, ..Permissions::default() }
    }

    /// Every right on an organization.
    pub fn of_organization(org: OrgId) -> Permissions {
        let mut all = Permissions { orgs: vec![(org, Rights::ALL)], ..Permissions::default() };
        all.inside.insert(org, Rights::ALL);
        all
    }

    /// Whether there is nothing that it does not reach with every right.
    pub fn is_everything(&self) -> bool {
        self.everywhere == Rights::ALL
    }

    /// The rights on an asset.
    pub fn on(&self, device: &Device) -> Rights {
        let of_model = self.models.get(&device.model).copied().unwrap_or_default();
        let itself = self.assets.get(&device.asset).copied().unwrap_or_default();
        self.on_organization(device.org).and(of_model).and(itself)
    }

    /// Whether an asset is reached with `right`.
    pub fn may(&self, right: Right, device: &Device) -> bool {
        self.on(device).has(right)
    }

    /// The rights on all of an organization.
    pub fn on_organization(&self, org: OrgId) -> Rights {
        let granted = self.orgs.iter().find(|(known, _)| *known == org).map(|(_, rights)| *rights);
        self.everywhere.and(granted.unwrap_or_default())
    }

    /// How much of a model's assets (not of those that inherit from it) is reached with `right`.
    pub fn reach(&self, right: Right, model: &Model) -> Reach {
        let granted = self.models.get(&model.id).copied().unwrap_or_default();
        if self.on_organization(model.org).and(granted).has(right) {
            return Reach::All;
        }
        match self.within.get(&model.id).is_some_and(|rights| rights.has(right)) {
            true => Reach::Some,
            false => Reach::None,
        }
    }

    /// How much of an organization's assets is reached with `right`.
    pub fn reach_organization(&self, right: Right, org: OrgId) -> Reach {
        if self.on_organization(org).has(right) {
            return Reach::All;
        }
        match self.inside.get(&org).is_some_and(|rights| rights.has(right)) {
            true => Reach::Some,
            false => Reach::None,
        }
    }

    /// What follows from these grants.
    fn of(granted: &Granted, cache: &Cache) -> Permissions {
        let mut all = Permissions::default();
        let mut roots: Map<ModelId, Rights> = Map::new();
        for (&scope, &rights) in granted {
            match scope {
                Scope::Organization(org) => {
                    all.orgs.push((org, rights));
                    widen(&mut all.inside, org, rights);
                }
                Scope::Model(model) => drop(roots.insert(model, rights)),
                Scope::Branch(branch) => {
                    for asset in cache.trees().branch(branch.tree, branch.asset) {
                        all.add_asset(cache, asset, rights);
                    }
                }
                Scope::Asset(asset) => all.add_asset(cache, asset, rights),
            }
        }
        if !roots.is_empty() {
            all.add_models(cache, &roots);
        }
        all
    }

    fn add_asset(&mut self, cache: &Cache, asset: AssetId, rights: Rights) {
        let Some(device) = cache.asset(asset) else { return };
        widen(&mut self.assets, asset, rights);
        widen(&mut self.within, device.model, rights);
        widen(&mut self.inside, device.org, rights);
    }

    /// Models have what was granted on them and on what they inherit from.
    fn add_models(&mut self, cache: &Cache, roots: &Map<ModelId, Rights>) {
        for entry in cache.models() {
            let mut rights = Rights::NONE;
            let mut next = Some(entry.model.id);
            while let Some(id) = next {
                rights = rights.and(roots.get(&id).copied().unwrap_or_default());
                next = cache.model(id).and_then(|entry| entry.parent);
            }
            if !rights.is_empty() {
                self.models.insert(entry.model.id, rights);
                widen(&mut self.inside, entry.model.org, rights);
            }
        }
    }
}

fn widen<K: std::hash::Hash + Eq>(all: &mut HashMap<K, Rights>, key: K, more: Rights) {
    let rights = all.entry(key).or_default();
    *rights = rights.and(more);
}

/// What was worked out, by account, and for which generation of grants.
#[derive(Default)]
pub(crate) struct Kept {
    generation: u64,
    /// Assets in all of them.
    assets: usize,
    by_holder: [HashMap<String, Arc<Permissions>>; 2],
}

fn place(kind: HolderKind) -> usize {
    match kind {
        HolderKind::Account => 0,
        HolderKind::Service => 1,
    }
}

impl Registry {
    /// What an account may do; nothing where there is no such account.
    pub fn permissions(&self, holder: Holder<'_>) -> Arc<Permissions> {
        // Read before what follows from it: a change in between makes it look older than it is, never newer.
        let generation = self.inner.grants.load(std::sync::atomic::Ordering::Acquire);
        {
            let kept = self.inner.permissions.lock();
            if kept.generation == generation
                && let Some(permissions) = kept.by_holder[place(holder.kind)].get(holder.name)
            {
                return Arc::clone(permissions);
            }
        }
        let (permissions, exists) = {
            let cache = self.cache();
            let home = match holder.kind {
                HolderKind::Account => cache.account(holder.name).map(|_| None),
                HolderKind::Service => cache.service_account(holder.name).map(|account| Some(account.org)),
            };
            let permissions = match (home, cache.granted(holder)) {
                (None, _) => Permissions::default(),
                (Some(_), Some(granted)) => Permissions::of(granted, &cache),
                (Some(Some(org)), None) => Permissions::of_organization(org),
                (Some(None), None) => Permissions::everything(),
            };
            (Arc::new(permissions), home.is_some())
        };
        // Names that are no account's come from outside: nothing is kept of them.
        if exists {
            let mut kept = self.inner.permissions.lock();
            if kept.generation < generation {
                *kept = Kept { generation, ..Kept::default() };
            }
            if kept.generation == generation {
                kept.assets += permissions.assets.len();
                let count: usize = kept.by_holder.iter().map(HashMap::len).sum();
                if count >= KEPT_MAX || kept.assets > KEPT_ASSETS_MAX {
                    *kept = Kept { generation, assets: permissions.assets.len(), ..Kept::default() };
                }
                let by_holder = &mut kept.by_holder[place(holder.kind)];
                by_holder.insert(holder.name.to_owned(), Arc::clone(&permissions));
            }
        }
        permissions
    }
}
