//! Arrow record batches: whole columns at a time.
//!
//! Owns: which columns mean what, which Arrow types each data type is read from, laying rows out by shard. Does not
//! own: the IPC framing (`server`), the rules of values beyond those it applies to whole columns the same way
//! ([`crate::check`]).
//!
//! Columns: `asset_id`, or `product_key` and `device_key`; `time` (a timestamp of any unit, UTC where it has no zone,
//! or whole milliseconds); one for each point, named by its key; `<point>_quality` where wanted. Null means "no
//! sample". A column that means nothing, or is of a type its point cannot be read from, refuses the whole batch: it
//! would be wrong in every row. A wrong value refuses its sample, a wrong asset or time its row.

mod columns;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Int64Type, TimeUnit, TimestampMicrosecondType};
use wattline_model::limits::BATCH_ROWS_MAX;
use wattline_model::{
    AssetId, Batch, Channel, Column, Destination, Model, Quality, Rows, ShardId, Source, Timestamp, Values,
};

use super::assets::{Key, Resolved, resolve};
use super::{Decoded, Rejects};
use crate::check;
use crate::code::Code;
use crate::error::Error;
use crate::ingestor::Ingestor;
use columns::{Read, read_point, read_quality};

/// Decodes `rows`, whose assets are of `model`.
///
/// # Errors
/// Kind `Input`, where a column is missing, unknown, or of a type its point cannot be read from.
pub fn decode(ingestor: &Ingestor, model: &Model, rows: &RecordBatch) -> Result<Decoded, Error> {
    let mut rejects = Rejects::default();
    let mut frame = Frame::read(ingestor, model, rows, &mut rejects)?;
    let mut columns = Vec::new();
    for (field, array) in rows.schema().fields().iter().zip(rows.columns()) {
        let name = field.name().as_str();
        if Frame::NAMES.contains(&name) {
            continue;
        }
        match model.point_by_key(name) {
            Some(point) => {
                let quality = rows.column_by_name(&format!("{name}_quality"));
                let quality = match quality {
                    Some(_) if !point.has_quality => {
                        let reason = "the model gives this point no quality";
                        return Err(Error::input(format!("column {name}_quality: {reason}")));
                    }
                    Some(array) => Some(read_quality(name, array, &frame.keep, &mut rejects)?),
                    None => None,
                };
                let read = read_point(point, array, quality, &frame.keep, &mut rejects)?;
                frame.note(&read);
                columns.push(read);
            }
            None => {
                let base = name.strip_suffix("_quality");
                let known =
                    base.is_some_and(|p| model.point_by_key(p).is_some() && rows.column_by_name(p).is_some());
                if !known {
                    return Err(Error::input(format!(
                        "column {name}: model {} has no such point",
                        model.key
                    )));
                }
            }
        }
    }
    let mut decoded = Decoded { rejects, ..Decoded::default() };
    for shard in ingestor.store().shards().iter() {
        let picked = frame.rows_of(ingestor, shard);
        for chunk in picked.chunks(BATCH_ROWS_MAX) {
            let batch = lay_out(&frame, &columns, model, shard, chunk);
            decoded.rows += batch.rows() as u64;
            decoded.samples += batch.points() as u64;
            decoded.batches.push(batch);
        }
    }
    ingestor.count().rejects(Code::Format, decoded.rejects.total);
    Ok(decoded)
}

/// Asset and time of each row, and whether it is kept.
struct Frame {
    assets: Vec<AssetId>,
    times: Vec<Timestamp>,
    /// Rows whose asset and time are right.
    keep: Vec<bool>,
    /// Rows with at least one sample.
    filled: Vec<bool>,
}

