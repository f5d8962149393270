//! Aggregates over buckets of time: of minute values, of energy, of today (data service §2.4, §2.9, §2.10).
//!
//! Owns: functions and their names, which samples they are over, the labels of buckets. Does not own: aggregating,
//! which `storage` does from block statistics where it can.
//!
//! A bucket is labelled by its start, the grid begins at `startTime`, and a bucket without samples is left out.

use rustc_hash::FxHashMap;
use wattline_model::{
    AssetId, DataType, Kind, ModelId, PointId, StorageType, TimeRange, Timestamp, ValueRef,
};
use wattline_registry::Right;
use wattline_storage::{
    AggregatePoint, AggregateRequest, Buckets, Cells, Groups, PointCell, Snapshot, Wants,
};

use super::buckets::{Stretch, absolute, local};
use super::raw::ranges;
use super::{page_size, shape_of_range};
use crate::answer::of_items;
use crate::cell::Cell;
use crate::error::{Error, Result};
use crate::history::Room;
use crate::items::{LocalTime, Row, Series, Shape};
use crate::limits::INTERVAL_MINUTES_MAX;
use crate::selection::{Selection, Unknown};
use crate::service::Asked;
use crate::stored::table;
use crate::time::{LocalForm, Range};

const MINUTE: i64 = 60_000_000;

/// Advances between two looks at whether the call was given up. The longest ones decode a day of an asset's seconds in a
/// fraction of a millisecond.
const STOPPED_EVERY: u32 = 64;

/// The minutes of the store are those of UTC.
const MINUTES: Buckets = Buckets::Every { origin: 0, micros: MINUTE };

/// What is made of the samples of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Count,
    Avg,
    Sum,
    Max,
    Min,
    First,
    Last,
}

impl Function {
    fn by_name(name: &str) -> Option<Function> {
        Some(match name {
            // A storage page writes `cnt`.
            "count" | "cnt" => Function::Count,
            "avg" => Function::Avg,
            "sum" => Function::Sum,
            "max" => Function::Max,
            "min" => Function::Min,
            "first" => Function::First,
            "last" => Function::Last,
            _ => return None,
        })
    }

    fn wants(self) -> Wants {
        Wants {
            sum: matches!(self, Function::Avg | Function::Sum),
            extremes: matches!(self, Function::Max | Function::Min),
            ends: matches!(self, Function::First | Function::Last),
        }
    }
}

/// A column of the answer.
struct Column {
    function: Function,
    /// The place of its point among those asked for.
    point: usize,
    /// What its values are called.
    key: String,
}

pub(crate) fn ai_normalized(asked: &Asked<'_>) -> Result<Vec<u8>> {
    by_interval(asked, StorageType::AiNormalized)
}

pub(crate) fn electric_power(asked: &Asked<'_>) -> Result<Vec<u8>> {
    by_interval(asked, StorageType::Pi)
}

fn by_interval(asked: &Asked<'_>, storage: StorageType) -> Result<Vec<u8>> {
    let params = asked.params;
    params.required("interval")?;
    let minutes = params.int_within("interval", 0, 0, INTERVAL_MINUTES_MAX)?;
    let name = params.version().points_with_logic();
    let (columns, points) = read_columns(name, &params.list(name)?, minutes > 0)?;
    let points: Vec<&str> = points.iter().map(String::as_str).collect();
    let mut selection = Selection::read(asked, Right::Read, &points, Unknown::Refuse)?;
    let rows = page_size(params, selection.assets.len(), columns.len())?;
    let range = Range::read(params)?;
    let shape = shape_of_range(params, &range, false)?;
    let ranges = ranges(&selection, &range)?;
    let stretches = ranges.iter().enumerate().map(|(zone, &instants)| match minutes {
        0 => Ok(vec![Stretch { range: whole_minutes(instants), buckets: MINUTES }]),
        _ if range.is_local() => local(instants, minutes * MINUTE, selection.zones.zone(zone)),
        _ => Ok(absolute(instants, minutes * MINUTE)),
    });
    let stretches: Vec<Vec<Stretch>> = stretches.collect::<Result<_>>()?;
    let series = aggregate(asked, &selection, &columns, storage, &stretches, rows)?;
    let items = shape.write(&mut selection, &series)?;
    Ok(of_items(asked.version(), &items, &selection.refused))
}

