//! Integers of a block.
//!
//! Owns: the codecs for lists of `i64`; arithmetic wraps, so every list of every value comes back. Does not own: how
//! small numbers are packed (`patched`).

use super::bitpack::TILE;
use super::patched::{self, Patched, Widths};
use super::shared::{Heads, Packed};
use crate::error::Error;
use crate::varint::{Input, put_zigzag, unzigzag, zigzag};

const CODEC_CONSTANT: u8 = 0;
const CODEC_RUNS: u8 = 1;
/// The integers lie in the column's shared sequence 0.
const CODEC_SHARED: u8 = 2;
/// The same, and they take all that is left.
const CODEC_SHARED_LAST: u8 = 3;
/// Plus how many times the values were subtracted from each other, 0 to 2.
const CODEC_PLAIN: u8 = 4;
const CODEC_DELTA_DELTA: u8 = CODEC_PLAIN + 2;
/// Added to a difference codec: numbers lie on both sides of the base, zigzagged, rather than all above it.
const AROUND: u8 = 4;
const AROUND_PLAIN: u8 = CODEC_PLAIN + AROUND;
const AROUND_DELTA_DELTA: u8 = CODEC_DELTA_DELTA + AROUND;

/// Runs must be this long on average for run lengths to be tried.
const RUN_LENGTH_MIN: usize = 4;

/// Values of a window that stands for a long list.
const WINDOW: usize = 64;
/// What the first values that differences start from weigh against the bytes they save.
const HEAD_COST: usize = 4;

/// Values the middle of a list is guessed from.
const MIDDLE_SAMPLES: usize = 9;

/// Appends `values`; the decoder must be told how many.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[i64]) {
    let Some(&first) = values.first() else { return };
    let changes = values.windows(2).filter(|w| w[0] != w[1]).count();
    if changes == 0 {
        out.push(CODEC_CONSTANT);
        put_zigzag(out, first);
        return;
    }
    let start = out.len();
    encode_differences(out, values);
    if (changes + 1) * RUN_LENGTH_MIN <= values.len() {
        let mut runs = Vec::new();
        encode_runs(&mut runs, values, changes + 1);
        if runs.len() < out.len() - start {
            out.truncate(start);
            out.extend_from_slice(&runs);
        }
    }
}

/// The blocks of a whole column, of these `lengths`, with a shared sequence; `None` where that does not suit.
pub(crate) fn encode_shared(values: &[i64], lengths: &[usize]) -> Option<(Vec<Packed>, Vec<Vec<u8>>)> {
    let packed = Packed::of(values, lengths)?;
    let payload = |i| {
        let mut out = vec![CODEC_SHARED_LAST];
        packed.put_last_page(&mut out, i);
        out
    };
    let payloads = (0..lengths.len()).map(payload).collect();
    Some((vec![packed], payloads))
}

/// The values of runs, then their lengths less one.
fn encode_runs(out: &mut Vec<u8>, values: &[i64], runs: usize) {
    let mut firsts = Vec::with_capacity(runs);
    let mut lengths = Vec::with_capacity(runs);
    for run in values.chunk_by(|a, b| a == b) {
        firsts.push(run[0]);
        lengths.push(run.len() as i64 - 1);
    }
    out.push(CODEC_RUNS);
    put_zigzag(out, runs as i64);
    encode_differences(out, &firsts);
    encode_differences(out, &lengths);
}

/// A list of differences, the base they are measured from, and how that packs.
struct Plan {
    base: i64,
    around: bool,
    width: u32,
    bytes: usize,
}

impl Plan {
    fn of(differences: &[i64]) -> Plan {
        let min = differences.iter().copied().min().unwrap_or(0);
        let (width, bytes) = Widths::of(differences.iter().map(|&d| above(d, min))).best();
        let from_min = Plan { base: min, around: false, width, bytes };
        let base = middle(differences);
        let (width, bytes) = Widths::of(differences.iter().map(|&d| around(d, base))).best();
        if bytes < from_min.bytes { Plan { base, around: true, width, bytes } } else { from_min }
    }

