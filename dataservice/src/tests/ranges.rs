//! Values by time range.

use super::*;

fn body(points: &str, start: &str, end: &str) -> Json {
    json!({"assetIds":"aX7pQ2Lm","pointIds":points,"startTime":start,"endTime":end})
}

fn hour(points: &str) -> Json {
    body(points, "2024-03-05 08:00:00", "2024-03-05 09:00:00")
}

/// Seconds after 08:00 and values of `point`, from items of format 0.
fn read(items: &Json, point: &str) -> Vec<(i64, Json)> {
    let items = items.as_array().unwrap().iter().filter(|item| item.get(point).is_some());
    items.map(|i| ((i["timestamp"].as_i64().unwrap() - T) / 1_000, i[point].clone())).collect()
}

#[test]
fn measured_values_are_those_of_the_example() {
    let plant = Plant::new();
    let samples = [(T, 7.4), (T + 1_250, 7.6), (T + 2_000, 9.9)];
    plant.write_with_quality(
        "aX7pQ2Lm",
        "wind_speed",
        samples.map(|(t, v)| (t, ValueRef::Float(v), Some(0))),
    );
    let asked = with(
        body("wind_speed", "2024-03-05 08:00:00", "2024-03-05 08:00:02"),
        json!({"pageSize":10,"localTimeAccuracy":true,"localTimeFormat":0,"itemFormat":0,"withQuality":true}),
    );
    assert_eq!(
        plant.items(Operation::Ai, asked),
        json!([
          {"assetId":"aX7pQ2Lm","timestamp":1709596800000_i64,"wind_speed":7.4,"localtime":"2024-03-05 08:00:00.000","quality":"0"},
          {"assetId":"aX7pQ2Lm","timestamp":1709596801250_i64,"wind_speed":7.6,"localtime":"2024-03-05 08:00:01.250","quality":"0"}])
    );
    let v20 = |start: &str, end: &str| {
        plant.ask_v20(
            Operation::Ai,
            &[
                ("orgId", "default"),
                ("assetIds", "aX7pQ2Lm"),
                ("measurepoints", "wind_speed"),
                ("startTime", start),
                ("endTime", end),
                ("pageSize", "1"),
            ],
        )
    };
    let utc = v20("2024-03-05T08:00:00+08:00", "2024-03-05T08:00:02+08:00");
    assert_eq!(
        utc["data"]["items"],
        json!([{"assetId":"aX7pQ2Lm","timestamp":1709596800000_i64,"wind_speed":7.4,"localtime":null}])
    );
    let local = v20("2024-03-05 08:00:00", "2024-03-05 08:00:02");
    assert_eq!(local["data"]["items"][0]["localtime"], "2024-03-05 08:00:00");
    assert_eq!(v20("2024-03-05 08:00:00", "2024-03-05T08:00:02Z")["status"], 702);
    assert_eq!(v20("", "2024-03-05T08:00:02Z")["status"], 400);
}

#[test]
fn the_three_formats_are_those_of_the_example() {
    let plant = Plant::new();
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T, 7.4), (T + 1_000, 7.5)]);
    plant.floats("aX7pQ2Lm", "power", &[(T, 1520.5)]);
    let items = |format: i64, quality: bool| {
        plant.items(
            Operation::Ai,
            with(hour("wind_speed,power"), json!({"itemFormat":format,"withQuality":quality})),
        )
    };
    let (at, then) = ("2024-03-05 08:00:00", "2024-03-05 08:00:01");
    assert_eq!(
        items(0, true),
        json!([{"assetId":"aX7pQ2Lm","timestamp":T,"localtime":at,"wind_speed":7.4,"quality":"0"},
               {"assetId":"aX7pQ2Lm","timestamp":T + 1_000,"localtime":then,"wind_speed":7.5,"quality":"0"},
               {"assetId":"aX7pQ2Lm","timestamp":T,"localtime":at,"power":1520.5,"quality":null}])
    );
    assert_eq!(
        items(1, false),
        json!([{"assetId":"aX7pQ2Lm","timestamp":T,"localtime":at,"wind_speed":7.4,"power":1520.5},
               {"assetId":"aX7pQ2Lm","timestamp":T + 1_000,"localtime":then,"wind_speed":7.5}])
    );
    assert_eq!(items(1, true)[0]["quality"], json!({"wind_speed":"0","power":null}));
    assert_eq!(
        items(2, true),
        json!([{"assetId":"aX7pQ2Lm","pointId":"wind_speed","localTime":[at, then],"timestamp":[T, T + 1_000],
                "value":[7.4,7.5],"dataQuality":[0,0]},
               {"assetId":"aX7pQ2Lm","pointId":"power","localTime":[at],"timestamp":[T],"value":[1520.5],"dataQuality":[null]}])
    );
}

