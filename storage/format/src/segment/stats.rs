//! Statistics of one point in one block.
//!
//! Owns: how they are computed and laid out. Does not own: what they answer (`query`).

use std::ops::Range;

use wattline_model::{Kind, TextColumn, Value, Values};

use crate::block::mapping::Mapping;
use crate::error::Error;
use crate::varint::{Input, put_varint, put_zigzag};

/// One value of a statistic.
pub type Scalar = Value;

/// Bytes of a text in statistics: what a sample may be, with room.
const TEXT_BYTES_MAX: usize = 1 << 24;

/// What is known of the values of one point in one block without decoding them.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Rows with a value.
    pub count: u32,
    /// Rows without one.
    pub nulls: u32,
    /// The least value. Floats are in IEEE 754 total order: -NaN < -inf < -0.0 < 0.0 < inf < NaN.
    pub min: Scalar,
    /// The greatest value, in the same order.
    pub max: Scalar,
    /// The value of the first row that has one.
    pub first: Scalar,
    /// The value of the last row that has one.
    pub last: Scalar,
    /// The sum: floats added one by one in row order from 0.0, integers exactly; `None` for other kinds.
    pub sum: Option<Sum>,
}

/// A sum of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sum {
    /// Of floats, added in row order.
    Float(f64),
    /// Of integers, exact.
    Int(i128),
}

/// What is known of the numbers of one point in one block.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures<T, S> {
    /// The value of the first row that has one.
    pub first: T,
    /// The least value; floats in IEEE 754 total order.
    pub min: T,
    /// The greatest value, in the same order.
    pub max: T,
    /// The value of the last row that has one.
    pub last: T,
    /// The sum: floats added one by one in row order from 0.0, integers exactly.
    pub sum: S,
}

/// The statistics of a column, one a block: numbers side by side, as questions about fleets look at millions of them.
#[derive(Debug)]
pub(super) enum StatsList {
    Float(Vec<Figures<f64, f64>>),
    Int(Vec<Figures<i64, i128>>),
    Other(Vec<Option<Stats>>),
}

impl StatsList {
    pub(super) fn with_capacity(kind: Kind, blocks: usize) -> StatsList {
        match kind {
            Kind::Float => StatsList::Float(Vec::with_capacity(blocks)),
            Kind::Int => StatsList::Int(Vec::with_capacity(blocks)),
            Kind::Bool | Kind::Text => StatsList::Other(Vec::with_capacity(blocks)),
        }
    }

    /// Adds those of the next block. What is not known of a block is something all the same: its entry says so.
    pub(super) fn push(&mut self, stats: Option<Stats>) {
        match self {
            StatsList::Float(list) => list.push(stats.and_then(|s| s.floats()).unwrap_or_default()),
            StatsList::Int(list) => list.push(stats.and_then(|s| s.ints()).unwrap_or_default()),
            StatsList::Other(list) => list.push(stats),
        }
    }

    /// Those of block `block`, which are known.
    pub(super) fn get(&self, block: usize, count: u32, nulls: u32) -> Option<Stats> {
        let whole = |[min, max, first, last]: [Value; 4], sum| Stats {
            count,
            nulls,
            min,
            max,
            first,
            last,
            sum: Some(sum),
        };
        match self {
            StatsList::Float(list) => {
                let of = list.get(block)?;
                Some(whole([of.min, of.max, of.first, of.last].map(Value::Float), Sum::Float(of.sum)))
            }
            StatsList::Int(list) => {
                let of = list.get(block)?;
                Some(whole([of.min, of.max, of.first, of.last].map(Value::Int), Sum::Int(of.sum)))
            }
            StatsList::Other(list) => list.get(block)?.clone(),
        }
    }

    /// Bytes of memory; texts count as none.
    pub(super) fn memory(&self) -> usize {
        match self {
            StatsList::Float(list) => size_of_val(&list[..]),
            StatsList::Int(list) => size_of_val(&list[..]),
            StatsList::Other(list) => size_of_val(&list[..]),
        }
    }
}

