//! Bytes of a CSV file to records.
//!
//! Owns: splitting lines into fields, line numbers and byte offsets, the verbatim text of a line, its limits, and
//! telling a truncated file from a whole one. Does not own: what a field means (`columns`), encodings (`text`).
//!
//! The splitting itself is `csv-core`'s state machine; this module gives it a sliding buffer that always holds the
//! whole current record, so that a bad line can be shown as it came.

use std::io::Read;

use csv_core::ReadRecordResult;

use super::args::Dialect;

/// Bytes of one record at most. A longer one is a quote that nobody closed.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Fields of one record at most: the widest model has 10,000 points.
const FIELDS_MAX: usize = 1 << 15;
/// First size of the buffer, and how much is read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads records.
pub struct Records<R> {
    source: R,
    core: csv_core::Reader,
    quote: Option<u8>,
    buffer: Vec<u8>,
    /// Where the current record begins in `buffer`, how far it was split, how far the buffer is filled.
    start: usize,
    split: usize,
    filled: usize,
    ended: bool,
    /// Offset in the file of `buffer[start]`, and the line it is on.
    offset: u64,
    line: u64,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

/// One record.
pub struct Record<'a> {
    /// Line it begins on, from 1.
    pub line: u64,
    /// Lines it covers; more than one where a quoted field holds line ends.
    pub lines: u64,
    /// Byte it begins at.
    pub offset: u64,
    /// Its bytes, without the line end.
    pub raw: &'a [u8],
    /// Whether the file ended before a line end did, and if so, whether inside a quoted field.
    pub cut: Option<Cut>,
    fields: &'a [u8],
    ends: &'a [usize],
}

/// How a file ended that does not end with a line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Without a line end. Harmless where the record is complete.
    Line,
    /// Inside a quoted field.
    Quote,
}

/// Why reading stopped.
#[derive(Debug)]
pub enum Stop {
    /// The file cannot be read.
    Io(std::io::Error),
    /// A record passes [`RECORD_BYTES_MAX`] or the number of fields: begins on this line.
    TooLong {
        /// First line of the record.
        line: u64,
    },
}

impl Record<'_> {
    /// How many fields.
    pub fn width(&self) -> usize {
        self.ends.len()
    }

    /// Field `i`, unquoted; `None` where the record is shorter.
    pub fn field(&self, i: usize) -> Option<&[u8]> {
        let end = *self.ends.get(i)?;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        Some(&self.fields[start..end])
    }

    /// Every field.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.width()).filter_map(|i| self.field(i))
    }
}

impl<R: Read> Records<R> {
    /// Records of `source`.
    pub fn new(source: R, dialect: &Dialect) -> Records<R> {
        let mut builder = csv_core::ReaderBuilder::new();
        builder.delimiter(dialect.delimiter).comment(dialect.comment);
        match dialect.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        Records {
            source,
            core: builder.build(),
            quote: dialect.quote,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            split: 0,
            filled: 0,
            ended: false,
            offset: 0,
            line: 1,
            fields: vec![0; 4096],
            ends: vec![0; 64],
        }
    }

    /// Bytes taken from the file so far.
    pub fn bytes_read(&self) -> u64 {
        self.offset + (self.split - self.start) as u64
    }

    /// The next record, or `None` at the end.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Stop> {
        self.pass_record();
        let (mut fields, mut ends) = (0, 0);
        loop {
            if self.split == self.filled && !self.ended {
                self.fill()?;
            }
            let input = &self.buffer[self.split..self.filled];
            let (result, read, written, found) =
                self.core.read_record(input, &mut self.fields[fields..], &mut self.ends[ends..]);
            self.split += read;
            fields += written;
            ends += found;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= FIELDS_MAX => {
                    return Err(Stop::TooLong { line: self.line });
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => return Ok(Some(self.record(fields, ends))),
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// Steps over the record handed out last.
    fn pass_record(&mut self) {
        let passed = &self.buffer[self.start..self.split];
        self.line += newlines(passed);
        self.offset += passed.len() as u64;
        self.start = self.split;
    }

    fn fill(&mut self) -> Result<(), Stop> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.split -= self.start;
            self.filled -= self.start;
            self.start = 0;
        }
        if self.filled == self.buffer.len() {
            if self.buffer.len() >= RECORD_BYTES_MAX {
                return Err(Stop::TooLong { line: self.line });
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    self.filled += read;
                    // csv-core takes a byte order mark off the first bytes it is given, and takes what is then
                    // empty for the end: it must see the three bytes of the mark and one more.
                    if self.offset == 0 && self.split == 0 && self.filled < 4 {
                        continue;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Stop::Io(e)),
            }
            return Ok(());
        }
    }

    /// The record that lies in `buffer[start..split]`, without the line ends before it that the state machine ate.
    fn record(&mut self, fields: usize, ends: usize) -> Record<'_> {
        let whole = &self.buffer[self.start..self.split];
        let lead = whole.iter().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        self.line += newlines(&whole[..lead]);
        self.offset += lead as u64;
        self.start += lead;
        let whole = &self.buffer[self.start..self.split];
        let closed = whole.last().is_some_and(|b| matches!(b, b'\n' | b'\r'));
        let raw = whole.strip_suffix(b"\n").unwrap_or(whole);
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let last = match ends {
            0 | 1 => &self.fields[..fields],
            _ => &self.fields[self.ends[ends - 2]..fields],
        };
        let odd = self.quote.is_some_and(|quote| is_open(quote, whole, last));
        let at_end = self.ended && self.split == self.filled;
        let cut = match (at_end, closed, odd) {
            (true, _, true) => Some(Cut::Quote),
            (true, false, false) => Some(Cut::Line),
            _ => None,
        };
        Record {
            line: self.line,
            lines: newlines(raw) + 1,
            offset: self.offset,
            raw,
            cut,
            fields: &self.fields[..fields],
            ends: &self.ends[..ends],
        }
    }
}

/// Whether `whole`, the last bytes of a file, ends inside a quoted field whose content is `last`.
///
/// Then quotes are odd in number, and the field, its quotes doubled again, reaches to the very end after one more.
fn is_open(quote: u8, whole: &[u8], last: &[u8]) -> bool {
    let quotes = |bytes: &[u8]| bytes.iter().filter(|b| **b == quote).count();
    let written = last.len() + quotes(last);
    let opener = whole.len().checked_sub(written + 1).and_then(|at| whole.get(at));
    !quotes(whole).is_multiple_of(2) && opener == Some(&quote)
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

#[cfg(test)]
mod tests;