    fn put(&self, out: &mut Vec<u8>, differences: &[i64]) {
        put_zigzag(out, self.base);
        let (base, values) = (self.base, differences.iter());
        if self.around {
            patched::encode(out, values.map(|&d| around(d, base)), self.width);
        } else {
            patched::encode(out, values.map(|&d| above(d, base)), self.width);
        }
    }
}

/// The median of a few values spread over the list: near it most are, whatever the others do.
fn middle(list: &[i64]) -> i64 {
    let n = list.len();
    let mut few: [i64; MIDDLE_SAMPLES] = std::array::from_fn(|i| {
        let place = (2 * i + 1) * n / (2 * MIDDLE_SAMPLES);
        list.get(place).copied().unwrap_or(0)
    });
    few.sort_unstable();
    few[MIDDLE_SAMPLES / 2]
}

fn above(d: i64, base: i64) -> u64 {
    d.wrapping_sub(base) as u64
}

fn around(d: i64, base: i64) -> u64 {
    zigzag(d.wrapping_sub(base))
}

fn encode_differences(out: &mut Vec<u8>, values: &[i64]) {
    let order = best_order(values);
    let once = if order >= 1 { differences(values) } else { Vec::new() };
    let twice = if order >= 2 { differences(&once) } else { Vec::new() };
    let list = [values, &once, &twice][order];
    let plan = Plan::of(list);
    out.push(CODEC_PLAIN + order as u8 + if plan.around { AROUND } else { 0 });
    if order >= 1 {
        put_zigzag(out, values.first().copied().unwrap_or(0));
    }
    if order >= 2 {
        put_zigzag(out, once.first().copied().unwrap_or(0));
    }
    plan.put(out, list);
}

/// How many times to subtract values from each other, 0 to 2. A long list is judged by two windows of it.
fn best_order(values: &[i64]) -> usize {
    let n = values.len();
    let windows = if n <= 4 * WINDOW {
        [values, &[]]
    } else {
        [n / 4, n * 3 / 4].map(|at| values.get(at..at + WINDOW).unwrap_or_default())
    };
    let mut bytes = [0, HEAD_COST, 2 * HEAD_COST];
    for window in windows.into_iter().filter(|w| !w.is_empty()) {
        let once = differences(window);
        let twice = differences(&once);
        for (sum, list) in bytes.iter_mut().zip([window, &once, &twice]) {
            *sum += Plan::of(list).bytes;
        }
    }
    (0..3).min_by_key(|&order| bytes[order]).unwrap_or(0)
}

fn differences(values: &[i64]) -> Vec<i64> {
    values.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect()
}

/// Reads `count` values.
pub(crate) fn decode(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>, Error> {
    decode_as(input, count, |value| value)
}

/// Reads `count` values as what they stand for.
#[inline(always)]
pub(crate) fn decode_as<T: Clone>(
    input: &mut Input<'_>,
    count: usize,
    of: impl Fn(i64) -> T + Copy,
) -> Result<Vec<T>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match input.u8()? {
        CODEC_CONSTANT => Ok(vec![of(input.zigzag()?); count]),
        CODEC_RUNS => decode_runs(input, count, of),
        codec => decode_differences(input, codec, count, of),
    }
}

/// Reads `count` values of a column with shared sequences.
pub(crate) fn decode_shared(input: &mut Input<'_>, count: usize, heads: &Heads) -> Result<Vec<i64>, Error> {
    let mut ahead = input.clone();
    let codec = ahead.u8()?;
    if !matches!(codec, CODEC_SHARED | CODEC_SHARED_LAST) {
        return decode(input, count);
    }
    *input = ahead;
    if codec == CODEC_SHARED { heads.page(input, 0, count) } else { heads.last_page(input, 0, count) }
}

