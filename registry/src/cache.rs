//! Everything that exists, in memory.
//!
//! Owns: the maps that answer lookups and the edits that change them. Does not own: durability (an edit is applied
//! only after the transaction that made it was committed) or rules.
//!
//! Cost: a million devices take about 390 MB (measured by `examples/million.rs`). Device keys are looked up in tables of
//! pointers, hashed by borrowed text, so that a lookup allocates nothing. Hashes are seeded at random: keys come from
//! outside.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};
use wattline_model::{AssetId, Model, ModelId, OrgId};

use crate::grants::{Granted, Holder, HolderKind};
use crate::trees::Trees;
use crate::{
    Account, Attribute, Device, Org, PolicyGroup, Product, Records, ServiceAccount, Unformatted, trees,
};

/// A model with what the registry knows beside it.
#[derive(Clone)]
pub(crate) struct ModelEntry {
    pub(crate) model: Arc<Model>,
    pub(crate) name: Arc<str>,
    pub(crate) parent: Option<ModelId>,
    /// Of its assets, the inherited ones first.
    pub(crate) attributes: Arc<[Attribute]>,
}

/// A product with its row number and its key as devices share it.
#[derive(Clone)]
pub(crate) struct ProductEntry {
    pub(crate) product: Arc<Product>,
    pub(crate) row: i64,
    pub(crate) key: Arc<str>,
}

/// What a committed transaction changed.
pub(crate) enum Edit {
    /// Nothing: the transaction need not be committed.
    Nothing,
    /// Rows that are not held in memory.
    Uncached,
    /// Calls that were noted. They come all the time: nobody makes another copy for their sake.
    Calls,
    /// A new organization.
    Org(Arc<Org>),
    /// Models that are new or have a new version.
    Models(Vec<ModelEntry>),
    /// A new product.
    Product(ProductEntry),
    /// Devices that are new.
    NewDevices(Vec<Arc<Device>>),
    /// Devices with the same keys and new properties.
    ChangedDevices(Vec<Arc<Device>>),
    /// Devices that are gone.
    GoneDevices(Vec<Arc<Device>>),
    /// A tree that is new, gone or has another shape.
    Tree(trees::Change),
    /// All storage policy groups, as they are now.
    PolicyGroups(Vec<PolicyGroup>),
    /// All organizations that keep unformatted data, as they are now.
    Unformatted(Vec<Unformatted>),
    /// All places of records of devices, as they are now.
    Records(Vec<Records>),
    /// An account that is new or has another password.
    Account(Arc<Account>),
    /// An account that is gone.
    NoAccount(String),
    /// A service account that is new.
    ServiceAccount(Arc<ServiceAccount>),
    /// A service account that is gone.
    NoServiceAccount(String),
    /// The grants of an account, as they are now; `None` where it is not limited to any.
    Grants(HolderKind, String, Option<Arc<Granted>>),
    /// These, one after the other.
    Several(Vec<Edit>),
}

impl Edit {
    /// Whether what accounts may do may follow from it.
    pub(crate) fn is_of_grants(&self) -> bool {
        match self {
            Edit::Models(_)
            | Edit::Account(_)
            | Edit::NoAccount(_)
            | Edit::ServiceAccount(_)
            | Edit::NoServiceAccount(_)
            | Edit::GoneDevices(_)
            | Edit::Tree(_)
            | Edit::Grants(..) => true,
            Edit::Several(edits) => edits.iter().any(Edit::is_of_grants),
            Edit::Nothing
            | Edit::Uncached
            | Edit::Calls
            | Edit::Org(_)
            | Edit::Product(_)
            | Edit::NewDevices(_)
            | Edit::ChangedDevices(_)
            | Edit::PolicyGroups(_)
            | Edit::Records(_)
            | Edit::Unformatted(_) => false,
        }
    }
}

