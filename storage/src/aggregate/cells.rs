//! What is known of the samples of one point in one group, and how more samples change it.
//!
//! Owns: folding values, statistics and other cells into a cell. Does not own: which group a sample belongs to
//! (`groups`).

use wattline_format::segment::{BlockStats, Figures, Stats};
use wattline_model::{Kind, Value, Values};

use crate::error::{Error, ErrorKind, Result};

/// Which figures of a point are wanted. What is not wanted is left as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// The sum.
    pub sum: bool,
    /// The least and the greatest value.
    pub extremes: bool,
    /// The first and the last value, with their times.
    pub ends: bool,
}

/// The samples of one point in one group. Without samples all but `count` is meaningless.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell<T, S> {
    /// How many samples.
    pub count: u64,
    /// Their sum: of floats added up in order of time within an asset, of integers exact.
    pub sum: S,
    /// The least value; floats in IEEE 754 total order.
    pub min: T,
    /// The greatest value, in the same order.
    pub max: T,
    /// The value with the earliest time.
    pub first: T,
    /// The value with the latest time.
    pub last: T,
    /// The time of `first`, microseconds.
    pub first_time: i64,
    /// The time of `last`, microseconds.
    pub last_time: i64,
}

/// One cell a group.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Of floats.
    Float(Vec<Cell<f64, f64>>),
    /// Of integers.
    Int(Vec<Cell<i64, i128>>),
    /// Of truth values or texts, which have no sum.
    Other(Vec<Cell<Option<Value>, ()>>),
}

/// What an order and a sum mean for a type of values.
trait Folds<S>: Clone {
    /// Adds `values` to `sum`.
    fn add(sum: &mut S, values: &[Self]);
    /// The least and the greatest of `values`, of which there are some.
    fn extremes(values: &[Self]) -> (Self, Self);
    fn is_less(&self, other: &Self) -> bool;
    fn join(sum: &mut S, other: &S);
}

/// Sums that are added up side by side: one after the other would wait for each addition.
const LANES: usize = 8;

impl Folds<f64> for f64 {
    fn add(sum: &mut f64, values: &[f64]) {
        let mut lanes = [0.0; LANES];
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, v)| *lane += v);
        }
        *sum += lanes.iter().sum::<f64>() + rest.iter().sum::<f64>();
    }

    fn extremes(values: &[f64]) -> (f64, f64) {
        // Plain comparisons are what a processor has; they do not order NaN, nor -0.0 before 0.0.
        let (mut min, mut max, mut nan) =
            ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES], [false; LANES]);
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            for (i, &v) in chunk.iter().enumerate() {
                min[i] = if v < min[i] { v } else { min[i] };
                max[i] = if v > max[i] { v } else { max[i] };
                nan[i] |= v.is_nan();
            }
        }
        for (i, &v) in rest.iter().enumerate() {
            min[i] = if v < min[i] { v } else { min[i] };
            max[i] = if v > max[i] { v } else { max[i] };
            nan[i] |= v.is_nan();
        }
        let least = min.into_iter().fold(f64::INFINITY, f64::min);
        let greatest = max.into_iter().fold(f64::NEG_INFINITY, f64::max);
        if nan.contains(&true) || least == 0.0 || greatest == 0.0 {
            let ordered = |a: &&f64, b: &&f64| a.total_cmp(b);
            let (least, greatest) = (values.iter().min_by(ordered), values.iter().max_by(ordered));
            return (least.copied().unwrap_or(f64::NAN), greatest.copied().unwrap_or(f64::NAN));
        }
        (least, greatest)
    }

    fn is_less(&self, other: &f64) -> bool {
        self.total_cmp(other).is_lt()
    }

    fn join(sum: &mut f64, other: &f64) {
        *sum += other;
    }
}

impl Folds<i128> for i64 {
    fn add(sum: &mut i128, values: &[i64]) {
        // 2^31 values of a half each keep a 64-bit half far from its end.
        let (mut low, mut high) = (0_u64, 0_i64);
        for part in values.chunks(1 << 20) {
            for &v in part {
                low += v as u64 & 0xFFFF_FFFF;
                high += v >> 32;
            }
            *sum += (i128::from(high) << 32) + i128::from(low);
            (low, high) = (0, 0);
        }
    }

    fn extremes(values: &[i64]) -> (i64, i64) {
        values.iter().fold((i64::MAX, i64::MIN), |(min, max), &v| (min.min(v), max.max(v)))
    }

    fn is_less(&self, other: &i64) -> bool {
        self < other
    }

    fn join(sum: &mut i128, other: &i128) {
        *sum += other;
    }
}

impl Folds<()> for Option<Value> {
    fn add(_: &mut (), _: &[Option<Value>]) {}

