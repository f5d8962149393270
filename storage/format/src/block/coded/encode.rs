//! Writes the head and the pages of a coded column.

use super::{
    BY_STEP, CONTEXTS, LANES, ORDER_MAX, Shape, TOKENS, TOTAL, TOTAL_BITS, context, of_token, spread, token,
};
use crate::block::ints;
use crate::varint::{put_zigzag, zigzag};

/// Blocks that tell how a column is best predicted.
const BLOCKS_LOOKED_AT: usize = 8;
/// About what a frequency costs in a head.
const FREQUENCY_BITS: f64 = 8.0;
/// What contexts have to save to be taken, as a share: their tables take room in the first-level cache.
const CONTEXTS_GAIN: f64 = 0.01;

impl Shape {
    /// Sets `steps` to those of a block; the first `order` values have none.
    fn steps(&self, values: &[i64], steps: &mut Vec<u64>) {
        let of = |value: i64, predicted: i64| zigzag(value.wrapping_sub(predicted).wrapping_sub(self.base));
        steps.clear();
        match self.order {
            0 => steps.extend(values.iter().map(|&v| of(v, 0))),
            1 => steps.extend(values.windows(2).map(|w| of(w[1], w[0]))),
            _ => {
                let line = |w: &[i64]| w[1].wrapping_mul(2).wrapping_sub(w[0]);
                steps.extend(values.windows(3).map(|w| of(w[2], line(w))));
            }
        }
    }
}

/// The lanes of `n` steps: a quarter each, the rest in the last.
fn lanes(n: usize) -> [std::ops::Range<usize>; LANES] {
    let each = n / LANES;
    std::array::from_fn(|k| k * each..if k + 1 == LANES { n } else { (k + 1) * each })
}

/// How often each token occurs in a context.
type Counts = [u32; TOKENS];

/// A column's head and pages, the blocks being of these `lengths`.
pub(crate) fn encode(values: &[i64], lengths: &[usize]) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut blocks = Vec::with_capacity(lengths.len());
    let mut rest = values;
    for &length in lengths {
        let (block, others) = rest.split_at_checked(length)?;
        blocks.push(block);
        rest = others;
    }
    let shape = shape_of(values, &blocks);
    let (shape, counts) = with_contexts(shape, &blocks);
    let frequencies: Vec<Vec<u32>> = counts.iter().map(normalized).collect();
    let states_of: Vec<States> = frequencies.iter().map(|f| States::of(f)).collect();
    let mut steps = Vec::new();
    let mut page = |block: &&[i64]| {
        shape.steps(block, &mut steps);
        put_page(&shape, block, &steps, &states_of)
    };
    let pages = blocks.iter().map(&mut page).collect();
    (!values.is_empty()).then(|| (put_head(&shape, &frequencies), pages))
}

/// The prediction that suits best, going by some of the blocks.
fn shape_of(values: &[i64], blocks: &[&[i64]]) -> Shape {
    let every = blocks.len().div_ceil(BLOCKS_LOOKED_AT).max(1);
    let mut steps = Vec::new();
    let mut cost = |shape: &Shape| {
        let mut counts = [0; TOKENS];
        for block in blocks.iter().step_by(every) {
            shape.steps(block, &mut steps);
            steps.iter().for_each(|&step| counts[token(step).0] += 1);
        }
        bits(&counts)
    };
    let shape = |order| Shape { order, contexts: 0, base: middle_step(values, order) };
    let shapes = (0..=ORDER_MAX).map(shape).map(|shape| (cost(&shape), shape));
    shapes.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(shape(0), |(_, shape)| shape)
}

