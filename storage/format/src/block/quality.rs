//! Qualities of a block: constant, run lengths, or four bits each.

use wattline_model::Quality;

use crate::error::Error;
use crate::varint::{Input, put_varint};

/// Codes below this are the constant quality itself.
const CODEC_RUNS: u8 = 0x10;
const CODEC_NIBBLES: u8 = 0x11;

/// Appends `values`, of which there is at least one; the decoder must be told how many.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[Quality]) {
    let Some((&first, rest)) = values.split_first() else { return };
    if rest.iter().all(|&q| q == first) {
        out.push(first.code());
        return;
    }
    let mut runs = Vec::new();
    for run in values.chunk_by(|a, b| a == b) {
        // Length - 1 above the code: a short run takes one byte.
        put_varint(&mut runs, (run.len() as u64 - 1) << 4 | u64::from(run[0].code()));
    }
    if runs.len() < values.len().div_ceil(2) {
        out.push(CODEC_RUNS);
        out.extend_from_slice(&runs);
    } else {
        out.push(CODEC_NIBBLES);
        out.extend(values.chunks(2).map(|pair| pair[0].code() | pair.get(1).map_or(0, |q| q.code() << 4)));
    }
}

/// Reads `count` qualities.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<Vec<Quality>, Error> {
    let bad = |input: &Input<'_>, code: u8| input.damaged("a quality of 0 to 9", code);
    if count == 0 {
        return Ok(Vec::new());
    }
    let codec = input.u8()?;
    if let Some(quality) = Quality::new(codec) {
        return Ok(vec![quality; count]);
    }
    let mut list = Vec::with_capacity(count);
    match codec {
        CODEC_RUNS => {
            while list.len() < count {
                let run = input.varint()?;
                let code = (run & 0xF) as u8;
                let quality = Quality::new(code).ok_or_else(|| bad(input, code))?;
                let len = usize::try_from(run >> 4).ok().and_then(|l| l.checked_add(list.len() + 1));
                match len {
                    Some(len) if len <= count => list.resize(len, quality),
                    _ => return Err(input.damaged(&format!("{count} qualities"), "more")),
                }
            }
        }
        CODEC_NIBBLES => {
            for &byte in input.take(count.div_ceil(2))? {
                for code in [byte & 0xF, byte >> 4] {
                    if list.len() < count {
                        list.push(Quality::new(code).ok_or_else(|| bad(input, code))?);
                    }
                }
            }
        }
        codec => return Err(input.unknown("codec of qualities", codec)),
    }
    Ok(list)
}
