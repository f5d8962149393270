//! Events of devices, as `getEvent` and `searchEvent` tell them (data service §7.2).
//!
//! Owns: which events a search means, their identifiers, their JSON. Does not own: how events are stored (they are samples:
//! the point is the event's identifier, the value its output), HTTP.
//!
//! An event's identifier is where it is: asset, point and time. So an event that was sent twice is one, and finding one
//! needs no index.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::tz::TimeZone;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value as Json, json};
use wattline_model::{AssetId, Kind, Model, OrgId, PointId, TimeRange, Timestamp, ValueRef};
use wattline_registry::{Device, Registry, Right};
use wattline_storage::ScanRequest;

use crate::error::{Error, Result};
use crate::expression::{Expression, Field, FieldKind, Value};
use crate::limits::{EVENTS_PAGE_DEFAULT, EVENTS_RANGE_DEFAULT_MICROS};
use crate::search::{Between, Found, NewestOf, Page, local_time};
use crate::service::{Call, DataService};

/// Rows that a scan hands over at once.
const BATCH_ROWS: usize = 1_024;

/// The fields that a search may name, in its body and in its expression.
const FIELDS: [Field; 5] = [
    Field { name: "productKey", kind: FieldKind::Text },
    Field { name: "deviceKey", kind: FieldKind::Text },
    Field { name: "assetId", kind: FieldKind::Text },
    Field { name: "tslEventKey", kind: FieldKind::Text },
    Field { name: "tslEventType", kind: FieldKind::Text },
];

/// Where `tslEventKey` and `tslEventType` are in [`FIELDS`].
const KEY: usize = 3;
const TYPE: usize = 4;

/// A device of the answer, and the clock it has.
struct Place {
    device: Arc<Device>,
    zone: TimeZone,
    range: TimeRange,
}

/// What a search is about.
struct Search {
    exact: [Option<String>; FIELDS.len()],
    expression: Option<Expression>,
    between: Between,
}

impl Search {
    fn read(body: &Map<String, Json>, now_micros: i64) -> Result<Search> {
        let text = |name: &str| match body.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) if text.is_empty() => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Error::invalid(format!("{name}: expected a text"))),
        };
        let mut exact: [Option<String>; FIELDS.len()] = Default::default();
        for (exact, field) in exact.iter_mut().zip(&FIELDS) {
            *exact = text(field.name)?;
        }
        let read = |text: String| Expression::parse(&text, &FIELDS, &|_| None);
        let expression = text("expression")?.map(read).transpose();
        let expression = expression.map_err(|e| Error::invalid(e.to_string()))?;
        let between = Between::read(body, now_micros, EVENTS_RANGE_DEFAULT_MICROS)?;
        Ok(Search { exact, expression, between })
    }

    /// Whether it means events with this key of this device.
    fn means(&self, device: &Device, key: &str) -> bool {
        let field = |number: usize| match number {
            0 => Value::Text(&device.product_key),
            1 => Value::Text(&device.device_key),
            2 => Value::Text(&device.asset_key),
            KEY => Value::Text(key),
            // Models do not define events here, so none has a type.
            _ => Value::Missing,
        };
        let exact = self.exact.iter().enumerate().all(|(number, wanted)| match wanted {
            None => true,
            Some(wanted) => field(number) == Value::Text(wanted),
        });
        exact && self.expression.as_ref().is_none_or(|expression| expression.holds(&field))
    }

    /// The one asset it can be about, where it names one: `Some(None)` where that is no asset of the organization.
    fn asset(&self, registry: &Registry, org: OrgId) -> Option<Option<AssetId>> {
        let device = match (&self.exact[0], &self.exact[1], &self.exact[2]) {
            (_, _, Some(asset)) => registry.asset_by_key(asset),
            (Some(product), Some(device), None) => registry.device(product, device),
            _ => return None,
        };
        Some(device.filter(|device| device.org == org).map(|device| device.asset))
    }
}

impl DataService {
    /// What `searchEvent` answers: a page of events, the newest first, and its pagination. Reads history.
    ///
    /// # Errors
    /// As [`DataService::read`].
    pub fn search_events(
        &self,
        org: OrgId,
        body: &Map<String, Json>,
        call: &Call<'_>,
    ) -> Result<(Json, Json)> {
        let page = Page::read(body, EVENTS_PAGE_DEFAULT)?;
        let search = Search::read(body, call.now_micros)?;
        let mut newest = NewestOf::new(page.rows());
        let mut places = Places {
            registry: &self.registry,
            org,
            call,
            between: search.between,
            known: FxHashMap::default(),
        };
        let model = self.registry.events_model(org);
        if let Some(model) = &model {
            self.scan_events(model, &search, &mut places, &mut newest, call)?;
        }
        let total = newest.total;
        let mut items = Vec::new();
        for found in page.of(newest.into_sorted()) {
            let place = places.get(found.asset.0)?;
            if let (Some(model), Some(place)) = (&model, place) {
                items.push(self.event_json(model, place, &found));
            }
        }
        Ok((Json::Array(items), page.json(total)))
    }

