//! Devices: the assets that send. Each has a product, a secret, a time zone, tags and attributes.
//!
//! Owns: creating, enabling and activating devices, and the rows of all assets. Does not own: logical assets, changes
//! and the end of either kind ([`crate::assets`]), whether one is online (`server`).
//!
//! Texts are `Arc<str>`: a product's devices share its key and mostly their time zone, and a device without a name of
//! its own shares its key as name. A million devices take about 390 MB.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Row, Transaction, params};
use serde_json::{Value as Json, json};
use wattline_model::{AssetId, ModelId, OrgId};

use crate::audit::Note;
use crate::cache::{Cache, Edit, ProductEntry};
use crate::error::{Error, ErrorKind, Rule};
use crate::secret::random_key;
use crate::texts::{decode_texts, encode_texts};
use crate::{Registry, Secret, attributes, audit, check, number};

/// Devices of one registry: at some 400 bytes each, what a large server's memory holds beside its work.
pub const DEVICES_MAX: usize = 20_000_000;

/// Devices of one call to [`Registry::create_devices`]: one transaction must not hold up others for long.
pub const DEVICES_PER_CALL_MAX: usize = 100_000;

/// Devices of one product that people register (data service §7.4); devices that register themselves are not counted
/// against it.
pub const DEVICES_PER_PRODUCT_MAX: usize = 100_000;

/// Assets that an entry of the audit log lists: those of one file.
const NOTED_MAX: usize = 1_000;

/// The time zone of a device that names none.
pub const DEFAULT_TIMEZONE: &str = "UTC";

/// A device, or a logical asset: one that no device stands behind, such as a site.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its number.
    pub asset: AssetId,
    /// Its identifier as an asset, unique in the whole registry; `assetId` in the APIs, for example `aQ1x9zB4`.
    pub asset_key: Arc<str>,
    /// Its organization.
    pub org: OrgId,
    /// Its model.
    pub model: ModelId,
    /// Its product; empty for a logical asset.
    pub product_key: Arc<str>,
    /// Its identifier, unique in its product; empty for a logical asset.
    pub device_key: Arc<str>,
    /// Display name.
    pub name: Arc<str>,
    /// Display names in further languages, by locale.
    pub names: BTreeMap<String, String>,
    /// What people say about it; may be empty.
    pub description: Box<str>,
    /// Its secret; empty for a logical asset.
    pub secret: Secret,
    /// Its time zone: an IANA name or an offset such as `+08:00`; [`crate::timezone`] reads it.
    pub timezone: Arc<str>,
    /// Whether it may connect.
    pub enabled: bool,
    /// Whether it has ever connected.
    pub active: bool,
    /// Free keys and texts.
    pub tags: BTreeMap<String, String>,
    /// Free keys and values.
    pub attributes: BTreeMap<String, Json>,
    /// When it was created, microseconds since the epoch.
    pub created_micros: i64,
}

impl Device {
    /// Whether it has a product and keys of its own, so that it can log in.
    pub fn is_device(&self) -> bool {
        !self.product_key.is_empty()
    }
}

/// A device to create.
#[derive(Clone, Debug, Default)]
pub struct NewDevice {
    /// Its product.
    pub product_key: String,
    /// Its identifier, unique in its product; none = generated.
    pub device_key: Option<String>,
    /// Its identifier as an asset; none = generated.
    pub asset_key: Option<String>,
    /// Display name; empty = the device key.
    pub name: String,
    /// Display names in further languages, by locale.
    pub names: BTreeMap<String, String>,
    /// What people say about it; may be empty.
    pub description: String,
    /// Its secret; none = generated.
    pub secret: Option<Secret>,
    /// Its time zone; empty = `UTC`.
    pub timezone: String,
    /// Free keys and texts.
    pub tags: BTreeMap<String, String>,
    /// Free keys and values.
    pub attributes: BTreeMap<String, Json>,
}

impl Registry {
    /// The device a connection or message names. Memory only, allocates nothing.
    pub fn device(&self, product_key: &str, device_key: &str) -> Option<Arc<Device>> {
        self.cache().device(product_key, device_key).cloned()
    }

    /// The device with this number. Of one that is gone what remains is found, too, as disabled: samples of it may still
    /// be on their way out.
    pub fn asset(&self, id: AssetId) -> Option<Arc<Device>> {
        let cache = self.cache();
        cache.asset(id).or_else(|| cache.gone(id)).cloned()
    }