#[test]
fn raw_values_of_every_type_descend_as_in_the_example() {
    let plant = Plant::new();
    // 08:03:12 and 08:41:05; the text at 08:00:30.
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T, 1.0), (1_709_596_992_000, 7.1), (1_709_599_265_000, 7.9)]);
    plant.write("aX7pQ2Lm", "alarm_text", [(1_709_596_830_000, ValueRef::Text("yaw limit"))]);
    plant.ints("aX7pQ2Lm", "run_state", &[(T, 1), (T + 1_000, 1)]);
    let asked = with(
        body("wind_speed,alarm_text", "2024-03-05T08:00:00+08:00", "2024-03-05T09:00:00+08:00"),
        json!({"orderBy":"timestamp desc","pageSize":2,"withQuality":false,"localTimeFormat":1}),
    );
    assert_eq!(
        plant.items(Operation::Raw, asked),
        json!([
          {"assetId":"aX7pQ2Lm","timestamp":1709599265000_i64,"localtime":"2024-03-05T08:41:05+08:00","wind_speed":7.9},
          {"assetId":"aX7pQ2Lm","timestamp":1709596992000_i64,"localtime":"2024-03-05T08:03:12+08:00","wind_speed":7.1},
          {"assetId":"aX7pQ2Lm","timestamp":1709596830000_i64,"localtime":"2024-03-05T08:00:30+08:00","alarm_text":"yaw limit"}])
    );
    let states = plant.items(Operation::Raw, hour("run_state"));
    assert_eq!(states.as_array().unwrap().len(), 2, "statuses are not reduced to changes");
    assert!(
        plant.refused(Operation::Raw, with(hour("power"), json!({"orderBy":"value"}))).contains("orderBy")
    );
}

#[test]
fn generic_values_are_the_example_and_others_are_not_among_them() {
    let plant = Plant::new();
    plant.write("aX7pQ2Lm", "alarm_text", [(1_709_596_830_000, ValueRef::Text("yaw limit"))]);
    plant.floats("aX7pQ2Lm", "power", &[(T, 1.0)]);
    let asked = with(hour("alarm_text,power"), json!({"withQuality":false}));
    assert_eq!(
        plant.items(Operation::Generic, asked),
        json!([{"assetId":"aX7pQ2Lm","timestamp":1709596830000_i64,"localtime":"2024-03-05 08:00:30","alarm_text":"yaw limit"}])
    );
    assert_eq!(plant.items(Operation::Ai, hour("alarm_text")), json!([]));
}

#[test]
fn local_ranges_are_read_on_each_assets_clock() {
    let plant = Plant::new();
    let berlin = millis("2024-03-05T07:00:00Z");
    plant.floats("aX7pQ2Lm", "power", &[(T, 1.0), (berlin, 2.0)]);
    plant.floats("berlin", "power", &[(T, 3.0), (berlin, 4.0)]);
    let asked = with(hour("power"), json!({"assetIds":"aX7pQ2Lm,berlin"}));
    let items = plant.items(Operation::Ai, asked);
    let found: Vec<_> = items.as_array().unwrap().iter().map(|i| (&i["power"], &i["localtime"])).collect();
    let shown = json!("2024-03-05 08:00:00");
    assert_eq!(found, [(&json!(1.0), &shown), (&json!(4.0), &shown)]);
}

