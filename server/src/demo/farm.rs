//! The farm: turbines, their meters, feeder meters, the mast, and the links that carry what they say.
//!
//! Owns: the layout, wakes among turbines, orders of the grid operator and of the service crew, outages of links; one
//! step of all of it. Does not own: real time and MQTT (`publish`). The same seed gives the same samples.

use super::chance::{Chance, Wander};
use super::mast::Mast;
use super::meter::Meter;
use super::reading::Sample;
use super::turbine::{Orders, ROTOR_M, Status, Turbine, thrust};
use super::wind::{Air, Place, Weather, wake_deficit};

/// Turbines on one feeder.
const FEEDER_TURBINES: usize = 6;
/// Losses of cables and transformers up to the feeder meter.
const FEEDER_LOSS: f64 = 0.018;
/// Rows stand this many rotors apart along the prevailing wind, and turbines of a row this many.
const ROWS_APART: f64 = 7.0;
const TURBINES_APART: f64 = 4.5;
/// Mean time between orders to curtail, their median length, and the shares allowed.
const CURTAIL_MEAN_S: f64 = 14.0 * 3600.0;
const CURTAIL_MEDIAN_S: f64 = 40.0 * 60.0;
const CURTAIL_LIMITS: [f64; 3] = [0.3, 0.5, 0.7];
/// Mean time between visits of the service crew to some turbine, and median length.
const SERVICE_MEAN_S: f64 = 30.0 * 3600.0;
const SERVICE_MEDIAN_S: f64 = 2.0 * 3600.0;
/// Mean time between outages of one link, and median length.
const LINK_MEAN_S: f64 = 10.0 * 3600.0;
const LINK_MEDIAN_S: f64 = 6.0 * 60.0;
/// What the first meter still counts before it rolls over: somebody who watches sees it within the first hours.
const FIRST_ROLLOVER_KWH: f64 = 1_500.0;

/// What kind of device it is; each kind is a model and a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// A turbine.
    Turbine,
    /// A meter.
    Meter,
    /// The mast.
    Mast,
}

/// A device of the farm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its kind.
    pub kind: DeviceKind,
    /// Device key, and asset id.
    pub key: String,
    /// Display name.
    pub name: String,
}

/// The link of a device: for how long it is still down.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    down_s: f64,
}

/// The farm.
pub struct Farm {
    devices: Vec<DeviceInfo>,
    turbines: Vec<Turbine>,
    meters: Vec<Meter>,
    feeders: Vec<Meter>,
    mast: Mast,
    weather: Weather,
    links: Vec<Link>,
    chance: Chance,
    grid: Wander,
    air: Air,
    limit: f64,
    limit_s: f64,
    service: Option<(usize, f64)>,
    step_ms: i64,
    time_ms: i64,
}

impl Farm {
    /// A farm of `turbines`, whose first step ends at `start_ms` and whose steps are `step_ms` long.
    pub fn new(seed: u64, turbines: usize, start_ms: i64, step_ms: i64) -> Farm {
        let step_s = step_ms as f64 / 1000.0;
        let places = layout(turbines);
        let feeders = turbines.div_ceil(FEEDER_TURBINES);
        let mut weather = Weather::new(seed, step_s);
        let time_ms = start_ms - step_ms;
        let air = weather.step(time_ms as f64 / 1000.0);
        let mut chance = Chance::new(seed, 3);
        let grid = Wander::new(&mut chance, 90.0);
        let upwind = Place { east_m: -300.0, north_m: -300.0 };
        let devices = devices(turbines, feeders);
        Farm {
            turbines: places.iter().enumerate().map(|(i, p)| Turbine::new(seed, i as u64, *p)).collect(),
            meters: (0..turbines)
                .map(|i| Meter::new(seed, i as u64, 690.0, (i == 0).then_some(FIRST_ROLLOVER_KWH)))
                .collect(),
            feeders: (0..feeders).map(|i| Meter::new(seed, 5_000 + i as u64, 33_000.0, None)).collect(),
            mast: Mast::new(seed, upwind),
            links: vec![Link::default(); devices.len()],
            devices,
            weather,
            chance,
            grid,
            air,
            limit: 1.0,
            limit_s: 0.0,
            service: None,
            step_ms,
            time_ms,
        }
    }

    /// Its devices; samples name them by index.
    pub fn devices(&self) -> &[DeviceInfo] {
        &self.devices
    }

    /// Its turbines.
    pub fn turbines(&self) -> &[Turbine] {
        &self.turbines
    }

    /// The air over it.
    pub fn air(&self) -> &Air {
        &self.air
    }

    /// Share of rated power the grid operator allows.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Time of the last step.
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Power of all turbines.
    pub fn power_kw(&self) -> f64 {
        self.turbines.iter().map(|t| t.power_kw).sum()
    }

    /// Whether the link of a device carries.
    pub fn is_linked(&self, device: usize) -> bool {
        self.links[device].down_s <= 0.0
    }

    /// One step on: what every device reports, in the order of [`Farm::devices`].
    pub fn step(&mut self) -> Vec<Sample> {
        self.time_ms += self.step_ms;
        let dt = self.step_ms as f64 / 1000.0;
        let time_s = self.time_ms as f64 / 1000.0;
        self.air = self.weather.step(time_s);
        self.give_orders(dt);
        self.move_turbines(time_s, dt);
        self.count_energy(dt);
        let gust = self.weather.gust_at(self.along(self.mast.place), &self.air);
        self.mast.step(self.air.wind_ms + gust, &self.air, dt);
        for link in &mut self.links {
            link.down_s -= dt;
            if link.down_s <= 0.0 && self.chance.happens(LINK_MEAN_S, dt) {
                link.down_s = self.chance.duration(LINK_MEDIAN_S, 0.8);
            }
        }
        self.report(dt)
    }

