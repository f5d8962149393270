//! Latest values, filters, last changes.

use super::*;

fn turbines() -> Plant {
    let plant = Plant::new();
    // 2024-03-05 08:41:05 at +08:00.
    plant.floats("aX7pQ2Lm", "wind_speed", &[(1_709_599_265_000, 7.9)]);
    plant.floats("bK3dR9Tz", "wind_speed", &[(1_709_599_265_000, 6.3)]);
    plant
}

#[test]
fn latest_values_are_those_of_the_example() {
    let plant = turbines();
    let body = json!({"assetIds":"aX7pQ2Lm,bK3dR9Tz","pointIds":"wind_speed","timeWindow":30,"ifWithLocalTime":true,
        "localTimeFormat":1,"localTimeAccuracy":false,"itemFormat":0});
    let expected = json!([
        {"assetId":"aX7pQ2Lm","timestamp":1709599265000_i64,"localtime":"2024-03-05T08:41:05+08:00","wind_speed":7.9},
        {"assetId":"bK3dR9Tz","timestamp":1709599265000_i64,"localtime":"2024-03-05T08:41:05+08:00","wind_speed":6.3}]);
    assert_eq!(plant.items(Operation::Latest, body), expected);
    let v20 = plant.ask_v20(
        Operation::Latest,
        &[("orgId", "default"), ("assetIds", "aX7pQ2Lm"), ("measurepoints", "wind_speed,power")],
    );
    assert_eq!(
        v20,
        json!({"status":0,"requestId":null,"msg":"success","submsg":null,"data":{"items":[
            {"assetId":"aX7pQ2Lm","timestamp":1709599265000_i64,"wind_speed":7.9}]}})
    );
}

#[test]
fn latest_values_within_a_window() {
    let plant = turbines();
    let body = json!({"assetIds":"aX7pQ2Lm","pointIds":"wind_speed"});
    let found = |window: Json| {
        let items = plant.items(Operation::Latest, with(body.clone(), json!({"timeWindow": window})));
        items.as_array().unwrap().len()
    };
    // The value is 4 minutes and 55 seconds old.
    assert_eq!([found(json!(5)), found(json!("4")), found(json!("")), found(json!(0))], [1, 0, 1, 0]);
    assert!(
        plant.refused(Operation::Latest, with(body.clone(), json!({"timeWindow": -1}))).contains("negative")
    );
    plant.floats("aX7pQ2Lm", "wind_speed", &[(NOW / 1_000 + 1, 8.0)]);
    let ahead = plant.items(Operation::Latest, with(body, json!({"timeWindow": 0})));
    assert_eq!(ahead[0]["wind_speed"], 8.0);
}

#[test]
fn latest_values_in_the_three_formats() {
    let plant = turbines();
    plant.floats("aX7pQ2Lm", "power", &[(1_709_599_265_000, 1520.5)]);
    plant.ints("aX7pQ2Lm", "rotor", &[(1_709_599_265_001, 3)]);
    let body =
        |format| json!({"assetIds":"aX7pQ2Lm","pointIds":"wind_speed,power,rotor","itemFormat":format});
    assert_eq!(
        plant.items(Operation::Latest, body("1")),
        json!([{"assetId":"aX7pQ2Lm","timestamp":1709599265000_i64,"wind_speed":7.9,"power":1520.5},
               {"assetId":"aX7pQ2Lm","timestamp":1709599265001_i64,"rotor":3}])
    );
    assert_eq!(
        plant.items(Operation::Latest, body("2"))[2],
        json!({"assetId":"aX7pQ2Lm","pointId":"rotor","timestamp":[1709599265001_i64],"value":[3]})
    );
    assert!(plant.refused(Operation::Latest, body("3")).contains("itemFormat"));
}

