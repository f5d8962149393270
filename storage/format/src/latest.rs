//! The checkpoint of a shard's latest-value table. Layout: `docs/format/latest.md`.
//!
//! Owns: the bytes of a checkpoint. Does not own: when one is written, and what a value becomes when it is read back
//! (`storage` replays the log from the checkpoint's sequence number).

use std::io::Read;

use wattline_model::limits::MODEL_POINTS_MAX;
use wattline_model::{AssetId, ModelId, PointId, Quality, Rows, Seqno, ShardId, Values};

use crate::columns;
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::varint::{Input, put_varint};

/// The first bytes of a checkpoint file.
pub const MAGIC: &[u8; 8] = b"WATTLAT\0";
/// The format version written. All up to it are read.
pub const VERSION: u32 = 2;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 40;

/// Assets of one model in one shard: what a decoder is willing to lay out.
const ASSETS_MAX: usize = 1 << 26;

/// Bytes of one model before compression.
const MODEL_BYTES_MAX: u64 = 1 << 36;

/// Level 1 packs a checkpoint about as fast as a disk takes it.
const ZSTD_LEVEL: i32 = 1;

/// The latest values of one model's assets.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelLatest {
    /// The model.
    pub model: ModelId,
    /// Its assets; a column's rows are places in this list.
    pub assets: Vec<AssetId>,
    /// One column a point that has any value.
    pub columns: Vec<LatestColumn>,
}

/// The latest values of one point. `times`, `values` and `quality` have one entry a listed row.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestColumn {
    /// The point.
    pub point: PointId,
    /// Which of the model's assets have a value.
    pub rows: Rows,
    /// When each value was measured, microseconds.
    pub times: Vec<i64>,
    /// Where that is kept: when each value began to be what it is, microseconds.
    pub changed: Option<Vec<i64>>,
    /// The values.
    pub values: Values,
    /// The qualities, where any was reported.
    pub quality: Option<Vec<Quality>>,
}

/// The bytes of a checkpoint of all batches up to `seqno`.
///
/// # Panics
/// Where a column's lengths do not fit each other.
pub fn encode(shard: ShardId, seqno: Seqno, models: &[ModelLatest]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_head(&mut out, MAGIC, VERSION);
    out.extend_from_slice(&shard.0.to_le_bytes());
    out.extend_from_slice(&seqno.0.to_le_bytes());
    out.extend_from_slice(&(models.len() as u64).to_le_bytes());
    frame::put_checksum(&mut out, 0);
    debug_assert_eq!(out.len(), HEADER_BYTES);
    let mut plain = Vec::new();
    for model in models {
        plain.clear();
        put_model(&mut plain, model);
        let packed =
            zstd::bulk::compress(&plain, ZSTD_LEVEL).expect("zstd packs any bytes into a buffer that grows");
        out.extend_from_slice(&(plain.len() as u64).to_le_bytes());
        out.extend_from_slice(&(packed.len() as u64).to_le_bytes());
        out.extend_from_slice(&frame::checksum(&packed).to_le_bytes());
        out.extend_from_slice(&packed);
    }
    out
}

/// Reads a checkpoint whole.
///
/// # Errors
/// Where anything in it does not check out: a checkpoint is written whole before it is named, so there is no torn one.
pub fn decode(file: &str, bytes: &[u8]) -> Result<(ShardId, Seqno, Vec<ModelLatest>), Error> {
    let mut input = Input::new(file, 0, bytes);
    let version = frame::head(&mut input, MAGIC, VERSION)?;
    let shard = ShardId(input.u32()?);
    let seqno = Seqno(input.u64()?);
    let count = input.u64()?;
    frame::expect_checksum(&mut input, bytes.get(..HEADER_BYTES - 8).unwrap_or_default())?;
    let mut models = Vec::new();
    for _ in 0..count {
        models.push(packed_model(&mut input, version)?);
    }
    input.end()?;
    Ok((shard, seqno, models))
}

fn packed_model(input: &mut Input<'_>, version: u32) -> Result<ModelLatest, Error> {
    let plain_len = input.u64()?;
    let packed_len = input.u64()?;
    let expected = input.u64()?;
    if plain_len > MODEL_BYTES_MAX {
        let what = format!("expected at most {MODEL_BYTES_MAX} bytes of one model, found {plain_len}");
        return Err(Error::new(ErrorKind::Limit, input.file(), input.offset(), what));
    }
    let offset = input.offset();
    let packed_len =
        usize::try_from(packed_len).map_err(|_| input.damaged("a length that fits", packed_len))?;
    let packed = input.take(packed_len)?;
    let found = frame::checksum(packed);
    if !frame::is_same(found, expected) {
        let what = format!("expected checksum {expected:016x}, found {found:016x}");
        return Err(Error::new(ErrorKind::Damaged, input.file(), offset, what));
    }
    let mut plain = Vec::new();
    let read = zstd::Decoder::with_buffer(packed).and_then(|d| d.take(plain_len + 1).read_to_end(&mut plain));
    match read {
        Ok(len) if len as u64 == plain_len => {}
        Ok(len) => return Err(input.damaged(&format!("{plain_len} unpacked bytes"), len)),
        Err(e) => return Err(input.damaged("a zstd frame", e)),
    }
    // Offsets inside a packed model cannot be told in the file: they count from its frame.
    model(&mut Input::new(input.file(), offset, &plain), version)
}

fn put_model(out: &mut Vec<u8>, model: &ModelLatest) {
    put_varint(out, u64::from(model.model.0));
    put_varint(out, model.assets.len() as u64);
    columns::put_assets(out, &model.assets);
    put_varint(out, model.columns.len() as u64);
    for column in &model.columns {
        let len = column.values.len();
        let rows = match &column.rows {
            Rows::All => model.assets.len(),
            Rows::Some(list) => list.len(),
        };
        let quality = column.quality.as_ref().map_or(len, Vec::len);
        let changed = column.changed.as_ref().map_or(len, Vec::len);
        let times = column.times.len();
        assert!([rows, times, quality, changed] == [len; 4], "lengths of {}", column.point);
        put_varint(out, u64::from(column.point.0));
        columns::put_column(out, &column.rows, &column.values, column.quality.as_deref());
        columns::put_times(out, &column.times);
        out.push(u8::from(column.changed.is_some()));
        if let Some(changed) = &column.changed {
            columns::put_times(out, changed);
        }
    }
}

fn model(input: &mut Input<'_>, version: u32) -> Result<ModelLatest, Error> {
    let model = ModelId(input.varint_u32()?);
    let count = input.count("assets", ASSETS_MAX)?;
    let assets = columns::assets(input, count)?;
    let count = input.count("columns", MODEL_POINTS_MAX)?;
    let mut list = Vec::with_capacity(count.min(input.left()));
    for _ in 0..count {
        let point = PointId(input.varint_u32()?);
        let (rows, values, quality) = columns::column(input, assets.len())?;
        let times = columns::times(input, values.len())?;
        let changed = match version {
            1 => None,
            _ => match input.u8()? {
                0 => None,
                1 => Some(columns::times(input, values.len())?),
                flag => return Err(input.unknown("flag of change times", flag)),
            },
        };
        list.push(LatestColumn { point, rows, times, changed, values, quality });
    }
    input.end()?;
    Ok(ModelLatest { model, assets, columns: list })
}

#[cfg(test)]
mod tests;
