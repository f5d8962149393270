//! What every file has in common: magic, version, checksums, records.
//!
//! Owns: the head of a file (magic, version), the checksum functions, and the record frame of append-only files.
//! Does not own: what is inside.

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, ErrorKind};
use crate::varint::Input;

/// Bytes of magic and version at the start of every file.
pub const HEAD_BYTES: usize = 12;

/// Bytes before the body of a record: length and checksum.
pub const RECORD_HEAD_BYTES: usize = 8;

/// The checksum of whole files and headers: XXH3, 64 bits, seed 0.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The checksum of records and blocks: the low 32 bits of [`checksum`].
pub fn checksum_u32(bytes: &[u8]) -> u32 {
    xxh3_64(bytes) as u32
}

/// Appends magic and version.
pub(crate) fn put_head(out: &mut Vec<u8>, magic: &[u8; 8], version: u32) {
    out.extend_from_slice(magic);
    out.extend_from_slice(&version.to_le_bytes());
}

/// Reads magic and version; versions from 1 to `newest` are read, others refused by name.
pub(crate) fn head(input: &mut Input<'_>, magic: &[u8; 8], newest: u32) -> Result<u32, Error> {
    let start = input.offset();
    let found = input.take(8)?;
    if found != magic {
        let what = format!("expected magic {}, found {}", magic.escape_ascii(), found.escape_ascii());
        return Err(Error::new(ErrorKind::Damaged, input.file(), start, what));
    }
    let found = input.u32()?;
    if !(1..=newest).contains(&found) {
        let what = format!("expected format version 1 to {newest}, found {found}");
        return Err(Error::new(ErrorKind::Unsupported, input.file(), start + 8, what));
    }
    Ok(found)
}

/// Appends the checksum of everything in `out` from `start` on.
pub(crate) fn put_checksum(out: &mut Vec<u8>, start: usize) {
    let sum = checksum(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// Whether `covered` has the checksum that `input` reads next.
pub(crate) fn expect_checksum(input: &mut Input<'_>, covered: &[u8]) -> Result<(), Error> {
    let found = checksum(covered);
    let expected = input.u64()?;
    if !is_same(found, expected) {
        return Err(input.damaged(&format!("checksum {expected:016x}"), format!("{found:016x}")));
    }
    Ok(())
}

/// Whether a checksum is what it should be. To a fuzzer every one is: what it changes must get past this to the decoder.
pub(crate) fn is_same<T: PartialEq>(found: T, expected: T) -> bool {
    cfg!(fuzzing) || found == expected
}

/// Appends a record: length and checksum of the body, then the body that `body` appends.
///
/// # Panics
/// Where the body passes 4 GiB; the limits of a batch and of the queues keep it far below.
pub(crate) fn put_record(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
    body(out);
    let (head, body) = out[start..].split_at_mut(RECORD_HEAD_BYTES);
    let length = u32::try_from(body.len()).expect("a record stays below 4 GiB");
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&checksum_u32(body).to_le_bytes());
}

/// The body of the record at `at`, or why there is none that checks out.
pub(crate) fn record(bytes: &[u8], at: usize) -> Result<&[u8], String> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((head, body)) = rest.split_at_checked(RECORD_HEAD_BYTES) else {
        return Err(format!("expected a record head of {RECORD_HEAD_BYTES} bytes, found {}", rest.len()));
    };
    let length = u32_at(head, 0) as usize;
    let expected = u32_at(head, 4);
    let Some(body) = body.get(..length) else {
        return Err(format!("expected a record of {length} bytes, found {}", body.len()));
    };
    let found = checksum_u32(body);
    if !is_same(found, expected) {
        return Err(format!("expected record checksum {expected:08x}, found {found:08x}"));
    }
    Ok(body)
}

/// The first offset in `from..` at which a record stands whose body passes `plausible` (looked at before its
/// checksum, so that a search costs little) and checks out.
pub(crate) fn find_record(
    bytes: &[u8],
    from: usize,
    mut plausible: impl FnMut(&[u8]) -> bool,
) -> Option<usize> {
    (from..bytes.len().saturating_sub(RECORD_HEAD_BYTES)).find(|&at| {
        let length = u32_at(bytes, at) as usize;
        let body = bytes.get(at + RECORD_HEAD_BYTES..).and_then(|rest| rest.get(..length));
        body.is_some_and(&mut plausible) && record(bytes, at).is_ok()
    })
}

/// The number at `at`, 0 where the bytes end before it.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    found.map_or(0, |b| u32::from_le_bytes(*b))
}

/// The number at `at`, 0 where the bytes end before it.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    found.map_or(0, |b| u64::from_le_bytes(*b))
}
