//! The integration messages: points or events of many assets in one message, from systems instead of devices.
//!
//! Owns: `integration.measurepoint.post` and `integration.event.post` into rows, and what is wrong with which item.
//! Does not own: how the message came (`server` over HTTP), who may write for which organization (the caller says it),
//! creating what is missing ([`crate::integrate`]).
//!
//! A message is `{id, version, method, params: [item…]}`; an item names its asset by `assetId`, by `productKey` and
//! `deviceKey`, or, where the door is a product's, by `deviceKey` alone. Every item is looked at, so that the answer names
//! all that is wrong; whether the good ones go in beside bad ones is the message's own `skipInvalidMeasurepoints`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed as _, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use wattline_model::batch::Mark;
use wattline_model::{Batch, BatchBuilder, Channel, DataType, Model, OrgId, Point, PointId, ShardCount};
use wattline_model::{Source, Timestamp, ValueRef};
use wattline_registry::{Device, Permissions, Registry, Right};

use super::enos::Missing;
use super::enos::points::{guess, unformatted_text};
use super::scalar::{Cell, CellSeed, Form, ScalarSeed, put};
use crate::check::{self, Fault, Scalar, quote};
use crate::code::Code;
use crate::limits::{MESSAGE_ID_BYTES_MAX, REJECTS_LISTED_MAX};

/// What the items of a message hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Values of measure points.
    Measurepoints,
    /// Events with their output.
    Events,
}

impl Feature {
    /// The `method` of its messages.
    pub const fn method(self) -> &'static str {
        match self {
            Feature::Measurepoints => "integration.measurepoint.post",
            Feature::Events => "integration.event.post",
        }
    }

    /// The member of an item that holds it.
    pub const fn field(self) -> &'static str {
        match self {
            Feature::Measurepoints => "measurepoints",
            Feature::Events => "events",
        }
    }
}

/// What decoding needs to know beside the message.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where assets and models are looked up.
    pub registry: &'a Registry,
    /// The organization that is written for: another one's assets do not exist.
    pub org: OrgId,
    /// What may be done there, where that is not all: assets that may not be written to do not exist.
    pub permissions: Option<&'a Permissions>,
    /// The product of devices that are named by their key alone.
    pub product: Option<&'a str>,
    /// The shards of the store.
    pub shards: ShardCount,
    /// Stands for a missing time.
    pub now: Timestamp,
    /// The latest time accepted.
    pub time_max: Timestamp,
    /// Whether unknown points are to be listed in [`Outcome::missing`] instead of refused.
    pub collect_missing: bool,
    /// Whether keys that a model of the system lacks (events, unformatted data) are to be listed there.
    pub collect_system: bool,
}

/// A message, its items not looked at yet.
#[derive(Clone, Debug)]
pub struct Message<'p> {
    /// Its id, to be echoed where the protocol does.
    pub id: Option<String>,
    /// Whether good items go in beside bad ones.
    pub skip_invalid: bool,
    /// Live data, or history.
    pub channel: Channel,
    items: Vec<&'p RawValue>,
}

/// A fault of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemFault {
    /// Its place in `params`.
    pub item: usize,
    /// The code that a message with this item alone would get.
    pub code: Code,
    /// What is wrong, naming item and field.
    pub message: String,
}

/// What a message came to.
#[derive(Debug)]
pub struct Outcome {
    /// Ok, or the code of the first fault; then there are no batches.
    pub code: Code,
    /// The first faults, in order.
    pub faults: Vec<ItemFault>,
    /// How many there are in all.
    pub fault_count: u64,
    /// What to write.
    pub batches: Vec<Batch>,
    /// Points to create before the message is decoded again; then there are no batches. Only where asked for.
    pub missing: Vec<Missing>,
}

#[derive(Deserialize)]
struct Envelope<'p> {
    id: Option<Json>,
    #[serde(borrow)]
    method: Option<Cow<'p, str>>,
    #[serde(borrow)]
    params: Option<&'p RawValue>,
    #[serde(rename = "skipInvalidMeasurepoints")]
    skip_invalid: Option<Json>,
    #[serde(rename = "isRealtimeIntegration")]
    realtime: Option<Json>,
}

