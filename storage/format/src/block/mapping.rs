//! Floats as integers.
//!
//! Owns: the maps from a float to an integer that give the same bits back, and which of them suits given values.
//! Measurements are rarely 52 random bits: they are decimals of a few digits, or were a 32-bit float once. Does not
//! own: what becomes of the integers, and of values a map does not fit (`floats`).

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

    /// The integer of `v`, or `None` where the map does not fit it.
    #[inline]
    pub(crate) fn integer(self, v: f64) -> Option<i64> {
        let (integer, back) = match self {
            Mapping::Bits => return Some(ordered(v.to_bits() as i64)),
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
        (back.to_bits() == v.to_bits()).then_some(integer)
    }

    /// The floats of these integers.
    pub(crate) fn floats(self, integers: Vec<i64>) -> Vec<f64> {
        let list = integers.into_iter();
        match self {
            Mapping::Bits => list.map(|i| f64::from_bits(ordered(i) as u64)).collect(),
            Mapping::Decimal(places) => {
                let power = POWERS[usize::from(places)];
                list.map(|i| i as f64 / power).collect()
            }
            Mapping::DecimalF32(places) => {
                let power = POWERS[usize::from(places)];
                list.map(|i| f64::from((i as f64 / power) as f32)).collect()
            }
            Mapping::BitsF32 => list.map(|i| f64::from(f32_of(i))).collect(),
            Mapping::PrintedF32(digits) => list.map(|i| printed(f32_of(i), digits)).collect(),
        }
    }

    /// The map whose integers take the fewest bits, going by a few of `values`.
    pub(crate) fn choose(values: &[f64]) -> Mapping {
        let step = values.len().div_ceil(SAMPLES).max(1);
        let samples: Vec<f64> = values.iter().copied().step_by(step).collect();
        let mut candidates = vec![Mapping::Bits];
        candidates.extend(places(&samples, PLACES_MAX, Mapping::Decimal));
        if samples.iter().filter(|&&v| Mapping::BitsF32.integer(v).is_some()).count() * 2 > samples.len() {
            candidates.push(Mapping::BitsF32);
            candidates.extend(places(&samples, PLACES_F32_MAX, Mapping::DecimalF32));
        } else {
            candidates.extend((DIGITS_MIN..=DIGITS_MAX).map(Mapping::PrintedF32));
        }
        let best = candidates.into_iter().min_by_key(|m| m.bits(&samples));
        best.unwrap_or(Mapping::Bits)
    }

    /// About how many bits `samples` take by this map, and between equals how long the longest is on its own.
    fn bits(self, samples: &[f64]) -> (u64, u32) {
        let (mut min, mut max, mut fit, mut longest) = (i64::MAX, i64::MIN, 0, 0);
        for integer in samples.iter().filter_map(|&v| self.integer(v)) {
            (min, max, fit) = (min.min(integer), max.max(integer), fit + 1);
            longest = longest.max(u64::BITS - integer.unsigned_abs().leading_zeros());
        }
        if fit == 0 {
            return (u64::MAX, 0);
        }
        let range = (max as u64).wrapping_sub(min as u64);
        // A value aside costs its 64 bits and about two bytes for its place.
        let aside = (samples.len() as u64 - fit) * 80;
        let width = u64::from(u64::BITS - range.leading_zeros());
        (fit * width + aside, longest)
    }
}

/// The numbers of decimal places that some sample needs, as maps.
fn places(samples: &[f64], max: u8, map: fn(u8) -> Mapping) -> Vec<Mapping> {
    let mut needed = [false; PLACES_MAX as usize + 1];
    for &v in samples {
        if let Some(places) = (0..=max).find(|&p| map(p).integer(v).is_some()) {
            needed[usize::from(places)] = true;
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
    (v.abs() < ROUND_BELOW).then(|| (v + ROUND) - ROUND)
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
                if let Some(i) = map.integer(v) {
                    assert_eq!(map.floats(vec![i])[0].to_bits(), v.to_bits(), "{v:e} by {map:?}");
                }
            }
        }
        assert!(values.iter().all(|&v| Mapping::Bits.integer(v).is_some()));
    }

    #[test]
    fn maps_fit_what_they_are_made_for() {
        assert_eq!(Mapping::Decimal(1).integer(20.5), Some(205));
        assert_eq!(Mapping::Decimal(2).integer(-0.07), Some(-7));
        assert_eq!(Mapping::Decimal(2).integer(-0.0), None);
        assert_eq!(Mapping::DecimalF32(3).integer(5.827000141143799), Some(5827));
        // The same 32-bit floats as C's "%.10g" prints them.
        for (f, text) in
            [(380.047_79_f32, "380.0477905"), (5.311_336_f32, "5.31133604"), (0.1_f32, "0.1000000015")]
        {
            let v: f64 = text.parse().unwrap();
            assert_eq!(printed(f, 10).to_bits(), v.to_bits(), "{text}");
            assert!(Mapping::PrintedF32(10).integer(v).is_some(), "{text}");
        }
        assert!(ordered(f64::to_bits(-1.0) as i64) < ordered(f64::to_bits(-0.5) as i64));
        assert!(ordered(f64::to_bits(-0.5) as i64) < ordered(f64::to_bits(0.5) as i64));
    }

    #[test]
    fn the_choice_suits_the_values() {
        let tenths: Vec<f64> = (0..500).map(|i| f64::from(i % 73) / 10.0).collect();
        assert_eq!(Mapping::choose(&tenths), Mapping::Decimal(1));
        let f32s: Vec<f64> = (0..500).map(|i| f64::from((i % 97) as f32 / 1000.0 + 5.0)).collect();
        assert!(matches!(Mapping::choose(&f32s), Mapping::DecimalF32(_)), "{:?}", Mapping::choose(&f32s));
        let mut mixed = tenths;
        mixed[10] = f64::NAN;
        assert_eq!(Mapping::choose(&mixed), Mapping::Decimal(1));
        assert_eq!(Mapping::choose(&[f64::NAN; 3]), Mapping::Bits);
        assert_eq!(Mapping::choose(&[]), Mapping::Bits);
    }
}
