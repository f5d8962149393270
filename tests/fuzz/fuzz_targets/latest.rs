//! Any bytes as a latest-value checkpoint. Give it `tests/golden/latest/v1` as a corpus.
#![no_main]

use wattline_format::latest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok((shard, seqno, models)) = latest::decode("fuzz", bytes) {
        let again = latest::encode(shard, seqno, &models);
        assert!(latest::decode("again", &again).is_ok());
    }
});
