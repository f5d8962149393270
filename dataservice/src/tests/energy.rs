//! Aggregates by interval, and energy. Days and hours are worked out by hand.

use super::*;

const HOUR: i64 = 3_600_000;

#[test]
fn aggregates_are_labelled_by_the_start_of_their_bucket() {
    let plant = Plant::new();
    plant.floats(
        "aX7pQ2Lm",
        "wind_speed",
        &[(T, 7.5), (T + 599_999, 7.54), (T + 600_000, 7.88), (T + 1_200_000, 99.0)],
    );
    plant.floats("aX7pQ2Lm", "power", &[(T + 60_000, 1610.0), (T + 61_000, 9.0), (T + 700_000, 1702.5)]);
    let body = json!({"assetIds":"aX7pQ2Lm","pointIdsWithLogic":"avg(wind_speed),max(power)","interval":10,
        "startTime":"2024-03-05T08:00:00+08:00","endTime":"2024-03-05T08:20:00+08:00","localTimeFormat":1,"itemFormat":1});
    assert_eq!(
        plant.items(Operation::AiNormalized, body),
        json!([
          {"assetId":"aX7pQ2Lm","timestamp":1709596800000_i64,"localtime":"2024-03-05T08:00:00+08:00",
           "avg(wind_speed)":7.52,"max(power)":1610.0},
          {"assetId":"aX7pQ2Lm","timestamp":1709597400000_i64,"localtime":"2024-03-05T08:10:00+08:00",
           "avg(wind_speed)":7.88,"max(power)":1702.5}])
    );
}

#[test]
fn every_function_and_both_kinds_of_numbers() {
    let plant = Plant::new();
    plant.ints("aX7pQ2Lm", "rotor", &[(T + 2_000, 4), (T + 1_000, 9), (T + 3_000, 2)]);
    let logic =
        "count(rotor),cnt(rotor),avg(rotor),sum(rotor),max(rotor),min(rotor),first(rotor),last(rotor)";
    let body = json!({"assetIds":"aX7pQ2Lm","pointIdsWithLogic":logic,"interval":"1440","itemFormat":1,
        "startTime":"2024-03-05 00:00:00","endTime":"2024-03-06 00:00:00"});
    assert_eq!(
        plant.items(Operation::AiNormalized, body),
        json!([{"assetId":"aX7pQ2Lm","timestamp":1709568000000_i64,"localtime":"2024-03-05 00:00:00","count(rotor)":3,
          "cnt(rotor)":3,"avg(rotor)":5.0,"sum(rotor)":15,"max(rotor)":9,"min(rotor)":2,"first(rotor)":9,"last(rotor)":2}])
    );
}

#[test]
fn minute_values_are_cut_off_and_the_last_arrival_wins() {
    let plant = Plant::new();
    plant.rule(&[(StorageType::AiNormalized, "wind_speed"), (StorageType::AiRaw, "wind_speed")]);
    // The worked example of §3.2: one stored record, 08:00:00 → 7.0.
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T + 3_000, 7.1), (T + 41_000, 7.4), (T + 20_000, 7.0)]);
    let body = json!({"assetIds":"aX7pQ2Lm","pointIdsWithLogic":"wind_speed","interval":0,
        "startTime":"2024-03-05 08:00:00","endTime":"2024-03-05 08:01:00"});
    assert_eq!(
        plant.items(Operation::AiNormalized, body.clone()),
        json!([{"assetId":"aX7pQ2Lm","timestamp":1709596800000_i64,"localtime":"2024-03-05 08:00:00","wind_speed":7.0}])
    );
    let count = with(body.clone(), json!({"pointIdsWithLogic":"count(wind_speed)","interval":1}));
    assert_eq!(plant.items(Operation::AiNormalized, count)[0]["count(wind_speed)"], 1);
    let raw = json!({"assetIds":"aX7pQ2Lm","pointIds":"wind_speed","startTime":"2024-03-05 08:00:00",
        "endTime":"2024-03-05 08:01:00"});
    assert_eq!(plant.items(Operation::Raw, raw).as_array().unwrap().len(), 3, "raw goes first");
    // A minute that began before the range is not in it.
    let later = with(body, json!({"startTime":"2024-03-05 08:00:01"}));
    assert_eq!(plant.items(Operation::AiNormalized, later), json!([]));
    // What no policy names is not stored.
    let power = json!({"assetIds":"aX7pQ2Lm","pointIdsWithLogic":"power","interval":0,
        "startTime":"2024-03-05 08:00:00","endTime":"2024-03-05 08:01:00"});
    plant.floats("aX7pQ2Lm", "power", &[(T, 1.0)]);
    assert_eq!(plant.items(Operation::AiNormalized, power), json!([]));
}

