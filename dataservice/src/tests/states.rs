//! Changes and durations of status.

use super::*;

fn body(members: Json) -> Json {
    let body = json!({"assetIds":"aX7pQ2Lm","pointIds":"run_state","startTime":"2024-03-05 08:00:00",
        "endTime":"2024-03-05 09:00:00"});
    with(body, members)
}

/// Seconds after 08:00 and states of the items.
fn read(items: &Json) -> Vec<(i64, i64)> {
    let items = items.as_array().unwrap().iter();
    items
        .map(|i| ((i["timestamp"].as_i64().unwrap() - T) / 1_000, i["run_state"].as_i64().unwrap()))
        .collect()
}

#[test]
fn only_changes_are_returned() {
    let plant = Plant::new();
    // The specification's 0,0,0,1,0,1,1 comes back as 0,1,0,1.
    let states = [0, 0, 0, 1, 0, 1, 1];
    let samples: Vec<(i64, i64)> = (1..).zip(states).map(|(i, s)| (T + i * 60_000, s)).collect();
    plant.ints("aX7pQ2Lm", "run_state", &samples);
    let items = plant.items(Operation::Di, body(json!({})));
    assert_eq!(read(&items), [(60, 0), (240, 1), (300, 0), (360, 1)]);
    assert_eq!(items[0]["localtime"], "2024-03-05 08:01:00");
}

#[test]
fn the_state_before_the_range_is_the_example() {
    let plant = Plant::new();
    plant.ints("aX7pQ2Lm", "run_state", &[(T - 86_400_000, 1), (T + 100_000, 1)]);
    // 08:03:12 and 08:41:05.
    plant.ints("aX7pQ2Lm", "run_state", &[(1_709_596_992_000, 0), (1_709_599_265_000, 1)]);
    assert_eq!(
        plant.items(Operation::Di, body(json!({"autoInterpolate":true,"localTimeFormat":1}))),
        json!([
          {"assetId":"aX7pQ2Lm","timestamp":1709596800000_i64,"localtime":"2024-03-05T08:00:00+08:00","run_state":1},
          {"assetId":"aX7pQ2Lm","timestamp":1709596992000_i64,"localtime":"2024-03-05T08:03:12+08:00","run_state":0},
          {"assetId":"aX7pQ2Lm","timestamp":1709599265000_i64,"localtime":"2024-03-05T08:41:05+08:00","run_state":1}])
    );
    assert_eq!(read(&plant.items(Operation::Di, body(json!({}))))[0], (100, 1));
}

#[test]
fn the_state_before_is_looked_for_thirty_days_back() {
    let plant = Plant::new();
    let day = 86_400_000;
    plant.ints("aX7pQ2Lm", "run_state", &[(T - 30 * day, 2)]);
    plant.ints("bK3dR9Tz", "run_state", &[(T - 30 * day - 1, 2)]);
    let asked = body(json!({"assetIds":"aX7pQ2Lm,bK3dR9Tz","autoInterpolate":"true"}));
    let items = plant.items(Operation::Di, asked.clone());
    assert_eq!(read(&items), [(0, 2)]);
    assert_eq!(items[0]["assetId"], "aX7pQ2Lm");
    plant.store.flush().unwrap();
    assert_eq!(plant.items(Operation::Di, asked.clone()), items, "from segments, too");
    plant.ints("aX7pQ2Lm", "run_state", &[(T, 5)]);
    assert_eq!(read(&plant.items(Operation::Di, asked)), [(0, 5)], "a record at the start is the state");
}

#[test]
fn durations_are_those_of_the_example() {
    let plant = Plant::new();
    // Unknown until 08:00:30, then 1 for 162 s, then 0 for 2273 s, until the last record.
    let states = [(T + 30_000, 1), (T + 192_000, 0), (T + 200_000, 0), (1_709_599_265_000, 1)];
    plant.ints("aX7pQ2Lm", "run_state", &states);
    let whole = json!([{"status":0,"duration":2273000},{"status":1,"duration":162000},
        {"status":"Unknown","duration":30000}]);
    assert_eq!(
        plant.items(Operation::DiDuration, body(json!({"ifWithUnknown":true}))),
        json!([{"assetId":"aX7pQ2Lm","pointId":"run_state","scanEndTimestamp":1709599265000_i64,"durations":whole}])
    );
    let durations = |members: Json| plant.items(Operation::DiDuration, body(members))[0]["durations"].clone();
    assert_eq!(durations(json!({})), whole);
    assert_eq!(durations(json!({"ifWithUnknown":false})).as_array().unwrap().len(), 2);
    let one = json!({"status":1,"duration":162000});
    assert_eq!(durations(json!({"status":"1,7"})), json!([one]));
    let with_unknown = durations(json!({"status":"1","ifWithUnknown":true}));
    assert_eq!(with_unknown, json!([one, {"status":"Unknown","duration":30000}]));
    let v20 = plant.ask_v20(
        Operation::DiDuration,
        &[
            ("orgId", "default"),
            ("assetIds", "aX7pQ2Lm"),
            ("measurepoints", "run_state"),
            ("startTime", "2024-03-05 08:00:00"),
            ("endTime", "2024-03-05 09:00:00"),
        ],
    );
    assert_eq!(v20["data"]["items"][0]["measurepoint"], "run_state");
}

#[test]
fn an_earlier_state_lasts_into_the_range() {
    let plant = Plant::new();
    plant.ints("aX7pQ2Lm", "run_state", &[(T - 3_600_000, 3), (T + 30_000, 1), (T + 40_000, 1)]);
    let items = plant.items(Operation::DiDuration, body(json!({})));
    assert_eq!(items[0]["durations"], json!([{"status":1,"duration":10000},{"status":3,"duration":30000}]));
    let empty = plant.items(Operation::DiDuration, body(json!({"assetIds":"bK3dR9Tz"})));
    assert_eq!(empty, json!([]));
}

#[test]
fn points_of_other_signals_are_no_statuses() {
    let plant = Plant::new();
    plant.floats("aX7pQ2Lm", "power", &[(T, 1.0)]);
    assert_eq!(plant.items(Operation::Di, body(json!({"pointIds":"power"}))), json!([]));
}