/// Reads the frame of a message.
///
/// # Errors
/// The code and text that refuse the whole of it.
pub fn message(feature: Feature, text: &str) -> Result<Message<'_>, Fault> {
    let wrong = |reason: String| Fault { code: Code::Json, reason };
    let envelope: Envelope<'_> =
        serde_json::from_str(text).map_err(|e| wrong(format!("enos-message is not a valid message: {e}")))?;
    if let Some(method) = envelope.method.as_deref().filter(|&method| method != feature.method()) {
        let reason = format!("method is {:?}, this action's is {:?}", quote(method), feature.method());
        return Err(Fault { code: Code::Method, reason });
    }
    let id = match envelope.id {
        None | Some(Json::Null) => None,
        Some(Json::String(id)) if id.len() <= MESSAGE_ID_BYTES_MAX => Some(id),
        Some(Json::Number(id)) => Some(id.to_string()),
        Some(_) => {
            return Err(wrong(format!("id is no text of up to {MESSAGE_ID_BYTES_MAX} bytes and no number")));
        }
    };
    let flag = |name: &str, value: Option<Json>, default: bool| match value {
        None | Some(Json::Null) => Ok(default),
        Some(Json::Bool(flag)) => Ok(flag),
        Some(Json::String(text)) if text.is_empty() => Ok(default),
        Some(Json::String(text)) if text == "true" || text == "false" => Ok(text == "true"),
        Some(_) => Err(wrong(format!("{name} is neither true nor false"))),
    };
    let skip_invalid = flag("skipInvalidMeasurepoints", envelope.skip_invalid, false)?;
    let realtime = flag("isRealtimeIntegration", envelope.realtime, true)?;
    let channel = if realtime { Channel::RealTime } else { Channel::Offline };
    let params = envelope.params.map_or("", RawValue::get);
    Ok(Message { id, skip_invalid, channel, items: items(params)? })
}

/// The message that bare `params` stand for, as the calls of V1 send them.
///
/// # Errors
/// As [`message`].
pub fn bare(params: &str) -> Result<Message<'_>, Fault> {
    Ok(Message { id: None, skip_invalid: false, channel: Channel::RealTime, items: items(params)? })
}

fn items(params: &str) -> Result<Vec<&RawValue>, Fault> {
    let empty = || Fault { code: Code::Empty, reason: "params is empty".to_owned() };
    if params.is_empty() {
        return Err(empty());
    }
    let items: Vec<&RawValue> = serde_json::from_str(params)
        .map_err(|e| Fault { code: Code::Json, reason: format!("params is not a list: {e}") })?;
    if items.is_empty() { Err(empty()) } else { Ok(items) }
}

/// Decodes a message: all of it, or what its flag allows.
pub fn decode(context: &Context<'_>, feature: Feature, message: &Message<'_>) -> Outcome {
    let mut reader = Reader {
        context,
        feature,
        channel: message.channel,
        rows: BatchBuilder::new(context.shards, Source::Client),
        faults: Vec::new(),
        fault_count: 0,
        missing: Vec::new(),
        scratch: String::new(),
        last: None,
    };
    for (number, item) in message.items.iter().enumerate() {
        let mark = reader.rows.mark();
        if let Err(fault) = reader.item(number, item.get(), mark) {
            let message = format!("params[{number}]{}", fault.reason);
            reader.fault(number, fault.code, message);
        }
    }
    let Reader { rows, faults, fault_count, missing, .. } = reader;
    let refused = faults.first().filter(|_| !message.skip_invalid || !missing.is_empty());
    let code = refused.map_or(Code::Ok, |fault| fault.code);
    let batches = if code == Code::Ok { rows.finish() } else { Vec::new() };
    Outcome { code, faults, fault_count, batches, missing }
}

#[derive(Deserialize)]
struct Item<'p> {
    #[serde(rename = "assetId")]
    asset: Option<String>,
    #[serde(rename = "productKey")]
    product: Option<String>,
    #[serde(rename = "deviceKey")]
    device: Option<String>,
    #[serde(borrow)]
    time: Option<&'p RawValue>,
    #[serde(borrow)]
    measurepoints: Option<&'p RawValue>,
    #[serde(borrow)]
    events: Option<&'p RawValue>,
}

struct Reader<'x, 'c> {
    context: &'x Context<'c>,
    feature: Feature,
    channel: Channel,
    rows: BatchBuilder,
    faults: Vec<ItemFault>,
    fault_count: u64,
    missing: Vec<Missing>,
    scratch: String,
    /// The asset of the item before: samples of one asset usually follow each other.
    last: Option<(Arc<Device>, Arc<Model>)>,
}

impl Reader<'_, '_> {
    fn fault(&mut self, item: usize, code: Code, message: String) {
        self.fault_count += 1;
        if self.faults.len() < REJECTS_LISTED_MAX {
            self.faults.push(ItemFault { item, code, message });
        }
    }

