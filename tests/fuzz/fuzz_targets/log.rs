//! Any bytes as a log file: steps or an error, never a panic. Give it the folders of `tests/golden/log` as a corpus.
#![no_main]

use wattline_format::log::{Change, Reader, Step};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = Reader::open("fuzz", bytes) else { return };
    while let Ok(Step::Record { change, .. }) = reader.next() {
        match change {
            Change::Batch(batch) => assert_eq!(batch.check(), Ok(())),
            Change::Deletion(deletion) => assert_eq!(deletion.check(), Ok(())),
        }
    }
});