/// The contexts that suit best, heads included, and what they count.
fn with_contexts(shape: Shape, blocks: &[&[i64]]) -> (Shape, Vec<Counts>) {
    let mut counts = vec![[0; TOKENS]; CONTEXTS[usize::from(BY_STEP)]];
    let mut steps = Vec::new();
    for block in blocks {
        shape.steps(block, &mut steps);
        for lane in lanes(steps.len()) {
            let mut now = 0;
            for &step in &steps[lane] {
                counts[now][token(step).0] += 1;
                now = context(step);
            }
        }
    }
    let mut merged = [0; TOKENS];
    for counts in &counts {
        merged.iter_mut().zip(counts).for_each(|(to, n)| *to += n);
    }
    let cost = |counts: &[Counts]| {
        let frequencies = counts.iter().flatten().filter(|&&n| n > 0).count();
        counts.iter().map(bits).sum::<f64>() + FREQUENCY_BITS * frequencies as f64
    };
    let merged = vec![merged];
    if cost(&counts) < cost(&merged) * (1.0 - CONTEXTS_GAIN) {
        (Shape { contexts: BY_STEP, ..shape }, counts)
    } else {
        (shape, merged)
    }
}

/// The median of a few steps spread over the values.
fn middle_step(values: &[i64], order: u8) -> i64 {
    const SAMPLES: usize = 33;
    let order = usize::from(order);
    if order == 0 || values.len() <= order {
        return if order == 0 { values.get(values.len() / 2).copied().unwrap_or(0) } else { 0 };
    }
    let step = |k: usize| {
        let at = order + k * (values.len() - order) / SAMPLES;
        let once = values[at].wrapping_sub(values[at - 1]);
        if order == 1 { once } else { once.wrapping_sub(values[at - 1].wrapping_sub(values[at - 2])) }
    };
    let mut steps: Vec<i64> = (0..SAMPLES).map(step).collect();
    steps.sort_unstable();
    steps[SAMPLES / 2]
}

/// Bits that tokens so frequent take, with their extra bits.
fn bits(counts: &Counts) -> f64 {
    let sum: f64 = counts.iter().map(|&n| f64::from(n)).sum();
    let of = |(token, &n): (usize, &u32)| {
        let n = f64::from(n);
        n * ((sum / n).log2() + f64::from(of_token(token).1))
    };
    counts.iter().enumerate().filter(|(_, n)| **n > 0).map(of).sum()
}

/// Counts as frequencies that add up to [`TOTAL`], none of an occurring token 0; up to the last that occurs.
fn normalized(counts: &Counts) -> Vec<u32> {
    let sum: u64 = counts.iter().map(|&n| u64::from(n)).sum();
    let len = counts.iter().rposition(|&n| n > 0).map_or(0, |last| last + 1);
    if sum == 0 {
        return Vec::new();
    }
    let share = |&n: &u32| ((u64::from(n) * u64::from(TOTAL) + sum / 2) / sum).max(u64::from(n > 0)) as u32;
    let mut list: Vec<u32> = counts[..len].iter().map(share).collect();
    loop {
        let have: u32 = list.iter().sum();
        // The greatest bears what rounding left: to it that matters least.
        let Some(greatest) = (0..len).max_by_key(|&i| list[i]) else { return list };
        if have <= TOTAL {
            list[greatest] += TOTAL - have;
            return list;
        }
        list[greatest] -= (have - TOTAL).min(list[greatest] / 2).max(1);
    }
}

/// The states of every token of a context, by token and then ascending.
struct States {
    states: Vec<u16>,
    /// Per token, its frequency and where its states start.
    tokens: Vec<(u32, u32)>,
}

impl States {
    fn of(frequencies: &[u32]) -> States {
        let start = |sum: &mut u32, &f: &u32| Some((f, std::mem::replace(sum, *sum + f)));
        let tokens: Vec<(u32, u32)> = frequencies.iter().scan(0, start).collect();
        let mut next: Vec<u32> = tokens.iter().map(|&(_, start)| start).collect();
        let mut states = vec![0; TOTAL as usize];
        let list: Vec<i64> = frequencies.iter().map(|&f| i64::from(f)).collect();
        for (state, token) in spread(&list).into_iter().enumerate() {
            let next = &mut next[usize::from(token)];
            states[*next as usize] = state as u16;
            *next += 1;
        }
        States { states, tokens }
    }

