//! Integers of all blocks of one column, packed with what they have in common.
//!
//! Owns: *sequences*: a head that belongs to the column and a page a block. A block needs the head and its own page,
//! none of its neighbours. Both are pco's wrapped format or `coded`, whichever is smaller. Does not own: where heads
//! and pages lie (`segment`).

use pco::wrapped::{ChunkDecompressor, FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DecompressorScratch, PagingSpec};
use pulp::Arch;

use super::coded;
use super::mapping::Mapping;
use crate::error::Error;
use crate::varint::{Input, put_varint};

/// pco's level: 8 is its own default, and where the size stops falling by much.
const PCO_LEVEL: usize = 8;

/// Fewer integers than this do not pay for a head.
const INTEGERS_MIN: usize = 64;

/// Blocks that tell which of the two is smaller.
const SAMPLE_BLOCKS: usize = 4;

/// Sequences of one column: integers, and corrections of floats.
const SEQUENCES_MAX: usize = 2;

/// Bytes of one head. pco's hold at most some thousand bins of a few bytes each.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// Bits of the count of sequences: set where sequence 0, or 1, is coded rather than pco's.
const CODED: [u8; SEQUENCES_MAX] = [0b01_0000, 0b10_0000];

/// A packed sequence.
#[derive(Debug)]
pub(crate) struct Packed {
    coded: bool,
    head: Vec<u8>,
    /// One a block.
    pages: Vec<Vec<u8>>,
}

impl Packed {
    /// `integers` of blocks of these `lengths`, none 0. `None` where there are too few, or pco declines.
    pub(crate) fn of(integers: &[i64], lengths: &[usize]) -> Option<Packed> {
        if integers.len() < INTEGERS_MIN {
            return None;
        }
        let coded = coded::encode(integers, lengths).map(|(head, pages)| Packed { coded: true, head, pages });
        let pco = match &coded {
            Some(coded) if coded.beats_pco(integers, lengths) => None,
            _ => Packed::by_pco(integers, lengths),
        };
        match (coded, pco) {
            (Some(coded), Some(pco)) => Some(if coded.bytes() < pco.bytes() { coded } else { pco }),
            (coded, pco) => coded.or(pco),
        }
    }

    /// Whether pages are clearly smaller than pco's, going by a few blocks: pco takes most of the time there is.
    fn beats_pco(&self, integers: &[i64], lengths: &[usize]) -> bool {
        if lengths.len() < 4 * SAMPLE_BLOCKS {
            return false;
        }
        let from = lengths.len() / 2;
        let start: usize = lengths[..from].iter().sum();
        let lengths = &lengths[from..from + SAMPLE_BLOCKS];
        let Some(sample) = integers.get(start..start + lengths.iter().sum::<usize>()) else { return false };
        let bytes = |pages: &[Vec<u8>]| pages.iter().map(Vec::len).sum::<usize>();
        Packed::by_pco(sample, lengths)
            .is_some_and(|pco| bytes(&self.pages[from..from + SAMPLE_BLOCKS]) < bytes(&pco.pages))
    }

    fn by_pco(integers: &[i64], lengths: &[usize]) -> Option<Packed> {
        let config = ChunkConfig::default()
            .with_compression_level(PCO_LEVEL)
            .with_paging_spec(PagingSpec::Exact(lengths.to_vec()));
        let file = FileCompressor::default();
        let mut chunk = file.chunk_compressor(integers, &config).ok()?;
        let head = chunk.write_meta(file.write_header(Vec::new()).ok()?).ok()?;
        let page = |i| chunk.write_page(i, Vec::new()).ok();
        let pages = (0..lengths.len()).map(page).collect::<Option<Vec<_>>>()?;
        Some(Packed { coded: false, head, pages })
    }

    fn bytes(&self) -> usize {
        self.head.len() + self.pages.iter().map(Vec::len).sum::<usize>()
    }

    /// Bytes of the head.
    pub(crate) fn head_bytes(&self) -> usize {
        self.head.len()
    }

    /// Appends the page of block `i`; the decoder must be told where it ends.
    pub(crate) fn put_last_page(&self, out: &mut Vec<u8>, i: usize) {
        out.extend_from_slice(&self.pages[i]);
    }

    /// Appends the page of block `i` and how long it is.
    pub(crate) fn put_page(&self, out: &mut Vec<u8>, i: usize) {
        put_varint(out, self.pages[i].len() as u64);
        self.put_last_page(out, i);
    }
}

/// Appends the heads of a column's sequences.
pub(crate) fn put_heads(out: &mut Vec<u8>, sequences: &[Packed]) {
    let coded = sequences.iter().zip(CODED).filter(|(s, _)| s.coded);
    out.push(coded.fold(sequences.len() as u8, |count, (_, bit)| count | bit));
    for sequence in sequences {
        put_varint(out, sequence.head.len() as u64);
        out.extend_from_slice(&sequence.head);
    }
}

/// The heads of a column's sequences, read.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    sequences: Vec<Sequence>,
    /// How the integers of a column of floats become those, where its blocks have that in common.
    pub(crate) mapping: Option<Mapping>,
}

#[derive(Debug)]
enum Sequence {
    Pco(Box<ChunkDecompressor<i64>>),
    Coded(coded::Head),
}

impl Sequence {
    fn get(file: &str, offset: u64, head: &[u8], coded: bool) -> Result<Sequence, Error> {
        let mut input = Input::new(file, offset, head);
        if coded {
            let head = coded::Head::get(&mut input)?;
            input.end()?;
            return Ok(Sequence::Coded(head));
        }
        match FileDecompressor::new(head).and_then(|(file, rest)| file.chunk_decompressor(rest)) {
            Ok((sequence, [])) => Ok(Sequence::Pco(Box::new(sequence))),
            Ok(_) => Err(input.damaged("the end of a head", "more bytes")),
            Err(e) => Err(input.damaged("the head of a sequence", e)),
        }
    }
}

