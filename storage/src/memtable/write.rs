//! The writer's side of a memtable.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;
use wattline_model::{Batch, Column, Kind, ModelId, Quality, Rows, Seqno, Values};

use super::append::Tail;
use super::{Append, AtomicU8, AtomicU32, AtomicU64, Memtable, NO_ROW, PointColumn, Table};

/// Texts of up to this many bytes are kept once per column: statuses repeat. Longer ones hardly do.
const INTERNED_BYTES_MAX: usize = 64;
/// Distinct texts a column remembers; beyond, each value is kept by itself.
const INTERNED_TEXTS_MAX: usize = 4_096;

/// Inserts batches into one memtable. There is one a memtable.
pub(crate) struct MemtableWriter {
    memtable: Arc<Memtable>,
    tables: FxHashMap<ModelId, TableWriter>,
    /// Tables with rows that are not published yet.
    unpublished: Vec<ModelId>,
}

struct TableWriter {
    table: Arc<Table>,
    assets: Tail<AtomicU32>,
    times: Tail<AtomicU64>,
    previous: Tail<AtomicU32>,
    columns: Vec<Option<ColumnWriter>>,
}

struct ColumnWriter {
    column: Arc<PointColumn>,
    rows: Tail<AtomicU32>,
    values: Tail<AtomicU64>,
    quality: Tail<AtomicU8>,
    interned: FxHashMap<Arc<str>, u32>,
}

impl MemtableWriter {
    pub(crate) fn new(memtable: Arc<Memtable>) -> MemtableWriter {
        MemtableWriter { memtable, tables: FxHashMap::default(), unpublished: Vec::new() }
    }

    pub(crate) fn memtable(&self) -> &Arc<Memtable> {
        &self.memtable
    }

    /// Inserts a batch; readers see it after [`publish`](Self::publish).
    pub(crate) fn insert(&mut self, seqno: Seqno, batch: &Batch) {
        let memtable = &self.memtable;
        let writer =
            self.tables.entry(batch.model).or_insert_with(|| TableWriter::new(memtable, batch.model));
        let grown = writer.insert(batch);
        memtable.bytes.fetch_add(grown, Ordering::Relaxed);
        memtable.rows.fetch_add(batch.rows(), Ordering::Relaxed);
        memtable.note(seqno);
        if !self.unpublished.contains(&batch.model) {
            self.unpublished.push(batch.model);
        }
    }

    /// Notes a batch that has no rows for history: the flush of this memtable gives its room in the log back.
    pub(crate) fn pass(&mut self, seqno: Seqno, batch: &Batch) {
        self.memtable.passed.fetch_add(batch.bytes(), Ordering::Relaxed);
        self.memtable.note(seqno);
    }

    /// Shows readers every row inserted so far.
    pub(crate) fn publish(&mut self) {
        for model in self.unpublished.drain(..) {
            if let Some(writer) = self.tables.get(&model) {
                writer.table.published.store(writer.assets.len() as u32, Ordering::Release);
            }
        }
    }
}

impl Memtable {
    fn note(&self, seqno: Seqno) {
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(seqno.0, Ordering::Relaxed);
        }
        self.last.store(seqno.0, Ordering::Relaxed);
    }
}

impl TableWriter {
    fn new(memtable: &Memtable, model: ModelId) -> TableWriter {
        let table = Arc::new(Table {
            model,
            assets: Append::default(),
            times: Append::default(),
            previous: Append::default(),
            heads: Default::default(),
            columns: Default::default(),
            published: AtomicU32::new(0),
        });
        memtable.tables.write().insert(model, Arc::clone(&table));
        TableWriter {
            table,
            assets: Tail::default(),
            times: Tail::default(),
            previous: Tail::default(),
            columns: Vec::new(),
        }
    }

    /// Returns the bytes of memory taken.
    fn insert(&mut self, batch: &Batch) -> usize {
        let base = self.assets.len() as u32;
        let mut grown = 0;
        {
            let mut heads = self.table.heads.write();
            grown += self.assets.extend(&self.table.assets, batch.assets.iter().map(|a| a.0));
            grown += self.times.extend(&self.table.times, batch.times.iter().map(|t| t.0 as u64));
            let mut row = base;
            for run in batch.assets.chunk_by(|a, b| a == b) {
                let last = row + run.len() as u32 - 1;
                let before = heads.insert(run[0], last);
                if before.is_none() {
                    grown += HEAD_BYTES;
                }
                grown += self.previous.push(&self.table.previous, before.unwrap_or(NO_ROW));
                grown += self.previous.extend(&self.table.previous, row..last);
                row = last + 1;
            }
        }
        for column in &batch.columns {
            grown += self.column(column).insert(base, column);
        }
        grown
    }

