//! Random operations on the engine and on a map, which must agree.
//!
//! The map is the whole specification: a sample's (asset, point, time) is unique, the later write wins, and a deletion
//! takes away what it means of what is there. Scans ask
//! for random assets, points and ranges; snapshots taken along the way must still say the same much later.

use std::collections::BTreeMap;
use std::ops::Bound;

use wattline_env::sim::SimDisk;
use wattline_model::{AssetId, DeletionTarget, Kind, ModelId, PointId, TimeRange, Timestamp, ValueRef};
use wattline_storage::{Driver, ScanRequest, ShardScan, Snapshot, Store, Within};

use crate::aggregates;
use crate::support::{
    ASSETS, Bits, History, Key, MODELS, Newest, POINTS, Rows, START, Sample, cells, check_newest,
    delete_from, for_seeds, kind_of, model_of, open, read, some_deletion, write,
};

/// Rows of a scan: (asset, time) and, of the points asked for, those with a sample.
type Scanned = BTreeMap<(u32, i64), Vec<(u32, Sample)>>;

/// Points of the model that no batch ever has a value for.
const UNUSED_POINT: u32 = POINTS + 2;

fn request(rows: &Rows) -> ScanRequest {
    let mut points: Vec<(PointId, Kind)> = Vec::new();
    for point in (0..POINTS).chain([UNUSED_POINT]) {
        if rows.below(2) == 0 {
            points.push((PointId(point), kind_of(point)));
        }
    }
    if rows.below(2) == 0 {
        points.reverse();
    }
    let assets = match rows.below(3) {
        0 => None,
        // Some that have no rows, some of another model, some twice.
        _ => Some((0..rows.below(8)).map(|_| AssetId(rows.below(u64::from(ASSETS) + 3) as u32)).collect()),
    };
    let grid = 600_000_000;
    let from = START + grid * (rows.below(500) as i64 - 320) + rows.below(2) as i64;
    let range = match rows.below(5) {
        0 => TimeRange::ALL,
        1 => TimeRange::new(Timestamp(from), Timestamp(from - rows.below(2) as i64)),
        2 => TimeRange::new(Timestamp(from), Timestamp(from + 1)),
        _ => TimeRange::new(Timestamp(from), Timestamp(from + grid * rows.below(300) as i64)),
    };
    ScanRequest {
        model: ModelId(1 + rows.below(u64::from(MODELS) + 1) as u32),
        points,
        assets,
        range,
        every_row: rows.below(2) == 0,
        batch_rows: [1, 3, 64, 5_000][rows.below(4) as usize],
    }
}

/// What the map says to a request.
fn expected(history: &History, request: &ScanRequest) -> Scanned {
    let asked = |asset: u32, time: i64| {
        model_of(asset) == request.model
            && request.range.start.0 <= time
            && time < request.range.end.0
            && request.assets.as_ref().is_none_or(|assets| assets.contains(&AssetId(asset)))
    };
    let mut found = Scanned::new();
    for ((asset, point, time), sample) in history.iter().filter(|((asset, _, time), _)| asked(*asset, *time))
    {
        let wanted = request.points.iter().any(|p| p.0.0 == *point);
        if wanted {
            found.entry((*asset, *time)).or_default().push((*point, sample.clone()));
        } else if request.every_row {
            found.entry((*asset, *time)).or_default();
        }
    }
    found
}

/// What the engine says.
fn scanned(snapshot: &Snapshot, request: &ScanRequest) -> Scanned {
    collected(snapshot.scan(request), request)
}

fn collected(scans: Vec<ShardScan>, request: &ScanRequest) -> Scanned {
    let mut found = Scanned::new();
    for scan in scans {
        let mut last = None;
        for batch in scan {
            let batch = batch.unwrap();
            assert!(
                (1..=request.batch_rows).contains(&batch.times.len()),
                "a batch of {} rows",
                batch.times.len()
            );
            for (i, (asset, time)) in batch.assets.iter().zip(&batch.times).enumerate() {
                assert!(last < Some((*asset, *time)), "{asset} at {time} after {last:?}");
                last = Some((*asset, *time));
                let mut cells = cells(&batch, request, i);
                cells.sort_by_key(|cell| cell.0);
                assert_eq!(found.insert((asset.0, *time), cells), None, "{asset} comes from two shards");
            }
        }
    }
    found
}

/// A scan with conditions has every row that meets them, whole, and no row that a scan without has not.
fn check_conditions(snapshot: &Snapshot, request: &ScanRequest, history: &History, rows: &Rows) {
    let all = expected(history, request);
    let samples: Vec<&Sample> = all.values().flatten().map(|(_, sample)| sample).collect();
    let some = || samples.get(rows.below(samples.len().max(1) as u64) as usize).map(|s| s.value.clone());
    let bound = |inside: u64| if inside == 0 { Bound::Unbounded } else { Bound::Included(()) };
    let (low, high) = (bound(rows.below(3)), bound(rows.below(2)));
    let condition = request.points.iter().find_map(|&(point, kind)| match (kind, some()?, some()?) {
        (Kind::Float, Bits::Float(a), Bits::Float(b)) => {
            let (a, b) = (f64::from_bits(a), f64::from_bits(b));
            Some((Within::floats(point, low.map(|()| a), high.map(|()| b)), point))
        }
        (Kind::Int, Bits::Int(a), Bits::Int(b)) => {
            Some((Within::ints(point, low.map(|()| a), high.map(|()| b)), point))
        }
        _ => None,
    });
    let Some((condition, point)) = condition else { return };
    let found = collected(snapshot.scan_where(request, &[condition]), request);
    for (key, cells) in &found {
        assert_eq!(all.get(key), Some(cells), "{key:?} of {request:?} with {condition:?}");
    }
    for (key, cells) in all {
        let value = cells.iter().find(|cell| cell.0 == point.0).map(|cell| &cell.1.value);
        let meets = match value {
            Some(Bits::Float(bits)) => condition.holds(ValueRef::Float(f64::from_bits(*bits))),
            Some(Bits::Int(value)) => condition.holds(ValueRef::Int(*value)),
            _ => false,
        };
        assert!(!meets || found.contains_key(&key), "{key:?} of {request:?} with {condition:?}");
    }
}