pub(crate) fn current_day(asked: &Asked<'_>) -> Result<Vec<u8>> {
    let params = asked.params;
    let points = params.list(params.version().points())?;
    let mut selection = Selection::read(asked, Right::Read, &points, Unknown::Refuse)?;
    let shape = Shape::read(params, LocalTime::Written(LocalForm::read(params, false)?))?;
    let columns: Vec<Column> = points
        .iter()
        .enumerate()
        .map(|(i, key)| Column { function: Function::Sum, point: i, key: format!("sum({key})") })
        .collect();
    let today = |zone| -> Result<Vec<Stretch>> {
        let now = jiff::Timestamp::from_microsecond(asked.now_micros).map_err(Error::internal)?;
        let midnight =
            now.to_zoned(selection.zones.zone(zone).clone()).start_of_day().map_err(Error::internal)?;
        let start = midnight.timestamp().as_microsecond();
        let end = Timestamp(asked.now_micros.saturating_add(1));
        let micros = (end.0 - start).max(1);
        let range = TimeRange::new(Timestamp(start), end);
        Ok(vec![Stretch { range, buckets: Buckets::Every { origin: start, micros } }])
    };
    let stretches: Vec<Vec<Stretch>> = (0..selection.zones.len()).map(today).collect::<Result<_>>()?;
    let series = aggregate(asked, &selection, &columns, StorageType::Pi, &stretches, 1)?;
    let items = shape.write(&mut selection, &series)?;
    Ok(of_items(asked.version(), &items, &selection.refused))
}

/// The minutes that begin in `range`, from the first one to the end of the last one.
fn whole_minutes(range: TimeRange) -> TimeRange {
    let up = |time: Timestamp| Timestamp(-(-time.0).div_euclid(MINUTE) * MINUTE);
    TimeRange::new(up(range.start), up(range.end))
}

/// The columns asked for, and the points that they are of, each once.
fn read_columns(name: &str, list: &[&str], with_function: bool) -> Result<(Vec<Column>, Vec<String>)> {
    let mut points: Vec<String> = Vec::new();
    let mut columns = Vec::new();
    for entry in list {
        let call = entry.strip_suffix(')').and_then(|entry| entry.split_once('('));
        let (function, point) = match (call, with_function) {
            (Some((function, point)), true) => {
                let known = "count, avg, sum, max, min, first and last";
                let unknown = || Error::invalid(format!("{name}: {function:?} is none of {known}"));
                (Function::by_name(function.trim()).ok_or_else(unknown)?, point.trim())
            }
            (None, false) => (Function::Last, *entry),
            (None, true) => {
                let what = format!("{name}: {entry} needs a function, as in avg({entry})");
                return Err(Error::invalid(what));
            }
            (Some(_), false) => {
                return Err(Error::invalid(format!("{name}: {entry}: with interval 0 there is no function")));
            }
        };
        if point.is_empty() || point.contains(['(', ')']) {
            return Err(Error::invalid(format!("{name}: {entry:?} is no function of a point")));
        }
        let place = points.iter().position(|known| known == point).unwrap_or_else(|| {
            points.push(point.to_owned());
            points.len() - 1
        });
        columns.push(Column { function, point: place, key: (*entry).to_owned() });
    }
    Ok((columns, points))
}

/// Assets that are read together: of one model, on one clock, from one table.
struct Together {
    table: ModelId,
    model: usize,
    zone: usize,
    /// Places in the selection.
    assets: Vec<usize>,
    /// The columns that are in this table.
    columns: Vec<usize>,
}

/// At most `rows` buckets of each column of each asset.
fn aggregate(
    asked: &Asked<'_>,
    selection: &Selection,
    columns: &[Column],
    storage: StorageType,
    stretches: &[Vec<Stretch>],
    rows: usize,
) -> Result<Vec<Series>> {
    let snapshot = asked.store.snapshot();
    let mut room = Room::new();
    let mut found: Vec<Option<Vec<Row>>> = vec![None; selection.assets.len() * columns.len()];
    for group in together(asked, selection, columns, storage) {
        check_numbers(selection, columns, &group)?;
        // Groups come in many parts: the places of assets are found once.
        let places =
            group.assets.iter().map(|&i| (selection.assets[i].device.asset, i)).collect::<FxHashMap<_, _>>();
        let (found, room) = (&mut found, &mut room);
        let mut taker = Taker { selection, columns, group: &group, places, rows, found, room };
        for stretch in &stretches[group.zone] {
            run(asked, &snapshot, *stretch, &mut taker)?;
        }
    }
    let mut series = Vec::new();
    for (i, rows) in found.into_iter().enumerate() {
        let Some(rows) = rows else { continue };
        let (asset, column) = (i / columns.len(), i % columns.len());
        series.push(Series { asset, key: columns[column].key.clone(), has_quality: false, rows });
    }
    Ok(series)
}