    fn column(&mut self, batch: &Column) -> &mut ColumnWriter {
        let slot = batch.point.0 as usize;
        if self.columns.len() <= slot {
            self.columns.resize_with(slot + 1, || None);
        }
        let table = &self.table;
        self.columns[slot].get_or_insert_with(|| {
            let column = Arc::new(PointColumn {
                point: batch.point,
                kind: batch.values.kind(),
                rows: Append::default(),
                values: Append::default(),
                quality: Default::default(),
                texts: Default::default(),
                len: AtomicU32::new(0),
            });
            let mut columns = table.columns.write();
            if columns.len() <= slot {
                columns.resize(slot + 1, None);
            }
            columns[slot] = Some(Arc::clone(&column));
            ColumnWriter {
                column,
                rows: Tail::default(),
                values: Tail::default(),
                quality: Tail::default(),
                interned: FxHashMap::default(),
            }
        })
    }
}

/// What an asset's entry in the map of heads costs, spare room included.
const HEAD_BYTES: usize = 16;

impl ColumnWriter {
    /// Returns the bytes of memory taken.
    fn insert(&mut self, base: u32, batch: &Column) -> usize {
        debug_assert_eq!(self.column.kind, batch.values.kind());
        let mut grown = 0;
        let column = Arc::clone(&self.column);
        match &batch.rows {
            Rows::All => {
                grown += self.rows.extend(&column.rows, base..base + batch.values.len() as u32);
            }
            Rows::Some(rows) => {
                grown += self.rows.extend(&column.rows, rows.iter().map(|row| base + row));
            }
        }
        let first = self.values.len();
        match &batch.values {
            Values::Float(v) => {
                grown += self.values.extend(&column.values, v.iter().map(|v| v.to_bits()));
            }
            Values::Int(v) => grown += self.values.extend(&column.values, v.iter().map(|&v| v as u64)),
            Values::Bool(v) => {
                grown += self.values.extend(&column.values, v.iter().map(|&v| u64::from(v)));
            }
            Values::Text(texts) => {
                for text in texts.iter() {
                    let number = self.text(text, &mut grown);
                    grown += self.values.push(&column.values, u64::from(number));
                }
            }
        }
        grown += self.qualities(first, batch.quality.as_deref());
        column.len.store(self.values.len() as u32, Ordering::Release);
        grown
    }

    fn qualities(&mut self, first: usize, qualities: Option<&[Quality]>) -> usize {
        if qualities.is_none() && self.column.quality.get().is_none() {
            return 0;
        }
        let column = Arc::clone(&self.column);
        let mut grown = 0;
        let mut fill = |slots: &Append<AtomicU8>, tail: &mut Tail<AtomicU8>| {
            while tail.len() < first {
                grown += tail.push(slots, Quality::GOOD.code());
            }
            for i in 0..self.values.len() - first {
                grown += tail.push(slots, qualities.map_or(Quality::GOOD, |q| q[i]).code());
            }
        };
        match column.quality.get() {
            Some(slots) => fill(slots, &mut self.quality),
            None => {
                // Filled before it is set: a reader that finds it may read every value that is published.
                let slots = Append::default();
                fill(&slots, &mut self.quality);
                let _ = column.quality.set(slots);
            }
        }
        grown
    }

    fn text(&mut self, text: &str, grown: &mut usize) -> u32 {
        debug_assert_eq!(self.column.kind, Kind::Text);
        if let Some(&number) = self.interned.get(text) {
            return number;
        }
        let shared: Arc<str> = Arc::from(text);
        let mut texts = self.column.texts.write();
        let number = texts.len() as u32;
        texts.push(Arc::clone(&shared));
        drop(texts);
        *grown += text.len() + 32;
        if text.len() <= INTERNED_BYTES_MAX && self.interned.len() < INTERNED_TEXTS_MAX {
            self.interned.insert(shared, number);
        }
        number
    }
}