/// Values that are easily lost: they differ by bits, not by `==`, or have no neighbours.
fn odd_values(sample: &mut Sample, rows: &Rows) {
    let odd = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, -1e300, 0.1, 5e-324];
    match &mut sample.value {
        Bits::Float(bits) => *bits = odd[rows.below(8) as usize].to_bits() | u64::from(rows.below(50) == 0),
        Bits::Int(value) => *value = [i64::MIN, i64::MAX, -1, 0][rows.below(4) as usize],
        Bits::Text(text) => *text = ["", "größe", "a\0b", "\u{10FFFF}"][rows.below(4) as usize].to_owned(),
        Bits::Bool(_) => {}
    }
}

fn run(seed: u64, operations: u64) -> SimDisk {
    let disk = SimDisk::new();
    let mut rows = Rows::new(seed);
    let mut history = History::new();
    let mut latest = Newest::new();
    let mut held: Vec<(Snapshot, History)> = Vec::new();
    let mut store: Store = open(&disk, Driver::Inline).unwrap();
    for operation in 0..operations {
        match rows.below(22) {
            0..=10 => {
                let size = [1, 4, 30, 200][rows.below(4) as usize];
                let mut written = rows.some(size);
                if rows.below(4) == 0 {
                    let samples = written.iter_mut().flat_map(|row| row.cells.iter_mut());
                    samples.for_each(|(_, sample)| odd_values(sample, &rows));
                }
                write(&store, &written).unwrap();
                for (key, sample) in written.iter().flat_map(|row| row.samples().collect::<Vec<_>>()) {
                    advance(&mut latest, key, &sample);
                    history.insert(key, sample);
                }
            }
            11 => store.flush().unwrap(),
            12 => store.compact().unwrap(),
            13 if operation % 3 == 0 => {
                // Readers of a closed store go on; the next one takes over the folder.
                store.close().unwrap();
                store = open(&disk, Driver::Inline).unwrap();
                held.clear();
            }
            14 => held.push((store.snapshot(), history.clone())),
            15 => check_newest(&store, &latest),
            16 => {
                let deletion = some_deletion(&rows, DeletionTarget::History);
                store.delete_blocking(&deletion).unwrap();
                delete_from(&mut history, &deletion);
            }
            17 if rows.below(2) == 0 => {
                let deletion = some_deletion(&rows, DeletionTarget::Latest);
                store.delete_blocking(&deletion).unwrap();
                latest.retain(|&(asset, point), (time, _)| {
                    model_of(asset) != deletion.model
                        || !deletion.means(AssetId(asset), PointId(point), Timestamp(*time))
                });
            }
            _ => {
                let request = request(&rows);
                assert_eq!(scanned(&store.snapshot(), &request), expected(&history, &request), "{request:?}");
                check_conditions(&store.snapshot(), &request, &history, &rows);
                let aggregate = aggregates::request(&request, &rows);
                aggregates::check(&store.snapshot(), &aggregate, &history);
                aggregates::check_newest(&store.snapshot(), &aggregate);
                if let Some((snapshot, history)) = held.first() {
                    assert_eq!(scanned(snapshot, &request), expected(history, &request), "held: {request:?}");
                    aggregates::check(snapshot, &aggregate, history);
                }
            }
        }
        if held.len() > 2 {
            held.remove(0);
        }
    }
    check_newest(&store, &latest);
    assert_eq!(read(&store).unwrap(), history);
    store.close().unwrap();
    let store = open(&disk, Driver::Inline).unwrap();
    check_newest(&store, &latest);
    assert_eq!(read(&store).unwrap(), history, "after the last restart");

    // Once everything is in segments and merged, nothing that was deleted is left anywhere.
    store.flush().unwrap();
    store.compact().unwrap();
    assert_eq!(read(&store).unwrap(), history, "after the last merge");
    assert!(store.pending_deletions().is_empty(), "{:?}", store.pending_deletions());
    let rows: u64 = store.snapshot().segments().iter().map(|s| s.samples).sum();
    assert!(rows >= history.len() as u64, "duplicates may be left");
    disk
}

/// The rule of the latest-value table, over again: forward in time, at equal times the later write.
fn advance(latest: &mut Newest, (asset, point, time): Key, sample: &Sample) {
    let slot = latest.entry((asset, point)).or_insert((time, sample.clone()));
    if time >= slot.0 {
        *slot = (time, sample.clone());
    }
}

/// Everything that the run did to the disk, and what it left there, in one number.
fn trace_hash(disk: &SimDisk) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    disk.trace().hash(&mut hasher);
    for path in disk.files() {
        path.hash(&mut hasher);
        wattline_env::Disk::read(disk, &path).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}

#[test]
fn promise_2_the_engine_agrees_with_a_map_whatever_is_done_to_it() {
    for_seeds("promise_2_the_engine", 24, |seed| drop(run(seed, 150)));
}

#[test]
fn the_same_seed_does_the_same_things() {
    for seed in [1, 2] {
        let [first, second] = [(); 2].map(|()| trace_hash(&run(seed, 80)));
        assert_eq!(first, second, "seed {seed}: WATTLINE_SEED={seed} does not replay anything");
    }
    assert_ne!(trace_hash(&run(1, 80)), trace_hash(&run(2, 80)), "the seed does not matter");
}
