//! Whose data a caller sees, and the limits of a call.

use wattline_model::OrgId;
use wattline_registry::{Grant, Holder, NewServiceAccount};

use super::*;

/// A caller with these grants, by the name of a service account of `default`.
fn granted(plant: &Plant, key: &str, grants: &[&str]) -> Caller {
    let access_key = Some(key.to_owned());
    let new = NewServiceAccount { org: DEFAULT_ORG, name: key.into(), access_key, secret: None };
    let grants: Vec<Grant> = grants.iter().map(|text| plant.registry.read_grant(text).unwrap()).collect();
    plant.registry.create_service_account_with(new, Some(&grants), "test", 0).unwrap();
    account(plant, key, DEFAULT_ORG)
}

fn account(plant: &Plant, key: &str, org: OrgId) -> Caller {
    Caller::Account(org, plant.registry.permissions(Holder::service(key)))
}

#[test]
fn assets_that_are_not_granted_do_not_exist() {
    let plant = Plant::new();
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T, 7.4)]);
    plant.floats("bK3dR9Tz", "wind_speed", &[(T, 8.4)]);
    let half = granted(&plant, "half", &["read:asset:aX7pQ2Lm", "write:asset:bK3dR9Tz"]);
    let both = json!({"assetIds":"bK3dR9Tz,aX7pQ2Lm,nowhere","pointIds":"wind_speed"});
    let range = json!({"startTime":"2024-03-05 08:00:00","endTime":"2024-03-05 09:00:00","interval":"10",
            "pointIdsWithLogic":"avg(wind_speed)"});
    let wanted = "no permission for the following assets: bK3dR9Tz,nowhere";
    for operation in
        [Operation::Latest, Operation::Ai, Operation::Raw, Operation::AiNormalized, Operation::LastChanged]
    {
        let answer = plant.ask_as(half.clone(), "default", operation, &with(both.clone(), range.clone()));
        assert_eq!(
            (&answer["code"], &answer["submsg"]),
            (&json!(0), &json!(wanted)),
            "{operation:?}: {answer}"
        );
        let items = answer["data"]["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item["assetId"] == "aX7pQ2Lm"), "{operation:?}: {answer}");
    }
    let other = json!({"assetIds":"bK3dR9Tz","pointIds":"wind_speed"});
    let refused = plant.ask_as(half.clone(), "default", Operation::Latest, &other);
    assert_eq!((&refused["code"], &refused["msg"]), (&json!(80_401), &json!("Asset unauthorized")));
    let filter = json!({"assetIds":"aX7pQ2Lm,bK3dR9Tz","pointId":"wind_speed","modelId":"TurbineModel",
        "operator":"gt","valueFilter":"1"});
    let found = plant.ask_as(half.clone(), "default", Operation::FilterLatest, &filter);
    assert_eq!(found["data"]["items"].as_array().unwrap().len(), 1, "{found}");
    let dead = json!({"payload":[{"assetId":"bK3dR9Tz","pointId":"wind_speed","interval":1}]});
    assert_eq!(plant.ask_as(half, "default", Operation::CheckDead, &dead)["code"], 80_401);
    // Nothing granted is nothing, and taking grants away while a token lives takes effect at the next call.
    let none = granted(&plant, "none", &[]);
    let own = json!({"assetIds":"aX7pQ2Lm","pointIds":"wind_speed"});
    assert_eq!(plant.ask_as(none, "default", Operation::Latest, &own)["code"], 80_401);
    let taken = plant.registry.read_grant("read:asset:aX7pQ2Lm").unwrap();
    plant.registry.revoke_grants(Holder::service("half"), &[taken], "test", 1).unwrap();
    let now = account(&plant, "half", DEFAULT_ORG);
    assert_eq!(plant.ask_as(now, "default", Operation::Latest, &own)["code"], 80_401);
}

#[test]
fn deleting_wants_the_right_to_write() {
    let plant = Plant::new();
    let half = granted(&plant, "half", &["read:org:default", "write:asset:bK3dR9Tz"]);
    let plan = |assets: &str| {
        let query = [("orgId".to_owned(), "default".to_owned())];
        let body = json!({"assetIds": assets, "pointIds": "wind_speed", "pointId": "wind_speed",
            "modelId": "TurbineModel", "startTime": T, "endTime": T + 1_000});
        let params = Params::from_json(Version::V21, query, body.to_string().as_bytes()).unwrap();
        let call = Call { caller: half.clone(), now_micros: NOW, stopped: &|| false };
        let latest = plant.service.latest_to_delete(&params, &call);
        let history = plant.service.history_to_delete(&params, &call);
        (latest.map(|planned| planned.deletions), history)
    };
    let written = plant.registry.asset_by_key("bK3dR9Tz").unwrap().asset;
    let (latest, history) = plan("bK3dR9Tz");
    assert_eq!(latest.unwrap()[0].assets.as_deref(), Some(&[written][..]));
    assert_eq!(history.unwrap().assets.as_deref(), Some(&[written][..]));
    // Latest values are deleted of those it may; history, whose job is one, of all or none.
    let (latest, history) = plan("aX7pQ2Lm,bK3dR9Tz");
    assert_eq!(latest.unwrap()[0].assets.as_deref(), Some(&[written][..]));
    assert_eq!(history.unwrap_err().code(Version::V21), 80_401);
    let (latest, history) = plan("aX7pQ2Lm");
    assert_eq!(latest.unwrap_err().code(Version::V21), 80_401);
    assert_eq!(history.unwrap_err().code(Version::V21), 80_401);
}

#[test]
fn organizations_see_their_own_assets_only() {
    let plant = Plant::new();
    plant.floats("aX7pQ2Lm", "wind_speed", &[(T, 7.4)]);
    plant.floats("elsewhere", "wind_speed", &[(T, 1.0)]);
    let one = Caller::of_organization(DEFAULT_ORG);
    let body = json!({"assetIds":"elsewhere,aX7pQ2Lm,nowhere","pointIds":"wind_speed"});
    let answer = plant.ask_as(one.clone(), "default", Operation::Latest, &body);
    assert_eq!(answer["code"], 0);
    assert_eq!(answer["submsg"], "no permission for the following assets: elsewhere,nowhere");
    assert_eq!(answer["data"]["items"].as_array().unwrap().len(), 1);

    let none = json!({"assetIds":"elsewhere","pointIds":"wind_speed"});
    for (org, body) in [("default", &none), ("o2", &none), ("o3", &body)] {
        let answer = plant.ask_as(one.clone(), org, Operation::Latest, body);
        assert_eq!(
            (&answer["code"], &answer["msg"]),
            (&json!(80_401), &json!("Asset unauthorized")),
            "{org}"
        );
    }
    let other = plant.registry.org_by_key("o2").unwrap().id;
    let own = plant.ask_as(Caller::of_organization(other), "o2", Operation::Latest, &none);
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
