//! The directory of a chunk: where the blocks of each column lie, and their statistics.
//!
//! Owns: its layout. Read lazily: a chunk's table of columns when a column of it is first asked for, a column's
//! entries when that column is.

use std::sync::OnceLock;

use wattline_model::Kind;

use super::stats::{Stats, StatsList};
use crate::block::mapping::Mapping;
use crate::block::shared::{self, Heads, Packed};
use crate::error::Error;
use crate::frame;
use crate::varint::{Input, put_varint};

/// Payloads up to this long lie in the directory itself: a pointer and a checksum would cost as much.
pub(super) const INLINE_BYTES_MAX: usize = 32;
/// Blocks of at least this many values carry statistics; of fewer they are computed from the values.
pub(super) const STATS_VALUES_MIN: usize = 17;

const ENTRY_FULL: u8 = 0b0001;
const ENTRY_STATS: u8 = 0b0010;
const ENTRY_QUALITY: u8 = 0b0100;
/// Statistics are relative to each other, those of floats integers by the column's map.
const ENTRY_STATS_RELATIVE: u8 = 0b1000;
const ENTRY_KNOWN: u8 = 0b1111;

const COLUMN_KIND: u8 = 0b0011;
const COLUMN_EVERY_BLOCK: u8 = 0b0100;
const COLUMN_SHARED: u8 = 0b1000;
const COLUMN_MAPPED: u8 = 0b1_0000;
/// The flags of all entries are the same and stand before them.
const COLUMN_SAME_FLAGS: u8 = 0b10_0000;
const COLUMN_KNOWN: u8 = 0b11_1111;

/// The directory of a chunk.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) times: Vec<Payload>,
    pub(super) columns: Vec<ColumnPlace>,
}

impl Directory {
    /// Bytes of memory, near enough to account for it.
    pub(super) fn memory(&self) -> usize {
        let columns = self.columns.iter().filter_map(|place| place.column.get()).map(Column::memory);
        let places = self.columns.len() * size_of::<ColumnPlace>() + self.times.len() * size_of::<Payload>();
        places + columns.sum::<usize>()
    }
}

impl Column {
    fn memory(&self) -> usize {
        self.blocks.len() * size_of::<Option<Entry>>() + self.stats.memory() + self.heads.memory()
    }

    /// The statistics of block `block`, of `rows` rows; `None` where they are not stored or it has no values.
    pub(super) fn stats(&self, block: usize, rows: u32) -> Option<Stats> {
        let count = self.blocks.get(block)?.as_ref().filter(|entry| entry.has_stats)?.count;
        self.stats.get(block, count, rows.checked_sub(count)?)
    }
}

/// Where a column's entries lie; the entries themselves once they were asked for.
#[derive(Debug)]
pub(super) struct ColumnPlace {
    offset: u64,
    bytes: usize,
    data: u64,
    data_bytes: u64,
    column: OnceLock<Column>,
}

/// The blocks of one column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) kind: Kind,
    /// One a block of the chunk; `None` where it has no value.
    pub(super) blocks: Vec<Option<Entry>>,
    /// The statistics of each.
    pub(super) stats: StatsList,
    /// What the blocks have in common.
    pub(super) heads: Heads,
    /// Bytes of those, and of the statistics.
    pub(super) head_bytes: u64,
    pub(super) stats_bytes: u64,
}

/// One column in one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) count: u32,
    pub(super) quality: bool,
    pub(super) has_stats: bool,
    pub(super) payload: Payload,
}

/// Encoded bytes: where in the file, and their checksum unless the directory's covers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) offset: u64,
    pub(super) bytes: usize,
    pub(super) checksum: Option<u32>,
}

fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Float => 0,
        Kind::Int => 1,
        Kind::Bool => 2,
        Kind::Text => 3,
    }
}

fn kind_of(code: u8) -> Kind {
    match code & COLUMN_KIND {
        0 => Kind::Float,
        1 => Kind::Int,
        2 => Kind::Bool,
        _ => Kind::Text,
    }
}

/// Appends the place of a payload, or the payload itself, to the directory; what is not inline goes to `data`.
fn put_payload(directory: &mut Vec<u8>, data: &mut Vec<u8>, payload: &[u8]) {
    put_varint(directory, payload.len() as u64);
    if payload.len() <= INLINE_BYTES_MAX {
        directory.extend_from_slice(payload);
    } else {
        directory.extend_from_slice(&frame::checksum_u32(payload).to_le_bytes());
        data.extend_from_slice(payload);
    }
}

/// Reads a payload's place; `data` is where the next one that is not inline starts.
fn payload(input: &mut Input<'_>, data: &mut u64, data_end: u64) -> Result<Payload, Error> {
    let bytes = input.count("bytes of a payload", usize::MAX)?;
    if bytes <= INLINE_BYTES_MAX {
        let offset = input.offset();
        input.take(bytes)?;
        return Ok(Payload { offset, bytes, checksum: None });
    }
    let checksum = Some(input.u32()?);
    let offset = *data;
    let end = offset.checked_add(bytes as u64).filter(|&end| end <= data_end);
    *data = end.ok_or_else(|| input.damaged(&format!("a payload before {data_end}"), offset))?;
    Ok(Payload { offset, bytes, checksum })
}