#[test]
fn without_a_policy_group_samples_stand_for_minute_values() {
    let plant = Plant::new();
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T + 3_000, 7.1), (T + 41_000, 7.4), (T + 60_500, 7.0)]);
    let body = json!({"assetIds":"aX7pQ2Lm","pointIdsWithLogic":"wind_speed","interval":0,"itemFormat":2,
        "startTime":"2024-03-05 08:00:00","endTime":"2024-03-05 08:02:00"});
    let items = plant.items(Operation::AiNormalized, body);
    assert_eq!((&items[0]["timestamp"], &items[0]["value"]), (&json!([T, T + 60_000]), &json!([7.4, 7.0])));
}

#[test]
fn intervals_and_functions_are_checked() {
    let plant = Plant::new();
    let ask = |members: Json| {
        let body = json!({"assetIds":"aX7pQ2Lm","pointIdsWithLogic":"avg(power)","interval":10,
            "startTime":"2024-03-05 08:00:00","endTime":"2024-03-05 09:00:00"});
        plant.refused(Operation::AiNormalized, with(body, members))
    };
    for interval in [json!(-1), json!(1441), json!(1.5)] {
        assert!(ask(json!({"interval": interval})).contains("interval"));
    }
    assert_eq!(ask(json!({"interval": ""})), "interval is required");
    assert!(ask(json!({"interval": 0})).contains("no function"));
    assert!(ask(json!({"pointIdsWithLogic": "power"})).contains("needs a function"));
    assert!(ask(json!({"pointIdsWithLogic": "avg(speed)"})).contains("not in the model"));
}

#[test]
fn energy_by_interval_is_the_example() {
    let plant = Plant::new();
    // 08:00 to 08:14 in minutes: 6.853 until 08:10, 3.1 until 08:15.
    plant.floats(
        "mT5wE8Yc",
        "energy_delta",
        &[(T, 6.0), (T + 540_000, 0.853), (T + 600_000, 3.0), (T + 840_000, 0.1), (T + 900_000, 50.0)],
    );
    let body = json!({"assetIds":"mT5wE8Yc","pointIdsWithLogic":"sum(energy_delta)","interval":10,
        "startTime":"2024-03-05 08:00:00","endTime":"2024-03-05 08:15:00","localTimeFormat":1});
    assert_eq!(
        plant.items(Operation::ElectricPower, body.clone()),
        json!([
          {"assetId":"mT5wE8Yc","timestamp":1709596800000_i64,"sum(energy_delta)":6.853,"localtime":"2024-03-05T08:00:00+08:00"},
          {"assetId":"mT5wE8Yc","timestamp":1709597400000_i64,"sum(energy_delta)":3.1,"localtime":"2024-03-05T08:10:00+08:00"}])
    );
    // A reading that comes late, and one that corrects another one, count at once.
    plant.floats("mT5wE8Yc", "energy_delta", &[(T + 60_000, 1.0), (T, 5.0)]);
    let items = plant.items(Operation::ElectricPower, body.clone());
    assert_eq!(items[0]["sum(energy_delta)"], 6.853);
    plant.store.flush().unwrap();
    let late = [(T + 120_000, 1.0)];
    plant.floats("mT5wE8Yc", "energy_delta", &late);
    assert_eq!(
        plant.items(Operation::ElectricPower, body)[0]["sum(energy_delta)"],
        7.853,
        "after a flush, too"
    );
    assert_eq!(
        plant.items(
            Operation::AiNormalized,
            json!({"assetIds":"mT5wE8Yc","pointIdsWithLogic":"sum(energy_delta)",
            "interval":10,"startTime":"2024-03-05 08:00:00","endTime":"2024-03-05 08:15:00"})
        ),
        json!([]),
        "energy is no measured value"
    );
}

#[test]
fn energy_of_today_begins_at_each_assets_midnight() {
    let plant = Plant::new();
    // Midnight of 5 March: 2024-03-04T16:00Z at +08:00, 2024-03-04T23:00Z in Berlin.
    let (shanghai, berlin) = (1_709_568_000_000, millis("2024-03-04T23:00:00Z"));
    plant.floats("mT5wE8Yc", "energy_delta", &[(shanghai - 60_000, 1000.0), (shanghai, 400.0), (T, 12.75)]);
    plant.floats(
        "berlin",
        "energy_delta",
        &[
            (shanghai, 1000.0),
            (berlin - 1, 1000.0),
            (berlin, 2.5),
            (NOW / 1_000, 0.5),
            (NOW / 1_000 + 1, 1000.0),
        ],
    );
    let body = json!({"assetIds":"mT5wE8Yc,berlin,aX7pQ2Lm","pointIds":"energy_delta"});
    assert_eq!(
        plant.items(Operation::CurrentDay, body),
        json!([
          {"assetId":"mT5wE8Yc","timestamp":1709568000000_i64,"sum(energy_delta)":412.75,"localtime":"2024-03-05 00:00:00"},
          {"assetId":"berlin","timestamp":berlin,"sum(energy_delta)":3.0,"localtime":"2024-03-05 00:00:00"}])
    );
}

