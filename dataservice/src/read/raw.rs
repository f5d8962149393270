//! Values as they are stored, by time range (data service §2.3, §2.7, §2.8, §2.11, §2.12).
//!
//! The five operations differ in which points they mean and which parameters they know; the way is one.

use std::sync::Arc;

use wattline_model::{Model, ModelId, StorageType, TimeRange};
use wattline_registry::Right;

use super::boundary::{Boundary, read_bounded};
use super::{page_size, shape_of_range};
use crate::answer::of_items;
use crate::error::{Error, Result};
use crate::history::{Room, Source, Wanted};
use crate::items::Series;
use crate::params::Version;
use crate::selection::{Selection, Unknown};
use crate::service::Asked;
use crate::stored::{raw_table, table};
use crate::time::Range;

/// What distinguishes an operation.
#[derive(Clone, Copy)]
struct Kind {
    /// Points of this storage type only.
    storage: Option<StorageType>,
    /// Points that are defined by the model.
    standard: bool,
    /// Points that are not.
    unformatted: bool,
    /// Whether `orderBy` counts.
    orders: bool,
}

const RAW: Kind = Kind { storage: None, standard: true, unformatted: false, orders: true };

pub(crate) fn ai(asked: &Asked<'_>) -> Result<Vec<u8>> {
    read(asked, Kind { storage: Some(StorageType::AiRaw), orders: false, ..RAW })
}

pub(crate) fn generic(asked: &Asked<'_>) -> Result<Vec<u8>> {
    read(asked, Kind { storage: Some(StorageType::Generic), orders: false, ..RAW })
}

pub(crate) fn raw(asked: &Asked<'_>) -> Result<Vec<u8>> {
    read(asked, RAW)
}

pub(crate) fn unified(asked: &Asked<'_>) -> Result<Vec<u8>> {
    read(asked, Kind { unformatted: true, ..RAW })
}

pub(crate) fn unformatted(asked: &Asked<'_>) -> Result<Vec<u8>> {
    read(asked, Kind { standard: false, unformatted: true, ..RAW })
}

/// A point of an asset, and where its samples are.
struct Place {
    key: String,
    has_quality: bool,
    table: ModelId,
    wanted: Wanted,
    /// Whether boundary parameters act on it.
    standard: bool,
}

fn read(asked: &Asked<'_>, kind: Kind) -> Result<Vec<u8>> {
    let params = asked.params;
    let name = params.version().points();
    let points = params.list(name)?;
    if !kind.standard && points.len() > 1 {
        return Err(Error::invalid(format!("{name}: only one point is allowed")));
    }
    let unknown = if kind.unformatted { Unknown::Keep } else { Unknown::Refuse };
    let mut selection = Selection::read(asked, Right::Read, &points, unknown)?;
    let rows = page_size(params, selection.assets.len(), points.len())?;
    let range = Range::read(params)?;
    let descending = kind.orders && read_order(params.text("orderBy"))?;
    let shape = shape_of_range(params, &range, !kind.standard)?.descending(descending);
    // Samples of unformatted data have no quality.
    let shape = if kind.standard { shape.with_quality(params)? } else { shape };
    let boundary = match asked.version() {
        Version::V21 if kind.standard => Boundary::read(params)?,
        _ => Boundary::Inside,
    };
    let outside = kind.unformatted.then(|| asked.registry.unformatted(asked.org)).flatten();
    let outside = outside.and_then(|kept| asked.registry.model(kept.model));

    let ranges = ranges(&selection, &range)?;
    let snapshot = asked.store.snapshot();
    let mut room = Room::new();
    let mut series = Vec::new();
    for (i, asset) in selection.assets.iter().enumerate() {
        let places = places(asked, &selection, i, kind, outside.as_ref());
        let mut read: Vec<Option<Series>> = places.iter().map(|_| None).collect();
        for (table, standard) in tables(&places) {
            let among: Vec<usize> = (0..places.len())
                .filter(|&p| (places[p].table, places[p].standard) == (table, standard))
                .collect();
            let points: Vec<Wanted> = among.iter().map(|&p| places[p].wanted).collect();
            let source = Source {
                snapshot: &snapshot,
                table,
                asset: asset.device.asset,
                points: &points,
                stopped: asked.stopped,
            };
            let boundary = if standard { boundary } else { Boundary::Inside };
            let range = ranges[asset.zone];
            let quality = shape.wants_quality();
            let found = read_bounded(&source, range, boundary, rows, descending, quality, &mut room)?;
            for (p, rows) in among.into_iter().zip(found) {
                let place = &places[p];
                let (key, has_quality) = (place.key.clone(), place.has_quality);
                read[p] = Some(Series { asset: i, key, has_quality, rows });
            }
        }
        series.extend(read.into_iter().flatten());
    }
    let items = shape.write(&mut selection, &series)?;
    Ok(of_items(asked.version(), &items, &selection.refused))
}

/// The instants that `range` means in each zone of `selection`.
pub(super) fn ranges(selection: &Selection, range: &Range) -> Result<Vec<TimeRange>> {
    (0..selection.zones.len()).map(|zone| range.of(selection.zones.zone(zone))).collect()
}

/// Whether times are to descend.
fn read_order(text: Option<&str>) -> Result<bool> {
    let words: Vec<String> =
        text.unwrap_or("timestamp asc").split_whitespace().map(str::to_ascii_lowercase).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["timestamp"] | ["timestamp", "asc"] => Ok(false),
        ["timestamp", "desc"] => Ok(true),
        _ => Err(Error::invalid("orderBy: expected \"timestamp asc\" or \"timestamp desc\"")),
    }
}

/// The points of asset `i` that the operation means, in the order of the request.
fn places(
    asked: &Asked<'_>,
    selection: &Selection,
    i: usize,
    kind: Kind,
    outside: Option<&Arc<Model>>,
) -> Vec<Place> {
    let part = selection.model_of(i);
    let mut places = Vec::new();
    for (p, key) in selection.points.iter().enumerate() {
        let own = part.point(p);
        let standard = own.filter(|_| kind.standard);
        let found = match standard {
            Some(point) => {
                let table = match kind.storage {
                    Some(storage) => table(&asked.policies, &part.model, point, storage),
                    None => raw_table(&asked.policies, &part.model, point),
                };
                table.map(|table| (table, point))
            }
            None => outside
                .filter(|_| own.is_none())
                .and_then(|model| model.point_by_key(key).map(|point| (model.id, point))),
        };
        if let Some((table, point)) = found {
            let wanted = Wanted { point: point.id, data_type: point.data_type };
            let (key, has_quality) = (key.clone(), point.has_quality);
            places.push(Place { key, has_quality, table, wanted, standard: standard.is_some() });
        }
    }
    places
}

/// The tables of `places`, each once.
fn tables(places: &[Place]) -> Vec<(ModelId, bool)> {
    let mut tables: Vec<_> = places.iter().map(|place| (place.table, place.standard)).collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}
