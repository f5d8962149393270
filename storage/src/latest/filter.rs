//! Conditions over the newest values of one point.
//!
//! Owns: what a condition means, and finding the slots that meet it, 64 at a time without a branch a slot. Does not
//! own: the table (`latest`), names of anything.

use wattline_model::{Kind, Value};

use super::{ABSENT, PointTable};
use crate::error::{Error, ErrorKind, Result};

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Ge,
    /// Less than.
    Lt,
    /// Less than or equal.
    Le,
}

/// A condition on a newest value. A point without a value meets none. Floats compare as IEEE 754 says, so NaN meets
/// `Ne` only; texts by their bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum LatestCondition {
    /// It compares so to a value.
    Is(Comparison, Value),
    /// It lies between two values, both inside.
    Between(Value, Value),
    /// It is one of these.
    In(Vec<Value>),
}

/// A condition with the kind of its point: what the loops run over.
pub(super) enum Test {
    Float(FloatTest),
    Int(IntTest),
    Text(LatestCondition),
}

pub(super) enum FloatTest {
    Is(Comparison, f64),
    Between(f64, f64),
    In(Vec<f64>),
}

/// Booleans are 0 and 1 here.
pub(super) enum IntTest {
    Is(Comparison, i64),
    Between(i64, i64),
    /// Ascending.
    In(Vec<i64>),
}

impl LatestCondition {
    /// The condition for a point of `kind`.
    ///
    /// # Errors
    /// `Input` where a value is not of that kind. An integer is taken for a float's, too.
    pub(super) fn test(&self, kind: Kind) -> Result<Test> {
        Ok(match kind {
            Kind::Float => Test::Float(match self {
                LatestCondition::Is(comparison, value) => FloatTest::Is(*comparison, float(value)?),
                LatestCondition::Between(low, high) => FloatTest::Between(float(low)?, float(high)?),
                LatestCondition::In(list) => FloatTest::In(list.iter().map(float).collect::<Result<_>>()?),
            }),
            Kind::Int | Kind::Bool => Test::Int(match self {
                LatestCondition::Is(comparison, value) => IntTest::Is(*comparison, int(value, kind)?),
                LatestCondition::Between(low, high) => IntTest::Between(int(low, kind)?, int(high, kind)?),
                LatestCondition::In(list) => {
                    let mut list = list.iter().map(|v| int(v, kind)).collect::<Result<Vec<_>>>()?;
                    list.sort_unstable();
                    IntTest::In(list)
                }
            }),
            Kind::Text => {
                let values: Vec<&Value> = match self {
                    LatestCondition::Is(_, value) => vec![value],
                    LatestCondition::Between(low, high) => vec![low, high],
                    LatestCondition::In(list) => list.iter().collect(),
                };
                if let Some(value) = values.into_iter().find(|v| !matches!(v, Value::Text(_))) {
                    return Err(wrong(value, kind));
                }
                Test::Text(self.clone())
            }
        })
    }
}

fn wrong(value: &Value, kind: Kind) -> Error {
    let what = format!("the point has {} values, the condition {value:?}", kind.name());
    Error::new(ErrorKind::Input, what)
}

fn float(value: &Value) -> Result<f64> {
    match value {
        Value::Float(v) => Ok(*v),
        Value::Int(v) => Ok(*v as f64),
        value => Err(wrong(value, Kind::Float)),
    }
}

fn int(value: &Value, kind: Kind) -> Result<i64> {
    match (value, kind) {
        (Value::Int(v), Kind::Int) => Ok(*v),
        (Value::Bool(v), Kind::Bool) => Ok(i64::from(*v)),
        (value, kind) => Err(wrong(value, kind)),
    }
}

