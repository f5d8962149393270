//! Energy from the readings of a meter.
//!
//! Owns: [`MeterRule`] and [`Energy`], the fold behind `counter_energy`.
//!
//! The rule is that of electric energy by meter reading (stream processing §1.3, data service §3.12): the energy of an
//! interval is its reading minus the one before, counted where its slope, in units an hour, is plausible; else nothing
//! is counted and the next interval begins at the new reading. A reading that did not move does not begin an interval:
//! the slope of the next step is over the whole time that was flat. The sum is multiplied by the scale.
//!
//! A reading may fall for two reasons. Where the register ends (`roll_over`), the step goes over its end: it is
//! counted if that way is the shorter one (the fall is more than half of the register) and its slope is plausible.
//! Any other fall is another meter, or the same one set back: nothing is counted, and it goes on from there. So is an
//! upward jump past the plausible slope. Without a largest slope every rise counts.

use wattline_model::Timestamp;

use crate::counter::elapsed;
use crate::error::Error;
use crate::gathered::{Fold, Sample, check_order};

const HOUR: f64 = 3_600_000_000.0;

/// What is known of a meter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeterRule {
    /// Where the register ends: the value at which it shows 0 again, 100000 for five digits.
    pub roll_over: Option<f64>,
    /// The largest plausible slope, in units of the reading (before scaling) an hour.
    pub slope_max: Option<f64>,
    /// What a unit of the reading is in units of the result: the ratio of its transformers, for example.
    pub scale: f64,
}

impl Default for MeterRule {
    fn default() -> MeterRule {
        MeterRule { roll_over: None, slope_max: None, scale: 1.0 }
    }
}

impl MeterRule {
    /// The rule, if it makes sense.
    ///
    /// # Errors
    /// Input where an argument is not a number above 0.
    pub fn new(
        roll_over: Option<f64>,
        slope_max: Option<f64>,
        scale: Option<f64>,
    ) -> Result<MeterRule, Error> {
        for (name, value) in [("roll-over value", roll_over), ("largest slope", slope_max), ("scale", scale)]
        {
            if value.is_some_and(|v| !v.is_finite() || v <= 0.0) {
                return Err(Error::input(format!("the {name} of a meter must be a number above 0")));
            }
        }
        Ok(MeterRule { roll_over, slope_max, scale: scale.unwrap_or(1.0) })
    }

    /// What the step between two readings counts, before scaling; 0 where it is not plausible.
    fn step(&self, base: Sample, next: Sample) -> f64 {
        let rise = next.value - base.value;
        let rise = match self.roll_over {
            Some(register) if -rise > register / 2.0 && base.value <= register => rise + register,
            _ => rise,
        };
        let slope = rise / (elapsed(base.time, next.time) / HOUR);
        let plausible = rise >= 0.0 && self.slope_max.is_none_or(|max| slope <= max);
        if plausible { rise } else { 0.0 }
    }
}

/// The fold behind `counter_energy`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Energy {
    /// What is known of the meter.
    pub rule: MeterRule,
    /// The first reading.
    pub first: Option<Sample>,
    /// The first reading that differs from it. Its step is not in `counted`: an earlier part may have been flat at
    /// the same reading, and then the step began there.
    pub moved: Option<Sample>,
    /// Where the next step begins: the newest reading, at the time at which the meter came to it.
    pub base: Option<Sample>,
    /// The time of the newest reading.
    pub last: Option<Timestamp>,
    /// What the steps after `moved` count, before scaling.
    pub counted: f64,
}

impl Energy {
    /// No readings of a meter yet.
    pub fn new(rule: MeterRule) -> Energy {
        Energy { rule, first: None, moved: None, base: None, last: None, counted: 0.0 }
    }

    /// The energy from the first to the last reading; `None` for fewer than two.
    pub fn energy(&self) -> Option<f64> {
        let first = self.first?;
        if self.last? <= first.time {
            return None;
        }
        let head = self.moved.map_or(0.0, |moved| self.rule.step(first, moved));
        Some((head + self.counted) * self.rule.scale)
    }

    fn take(&mut self, next: Sample) {
        match (self.first, self.base) {
            (Some(_), Some(base)) if base.value == next.value => {}
            (Some(_), Some(base)) => {
                match self.moved {
                    None => self.moved = Some(next),
                    Some(_) => self.counted += self.rule.step(base, next),
                }
                self.base = Some(next);
            }
            _ => (self.first, self.base) = (Some(next), Some(next)),
        }
        self.last = Some(next.time);
    }
}

