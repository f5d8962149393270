//! Changes of status, and how long each status lasted (data service §2.5, §2.6).

use wattline_model::{StorageType, TimeRange, Timestamp, ValueRef};
use wattline_registry::Right;
use wattline_series::States;
use wattline_series::gathered::Fold as _;

use super::raw::ranges;
use super::shape_of_range;
use crate::answer::of_items;
use crate::cell::{Cell, push_json};
use crate::error::{Error, Result};
use crate::history::{Room, Source, Wanted};
use crate::items::{Row, Series, check_size, separate};
use crate::limits::{LOOK_BACK_MICROS, ROWS_MAX};
use crate::params::split_list;
use crate::selection::{Selection, Unknown};
use crate::service::Asked;
use crate::stored::table;
use crate::time::Range;

/// Runs `read` for each point of each asset that is stored as a status.
fn for_each(
    asked: &Asked<'_>,
    selection: &Selection,
    range: &Range,
    mut read: impl FnMut(usize, usize, &Source<'_>, TimeRange) -> Result<()>,
) -> Result<()> {
    let ranges = ranges(selection, range)?;
    let snapshot = asked.store.snapshot();
    for (i, asset) in selection.assets.iter().enumerate() {
        let part = selection.model_of(i);
        for p in 0..selection.points.len() {
            let Some(point) = part.point(p) else { continue };
            let Some(table) = table(&asked.policies, &part.model, point, StorageType::Di) else { continue };
            let wanted = [Wanted { point: point.id, data_type: point.data_type }];
            let source = Source {
                snapshot: &snapshot,
                table,
                asset: asset.device.asset,
                points: &wanted,
                stopped: asked.stopped,
            };
            read(i, p, &source, ranges[asset.zone])?;
        }
    }
    Ok(())
}

/// The status in force at `start`, of a sample before it.
fn state_before(source: &Source<'_>, start: Timestamp) -> Result<Option<Cell>> {
    let back = TimeRange::new(Timestamp(start.0.saturating_sub(LOOK_BACK_MICROS)), start);
    Ok(source.newest(back)?.into_iter().next().flatten().map(|row| row.value))
}

pub(crate) fn changes(asked: &Asked<'_>) -> Result<Vec<u8>> {
    let params = asked.params;
    let points = params.list(params.version().points())?;
    let mut selection = Selection::read(asked, Right::Read, &points, Unknown::Refuse)?;
    let range = Range::read(params)?;
    let interpolate = params.flag("autoInterpolate", false)?;
    let shape = shape_of_range(params, &range, false)?;
    let mut series = Vec::new();
    let mut room = Room::new();
    for_each(asked, &selection, &range, |asset, p, source, range| {
        let key = selection.points[p].clone();
        let rows = changes_of(source, range, interpolate, &mut room)?;
        series.push(Series { asset, key, has_quality: false, rows });
        Ok(())
    })?;
    let items = shape.write(&mut selection, &series)?;
    Ok(of_items(asked.version(), &items, &selection.refused))
}

/// Of consecutive samples with the same status the first one.
fn changes_of(source: &Source<'_>, range: TimeRange, interpolate: bool, room: &mut Room) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    if range.is_empty() {
        return Ok(rows);
    }
    let mut before = if interpolate { state_before(source, range.start)? } else { None };
    source.forward(range, |_, time, value, quality| {
        let value = Cell::new(source.points[0].data_type, value);
        // Before the first record, unless that is at the start itself.
        if let Some(state) = before.take().filter(|_| time > range.start.0) {
            room.take(&state)?;
            rows.push(Row { time: range.start.0, value: state, quality: None });
        }
        if rows.last().is_none_or(|last| last.value != value) {
            room.take(&value)?;
            rows.push(Row { time, value, quality });
        }
        Ok(true)
    })?;
    if let Some(state) = before {
        room.take(&state)?;
        rows.push(Row { time: range.start.0, value: state, quality: None });
    }
    Ok(rows)
}

/// A status, in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Int(i64),
    Text(String),
}

impl State {
    fn new(value: ValueRef<'_>) -> State {
        match value {
            ValueRef::Int(v) => State::Int(v),
            ValueRef::Bool(v) => State::Int(i64::from(v)),
            // Statuses are whole numbers even where a model declares them otherwise; text tells others apart.
            ValueRef::Float(v) if v.fract() == 0.0 && v.abs() < 1e15 => State::Int(v as i64),
            ValueRef::Float(v) => State::Text(v.to_string()),
            ValueRef::Text(v) => State::Text(v.to_owned()),
        }
    }

