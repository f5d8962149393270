//! Conditions on values that let a scan leave rows out.
//!
//! Owns: what a condition means for the statistics of a block and for its values. Numbers are compared as integers in
//! the order of the values, floats in IEEE 754 total order, so a condition is a stretch of integers.

use std::ops::Bound;

use wattline_format::segment::Stats;
use wattline_model::{Column, PointId, Rows, Value, ValueRef, Values};

/// A stretch of values of a point of numbers. Rows without a value in it may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// The point.
    pub point: PointId,
    least: i64,
    greatest: i64,
}

/// The place of a float in total order.
fn place(v: f64) -> i64 {
    let bits = v.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl Within {
    /// Floats between two bounds in total order: NaN is greater than all.
    pub fn floats(point: PointId, low: Bound<f64>, high: Bound<f64>) -> Within {
        Within::ints(point, low.map(place), high.map(place))
    }

    /// Integers between two bounds.
    pub fn ints(point: PointId, low: Bound<i64>, high: Bound<i64>) -> Within {
        // Past the last integer there is none: least and greatest then pass each other.
        let (least, some_above) = match low {
            Bound::Unbounded => (i64::MIN, true),
            Bound::Included(v) => (v, true),
            Bound::Excluded(v) => (v.saturating_add(1), v < i64::MAX),
        };
        let (greatest, some_below) = match high {
            Bound::Unbounded => (i64::MAX, true),
            Bound::Included(v) => (v, true),
            Bound::Excluded(v) => (v.saturating_sub(1), v > i64::MIN),
        };
        if some_above && some_below {
            return Within { point, least, greatest };
        }
        Within { point, least: 1, greatest: 0 }
    }

    /// Whether `value` is inside; one that is no number never is.
    pub fn holds(&self, value: ValueRef<'_>) -> bool {
        let place = match value {
            ValueRef::Float(v) => place(v),
            ValueRef::Int(v) => v,
            ValueRef::Bool(_) | ValueRef::Text(_) => return false,
        };
        self.least <= place && place <= self.greatest
    }

    /// Whether some value of a block with these statistics may be inside.
    pub(crate) fn may_hold(&self, stats: &Stats) -> bool {
        let (min, max) = match (&stats.min, &stats.max) {
            (Value::Float(min), Value::Float(max)) => (place(*min), place(*max)),
            (Value::Int(min), Value::Int(max)) => (*min, *max),
            _ => return true,
        };
        self.least <= max && min <= self.greatest
    }

    /// Leaves in `keep`, one entry a row, only the rows whose value is inside.
    pub(crate) fn sift(&self, column: &Column, keep: &mut [bool]) {
        let (least, greatest) = (self.least, self.greatest);
        let is_inside = |v: i64| (least <= v) & (v <= greatest);
        match (&column.values, &column.rows) {
            (Values::Float(values), Rows::All) => {
                keep.iter_mut().zip(values).for_each(|(keep, v)| *keep &= is_inside(place(*v)));
            }
            (Values::Int(values), Rows::All) => {
                keep.iter_mut().zip(values).for_each(|(keep, v)| *keep &= is_inside(*v));
            }
            (Values::Float(values), Rows::Some(rows)) => {
                keep_listed(keep, rows, |i| is_inside(place(values[i])));
            }
            (Values::Int(values), Rows::Some(rows)) => keep_listed(keep, rows, |i| is_inside(values[i])),
            _ => {}
        }
    }
}

/// Of the rows kept so far, keeps those listed whose value passes.
fn keep_listed(keep: &mut [bool], rows: &[u32], passes: impl Fn(usize) -> bool) {
    let mut next = 0;
    for (i, &row) in rows.iter().enumerate() {
        keep[next..row as usize].fill(false);
        keep[row as usize] &= passes(i);
        next = row as usize + 1;
    }
    keep[next..].fill(false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use Bound::{Excluded, Included, Unbounded};

    fn kept(within: Within, values: Values, rows: Rows, count: usize) -> Vec<usize> {
        let mut keep = vec![true; count];
        within.sift(&Column { point: within.point, rows, values, quality: None }, &mut keep);
        (0..count).filter(|&i| keep[i]).collect()
    }

    #[test]
    fn floats_are_in_total_order() {
        let values =
            || Values::Float(vec![f64::NEG_INFINITY, -1.0, -0.0, 0.0, 90.0, 90.5, f64::INFINITY, f64::NAN]);
        let of = |low, high| kept(Within::floats(PointId(1), low, high), values(), Rows::All, 8);
        assert_eq!(of(Excluded(90.0), Unbounded), [5, 6, 7]);
        assert_eq!(of(Included(90.0), Excluded(f64::INFINITY)), [4, 5]);
        assert_eq!(of(Unbounded, Excluded(0.0)), [0, 1, 2]);
        assert_eq!(of(Included(0.0), Included(0.0)), [3]);
        assert_eq!(of(Excluded(f64::NAN), Unbounded), [0; 0]);
    }

    #[test]
    fn integers_reach_to_their_ends_and_rows_without_a_value_are_out() {
        let of = |low, high| {
            let rows = Rows::Some(vec![1, 3, 4]);
            kept(Within::ints(PointId(1), low, high), Values::Int(vec![i64::MIN, 7, i64::MAX]), rows, 6)
        };
        assert_eq!(of(Unbounded, Unbounded), [1, 3, 4]);
        assert_eq!(of(Excluded(i64::MAX), Unbounded), [0; 0]);
        assert_eq!(of(Unbounded, Excluded(i64::MIN)), [0; 0]);
        assert_eq!(of(Excluded(i64::MIN), Included(i64::MAX)), [3, 4]);
    }
}
