//! Writes a segment: buffers the runs of one chunk, encodes it when it is full.

use std::ops::Range;

use wattline_model::{AssetId, Column, Kind, ModelId, PointId, Quality, Rows, Values};

use super::calendar;
use super::directory::{Builder, BuiltColumn, BuiltEntry, STATS_VALUES_MIN};
use super::index::{self, ChunkMeta, ModelChunks};
use super::stats::Stats;
use super::{BLOCK_ROWS, BlockRows, CHUNK_ROWS, Depth, Header, RUN_ROWS_ALONE, Run, Summary};
use crate::block::mapping::Mapping;
use crate::block::shared::Packed;
use crate::block::{bools, floats, ints, presence, quality, texts, times};
use crate::frame;

/// Values a chunk holds at most, whatever its rows: bounds the writer's memory for wide models.
const CHUNK_VALUES: usize = 1 << 20;
/// Bytes of texts a chunk holds at most.
const CHUNK_TEXT_BYTES: usize = 16 << 20;

/// Writes one segment. Pure: it hands out bytes, the caller puts them into a file.
#[derive(Debug)]
pub struct Writer {
    depth: Depth,
    models: Vec<ModelChunks<ChunkMeta>>,
    chunk: Buffer,
    out: Vec<u8>,
    /// Bytes handed out by [`take`](Self::take).
    taken: u64,
    summary: Summary,
}

/// The rows of the chunk that is being gathered.
#[derive(Debug, Default)]
struct Buffer {
    model: ModelId,
    runs: Vec<Run>,
    times: Vec<i64>,
    columns: Vec<Gathered>,
    values: usize,
    text_bytes: usize,
}

/// The values of one point gathered so far; `Rows::All` means "every row up to here".
#[derive(Debug)]
struct Gathered {
    point: PointId,
    rows: Rows,
    values: Values,
    quality: Option<Vec<Quality>>,
}

impl Writer {
    /// A writer of an empty segment.
    pub fn new(header: Header, depth: Depth) -> Writer {
        let summary =
            Summary { rows: 0, samples: 0, models: 0, bytes: 0, first_time: 0, last_time: 0, checksum: 0 };
        let out = index::encode_header(&header);
        Writer { depth, models: Vec::new(), chunk: Buffer::default(), out, taken: 0, summary }
    }

    /// Adds rows of one asset. Runs come in (model, asset) order; an asset may come again with later times.
    /// `times` are strictly ascending microseconds; a column's rows are places in `times`.
    ///
    /// # Panics
    /// Where order or lengths are not as said, or a point changes its kind within a chunk: the caller is broken, and
    /// a segment written from it would be too.
    pub fn push_run(&mut self, model: ModelId, asset: AssetId, times: &[i64], columns: &[Column]) {
        if times.is_empty() {
            return;
        }
        assert!(times.is_sorted_by(|a, b| a < b), "times of {asset} are not strictly ascending");
        for column in columns {
            let len = column.values.len();
            let fits = match &column.rows {
                Rows::All => len == times.len(),
                Rows::Some(list) => {
                    let inside = list.last().is_none_or(|&last| (last as usize) < times.len());
                    len == list.len() && inside && list.is_sorted_by(|a, b| a < b)
                }
            };
            assert!(
                fits && column.quality.as_ref().is_none_or(|q| q.len() == len),
                "column {} of {asset}",
                column.point
            );
        }
        self.order(model, asset, times);
        let mut done = 0;
        while done < times.len() {
            let room = self.chunk.room(times.len() - done, asset);
            if room == 0 {
                self.close_chunk();
                continue;
            }
            self.chunk.model = model;
            let rows = room.min(times.len() - done);
            self.chunk.push(asset, &times[done..done + rows], columns, done as u32);
            done += rows;
        }
        let (first, last) = (times[0], times[times.len() - 1]);
        let empty = self.summary.rows == 0;
        self.summary.first_time = if empty { first } else { self.summary.first_time.min(first) };
        self.summary.last_time = if empty { last } else { self.summary.last_time.max(last) };
        self.summary.rows += times.len() as u64;
        self.summary.samples += columns.iter().map(|c| c.values.len() as u64).sum::<u64>();
    }

