//! One entry: whose points, at which time.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use wattline_model::{Model, Timestamp, ValueRef};
use wattline_registry::Device;

use super::envelope::{Name, NameSeed, TextSeed};
use super::points::PointsSeed;
use super::{Refusal, State};
use crate::check::{self, Scalar, quote};
use crate::code::Code;
use crate::decode::scalar::{Form, ScalarSeed};

/// The device an entry is about.
#[derive(Clone)]
pub(super) enum Target {
    /// The publisher.
    Own,
    /// Another.
    Other(Arc<Device>, Arc<Model>),
}

impl Target {
    fn same(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Own, Target::Own) => true,
            (Target::Other(a, _), Target::Other(b, _)) => a.asset == b.asset,
            _ => false,
        }
    }
}

/// Where in the message something is, for its texts: `params` or `params[3]`.
#[derive(Clone, Copy)]
pub(super) struct Place(pub(super) Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("params"),
            Some(item) => write!(f, "params[{item}]"),
        }
    }
}

/// Reads one entry and adds its row.
pub(super) struct EntrySeed<'s, 'x, 'c, 'p> {
    pub(super) state: &'s mut State<'x, 'c, 'p>,
    /// Its number in a batch.
    pub(super) item: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for EntrySeed<'_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What is known of an entry so far.
#[derive(Default)]
struct Entry<'p> {
    product_key: Option<Cow<'p, str>>,
    device_key: Option<Cow<'p, str>>,
    time: Option<Scalar<'p>>,
    /// The text that begins with the points' object.
    points: Option<&'p str>,
    /// The device whose row is open, with the faults before it was opened.
    open: Option<(Target, Faults)>,
}

/// Enough of the tally to take back the faults of one reading of an entry.
#[derive(Clone, Copy, Default)]
struct Faults {
    any_invalid: bool,
    invalid: u64,
    missing: usize,
}

