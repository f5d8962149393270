//! The area under a series, and the average it makes.
//!
//! Owns: [`Method`] and [`Weighted`], the fold behind `integral` and `time_weighted_avg`.
//!
//! Between two samples the value goes on a straight line, stays at the earlier one until the later one, or was at the
//! later one all the time since the earlier one. Linear is electric energy by average power (stream processing §1.5),
//! `Next` that by instant power (§1.4, the value reported at the end of the interval covers it). The average is the
//! area divided by the time from the first to the last sample; that of a single sample is its value.

use wattline_model::Timestamp;

use crate::counter::elapsed;
use crate::error::Error;
use crate::gathered::{Fold, Sample, check_order};

/// How a value goes from one sample to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// On a straight line.
    #[default]
    Linear,
    /// It stays until the next sample: last observation carried forward.
    Last,
    /// It was the next sample's since the sample before.
    Next,
}

impl Method {
    /// The method of this name: `linear`; `locf`, `last` or `previous`; `next` or `after`.
    ///
    /// # Errors
    /// Input where there is none.
    pub fn by_name(name: &str) -> Result<Method, Error> {
        match name.to_ascii_lowercase().as_str() {
            "linear" => Ok(Method::Linear),
            "locf" | "last" | "previous" => Ok(Method::Last),
            "next" | "after" => Ok(Method::Next),
            _ => Err(Error::input(format!("there is no method {name:?}: use 'linear', 'locf' or 'next'"))),
        }
    }

    fn height(self, from: f64, to: f64) -> f64 {
        match self {
            // Halved first, so that large values do not add up to infinity.
            Method::Linear => from / 2.0 + to / 2.0,
            Method::Last => from,
            Method::Next => to,
        }
    }
}

/// The fold behind `integral` and `time_weighted_avg`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weighted {
    /// How a value goes from one sample to the next.
    pub method: Method,
    /// The first and the last sample.
    pub ends: Option<(Sample, Sample)>,
    /// The area in between, in units of the value times microseconds.
    pub area: f64,
}

impl Weighted {
    /// No samples yet.
    pub fn new(method: Method) -> Weighted {
        Weighted { method, ends: None, area: 0.0 }
    }

    /// The area in units of the value times `unit` microseconds: 0 for one sample, `None` for none.
    pub fn integral(&self, unit: i64) -> Option<f64> {
        self.ends.map(|_| self.area / unit as f64)
    }

    /// The average over the time from the first to the last sample: its value for one sample, `None` for none.
    pub fn average(&self) -> Option<f64> {
        let (first, last) = self.ends?;
        if first.time == last.time {
            return Some(first.value);
        }
        Some(self.area / elapsed(first.time, last.time))
    }
}

impl Fold<f64> for Weighted {
    fn push(&mut self, time: Timestamp, value: f64) -> Result<(), Error> {
        check_order(self.ends.map(|(_, last)| last.time), time)?;
        if !value.is_finite() {
            return Ok(());
        }
        let sample = Sample::new(time, value);
        self.ends = match self.ends {
            None => Some((sample, sample)),
            Some((first, last)) => {
                self.area += self.method.height(last.value, value) * elapsed(last.time, time);
                Some((first, sample))
            }
        };
        Ok(())
    }

    fn append(&mut self, later: &Weighted) -> Result<(), Error> {
        let Some((first, last)) = later.ends else { return Ok(()) };
        self.push(first.time, first.value)?;
        self.area += later.area;
        self.ends = self.ends.map(|(start, _)| (start, last));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3_600 * SECOND;

    fn weighted(method: Method, samples: &[(i64, f64)]) -> Weighted {
        let mut weighted = Weighted::new(method);
        for &(seconds, value) in samples {
            weighted.push(Timestamp(seconds * SECOND), value).unwrap();
        }
        weighted
    }

    /// 0 s: 10, 10 s: 20, 40 s: 0.
    /// Linear: 15·10 + 10·30 = 450. Last: 10·10 + 20·30 = 700. Next: 20·10 + 0·30 = 200. Over 40 s.
    #[test]
    fn areas_and_averages() {
        let samples = [(0, 10.0), (10, 20.0), (40, 0.0)];
        for (method, area) in [(Method::Linear, 450.0), (Method::Last, 700.0), (Method::Next, 200.0)] {
            let weighted = weighted(method, &samples);
            assert_eq!(weighted.integral(SECOND), Some(area), "{method:?}");
            assert_eq!(weighted.integral(HOUR), Some(area / 3_600.0), "{method:?}");
            assert_eq!(weighted.average(), Some(area / 40.0), "{method:?}");
        }
    }

    #[test]
    fn few_samples() {
        let none = weighted(Method::Linear, &[(0, f64::NAN)]);
        assert_eq!((none.integral(SECOND), none.average()), (None, None));
        let one = weighted(Method::Last, &[(7, 3.5)]);
        assert_eq!((one.integral(SECOND), one.average()), (Some(0.0), Some(3.5)));
    }

    #[test]
    fn methods_have_names() {
        assert_eq!(Method::by_name("LOCF").unwrap(), Method::Last);
        assert_eq!(Method::by_name("after").unwrap(), Method::Next);
        assert!(Method::by_name("cubic").unwrap_err().message().contains("'linear', 'locf' or 'next'"));
    }
}