    fn scan_events(
        &self,
        model: &Model,
        search: &Search,
        places: &mut Places<'_>,
        newest: &mut NewestOf,
        call: &Call<'_>,
    ) -> Result<()> {
        let named = |point: &&wattline_model::Point| {
            search.exact[KEY].as_ref().is_none_or(|key| *key == point.key) && search.exact[TYPE].is_none()
        };
        let points: Vec<PointId> = model.points.iter().filter(named).map(|point| point.id).collect();
        let assets = match search.asset(&self.registry, places.org) {
            Some(None) => return Ok(()),
            Some(Some(asset)) => Some(vec![asset]),
            None => None,
        };
        let range = search.between.widest()?;
        if points.is_empty() || range.is_empty() {
            return Ok(());
        }
        let request = ScanRequest {
            model: model.id,
            points: points.iter().map(|&point| (point, Kind::Text)).collect(),
            assets,
            range,
            every_row: false,
            batch_rows: BATCH_ROWS,
        };
        // Whether events of a device and key are meant is the same for all of them.
        let mut meant: FxHashMap<(AssetId, PointId), bool> = FxHashMap::default();
        for scan in self.store.snapshot().scan(&request) {
            for batch in scan {
                if (call.stopped)() {
                    return Err(Error::stopped("the call was given up or took too long"));
                }
                let batch = batch?;
                for (row, (&time, &asset)) in batch.times.iter().zip(&batch.assets).enumerate() {
                    let Some(place) = places.get(asset)? else { continue };
                    if !place.range.contains(Timestamp(time)) {
                        continue;
                    }
                    for (&point, column) in points.iter().zip(&batch.columns) {
                        if column.presence.as_ref().is_some_and(|presence| !presence.get(row)) {
                            continue;
                        }
                        let key = &model.points[point.0 as usize].key;
                        let means = || search.means(&place.device, key);
                        if *meant.entry((asset, point)).or_insert_with(means) {
                            newest.offer(time, asset, point, || text_of(column.values.get(row)));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What `getEvent` answers; `None` where the organization has no such event. Reads history.
    ///
    /// # Errors
    /// As [`DataService::read`].
    pub fn event(&self, org: OrgId, id: &str, call: &Call<'_>) -> Result<Option<Json>> {
        let Some((asset, point, time)) = decode_id(id) else { return Ok(None) };
        let seen = |device: &Arc<Device>| device.org == org && call.caller.may(Right::Read, device);
        let device = self.registry.asset(asset).filter(seen);
        let (Some(device), Some(model)) = (device, self.registry.events_model(org)) else { return Ok(None) };
        let Some(end) = time.checked_add(1).filter(|_| model.point(point).is_some()) else { return Ok(None) };
        let range = TimeRange::new(Timestamp(time), Timestamp(end));
        let request = ScanRequest {
            model: model.id,
            points: vec![(point, Kind::Text)],
            assets: Some(vec![asset]),
            range,
            every_row: false,
            batch_rows: 1,
        };
        for scan in self.store.snapshot().scan(&request) {
            for batch in scan {
                let batch = batch?;
                if let (Some(_), Some(column)) = (batch.times.first(), batch.columns.first()) {
                    let text = text_of(column.values.get(0));
                    let found = Found { time, asset: Reverse(asset), point: Reverse(point), text };
                    let zone = wattline_registry::timezone(&device.timezone).map_err(Error::internal)?;
                    return Ok(Some(self.event_json(&model, &Place { device, zone, range }, &found)));
                }
            }
        }
        Ok(None)
    }

    fn event_json(&self, model: &Model, place: &Place, found: &Found) -> Json {
        let device = &place.device;
        let key = model.point(found.point.0).map(|point| point.key.as_str());
        json!({
            "eventId": encode_id(found.asset.0, found.point.0, found.time),
            "orgId": self.registry.org(device.org).map(|org| org.key.clone()),
            "productKey": &*device.product_key,
            "deviceKey": &*device.device_key,
            "assetId": &*device.asset_key,
            "tslEventKey": key,
            "tslEventType": null,
            "output": found.text,
            "timestamp": found.time.div_euclid(1_000),
            "localtime": local_time(&place.zone, found.time),
        })
    }
}

/// The devices of a search, each looked up once.
struct Places<'a> {
    registry: &'a Registry,
    org: OrgId,
    call: &'a Call<'a>,
    between: Between,
    known: FxHashMap<AssetId, Option<Place>>,
}

impl Places<'_> {
    /// The device with this number, where the caller may see it.
    fn get(&mut self, asset: AssetId) -> Result<Option<&Place>> {
        if !self.known.contains_key(&asset) {
            let place = self.look_up(asset)?;
            self.known.insert(asset, place);
        }
        Ok(self.known[&asset].as_ref())
    }

    fn look_up(&self, asset: AssetId) -> Result<Option<Place>> {
        let seen = |device: &Arc<Device>| device.org == self.org && self.call.caller.may(Right::Read, device);
        let Some(device) = self.registry.asset(asset).filter(seen) else { return Ok(None) };
        let zone = wattline_registry::timezone(&device.timezone).map_err(Error::internal)?;
        let range = self.between.of(&zone)?;
        Ok(Some(Place { device, zone, range }))
    }
}

fn text_of(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(text) => text.to_owned(),
        ValueRef::Bool(_) | ValueRef::Int(_) | ValueRef::Float(_) => String::new(),
    }
}

fn encode_id(asset: AssetId, point: PointId, time: i64) -> String {
    format!("{:08x}{:08x}{time:016x}", asset.0, point.0)
}

fn decode_id(id: &str) -> Option<(AssetId, PointId, i64)> {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let asset = u32::from_str_radix(&id[..8], 16).ok()?;
    let point = u32::from_str_radix(&id[8..16], 16).ok()?;
    let time = i64::from_str_radix(&id[16..], 16).ok()?;
    Some((AssetId(asset), PointId(point), time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_say_where_an_event_is() {
        let id = encode_id(AssetId(7), PointId(3), 1_709_596_830_000_000);
        assert_eq!(id, "0000000700000003000612de87c2e380");
        assert_eq!(decode_id(&id), Some((AssetId(7), PointId(3), 1_709_596_830_000_000)));
        for bad in
            ["", "20240305ab01", "zz000007000000030006129bc1cd8780", "0000000700000003f0061294e5c4b980"]
        {
            assert_eq!(decode_id(bad), None, "{bad}");
        }
    }
}
