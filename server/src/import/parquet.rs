//! Parquet files to Arrow batches.
//!
//! Owns: reading Parquet, times of any unit, casting columns to the kinds of the points. Does not own: what a column
//! is (`columns`), requests (`send`).

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch, nullif};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimeUnit, TimestampNanosecondType};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::error::{Error, Result};

use super::args::Owner;
use super::columns::{Kind, Layout, Role};
use super::rows::{Chunk, Mark, Refusal, arrow_type};
use super::time::TimeReader;

/// Whether a file is Parquet, by its first bytes.
pub fn is_parquet(path: &Path) -> Result<bool> {
    use std::io::Read;
    let mut head = [0; 4];
    let mut file = File::open(path).map_err(|e| cannot(path, e))?;
    match file.read_exact(&mut head) {
        Ok(()) => Ok(&head == b"PAR1"),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(cannot(path, e)),
    }
}

fn cannot(path: &Path, cause: impl std::fmt::Display) -> Error {
    Error::failed(format!("{}: {cause}", path.display()))
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|e| cannot(path, e))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| cannot(path, e))
}

/// The columns of a file: name and the kind a new point would have (`None` where no kind fits).
pub fn schema(path: &Path) -> Result<Vec<(String, Option<Kind>)>> {
    let schema = builder(path)?.schema().clone();
    Ok(schema.fields().iter().map(|f| (f.name().clone(), kind_of(f.data_type()))).collect())
}

fn kind_of(data_type: &DataType) -> Option<Kind> {
    match data_type {
        DataType::Boolean => Some(Kind::Bool),
        d if d.is_integer() && *d != DataType::UInt64 => Some(Kind::Int),
        d if d.is_floating() || d.is_decimal() || *d == DataType::UInt64 => Some(Kind::Float),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Kind::Text),
        DataType::Dictionary(_, values) => kind_of(values),
        DataType::Timestamp(_, Some(_)) => Some(Kind::Instant),
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => Some(Kind::Civil),
        _ => None,
    }
}

/// How many rows a file has.
pub fn rows(path: &Path) -> Result<u64> {
    Ok(u64::try_from(builder(path)?.metadata().file_metadata().num_rows()).unwrap_or(0))
}

/// Opens a file for reading in batches of `rows`.
pub fn open(path: &Path, rows: usize) -> Result<ParquetRecordBatchReader> {
    builder(path)?.with_batch_size(rows).build().map_err(|e| cannot(path, e))
}

/// What one batch came to: the rows that can be sent, and those that cannot.
pub type Converted = (Option<Chunk>, Vec<(Mark, Refusal)>);

/// Turns batches of one file into chunks.
pub struct Converter {
    /// Index of the file.
    pub file: usize,
    /// What its columns are.
    pub layout: Arc<Layout>,
    /// Whom the rows belong to.
    pub owner: Owner,
    /// Reads times that carry no zone, or are texts or numbers.
    pub time: TimeReader,
    /// Rows converted so far.
    pub rows: u64,
    /// Whether NaN stands for "no value".
    pub nan_is_null: bool,
}

