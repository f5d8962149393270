use serde_json::json;
use wattline_model::DataType;

use super::*;
use crate::attributes::Attribute;
use crate::error::Rule;
use crate::tests::{Fixture, device, model, refused};
use crate::{DEFAULT_ORG, NewDevice};

fn site(key: &str) -> NewAsset {
    NewAsset {
        org: DEFAULT_ORG,
        model_key: "turbine".into(),
        asset_key: Some(key.into()),
        name: String::new(),
        names: BTreeMap::new(),
        description: String::new(),
        timezone: String::new(),
        tags: BTreeMap::new(),
        attributes: BTreeMap::new(),
    }
}

fn map(value: Json) -> BTreeMap<String, Json> {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_logical_asset_lives_beside_devices_and_cannot_log_in() {
    let fixture = Fixture::with_product();
    let registry = &fixture.registry;
    let names = BTreeMap::from([("zh_CN".to_owned(), "风场".to_owned())]);
    let new = NewAsset { name: "North".into(), names, description: "a farm".into(), ..site("site1") };
    let made = registry.create_asset(new, "ann", 5).unwrap();
    registry.create_device(device("pk1", "d1")).unwrap();
    refused(registry.create_asset(site("site1"), "ann", 5), ErrorKind::Conflict, &["assetId", "taken"]);
    let unknown = NewAsset { model_key: "none".into(), ..site("x") };
    refused(registry.create_asset(unknown, "ann", 5), ErrorKind::NotFound, &["model none"]);
    let fixture = fixture.reopen();
    let registry = &fixture.registry;
    let found = registry.asset_by_key("site1").unwrap();
    assert_eq!((found.asset, &*found.name, found.names["zh_CN"].as_str()), (made.asset, "North", "风场"));
    assert_eq!((&*found.description, found.is_device(), &*found.timezone), ("a farm", false, "UTC"));
    assert!(registry.device("", "").is_none());
    assert_eq!((registry.device_count(), registry.assets_of(made.model).len()), (2, 2));
    assert_eq!(registry.audit(0, 9).unwrap()[0].action, "create asset");
}

#[test]
fn a_change_merges_or_replaces_and_is_noted_with_what_differs() {
    let fixture = Fixture::with_product();
    let registry = &fixture.registry;
    let attribute = |key: &str, data_type, required| Attribute {
        key: key.into(),
        name: String::new(),
        data_type,
        required,
        unit: None,
        enum_ints: Vec::new(),
        enum_texts: Vec::new(),
    };
    let attributes = vec![attribute("h", DataType::Int, true), attribute("o", DataType::String, false)];
    registry.create_model_with(model("site", None, &[]), attributes, "ann", 1).unwrap();
    let new = NewAsset {
        model_key: "site".into(),
        attributes: map(json!({"h": 80, "o": "us"})),
        tags: BTreeMap::from([("farm".into(), "A".into())]),
        ..site("s")
    };
    let id = registry.create_asset(new, "ann", 2).unwrap().asset;
    let change = |change| registry.change_asset(id, change, "ann", 3);
    let patch =
        AssetChange { attributes: Some(map(json!({"h": 90}))), merge: true, ..AssetChange::default() };
    let now = change(patch.clone()).unwrap();
    assert_eq!((now.attributes["h"].clone(), now.attributes["o"].clone()), (json!(90), json!("us")));
    assert_eq!(now.tags["farm"], "A");
    let changes = registry.changes();
    change(patch).unwrap();
    assert_eq!(registry.changes(), changes, "nothing differs");
    let entry = registry.audit(0, 1).unwrap().remove(0);
    assert_eq!(entry.after.unwrap()["attributes"], json!({"h": 90, "o": "us"}));
    assert_eq!(entry.before.unwrap(), json!({"attributes": {"h": 80, "o": "us"}}));

    let attributes =
        |value: Json, merge| AssetChange { attributes: Some(map(value)), merge, ..AssetChange::default() };
    for (value, merge) in [
        (json!({"h": "x"}), true),
        (json!({"z": 1}), true),
        (json!({"h": null}), true),
        (json!({"o": "x"}), false),
    ] {
        let error = change(attributes(value.clone(), merge)).unwrap_err();
        assert_eq!(error.rule(), Some(Rule::Attributes), "{value}: {error}");
    }
    let now = change(attributes(json!({"o": null}), true)).unwrap();
    assert_eq!(now.attributes, map(json!({"h": 90})));
    let rest = AssetChange {
        name: Some((String::new(), BTreeMap::new())),
        timezone: Some("asia/shanghai".into()),
        tags: Some(BTreeMap::new()),
        ..AssetChange::default()
    };
    change(rest).unwrap();
    let fixture = fixture.reopen();
    let now = fixture.registry.asset(id).unwrap();
    assert_eq!((&*now.name, &*now.timezone, now.tags.len()), ("s", "Asia/Shanghai", 0));
    let bad = AssetChange { timezone: Some("Mars".into()), ..AssetChange::default() };
    refused(fixture.registry.change_asset(id, bad, "ann", 3), ErrorKind::Input, &["asset s", "timezone"]);
    let nobody = fixture.registry.change_asset(AssetId(99), AssetChange::default(), "ann", 3);
    refused(nobody, ErrorKind::NotFound, &["asset#99"]);
}

#[test]
fn what_is_deleted_leaves_its_keys_and_keeps_its_number() {
    let fixture = Fixture::with_product();
    let registry = &fixture.registry;
    let new = || NewDevice { asset_key: Some("a1".into()), ..device("pk1", "d1") };
    let first = registry.create_device(new()).unwrap();
    registry.delete_asset(first.asset, "ann", 5).unwrap();
    let check = |registry: &Registry| {
        assert!(registry.device("pk1", "d1").is_none() && registry.asset_by_key("a1").is_none());
        assert!(registry.assets().is_empty() && registry.assets_of(first.model).is_empty());
        assert_eq!((registry.device_count(), registry.product_size("pk1")), (0, 0));
        let rest = registry.asset(first.asset).unwrap();
        assert_eq!((&*rest.asset_key, rest.enabled, rest.secret.expose()), ("a1", false, ""));
    };
    check(registry);
    refused(registry.delete_asset(first.asset, "ann", 5), ErrorKind::NotFound, &["asset#"]);
    refused(registry.activate(first.asset), ErrorKind::NotFound, &["asset#"]);
    refused(registry.set_device_enabled(first.asset, true, "ann", 5), ErrorKind::NotFound, &["asset#"]);
    let fixture = fixture.reopen();
    check(&fixture.registry);
    let second = fixture.registry.create_device(new()).unwrap();
    assert!(second.asset > first.asset);
    let fixture = fixture.reopen();
    assert_eq!(fixture.registry.asset_by_key("a1").unwrap().asset, second.asset);
    assert_eq!(fixture.registry.product_size("pk1"), 1);
}