    fn extremes(values: &[Option<Value>]) -> (Option<Value>, Option<Value>) {
        let mut extremes = (values[0].clone(), values[0].clone());
        for value in values {
            if value.is_less(&extremes.0) {
                extremes.0 = value.clone();
            }
            if extremes.1.is_less(value) {
                extremes.1 = value.clone();
            }
        }
        extremes
    }

    fn is_less(&self, other: &Option<Value>) -> bool {
        match (self, other) {
            (Some(Value::Text(a)), Some(Value::Text(b))) => a < b,
            (Some(Value::Bool(a)), Some(Value::Bool(b))) => a < b,
            _ => false,
        }
    }

    fn join(_: &mut (), _: &()) {}
}

#[expect(private_bounds, reason = "whoever reads figures has no use for how they are folded")]
impl<T: Folds<S>, S> Cell<T, S> {
    /// Takes in samples of ascending time; `times` are those of the first and the last.
    fn fold(&mut self, values: &[T], times: (i64, i64), wants: Wants) {
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return };
        if wants.sum {
            T::add(&mut self.sum, values);
        }
        if wants.extremes {
            let (min, max) = T::extremes(values);
            self.fold_extremes(&min, &max);
        }
        if wants.ends {
            self.fold_ends((first, times.0), (last, times.1));
        }
        self.count += values.len() as u64;
    }

    fn fold_extremes(&mut self, min: &T, max: &T) {
        if self.count == 0 || min.is_less(&self.min) {
            self.min = min.clone();
        }
        if self.count == 0 || self.max.is_less(max) {
            self.max = max.clone();
        }
    }

    fn fold_ends(&mut self, first: (&T, i64), last: (&T, i64)) {
        if self.count == 0 || first.1 < self.first_time {
            (self.first, self.first_time) = (first.0.clone(), first.1);
        }
        if self.count == 0 || last.1 >= self.last_time {
            (self.last, self.last_time) = (last.0.clone(), last.1);
        }
    }

    /// Takes in what another cell knows.
    fn merge(&mut self, other: &Cell<T, S>, wants: Wants) {
        if other.count == 0 {
            return;
        }
        if wants.sum {
            T::join(&mut self.sum, &other.sum);
        }
        if wants.extremes {
            self.fold_extremes(&other.min, &other.max);
        }
        if wants.ends {
            self.fold_ends((&other.first, other.first_time), (&other.last, other.last_time));
        }
        self.count += other.count;
    }
}

impl<T, S> Cell<T, S> {
    /// What the statistics of a block say; `times` are those of its first and last value.
    fn of_block(count: u32, of: Figures<T, S>, (first_time, last_time): (i64, i64)) -> Cell<T, S> {
        let Figures { first, min, max, last, sum } = of;
        Cell { count: count.into(), sum, min, max, first, last, first_time, last_time }
    }
}

impl Cells {
    pub(super) fn new(kind: Kind) -> Cells {
        match kind {
            Kind::Float => Cells::Float(Vec::new()),
            Kind::Int => Cells::Int(Vec::new()),
            Kind::Bool | Kind::Text => Cells::Other(Vec::new()),
        }
    }

    pub(super) fn grow(&mut self) {
        match self {
            Cells::Float(cells) => cells.push(Cell::default()),
            Cells::Int(cells) => cells.push(Cell::default()),
            Cells::Other(cells) => cells.push(Cell::default()),
        }
    }

    /// Cuts off the cells from `at` on and returns those before.
    pub(super) fn take_before(&mut self, at: usize) -> Cells {
        fn take<T>(cells: &mut Vec<T>, at: usize) -> Vec<T> {
            let rest = cells.split_off(at);
            std::mem::replace(cells, rest)
        }
        match self {
            Cells::Float(cells) => Cells::Float(take(cells, at)),
            Cells::Int(cells) => Cells::Int(take(cells, at)),
            Cells::Other(cells) => Cells::Other(take(cells, at)),
        }
    }

    /// How many samples there are in group `group`.
    pub(super) fn count(&self, group: usize) -> u64 {
        match self {
            Cells::Float(cells) => cells[group].count,
            Cells::Int(cells) => cells[group].count,
            Cells::Other(cells) => cells[group].count,
        }
    }

    /// The cells numbered `order`, in that order.
    pub(super) fn picked(&self, order: &[usize]) -> Cells {
        match self {
            Cells::Float(cells) => Cells::Float(order.iter().map(|&i| cells[i].clone()).collect()),
            Cells::Int(cells) => Cells::Int(order.iter().map(|&i| cells[i].clone()).collect()),
            Cells::Other(cells) => Cells::Other(order.iter().map(|&i| cells[i].clone()).collect()),
        }
    }

