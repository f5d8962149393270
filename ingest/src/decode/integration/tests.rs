use wattline_model::{Channel, ShardCount};
use wattline_registry::{DEFAULT_ORG, Grant, Holder, NewServiceAccount};

use super::{Context, Feature, Outcome, decode, message};
use crate::check::time_max;
use crate::code::Code;
use crate::fixture::{NOW, Plant, samples};
use crate::limits::FUTURE_LIMIT_MICROS;

fn context(plant: &Plant) -> Context<'_> {
    Context {
        registry: &plant.registry,
        org: DEFAULT_ORG,
        permissions: None,
        product: None,
        shards: ShardCount::new(1).unwrap(),
        now: NOW,
        time_max: time_max(NOW, FUTURE_LIMIT_MICROS),
        collect_missing: false,
        collect_system: true,
    }
}

fn post(plant: &Plant, rest: &str) -> Outcome {
    let text = format!(r#"{{"method":"integration.measurepoint.post","id":"21","version":"1.1",{rest}}}"#);
    decode(&context(plant), Feature::Measurepoints, &message(Feature::Measurepoints, &text).unwrap())
}

#[test]
fn items_of_several_assets_go_in_by_either_name() {
    let plant = Plant::new();
    let asset = plant.device("pkT", "dkT").asset_key.clone();
    let outcome = post(
        &plant,
        &format!(
            r#""params":[{{"assetId":"{asset}","time":1709596800000,"measurepoints":{{"ActPower":{{"value":640.0,"quality":3}},"Temp":5.2}}}},
            {{"measurepoints":{{"Count":7}},"productKey":"pkS","deviceKey":"dkS1"}}]"#
        ),
    );
    assert_eq!((outcome.code, outcome.fault_count), (Code::Ok, 0), "{:?}", outcome.faults);
    assert!(outcome.batches.iter().all(|batch| batch.channel == Channel::RealTime));
    assert_eq!(
        samples(&plant.registry, &outcome.batches),
        ["dkS1.Count@1767225600000=7", "dkT.ActPower@1709596800000=640.0#3", "dkT.Temp@1709596800000=5.2"]
    );
}

#[test]
fn assets_that_may_not_be_written_to_do_not_exist() {
    let plant = Plant::new();
    let asset = plant.device("pkT", "dkT").asset_key.clone();
    let new = NewServiceAccount {
        org: DEFAULT_ORG,
        name: "one".into(),
        access_key: Some("one".into()),
        secret: None,
    };
    let grants = ["write:asset:".to_owned() + &asset, "read:org:default".to_owned()];
    let grants: Vec<Grant> = grants.iter().map(|text| plant.registry.read_grant(text).unwrap()).collect();
    plant.registry.create_service_account_with(new, Some(&grants), "test", 0).unwrap();
    let permissions = plant.registry.permissions(Holder::service("one"));
    let text = r#"{"method":"integration.measurepoint.post","id":"21","version":"1.1","skipInvalidMeasurepoints":true,"params":[
        {"productKey":"pkT","deviceKey":"dkT","time":1,"measurepoints":{"Temp":1}},
        {"productKey":"pkS","deviceKey":"dkS1","time":1,"measurepoints":{"Count":7}}]}"#;
    let message = message(Feature::Measurepoints, text).unwrap();
    let context = Context { permissions: Some(&permissions), ..context(&plant) };
    let outcome = decode(&context, Feature::Measurepoints, &message);
    assert_eq!(samples(&plant.registry, &outcome.batches), ["dkT.Temp@1=1.0"]);
    let faults: Vec<(usize, u16)> = outcome.faults.iter().map(|f| (f.item, f.code.number())).collect();
    assert_eq!(faults, [(1, 1257)]);
}

