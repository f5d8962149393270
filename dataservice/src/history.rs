//! Samples of one asset out of the store, in order, as many as are wanted.
//!
//! Owns: walking a scan forward or, window by window, backward; the last samples before a time; the bound on the rows
//! and texts of an answer. Does not own: what is made of them (`read`).

use std::collections::VecDeque;

use wattline_model::{AssetId, DataType, Kind, ModelId, PointId, Quality, TimeRange, Timestamp, ValueRef};
use wattline_storage::{
    AggregatePoint, AggregateRequest, Buckets, Cells, Newest, ScanRequest, Snapshot, Wants,
};

use crate::cell::Cell;
use crate::error::{Error, ErrorKind, Result};
use crate::items::Row;
use crate::limits::{ROWS_MAX, TEXT_BYTES_MAX};

/// Rows that a scan hands over at once: a block, so that little is read beyond what is wanted.
const BATCH_ROWS: usize = 1_024;

/// The first window of a backward walk is this part of the range, each further one is four times as long.
const WINDOWS: i64 = 64;

/// A point to read, with the type that its answers have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) point: PointId,
    pub(crate) data_type: DataType,
}

/// Points of one asset in one table.
pub(crate) struct Source<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) table: ModelId,
    pub(crate) asset: AssetId,
    pub(crate) points: &'a [Wanted],
    /// Whether the call was given up.
    pub(crate) stopped: &'a dyn Fn() -> bool,
}

/// What an answer may still hold.
pub(crate) struct Room {
    rows: usize,
    text_bytes: usize,
}

impl Room {
    pub(crate) fn new() -> Room {
        Room { rows: ROWS_MAX, text_bytes: TEXT_BYTES_MAX }
    }

    /// Takes the place of one row.
    ///
    /// # Errors
    /// Too large where there is none left.
    pub(crate) fn take(&mut self, cell: &Cell) -> Result<()> {
        let rows = self.rows.checked_sub(1);
        let bytes = self.text_bytes.checked_sub(cell.text_bytes());
        let (Some(rows), Some(bytes)) = (rows, bytes) else {
            let what = format!(
                "result set too large: more than {ROWS_MAX} rows or {} MiB of texts",
                TEXT_BYTES_MAX >> 20
            );
            return Err(Error::new(ErrorKind::TooLarge, what));
        };
        (self.rows, self.text_bytes) = (rows, bytes);
        Ok(())
    }
}

