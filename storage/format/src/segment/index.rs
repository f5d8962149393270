//! The index of a segment: which chunks of which model hold which assets and times, and where they lie.
//!
//! Owns: header, index and footer. The index is read whole when a segment is opened; it costs about a byte a run and
//! a few a block.

use std::sync::Arc;

use wattline_model::limits::MODEL_POINTS_MAX;
use wattline_model::{AssetId, ModelId, PointId, Seqno, ShardId};

use super::cached::Cached;
use super::{
    BLOCK_ROWS, BLOCK_ROWS_MAX_V2, BlockRows, CHUNK_ROWS, Chunk, FOOTER_BYTES, HEADER_BYTES, Header, MAGIC,
    Place, Run, Summary, VERSION,
};
use crate::block::ints;
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::varint::{Input, put_varint};

/// A chunk as the writer hands it to the index.
#[derive(Debug)]
pub(super) struct ChunkMeta {
    pub(super) runs: Vec<Run>,
    pub(super) blocks: Vec<BlockRows>,
    pub(super) points: Vec<PointId>,
    pub(super) data_bytes: u64,
    pub(super) directory_bytes: u64,
    pub(super) directory_checksum: u32,
}

/// The chunks of a model.
#[derive(Debug)]
pub(super) struct ModelChunks<C> {
    pub(super) model: ModelId,
    pub(super) chunks: Vec<C>,
}

pub(super) fn encode_header(h: &Header) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    frame::put_head(&mut out, MAGIC, VERSION);
    out.extend_from_slice(&h.shard.0.to_le_bytes());
    out.extend_from_slice(&h.store.to_le_bytes());
    out.extend_from_slice(&h.partition.to_le_bytes());
    out.extend_from_slice(&h.partition_micros.to_le_bytes());
    out.extend_from_slice(&h.first_seqno.0.to_le_bytes());
    out.extend_from_slice(&h.last_seqno.0.to_le_bytes());
    out.extend_from_slice(&u64::from(h.level).to_le_bytes());
    frame::put_checksum(&mut out, 0);
    debug_assert_eq!(out.len(), HEADER_BYTES);
    out
}

/// The header, and the format version.
pub(super) fn decode_header(file: &str, bytes: &[u8]) -> Result<(Header, u32), Error> {
    let Some(head) = bytes.get(..HEADER_BYTES) else {
        let what = format!("expected a header of {HEADER_BYTES} bytes, found {}", bytes.len());
        return Err(Error::new(ErrorKind::Damaged, file, 0, what));
    };
    let mut input = Input::new(file, 0, head);
    let version = frame::head(&mut input, MAGIC, VERSION)?;
    let shard = ShardId(input.u32()?);
    let store = input.u64()?;
    let (partition, partition_micros) = (input.i64()?, input.i64()?);
    let (first_seqno, last_seqno) = (Seqno(input.u64()?), Seqno(input.u64()?));
    let level = input.u64()?;
    frame::expect_checksum(&mut input, &head[..HEADER_BYTES - 8])?;
    let level = u8::try_from(level).map_err(|_| input.damaged("a level of 8 bits", level))?;
    Ok((Header { store, shard, partition, partition_micros, level, first_seqno, last_seqno }, version))
}

/// The index and the footer that ends the file; `written` bytes come before them.
pub(super) fn encode_index(
    models: &[ModelChunks<ChunkMeta>],
    written: u64,
    mut summary: Summary,
) -> (Vec<u8>, Summary) {
    let mut out = Vec::new();
    put_varint(&mut out, models.len() as u64);
    let mut before = 0;
    for model in models {
        put_varint(&mut out, u64::from(model.model.0 - before));
        before = model.model.0;
        put_model(&mut out, &model.chunks);
    }
    let index_bytes = out.len();
    summary.bytes = written + (index_bytes + FOOTER_BYTES) as u64;
    let index_checksum = frame::checksum(&out);
    for number in [written, index_bytes as u64, index_checksum, summary.rows, summary.samples] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&summary.models.to_le_bytes());
    out.extend_from_slice(&summary.first_time.to_le_bytes());
    out.extend_from_slice(&summary.last_time.to_le_bytes());
    frame::put_checksum(&mut out, index_bytes);
    summary.checksum = frame::u64_at(&out, out.len() - 8);
    out.extend_from_slice(MAGIC);
    debug_assert_eq!(out.len(), index_bytes + FOOTER_BYTES);
    (out, summary)
}

fn put_model(out: &mut Vec<u8>, chunks: &[ChunkMeta]) {
    let mut points: Vec<PointId> = chunks.iter().flat_map(|c| c.points.iter().copied()).collect();
    points.sort_unstable();
    points.dedup();
    put_varint(out, points.len() as u64);
    let mut next = 0;
    for point in &points {
        put_varint(out, u64::from(point.0 - next));
        next = point.0 + 1;
    }
    put_varint(out, chunks.len() as u64);
    for chunk in chunks {
        for number in [chunk.data_bytes, chunk.directory_bytes] {
            put_varint(out, number);
        }
        out.extend_from_slice(&chunk.directory_checksum.to_le_bytes());
        put_points(out, &points, &chunk.points);
        put_runs(out, &chunk.runs);
        put_blocks(out, &chunk.blocks);
    }
}

