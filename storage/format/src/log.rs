//! The log: batches and deletions of one shard in order. Layout: `docs/format/log.md`.
//!
//! Owns: the header and the records of a log file, and telling a torn tail from damage. Does not own: when to write,
//! when to sync, when to start a new file (`storage`).

use wattline_model::limits::{BATCH_ROWS_MAX, MODEL_POINTS_MAX};
use wattline_model::{
    Batch, Channel, Column, Deletion, Destination, ModelId, PointId, Rows, Seqno, ShardId, Source, Timestamp,
    Values,
};

use crate::columns;
use crate::deletion;
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::varint::{Input, put_varint, put_zigzag};

/// The first bytes of a log file.
pub const MAGIC: &[u8; 8] = b"WATTLOG\0";
/// The format version written. All up to it are read.
pub const VERSION: u32 = 3;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 40;

/// Bytes of a record's body before its batch: sequence number and group.
const BODY_HEAD_BYTES: usize = 16;

const TAG_OFFLINE: u8 = 0b0001;
const TAG_SOURCE_SHIFT: u8 = 1;
const TAG_SOURCE: u8 = 0b0110;
/// The tag of a record that holds a deletion (from version 2 on).
const TAG_DELETION: u8 = 0b1000;
/// Bits of batches for one of the two tables alone (from version 3 on).
const TAG_LATEST: u8 = 0b0001_0000;
const TAG_HISTORY: u8 = 0b0010_0000;

/// The bits of a batch's tag that a file of `version` may have.
const fn tag_known(version: u32) -> u8 {
    let first = TAG_OFFLINE | TAG_SOURCE;
    if version < 3 { first } else { first | TAG_LATEST | TAG_HISTORY }
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Samples that were written.
    Batch(Batch),
    /// Samples that were deleted.
    Deletion(Deletion),
}

/// What a log file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The store it belongs to.
    pub store: u64,
    /// The shard it belongs to.
    pub shard: ShardId,
    /// The sequence number of its first record.
    pub first: Seqno,
}

/// The bytes of a header.
pub fn encode_header(header: &Header) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    frame::put_head(&mut out, MAGIC, VERSION);
    out.extend_from_slice(&header.shard.0.to_le_bytes());
    out.extend_from_slice(&header.store.to_le_bytes());
    out.extend_from_slice(&header.first.0.to_le_bytes());
    frame::put_checksum(&mut out, 0);
    debug_assert_eq!(out.len(), HEADER_BYTES);
    out
}

/// Appends the record of `batch` to `out`. `group` is the first sequence number of the sync group the record is
/// written in: the sync of one group ends before the next group is written, which is how a reader tells a torn tail
/// from damage. The batch's shard is the file's and is not stored.
///
/// # Panics
/// Where the record would pass 4 GiB; limits of batches and queues keep it far below.
pub fn encode_record(out: &mut Vec<u8>, seqno: Seqno, group: Seqno, batch: &Batch) {
    debug_assert!(group <= seqno, "a group starts with its first record");
    debug_assert_eq!(batch.check(), Ok(()));
    out.reserve(64 + batch.bytes());
    frame::put_record(out, |out| {
        out.extend_from_slice(&seqno.0.to_le_bytes());
        out.extend_from_slice(&group.0.to_le_bytes());
        put_batch(out, batch);
    });
}

/// Appends the record of `deletion` to `out`; see [`encode_record`].
pub fn encode_deletion(out: &mut Vec<u8>, seqno: Seqno, group: Seqno, deletion: &Deletion) {
    debug_assert!(group <= seqno, "a group starts with its first record");
    frame::put_record(out, |out| {
        out.extend_from_slice(&seqno.0.to_le_bytes());
        out.extend_from_slice(&group.0.to_le_bytes());
        out.push(TAG_DELETION);
        deletion::put(out, deletion);
    });
}

fn put_batch(out: &mut Vec<u8>, batch: &Batch) {
    let offline = if batch.channel == Channel::Offline { TAG_OFFLINE } else { 0 };
    let tag = offline
        | match batch.to {
            Destination::Everywhere => 0,
            Destination::Latest => TAG_LATEST,
            Destination::History => TAG_HISTORY,
        };
    match batch.source {
        Source::Client => out.push(tag),
        Source::Kafka { topic, partition, offset } => {
            out.push(tag | 1 << TAG_SOURCE_SHIFT);
            put_varint(out, u64::from(topic));
            put_varint(out, u64::from(partition));
            put_zigzag(out, offset);
        }
        Source::Edge { edge, sequence } => {
            out.push(tag | 2 << TAG_SOURCE_SHIFT);
            put_varint(out, u64::from(edge));
            put_varint(out, sequence);
        }
        Source::Job { job, position } => {
            out.push(tag | 3 << TAG_SOURCE_SHIFT);
            put_varint(out, u64::from(job));
            put_varint(out, position);
        }
    }
    put_varint(out, u64::from(batch.model.0));
    put_varint(out, batch.rows() as u64);
    columns::put_assets(out, &batch.assets);
    if let [time] = batch.times[..] {
        columns::put_times(out, &[time.micros()]);
    } else {
        let times: Vec<i64> = batch.times.iter().map(|t| t.micros()).collect();
        columns::put_times(out, &times);
    }
    put_varint(out, batch.columns.len() as u64);
    for column in &batch.columns {
        if let (Values::Float(v), Rows::All, None, 0..0x80) =
            (&column.values, &column.rows, &column.quality, column.point.0)
            && let [v] = v[..]
        {
            // One number of a plain message: point, tag 0, value in one copy.
            let mut bytes = [0; 10];
            bytes[0] = column.point.0 as u8;
            bytes[2..].copy_from_slice(&v.to_le_bytes());
            out.extend_from_slice(&bytes);
            continue;
        }
        put_varint(out, u64::from(column.point.0));
        columns::put_column(out, &column.rows, &column.values, column.quality.as_deref());
    }
}