    /// Closes the chunk where the model changes, and checks the order.
    fn order(&mut self, model: ModelId, asset: AssetId, times: &[i64]) {
        let last_model = self.models.last().map(|m| m.model);
        if last_model != Some(model) {
            assert!(last_model.is_none_or(|last| last < model), "{model} comes after {last_model:?}");
            self.close_chunk();
            self.models.push(ModelChunks { model, chunks: Vec::new() });
            return;
        }
        let chunk_last = self.chunk.runs.last().map(|r| (r.asset, self.chunk.times.last().copied()));
        let index_last = || {
            let chunk = self.models.last().and_then(|m| m.chunks.last())?;
            Some((chunk.runs.last()?.asset, chunk.blocks.last().map(|b| b.last_time)))
        };
        if let Some((last_asset, last_time)) = chunk_last.or_else(index_last) {
            let later = last_asset == asset && last_time < times.first().copied();
            assert!(last_asset < asset || later, "{asset} does not come after {last_asset}");
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.summary.rows
    }

    /// The bytes to append to the file since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        self.taken += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// Ends the segment: the rest of the file, and what it holds.
    pub fn finish(mut self) -> (Vec<u8>, Summary) {
        self.close_chunk();
        self.models.retain(|m| !m.chunks.is_empty());
        self.summary.models = self.models.len() as u32;
        let written = self.taken + self.out.len() as u64;
        let (index, summary) = index::encode_index(&self.models, written, self.summary);
        self.out.extend_from_slice(&index);
        (self.out, summary)
    }

    fn close_chunk(&mut self) {
        if self.chunk.runs.is_empty() {
            return;
        }
        let chunk = std::mem::take(&mut self.chunk);
        let meta = encode_chunk(&mut self.out, chunk, self.depth);
        self.models.last_mut().expect("a chunk has a model").chunks.push(meta);
    }
}

impl Buffer {
    /// How many of `rows` rows of `asset` this chunk takes; 0 = close it first.
    fn room(&self, rows: usize, asset: AssetId) -> usize {
        if self.values >= CHUNK_VALUES || self.text_bytes >= CHUNK_TEXT_BYTES {
            return 0;
        }
        let room = CHUNK_ROWS - self.times.len();
        let goes_on = self.runs.last().is_none_or(|r| r.asset == asset);
        // A run that does not fit starts a chunk of its own, so that its blocks lie together.
        let take = if rows <= room || goes_on { room } else { 0 };
        // By steps, so that the limits on values are looked at on the way.
        take.min(8 * BLOCK_ROWS)
    }

    /// Adds `times` and what `columns` have for rows `from..from + times.len()`.
    fn push(&mut self, asset: AssetId, times: &[i64], columns: &[Column], from: u32) {
        let base = self.times.len() as u32;
        let rows = times.len() as u32;
        match self.runs.last_mut() {
            Some(run) if run.asset == asset => run.rows += rows,
            _ => self.runs.push(Run { asset, first_row: base, rows }),
        }
        self.times.extend_from_slice(times);
        let mut hint = 0;
        for column in columns {
            let (start, end) = match &column.rows {
                Rows::All => (from as usize, (from + rows) as usize),
                Rows::Some(list) => {
                    (list.partition_point(|&r| r < from), list.partition_point(|&r| r < from + rows))
                }
            };
            if start == end {
                continue;
            }
            let gathered = self.gathered(column, &mut hint);
            let listed = match &column.rows {
                Rows::All => None,
                Rows::Some(list) if end - start == rows as usize => {
                    debug_assert_eq!(list[start], from);
                    None
                }
                Rows::Some(list) => Some(&list[start..end]),
            };
            gathered.push_rows(base, rows, listed.map(|l| l.iter().map(|&r| r - from + base)));
            let before = gathered.values.len();
            gathered.push_quality(before, column.quality.as_ref().map(|q| &q[start..end]), end - start);
            let text_bytes = gathered.push_values(&column.values, start, end);
            self.values += end - start;
            self.text_bytes += text_bytes;
        }
    }

    /// The gathered column of `column`'s point. Columns mostly come in the same order: `hint` is where to look first.
    fn gathered(&mut self, column: &Column, hint: &mut usize) -> &mut Gathered {
        let guess = *hint;
        let found = if self.columns.get(guess).is_some_and(|g| g.point == column.point) {
            Some(guess)
        } else {
            self.columns.iter().position(|g| g.point == column.point)
        };
        let place = found.unwrap_or_else(|| {
            let values = Values::new(column.values.kind());
            self.columns.push(Gathered { point: column.point, rows: Rows::All, values, quality: None });
            self.columns.len() - 1
        });
        *hint = place + 1;
        let gathered = &mut self.columns[place];
        assert_eq!(gathered.values.kind(), column.values.kind(), "the kind of {}", column.point);
        gathered
    }
}

impl Gathered {
    fn push_rows(&mut self, base: u32, rows: u32, listed: Option<impl Iterator<Item = u32>>) {
        let have = self.values.len() as u32;
        if self.rows == Rows::All && (listed.is_some() || have < base) {
            self.rows = Rows::Some((0..have).collect());
        }
        if let Rows::Some(list) = &mut self.rows {
            match listed {
                Some(listed) => list.extend(listed),
                None => list.extend(base..base + rows),
            }
        }
    }

