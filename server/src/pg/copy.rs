//! COPY: what a statement asks for.
//!
//! Owns: reading `COPY {table [(columns)] | (query)} {TO STDOUT | FROM STDIN} [options]`. Does not own: the data's forms
//! (`encode`), where data go.

use super::encode::CopyForm;
use super::error::{PgError, state};
use super::lex::{Lexer, Placed, Token};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// TO STDOUT.
    Out,
    /// FROM STDIN.
    In,
}

/// A COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Which way.
    pub direction: Direction,
    /// The query whose rows are copied; of a table all of it, or of the columns named.
    pub query: String,
    /// Where in the statement the query stands, if it does.
    pub offset: Option<usize>,
    /// The table, as it was written; empty for a query.
    pub table: String,
    /// The list of columns, as it was written; empty for all.
    pub columns: String,
    /// Whether names come first and must be those of the columns: HEADER MATCH.
    pub header_match: bool,
    /// In which form.
    pub form: CopyForm,
}

/// Reads a COPY.
///
/// # Errors
/// Where it is none, or asks for what is not served.
pub fn copy(text: &str) -> Result<Copy, PgError> {
    let tokens: Vec<Placed> = Lexer::new(text).collect();
    let mut reader = Reader { text, tokens: tokens.get(1..).unwrap_or_default() };
    let (query, offset, table, columns) = if reader.take(&Token::Mark('(')) {
        let (at, query) = reader.parenthesis()?;
        (query.to_owned(), Some(at), String::new(), String::new())
    } else {
        let table = reader.name_until_mark()?;
        let columns = if reader.take(&Token::Mark('(')) {
            let (_, list) = reader.parenthesis()?;
            if list.is_empty() {
                return Err(syntax("COPY: columns are expected in the parentheses"));
            }
            list.to_owned()
        } else {
            String::new()
        };
        let list = if columns.is_empty() { "*" } else { columns.as_str() };
        (format!("SELECT {list} FROM {table}"), None, table, columns)
    };
    let direction = match (reader.word().as_deref(), reader.word().as_deref()) {
        (Some("to"), Some("stdout")) => Direction::Out,
        (Some("from"), Some("stdin")) if !table.is_empty() => Direction::In,
        (Some("to" | "from"), _) => {
            let message =
                "COPY goes TO STDOUT or FROM STDIN: the server reads and writes no files for clients";
            return Err(PgError::new(state::UNSUPPORTED, message));
        }
        _ => return Err(syntax("COPY … TO STDOUT is expected")),
    };
    let options = options(reader)?;
    let header_match = options.header_match;
    if header_match && direction == Direction::Out {
        return Err(PgError::new(state::INVALID_VALUE, "COPY: HEADER MATCH is for FROM STDIN"));
    }
    if options.force_quote && direction == Direction::In {
        return Err(PgError::new(state::INVALID_VALUE, "COPY: FORCE_QUOTE is for TO STDOUT"));
    }
    Ok(Copy { direction, query, offset, table, columns, header_match, form: form(options)? })
}

fn syntax(what: &str) -> PgError {
    PgError::new(state::SYNTAX, format!("syntax error: {what}"))
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Placed],
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(&first.token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.tokens.first().is_some_and(|placed| placed.token == *token);
        if found {
            self.next();
        }
        found
    }

    fn word(&mut self) -> Option<String> {
        self.next().and_then(Token::word).map(str::to_owned)
    }

    /// What stands up to the parenthesis that closes the one just taken, and where.
    fn parenthesis(&mut self) -> Result<(usize, &'a str), PgError> {
        let begin = self.tokens.first().map_or(self.text.len(), |placed| placed.at);
        let mut depth = 1;
        while let Some((first, rest)) = self.tokens.split_first() {
            self.tokens = rest;
            match first.token {
                Token::Mark('(') => depth += 1,
                Token::Mark(')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok((begin, self.text[begin..first.at].trim_end()));
            }
        }
        Err(syntax("a parenthesis is not closed"))
    }

    /// A table's name, with its schema and quotes, as it stands in the text.
    fn name_until_mark(&mut self) -> Result<String, PgError> {
        let begin = self.tokens.first().map_or(self.text.len(), |placed| placed.at);
        loop {
            match self.next() {
                Some(Token::Word(_) | Token::Name(_)) => {}
                _ => return Err(syntax("COPY needs a table, or a query in parentheses")),
            }
            if !self.take(&Token::Mark('.')) {
                break;
            }
        }
        let end = self.tokens.first().map_or(self.text.len(), |placed| placed.at);
        Ok(self.text[begin..end].trim_end().to_owned())
    }
}

