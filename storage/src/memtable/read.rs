//! The reader's side of a memtable: rows of one asset, or all rows sorted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;
use wattline_model::{
    AssetId, Column, Kind, ModelId, PointId, Quality, Rows, Seqno, TimeRange, Timestamp, Values,
};

use super::append::Reader;
use super::{AtomicU8, AtomicU32, AtomicU64, NO_ROW, PointColumn, Table};
use crate::run::Run;

/// The first `rows` rows of a table, for ever the same.
#[derive(Clone)]
pub(crate) struct TableView {
    table: Arc<Table>,
    rows: u32,
    /// The first batch of the memtable.
    first: Seqno,
}

impl TableView {
    pub(super) fn new(table: Arc<Table>, rows: u32, first: Seqno) -> TableView {
        TableView { table, rows, first }
    }

    pub(crate) fn first(&self) -> Seqno {
        self.first
    }

    pub(crate) fn model(&self) -> ModelId {
        self.table.model
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows as usize
    }

    /// The columns of `points`, of all points where that is `None`, ascending.
    fn columns(&self, points: Option<&[PointId]>) -> Vec<ColumnView> {
        let columns = self.table.columns.read();
        let view = |c: &Arc<PointColumn>| ColumnView::new(c, self.rows);
        match points {
            None => columns.iter().flatten().map(view).collect(),
            Some(points) => {
                let mut points = points.to_vec();
                points.sort_unstable();
                points.dedup();
                points.iter().filter_map(|p| columns.get(p.0 as usize)?.as_ref()).map(view).collect()
            }
        }
    }

    /// A reader of the rows of single assets.
    pub(crate) fn by_asset(&self, points: Option<&[PointId]>) -> AssetRows {
        AssetRows {
            times: self.table.times.read(),
            previous: self.table.previous.read(),
            columns: self.columns(points),
            view: self.clone(),
        }
    }

    /// All rows sorted by asset and time, duplicates resolved.
    pub(crate) fn sorted(&self, points: Option<&[PointId]>) -> SortedTable {
        SortedTable::new(self, points)
    }
}

/// The values of one point whose rows are in the view.
struct ColumnView {
    point: PointId,
    kind: Kind,
    rows: Reader<AtomicU32>,
    values: Reader<AtomicU64>,
    quality: Option<Reader<AtomicU8>>,
    texts: Vec<Arc<str>>,
    len: usize,
}

impl ColumnView {
    fn new(column: &Arc<PointColumn>, rows: u32) -> ColumnView {
        let len = column.len.load(Ordering::Acquire) as usize;
        let mut view = ColumnView {
            point: column.point,
            kind: column.kind,
            rows: column.rows.read(),
            values: column.values.read(),
            quality: column.quality.get().map(|q| q.read()),
            texts: if column.kind == Kind::Text { column.texts.read().clone() } else { Vec::new() },
            len,
        };
        // Values of rows that came after the view was made do not count.
        view.len = view.first_at_or_after(rows);
        view
    }

