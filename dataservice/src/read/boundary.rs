//! The ends of a range: neighbours beside it, values calculated at its ends, evenly spaced values in it (data service
//! §2, boundary parameters).
//!
//! Meant for points whose storage thins samples out. Neighbours are looked for as far as there is data.

use wattline_model::{DataType, TimeRange, Timestamp};

use crate::cell::Cell;
use crate::error::{Error, Result};
use crate::history::{Room, Source};
use crate::items::Row;
use crate::limits::SAMPLE_SECONDS_MAX;
use crate::params::Params;

/// What is wanted at and between the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundary {
    /// What is stored inside.
    Inside,
    /// And the neighbours beside.
    Outside,
    /// And values calculated at start and end.
    Interpolated,
    /// Nothing but values calculated every so many microseconds.
    Sample { micros: i64, method: Method },
}

/// How a value between two stored ones is calculated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// On the straight line between them; numbers only.
    Linear,
    /// The one before.
    Previous,
    /// The nearer one; of equally near ones the one before.
    Near,
    /// The one after.
    After,
}

impl Boundary {
    /// `boundaryType`, `interval` and `interpolation`.
    pub(super) fn read(params: &Params) -> Result<Boundary> {
        let seconds = params.int_within("interval", 60, 1, SAMPLE_SECONDS_MAX);
        let method = match params.text("interpolation").unwrap_or("linear") {
            "linear" => Ok(Method::Linear),
            "previous" => Ok(Method::Previous),
            "near" => Ok(Method::Near),
            "after" => Ok(Method::After),
            other => Err(Error::invalid(format!(
                "interpolation: {other:?} is none of linear, previous, near and after"
            ))),
        };
        match params.text("boundaryType").unwrap_or("inside") {
            "inside" => Ok(Boundary::Inside),
            "outside" => Ok(Boundary::Outside),
            "interpolated" => Ok(Boundary::Interpolated),
            "sample" => Ok(Boundary::Sample { micros: seconds? * 1_000_000, method: method? }),
            other => Err(Error::invalid(format!(
                "boundaryType: {other:?} is none of inside, outside, interpolated and sample"
            ))),
        }
    }
}

/// At most `rows` rows of each point of `source` in `range`, in the order wanted.
pub(super) fn read_bounded(
    source: &Source<'_>,
    range: TimeRange,
    boundary: Boundary,
    rows: usize,
    descending: bool,
    with_quality: bool,
    room: &mut Room,
) -> Result<Vec<Vec<Row>>> {
    if range.is_empty() {
        return Ok(vec![Vec::new(); source.points.len()]);
    }
    if let Boundary::Sample { micros, method } = boundary {
        return sample(source, range, micros, method, rows, descending, room);
    }
    let mut found =
        if descending { source.last(range, rows, room)? } else { source.first(range, rows, room)? };
    if boundary == Boundary::Inside {
        return Ok(found);
    }
    let (before, after) = neighbours(source, range, with_quality)?;
    for (i, (found, (before, after))) in found.iter_mut().zip(before.into_iter().zip(after)).enumerate() {
        let data_type = source.points[i].data_type;
        let (oldest, newest) =
            if descending { (found.last(), found.first()) } else { (found.first(), found.last()) };
        // Where not all rows fit, what is at the far end is not known, and would not fit either.
        let full = found.len() == rows;
        let (start, end) = match boundary {
            Boundary::Outside => (before, after),
            _ => {
                let next = oldest.or(after.as_ref());
                let start = at_start(range.start, data_type, before.as_ref(), next);
                let last = newest.or(before.as_ref());
                (start, calculated(range.end, data_type, last, after.as_ref()))
            }
        };
        let (near, far) = if descending { (end, start) } else { (start, end) };
        if let Some(near) = near {
            room.take(&near.value)?;
            found.insert(0, near);
        }
        if let Some(far) = far.filter(|_| !full) {
            room.take(&far.value)?;
            found.push(far);
        }
        found.truncate(rows);
    }
    Ok(found)
}

type Neighbours = (Vec<Option<Row>>, Vec<Option<Row>>);

/// The last sample before the range, and the first one at its end or later, of each point.
fn neighbours(source: &Source<'_>, range: TimeRange, with_quality: bool) -> Result<Neighbours> {
    let mut before = source.newest(TimeRange::new(TimeRange::ALL.start, range.start))?;
    if with_quality {
        for (i, row) in before.iter_mut().enumerate() {
            let Some(row) = row else { continue };
            let instant = TimeRange::new(Timestamp(row.time), Timestamp(row.time + 1));
            source.forward(instant, |point, _, _, quality| {
                if point == i {
                    row.quality = quality;
                }
                Ok(true)
            })?;
        }
    }
    let mut room = Room::new();
    let after = source.first(TimeRange::new(range.end, TimeRange::ALL.end), 1, &mut room)?;
    Ok((before, after.into_iter().map(|rows| rows.into_iter().next()).collect()))
}

/// The value at the start of the range; `None` where a sample inside has that time, or none can be calculated.
fn at_start(time: Timestamp, data_type: DataType, before: Option<&Row>, next: Option<&Row>) -> Option<Row> {
    if next.is_some_and(|next| next.time == time.0) {
        return None;
    }
    calculated(time, data_type, before, next)
}

/// The value at `time` on the line between two samples. A sample at that time, which is behind the range if it is its
/// end, is the value.
fn calculated(
    time: Timestamp,
    data_type: DataType,
    before: Option<&Row>,
    after: Option<&Row>,
) -> Option<Row> {
    let value = between(Method::Linear, data_type, time.0, before, after);
    (value != Cell::Null).then_some(Row { time: time.0, value, quality: None })
}

