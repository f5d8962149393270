//! One wind turbine of 3.6 MW.
//!
//! Owns: power curve, control (start, stop, storm, yaw, pitch), faults and repairs, temperatures, its sensors. Does
//! not own: the wind at its place (`farm` works out gusts and wakes), its meter (`meter`).

use super::chance::{Chance, Wander, toward};
use super::reading::{Reading, float, int, judged};
use super::wind::{Air, Place};

/// Rated power.
pub const RATED_KW: f64 = 3_600.0;
/// Rotor diameter.
pub const ROTOR_M: f64 = 126.0;
/// Wind at which it starts, is at rated power, stops for storm, and starts again after a storm.
pub const CUT_IN_MS: f64 = 3.0;
/// See [`CUT_IN_MS`].
pub const RATED_MS: f64 = 12.0;
/// See [`CUT_IN_MS`].
pub const CUT_OUT_MS: f64 = 25.0;
/// See [`CUT_IN_MS`].
pub const RESTART_MS: f64 = 22.0;
/// Wind below which it stops; lower than the start, or it would flap.
const STOP_MS: f64 = 2.5;
/// What a turbine that stands still takes from the grid: control, heating, pumps.
const STANDSTILL_KW: f64 = -12.0;
/// Density the power curve holds for.
const STANDARD_DENSITY: f64 = 1.225;
/// Rotor speed at start and at rated power.
const ROTOR_RPM: (f64, f64) = (5.5, 13.2);
/// Gearbox ratio.
const GEAR: f64 = 113.0;
/// Yaw: turns when the mean error passes the first, until it is below the second, this fast.
const YAW_DEG: (f64, f64) = (8.0, 1.0);
const YAW_DEG_PER_S: f64 = 0.4;
/// Mean time between faults, and median time to repair.
const FAULT_MEAN_S: f64 = 60.0 * 3600.0;
const REPAIR_MEDIAN_S: f64 = 50.0 * 60.0;
/// Mean time between sensor troubles, and their median length.
const SENSOR_MEAN_S: f64 = 40.0 * 3600.0;
const SENSOR_MEDIAN_S: f64 = 15.0 * 60.0;
/// Fault codes: pitch, converter, gearbox oil, yaw drive, grid.
const FAULTS: [i64; 5] = [1104, 2210, 3307, 4102, 5001];

/// What a turbine does, with the code it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Ready, too little wind.
    Idle = 0,
    /// Producing.
    Running = 1,
    /// Producing less than it could, by order of the grid operator.
    Curtailed = 2,
    /// Stopped, too much wind.
    Storm = 3,
    /// Broken.
    Fault = 4,
    /// Somebody works on it.
    Maintenance = 5,
}

impl Status {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Status::Idle => "idle",
            Status::Running => "running",
            Status::Curtailed => "curtailed",
            Status::Storm => "storm",
            Status::Fault => "fault",
            Status::Maintenance => "maintenance",
        }
    }

    /// Whether the rotor drives the generator.
    pub fn is_producing(self) -> bool {
        matches!(self, Status::Running | Status::Curtailed)
    }
}

/// Power at a wind in air of standard density: nothing below cut-in, cubic up to rated, rated up to cut-out.
pub fn power_curve_kw(wind_ms: f64) -> f64 {
    if !(CUT_IN_MS..CUT_OUT_MS).contains(&wind_ms) {
        return 0.0;
    }
    let cube = |v: f64| v * v * v;
    let share = (cube(wind_ms) - cube(CUT_IN_MS)) / (cube(RATED_MS) - cube(CUT_IN_MS));
    RATED_KW * share.min(1.0)
}

/// How strongly the rotor brakes the wind: constant up to rated, then ever less as the blades turn away.
pub fn thrust(wind_ms: f64) -> f64 {
    if wind_ms <= RATED_MS { 0.8 } else { (0.8 * (RATED_MS / wind_ms).powf(2.5)).max(0.05) }
}

/// What a broken sensor reports.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    /// The wind sensor stands still (ice): quality 4.
    Stuck { wind_ms: f64 },
    /// The gearbox thermometer is cut off: quality 9.
    Open,
}

/// A turbine.
#[derive(Clone, Debug)]
pub struct Turbine {
    /// Where it stands.
    pub place: Place,
    /// What it does.
    pub status: Status,
    /// Power into the grid, negative at standstill.
    pub power_kw: f64,
    /// Wind at the hub as it is.
    pub wind_ms: f64,
    /// Gearbox oil.
    pub gearbox_c: f64,
    /// Energy since midnight UTC.
    pub today_kwh: f64,
    chance: Chance,
    flutter: Wander,
    wind_1min_ms: f64,
    wind_10min_ms: f64,
    fault: i64,
    repair_s: f64,
    nacelle_deg: f64,
    yaw_error_deg: f64,
    is_yawing: bool,
    pitch_deg: f64,
    rotor_rpm: f64,
    generator_c: f64,
    bearing_c: f64,
    total_kwh: f64,
    day: i64,
    setpoint_pct: f64,
    trouble: Option<(Trouble, f64)>,
    air: Option<Air>,
}