impl<'de> Visitor<'de> for EntrySeed<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be an object", Place(self.item))
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let EntrySeed { state, item } = self;
        let place = Place(item);
        let mut entry = Entry::default();
        let mut fields = 0;
        while let Some(named) = map.next_key_seed(NameSeed)? {
            fields += 1;
            match named.name {
                Name::Measurepoints => {
                    state.close(&mut entry);
                    match named.text.and_then(|name| after_name(state.text, name)) {
                        Some(points) if state.may_open(&entry) => {
                            entry.points = Some(points);
                            let target = state.open(&mut entry, Target::Own);
                            map.next_value_seed(PointsSeed { state, target, place })?;
                        }
                        _ => entry.points = Some(map.next_value::<&'de RawValue>()?.get()),
                    }
                }
                Name::Time => entry.time = Some(map.next_value_seed(ScalarSeed { form: Form::Plain })?),
                // The published Python SDK sends keys that nobody set as empty texts: the publisher's own.
                Name::ProductKey if item.is_some() => {
                    entry.product_key = map.next_value_seed(TextSeed)?.filter(|key| !key.is_empty());
                }
                Name::DeviceKey if item.is_some() => {
                    entry.device_key = map.next_value_seed(TextSeed)?.filter(|key| !key.is_empty());
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if fields > 0 || item.is_some() {
            state.entries += 1;
            state.finish(entry, place).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// The text after `name` and its colon; `name` is a part of `text`.
fn after_name<'p>(text: &'p str, name: &'p str) -> Option<&'p str> {
    let start = (name.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let rest = text.get(start + name.len()..)?.strip_prefix('"')?;
    rest.trim_start_matches([' ', '\t', '\r', '\n']).strip_prefix(':')
}

impl<'p> State<'_, '_, 'p> {
    /// Whether points may be read before the entry's end: as far as is known they are the publisher's.
    fn may_open(&self, entry: &Entry<'p>) -> bool {
        entry.product_key.is_none() && entry.device_key.is_none()
    }

    fn open(&mut self, entry: &mut Entry<'p>, target: Target) -> Target {
        let (model, asset) = match &target {
            Target::Own => (self.context.model.id, self.context.device.asset),
            Target::Other(device, model) => (model.id, device.asset),
        };
        let tally = &self.tally;
        let faults = Faults {
            any_invalid: tally.invalid.is_some(),
            invalid: tally.invalid_count,
            missing: tally.missing.len(),
        };
        self.unformatted.clear();
        self.rows.begin_row(model, asset, self.upload.channel());
        entry.open = Some((target.clone(), faults));
        target
    }

    /// Drops the open row, if there is one, and the faults it brought.
    fn close(&mut self, entry: &mut Entry<'p>) {
        let Some((_, before)) = entry.open.take() else { return };
        self.rows.cancel_row();
        if !before.any_invalid {
            self.tally.invalid = None;
        }
        self.tally.invalid_count = before.invalid;
        self.tally.missing.truncate(before.missing);
    }

    /// All fields of the entry are known: the row gets its device and its time.
    fn finish(&mut self, mut entry: Entry<'p>, place: Place) -> Result<(), serde_json::Error> {
        let Some(points) = entry.points else {
            self.close(&mut entry);
            self.tally.refuse(Code::Empty, || format!("{place}.measurepoints is missing"));
            return Ok(());
        };
        let target = match self.target(&entry, place) {
            Ok(target) => target,
            Err(refusal) => {
                self.close(&mut entry);
                self.tally.refused.get_or_insert(refusal);
                return Ok(());
            }
        };
        if !entry.open.as_ref().is_some_and(|(open, _)| open.same(&target)) {
            self.close(&mut entry);
            let target = self.open(&mut entry, target.clone());
            let mut json = serde_json::Deserializer::from_str(points);
            PointsSeed { state: self, target, place }.deserialize(&mut json)?;
        }
        let time = match &entry.time {
            None | Some(Scalar::Null) => {
                self.tally.untimed += 1;
                Ok(self.context.now)
            }
            Some(time) => check::time_millis(time, self.context.time_max),
        };
        match time {
            Ok(time) => {
                self.rows.end_row(time);
                self.end_unformatted(&target, time);
            }
            Err(fault) => {
                self.rows.cancel_row();
                self.tally.invalid(fault.code, || format!("{place}.time: {}", fault.reason));
            }
        }
        Ok(())
    }

    /// Adds what the device sent beside its model as a row of the organization's model of unformatted data.
    fn end_unformatted(&mut self, target: &Target, time: Timestamp) {
        if self.unformatted.is_empty() {
            return;
        }
        let (asset, org) = match target {
            Target::Own => (self.context.device.asset, self.context.model.org),
            Target::Other(device, model) => (device.asset, model.org),
        };
        let Some(kept) = self.context.registry.unformatted(org) else { return };
        self.rows.begin_row(kept.model, asset, self.upload.channel());
        for (point, text) in self.unformatted.drain(..) {
            let fits = self.rows.cell(point, ValueRef::Text(&text), None);
            debug_assert!(fits, "all of them are texts");
        }
        self.rows.end_row(time);
    }

    /// The device an entry is about, by its keys.
    fn target(&mut self, entry: &Entry<'p>, place: Place) -> Result<Target, Refusal> {
        let own = self.context.device;
        let (product_key, device_key) = match (entry.product_key.as_deref(), entry.device_key.as_deref()) {
            (None, None) => return Ok(Target::Own),
            (Some(product), Some(device)) => (product, device),
            (product, _) => {
                let absent = if product.is_none() { "productKey" } else { "deviceKey" };
                let message = format!("{place}.{absent} is missing beside its counterpart");
                return Err(Refusal { code: Code::NoSuchDevice, message });
            }
        };
        if product_key == &*own.product_key && device_key == &*own.device_key {
            return Ok(Target::Own);
        }
        let known = self
            .last_other
            .as_ref()
            .filter(|(device, _)| product_key == &*device.product_key && device_key == &*device.device_key);
        let (device, model) = match known {
            Some(known) => known.clone(),
            None => self.other(product_key, device_key, place)?,
        };
        if !self.context.sub_devices.contains(&device.asset) && self.tally.offline.is_none() {
            let message = format!("{place}: sub-device {} is offline", quote(device_key));
            self.tally.offline = Some(Refusal { code: Code::SubDevice, message });
        }
        self.last_other = Some((device.clone(), model.clone()));
        Ok(Target::Other(device, model))
    }

    fn other(
        &self,
        product_key: &str,
        device_key: &str,
        place: Place,
    ) -> Result<(Arc<Device>, Arc<Model>), Refusal> {
        let refusal = |code, reason: &str| {
            let message = format!("{place}: device {}&{} {reason}", quote(device_key), quote(product_key));
            Refusal { code, message }
        };
        let registry = self.context.registry;
        let device = registry
            .device(product_key, device_key)
            .ok_or_else(|| refusal(Code::NoSuchDevice, "does not exist"))?;
        // One answer for "another organization's" and "no gateway": who may not ask learns nothing.
        if !self.context.gateway || device.org != self.context.device.org {
            return Err(refusal(Code::SubDevice, "is not one the publisher may write for"));
        }
        if !device.enabled {
            return Err(refusal(Code::Disabled, "is disabled"));
        }
        let model =
            registry.model(device.model).ok_or_else(|| refusal(Code::NoSuchDevice, "has no model"))?;
        Ok((device, model))
    }
}
