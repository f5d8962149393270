//! Buckets of time: which one an instant is in.
//!
//! Owns: [`Step`], [`Buckets`] with `start` (`time_bucket`) and `next`. Does not own: zones ([`crate::zone`]).
//!
//! A bucket begins where the zone's clock shows a time of the grid: the origin plus a whole number of steps, counted on
//! the clock. So a day is from midnight to midnight, of 23 or 25 hours where the clocks change, and six-hour buckets
//! begin at 0, 6, 12 and 18 o'clock all year. Where clocks change:
//! * A grid time that the clock skips begins its bucket at the change.
//! * A grid time that the clock shows twice begins a bucket both times if the step is not longer than what is shown
//!   twice, else the first time only. So the day of 25 hours has 25 buckets of an hour, and four of six.
//!
//! Starts never fall when time goes on, and every bucket holds its own start.
//!
//! Without an origin the grid goes through 1970-01-01 00:00 on the zone's clock, that of whole weeks through Monday
//! 1970-01-05. In UTC these are the windows of stream jobs (stream processing §1.1).

use jiff::civil::{Date, date};
use jiff::{Span as Duration, Unit};
use wattline_model::Timestamp;

use crate::error::Error;
use crate::zone::{Span, Zone};

const DAY: i64 = 86_400_000_000;
const WEEK: i64 = 7 * DAY;

/// More than any two offsets of a zone differ by.
const NEAR: i64 = 3 * DAY;

/// From Thursday 1970-01-01 to Monday.
const MONDAY: i64 = 4 * DAY;

/// The length of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Whole months of the calendar.
    Months(i32),
    /// Microseconds on the clock; a day has 24 hours there.
    Micros(i64),
}

impl Step {
    /// The step of an interval.
    ///
    /// # Errors
    /// Input where it is not longer than nothing, mixes months with days or times, or is longer than can be counted.
    pub fn new(months: i32, days: i32, micros: i64) -> Result<Step, Error> {
        let clock = i64::from(days).checked_mul(DAY).and_then(|days| days.checked_add(micros));
        let clock = clock.ok_or_else(|| Error::input("a bucket's interval is too long"))?;
        match (months, clock) {
            (0, 1..) => Ok(Step::Micros(clock)),
            (1.., 0) => Ok(Step::Months(months)),
            (0, _) | (_, 0) => Err(Error::input("a bucket's interval must be longer than nothing")),
            _ => Err(Error::input(
                "a bucket's interval is of months and years, or of weeks, days and times, not of both",
            )),
        }
    }

    /// What the grid of a step on the clock goes through without an origin: Monday for whole weeks, else 1970-01-01, in
    /// microseconds since then on the clock.
    pub const fn origin_of_micros(micros: i64) -> i64 {
        if micros % WEEK == 0 { MONDAY } else { 0 }
    }
}

/// A grid of buckets. It remembers what it looked up last, so instants near each other are cheap.
#[derive(Clone, Debug)]
pub struct Buckets {
    step: Step,
    /// Where the grid goes through: months since year 0, or microseconds on the clock.
    origin: i64,
    zone: Zone,
    span: Span,
    /// The last bucket of months, `[start, end)`.
    months: Option<(i64, i64)>,
}

impl Buckets {
    /// Buckets of `step` on the clock of `zone`, one of which begins at `origin`.
    ///
    /// # Errors
    /// Input where buckets of months have an origin that is no beginning of a month.
    pub fn new(step: Step, origin: Option<Timestamp>, zone: Zone) -> Result<Buckets, Error> {
        let span = zone.span(origin.unwrap_or_default().micros());
        let mut buckets = Buckets { step, origin: 0, zone, span, months: None };
        buckets.origin = match (step, origin) {
            (Step::Micros(step), None) => Step::origin_of_micros(step),
            (Step::Micros(step), Some(origin)) => buckets.clock(origin.micros())?.rem_euclid(step),
            (Step::Months(_), None) => 1_970 * 12,
            (Step::Months(_), Some(origin)) => {
                let clock = buckets.clock(origin.micros())?;
                let day = day_of(clock)?;
                if day.day() != 1 || clock.rem_euclid(DAY) != 0 {
                    return Err(Error::input(
                        "the origin of buckets of months must be the beginning of a month",
                    ));
                }
                month_of(day)
            }
        };
        Ok(buckets)
    }

    /// Where the bucket begins that `time` is in.
    ///
    /// # Errors
    /// Input where it begins before all time.
    pub fn start(&mut self, time: Timestamp) -> Result<Timestamp, Error> {
        let start = match self.step {
            Step::Micros(step) => self.start_of_micros(step, time.micros())?,
            Step::Months(step) => self.bucket_of_months(step, time.micros())?.0,
        };
        Ok(Timestamp(start))
    }

