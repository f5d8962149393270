//! The batch: the only thing storage accepts.
//!
//! Owns: [`Batch`] (rows of one model for one shard, laid out by column) and [`BatchBuilder`], which lays rows out as
//! they come. Does not own: checking values against a model (`ingest`), order and durability (`storage`).
//!
//! A batch costs what its values cost: a column lists the rows it has values for, so a row that carries one of five
//! hundred points adds one value, one row number and one (asset, time) pair.

use std::fmt;

use crate::id::{AssetId, ModelId, PointId, ShardCount, ShardId};
use crate::limits::BATCH_ROWS_MAX;
use crate::quality::Quality;
use crate::seqno::Source;
use crate::time::Timestamp;
use crate::value::{Kind, ValueRef, Values};

/// Which of the two message channels a batch came by (device protocol §4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Live data: may drive real-time stream jobs and alerts.
    #[default]
    RealTime,
    /// Back-fill and offline integration: stored, and seen by offline jobs only.
    Offline,
}

/// Which tables the samples of a batch go into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Destination {
    /// The latest-value table and history.
    #[default]
    Everywhere,
    /// The latest-value table alone: no storage policy keeps the points, or what history keeps of them is in other
    /// batches.
    Latest,
    /// History alone: samples that a storage policy made of what was sent.
    History,
}

/// Which rows of a batch a column has values for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All of them.
    All,
    /// These, strictly ascending; value `i` of the column belongs to row `rows[i]`.
    Some(Vec<u32>),
}

/// The values of one point in a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The point.
    pub point: PointId,
    /// The rows that have a value.
    pub rows: Rows,
    /// The values, one for each of those rows.
    pub values: Values,
    /// The qualities, one a value, where any was reported.
    pub quality: Option<Vec<Quality>>,
}

/// Rows of one model for one shard, in order of arrival. Rows of one asset may repeat a time: per point the later
/// row wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The shard that owns every asset in it.
    pub shard: ShardId,
    /// The model of every asset in it.
    pub model: ModelId,
    /// The channel it came by.
    pub channel: Channel,
    /// Where it came from.
    pub source: Source,
    /// Where it goes.
    pub to: Destination,
    /// The asset of each row.
    pub assets: Vec<AssetId>,
    /// The time of each row.
    pub times: Vec<Timestamp>,
    /// The columns; at most one a point.
    pub columns: Vec<Column>,
}

/// Why a batch is not well-formed. Named for the developer who built it wrong, never for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchError(String);

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BatchError {}

impl Batch {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.assets.len()
    }

    /// How many samples: values over all columns.
    pub fn points(&self) -> usize {
        self.columns.iter().map(|c| c.values.len()).sum()
    }

    /// Bytes of memory the batch takes, near enough to account for it.
    pub fn bytes(&self) -> usize {
        let columns: usize = self
            .columns
            .iter()
            .map(|c| {
                let rows = if let Rows::Some(rows) = &c.rows { rows.len() * 4 } else { 0 };
                c.values.bytes() + rows + c.quality.as_ref().map_or(0, Vec::len) + size_of::<Column>()
            })
            .sum();
        size_of::<Batch>() + self.rows() * 12 + columns
    }

    /// Whether lengths and row numbers fit together: what every reader of a batch relies on.
    ///
    /// # Errors
    /// Names the column that does not.
    pub fn check(&self) -> Result<(), BatchError> {
        let rows = self.rows();
        if rows > BATCH_ROWS_MAX {
            return Err(BatchError(format!("{rows} rows, more than {BATCH_ROWS_MAX}")));
        }
        if self.times.len() != rows {
            return Err(BatchError(format!("{} times for {rows} rows", self.times.len())));
        }
        for column in &self.columns {
            let values = column.values.len();
            let fits = match &column.rows {
                Rows::All => values == rows,
                Rows::Some(list) => {
                    values == list.len()
                        && list.is_sorted_by(|a, b| a < b)
                        && list.last().is_none_or(|&last| (last as usize) < rows)
                }
            };
            if !fits || column.quality.as_ref().is_some_and(|q| q.len() != values) {
                return Err(BatchError(format!("column {} does not fit {rows} rows", column.point)));
            }
        }
        Ok(())
    }
}

