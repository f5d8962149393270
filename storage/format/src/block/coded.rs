//! Integers of all blocks of one column by how often they occur: small codes for common steps.
//!
//! Owns: the model of a column (how values are predicted, how often each step occurs after what) and the pages of
//! its blocks, which range asymmetric numeral systems code to within about a hundredth of a bit. A page costs four
//! bytes above that, where pco's costs sixteen, which is what small blocks need. Does not own: when this beats pco
//! (`shared`), where heads and pages lie (`segment`).
//!
//! A step is what a value lies off its prediction: nothing, the value before, or the line through the two before.
//! Its *token* says how large it is, and `extra` bits which of those of that size.

use super::ints;
use crate::error::Error;
use crate::varint::{Input, put_zigzag, unzigzag, zigzag};

/// Frequencies of one context add up to this.
const TOTAL_BITS: u32 = 11;
const TOTAL: u32 = 1 << TOTAL_BITS;
/// Between values the state is at least this and below 256 times this.
const STATE_MIN: u32 = 1 << 16;
const STATE_BYTES: usize = 3;

/// Steps below this are tokens of their own; above it eight tokens share an octave.
const DIRECT: u64 = 16;
const DIRECT_BITS: u32 = 4;
const TOKENS: usize = DIRECT as usize + 8 * (64 - DIRECT_BITS as usize);
/// Most bits that the state takes at a time.
const EXTRA_BITS_MAX: u32 = 8;

/// Blocks that tell how a column is best predicted.
const BLOCKS_LOOKED_AT: usize = 8;
/// About what a frequency costs in a head.
const FREQUENCY_BITS: f64 = 8.0;

/// How steps depend on what came before: not; on the size of the step before; on whether the value before is the
/// column's least or greatest, where clamped and resting signals stay; on both.
const CONTEXTS: [usize; 4] = [1, 3, 3, 9];
const BY_STEP: u8 = 0b01;
const BY_EDGE: u8 = 0b10;
const ORDER_MAX: u8 = 2;

/// The token of a step, and the number and value of its extra bits.
#[inline]
fn token(step: u64) -> (usize, u32, u64) {
    if step < DIRECT {
        return (step as usize, 0, 0);
    }
    let octave = u64::BITS - 1 - step.leading_zeros();
    let extra = octave - 3;
    let token = DIRECT as usize + 8 * (octave - DIRECT_BITS) as usize + (step >> extra & 7) as usize;
    (token, extra, step & ((1 << extra) - 1))
}

/// The least step of a token and how many bits tell its steps apart.
#[inline]
fn of_token(token: usize) -> (u64, u32) {
    if token < DIRECT as usize {
        return (token as u64, 0);
    }
    let above = token - DIRECT as usize;
    let extra = above as u32 / 8 + DIRECT_BITS - 3;
    ((8 + above as u64 % 8) << extra, extra)
}

/// How a column's values are predicted and which contexts its steps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    order: u8,
    contexts: u8,
    /// Taken from every step.
    base: i64,
    /// The edges.
    min: i64,
    max: i64,
}

impl Shape {
    #[inline(always)]
    fn context(&self, before: i64, step: u64) -> usize {
        let by_step = usize::from(step > 0) + usize::from(step > 4);
        let by_edge = if before == self.min { 1 } else { 2 * usize::from(before == self.max) };
        match self.contexts {
            0 => 0,
            BY_STEP => by_step,
            BY_EDGE => by_edge,
            _ => by_edge * 3 + by_step,
        }
    }

    /// Calls `each` with every step of a block and its context; the first `order` values have none.
    fn steps(&self, values: &[i64], mut each: impl FnMut(usize, u64)) {
        let order = usize::from(self.order).min(values.len());
        let mut step = 0;
        for (i, &value) in values.iter().enumerate().skip(order) {
            let (before, predicted) = match order {
                0 => (if i > 0 { values[i - 1] } else { self.min }, 0),
                1 => (values[i - 1], values[i - 1]),
                _ => (values[i - 1], values[i - 1].wrapping_mul(2).wrapping_sub(values[i - 2])),
            };
            let context = self.context(before, step);
            step = zigzag(value.wrapping_sub(predicted).wrapping_sub(self.base));
            each(context, step);
        }
    }
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
    let shape = shape_of(values, &blocks)?;
    let (shape, counts) = with_contexts(shape, &blocks);
    let frequencies: Vec<Vec<u32>> = counts.iter().map(normalized).collect();
    let starts: Vec<Vec<u32>> = frequencies.iter().map(|f| starts(f)).collect();
    let page = |block: &&[i64]| {
        let mut steps = Vec::with_capacity(block.len());
        shape.steps(block, |context, step| steps.push((context, step)));
        put_page(&shape, block, &steps, &frequencies, &starts)
    };
    Some((put_head(&shape, &frequencies), blocks.iter().map(page).collect()))
}

