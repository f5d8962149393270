//! Floats as integers.
//!
//! Owns: the maps from a float to an integer that give the same bits back, and which of them suits given values.
//! Measurements are rarely 52 random bits: they are decimals of a few digits, or were a 32-bit float once. Does not
//! own: what becomes of the integers, and of values a map does not fit (`floats`).

use std::fmt;

use pulp::Arch;

use super::ints;
use crate::error::Error;
use crate::varint::Input;

/// Powers of ten that an `f64` holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Adding and taking away 1.5 * 2^52 rounds to the nearest integer, ties to even, below 2^51.
const ROUND: f64 = 6_755_399_441_055_744.0;
const ROUND_BELOW: f64 = 2_251_799_813_685_248.0;

/// Decimals of more places than this are noise, not decimals.
const PLACES_MAX: u8 = 15;
/// A 32-bit float has nine significant digits at most.
const PLACES_F32_MAX: u8 = 9;

/// Units in the last place a value may lie off a map and be corrected: what a few roundings on the way here leave,
/// as in 0.1 + 0.2, or in numbers read by a parser that is fast rather than exact.
pub(crate) const OFF_MAX: i64 = 15;

/// How many values are looked at to choose a map.
const SAMPLES: usize = 32;

const MAP_BITS: u8 = 1;
const MAP_DECIMAL: u8 = 2;
const MAP_DECIMAL_F32: u8 = 3;
const MAP_BITS_F32: u8 = 4;
const MAP_PRINTED_F32: u8 = 5;

/// A map from floats to integers. Each is exact where it fits, which is checked value by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// The bits, in an order that sorts like the numbers. Fits every value.
    Bits,
    /// `i / 10^places`.
    Decimal(u8),
    /// `i / 10^places`, rounded to 32 bits: 5.827000141143799 is the `f32` 5.827.
    DecimalF32(u8),
    /// The bits of the `f32` of the same number, sorted likewise.
    BitsF32,
    /// The bits of an `f32` that was printed with so many significant digits and read back as `f64`.
    PrintedF32(u8),
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mapping::Bits => f.write_str("bits"),
            Mapping::Decimal(places) => write!(f, "decimal({places})"),
            Mapping::DecimalF32(places) => write!(f, "decimal of f32({places})"),
            Mapping::BitsF32 => f.write_str("bits of f32"),
            Mapping::PrintedF32(digits) => write!(f, "printed f32({digits})"),
        }
    }
}

