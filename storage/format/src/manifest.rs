//! The manifest: which segments make up a shard, and which deletions they do not reflect yet. Layout: `docs/format/manifest.md`.
//!
//! Owns: the snapshot a manifest file starts with, the edits after it, and what an edit does to a state. Does not
//! own: when to edit, when to start a new file (`storage`).

use wattline_model::{Deletion, Seqno, ShardId};

use crate::deletion;
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::varint::{Input, put_varint, put_zigzag};

/// The first bytes of a manifest file.
pub const MAGIC: &[u8; 8] = b"WATTMAN\0";
/// The format version written. All up to it are read.
pub const VERSION: u32 = 2;
/// The first version that knows tombstones.
const VERSION_TOMBSTONES: u32 = 2;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 32;

/// Bytes of a segment's file name.
const FILE_NAME_BYTES_MAX: usize = 1_024;

const RECORD_SNAPSHOT: u8 = 1;
const RECORD_EDIT: u8 = 2;

const HAS_FLUSHED: u8 = 0b001;
const HAS_NEXT_SEGMENT: u8 = 0b010;
const HAS_CHECKPOINT: u8 = 0b100;
/// From version 2 on.
const HAS_TOMBSTONES: u8 = 0b1000;

/// What a shard must know of a segment without opening it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentMeta {
    /// Its number, never reused within the shard.
    pub id: u64,
    /// Its level: 0 as flushed.
    pub level: u8,
    /// Start of the time partition it belongs to, microseconds.
    pub partition: i64,
    /// The name of its file.
    pub file: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// Samples in it.
    pub samples: u64,
    /// Models in it.
    pub models: u32,
    /// Time of its earliest row, microseconds.
    pub first_time: i64,
    /// Time of its latest row, microseconds.
    pub last_time: i64,
    /// The lowest sequence number of the batches in it.
    pub first_seqno: Seqno,
    /// The highest sequence number of the batches in it. It reflects every deletion up to this number, too.
    pub last_seqno: Seqno,
    /// The checksum of its footer ([`crate::segment::Summary::checksum`]).
    pub checksum: u64,
}

/// A deletion that some segment may not reflect yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Its sequence number: it means batches before, and none after.
    pub seqno: Seqno,
    /// What it deletes.
    pub deletion: Deletion,
}

/// What a manifest amounts to after all its edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The store.
    pub store: u64,
    /// The shard.
    pub shard: ShardId,
    /// How many shards the store has.
    pub shards: u32,
    /// Length of a time partition, microseconds.
    pub partition_micros: i64,
    /// Every batch up to this one is in segments.
    pub flushed: Seqno,
    /// The number the next segment gets.
    pub next_segment: u64,
    /// The newest latest-value checkpoint: the sequence number in its file name.
    pub latest_checkpoint: Option<u64>,
    /// The segments, oldest edit first.
    pub segments: Vec<SegmentMeta>,
    /// The tombstones, ascending.
    pub tombstones: Vec<Tombstone>,
}

/// One change of a [`State`]. What is `None` or empty stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Every batch up to this one is in segments now.
    pub flushed: Option<Seqno>,
    /// The number the next segment gets.
    pub next_segment: Option<u64>,
    /// The newest latest-value checkpoint.
    pub latest_checkpoint: Option<u64>,
    /// Segments that joined.
    pub add: Vec<SegmentMeta>,
    /// Numbers of segments that left. Removed before `add` joins.
    pub remove: Vec<u64>,
    /// Tombstones that joined.
    pub add_tombstones: Vec<Tombstone>,
    /// Sequence numbers of tombstones that every segment reflects now.
    pub remove_tombstones: Vec<Seqno>,
}