fn change(input: &mut Input<'_>, shard: ShardId, version: u32) -> Result<Change, Error> {
    let tag = input.u8()?;
    if tag == TAG_DELETION && version >= 2 {
        let deletion = deletion::get(input)?;
        input.end()?;
        return Ok(Change::Deletion(deletion));
    }
    batch(input, tag, shard, version).map(Change::Batch)
}

fn batch(input: &mut Input<'_>, tag: u8, shard: ShardId, version: u32) -> Result<Batch, Error> {
    let to = match tag & (TAG_LATEST | TAG_HISTORY) {
        _ if tag & !tag_known(version) != 0 => None,
        0 => Some(Destination::Everywhere),
        TAG_LATEST => Some(Destination::Latest),
        TAG_HISTORY => Some(Destination::History),
        _ => None,
    };
    let Some(to) = to else { return Err(input.unknown("batch tag", format!("{tag:#04x}"))) };
    let channel = if tag & TAG_OFFLINE == 0 { Channel::RealTime } else { Channel::Offline };
    let source = match (tag & TAG_SOURCE) >> TAG_SOURCE_SHIFT {
        0 => Source::Client,
        1 => Source::Kafka {
            topic: input.varint_u32()?,
            partition: input.varint_u32()?,
            offset: input.zigzag()?,
        },
        2 => Source::Edge { edge: input.varint_u32()?, sequence: input.varint()? },
        _ => Source::Job { job: input.varint_u32()?, position: input.varint()? },
    };
    let model = ModelId(input.varint_u32()?);
    let rows = input.count("rows", BATCH_ROWS_MAX)?;
    let assets = columns::assets(input, rows)?;
    let times = columns::times(input, rows)?.into_iter().map(Timestamp).collect();
    let count = input.count("columns", MODEL_POINTS_MAX)?;
    let mut list = Vec::with_capacity(count.min(input.left()));
    for _ in 0..count {
        let point = PointId(input.varint_u32()?);
        let (rows, values, quality) = columns::column(input, rows)?;
        list.push(Column { point, rows, values, quality });
    }
    input.end()?;
    let batch = Batch { shard, model, channel, source, to, assets, times, columns: list };
    batch.check().map_err(|e| input.damaged("a well-formed batch", e))?;
    Ok(batch)
}

fn header(file: &str, head: &[u8]) -> Result<(Header, u32), Error> {
    let mut input = Input::new(file, 0, head);
    let version = frame::head(&mut input, MAGIC, VERSION)?;
    let shard = ShardId(input.u32()?);
    let store = input.u64()?;
    let first = Seqno(input.u64()?);
    frame::expect_checksum(&mut input, &head[..HEADER_BYTES - 8])?;
    Ok((Header { store, shard, first }, version))
}

/// What [`Reader::next`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The next record.
    Record {
        /// Its sequence number.
        seqno: Seqno,
        /// What it holds.
        change: Change,
        /// The byte of the file after it.
        end: u64,
    },
    /// The file ends after a whole record (or after the header).
    End {
        /// The length of the file.
        len: u64,
    },
    /// The file ends in a record that was being written when the process or the machine stopped: cut it off.
    Torn {
        /// The length to cut the file to; 0 where not even the header is whole.
        valid_len: u64,
        /// What is wrong with the bytes after it.
        what: String,
    },
}

/// What [`Reader::skip_to_end`] found at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The number after the last record.
    pub next: Seqno,
    /// The bytes of the file that are sound; 0 where not even the header is whole.
    pub valid_len: u64,
    /// What is wrong with the bytes after them, if there are any.
    pub torn: Option<String>,
}

/// A [`Step`] whose record is not decoded yet.
enum Found<'a> {
    Record { seqno: Seqno, offset: u64, body: &'a [u8] },
    End { len: u64 },
    Torn { valid_len: u64, what: String },
}

/// Reads the records of one log file in order.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    file: String,
    bytes: &'a [u8],
    header: Header,
    version: u32,
    stub: bool,
    at: usize,
    expected: Seqno,
    /// Group of the last record read.
    group: Seqno,
}

