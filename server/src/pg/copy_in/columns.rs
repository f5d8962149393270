//! Fields of COPY → columns of a batch.
//!
//! Owns: reading a field as the type of its column, text or binary. Does not own: rules of values (`ingest`), forms of
//! instants (`time`).

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder as _, ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
    Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use wattline_query::Destination;
use wattline_query::pg::types::{by_oid, oid_of};

use crate::pg::error::{PgError, state};
use crate::pg::time::{EPOCH_MICROS, Zone, read_timestamp, read_timestamptz};

/// The columns of a batch as they are filled.
#[derive(Debug)]
pub struct Columns {
    schema: SchemaRef,
    /// What each is called to people, and its type.
    named: Vec<(String, &'static str)>,
    filling: Vec<Filling>,
    zone: Zone,
}

#[derive(Debug)]
enum Filling {
    Text(StringBuilder),
    Bool(BooleanBuilder),
    /// Qualities, which PostgreSQL's clients see as `smallint`.
    Small(Int16Builder),
    Int(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Instant(TimestampMicrosecondBuilder),
    Local(TimestampMicrosecondBuilder),
}

impl Columns {
    /// The columns of `destination`; instants without an offset are of `zone`.
    pub fn new(destination: &Destination, zone: Zone) -> Columns {
        let fields = destination.schema.fields();
        let filling: Vec<Filling> = fields.iter().map(|field| Filling::of(field.data_type())).collect();
        let typed = fields.iter().zip(&filling);
        let typed = typed.map(|(field, filling)| Field::new(field.name(), filling.data_type(), true));
        let names = destination.names.iter().zip(fields);
        let type_name = |t: &DataType| by_oid(oid_of(t)).map_or("text", |t| t.sql_name);
        let named = names.map(|(name, field)| (name.clone(), type_name(field.data_type()))).collect();
        Columns { schema: Arc::new(Schema::new(typed.collect::<Vec<_>>())), named, filling, zone }
    }

    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// How many columns.
    pub fn len(&self) -> usize {
        self.filling.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.filling.is_empty()
    }

    /// What column `i` is called.
    pub fn name(&self, i: usize) -> &str {
        self.named.get(i).map_or("", |(name, _)| name)
    }

    /// Adds a field in text to column `i`; `None` for NULL.
    ///
    /// # Errors
    /// Where it is none of the column's type.
    pub fn text(&mut self, i: usize, field: Option<&str>) -> Result<(), PgError> {
        let good = match (&mut self.filling[i], field) {
            (filling, None) => filling.null(),
            (filling, Some(text)) => filling.text(text, &self.zone),
        };
        good.ok_or_else(|| {
            let message = format!("invalid input syntax for type {}", self.named[i].1);
            PgError::new(state::INVALID_TEXT, message)
        })
    }

    /// Adds a binary field to column `i`; `None` for NULL.
    ///
    /// # Errors
    /// Where it is none of the column's type.
    pub fn binary(&mut self, i: usize, field: Option<&[u8]>) -> Result<(), PgError> {
        let good = match field {
            None => self.filling[i].null(),
            Some(bytes) => self.filling[i].binary(bytes),
        };
        good.ok_or_else(|| {
            let message = format!("incorrect binary data format for type {}", self.named[i].1);
            PgError::new(state::INVALID_BINARY, message)
        })
    }