impl State {
    /// Carries `edit` out; on an error nothing has changed.
    ///
    /// # Errors
    /// Where the edit removes a segment or tombstone that is not there, adds one that is, or moves a mark backward:
    /// then the edit was made for another state. The error names no file; [`decode`] adds it.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), Error> {
        self.refuse(edit)
            .map_or(Ok(()), |what| Err(Error::new(ErrorKind::Damaged, "(manifest edit)", 0, what)))?;
        self.segments.retain(|s| !edit.remove.contains(&s.id));
        self.segments.extend(edit.add.iter().cloned());
        self.flushed = edit.flushed.unwrap_or(self.flushed);
        self.next_segment = edit.next_segment.unwrap_or(self.next_segment);
        self.latest_checkpoint = edit.latest_checkpoint.or(self.latest_checkpoint);
        self.tombstones.retain(|t| !edit.remove_tombstones.contains(&t.seqno));
        self.tombstones.extend(edit.add_tombstones.iter().cloned());
        self.tombstones.sort_by_key(|t| t.seqno);
        Ok(())
    }

    /// Why `edit` does not fit, or `None` where it does.
    fn refuse(&self, edit: &Edit) -> Option<String> {
        let has = |id: u64| self.segments.iter().any(|s| s.id == id);
        if let Some(id) = edit.remove.iter().find(|&&id| !has(id)) {
            return Some(format!("expected segment {id} to remove, found none"));
        }
        for (i, added) in edit.add.iter().enumerate() {
            let stays = has(added.id) && !edit.remove.contains(&added.id);
            if stays || edit.add[..i].iter().any(|s| s.id == added.id) {
                return Some(format!("expected a new segment number, found {} twice", added.id));
            }
        }
        let has = |seqno: Seqno| self.tombstones.iter().any(|t| t.seqno == seqno);
        if let Some(seqno) = edit.remove_tombstones.iter().find(|&&seqno| !has(seqno)) {
            return Some(format!("expected tombstone {seqno} to remove, found none"));
        }
        if let Some(t) = edit.add_tombstones.iter().find(|t| has(t.seqno)) {
            return Some(format!("expected a new tombstone, found {} twice", t.seqno));
        }
        if edit.flushed.is_some_and(|f| f < self.flushed) {
            return Some(format!("expected a flush mark of {} or later, found an earlier one", self.flushed));
        }
        if edit.next_segment.is_some_and(|n| n < self.next_segment) {
            return Some(format!("expected a next segment of {} or more, found less", self.next_segment));
        }
        None
    }
}

/// The bytes a manifest file starts with: header and snapshot of `state`.
///
/// # Panics
/// Where a segment's file name is longer than 1,024 bytes.
pub fn encode_start(state: &State) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + state.segments.len() * 96);
    frame::put_head(&mut out, MAGIC, VERSION);
    out.extend_from_slice(&state.shard.0.to_le_bytes());
    out.extend_from_slice(&state.store.to_le_bytes());
    frame::put_checksum(&mut out, 0);
    debug_assert_eq!(out.len(), HEADER_BYTES);
    frame::put_record(&mut out, |out| {
        out.push(RECORD_SNAPSHOT);
        put_varint(out, u64::from(state.shards));
        put_zigzag(out, state.partition_micros);
        put_varint(out, state.flushed.0);
        put_varint(out, state.next_segment);
        put_option(out, state.latest_checkpoint);
        put_segments(out, &state.segments);
        put_tombstones(out, &state.tombstones);
    });
    out
}

/// Appends the record of `edit` to `out`.
///
/// # Panics
/// Where a segment's file name is longer than 1,024 bytes.
pub fn encode_edit(out: &mut Vec<u8>, edit: &Edit) {
    frame::put_record(out, |out| {
        out.push(RECORD_EDIT);
        let mut has = 0;
        for (flag, present) in [
            (HAS_FLUSHED, edit.flushed.is_some()),
            (HAS_NEXT_SEGMENT, edit.next_segment.is_some()),
            (HAS_CHECKPOINT, edit.latest_checkpoint.is_some()),
            (HAS_TOMBSTONES, !(edit.add_tombstones.is_empty() && edit.remove_tombstones.is_empty())),
        ] {
            has |= if present { flag } else { 0 };
        }
        out.push(has);
        let marks = [edit.flushed.map(|s| s.0), edit.next_segment, edit.latest_checkpoint];
        marks.into_iter().flatten().for_each(|mark| put_varint(out, mark));
        put_segments(out, &edit.add);
        put_varint(out, edit.remove.len() as u64);
        edit.remove.iter().for_each(|&id| put_varint(out, id));
        if has & HAS_TOMBSTONES != 0 {
            put_tombstones(out, &edit.add_tombstones);
            put_varint(out, edit.remove_tombstones.len() as u64);
            edit.remove_tombstones.iter().for_each(|seqno| put_varint(out, seqno.0));
        }
    });
}

