use wattline_model::{OrgId, PointId};

use super::*;
use crate::DEFAULT_ORG;
use crate::tests::{Fixture, keys, model, refused};

#[test]
fn a_point_added_to_a_parent_reaches_every_descendant_at_its_next_number() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let double = DataType::Double;
    let root = registry.create_model(model("root", None, &[("a", double)])).unwrap();
    let child = registry.create_model(model("child", Some("root"), &[("b", double)])).unwrap();
    let grandchild = registry.create_model(model("grandchild", Some("child"), &[("c", double)])).unwrap();
    let other = registry.create_model(model("other", None, &[("z", double)])).unwrap();
    assert_eq!(grandchild.path, "/root/child/grandchild");
    assert_eq!(keys(&grandchild), ["a", "b", "c"]);

    let version = registry.version();
    let root = registry.add_points(root.id, vec![NewPoint::new("d", DataType::Int)]).unwrap();
    assert!(registry.version() > version);
    assert_eq!(keys(&root), ["a", "d"]);
    assert_eq!(keys(&registry.model(child.id).unwrap()), ["a", "b", "d"]);
    let grandchild = registry.model(grandchild.id).unwrap();
    assert_eq!(keys(&grandchild), ["a", "b", "c", "d"]);
    assert_eq!(grandchild.point_by_key("d").unwrap().id, PointId(3));
    assert_eq!((grandchild.version, registry.model(other.id).unwrap().version), (2, 1));

    // A child that has the point already, defined the same way, keeps its number.
    registry.add_points(child.id, vec![NewPoint::new("e", DataType::Int)]).unwrap();
    registry.add_points(root.id, vec![NewPoint::new("e", DataType::Int)]).unwrap();
    assert_eq!(keys(&registry.model(root.id).unwrap()), ["a", "d", "e"]);
    assert_eq!(keys(&registry.model(child.id).unwrap()), ["a", "b", "d", "e"]);
}

#[test]
fn adding_the_same_points_again_changes_nothing() {
    let fixture = Fixture::with_product();
    let registry = &fixture.registry;
    let id = registry.model_by_key(DEFAULT_ORG, "turbine").unwrap().id;
    let points = vec![NewPoint::new("x", DataType::Int), NewPoint::new("y", DataType::Bool)];
    let first = registry.add_points(id, points.clone()).unwrap();
    let version = registry.version();
    let second = registry.add_points(id, points).unwrap();
    assert_eq!((first.version, first.points.clone()), (second.version, second.points.clone()));
    assert_eq!(registry.version(), version);
}

#[test]
fn a_point_never_changes_its_definition() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let root = registry.create_model(model("root", None, &[("a", DataType::Double)])).unwrap();
    let child = registry.create_model(model("child", Some("root"), &[("b", DataType::Int)])).unwrap();

    let as_int = vec![NewPoint::new("a", DataType::Int)];
    let told = ["model root", "point a", "dataType", "DOUBLE", "INT"];
    refused(registry.add_points(root.id, as_int.clone()), ErrorKind::Conflict, &told);
    refused(registry.add_points(child.id, as_int), ErrorKind::Conflict, &["model child", "point a"]);
    let redefined = model("second", Some("root"), &[("a", DataType::Long)]);
    refused(registry.create_model(redefined), ErrorKind::Conflict, &["model second", "point a", "LONG"]);
    let mut with_unit = NewPoint::new("a", DataType::Double);
    with_unit.unit = Some("m/s".into());
    refused(registry.add_points(root.id, vec![with_unit]), ErrorKind::Conflict, &["unit", "m/s"]);

    // A descendant stands in the way: nothing is added anywhere, neither in memory nor on disk.
    let both = vec![NewPoint::new("fine", DataType::Int), NewPoint::new("b", DataType::Double)];
    refused(
        registry.add_points(root.id, both),
        ErrorKind::Conflict,
        &["model child", "point b", "INT", "DOUBLE"],
    );
    assert_eq!(keys(&registry.model(root.id).unwrap()), ["a"]);
    let fixture = fixture.reopen();
    assert_eq!(keys(&fixture.registry.model(root.id).unwrap()), ["a"]);
    assert_eq!(keys(&fixture.registry.model(child.id).unwrap()), ["a", "b"]);
}

