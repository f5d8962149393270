use super::*;
use crate::error::ErrorKind;
use crate::tests::{Fixture, device, refused};
use crate::{DEFAULT_ORG, Device, NewAsset, NewDevice, NewOrg};

const BY: (&str, i64) = ("ann", 7);

fn texts(name: &str) -> TreeTexts {
    TreeTexts { name: name.into(), ..TreeTexts::default() }
}

/// Assets `a0` to `a9`.
fn plant() -> (Fixture, Vec<Arc<Device>>) {
    let fixture = Fixture::with_product();
    let new = |i| NewDevice { asset_key: Some(format!("a{i}")), ..device("pk1", &format!("d{i}")) };
    let made = fixture.registry.create_devices((0..10).map(new).collect()).unwrap();
    (fixture, made)
}

fn broken<T: std::fmt::Debug>(result: Result<T, Error>, rule: Rule) {
    let error = result.expect_err("must be refused");
    assert_eq!(error.rule(), Some(rule), "{error}");
}

#[test]
fn a_tree_answers_who_is_above_and_below_and_outlives_a_restart() {
    let (fixture, made) = plant();
    let a = |i: usize| made[i].asset;
    let registry = &fixture.registry;
    let tree = registry.create_tree(DEFAULT_ORG, texts("sites"), a(0), BY.0, BY.1).unwrap();
    let other = registry.create_tree(DEFAULT_ORG, texts("types"), a(9), BY.0, BY.1).unwrap();
    // 0 ─ 1 ─ 3, 4    and 9 ─ 4
    //   └ 2 ─ 5
    registry.associate(tree.id, a(0), &[a(1), a(2)], BY.0, BY.1).unwrap();
    registry.associate(tree.id, a(1), &[a(3), a(4)], BY.0, BY.1).unwrap();
    registry.associate(tree.id, a(2), &[a(5)], BY.0, BY.1).unwrap();
    registry.associate(other.id, a(9), &[a(4)], BY.0, BY.1).unwrap();
    let check = |registry: &Registry| {
        let at = |tree: &Tree, i| Branch { tree: tree.id, asset: a(i) };
        assert_eq!(
            registry.ancestors(a(4)),
            [at(&tree, 4), at(&tree, 1), at(&tree, 0), at(&other, 4), at(&other, 9)]
        );
        assert_eq!(registry.ancestors(a(0)), [at(&tree, 0)]);
        assert!(registry.ancestors(a(6)).is_empty());
        assert_eq!(registry.tree_path(tree.id, a(5)), [a(0), a(2), a(5)]);
        assert_eq!(registry.branch(at(&tree, 0)), [a(0), a(1), a(3), a(4), a(2), a(5)]);
        assert_eq!((registry.tree_size(tree.id), registry.tree_size(other.id)), (6, 2));
        let keys: Vec<_> = registry.trees_of(a(4)).iter().map(|tree| Arc::clone(&tree.key)).collect();
        assert_eq!(keys, [Arc::clone(&tree.key), Arc::clone(&other.key)]);
        assert_eq!(registry.tree(&tree.key).unwrap().root, a(0));
    };
    check(registry);
    refused(registry.delete_asset(a(4), BY.0, BY.1), ErrorKind::Conflict, &["asset a4", "asset tree"]);
    let fixture = fixture.reopen();
    check(&fixture.registry);
    let actions: Vec<String> =
        fixture.registry.audit(0, 9).unwrap().into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions.iter().filter(|a| *a == "associate assets").count(), 4);
}

#[test]
fn siblings_keep_the_order_they_were_given() {
    let (fixture, made) = plant();
    let a = |i: usize| made[i].asset;
    let registry = &fixture.registry;
    let tree = registry.create_tree(DEFAULT_ORG, texts("t"), a(0), BY.0, BY.1).unwrap().id;
    registry.associate(tree, a(0), &[a(1), a(2), a(3), a(4)], BY.0, BY.1).unwrap();
    let at = |i| Branch { tree, asset: a(i) };
    registry.move_node(at(4), a(0), None, BY.0, BY.1).unwrap();
    registry.move_node(at(1), a(0), Some(a(2)), BY.0, BY.1).unwrap();
    registry.move_node(at(3), a(2), None, BY.0, BY.1).unwrap();
    registry.associate(tree, a(0), &[a(5)], BY.0, BY.1).unwrap();
    let order = [a(4), a(2), a(1), a(5)];
    assert_eq!(registry.children(tree, a(0)), order);
    let fixture = fixture.reopen();
    assert_eq!(fixture.registry.children(tree, a(0)), order);
    assert_eq!(fixture.registry.tree_path(tree, a(3)), [a(0), a(2), a(3)]);
    fixture.registry.remove_node(at(1), BY.0, BY.1).unwrap();
    assert_eq!(fixture.registry.children(tree, a(0)), [a(4), a(2), a(5)]);
    assert!(fixture.registry.ancestors(a(1)).is_empty());
}