/// Lays out a directory while the blocks of its chunk are encoded: times first, then column by column.
#[derive(Debug, Default)]
pub(super) struct Builder {
    times: Vec<u8>,
    table: Vec<u8>,
    columns: Vec<u8>,
    entries: Vec<u8>,
}

impl Builder {
    /// Adds the times of the next block.
    pub(super) fn time(&mut self, data: &mut Vec<u8>, payload: &[u8]) {
        put_payload(&mut self.times, data, payload);
    }

    /// Adds a column; `rows` are the lengths of all blocks.
    pub(super) fn column(&mut self, data: &mut Vec<u8>, kind: Kind, rows: &[u32], built: &BuiltColumn) {
        let BuiltColumn { entries: blocks, sequences, mapping } = built;
        let data_start = data.len();
        self.entries.clear();
        let every = blocks.len() == rows.len();
        let shared = if sequences.is_empty() { 0 } else { COLUMN_SHARED };
        let mapped = if mapping.is_some() { COLUMN_MAPPED } else { 0 };
        let places = if every { COLUMN_EVERY_BLOCK } else { 0 };
        let described: Vec<(u8, Option<Vec<u8>>)> =
            blocks.iter().map(|e| describe(e, rows, *mapping)).collect();
        let same = described.first().map(|(flags, _)| *flags);
        let same = same.filter(|_| described.len() > 1 && described.windows(2).all(|w| w[0].0 == w[1].0));
        let same_flags = if same.is_some() { COLUMN_SAME_FLAGS } else { 0 };
        self.entries.push(kind_code(kind) | shared | mapped | places | same_flags);
        if let Some(mapping) = mapping {
            mapping.put(&mut self.entries);
        }
        if shared != 0 {
            shared::put_heads(&mut self.entries, sequences);
        }
        if !every {
            let start = self.entries.len();
            self.entries.resize(start + rows.len().div_ceil(8), 0);
            for entry in blocks {
                self.entries[start + entry.block / 8] |= 1 << (entry.block % 8);
            }
        }
        self.entries.extend(same);
        for (entry, (flags, relative)) in blocks.iter().zip(described) {
            if same.is_none() {
                self.entries.push(flags);
            }
            if flags & ENTRY_FULL == 0 {
                put_varint(&mut self.entries, u64::from(entry.count));
            }
            match (&entry.stats, relative) {
                (_, Some(relative)) => self.entries.extend_from_slice(&relative),
                (Some(stats), None) => stats.put(&mut self.entries),
                (None, None) => {}
            }
            put_payload(&mut self.entries, data, &entry.payload);
        }
        put_varint(&mut self.table, self.entries.len() as u64);
        put_varint(&mut self.table, (data.len() - data_start) as u64);
        self.columns.extend_from_slice(&self.entries);
    }

    /// The bytes of the directory.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut out = self.times;
        out.extend_from_slice(&self.table);
        out.extend_from_slice(&self.columns);
        out
    }
}

/// The flags of an entry, and its statistics where they can be relative.
fn describe(entry: &BuiltEntry, rows: &[u32], mapping: Option<Mapping>) -> (u8, Option<Vec<u8>>) {
    let relative = entry.stats.as_ref().and_then(|stats| stats.relative(mapping));
    let flags = [
        (ENTRY_FULL, entry.count == rows[entry.block]),
        (ENTRY_STATS, entry.stats.is_some()),
        (ENTRY_QUALITY, entry.quality),
        (ENTRY_STATS_RELATIVE, relative.is_some()),
    ];
    (flags.into_iter().filter(|(_, on)| *on).fold(0, |flags, (flag, _)| flags | flag), relative)
}

/// A column, encoded: its blocks in order, and what they have in common.
#[derive(Debug)]
pub(super) struct BuiltColumn {
    pub(super) entries: Vec<BuiltEntry>,
    pub(super) sequences: Vec<Packed>,
    /// Of floats.
    pub(super) mapping: Option<Mapping>,
}

/// One column in one block, encoded.
#[derive(Debug)]
pub(super) struct BuiltEntry {
    pub(super) block: usize,
    pub(super) count: u32,
    pub(super) quality: bool,
    pub(super) stats: Option<Stats>,
    pub(super) payload: Vec<u8>,
}

