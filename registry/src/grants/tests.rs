use super::*;
use crate::accounts::Verifier;
use crate::{
    DEFAULT_ORG, Device, NewDevice, NewModel, NewOrg, NewProduct, NewServiceAccount, Reach, Registry,
    TreeTexts,
};

/// Organization `default` with the models `Machine` and `Turbine`, which inherits from it, and `Meter`; `acme` with its
/// own `Meter`. An asset of each: `machine`, `turbine`, `meter`, `theirs`; and `turbine2`.
fn plant() -> (tempfile::TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(&dir.path().join("registry")).unwrap();
    let acme = registry.create_org(NewOrg { key: "acme".into(), name: String::new() }).unwrap().id;
    let model = |org, key: &str, parent: Option<&str>| {
        let parent = parent.map(str::to_owned);
        let new = NewModel { org, key: key.into(), name: String::new(), parent, points: Vec::new() };
        registry.create_model(new).unwrap();
        let product = NewProduct {
            org,
            key: Some(format!("{}{}", org.0, key)),
            name: key.into(),
            model_key: key.into(),
            secret: None,
            dynamic_activation: false,
            require_certificate: false,
            gateway: false,
        };
        registry.create_product(product).unwrap();
    };
    model(DEFAULT_ORG, "Machine", None);
    model(DEFAULT_ORG, "Turbine", Some("Machine"));
    model(DEFAULT_ORG, "Meter", None);
    model(acme, "Meter", None);
    for (product, asset) in [
        ("1Machine", "machine"),
        ("1Turbine", "turbine"),
        ("1Turbine", "turbine2"),
        ("1Meter", "meter"),
        ("2Meter", "theirs"),
    ] {
        let asset_key = Some(asset.to_owned());
        let new = NewDevice { product_key: product.into(), asset_key, ..NewDevice::default() };
        registry.create_device(new).unwrap();
    }
    let verifier =
        Verifier { salt: vec![1; 16], iterations: 4_096, stored_key: [0; 32], server_key: [0; 32] };
    registry.create_account("eva", verifier, "test", 0).unwrap();
    for (org, key) in [(DEFAULT_ORG, "ours"), (acme, "theirs")] {
        let access_key = Some(key.to_owned());
        let new = NewServiceAccount { org, name: key.into(), access_key, secret: None };
        registry.create_service_account(new, "test", 0).unwrap();
    }
    (dir, registry)
}

fn device(registry: &Registry, key: &str) -> Arc<Device> {
    registry.asset_by_key(key).unwrap()
}

/// The rights on each asset.
#[track_caller]
fn expect(registry: &Registry, holder: Holder<'_>, expected: &[(&str, &str)]) {
    let permissions = registry.permissions(holder);
    for asset in ["machine", "turbine", "turbine2", "meter", "theirs"] {
        let wanted = expected.iter().find(|(key, _)| *key == asset).map_or("", |(_, rights)| *rights);
        assert_eq!(permissions.on(&device(registry, asset)).to_string(), wanted, "{asset}");
    }
}

fn read(registry: &Registry, texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| registry.read_grant(text).unwrap()).collect()
}

const EVA: &str = "eva";

#[test]
fn who_was_granted_nothing_has_all_of_its_own() {
    let (_dir, registry) = plant();
    let all = ["machine", "turbine", "turbine2", "meter", "theirs"].map(|asset| (asset, "all"));
    expect(&registry, Holder::account(EVA), &all);
    expect(&registry, Holder::service("ours"), &all[..4]);
    expect(&registry, Holder::service("theirs"), &all[4..]);
    expect(&registry, Holder::account("nobody"), &[]);
    expect(&registry, Holder::service("nobody"), &[]);
    assert_eq!(registry.grants(Holder::account(EVA)), None);
    assert!(registry.permissions(Holder::account(EVA)).is_everything());
}

