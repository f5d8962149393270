//! Numbers of `width` bits each, end to end, least significant bit first.
//!
//! Owns: packing and unpacking. Eight values of `w` bits are exactly `w` bytes, so every group of eight starts at a
//! byte and is taken apart with shifts known at compile time. Values come out a tile at a time, so that a reader
//! works on them while they are near. Does not own: choosing the width.

use crate::error::Error;
use crate::varint::Input;

/// The widest packed value but 64: with the shift inside a byte it still fits one load of eight bytes.
const WIDTH_PACKED_MAX: u32 = 57;

/// Bits needed for `v`, rounded up to a width that can be packed.
pub(crate) fn width_of(v: u64) -> u32 {
    match u64::BITS - v.leading_zeros() {
        bits if bits > WIDTH_PACKED_MAX => 64,
        bits => bits,
    }
}

/// Bytes `count` values of `width` bits take.
pub(crate) fn packed_bytes(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the low `width` bits of each value.
pub(crate) fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    debug_assert!(width <= WIDTH_PACKED_MAX || width == 64);
    if width == 0 {
        return;
    }
    let mask = u64::MAX >> (64 - width);
    let (mut held, mut bits) = (0_u128, 0);
    for value in values {
        held |= u128::from(value & mask) << bits;
        bits += width;
        if bits >= 64 {
            out.extend_from_slice(&(held as u64).to_le_bytes());
            held >>= 64;
            bits -= 64;
        }
    }
    let rest = held.to_le_bytes();
    out.extend_from_slice(&rest[..bits.div_ceil(8) as usize]);
}

/// Values unpacked at a time: they stay in the first-level cache while what they stand for is worked out.
pub(crate) const TILE: usize = 64;

/// Packed values, taken apart tile by tile.
#[derive(Debug)]
pub(crate) struct Unpacker<'a> {
    bytes: &'a [u8],
    left: usize,
    width: usize,
    unpack: fn(&[u8], &mut [u64; TILE]),
}

impl<'a> Unpacker<'a> {
    /// The next `count` values of `width` bits.
    pub(crate) fn new(input: &mut Input<'a>, count: usize, width: u32) -> Result<Unpacker<'a>, Error> {
        if width > WIDTH_PACKED_MAX && width != 64 {
            return Err(input.damaged("a width of up to 57 bits, or 64", width));
        }
        let bytes = input.take(packed_bytes(count, width))?;
        Ok(Unpacker { bytes, left: count, width: width as usize, unpack: kernel(width) })
    }

    /// Fills `tile` with the next values and tells how many there are; 0 after the last. What lies in `tile` past
    /// them has no meaning.
    #[inline]
    pub(crate) fn next(&mut self, tile: &mut [u64; TILE]) -> usize {
        let count = self.left.min(TILE);
        let tile_bytes = TILE / 8 * self.width;
        if self.bytes.len() >= tile_bytes + 8 {
            (self.unpack)(self.bytes, tile);
            self.bytes = &self.bytes[tile_bytes..];
        } else if count > 0 {
            // A value is read with eight bytes, which at the end of the list may lie past it.
            let mut last = [0; TILE * 8 + 8];
            last[..self.bytes.len()].copy_from_slice(self.bytes);
            (self.unpack)(&last, tile);
            self.bytes = self.bytes.get(tile_bytes..).unwrap_or_default();
        }
        self.left -= count;
        count
    }
}

fn kernel(width: u32) -> fn(&[u8], &mut [u64; TILE]) {
    macro_rules! of_width {
        ($($w:literal)*) => {
            match width {
                0 => |_, tile| tile.fill(0),
                $($w => unpack_tile::<$w>,)*
                _ => unpack_tile::<64>,
            }
        };
    }
    of_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
        31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57)
}

/// `source` holds at least eight bytes more than the tile.
fn unpack_tile<const W: usize>(source: &[u8], tile: &mut [u64; TILE]) {
    let mask = u64::MAX >> (64 - W);
    // As many values as surely lie within the eight bytes from the one the first starts in.
    let together = match W {
        0..=8 => 8,
        9..=16 => 4,
        17..=29 => 2,
        _ => 1,
    };
    let source = &source[..TILE / 8 * W + 8];
    for (g, group) in tile.chunks_exact_mut(8).enumerate() {
        let source = &source[g * W..g * W + W + 8];
        for (i, values) in group.chunks_exact_mut(together).enumerate() {
            let bit = i * together * W;
            let eight: [u8; 8] = source[bit / 8..bit / 8 + 8].try_into().expect("eight bytes were sliced");
            let word = u64::from_le_bytes(eight) >> (bit % 8);
            for (j, value) in values.iter_mut().enumerate() {
                *value = word >> (j * W) & mask;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(input: &mut Input<'_>, count: usize, width: u32) -> Result<Vec<u64>, Error> {
        let mut packed = Unpacker::new(input, count, width)?;
        let (mut values, mut tile) = (Vec::new(), [0; TILE]);
        loop {
            match packed.next(&mut tile) {
                0 => return Ok(values),
                n => values.extend_from_slice(&tile[..n]),
            }
        }
    }

    #[test]
    fn every_width_and_length_comes_back() {
        for width in (0..=57).chain([64]) {
            let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
            for count in [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 100, 127, 128, 129, 1023, 1024] {
                let values: Vec<u64> = (0..count as u64)
                    .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(7) & mask)
                    .collect();
                let mut out = Vec::new();
                pack(&mut out, values.iter().copied(), width);
                assert_eq!(out.len(), packed_bytes(count, width), "width {width}, {count} values");
                let mut input = Input::new("f", 0, &out);
                assert_eq!(
                    unpack(&mut input, count, width).unwrap(),
                    values,
                    "width {width}, {count} values"
                );
                assert!(
                    count == 0
                        || width == 0
                        || unpack(&mut Input::new("f", 0, &out[1..]), count, width).is_err()
                );
            }
        }
    }

    #[test]
    fn the_layout_is_least_significant_bit_first() {
        let mut out = Vec::new();
        pack(&mut out, [1, 2, 3].into_iter(), 3);
        assert_eq!(out, [0b11_010_001, 0b0]);
    }

    #[test]
    fn widths_that_cannot_be_packed_are_refused() {
        for width in [58, 63, 65, 255] {
            assert!(unpack(&mut Input::new("f", 0, &[0; 1024]), 1, width).is_err());
        }
        assert_eq!([0, 1, 255, 1 << 56, 1 << 57, u64::MAX].map(width_of), [0, 1, 8, 57, 64, 64]);
    }
}
