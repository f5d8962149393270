//! Reads a segment: the index at once, directories and blocks as they are asked for.

use std::sync::Arc;

use bytes::Bytes;
use wattline_model::{Column, Kind, ModelId, PointId, Rows, Values};

use super::directory::{self, ColumnPlace, Directory, Entry, Payload};
use super::index::{self, ModelChunks};
use super::stats::{Figures, Stats, StatsList};
use super::{BlockRows, Chunk, Header, Room, Summary};
use crate::block::{bools, floats, ints, presence, quality, texts, times};
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::varint::Input;

/// A segment that can be read. Cloning is cheap; clones share the bytes and what is kept of the directories.
///
/// Methods that take a [`Chunk`] want one of this reader's own.
#[derive(Clone, Debug)]
pub struct Reader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: String,
    bytes: Bytes,
    header: Header,
    summary: Summary,
    models: Vec<ModelChunks<Chunk>>,
}

/// The statistics of one point in the blocks of a chunk.
#[derive(Clone, Debug)]
pub struct ColumnStats {
    directory: Arc<Directory>,
    place: usize,
}

/// What is stored of the values of one point in one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BlockStats {
    /// It has none.
    Empty,
    /// Floats: how many, and their figures.
    Float(u32, Figures<f64, f64>),
    /// Integers: how many, and their figures.
    Int(u32, Figures<i64, i128>),
    /// Others, or too few to have statistics: [`Reader::stats`] tells.
    Elsewhere,
}

impl ColumnStats {
    /// Those of block `block`.
    pub fn block(&self, block: usize) -> BlockStats {
        let column = self.directory.columns.get(self.place).and_then(ColumnPlace::get);
        let Some(column) = column else { return BlockStats::Elsewhere };
        match (column.blocks.get(block), &column.stats) {
            (Some(None), _) => BlockStats::Empty,
            (Some(Some(entry)), StatsList::Float(list)) if entry.has_stats => {
                BlockStats::Float(entry.count, list[block])
            }
            (Some(Some(entry)), StatsList::Int(list)) if entry.has_stats => {
                BlockStats::Int(entry.count, list[block])
            }
            _ => BlockStats::Elsewhere,
        }
    }
}

impl Reader {
    /// Reads header, footer and index of the whole (mapped) file `bytes`. Directories and blocks are not touched.
    ///
    /// # Errors
    /// Where one of the three does not check out or is of another version.
    pub fn open(file: &str, bytes: Bytes) -> Result<Reader, Error> {
        let (header, version) = index::decode_header(file, &bytes)?;
        let (models, summary) = index::decode_index(file, version, &bytes)?;
        Ok(Reader { inner: Arc::new(Inner { file: file.to_owned(), bytes, header, summary, models }) })
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        &self.inner.file
    }

    /// The whole file.
    pub fn bytes(&self) -> &Bytes {
        &self.inner.bytes
    }

    /// What the file begins with.
    pub fn header(&self) -> &Header {
        &self.inner.header
    }

    /// What the file holds.
    pub fn summary(&self) -> &Summary {
        &self.inner.summary
    }

