//! Groups of the engine → columns of an answer.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use wattline_model::{Kind, Value};
use wattline_registry::Registry;
use wattline_storage::{Cells, Groups, PointCell};

use super::shape::{Figure, Output, Shape};
use crate::arrays::asset_ids;
use crate::error::{Error, ErrorKind};
use crate::scan::record_batch;

/// The columns of `shape` for `groups`.
///
/// # Errors
/// Damaged where there is a group of an asset that the registry does not know.
pub(super) fn batch(
    schema: &SchemaRef,
    shape: &Shape,
    registry: &Registry,
    groups: &Groups,
) -> Result<RecordBatch, Error> {
    let mut arrays = Vec::with_capacity(shape.outputs.len());
    for (output, field) in shape.outputs.iter().zip(schema.fields()) {
        let times = |list: &[i64]| Arc::new(TimestampMicrosecondArray::from(list.to_vec())) as ArrayRef;
        let array: ArrayRef = match output {
            Output::Asset => asset_ids(registry, &groups.assets)?,
            Output::Bucket => times(&groups.starts),
            Output::FirstTime => times(&groups.first_times),
            Output::LastTime => times(&groups.last_times),
            Output::Rows => Arc::new(groups.rows.iter().map(|&n| Some(n as i64)).collect::<Int64Array>()),
            Output::Point(place, figure) => {
                let kind = shape.points[*place].kind;
                point(&groups.points[*place], kind, *figure, groups)
            }
        };
        arrays.push(typed(array, field.data_type())?);
    }
    let batch = record_batch(schema, arrays, groups.len())?;
    match shape.required {
        // A group of rows that do not count is none, but the one of an aggregate without groups stays.
        Some(place) if shape.grouped => {
            let counts = counts(&groups.points[place], |count| count > 0);
            let wrong = |e| Error::new(ErrorKind::Bug, format!("groups of an aggregate: {e}"));
            filter_record_batch(&batch, &BooleanArray::from(counts)).map_err(wrong)
        }
        _ => Ok(batch),
    }
}

/// What `of` says of the number of values in each group.
fn counts<T>(cells: &Cells, of: impl Fn(u64) -> T) -> Vec<T> {
    match cells {
        Cells::Float(cells) => cells.iter().map(|cell| of(cell.count)).collect(),
        Cells::Int(cells) => cells.iter().map(|cell| of(cell.count)).collect(),
        Cells::Other(cells) => cells.iter().map(|cell| of(cell.count)).collect(),
    }
}

/// The one row of an aggregate without groups over no rows.
///
/// # Errors
/// Bug where the schema is not that of `shape`.
pub(super) fn of_nothing(schema: &SchemaRef, shape: &Shape) -> Result<RecordBatch, Error> {
    let mut arrays = Vec::with_capacity(shape.outputs.len());
    for (output, field) in shape.outputs.iter().zip(schema.fields()) {
        arrays.push(match output {
            Output::Rows | Output::Point(_, Figure::Count) => {
                typed(Arc::new(Int64Array::from(vec![0])), field.data_type())?
            }
            _ => new_null_array(field.data_type(), 1),
        });
    }
    record_batch(schema, arrays, 1)
}

fn typed(array: ArrayRef, data_type: &DataType) -> Result<ArrayRef, Error> {
    if array.data_type() == data_type {
        return Ok(array);
    }
    // Figures of floats and integers in the width of the column; instants with the zone.
    cast(&array, data_type).map_err(|e| Error::new(ErrorKind::Bug, format!("an aggregate's column: {e}")))
}

fn point(cells: &Cells, kind: Kind, figure: Figure, groups: &Groups) -> ArrayRef {
    match (cells, figure) {
        (cells, Figure::Count) => Arc::new(Int64Array::from(counts(cells, |count| count as i64))),
        (Cells::Float(cells), figure) => {
            let value = |(i, c): (usize, &PointCell<f64, f64>)| match figure {
                Figure::Sum => some(c, c.sum),
                Figure::Avg => some(c, c.sum / c.count as f64),
                figure => picked(c, i, figure, groups),
            };
            Arc::new(cells.iter().enumerate().map(value).collect::<Float64Array>())
        }
        (Cells::Int(cells), Figure::Avg) => {
            let mean = |c: &PointCell<i64, i128>| some(c, c.sum as f64 / c.count as f64);
            Arc::new(cells.iter().map(mean).collect::<Float64Array>())
        }
        (Cells::Int(cells), figure) => {
            let value = |(i, c): (usize, &PointCell<i64, i128>)| match figure {
                // Sums of BIGINT wrap around, as DataFusion's do.
                Figure::Sum => some(c, c.sum as i64),
                figure => picked(c, i, figure, groups),
            };
            Arc::new(cells.iter().enumerate().map(value).collect::<Int64Array>())
        }
        (Cells::Other(cells), figure) => {
            let value = |(i, c)| picked::<Option<Value>, ()>(c, i, figure, groups).flatten();
            let values = cells.iter().enumerate().map(value);
            if kind == Kind::Bool {
                let truth = |v: Option<Value>| if let Some(Value::Bool(v)) = v { Some(v) } else { None };
                return Arc::new(values.map(truth).collect::<BooleanArray>());
            }
            let text = |v: Option<Value>| if let Some(Value::Text(v)) = v { Some(v) } else { None };
            Arc::new(values.map(text).collect::<StringViewArray>())
        }
    }
}

fn some<T, S, V>(cell: &PointCell<T, S>, value: V) -> Option<V> {
    (cell.count > 0).then_some(value)
}

/// One of the values of a cell, of group `i`.
fn picked<T: Clone, S>(cell: &PointCell<T, S>, i: usize, figure: Figure, groups: &Groups) -> Option<T> {
    match figure {
        Figure::Min => some(cell, cell.min.clone()),
        Figure::Max => some(cell, cell.max.clone()),
        Figure::First { of_row } => {
            (!of_row || cell.first_time == groups.first_times[i]).then(|| some(cell, cell.first.clone()))?
        }
        Figure::Last { of_row } => {
            (!of_row || cell.last_time == groups.last_times[i]).then(|| some(cell, cell.last.clone()))?
        }
        Figure::Count | Figure::Sum | Figure::Avg => None,
    }
}
