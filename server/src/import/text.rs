//! Bytes of a field to text.
//!
//! Owns: encodings, and what is said where bytes are not UTF-8. Does not own: splitting into fields (`csv`), which
//! works on bytes because every encoding accepted here writes delimiters, quotes and line ends as ASCII does.

use std::borrow::Cow;

use encoding_rs::{Encoding, GB18030, WINDOWS_1252};

/// Decodes the texts of one file.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    encoding: Option<&'static Encoding>,
}

/// Bytes that are no text in the encoding of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotText {
    /// Offset of the first of them in the file.
    pub offset: u64,
    /// What to say.
    pub reason: String,
}

impl Text {
    /// The encoding given, or UTF-8 where none is.
    ///
    /// A byte order mark needs no thought here: `csv-core` drops that of UTF-8, and UTF-16 is refused by [`refuse_utf16`].
    pub fn new(encoding: Option<&'static Encoding>) -> Text {
        Text { encoding: encoding.filter(|e| *e != encoding_rs::UTF_8) }
    }

    /// The text of `field`, a part of the record `raw` that begins at byte `offset` of the file.
    pub fn decode<'a>(self, field: &'a [u8], raw: &[u8], offset: u64) -> Result<Cow<'a, str>, NotText> {
        let Some(encoding) = self.encoding else {
            return match std::str::from_utf8(field) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                Err(_) => Err(not_utf8(field, raw, offset)),
            };
        };
        encoding.decode_without_bom_handling_and_without_replacement(field).ok_or_else(|| NotText {
            offset,
            reason: format!("{} is not text in {}", super::time::shown(field), encoding.name()),
        })
    }
}

fn not_utf8(field: &[u8], raw: &[u8], offset: u64) -> NotText {
    // Where the field was unquoted, its own offset in the record is not known; the record's first bad byte is.
    let at = match std::str::from_utf8(raw) {
        Err(e) => e.valid_up_to(),
        Ok(_) => 0,
    };
    let byte = raw.get(at).copied().unwrap_or_default();
    let readings: Vec<String> = [("gb2312", GB18030), ("latin1", WINDOWS_1252)]
        .into_iter()
        .filter_map(|(label, encoding)| {
            let text = encoding.decode_without_bom_handling_and_without_replacement(field)?;
            let short: String = text.chars().take(40).collect();
            Some(format!("{label} reads {short:?}"))
        })
        .collect();
    let offset = offset + at as u64;
    let hint = if readings.is_empty() { String::new() } else { format!(" ({})", readings.join(", ")) };
    NotText {
        offset,
        reason: format!("byte {offset} of the file is 0x{byte:02X}, not UTF-8: give --encoding{hint}"),
    }
}

/// Says what to do with a file in UTF-16, by its byte order mark.
pub fn refuse_utf16(head: &[u8]) -> Result<(), String> {
    match head {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            Err("is UTF-16 by its byte order mark; convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)"
                .to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// U+00B0 (degree sign) is A1 E3 in GB 2312 and B0 in Latin 1; in Latin 1, A1 is ¡ and E3 is ã.
    const HEADER: &[u8] = b"Wind Direction (\xA1\xE3)";

    #[test]
    fn the_degree_sign_of_gb2312() {
        let gb2312 = Text::new(Encoding::for_label(b"gb2312"));
        assert_eq!(gb2312.decode(HEADER, HEADER, 0).unwrap(), "Wind Direction (°)");
        let latin1 = Text::new(Encoding::for_label(b"latin1"));
        assert_eq!(latin1.decode(HEADER, HEADER, 0).unwrap(), "Wind Direction (¡ã)");
    }

    #[test]
    fn without_an_encoding_the_bad_byte_is_named() {
        let raw = b"Date,Wind Direction (\xA1\xE3)";
        let refused = Text::new(None).decode(HEADER, raw, 100).unwrap_err();
        assert_eq!(refused.offset, 121, "5 bytes of date, 16 of name, the record at 100");
        for part in ["byte 121", "0xA1", "--encoding", "gb2312 reads \"Wind Direction (°)\""] {
            assert!(refused.reason.contains(part), "{part} in {}", refused.reason);
        }
    }

    #[test]
    fn utf16_is_named() {
        assert!(refuse_utf16(b"\xFF\xFEa\0").unwrap_err().contains("UTF-16"));
        assert!(refuse_utf16(b"\xEF\xBB\xBFa").is_ok());
    }
}
