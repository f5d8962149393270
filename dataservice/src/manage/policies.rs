//! Storage policies by `policyId` (data service §3.9): telling, saving, removing; and what is kept beside the models.
//!
//! Owns: the documents of v2.0 (points are ids) and v2.1 (points have compression parameters beside), both ways. Does not
//! own: the rules of a policy and its group (`registry`), which policies are in force (`server` carries that out).

use serde::Deserialize;
use serde_json::{Value as Json, json};
use wattline_model::{Retention, StorageType, Thinning, Tolerance};
use wattline_registry::policies::by_id::PolicyChange;
use wattline_registry::{ErrorKind as Kind, Policy, PolicyPoint, Registry, Right};

use super::{Ask, Done, Effect, Request, forms};
use crate::answer::success;
use crate::error::{Error, ErrorKind, Result};
use crate::params::Version;

const MICROS: f64 = 1e6;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelForm {
    model_id: String,
    #[serde(default)]
    points: Vec<PointForm>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a point's id or {\"pointId\": id, \"sdt\": {}, \"db\": {}}")]
enum PointForm {
    Id(String),
    #[serde(rename_all = "camelCase")]
    Thinned {
        point_id: String,
        sdt: Option<Door>,
        db: Option<Band>,
    },
}

/// A swinging door; times are seconds.
#[derive(Deserialize, Clone, Copy)]
struct Door {
    compdev: f64,
    compmax: Option<f64>,
    #[serde(default)]
    compmin: f64,
}

/// A dead band; times are seconds.
#[derive(Deserialize, Clone, Copy)]
struct Band {
    excdev: f64,
    excmax: Option<f64>,
    #[serde(default)]
    excmin: f64,
}

fn tolerance(deviation: f64, min: f64, max: Option<f64>) -> Tolerance {
    let micros = |seconds: f64| (seconds * MICROS) as i64;
    Tolerance { deviation, spacing_min: micros(min), spacing_max: max.map(micros) }
}

impl PointForm {
    fn read(self) -> (String, Thinning) {
        match self {
            PointForm::Id(key) => (key, Thinning::default()),
            PointForm::Thinned { point_id, sdt, db } => {
                let dead_band = db.map(|db| tolerance(db.excdev, db.excmin, db.excmax));
                let swinging_door = sdt.map(|sdt| tolerance(sdt.compdev, sdt.compmin, sdt.compmax));
                (point_id, Thinning { dead_band, swinging_door })
            }
        }
    }
}

fn refused(error: wattline_registry::Error) -> Error {
    match error.kind() {
        Kind::NotFound => Error::not_found(error.to_string()),
        _ => Error::from(error),
    }
}

fn missing(id: &str) -> Error {
    Error::not_found(format!("policy {} does not exist", forms::start(id)))
}

/// The body of the answer to reading the policy `id`.
///
/// # Errors
/// Whatever [`crate::ErrorKind`] says; [`Error::body`] is the answer then, as for every call of this module.
pub fn show(registry: &Registry, id: &str, request: &Request<'_>) -> Result<Vec<u8>> {
    let ask = Ask::new(registry, request)?;
    ask.whole(Right::Read)?;
    let (_, policy) = registry.policy(ask.org, id).ok_or_else(|| missing(id))?;
    let version = request.params.version();
    Ok(success(version, policy_json(&ask, version, &policy).to_string().as_bytes(), &[]))
}

/// Makes the policy `id` keep the points of `models`, and no others, for `retention` where that is given.
///
/// # Errors
/// As [`show`].
pub fn save(registry: &Registry, id: &str, request: &Request<'_>) -> Result<Done> {
    let ask = Ask::new(registry, request)?;
    ask.whole(Right::Manage)?;
    let models: Vec<ModelForm> = forms::required_member(request.params, "models")?;
    let retention = request.params.text("retention").map(retention).transpose()?;
    let mut points = Vec::new();
    for form in models {
        let denied = || {
            let what = format!("[{}] permission denied!", forms::start(&form.model_id));
            Error::new(ErrorKind::ModelDenied, what)
        };
        let model = registry.model_by_key(ask.org, &form.model_id).ok_or_else(denied)?;
        for point in form.points {
            let (key, thinning) = point.read();
            let found = model.point_by_key(&key);
            let unknown = || {
                Error::invalid(format!("models: point {} is not in model {}", forms::start(&key), model.key))
            };
            points.push(PolicyPoint { model: model.id, point: found.ok_or_else(unknown)?.id, thinning });
        }
    }
    change(&ask, id, PolicyChange::Keep { points, retention })
}

/// Removes the policy `id`: its points have newest values and no history from then on. What is stored stays.
///
/// # Errors
/// As [`show`].
pub fn delete(registry: &Registry, id: &str, request: &Request<'_>) -> Result<Done> {
    let ask = Ask::new(registry, request)?;
    ask.whole(Right::Manage)?;
    change(&ask, id, PolicyChange::Remove)
}

fn change(ask: &Ask<'_>, id: &str, change: PolicyChange) -> Result<Done> {
    // Said before the registry says it, which would repeat the id as it came.
    ask.registry.policy(ask.org, id).ok_or_else(|| missing(id))?;
    ask.registry.change_policy(ask.org, id, change, ask.operator, ask.now_micros).map_err(refused)?;
    Ok(Done { body: success(ask.params.version(), b"null", &[]), effects: vec![Effect::Rule] })
}

/// The body of the answer to reading how long an organization keeps what its models do not define.
///
/// # Errors
/// As [`show`].
pub fn show_unformatted(registry: &Registry, request: &Request<'_>) -> Result<Vec<u8>> {
    let ask = Ask::new(registry, request)?;
    ask.whole(Right::Read)?;
    let kept = registry.unformatted(ask.org);
    let data = json!({
        "enabled": kept.is_some(),
        "retention": kept.and_then(|kept| kept.retention).map(Retention::name),
    });
    Ok(success(request.params.version(), data.to_string().as_bytes(), &[]))
}

/// Keeps what the organization's models do not define, for `retention`.
///
/// # Errors
/// As [`show`].
pub fn keep_unformatted(registry: &Registry, request: &Request<'_>) -> Result<Done> {
    let ask = Ask::new(registry, request)?;
    ask.whole(Right::Manage)?;
    let retention = retention(request.params.required("retention")?)?;
    registry.keep_unformatted(ask.org, Some(retention), ask.operator, ask.now_micros).map_err(refused)?;
    Ok(Done { body: success(request.params.version(), b"null", &[]), effects: vec![Effect::Rule] })
}

fn retention(name: &str) -> Result<Retention> {
    let known = || {
        let what = format!("{:?} is none of {}", forms::start(name), Retention::NAMES.join(", "));
        Error::invalid(format!("retention: {what}"))
    };
    Retention::by_name(name).ok_or_else(known)
}

fn policy_json(ask: &Ask<'_>, version: Version, policy: &Policy) -> Json {
    let mut models: Vec<(wattline_model::ModelId, Vec<Json>)> = Vec::new();
    for at in &policy.points {
        let model = ask.registry.model(at.model);
        let key = model.as_ref().and_then(|model| model.point(at.point)).map(|point| point.key.clone());
        let Some(key) = key else { continue };
        let point = match version {
            Version::V20 => Json::from(key),
            Version::V21 => point_json(&key, &at.thinning),
        };
        // Points are in the order of their models.
        match models.last_mut() {
            Some((model, points)) if *model == at.model => points.push(point),
            _ => models.push((at.model, vec![point])),
        }
    }
    let models: Vec<Json> = models
        .into_iter()
        .map(|(model, points)| {
            json!({"modelId": ask.registry.model(model).map(|model| model.key.clone()), "points": points})
        })
        .collect();
    let (name, kind) = names(policy.storage);
    json!({
        "policyId": policy.id,
        "policyName": name,
        "policyType": kind,
        "retention": policy.retention.map(Retention::name),
        "models": models,
    })
}

/// `policyName` and `policyType`. But for one type they are not documented; the others are called as in the metadata.
fn names(storage: StorageType) -> (&'static str, &'static str) {
    match storage {
        StorageType::AiRaw => ("AI Raw Data", "AI_RAW"),
        StorageType::AiNormalized => ("AI Normalized Data", "NORMALIZED"),
        StorageType::Di => ("DI Data", "DI"),
        StorageType::Pi => ("PI Data", "PI"),
        StorageType::Generic => ("Generic Data", "GENERIC"),
        StorageType::LastChanged => ("Last Changed Record", "LAST_CHANGED"),
    }
}

fn point_json(key: &str, thinning: &Thinning) -> Json {
    let seconds = |micros: i64| micros as f64 / MICROS;
    let mut json = json!({"pointId": key});
    if let Some(door) = thinning.swinging_door {
        json["sdt"] = json!({
            "compdev": door.deviation,
            "compmax": door.spacing_max.map(seconds),
            "compmin": seconds(door.spacing_min),
        });
    }
    if let Some(band) = thinning.dead_band {
        json["db"] = json!({
            "excdev": band.deviation,
            "excmax": band.spacing_max.map(seconds),
            "excmin": seconds(band.spacing_min),
        });
    }
    json
}