#[test]
fn a_filter_finds_the_assets_of_the_example() {
    let plant = turbines();
    let body = |operator: &str, values: &str| {
        json!({"modelId":"TurbineModel","assetIds":"aX7pQ2Lm,bK3dR9Tz","pointId":"wind_speed","operator":operator,
            "valueFilter":values,"itemFormat":0})
    };
    assert_eq!(
        plant.items(Operation::FilterLatest, body("between", "7,12")),
        json!([{"assetId":"aX7pQ2Lm","timestamp":1709599265000_i64,"wind_speed":7.9}])
    );
    let found = |operator: &str, values: &str| {
        let items = plant.items(Operation::FilterLatest, body(operator, values));
        let ids = items.as_array().unwrap().iter().map(|i| i["assetId"].as_str().unwrap()[..1].to_owned());
        ids.collect::<String>()
    };
    for (operator, values, assets) in [
        ("eq", "7.9", "a"),
        ("nq", "7.9", "b"),
        ("gt", "6.3", "a"),
        ("ge", "6.3", "ab"),
        ("lt", "7.9", "b"),
        ("le", "6.2", ""),
        ("between", "6.3,7.9", "ab"),
        ("between", "6.3,6.3", "b"),
        ("in", "1,6.3,7.9", "ab"),
    ] {
        assert_eq!(found(operator, values), assets, "{operator} {values}");
    }
    for (operator, values) in [("eq", "1,2"), ("between", "1"), ("like", "1"), ("gt", "x"), ("in", "")] {
        plant.refused(Operation::FilterLatest, body(operator, values));
    }
    for missing in ["modelId", "operator", "valueFilter", "pointId"] {
        let mut body = body("eq", "1");
        body.as_object_mut().unwrap().remove(missing);
        assert_eq!(plant.refused(Operation::FilterLatest, body), format!("{missing} is required"));
    }
    let two = with(body("eq", "1"), json!({"pointId": "wind_speed,power"}));
    assert!(plant.refused(Operation::FilterLatest, two).contains("only one"));
}

#[test]
fn a_filter_compares_texts_and_booleans() {
    let plant = Plant::new();
    plant.write("aX7pQ2Lm", "alarm_text", [(T, ValueRef::Text("yaw limit"))]);
    plant.write("bK3dR9Tz", "flag", [(T, ValueRef::Bool(true))]);
    let body = |point: &str, operator: &str, values: &str| {
        json!({"modelId":"TurbineModel","assetIds":"aX7pQ2Lm,bK3dR9Tz","pointId":point,"operator":operator,
            "valueFilter":values})
    };
    let text = plant.items(Operation::FilterLatest, body("alarm_text", "between", "x,z"));
    assert_eq!(text[0]["alarm_text"], "yaw limit");
    assert_eq!(plant.items(Operation::FilterLatest, body("flag", "eq", "1"))[0]["flag"], 1);
}

#[test]
fn last_changes_and_dead_data() {
    let plant = Plant::new();
    plant.rule(&[(StorageType::LastChanged, "run_state")]);
    let body = json!({"assetIds":"aX7pQ2Lm","pointIds":"run_state,wind_speed","ifWithLocalTime":true});
    assert_eq!(plant.items(Operation::LastChanged, body.clone()), json!([]));
    // 08:41:05, and once more the same at 08:45.
    plant.ints("aX7pQ2Lm", "run_state", &[(T, 0), (1_709_599_265_000, 1), (T + 45 * 60_000, 1)]);
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T, 7.4)]);
    assert_eq!(
        plant.items(Operation::LastChanged, body),
        json!([{"assetId":"aX7pQ2Lm","timestamp":1709599265000_i64,"localtime":"2024-03-05 08:41:05","run_state":1}])
    );
    // Now is 295 s after that.
    let check = |interval: Json| {
        let entry = json!({"assetId":"aX7pQ2Lm","pointId":"run_state","interval":interval});
        let unknown = json!({"assetId":"bK3dR9Tz","pointId":"run_state","interval":1});
        plant.items(Operation::CheckDead, json!({"payload":[entry, unknown]}))
    };
    assert_eq!(
        check(json!(294_999)),
        json!([{"assetId":"aX7pQ2Lm","pointId":"run_state","duration":295000,"judgeResult":true,"lastChangedValue":1,
            "lastChangedTimestamp":1709599265000_i64}])
    );
    assert_eq!(check(json!("295000"))[0]["judgeResult"], false, "strictly longer");
    for payload in [json!(null), json!([]), json!("x"), json!([{"assetId":"aX7pQ2Lm","pointId":"run_state"}])]
    {
        plant.refused(Operation::CheckDead, json!({"payload": payload}));
    }
}

