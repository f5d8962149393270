//! Record batches as bytes of an answer: JSON, NDJSON, CSV or an Arrow IPC stream.
//!
//! Owns: the four forms. Does not own: running a statement (`sql`), how values of each type read (arrow's encoders).
//!
//! Numbers that JSON has no form for, NaN and the infinities, are `null` in JSON and NDJSON; CSV and Arrow keep them.
//! NULL in CSV is an empty field.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use arrow_ipc::writer::StreamWriter;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use serde_json::{Value, json};

use super::error::ApiError;

/// A form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One object: columns, then rows as arrays.
    Json,
    /// One object a row and line.
    Ndjson,
    /// RFC 4180 with a header, lines end in LF.
    Csv,
    /// Arrow IPC stream.
    Arrow,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The form `Accept` asks for: the known one with the highest `q`, the first of equals. JSON where everything is
    /// welcome, `None` where nothing known is.
    pub fn accepted(headers: &HeaderMap) -> Option<Format> {
        let mut best: Option<(f32, Format)> = None;
        let mut any = false;
        for value in headers.get_all(ACCEPT) {
            for part in value.to_str().unwrap_or_default().split(',') {
                any |= !part.trim().is_empty();
                let mut words = part.split(';').map(str::trim);
                let format = match words.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                    "application/json" | "application/*" | "*/*" => Format::Json,
                    "application/x-ndjson" | "application/jsonl" | "application/ndjson" => Format::Ndjson,
                    "text/csv" | "text/*" => Format::Csv,
                    "application/vnd.apache.arrow.stream" => Format::Arrow,
                    _ => continue,
                };
                let q =
                    words.find_map(|word| word.strip_prefix("q=")?.trim().parse::<f32>().ok()).unwrap_or(1.0);
                if q > 0.0 && best.is_none_or(|(other, _)| other < q) {
                    best = Some((q, format));
                }
            }
        }
        match best {
            Some((_, format)) => Some(format),
            None => (!any).then_some(Format::Json),
        }
    }
}

/// Turns one answer into bytes, batch by batch.
pub struct Encoder {
    format: Format,
    schema: SchemaRef,
    options: EncoderOptions,
    arrow: Option<StreamWriter<Vec<u8>>>,
    rows: u64,
}

impl Encoder {
    /// An encoder of batches of `schema`.
    ///
    /// # Errors
    /// Where a type has no form in Arrow IPC.
    pub fn new(format: Format, schema: SchemaRef) -> Result<Encoder, ArrowError> {
        let arrow = match format {
            Format::Arrow => Some(StreamWriter::try_new(Vec::new(), &schema)?),
            _ => None,
        };
        let options = EncoderOptions::default().with_explicit_nulls(true);
        Ok(Encoder { format, schema, options, arrow, rows: 0 })
    }

