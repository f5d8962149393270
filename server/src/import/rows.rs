//! Records to Arrow batches.
//!
//! Owns: reading the fields of a record as the layout says, whole or not at all: a line with one bad field is refused
//! as a line, so that the rejects file can be mended and imported again. Does not own: CSV (`csv`), requests (`send`).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::args::{Dialect, Owner};
use super::columns::{Kind, Layout, Role};
use super::csv::{Cut, Record};
use super::text::Text;
use super::time::{Format, TimeReader, shown};

/// Longest number in characters: 17 digits, sign, point and exponent need 24.
const NUMBER_BYTES_MAX: usize = 64;

/// Bytes of lines, and cells, of one request at most, whatever the number of rows: the server bounds its bodies too.
pub const RAW_BYTES_MAX: usize = 8 << 20;
/// See [`RAW_BYTES_MAX`].
pub const CELLS_MAX: usize = 1_000_000;

/// Where a row came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Line of a CSV file, from 1; row of a Parquet file, from 1.
    pub line: u64,
    /// Offset of its first byte; meaningless where `len` is 0.
    pub offset: u64,
    /// Bytes of its verbatim text; 0 where there is none.
    pub len: u32,
}

/// Rows ready to be sent, and where each came from.
#[derive(Debug)]
pub struct Chunk {
    /// Index of the file.
    pub file: usize,
    /// The rows.
    pub rows: RecordBatch,
    /// One a row.
    pub marks: Vec<Mark>,
    /// Values in the rows.
    pub samples: u64,
}

/// Why a line was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The column, where one is to blame.
    pub column: Option<String>,
    /// The reason.
    pub reason: String,
}

enum Cells {
    Float(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
    Text { ends: Vec<i32>, bytes: Vec<u8> },
    Instant(Vec<i64>),
    Civil(Vec<i64>),
}

struct Column {
    cells: Cells,
    present: Vec<bool>,
}

/// Gathers rows of one file.
pub struct Rows {
    file: usize,
    layout: Arc<Layout>,
    owner: Owner,
    text: Text,
    decimal_comma: bool,
    nulls: Nulls,
    time: TimeReader,
    iso: TimeReader,
    columns: Vec<Column>,
    times: Vec<i64>,
    marks: Vec<Mark>,
    assets: Assets,
    raw_bytes: usize,
}

/// Asset ids of the rows, each text kept once.
#[derive(Default)]
struct Assets {
    known: HashMap<Vec<u8>, u32>,
    texts: Vec<String>,
    rows: Vec<u32>,
}

/// Texts that stand for "no value", with their lengths as bits for a quick no.
struct Nulls {
    texts: Vec<Vec<u8>>,
    lengths: u64,
}

impl Nulls {
    fn new(texts: &[Vec<u8>]) -> Nulls {
        let lengths = texts.iter().map(|t| 1 << t.len().min(63)).fold(0, |a, b| a | b);
        Nulls { texts: texts.to_vec(), lengths }
    }

    fn has(&self, field: &[u8]) -> bool {
        self.lengths & (1 << field.len().min(63)) != 0 && self.texts.iter().any(|t| t == field)
    }
}

impl Column {
    fn new(kind: Kind) -> Column {
        let cells = match kind {
            Kind::Float => Cells::Float(Vec::new()),
            Kind::Int => Cells::Int(Vec::new()),
            Kind::Bool => Cells::Bool(Vec::new()),
            Kind::Text => Cells::Text { ends: vec![0], bytes: Vec::new() },
            Kind::Instant => Cells::Instant(Vec::new()),
            Kind::Civil => Cells::Civil(Vec::new()),
        };
        Column { cells, present: Vec::new() }
    }

    fn push_absent(&mut self) {
        match &mut self.cells {
            Cells::Float(v) => v.push(0.0),
            Cells::Int(v) | Cells::Instant(v) | Cells::Civil(v) => v.push(0),
            Cells::Bool(v) => v.push(false),
            Cells::Text { ends, bytes } => ends.push(text_end(bytes)),
        }
        self.present.push(false);
    }

    fn truncate(&mut self, rows: usize) {
        match &mut self.cells {
            Cells::Float(v) => v.truncate(rows),
            Cells::Int(v) | Cells::Instant(v) | Cells::Civil(v) => v.truncate(rows),
            Cells::Bool(v) => v.truncate(rows),
            Cells::Text { ends, bytes } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
        }
        self.present.truncate(rows);
    }

    fn take(&mut self, kind: Kind) -> (ArrayRef, u64) {
        let Column { cells, present } = std::mem::replace(self, Column::new(kind));
        let samples = present.iter().filter(|p| **p).count() as u64;
        let nulls = (samples != present.len() as u64).then(|| NullBuffer::from(present));
        let array: ArrayRef = match cells {
            Cells::Float(v) => Arc::new(Float64Array::new(v.into(), nulls)),
            Cells::Int(v) => Arc::new(Int64Array::new(v.into(), nulls)),
            Cells::Bool(v) => Arc::new(BooleanArray::new(v.into(), nulls)),
            Cells::Instant(v) => {
                Arc::new(TimestampMicrosecondArray::new(v.into(), nulls).with_timezone("UTC"))
            }
            Cells::Civil(v) => Arc::new(TimestampMicrosecondArray::new(v.into(), nulls)),
            Cells::Text { ends, bytes } => {
                Arc::new(StringArray::new(OffsetBuffer::new(ScalarBuffer::from(ends)), bytes.into(), nulls))
            }
        };
        (array, samples)
    }
}

fn text_end(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).expect("100,000 rows of at most 16 KiB a text stay below 2 GiB")
}

