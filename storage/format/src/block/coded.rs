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

mod decode;
mod encode;

pub(crate) use decode::Head;
pub(crate) use encode::encode;

/// Frequencies of one context add up to this; so many states there are.
const TOTAL_BITS: u32 = 11;
const TOTAL: u32 = 1 << TOTAL_BITS;
/// From the state of one token to that of the next: odd, so that every state is met, and far, so that those of a
/// token are spread.
const SPREAD: u32 = (TOTAL >> 1) + (TOTAL >> 3) + 3;

/// Parts of a page that are decoded side by side.
const LANES: usize = 4;

/// Steps below this are tokens of their own; above it eight tokens share an octave.
const DIRECT: u64 = 16;
const DIRECT_BITS: u32 = 4;
const TOKENS: usize = DIRECT as usize + 8 * (64 - DIRECT_BITS as usize);

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

/// Bits that tell tokens apart.
const TOKEN_BITS: u32 = 9;
const _: () = assert!(TOKENS <= 1 << TOKEN_BITS);

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

#[cfg(test)]
mod tests;
