//! Encodings of the values of one block.
//!
//! Owns: what the bytes of a block's times, values, presence and qualities look like. Each encoder looks at the
//! values it is given and picks; each decoder needs nothing but the bytes and the counts. Does not own: which values
//! make a block, and where blocks lie (`segment`).

pub(crate) mod bitpack;
pub(crate) mod bools;
pub(crate) mod coded;
pub(crate) mod floats;
pub(crate) mod ints;
pub(crate) mod mapping;
pub(crate) mod patched;
pub(crate) mod presence;
pub(crate) mod quality;
pub(crate) mod shared;
pub(crate) mod texts;
pub(crate) mod times;