    fn push_quality(&mut self, before: usize, quality: Option<&[Quality]>, count: usize) {
        if quality.is_some() && self.quality.is_none() {
            self.quality = Some(vec![Quality::GOOD; before]);
        }
        if let Some(list) = &mut self.quality {
            match quality {
                Some(quality) => list.extend_from_slice(quality),
                None => list.resize(before + count, Quality::GOOD),
            }
        }
    }

    /// Returns how many bytes of text were added.
    fn push_values(&mut self, values: &Values, start: usize, end: usize) -> usize {
        match (&mut self.values, values) {
            (Values::Float(to), Values::Float(from)) => to.extend_from_slice(&from[start..end]),
            (Values::Int(to), Values::Int(from)) => to.extend_from_slice(&from[start..end]),
            (Values::Bool(to), Values::Bool(from)) => to.extend_from_slice(&from[start..end]),
            (Values::Text(to), Values::Text(from)) => {
                let before = to.text().len();
                (start..end).for_each(|i| to.push(from.get(i)));
                return to.text().len() - before;
            }
            _ => unreachable!("kinds were compared"),
        }
        0
    }
}

/// How many times [`BLOCK_ROWS`] rows a block takes for as many values of its fullest column: what a block costs is
/// paid by values, and where 500 points take turns, each has a value in every 500th row.
fn sparseness(chunk: &Buffer) -> usize {
    let fullest = chunk.columns.iter().map(|c| c.values.len()).max().unwrap_or(0);
    chunk.times.len() / fullest.max(1)
}

/// The blocks of a chunk: a run of [`RUN_ROWS_ALONE`] rows or more gets blocks of its own, which end where people's
/// hours and days do if they can, and else are all about the same length; shorter runs are packed together, none cut in
/// two. Both limits are times `sparseness`.
fn lay_out_blocks(runs: &[Run], times: &[i64], sparseness: usize) -> Vec<BlockRows> {
    let block_rows = (BLOCK_ROWS * sparseness.max(1)).min(CHUNK_ROWS);
    let alone = RUN_ROWS_ALONE * (block_rows / BLOCK_ROWS);
    let mut rows: Vec<usize> = Vec::new();
    let mut packed = 0;
    for run in runs {
        let len = run.rows as usize;
        if packed > 0 && (len >= alone || packed + len > block_rows) {
            rows.push(std::mem::take(&mut packed));
        }
        if len >= alone {
            let times = &times[run.first_row as usize..(run.first_row + run.rows) as usize];
            match calendar::cuts(times, alone, block_rows) {
                Some(blocks) => rows.extend(blocks),
                None => {
                    let blocks = len.div_ceil(block_rows);
                    rows.extend((0..blocks).map(|i| (i + 1) * len / blocks - i * len / blocks));
                }
            }
        } else {
            packed += len;
        }
    }
    if packed > 0 {
        rows.push(packed);
    }
    let mut first_row = 0;
    let block = |len: usize| {
        let times = &times[first_row..first_row + len];
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for &time in times {
            (first, last) = (first.min(time), last.max(time));
        }
        let block =
            BlockRows { first_row: first_row as u32, rows: len as u32, first_time: first, last_time: last };
        first_row += len;
        block
    };
    rows.into_iter().map(block).collect()
}

fn encode_chunk(out: &mut Vec<u8>, mut chunk: Buffer, depth: Depth) -> ChunkMeta {
    let start = out.len();
    chunk.columns.sort_unstable_by_key(|c| c.point);
    let blocks = lay_out_blocks(&chunk.runs, &chunk.times, sparseness(&chunk));
    let block_rows: Vec<u32> = blocks.iter().map(|b| b.rows).collect();
    let mut directory = Builder::default();
    let mut payload = Vec::new();
    let mut run = chunk.runs.iter().peekable();
    for block in &blocks {
        let (first, end) = (block.first_row, block.first_row + block.rows);
        let mut lengths = Vec::new();
        while let Some(r) = run.peek().filter(|r| r.first_row < end) {
            let run_end = r.first_row + r.rows;
            lengths.push((run_end.min(end) - r.first_row.max(first)) as usize);
            if run_end > end {
                break;
            }
            run.next();
        }
        payload.clear();
        let times = &chunk.times[first as usize..end as usize];
        // Times of one asset at even steps follow from what the index says of the block.
        if lengths.len() > 1
            || times::even(block.first_time, block.last_time, times.len()).as_deref() != Some(times)
        {
            times::encode(&mut payload, times, &lengths);
        }
        directory.time(out, &payload);
    }
    for column in &chunk.columns {
        let built = encode_column(column, &blocks, depth);
        directory.column(out, column.values.kind(), &block_rows, &built);
    }
    let data_bytes = (out.len() - start) as u64;
    let directory = directory.finish();
    out.extend_from_slice(&directory);
    ChunkMeta {
        runs: chunk.runs,
        blocks,
        points: chunk.columns.iter().map(|c| c.point).collect(),
        data_bytes,
        directory_bytes: directory.len() as u64,
        directory_checksum: frame::checksum_u32(&directory),
    }
}

/// The places of a column's values in one block.
struct Span {
    block: usize,
    start: usize,
    end: usize,
}

/// Which values of `column` fall into which block; blocks without any are left out.
fn spans(column: &Gathered, blocks: &[BlockRows]) -> Vec<Span> {
    let mut spans = Vec::with_capacity(blocks.len());
    let mut start = 0;
    for (i, block) in blocks.iter().enumerate() {
        let block_end = block.first_row + block.rows;
        let end = match &column.rows {
            Rows::All => (block_end as usize).min(column.values.len()),
            Rows::Some(list) => start + list[start..].partition_point(|&r| r < block_end),
        };
        if start < end {
            spans.push(Span { block: i, start, end });
        }
        start = end;
    }
    spans
}

fn encode_column(column: &Gathered, blocks: &[BlockRows], depth: Depth) -> BuiltColumn {
    let spans = spans(column, blocks);
    let choice = match &column.values {
        Values::Float(v) => Mapping::choose(v),
        _ => (Mapping::Bits, false),
    };
    let mut payloads: Vec<Vec<u8>> =
        spans.iter().map(|s| encode_values(&column.values, s.start..s.end, depth, choice)).collect();
    let mut sequences = Vec::new();
    if depth == Depth::Deep
        && let Some((shared, shared_payloads)) = encode_shared(&column.values, &spans, choice)
    {
        let heads: usize = shared.iter().map(Packed::head_bytes).sum();
        let bytes = |list: &[Vec<u8>]| list.iter().map(Vec::len).sum::<usize>();
        if heads + bytes(&shared_payloads) < bytes(&payloads) {
            (payloads, sequences) = (shared_payloads, shared);
        }
    }
    let entry = |(span, values): (&Span, Vec<u8>)| {
        let rows = blocks[span.block];
        let count = span.end - span.start;
        let mut payload = Vec::with_capacity(values.len());
        if count < rows.rows as usize {
            let positions: Vec<u32> = match &column.rows {
                Rows::All => (0..count as u32).collect(),
                Rows::Some(list) => list[span.start..span.end].iter().map(|&r| r - rows.first_row).collect(),
            };
            presence::encode(&mut payload, &positions, rows.rows as usize);
        }
        if let Some(quality) = &column.quality {
            quality::encode(&mut payload, &quality[span.start..span.end]);
        }
        payload.extend_from_slice(&values);
        let stats =
            (count >= STATS_VALUES_MIN).then(|| Stats::of(&column.values, span.start..span.end, rows.rows));
        BuiltEntry {
            block: span.block,
            count: count as u32,
            quality: column.quality.is_some(),
            stats: stats.flatten(),
            payload,
        }
    };
    let mapping = (column.values.kind() == Kind::Float).then_some(choice.0);
    BuiltColumn { entries: spans.iter().zip(payloads).map(entry).collect(), sequences, mapping }
}

fn encode_values(values: &Values, range: Range<usize>, depth: Depth, choice: (Mapping, bool)) -> Vec<u8> {
    let mut out = Vec::new();
    match values {
        Values::Float(v) => floats::encode(&mut out, &v[range], choice),
        Values::Int(v) => ints::encode(&mut out, &v[range]),
        Values::Bool(v) => bools::encode(&mut out, &v[range]),
        Values::Text(v) => {
            let texts: Vec<&str> = range.map(|i| v.get(i)).collect();
            texts::encode(&mut out, &texts, depth.zstd_level());
        }
    }
    out
}

fn encode_shared(
    values: &Values,
    spans: &[Span],
    choice: (Mapping, bool),
) -> Option<(Vec<Packed>, Vec<Vec<u8>>)> {
    let lengths: Vec<usize> = spans.iter().map(|s| s.end - s.start).collect();
    match values {
        Values::Float(v) => floats::encode_shared(v, &lengths, choice),
        Values::Int(v) => ints::encode_shared(v, &lengths),
        Values::Bool(_) | Values::Text(_) => None,
    }
}