    fn of_cell(cell: &Cell) -> Option<State> {
        Some(match cell {
            Cell::Int(v) | Cell::Civil(v) | Cell::Millis(v) => State::Int(*v),
            Cell::Float(v) => State::new(ValueRef::Float(*v)),
            Cell::Float32(v) => State::new(ValueRef::Float(f64::from(*v))),
            Cell::Text(v) | Cell::Json(v) => State::Text(v.clone()),
            Cell::Null => return None,
        })
    }

    fn is_called(&self, name: &str) -> bool {
        match self {
            State::Int(v) => name.parse() == Ok(*v),
            State::Text(v) => name == v,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            State::Int(v) => push_json(out, v),
            State::Text(v) => push_json(out, v),
        }
    }
}

pub(crate) fn durations(asked: &Asked<'_>) -> Result<Vec<u8>> {
    let params = asked.params;
    let points = params.list(params.version().points())?;
    let selection = Selection::read(asked, Right::Read, &points, Unknown::Refuse)?;
    let range = Range::read(params)?;
    // What it says about local times and items has no bearing here, but must be right.
    shape_of_range(params, &range, false)?;
    let status = params.text("status").map(split_list);
    // A list of states leaves the unknown out, unless it is asked for.
    let unknown = params.flag_given("ifWithUnknown")?.unwrap_or(status.is_none());
    let mut items = Vec::new();
    for_each(asked, &selection, &range, |asset, p, source, range| {
        let Some(lasted) = lasted(source, range)? else { return Ok(()) };
        separate(&mut items);
        items.extend_from_slice(b"{\"assetId\":");
        push_json(&mut items, &*selection.assets[asset].device.asset_key);
        items.push(b',');
        push_json(&mut items, asked.version().point());
        items.push(b':');
        push_json(&mut items, &selection.points[p]);
        items.extend_from_slice(b",\"scanEndTimestamp\":");
        push_json(&mut items, &lasted.scan_end.millis());
        items.extend_from_slice(b",\"durations\":[");
        let mut durations = Vec::new();
        let named = |state: &State| match &status {
            None => true,
            Some(names) => names.iter().any(|name| state.is_called(name)),
        };
        for (state, micros) in lasted.states.durations.iter().filter(|(state, _)| named(state)) {
            separate(&mut durations);
            durations.extend_from_slice(b"{\"status\":");
            state.write(&mut durations);
            durations.extend_from_slice(b",\"duration\":");
            push_json(&mut durations, &(micros / 1_000));
            durations.push(b'}');
        }
        if unknown && lasted.unknown_micros > 0 {
            separate(&mut durations);
            let text = format!("{{\"status\":\"Unknown\",\"duration\":{}}}", lasted.unknown_micros / 1_000);
            durations.extend_from_slice(text.as_bytes());
        }
        items.extend_from_slice(&durations);
        items.extend_from_slice(b"]}");
        check_size(&items)
    })?;
    Ok(of_items(asked.version(), &items, &selection.refused))
}

/// How long a series was in which state, from the start of the range to its last record.
struct Lasted {
    scan_end: Timestamp,
    states: States<State>,
    /// How long the state was not known.
    unknown_micros: i64,
}

fn lasted(source: &Source<'_>, range: TimeRange) -> Result<Option<Lasted>> {
    let mut states = States::default();
    let (mut scanned, mut first) = (0, None);
    source.forward(range, |_, time, value, _| {
        if first.is_none() {
            first = Some(time);
            let before = if time > range.start.0 { state_before(source, range.start)? } else { None };
            if let Some(state) = before.as_ref().and_then(State::of_cell) {
                states.push(range.start, state).map_err(Error::from)?;
            }
        }
        states.push(Timestamp(time), State::new(value)).map_err(Error::from)?;
        scanned += 1;
        Ok(scanned < ROWS_MAX)
    })?;
    let Some((begin, end)) = states.ends.as_ref().map(|(first, last)| (first.time, last.time)) else {
        return Ok(None);
    };
    Ok(Some(Lasted { scan_end: end, unknown_micros: begin.0 - range.start.0, states }))
}