    /// Adds an item's rows. An error refuses the item; its text begins with the field.
    fn item(&mut self, number: usize, text: &str, mark: Mark) -> Result<(), Fault> {
        let item: Item<'_> = serde_json::from_str(text)
            .map_err(|e| Fault { code: Code::Json, reason: format!(" is not a valid item: {e}") })?;
        let (device, model) = self.asset(&item)?;
        let time = self.time(item.time)?;
        let (field, given) = match self.feature {
            Feature::Measurepoints => ("measurepoints", item.measurepoints),
            Feature::Events => ("events", item.events),
        };
        let empty = || Fault { code: Code::Empty, reason: format!(".{field} is missing or empty") };
        let members = members(given.ok_or_else(empty)?.get())
            .map_err(|e| Fault { code: Code::Json, reason: format!(".{field}: {e}") })?;
        if members.is_empty() {
            return Err(empty());
        }
        let faults = self.fault_count;
        match self.feature {
            Feature::Measurepoints => self.points(number, &device, &model, time, &members),
            Feature::Events => self.events(number, &device, time, &members)?,
        }
        // An event is not half an event for want of another; a row of points is worth something without one of them.
        if self.feature == Feature::Events && self.fault_count > faults {
            self.rows.rewind(mark);
        }
        Ok(())
    }