impl Frame {
    const NAMES: [&'static str; 4] = ["asset_id", "product_key", "device_key", "time"];

    fn read(
        ingestor: &Ingestor,
        model: &Model,
        rows: &RecordBatch,
        rejects: &mut Rejects,
    ) -> Result<Frame, Error> {
        let n = rows.num_rows();
        let mut frame = Frame {
            assets: vec![AssetId::default(); n],
            times: vec![Timestamp::default(); n],
            keep: vec![true; n],
            filled: vec![false; n],
        };
        frame.read_assets(ingestor, model, rows, rejects)?;
        frame.read_times(ingestor, rows, rejects)?;
        Ok(frame)
    }

    fn read_assets(
        &mut self,
        ingestor: &Ingestor,
        model: &Model,
        rows: &RecordBatch,
        rejects: &mut Rejects,
    ) -> Result<(), Error> {
        let one = text_column(rows, "asset_id")?;
        let two = (text_column(rows, "product_key")?, text_column(rows, "device_key")?);
        // Rows of one asset usually follow each other: it is looked up once.
        let mut last: Option<(Key<'_>, Resolved)> = None;
        for row in 0..self.keep.len() {
            let key = match (&one, &two) {
                (Some(ids), _) => ids.is_valid(row).then(|| Key::Asset(ids.value(row))),
                (None, (Some(products), Some(devices))) => (products.is_valid(row) && devices.is_valid(row))
                    .then(|| Key::Device(products.value(row), devices.value(row))),
                _ => {
                    return Err(Error::input("columns asset_id, or product_key and device_key, are missing"));
                }
            };
            let Some(key) = key else {
                self.keep[row] = false;
                rejects.push(row, "asset_id", || "is null".to_owned());
                continue;
            };
            if last.as_ref().is_none_or(|(k, _)| *k != key) {
                last = Some((key, resolve(ingestor.registry(), model, key)));
            }
            match &last {
                Some((_, Ok(asset))) => self.assets[row] = *asset,
                Some((_, Err((field, reason)))) => {
                    self.keep[row] = false;
                    rejects.push(row, field, || reason.clone());
                }
                None => {}
            }
        }
        Ok(())
    }

    fn read_times(
        &mut self,
        ingestor: &Ingestor,
        rows: &RecordBatch,
        rejects: &mut Rejects,
    ) -> Result<(), Error> {
        let array = rows.column_by_name("time").ok_or_else(|| Error::input("column time is missing"))?;
        let (micros, scale) = instants("time", array)?;
        let max = ingestor.time_max(ingestor.now());
        for row in 0..self.keep.len() {
            if !self.keep[row] {
                continue;
            }
            let time = if micros.is_null(row) {
                Err(check::Fault::format("is null"))
            } else {
                check::time(Timestamp(micros.values()[row].saturating_mul(scale)), max)
            };
            match time {
                Ok(time) => self.times[row] = time,
                Err(fault) => {
                    self.keep[row] = false;
                    rejects.push(row, "time", || fault.reason);
                }
            }
        }
        Ok(())
    }

    /// Notes which rows got a sample.
    fn note(&mut self, read: &Read) {
        for (filled, present) in self.filled.iter_mut().zip(&read.present) {
            *filled |= present;
        }
    }

    fn rows_of(&self, ingestor: &Ingestor, shard: ShardId) -> Vec<u32> {
        let shards = ingestor.store().shards();
        (0..self.keep.len())
            .filter(|&i| self.keep[i] && self.filled[i] && shards.shard_of(self.assets[i]) == shard)
            .map(|i| i as u32)
            .collect()
    }
}

/// The rows `picked` of one shard as a batch.
fn lay_out(frame: &Frame, columns: &[Read], model: &Model, shard: ShardId, picked: &[u32]) -> Batch {
    let mut batch = Batch {
        shard,
        model: model.id,
        channel: Channel::RealTime,
        source: Source::Client,
        to: Destination::Everywhere,
        assets: picked.iter().map(|&i| frame.assets[i as usize]).collect(),
        times: picked.iter().map(|&i| frame.times[i as usize]).collect(),
        columns: Vec::new(),
    };
    for read in columns {
        let mut listed = Vec::new();
        let mut from = Vec::new();
        for (place, &i) in picked.iter().enumerate() {
            if read.present[i as usize] {
                listed.push(place as u32);
                from.push(i);
            }
        }
        if from.is_empty() {
            continue;
        }
        let rows = if listed.len() == picked.len() { Rows::All } else { Rows::Some(listed) };
        let quality = read.quality.as_ref();
        let quality: Option<Vec<Quality>> = quality.map(|q| from.iter().map(|&i| q[i as usize]).collect());
        batch.columns.push(Column { point: read.point, rows, values: gather(&read.values, &from), quality });
    }
    debug_assert_eq!(batch.check(), Ok(()));
    batch
}

fn gather(values: &Values, from: &[u32]) -> Values {
    match values {
        Values::Float(v) => Values::Float(from.iter().map(|&i| v[i as usize]).collect()),
        Values::Int(v) => Values::Int(from.iter().map(|&i| v[i as usize]).collect()),
        Values::Bool(v) => Values::Bool(from.iter().map(|&i| v[i as usize]).collect()),
        Values::Text(v) => Values::Text(from.iter().map(|&i| v.get(i as usize)).collect()),
    }
}

/// A text column by name, whatever way Arrow holds its texts.
fn text_column(rows: &RecordBatch, name: &str) -> Result<Option<StringArray>, Error> {
    rows.column_by_name(name).map(|array| texts(name, array)).transpose()
}

fn texts(name: &str, array: &ArrayRef) -> Result<StringArray, Error> {
    let textual = match array.data_type() {
        Arrow::Utf8 => return Ok(array.as_string::<i32>().clone()),
        Arrow::LargeUtf8 | Arrow::Utf8View | Arrow::Null => true,
        Arrow::Dictionary(_, values) => matches!(**values, Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View),
        _ => false,
    };
    if !textual {
        return Err(Error::input(format!("column {name}: expected text, got {}", array.data_type())));
    }
    let array = cast(array, &Arrow::Utf8).map_err(|e| Error::input(format!("column {name}: {e}")))?;
    Ok(array.as_string::<i32>().clone())
}

/// Instants as whole numbers, and how many microseconds one of them is.
fn instants(name: &str, array: &ArrayRef) -> Result<(arrow::array::PrimitiveArray<Int64Type>, i64), Error> {
    let scale = match array.data_type() {
        Arrow::Timestamp(TimeUnit::Second, _) => 1_000_000,
        Arrow::Timestamp(TimeUnit::Millisecond, _) | Arrow::Date64 | Arrow::Int64 => 1_000,
        Arrow::Timestamp(TimeUnit::Microsecond, _) => 1,
        Arrow::Timestamp(TimeUnit::Nanosecond, _) => {
            // Truncation toward minus infinity; Arrow's own cast rounds toward zero.
            let nanos =
                cast(array, &Arrow::Int64).map_err(|e| Error::input(format!("column {name}: {e}")))?;
            return Ok((nanos.as_primitive::<Int64Type>().unary(|v| v.div_euclid(1_000)), 1));
        }
        Arrow::Date32 => {
            let days = cast(array, &Arrow::Timestamp(TimeUnit::Microsecond, None))
                .map_err(|e| Error::input(format!("column {name}: {e}")))?;
            let days = days.as_primitive::<TimestampMicrosecondType>();
            return Ok((days.reinterpret_cast::<Int64Type>(), 1));
        }
        other => {
            return Err(Error::input(format!(
                "column {name}: expected a timestamp or whole milliseconds, got {other}"
            )));
        }
    };
    let whole = cast(array, &Arrow::Int64).map_err(|e| Error::input(format!("column {name}: {e}")))?;
    Ok((whole.as_primitive::<Int64Type>().clone(), scale))
}

#[cfg(test)]
mod tests;