/// What options say, in the new form with parentheses and the old one without.
#[derive(Default)]
struct Options {
    format: Option<String>,
    delimiter: Option<char>,
    null: Option<String>,
    header: bool,
    header_match: bool,
    quote: Option<char>,
    escape: Option<char>,
    force_quote: bool,
}

fn options(mut reader: Reader<'_>) -> Result<Options, PgError> {
    let mut options = Options::default();
    if reader.tokens.first().is_some_and(|placed| placed.token.word() == Some("with")) {
        reader.next();
    }
    let in_parentheses = reader.take(&Token::Mark('('));
    while let Some(token) = reader.next() {
        match token {
            Token::Mark(')' | ',') if in_parentheses => continue,
            _ => {}
        }
        let name = token.word().ok_or_else(|| syntax("an option of COPY is expected"))?;
        match name {
            "csv" | "binary" | "text" if !in_parentheses => options.format = Some(name.to_owned()),
            "format" => options.format = Some(text_of(&mut reader, name)?.to_lowercase()),
            "delimiter" => options.delimiter = Some(char_of(&mut reader, name)?),
            "null" => options.null = Some(text_of(&mut reader, name)?),
            "quote" => options.quote = Some(char_of(&mut reader, name)?),
            "escape" => options.escape = Some(char_of(&mut reader, name)?),
            "encoding" => {
                let encoding = text_of(&mut reader, name)?;
                if !["utf8", "utf-8"].contains(&encoding.to_lowercase().as_str()) {
                    return Err(PgError::new(
                        state::UNSUPPORTED,
                        format!("COPY: encoding {encoding}: only UTF8 is served"),
                    ));
                }
            }
            "header" => {
                let given =
                    reader.tokens.first().and_then(|placed| placed.token.named()).map(str::to_lowercase);
                options.header_match = given.as_deref() == Some("match");
                options.header = match given.as_deref() {
                    Some("false" | "off" | "0") => {
                        reader.next();
                        false
                    }
                    Some("true" | "on" | "1" | "match") => {
                        reader.next();
                        true
                    }
                    _ => true,
                };
            }
            "force_quote" => {
                if !reader.take(&Token::Mark('*')) {
                    return Err(PgError::new(
                        state::UNSUPPORTED,
                        "COPY: FORCE_QUOTE is served for all columns: *",
                    ));
                }
                options.force_quote = true;
            }
            other => {
                return Err(PgError::new(state::UNSUPPORTED, format!("COPY: option {other} is not served")));
            }
        }
    }
    Ok(options)
}

fn text_of(reader: &mut Reader<'_>, name: &str) -> Result<String, PgError> {
    if reader.tokens.first().is_some_and(|placed| placed.token.word() == Some("as")) {
        reader.next();
    }
    let value = reader.next().and_then(Token::named);
    value.map(str::to_owned).ok_or_else(|| syntax(&format!("COPY: {name} needs a value")))
}

fn char_of(reader: &mut Reader<'_>, name: &str) -> Result<char, PgError> {
    let text = text_of(reader, name)?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii() && !matches!(c, '\n' | '\r' | '\0') => Ok(c),
        _ => Err(PgError::new(
            state::INVALID_VALUE,
            format!("COPY {name} must be a single one-byte character"),
        )),
    }
}