/// The prediction that suits best, going by some of the blocks.
fn shape_of(values: &[i64], blocks: &[&[i64]]) -> Option<Shape> {
    let (&min, &max) = (values.iter().min()?, values.iter().max()?);
    let every = blocks.len().div_ceil(BLOCKS_LOOKED_AT).max(1);
    let cost = |shape: &Shape| {
        let mut counts = [0; TOKENS];
        for block in blocks.iter().step_by(every) {
            shape.steps(block, |_, step| counts[token(step).0] += 1);
        }
        bits(&counts)
    };
    let shapes = (0..=ORDER_MAX).map(|order| {
        let shape = Shape { order, contexts: BY_STEP | BY_EDGE, base: middle_step(values, order), min, max };
        (cost(&shape), shape)
    });
    shapes.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, shape)| shape)
}

/// The contexts that suit best, heads included, and what they count.
fn with_contexts(shape: Shape, blocks: &[&[i64]]) -> (Shape, Vec<Counts>) {
    let mut all = vec![[0; TOKENS]; CONTEXTS[usize::from(BY_STEP | BY_EDGE)]];
    for block in blocks {
        shape.steps(block, |context, step| all[context][token(step).0] += 1);
    }
    let merged = |contexts: u8| {
        let mut merged = vec![[0; TOKENS]; CONTEXTS[usize::from(contexts)]];
        for (i, counts) in all.iter().enumerate() {
            let to = [0, i % 3, i / 3, i][usize::from(contexts)];
            merged[to].iter_mut().zip(counts).for_each(|(to, n)| *to += n);
        }
        merged
    };
    let candidates = (0..=BY_STEP | BY_EDGE).map(|contexts| {
        let counts = merged(contexts);
        let frequencies = counts.iter().flatten().filter(|&&n| n > 0).count();
        let cost = counts.iter().map(bits).sum::<f64>() + FREQUENCY_BITS * frequencies as f64;
        (cost, Shape { contexts, ..shape }, counts)
    });
    let best = candidates.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(|| (shape, all.clone()), |(_, shape, counts)| (shape, counts))
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

fn starts(frequencies: &[u32]) -> Vec<u32> {
    let start = |sum: &mut u32, &f: &u32| Some(std::mem::replace(sum, *sum + f));
    frequencies.iter().scan(0, start).collect()
}

fn put_head(shape: &Shape, frequencies: &[Vec<u32>]) -> Vec<u8> {
    let mut out = vec![shape.order | shape.contexts << 4];
    put_zigzag(&mut out, shape.base);
    if shape.contexts & BY_EDGE != 0 {
        put_zigzag(&mut out, shape.min);
        put_zigzag(&mut out, shape.max.wrapping_sub(shape.min));
    }
    let lengths: Vec<i64> = frequencies.iter().map(|f| f.len() as i64).collect();
    ints::encode(&mut out, &lengths);
    let list: Vec<i64> = frequencies.iter().flatten().map(|&f| i64::from(f)).collect();
    ints::encode(&mut out, &list);
    out
}

fn put_page(
    shape: &Shape,
    block: &[i64],
    steps: &[(usize, u64)],
    frequencies: &[Vec<u32>],
    starts: &[Vec<u32>],
) -> Vec<u8> {
    // Coded from the last to the first, so that they are read from the first to the last.
    let (mut back, mut state) = (Vec::with_capacity(steps.len() / 2), STATE_MIN);
    for &(context, step) in steps.iter().rev() {
        let (token, extra, low) = token(step);
        let mut shift = 0;
        while shift < extra {
            let bits = (extra - shift).min(EXTRA_BITS_MAX);
            while state >> (24 - bits) > 0 {
                back.push(state as u8);
                state >>= 8;
            }
            state = state << bits | (low >> shift) as u32 & ((1 << bits) - 1);
            shift += bits;
        }
        let (frequency, start) = (frequencies[context][token], starts[context][token]);
        while state >= frequency << (24 - TOTAL_BITS) {
            back.push(state as u8);
            state >>= 8;
        }
        state = ((state / frequency) << TOTAL_BITS) + start + state % frequency;
    }
    let mut out = Vec::with_capacity(back.len() + 8);
    let mut before = 0_i64;
    for &value in block.iter().take(usize::from(shape.order)) {
        put_zigzag(&mut out, value.wrapping_sub(before));
        before = value;
    }
    out.extend_from_slice(&state.to_le_bytes()[..STATE_BYTES]);
    out.extend(back.iter().rev());
    out
}

/// What a place below [`TOTAL`] stands for: token, frequency, and how far above the token's start, so packed that the
/// places of a context stay in the first-level cache.
#[derive(Clone, Copy, Debug)]
struct Slot(u32);

impl Slot {
    fn new(token: usize, frequency: u32, offset: u32) -> Slot {
        Slot((token as u32) << (2 * TOTAL_BITS + 1) | frequency << TOTAL_BITS | offset)
    }

    #[inline]
    fn token(self) -> usize {
        (self.0 >> (2 * TOTAL_BITS + 1)) as usize
    }

    #[inline]
    fn frequency(self) -> u32 {
        self.0 >> TOTAL_BITS & (2 * TOTAL - 1)
    }

    #[inline]
    fn offset(self) -> u32 {
        self.0 & (TOTAL - 1)
    }
}

const _: () = assert!(
    TOKENS <= 1 << (u32::BITS - 2 * TOTAL_BITS - 1),
    "a token, a frequency and an offset share 32 bits"
);

/// Bytes of a page after its state, as they are taken in.
struct Refill<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Refill<'_> {
    /// Brings `state` back to at least [`STATE_MIN`], by up to two bytes and without a branch that cannot be foretold.
    /// Past the end zeros follow; the state at the end tells.
    #[inline]
    fn refill(&mut self, state: u32) -> u32 {
        let count = u32::from(state < STATE_MIN) + u32::from(state < STATE_MIN >> 8);
        let next = match self.bytes.get(self.at..self.at + 2) {
            Some(two) => u32::from(two[0]) << 8 | u32::from(two[1]),
            None => u32::from(self.bytes.get(self.at).copied().unwrap_or(0)) << 8,
        };
        self.at += count as usize;
        state << (8 * count) | next >> (16 - 8 * count)
    }
}