impl<'a> Reader<'a> {
    /// Reads the header. A file without a whole one (a stop right after it was created) opens, and its only step is
    /// [`Step::Torn`] with a valid length of 0. The header is synced before the first record is written, so in a
    /// file without a record it may be anything, and in one with a record it must be sound.
    ///
    /// # Errors
    /// Where the header is damaged or of another version.
    pub fn open(file: &str, bytes: &'a [u8]) -> Result<Reader<'a>, Error> {
        let file = file.to_owned();
        let header = match bytes.split_at_checked(HEADER_BYTES) {
            None => None,
            Some((head, records)) => match header(&file, head) {
                Err(error) if records.is_empty() && error.kind() == ErrorKind::Damaged => None,
                header => Some(header?),
            },
        };
        let (at, stub) = header.map_or((0, true), |_| (HEADER_BYTES, false));
        let none = Header { store: 0, shard: ShardId(0), first: Seqno::ZERO };
        let (header, version) = header.unwrap_or((none, VERSION));
        Ok(Reader { file, bytes, header, version, stub, at, expected: header.first, group: Seqno::ZERO })
    }

    /// The header; all zero where the file has none ([`is_stub`](Self::is_stub)).
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the file has no whole header, and so never had a record.
    pub fn is_stub(&self) -> bool {
        self.stub
    }

    /// The next record, the end, or a torn tail. After an end or a torn tail every call answers the same.
    ///
    /// # Errors
    /// Where a record does not check out and a later one proves that it had been synced, where sequence numbers are
    /// not consecutive, and where a record that checks out holds neither a batch nor a deletion.
    #[expect(clippy::should_implement_trait, reason = "a step is not an item: it can be an error and go on")]
    pub fn next(&mut self) -> Result<Step, Error> {
        let (seqno, offset, body) = match self.advance()? {
            Found::Record { seqno, offset, body } => (seqno, offset, body),
            Found::End { len } => return Ok(Step::End { len }),
            Found::Torn { valid_len, what } => return Ok(Step::Torn { valid_len, what }),
        };
        let mut input = Input::new(&self.file, offset, body);
        let change = change(&mut input, self.header.shard, self.version)?;
        Ok(Step::Record { seqno, change, end: self.at as u64 })
    }

    /// Checks every record up to the end without decoding what they hold.
    ///
    /// # Errors
    /// As [`next`](Self::next), except that a record may turn out to hold nothing known.
    pub fn skip_to_end(&mut self) -> Result<Tail, Error> {
        loop {
            let next = self.expected;
            match self.advance()? {
                Found::Record { .. } => {}
                Found::End { len } => return Ok(Tail { next, valid_len: len, torn: None }),
                Found::Torn { valid_len, what } => return Ok(Tail { next, valid_len, torn: Some(what) }),
            }
        }
    }

    fn advance(&mut self) -> Result<Found<'a>, Error> {
        if self.is_stub() {
            let what =
                format!("expected a sound header of {HEADER_BYTES} bytes, found {} bytes", self.bytes.len());
            return Ok(Found::Torn { valid_len: 0, what });
        }
        if self.at == self.bytes.len() {
            return Ok(Found::End { len: self.at as u64 });
        }
        let body = match frame::record(self.bytes, self.at) {
            Ok(body) => body,
            Err(what) => return self.torn_or_damaged(what),
        };
        let offset = (self.at + frame::RECORD_HEAD_BYTES) as u64;
        let mut input = Input::new(&self.file, offset, body);
        let seqno = Seqno(input.u64()?);
        let group = Seqno(input.u64()?);
        if seqno != self.expected {
            return Err(input.damaged(&self.expected.to_string(), seqno));
        }
        if group < self.group || group > seqno {
            return Err(input.damaged(&format!("a group of {} to {seqno}", self.group), group));
        }
        self.at += frame::RECORD_HEAD_BYTES + body.len();
        self.expected = Seqno(seqno.0.saturating_add(1));
        self.group = group;
        Ok(Found::Record { seqno, offset: offset + BODY_HEAD_BYTES as u64, body: &body[BODY_HEAD_BYTES..] })
    }

    /// The record at `at` does not check out. A later record of a later group is proof that this one had been synced.
    fn torn_or_damaged(&self, what: String) -> Result<Found<'a>, Error> {
        let expected = self.expected.0;
        // No more records than this fit the file, so a higher number is no record.
        let bound = expected.saturating_add(self.bytes.len() as u64);
        let later = frame::find_record(self.bytes, self.at + 1, |body| {
            let (seqno, group) = (frame::u64_at(body, 0), frame::u64_at(body, 8));
            body.len() > BODY_HEAD_BYTES && expected < group && group <= seqno && seqno < bound
        });
        let at = self.at as u64;
        match later {
            None => Ok(Found::Torn { valid_len: at, what }),
            Some(later) => {
                let what = format!("{what}; a later record at offset {later} proves it had been synced");
                Err(Error::new(ErrorKind::Damaged, &self.file, at, what))
            }
        }
    }
}

#[cfg(test)]
mod tests;