#[test]
fn pages_are_cut_for_each_point_and_long_ranges_descend() {
    let plant = Plant::new();
    let second = |i: i64| (T + i * 1_000, i as f64);
    let samples: Vec<(i64, f64)> = (0..3_000).map(second).collect();
    plant.floats("aX7pQ2Lm", "power", &samples);
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T - 86_400_000, 1.0), (T, 2.0)]);
    let long = body("power,wind_speed", "2020-01-01 00:00:00", "2025-01-01 00:00:00");
    let ascending = plant.items(Operation::Raw, with(long.clone(), json!({"pageSize":2})));
    assert_eq!(read(&ascending, "power"), [(0, json!(0.0)), (1, json!(1.0))]);
    let descending =
        plant.items(Operation::Raw, with(long.clone(), json!({"pageSize":2,"orderBy":"timestamp desc"})));
    assert_eq!(read(&descending, "power"), [(2_999, json!(2999.0)), (2_998, json!(2998.0))]);
    assert_eq!(read(&descending, "wind_speed"), [(0, json!(2.0)), (-86_400, json!(1.0))]);
    assert_eq!(read(&plant.items(Operation::Raw, long), "power").len(), 1_000, "by default");
    plant.store.flush().unwrap();
    let flushed =
        plant.items(Operation::Raw, with(hour("power"), json!({"pageSize":2,"orderBy":"timestamp desc"})));
    assert_eq!(read(&flushed, "power"), [(2_999, json!(2999.0)), (2_998, json!(2998.0))]);
}

/// Samples 7.0 at 07:59:00, 10.0 at 08:01:00, 20.0 at 08:02:00 and 24.0 at 08:04:00; asked for 08:00 to 08:03.
fn bounded(members: Json) -> Vec<(i64, Json)> {
    let plant = Plant::new();
    let at = |seconds: i64| T + seconds * 1_000;
    plant.floats("aX7pQ2Lm", "power", &[(at(-60), 7.0), (at(60), 10.0), (at(120), 20.0), (at(240), 24.0)]);
    let asked = with(body("power", "2024-03-05 08:00:00", "2024-03-05 08:03:00"), members);
    read(&plant.items(Operation::Raw, asked), "power")
}