impl Mapping {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        match self {
            Mapping::Bits => out.push(MAP_BITS),
            Mapping::Decimal(places) => out.extend([MAP_DECIMAL, places]),
            Mapping::DecimalF32(places) => out.extend([MAP_DECIMAL_F32, places]),
            Mapping::BitsF32 => out.push(MAP_BITS_F32),
            Mapping::PrintedF32(digits) => out.extend([MAP_PRINTED_F32, digits]),
        }
    }

    pub(crate) fn get(input: &mut Input<'_>) -> Result<Mapping, Error> {
        match input.u8()? {
            MAP_BITS => Ok(Mapping::Bits),
            MAP_DECIMAL => Ok(Mapping::Decimal(parameter(input, PLACES_MAX)?)),
            MAP_DECIMAL_F32 => Ok(Mapping::DecimalF32(parameter(input, PLACES_F32_MAX)?)),
            MAP_BITS_F32 => Ok(Mapping::BitsF32),
            MAP_PRINTED_F32 => Ok(Mapping::PrintedF32(parameter(input, DIGITS_MAX)?)),
            map => Err(input.unknown("map of floats", map)),
        }
    }

    /// The integer of `v` and how many units in the last place `v` lies above what that integer gives back: 0 where
    /// the map is exact. `None` where the map does not even come near.
    #[inline]
    pub(crate) fn nearest(self, v: f64) -> Option<(i64, i64)> {
        let (integer, back) = match self {
            Mapping::Bits => return Some((ordered(v.to_bits() as i64), 0)),
            Mapping::Decimal(places) => {
                let power = POWERS[usize::from(places)];
                let rounded = round(v * power)?;
                (rounded as i64, rounded / power)
            }
            Mapping::DecimalF32(places) => {
                let power = POWERS[usize::from(places)];
                let rounded = round(v * power)?;
                (rounded as i64, f64::from((rounded / power) as f32))
            }
            Mapping::BitsF32 => (f32_integer(v)?, f64::from(v as f32)),
            Mapping::PrintedF32(digits) => (f32_integer(v)?, printed(v as f32, digits)),
        };
        let off = (v.to_bits() as i64).wrapping_sub(back.to_bits() as i64);
        (-OFF_MAX..=OFF_MAX).contains(&off).then_some((integer, off))
    }

    /// The integer of the decimal next to `v`, however far that is off; `None` for other maps.
    pub(crate) fn around(self, v: f64) -> Option<i64> {
        match self {
            Mapping::Decimal(places) => round(v * POWERS[usize::from(places)]).map(|rounded| rounded as i64),
            _ => None,
        }
    }

    /// The float of an integer.
    #[inline]
    pub(crate) fn float(self, integer: i64) -> f64 {
        match self {
            Mapping::Bits => f64::from_bits(ordered(integer) as u64),
            Mapping::Decimal(places) => float_of(integer) / POWERS[usize::from(places)],
            Mapping::DecimalF32(places) => {
                f64::from((float_of(integer) / POWERS[usize::from(places)]) as f32)
            }
            Mapping::BitsF32 => f64::from(f32_of(integer)),
            Mapping::PrintedF32(digits) => printed(f32_of(integer), digits),
        }
    }

    /// Reads the `count` integers of a block as floats.
    pub(crate) fn decode(self, input: &mut Input<'_>, count: usize) -> Result<Vec<f64>, Error> {
        self.decode_from(Unshared { input, count })
    }

    /// Reads integers as floats.
    #[inline(always)]
    pub(crate) fn decode_from(self, integers: impl Integers) -> Result<Vec<f64>, Error> {
        // One loop a map: the choice is made outside.
        match self {
            Mapping::Bits => integers.read(|i| Mapping::Bits.float(i)),
            Mapping::Decimal(places) => {
                let power = POWERS[usize::from(places)];
                match Arch::new() {
                    Arch::Scalar => integers.read(|i| float_of(i) / power),
                    // With wide vectors that multiply and add at once, dividing is what takes most of the time.
                    arch => {
                        let inverse = 1.0 / power;
                        arch.dispatch(
                            #[inline(always)]
                            || {
                                integers.read(
                                    #[inline(always)]
                                    |i| quotient(float_of(i), power, inverse),
                                )
                            },
                        )
                    }
                }
            }
            Mapping::DecimalF32(places) => {
                let power = POWERS[usize::from(places)];
                integers.read(|i| f64::from((float_of(i) / power) as f32))
            }
            Mapping::BitsF32 => integers.read(|i| f64::from(f32_of(i))),
            Mapping::PrintedF32(digits) => integers.read(|i| printed(f32_of(i), digits)),
        }
    }

    /// The map whose integers take the fewest bits, going by a few of `values`, and whether values that lie a few
    /// units in the last place off it are worth correcting.
    pub(crate) fn choose(values: &[f64]) -> (Mapping, bool) {
        let step = values.len().div_ceil(SAMPLES).max(1);
        let samples: Vec<f64> = values.iter().copied().step_by(step).collect();
        let mut candidates = vec![Mapping::Bits];
        candidates.extend(places(&samples, PLACES_MAX, Mapping::Decimal));
        if samples.iter().filter(|&&v| Mapping::BitsF32.nearest(v).is_some()).count() * 2 > samples.len() {
            candidates.push(Mapping::BitsF32);
            candidates.extend(places(&samples, PLACES_F32_MAX, Mapping::DecimalF32));
        } else {
            candidates.extend((DIGITS_MIN..=DIGITS_MAX).map(Mapping::PrintedF32));
        }
        let best = candidates.into_iter().map(|m| (m, m.bits(&samples))).min_by_key(|(_, (cost, _))| *cost);
        best.map_or((Mapping::Bits, false), |(mapping, (_, corrected))| (mapping, corrected))
    }

    /// About how many bits `samples` take by this map, and between equals how long the longest is on its own; and
    /// whether that is with corrections.
    fn bits(self, samples: &[f64]) -> ((u64, u32), bool) {
        let (mut exact, mut near) = (Spread::default(), Spread::default());
        for (integer, off) in samples.iter().filter_map(|&v| self.nearest(v)) {
            near.add(integer, off);
            if off == 0 {
                exact.add(integer, off);
            }
        }
        let (exact, near) = (exact.bits(samples.len()), near.bits(samples.len()));
        if near < exact { (near, true) } else { (exact, false) }
    }
}

/// Integers that can be read as what they stand for.
pub(crate) trait Integers {
    fn read<T: Clone>(self, of: impl Fn(i64) -> T + Copy) -> Result<Vec<T>, Error>;
}

/// Those of a block alone.
struct Unshared<'i, 'a> {
    input: &'i mut Input<'a>,
    count: usize,
}

impl Integers for Unshared<'_, '_> {
    #[inline(always)]
    fn read<T: Clone>(self, of: impl Fn(i64) -> T + Copy) -> Result<Vec<T>, Error> {
        ints::decode_as(self.input, self.count, of)
    }
}