/// One kilowatt-hour an hour: a day has as many as it has hours.
#[test]
fn energy_of_days_when_clocks_change() {
    let plant = Plant::new();
    for (first, hours) in [("2024-03-29T23:00:00Z", 24 + 23 + 24), ("2024-10-25T22:00:00Z", 24 + 25 + 24)] {
        let samples: Vec<(i64, f64)> =
            (0..hours).map(|h| (millis(first) + h * HOUR + 30 * 60_000, 1.0)).collect();
        plant.floats("berlin", "energy_delta", &samples);
    }
    let days = |start: &str, end: &str| {
        let items = plant.items(
            Operation::ElectricPower,
            json!({"assetIds":"berlin","pointIdsWithLogic":"sum(energy_delta)","interval":1440,"startTime":start,
                "endTime":end,"localTimeFormat":1}),
        );
        let items = items.as_array().unwrap().clone().into_iter();
        let read =
            |i: Json| (i["localtime"].as_str().unwrap().to_owned(), i["sum(energy_delta)"].as_f64().unwrap());
        items.map(read).collect::<Vec<_>>()
    };
    let day = |text: &str, sum: f64| (text.to_owned(), sum);
    assert_eq!(
        days("2024-03-30 00:00:00", "2024-04-02 00:00:00"),
        [
            day("2024-03-30T00:00:00+01:00", 24.0),
            day("2024-03-31T00:00:00+01:00", 23.0),
            day("2024-04-01T00:00:00+02:00", 24.0)
        ]
    );
    assert_eq!(
        days("2024-10-26 00:00:00", "2024-10-29 00:00:00"),
        [
            day("2024-10-26T00:00:00+02:00", 24.0),
            day("2024-10-27T00:00:00+02:00", 25.0),
            day("2024-10-28T00:00:00+01:00", 24.0)
        ]
    );
    // With offsets days have 24 hours, whatever the clock shows.
    assert_eq!(
        days("2024-03-31T00:00:00+01:00", "2024-04-02T00:00:00+01:00"),
        [day("2024-03-31T00:00:00+01:00", 24.0), day("2024-04-01T01:00:00+02:00", 23.0)]
    );
}

/// A meter that counts up is replaced at 12:00: it read 1,000 at 06:00 and 1,012 at 11:59, the new one 0 at 12:00 and
/// 8 at 18:00. What it delivered, 12 and then 8, is stored as energy by whoever reads it; the aggregates of readings show
/// the reset as it is.
#[test]
fn a_meter_reset_in_a_day() {
    let plant = Plant::new();
    let midnight = 1_709_568_000_000;
    let readings = [(6 * HOUR, 1000.0), (12 * HOUR - 60_000, 1012.0), (12 * HOUR, 0.0), (18 * HOUR, 8.0)];
    let at = |samples: &[(i64, f64)]| samples.iter().map(|&(t, v)| (midnight + t, v)).collect::<Vec<_>>();
    plant.floats("aX7pQ2Lm", "energy_delta", &at(&readings));
    plant.floats("mT5wE8Yc", "energy_delta", &at(&[(12 * HOUR - 60_000, 12.0), (18 * HOUR, 8.0)]));
    let body = json!({"assetIds":"aX7pQ2Lm,mT5wE8Yc","itemFormat":1,"interval":720,
        "pointIdsWithLogic":"sum(energy_delta),first(energy_delta),last(energy_delta)",
        "startTime":"2024-03-05 00:00:00","endTime":"2024-03-06 00:00:00"});
    let items = plant.items(Operation::ElectricPower, body);
    let read = |i: usize, f: &str| items[i][format!("{f}(energy_delta)")].as_f64().unwrap();
    assert_eq!((read(0, "first"), read(0, "last")), (1000.0, 1012.0));
    assert_eq!((read(1, "first"), read(1, "last")), (0.0, 8.0));
    assert_eq!((read(2, "sum"), read(3, "sum")), (12.0, 8.0));
}
