//! Floats of a block, bit for bit.
//!
//! Owns: floats as integers plus the values that do not fit, kept aside with their places. -0.0, NaN and what else
//! is odd lands there and costs the others nothing. Does not own: the maps (`mapping`), the integers (`ints`).

use super::mapping::Mapping;
use super::{ints, presence};
use crate::error::Error;
use crate::varint::Input;

/// Set beside the map: some values are kept aside.
const HAS_ASIDE: u8 = 1;

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
}

impl Mapped {
    /// `values` by `mapping`.
    pub(crate) fn of(values: &[f64], mapping: Mapping) -> Mapped {
        let (mut integers, mut places, mut bits) = (Vec::with_capacity(values.len()), Vec::new(), Vec::new());
        let mut before = values.iter().find_map(|&v| mapping.integer(v)).unwrap_or(0);
        for (i, &v) in values.iter().enumerate() {
            match mapping.integer(v) {
                Some(integer) => before = integer,
                None => {
                    places.push(i as u32);
                    bits.push(v.to_bits() as i64);
                }
            }
            integers.push(before);
        }
        Mapped { mapping, integers, places, bits }
    }

    /// Appends the map and the values kept aside: everything but the integers.
    pub(crate) fn put_head(&self, out: &mut Vec<u8>) {
        self.mapping.put(out);
        if self.places.is_empty() {
            out.push(0);
            return;
        }
        out.push(HAS_ASIDE);
        ints::encode(out, &[self.places.len() as i64]);
        presence::encode(out, &self.places, self.integers.len());
        ints::encode(out, &self.bits);
    }
}

/// What [`Mapped::put_head`] appended.
#[derive(Debug)]
pub(crate) struct Head {
    mapping: Mapping,
    places: Vec<u32>,
    bits: Vec<i64>,
}

impl Head {
    pub(crate) fn get(input: &mut Input<'_>, count: usize) -> Result<Head, Error> {
        let mapping = Mapping::get(input)?;
        match input.u8()? {
            0 => return Ok(Head { mapping, places: Vec::new(), bits: Vec::new() }),
            HAS_ASIDE => {}
            other => return Err(input.unknown("kind of values kept aside", other)),
        }
        let aside = ints::decode(input, 1)?.first().copied().and_then(|n| usize::try_from(n).ok());
        let aside = aside.filter(|&n| n <= count);
        let aside = aside.ok_or_else(|| input.damaged(&format!("at most {count} values aside"), "more"))?;
        let places = presence::decode(input, aside, count)?;
        let bits = ints::decode(input, aside)?;
        Ok(Head { mapping, places, bits })
    }

    /// The floats of these integers, those kept aside put back.
    pub(crate) fn floats(&self, integers: Vec<i64>) -> Vec<f64> {
        let mut values = self.mapping.floats(integers);
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
    if mapped.places.len() * 4 > values.len() {
        // The samples misled: too many aside.
        mapped = Mapped::of(values, Mapping::Bits);
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