fn form(options: Options) -> Result<CopyForm, PgError> {
    let invalid = |message: &str| Err(PgError::new(state::INVALID_VALUE, message));
    match options.format.as_deref() {
        Some("binary") => {
            if options.delimiter.is_some() || options.null.is_some() || options.header {
                return invalid("COPY: DELIMITER, NULL and HEADER have no meaning in BINARY");
            }
            Ok(CopyForm::Binary)
        }
        Some("csv") => {
            let quote = options.quote.unwrap_or('"');
            let delimiter = options.delimiter.unwrap_or(',');
            if quote == delimiter {
                return invalid("COPY delimiter and quote must be different");
            }
            Ok(CopyForm::Csv {
                delimiter,
                null: options.null.unwrap_or_default(),
                header: options.header,
                quote,
                escape: options.escape.unwrap_or(quote),
                force_quote: options.force_quote,
            })
        }
        None | Some("text") => {
            if options.quote.is_some() || options.escape.is_some() || options.force_quote {
                return invalid("COPY: QUOTE, ESCAPE and FORCE_QUOTE are for CSV");
            }
            let delimiter = options.delimiter.unwrap_or('\t');
            if delimiter.is_ascii_alphanumeric() || matches!(delimiter, '\\' | '.') {
                return invalid("COPY delimiter cannot be a letter, a digit, a dot or a backslash");
            }
            let null = options.null.unwrap_or_else(|| "\\N".to_owned());
            Ok(CopyForm::Text { delimiter, null, header: options.header })
        }
        Some(other) => {
            Err(PgError::new(state::INVALID_VALUE, format!("COPY format \"{other}\" not recognized")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_read() {
        let text = CopyForm::Text { delimiter: '\t', null: "\\N".to_owned(), header: false };
        let csv = |delimiter, header| CopyForm::Csv {
            delimiter,
            null: String::new(),
            header,
            quote: '"',
            escape: '"',
            force_quote: false,
        };
        let read = |text: &str| copy(text).map(|c| (c.direction, c.query, c.form));
        let out = |query: &str, form: &CopyForm| Ok((Direction::Out, query.to_owned(), form.clone()));
        assert_eq!(read("COPY turbine TO STDOUT"), out("SELECT * FROM turbine", &text));
        assert_eq!(
            read("copy (select ')' , (1) from t) to stdout (format csv, header)"),
            out("select ')' , (1) from t", &csv(',', true))
        );
        assert_eq!(
            read("COPY public.\"T t\" (a, \"B\") TO STDOUT WITH (FORMAT csv, HEADER false, DELIMITER ';')"),
            out("SELECT a, \"B\" FROM public.\"T t\"", &csv(';', false))
        );
        assert_eq!(read("copy t to stdout binary"), out("SELECT * FROM t", &CopyForm::Binary));
        assert_eq!(read("copy t to stdout csv header"), out("SELECT * FROM t", &csv(',', true)));
        let into = copy("copy t (\"a,b\", c) from stdin with (format csv, header match)").unwrap();
        assert_eq!(
            (into.direction, into.table.as_str(), into.columns.as_str(), into.header_match),
            (Direction::In, "t", "\"a,b\", c", true)
        );
        assert_eq!(read("copy t from stdin").map(|c| c.0), Ok(Direction::In));
        for wrong in [
            "copy",
            "copy t",
            "copy t to '/etc/passwd'",
            "copy t to program 'x'",
            "copy (select 1 to stdout",
            "copy (select 1) from stdin",
            "copy t to stdout (format xml)",
            "copy t to stdout (delimiter 'ab')",
            "copy t to stdout (freeze)",
            "copy t () from stdin",
            "copy t to stdout (format csv, header match)",
            "copy t from stdin (format csv, force_quote *)",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
