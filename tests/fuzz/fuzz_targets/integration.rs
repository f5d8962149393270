//! Any bytes as an integration message of points or events, the first byte choosing which: batches or faults, never a
//! panic. What is refused leaves nothing to write. Give it `tests/fuzz/seeds/integration` as a corpus.
#![no_main]

use wattline_fuzz::plant;
use wattline_ingest::Code;
use wattline_ingest::decode::integration::{Context, Feature, bare, decode, message};
use wattline_model::{ShardCount, Timestamp};
use wattline_registry::{DEFAULT_ORG, RecordKind};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&which, payload)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(payload) else { return };
    let plant = plant();
    let feature = if which & 1 == 0 { Feature::Measurepoints } else { Feature::Events };
    if feature == Feature::Events {
        plant.registry.ensure_records(DEFAULT_ORG, RecordKind::Events).expect("a place");
    }
    let context = Context {
        registry: &plant.registry,
        org: DEFAULT_ORG,
        permissions: None,
        product: (which & 2 != 0).then_some("pk"),
        shards: ShardCount::new(3).unwrap(),
        now: Timestamp(1_767_225_600_000_000),
        time_max: Timestamp(1_767_225_600_000_000 + 3_600_000_000),
        collect_missing: which & 4 != 0,
        collect_system: which & 8 != 0,
    };
    let read = if which & 16 == 0 { message(feature, text) } else { bare(text) };
    let Ok(message) = read else { return };
    let outcome = decode(&context, feature, &message);
    assert!(outcome.code == Code::Ok || outcome.batches.is_empty(), "refused with rows left");
    assert!(outcome.faults.len() as u64 <= outcome.fault_count);
    for batch in outcome.batches {
        assert_eq!(batch.check(), Ok(()));
    }
});
