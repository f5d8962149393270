use std::collections::BTreeSet;

use serde_json::Value;

use super::super::reading::Datum;
use super::super::register::model_text;
use super::super::turbine::RATED_KW;
use super::*;

/// 2026-01-01T00:00:00Z.
const START_MS: i64 = 1_767_225_600_000;

fn float(sample: &Sample, key: &str) -> f64 {
    match sample.readings.iter().find(|r| r.key == key).map(|r| &r.value) {
        Some(Datum::Float(value)) => *value,
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_samples() {
    let run = |seed| -> Vec<Sample> {
        let mut farm = Farm::new(seed, 5, START_MS, 1_000);
        (0..600).flat_map(|_| farm.step()).collect()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn one_sample_a_device_and_step() {
    let mut farm = Farm::new(1, 13, START_MS, 60_000);
    assert_eq!(farm.devices().len(), 13 + 13 + 3 + 1);
    let keys: BTreeSet<&str> = farm.devices().iter().map(|d| d.key.as_str()).collect();
    assert_eq!(keys.len(), 30);
    for step in 0..10 {
        let samples = farm.step();
        assert_eq!(samples.iter().map(|s| s.device).collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
        assert!(samples.iter().all(|s| s.time_ms == START_MS + step * 60_000));
    }
}

#[test]
fn every_reading_is_a_point_of_its_model() {
    let mut farm = Farm::new(1, 2, START_MS, 1_000);
    let samples = farm.step();
    for (device, sample) in farm.devices().iter().zip(&samples) {
        let model: Value = serde_json::from_str(model_text(device.kind)).unwrap();
        let points = model["measurepoints"].as_object().unwrap();
        let said: BTreeSet<&str> = sample.readings.iter().map(|r| r.key).collect();
        let known: BTreeSet<&str> = points.keys().map(String::as_str).collect();
        assert_eq!(said, known, "{}", device.key);
        for reading in &sample.readings {
            let point = &points[reading.key];
            assert_eq!(
                point["hasQuality"].as_bool().unwrap_or(false),
                reading.quality.is_some(),
                "{}",
                reading.key
            );
            let fits = match reading.value {
                Datum::Float(_) => point["dataType"] == "DOUBLE",
                Datum::Int(_) => point["dataType"] == "INT" || point["dataType"] == "ENUM",
                Datum::Text(_) => point["dataType"] == "STRING",
            };
            assert!(fits, "{}: {:?} is no {}", reading.key, reading.value, point["dataType"]);
        }
    }
}

/// A month in steps of ten minutes: what happens to a farm in a month.
#[test]
fn a_month_looks_like_a_month() {
    let mut farm = Farm::new(1, 12, START_MS, 600_000);
    let mut power = 0.0;
    let mut seen = BTreeSet::new();
    let mut links_down = 0;
    let mut bad = 0;
    let mut fell = 0;
    let mut last = vec![None; farm.devices().len()];
    let steps = 30 * 144;
    for _ in 0..steps {
        let samples = farm.step();
        power += farm.power_kw();
        assert!(farm.power_kw() <= 12.0 * RATED_KW);
        seen.extend(farm.turbines().iter().map(|t| t.status.name()));
        links_down += (0..samples.len()).filter(|d| !farm.is_linked(*d)).count();
        bad += samples.iter().flat_map(|s| &s.readings).filter(|r| r.quality.is_some_and(|q| q != 0)).count();
        for sample in &samples[12..24] {
            let register = float(sample, "energy_export_kwh");
            assert!((0.0..super::super::meter::REGISTER_KWH).contains(&register));
            fell += usize::from(last[sample.device].is_some_and(|before| register < before));
            last[sample.device] = Some(register);
        }
    }
    let capacity_factor = power / f64::from(steps) / (12.0 * RATED_KW);
    assert!((0.15..0.65).contains(&capacity_factor), "capacity factor {capacity_factor}");
    for status in ["idle", "running", "curtailed", "fault", "maintenance"] {
        assert!(seen.contains(status), "{status} never seen in {seen:?}");
    }
    assert!(links_down > 0 && bad > 0, "{links_down} {bad}");
    assert!(fell >= 1, "the first meter rolls over in the first hours");
}

/// Energy between two readings of a meter equals the integral of the power it reports, unless the register began anew.
#[test]
fn meters_agree_with_power() {
    let mut farm = Farm::new(3, 4, START_MS, 1_000);
    let meter = 4 + 1;
    let mut energy = 0.0;
    let mut first = None;
    let mut shown = 0.0;
    for _ in 0..3_600 {
        let samples = farm.step();
        shown = float(&samples[meter], "energy_export_kwh");
        if first.is_none() {
            first = Some(shown);
        } else {
            energy += float(&samples[meter], "power_kw").max(0.0) / 3600.0;
        }
    }
    let counted = shown - first.unwrap();
    assert!(energy > 10.0, "there was wind: {energy}");
    // Power is reported to 0.1 kW: at most 0.05 kWh in an hour, and one count of the register.
    assert!((counted - energy).abs() < 0.07, "{counted} {energy}");
}

#[test]
fn turbines_in_a_wake_make_less() {
    let farm = Farm::new(1, 16, START_MS, 1_000);
    let rows: Vec<Place> = farm.turbines().iter().map(|t| t.place).collect();
    let apart = |a: Place, b: Place| (a.east_m - b.east_m).hypot(a.north_m - b.north_m);
    for (i, a) in rows.iter().enumerate() {
        for b in &rows[i + 1..] {
            assert!(apart(*a, *b) > 4.0 * ROTOR_M);
        }
    }
    let mut farm = Farm::new(5, 9, START_MS, 10_000);
    let (mut first, mut last) = (0.0, 0.0);
    for _ in 0..8_640 {
        farm.step();
        first += farm.turbines()[..3].iter().map(|t| t.power_kw).sum::<f64>();
        last += farm.turbines()[6..].iter().map(|t| t.power_kw).sum::<f64>();
    }
    assert!(last < first, "the third row stands behind two others: {last} {first}");
}