    /// What was added, as a batch; it begins anew.
    ///
    /// # Errors
    /// Where columns have different lengths, which they have not.
    pub fn take(&mut self) -> Result<RecordBatch, PgError> {
        let rows = self.filling.first().map_or(0, Filling::len);
        let arrays = self.filling.iter_mut().map(Filling::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema(), arrays, &options)
            .map_err(|e| PgError::new(state::BUG, format!("rows of COPY: {e}")))
    }
}

impl Filling {
    fn of(data_type: &DataType) -> Filling {
        match data_type {
            DataType::Boolean => Filling::Bool(BooleanBuilder::new()),
            DataType::UInt8 | DataType::Int16 => Filling::Small(Int16Builder::new()),
            DataType::Int32 => Filling::Int(Int32Builder::new()),
            DataType::Int64 => Filling::Long(Int64Builder::new()),
            DataType::Float32 => Filling::Float(Float32Builder::new()),
            DataType::Float64 => Filling::Double(Float64Builder::new()),
            DataType::Timestamp(_, Some(_)) => {
                Filling::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            DataType::Timestamp(_, None) => Filling::Local(TimestampMicrosecondBuilder::new()),
            _ => Filling::Text(StringBuilder::new()),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Filling::Text(_) => DataType::Utf8,
            Filling::Bool(_) => DataType::Boolean,
            Filling::Small(_) => DataType::Int16,
            Filling::Int(_) => DataType::Int32,
            Filling::Long(_) => DataType::Int64,
            Filling::Float(_) => DataType::Float32,
            Filling::Double(_) => DataType::Float64,
            Filling::Instant(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Filling::Local(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }

    fn len(&self) -> usize {
        match self {
            Filling::Text(b) => b.len(),
            Filling::Bool(b) => b.len(),
            Filling::Small(b) => b.len(),
            Filling::Int(b) => b.len(),
            Filling::Long(b) => b.len(),
            Filling::Float(b) => b.len(),
            Filling::Double(b) => b.len(),
            Filling::Instant(b) | Filling::Local(b) => b.len(),
        }
    }

    fn null(&mut self) -> Option<()> {
        match self {
            Filling::Text(b) => b.append_null(),
            Filling::Bool(b) => b.append_null(),
            Filling::Small(b) => b.append_null(),
            Filling::Int(b) => b.append_null(),
            Filling::Long(b) => b.append_null(),
            Filling::Float(b) => b.append_null(),
            Filling::Double(b) => b.append_null(),
            Filling::Instant(b) | Filling::Local(b) => b.append_null(),
        }
        Some(())
    }

    fn text(&mut self, text: &str, zone: &Zone) -> Option<()> {
        let trimmed = text.trim();
        match self {
            Filling::Text(b) => b.append_value(text),
            Filling::Bool(b) => b.append_value(boolean(trimmed)?),
            Filling::Small(b) => b.append_value(trimmed.parse().ok()?),
            Filling::Int(b) => b.append_value(trimmed.parse().ok()?),
            Filling::Long(b) => b.append_value(trimmed.parse().ok()?),
            Filling::Float(b) => b.append_value(trimmed.parse().ok()?),
            Filling::Double(b) => b.append_value(trimmed.parse().ok()?),
            Filling::Instant(b) => b.append_value(read_timestamptz(trimmed, zone)?),
            Filling::Local(b) => b.append_value(read_timestamp(trimmed)?),
        }
        Some(())
    }

    fn binary(&mut self, bytes: &[u8]) -> Option<()> {
        match self {
            Filling::Text(b) => b.append_value(std::str::from_utf8(bytes).ok()?),
            Filling::Bool(b) => match bytes {
                [byte] => b.append_value(*byte != 0),
                _ => return None,
            },
            Filling::Small(b) => b.append_value(i16::try_from(integer(bytes)?).ok()?),
            Filling::Int(b) => b.append_value(i32::try_from(integer(bytes)?).ok()?),
            Filling::Long(b) => b.append_value(integer(bytes)?),
            Filling::Float(b) => b.append_value(f32::from_be_bytes(bytes.try_into().ok()?)),
            Filling::Double(b) => b.append_value(match bytes.len() {
                // What clients send of numbers that they hold in single precision.
                4 => f64::from(f32::from_be_bytes(bytes.try_into().ok()?)),
                _ => f64::from_be_bytes(bytes.try_into().ok()?),
            }),
            Filling::Instant(b) | Filling::Local(b) => {
                b.append_value(i64::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_MICROS)?);
            }
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Filling::Text(b) => Arc::new(b.finish()),
            Filling::Bool(b) => Arc::new(b.finish()),
            Filling::Small(b) => Arc::new(b.finish()),
            Filling::Int(b) => Arc::new(b.finish()),
            Filling::Long(b) => Arc::new(b.finish()),
            Filling::Float(b) => Arc::new(b.finish()),
            Filling::Double(b) => Arc::new(b.finish()),
            Filling::Instant(b) | Filling::Local(b) => Arc::new(b.finish()),
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    Some(match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => true,
        "f" | "false" | "n" | "no" | "off" | "0" => false,
        _ => return None,
    })
}

/// A whole number of two, four or eight bytes: clients that choose the width by the value send any of them.
fn integer(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        2 => i64::from(i16::from_be_bytes(bytes.try_into().ok()?)),
        4 => i64::from(i32::from_be_bytes(bytes.try_into().ok()?)),
        _ => i64::from_be_bytes(bytes.try_into().ok()?),
    })
}