fn together(
    asked: &Asked<'_>,
    selection: &Selection,
    columns: &[Column],
    storage: StorageType,
) -> Vec<Together> {
    let mut groups: Vec<Together> = Vec::new();
    // None: nothing is stored of such assets.
    let mut places: FxHashMap<(usize, usize), Option<usize>> = FxHashMap::default();
    for (i, asset) in selection.assets.iter().enumerate() {
        if let Some(place) = places.get(&(asset.model, asset.zone)) {
            if let Some(place) = *place {
                groups[place].assets.push(i);
            }
            continue;
        }
        let part = selection.model_of(i);
        let table_of = |column: &Column| {
            part.point(column.point).and_then(|point| table(&asked.policies, &part.model, point, storage))
        };
        // One storage type of one model is in one table.
        let stored: Vec<usize> = (0..columns.len()).filter(|&c| table_of(&columns[c]).is_some()).collect();
        let Some(table) = stored.first().and_then(|&c| table_of(&columns[c])) else {
            places.insert((asset.model, asset.zone), None);
            continue;
        };
        places.insert((asset.model, asset.zone), Some(groups.len()));
        let (model, zone) = (asset.model, asset.zone);
        groups.push(Together { table, model, zone, assets: vec![i], columns: stored });
    }
    groups
}

fn check_numbers(selection: &Selection, columns: &[Column], group: &Together) -> Result<()> {
    for &c in &group.columns {
        let column = &columns[c];
        let Some(point) = selection.models[group.model].point(column.point) else { continue };
        let numeric = matches!(point.data_type.kind(), Kind::Float | Kind::Int);
        if column.function.wants().sum && !numeric {
            return Err(Error::invalid(format!("{}: {} is no number", column.key, point.key)));
        }
    }
    Ok(())
}

fn run(asked: &Asked<'_>, snapshot: &Snapshot, stretch: Stretch, taker: &mut Taker<'_>) -> Result<()> {
    let (points, request) = taker.request(stretch);
    for mut aggregate in snapshot.aggregate(&request) {
        let mut advances = 0_u32;
        while aggregate.advance()? {
            // An advance is short where statistics answer: asking the clock would be a fiftieth of all.
            advances = advances.wrapping_add(1);
            if advances.is_multiple_of(STOPPED_EVERY) && (asked.stopped)() {
                return Err(Error::stopped("the call was given up or took too long"));
            }
            if let Some(groups) = aggregate.take_some() {
                taker.take(&groups, &points)?;
            }
        }
        taker.take(&aggregate.finish(), &points)?;
    }
    Ok(())
}

/// Where groups go.
struct Taker<'a> {
    selection: &'a Selection,
    columns: &'a [Column],
    group: &'a Together,
    /// The places of its assets in the selection.
    places: FxHashMap<AssetId, usize>,
    rows: usize,
    /// By asset and column.
    found: &'a mut [Option<Vec<Row>>],
    room: &'a mut Room,
}