    /// Where the bucket after the one of `time` begins.
    ///
    /// # Errors
    /// Input where it begins after all time.
    pub fn next(&mut self, time: Timestamp) -> Result<Timestamp, Error> {
        match self.step {
            Step::Micros(step) => self.next_of_micros(step, time.micros()).map(Timestamp),
            Step::Months(step) => Ok(Timestamp(self.bucket_of_months(step, time.micros())?.1)),
        }
    }

    fn look_up(&mut self, time: i64) -> Span {
        if time < self.span.from || time >= self.span.until {
            self.span = self.zone.span(time);
        }
        self.span
    }

    /// What the clock shows at `time`.
    fn clock(&mut self, time: i64) -> Result<i64, Error> {
        time.checked_add(self.look_up(time).offset).ok_or_else(Error::range)
    }

    /// The grid time at or before `clock`.
    fn floor(&self, step: i64, clock: i64) -> Result<i64, Error> {
        let past = clock.checked_sub(self.origin).ok_or_else(Error::range)?.rem_euclid(step);
        clock.checked_sub(past).ok_or_else(Error::range)
    }

    fn start_of_micros(&mut self, step: i64, time: i64) -> Result<i64, Error> {
        let mut at = time;
        loop {
            let clock = self.clock(at)?;
            let span = self.span;
            let grid = self.floor(step, clock)?;
            let shown = grid.checked_sub(span.offset).ok_or_else(Error::range)?;
            let Some(before) = span.before else { return Ok(shown) };
            if shown >= span.from {
                let twice = before - span.offset;
                let second_time = twice > 0 && shown - span.from < twice;
                return Ok(if second_time && step > twice { shown - twice } else { shown });
            }
            // It began before the clocks changed; or at the change, if that skipped the grid time.
            if grid >= span.from + before {
                return Ok(span.from);
            }
            // Far before, other changes in between do not matter: only those near the grid time do.
            at = match at == time {
                true => span.from - 1,
                false => (span.from - 1).min(shown.saturating_add(NEAR)),
            };
        }
    }

    fn next_of_micros(&mut self, step: i64, time: i64) -> Result<i64, Error> {
        let mut at = time;
        loop {
            let clock = self.clock(at)?;
            let span = self.span;
            let grid = self.floor(step, clock)?.checked_add(step).ok_or_else(Error::range)?;
            let shown = grid.checked_sub(span.offset).ok_or_else(Error::range)?;
            // Where clocks change in between, that may begin a bucket itself, or the grid time comes elsewhere.
            at = match span.until {
                until if shown < until => shown,
                until => until.max(shown.saturating_sub(NEAR)),
            };
            if self.start_of_micros(step, at)? == at {
                return Ok(at);
            }
        }
    }

    fn bucket_of_months(&mut self, step: i32, time: i64) -> Result<(i64, i64), Error> {
        if let Some((start, end)) = self.months
            && (start..end).contains(&time)
        {
            return Ok((start, end));
        }
        let clock = self.clock(time)?;
        let month = month_of(day_of(clock)?) - self.origin;
        let mut grid = month.div_euclid(i64::from(step)) * i64::from(step) + self.origin;
        // A clock that is set back over midnight shows the month before once more.
        let mut end = self.first_shown(grid + i64::from(step))?;
        while end <= time {
            grid += i64::from(step);
            end = self.first_shown(grid + i64::from(step))?;
        }
        let start = self.first_shown(grid)?;
        self.months = Some((start, end));
        Ok((start, end))
    }

    /// The first instant at which the clock shows the beginning of a month, or a later time.
    fn first_shown(&mut self, month: i64) -> Result<i64, Error> {
        let year = i16::try_from(month.div_euclid(12)).map_err(|_| Error::range())?;
        let within = i8::try_from(month.rem_euclid(12)).map_err(|_| Error::range())?;
        let day = Date::new(year, within + 1, 1).map_err(|_| Error::range())?;
        let grid = days_since_1970(day)? * DAY;
        // Offsets are less than two days: the clock cannot have shown it before.
        let mut span = self.look_up(grid - 2 * DAY);
        loop {
            let shown = grid - span.offset;
            if shown < span.until {
                return Ok(shown.max(span.from));
            }
            span = self.look_up(span.until);
        }
    }
}

fn day_of(clock: i64) -> Result<Date, Error> {
    let days = Duration::new().try_days(clock.div_euclid(DAY)).map_err(|_| Error::range())?;
    date(1970, 1, 1).checked_add(days).map_err(|_| Error::range())
}

fn days_since_1970(day: Date) -> Result<i64, Error> {
    let span = day.since((Unit::Day, date(1970, 1, 1))).map_err(|_| Error::range())?;
    Ok(i64::from(span.get_days()))
}

fn month_of(day: Date) -> i64 {
    i64::from(day.year()) * 12 + i64::from(day.month()) - 1
}

#[cfg(test)]
mod tests;