/// The Arrow type of a kind.
pub fn arrow_type(kind: Kind) -> DataType {
    match kind {
        Kind::Float => DataType::Float64,
        Kind::Int => DataType::Int64,
        Kind::Bool => DataType::Boolean,
        Kind::Text => DataType::Utf8,
        Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Civil => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

impl Rows {
    /// An empty gathering of rows of file number `file`.
    pub fn new(file: usize, layout: Arc<Layout>, owner: Owner, dialect: &Dialect, time: TimeReader) -> Rows {
        let columns = layout.points.iter().map(|p| Column::new(p.kind)).collect();
        Rows {
            file,
            layout,
            owner,
            text: Text::new(dialect.encoding),
            decimal_comma: dialect.decimal_comma,
            nulls: Nulls::new(&dialect.nulls),
            time,
            iso: TimeReader::new(Format::Iso, jiff::tz::TimeZone::UTC, super::time::Dst::Compatible),
            columns,
            times: Vec::new(),
            marks: Vec::new(),
            assets: Assets::default(),
            raw_bytes: 0,
        }
    }

    /// Whether a request is full: `rows_max` rows, or as many bytes or cells as one may have.
    pub fn is_full(&self, rows_max: usize) -> bool {
        let cells = self.times.len() * self.columns.len();
        self.times.len() >= rows_max || self.raw_bytes >= RAW_BYTES_MAX || cells >= CELLS_MAX
    }

    /// Local times so far that a clock change skipped, and that happened twice.
    pub fn clock_changes(&self) -> (u64, u64) {
        (self.time.skipped, self.time.repeated)
    }

    /// Adds one record, or says why not and stays as it was.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), Refusal> {
        let rows = self.times.len();
        let outcome = self.check_shape(record).and_then(|()| self.push_fields(record));
        if outcome.is_err() {
            self.columns.iter_mut().for_each(|c| c.truncate(rows));
            self.times.truncate(rows);
            self.assets.rows.truncate(rows);
            return outcome;
        }
        self.raw_bytes += record.raw.len();
        self.marks.push(Mark { line: record.line, offset: record.offset, len: record.raw.len() as u32 });
        Ok(())
    }

    fn check_shape(&self, record: &Record<'_>) -> Result<(), Refusal> {
        let refuse = |reason: String| Err(Refusal { column: None, reason });
        let (got, wanted) = (record.width(), self.layout.roles.len());
        match record.cut {
            Some(Cut::Quote) => refuse(
                "the file ends inside a quoted field: it is truncated, or a quote is missing".to_owned(),
            ),
            Some(Cut::Line) if got != wanted => refuse(format!(
                "the file ends in the middle of this line, with {got} of {wanted} fields: it is truncated"
            )),
            _ if got != wanted && record.lines > 1 => refuse(format!(
                "{got} fields instead of {wanted} over {} lines: a quote may be missing",
                record.lines
            )),
            _ if got != wanted => refuse(format!("{got} fields instead of {wanted}")),
            _ => Ok(()),
        }
    }

    fn push_fields(&mut self, record: &Record<'_>) -> Result<(), Refusal> {
        let layout = Arc::clone(&self.layout);
        for (i, (role, field)) in layout.roles.iter().zip(record.iter()).enumerate() {
            let pushed = match role {
                Role::Skip => Ok(()),
                Role::Time => self.time.read(field).map(|micros| self.times.push(micros)),
                Role::Asset => self.push_asset(field, record),
                Role::Point(point) => self.push_value(*point, field, record),
            };
            pushed.map_err(|reason| Refusal { column: Some(layout.names[i].clone()), reason })?;
        }
        Ok(())
    }

    fn push_asset(&mut self, field: &[u8], record: &Record<'_>) -> Result<(), String> {
        let known = self.assets.known.get(field).copied();
        let index = match known {
            Some(index) => index,
            None => {
                let text = self.text.decode(field, record.raw, record.offset).map_err(|e| e.reason)?;
                if text.trim().is_empty() {
                    return Err("no asset id".to_owned());
                }
                let index = self.assets.texts.len() as u32;
                self.assets.texts.push(text.trim().to_owned());
                self.assets.known.insert(field.to_vec(), index);
                index
            }
        };
        self.assets.rows.push(index);
        Ok(())
    }

    fn push_value(&mut self, point: usize, field: &[u8], record: &Record<'_>) -> Result<(), String> {
        let column = &mut self.columns[point];
        if self.nulls.has(field) {
            column.push_absent();
            return Ok(());
        }
        match &mut column.cells {
            Cells::Float(v) => v.push(float(field, self.decimal_comma)?),
            Cells::Int(v) => v.push(int(field, self.decimal_comma)?),
            Cells::Bool(v) => v.push(truth(field)?),
            Cells::Text { ends, bytes } => {
                let text = self.text.decode(field, record.raw, record.offset).map_err(|e| e.reason)?;
                if text.len() > wattline_model::limits::JSON_BYTES_MAX {
                    return Err(format!("a text of {} bytes is too long", text.len()));
                }
                bytes.extend_from_slice(text.as_bytes());
                ends.push(text_end(bytes));
            }
            Cells::Instant(v) => v.push(instant(field, &mut self.iso)?),
            Cells::Civil(v) => v.push(self.iso.read(field)?),
        }
        column.present.push(true);
        Ok(())
    }

    /// The rows gathered, or `None` where there are none; gathering starts anew.
    pub fn take(&mut self) -> Option<Chunk> {
        if self.times.is_empty() {
            return None;
        }
        let times = std::mem::take(&mut self.times);
        let rows = times.len();
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for (name, texts) in self.owner_columns(rows) {
            fields.push(Field::new(name, DataType::Utf8, false));
            arrays.push(texts);
        }
        fields.push(Field::new("time", arrow_type(Kind::Instant), false));
        arrays.push(Arc::new(TimestampMicrosecondArray::new(times.into(), None).with_timezone("UTC")));
        let mut samples = 0;
        for (column, point) in self.columns.iter_mut().zip(&self.layout.points) {
            let (array, present) = column.take(point.kind);
            fields.push(Field::new(&point.key, arrow_type(point.kind), true));
            arrays.push(array);
            samples += present;
        }
        self.raw_bytes = 0;
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .expect("columns are built with the schema's types and one cell a row");
        Some(Chunk { file: self.file, rows, marks: std::mem::take(&mut self.marks), samples })
    }

    fn owner_columns(&mut self, rows: usize) -> Vec<(&'static str, ArrayRef)> {
        let same = |text: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
        };
        match &self.owner {
            Owner::Asset(asset) => vec![("asset_id", same(asset))],
            Owner::Device(product, device) => {
                vec![("product_key", same(product)), ("device_key", same(device))]
            }
            Owner::Column(_) => {
                let indexes = std::mem::take(&mut self.assets.rows);
                let texts = &self.assets.texts;
                let column = StringArray::from_iter_values(indexes.iter().map(|i| &texts[*i as usize]));
                vec![("asset_id", Arc::new(column))]
            }
        }
    }
}

