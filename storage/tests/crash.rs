//! Power failures and kills at every operation of a scripted workload.
//!
//! The script runs once undisturbed to count its operations on the disk, then again for each of them, up to it. Of
//! what the disk then holds, several images that a restart could find are made; each is opened, compared with what
//! was acknowledged, written to, cut again, and opened again; and its recovery itself is cut in the middle.

use std::collections::BTreeMap;

use wattline_env::Chance;
use wattline_env::sim::{FaultPlan, NameOrder, OperationKind, SimChance, SimDisk, below};
use wattline_model::{Deletion, DeletionTarget, ShardCount, TimeRange};
use wattline_storage::{Driver, Store};

use crate::support::{Oracle, Row, Rows, for_seeds, open, read, small, some_deletion, write};

/// One step of the script.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Row>),
    /// Deletes history, and where all of time is meant, latest values too.
    Delete(Deletion),
    Flush,
    Reopen,
}

/// Some dozen writes with deletions, flushes and orderly restarts between them.
fn script(seed: u64, writes: usize) -> Vec<Step> {
    let mut rows = Rows::new(seed);
    let mut steps = Vec::new();
    for i in 0..writes {
        steps.push(Step::Write(rows.some(12)));
        match i % 16 {
            7 => steps.push(Step::Flush),
            12 => steps.push(Step::Reopen),
            3 | 10 | 15 => steps.push(Step::Delete(some_deletion(&rows, DeletionTarget::History))),
            _ => {}
        }
    }
    steps
}

/// What became of a run of the script.
struct Outcome {
    oracle: Oracle,
    /// The error of the step that failed first.
    error: Option<String>,
    merges: u64,
    flushes: u64,
}

/// Runs the script until a step fails. Nothing that begins after the crash may succeed.
fn run(disk: &SimDisk, steps: &[Step], driver: Driver) -> Outcome {
    let mut outcome = Outcome { oracle: Oracle::default(), error: None, merges: 0, flushes: 0 };
    let shards = ShardCount::new(small(driver).shards).unwrap();
    let mut store: Option<Store> = None;
    for step in steps {
        let crashed = disk.has_crashed();
        let result = step_once(disk, &mut store, step, driver);
        if let Some(store) = &store {
            outcome.merges = store.status().iter().map(|s| s.compactions).sum::<u64>().max(outcome.merges);
            outcome.flushes = store.status().iter().map(|s| s.flushes).sum::<u64>().max(outcome.flushes);
        }
        match (result, step) {
            (Ok(()), Step::Write(rows)) => {
                assert!(!crashed, "a write was acknowledged after the power had failed");
                outcome.oracle.acknowledge(rows);
            }
            (Ok(()), Step::Delete(deletion)) => {
                let means_nothing =
                    deletion.range.is_empty() || deletion.assets.as_ref().is_some_and(Vec::is_empty);
                assert!(!crashed || means_nothing, "a deletion was acknowledged after the power had failed");
                outcome.oracle.acknowledge_deletion(deletion, deletion.range == TimeRange::ALL);
            }
            (Ok(()), _) => {}
            (Err(error), step) => {
                match step {
                    Step::Write(rows) => outcome.oracle.doubt(shards, rows),
                    Step::Delete(deletion) => outcome.oracle.doubt_deletion(shards, deletion),
                    _ => {}
                }
                assert!(disk.has_crashed(), "{step:?} failed without a crash: {error}");
                outcome.error = Some(error.to_string());
                break;
            }
        }
    }
    if let (Some(store), None) = (&store, &outcome.error) {
        outcome.error = store.close().err().map(|error| error.to_string());
    }
    outcome
}

fn step_once(
    disk: &SimDisk,
    store: &mut Option<Store>,
    step: &Step,
    driver: Driver,
) -> Result<(), wattline_storage::Error> {
    let open_store = match store {
        Some(open_store) => open_store,
        None => store.insert(open(disk, driver)?),
    };
    match step {
        Step::Write(rows) => write(open_store, rows),
        Step::Delete(deletion) => {
            open_store.delete_blocking(deletion)?;
            if deletion.range == TimeRange::ALL {
                let latest = Deletion { target: DeletionTarget::Latest, ..deletion.clone() };
                open_store.delete_blocking(&latest)?;
            }
            Ok(())
        }
        Step::Flush => open_store.flush(),
        Step::Reopen => {
            open_store.close()?;
            *store = None;
            *store = Some(open(disk, driver)?);
            Ok(())
        }
    }
}

/// Opens the store, which must work without a repair, and compares everything in it with what it must hold.
fn recover(disk: &SimDisk, oracle: &Oracle, what: &str) -> Store {
    let store =
        open(disk, Driver::Inline).unwrap_or_else(|error| panic!("{what}: the store does not open: {error}"));
    let found = read(&store).unwrap_or_else(|error| panic!("{what}: the store cannot be read: {error}"));
    oracle.check(&found).unwrap_or_else(|error| panic!("{what}: {error}"));
    oracle.check_latest(&store, &found);
    store
}

