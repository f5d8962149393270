//! One column of values.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Float32Type, Float64Type, Int64Type, UInt64Type};
use wattline_model::{DataType, EnumKind, Point, PointId, Quality, ValueRef, Values};

use super::{instants, texts};
use crate::check::{self, Fault, Scalar};
use crate::decode::Rejects;
use crate::error::Error;

/// The values of a point for every row of the batch; absent ones stand as 0, false or the empty text.
pub(super) struct Read {
    pub(super) point: PointId,
    pub(super) values: Values,
    pub(super) present: Vec<bool>,
    pub(super) quality: Option<Vec<Quality>>,
}

/// Qualities by row; `None` for one that is wrong and takes its sample with it.
pub(super) type Qualities = Vec<Option<Quality>>;

/// Reads the values of `point`. Rows not kept are passed over.
pub(super) fn read_point(
    point: &Point,
    array: &ArrayRef,
    quality: Option<Qualities>,
    keep: &[bool],
    rejects: &mut Rejects,
) -> Result<Read, Error> {
    // Logical nulls: a column of nothing and a dictionary keep theirs elsewhere than in a bitmap of their own.
    let nulls = array.logical_nulls();
    let valid = |i| nulls.as_ref().is_none_or(|n| n.is_valid(i));
    let wanted: Vec<bool> = (0..keep.len())
        .map(|i| keep[i] && valid(i) && quality.as_ref().is_none_or(|q| q[i].is_some()))
        .collect();
    let mut column = Filling { point, wanted, values: Values::new(point.data_type.kind()), rejects };
    column.fill(array)?;
    let Filling { wanted, values, .. } = column;
    // A column without one reported quality costs nothing.
    let reported =
        quality.filter(|q| q.iter().zip(&wanted).any(|(q, &wanted)| wanted && *q != Some(Quality::GOOD)));
    let quality = reported.map(|q| q.into_iter().map(Option::unwrap_or_default).collect());
    Ok(Read { point: point.id, values, present: wanted, quality })
}

/// Reads a quality column: null is "not reported", which counts as good.
pub(super) fn read_quality(
    name: &str,
    array: &ArrayRef,
    keep: &[bool],
    rejects: &mut Rejects,
) -> Result<Qualities, Error> {
    if !array.data_type().is_integer() && *array.data_type() != Arrow::Null {
        let message = format!("column {name}_quality: expected integers, got {}", array.data_type());
        return Err(Error::input(message));
    }
    // Safe: what does not fit becomes null, and is then told from a null that was there.
    let codes =
        cast(array, &Arrow::Int64).map_err(|e| Error::input(format!("column {name}_quality: {e}")))?;
    let codes = codes.as_primitive::<Int64Type>();
    let nulls = array.logical_nulls();
    let mut qualities = Vec::with_capacity(keep.len());
    for (row, &keep) in keep.iter().enumerate() {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) || !keep {
            qualities.push(Some(Quality::GOOD));
            continue;
        }
        let code = if codes.is_valid(row) { codes.value(row) } else { i64::MAX };
        let quality = check::quality(&Scalar::Int(code));
        if let Err(fault) = &quality {
            rejects.push(row, &format!("{name}_quality"), || fault.reason.clone());
        }
        qualities.push(quality.ok());
    }
    Ok(qualities)
}

struct Filling<'a> {
    point: &'a Point,
    /// Rows that shall have a value; those that turn out wrong are struck off.
    wanted: Vec<bool>,
    values: Values,
    rejects: &'a mut Rejects,
}

