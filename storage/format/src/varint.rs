//! Numbers to bytes and back.
//!
//! Owns: LEB128 varints, zigzag, fixed little-endian numbers and runs of them, and [`Input`], the only way this
//! crate reads bytes: every read is checked and every failure knows its offset. Does not own: what numbers mean.

use crate::error::{Error, ErrorKind};

/// Bytes of the longest varint.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Appends `v` seven bits a byte, least significant first; the top bit says "more".
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends a signed number as a varint, small magnitudes short.
#[inline]
pub(crate) fn put_zigzag(out: &mut Vec<u8>, v: i64) {
    put_varint(out, zigzag(v));
}

/// 0, -1, 1, -2 … to 0, 1, 2, 3 …
#[inline]
pub(crate) fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

/// Back from [`zigzag`].
#[inline]
pub(crate) fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

macro_rules! raw {
    ($put:ident, $get:ident, $ty:ty) => {
        /// Appends the numbers, little-endian.
        pub(crate) fn $put(out: &mut Vec<u8>, values: &[$ty]) {
            const WIDTH: usize = size_of::<$ty>();
            let start = out.len();
            out.resize(start + values.len() * WIDTH, 0);
            for (slot, v) in out[start..].chunks_exact_mut(WIDTH).zip(values) {
                slot.copy_from_slice(&v.to_le_bytes());
            }
        }

        impl Input<'_> {
            /// The next `count` numbers, little-endian.
            pub(crate) fn $get(&mut self, count: usize) -> Result<Vec<$ty>, Error> {
                const WIDTH: usize = size_of::<$ty>();
                let bytes = count
                    .checked_mul(WIDTH)
                    .ok_or_else(|| self.damaged("a count that fits memory", count))?;
                Ok(self
                    .take(bytes)?
                    .chunks_exact(WIDTH)
                    .map(|b| <$ty>::from_le_bytes(b.try_into().expect("chunks are exact")))
                    .collect())
            }
        }
    };
}

raw!(put_u32s, u32s, u32);
raw!(put_i64s, i64s, i64);
raw!(put_f64s, f64s, f64);

/// A reader over bytes of a file that knows where it is.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a> {
    file: &'a str,
    base: u64,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// Reads `bytes`, whose first is byte `base` of `file`.
    pub(crate) fn new(file: &'a str, base: u64, bytes: &'a [u8]) -> Input<'a> {
        Input { file, base, bytes, at: 0 }
    }

    /// The file's name, for errors.
    pub(crate) fn file(&self) -> &'a str {
        self.file
    }

    /// The byte of the file the next read starts at.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Bytes left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// "expected X, found Y" at this place.
    #[cold]
    pub(crate) fn damaged(&self, expected: &str, found: impl std::fmt::Display) -> Error {
        Error::new(
            ErrorKind::Damaged,
            self.file,
            self.offset(),
            format!("expected {expected}, found {found}"),
        )
    }

    /// A code (codec, tag, mode) this build does not know.
    #[cold]
    pub(crate) fn unknown(&self, what: &str, found: impl std::fmt::Display) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            self.file,
            self.offset(),
            format!("expected a known {what}, found {found}"),
        )
    }

    /// The next `count` bytes.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..count)) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => Err(self.damaged(&format!("{count} more bytes"), self.left())),
        }
    }

    /// All bytes left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    /// Whether everything was read; an error where something is left.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.left() > 0 {
            return Err(self.damaged("the end", format!("{} more bytes", self.left())));
        }
        Ok(())
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_le_bytes)
    }

    /// A varint.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Error> {
        if let Some(&byte) = self.bytes.get(self.at)
            && byte < 0x80
        {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Error> {
        let mut value = 0_u64;
        for i in 0..VARINT_BYTES_MAX {
            let byte = self.u8()?;
            if i == VARINT_BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damaged("a varint of 64 bits", "a longer one"))
    }

    /// A varint that fits 32 bits.
    #[inline]
    pub(crate) fn varint_u32(&mut self) -> Result<u32, Error> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.damaged("a number of 32 bits", value))
    }

    /// A signed varint.
    #[inline]
    pub(crate) fn zigzag(&mut self) -> Result<i64, Error> {
        self.varint().map(unzigzag)
    }

    /// A varint that counts things and is at most `max`.
    #[inline]
    pub(crate) fn count(&mut self, what: &str, max: usize) -> Result<usize, Error> {
        let value = self.varint()?;
        match usize::try_from(value) {
            Ok(count) if count <= max => Ok(count),
            _ => Err(self.damaged(&format!("at most {max} {what}"), value)),
        }
    }

    /// A text: a varint length of at most `max`, then UTF-8.
    pub(crate) fn text(&mut self, max: usize) -> Result<&'a str, Error> {
        let len = self.count("bytes of text", max)?;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|e| self.damaged("UTF-8", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for v in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, v);
            let mut input = Input::new("f", 0, &out);
            assert_eq!(input.varint(), Ok(v));
            assert_eq!(input.end(), Ok(()));
        }
        for v in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(v)), v);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }

    #[test]
    fn a_varint_past_64_bits_is_refused() {
        for bytes in [&[0xFF; 10][..], &[0xFF; 11], &[0x80; 3], &[]] {
            assert!(Input::new("f", 0, bytes).varint().is_err());
        }
    }

    #[test]
    fn an_error_names_file_and_offset() {
        let mut input = Input::new("a.seg", 100, &[1, 2, 3]);
        assert_eq!(input.u8(), Ok(1));
        let error = input.u32().unwrap_err();
        assert_eq!(error.to_string(), "file a.seg: at offset 101: expected 4 more bytes, found 2");
    }
}