impl Directory {
    /// Reads the times' places and the table of columns; `input` is exactly the directory, whose chunk's data lies in
    /// `data_start..data_end`.
    pub(super) fn decode(
        input: &mut Input<'_>,
        blocks: usize,
        points: usize,
        data_start: u64,
        data_end: u64,
    ) -> Result<Directory, Error> {
        let mut data = data_start;
        let mut times = Vec::with_capacity(blocks.min(input.left()));
        for _ in 0..blocks {
            times.push(payload(input, &mut data, data_end)?);
        }
        let mut columns = Vec::with_capacity(points.min(input.left()));
        for _ in 0..points {
            let bytes = input.count("bytes of column entries", input.left())?;
            let data_bytes = input.varint()?;
            let end = data.checked_add(data_bytes).filter(|&end| end <= data_end);
            let end =
                end.ok_or_else(|| input.damaged(&format!("column data before {data_end}"), data_bytes))?;
            columns.push(ColumnPlace { offset: 0, bytes, data, data_bytes, column: OnceLock::new() });
            data = end;
        }
        if data != data_end {
            return Err(input.damaged(&format!("chunk data to {data_end}"), data));
        }
        for column in &mut columns {
            column.offset = input.offset();
            input.take(column.bytes)?;
        }
        input.end()?;
        Ok(Directory { times, columns })
    }
}

impl ColumnPlace {
    /// The entries of the column, where they were read.
    pub(super) fn get(&self) -> Option<&Column> {
        self.column.get()
    }

    /// The entries of the column, read at the first call. `directory` are the bytes of the whole directory, the first
    /// of which is byte `start` of the file; `rows` the lengths of the chunk's blocks.
    pub(super) fn column(
        &self,
        file: &str,
        directory: &[u8],
        start: u64,
        rows: impl ExactSizeIterator<Item = u32>,
    ) -> Result<&Column, Error> {
        if let Some(column) = self.column.get() {
            return Ok(column);
        }
        let from = (self.offset - start) as usize;
        let bytes = directory.get(from..from + self.bytes).unwrap_or_default();
        let mut input = Input::new(file, self.offset, bytes);
        let column = self.decode(&mut input, rows)?;
        Ok(self.column.get_or_init(|| column))
    }

    fn decode(
        &self,
        input: &mut Input<'_>,
        rows: impl ExactSizeIterator<Item = u32>,
    ) -> Result<Column, Error> {
        let tag = input.u8()?;
        if tag & !COLUMN_KNOWN != 0 {
            return Err(input.unknown("column tag", format!("{tag:#04x}")));
        }
        let kind = kind_of(tag);
        let before = input.left();
        let mapping = if tag & COLUMN_MAPPED != 0 { Some(Mapping::get(input)?) } else { None };
        let mut heads = if tag & COLUMN_SHARED != 0 { Heads::get(input)? } else { Heads::default() };
        heads.mapping = mapping;
        let head_bytes = (before - input.left()) as u64;
        let bitmap = match tag & COLUMN_EVERY_BLOCK {
            0 => Some(input.take(rows.len().div_ceil(8))?),
            _ => None,
        };
        let same = if tag & COLUMN_SAME_FLAGS != 0 { Some(input.u8()?) } else { None };
        let mut data = self.data;
        let (mut blocks, mut stats_bytes) = (Vec::with_capacity(rows.len()), 0);
        let mut stats = StatsList::with_capacity(kind, rows.len());
        for (i, rows) in rows.enumerate() {
            let has = bitmap.is_none_or(|b| b[i / 8] >> (i % 8) & 1 == 1);
            blocks.push(if has {
                let flags = same.map_or_else(|| input.u8(), Ok)?;
                let (entry, of) = Entry::get(input, (kind, mapping), flags, rows, &mut stats_bytes)?;
                stats.push(of);
                let payload = payload(input, &mut data, self.data + self.data_bytes)?;
                Some(Entry { payload, ..entry })
            } else {
                stats.push(None);
                None
            });
        }
        input.end()?;
        Ok(Column { kind, blocks, stats, heads, head_bytes, stats_bytes })
    }
}

impl Entry {
    /// Reads all but the payload's place of a column of this kind and map, in a block of `rows` rows; and its statistics.
    fn get(
        input: &mut Input<'_>,
        (kind, mapping): (Kind, Option<Mapping>),
        flags: u8,
        rows: u32,
        stats_bytes: &mut u64,
    ) -> Result<(Entry, Option<Stats>), Error> {
        if flags & !ENTRY_KNOWN != 0 {
            return Err(input.unknown("entry flags", format!("{flags:#04x}")));
        }
        let count = if flags & ENTRY_FULL == 0 { input.count("values", rows as usize)? as u32 } else { rows };
        let before = input.left();
        let stats = match flags & (ENTRY_STATS | ENTRY_STATS_RELATIVE) {
            0 => None,
            ENTRY_STATS => Some(Stats::get(input, kind, count, rows - count)?),
            _ => Some(Stats::get_relative(input, kind, mapping, count, rows - count)?),
        };
        *stats_bytes += (before - input.left()) as u64;
        let payload = Payload { offset: input.offset(), bytes: 0, checksum: None };
        let quality = flags & ENTRY_QUALITY != 0;
        Ok((Entry { count, quality, has_stats: stats.is_some(), payload }, stats))
    }
}
