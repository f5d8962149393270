//! The meteorological mast.
//!
//! Owns: its sensors, also when they fail. Does not own: the weather (`wind`).

use super::chance::Chance;
use super::reading::{Reading, float, judged};
use super::wind::{Air, Place};

/// Exponent of the wind's growth with height over open land.
const SHEAR: f64 = 0.16;
/// Mean time between failures of a sensor, and median length.
const FAIL_MEAN_S: f64 = 30.0 * 3600.0;
const FAIL_MEDIAN_S: f64 = 25.0 * 60.0;

/// The mast.
#[derive(Clone, Debug)]
pub struct Mast {
    /// Where it stands.
    pub place: Place,
    chance: Chance,
    wind_ms: f64,
    air: Option<Air>,
    /// Seconds the upper cup is still stuck, and what it shows meanwhile.
    stuck: Option<(f64, f64)>,
}

impl Mast {
    /// A mast at `place`.
    pub fn new(seed: u64, place: Place) -> Mast {
        Mast { place, chance: Chance::new(seed, 2), wind_ms: 0.0, air: None, stuck: None }
    }

    /// Moves on by `dt`; `wind_ms` is the wind at hub height at its place.
    pub fn step(&mut self, wind_ms: f64, air: &Air, dt: f64) {
        self.wind_ms = wind_ms.max(0.0);
        self.air = Some(*air);
        self.stuck = match self.stuck {
            Some((left, shown)) if left > dt => Some((left - dt, shown)),
            Some(_) => None,
            None if self.chance.happens(FAIL_MEAN_S, dt) => {
                Some((self.chance.duration(FAIL_MEDIAN_S, 0.6), self.wind_ms))
            }
            None => None,
        };
    }

    /// What it reports.
    pub fn readings(&mut self) -> Vec<Reading> {
        let Some(air) = self.air else { return Vec::new() };
        let (upper, quality) = match self.stuck {
            Some((_, shown)) => (shown, 4),
            None => (self.wind_ms, 0),
        };
        let lower = self.wind_ms * (60.0_f64 / 100.0).powf(SHEAR) + 0.05 * self.chance.normal();
        let vane = (air.from_deg + 2.0 * self.chance.normal()).rem_euclid(360.0);
        vec![
            judged(float("wind_speed_100m", upper, 2), quality),
            judged(float("wind_speed_60m", lower.max(0.0), 2), 0),
            judged(float("wind_direction", vane, 1), 0),
            float("temperature_c", air.temperature_c, 2),
            float("pressure_hpa", air.pressure_hpa, 2),
            float("humidity_pct", air.humidity_pct, 1),
            float("air_density", air.density(), 4),
        ]
    }
}
