//! Floats of a block, bit for bit.

use crate::error::Error;
use crate::varint::{Input, put_f64s};

const CODEC_CONSTANT: u8 = 0;
const CODEC_RAW: u8 = 1;

/// Appends `values`; the decoder must be told how many.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[f64]) {
    let Some((&first, rest)) = values.split_first() else { return };
    if rest.iter().all(|v| v.to_bits() == first.to_bits()) {
        out.push(CODEC_CONSTANT);
        put_f64s(out, &[first]);
    } else {
        out.push(CODEC_RAW);
        put_f64s(out, values);
    }
}

/// Reads `count` values.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<Vec<f64>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match input.u8()? {
        CODEC_CONSTANT => Ok(vec![f64::from_bits(input.u64()?); count]),
        CODEC_RAW => input.f64s(count),
        codec => Err(input.unknown("codec of floats", codec)),
    }
}