#[test]
fn grants_add_up_and_models_reach_inheritors() {
    let (dir, registry) = plant();
    let eva = Holder::account(EVA);
    registry.grant(eva, &read(&registry, &["read:model:Machine"]), "test", 1).unwrap();
    expect(&registry, eva, &[("machine", "read"), ("turbine", "read"), ("turbine2", "read")]);
    registry.grant(eva, &read(&registry, &["write,control:asset:turbine"]), "test", 2).unwrap();
    registry.grant(eva, &read(&registry, &["all:org:acme", "manage:model:acme/Meter"]), "test", 3).unwrap();
    let expected =
        [("machine", "read"), ("turbine", "read,write,control"), ("turbine2", "read"), ("theirs", "all")];
    expect(&registry, eva, &expected);
    let reach = |right, key| {
        let model = registry.model_by_key(DEFAULT_ORG, key).unwrap();
        registry.permissions(eva).reach(right, &model)
    };
    assert_eq!(reach(Right::Read, "Turbine"), Reach::All);
    assert_eq!(reach(Right::Write, "Turbine"), Reach::Some);
    assert_eq!(reach(Right::Write, "Machine"), Reach::None);
    assert_eq!(reach(Right::Read, "Meter"), Reach::None);
    // A model that is made later inherits, too, and so does its asset.
    let new = NewModel {
        org: DEFAULT_ORG,
        key: "Big".into(),
        name: String::new(),
        parent: Some("Turbine".into()),
        points: Vec::new(),
    };
    let big = registry.create_model(new).unwrap();
    assert_eq!(registry.permissions(eva).reach(Right::Read, &big), Reach::All);

    let texts = |registry: &Registry| -> Vec<String> {
        registry.grants(eva).unwrap().into_iter().map(|grant| registry.grant_text(grant)).collect()
    };
    let told = [
        "all:org:acme",
        "read:model:default/Machine",
        "manage:model:acme/Meter",
        "write,control:asset:turbine",
    ];
    assert_eq!(texts(&registry), told);
    let noted = registry.audit(0, 1).unwrap();
    assert_eq!((noted[0].action.as_str(), noted[0].item.as_str()), ("grant", "account eva"));
    assert_eq!(noted[0].after, Some(json!(told)));
    drop(registry);
    let registry = Registry::open(&dir.path().join("registry")).unwrap();
    assert_eq!(texts(&registry), told);
    expect(&registry, eva, &expected);
}

#[test]
fn taking_away_never_widens() {
    let (dir, registry) = plant();
    let eva = Holder::account(EVA);
    let grants = read(&registry, &["read,write:org:default"]);
    registry.grant(eva, &grants, "test", 1).unwrap();
    registry.revoke_grants(eva, &read(&registry, &["write:org:default"]), "test", 2).unwrap();
    let read_only = ["machine", "turbine", "turbine2", "meter"].map(|asset| (asset, "read"));
    expect(&registry, eva, &read_only);
    let again = registry.revoke_grants(eva, &read(&registry, &["write:org:default"]), "test", 3).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    registry.revoke_grants(eva, &grants, "test", 4).unwrap();
    assert_eq!(registry.grants(eva), Some(Vec::new()));
    expect(&registry, eva, &[]);
    drop(registry);
    let registry = Registry::open(&dir.path().join("registry")).unwrap();
    expect(&registry, eva, &[]);
    registry.set_grants(eva, Some(&read(&registry, &["read:asset:meter"])), "test", 5).unwrap();
    expect(&registry, eva, &[("meter", "read")]);
    registry.set_grants(eva, None, "test", 6).unwrap();
    assert!(registry.permissions(eva).is_everything());
    // Another account of the same name begins anew.
    registry.set_grants(eva, Some(&[]), "test", 7).unwrap();
    registry.delete_account(EVA, "test", 8).unwrap();
    expect(&registry, eva, &[]);
    assert_eq!(registry.grants(eva), None);
    let verifier =
        Verifier { salt: vec![1; 16], iterations: 4_096, stored_key: [0; 32], server_key: [0; 32] };
    let limited = read(&registry, &["read:asset:turbine"]);
    registry.create_account_with(EVA, verifier, Some(&limited), "test", 9).unwrap();
    expect(&registry, eva, &[("turbine", "read")]);
}

#[test]
fn a_service_account_stays_in_its_organization() {
    let (_dir, registry) = plant();
    let ours = Holder::service("ours");
    for text in ["read:org:acme", "read:model:acme/Meter", "read:asset:theirs"] {
        let refused = registry.grant(ours, &read(&registry, &[text]), "test", 1).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Input, "{text}");
    }
    expect(&registry, ours, &["machine", "turbine", "turbine2", "meter"].map(|asset| (asset, "all")));
    registry.grant(ours, &read(&registry, &["read:model:Turbine"]), "test", 2).unwrap();
    expect(&registry, ours, &[("turbine", "read"), ("turbine2", "read")]);
    let missing = registry.grant(Holder::service("none"), &[], "test", 3).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn texts_that_are_no_grants_are_named() {
    let (_dir, registry) = plant();
    for (text, kind) in [
        ("", ErrorKind::Input),
        ("read", ErrorKind::Input),
        ("read:org", ErrorKind::Input),
        ("reed:org:default", ErrorKind::Input),
        ("read,:org:default", ErrorKind::Input),
        ("read:site:default", ErrorKind::Input),
        ("read:org:nowhere", ErrorKind::NotFound),
        ("read:model:nowhere/Meter", ErrorKind::NotFound),
        ("read:asset:nobody", ErrorKind::NotFound),
    ] {
        assert_eq!(registry.read_grant(text).unwrap_err().kind(), kind, "{text}");
    }
    let long = format!("read:asset:{}", "x".repeat(1_000));
    assert_eq!(registry.read_grant(&long).unwrap_err().kind(), ErrorKind::Input);
}

