//! Columns of the store → Arrow arrays.
//!
//! Owns: the conversion by data type; floats, 64-bit integers and presence bits move without a copy. Does not own:
//! schemas (`columns`), who calls (`scan`, `tables/latest`).
//!
//! What does not fit the model (another kind, an INT beyond 32 bits, lengths that differ) was not written by this
//! version of the server: it is reported as damage, never as a panic or a wrong number.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringViewBuilder,
    TimestampMicrosecondArray, UInt8Array, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::take;
use wattline_model::{AssetId, DataType, EnumKind, Point, Presence, Quality, Values};
use wattline_registry::Registry;

use crate::error::{Error, ErrorKind};

/// The values of `point` as an array.
///
/// # Errors
/// Damaged where they do not fit its data type.
pub(crate) fn values(
    point: &Point,
    rows: usize,
    values: Values,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Error> {
    if values.len() != rows {
        return Err(misfit(point, &format!("{} values for {rows} rows", values.len())));
    }
    let array: ArrayRef = match (point.data_type, values) {
        (DataType::Double, Values::Float(v)) => Arc::new(Float64Array::new(v.into(), nulls)),
        (DataType::Float, Values::Float(v)) => {
            // Held as the f64 of exactly the f32 that came in, so nothing is rounded.
            let narrow: Vec<f32> = v.into_iter().map(|x| x as f32).collect();
            Arc::new(Float32Array::new(narrow.into(), nulls))
        }
        (DataType::Long, Values::Int(v)) => Arc::new(Int64Array::new(v.into(), nulls)),
        (DataType::Int | DataType::Enum(EnumKind::Int), Values::Int(v)) => {
            Arc::new(Int32Array::new(narrow(point, &v)?.into(), nulls))
        }
        (DataType::Date, Values::Int(v)) => Arc::new(TimestampMicrosecondArray::new(v.into(), nulls)),
        (DataType::Timestamp, Values::Int(v)) => Arc::new(instants(v, nulls)),
        (DataType::Bool, Values::Bool(v)) => Arc::new(BooleanArray::new(BooleanBuffer::from(v), nulls)),
        (
            DataType::String
            | DataType::Enum(EnumKind::Text)
            | DataType::Array
            | DataType::Struct
            | DataType::File,
            Values::Text(v),
        ) => {
            let mut builder = StringViewBuilder::with_capacity(rows);
            for (i, text) in v.iter().enumerate() {
                if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                    builder.append_null();
                } else {
                    builder.append_value(text);
                }
            }
            Arc::new(builder.finish())
        }
        (_, values) => return Err(misfit(point, &format!("values of kind {}", values.kind().name()))),
    };
    Ok(array)
}

fn narrow(point: &Point, values: &[i64]) -> Result<Vec<i32>, Error> {
    values.iter().map(|&v| i32::try_from(v).map_err(|_| misfit(point, &format!("the value {v}")))).collect()
}

fn misfit(point: &Point, what: &str) -> Error {
    let message = format!("point {} of type {} holds {what}", point.key, point.data_type.name());
    Error::new(ErrorKind::Damaged, message)
}

/// Instants, microseconds UTC.
pub(crate) fn instants(micros: Vec<i64>, nulls: Option<NullBuffer>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::new(micros.into(), nulls).with_timezone("UTC")
}

/// The qualities of a point with quality; a value that came without one counts as good.
///
/// # Errors
/// Damaged where there are more or fewer than rows.
pub(crate) fn qualities(
    point: &Point,
    rows: usize,
    quality: Option<&[Quality]>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Error> {
    let codes = match quality {
        Some(quality) if quality.len() != rows => {
            return Err(misfit(point, &format!("{} qualities for {rows} rows", quality.len())));
        }
        Some(quality) => quality.iter().map(|q| q.code()).collect(),
        None => vec![Quality::GOOD.code(); rows],
    };
    Ok(Arc::new(UInt8Array::new(ScalarBuffer::from(codes), nulls)))
}

/// Which rows have a value, as Arrow tells it.
///
/// # Errors
/// Damaged where it tells of more or fewer than `rows`.
pub(crate) fn nulls(
    point: &Point,
    rows: usize,
    presence: Option<Presence>,
) -> Result<Option<NullBuffer>, Error> {
    match presence {
        None => Ok(None),
        Some(presence) if presence.len() != rows => {
            Err(misfit(point, &format!("presence of {} rows for {rows}", presence.len())))
        }
        Some(presence) if presence.present() == rows => Ok(None),
        Some(presence) => {
            let bits = BooleanBuffer::new(Buffer::from_vec(presence.into_bits()), 0, rows);
            Ok(Some(NullBuffer::new(bits)))
        }
    }
}

/// The text ids of `assets`. Assets come in runs, so each text is looked up and laid down once a run.
///
/// # Errors
/// Damaged where the registry does not know an asset that has rows.
pub(crate) fn asset_ids(registry: &Registry, assets: &[AssetId]) -> Result<ArrayRef, Error> {
    let mut texts = StringViewBuilder::new();
    let mut run_of_row = Vec::with_capacity(assets.len());
    for (number, run) in (0_u32..).zip(assets.chunk_by(|a, b| a == b)) {
        let device = registry.asset(run[0]).ok_or_else(|| {
            Error::new(ErrorKind::Damaged, format!("{} has rows, but the registry does not know it", run[0]))
        })?;
        texts.append_value(&device.asset_key);
        run_of_row.resize(run_of_row.len() + run.len(), number);
    }
    // Taking copies the views of texts that are known to be UTF-8. An array made of all views would check the text of
    // every row again, which was a fifth of a scan's time.
    take(&texts.finish(), &UInt32Array::from(run_of_row), None)
        .map_err(|e| Error::new(ErrorKind::Bug, format!("asset ids: {e}")))
}
