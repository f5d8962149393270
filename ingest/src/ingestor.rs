//! What every door of the way in holds: registry, store, settings, counters.
//!
//! Owns: writing batches and counting what became durable, creating devices and points where the operator allows it.
//! Does not own: any format or protocol.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use wattline_model::{AssetId, Batch, DataType, EnumKind, ModelId, SignalType, Timestamp};
use wattline_registry::{Device, NewDevice, NewPoint, Product, Registry, Secret};
use wattline_storage::Store;

use crate::check;
use crate::counters::{Counters, add};
use crate::decode::enos::Missing;
use crate::downlink::Downlink;
use crate::limits::FUTURE_LIMIT_MICROS;
use crate::mqtt::{Limiter, Sessions};

/// What the operator decides about the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestSettings {
    /// Whether an unknown device that signs with its product's secret is registered by its first login.
    pub auto_register_devices: bool,
    /// Whether an unknown point is added to the model by its first value.
    pub auto_register_points: bool,
    /// How far in the future a sample may lie, in microseconds.
    pub future_limit_micros: i64,
}

impl Default for IngestSettings {
    fn default() -> IngestSettings {
        IngestSettings {
            auto_register_devices: false,
            auto_register_points: false,
            future_limit_micros: FUTURE_LIMIT_MICROS,
        }
    }
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Ingestor {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    store: Store,
    settings: IngestSettings,
    counters: Arc<Counters>,
    sessions: Sessions,
    limiter: Limiter,
    downlink: Downlink,
    rule: OnceLock<Rule>,
}

/// Tells the store of policies that a new model brought.
type Rule = Box<dyn Fn() -> Result<(), wattline_storage::Error> + Send + Sync>;

impl Ingestor {
    /// The way into `store` for the devices of `registry`.
    pub fn new(registry: Registry, store: Store, settings: IngestSettings) -> Ingestor {
        let counters = Arc::new(Counters::default());
        let (sessions, limiter) = (Sessions::default(), Limiter::default());
        let (downlink, rule) = (Downlink::default(), OnceLock::new());
        let inner = Inner { registry, store, settings, counters, sessions, limiter, downlink, rule };
        Ingestor { inner: Arc::new(inner) }
    }

    /// What is to be called when a model of the system came into being that policies are about. Without it the store
    /// treats such a model as any other. Set once; later calls change nothing.
    pub fn on_system_model(
        &self,
        rule: impl Fn() -> Result<(), wattline_storage::Error> + Send + Sync + 'static,
    ) {
        let _ = self.inner.rule.set(Box::new(rule));
    }

    pub(crate) fn tell_of_models(&self) -> Result<(), wattline_storage::Error> {
        self.inner.rule.get().map_or(Ok(()), |rule| rule())
    }

    /// What was counted so far.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.inner.counters)
    }

    /// Who exists.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Where batches go.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// What the operator decided.
    pub fn settings(&self) -> &IngestSettings {
        &self.inner.settings
    }

    pub(crate) fn count(&self) -> &Counters {
        &self.inner.counters
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    pub(crate) fn downlink(&self) -> &Downlink {
        &self.inner.downlink
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.inner.limiter
    }

    /// Whether a device is connected by MQTT now.
    pub fn is_online(&self, asset: AssetId) -> bool {
        self.inner.sessions.is_online(asset)
    }

    /// Ends the MQTT session of a device that may not be connected any more, where it has one. The registry is told first:
    /// then it cannot come back.
    pub fn end_session(&self, asset: AssetId) {
        self.inner.sessions.cut(asset);
    }

    /// The time by the operating system's clock: stands for missing times and bounds the future, orders nothing.
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// The latest time a sample may carry when it is `now`.
    pub fn time_max(&self, now: Timestamp) -> Timestamp {
        check::time_max(now, self.inner.settings.future_limit_micros)
    }

    /// Writes `batches` and waits until they are durable and visible. Waits for room as long as it takes: whoever
    /// calls this does not read more input meanwhile.
    ///
    /// # Errors
    /// The store's own.
    pub async fn write(&self, batches: Vec<Batch>) -> Result<(), wattline_storage::Error> {
        let written = Written::of(&batches);
        self.inner.store.write(batches).await?;
        written.count(self.count());
        Ok(())
    }

    /// As [`Ingestor::write`], but refuses at once where the store's queue is full.
    ///
    /// # Errors
    /// The store's own; kind `Busy` where the queue is full.
    pub async fn try_write(&self, batches: Vec<Batch>) -> Result<(), wattline_storage::Error> {
        let written = Written::of(&batches);
        self.inner.store.try_write(batches).await?;
        written.count(self.count());
        Ok(())
    }

    /// Registers a device that proved itself with its product's secret. Blocks on the disk.
    pub(crate) fn register_device(
        &self,
        product: &Product,
        device_key: &str,
        secret: Option<Secret>,
    ) -> Result<Arc<Device>, wattline_registry::Error> {
        let new = NewDevice {
            product_key: product.key.to_string(),
            device_key: Some(device_key.to_owned()),
            secret,
            ..NewDevice::default()
        };
        match self.registry().create_device(new) {
            Ok(device) => {
                add(&self.count().devices_registered, 1);
                Ok(device)
            }
            // Two logins of one new device may meet here; the second finds what the first made.
            Err(error) => self.registry().device(&product.key, device_key).ok_or(error),
        }
    }

    /// Adds points that messages named and models lack. Blocks on the disk.
    pub(crate) fn register_points(&self, missing: Vec<Missing>) -> Result<(), wattline_registry::Error> {
        let mut by_model: Vec<(ModelId, Vec<NewPoint>)> = Vec::new();
        for point in missing {
            let slot = by_model.iter().position(|(model, _)| *model == point.model).unwrap_or_else(|| {
                by_model.push((point.model, Vec::new()));
                by_model.len() - 1
            });
            let points = &mut by_model[slot].1;
            let exists =
                self.registry().model(point.model).is_some_and(|m| m.point_by_key(&point.key).is_some());
            if !exists && points.iter().all(|p| p.key != point.key) {
                points.push(new_point(point));
            }
        }
        for (model, points) in by_model {
            let n = points.len() as u64;
            if n > 0 {
                self.registry().add_points(model, points)?;
                add(&self.count().points_registered, n);
            }
        }
        Ok(())
    }
}

fn new_point(missing: Missing) -> NewPoint {
    let signal = match missing.data_type {
        DataType::Double => SignalType::Ai,
        DataType::Bool | DataType::Enum(EnumKind::Int) => SignalType::Di,
        _ => SignalType::Generic,
    };
    NewPoint {
        name: missing.key.clone(),
        key: missing.key,
        data_type: missing.data_type,
        signal,
        has_quality: missing.has_quality,
        unit: None,
        enum_ints: Vec::new(),
        enum_texts: Vec::new(),
    }
}

/// What a write will have added.
struct Written {
    batches: u64,
    rows: u64,
    samples: u64,
}

impl Written {
    fn of(batches: &[Batch]) -> Written {
        let rows = batches.iter().map(|b| b.rows() as u64).sum();
        let samples = batches.iter().map(|b| b.points() as u64).sum();
        Written { batches: batches.len() as u64, rows, samples }
    }

    fn count(&self, counters: &Counters) {
        add(&counters.batches, self.batches);
        add(&counters.rows, self.rows);
        add(&counters.samples, self.samples);
    }
}
