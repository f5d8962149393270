//! What a CSV file says about itself: its header, its types, the form of its times.
//!
//! Owns: one look through the file before anything is sent. Does not own: names of points (`columns`), creating a
//! model (`create`).

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};

use super::args::Dialect;
use super::columns::Kind;
use super::csv::{Records, Stop};
use super::rows::{float, int, truth};
use super::text::{Text, refuse_utf16};

/// Rows looked at for types. A longer file is judged by its head, and whole numbers then become floats, for a
/// decimal may still come.
const ROWS_MAX: u64 = 1_000_000;
/// Times looked at for their form: enough days to tell day from month.
const TIMES_MAX: usize = 20_000;
/// A column is one of numbers where at most one value in so many is something else ("Bad", "I/O Timeout").
const ODD_SHARE: u64 = 20;
/// Largest whole number a 64-bit float holds exactly.
const FLOAT_EXACT_MAX: i64 = 1 << 53;

/// The header of a CSV file.
#[derive(Clone, Debug)]
pub struct Header {
    /// Column names.
    pub names: Vec<String>,
    /// The header line as it came; empty where the file has none.
    pub raw: Vec<u8>,
}

/// What is known of the values of one column.
#[derive(Clone, Debug, Default)]
pub struct Guess {
    values: u64,
    ints: u64,
    floats: u64,
    truths: u64,
    largest: i64,
    /// The first value that is no number after all.
    odd: Option<String>,
}

impl Guess {
    fn see(&mut self, field: &[u8], decimal_comma: bool) {
        self.values += 1;
        if float(field, decimal_comma).is_ok() {
            self.floats += 1;
            // `5.0` is a whole number to read, but a sign of floats when types are made up.
            if !field.contains(&b'.')
                && let Ok(value) = int(field, decimal_comma)
            {
                self.ints += 1;
                self.largest = self.largest.max(value.saturating_abs());
            }
        } else if truth(field).is_ok() {
            self.truths += 1;
        } else if self.odd.is_none() {
            self.odd = Some(super::time::shown(field));
        }
    }

    fn is_number(&self) -> bool {
        self.values > 0 && (self.values - self.floats) * ODD_SHARE <= self.values
    }

    /// The kind that holds the values seen; `None` where there was none.
    pub fn kind(&self, whole_file: bool) -> Option<Kind> {
        if self.values == 0 {
            None
        } else if self.truths == self.values {
            Some(Kind::Bool)
        } else if !self.is_number() {
            Some(Kind::Text)
        } else if self.ints == self.floats && (whole_file || self.largest >= FLOAT_EXACT_MAX) {
            Some(Kind::Int)
        } else {
            Some(Kind::Float)
        }
    }

    /// What to say of a column of numbers that holds something else here and there.
    pub fn misfits(&self) -> Option<String> {
        let odd = self.values - self.floats;
        let example = self.odd.as_deref().unwrap_or("true or false");
        (self.is_number() && odd > 0).then(|| {
            format!("{odd} of {} values are no numbers, the first is {example}; their lines will be refused (--null makes them empty)", self.values)
        })
    }
}

/// Opens a CSV file and reads its header.
pub fn header(path: &Path, dialect: &Dialect) -> Result<Header> {
    let mut records = open(path, dialect)?;
    let name = path.display();
    let record = records.next_record().map_err(|s| stopped(path, s))?;
    let Some(record) = record else {
        return Err(Error::usage(format!("{name} is empty")));
    };
    refuse_utf16(record.raw).map_err(|e| Error::usage(format!("{name} {e}")))?;
    if !dialect.header {
        let names = (1..=record.width()).map(|i| format!("column_{i}")).collect();
        return Ok(Header { names, raw: Vec::new() });
    }
    let text = Text::new(dialect.encoding);
    let names = record
        .iter()
        .map(|field| text.decode(field, record.raw, record.offset).map(|n| n.trim().to_owned()))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| Error::usage(format!("{name}: header: {}", e.reason)))?;
    if let [only] = &names[..]
        && let Some(other) = [';', '\t', '|', ','].into_iter().find(|c| only.contains(*c))
    {
        return Err(Error::usage(format!(
            "{name} has one column only, {only:?}; is the delimiter {other:?}? (--delimiter)"
        )));
    }
    if let Some(twice) = names.iter().enumerate().find(|(i, n)| names[..*i].contains(n)) {
        return Err(Error::usage(format!("{name}: two columns are called {:?}", twice.1)));
    }
    Ok(Header { names, raw: record.raw.to_vec() })
}

