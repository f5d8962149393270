//! Any bytes as what a client sends, the first byte choosing the protocol version: packets or a refusal, never a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&version, stream)) = bytes.split_first() else { return };
    wattline_ingest::mqtt::fuzz_packets(version & 1 == 1, stream);
});
