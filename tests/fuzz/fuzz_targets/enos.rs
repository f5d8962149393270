//! Any bytes as an upload of a gateway, the first byte choosing which: rows and rejects, never a panic. What is refused
//! leaves nothing behind. Give it `tests/fuzz/seeds/enos` as a corpus.
#![no_main]

use wattline_fuzz::plant;
use wattline_ingest::Code;
use wattline_ingest::decode::enos::{Context, Upload, decode};
use wattline_ingest::resolve::{KeyOrder, SubDevices};
use wattline_model::{BatchBuilder, ShardCount, Source, Timestamp};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&which, payload)) = bytes.split_first() else { return };
    let uploads = [Upload::Post, Upload::PostBatch, Upload::Resume, Upload::ResumeBatch];
    let plant = plant();
    let mut rows = BatchBuilder::new(ShardCount::new(3).unwrap(), Source::Client);
    let mut context = Context {
        registry: &plant.registry,
        device: &plant.gateway,
        model: &plant.model,
        gateway: true,
        sub_devices: &SubDevices::default(),
        now: Timestamp(1_767_225_600_000_000),
        time_max: Timestamp(1_767_225_600_000_000 + 3_600_000_000),
        collect_missing: which & 4 != 0,
        collect_unformatted: which & 8 != 0,
        order: &mut KeyOrder::default(),
        scratch: &mut String::new(),
    };
    let outcome = decode(&mut context, uploads[usize::from(which) & 3], payload, &mut rows);
    if outcome.code != Code::Ok {
        assert!(rows.is_empty(), "refused with {:?}, and rows are left", outcome.code);
    }
    for batch in rows.finish() {
        assert_eq!(batch.check(), Ok(()));
    }
});