/// Everything that exists.
#[derive(Default)]
pub(crate) struct Cache {
    orgs: Vec<Option<Arc<Org>>>,
    org_keys: HashMap<String, OrgId>,
    models: Vec<Option<ModelEntry>>,
    model_keys: HashMap<OrgId, HashMap<String, ModelId>>,
    products: HashMap<Arc<str>, ProductEntry>,
    devices: Vec<Option<Arc<Device>>>,
    device_count: usize,
    of_product: HashMap<Arc<str>, usize>,
    by_device: HashTable<Arc<Device>>,
    by_asset: HashTable<Arc<Device>>,
    of_model: HashMap<ModelId, Vec<AssetId>>,
    /// Devices that are gone, by number: samples of theirs may still be on their way out.
    gone: HashMap<AssetId, Arc<Device>>,
    trees: Trees,
    zones: HashSet<Arc<str>>,
    policy_groups: Arc<Vec<PolicyGroup>>,
    unformatted: Vec<Unformatted>,
    records: Vec<Records>,
    accounts: BTreeMap<String, Arc<Account>>,
    service_accounts: BTreeMap<String, Arc<ServiceAccount>>,
    /// Of accounts that are limited to their grants.
    granted: BTreeMap<HolderKind, BTreeMap<String, Arc<Granted>>>,
    hasher: DefaultHashBuilder,
}

