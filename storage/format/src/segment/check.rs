//! Whether a segment holds what it says it holds.
//!
//! Owns: decoding every value of a file and comparing it with index and statistics: what readers rely on without
//! looking. Does not own: checksums alone ([`Reader::verify`]), what the manifest says of the file (`storage`).

use wattline_model::ModelId;

use super::stats::Stats;
use super::{Chunk, Reader};
use crate::error::{Error, ErrorKind};

/// What [`Reader::check_values`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Rows.
    pub rows: u64,
    /// Samples.
    pub samples: u64,
    /// Blocks.
    pub blocks: u64,
}

impl Reader {
    /// Decodes everything, and checks that assets and times ascend, that times lie within their block's and their
    /// partition's, that statistics say what the values say, and that the summary counts right.
    ///
    /// # Errors
    /// Names the first place that does not check out.
    pub fn check_values(&self) -> Result<Counted, Error> {
        let mut counted = Counted::default();
        for model in self.models() {
            let mut last = None;
            for chunk in self.chunks(model) {
                self.check_chunk(model, chunk, &mut last, &mut counted)?;
            }
        }
        let summary = self.summary();
        if (counted.rows, counted.samples) != (summary.rows, summary.samples) {
            let what = format!(
                "expected {} rows and {} samples, found {} and {}",
                summary.rows, summary.samples, counted.rows, counted.samples
            );
            return Err(self.wrong(0, what));
        }
        Ok(counted)
    }

    /// `last` is the last (asset, time) of the model so far.
    fn check_chunk(
        &self,
        model: ModelId,
        chunk: &Chunk,
        last: &mut Option<(u32, i64)>,
        counted: &mut Counted,
    ) -> Result<(), Error> {
        let header = self.header();
        let partition = header.partition..header.partition.saturating_add(header.partition_micros);
        for (i, block) in chunk.blocks.iter().enumerate() {
            let wrong =
                |what: String| Err(self.wrong(chunk.place.start, format!("{model}, block {i}: {what}")));
            let times = self.times(chunk, i)?;
            let mut rest = &times[..];
            for (asset, rows) in chunk.runs_in(*block) {
                let (run, others) = rest.split_at_checked(rows).unwrap_or((rest, &[]));
                for &time in run {
                    if *last >= Some((asset.0, time)) || !partition.contains(&time) {
                        return wrong(format!("{asset} at {time} is out of order or of its partition"));
                    }
                    *last = Some((asset.0, time));
                }
                rest = others;
            }
            let found = (times.len(), times.iter().min().copied(), times.iter().max().copied());
            if found != (block.rows as usize, Some(block.first_time), Some(block.last_time)) {
                return wrong(format!("rows, first and last time are {found:?}, the index says {block:?}"));
            }
            counted.rows += u64::from(block.rows);
            counted.blocks += 1;
            for &point in self.points(chunk) {
                let column = self.column(chunk, i, point)?;
                let stats = self.stats(chunk, i, point)?;
                let values = column.as_ref().map(|c| &c.values);
                let found = values.and_then(|v| Stats::of(v, 0..v.len(), block.rows));
                if stats.as_ref().map(bits) != found.as_ref().map(bits) {
                    return wrong(format!("the statistics of {point} say {stats:?}, its values {found:?}"));
                }
                counted.samples += values.map_or(0, |v| v.len() as u64);
            }
        }
        Ok(())
    }

    fn wrong(&self, offset: u64, what: String) -> Error {
        Error::new(ErrorKind::Damaged, self.file(), offset, what)
    }
}

/// Statistics by bits: NaN equals itself.
fn bits(stats: &Stats) -> (u32, u32, Vec<u8>) {
    let mut bytes = Vec::new();
    stats.put(&mut bytes);
    (stats.count, stats.nulls, bytes)
}
