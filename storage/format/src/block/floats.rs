//! Floats of a block, bit for bit.
//!
//! Owns: floats as integers plus the values that do not fit, kept aside with their places. -0.0, NaN and what else
//! is odd lands there and costs the others nothing. Does not own: the maps (`mapping`), the integers (`ints`).

use super::mapping::{Integers, Mapping};
use super::shared::{Heads, Packed};
use super::{ints, presence};
use crate::error::Error;
use crate::varint::{Input, put_varint};

/// A map that leaves more than one value in so many aside was a bad choice.
const ASIDE_SHARE: usize = 4;

/// Set beside the map: some values are kept aside.
const HAS_ASIDE: u8 = 0b01;
/// Set beside the map: values lie some units in the last place off what their integers give.
const HAS_OFFS: u8 = 0b10;

/// Set in place of a map: it is the column's, the rest of the byte are the flags, and shared integers take all that
/// is left.
const OF_COLUMN: u8 = 0b1_0000;

/// Set beside the map: integers, and corrections where there are any, lie in the column's shared sequences.
const SHARED: u8 = 0b100;
/// The sequences.
const SEQUENCE_INTEGERS: usize = 0;
const SEQUENCE_OFFS: usize = 1;

/// Floats as integers.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// The map.
    pub(crate) mapping: Mapping,
    /// One a value; a value kept aside repeats the integer before it, so that it costs little.
    pub(crate) integers: Vec<i64>,
    /// Where values are kept aside.
    places: Vec<u32>,
    /// Their bits.
    bits: Vec<i64>,
    /// One a value, or none where all are 0: units in the last place to add.
    offs: Vec<i64>,
}

impl Mapped {
    /// `values` by `mapping`; where `corrected`, also those that lie a little off it.
    pub(crate) fn of(values: &[f64], (mapping, corrected): (Mapping, bool)) -> Mapped {
        let fit = |v: f64| mapping.nearest(v).filter(|&(_, off)| corrected || off == 0);
        let mut mapped = Mapped {
            mapping,
            integers: Vec::with_capacity(values.len()),
            places: Vec::new(),
            bits: Vec::new(),
            offs: Vec::new(),
        };
        let mut before = values.iter().find_map(|&v| fit(v)).map_or(0, |(integer, _)| integer);
        for (i, &v) in values.iter().enumerate() {
            let found = fit(v);
            if let Some((integer, _)) = found {
                before = integer;
            } else {
                mapped.places.push(i as u32);
                mapped.bits.push(v.to_bits() as i64);
            }
            mapped.integers.push(before);
            if corrected {
                mapped.offs.push(found.map_or(0, |(_, off)| off));
            }
        }
        if mapped.offs.iter().all(|&off| off == 0) {
            mapped.offs.clear();
        }
        mapped
    }

    /// Whether so many values are kept aside that the map was a bad choice.
    pub(crate) fn misled(&self) -> bool {
        self.places.len() * ASIDE_SHARE > self.integers.len()
    }

    /// Appends the map and the values kept aside: everything but corrections and integers.
    fn put_head(&self, out: &mut Vec<u8>, flags: u8) {
        let aside = if self.places.is_empty() { 0 } else { HAS_ASIDE };
        let offs = if self.offs.is_empty() { 0 } else { HAS_OFFS };
        if flags & OF_COLUMN == 0 {
            self.mapping.put(out);
        }
        out.push(aside | offs | flags);
        if aside != 0 {
            put_varint(out, self.places.len() as u64);
            presence::encode(out, &self.places, self.integers.len());
            ints::encode(out, &self.bits);
        }
    }

    /// Appends all of it.
    fn put(&self, out: &mut Vec<u8>, of_column: Mapping) {
        self.put_head(out, if self.mapping == of_column { OF_COLUMN } else { 0 });
        ints::encode(out, &self.offs);
        ints::encode(out, &self.integers);
    }
}

/// Appends `values`, by the map that was chosen for their column where it suits them; the decoder must be told that
/// map and how many they are.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[f64], choice: (Mapping, bool)) {
    if values.is_empty() {
        return;
    }
    let mut mapped = Mapped::of(values, choice);
    if mapped.misled() {
        mapped = Mapped::of(values, Mapping::choose(values));
    }
    if mapped.misled() {
        mapped = Mapped::of(values, (Mapping::Bits, false));
    }
    mapped.put(out, choice.0);
}