#[test]
fn neighbours_and_values_at_the_ends() {
    assert_eq!(bounded(json!({})), [(60, json!(10.0)), (120, json!(20.0))]);
    assert_eq!(
        bounded(json!({"boundaryType":"outside"})),
        [(-60, json!(7.0)), (60, json!(10.0)), (120, json!(20.0)), (240, json!(24.0))]
    );
    // Half way from 7 to 10, and from 20 to 24.
    let ends = [(0, json!(8.5)), (60, json!(10.0)), (120, json!(20.0)), (180, json!(22.0))];
    assert_eq!(bounded(json!({"boundaryType":"interpolated"})), ends);
    let descending = bounded(json!({"boundaryType":"interpolated","orderBy":"timestamp desc"}));
    assert_eq!(descending, ends.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(
        bounded(json!({"boundaryType":"outside","pageSize":2})),
        [(-60, json!(7.0)), (60, json!(10.0))]
    );
    assert_eq!(
        bounded(json!({"boundaryType":"outside","pageSize":2,"orderBy":"timestamp desc"})),
        [(240, json!(24.0)), (120, json!(20.0))]
    );
}

#[test]
fn evenly_spaced_values() {
    let sample = |method: &str, interval: i64| {
        bounded(json!({"boundaryType":"sample","interval":interval,"interpolation":method}))
    };
    assert_eq!(
        sample("linear", 45),
        [(0, json!(8.5)), (45, json!(9.625)), (90, json!(15.0)), (135, json!(20.5))]
    );
    assert_eq!(sample("previous", 90), [(0, json!(7.0)), (90, json!(10.0))]);
    assert_eq!(sample("after", 90), [(0, json!(10.0)), (90, json!(20.0))]);
    // 08:00 is as far from both; 08:01:20 is nearer to 08:01.
    assert_eq!(sample("near", 80), [(0, json!(7.0)), (80, json!(10.0)), (160, json!(20.0))]);
    assert_eq!(bounded(json!({"boundaryType":"sample"})).len(), 3, "a minute by default");
    let last =
        bounded(json!({"boundaryType":"sample","interval":45,"pageSize":2,"orderBy":"timestamp desc"}));
    assert_eq!(last, [(135, json!(20.5)), (90, json!(15.0))]);

    let plant = Plant::new();
    plant.floats("aX7pQ2Lm", "power", &[(T + 60_000, 1.0)]);
    let lone = with(
        body("power", "2024-03-05 08:00:00", "2024-03-05 08:03:00"),
        json!({"boundaryType":"sample","interval":60}),
    );
    let found = read(&plant.items(Operation::Raw, lone), "power");
    assert_eq!(found, [(0, Json::Null), (60, json!(1.0)), (120, Json::Null)]);
    for wrong in [
        json!({"boundaryType":"around"}),
        json!({"boundaryType":"sample","interval":0}),
        json!({"boundaryType":"sample","interpolation":"cubic"}),
    ] {
        plant.refused(Operation::Raw, with(hour("power"), wrong));
    }
}

#[test]
fn values_outside_the_model() {
    let plant = Plant::new();
    let kept = plant.registry.keep_unformatted(DEFAULT_ORG, None, "test", 0).unwrap();
    plant.registry.add_points(kept.model, vec![NewPoint::new("raw_reg_4011", DataType::String)]).unwrap();
    plant.store.rule(Arc::new(plant.registry.policies(false))).unwrap();
    let asset = plant.registry.asset_by_key("aX7pQ2Lm").unwrap().asset;
    let point = plant.registry.model(kept.model).unwrap().point_by_key("raw_reg_4011").unwrap().id;
    let mut rows = BatchBuilder::new(plant.store.shards(), Source::Client);
    rows.begin_row(kept.model, asset, Channel::default());
    assert!(rows.cell(point, ValueRef::Text("0x1F"), None));
    rows.end_row(Timestamp(1_709_596_830_000_000));
    plant.store.write_blocking(rows.finish()).unwrap();
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T, 7.4)]);

    let minute = |points: &str| {
        with(body(points, "2024-03-05 08:00:00", "2024-03-05 08:01:00"), json!({"pageSize":100}))
    };
    assert_eq!(
        plant.items(Operation::UnifiedRaw, minute("wind_speed,raw_reg_4011")),
        json!([
          {"assetId":"aX7pQ2Lm","timestamp":1709596800000_i64,"localtime":"2024-03-05 08:00:00","wind_speed":7.4},
          {"assetId":"aX7pQ2Lm","timestamp":1709596830000_i64,"localtime":"2024-03-05 08:00:30","raw_reg_4011":"0x1F"}])
    );
    assert_eq!(
        plant.items(Operation::Unformatted, minute("raw_reg_4011")),
        json!([{"assetId":"aX7pQ2Lm","timestamp":1709596830000_i64,"localtime":"2024-03-05 08:00:30.000","raw_reg_4011":"0x1F"}])
    );
    assert_eq!(plant.items(Operation::Unformatted, minute("wind_speed")), json!([]));
    assert!(plant.refused(Operation::Unformatted, minute("a,b")).contains("only one"));
    assert!(plant.refused(Operation::Raw, minute("raw_reg_4011")).contains("not in the model"));
    // Boundary parameters act on points of the model only.
    let outside = with(minute("wind_speed,raw_reg_4011"), json!({"boundaryType":"sample","interval":60}));
    assert_eq!(plant.items(Operation::UnifiedRaw, outside).as_array().unwrap().len(), 2);
}