impl Converter {
    /// Converts one batch: the rows that can be sent, and those that cannot with the reason.
    pub fn convert(&mut self, batch: &RecordBatch) -> Result<Converted> {
        let rows = batch.num_rows();
        let first = self.rows;
        self.rows += rows as u64;
        let mark = |row: usize| Mark { line: first + row as u64 + 1, offset: 0, len: 0 };
        // One reason a row is enough: the row is refused as a row.
        let mut refusals: Vec<Option<Refusal>> = vec![None; rows];
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        self.push_owner(rows, &mut fields, &mut arrays);
        let layout = Arc::clone(&self.layout);
        for (i, role) in layout.roles.iter().enumerate() {
            let column = batch.column(i);
            let name = &layout.names[i];
            let (field, array) = match role {
                Role::Skip => continue,
                Role::Time => {
                    let times = self.times(column, name, &mut refusals)?;
                    (Field::new("time", arrow_type(Kind::Instant), true), times)
                }
                Role::Asset => {
                    let texts = required_text(column, name, &mut refusals)?;
                    (Field::new("asset_id", DataType::Utf8, true), texts)
                }
                Role::Point(point) => {
                    let point = &layout.points[*point];
                    let array = values(column, name, point.kind, self.nan_is_null, &mut refusals)?;
                    (Field::new(&point.key, arrow_type(point.kind), true), array)
                }
            };
            fields.push(field);
            arrays.push(array);
        }
        let whole = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|e| Error::failed(format!("rows of the file do not fit together: {e}")))?;
        let keep: Vec<bool> = refusals.iter().map(Option::is_none).collect();
        let kept = filter_record_batch(&whole, &BooleanArray::from(keep.clone()))
            .map_err(|e| Error::failed(format!("rows cannot be taken out: {e}")))?;
        let marks: Vec<Mark> = (0..rows).filter(|row| keep[*row]).map(mark).collect();
        let refused = refusals.into_iter().enumerate().filter_map(|(row, r)| Some((mark(row), r?))).collect();
        let chunk = (kept.num_rows() > 0).then(|| {
            let is_point = |f: &Field| layout.points.iter().any(|p| p.key == *f.name());
            let schema = kept.schema();
            let samples = kept.columns().iter().zip(schema.fields()).filter(|(_, f)| is_point(f));
            let samples = samples.map(|(c, _)| (c.len() - c.null_count()) as u64).sum();
            Chunk { file: self.file, rows: kept.clone(), marks, samples }
        });
        Ok((chunk, refused))
    }

    fn push_owner(&self, rows: usize, fields: &mut Vec<Field>, arrays: &mut Vec<ArrayRef>) {
        let mut push = |name: &str, text: &str| {
            fields.push(Field::new(name, DataType::Utf8, false));
            arrays.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))));
        };
        match &self.owner {
            Owner::Asset(asset) => push("asset_id", asset),
            Owner::Device(product, device) => {
                push("product_key", product);
                push("device_key", device);
            }
            Owner::Column(_) => {}
        }
    }

    fn times(&mut self, column: &ArrayRef, name: &str, refusals: &mut [Option<Refusal>]) -> Result<ArrayRef> {
        let refuse = |refusals: &mut [Option<Refusal>], row: usize, reason: String| {
            refusals[row].get_or_insert(Refusal { column: Some(name.to_owned()), reason });
        };
        let mut micros = vec![None; column.len()];
        match column.data_type() {
            DataType::Timestamp(_, zone) => {
                // Nanoseconds hold every unit; years outside 1677 to 2262 come out as nulls and are refused below.
                let nanos = cast(column, &DataType::Timestamp(TimeUnit::Nanosecond, None), name)?;
                let nanos = nanos.as_primitive::<TimestampNanosecondType>();
                for (row, nanos) in nanos.iter().enumerate() {
                    let Some(nanos) = nanos else { continue };
                    let local_or_not = nanos.div_euclid(1_000);
                    if zone.is_some() {
                        micros[row] = Some(local_or_not);
                        continue;
                    }
                    let civil = jiff::Timestamp::from_microsecond(local_or_not)
                        .map(|t| t.to_zoned(jiff::tz::TimeZone::UTC).datetime());
                    match civil.map_err(|e| e.to_string()).and_then(|civil| self.time.place(civil)) {
                        Ok(time) => micros[row] = Some(time),
                        Err(reason) => refuse(refusals, row, reason),
                    }
                }
            }
            _ => {
                let texts = cast(column, &DataType::Utf8, name)?;
                for (row, text) in texts.as_string::<i32>().iter().enumerate() {
                    match text.map(|t| self.time.read(t.as_bytes())) {
                        Some(Ok(time)) => micros[row] = Some(time),
                        Some(Err(reason)) => refuse(refusals, row, reason),
                        None => {}
                    }
                }
            }
        }
        for (row, time) in micros.iter().enumerate() {
            if time.is_none() {
                refuse(refusals, row, "no time, or one out of range".to_owned());
            }
        }
        Ok(Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC")))
    }
}

