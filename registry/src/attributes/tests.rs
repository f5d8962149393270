use serde_json::json;

use super::*;
use crate::error::ErrorKind;
use crate::tests::{Fixture, device, model, product, refused};
use crate::{NewDevice, NewModel};

pub(crate) fn attribute(key: &str, data_type: DataType, required: bool) -> Attribute {
    let name = String::new();
    let (enum_ints, enum_texts) = (Vec::new(), Vec::new());
    Attribute { key: key.into(), name, data_type, required, unit: None, enum_ints, enum_texts }
}

#[test]
fn values_fit_their_types_only() {
    let fits = [
        (DataType::Int, json!(90), true),
        (DataType::Int, json!(2_147_483_648_i64), false),
        (DataType::Int, json!("90"), false),
        (DataType::Int, json!(1.5), false),
        (DataType::Long, json!(2_147_483_648_i64), true),
        (DataType::Float, json!(1e39), false),
        (DataType::Double, json!(1e39), true),
        (DataType::Double, json!(1), true),
        (DataType::Double, json!("1"), false),
        (DataType::Bool, json!(true), true),
        (DataType::Bool, json!(1), true),
        (DataType::Bool, json!(2), false),
        (DataType::String, json!("x".repeat(1_024)), true),
        (DataType::String, json!("x".repeat(1_025)), false),
        (DataType::Date, json!("2024-03-05"), true),
        (DataType::Date, json!("2024-03-05 08:00:00"), true),
        (DataType::Date, json!("2024-13-05"), false),
        (DataType::Timestamp, json!("1709596800000"), true),
        (DataType::Timestamp, json!("today"), false),
        (DataType::Array, json!([1, 2]), true),
        (DataType::Array, json!(vec![0; 129]), false),
        (DataType::Struct, json!({"a": 1}), true),
        (DataType::Struct, json!([1]), false),
    ];
    for (data_type, value, good) in fits {
        let found = attribute("a", data_type, false).reason_against(&value);
        assert_eq!(found.is_none(), good, "{data_type:?} {value}: {found:?}");
    }
    let texts = Attribute {
        enum_texts: vec!["on".into(), "off".into()],
        ..attribute("a", DataType::Enum(EnumKind::Text), false)
    };
    assert!(texts.reason_against(&json!("on")).is_none());
    assert!(texts.reason_against(&json!("no")).unwrap().contains("off"));
}

#[test]
fn definitions_are_inherited_and_hold_for_devices() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let create = |new: NewModel, attributes| registry.create_model_with(new, attributes, "ann", 1);
    create(model("root", None, &[]), vec![attribute("hub_height", DataType::Int, true)]).unwrap();
    let child = || model("child", Some("root"), &[]);
    let changed = vec![attribute("hub_height", DataType::Double, true)];
    refused(create(child(), changed), ErrorKind::Conflict, &["attribute hub_height", "inherited"]);
    let twice = vec![attribute("a", DataType::Int, false), attribute("a", DataType::Int, false)];
    refused(create(child(), twice), ErrorKind::Input, &["attribute a", "twice"]);
    let made = create(child(), vec![attribute("owner", DataType::String, false)]).unwrap();
    registry.create_product(product("pk", "child")).unwrap();
    let fixture = fixture.reopen();
    let registry = &fixture.registry;
    let keys: Vec<String> = registry.model_attributes(made.id).iter().map(|a| a.key.clone()).collect();
    assert_eq!(keys, ["hub_height", "owner"]);

    let with = |attributes: serde_json::Value| NewDevice {
        attributes: serde_json::from_value(attributes).unwrap(),
        ..device("pk", "d1")
    };
    let register = |new| registry.register_devices(vec![new], "ann", 1);
    for (attributes, part) in [
        (json!({"hub_height": "high"}), "attributes.hub_height"),
        (json!({"hub_height": 90, "colour": "red"}), "attributes.colour"),
        (json!({"owner": "us"}), "required"),
    ] {
        let error = register(with(attributes)).unwrap_err();
        assert_eq!((error.kind(), error.rule()), (ErrorKind::Input, Some(Rule::Attributes)));
        assert!(error.to_string().contains(part), "{error}");
    }
    register(with(json!({"hub_height": 90}))).unwrap();
    // A device that registers itself cannot know what people require.
    registry.ensure_device("pk", "d2").unwrap();
}
