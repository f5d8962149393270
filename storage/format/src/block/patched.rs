//! Unsigned numbers, most of them small: bit-packed at a width that fits most, with a list of the bits that the
//! others have above it.
//!
//! Owns: choosing the width, and the layout of the list. Does not own: making numbers small (`ints`).

use super::bitpack::{self, TILE, Unpacker};
use crate::error::Error;
use crate::varint::{Input, put_varint};

/// How many of the numbers need how many bits.
#[derive(Debug)]
pub(crate) struct Widths {
    counts: [u32; 65],
}

impl Widths {
    /// Counts `values`.
    pub(crate) fn of(values: impl Iterator<Item = u64>) -> Widths {
        let mut counts = [0; 65];
        for value in values {
            counts[(u64::BITS - value.leading_zeros()) as usize] += 1;
        }
        Widths { counts }
    }

    /// The width that takes least, and about how many bytes that is.
    pub(crate) fn best(&self) -> (u32, usize) {
        // Few of the 65 lengths occur, so the pairs of them are looked at rather than all pairs.
        let mut occurring = [(0_usize, 0_usize); 66];
        let (mut kinds, mut count) = (1, 0);
        for (bits, &n) in self.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            count += n as usize;
            // Width 0 is a choice even where no number is 0; it stands first, with whatever numbers are.
            if bits == 0 {
                continue;
            }
            occurring[kinds] = (bits, n as usize);
            kinds += 1;
        }
        let occurring = &occurring[..kinds];
        let mut best = (64, usize::MAX);
        // The best width is that of some value: between two of them only the packed part grows.
        for (i, &(width, _)) in occurring.iter().enumerate() {
            let packed = bitpack::width_of(u64::MAX.checked_shr(64 - width as u32).unwrap_or(0));
            let mut bytes = 2 + bitpack::packed_bytes(count, packed);
            for &(bits, n) in occurring[i + 1..].iter().filter(|(bits, _)| *bits > packed as usize) {
                // One byte or two for the place, the rest for the bits above.
                bytes += n * (2 + (bits - packed as usize).div_ceil(7));
            }
            if bytes < best.1 {
                best = (packed, bytes);
            }
        }
        best
    }
}

/// Appends `values` at `width` bits.
pub(crate) fn encode(out: &mut Vec<u8>, values: impl Iterator<Item = u64> + Clone, width: u32) {
    out.push(width as u8);
    let above = |v: u64| v.checked_shr(width).unwrap_or(0);
    put_varint(out, values.clone().filter(|&v| above(v) > 0).count() as u64);
    let mut next = 0;
    for (i, value) in values.clone().enumerate().filter(|&(_, v)| above(v) > 0) {
        put_varint(out, (i - next) as u64);
        put_varint(out, above(value));
        next = i + 1;
    }
    bitpack::pack(out, values, width);
}

/// Numbers that are read tile by tile.
#[derive(Debug)]
pub(crate) struct Patched<'a> {
    packed: Unpacker<'a>,
    /// Places, ascending, and the bits above the width; the next one to be set is `next`.
    patches: Vec<(usize, u64)>,
    next: usize,
    done: usize,
}

impl<'a> Patched<'a> {
    /// The next `count` values.
    pub(crate) fn new(input: &mut Input<'a>, count: usize) -> Result<Patched<'a>, Error> {
        let width = u32::from(input.u8()?);
        let patches = input.count("patches", count)?;
        if patches > 0 && width >= 64 {
            return Err(input.damaged("no patches above 64 bits", patches));
        }
        let mut list = Vec::with_capacity(patches);
        let mut next = 0_usize;
        for _ in 0..patches {
            let place = next.saturating_add(input.count("values", count)?);
            if place >= count {
                return Err(input.damaged(&format!("a place below {count}"), place));
            }
            list.push((place, input.varint()? << width));
            next = place + 1;
        }
        Ok(Patched { packed: Unpacker::new(input, count, width)?, patches: list, next: 0, done: 0 })
    }

    /// Fills `tile` with the next values and tells how many there are; 0 after the last.
    #[inline]
    pub(crate) fn next(&mut self, tile: &mut [u64; TILE]) -> usize {
        let count = self.packed.next(tile);
        let end = self.done + count;
        while let Some(&(place, bits)) = self.patches.get(self.next).filter(|(place, _)| *place < end) {
            tile[place - self.done] |= bits;
            self.next += 1;
        }
        self.done = end;
        count
    }
}