/// Times from the head of a file, to find their form from; `None` where they are timestamps, which need none.
pub fn time_samples(path: &Path, column: usize) -> Result<Option<Vec<String>>> {
    /// Values looked at: enough days to tell day from month.
    const SAMPLES: usize = 20_000;
    let mut reader = open(path, SAMPLES)?;
    let Some(batch) = reader.next() else { return Ok(Some(Vec::new())) };
    let batch = batch.map_err(|e| cannot(path, e))?;
    let column = batch.column(column);
    if matches!(column.data_type(), DataType::Timestamp(..)) {
        return Ok(None);
    }
    let texts = cast(column, &DataType::Utf8, "time")?;
    Ok(Some(texts.as_string::<i32>().iter().flatten().map(str::to_owned).collect()))
}

fn cast(column: &ArrayRef, to: &DataType, name: &str) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    cast_with_options(column, to, &options).map_err(|_| {
        Error::usage(format!("column {name:?} of {} cannot be read as {to}", column.data_type()))
    })
}

fn required_text(column: &ArrayRef, name: &str, refusals: &mut [Option<Refusal>]) -> Result<ArrayRef> {
    let texts = cast(column, &DataType::Utf8, name)?;
    for (row, refusal) in refusals.iter_mut().enumerate() {
        if texts.is_null(row) && refusal.is_none() {
            *refusal = Some(Refusal { column: Some(name.to_owned()), reason: "no asset id".to_owned() });
        }
    }
    Ok(texts)
}

fn values(
    column: &ArrayRef,
    name: &str,
    kind: Kind,
    nan_is_null: bool,
    refusals: &mut [Option<Refusal>],
) -> Result<ArrayRef> {
    let to = arrow_type(kind);
    let mut array = cast(column, &to, name)?;
    if kind == Kind::Int && column.data_type().is_floating() {
        refuse_fractions(column, &array, name, refusals)?;
    }
    for (row, refusal) in refusals.iter_mut().enumerate() {
        if array.is_null(row) && !column.is_null(row) && refusal.is_none() {
            let reason = format!("does not fit a value of {to}");
            *refusal = Some(Refusal { column: Some(name.to_owned()), reason });
        }
    }
    if kind == Kind::Float {
        let floats = array.as_primitive::<Float64Type>();
        let nans: BooleanArray = floats.iter().map(|v| Some(v.is_some_and(f64::is_nan))).collect();
        if nan_is_null && nans.true_count() > 0 {
            array = nullif(&array, &nans).map_err(|e| Error::failed(e.to_string()))?;
        }
        refuse_not_finite(array.as_primitive(), name, refusals);
    }
    Ok(array)
}

fn refuse_not_finite(floats: &Float64Array, name: &str, refusals: &mut [Option<Refusal>]) {
    for (value, refusal) in floats.iter().zip(refusals) {
        if value.is_some_and(|v| !v.is_finite()) && refusal.is_none() {
            *refusal =
                Some(Refusal { column: Some(name.to_owned()), reason: "not a finite number".to_owned() });
        }
    }
}

/// Arrow cuts decimals off when it casts; a value must not change silently.
fn refuse_fractions(
    from: &ArrayRef,
    to: &ArrayRef,
    name: &str,
    refusals: &mut [Option<Refusal>],
) -> Result<()> {
    let from = cast(from, &DataType::Float64, name)?;
    let floats = from.as_primitive::<Float64Type>();
    for (row, (float, int)) in floats.iter().zip(to.as_primitive::<Int64Type>().iter()).enumerate() {
        if let (Some(float), Some(int)) = (float, int)
            && float != int as f64
            && refusals[row].is_none()
        {
            let reason = format!("{float} is not a whole number");
            refusals[row] = Some(Refusal { column: Some(name.to_owned()), reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