/// Samples a map fits.
#[derive(Default)]
struct Spread {
    fit: u64,
    min: i64,
    max: i64,
    longest: u32,
    off: u64,
}

impl Spread {
    fn add(&mut self, integer: i64, off: i64) {
        let first = self.fit == 0;
        self.fit += 1;
        self.min = if first { integer } else { self.min.min(integer) };
        self.max = if first { integer } else { self.max.max(integer) };
        self.longest = self.longest.max(bits_of(integer.unsigned_abs()));
        self.off = self.off.max(off.unsigned_abs());
    }

    fn bits(&self, samples: usize) -> (u64, u32) {
        if self.fit == 0 {
            return (u64::MAX, 0);
        }
        let width = bits_of(self.max.wrapping_sub(self.min) as u64);
        let correction = if self.off == 0 { 0 } else { bits_of(self.off) + 1 };
        // A value aside costs its 64 bits and about two bytes for its place.
        let aside = (samples as u64 - self.fit) * 80;
        (self.fit * u64::from(width + correction) + aside, self.longest)
    }
}

fn bits_of(v: u64) -> u32 {
    u64::BITS - v.leading_zeros()
}

/// The numbers of decimal places that some sample needs, exactly or nearly, as maps.
fn places(samples: &[f64], max: u8, map: fn(u8) -> Mapping) -> Vec<Mapping> {
    let mut needed = [false; PLACES_MAX as usize + 1];
    for &v in samples {
        let mut near = false;
        for places in 0..=max {
            match map(places).nearest(v) {
                Some((_, 0)) => {
                    needed[usize::from(places)] = true;
                    break;
                }
                Some(_) if !near => {
                    needed[usize::from(places)] = true;
                    near = true;
                }
                _ => {}
            }
        }
    }
    (0..=max).filter(|&p| needed[usize::from(p)]).map(map).collect()
}

fn parameter(input: &mut Input<'_>, max: u8) -> Result<u8, Error> {
    match input.u8()? {
        value if value <= max => Ok(value),
        value => Err(input.unknown("number of digits", value)),
    }
}

/// The nearest integer, where the trick works.
#[inline]
fn round(v: f64) -> Option<f64> {
    (v.abs() < ROUND_BELOW).then_some((v + ROUND) - ROUND)
}

/// The float of an integer below 2^51, which every integer of a decimal is. Unlike a cast this takes no instruction
/// that older x86 lacks for vectors.
#[inline]
fn float_of(integer: i64) -> f64 {
    f64::from_bits(ROUND.to_bits().wrapping_add_signed(integer)) - ROUND
}

/// `v / power`, rounded like the division, from `inverse` = 1 / `power`: two steps of Newton's, each of which adds
/// the rest that is left, computed exactly. The first brings the quotient within a unit in the last place, and from
/// there the second gives the rounded one (Markstein, *Computation of elementary functions*, 1990).
#[inline(always)]
fn quotient(v: f64, power: f64, inverse: f64) -> f64 {
    let near = v * inverse;
    let nearer = (-near).mul_add(power, v).mul_add(inverse, near);
    (-nearer).mul_add(power, v).mul_add(inverse, nearer)
}