/// Memory of the tables of one of pco's sequences, which does not tell; near enough to account for it.
const PCO_MEMORY: usize = 16 << 10;

impl Heads {
    /// Bytes of memory, near enough to account for it.
    pub(crate) fn memory(&self) -> usize {
        let of = |sequence: &Sequence| match sequence {
            Sequence::Pco(_) => PCO_MEMORY,
            Sequence::Coded(head) => head.memory(),
        };
        self.sequences.iter().map(of).sum()
    }

    pub(crate) fn get(input: &mut Input<'_>) -> Result<Heads, Error> {
        let tag = input.u8()?;
        let count = usize::from(tag & !(CODED[0] | CODED[1]));
        if count > SEQUENCES_MAX {
            return Err(input.damaged(&format!("at most {SEQUENCES_MAX} sequences"), count));
        }
        let mut sequences = Vec::with_capacity(count);
        for bit in CODED.into_iter().take(count) {
            let bytes = input.count("bytes of a head", HEAD_BYTES_MAX)?;
            let offset = input.offset();
            sequences.push(Sequence::get(input.file(), offset, input.take(bytes)?, tag & bit != 0)?);
        }
        Ok(Heads { sequences, mapping: None })
    }

    /// Reads the page of a block of `count` integers, of sequence `sequence`.
    pub(crate) fn page(
        &self,
        input: &mut Input<'_>,
        sequence: usize,
        count: usize,
    ) -> Result<Vec<i64>, Error> {
        let mut page = Heads::page_bytes(input)?;
        self.last_page(&mut page, sequence, count)
    }

    /// The bytes of a page that tells how long it is.
    pub(crate) fn page_bytes<'a>(input: &mut Input<'a>) -> Result<Input<'a>, Error> {
        let bytes = input.count("bytes of a page", input.left())?;
        let offset = input.offset();
        Ok(Input::new(input.file(), offset, input.take(bytes)?))
    }

    /// Reads the page of a block of `count` integers, of sequence `sequence`, which is all that is left.
    pub(crate) fn last_page(
        &self,
        input: &mut Input<'_>,
        sequence: usize,
        count: usize,
    ) -> Result<Vec<i64>, Error> {
        Arch::new().dispatch(
            #[inline(always)]
            || self.last_page_as(input, sequence, count, |value| value),
        )
    }

    /// The same, as what the integers stand for. Best compiled for the processor at hand: see `pulp::Arch`.
    #[inline(always)]
    pub(crate) fn last_page_as<T>(
        &self,
        input: &mut Input<'_>,
        sequence: usize,
        count: usize,
        of: impl Fn(i64) -> T + Copy,
    ) -> Result<Vec<T>, Error> {
        match self.sequences.get(sequence) {
            Some(Sequence::Pco(chunk)) => Ok(pco_page(chunk, input, count)?.into_iter().map(of).collect()),
            Some(Sequence::Coded(head)) => head.page_as(input, count, of),
            None => Err(input.damaged(&format!("one of {} sequences", self.sequences.len()), sequence)),
        }
    }
}

fn pco_page(chunk: &ChunkDecompressor<i64>, input: &mut Input<'_>, count: usize) -> Result<Vec<i64>, Error> {
    let page = input.rest();
    let mut scratch = DecompressorScratch::default();
    let mut integers = vec![0; count];
    let read = chunk
        .page_decompressor_with_scratch(page, count, &mut scratch)
        .and_then(|mut page| page.read(&mut integers));
    match read {
        Ok(progress) if progress.finished && progress.n_processed == count => Ok(integers),
        Ok(progress) => Err(input.damaged(&format!("{count} integers"), progress.n_processed)),
        Err(e) => Err(input.damaged("a page of integers", e)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lists() -> impl Strategy<Value = (Vec<i64>, Vec<usize>)> {
        let value = prop_oneof![any::<i64>().boxed(), (0..50_i64).boxed(), Just(i64::MIN).boxed()];
        (prop::collection::vec(1..90_usize, 1..6), prop::collection::vec(value, 540)).prop_map(
            |(lengths, mut list)| {
                list.truncate(lengths.iter().sum());
                (list, lengths)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn every_block_comes_back_alone((list, lengths) in lists()) {
            let Some(packed) = Packed::of(&list, &lengths) else {
                prop_assert!(list.len() < INTEGERS_MIN);
                return Ok(());
            };
            let mut head = Vec::new();
            put_heads(&mut head, std::slice::from_ref(&packed));
            let heads = Heads::get(&mut Input::new("t", 0, &head)).unwrap();
            let mut end = list.len();
            for (i, &len) in lengths.iter().enumerate().rev() {
                let mut page = Vec::new();
                packed.put_page(&mut page, i);
                let mut input = Input::new("t", 0, &page);
                prop_assert_eq!(&heads.page(&mut input, 0, len).unwrap(), &list[end - len..end]);
                end -= len;
            }
        }

        #[test]
        fn mutated_bytes_do_not_panic(
            (list, lengths) in lists(), at in any::<prop::sample::Index>(), byte in any::<u8>(), in_head in any::<bool>()
        ) {
            let Some(packed) = Packed::of(&list, &lengths) else { return Ok(()) };
            let (mut head, mut page) = (Vec::new(), Vec::new());
            put_heads(&mut head, std::slice::from_ref(&packed));
            packed.put_page(&mut page, 0);
            let bytes = if in_head { &mut head } else { &mut page };
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(heads) = Heads::get(&mut Input::new("t", 0, &head)) {
                let _ = heads.page(&mut Input::new("t", 0, &page), 0, lengths[0]);
            }
        }
    }
}