    /// The models in the segment, ascending.
    pub fn models(&self) -> impl Iterator<Item = ModelId> + '_ {
        self.inner.models.iter().map(|m| m.model)
    }

    /// The chunks of `model`, in order of asset and time; none where the segment does not have it.
    pub fn chunks(&self, model: ModelId) -> &[Chunk] {
        let found = self.inner.models.binary_search_by_key(&model, |m| m.model);
        found.map_or(&[], |i| &self.inner.models[i].chunks)
    }

    /// The points with any value in the chunk, ascending.
    pub fn points<'a>(&self, chunk: &'a Chunk) -> &'a [PointId] {
        &chunk.points
    }

    /// Checks every checksum in the file and that every directory can be read.
    ///
    /// # Errors
    /// Names the first place that does not check out.
    pub fn verify(&self) -> Result<(), Error> {
        for chunk in self.inner.models.iter().flat_map(|m| &m.chunks) {
            let directory = self.directory(chunk)?;
            for payload in &directory.times {
                self.payload(payload)?;
            }
            for place in 0..chunk.points.len() {
                for entry in self.column_entries(chunk, &directory, place)?.blocks.iter().flatten() {
                    self.payload(&entry.payload)?;
                }
            }
        }
        Ok(())
    }

    /// What takes how much room in the file.
    ///
    /// # Errors
    /// Where a directory is damaged.
    pub fn room(&self) -> Result<Room, Error> {
        let mut room = Room::default();
        let mut chunks = 0;
        for chunk in self.inner.models.iter().flat_map(|m| &m.chunks) {
            let directory = self.directory(chunk)?;
            room.times += directory.times.iter().map(|t| t.bytes as u64).sum::<u64>();
            chunks += chunk.place.data_bytes + chunk.place.directory_bytes;
            for place in 0..chunk.points.len() {
                let column = self.column_entries(chunk, &directory, place)?;
                room.heads += column.head_bytes;
                room.statistics += column.stats_bytes;
                room.values += column.blocks.iter().flatten().map(|e| e.payload.bytes as u64).sum::<u64>();
            }
        }
        room.index = self.inner.summary.bytes - chunks;
        // Short payloads lie in the directory; they count as what they hold.
        room.directory = chunks - (room.times + room.statistics + room.heads + room.values);
        Ok(room)
    }

    /// The times of block `block`, microseconds, one a row.
    ///
    /// # Errors
    /// Where the block is damaged or there is no such block.
    pub fn times(&self, chunk: &Chunk, block: usize) -> Result<Vec<i64>, Error> {
        let rows = self.block(chunk, block)?;
        let directory = self.directory(chunk)?;
        let payload = directory.times.get(block).ok_or_else(|| self.no_block(chunk, block))?;
        let mut input = self.payload(payload)?;
        if payload.bytes == 0 {
            let even = times::even(rows.first_time, rows.last_time, rows.rows as usize);
            return even.ok_or_else(|| input.damaged("times at even steps", "others"));
        }
        let runs: Vec<usize> = chunk.runs_of(rows).collect();
        let times = times::decode(&mut input, &runs)?;
        input.end()?;
        Ok(times)
    }

    /// The values of `point` in block `block`; rows count from the block's first. `None` where it has none.
    ///
    /// # Errors
    /// Where the block is damaged or there is no such block.
    pub fn column(&self, chunk: &Chunk, block: usize, point: PointId) -> Result<Option<Column>, Error> {
        self.with_entry(chunk, block, point, |column, entry, rows| self.decode(column, entry, rows, point))
    }

    /// The statistics of `point` in block `block`; `None` where it has no values.
    ///
    /// # Errors
    /// Where the directory is damaged or there is no such block.
    pub fn stats(&self, chunk: &Chunk, block: usize, point: PointId) -> Result<Option<Stats>, Error> {
        let stats = self.with_entry(chunk, block, point, |column, entry, rows| {
            if let Some(stats) = column.stats(block, rows.rows) {
                return Ok(Some(stats));
            }
            // So few values, in the directory itself, that storing their statistics would cost more than the values.
            let values = self.decode(column, entry, rows, point)?.values;
            Ok(Stats::of(&values, 0..values.len(), rows.rows))
        })?;
        Ok(stats.flatten())
    }

    /// The statistics of `point` in all blocks of `chunk`, for whoever asks for many; `None` where it has no values.
    ///
    /// # Errors
    /// Where the directory is damaged.
    pub fn column_stats(&self, chunk: &Chunk, point: PointId) -> Result<Option<ColumnStats>, Error> {
        let Ok(place) = chunk.points.binary_search(&point) else { return Ok(None) };
        let directory = self.directory(chunk)?;
        self.column_entries(chunk, &directory, place)?;
        Ok(Some(ColumnStats { directory, place }))
    }

    /// Bytes of the values of `point` in block `block`, with where they are and their qualities; `None` where it has
    /// none.
    ///
    /// # Errors
    /// As [`stats`](Self::stats).
    pub fn value_bytes(&self, chunk: &Chunk, block: usize, point: PointId) -> Result<Option<u64>, Error> {
        self.with_entry(chunk, block, point, |_, entry, _| Ok(entry.payload.bytes as u64))
    }

    /// How the values of `point` in block `block` are encoded, in words; `None` where it has none. Reads the block.
    ///
    /// # Errors
    /// Where the block is damaged or there is no such block.
    pub fn encoding(&self, chunk: &Chunk, block: usize, point: PointId) -> Result<Option<String>, Error> {
        self.with_entry(chunk, block, point, |column, entry, rows| {
            let mut input = self.payload(&entry.payload)?;
            let count = entry.count as usize;
            if count == 0 {
                return Ok("nothing".to_owned());
            }
            if entry.count != rows.rows {
                presence::decode(&mut input, count, rows.rows as usize)?;
            }
            if entry.quality {
                quality::decode(&mut input, count)?;
            }
            match column.kind {
                Kind::Float => floats::encoding(input, count, &column.heads),
                Kind::Int => ints::codec_name(&input).map(str::to_owned),
                Kind::Bool => bools::codec_name(&input).map(str::to_owned),
                Kind::Text => texts::codec_name(&input).map(str::to_owned),
            }
        })
    }

    fn decode(
        &self,
        column: &directory::Column,
        entry: &Entry,
        rows: BlockRows,
        point: PointId,
    ) -> Result<Column, Error> {
        let mut input = self.payload(&entry.payload)?;
        let count = entry.count as usize;
        let listed = if entry.count == rows.rows {
            Rows::All
        } else {
            Rows::Some(presence::decode(&mut input, count, rows.rows as usize)?)
        };
        let quality = if entry.quality { Some(quality::decode(&mut input, count)?) } else { None };
        let values = match column.kind {
            Kind::Float => Values::Float(floats::decode(&mut input, count, &column.heads)?),
            Kind::Int => Values::Int(ints::decode_shared(&mut input, count, &column.heads)?),
            Kind::Bool => Values::Bool(bools::decode(&mut input, count)?),
            Kind::Text => Values::Text(texts::decode(&mut input, count)?),
        };
        input.end()?;
        Ok(Column { point, rows: listed, values, quality })
    }

    fn block(&self, chunk: &Chunk, block: usize) -> Result<BlockRows, Error> {
        chunk.blocks.get(block).copied().ok_or_else(|| self.no_block(chunk, block))
    }

    #[cold]
    fn no_block(&self, chunk: &Chunk, block: usize) -> Error {
        let what = format!("expected one of {} blocks, found {block}", chunk.blocks.len());
        Error::new(ErrorKind::Limit, &self.inner.file, chunk.place.start, what)
    }

    /// Hands the entry of `point` in block `block` to `act`; `None` where it has none.
    fn with_entry<T>(
        &self,
        chunk: &Chunk,
        block: usize,
        point: PointId,
        act: impl FnOnce(&directory::Column, &Entry, BlockRows) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let rows = self.block(chunk, block)?;
        let Ok(place) = chunk.points.binary_search(&point) else { return Ok(None) };
        let directory = self.directory(chunk)?;
        let column = self.column_entries(chunk, &directory, place)?;
        let entry = column.blocks.get(block).and_then(Option::as_ref);
        entry.map(|entry| act(column, entry, rows)).transpose()
    }

    fn column_entries<'a>(
        &self,
        chunk: &Chunk,
        directory: &'a Directory,
        place: usize,
    ) -> Result<&'a directory::Column, Error> {
        let column = directory.columns.get(place);
        let start = chunk.place.start + chunk.place.data_bytes;
        let column = column.ok_or_else(|| self.no_block(chunk, place))?;
        let bytes = self.slice(start, chunk.place.directory_bytes)?;
        column.column(&self.inner.file, bytes, start, chunk.blocks.iter().map(|b| b.rows))
    }

    /// The directory of a chunk, read and checked where it is not in memory.
    fn directory(&self, chunk: &Chunk) -> Result<Arc<Directory>, Error> {
        if let Some(directory) = chunk.directory.get() {
            return Ok(directory);
        }
        let place = chunk.place;
        let start = place.start + place.data_bytes;
        let bytes = self.slice(start, place.directory_bytes)?;
        let mut input = Input::new(&self.inner.file, start, bytes);
        let (expected, found) = (place.directory_checksum, frame::checksum_u32(bytes));
        if !frame::is_same(found, expected) {
            return Err(input.damaged(&format!("directory checksum {expected:08x}"), format!("{found:08x}")));
        }
        let (blocks, points) = (chunk.blocks.len(), chunk.points.len());
        Ok(chunk.directory.put(Directory::decode(&mut input, blocks, points, place.start, start)?))
    }

    /// Memory of what is kept of the directory of `chunk`: it grows as columns are asked for.
    pub fn kept_bytes(&self, chunk: &Chunk) -> usize {
        chunk.directory.get().map_or(0, |directory| directory.memory())
    }

    /// Lets go of what is kept of all directories; it is read again when it is asked for.
    pub fn forget(&self) {
        self.inner.models.iter().flat_map(|m| &m.chunks).for_each(|chunk| chunk.directory.forget());
    }

    /// The bytes of a payload, checked.
    fn payload(&self, payload: &Payload) -> Result<Input<'_>, Error> {
        let bytes = self.slice(payload.offset, payload.bytes as u64)?;
        let input = Input::new(&self.inner.file, payload.offset, bytes);
        if let Some(expected) = payload.checksum {
            let found = frame::checksum_u32(bytes);
            if !frame::is_same(found, expected) {
                return Err(input.damaged(&format!("block checksum {expected:08x}"), format!("{found:08x}")));
            }
        }
        Ok(input)
    }

    fn slice(&self, start: u64, bytes: u64) -> Result<&[u8], Error> {
        let range =
            usize::try_from(start).ok().zip(start.checked_add(bytes).and_then(|e| usize::try_from(e).ok()));
        range.and_then(|(start, end)| self.inner.bytes.get(start..end)).ok_or_else(|| {
            let what = format!("expected {bytes} bytes, found the end of the file");
            Error::new(ErrorKind::Damaged, &self.inner.file, start, what)
        })
    }
}