impl PointTable {
    /// Hands the slots of `[from, to)` that pass `test` to `take`, ascending.
    pub(super) fn select(&self, test: &Test, from: usize, to: usize, mut take: impl FnMut(usize)) {
        let to = to.min(self.times.len());
        if from >= to {
            return;
        }
        match test {
            Test::Float(FloatTest::Is(comparison, x)) => {
                let x = *x;
                match comparison {
                    Comparison::Eq => self.scan(from, to, |v| f64::from_bits(v) == x, take),
                    Comparison::Ne => self.scan(from, to, |v| f64::from_bits(v) != x, take),
                    Comparison::Gt => self.scan(from, to, |v| f64::from_bits(v) > x, take),
                    Comparison::Ge => self.scan(from, to, |v| f64::from_bits(v) >= x, take),
                    Comparison::Lt => self.scan(from, to, |v| f64::from_bits(v) < x, take),
                    Comparison::Le => self.scan(from, to, |v| f64::from_bits(v) <= x, take),
                }
            }
            Test::Float(FloatTest::Between(low, high)) => {
                self.scan(from, to, |v| (*low..=*high).contains(&f64::from_bits(v)), take);
            }
            Test::Float(FloatTest::In(list)) => {
                self.scan(from, to, |v| list.contains(&f64::from_bits(v)), take);
            }
            Test::Int(IntTest::Is(comparison, x)) => {
                let x = *x;
                match comparison {
                    Comparison::Eq => self.scan(from, to, |v| v as i64 == x, take),
                    Comparison::Ne => self.scan(from, to, |v| v as i64 != x, take),
                    Comparison::Gt => self.scan(from, to, |v| v as i64 > x, take),
                    Comparison::Ge => self.scan(from, to, |v| v as i64 >= x, take),
                    Comparison::Lt => self.scan(from, to, |v| (v as i64) < x, take),
                    Comparison::Le => self.scan(from, to, |v| v as i64 <= x, take),
                }
            }
            Test::Int(IntTest::Between(low, high)) => {
                self.scan(from, to, |v| (*low..=*high).contains(&(v as i64)), take);
            }
            Test::Int(IntTest::In(list)) => {
                self.scan(from, to, |v| list.binary_search(&(v as i64)).is_ok(), take);
            }
            Test::Text(condition) => {
                let present = (from..to).filter(|&slot| self.times[slot] != ABSENT);
                present.filter(|&slot| meets(condition, &self.texts[slot])).for_each(&mut take);
            }
        }
    }

    /// 64 slots at a time: first whether each passes, without a branch, then those that do, eight at a look.
    fn scan(&self, from: usize, to: usize, passes: impl Fn(u64) -> bool, mut take: impl FnMut(usize)) {
        let (times, values) = (&self.times[from..to], &self.values[from..to]);
        for (i, (times, values)) in times.chunks(64).zip(values.chunks(64)).enumerate() {
            let mut hits = [0_u8; 64];
            for ((hit, &time), &value) in hits.iter_mut().zip(times).zip(values) {
                *hit = u8::from((time != ABSENT) & passes(value));
            }
            for (j, eight) in hits.as_chunks::<8>().0.iter().enumerate() {
                let mut bits = u64::from_le_bytes(*eight);
                while bits != 0 {
                    take(from + i * 64 + j * 8 + bits.trailing_zeros() as usize / 8);
                    bits &= bits - 1;
                }
            }
        }
    }
}

fn meets(condition: &LatestCondition, text: &str) -> bool {
    let compare = |value: &Value| match value {
        Value::Text(other) => text.cmp(other.as_str()),
        _ => std::cmp::Ordering::Less,
    };
    match condition {
        LatestCondition::Is(comparison, value) => {
            let order = compare(value);
            match comparison {
                Comparison::Eq => order.is_eq(),
                Comparison::Ne => order.is_ne(),
                Comparison::Gt => order.is_gt(),
                Comparison::Ge => order.is_ge(),
                Comparison::Lt => order.is_lt(),
                Comparison::Le => order.is_le(),
            }
        }
        LatestCondition::Between(low, high) => compare(low).is_ge() && compare(high).is_le(),
        LatestCondition::In(list) => list.iter().any(|value| compare(value).is_eq()),
    }
}
