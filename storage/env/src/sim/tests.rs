use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::*;
use crate::{Disk, WriteFile};

/// A disk with the directory `/d`, and an open file `/d/one`, whose name is durable.
fn disk_with_file() -> (SimDisk, Box<dyn WriteFile>) {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/d")).unwrap();
    let file = disk.create(Path::new("/d/one")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    (disk, file)
}

fn one() -> PathBuf {
    PathBuf::from("/d/one")
}

/// Every distinct content of `/d/one` over many crashes.
fn contents_after_crashes(disk: &SimDisk) -> BTreeSet<Vec<u8>> {
    (0..500).map(|seed| disk.crash(&SimChance::new(seed)).read(&one()).unwrap()).collect()
}

/// Every distinct set of names in `/d` over many crashes.
fn names_after_crashes(disk: &SimDisk, order: NameOrder) -> BTreeSet<Vec<String>> {
    let names = |seed| disk.crash_with(&SimChance::new(seed), order).list(Path::new("/d")).unwrap();
    (0..500).map(names).collect()
}

#[test]
fn synced_bytes_survive_every_crash() {
    let (disk, mut file) = disk_with_file();
    file.write_all(&[7; 3000]).unwrap();
    file.sync().unwrap();
    assert_eq!(contents_after_crashes(&disk), BTreeSet::from([vec![7; 3000]]));
}

#[test]
fn unsynced_bytes_are_kept_dropped_torn_zeroed_or_garbage() {
    let (disk, mut file) = disk_with_file();
    file.write_all(&[7; 100]).unwrap();
    file.sync().unwrap();
    file.write_all(&[8; 3000]).unwrap();
    let images = contents_after_crashes(&disk);

    assert!(
        images.iter().all(|bytes| bytes.len() >= 100 && bytes[..100] == [7; 100]),
        "the synced part stays"
    );
    let whole = [vec![7; 100], vec![8; 3000]].concat();
    assert!(images.contains(&whole), "everything kept");
    assert!(images.contains(&vec![7; 100]), "everything dropped");
    assert!(
        images.iter().any(|bytes| bytes.len() % 512 != 0 && *bytes == whole[..bytes.len()]),
        "torn inside a sector"
    );
    let sector = |bytes: &Vec<u8>| bytes.get(1024..1536).map(<[u8]>::to_vec);
    assert!(images.iter().any(|bytes| sector(bytes) == Some(vec![0; 512])), "a sector that is still zero");
    let odd = |sector: Vec<u8>| sector.iter().any(|byte| *byte != 0 && *byte != 8);
    assert!(images.iter().any(|bytes| sector(bytes).is_some_and(odd)), "a sector with garbage");
    let late = |bytes: &Vec<u8>| {
        bytes.len() == 3100 && bytes[1024..1536] == [0; 512] && bytes[1536..2048] == [8; 512]
    };
    assert!(images.iter().any(late), "a later sector written, an earlier one not");
}

#[test]
fn a_name_survives_only_after_its_directory_is_synced() {
    let (disk, _) = disk_with_file();
    let mut two = disk.create(Path::new("/d/two")).unwrap();
    two.write_all(b"x").unwrap();
    two.sync().unwrap();
    let both = vec!["one".to_owned(), "two".to_owned()];
    let images = names_after_crashes(&disk, NameOrder::Kept);
    assert_eq!(
        images,
        BTreeSet::from([both.clone(), vec!["one".to_owned()]]),
        "a synced file, an unsynced name"
    );
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(names_after_crashes(&disk, NameOrder::Kept), BTreeSet::from([both]));
}

#[test]
fn a_rename_replaces_whole_or_not_at_all() {
    let (disk, mut file) = disk_with_file();
    file.write_all(b"old").unwrap();
    file.sync().unwrap();
    let mut next = disk.create(Path::new("/d/next")).unwrap();
    next.write_all(b"new").unwrap();
    next.sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.rename(Path::new("/d/next"), &one()).unwrap();
    assert_eq!(disk.read(&one()).unwrap(), b"new");
    assert_eq!(contents_after_crashes(&disk), BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(contents_after_crashes(&disk), BTreeSet::from([b"new".to_vec()]));
}

#[test]
fn a_removed_name_may_come_back_until_the_directory_is_synced() {
    let (disk, mut file) = disk_with_file();
    file.write_all(b"x").unwrap();
    file.sync().unwrap();
    disk.remove(&one()).unwrap();
    assert_eq!(disk.read(&one()).unwrap_err().kind(), ErrorKind::NotFound);
    let gone: Vec<String> = Vec::new();
    let images = names_after_crashes(&disk, NameOrder::Kept);
    assert_eq!(images, BTreeSet::from([gone.clone(), vec!["one".to_owned()]]));
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(names_after_crashes(&disk, NameOrder::Kept), BTreeSet::from([gone]));
}

#[test]
fn name_changes_keep_their_order_unless_asked_otherwise() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.create(Path::new("/d/a")).unwrap();
    disk.create(Path::new("/d/b")).unwrap();
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let in_order = BTreeSet::from([names(&[]), names(&["a"]), names(&["a", "b"])]);
    assert_eq!(names_after_crashes(&disk, NameOrder::Kept), in_order);
    assert!(names_after_crashes(&disk, NameOrder::Any).contains(&names(&["b"])));
}

#[test]
fn syncing_one_directory_leaves_the_others_alone() {
    let disk = SimDisk::new();
    for dir in ["/d", "/e"] {
        disk.create_dir_all(Path::new(dir)).unwrap();
        disk.create(&Path::new(dir).join("one")).unwrap();
    }
    disk.sync_dir(Path::new("/d")).unwrap();
    let image = disk.crash_to_durable();
    assert_eq!(image.files(), [one()]);
    assert!(image.list(Path::new("/e")).unwrap().is_empty(), "the directory itself is durable when made");
}

#[test]
fn after_the_planned_crash_every_call_fails() {
    let (disk, mut file) = disk_with_file();
    let now = disk.operations();
    disk.set_faults(FaultPlan::crash_after(now + 1));
    file.write_all(b"last").unwrap();
    assert!(disk.has_crashed());
    let failures = [
        file.write_all(b"x").unwrap_err(),
        file.sync().unwrap_err(),
        disk.read(&one()).unwrap_err(),
        disk.list(Path::new("/d")).unwrap_err(),
        disk.remove(&one()).unwrap_err(),
        disk.create(Path::new("/d/new")).unwrap_err(),
        disk.sync_dir(Path::new("/d")).unwrap_err(),
        disk.lock(Path::new("/d/LOCK")).unwrap_err(),
    ];
    assert!(failures.iter().all(|error| error.to_string() == "simulated crash"), "{failures:?}");
    assert_eq!(disk.operations(), now + 1, "what fails after the crash is not counted");
    // The image a restart finds works again.
    let image = disk.crash(&SimChance::new(1));
    image.create(Path::new("/d/new")).unwrap();
}

#[test]
fn a_failed_sync_leaves_its_bytes_in_doubt_for_ever() {
    let (disk, mut file) = disk_with_file();
    file.write_all(&[1; 512]).unwrap();
    file.sync().unwrap();
    file.write_all(&[2; 512]).unwrap();
    disk.set_faults(FaultPlan { fail_sync_at: Some(0), ..FaultPlan::default() });
    file.sync().unwrap_err();
    file.write_all(&[3; 512]).unwrap();
    file.sync().unwrap();

    let images = contents_after_crashes(&disk);
    let sound =
        |bytes: &Vec<u8>| bytes.len() == 1536 && bytes[..512] == [1; 512] && bytes[1024..] == [3; 512];
    assert!(images.iter().all(sound), "what was synced before and after stays");
    let lost = |bytes: &Vec<u8>| bytes[512..1024] == [0; 512];
    assert!(images.iter().any(lost), "the second sync said Ok, yet the first one's bytes may be gone");
    assert!(lost(&disk.crash_to_durable().read(&one()).unwrap()));
}

#[test]
fn a_sync_failure_can_be_aimed_at_a_directory() {
    let (disk, mut file) = disk_with_file();
    disk.create_dir_all(Path::new("/e")).unwrap();
    let mut other = disk.create(Path::new("/e/two")).unwrap();
    let plan =
        FaultPlan { fail_sync_at: Some(0), fail_sync_beneath: Some("/e".into()), ..FaultPlan::default() };
    disk.set_faults(plan);
    file.sync().unwrap();
    assert_eq!(other.sync().unwrap_err().to_string(), "simulated sync failure of /e/two");
    other.sync().unwrap();
}

#[test]
fn a_full_disk_takes_what_fits_and_resumes_when_room_is_made() {
    let (disk, mut file) = disk_with_file();
    file.write_all(&[1; 60]).unwrap();
    disk.set_faults(FaultPlan { capacity_bytes: Some(100), ..FaultPlan::default() });
    let mut two = disk.create(Path::new("/d/two")).unwrap();
    assert_eq!(two.write_all(&[2; 50]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(two.len(), 40, "as much as fits was written");
    disk.remove(&one()).unwrap();
    two.write_all(&[3; 60]).unwrap();
    assert_eq!(disk.used_bytes(), 100);
}

#[test]
fn truncate_is_durable_at_once() {
    let (disk, mut file) = disk_with_file();
    file.write_all(b"hello").unwrap();
    disk.truncate(&one(), 2).unwrap();
    assert_eq!(contents_after_crashes(&disk), BTreeSet::from([b"he".to_vec()]));
}

#[test]
fn an_open_file_follows_the_file_not_the_name() {
    let (disk, mut file) = disk_with_file();
    disk.rename(&one(), Path::new("/d/two")).unwrap();
    disk.create(&one()).unwrap();
    file.write_all(b"x").unwrap();
    assert_eq!(disk.read(Path::new("/d/two")).unwrap(), b"x");
    assert_eq!(disk.len(&one()).unwrap(), 0);
}

#[test]
fn a_lock_is_exclusive_until_dropped_and_gone_after_a_crash() {
    let (disk, _) = disk_with_file();
    let path = Path::new("/d/LOCK");
    let held = disk.lock(path).unwrap();
    assert_eq!(disk.lock(path).unwrap_err().kind(), ErrorKind::WouldBlock);
    disk.kill().lock(path).unwrap();
    drop(held);
    disk.lock(path).unwrap();
}

#[test]
fn a_killed_process_loses_nothing_until_the_power_fails() {
    let (disk, mut file) = disk_with_file();
    file.write_all(b"x").unwrap();
    disk.create(Path::new("/d/two")).unwrap();
    let next = disk.kill();
    assert_eq!(next.read(&one()).unwrap(), b"x");
    assert_eq!(next.files(), [one(), PathBuf::from("/d/two")]);
    let images = contents_after_crashes(&next);
    assert!(images.contains(b"x".as_slice()) && images.contains([].as_slice()), "{images:?}");
    assert_eq!(next.crash_to_durable().files(), [one()]);
}

#[test]
fn errors_have_the_kinds_of_a_real_disk() {
    let (disk, _) = disk_with_file();
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    let none = Path::new("/d/none");
    assert_eq!(kind(disk.create(&one()).map(drop)), ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create(Path::new("/x/one")).map(drop)), ErrorKind::NotFound);
    assert_eq!(kind(disk.append(none).map(drop)), ErrorKind::NotFound);
    assert_eq!(kind(disk.remove(none)), ErrorKind::NotFound);
    assert_eq!(kind(disk.rename(none, &one())), ErrorKind::NotFound);
    assert_eq!(kind(disk.truncate(none, 0)), ErrorKind::NotFound);
    assert_eq!(kind(disk.list(Path::new("/x")).map(drop)), ErrorKind::NotFound);
    assert_eq!(kind(disk.create_dir_all(&one().join("sub"))), ErrorKind::NotADirectory);
}

#[test]
fn a_flipped_bit_is_read_back_flipped() {
    let (disk, mut file) = disk_with_file();
    file.write_all(&[0, 0, 0]).unwrap();
    disk.flip_bit(&one(), 1, 3).unwrap();
    assert_eq!(disk.read(&one()).unwrap(), [0, 8, 0]);
    assert_eq!(disk.flip_bit(&one(), 3, 0).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn the_trace_names_every_operation() {
    let (disk, mut file) = disk_with_file();
    file.write_all(b"abc").unwrap();
    file.sync().unwrap();
    disk.truncate(&one(), 1).unwrap();
    disk.rename(&one(), Path::new("/d/two")).unwrap();
    disk.remove(Path::new("/d/two")).unwrap();
    let kinds: Vec<OperationKind> = disk.trace().into_iter().map(|operation| operation.kind).collect();
    use OperationKind::*;
    assert_eq!(kinds, [CreateDir, Create, SyncDir, Write, Sync, Truncate, Rename, Remove]);
    assert_eq!(disk.trace()[3], Operation { kind: Write, path: one(), bytes: 3 });
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let (disk, mut file) = disk_with_file();
    file.write_all(&[5; 5000]).unwrap();
    disk.create(Path::new("/d/two")).unwrap();
    for seed in 0..50 {
        let [first, second] = [(); 2].map(|()| disk.crash_with(&SimChance::new(seed), NameOrder::Any));
        assert_eq!(first.files(), second.files());
        assert_eq!(first.read(&one()).unwrap(), second.read(&one()).unwrap());
    }
}

#[test]
fn chance_is_splitmix64() {
    // First outputs of the published reference implementation for seed 1234567.
    let chance = SimChance::new(1_234_567);
    let drawn: Vec<u64> = (0..3).map(|_| chance.next_u64()).collect();
    assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
}

#[test]
fn the_clock_moves_only_when_told() {
    let clock = SimClock::new(1_000);
    assert_eq!((clock.now_micros(), clock.monotonic_nanos()), (1_000, 0));
    clock.advance(5);
    assert_eq!((clock.now_micros(), clock.monotonic_nanos()), (1_005, 5_000));
    clock.set_wall(3);
    assert_eq!((clock.now_micros(), clock.monotonic_nanos()), (3, 5_000));
}
