//! Integers of a block.
//!
//! Owns: the codecs for lists of `i64`; arithmetic wraps, so every list of every value comes back.

use crate::error::Error;
use crate::varint::{Input, put_i64s, put_zigzag};

const CODEC_CONSTANT: u8 = 0;
const CODEC_RAW: u8 = 1;

/// Appends `values`; the decoder must be told how many.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[i64]) {
    let Some((&first, rest)) = values.split_first() else { return };
    if rest.iter().all(|&v| v == first) {
        out.push(CODEC_CONSTANT);
        put_zigzag(out, first);
    } else {
        out.push(CODEC_RAW);
        put_i64s(out, values);
    }
}

/// Reads `count` values.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match input.u8()? {
        CODEC_CONSTANT => Ok(vec![input.zigzag()?; count]),
        CODEC_RAW => input.i64s(count),
        codec => Err(input.unknown("codec of integers", codec)),
    }
}
