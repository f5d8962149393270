//! Floats of a block, bit for bit.
//!
//! Owns: floats as integers plus the values that do not fit, kept aside with their places. -0.0, NaN and what else
//! is odd lands there and costs the others nothing. Does not own: the maps (`mapping`), the integers (`ints`).

use super::mapping::Mapping;
use super::{ints, presence};
use crate::error::Error;
use crate::varint::{Input, put_varint};

/// Set beside the map: some values are kept aside.
const HAS_ASIDE: u8 = 0b01;
/// Set beside the map: values lie some units in the last place off what their integers give.
const HAS_OFFS: u8 = 0b10;

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
        self.places.len() * 4 > self.integers.len()
    }

    /// Appends the map, the values kept aside and the corrections: everything but the integers.
    pub(crate) fn put_head(&self, out: &mut Vec<u8>) {
        self.mapping.put(out);
        let aside = if self.places.is_empty() { 0 } else { HAS_ASIDE };
        let offs = if self.offs.is_empty() { 0 } else { HAS_OFFS };
        out.push(aside | offs);
        if aside != 0 {
            put_varint(out, self.places.len() as u64);
            presence::encode(out, &self.places, self.integers.len());
            ints::encode(out, &self.bits);
        }
        ints::encode(out, &self.offs);
    }
}

/// What [`Mapped::put_head`] appended.
#[derive(Debug)]
pub(crate) struct Head {
    mapping: Mapping,
    places: Vec<u32>,
    bits: Vec<i64>,
    offs: Vec<i64>,
}

impl Head {
    pub(crate) fn get(input: &mut Input<'_>, count: usize) -> Result<Head, Error> {
        let mapping = Mapping::get(input)?;
        let flags = input.u8()?;
        if flags & !(HAS_ASIDE | HAS_OFFS) != 0 {
            return Err(input.unknown("flags of floats", format!("{flags:#04x}")));
        }
        let mut head = Head { mapping, places: Vec::new(), bits: Vec::new(), offs: Vec::new() };
        if flags & HAS_ASIDE != 0 {
            let aside = input.count("values aside", count)?;
            head.places = presence::decode(input, aside, count)?;
            head.bits = ints::decode(input, aside)?;
        }
        if flags & HAS_OFFS != 0 {
            head.offs = ints::decode(input, count)?;
        }
        Ok(head)
    }

    /// The floats of these integers, those kept aside put back.
    pub(crate) fn floats(&self, integers: Vec<i64>) -> Vec<f64> {
        let mut values = self.mapping.floats(integers);
        for (value, &off) in values.iter_mut().zip(&self.offs) {
            *value = f64::from_bits(value.to_bits().wrapping_add_signed(off));
        }
        for (&place, &bits) in self.places.iter().zip(&self.bits) {
            if let Some(value) = values.get_mut(place as usize) {
                *value = f64::from_bits(bits as u64);
            }
        }
        values
    }
}

/// Appends `values`; the decoder must be told how many.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[f64]) {
    if values.is_empty() {
        return;
    }
    let mut mapped = Mapped::of(values, Mapping::choose(values));
    if mapped.misled() {
        mapped = Mapped::of(values, (Mapping::Bits, false));
    }
    mapped.put_head(out);
    ints::encode(out, &mapped.integers);
}

/// Reads `count` values.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<Vec<f64>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let head = Head::get(input, count)?;
    Ok(head.floats(ints::decode(input, count)?))
}

#[cfg(test)]
mod tests;