/// What the farm tells a turbine for one step.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Power allowed, as a share of rated power.
    pub limit: f64,
    /// Whether somebody works on it.
    pub maintenance: bool,
}

impl Turbine {
    /// Turbine number `number` at `place`.
    pub fn new(seed: u64, number: u64, place: Place) -> Turbine {
        let mut chance = Chance::new(seed, 100 + number);
        let flutter = Wander::new(&mut chance, 15.0);
        let total_kwh = chance.between(4e6, 9e6);
        Turbine {
            place,
            status: Status::Idle,
            power_kw: STANDSTILL_KW,
            wind_ms: 0.0,
            gearbox_c: 45.0,
            today_kwh: 0.0,
            flutter,
            wind_1min_ms: 6.0,
            wind_10min_ms: 6.0,
            fault: 0,
            repair_s: 0.0,
            nacelle_deg: chance.between(200.0, 270.0),
            yaw_error_deg: 0.0,
            is_yawing: false,
            pitch_deg: 86.0,
            rotor_rpm: 0.0,
            generator_c: 50.0,
            bearing_c: 35.0,
            total_kwh,
            day: 0,
            setpoint_pct: 100.0,
            trouble: None,
            air: None,
            chance,
        }
    }

    /// Moves on by `dt` seconds to `time_s`; `wind_ms` is the wind at its place with gusts and wakes.
    pub fn step(&mut self, time_s: f64, dt: f64, wind_ms: f64, air: &Air, orders: Orders) {
        let flutter = self.flutter.step(&mut self.chance, dt);
        self.wind_ms = (wind_ms * (1.0 + 0.07 * flutter)).max(0.0);
        self.wind_1min_ms = toward(self.wind_1min_ms, self.wind_ms, 60.0, dt);
        self.wind_10min_ms = toward(self.wind_10min_ms, self.wind_ms, 600.0, dt);
        self.setpoint_pct = orders.limit * 100.0;
        self.air = Some(*air);
        self.break_and_mend(dt);
        self.status = self.next_status(orders);
        self.yaw(air, dt);
        self.produce(air, orders, dt);
        self.warm(air, dt);
        let day = (time_s / 86_400.0).floor() as i64;
        if day != self.day {
            self.day = day;
            self.today_kwh = 0.0;
        }
        let energy_kwh = self.power_kw.max(0.0) * dt / 3600.0;
        self.today_kwh += energy_kwh;
        self.total_kwh += energy_kwh;
    }

    fn break_and_mend(&mut self, dt: f64) {
        self.repair_s -= dt;
        if self.repair_s <= 0.0 {
            self.fault = 0;
            if self.chance.happens(FAULT_MEAN_S, dt) {
                let which = (self.chance.unit() * FAULTS.len() as f64) as usize;
                self.fault = FAULTS[which.min(FAULTS.len() - 1)];
                self.repair_s = self.chance.duration(REPAIR_MEDIAN_S, 0.8);
            }
        }
        self.trouble = match self.trouble {
            Some((_, left)) if left <= dt => None,
            Some((trouble, left)) => Some((trouble, left - dt)),
            None if self.chance.happens(SENSOR_MEAN_S, dt) => {
                let stuck = Trouble::Stuck { wind_ms: self.wind_ms };
                let trouble = if self.chance.unit() < 0.5 { stuck } else { Trouble::Open };
                Some((trouble, self.chance.duration(SENSOR_MEDIAN_S, 0.6)))
            }
            None => None,
        };
    }

    /// Decides from the means, as controllers do; single gusts start and stop nothing.
    fn next_status(&self, orders: Orders) -> Status {
        if self.fault != 0 {
            return Status::Fault;
        }
        if orders.maintenance {
            return Status::Maintenance;
        }
        if self.status == Status::Storm && self.wind_10min_ms > RESTART_MS {
            return Status::Storm;
        }
        if self.wind_1min_ms >= CUT_OUT_MS {
            return Status::Storm;
        }
        let enough = if self.status.is_producing() { STOP_MS } else { CUT_IN_MS };
        if self.wind_1min_ms < enough {
            return Status::Idle;
        }
        let possible = power_curve_kw(self.wind_1min_ms.min(CUT_OUT_MS - 0.01)) / RATED_KW;
        if orders.limit < 1.0 && possible > orders.limit { Status::Curtailed } else { Status::Running }
    }