/// A number, exactly: the nearest 64-bit float to the decimal text.
pub fn float(field: &[u8], decimal_comma: bool) -> Result<f64, String> {
    let refuse = || format!("{} is not a number", shown(field));
    let mut buffer = [0; NUMBER_BYTES_MAX];
    let text = number_text(field, decimal_comma, &mut buffer).ok_or_else(refuse)?;
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(format!("{} is not a finite number", shown(field))),
        Err(_) => Err(refuse()),
    }
}

/// A whole number; `5.0` is one too, as spreadsheets write them.
pub fn int(field: &[u8], decimal_comma: bool) -> Result<i64, String> {
    let refuse = || format!("{} is not a whole number of 64 bits", shown(field));
    let mut buffer = [0; NUMBER_BYTES_MAX];
    let text = number_text(field, decimal_comma, &mut buffer).ok_or_else(refuse)?;
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        _ => text,
    };
    whole.parse().map_err(|_| refuse())
}

fn number_text<'a>(
    field: &'a [u8],
    decimal_comma: bool,
    buffer: &'a mut [u8; NUMBER_BYTES_MAX],
) -> Option<&'a str> {
    let field = field.trim_ascii();
    if !decimal_comma {
        return std::str::from_utf8(field).ok();
    }
    // A point in such a file groups thousands, if it is not a mistake: neither is guessed.
    if field.len() > NUMBER_BYTES_MAX || field.contains(&b'.') {
        return None;
    }
    let text = &mut buffer[..field.len()];
    for (to, from) in text.iter_mut().zip(field) {
        *to = if *from == b',' { b'.' } else { *from };
    }
    std::str::from_utf8(text).ok()
}

/// true or false, in any case; 1 or 0.
pub fn truth(field: &[u8]) -> Result<bool, String> {
    let field = field.trim_ascii();
    if field == b"1" || field.eq_ignore_ascii_case(b"true") {
        Ok(true)
    } else if field == b"0" || field.eq_ignore_ascii_case(b"false") {
        Ok(false)
    } else {
        Err(format!("{} is neither true nor false", shown(field)))
    }
}

/// An instant as a value: milliseconds since 1970, or ISO 8601.
fn instant(field: &[u8], iso: &mut TimeReader) -> Result<i64, String> {
    let text = field.trim_ascii();
    if !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        return int(text, false)?
            .checked_mul(1_000)
            .ok_or_else(|| format!("{} is out of range", shown(text)));
    }
    iso.read(text)
}

#[cfg(test)]
mod tests;