    /// The device with this asset identifier.
    pub fn asset_by_key(&self, asset_id: &str) -> Option<Arc<Device>> {
        self.cache().asset_by_key(asset_id).cloned()
    }

    /// The devices of exactly this model (not of those that inherit from it), oldest first.
    pub fn assets_of(&self, model: ModelId) -> Vec<Arc<Device>> {
        self.cache().assets_of(model).cloned().collect()
    }

    /// All devices, oldest first.
    pub fn assets(&self) -> Vec<Arc<Device>> {
        self.cache().assets().cloned().collect()
    }

    /// How many devices there are.
    pub fn device_count(&self) -> usize {
        self.cache().device_count()
    }

    /// Creates a device.
    ///
    /// # Errors
    /// `Input` for a bad definition, `NotFound` where the product does not exist, `Conflict` where the device key is
    /// taken in the product or the asset key in the registry.
    pub fn create_device(&self, new: NewDevice) -> Result<Arc<Device>, Error> {
        let mut made = self.create_devices(vec![new])?;
        made.pop().ok_or_else(|| Error::bug("device", "was created and is not there"))
    }

    /// Creates devices, all or none, in one transaction. The answer is in the order of `new`.
    ///
    /// # Errors
    /// As [`Registry::create_device`], for the first that is wrong.
    pub fn create_devices(&self, new: Vec<NewDevice>) -> Result<Vec<Arc<Device>>, Error> {
        self.create_all(new, None)
    }

    /// As [`Registry::create_devices`], for a person, who is noted: attributes that the model requires must be there, and
    /// a product has at most [`DEVICES_PER_PRODUCT_MAX`].
    ///
    /// # Errors
    /// As [`Registry::create_device`]; [`Rule::DeviceKey`], [`Rule::DevicesMax`], [`Rule::Attributes`].
    pub fn register_devices(
        &self,
        new: Vec<NewDevice>,
        operator: &str,
        now_micros: i64,
    ) -> Result<Vec<Arc<Device>>, Error> {
        self.create_all(new, Some((operator, now_micros)))
    }

    /// How many devices a product has.
    pub fn product_size(&self, product_key: &str) -> usize {
        self.cache().product_size(product_key)
    }

    fn create_all(&self, new: Vec<NewDevice>, by: Option<(&str, i64)>) -> Result<Vec<Arc<Device>>, Error> {
        if new.len() > DEVICES_PER_CALL_MAX {
            let reason = format!("{} given; at most {DEVICES_PER_CALL_MAX} are allowed", new.len());
            return Err(Error::new(ErrorKind::Input, "devices", reason));
        }
        let mut zones = HashMap::new();
        let checked = new
            .into_iter()
            .map(|device| check_device(device, &mut zones))
            .collect::<Result<Vec<_>, Error>>()?;
        let now = now_micros();
        self.change(|transaction, cache| {
            if cache.device_count() + checked.len() > DEVICES_MAX {
                let reason =
                    format!("there are {} already; at most {DEVICES_MAX} are allowed", cache.device_count());
                return Err(Error::new(ErrorKind::Input, "devices", reason));
            }
            let made = create(transaction, cache, checked, now, by.is_some())?;
            if let Some((operator, micros)) = by {
                note_registered(transaction, &made, operator, micros)?;
            }
            let edit = if made.is_empty() { Edit::Nothing } else { Edit::NewDevices(made.clone()) };
            Ok((made, edit))
        })
    }

