//! Whose data a caller sees, and the limits of a call.

use super::*;

#[test]
fn organizations_see_their_own_assets_only() {
    let plant = Plant::new();
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T, 7.4)]);
    plant.floats("elsewhere", "wind_speed", &[(T, 1.0)]);
    let one = Caller::Organization(DEFAULT_ORG);
    let body = json!({"assetIds":"elsewhere,aX7pQ2Lm,nowhere","pointIds":"wind_speed"});
    let answer = plant.ask_as(one, "default", Operation::Latest, &body);
    assert_eq!(answer["code"], 0);
    assert_eq!(answer["submsg"], "no permission for the following assets: elsewhere,nowhere");
    assert_eq!(answer["data"]["items"].as_array().unwrap().len(), 1);

    let none = json!({"assetIds":"elsewhere","pointIds":"wind_speed"});
    for (org, body) in [("default", &none), ("o2", &none), ("o3", &body)] {
        let answer = plant.ask_as(one, org, Operation::Latest, body);
        assert_eq!(
            (&answer["code"], &answer["msg"]),
            (&json!(80_401), &json!("Asset unauthorized")),
            "{org}"
        );
    }
    let other = plant.registry.org_by_key("o2").unwrap().id;
    let own = plant.ask_as(Caller::Organization(other), "o2", Operation::Latest, &none);
    assert_eq!(own["data"]["items"][0]["wind_speed"], 1.0);
    let v20 = plant.ask_v20(
        Operation::Latest,
        &[("orgId", "default"), ("assetIds", "elsewhere"), ("measurepoints", "wind_speed")],
    );
    assert_eq!((&v20["status"], &v20["msg"]), (&json!(400), &json!("All asset authentication failed")));
}

#[test]
fn models_and_points_must_be_there() {
    let plant = Plant::new();
    let body = json!({"assetIds":"aX7pQ2Lm","pointIds":"wind_speed"});
    let denied = plant.ask(Operation::Latest, with(body.clone(), json!({"modelId": "Nothing"})));
    assert_eq!(
        (&denied["code"], &denied["submsg"]),
        (&json!(80_401), &json!("[Nothing] permission denied!"))
    );
    assert_eq!(
        plant.items(Operation::Latest, with(body.clone(), json!({"modelId": "TurbineModel"}))),
        json!([])
    );
    let unknown = plant.refused(Operation::Latest, with(body, json!({"pointIds": "wind_speed,speed"})));
    assert_eq!(unknown, "pointId: speed is not in the model");
    assert_eq!(plant.refused(Operation::Latest, json!({"pointIds":"power"})), "assetIds is required");
    assert_eq!(plant.refused(Operation::Latest, json!({"assetIds":"aX7pQ2Lm"})), "pointIds is required");
    let v20 = plant.ask_v20(
        Operation::Latest,
        &[("orgId", "default"), ("assetIds", "aX7pQ2Lm"), ("measurepoints", "speed")],
    );
    assert_eq!(v20["status"], 702);
}

#[test]
fn an_access_key_of_v20_must_exist() {
    let plant = Plant::new();
    let ask = |key: &str| {
        plant.ask_v20(
            Operation::Latest,
            &[("orgId", "default"), ("assetIds", "aX7pQ2Lm"), ("measurepoints", "power"), ("accessKey", key)],
        )
    };
    assert_eq!((&ask("k")["status"], &ask("k")["msg"]), (&json!(400), &json!("Invalid param accessKey")));
    let new = wattline_registry::NewServiceAccount {
        org: DEFAULT_ORG,
        name: "k".into(),
        access_key: Some("k".into()),
        secret: None,
    };
    plant.registry.create_service_account(new, "test", 0).unwrap();
    assert_eq!(ask("k")["status"], 0);
}

#[test]
fn calls_have_limits() {
    let plant = Plant::new();
    let assets: Vec<String> = (0..3_001).map(|i| format!("x{i}")).collect();
    let combinations = json!({"assetIds": assets.join(","), "pointIds": "power"});
    assert!(plant.refused(Operation::Latest, combinations).contains("3001 combinations"));
    let range = json!({"assetIds":"aX7pQ2Lm,bK3dR9Tz","pointIds":"wind_speed,power",
        "startTime":"2024-03-05 08:00:00","endTime":"2024-03-05 09:00:00"});
    let sized = |size: Json| with(range.clone(), json!({"pageSize": size}));
    for (size, why) in [(json!(-1), "pageSize"), (json!(0), "pageSize"), (json!("x"), "integer")] {
        assert!(plant.refused(Operation::Ai, sized(size)).contains(why));
    }
    assert!(plant.refused(Operation::Ai, sized(json!(160_001))).contains("640004 rows"));
    plant.items(Operation::Ai, sized(json!("160000")));
    let given_up = Call { caller: Caller::Operator, now_micros: NOW, stopped: &|| true };
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T, 1.0)]);
    let query = [("orgId".to_owned(), "default".to_owned())];
    let params = Params::from_json(Version::V21, query, range.to_string().as_bytes()).unwrap();
    let error = plant.service.read(Operation::Ai, &params, &given_up).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Stopped);
}
