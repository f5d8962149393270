//! Binary COPY: bytes → fields.
//!
//! Owns: the layout of PostgreSQL's binary file: signature, flags, extension, rows of counted fields, trailer. Does not
//! own: what fields mean (`columns`).
//!
//! Pure and total. A row is looked at once, in however many pieces it comes.

use std::ops::Range;

/// The first bytes of all such data.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags, length of what follows.
const HEAD_BYTES: usize = 19;

/// The flag of a column of row numbers, which no server has had since version 12.
const HAS_ROW_NUMBERS: u32 = 1 << 16;

/// Flags that change the layout; readers pass over the others.
const CRITICAL: u32 = 0xffff_0000;

/// Why data cannot be read.
pub type Fault = &'static str;

/// What stands at the beginning of the data at hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing whole yet.
    Wait,
    /// The head, of so many bytes.
    Head(usize),
    /// A row of so many bytes; its fields are in [`Reader::fields`].
    Row(usize),
    /// The trailer: there are no more rows.
    End,
}

/// Reads the parts of the data.
#[derive(Debug, Default)]
pub struct Reader {
    has_begun: bool,
    has_ended: bool,
    /// How far the row at hand was looked at, and how many of its fields are left.
    seen: usize,
    left: usize,
    fields: Vec<Option<Range<usize>>>,
}

impl Reader {
    /// The first part of `data`; of one that is not whole yet `data` must be the beginning the next time.
    ///
    /// # Errors
    /// Where it is none.
    pub fn part(&mut self, data: &[u8]) -> Result<Part, Fault> {
        if !self.has_begun {
            return self.head(data);
        }
        if self.has_ended {
            return if data.is_empty() { Ok(Part::Wait) } else { Err("received copy data after EOF marker") };
        }
        if self.seen == 0 {
            self.fields.clear();
            let Some(count) = data.first_chunk().map(|bytes| i16::from_be_bytes(*bytes)) else {
                return Ok(Part::Wait);
            };
            match usize::try_from(count) {
                Ok(count) => (self.seen, self.left) = (2, count),
                Err(_) if count == -1 => {
                    self.has_ended = true;
                    return Ok(Part::End);
                }
                Err(_) => return Err("a row has a negative number of fields"),
            }
        }
        while self.left > 0 {
            let rest = data.get(self.seen..).unwrap_or_default();
            let Some(length) = rest.first_chunk().map(|bytes| i32::from_be_bytes(*bytes)) else {
                return Ok(Part::Wait);
            };
            let begin = self.seen + 4;
            match usize::try_from(length) {
                Ok(length) => {
                    // The sum cannot overflow: both are lengths below 4 GiB.
                    if data.len() < begin + length {
                        return Ok(Part::Wait);
                    }
                    self.fields.push(Some(begin..begin + length));
                    self.seen = begin + length;
                }
                Err(_) if length == -1 => {
                    self.fields.push(None);
                    self.seen = begin;
                }
                Err(_) => return Err("a field has a negative length"),
            }
            self.left -= 1;
        }
        Ok(Part::Row(std::mem::take(&mut self.seen)))
    }

    fn head(&mut self, data: &[u8]) -> Result<Part, Fault> {
        let n = data.len().min(SIGNATURE.len());
        if data[..n] != SIGNATURE[..n] {
            return Err("COPY file signature not recognized");
        }
        let number = |at: usize| data.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let (Some(flags), Some(extension)) = (number(11), number(15)) else { return Ok(Part::Wait) };
        if flags & HAS_ROW_NUMBERS != 0 {
            return Err("invalid COPY file header (WITH OIDS)");
        }
        if flags & CRITICAL != 0 {
            return Err("unrecognized critical flags in COPY file header");
        }
        let length = HEAD_BYTES.saturating_add(extension as usize);
        if data.len() < length {
            return Ok(Part::Wait);
        }
        self.has_begun = true;
        Ok(Part::Head(length))
    }

    /// The fields of the last [`Part::Row`], as places in its data; `None` for NULL.
    pub fn fields(&self) -> &[Option<Range<usize>>] {
        &self.fields
    }

    /// Whether data may end here: at the end of a row, or after the trailer.
    pub fn may_end(&self, data: &[u8]) -> bool {
        self.has_ended || (self.has_begun && data.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Head, a row of an `int2` 7 and NULL, trailer: as PostgreSQL's manual describes them.
    const FILE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x02\0\x07\xff\xff\xff\xff\xff\xff";

    #[test]
    fn the_layout_of_the_manual() {
        let mut reader = Reader::default();
        assert_eq!(reader.part(FILE), Ok(Part::Head(19)));
        let rest = &FILE[19..];
        assert_eq!(reader.part(rest), Ok(Part::Row(12)));
        assert_eq!(reader.fields(), [Some(6..8), None]);
        assert!(!reader.may_end(&rest[..3]) && reader.may_end(&[]));
        assert_eq!(reader.part(&rest[12..]), Ok(Part::End));
        assert_eq!(reader.part(&[]), Ok(Part::Wait));
        assert!(reader.part(&[0]).is_err(), "data after the trailer");
    }

    #[test]
    fn what_is_no_such_file_is_named() {
        let read = |data: &[u8]| Reader::default().part(data);
        assert!(read(b"a,b\n").unwrap_err().contains("signature"));
        assert!(read(b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0").unwrap_err().contains("OIDS"));
        assert!(read(b"PGCOPY\n\xff\r\n\0\x80\0\0\0\0\0\0\0").unwrap_err().contains("critical"));
        assert_eq!(read(b"PGCOPY\n\xff\r\n\0\0\0\0\0\xff\xff\xff\xff"), Ok(Part::Wait), "a long extension");
    }

    proptest! {
        #[test]
        fn bytes_make_the_same_rows_in_whatever_pieces(
            rows in proptest::collection::vec(
                proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)), 0..5),
                0..5,
            ),
            step in 1_usize..7,
        ) {
            let mut file = FILE[..19].to_vec();
            for row in &rows {
                file.extend(i16::try_from(row.len()).unwrap().to_be_bytes());
                for field in row {
                    match field {
                        None => file.extend((-1_i32).to_be_bytes()),
                        Some(bytes) => {
                            file.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
                            file.extend(bytes);
                        }
                    }
                }
            }
            let (mut reader, mut at, mut end, mut found) = (Reader::default(), 0, 0, Vec::new());
            while end < file.len() {
                end = (end + step).min(file.len());
                loop {
                    match reader.part(&file[at..end]).unwrap() {
                        Part::Wait => break,
                        Part::Head(n) => at += n,
                        Part::Row(n) => {
                            let row = &file[at..];
                            let fields = reader.fields().iter().cloned();
                            found.push(fields.map(|f| f.map(|f| row[f].to_vec())).collect::<Vec<_>>());
                            at += n;
                        }
                        Part::End => unreachable!("there is no trailer"),
                    }
                }
            }
            prop_assert_eq!(found, rows);
        }

        #[test]
        fn no_bytes_make_it_panic(
            data in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 0..60),
            has_begun in any::<bool>(),
        ) {
            let (mut reader, mut at) = (Reader { has_begun, ..Reader::default() }, 0);
            while let Ok(Part::Head(n) | Part::Row(n)) = reader.part(&data[at..]) {
                at += n;
                prop_assert!(at <= data.len() && n > 0);
            }
        }
    }
}