impl Stats {
    /// The figures of floats.
    pub fn floats(&self) -> Option<Figures<f64, f64>> {
        match (&self.first, &self.min, &self.max, &self.last, self.sum) {
            (
                &Value::Float(first),
                &Value::Float(min),
                &Value::Float(max),
                &Value::Float(last),
                Some(Sum::Float(sum)),
            ) => Some(Figures { first, min, max, last, sum }),
            _ => None,
        }
    }

    /// The figures of integers.
    pub fn ints(&self) -> Option<Figures<i64, i128>> {
        match (&self.first, &self.min, &self.max, &self.last, self.sum) {
            (
                &Value::Int(first),
                &Value::Int(min),
                &Value::Int(max),
                &Value::Int(last),
                Some(Sum::Int(sum)),
            ) => Some(Figures { first, min, max, last, sum }),
            _ => None,
        }
    }

    /// The statistics of `values[range]` in a block of `rows` rows; `None` where there are no values.
    pub(super) fn of(values: &Values, range: Range<usize>, rows: u32) -> Option<Stats> {
        let count = u32::try_from(range.len()).ok()?;
        let nulls = rows.checked_sub(count)?;
        let (start, last) = (range.start, range.end.checked_sub(1)?);
        let (min, max, sum) = match values {
            Values::Float(v) => {
                let (mut min, mut max, mut sum) = (*v.get(start)?, *v.get(start)?, 0.0);
                for &v in v.get(range)? {
                    min = if v.total_cmp(&min).is_lt() { v } else { min };
                    max = if v.total_cmp(&max).is_gt() { v } else { max };
                    sum += v;
                }
                (Value::Float(min), Value::Float(max), Some(Sum::Float(sum)))
            }
            Values::Int(v) => {
                let v = v.get(range)?;
                let sum = v.iter().map(|&v| i128::from(v)).sum();
                (Value::Int(*v.iter().min()?), Value::Int(*v.iter().max()?), Some(Sum::Int(sum)))
            }
            Values::Bool(v) => {
                let v = v.get(range)?;
                (Value::Bool(*v.iter().min()?), Value::Bool(*v.iter().max()?), None)
            }
            Values::Text(v) => {
                let texts = || range.clone().map(|i| v.get(i));
                (text(texts().min()?), text(texts().max()?), None)
            }
        };
        let first = values.get(start).to_owned();
        let last = values.get(last).to_owned();
        Some(Stats { count, nulls, min, max, first, last, sum })
    }

