//! Data of COPY → batches, in bounded memory.
//!
//! Owns: how much is gathered, names in a first line, which line a row began at, how a bad row is told. Does not own:
//! the layouts (`lines`, `tuples`), the types (`columns`).

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{Buf as _, BytesMut};
use wattline_query::Destination;

use super::columns::Columns;
use super::lines::{Fields, Splitter, Writing};
use super::tuples::{Part, Reader};
use crate::pg::copy::Copy;
use crate::pg::encode::CopyForm;
use crate::pg::error::{PgError, state};
use crate::pg::limits::COPY_ROW_BYTES_MAX;
use crate::pg::time::Zone;

/// Rows and bytes of a batch: enough that the cost of a batch vanishes, little beside what the door holds.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 1 << 20;

/// Rows noted that take more than one line. Beyond that, rows are told by their number.
const PLACES_MAX: usize = 10_000;

/// Characters of a bad field that an error shows.
const SHOWN_CHARS: usize = 100;

/// Where rows began, to tell of one that the door refuses.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Whether there are lines at all.
    lines: bool,
    /// The first row from which on rows are so many lines further than their number; ascending.
    shifts: Vec<(u64, u64)>,
}

impl Places {
    /// The place of row `row`, from 1.
    pub fn of(&self, row: u64) -> String {
        if !self.lines || self.shifts.len() >= PLACES_MAX {
            return format!("row {row}");
        }
        let at = self.shifts.partition_point(|&(first, _)| first <= row);
        let shift = at.checked_sub(1).map_or(0, |at| self.shifts[at].1);
        format!("line {}", row + shift)
    }

    fn note(&mut self, row: u64, line: u64) {
        let shift = line.saturating_sub(row);
        if self.shifts.len() < PLACES_MAX && self.shifts.last().map_or(0, |last| last.1) != shift {
            self.shifts.push((row, shift));
        }
    }
}

#[derive(Debug)]
enum Layout {
    Lines { splitter: Splitter, fields: Fields, header: Option<Header> },
    Tuples(Reader),
}

/// What is done with the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    Skip,
    Match,
}

/// Reads the data of one COPY.
#[derive(Debug)]
pub struct Decoder {
    table: String,
    layout: Layout,
    data: BytesMut,
    columns: Columns,
    places: Places,
    /// Rows so far, and the line the next one begins at, from 1.
    rows: u64,
    line: u64,
    /// Rows and bytes of the batch under way.
    held: (usize, usize),
    /// No more data will come.
    is_last: bool,
    /// The data said that they are at their end, whatever comes after.
    has_ended: bool,
}