#[test]
fn there_is_a_limit_to_grants() {
    let (_dir, registry) = plant();
    let asset_key = |i: usize| Some(format!("m{i}"));
    let new = |i| NewDevice { product_key: "1Meter".into(), asset_key: asset_key(i), ..NewDevice::default() };
    let made = registry.create_devices((0..=GRANTS_PER_ACCOUNT_MAX).map(new).collect()).unwrap();
    let grant = |device: &Arc<Device>| Grant { scope: Scope::Asset(device.asset), rights: Rights::ALL };
    let grants: Vec<Grant> = made.iter().map(grant).collect();
    let eva = Holder::account(EVA);
    assert_eq!(registry.set_grants(eva, Some(&grants), "test", 0).unwrap_err().kind(), ErrorKind::Input);
    registry.set_grants(eva, Some(&grants[1..]), "test", 0).unwrap();
    assert!(!registry.permissions(eva).may(Right::Read, &made[0]));
    assert!(registry.permissions(eva).may(Right::Read, &made[1]));
}

#[test]
fn a_branch_reaches_what_hangs_below_it_now() {
    let (dir, registry) = plant();
    let asset = |key: &str| device(&registry, key).asset;
    let texts = TreeTexts { name: "sites".into(), ..TreeTexts::default() };
    // machine ─ turbine ─ turbine2, and meter beside turbine.
    let tree = registry.create_tree(DEFAULT_ORG, texts, asset("machine"), "test", 0).unwrap();
    registry.associate(tree.id, asset("machine"), &[asset("turbine"), asset("meter")], "test", 0).unwrap();
    registry.associate(tree.id, asset("turbine"), &[asset("turbine2")], "test", 0).unwrap();
    let text = format!("read,control:branch:{}/turbine", tree.key);
    let eva = Holder::account(EVA);
    registry.grant(eva, &read(&registry, &[&text]), "test", 1).unwrap();
    let told = |registry: &Registry| registry.grant_text(registry.grants(eva).unwrap()[0]);
    assert_eq!(told(&registry), text);
    expect(&registry, eva, &[("turbine", "read,control"), ("turbine2", "read,control")]);
    let turbine = registry.model_by_key(DEFAULT_ORG, "Turbine").unwrap();
    assert_eq!(registry.permissions(eva).reach(Right::Read, &turbine), Reach::Some);
    assert_eq!(registry.permissions(eva).reach_organization(Right::Read, DEFAULT_ORG), Reach::Some);

    // The tree changes, and with it what the grant reaches.
    let meter = Branch { tree: tree.id, asset: asset("meter") };
    registry.move_node(meter, asset("turbine2"), None, "test", 2).unwrap();
    let with_meter = ["turbine", "turbine2", "meter"].map(|asset| (asset, "read,control"));
    expect(&registry, eva, &with_meter);
    registry.remove_node(meter, "test", 3).unwrap();
    expect(&registry, eva, &with_meter[..2]);
    let (root, below) = (tree.id, asset("turbine2"));
    drop(registry);
    let registry = Registry::open(&dir.path().join("registry")).unwrap();
    expect(&registry, eva, &with_meter[..2]);
    assert_eq!(told(&registry), text);
    registry
        .move_node(Branch { tree: root, asset: below }, asset_of(&registry, "machine"), None, "test", 4)
        .unwrap();
    expect(&registry, eva, &with_meter[..1]);
    for wrong in ["read:branch:none/turbine".to_owned(), format!("read:branch:{}/meter", tree.key)] {
        assert_eq!(registry.read_grant(&wrong).unwrap_err().kind(), ErrorKind::NotFound, "{wrong}");
    }
}

fn asset_of(registry: &Registry, key: &str) -> AssetId {
    device(registry, key).asset
}
