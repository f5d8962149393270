//! Integers of all blocks of one column by how often they occur: small codes for common steps.
//!
//! Owns: the model of a column (how values are predicted, how often each step occurs after what) and the pages of
//! its blocks, which tabled asymmetric numeral systems code to within about a hundredth of a bit. A page costs five
//! bytes above that, where pco's costs sixteen, which is what small blocks need. Does not own: when this beats pco
//! (`shared`), where heads and pages lie (`segment`).
//!
//! A step is what a value lies off its prediction: nothing, the value before, or the line through the two before.
//! Its *token* says how large it is, and `extra` bits which of those of that size.
//!
//! What decoding waits for is kept short. The steps of a page lie in four *lanes*, a quarter of the block each, that
//! are decoded side by side. What a state leads to, the context included, is one entry of a table. Extra bits come
//! after all tokens, so that no token waits for them.

use pulp::{Arch, NullaryFnOnce};

use super::bitpack::TILE;
use super::ints::{self, sum_up};
use crate::error::Error;
use crate::varint::{Input, put_zigzag, unzigzag, zigzag};

/// Frequencies of one context add up to this; so many states there are.
const TOTAL_BITS: u32 = 11;
const TOTAL: u32 = 1 << TOTAL_BITS;
/// From the state of one token to that of the next: odd, so that every state is met, and far, so that those of a
/// token are spread.
const SPREAD: u32 = (TOTAL >> 1) + (TOTAL >> 3) + 3;

/// Parts of a page that are decoded side by side.
const LANES: usize = 4;
const _: () =
    assert!(LANES as u32 * TOTAL_BITS <= WORD_BITS, "the bits of a step of every lane are one word");

/// Steps below this are tokens of their own; above it eight tokens share an octave.
const DIRECT: u64 = 16;
const DIRECT_BITS: u32 = 4;
const TOKENS: usize = DIRECT as usize + 8 * (64 - DIRECT_BITS as usize);

/// Blocks that tell how a column is best predicted.
const BLOCKS_LOOKED_AT: usize = 8;
/// About what a frequency costs in a head.
const FREQUENCY_BITS: f64 = 8.0;
/// What contexts have to save to be taken, as a share: their tables take room in the first-level cache.
const CONTEXTS_GAIN: f64 = 0.01;

/// How steps depend on what came before: not; on the size of the step before.
const CONTEXTS: [usize; 2] = [1, 3];
const BY_STEP: u8 = 1;
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
const fn of_token(token: usize) -> (u64, u32) {
    if token < DIRECT as usize {
        return (token as u64, 0);
    }
    let above = token - DIRECT as usize;
    let extra = above as u32 / 8 + DIRECT_BITS - 3;
    ((8 + above as u64 % 8) << extra, extra)
}

/// [`of_token`] of every token. Longer than need be, so that no bits of an entry lead past its end.
static OF_TOKEN: [(u64, u32); 1 << TOKEN_BITS] = {
    let mut list = [(0, 0); 1 << TOKEN_BITS];
    let mut token = 0;
    while token < TOKENS {
        list[token] = of_token(token);
        token += 1;
    }
    list
};

/// Which context a step leads to where they go by the step before: still, slow or fast.
fn context(step: u64) -> usize {
    usize::from(step > 0) + usize::from(step > 4)
}

