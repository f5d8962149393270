//! The JSON form of a policy group: what REST takes and answers, what a person keeps in a file, what the audit log
//! shows.
//!
//! Owns: names to numbers and back. Does not own: the rules ([`super`]).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use wattline_model::{OrgId, Retention, StorageType, Thinning, Tolerance};

use super::{Policy, PolicyGroup, PolicyPoint};
use crate::Registry;
use crate::cache::Cache;
use crate::error::Error;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupForm {
    name: String,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    policies: Vec<PolicyForm>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyForm {
    #[serde(rename = "type")]
    storage: String,
    /// Answered, and ignored where it is sent back.
    #[serde(default)]
    #[expect(dead_code, reason = "a document that was read may be saved as it is")]
    policy_id: Option<String>,
    #[serde(default)]
    retention: Option<String>,
    #[serde(default = "yes")]
    modifiable: bool,
    #[serde(default)]
    points: BTreeMap<String, Vec<PointForm>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PointForm {
    Key(String),
    Thinned(ThinnedForm),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThinnedForm {
    point: String,
    #[serde(default)]
    dead_band: Option<ToleranceForm>,
    #[serde(default)]
    swinging_door: Option<ToleranceForm>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToleranceForm {
    deviation: f64,
    /// Seconds.
    #[serde(default)]
    spacing_min: f64,
    /// Seconds.
    #[serde(default)]
    spacing_max: Option<f64>,
}

fn yes() -> bool {
    true
}

const MICROS: f64 = 1e6;

impl Registry {
    /// Reads a group of `org` from its JSON form.
    ///
    /// # Errors
    /// `Input` where it is no such document, `NotFound` where it names a model or point there is not.
    pub fn policy_group_from_json(&self, org: OrgId, bytes: &[u8]) -> Result<PolicyGroup, Error> {
        let form: GroupForm = serde_json::from_slice(bytes)
            .map_err(|e| Error::input("policy group", "document", e.to_string()))?;
        let cache = self.cache();
        let item = format!("policy group {}", form.name);
        let model = |key: &str| {
            let entry = cache.model_by_key(org, key);
            entry.map(|e| &e.model).ok_or_else(|| Error::not_found(format!("model {key}")))
        };
        let mut group = PolicyGroup { org, name: form.name, models: Vec::new(), policies: Vec::new() };
        for key in &form.models {
            group.models.push(model(key)?.id);
        }
        for form in form.policies {
            let unknown = |field: &str, found: &str, known: &[&str]| {
                Error::input(item.as_str(), field, format!("{found:?} is none of {}", known.join(", ")))
            };
            let types = StorageType::ALL.map(StorageType::name);
            let storage =
                StorageType::by_name(&form.storage).ok_or_else(|| unknown("type", &form.storage, &types))?;
            let retention = match &form.retention {
                None => None,
                Some(name) => Some(
                    Retention::by_name(name).ok_or_else(|| unknown("retention", name, &Retention::NAMES))?,
                ),
            };
            let mut points = Vec::new();
            for (key, forms) in form.points {
                let model = model(&key)?;
                for form in forms {
                    let (key, thinning) = form.read();
                    let point = model
                        .point_by_key(&key)
                        .ok_or_else(|| Error::not_found(format!("point {key} of model {}", model.key)))?;
                    points.push(PolicyPoint { model: model.id, point: point.id, thinning });
                }
            }
            let modifiable = form.modifiable;
            group.policies.push(Policy { id: String::new(), storage, retention, modifiable, points });
        }
        Ok(group)
    }

    /// The JSON form of a group.
    pub fn policy_group_to_json(&self, of: &PolicyGroup) -> Value {
        group(&self.cache(), of)
    }
}

impl PointForm {
    fn read(self) -> (String, Thinning) {
        match self {
            PointForm::Key(key) => (key, Thinning::default()),
            PointForm::Thinned(form) => {
                let tolerance = |t: ToleranceForm| Tolerance {
                    deviation: t.deviation,
                    spacing_min: (t.spacing_min * MICROS) as i64,
                    spacing_max: t.spacing_max.map(|max| (max * MICROS) as i64),
                };
                let thinning = Thinning {
                    dead_band: form.dead_band.map(tolerance),
                    swinging_door: form.swinging_door.map(tolerance),
                };
                (form.point, thinning)
            }
        }
    }
}

/// The JSON form of `group`.
pub(super) fn group(cache: &Cache, group: &PolicyGroup) -> Value {
    let key = |model| cache.model(model).map_or_else(|| format!("{model}"), |e| e.model.key.clone());
    let policies = group.policies.iter().map(|policy| {
        let mut points: Map<String, Value> = Map::new();
        for at in &policy.points {
            let model = cache.model(at.model);
            let point = model.and_then(|e| e.model.point(at.point));
            let point = point.map_or_else(|| at.point.to_string(), |p| p.key.clone());
            let list = points.entry(key(at.model)).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(point_json(point, &at.thinning));
            }
        }
        json!({
            "type": policy.storage.name(),
            "policyId": policy.id,
            "retention": policy.retention.map(Retention::name),
            "modifiable": policy.modifiable,
            "points": points,
        })
    });
    json!({
        "name": group.name,
        "models": group.models.iter().map(|&model| key(model)).collect::<Vec<_>>(),
        "policies": policies.collect::<Vec<_>>(),
    })
}

fn point_json(point: String, thinning: &Thinning) -> Value {
    if thinning.is_none() {
        return Value::String(point);
    }
    let tolerance = |t: Tolerance| {
        json!({
            "deviation": t.deviation,
            "spacingMin": t.spacing_min as f64 / MICROS,
            "spacingMax": t.spacing_max.map(|max| max as f64 / MICROS),
        })
    };
    json!({
        "point": point,
        "deadBand": thinning.dead_band.map(tolerance),
        "swingingDoor": thinning.swinging_door.map(tolerance),
    })
}