    /// The device with these keys, created with defaults where the product exists and the device does not: for
    /// auto-registration. Any number of callers at once get the same device.
    ///
    /// # Errors
    /// As [`Registry::create_device`], except that an existing device is the answer and not a conflict.
    pub fn ensure_device(&self, product_key: &str, device_key: &str) -> Result<Arc<Device>, Error> {
        if let Some(found) = self.device(product_key, device_key) {
            return Ok(found);
        }
        let new = NewDevice {
            product_key: product_key.to_owned(),
            device_key: Some(device_key.to_owned()),
            ..NewDevice::default()
        };
        match self.create_device(new) {
            // Another caller came first.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.device(product_key, device_key).ok_or(error)
            }
            result => result,
        }
    }

    /// Allows or forbids a device to connect.
    ///
    /// # Errors
    /// `NotFound` where it does not exist.
    pub fn set_device_enabled(
        &self,
        id: AssetId,
        enabled: bool,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<Device>, Error> {
        self.change(|transaction, cache| {
            let old = cache.asset(id).ok_or_else(|| Error::not_found(id.to_string()))?;
            if old.enabled == enabled {
                return Ok((Arc::clone(old), Edit::Nothing));
            }
            transaction
                .execute("UPDATE devices SET enabled = ?1 WHERE id = ?2", params![enabled, id.0])
                .map_err(|e| Error::sqlite("change a device", e))?;
            let action = if enabled { "enable device" } else { "disable device" };
            let (item, micros) = (&*old.asset_key, now_micros);
            audit::note(transaction, &Note { operator, action, item, before: None, after: None, micros })?;
            let device = Arc::new(Device { enabled, ..Device::clone(old) });
            Ok((Arc::clone(&device), Edit::ChangedDevices(vec![device])))
        })
    }

    /// Notes that a device has connected for the first time. Without effect, and without IO, where it has before.
    ///
    /// # Errors
    /// `NotFound` where it does not exist.
    pub fn activate(&self, id: AssetId) -> Result<(), Error> {
        self.activate_all(&[id])
    }

    /// [`Registry::activate`] for many, in one transaction: for a fleet that connects at once.
    ///
    /// # Errors
    /// `NotFound` where one does not exist; then none is activated.
    pub fn activate_all(&self, ids: &[AssetId]) -> Result<(), Error> {
        let is_active = |cache: &Cache, id| cache.asset(id).is_some_and(|device| device.active);
        {
            let cache = self.cache();
            if ids.iter().all(|&id| is_active(&cache, id)) {
                return Ok(());
            }
        }
        self.change(|transaction, cache| {
            let act = |e| Error::sqlite("activate a device", e);
            let mut changed = Vec::new();
            let mut seen = HashSet::new();
            let mut update =
                transaction.prepare_cached("UPDATE devices SET active = 1 WHERE id = ?1").map_err(act)?;
            for &id in ids.iter().filter(|&&id| !is_active(cache, id) && seen.insert(id)) {
                let old = cache.asset(id).ok_or_else(|| Error::not_found(id.to_string()))?;
                update.execute([id.0]).map_err(act)?;
                changed.push(Arc::new(Device { active: true, ..Device::clone(old) }));
            }
            let edit = if changed.is_empty() { Edit::Nothing } else { Edit::ChangedDevices(changed) };
            Ok(((), edit))
        })
    }
}

/// A device whose fields are fit to be written; whether its keys are free is decided under the writer's lock.
struct Checked {
    new: NewDevice,
    names: Option<String>,
    timezone: Arc<str>,
    tags: Option<String>,
    attributes: Option<String>,
    secret: Secret,
}

fn check_device(new: NewDevice, zones: &mut HashMap<String, Arc<str>>) -> Result<Checked, Error> {
    let item = item(&new);
    if let Some(key) = &new.device_key {
        check::device_key(&item, "deviceKey", key)?;
    }
    if let Some(key) = &new.asset_key {
        check::device_key(&item, "assetId", key)?;
    }
    if !new.name.is_empty() {
        check::name(&item, "deviceName", &new.name)?;
    }
    if let Some(secret) = &new.secret {
        check::secret(&item, "deviceSecret", secret)?;
    }
    check::names(&item, "deviceName", &new.names)?;
    check::description(&item, &new.description)?;
    check::tags(&item, &new.tags)?;
    let (names, tags) = (encode_texts(&new.names), encode_texts(&new.tags));
    let attributes = check::attributes(&item, &new.attributes)?;
    let text = if new.timezone.is_empty() { DEFAULT_TIMEZONE } else { &new.timezone };
    let timezone = match zones.get(text) {
        Some(name) => Arc::clone(name),
        None => {
            let zone = check::timezone(text).map_err(|e| e.about(item.as_str()))?;
            let name: Arc<str> = check::timezone_name(&zone, text).into();
            zones.insert(text.to_owned(), Arc::clone(&name));
            name
        }
    };
    let secret = new.secret.clone().map_or_else(Secret::generate, Ok)?;
    Ok(Checked { new, names, timezone, tags, attributes, secret })
}