impl Decoder {
    /// For the rows of `copy` into `destination`.
    pub fn new(destination: &Destination, copy: &Copy, zone: Zone) -> Decoder {
        let layout = match &copy.form {
            CopyForm::Binary => Layout::Tuples(Reader::default()),
            CopyForm::Text { delimiter, null, header } => {
                let null = null.clone().into_bytes();
                let writing = Writing::Text { delimiter: byte(*delimiter), null };
                Layout::of_lines(writing, *header, copy.header_match)
            }
            CopyForm::Csv { delimiter, null, header, quote, escape, .. } => {
                let [delimiter, quote, escape] = [*delimiter, *quote, *escape].map(byte);
                let writing = Writing::Csv { delimiter, null: null.clone().into_bytes(), quote, escape };
                Layout::of_lines(writing, *header, copy.header_match)
            }
        };
        let places = Places { lines: matches!(layout, Layout::Lines { .. }), shifts: Vec::new() };
        Decoder {
            table: destination.table.clone(),
            layout,
            data: BytesMut::new(),
            columns: Columns::new(destination, zone),
            places,
            rows: 0,
            line: 1,
            held: (0, 0),
            is_last: false,
            has_ended: false,
        }
    }

    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }

    /// Where rows began.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Takes the next data, after [`batch`](Self::batch) gave all it could.
    pub fn feed(&mut self, data: &[u8]) {
        if !self.has_ended {
            self.data.extend_from_slice(data);
        }
    }

    /// That was all.
    pub fn end(&mut self) {
        self.is_last = true;
    }

    /// Whether every row has been given.
    pub fn has_ended(&self) -> bool {
        self.is_last && self.held.0 == 0 && (self.data.is_empty() || self.has_ended)
    }

    /// The next batch; `None` where it needs more data, or there are none.
    ///
    /// # Errors
    /// Where data are no rows of the table.
    pub fn batch(&mut self) -> Result<Option<RecordBatch>, PgError> {
        while self.held.0 < BATCH_ROWS && self.held.1 < BATCH_BYTES {
            if !self.row()? {
                if self.is_last && self.held.0 > 0 {
                    break;
                }
                return Ok(None);
            }
        }
        self.held = (0, 0);
        self.columns.take().map(Some)
    }

    /// Reads a row, or what is beside rows; false where there is nothing whole.
    fn row(&mut self) -> Result<bool, PgError> {
        if self.has_ended {
            self.data.clear();
            return Ok(false);
        }
        let taken = match self.layout {
            Layout::Lines { .. } => self.row_of_line()?,
            Layout::Tuples(_) => self.row_of_tuple()?,
        };
        match taken {
            Some(bytes) => self.data.advance(bytes),
            None if self.data.len() > COPY_ROW_BYTES_MAX => {
                let message = format!("a row takes more than {COPY_ROW_BYTES_MAX} bytes");
                return Err(self.told(PgError::new(state::LIMIT, message), None, None));
            }
            None => {}
        }
        Ok(taken.is_some())
    }

    fn row_of_line(&mut self) -> Result<Option<usize>, PgError> {
        let Layout::Lines { splitter, fields, header } = &mut self.layout else { return Ok(None) };
        let bad = |message: &str| PgError::new(state::BAD_COPY, message);
        let end = match splitter.line(&self.data, self.is_last) {
            Ok(Some(end)) => end,
            Ok(None) => return Ok(None),
            Err(fault) => return Err(self.told(bad(fault), None, None)),
        };
        let whole = &self.data[..end];
        let breaks = whole.iter().filter(|&&byte| byte == b'\n').count().max(1) as u64;
        let line = splitter.content(whole);
        if line == b"\\." {
            self.has_ended = true;
            return Ok(Some(end));
        }
        let header = header.take();
        let mut fields = std::mem::take(fields);
        if let Err(fault) = splitter.fields(line, &mut fields) {
            return Err(self.told(bad(fault), None, None));
        }
        if header == Some(Header::Skip) {
            self.line += breaks;
            return Ok(Some(end));
        }
        let (found, wanted) = (fields.len(), self.columns.len());
        if found > wanted {
            return Err(self.told(bad("extra data after last expected column"), None, None));
        }
        if found < wanted {
            let message = format!("missing data for column \"{}\"", self.columns.name(found));
            return Err(self.told(bad(&message), None, None));
        }
        let texts = match fields.texts() {
            Ok(texts) => texts,
            Err(i) => {
                let message = "invalid byte sequence for encoding \"UTF8\"";
                return Err(self.told(PgError::new(state::BAD_TEXT_BYTES, message), Some(i), None));
            }
        };
        for (i, text) in texts.iter().enumerate() {
            if header == Some(Header::Match) {
                if text != Some(self.columns.name(i)) {
                    let wanted = self.columns.name(i);
                    let message = format!(
                        "column name mismatch in header line: expected \"{wanted}\" in field {}",
                        i + 1
                    );
                    return Err(self.told(bad(&message), None, text));
                }
            } else if let Err(error) = self.columns.text(i, text) {
                return Err(self.told(error, Some(i), text));
            }
        }
        if let Layout::Lines { fields: kept, .. } = &mut self.layout {
            *kept = fields;
        }
        if header.is_none() {
            self.count(end);
        }
        self.line += breaks;
        Ok(Some(end))
    }

    fn row_of_tuple(&mut self) -> Result<Option<usize>, PgError> {
        let Layout::Tuples(reader) = &mut self.layout else { return Ok(None) };
        let bad = |message: &str| PgError::new(state::BAD_COPY, message);
        let part = match reader.part(&self.data) {
            Ok(part) => part,
            Err(fault) => return Err(self.told(bad(fault), None, None)),
        };
        match part {
            Part::Wait if self.is_last && !reader.may_end(&self.data) => {
                Err(self.told(bad("unexpected EOF in COPY data"), None, None))
            }
            Part::Wait => Ok(None),
            Part::Head(bytes) => Ok(Some(bytes)),
            // The trailer stays for the reader to see that nothing follows.
            Part::End => Ok(Some(2)),
            Part::Row(bytes) => {
                let Layout::Tuples(reader) = &self.layout else { return Ok(None) };
                let fields = reader.fields();
                let (found, wanted) = (fields.len(), self.columns.len());
                if found != wanted {
                    let message = format!("row field count is {found}, expected {wanted}");
                    return Err(self.told(bad(&message), None, None));
                }
                for (i, field) in fields.iter().enumerate() {
                    let field = field.clone().and_then(|field| self.data.get(field));
                    if let Err(error) = self.columns.binary(i, field) {
                        return Err(self.told(error, Some(i), None));
                    }
                }
                self.count(bytes);
                Ok(Some(bytes))
            }
        }
    }

    fn count(&mut self, bytes: usize) {
        self.rows += 1;
        self.held.0 += 1;
        self.held.1 += bytes;
        if self.places.lines {
            self.places.note(self.rows, self.line);
        }
    }

    /// The error with its line, and column and field where it is about one.
    fn told(&self, error: PgError, column: Option<usize>, field: Option<&str>) -> PgError {
        let mut context = match self.layout {
            Layout::Lines { .. } => format!("COPY {}, line {}", self.table, self.line),
            Layout::Tuples(_) => format!("COPY {}, row {}", self.table, self.rows + 1),
        };
        if let Some(column) = column {
            context.push_str(&format!(", column {}", self.columns.name(column)));
        }
        let shown = field.map(|field| field.chars().take(SHOWN_CHARS).collect::<String>());
        let mut error = error;
        if let Some(shown) = shown {
            context.push_str(&format!(": \"{shown}\""));
            error.message.push_str(&format!(": \"{shown}\""));
        }
        error.context(context)
    }
}

impl Layout {
    fn of_lines(writing: Writing, header: bool, matches: bool) -> Layout {
        let kind = if matches { Header::Match } else { Header::Skip };
        let header = header.then_some(kind);
        Layout::Lines { splitter: Splitter::new(writing), fields: Fields::default(), header }
    }
}

/// A mark of a COPY, which its statement allows single bytes for only.
fn byte(mark: char) -> u8 {
    u8::try_from(mark).unwrap_or(b'?')
}

#[cfg(test)]
mod tests;