/// Bits of a float to an integer that sorts like it, and back: its own inverse.
#[inline]
fn ordered(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The sorted bits of `v` as an `f32`. NaN is left out: which of its bits survive a conversion is not defined.
#[inline]
fn f32_integer(v: f64) -> Option<i64> {
    let bits = (v as f32).to_bits() as i32;
    (!v.is_nan()).then(|| i64::from(bits ^ ((bits >> 31) as u32 >> 1) as i32))
}

#[inline]
fn f32_of(integer: i64) -> f32 {
    let bits = integer as i32;
    f32::from_bits((bits ^ ((bits >> 31) as u32 >> 1) as i32) as u32)
}

const DIGITS_MIN: u8 = 8;
const DIGITS_MAX: u8 = 10;

/// `f` printed with `digits` significant digits and read back as `f64`, for numbers from 1e-6 to 1e9; others give
/// something else, always the same.
#[inline]
fn printed(f: f32, digits: u8) -> f64 {
    let v = f64::from(f);
    // Decimal places = digits - 1 - floor(log10 |v|). The binary exponent gives the logarithm to within one.
    let exponent = ((v.to_bits() >> 52 & 0x7FF) as i64 - 1023).clamp(-20, 30);
    let guess = (exponent * 1233) >> 12;
    let next = if guess < 0 { 1.0 / POWERS[(-guess - 1) as usize] } else { POWERS[guess as usize + 1] };
    let log = if v.abs() >= next { guess + 1 } else { guess };
    let power = POWERS[(i64::from(digits) - 1 - log).clamp(0, 22) as usize];
    let rounded = (v * power + ROUND) - ROUND;
    rounded / power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(map: Mapping, v: f64) -> Option<i64> {
        map.nearest(v).filter(|&(_, off)| off == 0).map(|(integer, _)| integer)
    }

    const ODD: [f64; 12] = [
        0.0,
        -0.0,
        1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        0.1 + 0.2,
        -1e300,
    ];

    fn maps() -> Vec<Mapping> {
        let mut maps = vec![Mapping::Bits, Mapping::BitsF32];
        maps.extend((0..=PLACES_MAX).map(Mapping::Decimal));
        maps.extend((0..=PLACES_F32_MAX).map(Mapping::DecimalF32));
        maps.extend((DIGITS_MIN..=DIGITS_MAX).map(Mapping::PrintedF32));
        maps
    }

    #[test]
    fn a_map_fits_or_says_so() {
        let mut values: Vec<f64> = ODD.to_vec();
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = state ^ state >> 29;
            values.push(f64::from_bits(bits));
            values.push((bits >> 40) as f64 / 1000.0 - 5000.0);
            values.push(f64::from(f32::from_bits(bits as u32)));
            values.push(f64::from((bits >> 44) as f32 / 100.0));
        }
        for map in maps() {
            for &v in &values {
                if let Some((i, off)) = map.nearest(v) {
                    let back = map.float(i).to_bits().wrapping_add_signed(off);
                    assert_eq!(back, v.to_bits(), "{v:e} by {map:?}");
                }
            }
        }
        assert!(values.iter().all(|&v| exact(Mapping::Bits, v).is_some()));
    }

    #[test]
    fn a_quotient_is_that_of_the_division() {
        let mut state = 1_u64;
        for power in POWERS.into_iter().take(usize::from(PLACES_MAX) + 1) {
            let same = |v: f64| {
                assert_eq!(quotient(v, power, 1.0 / power).to_bits(), (v / power).to_bits(), "{v} / {power}");
            };
            for i in 0..20_000_i32 {
                same(f64::from(i));
                same(f64::from(-i));
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                same(((state as i64) >> (13 + state % 32)) as f64);
            }
        }
    }

    #[test]
    fn maps_fit_what_they_are_made_for() {
        assert_eq!(exact(Mapping::Decimal(1), 20.5), Some(205));
        assert_eq!(exact(Mapping::Decimal(2), -0.07), Some(-7));
        assert_eq!(exact(Mapping::Decimal(2), -0.0), None);
        assert_eq!(exact(Mapping::DecimalF32(3), 5.827000141143799), Some(5827));
        // The same 32-bit floats as C's "%.10g" prints them.
        for (f, text) in
            [(380.047_8_f32, "380.0477905"), (5.311_336_f32, "5.31133604"), (0.1_f32, "0.1000000015")]
        {
            let v: f64 = text.parse().unwrap();
            assert_eq!(printed(f, 10).to_bits(), v.to_bits(), "{text}");
            assert!(exact(Mapping::PrintedF32(10), v).is_some(), "{text}");
        }
        assert!(ordered(f64::to_bits(-1.0) as i64) < ordered(f64::to_bits(-0.5) as i64));
        assert!(ordered(f64::to_bits(-0.5) as i64) < ordered(f64::to_bits(0.5) as i64));
    }

    #[test]
    fn the_choice_suits_the_values() {
        let tenths: Vec<f64> = (0..500).map(|i| f64::from(i % 73) / 10.0).collect();
        assert_eq!(Mapping::choose(&tenths), (Mapping::Decimal(1), false));
        let f32s: Vec<f64> = (0..500).map(|i| f64::from((i % 97) as f32 / 1000.0 + 5.0)).collect();
        assert!(
            matches!(Mapping::choose(&f32s), (Mapping::DecimalF32(_), false)),
            "{:?}",
            Mapping::choose(&f32s)
        );
        let sums: Vec<f64> = (0..500).map(|i| f64::from(i % 73) * 0.1).collect();
        assert_eq!(Mapping::choose(&sums), (Mapping::Decimal(1), true), "a few units in the last place off");
        let mut mixed = tenths;
        mixed[10] = f64::NAN;
        assert_eq!(Mapping::choose(&mixed), (Mapping::Decimal(1), false));
        assert_eq!(Mapping::choose(&[f64::NAN; 3]), (Mapping::Bits, false));
        assert_eq!(Mapping::choose(&[]), (Mapping::Bits, false));
    }
}