/// The images of one crash: the most forgetful, a kill without power failure, and `mixtures`, by turns of both orders.
fn images(disk: &SimDisk, operation: u64, mixtures: u64) -> Vec<(String, SimDisk)> {
    let mut images =
        vec![("nothing unsynced".to_owned(), disk.crash_to_durable()), ("killed".to_owned(), disk.kill())];
    for i in 0..mixtures {
        let order = [NameOrder::Kept, NameOrder::Any][(operation + i) as usize % 2];
        let chance = SimChance::new(operation * 1_000 + i);
        images.push((format!("names {order:?}, mixture {i}"), disk.crash_with(&chance, order)));
    }
    images
}

/// A restart from `image`: recovery, more work, another power failure, another recovery.
fn live_on(image: &SimDisk, oracle: &Oracle, what: &str) {
    let mut oracle = oracle.clone();
    let store = recover(image, &oracle, what);
    // Whoever reads from here on may rely on what he saw: it does not go away again.
    oracle.settle(&read(&store).unwrap());
    let seen = format!("{what}; seen, then the power failed");
    recover(&image.crash_to_durable(), &oracle, &seen);

    let mut rows = Rows::new(1 << 32 | oracle.samples() as u64);
    for _ in 0..2 {
        let rows = rows.some(12);
        write(&store, &rows).unwrap_or_else(|error| panic!("{what}: a write after recovery: {error}"));
        oracle.acknowledge(&rows);
    }
    let went_on = format!("{what}; went on, then the power failed");
    recover(&image.crash_to_durable(), &oracle, &went_on);
    drop(store);
    recover(image, &oracle, &format!("{what}; went on, then opened again"));
}

/// A restart from `image` that is itself cut off after `at` (of its operations, by remainder).
fn survive_cut_recovery(image: impl Fn() -> SimDisk, oracle: &Oracle, at: u64, what: &str) {
    let probe = image();
    drop(
        open(&probe, Driver::Inline)
            .unwrap_or_else(|error| panic!("{what}: the store does not open: {error}")),
    );
    let operations = probe.operations();
    if operations == 0 {
        return;
    }
    let at = at % operations;
    let disk = image();
    disk.set_faults(FaultPlan::crash_after(at));
    drop(open(&disk, Driver::Inline));
    let what = format!("{what}; recovery cut after operation {at} of {operations}");
    recover(&disk.crash(&SimChance::new(at)), oracle, &what);
    recover(&disk.crash_to_durable(), oracle, &what);
}

/// How often each kind of operation occurs.
fn kinds(disk: &SimDisk) -> BTreeMap<OperationKind, usize> {
    let mut kinds = BTreeMap::new();
    for operation in disk.trace() {
        *kinds.entry(operation.kind).or_default() += 1;
    }
    kinds
}

#[test]
fn promise_9_a_crash_at_every_operation_loses_nothing_acknowledged() {
    for_seeds("promise_9_a_crash_at_every_operation", 1, crash_everywhere);
}

/// The test above for one script.
fn crash_everywhere(seed: u64) {
    let steps = script(seed, 30);
    let whole = SimDisk::new();
    let outcome = run(&whole, &steps, Driver::Inline);
    assert_eq!(outcome.error, None);
    let kinds = kinds(&whole);
    let reached = format!(
        "{} operations: {kinds:?}; {} flushes, {} merges, {} samples",
        whole.operations(),
        outcome.flushes,
        outcome.merges,
        outcome.oracle.samples()
    );
    eprintln!("{reached}");
    // The script is worth its time only while it reaches all of the engine.
    assert!(outcome.flushes > 3 && outcome.merges > 1, "{reached}");
    use OperationKind::{Create, Remove, Rename, Sync, SyncDir, Write};
    for kind in [Create, Write, Sync, Rename, Remove, SyncDir] {
        assert!(kinds.get(&kind).is_some_and(|&count| count > 5), "{kind:?} hardly occurs: {reached}");
    }

    let trace = whole.trace();
    for operation in 0..=whole.operations() {
        let disk = SimDisk::new();
        disk.set_faults(FaultPlan::crash_after(operation));
        let oracle = run(&disk, &steps, Driver::Inline).oracle;
        let last = operation.checked_sub(1).map(|last| &trace[last as usize]);
        let what = format!("crash after operation {operation}, {last:?}");
        // Each image is recovered from; by turns, one of them has to live on, or its recovery is cut in the middle.
        let images = images(&disk, operation, 1);
        let turn = operation as usize / 2 % images.len();
        for (i, (name, image)) in images.into_iter().enumerate() {
            let what = format!("{what}, {name}");
            if i == turn && operation % 2 == 0 {
                live_on(&image, &oracle, &what);
            } else {
                recover(&image, &oracle, &what);
            }
        }
        if operation % 2 == 1 {
            let at = SimChance::new(operation).next_u64();
            survive_cut_recovery(|| disk.crash(&SimChance::new(operation)), &oracle, at, &what);
        }
    }
}

#[test]
fn promise_9_a_crash_between_threads_loses_nothing_acknowledged() {
    // Threads flush and merge while writes go on, so a crash meets them in every state; it is not repeatable.
    let steps = script(2, 36);
    for_seeds("promise_9_a_crash_between_threads", 60, |seed| {
        let disk = SimDisk::new();
        disk.set_faults(FaultPlan::crash_after(below(&SimChance::new(seed), 500)));
        let oracle = run(&disk, &steps, Driver::Threads).oracle;
        for (name, image) in images(&disk, seed, 2) {
            recover(&image, &oracle, &format!("crash between threads, {name}"));
        }
    });
}