    fn give_orders(&mut self, dt: f64) {
        self.limit_s -= dt;
        if self.limit_s <= 0.0 {
            self.limit = 1.0;
            if self.chance.happens(CURTAIL_MEAN_S, dt) {
                let which = (self.chance.unit() * CURTAIL_LIMITS.len() as f64) as usize;
                self.limit = CURTAIL_LIMITS[which.min(CURTAIL_LIMITS.len() - 1)];
                self.limit_s = self.chance.duration(CURTAIL_MEDIAN_S, 0.5);
            }
        }
        self.service = match self.service {
            Some((turbine, left)) if left > dt => Some((turbine, left - dt)),
            Some(_) => None,
            // Crews come in daylight.
            None if (self.time_ms / 3_600_000 % 24) >= 6
                && (self.time_ms / 3_600_000 % 24) < 14
                && self.chance.happens(SERVICE_MEAN_S, dt) =>
            {
                let turbine = (self.chance.unit() * self.turbines.len() as f64) as usize;
                Some((turbine.min(self.turbines.len() - 1), self.chance.duration(SERVICE_MEDIAN_S, 0.4)))
            }
            None => None,
        };
    }

    fn along(&self, place: Place) -> f64 {
        let edge = self.turbines.iter().map(|t| t.place).chain([self.mast.place]);
        let along = |p: Place| self.air.along_and_beside(Place { east_m: 0.0, north_m: 0.0 }, p).0;
        along(place) - edge.map(along).fold(f64::INFINITY, f64::min)
    }

    /// Winds from the state before the step: a wake needs a minute to the next rotor anyway.
    fn move_turbines(&mut self, time_s: f64, dt: f64) {
        let winds: Vec<f64> =
            self.turbines.iter().enumerate().map(|(i, t)| self.wind_at(i, t.place)).collect();
        for (i, turbine) in self.turbines.iter_mut().enumerate() {
            let maintenance = self.service.is_some_and(|(turbine, _)| turbine == i);
            turbine.step(time_s, dt, winds[i], &self.air, Orders { limit: self.limit, maintenance });
        }
    }

    fn wind_at(&self, number: usize, place: Place) -> f64 {
        let gust = self.weather.gust_at(self.along(place), &self.air);
        let squares: f64 = self
            .turbines
            .iter()
            .enumerate()
            .filter(|(i, other)| *i != number && other.status.is_producing())
            .map(|(_, other)| {
                let (along, beside) = self.air.along_and_beside(other.place, place);
                wake_deficit(thrust(other.wind_ms), ROTOR_M, along, beside).powi(2)
            })
            .sum();
        (self.air.wind_ms + gust) * (1.0 - squares.sqrt()).max(0.0)
    }

    fn count_energy(&mut self, dt: f64) {
        for (turbine, meter) in self.turbines.iter().zip(&mut self.meters) {
            meter.step(turbine.power_kw, dt);
        }
        for (feeder, turbines) in self.feeders.iter_mut().zip(self.turbines.chunks(FEEDER_TURBINES)) {
            let sum: f64 = turbines.iter().map(|t| t.power_kw).sum();
            feeder.step(sum - FEEDER_LOSS * sum.abs(), dt);
        }
    }

    fn report(&mut self, dt: f64) -> Vec<Sample> {
        let frequency = 50.0 + 0.02 * self.grid.step(&mut self.chance, dt);
        let turbines = self.turbines.iter_mut().map(Turbine::readings);
        let meters = self.meters.iter_mut().chain(&mut self.feeders).map(|m| m.readings(frequency));
        let mast = std::iter::once(self.mast.readings());
        let time_ms = self.time_ms;
        turbines
            .chain(meters)
            .chain(mast)
            .enumerate()
            .map(|(device, readings)| Sample { device, time_ms, readings })
            .collect()
    }

    /// Turbines by what they do.
    pub fn count(&self, status: Status) -> usize {
        self.turbines.iter().filter(|t| t.status == status).count()
    }
}

/// Rows across the prevailing wind (from the south-west), every other row shifted by half a distance.
fn layout(turbines: usize) -> Vec<Place> {
    let in_row = (turbines as f64).sqrt().ceil().max(1.0) as usize;
    let (sin, cos) = 55_f64.to_radians().sin_cos();
    (0..turbines)
        .map(|i| {
            let (row, column) = (i / in_row, i % in_row);
            let shift = if row % 2 == 1 { 0.5 } else { 0.0 };
            let along = row as f64 * ROWS_APART * ROTOR_M;
            let beside = (column as f64 + shift) * TURBINES_APART * ROTOR_M;
            Place { east_m: along * sin + beside * cos, north_m: along * cos - beside * sin }
        })
        .collect()
}

fn devices(turbines: usize, feeders: usize) -> Vec<DeviceInfo> {
    let device = |kind, key: String, name: String| DeviceInfo { kind, key, name };
    let mut list = Vec::new();
    list.extend(
        (1..=turbines).map(|i| device(DeviceKind::Turbine, format!("WT{i:02}"), format!("Turbine {i}"))),
    );
    list.extend(
        (1..=turbines)
            .map(|i| device(DeviceKind::Meter, format!("WT{i:02}-M"), format!("Meter of turbine {i}"))),
    );
    list.extend(
        (1..=feeders).map(|i| device(DeviceKind::Meter, format!("FD{i:02}-M"), format!("Feeder {i}"))),
    );
    list.push(device(DeviceKind::Mast, "MAST01".to_owned(), "Meteorological mast".to_owned()));
    list
}

#[cfg(test)]
mod tests;
