//! Which rows of a block have a value: a bitmap or the gaps between positions, as bytes or packed, whichever is smaller.
//! Blocks in which all rows have one store nothing.

use crate::block::ints;
use crate::error::Error;
use crate::varint::{Input, put_varint};

const CODEC_BITMAP: u8 = 0;
const CODEC_GAPS: u8 = 1;
/// Since segment version 3.
const CODEC_PACKED: u8 = 2;

/// Below this the gaps are hardly worth another look, unless some take two bytes.
const PACKED_BYTES_MIN: usize = 16;

/// Appends the strictly ascending `positions`, all below `rows`.
pub(crate) fn encode(out: &mut Vec<u8>, positions: &[u32], rows: usize) {
    let mut next = 0;
    let gap = |&position: &u32| {
        let gap = position - next;
        next = position + 1;
        i64::from(gap)
    };
    let list: Vec<i64> = positions.iter().map(gap).collect();
    let mut gaps = Vec::new();
    list.iter().for_each(|&gap| put_varint(&mut gaps, gap as u64));
    let bitmap_bytes = rows.div_ceil(8);
    let mut packed = Vec::new();
    if gaps.len() > positions.len() || gaps.len() > PACKED_BYTES_MIN {
        ints::encode(&mut packed, &list);
    }
    if !packed.is_empty() && packed.len() < gaps.len().min(bitmap_bytes) {
        out.push(CODEC_PACKED);
        out.extend_from_slice(&packed);
    } else if gaps.len() < bitmap_bytes {
        out.push(CODEC_GAPS);
        out.extend_from_slice(&gaps);
    } else {
        out.push(CODEC_BITMAP);
        let start = out.len();
        out.resize(start + bitmap_bytes, 0);
        for &position in positions {
            out[start + position as usize / 8] |= 1 << (position % 8);
        }
    }
}

/// Reads `count` positions below `rows`.
pub(crate) fn decode(input: &mut Input<'_>, count: usize, rows: usize) -> Result<Vec<u32>, Error> {
    let mut positions = Vec::with_capacity(count.min(rows));
    match input.u8()? {
        CODEC_BITMAP => {
            for (i, &byte) in input.take(rows.div_ceil(8))?.iter().enumerate() {
                let mut bits = byte;
                while bits != 0 {
                    positions.push(i as u32 * 8 + bits.trailing_zeros());
                    bits &= bits - 1;
                }
            }
        }
        CODEC_GAPS => {
            let mut next = 0_u32;
            for _ in 0..count {
                let position = next.saturating_add(input.varint_u32()?);
                positions.push(position);
                next = position.saturating_add(1);
            }
        }
        CODEC_PACKED => {
            let mut next = 0_u32;
            for gap in ints::decode(input, count)? {
                let gap = u32::try_from(gap).map_err(|_| input.damaged("a gap between rows", gap))?;
                let position = next.saturating_add(gap);
                positions.push(position);
                next = position.saturating_add(1);
            }
        }
        codec => return Err(input.unknown("codec of presence", codec)),
    }
    let inside = positions.last().is_none_or(|&last| (last as usize) < rows);
    if positions.len() != count || !inside || !positions.is_sorted_by(|a, b| a < b) {
        return Err(input.damaged(&format!("{count} rows below {rows}"), "others"));
    }
    Ok(positions)
}
