use std::time::Instant;

use super::*;
use crate::NewProduct;
use crate::tests::{Fixture, device, product, refused};

#[test]
fn devices_are_found_by_every_key() {
    let fixture = Fixture::with_product();
    let registry = &fixture.registry;
    let made = registry.create_device(device("pk1", "wt:01")).unwrap();
    let id = |found: Option<Arc<Device>>| found.map(|d| d.asset);
    assert_eq!(id(registry.device("pk1", "wt:01")), Some(made.asset));
    assert_eq!(id(registry.asset(made.asset)), Some(made.asset));
    assert_eq!(id(registry.asset_by_key(&made.asset_key)), Some(made.asset));
    assert_eq!(registry.assets_of(made.model).len(), 1);
    assert_eq!(registry.device_count(), 1);
    for (product_key, device_key) in [("pk1", "wt:02"), ("pk", "1wt:01"), ("pk1w", "t:01"), ("", "")] {
        assert!(registry.device(product_key, device_key).is_none());
    }
    assert!(registry.asset(AssetId(0)).is_none() && registry.asset(AssetId(u32::MAX)).is_none());
    assert!(registry.asset_by_key("").is_none() && registry.assets_of(ModelId(99)).is_empty());
    assert_eq!((&*made.timezone, &*made.name, made.enabled, made.active), ("UTC", "wt:01", true, false));

    let changed = registry.set_device_enabled(made.asset, false, "ann", 1).unwrap();
    assert!(!changed.enabled);
    let by_all =
        [registry.device("pk1", "wt:01"), registry.asset(made.asset), registry.asset_by_key(&made.asset_key)];
    assert!(by_all.into_iter().all(|found| !found.unwrap().enabled), "every way leads to the changed device");
}

#[test]
fn devices_are_refused_with_the_reason_and_all_or_none() {
    let fixture = Fixture::with_product();
    let registry = &fixture.registry;
    let create = |new| registry.create_device(new);
    refused(create(device("nobody", "d")), ErrorKind::NotFound, &["product nobody"]);
    refused(create(device("pk1", "a&b")), ErrorKind::Input, &["device pk1/a&b", "deviceKey", "'&'"]);
    refused(create(device("pk1", "")), ErrorKind::Input, &["deviceKey", "empty"]);
    let zone = NewDevice { timezone: "Mars/Olympus".into(), ..device("pk1", "d") };
    refused(create(zone), ErrorKind::Input, &["device pk1/d", "timezone", "Mars/Olympus"]);
    let name = NewDevice { name: "a\u{7}b".into(), ..device("pk1", "d") };
    refused(create(name), ErrorKind::Input, &["deviceName", "control"]);
    let tags = NewDevice { tags: BTreeMap::from([("a b".into(), "v".into())]), ..device("pk1", "d") };
    refused(create(tags), ErrorKind::Input, &["tags", "a b"]);
    let padded = NewDevice { tags: BTreeMap::from([("a".into(), "v ".into())]), ..device("pk1", "d") };
    refused(create(padded), ErrorKind::Input, &["tags.a", "blank"]);
    let big = serde_json::json!("x".repeat(16 * 1024));
    let heavy = NewDevice { attributes: BTreeMap::from([("a".into(), big)]), ..device("pk1", "d") };
    refused(create(heavy), ErrorKind::Input, &["attributes", "16384"]);
    let spilled = NewDevice { secret: Some("hush\nhush".into()), ..device("pk1", "d") };
    let error = create(spilled).unwrap_err();
    assert!(error.to_string().contains("deviceSecret") && !error.to_string().contains("hush"), "{error}");

    create(device("pk1", "d")).unwrap();
    refused(create(device("pk1", "d")), ErrorKind::Conflict, &["device pk1/d", "deviceKey", "taken"]);
    let batch = vec![device("pk1", "e"), device("pk1", "f"), device("pk1", "e")];
    refused(registry.create_devices(batch), ErrorKind::Conflict, &["pk1/e"]);
    let same_asset = |key| NewDevice { asset_key: Some("one".into()), ..device("pk1", key) };
    let batch = vec![same_asset("g"), same_asset("h")];
    refused(registry.create_devices(batch), ErrorKind::Conflict, &["pk1/h", "assetId"]);
    assert_eq!(registry.device_count(), 1);
    assert_eq!(fixture.reopen().registry.device_count(), 1);
}

#[test]
fn keys_and_secrets_are_generated_where_none_are_given() {
    let fixture = Fixture::with_product();
    let product = NewProduct { key: None, name: "named".into(), ..product("", "turbine") };
    let product = fixture.registry.create_product(product).unwrap();
    let new = NewDevice { product_key: product.key.clone(), ..NewDevice::default() };
    let made = fixture.registry.create_devices(vec![new.clone(), new]).unwrap();
    let is_key = |text: &str| text.len() == 8 && text.bytes().all(|c| c.is_ascii_alphanumeric());
    assert!(is_key(&product.key));
    for device in &made {
        assert!(is_key(&device.device_key) && is_key(&device.asset_key));
        assert!(device.secret.expose().len() >= 22, "22 letters of 62 are 131 bits");
    }
    assert_ne!(made[0].secret.expose(), made[1].secret.expose());
    assert_ne!(made[0].device_key, made[1].device_key);
}

#[test]
fn a_device_created_by_many_at_once_exists_once() {
    let fixture = Fixture::with_product();
    let results: Vec<_> = std::thread::scope(|scope| {
        let create = || fixture.registry.create_device(device("pk1", "same"));
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    let conflicts = results.iter().filter_map(|r| r.as_ref().err());
    assert!(conflicts.clone().all(|e| e.kind() == ErrorKind::Conflict), "{conflicts:?}");
    assert_eq!(fixture.registry.device_count(), 1);

    let ensured: Vec<AssetId> = std::thread::scope(|scope| {
        let ensure = || fixture.registry.ensure_device("pk1", "auto").unwrap().asset;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ensure)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(ensured.windows(2).all(|w| w[0] == w[1]), "{ensured:?}");
    assert_eq!(fixture.registry.device_count(), 2);
}

#[test]
fn activation_happens_once() {
    let fixture = Fixture::with_product();
    let registry = &fixture.registry;
    let made = registry.create_devices(vec![device("pk1", "a"), device("pk1", "b")]).unwrap();
    registry.activate_all(&[made[0].asset, made[1].asset, made[0].asset]).unwrap();
    let version = registry.version();
    registry.activate(made[0].asset).unwrap();
    assert_eq!(registry.version(), version);
    assert!(registry.assets().iter().all(|d| d.active));
    refused(registry.activate(AssetId(77)), ErrorKind::NotFound, &["asset#77"]);
    assert!(fixture.reopen().registry.assets().iter().all(|d| d.active));
}

#[test]
fn ten_thousand_devices_are_created_in_under_a_second() {
    let fixture = Fixture::with_product();
    let new: Vec<_> = (0..10_000).map(|i| device("pk1", &format!("wt-{i:05}"))).collect();
    let start = Instant::now();
    let made = fixture.registry.create_devices(new).unwrap();
    let elapsed = start.elapsed();
    assert_eq!(made.len(), 10_000);
    // An unoptimized build on a busy machine has five times the room that a release build needs.
    assert!(elapsed.as_millis() < 5_000, "{elapsed:?}");
    assert!(made.windows(2).all(|w| w[0].asset < w[1].asset));
    assert!(Arc::ptr_eq(&made[0].product_key, &made[9_999].product_key), "shared texts are held once");
}