/// A head, read.
#[derive(Debug)]
pub(crate) struct Head {
    shape: Shape,
    /// [`TOTAL`] a context; those of a context that does not occur lead to no state a page may end with.
    slots: Vec<Slot>,
}

impl Head {
    pub(crate) fn get(input: &mut Input<'_>) -> Result<Head, Error> {
        let tag = input.u8()?;
        let (order, contexts) = (tag & 0xF, tag >> 4);
        let Some(&number) = CONTEXTS.get(usize::from(contexts)).filter(|_| order <= ORDER_MAX) else {
            return Err(input.unknown("shape of a coded column", format!("{tag:#04x}")));
        };
        let base = input.zigzag()?;
        let mut shape = Shape { order, contexts, base, min: 0, max: 0 };
        if contexts & BY_EDGE != 0 {
            shape.min = input.zigzag()?;
            shape.max = shape.min.wrapping_add(input.zigzag()?);
        }
        let lengths = ints::decode(input, number)?;
        if let Some(length) = lengths.iter().find(|&&l| !(0..=TOKENS as i64).contains(&l)) {
            return Err(input.damaged(&format!("at most {TOKENS} tokens"), length));
        }
        let list = ints::decode(input, lengths.iter().sum::<i64>() as usize)?;
        let mut rest = list.as_slice();
        let mut slots = Vec::with_capacity(number * TOTAL as usize);
        for length in lengths {
            let (frequencies, others) = rest.split_at(length as usize);
            put_slots(&mut slots, input, frequencies)?;
            rest = others;
        }
        Ok(Head { shape, slots })
    }

    /// Reads the page of a block of `count` integers: all that is left.
    pub(crate) fn page(&self, page: &mut Input<'_>, count: usize) -> Result<Vec<i64>, Error> {
        // One loop a kind of contexts: finding the context is what the next slot waits for.
        match self.shape.contexts {
            0 => self.page_of::<0>(page, count),
            BY_STEP => self.page_of::<BY_STEP>(page, count),
            BY_EDGE => self.page_of::<BY_EDGE>(page, count),
            _ => self.page_of::<{ BY_STEP | BY_EDGE }>(page, count),
        }
    }

    fn page_of<const CONTEXTS: u8>(&self, page: &mut Input<'_>, count: usize) -> Result<Vec<i64>, Error> {
        let shape = &Shape { contexts: CONTEXTS, ..self.shape };
        let order = usize::from(shape.order).min(count);
        let mut values = Vec::with_capacity(count);
        let mut before = 0_i64;
        for _ in 0..order {
            before = before.wrapping_add(page.zigzag()?);
            values.push(before);
        }
        let mut slope = if order == 2 { before.wrapping_sub(values[0]) } else { 0 };
        if order == 0 {
            before = shape.min;
        }
        let state = page.take(STATE_BYTES)?;
        let mut state = state.iter().rev().fold(0, |state, &byte| state << 8 | u32::from(byte));
        let mut bytes = Refill { bytes: page.rest(), at: 0 };
        let mut step = 0;
        for _ in order..count {
            let at = shape.context(before, step) * TOTAL as usize + (state & (TOTAL - 1)) as usize;
            let slot = self.slots[at];
            state = bytes.refill(slot.frequency() * (state >> TOTAL_BITS) + slot.offset());
            let (least, mut left) = of_token(slot.token());
            let mut low = 0;
            while left > 0 {
                // The last written, which are the highest, come first, and only they may be fewer than eight.
                let bits = (left - 1) % EXTRA_BITS_MAX + 1;
                low = low << bits | u64::from(state & ((1 << bits) - 1));
                state = bytes.refill(state >> bits);
                left -= bits;
            }
            step = least | low;
            let off = unzigzag(step).wrapping_add(shape.base);
            before = match order {
                0 => off,
                1 => before.wrapping_add(off),
                _ => {
                    slope = slope.wrapping_add(off);
                    before.wrapping_add(slope)
                }
            };
            values.push(before);
        }
        if state != STATE_MIN || bytes.at != bytes.bytes.len() {
            return Err(page.damaged("the state a page starts from", format!("{state:#x}")));
        }
        Ok(values)
    }
}