    fn yaw(&mut self, air: &Air, dt: f64) {
        let error = (air.from_deg - self.nacelle_deg + 540.0).rem_euclid(360.0) - 180.0;
        self.yaw_error_deg = toward(self.yaw_error_deg, error, 30.0, dt);
        let limit = if self.is_yawing { YAW_DEG.1 } else { YAW_DEG.0 };
        let can = !matches!(self.status, Status::Fault | Status::Maintenance);
        self.is_yawing = can && self.yaw_error_deg.abs() > limit;
        if self.is_yawing {
            let turn = error.clamp(-YAW_DEG_PER_S * dt, YAW_DEG_PER_S * dt);
            self.nacelle_deg = (self.nacelle_deg + turn).rem_euclid(360.0);
        }
    }

    fn produce(&mut self, air: &Air, orders: Orders, dt: f64) {
        let producing = self.status.is_producing();
        // Thinner air carries less: the curve is read at the wind that would carry as much in standard air.
        let effective = self.wind_ms * (air.density() / STANDARD_DENSITY).cbrt();
        let error = (air.from_deg - self.nacelle_deg).to_radians().cos().max(0.0);
        // A gust above cut-out does not stop it at once; the blades keep it at rated power.
        let possible = power_curve_kw(effective.min(CUT_OUT_MS - 0.01)) * error.powi(3);
        let power = if producing { possible.min(RATED_KW * orders.limit) } else { STANDSTILL_KW };
        self.power_kw = toward(self.power_kw, power, 4.0, dt).min(RATED_KW);
        let (low, high) = ROTOR_RPM;
        let rpm = if producing { (high * self.wind_ms / 10.5).clamp(low, high) } else { 0.0 };
        self.rotor_rpm = toward(self.rotor_rpm, rpm, 12.0, dt);
        let above = (self.wind_ms / RATED_MS).max(possible / power.max(1.0)).max(1.0);
        let pitch = if producing { (19.0 * (above - 1.0).sqrt()).min(28.0) - 0.5 } else { 86.0 };
        let change = (pitch - self.pitch_deg).clamp(-5.0 * dt, 5.0 * dt);
        self.pitch_deg += change;
    }

    /// Losses heat, the air cools, masses are slow.
    fn warm(&mut self, air: &Air, dt: f64) {
        let load = (self.power_kw / RATED_KW).max(0.0);
        let heat = if self.fault == FAULTS[2] { 1.35 } else { 1.0 };
        self.gearbox_c = toward(self.gearbox_c, air.temperature_c + 12.0 + 38.0 * load * heat, 2400.0, dt);
        self.generator_c = toward(self.generator_c, air.temperature_c + 15.0 + 65.0 * load, 1200.0, dt);
        self.bearing_c = toward(self.bearing_c, air.temperature_c + 8.0 + 22.0 * load, 1800.0, dt);
    }

    /// What it reports.
    pub fn readings(&mut self) -> Vec<Reading> {
        let load = (self.power_kw / RATED_KW).max(0.0);
        let (wind, wind_quality) = match self.trouble {
            Some((Trouble::Stuck { wind_ms }, _)) => (wind_ms, 4),
            _ => (self.wind_ms, 0),
        };
        let (gearbox, gearbox_quality) = match self.trouble {
            // An open loop reads as the end of the scale.
            Some((Trouble::Open, _)) => (850.0, 9),
            _ => (self.gearbox_c, 0),
        };
        let air_c = self.air.map_or(15.0, |air| air.temperature_c);
        let noise = self.chance.normal();
        vec![
            judged(float("wind_speed", wind, 2), wind_quality),
            float("wind_direction", (self.nacelle_deg + self.yaw_error_deg + noise).rem_euclid(360.0), 1),
            float("power_kw", self.power_kw, 1),
            float("reactive_power_kvar", 180.0 * load - 40.0 + 2.0 * noise, 1),
            float("rotor_speed_rpm", self.rotor_rpm, 2),
            float("generator_speed_rpm", self.rotor_rpm * GEAR, 1),
            float("pitch_angle_deg", self.pitch_deg, 1),
            float("nacelle_direction_deg", self.nacelle_deg, 1),
            judged(float("gearbox_temp_c", gearbox, 1), gearbox_quality),
            judged(float("generator_temp_c", self.generator_c, 1), 0),
            judged(float("bearing_temp_c", self.bearing_c, 1), 0),
            float("ambient_temp_c", air_c + 0.1 * noise, 1),
            float("setpoint_pct", self.setpoint_pct, 0),
            int("status", self.status as i64),
            int("fault_code", self.fault),
            float("energy_today_kwh", self.today_kwh, 2),
            float("energy_total_kwh", self.total_kwh, 1),
        ]
    }
}

#[cfg(test)]
mod tests;
