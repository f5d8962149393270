use tempfile::TempDir;
use wattline_model::{DataType, PointPolicy, SignalType};

use super::*;
use crate::{DEFAULT_ORG, ErrorKind, NewModel, NewPoint};

/// A registry with the models `turbine` and `meter`.
fn registry() -> (TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(&dir.path().join("registry.db")).unwrap();
    let point = |key: &str, data_type, signal| NewPoint { signal, ..NewPoint::new(key, data_type) };
    let turbine = vec![
        point("wind_speed", DataType::Double, SignalType::Ai),
        point("run_state", DataType::Int, SignalType::Di),
        point("energy", DataType::Double, SignalType::Pi),
        point("note", DataType::String, SignalType::Generic),
    ];
    let meter = vec![point("energy", DataType::Double, SignalType::Pi)];
    for (key, points) in [("turbine", turbine), ("meter", meter)] {
        let (key, name) = (key.to_owned(), String::new());
        registry.create_model(NewModel { org: DEFAULT_ORG, key, name, parent: None, points }).unwrap();
    }
    (dir, registry)
}

const DOCUMENT: &str = r#"{
    "name": "plant_一",
    "models": ["turbine", "meter"],
    "policies": [
        {"type": "AI_RAW", "retention": "3M", "points": {"turbine": [
            {"point": "wind_speed", "deadBand": {"deviation": 0.1, "spacingMax": 600}}]}},
        {"type": "AI_NORMALIZED", "retention": "5y", "points": {"turbine": ["wind_speed"]}},
        {"type": "DI", "modifiable": false, "points": {"turbine": ["run_state"]}},
        {"type": "PI", "retention": "1y", "points": {"turbine": ["energy"], "meter": ["energy"]}},
        {"type": "LAST_CHANGED", "points": {"turbine": ["run_state", "note"]}}
    ]
}"#;

fn save(registry: &Registry, document: &str) -> Result<PolicyGroup, Error> {
    let group = registry.policy_group_from_json(DEFAULT_ORG, document.as_bytes())?;
    registry.save_policy_group(group, "ann", 1_000)
}

#[test]
fn a_group_survives_a_restart_and_is_what_was_asked_for() {
    let (dir, registry) = registry();
    let saved = save(&registry, DOCUMENT).unwrap();
    drop(registry);
    let registry = Registry::open(&dir.path().join("registry.db")).unwrap();
    let found = registry.policy_group(DEFAULT_ORG, "plant_一").unwrap();
    assert_eq!(found, saved);
    let json = registry.policy_group_to_json(&found);
    assert_eq!(json["policies"][0]["points"]["turbine"][0]["deadBand"]["spacingMax"], 600.0);
    let again = save(&registry, &json.to_string()).unwrap();
    assert_eq!(again, saved, "what is answered can be saved, and policies keep their ids");
    assert_eq!(saved.policies[0].id.len(), 36);

    let policies = registry.policies(false);
    let turbine = registry.model_by_key(DEFAULT_ORG, "turbine").unwrap();
    let of = |key: &str| policies.models[&turbine.id].point(turbine.point_by_key(key).unwrap().id);
    let wind = of("wind_speed");
    assert!(wind.normalized && !wind.last_changed);
    let band = wind.history.unwrap().thinning.dead_band.unwrap();
    assert_eq!(band, Tolerance { deviation: 0.1, spacing_min: 0, spacing_max: Some(600_000_000) });
    assert!(of("run_state").last_changed && !of("run_state").history.unwrap().modifiable);
    assert!(of("energy").history.unwrap().by_minute);
    assert_eq!(of("note"), PointPolicy { last_changed: true, ..PointPolicy::default() });
}

