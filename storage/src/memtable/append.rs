//! Columns that grow at their end while others read them.
//!
//! One writer pushes, any number of readers read what was pushed before they were told of it. A slot is an atomic
//! that is written once, so there is no lock on either side; only the list of chunks is behind one, taken by the
//! writer when it adds a chunk and by a reader once per scan.
//!
//! Ordering: slots are stored and loaded `Relaxed`; a reader learns of their number through something stored
//! `Release` after them and loaded `Acquire` before them (the published row count of a table).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;

/// An atomic that holds one value of a column.
pub(crate) trait Slot: Send + Sync + 'static {
    type Value: Copy;
    fn empty() -> Self;
    fn get(&self) -> Self::Value;
    fn set(&self, value: Self::Value);
}

macro_rules! slot {
    ($atomic:ty, $value:ty) => {
        impl Slot for $atomic {
            type Value = $value;
            fn empty() -> Self {
                <$atomic>::new(0)
            }
            #[inline]
            fn get(&self) -> $value {
                self.load(Ordering::Relaxed)
            }
            #[inline]
            fn set(&self, value: $value) {
                self.store(value, Ordering::Relaxed)
            }
        }
    };
}
slot!(AtomicU8, u8);
slot!(AtomicU32, u32);
slot!(AtomicU64, u64);

/// Slots of the first chunk; each next one is twice as long, up to [`CHUNK_LAST`]: a column with few values stays
/// small, one with many has few chunks.
const CHUNK_FIRST: usize = 64;
const CHUNK_LAST: usize = 8_192;
/// Chunks that grow: 64, 128, … 4096.
const GROWING: usize = (CHUNK_LAST / CHUNK_FIRST).trailing_zeros() as usize;
/// Slots in the growing chunks.
const GROWING_SLOTS: usize = CHUNK_FIRST * ((1 << GROWING) - 1);

fn chunk_len(chunk: usize) -> usize {
    if chunk < GROWING { CHUNK_FIRST << chunk } else { CHUNK_LAST }
}

/// The chunk of a slot and the place inside.
#[inline]
fn locate(i: usize) -> (usize, usize) {
    if i < GROWING_SLOTS {
        let chunk = (i / CHUNK_FIRST + 1).ilog2() as usize;
        (chunk, i - CHUNK_FIRST * ((1 << chunk) - 1))
    } else {
        let rest = i - GROWING_SLOTS;
        (GROWING + rest / CHUNK_LAST, rest % CHUNK_LAST)
    }
}

type Chunks<S> = Vec<Arc<[S]>>;

/// The shared side of a column: what readers hold.
pub(crate) struct Append<S: Slot> {
    chunks: RwLock<Chunks<S>>,
}

impl<S: Slot> Default for Append<S> {
    fn default() -> Self {
        Append { chunks: RwLock::new(Vec::new()) }
    }
}

impl<S: Slot> Append<S> {
    /// A view of what was pushed so far.
    pub(crate) fn read(&self) -> Reader<S> {
        Reader { chunks: self.chunks.read().clone() }
    }
}

/// A view of a column; slots that were pushed before it was made may be read.
pub(crate) struct Reader<S: Slot> {
    chunks: Chunks<S>,
}

impl<S: Slot> Reader<S> {
    /// Slot `i`.
    ///
    /// # Panics
    /// Where it was not pushed before this view was made.
    #[inline]
    pub(crate) fn get(&self, i: usize) -> S::Value {
        let (chunk, at) = locate(i);
        self.chunks[chunk][at].get()
    }
}

/// The writer's side of a column. There must be one writer a column; the types do not enforce it, the shard does.
pub(crate) struct Tail<S: Slot> {
    chunk: Option<Arc<[S]>>,
    used: usize,
    chunks: usize,
    len: usize,
}

impl<S: Slot> Default for Tail<S> {
    fn default() -> Self {
        Tail { chunk: None, used: 0, chunks: 0, len: 0 }
    }
}

