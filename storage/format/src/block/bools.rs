//! Truth values of a block: constant, run lengths or one bit each, whichever is smallest.

use crate::columns;
use crate::error::Error;
use crate::varint::{Input, put_varint};

const CODEC_FALSE: u8 = 0;
const CODEC_TRUE: u8 = 1;
const CODEC_BITS: u8 = 2;
const CODEC_RUNS: u8 = 3;

/// Appends `values`; the decoder must be told how many.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[bool]) {
    let Some((&first, rest)) = values.split_first() else { return };
    if rest.iter().all(|&v| v == first) {
        out.push(if first { CODEC_TRUE } else { CODEC_FALSE });
        return;
    }
    let mut runs = vec![u8::from(first)];
    for run in values.chunk_by(|a, b| a == b) {
        put_varint(&mut runs, run.len() as u64);
    }
    if runs.len() < values.len().div_ceil(8) {
        out.push(CODEC_RUNS);
        out.extend_from_slice(&runs);
    } else {
        out.push(CODEC_BITS);
        columns::put_bools(out, values);
    }
}

/// The name of the codec of the values at the beginning of `input`.
pub(crate) fn codec_name(input: &Input<'_>) -> Result<&'static str, Error> {
    match input.clone().u8()? {
        CODEC_FALSE | CODEC_TRUE => Ok("constant"),
        CODEC_BITS => Ok("bits"),
        CODEC_RUNS => Ok("runs"),
        codec => Err(input.unknown("codec of truth values", codec)),
    }
}

/// Reads `count` values.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<Vec<bool>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match input.u8()? {
        CODEC_FALSE => Ok(vec![false; count]),
        CODEC_TRUE => Ok(vec![true; count]),
        CODEC_BITS => columns::bools(input, count),
        CODEC_RUNS => {
            let mut value = input.u8()? != 0;
            let mut values = Vec::with_capacity(count);
            while values.len() < count {
                let run = input.count("equal truth values", count - values.len())?;
                if run == 0 {
                    return Err(input.damaged("a run of at least one value", run));
                }
                values.resize(values.len() + run, value);
                value = !value;
            }
            Ok(values)
        }
        codec => Err(input.unknown("codec of truth values", codec)),
    }
}