/// Notes what was registered. A call is one entry: the log is read by people.
fn note_registered(
    transaction: &Transaction<'_>,
    made: &[Arc<Device>],
    operator: &str,
    micros: i64,
) -> Result<(), Error> {
    let (Some(first), many) = (made.first(), made.len() > 1) else { return Ok(()) };
    let keys: Vec<&str> = made.iter().take(NOTED_MAX).map(|device| &*device.asset_key).collect();
    let after = json!({"productKey": &*first.product_key, "devices": made.len(), "assetIds": keys});
    let (action, item) =
        if many { ("register devices", &first.product_key) } else { ("register device", &first.asset_key) };
    audit::note(transaction, &Note { operator, action, item, before: None, after: Some(after), micros })
}

/// How messages name a device that is to be created. Keys come from outside, so only a start of them is repeated.
fn item(new: &NewDevice) -> String {
    let start = |text: &str| -> String { text.chars().take(128).filter(|c| !c.is_control()).collect() };
    format!("device {}/{}", start(&new.product_key), start(new.device_key.as_deref().unwrap_or(&new.name)))
}

fn create(
    transaction: &Transaction<'_>,
    cache: &Cache,
    checked: Vec<Checked>,
    now: i64,
    by_person: bool,
) -> Result<Vec<Arc<Device>>, Error> {
    let act = |e| Error::sqlite("create devices", e);
    let mut insert = transaction
        .prepare_cached(
            "INSERT INTO devices (asset_key, product, device_key, name, secret, timezone, enabled, active,
             tags, attributes, created_micros, names, description)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 0, ?7, ?8, ?9, ?10, ?11)",
        )
        .map_err(act)?;
    let mut made: Vec<Arc<Device>> = Vec::with_capacity(checked.len());
    let mut device_keys: HashSet<(i64, Arc<str>)> = HashSet::with_capacity(checked.len());
    let mut asset_keys: HashSet<Arc<str>> = HashSet::with_capacity(checked.len());
    let mut in_product: HashMap<i64, usize> = HashMap::new();
    for Checked { new, names, timezone, tags, attributes, secret } in checked {
        let item = item(&new);
        let product = cache
            .product(&new.product_key)
            .ok_or_else(|| Error::not_found(format!("product {}", new.product_key)))?;
        if let Some(entry) = cache.model(product.product.model) {
            attributes::check_values(&item, &entry.attributes, &new.attributes, by_person)?;
        }
        let count = in_product.entry(product.row).or_insert_with(|| cache.product_size(&product.key));
        *count += 1;
        if by_person && *count > DEVICES_PER_PRODUCT_MAX {
            let reason = format!("the product would have more than {DEVICES_PER_PRODUCT_MAX} devices");
            return Err(Error::input(item, "productKey", reason).under(Rule::DevicesMax));
        }
        let device_key = free_key(&item, "deviceKey", new.device_key.as_deref(), |key| {
            cache.device(&product.key, key).is_none()
                && !device_keys.contains(&(product.row, Arc::clone(key)))
        })
        .map_err(|e| e.under(Rule::DeviceKey))?;
        let asset_key = free_key(&item, "assetId", new.asset_key.as_deref(), |key| {
            cache.asset_by_key(key).is_none() && !asset_keys.contains(key)
        })?;
        device_keys.insert((product.row, Arc::clone(&device_key)));
        asset_keys.insert(Arc::clone(&asset_key));
        let has_own_name = !new.name.is_empty() && *new.name != *device_key;
        let name = if has_own_name { new.name.as_str().into() } else { Arc::clone(&device_key) };
        insert
            .execute(params![
                asset_key,
                product.row,
                device_key,
                name,
                secret.expose(),
                timezone,
                tags,
                attributes,
                now,
                names,
                described(&new.description),
            ])
            .map_err(act)?;
        made.push(Arc::new(Device {
            asset: AssetId(number("devices", transaction.last_insert_rowid())?),
            asset_key,
            org: product.product.org,
            model: product.product.model,
            product_key: Arc::clone(&product.key),
            device_key,
            name,
            names: new.names,
            description: new.description.into(),
            secret,
            timezone: cache.zone(&timezone).unwrap_or(timezone),
            enabled: true,
            active: false,
            tags: new.tags,
            attributes: new.attributes,
            created_micros: now,
        }));
    }
    Ok(made)
}

/// A description as it is written down.
pub(crate) fn described(description: &str) -> Option<&str> {
    (!description.is_empty()).then_some(description)
}