    /// What comes before the first batch.
    pub fn head(&mut self, out: &mut Vec<u8>) {
        match self.format {
            Format::Json => {
                let columns: Vec<Value> = self
                    .schema
                    .fields()
                    .iter()
                    .map(|field| json!({"name": field.name(), "type": type_name(field.data_type())}))
                    .collect();
                out.extend_from_slice(b"{\"columns\":");
                out.extend_from_slice(Value::from(columns).to_string().as_bytes());
                out.extend_from_slice(b",\"rows\":[");
            }
            Format::Csv => {
                for (i, field) in self.schema.fields().iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    quote(field.name(), out);
                }
                out.push(b'\n');
            }
            Format::Ndjson => {}
            Format::Arrow => self.take_arrow(out),
        }
    }

    /// One batch.
    ///
    /// # Errors
    /// Where a type has no form here.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self.format {
            Format::Json => self.json_rows(batch, out)?,
            Format::Ndjson => self.ndjson_rows(batch, out)?,
            Format::Csv => {
                arrow::csv::WriterBuilder::new().with_header(false).build(&mut *out).write(batch)?;
            }
            Format::Arrow => {
                if let Some(writer) = &mut self.arrow {
                    writer.write(batch)?;
                }
                self.take_arrow(out);
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// What comes after the last batch.
    ///
    /// # Errors
    /// Where the Arrow writer fails.
    pub fn tail(&mut self, elapsed: Duration, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self.format {
            Format::Json => {
                let ms = elapsed.as_secs_f64() * 1e3;
                out.extend_from_slice(
                    format!("],\"rows_count\":{},\"elapsed_ms\":{ms:.3}}}\n", self.rows).as_bytes(),
                );
            }
            Format::Ndjson | Format::Csv => {}
            Format::Arrow => {
                if let Some(writer) = &mut self.arrow {
                    writer.finish()?;
                }
                self.take_arrow(out);
            }
        }
        Ok(())
    }

    /// The end after an error in the middle, when the status has long been sent: said in the answer where its form
    /// has a place for it. `false` where it has none; then the answer must break off, so that nobody takes it for
    /// whole.
    pub fn broken(&mut self, error: &ApiError, out: &mut Vec<u8>) -> bool {
        let error = error.to_json();
        match self.format {
            Format::Json => {
                out.extend_from_slice(
                    format!("],\"rows_count\":{},\"error\":{error}}}\n", self.rows).as_bytes(),
                );
                true
            }
            Format::Ndjson => {
                out.extend_from_slice(format!("{{\"error\":{error}}}\n").as_bytes());
                true
            }
            Format::Csv | Format::Arrow => false,
        }
    }

    fn json_rows(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let schema = batch.schema();
        let mut columns = encoders(schema.fields(), batch, &self.options)?;
        for row in 0..batch.num_rows() {
            out.extend_from_slice(if self.rows == 0 && row == 0 { b"\n[" } else { b",\n[" });
            for (i, column) in columns.iter_mut().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                value(column, row, out);
            }
            out.push(b']');
        }
        Ok(())
    }

    fn ndjson_rows(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let schema = batch.schema();
        let mut columns = encoders(schema.fields(), batch, &self.options)?;
        let names: Vec<String> =
            schema.fields().iter().map(|f| Value::from(f.name().as_str()).to_string()).collect();
        for row in 0..batch.num_rows() {
            out.push(b'{');
            for (i, (column, name)) in columns.iter_mut().zip(&names).enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name.as_bytes());
                out.push(b':');
                value(column, row, out);
            }
            out.extend_from_slice(b"}\n");
        }
        Ok(())
    }

    fn take_arrow(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = &mut self.arrow {
            out.append(writer.get_mut());
        }
    }
}

fn encoders<'a>(
    fields: &'a [FieldRef],
    batch: &'a RecordBatch,
    options: &'a EncoderOptions,
) -> Result<Vec<NullableEncoder<'a>>, ArrowError> {
    let columns = fields.iter().zip(batch.columns());
    columns.map(|(field, column)| make_encoder(field, column, options)).collect()
}

fn value(column: &mut NullableEncoder<'_>, row: usize, out: &mut Vec<u8>) {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
    } else {
        column.encode(row, out);
    }
}

fn quote(name: &str, out: &mut Vec<u8>) {
    if name.contains([',', '"', '\n', '\r']) {
        out.extend_from_slice(format!("\"{}\"", name.replace('"', "\"\"")).as_bytes());
    } else {
        out.extend_from_slice(name.as_bytes());
    }
}

/// The name of a type as SQL people know it.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "int8".to_owned(),
        DataType::Int16 => "int16".to_owned(),
        DataType::Int32 => "int32".to_owned(),
        DataType::Int64 => "int64".to_owned(),
        DataType::UInt8 => "uint8".to_owned(),
        DataType::UInt16 => "uint16".to_owned(),
        DataType::UInt32 => "uint32".to_owned(),
        DataType::UInt64 => "uint64".to_owned(),
        DataType::Float16 | DataType::Float32 => "float32".to_owned(),
        DataType::Float64 => "float64".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary".to_owned()
        }
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Interval(_) => "interval".to_owned(),
        DataType::Duration(_) => "duration".to_owned(),
        DataType::Dictionary(_, value) => type_name(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            list_name(item)
        }
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            format!("decimal({p},{s})")
        }
        other => other.to_string().to_lowercase(),
    }
}

fn list_name(item: &Arc<Field>) -> String {
    format!("{}[]", type_name(item.data_type()))
}

#[cfg(test)]
mod tests;