/// Lays rows out by shard and model as they come.
///
/// Use: [`begin_row`](Self::begin_row), any number of [`cell`](Self::cell)s, then [`end_row`](Self::end_row) or
/// [`cancel_row`](Self::cancel_row); at last [`finish`](Self::finish). A message of several rows that must go in
/// whole or not at all takes a [`mark`](Self::mark) first and [`rewind`](Self::rewind)s to it on the first reject.
#[derive(Debug)]
pub struct BatchBuilder {
    shards: ShardCount,
    source: Source,
    parts: Vec<Part>,
    /// The part of the open row.
    open: Option<usize>,
    /// Rows ended, in order, as the part each went to: what [`rewind`](Self::rewind) takes back.
    journal: Vec<u32>,
    points: usize,
}

#[derive(Debug)]
struct Part {
    batch: Batch,
    /// Column of each point, [`NO_COLUMN`] where there is none yet.
    column_of: Vec<u32>,
}

const NO_COLUMN: u32 = u32::MAX;

/// A place in a [`BatchBuilder`] to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

impl BatchBuilder {
    /// An empty builder for a store of `shards` shards.
    pub fn new(shards: ShardCount, source: Source) -> BatchBuilder {
        BatchBuilder { shards, source, parts: Vec::new(), open: None, journal: Vec::new(), points: 0 }
    }

    /// Opens a row of `asset`.
    ///
    /// # Panics
    /// Where a row is open already.
    pub fn begin_row(&mut self, model: ModelId, asset: AssetId, channel: Channel) {
        assert!(self.open.is_none(), "a row is open already");
        let shard = self.shards.shard_of(asset);
        let found = self.parts.iter().rposition(|p| {
            (p.batch.shard, p.batch.model, p.batch.channel) == (shard, model, channel)
                && p.batch.rows() < BATCH_ROWS_MAX
        });
        let part = found.unwrap_or_else(|| {
            self.parts.push(Part {
                batch: Batch {
                    shard,
                    model,
                    channel,
                    source: self.source,
                    to: Destination::Everywhere,
                    assets: Vec::new(),
                    times: Vec::new(),
                    columns: Vec::new(),
                },
                column_of: Vec::new(),
            });
            self.parts.len() - 1
        });
        self.parts[part].batch.assets.push(asset);
        self.open = Some(part);
    }

    /// Puts a value into the open row; a second value for the same point replaces the first. `false`, and nothing
    /// changed, where the point already holds values of another kind: a caller that goes by the model never sees it.
    ///
    /// # Panics
    /// Where no row is open.
    #[must_use]
    pub fn cell(&mut self, point: PointId, value: ValueRef<'_>, quality: Option<Quality>) -> bool {
        let part = &mut self.parts[self.open.expect("a row is open")];
        let row = (part.batch.assets.len() - 1) as u32;
        let column = part.column_mut(point, value.kind());
        if column.values.kind() != value.kind() {
            return false;
        }
        if column.last_row() == Some(row) {
            column.truncate(column.values.len() - 1);
        }
        column.push(row, value, quality)
    }

    /// Closes the open row at `time`. A row without cells is dropped.
    ///
    /// # Panics
    /// Where no row is open.
    pub fn end_row(&mut self, time: Timestamp) {
        let index = self.open.take().expect("a row is open");
        let batch = &mut self.parts[index].batch;
        let row = (batch.assets.len() - 1) as u32;
        let cells = batch.columns.iter().filter(|c| c.last_row() == Some(row)).count();
        if cells == 0 {
            batch.assets.pop();
            return;
        }
        batch.times.push(time);
        self.points += cells;
        self.journal.push(index as u32);
    }

    /// Drops the open row with its cells.
    ///
    /// # Panics
    /// Where no row is open.
    pub fn cancel_row(&mut self) {
        let index = self.open.take().expect("a row is open");
        let part = &mut self.parts[index];
        part.cut(part.batch.assets.len() - 1);
    }

