//! The plain layout of assets, times, rows, values and qualities in log records and latest-value checkpoints.
//!
//! Owns: an encoding that costs about a copy: varints while a list is short, little-endian runs when it is long.
//! Does not own: compression (a segment's `block` encodings).

use wattline_model::{AssetId, Kind, Quality, Rows, TextColumn, Values};

use crate::error::Error;
use crate::varint::{Input, put_f64s, put_i64s, put_u32s, put_varint, put_zigzag};

/// Lists shorter than this are varints: above it a copy is cheaper than the bytes saved.
const SHORT: usize = 16;

const MODE_DELTA: u8 = 0;
const MODE_SAME: u8 = 1;
const MODE_RAW: u8 = 2;

/// Bits of a column's tag.
const TAG_KIND: u8 = 0b0000_0011;
const TAG_ROWS_LISTED: u8 = 0b0000_0100;
const TAG_QUALITY: u8 = 0b0000_1000;
const TAG_QUALITY_SAME: u8 = 0b0001_0000;
const TAG_KNOWN: u8 = 0b0001_1111;

pub(crate) fn put_assets(out: &mut Vec<u8>, assets: &[AssetId]) {
    let Some((&first, rest)) = assets.split_first() else { return };
    if assets.len() > 1 && rest.iter().all(|&a| a == first) {
        out.push(MODE_SAME);
        put_varint(out, u64::from(first.0));
    } else if assets.len() < SHORT {
        out.push(MODE_DELTA);
        let mut before = 0_i64;
        for asset in assets {
            put_zigzag(out, i64::from(asset.0) - before);
            before = i64::from(asset.0);
        }
    } else {
        out.push(MODE_RAW);
        let start = out.len();
        out.resize(start + assets.len() * 4, 0);
        for (slot, asset) in out[start..].chunks_exact_mut(4).zip(assets) {
            slot.copy_from_slice(&asset.0.to_le_bytes());
        }
    }
}

pub(crate) fn assets(input: &mut Input<'_>, count: usize) -> Result<Vec<AssetId>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match input.u8()? {
        MODE_SAME => Ok(vec![AssetId(input.varint_u32()?); count]),
        MODE_RAW => Ok(input.u32s(count)?.into_iter().map(AssetId).collect()),
        MODE_DELTA => {
            let mut list = Vec::with_capacity(count.min(input.left()));
            let mut before = 0_i64;
            for _ in 0..count {
                let asset = input.zigzag()?.wrapping_add(before);
                let id = u32::try_from(asset).map_err(|_| input.damaged("an asset of 32 bits", asset))?;
                list.push(AssetId(id));
                before = asset;
            }
            Ok(list)
        }
        mode => Err(input.unknown("mode of assets", mode)),
    }
}

pub(crate) fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    let Some((&first, rest)) = times.split_first() else { return };
    if times.len() > 1 && rest.iter().all(|&t| t == first) {
        out.push(MODE_SAME);
        put_zigzag(out, first);
    } else if times.len() < SHORT {
        out.push(MODE_DELTA);
        let mut before = 0_i64;
        for &time in times {
            put_zigzag(out, time.wrapping_sub(before));
            before = time;
        }
    } else {
        out.push(MODE_RAW);
        put_i64s(out, times);
    }
}

pub(crate) fn times(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match input.u8()? {
        MODE_SAME => Ok(vec![input.zigzag()?; count]),
        MODE_RAW => input.i64s(count),
        MODE_DELTA => {
            let mut list = Vec::with_capacity(count.min(input.left()));
            let mut before = 0_i64;
            for _ in 0..count {
                before = before.wrapping_add(input.zigzag()?);
                list.push(before);
            }
            Ok(list)
        }
        mode => Err(input.unknown("mode of times", mode)),
    }
}

/// Appends tag, rows, values and qualities of a column.
#[inline]
pub(crate) fn put_column(out: &mut Vec<u8>, rows: &Rows, values: &Values, quality: Option<&[Quality]>) {
    let kind = match values.kind() {
        Kind::Float => 0,
        Kind::Int => 1,
        Kind::Bool => 2,
        Kind::Text => 3,
    };
    let listed = if matches!(rows, Rows::Some(_)) { TAG_ROWS_LISTED } else { 0 };
    let quality_tag = match quality {
        Some(q) if q.len() > 1 && q.iter().all(|c| *c == q[0]) => TAG_QUALITY | TAG_QUALITY_SAME,
        Some(_) => TAG_QUALITY,
        None => 0,
    };
    out.push(kind | listed | quality_tag);
    if let Rows::Some(list) = rows {
        put_rows(out, list);
    }
    put_values(out, values);
    if let Some(quality) = quality {
        let stored = if quality_tag & TAG_QUALITY_SAME == 0 { quality } else { &quality[..1] };
        out.extend(stored.iter().map(|q| q.code()));
    }
}

