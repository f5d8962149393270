//! The air over the farm.
//!
//! Owns: slow weather, the day's cycle, gusts that travel with the wind, wakes. Does not own: what turbines make of it.
//!
//! The mean wind is a wandering normal number bent into a Weibull distribution (shape 2, scale 9 m/s), so a long run
//! has the distribution of a good inland site. Gusts are one series that the wind carries across the farm (Taylor's
//! frozen turbulence): what passes the first row arrives at the next one when the wind has covered the distance.
//! Wakes follow Jensen's model: behind a rotor the wind is weaker in a cone that widens, and deficits add as squares.

use std::collections::VecDeque;

use super::chance::{Chance, Wander};

/// Weibull scale of the mean wind.
const SCALE_MS: f64 = 9.0;
/// Mean direction the wind comes from.
const PREVAILING_DEG: f64 = 235.0;
/// Gusts that cross the whole farm, as a share of the mean wind; each rotor has its own turbulence on top.
const GUST_SHARE: f64 = 0.05;
/// How long a gust lasts.
const GUST_MEMORY_S: f64 = 45.0;
/// Steps of gusts remembered: a farm of 5 km at 3 m/s needs half an hour. Shorter steps reach less far back.
const GUST_STEPS_MAX: usize = 4_096;
/// How fast a wake widens, per metre behind the rotor (onshore).
const WAKE_WIDENING: f64 = 0.075;
/// Gas constant of dry air, J/(kg K).
const AIR_GAS_CONSTANT: f64 = 287.05;

/// Where something stands: metres east and north of the farm's middle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// East.
    pub east_m: f64,
    /// North.
    pub north_m: f64,
}

/// The undisturbed air at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Air {
    /// Mean wind at hub height, without gusts.
    pub wind_ms: f64,
    /// Direction it comes from.
    pub from_deg: f64,
    /// Temperature.
    pub temperature_c: f64,
    /// Pressure.
    pub pressure_hpa: f64,
    /// Relative humidity.
    pub humidity_pct: f64,
}

impl Air {
    /// Density, by the ideal gas law.
    pub fn density(&self) -> f64 {
        self.pressure_hpa * 100.0 / (AIR_GAS_CONSTANT * (self.temperature_c + 273.15))
    }

    /// How far along the wind, and how far beside it, `to` lies from `from`.
    pub fn along_and_beside(&self, from: Place, to: Place) -> (f64, f64) {
        // The wind blows toward the opposite of where it comes from; degrees count clockwise from north.
        let (sin, cos) = (self.from_deg + 180.0).to_radians().sin_cos();
        let (east, north) = (to.east_m - from.east_m, to.north_m - from.north_m);
        (east * sin + north * cos, east * cos - north * sin)
    }
}

/// The weather.
#[derive(Clone, Debug)]
pub struct Weather {
    chance: Chance,
    strength: Wander,
    turn: Wander,
    warmth: Wander,
    pressure: Wander,
    damp: Wander,
    gust: Wander,
    gusts: VecDeque<f64>,
    step_s: f64,
}

impl Weather {
    /// The weather of `seed`, moved on in steps of `step_s`.
    pub fn new(seed: u64, step_s: f64) -> Weather {
        let mut chance = Chance::new(seed, 1);
        let mut strength = Wander::new(&mut chance, 8.0 * 3600.0);
        // The show begins on a day with wind; later it goes where it goes.
        strength.value = strength.value.clamp(-0.2, 0.9);
        let turn = Wander::new(&mut chance, 6.0 * 3600.0);
        let warmth = Wander::new(&mut chance, 36.0 * 3600.0);
        let pressure = Wander::new(&mut chance, 24.0 * 3600.0);
        let damp = Wander::new(&mut chance, 10.0 * 3600.0);
        let gust = Wander::new(&mut chance, GUST_MEMORY_S);
        Weather { chance, strength, turn, warmth, pressure, damp, gust, gusts: VecDeque::new(), step_s }
    }

    /// Moves on by one step, to `time_s` after 1970.
    pub fn step(&mut self, time_s: f64) -> Air {
        let dt = self.step_s;
        let strength = self.strength.step(&mut self.chance, dt);
        let turn = self.turn.step(&mut self.chance, dt);
        let warmth = self.warmth.step(&mut self.chance, dt);
        let pressure = self.pressure.step(&mut self.chance, dt);
        let damp = self.damp.step(&mut self.chance, dt);
        let gust = self.gust.step(&mut self.chance, dt);
        if self.gusts.len() == GUST_STEPS_MAX {
            self.gusts.pop_back();
        }
        self.gusts.push_front(gust);
        // Inland, the wind at hub height is a little stronger at night; the air is warmest in the afternoon.
        let hour = (time_s / 3600.0).rem_euclid(24.0) + 1.0;
        let day = |peak_hour: f64| (std::f64::consts::TAU * (hour - peak_hour) / 24.0).cos();
        let season = (std::f64::consts::TAU * (time_s / 86_400.0 - 200.0) / 365.25).cos();
        Air {
            wind_ms: weibull(strength) * (1.0 + 0.08 * day(2.0)),
            from_deg: (PREVAILING_DEG + 28.0 * turn).rem_euclid(360.0),
            temperature_c: 11.0 + 10.0 * season + 4.0 * day(15.0) + 3.0 * warmth,
            pressure_hpa: 985.0 + 8.0 * pressure,
            humidity_pct: (68.0 - 12.0 * day(15.0) + 12.0 * damp).clamp(15.0, 100.0),
        }
    }

