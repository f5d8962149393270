//! Reads the head and the pages of a coded column.
//!
//! The two loops that take bits stand on their own, so that each has the registers to itself: first the cells that the
//! lanes walk through, then, a tile at a time, the steps that these and the extra bits give. Sums and what values
//! stand for follow while the tile is near.

use pulp::{Arch, NullaryFnOnce};

use super::{
    CONTEXTS, LANES, OF_TOKEN, ORDER_MAX, Shape, TOKEN_BITS, TOKENS, TOTAL, TOTAL_BITS, context, of_token,
    spread,
};
use crate::block::bitpack::TILE;
use crate::block::ints::{self, sum_up};
use crate::error::Error;
use crate::varint::{Input, unzigzag};

/// Bits that [`BitReader::peek`] surely gives.
const WORD_BITS: u32 = 57;

const _: () =
    assert!(LANES as u32 * TOTAL_BITS <= WORD_BITS, "the bits of a step of every lane are one word");

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

/// Bits that tell how many bits follow a token.
const STEP_BITS: u32 = 4;
const _: () = assert!(TOTAL_BITS < 1 << STEP_BITS);

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
    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Head>() + self.cells.len() * size_of::<Cell>()
    }

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
        let (together, single) = cells[..cells.len().min(TILE)].as_chunks::<TOGETHER>();
        let (steps_together, steps_single) = steps.split_at_mut(together.len() * TOGETHER);
        for (steps, cells) in steps_together.as_chunks_mut::<TOGETHER>().0.iter_mut().zip(together) {
            let mut word = reader.peek();
            let mut taken = 0;
            for (step, cell) in steps.iter_mut().zip(cells) {
                let (least, extra) = OF_TOKEN[cell.token()];
                *step = least + low_bits(word, extra);
                word >>= extra;
                taken += extra;
            }
            reader.at += taken as usize;
        }
        for (step, cell) in steps_single.iter_mut().zip(single) {
            let (least, extra) = OF_TOKEN[cell.token()];
            *step = least + low_bits(reader.peek(), extra);
            reader.at += extra as usize;
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