#[test]
fn the_longest_retention_of_a_model_keeps_its_rows_and_shorter_ones_take_their_points() {
    let (_dir, registry) = registry();
    save(&registry, DOCUMENT).unwrap();
    let micros = |text: &str| text.parse::<Timestamp>().unwrap().as_microsecond();
    let turbine = registry.model_by_key(DEFAULT_ORG, "turbine").unwrap().id;
    let meter = registry.model_by_key(DEFAULT_ORG, "meter").unwrap().id;
    let found = registry.horizons(micros("2026-05-31T12:00:00Z"));
    let horizon = |model, points: Option<&[u32]>, text| KeepFrom {
        model,
        points: points.map(|list| list.iter().copied().map(PointId).collect()),
        micros: micros(text),
    };
    // By the calendar: three months before the 31st of May is the last day of February. DI has no retention, so rows of
    // the turbine stay.
    let expected = [
        horizon(turbine, Some(&[0]), "2026-02-28T12:00:00Z"),
        horizon(turbine, Some(&[2]), "2025-05-31T12:00:00Z"),
        horizon(turbine.by_minute(), None, "2021-05-31T12:00:00Z"),
        horizon(meter, None, "2025-05-31T12:00:00Z"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn rules_are_kept_and_named() {
    let (_dir, registry) = registry();
    save(&registry, DOCUMENT).unwrap();
    let group = |policy: &str| format!(r#"{{"name": "b", "models": [], "policies": [{policy}]}}"#);
    let cases: &[(String, ErrorKind, &str)] = &[
        (
            r#"{"name": "b", "models": ["turbine"]}"#.to_owned(),
            ErrorKind::Conflict,
            "belongs to group plant_一",
        ),
        (r#"{"name": "b", "models": ["mill"]}"#.to_owned(), ErrorKind::NotFound, "model mill"),
        (r#"{"name": "a b"}"#.to_owned(), ErrorKind::Input, "letters, digits"),
        (group(r#"{"type": "RAW"}"#), ErrorKind::Input, "AI_RAW, AI_NORMALIZED"),
        (group(r#"{"type": "DI", "retention": "2M"}"#), ErrorKind::Input, "1M, 3M"),
        (group(r#"{"type": "PI", "modifiable": false}"#), ErrorKind::Input, "AI_RAW, DI and GENERIC only"),
        (group(r#"{"type": "LAST_CHANGED", "retention": "1y"}"#), ErrorKind::Input, "no retention"),
        (group(r#"{"type": "DI"}, {"type": "DI"}"#), ErrorKind::Input, "given twice"),
        (group(r#"{"type": "DI", "points": {"meter": ["energy"]}}"#), ErrorKind::Input, "not in the group"),
        (
            group(r#"{"type": "DI", "points": {"meter": ["x"]}}"#),
            ErrorKind::NotFound,
            "point x of model meter",
        ),
        (group(r#"{"type": "DI", "size": 3}"#), ErrorKind::Input, "unknown field"),
    ];
    for (document, kind, part) in cases {
        let error = save(&registry, document).unwrap_err();
        assert_eq!(error.kind(), *kind, "{document}: {error}");
        assert!(error.to_string().contains(part), "{document}: {error}");
    }
    let in_plant = |points: &str, storage: &str| {
        DOCUMENT.replace(
            r#"{"type": "DI", "modifiable": false, "points": {"turbine": ["run_state"]}}"#,
            &format!(r#"{{"type": "{storage}", "points": {{"turbine": [{points}]}}}}"#),
        )
    };
    let cases = [
        (in_plant(r#""wind_speed""#, "DI"), "signalType AI, not DI"),
        (in_plant(r#"{"point": "note", "deadBand": {"deviation": 1}}"#, "GENERIC"), "only numbers"),
        (in_plant(r#"{"point": "run_state", "deadBand": {"deviation": 1}}"#, "DI"), "DI may not"),
        (DOCUMENT.replace("\"deviation\": 0.1", "\"deviation\": -1"), "at least 0"),
        (DOCUMENT.replace("600", "-5"), "spacingMax above it"),
    ];
    for (document, part) in cases {
        let error = save(&registry, &document).unwrap_err();
        assert!(error.to_string().contains(part), "{document}: {error}");
    }
}

#[test]
fn changes_are_audited_and_only_empty_groups_go() {
    let (_dir, registry) = registry();
    save(&registry, DOCUMENT).unwrap();
    let error = registry.delete_policy_group(DEFAULT_ORG, "plant_一", "bob", 2_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    save(&registry, r#"{"name": "plant_一"}"#).unwrap();
    registry.delete_policy_group(DEFAULT_ORG, "plant_一", "bob", 3_000).unwrap();
    assert!(registry.policies(false).models.is_empty());
    assert_eq!(registry.policy_group(DEFAULT_ORG, "plant_一"), None);
    let entries = registry.audit(0, 10).unwrap();
    let told: Vec<_> = entries.iter().map(|e| (e.operator.as_str(), e.action.as_str(), e.micros)).collect();
    assert_eq!(
        told,
        [
            ("bob", "delete policy group", 3_000),
            ("ann", "change policy group", 1_000),
            ("ann", "create policy group", 1_000)
        ]
    );
    assert_eq!(entries[1].before.as_ref().unwrap()["models"][0], "turbine");
    assert_eq!(entries[1].after.as_ref().unwrap()["models"], serde_json::json!([]));
    assert_eq!(registry.audit(2, 10).unwrap().len(), 1, "in pages");
}