    /// A state of `token`: the one to start from, as it is coded last to first.
    fn any(&self, token: usize) -> u32 {
        u32::from(self.states[self.tokens[token].1 as usize])
    }

    /// The state of `token` that leads to `state`, and how many of its low bits the decoder has to be told.
    #[inline]
    fn before(&self, state: u32, token: usize) -> (u32, u32) {
        let (frequency, start) = self.tokens[token];
        let above = TOTAL + state;
        // As many as leave something below twice the frequency, and at least the frequency.
        let mut bits = TOTAL_BITS - frequency.ilog2();
        bits -= u32::from(above >> bits < frequency);
        (u32::from(self.states[(start + (above >> bits) - frequency) as usize]), bits)
    }
}

fn put_head(shape: &Shape, frequencies: &[Vec<u32>]) -> Vec<u8> {
    let mut out = vec![shape.order | shape.contexts << 4];
    put_zigzag(&mut out, shape.base);
    let lengths: Vec<i64> = frequencies.iter().map(|f| f.len() as i64).collect();
    ints::encode(&mut out, &lengths);
    let list: Vec<i64> = frequencies.iter().flatten().map(|&f| i64::from(f)).collect();
    ints::encode(&mut out, &list);
    out
}

fn put_page(shape: &Shape, block: &[i64], steps: &[u64], states_of: &[States]) -> Vec<u8> {
    let mut out = Vec::with_capacity(steps.len() + 16);
    let mut before = 0_i64;
    for &value in block.iter().take(usize::from(shape.order)) {
        put_zigzag(&mut out, value.wrapping_sub(before));
        before = value;
    }
    if steps.iter().all(|&step| step == 0) {
        return out;
    }
    // Coded from the last to the first, so that they are read from the first to the last.
    let mut back = Vec::with_capacity(steps.len());
    let mut states = [None; LANES];
    let lanes = lanes(steps.len());
    let mut put = |lane: usize, i: usize| {
        let first = i == lanes[lane].start;
        let context = if shape.contexts == 0 || first { 0 } else { context(steps[i - 1]) };
        let (states_of, token) = (&states_of[context], token(steps[i]).0);
        let state = &mut states[lane];
        *state = Some(match *state {
            // Nothing comes after it, so the decoder need not be told anything.
            None => states_of.any(token),
            Some(state) => {
                let (before, bits) = states_of.before(state, token);
                back.push((u64::from(state) & ((1 << bits) - 1), bits));
                before
            }
        });
    };
    let each = lanes[0].len();
    let last = LANES - 1;
    (lanes[last].start + each..steps.len()).rev().for_each(|i| put(last, i));
    for round in (0..each).rev() {
        (0..LANES).rev().for_each(|lane| put(lane, lanes[lane].start + round));
    }
    let mut bits = BitWriter { out, held: 0, bits: 0 };
    states.iter().for_each(|state| bits.put(u64::from(state.unwrap_or(0)), TOTAL_BITS));
    back.iter().rev().for_each(|&(low, count)| bits.put(low, count));
    for &step in steps {
        let (_, extra, low) = token(step);
        bits.put(low, extra);
    }
    bits.finish()
}

/// Appends bits, least significant first.
struct BitWriter {
    out: Vec<u8>,
    held: u128,
    bits: u32,
}

impl BitWriter {
    #[inline]
    fn put(&mut self, value: u64, count: u32) {
        self.held |= u128::from(value) << self.bits;
        self.bits += count;
        if self.bits >= u64::BITS {
            self.out.extend_from_slice(&(self.held as u64).to_le_bytes());
            self.held >>= u64::BITS;
            self.bits -= u64::BITS;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let rest = self.held.to_le_bytes();
        self.out.extend_from_slice(&rest[..self.bits.div_ceil(8) as usize]);
        self.out
    }
}
