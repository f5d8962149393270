//! Any bytes as a manifest: a state or an error, never a panic. Give it `tests/golden/manifest/v1` as a corpus.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(decoded) = wattline_format::manifest::decode("fuzz", bytes) {
        assert!(decoded.valid_len <= bytes.len() as u64);
    }
});