#[test]
fn what_is_not_realtime_is_offline() {
    let plant = Plant::new();
    let item = r#"{"productKey":"pkT","deviceKey":"dkT","time":1,"measurepoints":{"Temp":1}}"#;
    let outcome = post(&plant, &format!(r#""isRealtimeIntegration":false,"params":[{item}]"#));
    assert_eq!(outcome.batches[0].channel, Channel::Offline);
}

#[test]
fn one_bad_item_refuses_the_message_and_every_fault_is_named() {
    let plant = Plant::new();
    let params = r#""params":[
        {"productKey":"pkT","deviceKey":"dkT","time":1,"measurepoints":{"Temp":1,"Nobody":2,"Count":1.5}},
        {"assetId":"nobody","measurepoints":{"Temp":1}},
        {"productKey":"pkX","deviceKey":"dkX","measurepoints":{"Temp":1}},
        {"productKey":"pkT","deviceKey":"dkT","time":"soon","measurepoints":{"Temp":2}},
        {"productKey":"pkT","deviceKey":"dkT","measurepoints":{}},
        {"deviceKey":"dkT","measurepoints":{"Temp":2}},
        7]"#;
    let outcome = post(&plant, params);
    assert!(outcome.batches.is_empty());
    let faults: Vec<(usize, u16)> = outcome.faults.iter().map(|f| (f.item, f.code.number())).collect();
    let expected = [(0, 1204), (0, 1206), (1, 1257), (2, 1257), (3, 1206), (4, 1251), (5, 1257), (6, 1220)];
    assert_eq!((outcome.code, faults), (Code::Model, expected.to_vec()));
    let first = &outcome.faults[0].message;
    assert_eq!(first, "params[0].measurepoints.Nobody: model Turbine has no such point");

    let outcome = post(&plant, &format!(r#""skipInvalidMeasurepoints":true,{params}"#));
    assert_eq!((outcome.code, outcome.fault_count), (Code::Ok, 8));
    assert_eq!(samples(&plant.registry, &outcome.batches), ["dkT.Temp@1=1.0"]);
}

#[test]
fn frames_that_are_none_are_refused_whole() {
    let code = |text: &str| message(Feature::Measurepoints, text).map_err(|fault| fault.code).unwrap_err();
    assert_eq!(code("{"), Code::Json);
    assert_eq!(code("[]"), Code::Json);
    assert_eq!(code("{}"), Code::Empty);
    assert_eq!(code(r#"{"params":[]}"#), Code::Empty);
    assert_eq!(code(r#"{"params":{}}"#), Code::Json);
    assert_eq!(code(r#"{"params":[1],"method":"integration.event.post"}"#), Code::Method);
    assert_eq!(code(r#"{"params":[1],"isRealtimeIntegration":3}"#), Code::Json);
}

#[test]
fn events_are_samples_of_their_own_model_and_whole_or_not_at_all() {
    let plant = Plant::new();
    let text = r#"{"params":[{"productKey":"pkT","deviceKey":"dkT","time":5,"events":{"OverTemp":{"level": 2},"Bad":1}}]}"#;
    let event = message(Feature::Events, text).unwrap();
    let outcome = decode(&context(&plant), Feature::Events, &event);
    assert_eq!(outcome.code, Code::Model, "there is no place for them yet");
    let (records, _) =
        plant.registry.ensure_records(DEFAULT_ORG, wattline_registry::RecordKind::Events).unwrap();
    let outcome = decode(&context(&plant), Feature::Events, &event);
    let missing: Vec<&str> = outcome.missing.iter().map(|missing| missing.key.as_str()).collect();
    assert_eq!(missing, ["OverTemp", "Bad"]);
    let new = |key: &str| wattline_registry::NewPoint::new(key, wattline_model::DataType::Struct);
    plant.registry.add_points(records.model, vec![new("OverTemp"), new("Bad")]).unwrap();
    let outcome = decode(&context(&plant), Feature::Events, &event);
    assert_eq!((outcome.code, outcome.fault_count), (Code::Format, 1), "{:?}", outcome.faults);
    let text = text.replace(r#","Bad":1"#, "");
    let event = message(Feature::Events, &text).unwrap();
    let outcome = decode(&context(&plant), Feature::Events, &event);
    assert_eq!(samples(&plant.registry, &outcome.batches), [r#"dkT.OverTemp@5={"level":2}"#]);
}