/// Opens a CSV file.
pub fn open(path: &Path, dialect: &Dialect) -> Result<Records<File>> {
    let file =
        File::open(path).map_err(|e| Error::failed(format!("{} cannot be opened: {e}", path.display())))?;
    Ok(Records::new(file, dialect))
}

/// Words for a file that cannot be read on.
pub fn stopped(path: &Path, stop: Stop) -> Error {
    let name = path.display();
    match stop {
        Stop::Io(e) => Error::failed(format!("{name} cannot be read: {e}")),
        Stop::TooLong { line } => Error::failed(format!(
            "{name} line {line}: a record of more than {} bytes; a quote is probably never closed (--quote '' for none)",
            super::csv::RECORD_BYTES_MAX
        )),
    }
}

/// What a look through a file found.
pub struct Survey {
    /// One a column.
    pub guesses: Vec<Guess>,
    /// Whether every row was looked at.
    pub whole_file: bool,
}

/// Looks through the values of a file.
pub fn survey(path: &Path, dialect: &Dialect, columns: usize) -> Result<Survey> {
    let mut records = open(path, dialect)?;
    let mut survey = Survey { guesses: vec![Guess::default(); columns], whole_file: true };
    let mut rows = 0;
    if dialect.header {
        records.next_record().map_err(|s| stopped(path, s))?;
    }
    while let Some(record) = records.next_record().map_err(|s| stopped(path, s))? {
        // A line of the wrong shape will be refused; its fields stand in the wrong columns.
        if record.width() != columns || record.cut == Some(super::csv::Cut::Quote) {
            continue;
        }
        for (guess, field) in survey.guesses.iter_mut().zip(record.iter()) {
            if !dialect.nulls.iter().any(|n| n == field) {
                guess.see(field, dialect.decimal_comma);
            }
        }
        rows += 1;
        if rows == ROWS_MAX {
            survey.whole_file = false;
            break;
        }
    }
    Ok(survey)
}

/// Times from the head of a file, to find their form from.
pub fn sample_times(path: &Path, dialect: &Dialect, column: usize) -> Result<Vec<String>> {
    let mut records = open(path, dialect)?;
    let mut times = Vec::new();
    if dialect.header {
        records.next_record().map_err(|s| stopped(path, s))?;
    }
    while let Some(record) = records.next_record().map_err(|s| stopped(path, s))? {
        if let Some(field) = record.field(column)
            && !field.is_empty()
        {
            times.push(String::from_utf8_lossy(field).trim().to_owned());
        }
        if times.len() == TIMES_MAX {
            break;
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(values: &[&str]) -> Guess {
        let mut guess = Guess::default();
        values.iter().for_each(|v| guess.see(v.as_bytes(), false));
        guess
    }

    #[test]
    fn types_hold_every_value_seen() {
        for (values, whole, head) in [
            (&["1", "-2", "+3"][..], Some(Kind::Int), Some(Kind::Float)),
            (&["1", "2.5"], Some(Kind::Float), Some(Kind::Float)),
            (&["1.0", "2.0"], Some(Kind::Float), Some(Kind::Float)),
            (&["1e3"], Some(Kind::Float), Some(Kind::Float)),
            (&["9007199254740993"], Some(Kind::Int), Some(Kind::Int)),
            (&["true", "FALSE"], Some(Kind::Bool), Some(Kind::Bool)),
            (&["0", "1"], Some(Kind::Int), Some(Kind::Float)),
            (&["1", "on"], Some(Kind::Text), Some(Kind::Text)),
            (&["inf"], Some(Kind::Text), Some(Kind::Text)),
            (&[], None, None),
            (&["1.5"; 20], Some(Kind::Float), Some(Kind::Float)),
        ] {
            assert_eq!(guess(values).kind(true), whole, "{values:?}");
            assert_eq!(guess(values).kind(false), head, "{values:?}, head only");
        }
    }

    #[test]
    fn a_bad_value_among_numbers_does_not_make_them_texts() {
        let mut values = vec!["1.5"; 19];
        values.push("Bad");
        let seen = guess(&values);
        assert_eq!(seen.kind(true), Some(Kind::Float));
        assert!(seen.misfits().unwrap().starts_with("1 of 20 values are no numbers, the first is \"Bad\""));
        values.pop();
        assert_eq!(guess(&values).misfits(), None);
        values.truncate(18);
        values.push("Bad");
        assert_eq!(guess(&values).kind(true), Some(Kind::Text), "more than one in twenty");
    }
}
