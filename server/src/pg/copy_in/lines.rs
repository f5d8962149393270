//! Text and CSV of COPY: bytes → lines → fields.
//!
//! Owns: where a line ends, how fields are separated, quoted and escaped. Does not own: what fields mean (`columns`).
//!
//! Pure and total. What a line is follows PostgreSQL: in text a backslash takes the meaning of what follows it, also of
//! the end of a line; in CSV quotes do. A line is looked at once, in however many pieces it comes.

use std::ops::Range;

/// How lines and fields are written. Marks are single bytes of ASCII.
#[derive(Clone, Debug)]
pub enum Writing {
    /// Fields with backslashes.
    Text {
        /// Between fields.
        delimiter: u8,
        /// What stands for NULL.
        null: Vec<u8>,
    },
    /// Fields with quotes.
    Csv {
        /// Between fields.
        delimiter: u8,
        /// What stands for NULL, unquoted.
        null: Vec<u8>,
        /// Around fields.
        quote: u8,
        /// Before quotes inside quotes.
        escape: u8,
    },
}

/// Why a line cannot be read.
pub type Fault = &'static str;

/// Finds the ends of lines.
#[derive(Debug)]
pub struct Splitter {
    writing: Writing,
    /// How far the bytes at hand were looked at.
    seen: usize,
    in_quotes: bool,
    escaped: bool,
    /// Whether lines end in a carriage return too; the first line tells.
    ends_in_return: Option<bool>,
}

impl Splitter {
    /// For lines written like this.
    pub fn new(writing: Writing) -> Splitter {
        Splitter { writing, seen: 0, in_quotes: false, escaped: false, ends_in_return: None }
    }

    /// The bytes of the first line in `data` with its end; `None` where that is not there yet, of which `data` must be
    /// the beginning the next time. `is_last`: there will be no more, so that what is left is a line.
    ///
    /// # Errors
    /// Where quotes are open at the end of all.
    pub fn line(&mut self, data: &[u8], is_last: bool) -> Result<Option<usize>, Fault> {
        while let Some(&byte) = data.get(self.seen) {
            self.seen += 1;
            if self.passes(byte) && byte == b'\n' {
                return Ok(Some(std::mem::take(&mut self.seen)));
            }
        }
        if !is_last || data.is_empty() {
            return Ok(None);
        }
        if self.in_quotes {
            return Err("unterminated CSV quoted field");
        }
        self.escaped = false;
        Ok(Some(std::mem::take(&mut self.seen)))
    }

    /// Goes over a byte; whether it may end a line.
    fn passes(&mut self, byte: u8) -> bool {
        match self.writing {
            Writing::Text { .. } => {
                let free = !self.escaped;
                self.escaped = byte == b'\\' && free;
                free
            }
            Writing::Csv { quote, escape, .. } => {
                let escapes = self.in_quotes && byte == escape;
                if escapes {
                    self.escaped = !self.escaped;
                }
                // Where both are the same sign, a doubled one closes and opens again, which comes to the same.
                if byte == quote && (escape == quote || !self.escaped) {
                    self.in_quotes = !self.in_quotes;
                }
                if !escapes {
                    self.escaped = false;
                }
                !self.in_quotes
            }
        }
    }

    /// A line without its end.
    pub fn content<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let ends_in_return = *self.ends_in_return.get_or_insert(line.ends_with(b"\r"));
        if ends_in_return { line.strip_suffix(b"\r").unwrap_or(line) } else { line }
    }

    /// Reads the fields of a line.
    ///
    /// # Errors
    /// Where it has what must be written otherwise.
    pub fn fields(&self, line: &[u8], fields: &mut Fields) -> Result<(), Fault> {
        fields.clear();
        match &self.writing {
            Writing::Text { delimiter, null } => text(line, *delimiter, null, fields),
            Writing::Csv { delimiter, null, quote, escape } => {
                csv(line, [*delimiter, *quote, *escape], null, fields)
            }
        }
    }
}

/// The fields of one line, kept from line to line for their room.
#[derive(Debug, Default)]
pub struct Fields {
    /// Their bytes; a zero after each, so that no two of them make a character together.
    bytes: Vec<u8>,
    ranges: Vec<Option<Range<usize>>>,
}

