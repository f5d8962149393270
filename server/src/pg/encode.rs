//! Batches of an answer → rows on the wire: `DataRow`, or the lines of COPY.
//!
//! Owns: rows and COPY's three forms. Does not own: the forms of values (`values`), what is asked for (`copy`).

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::{BufMut as _, BytesMut};

use super::backend::{Column, begin, end};
use super::frontend::Format;
use super::time::Zone;
use super::values::{Values, shown_as};

/// How COPY writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyForm {
    /// Lines of fields with escapes.
    Text {
        /// Between fields.
        delimiter: char,
        /// What stands for NULL.
        null: String,
        /// Whether names come first.
        header: bool,
    },
    /// Comma-separated values.
    Csv {
        /// Between fields.
        delimiter: char,
        /// What stands for NULL.
        null: String,
        /// Whether names come first.
        header: bool,
        /// Around fields that need it.
        quote: char,
        /// Before a quote inside quotes.
        escape: char,
        /// Whether every field that is not NULL is quoted.
        force_quote: bool,
    },
    /// PostgreSQL's binary file.
    Binary,
}

impl CopyForm {
    /// Whether the data are bytes or text.
    pub fn format(&self) -> Format {
        match self {
            CopyForm::Binary => Format::Binary,
            _ => Format::Text,
        }
    }
}

/// What rows become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `DataRow` messages.
    Rows,
    /// COPY's data.
    Copy(CopyForm),
}

/// The beginning of a binary COPY: signature, flags, length of the extension.
const BINARY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Writes the rows of one answer.
pub struct Encoder {
    columns: Vec<Column>,
    shape: Shape,
    zone: Zone,
    scratch: String,
    /// Whether the head of a binary COPY is still to come: it shares a message with the first row, as clients expect.
    begun: bool,
}

/// The columns of a schema, as they are shown by themselves.
pub fn columns_of(schema: &SchemaRef, format: impl Fn(usize) -> Format) -> Vec<Column> {
    let fields = schema.fields().iter().enumerate();
    fields
        .map(|(i, field)| Column { name: field.name().clone(), oid: shown_as(field), format: format(i) })
        .collect()
}

impl Encoder {
    /// A writer of rows of `columns`.
    pub fn new(columns: Vec<Column>, shape: Shape, zone: Zone) -> Encoder {
        Encoder { columns, shape, zone, scratch: String::new(), begun: false }
    }

    /// A batch's columns, to write [`rows`](Self::rows) of.
    ///
    /// # Errors
    /// Where values do not fit their type.
    pub fn batch(&self, batch: &RecordBatch) -> Result<Vec<Values>, ArrowError> {
        batch.columns().iter().zip(&self.columns).map(|(array, c)| Values::new(array, c.oid)).collect()
    }

    /// What comes before the first row.
    pub fn head(&mut self, out: &mut BytesMut) {
        let Shape::Copy(form) = &self.shape else { return };
        let (header, delimiter) = match form {
            CopyForm::Binary => return,
            CopyForm::Text { header, delimiter, .. } | CopyForm::Csv { header, delimiter, .. } => {
                (*header, *delimiter)
            }
        };
        if header {
            let mut line = String::new();
            for (i, column) in self.columns.iter().enumerate() {
                if i > 0 {
                    line.push(delimiter);
                }
                field(form, &column.name, &mut line);
            }
            line.push('\n');
            put_line(&line, out);
        }
    }

    /// What comes after the last row.
    pub fn tail(&mut self, out: &mut BytesMut) {
        if self.shape == Shape::Copy(CopyForm::Binary) {
            let at = begin(out, b'd');
            self.binary_head(out);
            out.put_i16(-1);
            end(out, at);
        }
    }

    /// Writes rows until `bytes_max` are there, and says where it stopped.
    ///
    /// # Errors
    /// Where a value has no form.
    pub fn rows(
        &mut self,
        values: &[Values],
        rows: Range<usize>,
        bytes_max: usize,
        out: &mut BytesMut,
    ) -> Result<usize, ArrowError> {
        for row in rows.clone() {
            if out.len() >= bytes_max {
                return Ok(row);
            }
            match &self.shape {
                Shape::Rows => {
                    let at = begin(out, b'D');
                    self.fields(values, row, out)?;
                    end(out, at);
                }
                Shape::Copy(CopyForm::Binary) => {
                    let at = begin(out, b'd');
                    self.binary_head(out);
                    self.fields(values, row, out)?;
                    end(out, at);
                }
                Shape::Copy(form) => line(form, values, row, &self.zone, &mut self.scratch, out)?,
            }
        }
        Ok(rows.end)
    }