/// Appends the slots of a context.
fn put_slots(slots: &mut Vec<Slot>, input: &Input<'_>, frequencies: &[i64]) -> Result<(), Error> {
    let end = slots.len() + TOTAL as usize;
    for (token, &frequency) in frequencies.iter().enumerate() {
        let fits = (0..=(end - slots.len()) as i64).contains(&frequency);
        if !fits {
            return Err(input.damaged(&format!("frequencies of {TOTAL} together"), frequency));
        }
        slots.extend((0..frequency as u32).map(|offset| Slot::new(token, frequency as u32, offset)));
    }
    if frequencies.is_empty() {
        slots.resize(end, Slot::new(0, 0, 0));
    }
    if slots.len() != end {
        return Err(
            input.damaged(&format!("frequencies of {TOTAL} together"), TOTAL as usize - (end - slots.len()))
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(head: &[u8], page: &[u8], count: usize) -> Result<Vec<i64>, Error> {
        let mut input = Input::new("t", 0, head);
        let head = Head::get(&mut input)?;
        input.end()?;
        head.page(&mut Input::new("t", 0, page), count)
    }

    /// The bytes of all pages.
    fn round_trip(values: &[i64], lengths: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let (head, pages) = encode(values, lengths).unwrap();
        assert_eq!(pages.len(), lengths.len());
        let mut at = 0;
        for (page, &length) in pages.iter().zip(lengths) {
            assert_eq!(read(&head, page, length).as_deref(), Ok(&values[at..at + length]));
            at += length;
        }
        (head, pages)
    }

    #[test]
    fn tokens_come_back() {
        for step in (0..3000).chain((0..64).map(|i| u64::MAX >> i)) {
            let (number, extra, low) = token(step);
            assert!(number < TOKENS);
            assert_eq!(of_token(number), (step - low, extra));
        }
    }

    #[test]
    fn extremes_come_back() {
        round_trip(&[i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN], &[1, 5]);
        round_trip(&[7; 2000], &[1000, 1000]);
        round_trip(&[3], &[1]);
        assert!(encode(&[], &[]).is_none());
    }

    #[test]
    fn resting_at_an_edge_costs_little() {
        let mut state = 1_u64;
        let mut level = 0_i64;
        let mut walk = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            level = (level + (state >> 60) as i64 - 10).max(0);
            level
        };
        let values: Vec<i64> = (0..8000).map(&mut walk).collect();
        let bytes: usize = round_trip(&values, &[1000; 8]).1.iter().map(Vec::len).sum();
        assert!(bytes < 3200, "{bytes} bytes, four bits a value away from the edge");
    }

    fn lists() -> impl Strategy<Value = (Vec<i64>, Vec<usize>)> {
        let value = prop_oneof![
            any::<i64>().boxed(),
            (0..50_i64).boxed(),
            Just(i64::MIN).boxed(),
            prop_oneof![20 => -3..4_i64, 1 => any::<i64>()].boxed(),
        ];
        (prop::collection::vec(1..90_usize, 1..6), 0..3_u8, prop::collection::vec(value, 540)).prop_map(
            |(lengths, sums, mut values)| {
                values.truncate(lengths.iter().sum());
                for _ in 0..sums {
                    let mut sum = 0_i64;
                    for v in &mut values {
                        sum = sum.wrapping_add(*v);
                        *v = sum;
                    }
                }
                (values, lengths)
            },
        )
    }

    proptest! {
        #[test]
        fn lists_come_back((values, lengths) in lists()) {
            round_trip(&values, &lengths);
        }

        #[test]
        fn mutated_bytes_do_not_panic(
            (values, lengths) in lists(),
            of_head in any::<bool>(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let (mut head, pages) = round_trip(&values, &lengths);
            let mut page = pages[0].clone();
            let bytes = if of_head { &mut head } else { &mut page };
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(&head, &page, lengths[0]);
        }
    }
}