impl<S: Slot> Tail<S> {
    /// How many slots were pushed.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Pushes a value to `column`, of which this is the tail; returns the bytes of memory taken for it.
    #[inline]
    pub(crate) fn push(&mut self, column: &Append<S>, value: S::Value) -> usize {
        let mut grown = 0;
        if self.chunk.as_ref().is_none_or(|c| c.len() == self.used) {
            grown = self.grow(column);
        }
        if let Some(chunk) = &self.chunk {
            chunk[self.used].set(value);
        }
        self.used += 1;
        self.len += 1;
        grown
    }

    /// Pushes all of `values`, chunk by chunk; returns the bytes of memory taken for them.
    pub(crate) fn extend(
        &mut self,
        column: &Append<S>,
        mut values: impl ExactSizeIterator<Item = S::Value>,
    ) -> usize {
        let mut grown = 0;
        while values.len() > 0 {
            if self.chunk.as_ref().is_none_or(|c| c.len() == self.used) {
                grown += self.grow(column);
            }
            let Some(chunk) = &self.chunk else { return grown };
            let before = values.len();
            // The slots come first: a zip that ends on them has taken no value too many.
            for (slot, value) in chunk[self.used..].iter().zip(&mut values) {
                slot.set(value);
            }
            let pushed = before - values.len();
            self.used += pushed;
            self.len += pushed;
        }
        grown
    }

    #[cold]
    fn grow(&mut self, column: &Append<S>) -> usize {
        let len = chunk_len(self.chunks);
        let chunk: Arc<[S]> = (0..len).map(|_| S::empty()).collect();
        column.chunks.write().push(Arc::clone(&chunk));
        self.chunk = Some(chunk);
        self.used = 0;
        self.chunks += 1;
        len * size_of::<S>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_one_place() {
        let mut expected = Vec::new();
        for chunk in 0..GROWING + 3 {
            expected.extend((0..chunk_len(chunk)).map(|at| (chunk, at)));
        }
        for (i, place) in expected.into_iter().enumerate() {
            assert_eq!(locate(i), place, "slot {i}");
        }
    }

    #[test]
    fn many_at_once_are_as_one_by_one() {
        let (one, many) = (Append::<AtomicU32>::default(), Append::<AtomicU32>::default());
        let (mut tail_of_one, mut tail_of_many) = (Tail::default(), Tail::default());
        let (mut next, mut bytes) = (0_u32, (0, 0));
        for len in [0, 1, 63, 64, 1, 200, 20_000, 0, 5] {
            bytes.1 += tail_of_many.extend(&many, (0..len).map(|i| next + i));
            (0..len).for_each(|i| bytes.0 += tail_of_one.push(&one, next + i));
            next += len;
            assert_eq!((tail_of_many.len(), bytes.1), (tail_of_one.len(), bytes.0));
        }
        let (one, many) = (one.read(), many.read());
        (0..next as usize).for_each(|i| assert_eq!((one.get(i), many.get(i)), (i as u32, i as u32)));
    }

    #[test]
    fn a_reader_sees_what_was_published_while_the_writer_goes_on() {
        let column = Arc::new(Append::<AtomicU64>::default());
        let published = Arc::new(AtomicU64::new(0));
        let writer = {
            let (column, published) = (Arc::clone(&column), Arc::clone(&published));
            std::thread::spawn(move || {
                let mut tail = Tail::default();
                for i in 0..200_000_u64 {
                    tail.push(&column, i * 3);
                    published.store(i + 1, Ordering::Release);
                }
            })
        };
        let mut seen = 0;
        while seen < 200_000 {
            seen = published.load(Ordering::Acquire);
            let reader = column.read();
            for i in (0..seen).step_by(977).chain(seen.checked_sub(1)) {
                assert_eq!(reader.get(i as usize), i * 3);
            }
        }
        writer.join().unwrap();
    }
}
