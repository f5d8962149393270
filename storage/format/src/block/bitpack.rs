//! Numbers of `width` bits each, end to end, least significant bit first.
//!
//! Owns: packing and unpacking. Eight values of `w` bits are exactly `w` bytes, so every group of eight starts at a
//! byte and is taken apart with shifts known at compile time. Does not own: choosing the width.

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

/// Reads `count` values of `width` bits.
pub(crate) fn unpack(input: &mut Input<'_>, count: usize, width: u32) -> Result<Vec<u64>, Error> {
    if width > WIDTH_PACKED_MAX && width != 64 {
        return Err(input.damaged("a width of up to 57 bits, or 64", width));
    }
    let bytes = input.take(packed_bytes(count, width))?;
    // Room for the two values that sums of differences put in front.
    let mut values = Vec::with_capacity(count + 2);
    values.resize(count, 0);
    macro_rules! unpack_width {
        ($($w:literal)*) => {
            match width {
                0 => {}
                $($w => unpack_groups::<$w>(bytes, &mut values),)*
                _ => {
                    for (value, eight) in values.iter_mut().zip(bytes.chunks_exact(8)) {
                        *value = u64::from_le_bytes(eight.try_into().expect("chunks are exact"));
                    }
                }
            }
        };
    }
    unpack_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
        31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57);
    Ok(values)
}

fn unpack_groups<const W: usize>(bytes: &[u8], values: &mut [u64]) {
    let mut groups = values.chunks_exact_mut(8);
    let mut at = 0;
    // A group reads up to eight bytes past its own, so the last ones are read from a copy.
    while let Some(source) = bytes.get(at..at + W + 8) {
        let Some(group) = groups.next() else { break };
        unpack_group::<W>(source, group);
        at += W;
    }
    let mut tail = |group: &mut [u64]| {
        let mut source = [0_u8; 80];
        let rest = bytes.get(at..).unwrap_or_default();
        let len = rest.len().min(W);
        source[..len].copy_from_slice(&rest[..len]);
        let mut eight = [0; 8];
        unpack_group::<W>(&source[..W + 8], &mut eight);
        group.copy_from_slice(&eight[..group.len()]);
        at += W;
    };
    groups.by_ref().for_each(&mut tail);
    tail(groups.into_remainder());
}

#[inline(always)]
fn unpack_group<const W: usize>(source: &[u8], group: &mut [u64]) {
    let mask = u64::MAX >> (64 - W);
    let source = &source[..W + 8];
    let group = &mut group[..8];
    for (i, value) in group.iter_mut().enumerate() {
        let bit = i * W;
        let eight: [u8; 8] = source[bit / 8..bit / 8 + 8].try_into().expect("eight bytes were sliced");
        *value = u64::from_le_bytes(eight) >> (bit % 8) & mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_length_comes_back() {
        for width in (0..=57).chain([64]) {
            let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
            for count in [0, 1, 7, 8, 9, 15, 16, 17, 100, 1023, 1024] {
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