impl Filling<'_> {
    fn fill(&mut self, array: &ArrayRef) -> Result<(), Error> {
        use DataType as T;
        let from = array.data_type();
        match (self.point.data_type, from) {
            (_, Arrow::Null) => self.scalars(|_| Scalar::Null),
            (T::Double | T::Float, Arrow::Float64) => {
                self.floats(array.as_primitive::<Float64Type>().values())
            }
            (T::Double | T::Float, Arrow::Float32) => {
                let wide: Vec<f64> =
                    array.as_primitive::<Float32Type>().values().iter().map(|&v| f64::from(v)).collect();
                self.floats(&wide);
            }
            (T::Int | T::Long | T::Bool | T::Double | T::Float | T::Enum(EnumKind::Int), from)
                if from.is_integer() =>
            {
                self.integers(array)?;
            }
            (T::Int | T::Long | T::Enum(EnumKind::Int), Arrow::Float64 | Arrow::Float32) => {
                let wide = cast(array, &Arrow::Float64).map_err(|e| self.wrong(&e.to_string()))?;
                let wide = wide.as_primitive::<Float64Type>();
                self.scalars(|row| Scalar::Float(wide.value(row)));
            }
            (T::Bool, Arrow::Boolean) => {
                let bools = array.as_boolean();
                self.values = Values::Bool((0..bools.len()).map(|i| bools.value(i)).collect());
            }
            (T::Timestamp | T::Date, Arrow::Timestamp(..) | Arrow::Date32 | Arrow::Date64)
            | (T::Timestamp, Arrow::Int64) => {
                let (whole, scale) = instants(&self.point.key, array)?;
                let scaled = |row: usize| whole.value(row).checked_mul(scale);
                self.instants(scaled);
            }
            (
                T::String | T::File | T::Enum(EnumKind::Text) | T::Date | T::Timestamp | T::Array | T::Struct,
                _,
            ) => {
                let texts = texts(&self.point.key, array)?;
                let nested = matches!(self.point.data_type, T::Array | T::Struct);
                self.texts(&texts, nested);
            }
            (_, other) => return Err(self.wrong(&format!("cannot be read from {other}"))),
        }
        Ok(())
    }

    fn wrong(&self, reason: &str) -> Error {
        Error::input(format!("column {}: {} {reason}", self.point.key, self.point.data_type.name()))
    }

    fn refuse(&mut self, row: usize, fault: Fault) {
        self.wanted[row] = false;
        self.rejects.push(row, &self.point.key, || fault.reason);
    }

    /// Floats, the whole slice at once; only a wrong one is looked at again.
    fn floats(&mut self, from: &[f64]) {
        let single = self.point.data_type == DataType::Float;
        let mut values = from.to_vec();
        if single {
            #[expect(clippy::cast_possible_truncation, reason = "rounding to 32 bits is what FLOAT means")]
            values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        }
        let all_finite = values.iter().all(|v| v.is_finite());
        if !all_finite {
            for row in 0..values.len() {
                if self.wanted[row] && !values[row].is_finite() {
                    let width = if single { 32 } else { 64 };
                    let reason = format!("expected a finite {width}-bit float, got {}", from[row]);
                    self.refuse(row, Fault::format(reason));
                }
            }
        }
        self.values = Values::Float(values);
    }

    fn integers(&mut self, array: &ArrayRef) -> Result<(), Error> {
        if *array.data_type() == Arrow::UInt64 {
            let whole = array.as_primitive::<UInt64Type>().clone();
            self.scalars(|row| {
                let v = whole.value(row);
                i64::try_from(v).map_or(Scalar::UInt(v), Scalar::Int)
            });
            return Ok(());
        }
        let whole = cast(array, &Arrow::Int64).map_err(|e| self.wrong(&e.to_string()))?;
        let whole = whole.as_primitive::<Int64Type>();
        if self.point.data_type == DataType::Long {
            self.values = Values::Int(whole.values().to_vec());
        } else {
            self.scalars(|row| Scalar::Int(whole.value(row)));
        }
        Ok(())
    }

    fn instants(&mut self, micros: impl Fn(usize) -> Option<i64>) {
        let mut values = vec![0; self.wanted.len()];
        for (row, value) in values.iter_mut().enumerate() {
            if self.wanted[row] {
                match micros(row) {
                    Some(v) => *value = v,
                    None => self.refuse(row, Fault::format("is out of range")),
                }
            }
        }
        self.values = Values::Int(values);
    }

    fn texts(&mut self, from: &arrow::array::StringArray, nested: bool) {
        for row in 0..self.wanted.len() {
            if self.wanted[row] && nested {
                let text = from.value(row);
                // The rules of lists and objects rely on valid JSON.
                let valid = serde_json::from_str::<serde::de::IgnoredAny>(text);
                match valid {
                    Ok(_) => self.put(row, &Scalar::Json(text.trim_ascii())),
                    Err(e) => {
                        self.refuse(row, Fault::format(format!("is not valid JSON: {e}")));
                        self.values.push_absent();
                    }
                }
            } else if self.wanted[row] {
                self.put(row, &Scalar::Text(Cow::Borrowed(from.value(row))));
            } else {
                self.values.push_absent();
            }
        }
    }

    fn scalars<'s>(&mut self, of: impl Fn(usize) -> Scalar<'s>) {
        for row in 0..self.wanted.len() {
            if self.wanted[row] {
                self.put(row, &of(row));
            } else {
                self.values.push_absent();
            }
        }
    }

    fn put(&mut self, row: usize, scalar: &Scalar<'_>) {
        let mut scratch = String::new();
        let fault = match check::value(self.point, scalar, &mut scratch) {
            Ok(value) if self.push(value) => return,
            Ok(_) => Fault::model("is held as another kind of value"),
            Err(fault) => fault,
        };
        self.values.push_absent();
        self.refuse(row, fault);
    }

    fn push(&mut self, value: ValueRef<'_>) -> bool {
        self.values.push(value)
    }
}