/// The chunk's points as places in the model's: 0 for all of them, else how many and the gaps.
fn put_points(out: &mut Vec<u8>, all: &[PointId], points: &[PointId]) {
    if points.len() == all.len() {
        return put_varint(out, 0);
    }
    put_varint(out, points.len() as u64 + 1);
    let mut next = 0;
    for point in points {
        let place = all.binary_search(point).expect("the model's points are the union of its chunks'");
        put_varint(out, (place - next) as u64);
        next = place + 1;
    }
}

fn points(input: &mut Input<'_>, all: &Arc<[PointId]>) -> Result<Arc<[PointId]>, Error> {
    let count = input.count("points", all.len() + 1)?;
    if count == 0 {
        return Ok(all.clone());
    }
    let mut list = Vec::with_capacity(count - 1);
    let mut next = 0_usize;
    for _ in 1..count {
        let place = next.saturating_add(input.count("points", all.len())?);
        let point = all.get(place).ok_or_else(|| input.damaged(&format!("{} points", all.len()), place))?;
        list.push(*point);
        next = place + 1;
    }
    Ok(list.into())
}

/// One varint a run where it follows the pattern: gap to the asset before, and whether it has as many rows.
fn put_runs(out: &mut Vec<u8>, runs: &[Run]) {
    put_varint(out, runs.len() as u64);
    let (mut asset, mut rows) = (-1_i64, 0);
    for run in runs {
        let gap = (i64::from(run.asset.0) - asset - 1) as u64;
        put_varint(out, gap << 1 | u64::from(run.rows != rows));
        if run.rows != rows {
            put_varint(out, u64::from(run.rows));
        }
        (asset, rows) = (i64::from(run.asset.0), run.rows);
    }
}

fn runs(input: &mut Input<'_>) -> Result<(Vec<Run>, u32), Error> {
    let count = input.count("runs", CHUNK_ROWS.min(input.left()))?;
    let mut list = Vec::with_capacity(count);
    let (mut next_asset, mut rows, mut first_row) = (0_u64, 0, 0_u32);
    for _ in 0..count {
        let tag = input.varint()?;
        let asset = next_asset + (tag >> 1);
        let id = u32::try_from(asset).map_err(|_| input.damaged("an asset of 32 bits", asset))?;
        if tag & 1 == 1 {
            rows = input.count("rows of a run", CHUNK_ROWS)? as u32;
        }
        list.push(Run { asset: AssetId(id), first_row, rows });
        first_row += rows;
        if rows == 0 || first_row as usize > CHUNK_ROWS {
            return Err(input.damaged(&format!("runs of 1 to {CHUNK_ROWS} rows together"), first_row));
        }
        next_asset = asset + 1;
    }
    Ok((list, first_row))
}

/// Rows, first times and lengths as three lists: of assets that report alike they repeat.
fn put_blocks(out: &mut Vec<u8>, blocks: &[BlockRows]) {
    put_varint(out, blocks.len() as u64);
    let list = |of: fn(&BlockRows) -> i64| blocks.iter().map(of).collect::<Vec<i64>>();
    let mut before = 0_i64;
    let mut gaps = list(|b| b.first_time);
    for (gap, block) in gaps.iter_mut().zip(blocks) {
        *gap = gap.wrapping_sub(before);
        before = block.last_time;
    }
    ints::encode(out, &list(|b| i64::from(b.rows)));
    ints::encode(out, &gaps);
    ints::encode(out, &list(|b| b.last_time.wrapping_sub(b.first_time)));
}

fn blocks(
    input: &mut Input<'_>,
    version: u32,
    rows: u32,
    directory_bytes: u64,
) -> Result<Vec<BlockRows>, Error> {
    let rows_max = if version == 2 { BLOCK_ROWS_MAX_V2 } else { CHUNK_ROWS } as i64;
    // A block has at least a byte in the directory, which lies in the file: so much memory and no more.
    let count = input.count("blocks", u64::from(rows).min(directory_bytes) as usize)?;
    let lists = [ints::decode(input, count)?, ints::decode(input, count)?, ints::decode(input, count)?];
    let [rows_of, gaps, lengths] = lists;
    let mut list = Vec::with_capacity(count);
    let (mut before, mut first_row) = (0_i64, 0_u32);
    for ((block_rows, gap), length) in rows_of.into_iter().zip(gaps).zip(lengths) {
        let first_time = before.wrapping_add(gap);
        let last_time = first_time.wrapping_add(length);
        if !(1..=rows_max).contains(&block_rows) || last_time < first_time {
            return Err(input.damaged("a block with rows and ascending times", block_rows));
        }
        list.push(BlockRows { first_row, rows: block_rows as u32, first_time, last_time });
        before = last_time;
        first_row = first_row.saturating_add(block_rows as u32);
    }
    if first_row != rows {
        return Err(input.damaged(&format!("blocks of {rows} rows together"), first_row));
    }
    Ok(list)
}

