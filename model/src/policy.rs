//! Storage policies: what of a point's samples is kept, and how.
//!
//! Owns: storage types and what each means for a sample, thinning, and the rules of all models as the write path
//! needs them. Does not own: who belongs to which policy group (`registry`), carrying the rules out (`storage`).
//!
//! Source: data service §3.2 (storage types), §3.6 (modifiable), §3.7 (compressed storage).

use std::collections::HashMap;
use std::fmt;

use crate::id::{ModelId, PointId};
use crate::thing::SignalType;

/// What a policy makes of the samples of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageType {
    /// Measured values as they are sent.
    AiRaw,
    /// Measured values by the minute: of each minute the value that arrives last.
    AiNormalized,
    /// Statuses as they are sent.
    Di,
    /// Meter readings and energy by the minute.
    Pi,
    /// Anything, as it is sent.
    Generic,
    /// When the value last changed, beside the latest value.
    LastChanged,
}

impl StorageType {
    /// All of them, in the order of the documentation.
    pub const ALL: [StorageType; 6] = [
        StorageType::AiRaw,
        StorageType::AiNormalized,
        StorageType::Di,
        StorageType::Pi,
        StorageType::Generic,
        StorageType::LastChanged,
    ];

    /// The name in APIs.
    pub const fn name(self) -> &'static str {
        match self {
            StorageType::AiRaw => "AI_RAW",
            StorageType::AiNormalized => "AI_NORMALIZED",
            StorageType::Di => "DI",
            StorageType::Pi => "PI",
            StorageType::Generic => "GENERIC",
            StorageType::LastChanged => "LAST_CHANGED",
        }
    }

    /// The type of this name.
    pub fn by_name(name: &str) -> Option<StorageType> {
        StorageType::ALL.into_iter().find(|t| t.name() == name)
    }

    /// The signal type that its points must have; `None`: any.
    pub const fn signal(self) -> Option<SignalType> {
        match self {
            StorageType::AiRaw | StorageType::AiNormalized => Some(SignalType::Ai),
            StorageType::Di => Some(SignalType::Di),
            StorageType::Pi => Some(SignalType::Pi),
            StorageType::Generic => Some(SignalType::Generic),
            StorageType::LastChanged => None,
        }
    }

    /// Whether a policy of this type may say that what is stored must not be modified.
    pub const fn may_refuse_changes(self) -> bool {
        matches!(self, StorageType::AiRaw | StorageType::Di | StorageType::Generic)
    }

    /// Whether a policy of this type may thin samples out. EnOS lets AI_NORMALIZED, too; here a minute's value may
    /// still change when thinning would have to decide about it.
    pub const fn may_thin(self) -> bool {
        matches!(self, StorageType::AiRaw | StorageType::Generic)
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long history is kept, in whole months of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retention {
    months: u32,
}

impl Retention {
    /// The values there are (§3.5), shortest first.
    pub const NAMES: [&'static str; 10] = ["1M", "3M", "6M", "1y", "2y", "3y", "5y", "10y", "15y", "20y"];

    /// The retention of this name.
    pub fn by_name(name: &str) -> Option<Retention> {
        if !Retention::NAMES.contains(&name) {
            return None;
        }
        let (number, unit) = name.split_at(name.len() - 1);
        let number: u32 = number.parse().ok()?;
        Some(Retention { months: if unit == "y" { number * 12 } else { number } })
    }

    /// How many months.
    pub const fn months(self) -> u32 {
        self.months
    }

    /// The name in APIs.
    pub fn name(self) -> String {
        if self.months < 12 { format!("{}M", self.months) } else { format!("{}y", self.months / 12) }
    }
}

/// How far a value may lie beside what is kept, and how close and how far apart kept samples may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The largest deviation that is not worth a sample, in the point's unit; at least 0.
    pub deviation: f64,
    /// Samples closer than this to the one kept before are not kept, in microseconds; 0: none is too close.
    pub spacing_min: i64,
    /// A sample this far from the one kept before is kept whatever its value, in microseconds.
    pub spacing_max: Option<i64>,
}

/// Which samples of a point are worth keeping.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Thinning {
    /// Keeps a sample that differs from the one kept before.
    pub dead_band: Option<Tolerance>,
    /// Keeps the corners of a line that passes all samples within the deviation. After the dead band.
    pub swinging_door: Option<Tolerance>,
}

impl Thinning {
    /// Whether every sample is kept.
    pub const fn is_none(&self) -> bool {
        self.dead_band.is_none() && self.swinging_door.is_none()
    }
}

/// How history keeps a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryRule {
    /// Whether seconds and below are cut off the time.
    pub by_minute: bool,
    /// Whether a later write for a time replaces what is there; else the first one stays.
    pub modifiable: bool,
    /// Which samples are kept.
    pub thinning: Thinning,
}

impl HistoryRule {
    /// Every sample as it is sent, the later one winning.
    pub const AS_SENT: HistoryRule = HistoryRule {
        by_minute: false,
        modifiable: true,
        thinning: Thinning { dead_band: None, swinging_door: None },
    };
}

/// What is kept of a point beside its latest value. Nothing, where no policy names it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PointPolicy {
    /// Its history (AI_RAW, DI, PI, GENERIC).
    pub history: Option<HistoryRule>,
    /// Whether its minute values are kept in the model's minute table (AI_NORMALIZED).
    pub normalized: bool,
    /// Whether the time of its last change is kept beside its latest value (LAST_CHANGED).
    pub last_changed: bool,
}

/// The policies of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelPolicy {
    /// One a point, by number.
    pub points: Vec<PointPolicy>,
    /// That of points beyond the end.
    pub rest: PointPolicy,
}

impl ModelPolicy {
    /// The policy of a point.
    pub fn point(&self, point: PointId) -> PointPolicy {
        self.points.get(point.0 as usize).copied().unwrap_or(self.rest)
    }
}

/// The policies of all models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// The models that belong to a policy group.
    pub models: HashMap<ModelId, ModelPolicy>,
    /// Whether models that belong to none keep latest values only. Else they keep every sample as it is sent.
    pub others_latest_only: bool,
}

impl Policies {
    /// The policy of a model's samples as they are sent; `None`: every sample is kept.
    pub fn of(&self, model: ModelId) -> Option<&ModelPolicy> {
        const LATEST_ONLY: &ModelPolicy = &ModelPolicy {
            points: Vec::new(),
            rest: PointPolicy { history: None, normalized: false, last_changed: false },
        };
        self.models.get(&model).or(self.others_latest_only.then_some(LATEST_ONLY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retentions_are_those_of_the_api() {
        let months: Vec<u32> =
            Retention::NAMES.iter().map(|n| Retention::by_name(n).unwrap().months()).collect();
        assert_eq!(months, [1, 3, 6, 12, 24, 36, 60, 120, 180, 240]);
        for name in Retention::NAMES {
            assert_eq!(Retention::by_name(name).unwrap().name(), name);
        }
        assert_eq!(["2M", "1m", "", "y", "12M", "30y"].map(Retention::by_name), [None; 6]);
    }

    #[test]
    fn models_without_a_group_keep_all_or_the_latest() {
        let mut policies = Policies::default();
        assert_eq!(policies.of(ModelId(1)), None);
        policies.others_latest_only = true;
        assert_eq!(policies.of(ModelId(1)).unwrap().point(PointId(3)), PointPolicy::default());
    }
}