    /// Takes `values[from..to]` into group `group`; `times` are those of the first and the last.
    ///
    /// # Errors
    /// Bug where the values are of another kind than was asked for.
    pub(super) fn fold(
        &mut self,
        group: usize,
        values: &Values,
        (from, to): (usize, usize),
        times: (i64, i64),
        wants: Wants,
    ) -> Result<()> {
        match (self, values) {
            (Cells::Float(cells), Values::Float(v)) => cells[group].fold(&v[from..to], times, wants),
            (Cells::Int(cells), Values::Int(v)) => cells[group].fold(&v[from..to], times, wants),
            (Cells::Other(cells), Values::Bool(_) | Values::Text(_)) if wants == Wants::default() => {
                cells[group].count += (to - from) as u64;
            }
            (Cells::Other(cells), Values::Bool(_) | Values::Text(_)) => {
                let values: Vec<Option<Value>> = (from..to).map(|i| Some(values.get(i).to_owned())).collect();
                cells[group].fold(&values, times, wants);
            }
            (_, values) => return Err(of_another_kind(values.kind())),
        }
        Ok(())
    }

    /// Takes the statistics of a block into group `group`; `times` are those of the first and the last value.
    ///
    /// # Errors
    /// Bug where they are of another kind than was asked for.
    pub(super) fn fold_stats(
        &mut self,
        group: usize,
        stats: Stats,
        (first_time, last_time): (i64, i64),
        wants: Wants,
    ) -> Result<()> {
        if let Some(figures) = stats.floats() {
            return self.fold_block(
                group,
                BlockStats::Float(stats.count, figures),
                (first_time, last_time),
                wants,
            );
        }
        if let Some(figures) = stats.ints() {
            return self.fold_block(
                group,
                BlockStats::Int(stats.count, figures),
                (first_time, last_time),
                wants,
            );
        }
        let Cells::Other(cells) = self else { return Err(of_another_kind(stats.min.as_ref().kind())) };
        let [min, max, first, last] = [stats.min, stats.max, stats.first, stats.last].map(Some);
        let count = u64::from(stats.count);
        let block = Cell { count, sum: (), min, max, first, last, first_time, last_time };
        cells[group].merge(&block, wants);
        Ok(())
    }

    /// As [`fold_stats`](Self::fold_stats), for numbers.
    ///
    /// # Errors
    /// Bug where they are of another kind than was asked for, or no numbers.
    pub(super) fn fold_block(
        &mut self,
        group: usize,
        stats: BlockStats,
        times: (i64, i64),
        wants: Wants,
    ) -> Result<()> {
        match (self, stats) {
            (_, BlockStats::Empty) => {}
            (Cells::Float(cells), BlockStats::Float(count, of)) => {
                cells[group].merge(&Cell::of_block(count, of, times), wants);
            }
            (Cells::Int(cells), BlockStats::Int(count, of)) => {
                cells[group].merge(&Cell::of_block(count, of, times), wants);
            }
            (_, BlockStats::Float(..)) => return Err(of_another_kind(Kind::Float)),
            (_, BlockStats::Int(..)) => return Err(of_another_kind(Kind::Int)),
            (_, BlockStats::Elsewhere) => {
                return Err(Error::new(ErrorKind::Bug, "statistics that are elsewhere were folded"));
            }
        }
        Ok(())
    }

    /// Takes cell `from` of `other` into group `group`.
    pub(super) fn merge(&mut self, group: usize, other: &Cells, from: usize, wants: Wants) {
        match (self, other) {
            (Cells::Float(cells), Cells::Float(others)) => cells[group].merge(&others[from], wants),
            (Cells::Int(cells), Cells::Int(others)) => cells[group].merge(&others[from], wants),
            (Cells::Other(cells), Cells::Other(others)) => cells[group].merge(&others[from], wants),
            _ => unreachable!("cells of one request are of one kind"),
        }
    }
}

fn of_another_kind(found: Kind) -> Error {
    let what = format!("an aggregate was asked for with another kind than {}, which was found", found.name());
    Error::new(ErrorKind::Bug, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_in_total_order() {
        let of = |values: &[f64]| {
            let (min, max) = f64::extremes(values);
            (min.to_bits(), max.to_bits())
        };
        let bits = |min: f64, max: f64| (min.to_bits(), max.to_bits());
        assert_eq!(of(&[0.0, -0.0, 0.0]), bits(-0.0, 0.0));
        assert_eq!(of(&[1.0, f64::NAN, -3.0]), bits(-3.0, f64::NAN));
        assert_eq!(of(&[f64::NAN; 9]), bits(f64::NAN, f64::NAN));
        assert_eq!(of(&[f64::INFINITY; 2]), bits(f64::INFINITY, f64::INFINITY));
        let many: Vec<f64> = (0..100).map(|i| f64::from((i * 37) % 100) + 1.0).collect();
        assert_eq!(of(&many), bits(1.0, 100.0));
    }

    #[test]
    fn integers_add_up_exactly() {
        let mut sum = 0;
        i64::add(&mut sum, &[i64::MAX, i64::MAX, -1, i64::MIN]);
        assert_eq!(sum, i128::from(i64::MAX) - 2);
    }
}
