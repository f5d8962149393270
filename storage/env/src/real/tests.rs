use std::io::ErrorKind;

use super::*;

#[test]
fn files_are_created_appended_cut_and_read_back() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("a/b");
    RealDisk.create_dir_all(&dir).unwrap();
    RealDisk.create_dir_all(&dir).unwrap();

    let path = dir.join("one");
    let mut file = RealDisk.create(&path).unwrap();
    file.write_all(b"hello").unwrap();
    file.sync().unwrap();
    assert_eq!(file.len(), 5);
    assert_eq!(RealDisk.create(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    drop(file);

    let mut file = RealDisk.append(&path).unwrap();
    assert_eq!(file.len(), 5);
    file.write_all(b" world").unwrap();
    assert_eq!(file.len(), 11);
    assert_eq!(RealDisk.read(&path).unwrap(), b"hello world");

    RealDisk.truncate(&path, 4).unwrap();
    assert_eq!(RealDisk.len(&path).unwrap(), 4);
    assert_eq!(&RealDisk.map(&path).unwrap()[..], b"hell");
    assert_eq!(RealDisk.append(&dir.join("none")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_map_outlives_the_name_and_an_empty_file_maps_to_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("one");
    RealDisk.create(&path).unwrap().write_all(b"kept").unwrap();
    let map = RealDisk.map(&path).unwrap();
    RealDisk.remove(&path).unwrap();
    RealDisk.sync_dir(home.path()).unwrap();
    assert_eq!(&map[..], b"kept");
    assert!(!RealDisk.exists(&path));

    RealDisk.create(&path).unwrap();
    assert!(RealDisk.map(&path).unwrap().is_empty());
}

#[test]
fn list_is_sorted_and_leaves_directories_out() {
    let home = tempfile::tempdir().unwrap();
    for name in ["b", "c", "a"] {
        RealDisk.create(&home.path().join(name)).unwrap();
    }
    RealDisk.create_dir_all(&home.path().join("d")).unwrap();
    RealDisk.rename(&home.path().join("c"), &home.path().join("a")).unwrap();
    assert_eq!(RealDisk.list(home.path()).unwrap(), ["a", "b"]);
}

#[test]
fn a_lock_is_exclusive_until_dropped() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("LOCK");
    let held = RealDisk.lock(&path).unwrap();
    assert_eq!(RealDisk.lock(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(held);
    RealDisk.lock(&path).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_the_length_stays_true() {
    // `/dev/full` refuses every write with ENOSPC.
    let mut file = RealDisk.append(Path::new("/dev/full")).unwrap();
    assert_eq!(file.write_all(b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len(), 0);
}

#[test]
fn the_clock_agrees_with_the_systems_and_never_steps_back() {
    let clock = RealClock::new();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    let now = clock.now_micros();
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    assert!(before <= now && now <= after, "{before} <= {now} <= {after}");
    let first = clock.monotonic_nanos();
    assert!(first <= clock.monotonic_nanos());
}

#[test]
fn chance_does_not_repeat() {
    let drawn: std::collections::BTreeSet<u64> = (0..100).map(|_| RealChance.next_u64()).collect();
    assert_eq!(drawn.len(), 100);
}
