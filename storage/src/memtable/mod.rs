//! The memtable: what was written since the last flush, in order of arrival, readable while it is written.
//!
//! Owns: the rows of a shard since it was frozen last, per model a table of columns that only grow, and the chain
//! that finds the rows of one asset. Does not own: durability (the log was synced before), order across memtables and
//! segments (`run`), when to freeze (`shard`).
//!
//! Cost follows values: a row costs its asset, time and chain link (16 bytes), a value 12 bytes (13 with a
//! quality), whatever the width of the model.
//!
//! Sorting by asset is left to the reader: arrival is mostly in time order, and a counting sort by asset costs a few
//! milliseconds per million rows. One asset's rows are found through a chain of row numbers, newest first.

pub(crate) mod append;
mod read;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use wattline_model::{AssetId, Kind, ModelId, PointId, Seqno};

use append::Append;
pub(crate) use read::{AssetRows, SortedTable, TableView};
pub(crate) use write::MemtableWriter;

/// "No row": the end of a chain.
const NO_ROW: u32 = u32::MAX;

/// The rows of a shard since the last freeze.
#[derive(Default)]
pub(crate) struct Memtable {
    tables: RwLock<HashMap<ModelId, Arc<Table>>>,
    bytes: AtomicUsize,
    rows: AtomicUsize,
    /// Memory of batches that went to the latest-value table alone.
    passed: AtomicUsize,
    first: AtomicU64,
    last: AtomicU64,
}

impl Memtable {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// Whether no batch was noted: nothing to flush, and nothing in the log that a flush would give back.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.load(Ordering::Relaxed) == 0
    }

    /// Memory of batches that are in the log because of this memtable and not in it: they went to the latest-value
    /// table alone.
    pub(crate) fn passed_bytes(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }

    /// The first and last batch in it; both zero while it is empty.
    pub(crate) fn seqnos(&self) -> (Seqno, Seqno) {
        (Seqno(self.first.load(Ordering::Relaxed)), Seqno(self.last.load(Ordering::Relaxed)))
    }

    /// The published part of the table of `model`.
    #[cfg(test)]
    pub(crate) fn view(&self, model: ModelId) -> Option<TableView> {
        let table = Arc::clone(self.tables.read().get(&model)?);
        let rows = table.published.load(Ordering::Acquire);
        (rows > 0).then(|| TableView::new(table, rows, self.seqnos().0))
    }

    /// The published part of every table, by model.
    pub(crate) fn views(&self) -> Vec<TableView> {
        let tables: Vec<Arc<Table>> = self.tables.read().values().cloned().collect();
        let mut views: Vec<TableView> = tables
            .into_iter()
            .filter_map(|table| {
                let rows = table.published.load(Ordering::Acquire);
                (rows > 0).then(|| TableView::new(table, rows, self.seqnos().0))
            })
            .collect();
        views.sort_by_key(|v| v.model());
        views
    }
}

/// The rows of one model. Every column of rows has the same length; `published` of them may be read.
struct Table {
    model: ModelId,
    assets: Append<AtomicU32>,
    times: Append<AtomicU64>,
    /// The row of the same asset before this one.
    previous: Append<AtomicU32>,
    /// The newest row of each asset, published or not.
    heads: RwLock<FxHashMap<AssetId, u32>>,
    columns: RwLock<Vec<Option<Arc<PointColumn>>>>,
    published: AtomicU32,
}

/// The values of one point: `len` of them, value `i` belongs to row `rows[i]`, rows strictly ascending.
struct PointColumn {
    point: PointId,
    kind: Kind,
    rows: Append<AtomicU32>,
    /// Bits of the float, the integer, 0 or 1, or a number of a text.
    values: Append<AtomicU64>,
    /// Set by the first value that has one.
    quality: OnceLock<Append<AtomicU8>>,
    /// Distinct texts.
    texts: RwLock<Vec<Arc<str>>>,
    /// Values whose rows may be published; stored after the values.
    len: AtomicU32,
}

#[cfg(test)]
mod tests;