/// Values every `micros` from the start of the range on.
fn sample(
    source: &Source<'_>,
    range: TimeRange,
    micros: i64,
    method: Method,
    rows: usize,
    descending: bool,
    room: &mut Room,
) -> Result<Vec<Vec<Row>>> {
    let span = i128::from(range.end.0) - i128::from(range.start.0);
    let whole = (span - 1) / i128::from(micros) + 1;
    let count = whole.min(rows as i128);
    // The first ones, or the last ones where those come first.
    let skipped = if descending { whole - count } else { 0 };
    let first = (i128::from(range.start.0) + skipped * i128::from(micros)) as i64;
    let mut found: Vec<Vec<Row>> = vec![Vec::new(); source.points.len()];
    let mut before = source.newest(TimeRange::new(TimeRange::ALL.start, Timestamp(first)))?;
    let time_of = |made: usize| first + made as i64 * micros;
    let (count, types) = (count as usize, source.points);
    source.forward(TimeRange::new(Timestamp(first), TimeRange::ALL.end), |i, time, value, _| {
        let row = Row { time, value: Cell::new(types[i].data_type, value), quality: None };
        while found[i].len() < count && time_of(found[i].len()) <= time {
            let at = time_of(found[i].len());
            let value = between(method, types[i].data_type, at, before[i].as_ref(), Some(&row));
            room.take(&value)?;
            found[i].push(Row { time: at, value, quality: None });
        }
        before[i] = Some(row);
        Ok(found[i].len() < count)
    })?;
    for (i, found) in found.iter_mut().enumerate() {
        while found.len() < count {
            let at = time_of(found.len());
            let value = between(method, types[i].data_type, at, before[i].as_ref(), None);
            room.take(&value)?;
            found.push(Row { time: at, value, quality: None });
        }
        if descending {
            found.reverse();
        }
    }
    Ok(found)
}

/// The value at `time` between the last sample before it and the first one at it or after it.
fn between(
    method: Method,
    data_type: DataType,
    time: i64,
    before: Option<&Row>,
    after: Option<&Row>,
) -> Cell {
    if let Some(after) = after.filter(|after| after.time == time) {
        return after.value.clone();
    }
    let copy = |row: Option<&Row>| row.map_or(Cell::Null, |row| row.value.clone());
    match method {
        Method::Previous => copy(before),
        Method::After => copy(after),
        Method::Near => match (before, after) {
            (Some(b), Some(a)) => copy(Some(if a.time - time < time - b.time { a } else { b })),
            (one, other) => copy(one.or(other)),
        },
        Method::Linear => match (before, after) {
            (Some(before), Some(after)) => line(data_type, time, before, after),
            _ => Cell::Null,
        },
    }
}

fn line(data_type: DataType, time: i64, before: &Row, after: &Row) -> Cell {
    let numeric = matches!(data_type, DataType::Int | DataType::Long | DataType::Float | DataType::Double);
    let (Some(from), Some(to), true) = (before.value.number(), after.value.number(), numeric) else {
        return Cell::Null;
    };
    let times = [before.time, time, after.time];
    let value = wattline_series::interpolate(&times, &[Some(from), None, Some(to)])[1];
    match (value, data_type) {
        (None, _) => Cell::Null,
        // Half up, as the Chinese pages have it.
        (Some(value), DataType::Int | DataType::Long) => Cell::Int((value + 0.5).floor() as i64),
        (Some(value), DataType::Float) => Cell::Float32(value as f32),
        (Some(value), _) => Cell::Float(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time: i64, value: Cell) -> Row {
        Row { time, value, quality: None }
    }

    #[test]
    fn values_between_two_samples() {
        let (b, a) = (row(0, Cell::Int(10)), row(10, Cell::Int(15)));
        let at = |method, time| between(method, DataType::Int, time, Some(&b), Some(&a));
        // 10 + 5 · 3/10 = 11.5, half up 12; 10 + 5 · 2/10 = 11.
        assert_eq!((at(Method::Linear, 3), at(Method::Linear, 2)), (Cell::Int(12), Cell::Int(11)));
        assert_eq!((at(Method::Previous, 9), at(Method::After, 1)), (Cell::Int(10), Cell::Int(15)));
        assert_eq!((at(Method::Near, 5), at(Method::Near, 6)), (Cell::Int(10), Cell::Int(15)));
        assert_eq!(at(Method::Previous, 10), Cell::Int(15), "a sample at the time is the value");
        // −10 … −11: −10.5 half up is −10.
        let (b, a) = (row(0, Cell::Int(-10)), row(2, Cell::Int(-11)));
        assert_eq!(between(Method::Linear, DataType::Int, 1, Some(&b), Some(&a)), Cell::Int(-10));
    }

    #[test]
    fn without_a_neighbour_there_is_nothing() {
        let one = row(0, Cell::Float(1.0));
        for method in [Method::Linear, Method::After] {
            assert_eq!(between(method, DataType::Double, 5, Some(&one), None), Cell::Null);
        }
        assert_eq!(between(Method::Previous, DataType::Double, -5, None, Some(&one)), Cell::Null);
        assert_eq!(between(Method::Near, DataType::Double, 5, Some(&one), None), Cell::Float(1.0));
        let text = row(9, Cell::Text("x".into()));
        assert_eq!(between(Method::Linear, DataType::String, 5, Some(&text), Some(&text)), Cell::Null);
    }
}
