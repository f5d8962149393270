use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::Registry;

fn file() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.sqlite");
    (folder, path)
}

#[test]
fn the_file_is_durable_and_checks_its_references() {
    let (_folder, path) = file();
    let connection = open(&path).unwrap();
    let text = |name: &str| connection.pragma_query_value(None, name, |r| r.get::<_, String>(0)).unwrap();
    let number = |name: &str| connection.pragma_query_value(None, name, |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!((text("journal_mode").as_str(), text("locking_mode").as_str()), ("wal", "exclusive"));
    // 2 is FULL: every commit is synced.
    assert_eq!((number("synchronous"), number("foreign_keys")), (2, 1));
    let orphan = "INSERT INTO points VALUES (99, 0, 'a', 'a', 'INT', 'AI', 0, NULL, NULL)";
    assert!(connection.execute(orphan, []).unwrap_err().to_string().contains("FOREIGN KEY"));
}

#[test]
fn a_newer_schema_is_refused_by_name() {
    let (_folder, path) = file();
    open(&path).unwrap().execute("UPDATE schema_version SET version = 99", []).unwrap();
    let error = Registry::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    let message = error.to_string();
    for part in ["registry.sqlite", "99", "newer", "up to 7"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn an_older_schema_is_brought_forward_and_a_failed_step_changes_nothing() {
    let (_folder, path) = file();
    let mut connection = open(&path).unwrap();
    let broken = [V1, V2, V3, V4, V5, V6, V7, "CREATE TABLE extra (id INTEGER); this is not SQL"];
    assert!(migrate(&mut connection, &broken).is_err());
    assert_eq!(version(&connection).unwrap(), 7);
    let next = [V1, V2, V3, V4, V5, V6, V7, "CREATE TABLE extra (id INTEGER)"];
    migrate(&mut connection, &next).unwrap();
    assert_eq!(version(&connection).unwrap(), 8);
    let orgs: i64 = connection.query_row("SELECT count(*) FROM orgs", [], |r| r.get(0)).unwrap();
    assert_eq!(orgs, 1);
    drop(connection);
    assert_eq!(Registry::open(&path).unwrap_err().kind(), ErrorKind::Input, "V8 is newer than this release");
}

#[test]
fn other_files_are_refused() {
    let (folder, path) = file();
    std::fs::write(&path, vec![b'x'; 4_096]).unwrap();
    let error = Registry::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.to_string().contains("registry.sqlite"), "{error}");

    let other = folder.path().join("other.sqlite");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let error = Registry::open(&other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{error}");
    assert!(error.to_string().contains("not a Wattline registry"), "{error}");

    let error = Registry::open(&folder.path().join("no/such/folder.sqlite")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

#[test]
fn a_second_owner_is_kept_out() {
    let (_folder, path) = file();
    let _first = Registry::open(&path).unwrap();
    let error = Registry::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
}

#[test]
fn damage_is_named() {
    for (damage, named) in [
        ("UPDATE points SET data_type = 'COMPLEX'", "data_type"),
        ("UPDATE points SET signal = 'XX'", "signal"),
        ("UPDATE points SET id = 5", "id"),
        ("UPDATE devices SET tags = '{'", "tags"),
        ("UPDATE devices SET attributes = '[1]'", "attributes"),
        (
            "PRAGMA foreign_keys = 0; UPDATE devices SET id = 5000000000 WHERE id = 1",
            "table devices row 5000000000",
        ),
        ("PRAGMA foreign_keys = 0; UPDATE devices SET product = 9 WHERE id = 1", "product"),
        ("PRAGMA foreign_keys = 0; UPDATE products SET model = 9", "model"),
        ("PRAGMA foreign_keys = 0; UPDATE models SET parent = 9", "parent"),
        ("PRAGMA foreign_keys = 0; UPDATE points SET model = 9", "points"),
        ("UPDATE models SET version = -1", "version"),
        ("UPDATE devices SET names = '[]'", "names"),
        ("PRAGMA foreign_keys = 0; UPDATE devices SET model = 9 WHERE id = 2", "model"),
        ("UPDATE model_attributes SET data_type = 'COMPLEX'", "data_type"),
        ("UPDATE model_attributes SET id = 5", "id"),
        ("PRAGMA foreign_keys = 0; UPDATE model_attributes SET model = 9", "model_attributes"),
        ("PRAGMA foreign_keys = 0; UPDATE tree_nodes SET tree = 9", "table trees"),
        ("PRAGMA foreign_keys = 0; UPDATE tree_nodes SET asset = 9 WHERE parent IS NOT NULL", "tree_nodes"),
        ("PRAGMA foreign_keys = 0; UPDATE tree_nodes SET parent = 9 WHERE parent IS NOT NULL", "parent"),
        ("UPDATE tree_nodes SET parent = 1", "root"),
        ("PRAGMA foreign_keys = 0; DELETE FROM tree_nodes", "trees"),
        ("ALTER TABLE devices DROP COLUMN name", "read devices"),
    ] {
        let (_folder, path) = file();
        let connection = open(&path).unwrap();
        connection
            .execute_batch(
                "INSERT INTO models VALUES (1, 1, 'm', 'm', NULL, 1);
                 INSERT INTO points VALUES (1, 0, 'p', 'p', 'DOUBLE', 'AI', 0, NULL, NULL);
                 INSERT INTO products VALUES (1, 'pk', 'pk', 1, 1, 's', 0, 0, 0);
                 INSERT INTO devices VALUES (1, 'a', 1, 'd', 'd', 's', 'UTC', 1, 0, NULL, NULL, 0, NULL, NULL, NULL, 0);
                 INSERT INTO devices VALUES (2, 'b', NULL, NULL, 'b', '', 'UTC', 1, 0, NULL, NULL, 0, 1, NULL, NULL, 0);
                 INSERT INTO model_attributes VALUES (1, 0, 'height', 'height', 'INT', 0, NULL, NULL);
                 INSERT INTO trees VALUES (1, 't', 1, 't', NULL, NULL, 0);
                 INSERT INTO tree_nodes VALUES (1, 2, NULL, 1), (1, 1, 2, 1);",
            )
            .unwrap();
        connection.execute_batch(damage).unwrap();
        drop(connection);
        let error = Registry::open(&path).expect_err(damage);
        assert_eq!(error.kind(), ErrorKind::Damaged, "{damage}: {error}");
        assert!(error.to_string().contains(named), "{damage}: {error}");
    }
}

#[test]
fn numbers_are_never_reused() {
    let (_folder, path) = file();
    let connection = open(&path).unwrap();
    connection.execute("INSERT INTO orgs (key, name) VALUES ('a', 'a')", []).unwrap();
    let gone = connection.last_insert_rowid();
    connection.execute("DELETE FROM orgs WHERE key = 'a'", []).unwrap();
    drop(connection);
    let registry = Registry::open(&path).unwrap();
    let org = registry.create_org(crate::NewOrg { key: "b".into(), name: String::new() }).unwrap();
    assert!(i64::from(org.id.0) > gone);
}

#[test]
fn devices_of_the_release_before_keep_their_numbers_and_keys() {
    let (_folder, path) = file();
    drop(open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    own_file(&path).unwrap();
    let mut connection = Connection::open(&path).unwrap();
    configure(&connection).unwrap();
    migrate(&mut connection, &[V1, V2, V3, V4, V5]).unwrap();
    connection
        .execute_batch(
            "INSERT INTO models VALUES (1, 1, 'm', 'm', NULL, 1);
             INSERT INTO products VALUES (1, 'pk', 'pk', 1, 1, 's', 0, 0, 0);
             INSERT INTO devices VALUES (4, 'a4', 1, 'd4', 'n', 's', 'UTC', 1, 1, '{\"k\":\"v\"}', NULL, 7);
             INSERT INTO devices VALUES (9, 'a9', 1, 'd9', 'n', 's', 'UTC', 1, 0, NULL, NULL, 8);
             DELETE FROM devices WHERE id = 9;",
        )
        .unwrap();
    drop(connection);
    let registry = Registry::open(&path).unwrap();
    let device = registry.device("pk", "d4").unwrap();
    assert_eq!((device.asset.0, &*device.asset_key, device.active), (4, "a4", true));
    assert_eq!((device.tags["k"].as_str(), device.created_micros), ("v", 7));
    let new = crate::NewDevice { product_key: "pk".into(), ..Default::default() };
    assert_eq!(registry.create_device(new).unwrap().asset.0, 10, "9 was given out before");
}