    /// The number of the first value whose row is `row` or later.
    fn first_at_or_after(&self, row: u32) -> usize {
        // Rows are strictly ascending from 0, so value `i` belongs to row `i` or later.
        let (mut low, mut high) = (0, self.len.min(row as usize));
        if high == self.len && (high == 0 || self.rows.get(high - 1) < row) {
            return high;
        }
        while low < high {
            let middle = low.midpoint(high);
            if self.rows.get(middle) < row { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The number of the value of `row`.
    fn find(&self, row: u32) -> Option<usize> {
        let guess = row as usize;
        if guess < self.len && self.rows.get(guess) == row {
            return Some(guess);
        }
        let i = self.first_at_or_after(row);
        (i < self.len && self.rows.get(i) == row).then_some(i)
    }

    /// The column of the values `picked`, as (row of the run, number of the value), rows strictly ascending.
    fn gather(&self, picked: &[(u32, u32)], run_rows: usize) -> Option<Column> {
        if picked.is_empty() {
            return None;
        }
        let bits = picked.iter().map(|&(_, i)| self.values.get(i as usize));
        let values = match self.kind {
            Kind::Float => Values::Float(bits.map(f64::from_bits).collect()),
            Kind::Int => Values::Int(bits.map(|b| b as i64).collect()),
            Kind::Bool => Values::Bool(bits.map(|b| b != 0).collect()),
            Kind::Text => Values::Text(bits.map(|b| &*self.texts[b as usize]).collect()),
        };
        let quality = self.quality.as_ref().map(|q| {
            picked
                .iter()
                .map(|&(_, i)| Quality::new(q.get(i as usize)).expect("only qualities are inserted"))
                .collect()
        });
        let rows = if picked.len() == run_rows {
            Rows::All
        } else {
            Rows::Some(picked.iter().map(|&(row, _)| row).collect())
        };
        Some(Column { point: self.point, rows, values, quality })
    }
}

/// Reads the rows of single assets.
pub(crate) struct AssetRows {
    view: TableView,
    times: Reader<AtomicU64>,
    previous: Reader<AtomicU32>,
    columns: Vec<ColumnView>,
}

impl AssetRows {
    /// The rows of `asset` in `range`.
    pub(crate) fn run(&self, asset: AssetId, range: TimeRange) -> Run {
        let mut rows = self.rows_of(asset, range);
        rows.sort_unstable();
        let mut times: Vec<i64> = Vec::with_capacity(rows.len());
        let mut places: Vec<(u32, u32)> = Vec::with_capacity(rows.len());
        for (time, row) in rows {
            if times.last() != Some(&time) {
                times.push(time);
            }
            places.push((times.len() as u32 - 1, row));
        }
        let columns = self.columns.iter().filter_map(|column| {
            let mut picked: Vec<(u32, u32)> = Vec::with_capacity(places.len());
            for &(place, row) in &places {
                let Some(i) = column.find(row) else { continue };
                match picked.last_mut() {
                    Some(last) if last.0 == place => last.1 = i as u32,
                    _ => picked.push((place, i as u32)),
                }
            }
            column.gather(&picked, times.len())
        });
        Run { columns: columns.collect(), times }
    }

    /// The rows of `asset` in `range` as (time, row).
    fn rows_of(&self, asset: AssetId, range: TimeRange) -> Vec<(i64, u32)> {
        let mut rows = Vec::new();
        let mut row = self.view.table.heads.read().get(&asset).copied().unwrap_or(NO_ROW);
        if row != NO_ROW && row >= self.view.rows {
            // The head is newer than this view. Links are pushed under the lock of the heads, so a fresh reader has
            // those that lead back into the view.
            let previous = self.view.table.previous.read();
            while row != NO_ROW && row >= self.view.rows {
                row = previous.get(row as usize);
            }
        }
        while row != NO_ROW {
            let time = self.times.get(row as usize) as i64;
            if range.contains(Timestamp(time)) {
                rows.push((time, row));
            }
            row = self.previous.get(row as usize);
        }
        rows
    }
}

/// All rows of a view in (asset, time) order. Places count rows in that order, duplicates resolved.
pub(crate) struct SortedTable {
    /// Each asset with the places of its rows.
    assets: Vec<(AssetId, u32, u32)>,
    /// The time at each place.
    times: Vec<i64>,
    columns: Vec<SortedColumn>,
}

struct SortedColumn {
    view: ColumnView,
    /// (place, number of the value), places strictly ascending.
    entries: Vec<(u32, u32)>,
}

impl SortedTable {
    fn new(view: &TableView, points: Option<&[PointId]>) -> SortedTable {
        let rows = view.rows();
        let (asset_slots, times_slots) = (view.table.assets.read(), view.table.times.read());
        let mut distinct: Vec<u32> = Vec::new();
        let mut number: FxHashMap<u32, u32> = FxHashMap::default();
        let mut slot_of_row: Vec<u32> = Vec::with_capacity(rows);
        for row in 0..rows {
            let asset = asset_slots.get(row);
            slot_of_row.push(*number.entry(asset).or_insert_with(|| {
                distinct.push(asset);
                distinct.len() as u32 - 1
            }));
        }
        let mut by_asset: Vec<u32> = (0..distinct.len() as u32).collect();
        by_asset.sort_unstable_by_key(|&slot| distinct[slot as usize]);

        // Counting sort by asset: where each asset's rows begin, then each row to its place, in order of arrival.
        let mut counts = vec![0_u32; distinct.len()];
        slot_of_row.iter().for_each(|&slot| counts[slot as usize] += 1);
        let mut next = vec![0_u32; distinct.len()];
        let mut begin = 0;
        for &slot in &by_asset {
            next[slot as usize] = begin;
            begin += counts[slot as usize];
        }
        let mut order = vec![0_u32; rows];
        for (row, &slot) in slot_of_row.iter().enumerate() {
            order[next[slot as usize] as usize] = row as u32;
            next[slot as usize] += 1;
        }

        let mut table =
            SortedTable { assets: Vec::new(), times: Vec::with_capacity(rows), columns: Vec::new() };
        let mut place_of_row = vec![0_u32; rows];
        let mut begin = 0;
        for &slot in &by_asset {
            let end = begin + counts[slot as usize] as usize;
            table.place(
                AssetId(distinct[slot as usize]),
                &mut order[begin..end],
                &times_slots,
                &mut place_of_row,
            );
            begin = end;
        }
        table.columns =
            view.columns(points).into_iter().map(|c| table.sort_column(c, &place_of_row)).collect();
        table
    }

    /// Gives the rows of one asset, in order of arrival, their places in order of time.
    fn place(
        &mut self,
        asset: AssetId,
        rows: &mut [u32],
        times: &Reader<AtomicU64>,
        place_of_row: &mut [u32],
    ) {
        let time_of = |row: u32| times.get(row as usize) as i64;
        if !rows.is_sorted_by_key(|&row| time_of(row)) {
            rows.sort_by_key(|&row| time_of(row));
        }
        let first = self.times.len();
        for &mut row in rows {
            let time = time_of(row);
            if self.times.len() == first || self.times.last() != Some(&time) {
                self.times.push(time);
            }
            place_of_row[row as usize] = self.times.len() as u32 - 1;
        }
        self.assets.push((asset, first as u32, self.times.len() as u32));
    }

    fn sort_column(&self, view: ColumnView, place_of_row: &[u32]) -> SortedColumn {
        let placed = |i: usize| place_of_row[view.rows.get(i) as usize];
        let mut entries: Vec<(u32, u32)>;
        if view.len * SCATTER_SHARE >= self.times.len() {
            // Values come in order of arrival, so the last one put at a place is the one that wins.
            let mut at = vec![NO_ROW; self.times.len()];
            (0..view.len).for_each(|i| at[placed(i) as usize] = i as u32);
            entries = Vec::with_capacity(view.len);
            entries.extend(at.iter().enumerate().filter(|e| *e.1 != NO_ROW).map(|(p, &i)| (p as u32, i)));
        } else {
            entries = (0..view.len).map(|i| (placed(i), i as u32)).collect();
            entries.sort_unstable();
            let mut kept = 0;
            for i in 0..entries.len() {
                if entries.get(i + 1).is_none_or(|next| next.0 != entries[i].0) {
                    entries[kept] = entries[i];
                    kept += 1;
                }
            }
            entries.truncate(kept);
        }
        SortedColumn { view, entries }
    }

    /// The assets, ascending.
    #[cfg(test)]
    pub(crate) fn assets(&self) -> impl Iterator<Item = AssetId> {
        self.assets.iter().map(|a| a.0)
    }

    /// How many assets.
    pub(crate) fn len(&self) -> usize {
        self.assets.len()
    }

    /// Asset `i` in order.
    pub(crate) fn asset(&self, i: usize) -> AssetId {
        self.assets[i].0
    }

    /// The rows of asset `i` in `range`.
    pub(crate) fn run(&self, i: usize, range: TimeRange) -> Run {
        let (_, first, last) = self.assets[i];
        let times = &self.times[first as usize..last as usize];
        let from = first + times.partition_point(|&t| t < range.start.0) as u32;
        let to = first + times.partition_point(|&t| t < range.end.0) as u32;
        if from >= to {
            return Run::default();
        }
        let columns = self.columns.iter().filter_map(|column| {
            let begin = column.entries.partition_point(|e| e.0 < from);
            let len = column.entries[begin..].partition_point(|e| e.0 < to);
            let picked: Vec<(u32, u32)> =
                column.entries[begin..begin + len].iter().map(|&(place, i)| (place - from, i)).collect();
            column.view.gather(&picked, (to - from) as usize)
        });
        Run { columns: columns.collect(), times: self.times[from as usize..to as usize].to_vec() }
    }
}

/// A column with at least one value in this many rows is sorted by scattering, a sparser one by comparison.
const SCATTER_SHARE: usize = 8;
