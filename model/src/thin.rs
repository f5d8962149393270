//! Thinning: which samples of a series are worth keeping.
//!
//! Owns: dead band and swinging door, sample by sample. Does not own: where what is kept goes. Storage policies and the
//! down-sampling of plots are the same rule.
//!
//! Dead band: a sample is kept when it differs from the one kept before by more than the deviation.
//!
//! Swinging door (Bristol, US patent 4,669,097): from the sample kept before (the *pivot*) a corridor opens to each
//! sample since, of ± the deviation. The newest sample waits; when one comes that the pivot cannot be joined to
//! inside the corridor, the waiting one is kept and becomes the pivot. So the straight line between two kept samples
//! passes every one between them within the deviation.
//!
//! Whatever is no ordinary next number of its series is kept: late samples, other qualities, NaN.

use crate::policy::{Thinning, Tolerance};
use crate::quality::Quality;
use crate::value::ValueRef;

/// A value that can lie near another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A float.
    Float(f64),
    /// An integer.
    Int(i64),
}

/// A sample of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// When, in microseconds.
    pub time: i64,
    /// What.
    pub value: Number,
    /// The quality beside it.
    pub quality: Option<Quality>,
}

/// What is remembered of a series.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// The newest sample that was kept.
    pivot: Option<Measured>,
    /// The newest sample that passed the dead band, where the swinging door has not decided about it.
    waiting: Option<Measured>,
    /// The slopes from the pivot that pass all samples up to the waiting one, a microsecond.
    corridor: (f64, f64),
}

impl Number {
    /// The number in `value`, where it is one.
    pub fn of(value: ValueRef<'_>) -> Option<Number> {
        match value {
            ValueRef::Float(v) => Some(Number::Float(v)),
            ValueRef::Int(v) => Some(Number::Int(v)),
            _ => None,
        }
    }

    /// It as a value.
    pub fn as_value(self) -> ValueRef<'static> {
        match self {
            Number::Float(v) => ValueRef::Float(v),
            Number::Int(v) => ValueRef::Int(v),
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Number::Float(v) => v,
            Number::Int(v) => v as f64,
        }
    }
}

/// Every slope.
const OPEN: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

impl Series {
    /// A series whose newest sample so far was `newest`, kept or waiting.
    pub fn new(newest: Option<Measured>) -> Series {
        Series { pivot: None, waiting: newest, corridor: OPEN }
    }

    /// Takes the next sample, and hands over what is kept because of it.
    pub fn take(&mut self, thinning: &Thinning, sample: Measured, mut keep: impl FnMut(Measured)) {
        let Some(newest) = self.waiting.or(self.pivot) else { return self.turn(sample, &mut keep) };
        if sample.time < newest.time {
            return keep(sample);
        }
        if sample.time == newest.time {
            // A second value for the newest time: what waited is superseded.
            return self.turn(sample, &mut keep);
        }
        if sample.quality != newest.quality || !is_ordinary(newest, sample) {
            if let Some(waiting) = self.waiting {
                keep(waiting);
            }
            return self.turn(sample, &mut keep);
        }
        if thinning.dead_band.is_some_and(|band| !exceeds(&band, newest, sample)) {
            return;
        }
        match &thinning.swinging_door {
            Some(door) => self.swing(door, sample, &mut keep),
            None => self.turn(sample, &mut keep),
        }
    }

    fn swing(&mut self, door: &Tolerance, sample: Measured, keep: &mut impl FnMut(Measured)) {
        let too_far = |pivot: Measured| door.spacing_max.is_some_and(|max| sample.time - pivot.time > max);
        if let Some(waiting) = self.waiting {
            // Without a pivot the process was started again, and what waited then is the newest there is.
            let turns = self.pivot.is_none_or(|pivot| {
                let slope = slope(pivot, sample, 0.0);
                let outside = slope < self.corridor.0 || slope > self.corridor.1;
                (outside || too_far(pivot)) && waiting.time - pivot.time >= door.spacing_min
            });
            if turns {
                self.turn(waiting, keep);
            }
        }
        match self.pivot {
            Some(pivot) if !too_far(pivot) => {
                let (low, high) = self.corridor;
                let (down, up) =
                    (slope(pivot, sample, -door.deviation), slope(pivot, sample, door.deviation));
                (self.corridor, self.waiting) = ((low.max(down), high.min(up)), Some(sample));
            }
            _ => self.turn(sample, keep),
        }
    }

    /// The newest sample where it waits: it is not kept yet. At the end of a series it is its last corner.
    pub fn waiting(&self) -> Option<Measured> {
        self.waiting
    }

    /// Keeps `sample` and goes on from it.
    fn turn(&mut self, sample: Measured, keep: &mut impl FnMut(Measured)) {
        keep(sample);
        (self.pivot, self.waiting, self.corridor) = (Some(sample), None, OPEN);
    }
}

/// The rise a microsecond from one sample to `beside` the other.
fn slope(from: Measured, to: Measured, beside: f64) -> f64 {
    (to.value.as_f64() + beside - from.value.as_f64()) / (to.time - from.time) as f64
}

/// Whether the step between two samples can be measured.
fn is_ordinary(a: Measured, b: Measured) -> bool {
    a.value.as_f64().is_finite() && b.value.as_f64().is_finite()
}

fn exceeds(band: &Tolerance, kept: Measured, sample: Measured) -> bool {
    let elapsed = sample.time - kept.time;
    if elapsed < band.spacing_min {
        return false;
    }
    let far = (sample.value.as_f64() - kept.value.as_f64()).abs() > band.deviation;
    far || band.spacing_max.is_some_and(|max| elapsed >= max)
}
