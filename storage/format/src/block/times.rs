//! Times of a block.
//!
//! Owns: the codecs for times that ascend within each run of rows. A block of one asset is one run; a block of many
//! short runs goes back in time at every boundary, which the encoder is told of.

use crate::block::ints;
use crate::error::Error;
use crate::varint::{Input, put_zigzag};

const CODEC_REGULAR: u8 = 0;
const CODEC_GENERAL: u8 = 1;

/// Appends `times`; `runs` are the lengths of the runs they fall into. The decoder must be told the runs.
pub(crate) fn encode(out: &mut Vec<u8>, times: &[i64], runs: &[usize]) {
    debug_assert_eq!(runs.iter().sum::<usize>(), times.len());
    let Some(&first) = times.first() else { return };
    let step = times.get(1).map_or(0, |t| t.wrapping_sub(first));
    if times.windows(2).all(|w| w[1].wrapping_sub(w[0]) == step) {
        out.push(CODEC_REGULAR);
        put_zigzag(out, first);
        put_zigzag(out, step);
        return;
    }
    out.push(CODEC_GENERAL);
    ints::encode(out, times);
}

/// Reads the times of runs of these lengths.
pub(crate) fn decode(input: &mut Input<'_>, runs: &[usize]) -> Result<Vec<i64>, Error> {
    let count = runs.iter().sum();
    if count == 0 {
        return Ok(Vec::new());
    }
    match input.u8()? {
        CODEC_REGULAR => {
            let (first, step) = (input.zigzag()?, input.zigzag()?);
            Ok((0..count as i64).map(|i| first.wrapping_add(step.wrapping_mul(i))).collect())
        }
        CODEC_GENERAL => ints::decode(input, count),
        codec => Err(input.unknown("codec of times", codec)),
    }
}
