//! Energy meters.
//!
//! Owns: registers that only count up, roll over at their largest reading, and rarely begin anew because somebody reset
//! or replaced the meter; the electrical values beside them. Does not own: whose power it is (`farm`).

use super::chance::Chance;
use super::reading::{Reading, float, text};

/// Readings a register can show: below this, then it begins at 0 again.
pub const REGISTER_KWH: f64 = 1_000_000.0;
/// What one count of the register is worth; it shows whole counts only.
pub const COUNT_KWH: f64 = 0.01;
/// Mean time between resets, and between replacements, of one meter.
const RESET_MEAN_S: f64 = 40.0 * 86_400.0;
const REPLACE_MEAN_S: f64 = 120.0 * 86_400.0;

/// A register: energy since it was built in, and what it showed then.
#[derive(Clone, Debug)]
pub struct Register {
    start_kwh: f64,
    energy_kwh: f64,
}

impl Register {
    /// A register that shows `start_kwh`.
    pub fn new(start_kwh: f64) -> Register {
        Register { start_kwh, energy_kwh: 0.0 }
    }

    /// Counts energy; never backwards.
    pub fn count(&mut self, energy_kwh: f64) {
        self.energy_kwh += energy_kwh.max(0.0);
    }

    /// What it shows.
    pub fn shown_kwh(&self) -> f64 {
        let counts = ((self.start_kwh + self.energy_kwh) / COUNT_KWH).floor();
        (counts % (REGISTER_KWH / COUNT_KWH)) * COUNT_KWH
    }
}

/// A meter.
#[derive(Clone, Debug)]
pub struct Meter {
    chance: Chance,
    export: Register,
    import: Register,
    serial: u32,
    power_kw: f64,
    nominal_v: f64,
}

impl Meter {
    /// Meter number `number` for `nominal_v` volts; it will roll over after `left_kwh`, where given.
    pub fn new(seed: u64, number: u64, nominal_v: f64, left_kwh: Option<f64>) -> Meter {
        let mut chance = Chance::new(seed, 10_000 + number);
        let start = left_kwh.map_or_else(|| chance.between(0.0, REGISTER_KWH), |left| REGISTER_KWH - left);
        let import = Register::new(chance.between(0.0, 20_000.0));
        let serial = 40_000_000 + (chance.unit() * 9e6) as u32;
        Meter { export: Register::new(start), import, serial, power_kw: 0.0, nominal_v, chance }
    }

    /// Counts `dt` seconds at `power_kw`, positive into the grid.
    pub fn step(&mut self, power_kw: f64, dt: f64) {
        if self.chance.happens(REPLACE_MEAN_S, dt) {
            self.serial += 1 + (self.chance.unit() * 1e5) as u32;
            self.export = Register::new(0.0);
            self.import = Register::new(0.0);
        } else if self.chance.happens(RESET_MEAN_S, dt) {
            self.export = Register::new(0.0);
        }
        self.power_kw = power_kw;
        let energy_kwh = power_kw * dt / 3600.0;
        self.export.count(energy_kwh);
        self.import.count(-energy_kwh);
    }

    /// What it reports; `frequency_hz` is the grid's.
    pub fn readings(&mut self, frequency_hz: f64) -> Vec<Reading> {
        let volts = self.nominal_v * (1.0 + 0.01 * self.chance.normal());
        let reactive = 0.06 * self.power_kw.abs() + 2.0 + self.chance.normal();
        let apparent = self.power_kw.hypot(reactive);
        vec![
            float("energy_export_kwh", self.export.shown_kwh(), 2),
            float("energy_import_kwh", self.import.shown_kwh(), 2),
            float("power_kw", self.power_kw, 1),
            float("reactive_power_kvar", reactive, 1),
            float("voltage_v", volts, 1),
            float("current_a", apparent * 1000.0 / (3_f64.sqrt() * volts), 1),
            float("frequency_hz", frequency_hz, 3),
            float("power_factor", self.power_kw.abs() / apparent, 3),
            text("serial", format!("EM{:08}", self.serial)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::Datum;
    use super::*;

    #[test]
    fn the_register_is_the_integral_of_power() {
        let mut register = Register::new(0.0);
        // 1,800 kW for an hour, then a standstill that takes 12 kW: 1,800 kWh, and not one less afterwards.
        for _ in 0..3600 {
            register.count(1_800.0 / 3600.0);
        }
        assert!((register.shown_kwh() - 1_800.0).abs() < 2.0 * COUNT_KWH, "{}", register.shown_kwh());
        let before = register.shown_kwh();
        register.count(-12.0);
        assert_eq!(register.shown_kwh(), before);
    }

    #[test]
    fn a_register_rolls_over_and_loses_nothing() {
        let mut register = Register::new(REGISTER_KWH - 10.0);
        register.count(4.0);
        assert!((register.shown_kwh() - 999_994.0).abs() < 1e-6);
        register.count(10.5);
        assert!((register.shown_kwh() - 4.5).abs() < 2.0 * COUNT_KWH, "{}", register.shown_kwh());
    }

    #[test]
    fn export_and_import_are_apart() {
        let mut meter = Meter::new(1, 1, 690.0, Some(1_000.0));
        let shown = |meter: &mut Meter| -> Vec<f64> {
            let readings = meter.readings(50.0);
            let floats = readings.iter().filter_map(|r| match r.value {
                Datum::Float(v) => Some(v),
                _ => None,
            });
            floats.take(2).collect()
        };
        let before = shown(&mut meter);
        meter.step(3_600.0, 100.0);
        meter.step(-36.0, 1_000.0);
        let after = shown(&mut meter);
        assert!((after[0] - before[0] - 100.0).abs() < 0.03, "3,600 kW for 100 s: {before:?} {after:?}");
        assert!((after[1] - before[1] - 10.0).abs() < 0.03, "36 kW for 1,000 s: {before:?} {after:?}");
    }
}