    /// The place to [`rewind`](Self::rewind) to. Take it between rows.
    pub fn mark(&self) -> Mark {
        debug_assert!(self.open.is_none());
        Mark(self.journal.len())
    }

    /// Takes back every row ended since `mark`, and the open one.
    pub fn rewind(&mut self, mark: Mark) {
        if self.open.is_some() {
            self.cancel_row();
        }
        while self.journal.len() > mark.0 {
            let part = &mut self.parts[self.journal.pop().expect("longer than the mark") as usize];
            let rows = part.batch.rows() - 1;
            self.points -= part.cut(rows);
        }
    }

    /// Rows ended so far.
    pub fn rows(&self) -> usize {
        self.journal.len()
    }

    /// Samples in the rows ended so far.
    pub fn points(&self) -> usize {
        self.points
    }

    /// Whether no row was ended.
    pub fn is_empty(&self) -> bool {
        self.journal.is_empty()
    }

    /// The batches, one a shard, model and channel, in order of their first row.
    ///
    /// # Panics
    /// Where a row is still open.
    pub fn finish(self) -> Vec<Batch> {
        assert!(self.open.is_none(), "a row is still open");
        let mut batches: Vec<Batch> = self.parts.into_iter().map(|p| p.batch).collect();
        batches.retain(|b| b.rows() > 0);
        for batch in &mut batches {
            let rows = batch.rows();
            batch.columns.retain(|c| !c.values.is_empty());
            for column in &mut batch.columns {
                if column.rows == Rows::All && column.values.len() < rows {
                    column.list_rows();
                }
            }
            debug_assert_eq!(batch.check(), Ok(()));
        }
        batches
    }
}

impl Part {
    fn column_mut(&mut self, point: PointId, kind: Kind) -> &mut Column {
        let slot = point.0 as usize;
        if self.column_of.len() <= slot {
            self.column_of.resize(slot + 1, NO_COLUMN);
        }
        if self.column_of[slot] == NO_COLUMN {
            self.column_of[slot] = self.batch.columns.len() as u32;
            self.batch.columns.push(Column {
                point,
                rows: Rows::All,
                values: Values::new(kind),
                quality: None,
            });
        }
        &mut self.batch.columns[self.column_of[slot] as usize]
    }

    /// Keeps the first `rows` rows and returns how many values fell.
    fn cut(&mut self, rows: usize) -> usize {
        self.batch.assets.truncate(rows);
        self.batch.times.truncate(rows);
        let mut fell = 0;
        for column in &mut self.batch.columns {
            let keep = match &column.rows {
                Rows::All => column.values.len().min(rows),
                Rows::Some(list) => list.partition_point(|&r| (r as usize) < rows),
            };
            fell += column.values.len() - keep;
            column.truncate(keep);
        }
        fell
    }
}

impl Column {
    /// The last row with a value. While a batch is built, `Rows::All` means "every row up to here".
    fn last_row(&self) -> Option<u32> {
        match &self.rows {
            Rows::All => (self.values.len() as u32).checked_sub(1),
            Rows::Some(list) => list.last().copied(),
        }
    }

    fn push(&mut self, row: u32, value: ValueRef<'_>, quality: Option<Quality>) -> bool {
        if self.rows == Rows::All && self.values.len() < row as usize {
            self.list_rows();
        }
        if !self.values.push(value) {
            return false;
        }
        if let Rows::Some(list) = &mut self.rows {
            list.push(row);
        }
        match (&mut self.quality, quality) {
            (Some(column), quality) => column.push(quality.unwrap_or_default()),
            (None, None) => {}
            (None, Some(quality)) => {
                let mut column = vec![Quality::GOOD; self.values.len() - 1];
                column.push(quality);
                self.quality = Some(column);
            }
        }
        true
    }