#[test]
fn a_filter_without_assets_is_over_the_whole_model() {
    let plant = turbines();
    let child = NewModel {
        org: DEFAULT_ORG,
        key: "Offshore".into(),
        name: String::new(),
        parent: Some("TurbineModel".into()),
        points: Vec::new(),
    };
    plant.registry.create_model(child).unwrap();
    let product = NewProduct {
        org: DEFAULT_ORG,
        key: Some("pk3".into()),
        name: "offshore".into(),
        model_key: "Offshore".into(),
        secret: None,
        dynamic_activation: false,
        require_certificate: false,
        gateway: false,
    };
    plant.registry.create_product(product).unwrap();
    let device = NewDevice {
        product_key: "pk3".into(),
        device_key: Some("sea".into()),
        asset_key: Some("aSea".into()),
        timezone: "UTC".into(),
        ..NewDevice::default()
    };
    plant.registry.create_device(device).unwrap();
    plant.floats("aSea", "wind_speed", &[(T, 9.5)]);
    plant.floats("elsewhere", "wind_speed", &[(T, 99.0)]);
    let body = |model: &str, operator: &str, value: &str| json!({"modelId":model,"pointId":"wind_speed","operator":operator,"valueFilter":value});
    let found = |caller: Caller, org: &str, body: &Json| -> Vec<String> {
        let answer = plant.ask_as(caller, org, Operation::FilterLatest, body);
        assert_eq!((&answer["code"], &answer["submsg"]), (&json!(0), &Json::Null), "{answer}");
        let items = answer["data"]["items"].as_array().unwrap();
        items.iter().map(|item| item["assetId"].as_str().unwrap().to_owned()).collect()
    };
    let all = |body: Json| found(Caller::Operator, "default", &body);
    // In the order of their registration; of models that inherit, and of the call's organization only.
    assert_eq!(all(body("TurbineModel", "gt", "0")), ["aX7pQ2Lm", "bK3dR9Tz", "aSea"]);
    assert_eq!(all(body("TurbineModel", "between", "6.3,7.9")), ["aX7pQ2Lm", "bK3dR9Tz"]);
    assert_eq!(all(body("Offshore", "gt", "0")), ["aSea"]);
    assert_eq!(all(body("TurbineModel", "gt", "50")), [""; 0]);
    assert_eq!(
        all(with(body("TurbineModel", "gt", "0"), json!({"timeWindow": 5}))),
        ["aX7pQ2Lm", "bK3dR9Tz"]
    );
    let other = plant.registry.org_by_key("o2").unwrap().id;
    let theirs = found(Caller::of_organization(other), "o2", &body("TurbineModel", "gt", "0"));
    assert_eq!(theirs, ["elsewhere"]);
    // What it gives is what naming all of them gives.
    let named = with(body("TurbineModel", "gt", "6.5"), json!({"assetIds":"aX7pQ2Lm,bK3dR9Tz,aSea"}));
    let formats = [0, 1, 2].map(|format| json!({"itemFormat":format,"ifWithLocalTime":true}));
    for format in formats {
        assert_eq!(
            plant.items(Operation::FilterLatest, with(named.clone(), format.clone())),
            plant.items(Operation::FilterLatest, with(body("TurbineModel", "gt", "6.5"), format))
        );
    }
    // An empty list is a mistake, not everything.
    let empty = with(body("TurbineModel", "gt", "0"), json!({"assetIds": ""}));
    assert_eq!(plant.refused(Operation::FilterLatest, empty), "assetIds is required");
    let nested = with(body("TurbineModel", "gt", "0"), json!({"assetIds": ["aSea"]}));
    assert!(plant.refused(Operation::FilterLatest, nested).contains("commas"));
    let unknown = with(body("TurbineModel", "gt", "0"), json!({"pointId": "wind"}));
    assert!(plant.refused(Operation::FilterLatest, unknown).contains("not in the model"));
    let denied = plant.ask(Operation::FilterLatest, body("Nothing", "gt", "0"));
    assert_eq!(denied["code"], 80_401);
}

#[test]
fn a_filter_over_many_named_assets_searches_the_column_first() {
    let plant = turbines();
    // As many as are worth it, most of which do not exist, and each twice.
    let mut named: Vec<String> = (0..1_200).map(|i| format!("none{i}")).collect();
    let devices = (0..1_000).map(|i| NewDevice {
        product_key: "pk".into(),
        device_key: Some(format!("d{i}")),
        asset_key: Some(format!("asset{i}")),
        timezone: "UTC".into(),
        ..NewDevice::default()
    });
    plant.registry.create_devices(devices.collect()).unwrap();
    for i in [7, 993] {
        plant.floats(&format!("asset{i}"), "wind_speed", &[(T, 50.0 + f64::from(i))]);
    }
    named.extend((0..1_000).rev().map(|i| format!("asset{i}")));
    named.extend(["aX7pQ2Lm".to_owned(), "asset7".to_owned()]);
    let body = json!({"modelId":"TurbineModel","assetIds":named.join(","),"pointId":"wind_speed","operator":"gt",
        "valueFilter":"8"});
    let answer = plant.ask(Operation::FilterLatest, body);
    let items = answer["data"]["items"].as_array().unwrap();
    let found: Vec<_> =
        items.iter().map(|item| (item["assetId"].as_str().unwrap(), &item["wind_speed"])).collect();
    assert_eq!(found, [("asset993", &json!(1043.0)), ("asset7", &json!(57.0))]);
    assert!(answer["submsg"].as_str().unwrap().contains("none0,none1,"), "{answer}");
}