/// The name of the codec of the integers at the beginning of `input`.
pub(crate) fn codec_name(input: &Input<'_>) -> Result<&'static str, Error> {
    match input.clone().u8()? {
        CODEC_CONSTANT => Ok("constant"),
        CODEC_RUNS => Ok("runs"),
        CODEC_SHARED | CODEC_SHARED_LAST => Ok("shared"),
        CODEC_PLAIN | AROUND_PLAIN => Ok("packed"),
        CODEC_DELTA_DELTA | AROUND_DELTA_DELTA => Ok("delta-delta"),
        codec if codec <= AROUND_DELTA_DELTA => Ok("delta"),
        codec => Err(input.unknown("codec of integers", codec)),
    }
}

fn decode_runs<T: Clone>(
    input: &mut Input<'_>,
    count: usize,
    of: impl Fn(i64) -> T + Copy,
) -> Result<Vec<T>, Error> {
    let runs = input.zigzag()?;
    let runs = usize::try_from(runs).ok().filter(|runs| (1..=count).contains(runs));
    let runs = runs.ok_or_else(|| input.damaged(&format!("1 to {count} runs"), "others"))?;
    // Runs are never runs of runs, so this does not recurse.
    let codec = input.u8()?;
    let firsts = decode_differences(input, codec, runs, of)?;
    let codec = input.u8()?;
    let lengths = decode_differences(input, codec, runs, |length| length)?;
    let mut values = Vec::with_capacity(count);
    for (first, length) in firsts.into_iter().zip(lengths) {
        let end = usize::try_from(length).ok().and_then(|l| l.checked_add(values.len() + 1));
        let end = end.filter(|&end| end <= count);
        values.resize(end.ok_or_else(|| input.damaged(&format!("runs of {count} values"), length))?, first);
    }
    if values.len() != count {
        return Err(input.damaged(&format!("runs of {count} values"), values.len()));
    }
    Ok(values)
}

/// Unpacks, adds the base, sums up and turns into what values stand for, a tile at a time: each value is brought
/// into the first-level cache once and written to memory once.
#[inline(always)]
fn decode_differences<T>(
    input: &mut Input<'_>,
    codec: u8,
    count: usize,
    of: impl Fn(i64) -> T + Copy,
) -> Result<Vec<T>, Error> {
    let (order, is_around) = match codec {
        CODEC_PLAIN..=CODEC_DELTA_DELTA => (codec - CODEC_PLAIN, false),
        AROUND_PLAIN..=AROUND_DELTA_DELTA => (codec - AROUND_PLAIN, true),
        _ => return Err(input.unknown("codec of integers", codec)),
    };
    let mut value = if order >= 1 { input.zigzag()? } else { 0 };
    let mut slope = if order >= 2 { input.zigzag()? } else { 0 };
    let base = input.zigzag()?;
    let mut packed = Patched::new(input, count.saturating_sub(usize::from(order)))?;
    let mut list = Vec::with_capacity(count);
    if order >= 1 {
        list.push(of(value));
    }
    if order == 2 && count >= 2 {
        value = value.wrapping_add(slope);
        list.push(of(value));
    }
    let (mut tile, mut values) = ([0; TILE], [0; TILE]);
    loop {
        let n = packed.next(&mut tile);
        if n == 0 {
            return Ok(list);
        }
        // What lies past the last value spoils the sums only after they are used.
        if is_around {
            tile.iter_mut().for_each(|v| *v = unzigzag(*v) as u64);
        }
        for (to, &v) in values.iter_mut().zip(&tile) {
            *to = base.wrapping_add(v as i64);
        }
        if order == 2 {
            sum_up(&mut values, &mut slope);
        }
        if order >= 1 {
            sum_up(&mut values, &mut value);
        }
        list.extend(values[..n].iter().map(|&v| of(v)));
    }
}

/// From differences to values: each becomes the sum of `before` and all up to it, and `before` the last. Four at a
/// time, so that one sum waits for the one before only every fourth time.
#[inline(always)]
pub(crate) fn sum_up(tile: &mut [i64; TILE], before: &mut i64) {
    for four in tile.chunks_exact_mut(4) {
        let [a, b, c, d] = [four[0], four[1], four[2], four[3]];
        let ab = a.wrapping_add(b);
        let abc = ab.wrapping_add(c);
        let abcd = ab.wrapping_add(c.wrapping_add(d));
        four.copy_from_slice(&[a, ab, abc, abcd].map(|sum| before.wrapping_add(sum)));
        *before = before.wrapping_add(abcd);
    }
}

#[cfg(test)]
mod tests;