/// Reads a column of a table of `rows` rows.
pub(crate) fn column(
    input: &mut Input<'_>,
    rows: usize,
) -> Result<(Rows, Values, Option<Vec<Quality>>), Error> {
    let tag = input.u8()?;
    if tag & !TAG_KNOWN != 0 {
        return Err(input.unknown("column tag", format!("{tag:#04x}")));
    }
    let (listed, count) = if tag & TAG_ROWS_LISTED == 0 {
        (Rows::All, rows)
    } else {
        let list = self::rows(input, rows)?;
        let count = list.len();
        (Rows::Some(list), count)
    };
    let values = values(input, tag & TAG_KIND, count)?;
    if tag & TAG_QUALITY == 0 {
        return Ok((listed, values, None));
    }
    let quality = if tag & TAG_QUALITY_SAME == 0 {
        let codes = input.take(count)?;
        codes.iter().map(|&code| Quality::new(code)).collect::<Option<Vec<_>>>()
    } else {
        Quality::new(input.u8()?).map(|q| vec![q; count])
    };
    let quality = quality.ok_or_else(|| input.damaged("a quality of 0 to 9", "a higher one"))?;
    Ok((listed, values, Some(quality)))
}

fn put_rows(out: &mut Vec<u8>, list: &[u32]) {
    put_varint(out, list.len() as u64);
    if list.len() < SHORT {
        let mut next = 0;
        for &row in list {
            put_varint(out, u64::from(row.wrapping_sub(next)));
            next = row.wrapping_add(1);
        }
    } else {
        put_u32s(out, list);
    }
}

fn rows(input: &mut Input<'_>, rows: usize) -> Result<Vec<u32>, Error> {
    let count = input.count("listed rows", rows)?;
    let list = if count < SHORT {
        let mut list = Vec::with_capacity(count);
        let mut next = 0_u32;
        for _ in 0..count {
            let gap = input.varint_u32()?;
            let row = next.checked_add(gap).ok_or_else(|| input.damaged("a row of 32 bits", gap))?;
            list.push(row);
            next = row.saturating_add(1);
        }
        list
    } else {
        input.u32s(count)?
    };
    let ascending = list.is_sorted_by(|a, b| a < b);
    if !ascending || list.last().is_some_and(|&last| last as usize >= rows) {
        return Err(input.damaged(&format!("ascending rows below {rows}"), "others"));
    }
    Ok(list)
}

fn put_values(out: &mut Vec<u8>, values: &Values) {
    match values {
        Values::Float(v) => put_f64s(out, v),
        Values::Int(v) if v.len() < SHORT => v.iter().for_each(|&v| put_zigzag(out, v)),
        Values::Int(v) => put_i64s(out, v),
        Values::Bool(v) => put_bools(out, v),
        Values::Text(texts) => {
            let mut start = 0;
            for &end in texts.ends() {
                put_varint(out, u64::from(end - start));
                start = end;
            }
            out.extend_from_slice(texts.text().as_bytes());
        }
    }
}

fn values(input: &mut Input<'_>, kind: u8, count: usize) -> Result<Values, Error> {
    Ok(match kind {
        0 => Values::Float(input.f64s(count)?),
        1 if count < SHORT => {
            let ints: Result<Vec<i64>, Error> = (0..count).map(|_| input.zigzag()).collect();
            Values::Int(ints?)
        }
        1 => Values::Int(input.i64s(count)?),
        2 => Values::Bool(bools(input, count)?),
        _ => Values::Text(texts(input, count)?),
    })
}

/// Appends truth values, eight a byte, least significant bit first; spare bits are 0.
pub(crate) fn put_bools(out: &mut Vec<u8>, values: &[bool]) {
    out.extend(values.chunks(8).map(|eight| {
        eight.iter().enumerate().fold(0_u8, |byte, (bit, &value)| byte | (u8::from(value) << bit))
    }));
}

/// Reads `count` truth values.
pub(crate) fn bools(input: &mut Input<'_>, count: usize) -> Result<Vec<bool>, Error> {
    let bytes = input.take(count.div_ceil(8))?;
    Ok((0..count).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect())
}

/// Reads `count` texts: their lengths, then their bytes.
pub(crate) fn texts(input: &mut Input<'_>, count: usize) -> Result<TextColumn, Error> {
    let mut lengths = Vec::with_capacity(count.min(input.left()));
    let mut total = 0_usize;
    for _ in 0..count {
        let length = input.count("bytes of text", input.left())?;
        total = total.saturating_add(length);
        lengths.push(length);
    }
    let bytes = input.take(total)?;
    let text = std::str::from_utf8(bytes).map_err(|e| input.damaged("UTF-8", e))?;
    text_column(input, text, &lengths)
}

/// Cuts `text` into texts of these lengths.
pub(crate) fn text_column(input: &Input<'_>, text: &str, lengths: &[usize]) -> Result<TextColumn, Error> {
    if u32::try_from(text.len()).is_err() {
        return Err(input.damaged("texts below 4 GiB", text.len()));
    }
    let mut column = TextColumn::new();
    let mut rest = text;
    for &length in lengths {
        let (one, others) = rest
            .split_at_checked(length)
            .ok_or_else(|| input.damaged("a text that ends at a character", length))?;
        column.push(one);
        rest = others;
    }
    if !rest.is_empty() {
        return Err(input.damaged("the end of the texts", format!("{} more bytes", rest.len())));
    }
    Ok(column)
}
