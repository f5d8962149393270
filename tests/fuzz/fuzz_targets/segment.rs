//! Any bytes as a segment, read to the last value. Give it `tests/golden/segment/v1` and `v2` as a corpus.
#![no_main]

use bytes::Bytes;
use wattline_format::segment::Reader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(reader) = Reader::open("fuzz", Bytes::copy_from_slice(bytes)) else { return };
    let _ = reader.verify();
    let _ = reader.room();
    for model in reader.models() {
        for chunk in reader.chunks(model) {
            for (i, block) in chunk.blocks.iter().enumerate() {
                if let Ok(times) = reader.times(chunk, i) {
                    assert_eq!(times.len(), block.rows as usize);
                }
                for &point in reader.points(chunk) {
                    let _ = reader.stats(chunk, i, point);
                    if let Ok(Some(column)) = reader.column(chunk, i, point) {
                        assert!(column.values.len() <= block.rows as usize);
                    }
                }
            }
        }
    }
});