fn blocks_v1(input: &mut Input<'_>, rows: u32) -> Result<Vec<BlockRows>, Error> {
    let count = input.count("blocks", (rows as usize).min(input.left()))?;
    let mut list = Vec::with_capacity(count);
    let (mut before, mut first_row) = (0_i64, 0_u32);
    for _ in 0..count {
        let rows = input.count("rows of a block", BLOCK_ROWS)? as u32;
        let first_time = before.wrapping_add(input.zigzag()?);
        let last_time = first_time.wrapping_add(input.varint()? as i64);
        if rows == 0 || last_time < first_time {
            return Err(input.damaged("a block with rows and ascending times", rows));
        }
        list.push(BlockRows { first_row, rows, first_time, last_time });
        before = last_time;
        first_row += rows;
    }
    if first_row != rows {
        return Err(input.damaged(&format!("blocks of {rows} rows together"), first_row));
    }
    Ok(list)
}

/// Reads footer and index of a whole file of this version.
pub(super) fn decode_index(
    file: &str,
    version: u32,
    bytes: &[u8],
) -> Result<(Vec<ModelChunks<Chunk>>, Summary), Error> {
    let length = bytes.len() as u64;
    let footer_start = bytes.len().saturating_sub(FOOTER_BYTES);
    let footer = &bytes[footer_start..];
    let mut input = Input::new(file, footer_start as u64, footer);
    let (start, index_bytes, index_checksum) = (input.u64()?, input.u64()?, input.u64()?);
    let (rows, samples, models) = (input.u64()?, input.u64()?, input.u32()?);
    let (first_time, last_time) = (input.i64()?, input.i64()?);
    frame::expect_checksum(&mut input, footer.get(..FOOTER_BYTES - 16).unwrap_or_default())?;
    let checksum = frame::u64_at(footer, FOOTER_BYTES - 16);
    if input.take(8)? != MAGIC {
        return Err(input.damaged("the magic at the end", "other bytes"));
    }
    let fits = start >= HEADER_BYTES as u64 && start.checked_add(index_bytes) == Some(footer_start as u64);
    let index = fits.then(|| &bytes[start as usize..footer_start]);
    let index = index.ok_or_else(|| input.damaged("an index before the footer", start))?;
    let found = frame::checksum(index);
    let mut input = Input::new(file, start, index);
    if !frame::is_same(found, index_checksum) {
        return Err(input.damaged(&format!("index checksum {index_checksum:016x}"), format!("{found:016x}")));
    }
    let list = decode_models(&mut input, version, models, start)?;
    input.end()?;
    Ok((list, Summary { rows, samples, models, bytes: length, first_time, last_time, checksum }))
}

fn decode_models(
    input: &mut Input<'_>,
    version: u32,
    models: u32,
    data_end: u64,
) -> Result<Vec<ModelChunks<Chunk>>, Error> {
    let count = input.count("models", (models as usize).min(input.left()))?;
    let mut list = Vec::with_capacity(count);
    let mut model = 0_u32;
    let mut start = HEADER_BYTES as u64;
    for i in 0..count {
        let gap = input.varint_u32()?;
        let next = model.checked_add(gap).filter(|_| i == 0 || gap > 0);
        model = next.ok_or_else(|| input.damaged("ascending models", gap))?;
        let chunks = decode_chunks(input, version, &mut start, data_end)?;
        list.push(ModelChunks { model: ModelId(model), chunks });
    }
    if start != data_end {
        return Err(input.damaged(&format!("chunks up to {data_end}"), start));
    }
    Ok(list)
}

fn decode_chunks(
    input: &mut Input<'_>,
    version: u32,
    start: &mut u64,
    data_end: u64,
) -> Result<Vec<Chunk>, Error> {
    let count = input.count("points", MODEL_POINTS_MAX.min(input.left()))?;
    let mut all = Vec::with_capacity(count);
    let mut next = 0_u32;
    for _ in 0..count {
        let gap = input.varint_u32()?;
        let point = next.checked_add(gap).filter(|&p| p < u32::MAX);
        let point = point.ok_or_else(|| input.damaged("a point of 32 bits", gap))?;
        all.push(PointId(point));
        next = point + 1;
    }
    let all: Arc<[PointId]> = all.into();
    let count = input.count("chunks", input.left())?;
    let mut chunks = Vec::new();
    for _ in 0..count {
        let (data_bytes, directory_bytes) = (input.varint()?, input.varint()?);
        let end = start.checked_add(data_bytes).and_then(|e| e.checked_add(directory_bytes));
        let end = end.filter(|&end| end <= data_end);
        let end = end.ok_or_else(|| input.damaged(&format!("a chunk before {data_end}"), *start))?;
        let directory_checksum = input.u32()?;
        let place = Place { start: *start, data_bytes, directory_bytes, directory_checksum };
        let points = points(input, &all)?;
        let (runs, rows) = runs(input)?;
        let blocks = if version == 1 {
            blocks_v1(input, rows)?
        } else {
            blocks(input, version, rows, directory_bytes)?
        };
        chunks.push(Chunk { rows, runs, blocks, points, place, directory: Cached::default() });
        *start = end;
    }
    Ok(chunks)
}