    fn binary_head(&mut self, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.begun, true) {
            out.put_slice(BINARY_HEAD);
        }
    }

    /// The fields of `DataRow` and of binary COPY: a count, then a length and bytes each.
    fn fields(&mut self, values: &[Values], row: usize, out: &mut BytesMut) -> Result<(), ArrowError> {
        out.put_u16(values.len() as u16);
        let binary = matches!(self.shape, Shape::Copy(CopyForm::Binary));
        for (column, value) in self.columns.iter().zip(values) {
            if value.is_null(row) {
                out.put_i32(-1);
                continue;
            }
            let at = out.len();
            out.put_u32(0);
            if binary || column.format == Format::Binary {
                value.binary(row, &self.zone, out)?;
            } else {
                self.scratch.clear();
                value.text(row, &self.zone, &mut self.scratch)?;
                out.put_slice(self.scratch.as_bytes());
            }
            let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
            out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

fn line(
    form: &CopyForm,
    values: &[Values],
    row: usize,
    zone: &Zone,
    scratch: &mut String,
    out: &mut BytesMut,
) -> Result<(), ArrowError> {
    let (CopyForm::Text { delimiter, null, .. } | CopyForm::Csv { delimiter, null, .. }) = form else {
        return Ok(());
    };
    let mut line = String::new();
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            line.push(*delimiter);
        }
        if value.is_null(row) {
            line.push_str(null);
        } else {
            scratch.clear();
            value.text(row, zone, scratch)?;
            field(form, scratch, &mut line);
        }
    }
    line.push('\n');
    put_line(&line, out);
    Ok(())
}

fn put_line(line: &str, out: &mut BytesMut) {
    let at = begin(out, b'd');
    out.put_slice(line.as_bytes());
    end(out, at);
}

/// One field that is not NULL.
fn field(form: &CopyForm, text: &str, line: &mut String) {
    match form {
        CopyForm::Text { delimiter, .. } => {
            for c in text.chars() {
                match c {
                    '\\' => line.push_str("\\\\"),
                    '\n' => line.push_str("\\n"),
                    '\r' => line.push_str("\\r"),
                    '\t' => line.push_str("\\t"),
                    '\u{8}' => line.push_str("\\b"),
                    '\u{b}' => line.push_str("\\v"),
                    '\u{c}' => line.push_str("\\f"),
                    c if c == *delimiter => {
                        line.push('\\');
                        line.push(c);
                    }
                    c => line.push(c),
                }
            }
        }
        CopyForm::Csv { delimiter, null, quote, escape, force_quote, .. } => {
            // An empty text and a text like the one for NULL are told from NULL by quotes; `\.` would end the data.
            let special = |c: char| c == *delimiter || c == *quote || matches!(c, '\n' | '\r');
            if *force_quote || text == null || text == "\\." || text.contains(special) {
                line.push(*quote);
                for c in text.chars() {
                    if c == *quote || c == *escape {
                        line.push(*escape);
                    }
                    line.push(c);
                }
                line.push(*quote);
            } else {
                line.push_str(text);
            }
        }
        CopyForm::Binary => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let n: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a,\"b\"\tc\\"), Some("")]));
        RecordBatch::try_from_iter_with_nullable([("n", n, true), ("text", text, true)]).unwrap()
    }

    fn encoded(shape: Shape, format: Format) -> Vec<u8> {
        let batch = batch();
        let columns = columns_of(&batch.schema(), |_| format);
        let mut encoder = Encoder::new(columns, shape, Zone::utc());
        let mut out = BytesMut::new();
        encoder.head(&mut out);
        let values = encoder.batch(&batch).unwrap();
        assert_eq!(encoder.rows(&values, 0..2, 1 << 20, &mut out).unwrap(), 2);
        encoder.tail(&mut out);
        out.to_vec()
    }

    /// The data of COPY, without the frames.
    fn copied(form: CopyForm) -> Vec<u8> {
        let bytes = encoded(Shape::Copy(form), Format::Text);
        let (mut rest, mut data) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            assert_eq!(rest[0], b'd');
            let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
            data.extend_from_slice(&rest[5..=length]);
            rest = &rest[length + 1..];
        }
        data
    }

    #[test]
    fn rows_are_laid_out_as_documented() {
        assert_eq!(
            encoded(Shape::Rows, Format::Text),
            b"D\0\0\0\x17\0\x02\0\0\0\x011\0\0\0\x08a,\"b\"\tc\\D\0\0\0\x0e\0\x02\xff\xff\xff\xff\0\0\0\0"
        );
        assert_eq!(encoded(Shape::Rows, Format::Binary)[..15], *b"D\0\0\0\x1a\0\x02\0\0\0\x04\0\0\0\x01");
    }

    #[test]
    fn copy_writes_its_three_forms() {
        let text = CopyForm::Text { delimiter: '\t', null: "\\N".to_owned(), header: false };
        assert_eq!(copied(text), b"1\ta,\"b\"\\tc\\\\\n\\N\t\n");
        let csv = CopyForm::Csv {
            delimiter: ',',
            null: String::new(),
            header: true,
            quote: '"',
            escape: '"',
            force_quote: false,
        };
        assert_eq!(copied(csv), b"n,text\n1,\"a,\"\"b\"\"\tc\\\"\n,\"\"\n");
        let binary = copied(CopyForm::Binary);
        assert!(binary.starts_with(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\0\x01"));
        assert!(binary.ends_with(b"\0\x02\xff\xff\xff\xff\0\0\0\0\xff\xff"));
    }

    #[test]
    fn it_stops_where_a_piece_is_full() {
        let batch = batch();
        let mut encoder =
            Encoder::new(columns_of(&batch.schema(), |_| Format::Text), Shape::Rows, Zone::utc());
        let values = encoder.batch(&batch).unwrap();
        let mut out = BytesMut::new();
        assert_eq!(encoder.rows(&values, 0..2, 1, &mut out).unwrap(), 1);
        assert_eq!(encoder.rows(&values, 1..2, 1_000, &mut out).unwrap(), 2);
    }
}
