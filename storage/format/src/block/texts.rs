//! Texts of a block: constant, dictionary, plain, or either of the last two packed by zstd.
//!
//! Owns: which of them, and their layout.

use std::collections::HashMap;
use std::io::Read;

use wattline_model::TextColumn;

use crate::block::ints;
use crate::columns;
use crate::error::Error;
use crate::varint::{Input, put_varint};

const CODEC_CONSTANT: u8 = 0;
const CODEC_PLAIN: u8 = 1;
const CODEC_DICTIONARY: u8 = 2;
const CODEC_ZSTD: u8 = 3;

/// Below this zstd's own frame eats what it saves.
const ZSTD_BYTES_MIN: usize = 256;
/// Texts of a block after unpacking: its rows times the longest text a sample may have.
const PLAIN_BYTES_MAX: usize = 32 << 20;

/// Appends `values`, packed at zstd level `level`; the decoder must be told how many.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[&str], level: i32) {
    let Some(&first) = values.first() else { return };
    if values.iter().all(|&v| v == first) {
        out.push(CODEC_CONSTANT);
        put_plain(out, &[first]);
        return;
    }
    let mut best = dictionary(values).unwrap_or_default();
    let text_bytes: usize = values.iter().map(|v| v.len() + 1).sum();
    if best.is_empty() || best.len() > text_bytes {
        best.clear();
        best.push(CODEC_PLAIN);
        put_plain(&mut best, values);
    }
    if best.len() >= ZSTD_BYTES_MIN {
        let packed =
            zstd::bulk::compress(&best, level).expect("zstd packs any bytes into a buffer that grows");
        // Unpacking costs time: an eighth must be saved.
        if packed.len() + packed.len() / 8 < best.len() && best.len() <= PLAIN_BYTES_MAX {
            out.push(CODEC_ZSTD);
            put_varint(out, best.len() as u64);
            out.extend_from_slice(&packed);
            return;
        }
    }
    out.extend_from_slice(&best);
}

fn put_plain(out: &mut Vec<u8>, values: &[&str]) {
    values.iter().for_each(|v| put_varint(out, v.len() as u64));
    values.iter().for_each(|v| out.extend_from_slice(v.as_bytes()));
}

/// The distinct texts in order of appearance and a code a value; `None` where more than half are distinct.
fn dictionary(values: &[&str]) -> Option<Vec<u8>> {
    let mut codes = Vec::with_capacity(values.len());
    let mut code_of = HashMap::new();
    let mut distinct = Vec::new();
    for &value in values {
        let code = *code_of.entry(value).or_insert_with(|| {
            distinct.push(value);
            distinct.len() as i64 - 1
        });
        codes.push(code);
        if distinct.len() * 2 > values.len() {
            return None;
        }
    }
    let mut out = vec![CODEC_DICTIONARY];
    put_varint(&mut out, distinct.len() as u64);
    put_plain(&mut out, &distinct);
    ints::encode(&mut out, &codes);
    Some(out)
}

/// The name of the codec of the texts at the beginning of `input`.
pub(crate) fn codec_name(input: &Input<'_>) -> Result<&'static str, Error> {
    match input.clone().u8()? {
        CODEC_CONSTANT => Ok("constant"),
        CODEC_PLAIN => Ok("plain"),
        CODEC_DICTIONARY => Ok("dictionary"),
        CODEC_ZSTD => Ok("zstd"),
        codec => Err(input.unknown("codec of texts", codec)),
    }
}

/// Reads `count` values.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<TextColumn, Error> {
    if count == 0 {
        return Ok(TextColumn::new());
    }
    match input.u8()? {
        CODEC_ZSTD => {
            let len = input.count("unpacked bytes", PLAIN_BYTES_MAX)?;
            let offset = input.offset();
            let packed = input.rest();
            let mut plain = Vec::new();
            let read = zstd::Decoder::with_buffer(packed)
                .and_then(|d| d.take(len as u64 + 1).read_to_end(&mut plain));
            match read {
                Ok(found) if found == len => {}
                Ok(found) => return Err(input.damaged(&format!("{len} unpacked bytes"), found)),
                Err(e) => return Err(input.damaged("a zstd frame", e)),
            }
            let mut inner = Input::new(input.file(), offset, &plain);
            let codec = inner.u8()?;
            let texts = decode_plain(&mut inner, codec, count)?;
            inner.end()?;
            Ok(texts)
        }
        codec => decode_plain(input, codec, count),
    }
}

fn decode_plain(input: &mut Input<'_>, codec: u8, count: usize) -> Result<TextColumn, Error> {
    match codec {
        CODEC_CONSTANT => {
            let one = columns::texts(input, 1)?;
            let text = one.get(0);
            repeated(input, count, text.len())?;
            Ok(std::iter::repeat_n(text, count).collect())
        }
        CODEC_PLAIN => columns::texts(input, count),
        CODEC_DICTIONARY => {
            let distinct = input.count("distinct texts", count)?;
            let dictionary = columns::texts(input, distinct)?;
            let longest = dictionary.iter().map(str::len).max().unwrap_or(0);
            repeated(input, count, longest)?;
            let mut texts = TextColumn::new();
            for code in ints::decode(input, count)? {
                let place = usize::try_from(code).ok().filter(|&c| c < dictionary.len());
                let place = place.ok_or_else(|| input.damaged(&format!("one of {distinct} texts"), code))?;
                texts.push(dictionary.get(place));
            }
            Ok(texts)
        }
        codec => Err(input.unknown("codec of texts", codec)),
    }
}

/// Refuses to lay out more than 4 GiB where a few bytes ask for it.
fn repeated(input: &Input<'_>, count: usize, bytes: usize) -> Result<(), Error> {
    let total = count.checked_mul(bytes).filter(|&total| u32::try_from(total).is_ok());
    total.map(|_| ()).ok_or_else(|| input.damaged("texts below 4 GiB", format!("{count} of {bytes} bytes")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(values: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, values, 1);
        let mut input = Input::new("t", 0, &out);
        let back = decode(&mut input, values.len()).unwrap();
        assert_eq!(input.end(), Ok(()));
        assert_eq!(back.iter().collect::<Vec<_>>(), values);
        out
    }

    #[test]
    fn each_shape_gets_its_size() {
        encoded(&[]);
        encoded(&[""]);
        encoded(&["", "", "a"]);
        assert!(encoded(&["running"; 1000]).len() < 12);
        let states: Vec<&str> =
            (0..1000).map(|i| ["running", "stopped", "fault"][i * 7919 % 17 % 3]).collect();
        assert!(encoded(&states).len() < 1000 / 4 + 40, "two bits a value");
        let long: Vec<String> =
            (0..500).map(|i| format!("{{\"sequence\":{i},\"mode\":\"automatic\"}}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        let plain: usize = long.iter().map(|t| t.len()).sum();
        assert!(encoded(&long).len() < plain / 4, "zstd");
    }

    proptest! {
        #[test]
        fn texts_come_back(texts in prop::collection::vec("[a-cßé]{0,3}|\\PC{0,40}", 0..120)) {
            encoded(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        }

        #[test]
        fn mutated_bytes_do_not_panic(
            texts in prop::collection::vec("[a-c]{0,2}", 1..400),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = encoded(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let at = place.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&mut Input::new("t", 0, &bytes), texts.len());
        }
    }
}