    fn points(
        &mut self,
        number: usize,
        device: &Device,
        model: &Model,
        time: Timestamp,
        members: &[(Cow<'_, str>, &RawValue)],
    ) {
        let mut unformatted: Vec<(PointId, String)> = Vec::new();
        self.rows.begin_row(model.id, device.asset, self.channel);
        for (key, value) in members {
            let told = match model.point_by_key(key) {
                Some(point) => self.point(point, value.get()),
                None => self.unknown(model, key, value.get(), &mut unformatted),
            };
            if let Err(Fault { code, reason }) = told {
                self.fault(number, code, format!("params[{number}].measurepoints.{}: {reason}", quote(key)));
            }
        }
        self.rows.end_row(time);
        let kept = self.context.registry.unformatted(device.org).filter(|_| !unformatted.is_empty());
        if let Some(kept) = kept {
            self.rows.begin_row(kept.model, device.asset, self.channel);
            for (point, text) in unformatted {
                let fits = self.rows.cell(point, ValueRef::Text(&text), None);
                debug_assert!(fits, "all of them are texts");
            }
            self.rows.end_row(time);
        }
    }

    fn point(&mut self, point: &Point, value: &str) -> Result<(), Fault> {
        let cell = read_cell(point, value)?;
        let is_local =
            |value: &Scalar<'_>| matches!(value, Scalar::Text(text) if text.starts_with("local://"));
        if point.data_type == DataType::File && is_local(&cell.value) {
            let reason = "content of files is not kept here; send the URI it has elsewhere".to_owned();
            return Err(Fault { code: Code::NotSupported, reason });
        }
        put(&mut self.rows, point, &cell, &mut self.scratch)
    }

    /// A point that the model lacks: to be created, kept as unformatted data, or refused.
    fn unknown(
        &mut self,
        model: &Model,
        key: &str,
        value: &str,
        unformatted: &mut Vec<(PointId, String)>,
    ) -> Result<(), Fault> {
        let refused = Fault::model(format!("model {} has no such point", model.key));
        if self.context.collect_missing {
            let form = CellSeed { form: Form::Nested, object_is_value: false };
            let cell = form.deserialize(&mut serde_json::Deserializer::from_str(value));
            self.missing.extend(cell.ok().and_then(|cell| guess(model, key, &cell)));
            return Err(refused);
        }
        let registry = self.context.registry;
        let kept = registry.unformatted(model.org).and_then(|kept| registry.model(kept.model));
        let (Some(kept), Some(text)) = (kept, unformatted_text(value)) else { return Err(refused) };
        match kept.point_by_key(key) {
            Some(point) => {
                unformatted.push((point.id, text));
                Ok(())
            }
            None => {
                let (key, data_type) = (key.to_owned(), DataType::String);
                let missing = Missing { model: kept.id, key, data_type, has_quality: false };
                self.missing.extend(self.context.collect_system.then_some(missing));
                Err(refused)
            }
        }
    }

    /// Events are samples of the organization's model of events, one point for each event.
    fn events(
        &mut self,
        number: usize,
        device: &Device,
        time: Timestamp,
        members: &[(Cow<'_, str>, &RawValue)],
    ) -> Result<(), Fault> {
        let registry = self.context.registry;
        let model = registry.events_model(device.org);
        let model =
            model.ok_or_else(|| Fault::model(".events: events of this organization have no place"))?;
        self.rows.begin_row(model.id, device.asset, self.channel);
        for (key, value) in members {
            let told = match model.point_by_key(key) {
                Some(point) => self.point(point, value.get()),
                None => {
                    let (key, data_type) = (key.clone().into_owned(), DataType::Struct);
                    let missing = Missing { model: model.id, key, data_type, has_quality: false };
                    self.missing.extend(self.context.collect_system.then_some(missing));
                    Err(Fault::model("is no name that an event can have"))
                }
            };
            if let Err(Fault { code, reason }) = told {
                self.fault(number, code, format!("params[{number}].events.{}: {reason}", quote(key)));
            }
        }
        self.rows.end_row(time);
        Ok(())
    }

    fn time(&self, time: Option<&RawValue>) -> Result<Timestamp, Fault> {
        let Some(time) = time else { return Ok(self.context.now) };
        let seed = ScalarSeed { form: Form::Plain };
        let scalar = seed.deserialize(&mut serde_json::Deserializer::from_str(time.get()));
        let about = |fault: Fault| Fault { code: fault.code, reason: format!(".time: {}", fault.reason) };
        let scalar = scalar.map_err(|e| about(Fault::format(e.to_string())))?;
        check::time_millis(&scalar, self.context.time_max).map_err(about)
    }

    fn asset(&mut self, item: &Item<'_>) -> Result<(Arc<Device>, Arc<Model>), Fault> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let product = given(&item.product).or_else(|| self.context.product.map(str::to_owned));
        let registry = self.context.registry;
        let none = |reason: String| Fault { code: Code::NoSuchDevice, reason };
        let (device, name) = match (given(&item.asset), product, given(&item.device)) {
            (Some(asset), _, _) => {
                let known = self.last.as_ref().filter(|(device, _)| *device.asset_key == *asset);
                if let Some(known) = known {
                    return Ok(known.clone());
                }
                (registry.asset_by_key(&asset), format!(".assetId: asset {:?}", quote(&asset)))
            }
            (None, Some(product), Some(device)) => {
                let known = self
                    .last
                    .as_ref()
                    .filter(|(known, _)| *known.product_key == *product && *known.device_key == *device);
                if let Some(known) = known {
                    return Ok(known.clone());
                }
                let name = format!(".deviceKey: device {}&{}", quote(&device), quote(&product));
                (registry.device(&product, &device), name)
            }
            _ => return Err(none(" names neither assetId nor productKey and deviceKey".to_owned())),
        };
        // One answer for "another organization's" and "not there": who may not ask learns nothing.
        let permissions = self.context.permissions;
        let may = |device: &Arc<Device>| {
            device.org == self.context.org && permissions.is_none_or(|all| all.may(Right::Write, device))
        };
        let device = device.filter(may);
        let device = device.ok_or_else(|| none(format!("{name} does not exist")))?;
        if !device.enabled {
            return Err(Fault { code: Code::Disabled, reason: format!("{name} is disabled") });
        }
        let model = registry.model(device.model).ok_or_else(|| none(format!("{name} has no model")))?;
        self.last = Some((device.clone(), model.clone()));
        Ok((device, model))
    }
}

/// Reads a value as its point wants it; numbers past what 64 bits hold come as their text.
fn read_cell<'p>(point: &Point, value: &'p str) -> Result<Cell<'p>, Fault> {
    let object_is_value = point.data_type == DataType::Struct;
    let read = |form| {
        let mut json = serde_json::Deserializer::from_str(value);
        CellSeed { form, object_is_value }.deserialize(&mut json)
    };
    let form = Form::of(point.data_type);
    let cell = match read(form) {
        Err(e) if form == Form::Plain && e.to_string().contains("number out of range") => read(Form::Text),
        read => read,
    };
    cell.map_err(|e| Fault::format(e.to_string()))
}

/// Whether the JSON text `value` is a value that `point` can have.
///
/// # Errors
/// Says why not.
pub fn check_value(point: &Point, value: &str) -> Result<(), Fault> {
    let cell = read_cell(point, value)?;
    check::value(point, &cell.value, &mut String::new()).map(|_| ())
}

/// The members of an object, in order, with their values as text.
fn members(text: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, serde_json::Error> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(key) = map.next_key::<Key<'de>>()? {
                members.push((key.0, map.next_value::<&'de RawValue>()?));
            }
            Ok(members)
        }
    }

    #[derive(Deserialize)]
    struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::Deserializer::from_str(text).deserialize_map(Members)
}

#[cfg(test)]
mod tests;