impl Fold<f64> for Energy {
    fn push(&mut self, time: Timestamp, value: f64) -> Result<(), Error> {
        check_order(self.last, time)?;
        if value.is_finite() {
            self.take(Sample::new(time, value));
        }
        Ok(())
    }

    fn append(&mut self, later: &Energy) -> Result<(), Error> {
        let Some(first) = later.first else { return Ok(()) };
        check_order(self.last, first.time)?;
        self.take(first);
        if let Some(moved) = later.moved {
            self.take(moved);
            self.counted += later.counted;
            self.base = later.base;
        }
        self.last = later.last;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn energy(rule: MeterRule, readings: &[(i64, f64)]) -> Option<f64> {
        let mut energy = Energy::new(rule);
        for &(minute, value) in readings {
            energy.push(Timestamp(minute * MINUTE), value).unwrap();
        }
        energy.energy()
    }

    fn rule(roll_over: Option<f64>, slope_max: Option<f64>, scale: Option<f64>) -> MeterRule {
        MeterRule::new(roll_over, slope_max, scale).unwrap()
    }

    /// The worked example of stream processing §1.3: largest slope 100, scale 2.
    #[test]
    fn the_example_of_the_specification() {
        let readings = [(0, 500.0), (15, 510.0), (30, 510.0), (45, 530.0), (60, 3.0), (75, 8.0)];
        assert_eq!(energy(rule(None, Some(100.0), Some(2.0)), &readings), Some(70.0));
    }

    #[test]
    fn a_flat_reading_does_not_begin_an_interval() {
        // 20 kWh in 30 minutes is a slope of 40; in 15 it would be 80.
        let readings = [(0, 10.0), (15, 10.0), (30, 30.0)];
        assert_eq!(energy(rule(None, Some(50.0), None), &readings), Some(20.0));
        assert_eq!(energy(rule(None, Some(39.0), None), &readings), Some(0.0));
        // The bound itself is plausible.
        assert_eq!(energy(rule(None, Some(40.0), None), &readings), Some(20.0));
    }

    #[test]
    fn a_register_that_ends_goes_on_at_nothing() {
        let readings = [(0, 99_990.0), (60, 15.0), (120, 20.0)];
        assert_eq!(energy(rule(Some(100_000.0), None, None), &readings), Some(30.0));
        assert_eq!(energy(rule(Some(100_000.0), Some(25.0), None), &readings), Some(30.0));
        // 25 over the end in an hour is more than 24: another meter, then.
        assert_eq!(energy(rule(Some(100_000.0), Some(24.0), None), &readings), Some(5.0));
        // Without an end a fall counts nothing.
        assert_eq!(energy(MeterRule::default(), &readings), Some(5.0));
    }

    #[test]
    fn a_replaced_meter_counts_from_its_own_first_reading() {
        // A fall of 40,000 of 100,000: the way over the end would be the longer one.
        let readings = [(0, 50_000.0), (60, 10_000.0), (120, 10_007.0)];
        assert_eq!(energy(rule(Some(100_000.0), None, None), &readings), Some(7.0));
        // A new meter that shows more is told by the slope only.
        let readings = [(0, 100.0), (60, 5_000.0), (120, 5_004.0)];
        assert_eq!(energy(rule(None, Some(50.0), None), &readings), Some(4.0));
        assert_eq!(energy(MeterRule::default(), &readings), Some(4_904.0));
    }

    #[test]
    fn a_spike_and_its_way_back_count_nothing() {
        let readings = [(0, 100.0), (15, 900.0), (30, 102.0), (45, 103.0)];
        assert_eq!(energy(rule(None, Some(50.0), None), &readings), Some(1.0));
    }

    #[test]
    fn few_readings() {
        assert_eq!(energy(MeterRule::default(), &[]), None);
        assert_eq!(energy(MeterRule::default(), &[(0, 5.0)]), None);
        assert_eq!(energy(MeterRule::default(), &[(0, 5.0), (1, 5.0)]), Some(0.0));
        assert_eq!(energy(MeterRule::default(), &[(0, 5.0), (1, f64::NAN), (2, 7.0)]), Some(2.0));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        for (roll_over, slope_max, scale) in [
            (Some(0.0), None, None),
            (None, Some(-1.0), None),
            (None, None, Some(f64::NAN)),
            (Some(f64::INFINITY), None, None),
        ] {
            assert!(MeterRule::new(roll_over, slope_max, scale).is_err());
        }
    }
}