    /// Appends everything but the counts.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match (&self.first, &self.min, &self.max, &self.last) {
            (Value::Float(first), Value::Float(min), Value::Float(max), Value::Float(last)) => {
                put_floats(out, [*first, *min, *max, *last]);
            }
            (Value::Int(first), Value::Int(min), Value::Int(max), Value::Int(last)) => {
                put_zigzag(out, *first);
                put_varint(out, first.wrapping_sub(*min) as u64);
                put_varint(out, max.wrapping_sub(*first) as u64);
                put_zigzag(out, last.wrapping_sub(*first));
            }
            (Value::Bool(first), Value::Bool(min), Value::Bool(max), Value::Bool(last)) => {
                let bits = [first, min, max, last].into_iter().enumerate();
                out.push(bits.fold(0, |byte, (i, &bit)| byte | u8::from(bit) << i));
            }
            (Value::Text(first), Value::Text(min), Value::Text(max), Value::Text(last)) => {
                put_texts(out, [first, min, max, last]);
            }
            _ => unreachable!("statistics are of one kind"),
        }
        match self.sum {
            Some(Sum::Float(sum)) => out.extend_from_slice(&sum.to_le_bytes()),
            Some(Sum::Int(sum)) => put_i128(out, sum),
            None => {}
        }
    }

    /// Numbers relative to each other: half the room where it is possible. Floats become integers by `mapping`, which
    /// has to fit exactly; the sum of decimals is the integers' and some units in the last place, which adding them
    /// one by one cost.
    pub(super) fn relative(&self, mapping: Option<Mapping>) -> Option<Vec<u8>> {
        let integers = |four: [&Value; 4]| -> Option<[i64; 4]> {
            let integer = |value: &Value| match (value, mapping) {
                (Value::Int(v), _) => Some(*v),
                (Value::Float(v), Some(mapping)) => {
                    mapping.nearest(*v).filter(|&(_, off)| off == 0).map(|(integer, _)| integer)
                }
                _ => None,
            };
            let [a, b, c, d] = four.map(integer);
            Some([a?, b?, c?, d?])
        };
        let [first, min, max, last] = integers([&self.first, &self.min, &self.max, &self.last])?;
        let mut out = Vec::new();
        put_zigzag(&mut out, first);
        put_varint(&mut out, first.wrapping_sub(min) as u64);
        put_varint(&mut out, max.wrapping_sub(first) as u64);
        put_zigzag(&mut out, last.wrapping_sub(first));
        let expected = middle(min, max).wrapping_mul(i64::from(self.count));
        match (self.sum?, mapping.unwrap_or(Mapping::Bits)) {
            (Sum::Int(sum), _) => put_zigzag(&mut out, i64::try_from(sum).ok()?.wrapping_sub(expected)),
            (Sum::Float(sum), mapping @ Mapping::Decimal(_)) => {
                let integer = mapping.around(sum)?;
                put_zigzag(&mut out, integer.wrapping_sub(expected));
                put_zigzag(
                    &mut out,
                    (sum.to_bits() as i64).wrapping_sub(mapping.float(integer).to_bits() as i64),
                );
            }
            (Sum::Float(sum), _) => out.extend_from_slice(&sum.to_le_bytes()),
        }
        Some(out)
    }

    /// Reads what [`relative`](Self::relative) returned.
    pub(super) fn get_relative(
        input: &mut Input<'_>,
        kind: Kind,
        mapping: Option<Mapping>,
        count: u32,
        nulls: u32,
    ) -> Result<Stats, Error> {
        let first = input.zigzag()?;
        let min = first.wrapping_sub(input.varint()? as i64);
        let max = first.wrapping_add(input.varint()? as i64);
        let last = first.wrapping_add(input.zigzag()?);
        let four = [first, min, max, last];
        let expected = middle(min, max).wrapping_mul(i64::from(count));
        let ([first, min, max, last], sum) = match (kind, mapping) {
            (Kind::Int, _) => (four.map(Value::Int), Sum::Int(input.zigzag()?.wrapping_add(expected).into())),
            (Kind::Float, Some(mapping)) => {
                let bits = if matches!(mapping, Mapping::Decimal(_)) {
                    let sum = mapping.float(input.zigzag()?.wrapping_add(expected));
                    sum.to_bits().wrapping_add_signed(input.zigzag()?)
                } else {
                    input.u64()?
                };
                (four.map(|i| Value::Float(mapping.float(i))), Sum::Float(f64::from_bits(bits)))
            }
            _ => return Err(input.damaged("statistics of numbers with a map", "others")),
        };
        Ok(Stats { count, nulls, min, max, first, last, sum: Some(sum) })
    }

    /// Reads what [`put`](Self::put) appended, of values of this kind.
    pub(super) fn get(input: &mut Input<'_>, kind: Kind, count: u32, nulls: u32) -> Result<Stats, Error> {
        let ([first, min, max, last], sum) = match kind {
            Kind::Float => {
                let four = get_floats(input)?;
                (four.map(Value::Float), Some(Sum::Float(f64::from_bits(input.u64()?))))
            }
            Kind::Int => {
                let first = input.zigzag()?;
                let min = first.wrapping_sub(input.varint()? as i64);
                let max = first.wrapping_add(input.varint()? as i64);
                let last = first.wrapping_add(input.zigzag()?);
                ([first, min, max, last].map(Value::Int), Some(Sum::Int(get_i128(input)?)))
            }
            Kind::Bool => {
                let bits = input.u8()?;
                ([0, 1, 2, 3].map(|i| Value::Bool(bits >> i & 1 == 1)), None)
            }
            Kind::Text => (get_texts(input)?, None),
        };
        Ok(Stats { count, nulls, min, max, first, last, sum })
    }
}