/// How a column's values are predicted and which contexts its steps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    order: u8,
    contexts: u8,
    /// Taken from every step.
    base: i64,
}

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
    let cells: Vec<Cells> = frequencies.iter().map(|f| Cells::of(f)).collect();
    let mut steps = Vec::new();
    let mut page = |block: &&[i64]| {
        shape.steps(block, &mut steps);
        put_page(&shape, block, &steps, &cells)
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
struct Cells {
    states: Vec<u16>,
    /// Per token, its frequency and where its states start.
    tokens: Vec<(u32, u32)>,
}

impl Cells {
    fn of(frequencies: &[u32]) -> Cells {
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
        Cells { states, tokens }
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

/// The token of every state of a context; empty where there are no frequencies.
fn spread(frequencies: &[i64]) -> Vec<u16> {
    if frequencies.is_empty() {
        return Vec::new();
    }
    let mut tokens = vec![0; TOTAL as usize];
    let mut at = 0;
    for (token, &frequency) in frequencies.iter().enumerate() {
        for _ in 0..frequency {
            tokens[at as usize] = token as u16;
            at = (at + SPREAD) % TOTAL;
        }
    }
    tokens
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

fn put_page(shape: &Shape, block: &[i64], steps: &[u64], cells: &[Cells]) -> Vec<u8> {
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
        let (cells, token) = (&cells[context], token(steps[i]).0);
        let state = &mut states[lane];
        *state = Some(match *state {
            // Nothing comes after it, so the decoder need not be told anything.
            None => cells.any(token),
            Some(state) => {
                let (before, bits) = cells.before(state, token);
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

/// Bits that [`BitReader::peek`] surely gives.
const WORD_BITS: u32 = 57;

/// Takes bits, least significant first. Past the end zeros follow; `end` tells.
struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits taken.
    at: usize,
}

impl BitReader<'_> {
    /// The next [`WORD_BITS`] bits and some more.
    #[inline(always)]
    fn peek(&self) -> u64 {
        let from = self.at / 8;
        let word = match self.bytes.get(from..from + 8) {
            Some(eight) => u64::from_le_bytes(eight.try_into().expect("eight bytes were sliced")),
            None => self.last(from),
        };
        word >> (self.at % 8)
    }

    #[cold]
    fn last(&self, from: usize) -> u64 {
        let left = self.bytes.get(from..).unwrap_or_default();
        left.iter().take(8).rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
    }

    /// Whether all was taken but less than a byte of zeros.
    fn at_end(&self) -> bool {
        self.at.div_ceil(8) == self.bytes.len() && self.peek() == 0
    }
}

#[inline(always)]
fn low_bits(word: u64, count: u32) -> u64 {
    word & ((1 << count) - 1)
}

const TOKEN_BITS: u32 = 9;
const STEP_BITS: u32 = 4;
const _: () = assert!(TOKENS <= 1 << TOKEN_BITS && TOTAL_BITS < 1 << STEP_BITS);

/// What a state stands for, in as little room as it takes: tables shall stay in the first-level cache. From the low end
/// how many bits follow, the token, and the least state that follows, its context included.
#[derive(Clone, Copy, Debug, Default)]
struct Cell(u32);

impl Cell {
    fn new(token: u16, bits: u32, next: u32) -> Cell {
        Cell(next << (STEP_BITS + TOKEN_BITS) | u32::from(token) << STEP_BITS | bits)
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.0 & ((1 << STEP_BITS) - 1)
    }

    #[inline(always)]
    fn token(self) -> usize {
        (self.0 >> STEP_BITS & ((1 << TOKEN_BITS) - 1)) as usize
    }

    #[inline(always)]
    fn next(self) -> usize {
        (self.0 >> (STEP_BITS + TOKEN_BITS)) as usize
    }
}

/// A head, read.
#[derive(Debug)]
pub(crate) struct Head {
    shape: Shape,
    /// [`TOTAL`] a context. Those of a context that does not occur lead to the first state.
    cells: Vec<Cell>,
    /// The most extra bits of any token.
    extra_max: u32,
}

impl Head {
    pub(crate) fn get(input: &mut Input<'_>) -> Result<Head, Error> {
        let tag = input.u8()?;
        let (order, contexts) = (tag & 0xF, tag >> 4);
        let Some(&number) = CONTEXTS.get(usize::from(contexts)).filter(|_| order <= ORDER_MAX) else {
            return Err(input.unknown("shape of a coded column", format!("{tag:#04x}")));
        };
        let shape = Shape { order, contexts, base: input.zigzag()? };
        let lengths = ints::decode(input, number)?;
        if let Some(length) = lengths.iter().find(|&&l| !(0..=TOKENS as i64).contains(&l)) {
            return Err(input.damaged(&format!("at most {TOKENS} tokens"), length));
        }
        let list = ints::decode(input, lengths.iter().sum::<i64>() as usize)?;
        let mut rest = list.as_slice();
        let mut head = Head { shape, cells: Vec::with_capacity(number * TOTAL as usize), extra_max: 0 };
        for length in lengths {
            let (frequencies, others) = rest.split_at(length as usize);
            head.put_cells(input, frequencies)?;
            rest = others;
        }
        Ok(head)
    }

    /// Appends the cells of a context.
    fn put_cells(&mut self, input: &Input<'_>, frequencies: &[i64]) -> Result<(), Error> {
        let total = i64::from(TOTAL);
        let fit = frequencies.iter().all(|f| (0..=total).contains(f));
        // At most 496 of at most 2,048 each: the sum does not overflow.
        if !frequencies.is_empty() && (!fit || frequencies.iter().sum::<i64>() != total) {
            return Err(input.damaged(&format!("frequencies of {TOTAL} together"), "others"));
        }
        let end = self.cells.len() + TOTAL as usize;
        let mut met: Vec<u32> = frequencies.iter().map(|&f| f as u32).collect();
        for token in spread(frequencies) {
            // The states of a token that come before this one, and its frequency.
            let above = &mut met[usize::from(token)];
            let bits = TOTAL_BITS - above.ilog2();
            let context = if self.shape.contexts == 0 { 0 } else { context(u64::from(token)) as u32 };
            self.cells.push(Cell::new(token, bits, (*above << bits) - TOTAL + context * TOTAL));
            *above += 1;
        }
        self.cells.resize(end, Cell::default());
        let last = frequencies.iter().rposition(|&f| f > 0).unwrap_or(0);
        self.extra_max = self.extra_max.max(of_token(last).1);
        Ok(())
    }

    /// Reads the page of a block of `count` integers, all that is left, as what they stand for.
    #[inline(always)]
    pub(crate) fn page_as<T>(
        &self,
        page: &mut Input<'_>,
        count: usize,
        of: impl Fn(i64) -> T + Copy,
    ) -> Result<Vec<T>, Error> {
        let mut values = Vec::with_capacity(count);
        let mut sums = Sums { shape: self.shape, value: 0, slope: 0 };
        for i in 0..count.min(usize::from(self.shape.order)) {
            let distance = page.zigzag()?;
            sums.slope = if i > 0 { distance } else { 0 };
            sums.value = sums.value.wrapping_add(distance);
            values.push(of(sums.value));
        }
        let n = count - values.len();
        if page.left() == 0 {
            put_values(&mut values, &mut sums, n, of, |_, tile| tile.fill(0));
            return Ok(values);
        }
        let mut bits = BitReader { bytes: page.rest(), at: 0 };
        let cells = self.met(&mut bits, n);
        put_values(&mut values, &mut sums, n, of, |from, tile| self.steps(&mut bits, &cells[from..], tile));
        if !bits.at_end() {
            return Err(page.damaged("the end of a page", format!("bit {}", bits.at)));
        }
        Ok(values)
    }

    /// The cells of the `n` tokens of a page. On its own, so that its loop has the registers to itself.
    #[inline(never)]
    fn met(&self, bits: &mut BitReader<'_>, n: usize) -> Vec<Cell> {
        Arch::new().dispatch(Walk { head: self, bits, n })
    }

    #[inline(always)]
    fn walk(&self, bits: &mut BitReader<'_>, n: usize) -> Vec<Cell> {
        let mut met = vec![Cell::default(); n];
        let BitReader { bytes, at } = *bits;
        let mut reader = BitReader { bytes, at };
        let word = reader.peek();
        let mut states: [usize; LANES] =
            std::array::from_fn(|lane| low_bits(word >> (lane as u32 * TOTAL_BITS), TOTAL_BITS) as usize);
        reader.at += LANES * TOTAL_BITS as usize;
        let cells = self.cells.as_slice();
        let each = n / LANES;
        let (a, rest) = met.split_at_mut(each);
        let (b, rest) = rest.split_at_mut(each);
        let (c, d) = rest.split_at_mut(each);
        // The last of a lane leads nowhere.
        let rounds = each.saturating_sub(1);
        let lanes = a.iter_mut().zip(b.iter_mut()).zip(c.iter_mut()).zip(d.iter_mut());
        for (((a, b), c), d) in lanes.take(rounds) {
            let mut word = reader.peek();
            let mut taken = 0;
            for (to, state) in [a, b, c, d].into_iter().zip(&mut states) {
                let cell = cells[*state];
                *to = cell;
                *state = cell.next() + low_bits(word, cell.bits()) as usize;
                word >>= cell.bits();
                taken += cell.bits();
            }
            reader.at += taken as usize;
        }
        let [.., mut state] = states;
        for (lane, state) in [a, b, c].into_iter().zip(states) {
            if let Some(to) = lane.last_mut() {
                *to = cells[state];
            }
        }
        if let Some((last, rest)) = d.split_last_mut() {
            for to in rest.iter_mut().skip(rounds) {
                let cell = cells[state];
                *to = cell;
                state = cell.next() + low_bits(reader.peek(), cell.bits()) as usize;
                reader.at += cell.bits() as usize;
            }
            *last = cells[state];
        }
        bits.at = reader.at;
        met
    }

    /// The steps of `cells`, as many as there are or fit. On its own as well.
    #[inline(never)]
    fn steps(&self, bits: &mut BitReader<'_>, cells: &[Cell], steps: &mut [u64; TILE]) {
        Arch::new().dispatch(Steps { extra_max: self.extra_max, bits, cells, steps });
    }
}

/// What is compiled for the processor at hand. Structs, as closures are not always inlined where they have to be.
struct Walk<'a, 'b> {
    head: &'a Head,
    bits: &'a mut BitReader<'b>,
    n: usize,
}

impl NullaryFnOnce for Walk<'_, '_> {
    type Output = Vec<Cell>;

    #[inline(always)]
    fn call(self) -> Vec<Cell> {
        self.head.walk(self.bits, self.n)
    }
}

/// The same.
struct Steps<'a, 'b> {
    extra_max: u32,
    bits: &'a mut BitReader<'b>,
    cells: &'a [Cell],
    steps: &'a mut [u64; TILE],
}

impl NullaryFnOnce for Steps<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Steps { extra_max, bits, cells, steps } = self;
        // One loop a way of taking extra bits: none, few enough for four at a time, those of one word, more.
        match extra_max {
            0 => steps.iter_mut().zip(cells).for_each(|(to, cell)| *to = cell.token() as u64),
            max if max <= WORD_BITS / 4 => bits.steps::<4>(cells, steps),
            max if max <= WORD_BITS => bits.steps::<1>(cells, steps),
            _ => bits.long_steps(cells, steps),
        }
    }
}

/// Where the values of a page have got to.
struct Sums {
    shape: Shape,
    value: i64,
    slope: i64,
}

/// Appends what `n` steps stand for, a tile at a time; `next` gives those from a place on.
#[inline(always)]
fn put_values<T>(
    values: &mut Vec<T>,
    sums: &mut Sums,
    n: usize,
    of: impl Fn(i64) -> T,
    mut next: impl FnMut(usize, &mut [u64; TILE]),
) {
    let (mut tile, mut list) = ([0; TILE], [0; TILE]);
    let Shape { order, base, .. } = sums.shape;
    for from in (0..n).step_by(TILE) {
        next(from, &mut tile);
        // What lies past the last value spoils the sums only after they are used.
        for (to, &step) in list.iter_mut().zip(&tile) {
            *to = base.wrapping_add(unzigzag(step));
        }
        if order == 2 {
            sum_up(&mut list, &mut sums.slope);
        }
        if order >= 1 {
            sum_up(&mut list, &mut sums.value);
        }
        values.extend(list[..TILE.min(n - from)].iter().map(|&v| of(v)));
    }
}

impl BitReader<'_> {
    /// The steps of `cells`, as many as there are or fit, `TOGETHER` of one word.
    #[inline(always)]
    fn steps<const TOGETHER: usize>(&mut self, cells: &[Cell], steps: &mut [u64; TILE]) {
        let mut reader = BitReader { ..*self };
        let cells = &cells[..cells.len().min(TILE)];
        for (steps, cells) in steps.chunks_exact_mut(TOGETHER).zip(cells.chunks(TOGETHER)) {
            let mut word = reader.peek();
            let mut taken = 0;
            for (step, &cell) in steps.iter_mut().zip(cells) {
                let (least, extra) = OF_TOKEN[cell.token()];
                *step = least + low_bits(word, extra);
                word >>= extra;
                taken += extra;
            }
            reader.at += taken as usize;
        }
        self.at = reader.at;
    }

    /// The same where a word may be too short for one.
    fn long_steps(&mut self, cells: &[Cell], steps: &mut [u64; TILE]) {
        for (step, cell) in steps.iter_mut().zip(cells) {
            let (least, extra) = OF_TOKEN[cell.token()];
            let low = extra.min(u32::BITS);
            *step = least + low_bits(self.peek(), low);
            self.at += low as usize;
            *step += low_bits(self.peek(), extra - low) << low;
            self.at += (extra - low) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(head: &[u8], page: &[u8], count: usize) -> Result<Vec<i64>, Error> {
        let mut input = Input::new("t", 0, head);
        let head = Head::get(&mut input)?;
        input.end()?;
        head.page_as(&mut Input::new("t", 0, page), count, |value| value)
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