/// The key given, where it is free, or a fresh one.
pub(crate) fn free_key(
    item: &str,
    field: &str,
    given: Option<&str>,
    is_free: impl Fn(&Arc<str>) -> bool,
) -> Result<Arc<str>, Error> {
    if let Some(key) = given {
        let key = Arc::from(key);
        return if is_free(&key) { Ok(key) } else { Err(Error::conflict(item, field, "is taken")) };
    }
    loop {
        let key = Arc::from(random_key()?);
        if is_free(&key) {
            return Ok(key);
        }
    }
}

/// The wall clock. A clock before 1970 counts as 1970: the time is for people.
pub(crate) fn now_micros() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

/// Reads all devices into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read devices", e);
    let products: HashMap<i64, ProductEntry> =
        cache.product_entries().map(|entry| (entry.row, entry.clone())).collect();
    let count: i64 = connection.query_row("SELECT count(*) FROM devices", [], |r| r.get(0)).map_err(act)?;
    cache.reserve_devices(usize::try_from(count).unwrap_or(0).min(DEVICES_MAX));
    let mut statement = connection
        .prepare(
            "SELECT id, asset_key, product, device_key, name, secret, timezone, enabled, active, tags, attributes,
             created_micros, model, names, description, gone FROM devices ORDER BY id",
        )
        .map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    while let Some(row) = rows.next().map_err(act)? {
        let device = Arc::new(decode(row, &products, cache)?);
        let gone: bool = row.get(15).map_err(act)?;
        cache.apply(match gone {
            false => Edit::NewDevices(vec![device]),
            true => Edit::GoneDevices(vec![device]),
        });
    }
    Ok(())
}

fn decode(row: &Row<'_>, products: &HashMap<i64, ProductEntry>, cache: &Cache) -> Result<Device, Error> {
    let act = |e| Error::sqlite("read devices", e);
    let id: i64 = row.get(0).map_err(act)?;
    let text = |column: usize| row.get_ref(column).map_err(act)?.as_str().map_err(|e| act(e.into()));
    let lost = |field: &str| Error::damaged("devices", id, field, "does not exist");
    let product: Option<i64> = row.get(2).map_err(act)?;
    let (org, model, product_key, device_key): (_, _, Arc<str>, Arc<str>) = match product {
        Some(product) => {
            let entry = products.get(&product).ok_or_else(|| lost("product"))?;
            (entry.product.org, entry.product.model, Arc::clone(&entry.key), text(3)?.into())
        }
        None => {
            let model: i64 = row.get(12).map_err(act)?;
            let model = ModelId(number("devices", model)?);
            let entry = cache.model(model).ok_or_else(|| lost("model"))?;
            (entry.model.org, model, "".into(), "".into())
        }
    };
    let json = |column: usize, field: &str| -> Result<Option<Json>, Error> {
        let text: Option<String> = row.get(column).map_err(act)?;
        let decode = |text: String| serde_json::from_str(&text);
        text.map(decode).transpose().map_err(|e| Error::damaged("devices", id, field, e.to_string()))
    };
    let damaged = |field: &str, e: serde_json::Error| Error::damaged("devices", id, field, e.to_string());
    let tags = json(9, "tags")?.map(serde_json::from_value).transpose().map_err(|e| damaged("tags", e))?;
    let attributes = json(10, "attributes")?
        .map(serde_json::from_value)
        .transpose()
        .map_err(|e| damaged("attributes", e))?;
    let texts = |column: usize| row.get_ref(column).map_err(act)?.as_str_or_null().map_err(|e| act(e.into()));
    let names = decode_texts(texts(13)?).map_err(|e| Error::damaged("devices", id, "names", e))?;
    let name = text(4)?;
    let zone = text(6)?;
    Ok(Device {
        asset: AssetId(number("devices", id)?),
        asset_key: text(1)?.into(),
        org,
        model,
        product_key,
        names,
        description: texts(14)?.unwrap_or_default().into(),
        name: if *name == *device_key { Arc::clone(&device_key) } else { name.into() },
        device_key,
        secret: Secret::from(text(5)?),
        timezone: cache.zone(zone).unwrap_or_else(|| zone.into()),
        enabled: row.get(7).map_err(act)?,
        active: row.get(8).map_err(act)?,
        tags: tags.unwrap_or_default(),
        attributes: attributes.unwrap_or_default(),
        created_micros: row.get(11).map_err(act)?,
    })
}

#[cfg(test)]
mod tests;