impl Source<'_> {
    /// Hands the samples of `range` to `take`, by time, with the place of their point. A point of which `take` wants
    /// no more answers `false`; when no point is wanted any more, reading ends.
    pub(crate) fn forward(
        &self,
        range: TimeRange,
        mut take: impl FnMut(usize, i64, ValueRef<'_>, Option<Quality>) -> Result<bool>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut wanted = vec![true; self.points.len()];
        let mut left = wanted.len();
        for scan in self.snapshot.scan(&self.request(range)) {
            for batch in scan {
                if (self.stopped)() {
                    return Err(Error::stopped("the call was given up or took too long"));
                }
                let batch = batch?;
                for (row, &time) in batch.times.iter().enumerate() {
                    for (i, column) in batch.columns.iter().enumerate() {
                        let absent = column.presence.as_ref().is_some_and(|presence| !presence.get(row));
                        if absent || !wanted[i] {
                            continue;
                        }
                        let quality = column.quality.as_ref().map(|quality| quality[row]);
                        if !take(i, time, column.values.get(row), quality)? {
                            wanted[i] = false;
                            left -= 1;
                        }
                    }
                    if left == 0 {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// The first `rows` samples of each point in `range`.
    pub(crate) fn first(&self, range: TimeRange, rows: usize, room: &mut Room) -> Result<Vec<Vec<Row>>> {
        let mut found: Vec<Vec<Row>> = vec![Vec::new(); self.points.len()];
        self.forward(range, |i, time, value, quality| {
            let value = Cell::new(self.points[i].data_type, value);
            room.take(&value)?;
            found[i].push(Row { time, value, quality });
            Ok(found[i].len() < rows)
        })?;
        Ok(found)
    }

    /// The last `rows` samples of each point in `range`, the last one first.
    ///
    /// Segments are read forward only. So the end of the range is looked at first, and earlier parts, each four times
    /// as long, until there are enough.
    pub(crate) fn last(&self, range: TimeRange, rows: usize, room: &mut Room) -> Result<Vec<Vec<Row>>> {
        let mut found: Vec<Vec<Row>> = vec![Vec::new(); self.points.len()];
        let whole = i128::from(range.end.0) - i128::from(range.start.0);
        let mut width = (whole / i128::from(WINDOWS)).max(60_000_000);
        let mut end = range.end;
        while end > range.start && found.iter().any(|found| found.len() < rows) {
            let start = (i128::from(end.0) - width).max(i128::from(range.start.0));
            // It is not before the range's start, which fits.
            let start = Timestamp(start as i64);
            let mut newest: Vec<VecDeque<Row>> = vec![VecDeque::new(); self.points.len()];
            self.forward(TimeRange::new(start, end), |i, time, value, quality| {
                let room_left = rows - found[i].len();
                if room_left == 0 {
                    return Ok(false);
                }
                if newest[i].len() == room_left {
                    newest[i].pop_front();
                }
                let value = Cell::new(self.points[i].data_type, value);
                newest[i].push_back(Row { time, value, quality });
                Ok(true)
            })?;
            for (found, newest) in found.iter_mut().zip(newest) {
                for row in newest.into_iter().rev() {
                    room.take(&row.value)?;
                    found.push(row);
                }
            }
            (end, width) = (start, width.saturating_mul(4));
        }
        Ok(found)
    }

    /// The newest sample of each point in `range`.
    pub(crate) fn newest(&self, range: TimeRange) -> Result<Vec<Option<Row>>> {
        let mut found: Vec<Option<Row>> = vec![None; self.points.len()];
        if range.is_empty() {
            return Ok(found);
        }
        let wants = Wants { ends: true, ..Wants::default() };
        let request = AggregateRequest {
            model: self.table,
            points: self.kinds().map(|(point, kind)| AggregatePoint { point, kind, wants }).collect(),
            assets: Some(vec![self.asset]),
            range,
            buckets: Buckets::Whole,
            by_asset: true,
            newest: Some(Newest::Values),
        };
        for mut aggregate in self.snapshot.aggregate(&request) {
            while aggregate.advance()? {
                if (self.stopped)() {
                    return Err(Error::stopped("the call was given up or took too long"));
                }
            }
            let groups = aggregate.finish();
            for (i, cells) in groups.points.iter().enumerate() {
                let data_type = self.points[i].data_type;
                for group in 0..groups.len() {
                    let (time, value) = match cells {
                        Cells::Float(c) if c[group].count > 0 => {
                            (c[group].last_time, Cell::new(data_type, ValueRef::Float(c[group].last)))
                        }
                        Cells::Int(c) if c[group].count > 0 => {
                            (c[group].last_time, Cell::new(data_type, ValueRef::Int(c[group].last)))
                        }
                        Cells::Other(c) if c[group].count > 0 => match &c[group].last {
                            Some(value) => (c[group].last_time, Cell::new(data_type, value.as_ref())),
                            None => continue,
                        },
                        _ => continue,
                    };
                    found[i] = Some(Row { time, value, quality: None });
                }
            }
        }
        Ok(found)
    }

    fn kinds(&self) -> impl Iterator<Item = (PointId, Kind)> {
        self.points.iter().map(|wanted| (wanted.point, wanted.data_type.kind()))
    }

    fn request(&self, range: TimeRange) -> ScanRequest {
        ScanRequest {
            model: self.table,
            points: self.kinds().collect(),
            assets: Some(vec![self.asset]),
            range,
            every_row: false,
            batch_rows: BATCH_ROWS,
        }
    }
}
