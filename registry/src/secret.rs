//! Secrets and generated keys.
//!
//! Owns: what a secret is, that it cannot be printed by accident, and randomness for keys. Does not own: digests and
//! their comparison (`ingest`).
//!
//! A device proves itself with a plain digest over its secret, so the server must hold the secret itself: a hash of
//! it could not verify anything. It rests in the registry's file, which only its owner may read.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Letters of a generated secret: 24 of 62 letters are 142 bits.
const SECRET_LETTERS: usize = 24;

/// Letters of a generated key of a product, device or asset: 62^8 = 2 * 10^14, so a generated key meets an existing
/// one of ten million in 5 of 10^8 cases; the registry then draws again.
const KEY_LETTERS: usize = 8;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A secret of a device or product. Printing it prints `***`; [`Secret::expose`] is the only way to its text.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// A fresh one of 142 bits from the operating system's randomness.
    ///
    /// # Errors
    /// Kind `Io` where the operating system has none.
    pub fn generate() -> Result<Secret, Error> {
        Ok(Secret(random_letters(SECRET_LETTERS)?.into_boxed_str()))
    }

    /// Its text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text.into_boxed_str())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A fresh key such as `aQ1x9zB4`.
pub(crate) fn random_key() -> Result<String, Error> {
    random_letters(KEY_LETTERS)
}

/// A random UUID (RFC 9562, version 4) in its usual form.
///
/// # Errors
/// Kind `Io` where the operating system has no randomness.
pub fn random_uuid() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex =
        |range: std::ops::Range<usize>| bytes[range].iter().map(|b| format!("{b:02x}")).collect::<String>();
    Ok([hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-"))
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes)
        .map_err(|e| Error::new(ErrorKind::Io, "randomness of the operating system", e.to_string()))
}

/// `count` letters of [`ALPHABET`], each equally likely.
fn random_letters(count: usize) -> Result<String, Error> {
    let mut text = String::with_capacity(count);
    let mut bytes = [0_u8; 32];
    while text.len() < count {
        fill(&mut bytes)?;
        // Six bits choose one of 64; the two that name no letter are drawn again, so that none is favoured.
        let letters = bytes.iter().filter_map(|b| ALPHABET.get(usize::from(b & 63)));
        text.extend(letters.take(count - text.len()).map(|&letter| char::from(letter)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_never_printed() {
        let (a, b) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_eq!(a.expose().len(), SECRET_LETTERS);
        assert_ne!(a.expose(), b.expose());
        assert!(a.expose().bytes().all(|c| c.is_ascii_alphanumeric()));
        assert_eq!((format!("{a:?}"), format!("{a}")), ("***".to_owned(), "***".to_owned()));
        assert!(!format!("{:?}", Some(&a)).contains(a.expose()));
    }

    #[test]
    fn letters_are_evenly_spread() {
        let mut counts = [0_u32; 128];
        for letter in random_letters(62_000).unwrap().bytes() {
            counts[usize::from(letter)] += 1;
        }
        // 1,000 expected each, standard deviation 32: six of them either way.
        for letter in ALPHABET {
            let count = counts[usize::from(*letter)];
            assert!((800..1_200).contains(&count), "{} came {count} times", char::from(*letter));
        }
    }
}
