//! Chance that repeats itself: the same seed gives the same farm, on every machine and in every version.
//!
//! Owns: SplitMix64 and the few distributions the farm needs. Does not own: who draws; each part has its own stream,
//! so that one more turbine does not change the weather.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// Stream number `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Chance {
        let mut chance = Chance { state: seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03) };
        // Seeds that differ in one bit give streams that have nothing in common only after a few steps.
        for _ in 0..4 {
            chance.bits();
        }
        chance
    }

    /// The next 64 bits (SplitMix64, Steele et al. 2014).
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Even over `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Even over `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Normal with mean 0 and deviation 1.
    pub fn normal(&mut self) -> f64 {
        // 1 - unit() is never 0, so the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Whether something that happens once in `mean_s` seconds on average happens within `dt_s`.
    pub fn happens(&mut self, mean_s: f64, dt_s: f64) -> bool {
        self.unit() < 1.0 - (-dt_s / mean_s).exp()
    }

    /// A duration with this median; half of them lie within a factor of `1 + spread` or so.
    pub fn duration(&mut self, median_s: f64, spread: f64) -> f64 {
        median_s * (spread * self.normal()).exp()
    }
}

/// A number that wanders around 0 with deviation 1 and forgets within `memory_s` (Ornstein-Uhlenbeck, exact for any
/// step).
#[derive(Clone, Debug)]
pub struct Wander {
    /// Where it is.
    pub value: f64,
    memory_s: f64,
}

impl Wander {
    /// Begins somewhere likely.
    pub fn new(chance: &mut Chance, memory_s: f64) -> Wander {
        Wander { value: chance.normal(), memory_s }
    }

    /// Moves on by `dt_s`.
    pub fn step(&mut self, chance: &mut Chance, dt_s: f64) -> f64 {
        let kept = (-dt_s / self.memory_s).exp();
        self.value = kept * self.value + (1.0 - kept * kept).sqrt() * chance.normal();
        self.value
    }
}

/// `from` moved toward `to` for `dt_s`, with time constant `inertia_s`.
pub fn toward(from: f64, to: f64, inertia_s: f64, dt_s: f64) -> f64 {
    to + (from - to) * (-dt_s / inertia_s).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_numbers() {
        // First outputs for state 1234567, from the reference implementation (prng.di.unimi.it/splitmix64.c).
        let mut chance = Chance { state: 1_234_567 };
        assert_eq!(chance.bits(), 6_457_827_717_110_365_317);
        assert_eq!(chance.bits(), 3_203_168_211_198_807_973);
        assert_eq!(chance.bits(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn wandering_has_deviation_one_whatever_the_step() {
        for dt in [1.0, 30.0, 600.0] {
            let mut chance = Chance::new(7, 1);
            let mut wander = Wander::new(&mut chance, 60.0);
            let values: Vec<f64> = (0..200_000).map(|_| wander.step(&mut chance, dt)).collect();
            let square = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
            assert!((square - 1.0).abs() < 0.1, "variance {square} with step {dt}");
        }
    }

    #[test]
    fn inertia_halves_the_distance_in_its_half_life() {
        let half_life = 60.0 * std::f64::consts::LN_2;
        assert!((toward(20.0, 60.0, 60.0, half_life) - 40.0).abs() < 1e-9);
    }
}