    fn list_rows(&mut self) {
        self.rows = Rows::Some((0..self.values.len() as u32).collect());
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        if let Rows::Some(list) = &mut self.rows {
            list.truncate(len);
        }
        if let Some(quality) = &mut self.quality {
            quality.truncate(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: ModelId = ModelId(7);

    fn builder() -> BatchBuilder {
        BatchBuilder::new(ShardCount::new(1).unwrap(), Source::Client)
    }

    fn row(b: &mut BatchBuilder, asset: u32, time: i64, cells: &[(u32, f64)]) {
        b.begin_row(MODEL, AssetId(asset), Channel::RealTime);
        for &(point, value) in cells {
            assert!(b.cell(PointId(point), ValueRef::Float(value), None));
        }
        b.end_row(Timestamp(time));
    }

    #[test]
    fn dense_rows_make_dense_columns() {
        let mut b = builder();
        row(&mut b, 1, 10, &[(0, 1.0), (1, 2.0)]);
        row(&mut b, 2, 10, &[(0, 3.0), (1, 4.0)]);
        let batches = b.finish();
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].points(), 4);
        assert!(batches[0].columns.iter().all(|c| c.rows == Rows::All));
    }

    #[test]
    fn sparse_rows_list_their_rows() {
        let mut b = builder();
        row(&mut b, 1, 10, &[(0, 1.0)]);
        row(&mut b, 1, 11, &[(400, 2.0)]);
        row(&mut b, 1, 12, &[(0, 3.0)]);
        let batch = b.finish().remove(0);
        assert_eq!(batch.columns[0].rows, Rows::Some(vec![0, 2]));
        assert_eq!(batch.columns[1].rows, Rows::Some(vec![1]));
        assert_eq!(batch.check(), Ok(()));
    }

    #[test]
    fn a_cancelled_row_leaves_nothing() {
        let mut b = builder();
        row(&mut b, 1, 10, &[(0, 1.0)]);
        b.begin_row(MODEL, AssetId(1), Channel::RealTime);
        assert!(b.cell(PointId(0), ValueRef::Float(9.0), Quality::new(3)));
        assert!(b.cell(PointId(1), ValueRef::Float(9.0), None));
        b.cancel_row();
        let batch = b.finish().remove(0);
        assert_eq!((batch.rows(), batch.points(), batch.columns.len()), (1, 1, 1));
    }

    #[test]
    fn rewinding_takes_back_whole_messages() {
        let mut b = builder();
        row(&mut b, 1, 10, &[(0, 1.0)]);
        let mark = b.mark();
        row(&mut b, 1, 11, &[(0, 2.0), (1, 2.0)]);
        row(&mut b, 2, 11, &[(1, 2.0)]);
        b.begin_row(MODEL, AssetId(3), Channel::RealTime);
        b.rewind(mark);
        assert_eq!((b.rows(), b.points()), (1, 1));
        row(&mut b, 1, 12, &[(1, 5.0)]);
        let batch = b.finish().remove(0);
        assert_eq!((batch.rows(), batch.points()), (2, 2));
        assert_eq!(batch.columns[1].rows, Rows::Some(vec![1]));
    }

    #[test]
    fn a_repeated_point_keeps_its_last_value() {
        let mut b = builder();
        row(&mut b, 1, 10, &[(0, 1.0), (0, 2.0)]);
        let batch = b.finish().remove(0);
        assert_eq!(batch.columns[0].values, Values::Float(vec![2.0]));
    }

    #[test]
    fn a_quality_that_comes_late_makes_the_earlier_ones_good() {
        let mut b = builder();
        row(&mut b, 1, 10, &[(0, 1.0)]);
        b.begin_row(MODEL, AssetId(1), Channel::RealTime);
        assert!(b.cell(PointId(0), ValueRef::Float(2.0), Quality::new(4)));
        b.end_row(Timestamp(11));
        let batch = b.finish().remove(0);
        let codes: Vec<u8> = batch.columns[0].quality.as_ref().unwrap().iter().map(|q| q.code()).collect();
        assert_eq!(codes, [0, 4]);
    }

    #[test]
    fn a_row_without_cells_is_dropped() {
        let mut b = builder();
        row(&mut b, 1, 10, &[]);
        assert!(b.is_empty() && b.finish().is_empty());
    }
}