/// A manifest file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The state after all whole edits.
    pub state: State,
    /// The length up to which the file is whole: append from here.
    pub valid_len: u64,
    /// Where the file ends in a broken record: what is wrong with it. Its edit was never acted on.
    pub torn: Option<String>,
}

/// Reads a manifest file.
///
/// # Errors
/// Where header, snapshot or any record but the last is broken, or an edit does not fit its state.
pub fn decode(file: &str, bytes: &[u8]) -> Result<Decoded, Error> {
    let Some((head, _)) = bytes.split_at_checked(HEADER_BYTES) else {
        let what = format!("expected a header of {HEADER_BYTES} bytes, found {}", bytes.len());
        return Err(Error::new(ErrorKind::Damaged, file, 0, what));
    };
    let mut input = Input::new(file, 0, head);
    let version = frame::head(&mut input, MAGIC, VERSION)?;
    let shard = ShardId(input.u32()?);
    let store = input.u64()?;
    frame::expect_checksum(&mut input, &head[..HEADER_BYTES - 8])?;

    let mut at = HEADER_BYTES;
    let body =
        frame::record(bytes, at).map_err(|what| Error::new(ErrorKind::Damaged, file, at as u64, what))?;
    let mut state = snapshot(&mut record_input(file, at, body), version, store, shard)?;
    at += frame::RECORD_HEAD_BYTES + body.len();
    while at < bytes.len() {
        let body = match frame::record(bytes, at) {
            Ok(body) => body,
            Err(what) => return torn_or_damaged(file, bytes, at, version, state, what),
        };
        let edit = edit(&mut record_input(file, at, body), version)?;
        state.apply(&edit).map_err(|e| Error::new(e.kind(), file, at as u64, e.what()))?;
        at += frame::RECORD_HEAD_BYTES + body.len();
    }
    Ok(Decoded { state, valid_len: at as u64, torn: None })
}

fn record_input<'a>(file: &'a str, at: usize, body: &'a [u8]) -> Input<'a> {
    Input::new(file, (at + frame::RECORD_HEAD_BYTES) as u64, body)
}

/// The record at `at` is broken. Every edit is synced before the next is written, so a later whole one proves damage.
fn torn_or_damaged(
    file: &str,
    bytes: &[u8],
    at: usize,
    version: u32,
    state: State,
    what: String,
) -> Result<Decoded, Error> {
    let plausible = |body: &[u8]| {
        body.first() == Some(&RECORD_EDIT) && edit(&mut Input::new(file, 0, body), version).is_ok()
    };
    match frame::find_record(bytes, at + 1, plausible) {
        None => Ok(Decoded { state, valid_len: at as u64, torn: Some(what) }),
        Some(later) => {
            let what = format!("{what}; a later record at offset {later} proves it had been synced");
            Err(Error::new(ErrorKind::Damaged, file, at as u64, what))
        }
    }
}

fn snapshot(input: &mut Input<'_>, version: u32, store: u64, shard: ShardId) -> Result<State, Error> {
    let tag = input.u8()?;
    if tag != RECORD_SNAPSHOT {
        return Err(input.damaged("a snapshot", format!("record type {tag}")));
    }
    let state = State {
        store,
        shard,
        shards: input.varint_u32()?,
        partition_micros: input.zigzag()?,
        flushed: Seqno(input.varint()?),
        next_segment: input.varint()?,
        latest_checkpoint: option(input)?,
        segments: segments(input)?,
        tombstones: if version >= VERSION_TOMBSTONES { tombstones(input)? } else { Vec::new() },
    };
    input.end()?;
    Ok(state)
}

