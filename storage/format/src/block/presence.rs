//! Which rows of a block have a value: a bitmap or the gaps between positions, whichever is smaller. Blocks in which
//! all rows have one store nothing.

use crate::error::Error;
use crate::varint::{Input, put_varint};

const CODEC_BITMAP: u8 = 0;
const CODEC_GAPS: u8 = 1;

/// Appends the strictly ascending `positions`, all below `rows`.
pub(crate) fn encode(out: &mut Vec<u8>, positions: &[u32], rows: usize) {
    let mut gaps = Vec::new();
    let mut next = 0;
    for &position in positions {
        put_varint(&mut gaps, u64::from(position - next));
        next = position + 1;
    }
    let bitmap_bytes = rows.div_ceil(8);
    if gaps.len() < bitmap_bytes {
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
        codec => return Err(input.unknown("codec of presence", codec)),
    }
    let inside = positions.last().is_none_or(|&last| (last as usize) < rows);
    if positions.len() != count || !inside || !positions.is_sorted_by(|a, b| a < b) {
        return Err(input.damaged(&format!("{count} rows below {rows}"), "others"));
    }
    Ok(positions)
}