/// Half way between two numbers.
fn middle(min: i64, max: i64) -> i64 {
    min.wrapping_add(((max.wrapping_sub(min) as u64) / 2) as i64)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Floats as integers by one map, each from the one before; as their bits where no map fits all four.
fn put_floats(out: &mut Vec<u8>, four: [f64; 4]) {
    let mapping = Mapping::choose(&four).0;
    let integers = four.map(|v| mapping.nearest(v));
    if mapping == Mapping::Bits || integers.contains(&None) {
        Mapping::Bits.put(out);
        four.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        return;
    }
    mapping.put(out);
    let corrected = integers.iter().flatten().any(|&(_, off)| off != 0);
    out.push(u8::from(corrected));
    let mut before = 0_i64;
    for (integer, off) in integers.into_iter().flatten() {
        put_zigzag(out, integer.wrapping_sub(before));
        if corrected {
            put_zigzag(out, off);
        }
        before = integer;
    }
}

fn get_floats(input: &mut Input<'_>) -> Result<[f64; 4], Error> {
    let mapping = Mapping::get(input)?;
    let mut four = [0.0; 4];
    if mapping == Mapping::Bits {
        for slot in &mut four {
            *slot = f64::from_bits(input.u64()?);
        }
        return Ok(four);
    }
    let corrected = match input.u8()? {
        0 => false,
        1 => true,
        other => return Err(input.damaged("0 or 1", other)),
    };
    let mut integer = 0_i64;
    for slot in &mut four {
        integer = integer.wrapping_add(input.zigzag()?);
        let off = if corrected { input.zigzag()? } else { 0 };
        *slot = f64::from_bits(mapping.float(integer).to_bits().wrapping_add_signed(off));
    }
    Ok(four)
}

/// Appends each text, or one byte for "same as an earlier one": 0 = a text follows, i = text i - 1 of this list.
fn put_texts(out: &mut Vec<u8>, texts: [&String; 4]) {
    for (i, text) in texts.iter().enumerate() {
        match texts[..i].iter().position(|t| t == text) {
            Some(same) => out.push(same as u8 + 1),
            None => {
                out.push(0);
                put_varint(out, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

fn get_texts(input: &mut Input<'_>) -> Result<[Value; 4], Error> {
    let mut texts = TextColumn::new();
    for i in 0..4 {
        let tag = input.u8()?;
        if tag == 0 {
            texts.push(input.text(TEXT_BYTES_MAX)?);
        } else if usize::from(tag) <= i {
            let same = texts.get(usize::from(tag) - 1).to_owned();
            texts.push(&same);
        } else {
            return Err(input.damaged("an earlier text", tag));
        }
    }
    Ok([0, 1, 2, 3].map(|i| text(texts.get(i))))
}

/// A signed number of 128 bits: zigzag, then seven bits a byte.
fn put_i128(out: &mut Vec<u8>, v: i128) {
    let mut rest = ((v << 1) ^ (v >> 127)) as u128;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn get_i128(input: &mut Input<'_>) -> Result<i128, Error> {
    let mut value = 0_u128;
    for i in 0..19 {
        let byte = input.u8()?;
        value |= u128::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            return Ok((value >> 1) as i128 ^ -((value & 1) as i128));
        }
    }
    Err(input.damaged("a varint of 128 bits", "a longer one"))
}