fn edit(input: &mut Input<'_>, version: u32) -> Result<Edit, Error> {
    let tag = input.u8()?;
    if tag != RECORD_EDIT {
        return Err(input.unknown("manifest record", tag));
    }
    let has = input.u8()?;
    let tombstones_known = if version >= VERSION_TOMBSTONES { HAS_TOMBSTONES } else { 0 };
    if has & !(HAS_FLUSHED | HAS_NEXT_SEGMENT | HAS_CHECKPOINT | tombstones_known) != 0 {
        return Err(input.unknown("manifest edit", format!("{has:#04x}")));
    }
    let mark = |flag: u8, input: &mut Input<'_>| (has & flag != 0).then(|| input.varint()).transpose();
    let flushed = mark(HAS_FLUSHED, input)?.map(Seqno);
    let next_segment = mark(HAS_NEXT_SEGMENT, input)?;
    let latest_checkpoint = mark(HAS_CHECKPOINT, input)?;
    let add = segments(input)?;
    let count = input.count("removed segments", input.left())?;
    let remove: Result<Vec<u64>, Error> = (0..count).map(|_| input.varint()).collect();
    let mut edit = Edit { flushed, next_segment, latest_checkpoint, add, remove: remove?, ..Edit::default() };
    if has & HAS_TOMBSTONES != 0 {
        edit.add_tombstones = tombstones(input)?;
        let count = input.count("removed tombstones", input.left())?;
        for _ in 0..count {
            edit.remove_tombstones.push(Seqno(input.varint()?));
        }
    }
    input.end()?;
    Ok(edit)
}

fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put_varint(out, value);
    }
}

fn option(input: &mut Input<'_>) -> Result<Option<u64>, Error> {
    match input.u8()? {
        0 => Ok(None),
        1 => input.varint().map(Some),
        other => Err(input.damaged("0 or 1", other)),
    }
}

fn put_segments(out: &mut Vec<u8>, segments: &[SegmentMeta]) {
    put_varint(out, segments.len() as u64);
    for s in segments {
        assert!(s.file.len() <= FILE_NAME_BYTES_MAX, "the name of segment {} is too long", s.id);
        put_varint(out, s.id);
        out.push(s.level);
        put_zigzag(out, s.partition);
        put_varint(out, s.file.len() as u64);
        out.extend_from_slice(s.file.as_bytes());
        for number in [s.bytes, s.rows, s.samples, u64::from(s.models)] {
            put_varint(out, number);
        }
        put_zigzag(out, s.first_time);
        put_zigzag(out, s.last_time);
        put_varint(out, s.first_seqno.0);
        put_varint(out, s.last_seqno.0);
        out.extend_from_slice(&s.checksum.to_le_bytes());
    }
}

fn put_tombstones(out: &mut Vec<u8>, tombstones: &[Tombstone]) {
    put_varint(out, tombstones.len() as u64);
    for tombstone in tombstones {
        put_varint(out, tombstone.seqno.0);
        deletion::put(out, &tombstone.deletion);
    }
}

fn tombstones(input: &mut Input<'_>) -> Result<Vec<Tombstone>, Error> {
    let count = input.count("tombstones", input.left())?;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(Tombstone { seqno: Seqno(input.varint()?), deletion: deletion::get(input)? });
    }
    Ok(list)
}

/// Bytes of the shortest segment entry: bounds what a count may ask for.
const SEGMENT_BYTES_MIN: usize = 20;

fn segments(input: &mut Input<'_>) -> Result<Vec<SegmentMeta>, Error> {
    let count = input.count("segments", input.left() / SEGMENT_BYTES_MIN)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(SegmentMeta {
            id: input.varint()?,
            level: input.u8()?,
            partition: input.zigzag()?,
            file: input.text(FILE_NAME_BYTES_MAX)?.to_owned(),
            bytes: input.varint()?,
            rows: input.varint()?,
            samples: input.varint()?,
            models: input.varint_u32()?,
            first_time: input.zigzag()?,
            last_time: input.zigzag()?,
            first_seqno: Seqno(input.varint()?),
            last_seqno: Seqno(input.varint()?),
            checksum: input.u64()?,
        });
    }
    Ok(list)
}

#[cfg(test)]
mod tests;