impl Cache {
    pub(crate) fn org(&self, id: OrgId) -> Option<&Arc<Org>> {
        self.orgs.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn org_by_key(&self, key: &str) -> Option<&Arc<Org>> {
        self.org(*self.org_keys.get(key)?)
    }

    pub(crate) fn orgs(&self) -> impl Iterator<Item = &Arc<Org>> {
        self.orgs.iter().flatten()
    }

    pub(crate) fn model(&self, id: ModelId) -> Option<&ModelEntry> {
        self.models.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn model_by_key(&self, org: OrgId, key: &str) -> Option<&ModelEntry> {
        self.model(*self.model_keys.get(&org)?.get(key)?)
    }

    pub(crate) fn models(&self) -> impl Iterator<Item = &ModelEntry> {
        self.models.iter().flatten()
    }

    /// By organization and name.
    pub(crate) fn policy_groups(&self) -> &Arc<Vec<PolicyGroup>> {
        &self.policy_groups
    }

    /// Few: two an organization at most.
    pub(crate) fn records(&self) -> &[Records] {
        &self.records
    }

    /// Few: one an organization at most.
    pub(crate) fn unformatted(&self) -> &[Unformatted] {
        &self.unformatted
    }

    pub(crate) fn account(&self, name: &str) -> Option<&Arc<Account>> {
        self.accounts.get(name)
    }

    /// By name.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.values()
    }

    pub(crate) fn service_account(&self, access_key: &str) -> Option<&Arc<ServiceAccount>> {
        self.service_accounts.get(access_key)
    }

    /// By access key.
    pub(crate) fn service_accounts(&self) -> impl Iterator<Item = &Arc<ServiceAccount>> {
        self.service_accounts.values()
    }

    /// The grants of an account; `None` where it is not limited to any.
    pub(crate) fn granted(&self, holder: Holder<'_>) -> Option<&Arc<Granted>> {
        self.granted.get(&holder.kind)?.get(holder.name)
    }

    /// Grants of all accounts together.
    pub(crate) fn grant_count(&self) -> usize {
        self.granted.values().flat_map(BTreeMap::values).map(|granted| granted.len()).sum()
    }

    pub(crate) fn product(&self, key: &str) -> Option<&ProductEntry> {
        self.products.get(key)
    }

    pub(crate) fn products(&self) -> impl Iterator<Item = &Arc<Product>> {
        self.products.values().map(|entry| &entry.product)
    }

    pub(crate) fn product_entries(&self) -> impl Iterator<Item = &ProductEntry> {
        self.products.values()
    }

    pub(crate) fn device(&self, product_key: &str, device_key: &str) -> Option<&Arc<Device>> {
        let hash = self.hash(product_key, device_key);
        self.by_device.find(hash, |d| *d.device_key == *device_key && *d.product_key == *product_key)
    }

    pub(crate) fn asset(&self, id: AssetId) -> Option<&Arc<Device>> {
        self.devices.get(id.0 as usize)?.as_ref()
    }

    /// The device that had this number and is gone.
    pub(crate) fn gone(&self, id: AssetId) -> Option<&Arc<Device>> {
        self.gone.get(&id)
    }

    pub(crate) fn none_gone(&self) -> bool {
        self.gone.is_empty()
    }

    pub(crate) fn trees(&self) -> &Trees {
        &self.trees
    }

    /// For reading trees at start.
    pub(crate) fn trees_mut(&mut self) -> &mut Trees {
        &mut self.trees
    }

    pub(crate) fn asset_by_key(&self, asset_key: &str) -> Option<&Arc<Device>> {
        self.by_asset.find(self.hasher.hash_one(asset_key), |d| *d.asset_key == *asset_key)
    }

    /// Every device, in the order of their numbers.
    pub(crate) fn assets(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.devices.iter().flatten()
    }

    /// The devices of exactly this model, in the order of their numbers.
    pub(crate) fn assets_of(&self, model: ModelId) -> impl Iterator<Item = &Arc<Device>> {
        self.of_model.get(&model).into_iter().flatten().filter_map(|&id| self.asset(id))
    }

    /// How many devices a product has.
    pub(crate) fn product_size(&self, product_key: &str) -> usize {
        self.of_product.get(product_key).copied().unwrap_or(0)
    }

    pub(crate) fn device_count(&self) -> usize {
        self.device_count
    }

    /// The one text that all devices of this zone share, where one has it already.
    pub(crate) fn zone(&self, name: &str) -> Option<Arc<str>> {
        self.zones.get(name).cloned()
    }

    pub(crate) fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::Nothing | Edit::Uncached | Edit::Calls => {}
            Edit::Org(org) => self.insert_org(org),
            Edit::Models(models) => models.into_iter().for_each(|entry| self.insert_model(entry)),
            Edit::Product(entry) => {
                self.products.insert(Arc::clone(&entry.key), entry);
            }
            Edit::NewDevices(devices) => devices.into_iter().for_each(|device| self.insert_device(device)),
            Edit::ChangedDevices(devices) => {
                devices.into_iter().for_each(|device| self.replace_device(device))
            }
            Edit::GoneDevices(devices) => devices.into_iter().for_each(|device| self.remove_device(device)),
            Edit::Tree(change) => self.trees.apply(change),
            Edit::PolicyGroups(groups) => self.policy_groups = Arc::new(groups),
            Edit::Unformatted(all) => self.unformatted = all,
            Edit::Records(all) => self.records = all,
            Edit::Account(account) => drop(self.accounts.insert(account.name.clone(), account)),
            Edit::NoAccount(name) => {
                self.accounts.remove(&name);
                self.set_granted(HolderKind::Account, name, None);
            }
            Edit::ServiceAccount(account) => {
                drop(self.service_accounts.insert(account.access_key.clone(), account));
            }
            Edit::NoServiceAccount(key) => {
                self.service_accounts.remove(&key);
                self.set_granted(HolderKind::Service, key, None);
            }
            Edit::Grants(kind, name, granted) => self.set_granted(kind, name, granted),
            Edit::Several(edits) => edits.into_iter().for_each(|edit| self.apply(edit)),
        }
    }

    /// Makes room at once for the devices found at start.
    pub(crate) fn reserve_devices(&mut self, count: usize) {
        let hasher = &self.hasher;
        self.devices.reserve(count + 1);
        self.by_device.reserve(count, |d| hasher.hash_one((&*d.product_key, &*d.device_key)));
        self.by_asset.reserve(count, |d| hasher.hash_one(&*d.asset_key));
    }

    fn set_granted(&mut self, kind: HolderKind, name: String, granted: Option<Arc<Granted>>) {
        let of_kind = self.granted.entry(kind).or_default();
        match granted {
            Some(granted) => drop(of_kind.insert(name, granted)),
            None => drop(of_kind.remove(&name)),
        }
    }

    fn insert_org(&mut self, org: Arc<Org>) {
        self.org_keys.insert(org.key.clone(), org.id);
        let id = org.id.0;
        put(&mut self.orgs, id, org);
    }

    fn insert_model(&mut self, entry: ModelEntry) {
        let (id, org) = (entry.model.id, entry.model.org);
        self.model_keys.entry(org).or_default().insert(entry.model.key.clone(), id);
        put(&mut self.models, id.0, entry);
    }

    fn insert_device(&mut self, device: Arc<Device>) {
        let hasher = &self.hasher;
        // A logical asset has no keys of a device; nobody may log in without any.
        if device.is_device() {
            *self.of_product.entry(Arc::clone(&device.product_key)).or_default() += 1;
            let hash = hasher.hash_one((&*device.product_key, &*device.device_key));
            let hash_of = |d: &Arc<Device>| hasher.hash_one((&*d.product_key, &*d.device_key));
            self.by_device.insert_unique(hash, Arc::clone(&device), hash_of);
        }
        let hash = hasher.hash_one(&*device.asset_key);
        self.by_asset.insert_unique(hash, Arc::clone(&device), |d| hasher.hash_one(&*d.asset_key));
        self.zones.get_or_insert_with(&*device.timezone, |_| Arc::clone(&device.timezone));
        self.of_model.entry(device.model).or_default().push(device.asset);
        self.device_count += 1;
        put(&mut self.devices, device.asset.0, device);
    }

    fn replace_device(&mut self, device: Arc<Device>) {
        let hash = self.hash(&device.product_key, &device.device_key);
        if let Some(slot) = self.by_device.find_mut(hash, |d| d.asset == device.asset) {
            *slot = Arc::clone(&device);
        }
        let hash = self.hasher.hash_one(&*device.asset_key);
        if let Some(slot) = self.by_asset.find_mut(hash, |d| d.asset == device.asset) {
            *slot = Arc::clone(&device);
        }
        put(&mut self.devices, device.asset.0, device);
    }

    /// `device` is what remains of it. Its keys are free.
    fn remove_device(&mut self, device: Arc<Device>) {
        let hash = self.hash(&device.product_key, &device.device_key);
        if let Ok(found) = self.by_device.find_entry(hash, |d| d.asset == device.asset) {
            found.remove();
            if let Some(count) = self.of_product.get_mut(&device.product_key) {
                *count -= 1;
            }
        }
        let hash = self.hasher.hash_one(&*device.asset_key);
        if let Ok(found) = self.by_asset.find_entry(hash, |d| d.asset == device.asset) {
            found.remove();
        }
        // Numbers grow, so the list is in their order.
        if let Some(of_model) = self.of_model.get_mut(&device.model)
            && let Ok(place) = of_model.binary_search(&device.asset)
        {
            of_model.remove(place);
        }
        if let Some(slot) = self.devices.get_mut(device.asset.0 as usize)
            && slot.take().is_some()
        {
            self.device_count -= 1;
        }
        self.gone.insert(device.asset, device);
    }

    fn hash(&self, product_key: &str, device_key: &str) -> u64 {
        self.hasher.hash_one((product_key, device_key))
    }
}

/// Numbers are dense, so a vector is the map. Slot 0 stays empty: numbers begin at 1.
fn put<T: Clone>(slots: &mut Vec<Option<T>>, id: u32, value: T) {
    let index = id as usize;
    if slots.len() <= index {
        slots.resize(index + 1, None);
    }
    slots[index] = Some(value);
}
