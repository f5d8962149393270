//! Texts of a block: constant, dictionary, plain, or plain packed by zstd.

use wattline_model::TextColumn;

use crate::columns;
use crate::error::Error;
use crate::varint::{Input, put_varint};

const CODEC_CONSTANT: u8 = 0;
const CODEC_PLAIN: u8 = 1;

/// Appends `values`; the decoder must be told how many.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[&str]) {
    let Some((&first, rest)) = values.split_first() else { return };
    if rest.iter().all(|&v| v == first) {
        out.push(CODEC_CONSTANT);
        put_plain(out, &[first]);
    } else {
        out.push(CODEC_PLAIN);
        put_plain(out, values);
    }
}

fn put_plain(out: &mut Vec<u8>, values: &[&str]) {
    values.iter().for_each(|v| put_varint(out, v.len() as u64));
    values.iter().for_each(|v| out.extend_from_slice(v.as_bytes()));
}

/// Reads `count` values.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<TextColumn, Error> {
    if count == 0 {
        return Ok(TextColumn::new());
    }
    match input.u8()? {
        CODEC_CONSTANT => {
            let one = columns::texts(input, 1)?;
            Ok(std::iter::repeat_n(one.get(0), count).collect())
        }
        CODEC_PLAIN => columns::texts(input, count),
        codec => Err(input.unknown("codec of texts", codec)),
    }
}