impl Taker<'_> {
    /// What to ask of the store, with the points in its order.
    fn request(&self, stretch: Stretch) -> (Vec<PointId>, AggregateRequest) {
        let mut wanted: Vec<AggregatePoint> = Vec::new();
        for &c in &self.group.columns {
            let column = &self.columns[c];
            let Some(point) = self.selection.models[self.group.model].point(column.point) else { continue };
            let wants = column.function.wants();
            match wanted.iter_mut().find(|known| known.point == point.id) {
                Some(known) => {
                    known.wants.sum |= wants.sum;
                    known.wants.extremes |= wants.extremes;
                    known.wants.ends |= wants.ends;
                }
                None => wanted.push(AggregatePoint { point: point.id, kind: point.data_type.kind(), wants }),
            }
        }
        let mut assets: Vec<AssetId> =
            self.group.assets.iter().map(|&i| self.selection.assets[i].device.asset).collect();
        assets.sort_unstable();
        let points = wanted.iter().map(|point| point.point).collect();
        let request = AggregateRequest {
            model: self.group.table,
            points: wanted,
            assets: Some(assets),
            range: stretch.range,
            buckets: stretch.buckets,
            by_asset: true,
            newest: None,
        };
        (points, request)
    }

    fn take(&mut self, groups: &Groups, points: &[PointId]) -> Result<()> {
        for group in 0..groups.len() {
            let Some(&asset) = self.places.get(&groups.assets[group]) else { continue };
            for &c in &self.group.columns {
                let column = &self.columns[c];
                let Some(point) = self.selection.models[self.group.model].point(column.point) else {
                    continue;
                };
                let Some(place) = points.iter().position(|id| *id == point.id) else { continue };
                let rows = self.found[asset * self.columns.len() + c].get_or_insert_default();
                if rows.len() == self.rows {
                    continue;
                }
                let value = figure(column.function, point.data_type, &groups.points[place], group);
                if let Some(value) = value {
                    self.room.take(&value)?;
                    rows.push(Row { time: groups.starts[group], value, quality: None });
                }
            }
        }
        Ok(())
    }
}

/// The figure of `function`; `None` where the point has no sample in the group.
fn figure(function: Function, data_type: DataType, cells: &Cells, group: usize) -> Option<Cell> {
    match cells {
        Cells::Float(cells) => {
            let cell = &cells[group];
            let stored = |value: f64| Cell::new(data_type, ValueRef::Float(value));
            (cell.count > 0).then(|| match function {
                Function::Count => count(cell),
                Function::Avg => Cell::Float(cell.sum / cell.count as f64),
                Function::Sum => Cell::Float(cell.sum),
                Function::Max => stored(cell.max),
                Function::Min => stored(cell.min),
                Function::First => stored(cell.first),
                Function::Last => stored(cell.last),
            })
        }
        Cells::Int(cells) => {
            let cell = &cells[group];
            let stored = |value: i64| Cell::new(data_type, ValueRef::Int(value));
            (cell.count > 0).then(|| match function {
                Function::Count => count(cell),
                Function::Avg => Cell::Float(cell.sum as f64 / cell.count as f64),
                Function::Sum => i64::try_from(cell.sum).map_or(Cell::Float(cell.sum as f64), Cell::Int),
                Function::Max => stored(cell.max),
                Function::Min => stored(cell.min),
                Function::First => stored(cell.first),
                Function::Last => stored(cell.last),
            })
        }
        Cells::Other(cells) => {
            let cell = &cells[group];
            let stored = |value: &Option<wattline_model::Value>| {
                value.as_ref().map_or(Cell::Null, |value| Cell::new(data_type, value.as_ref()))
            };
            (cell.count > 0).then(|| match function {
                Function::Count => count(cell),
                // Refused before.
                Function::Avg | Function::Sum => Cell::Null,
                Function::Max => stored(&cell.max),
                Function::Min => stored(&cell.min),
                Function::First => stored(&cell.first),
                Function::Last => stored(&cell.last),
            })
        }
    }
}

fn count<T, S>(cell: &PointCell<T, S>) -> Cell {
    Cell::Int(i64::try_from(cell.count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_read_and_points_come_once() {
        let (columns, points) = read_columns("x", &["avg(p1)", "max(p1)", "cnt( p2 )"], true).unwrap();
        assert_eq!(points, ["p1", "p2"]);
        let read: Vec<_> = columns.iter().map(|c| (c.function, c.point, c.key.as_str())).collect();
        assert_eq!(
            read,
            [(Function::Avg, 0, "avg(p1)"), (Function::Max, 0, "max(p1)"), (Function::Count, 1, "cnt( p2 )")]
        );
        assert_eq!(read_columns("x", &["p1", "p2"], false).unwrap().1, ["p1", "p2"]);
    }

    #[test]
    fn names_must_have_a_function_exactly_if_there_is_an_interval() {
        for (entry, with_function) in [
            ("p1", true),
            ("avg(p1)", false),
            ("median(p1)", true),
            ("avg()", true),
            ("avg(p1", true),
            ("avg((p1))", true),
        ] {
            assert!(read_columns("x", &[entry], with_function).is_err(), "{entry}");
        }
    }
}