    /// The gust at a place `along_m` behind the farm's windward edge: the one that passed there that long ago.
    pub fn gust_at(&self, along_m: f64, air: &Air) -> f64 {
        let delay_steps = along_m.max(0.0) / air.wind_ms.max(1.0) / self.step_s;
        let last = self.gusts.len().saturating_sub(1);
        let whole = (delay_steps as usize).min(last);
        let next = (whole + 1).min(last);
        let part = (delay_steps - whole as f64).clamp(0.0, 1.0);
        let gust = |i: usize| self.gusts.get(i).copied().unwrap_or_default();
        air.wind_ms * GUST_SHARE * (gust(whole) * (1.0 - part) + gust(next) * part)
    }
}

/// The wind whose rank in the Weibull distribution is that of `normal` in the normal one.
fn weibull(normal: f64) -> f64 {
    // Never quite 1: there the wind would be infinite.
    let rank = normal_rank(normal).min(0.9999);
    SCALE_MS * (-(1.0 - rank).ln()).sqrt()
}

/// The share of normal numbers below `x` (Abramowitz and Stegun 26.2.17, to 1e-7).
fn normal_rank(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let sum = series.iter().fold(0.0, |sum, c| (sum + c) * t);
    let tail = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * sum;
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// The share of the wind that a running rotor of diameter `rotor_m` takes away `along_m` behind and `beside_m` beside
/// it; 0 outside its wake.
pub fn wake_deficit(thrust: f64, rotor_m: f64, along_m: f64, beside_m: f64) -> f64 {
    if along_m <= 0.0 {
        return 0.0;
    }
    let radius = rotor_m / 2.0;
    let wake = radius + WAKE_WIDENING * along_m;
    // A rotor half inside the cone feels half of it: fades over one rotor radius at the rim.
    let inside = ((wake + radius - beside_m.abs()) / rotor_m).clamp(0.0, 1.0);
    inside * (1.0 - (1.0 - thrust).sqrt()) * (radius / wake).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_the_normal_distribution() {
        for (x, expected) in [(0.0, 0.5), (1.0, 0.841_344_7), (-1.0, 0.158_655_3), (1.959_964, 0.975)] {
            assert!((normal_rank(x) - expected).abs() < 1e-6, "{x}");
        }
        // The median of a Weibull distribution with shape 2 is scale * sqrt(ln 2).
        assert!((weibull(0.0) - 9.0 * std::f64::consts::LN_2.sqrt()).abs() < 1e-5);
    }

    #[test]
    fn density_of_standard_air() {
        let air = Air {
            wind_ms: 8.0,
            from_deg: 0.0,
            temperature_c: 15.0,
            pressure_hpa: 1013.25,
            humidity_pct: 0.0,
        };
        assert!((air.density() - 1.225).abs() < 0.001, "{}", air.density());
    }

    #[test]
    fn west_wind_carries_things_east() {
        let air = Air {
            wind_ms: 8.0,
            from_deg: 270.0,
            temperature_c: 15.0,
            pressure_hpa: 1000.0,
            humidity_pct: 0.0,
        };
        let origin = Place { east_m: 0.0, north_m: 0.0 };
        let (along, beside) = air.along_and_beside(origin, Place { east_m: 500.0, north_m: 100.0 });
        assert!((along - 500.0).abs() < 1e-9 && (beside.abs() - 100.0).abs() < 1e-9, "{along} {beside}");
    }

    #[test]
    fn a_gust_arrives_when_the_wind_has_covered_the_distance() {
        let mut weather = Weather::new(3, 1.0);
        for i in 0..200 {
            weather.step(f64::from(i));
        }
        let air = Air {
            wind_ms: 10.0,
            from_deg: 270.0,
            temperature_c: 15.0,
            pressure_hpa: 1000.0,
            humidity_pct: 0.0,
        };
        let here = weather.gust_at(0.0, &air);
        for i in 200..260 {
            weather.step(f64::from(i));
        }
        assert!((weather.gust_at(600.0, &air) - here).abs() < 1e-9, "600 m at 10 m/s are 60 s");
    }

    #[test]
    fn wakes_fade_with_distance_and_stay_narrow() {
        // Jensen: (1 - sqrt(1 - 0.8)) * (63 / (63 + 0.075 * 630))^2 = 0.5528 * 0.3265 = 0.1805
        assert!((wake_deficit(0.8, 126.0, 630.0, 0.0) - 0.1805).abs() < 5e-4);
        assert!(wake_deficit(0.8, 126.0, 1260.0, 0.0) < wake_deficit(0.8, 126.0, 630.0, 0.0));
        assert_eq!(wake_deficit(0.8, 126.0, 630.0, 200.0), 0.0);
        assert_eq!(wake_deficit(0.8, 126.0, -1.0, 0.0), 0.0);
    }
}