/// The blocks of a whole column, of these `lengths`, by one map and with shared sequences; `None` where that does
/// not suit.
pub(crate) fn encode_shared(
    values: &[f64],
    lengths: &[usize],
    choice: (Mapping, bool),
) -> Option<(Vec<Packed>, Vec<Vec<u8>>)> {
    let mut blocks = Vec::with_capacity(lengths.len());
    let (mut integers, mut offs) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
    let mut rest = values;
    for &length in lengths {
        let (block, others) = rest.split_at_checked(length)?;
        let mapped = Mapped::of(block, choice);
        if mapped.misled() {
            return None;
        }
        integers.extend_from_slice(&mapped.integers);
        offs.extend_from_slice(&mapped.offs);
        offs.resize(integers.len(), 0);
        blocks.push(mapped);
        rest = others;
    }
    let mut sequences = vec![Packed::of(&integers, lengths)?];
    if blocks.iter().any(|b| !b.offs.is_empty()) {
        sequences.push(Packed::of(&offs, lengths)?);
    }
    let payload = |(i, mapped): (usize, &Mapped)| {
        let mut out = Vec::new();
        mapped.put_head(&mut out, SHARED | OF_COLUMN);
        if !mapped.offs.is_empty() {
            sequences[SEQUENCE_OFFS].put_page(&mut out, i);
        }
        sequences[SEQUENCE_INTEGERS].put_last_page(&mut out, i);
        out
    };
    let payloads = blocks.iter().enumerate().map(payload).collect();
    Some((sequences, payloads))
}

/// Integers of a block in the column's shared sequence: all that is left of `page`.
struct Shared<'i, 'a> {
    heads: &'i Heads,
    page: &'i mut Input<'a>,
    count: usize,
}

impl Integers for Shared<'_, '_> {
    #[inline(always)]
    fn read<T: Clone>(self, of: impl Fn(i64) -> T + Copy) -> Result<Vec<T>, Error> {
        self.heads.last_page_as(self.page, SEQUENCE_INTEGERS, self.count, of)
    }
}

/// How the floats at the beginning of `input` are encoded: the map to integers, and the codec of those.
pub(crate) fn encoding(mut input: Input<'_>, count: usize, heads: &Heads) -> Result<String, Error> {
    let mut ahead = input.clone();
    let first = ahead.u8()?;
    let (mapping, flags) = if first & OF_COLUMN != 0 {
        input = ahead;
        (heads.mapping.ok_or_else(|| input.damaged("a map of the column", "none"))?, first & !OF_COLUMN)
    } else {
        (Mapping::get(&mut input)?, input.u8()?)
    };
    if flags & HAS_ASIDE != 0 {
        let aside = input.count("values aside", count)?;
        presence::decode(&mut input, aside, count)?;
        ints::decode(&mut input, aside)?;
    }
    let integers = match flags & (SHARED | HAS_OFFS) {
        SHARED.. => "shared",
        0 => ints::codec_name(&input)?,
        _ => {
            ints::decode(&mut input, count)?;
            ints::codec_name(&input)?
        }
    };
    Ok(format!("{mapping}, {integers}"))
}

/// Reads `count` values; `heads` are those of the column's shared sequences.
pub(crate) fn decode(input: &mut Input<'_>, count: usize, heads: &Heads) -> Result<Vec<f64>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut ahead = input.clone();
    let first = ahead.u8()?;
    let of_column = first & OF_COLUMN != 0;
    let (mapping, flags) = if of_column {
        *input = ahead;
        let mapping = heads.mapping.ok_or_else(|| input.damaged("a map of the column", "none"))?;
        (mapping, first & !OF_COLUMN)
    } else {
        (Mapping::get(input)?, input.u8()?)
    };
    if flags & !(HAS_ASIDE | HAS_OFFS | SHARED) != 0 {
        return Err(input.unknown("flags of floats", format!("{flags:#04x}")));
    }
    let (mut places, mut bits) = (Vec::new(), Vec::new());
    if flags & HAS_ASIDE != 0 {
        let aside = input.count("values aside", count)?;
        places = presence::decode(input, aside, count)?;
        bits = ints::decode(input, aside)?;
    }
    let list = |input: &mut Input<'_>, sequence| match flags & SHARED {
        0 => ints::decode(input, count),
        _ => heads.page(input, sequence, count),
    };
    let offs = if flags & HAS_OFFS != 0 { list(input, SEQUENCE_OFFS)? } else { Vec::new() };
    let mut values = match flags & SHARED {
        0 => mapping.decode(input, count)?,
        _ if of_column => mapping.decode_from(Shared { heads, page: input, count })?,
        _ => mapping.decode_from(Shared { heads, page: &mut Heads::page_bytes(input)?, count })?,
    };
    for (value, &off) in values.iter_mut().zip(&offs) {
        *value = f64::from_bits(value.to_bits().wrapping_add_signed(off));
    }
    for (&place, &bits) in places.iter().zip(&bits) {
        if let Some(value) = values.get_mut(place as usize) {
            *value = f64::from_bits(bits as u64);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