#[test]
fn ensure_points_lets_the_first_definition_stand() {
    let fixture = Fixture::with_product();
    let registry = &fixture.registry;
    let id = registry.model_by_key(DEFAULT_ORG, "turbine").unwrap().id;
    let wanted = vec![NewPoint::new("wind_speed", DataType::Long), NewPoint::new("new", DataType::Bool)];
    let now = registry.ensure_points(id, wanted).unwrap();
    assert_eq!(keys(&now), ["wind_speed", "new"]);
    assert_eq!(now.point_by_key("wind_speed").unwrap().data_type, DataType::Double);
}

#[test]
fn models_are_refused_with_the_reason() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let double = DataType::Double;
    let create = |new| registry.create_model(new);
    refused(create(model("", None, &[])), ErrorKind::Input, &["modelId", "empty"]);
    refused(create(model("a/b", None, &[])), ErrorKind::Input, &["modelId", "'/'"]);
    refused(create(model("wähler", None, &[])), ErrorKind::Input, &["modelId", "'ä'"]);
    refused(create(model(&"x".repeat(129), None, &[])), ErrorKind::Input, &["129", "128"]);
    assert!(create(model(&"x".repeat(128), None, &[])).is_ok());
    refused(create(model("assets", None, &[])), ErrorKind::Input, &["assets", "table of the system"]);
    refused(create(model("m", Some("nobody"), &[])), ErrorKind::NotFound, &["model nobody"]);
    refused(create(model("m", None, &[("time", double)])), ErrorKind::Input, &["point time", "column"]);
    refused(
        create(model("m", None, &[("p", double), ("p", double)])),
        ErrorKind::Input,
        &["point p", "twice"],
    );
    let mut quality = NewPoint::new("p", DataType::Bool);
    quality.has_quality = true;
    let with = |point: NewPoint| NewModel { points: vec![point], ..model("m", None, &[]) };
    refused(create(with(quality)), ErrorKind::Input, &["point p", "hasQuality"]);
    let mut analogue = NewPoint::new("p", DataType::String);
    analogue.signal = SignalType::Ai;
    refused(create(with(analogue)), ErrorKind::Input, &["point p", "signalType"]);
    let mut wide = NewPoint::new("p", DataType::Enum(EnumKind::Int));
    wide.enum_ints = vec![1 << 40];
    refused(create(with(wide)), ErrorKind::Input, &["point p", "32 bits"]);
    let mut misplaced = NewPoint::new("p", DataType::Int);
    misplaced.enum_ints = vec![1];
    refused(create(with(misplaced)), ErrorKind::Input, &["point p", "ENUM"]);
    let mut measured = NewPoint::new("p", double);
    measured.has_quality = true;
    let mut clash = with(measured);
    clash.points.push(NewPoint::new("p_quality", double));
    refused(create(clash), ErrorKind::Conflict, &["p_quality", "point p"]);
    create(model("m", None, &[])).unwrap();
    refused(create(model("m", None, &[])), ErrorKind::Conflict, &["model m", "taken"]);
    let elsewhere = NewModel { org: OrgId(9), ..model("m", None, &[]) };
    refused(create(elsewhere), ErrorKind::NotFound, &["org#9"]);
}

#[test]
fn inheritance_has_a_deepest_level() {
    let fixture = Fixture::new();
    let mut parent: Option<String> = None;
    for level in 0..MODEL_DEPTH_MAX {
        let key = format!("m{level}");
        fixture.registry.create_model(model(&key, parent.as_deref(), &[])).unwrap();
        parent = Some(key);
    }
    let deeper = model("deeper", parent.as_deref(), &[]);
    refused(fixture.registry.create_model(deeper), ErrorKind::Input, &["parent", "16"]);
}