impl Fields {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }

    fn end(&mut self, begin: usize, is_null: bool) {
        self.ranges.push((!is_null).then_some(begin..self.bytes.len()));
        self.bytes.push(0);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The bytes of field `i`; `None` for NULL.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        self.bytes.get(self.ranges.get(i)?.clone()?)
    }

    /// All of them as texts.
    ///
    /// # Errors
    /// The number of the first that is none.
    pub fn texts(&self) -> Result<Texts<'_>, usize> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(Texts { text, ranges: &self.ranges }),
            Err(error) => {
                let at = error.valid_up_to();
                let place = self.ranges.iter().position(|range| range.as_ref().is_some_and(|r| r.end > at));
                Err(place.unwrap_or(0))
            }
        }
    }
}

/// Fields that are texts.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    text: &'a str,
    ranges: &'a [Option<Range<usize>>],
}

impl<'a> Texts<'a> {
    /// Each field, `None` for NULL.
    pub fn iter(self) -> impl Iterator<Item = Option<&'a str>> {
        self.ranges.iter().map(move |range| range.clone().and_then(|range| self.text.get(range)))
    }
}

fn text(line: &[u8], delimiter: u8, null: &[u8], fields: &mut Fields) -> Result<(), Fault> {
    let mut at = 0;
    loop {
        let (raw, begin) = (at, fields.bytes.len());
        loop {
            match line.get(at) {
                None => break,
                Some(&byte) if byte == delimiter => break,
                Some(b'\\') => at += unescape(&line[at..], &mut fields.bytes),
                Some(b'\r') => {
                    return Err("literal carriage return found in data: write it as \\r");
                }
                Some(&byte) => {
                    fields.bytes.push(byte);
                    at += 1;
                }
            }
        }
        // NULL is told by how it is written, not by what that would mean.
        let is_null = line[raw..at] == *null;
        if is_null {
            fields.bytes.truncate(begin);
        }
        fields.end(begin, is_null);
        if at == line.len() {
            return Ok(());
        }
        at += 1;
    }
}

/// What stands at a backslash: its meaning goes to `out`; how many bytes it takes.
fn unescape(at: &[u8], out: &mut Vec<u8>) -> usize {
    let digits = |from: usize, max: usize, base: u32| {
        let digits = at.iter().skip(from).take(max);
        let values = digits.map_while(|&byte| char::from(byte).to_digit(base)).collect::<Vec<_>>();
        let value = values.iter().fold(0, |value, digit| value * base + digit);
        (values.len(), (value & 0xff) as u8)
    };
    let (byte, taken) = match at.get(1) {
        // At the very end it stands for itself.
        None => (b'\\', 1),
        Some(b'b') => (0x08, 2),
        Some(b'f') => (0x0c, 2),
        Some(b'n') => (b'\n', 2),
        Some(b'r') => (b'\r', 2),
        Some(b't') => (b'\t', 2),
        Some(b'v') => (0x0b, 2),
        Some(b'0'..=b'7') => {
            let (n, value) = digits(1, 3, 8);
            (value, 1 + n)
        }
        Some(b'x') => match digits(2, 2, 16) {
            (0, _) => (b'x', 2),
            (n, value) => (value, 2 + n),
        },
        Some(&other) => (other, 2),
    };
    out.push(byte);
    taken
}

fn csv(
    line: &[u8],
    [delimiter, quote, escape]: [u8; 3],
    null: &[u8],
    fields: &mut Fields,
) -> Result<(), Fault> {
    let mut at = 0;
    loop {
        let begin = fields.bytes.len();
        let (mut in_quotes, mut was_quoted) = (false, false);
        while let Some(&byte) = line.get(at) {
            if in_quotes {
                let next = line.get(at + 1).copied();
                if byte == escape && next.is_some_and(|next| next == quote || next == escape) {
                    fields.bytes.extend(next);
                    at += 2;
                    continue;
                }
                if byte == quote {
                    in_quotes = false;
                } else {
                    fields.bytes.push(byte);
                }
            } else if byte == delimiter {
                break;
            } else if byte == quote {
                (in_quotes, was_quoted) = (true, true);
            } else if byte == b'\r' {
                return Err("unquoted carriage return found in data: use quoted CSV field");
            } else {
                fields.bytes.push(byte);
            }
            at += 1;
        }
        if in_quotes {
            return Err("unterminated CSV quoted field");
        }
        let is_null = !was_quoted && fields.bytes[begin..] == *null;
        if is_null {
            fields.bytes.truncate(begin);
        }
        fields.end(begin, is_null);
        if at == line.len() {
            return Ok(());
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests;
