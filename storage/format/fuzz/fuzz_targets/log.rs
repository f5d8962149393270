//! Any bytes as a log file: steps or an error, never a panic. Give it `tests/golden/log/v1` as a corpus.
#![no_main]

use wattline_format::log::{Reader, Step};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = Reader::open("fuzz", bytes) else { return };
    while let Ok(Step::Record { batch, .. }) = reader.next() {
        assert_eq!(batch.check(), Ok(()));
    }
});
