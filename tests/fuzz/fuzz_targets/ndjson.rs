//! Any bytes as lines of samples: rows and rejects, never a panic. Give it `tests/fuzz/seeds/ndjson` as a corpus.
#![no_main]

use wattline_fuzz::plant;
use wattline_ingest::decode::ndjson::decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let plant = plant();
    if let Ok(decoded) = decode(&plant.ingestor, &plant.model, bytes) {
        for batch in decoded.batches {
            assert_eq!(batch.check(), Ok(()));
        }
    }
});