#[test]
fn what_would_break_a_tree_is_refused_under_its_rule() {
    let (fixture, made) = plant();
    let a = |i: usize| made[i].asset;
    let registry = &fixture.registry;
    let (by, now) = BY;
    let tree = registry.create_tree(DEFAULT_ORG, texts("t"), a(0), by, now).unwrap().id;
    let at = |i| Branch { tree, asset: a(i) };
    for i in 0..6 {
        registry.associate(tree, a(i), &[a(i + 1)], by, now).unwrap();
    }
    // Seven layers: 0 to 6.
    broken(registry.associate(tree, a(6), &[a(7)], by, now), Rule::Layers);
    broken(registry.associate(tree, a(0), &[a(7), a(3)], by, now), Rule::InTree);
    broken(registry.associate(tree, a(0), &[a(7), a(7)], by, now), Rule::InTree);
    broken(registry.associate(tree, a(8), &[a(7)], by, now), Rule::NoParent);
    broken(registry.associate(TreeId(99), a(0), &[a(7)], by, now), Rule::NoTree);
    assert_eq!(registry.tree_size(tree), 7, "all or none");
    broken(registry.move_node(at(2), a(5), None, by, now), Rule::Descendant);
    broken(registry.move_node(at(2), a(2), None, by, now), Rule::Descendant);
    broken(registry.move_node(at(0), a(5), None, by, now), Rule::Root);
    broken(registry.move_node(at(8), a(0), None, by, now), Rule::NoNode);
    broken(registry.move_node(at(2), a(8), None, by, now), Rule::NoParent);
    refused(registry.move_node(at(2), a(0), Some(a(5)), by, now), ErrorKind::Input, &["preAssetId", "a5"]);
    broken(registry.remove_node(at(3), by, now), Rule::HasChildren);
    broken(registry.remove_node(at(0), by, now), Rule::Root);
    broken(registry.remove_node(at(8), by, now), Rule::NoNode);
    broken(registry.delete_tree(tree, by, now), Rule::HasChildren);
    // 5 and 6 move up to the root; another two layers fit below 4, but not below 5 again.
    registry.move_node(at(5), a(0), None, by, now).unwrap();
    registry.associate(tree, a(4), &[a(7)], by, now).unwrap();
    registry.associate(tree, a(7), &[a(8)], by, now).unwrap();
    broken(registry.move_node(at(5), a(7), None, by, now), Rule::Layers);

    let org = registry.create_org(NewOrg { key: "o2".into(), name: String::new() }).unwrap().id;
    registry.create_model(crate::NewModel { org, ..crate::tests::model("site", None, &[]) }).unwrap();
    let new = NewAsset {
        org,
        model_key: "site".into(),
        asset_key: Some("foreign".into()),
        name: String::new(),
        names: BTreeMap::new(),
        description: String::new(),
        timezone: String::new(),
        tags: BTreeMap::new(),
        attributes: BTreeMap::new(),
    };
    let foreign = registry.create_asset(new, by, now).unwrap().asset;
    refused(registry.associate(tree, a(0), &[foreign], by, now), ErrorKind::NotFound, &["asset#"]);
    refused(
        registry.create_tree(DEFAULT_ORG, texts("x"), foreign, by, now),
        ErrorKind::NotFound,
        &["asset#"],
    );
    refused(
        registry.create_tree(DEFAULT_ORG, texts(""), a(0), by, now),
        ErrorKind::Input,
        &["name", "empty"],
    );
}

#[test]
fn a_tree_goes_when_only_its_root_is_left_and_an_organization_has_so_many() {
    let (fixture, made) = plant();
    let registry = &fixture.registry;
    let root = made[0].asset;
    let create = || registry.create_tree(DEFAULT_ORG, texts("t"), root, BY.0, BY.1);
    let made: Vec<_> = (0..TREES_PER_ORG_MAX).map(|_| create().unwrap()).collect();
    broken(create(), Rule::TreesMax);
    registry.delete_tree(made[3].id, BY.0, BY.1).unwrap();
    broken(registry.delete_tree(made[3].id, BY.0, BY.1), Rule::NoTree);
    create().unwrap();
    assert_eq!(registry.ancestors(root).len(), TREES_PER_ORG_MAX);
    let names = BTreeMap::from([("zh_CN".to_owned(), "树".to_owned())]);
    let other = TreeTexts { names, ..texts("other") };
    registry.rename_tree(made[5].id, other, BY.0, BY.1).unwrap();
    let fixture = fixture.reopen();
    let found = fixture.registry.tree(&made[5].key).unwrap();
    assert_eq!((found.name.as_str(), found.names["zh_CN"].as_str()), ("other", "树"));
    assert!(fixture.registry.tree(&made[3].key).is_none());
}
