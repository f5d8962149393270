//! Running statements: request, answer in the form asked for, errors with a caret under their place.
//!
//! Owns: what is printed for a statement. Does not own: the line editor (`super`), tables (`client::output`).

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::{Value, json};

use crate::client::connection::{Client, Refusal, block_on, whole};
use crate::client::output::{Table, print, terminal_width, write};
use crate::error::{Error, ErrorKind, Result};

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns that fit the terminal.
    Table,
    /// RFC 4180 with a header.
    Csv,
    /// One object: columns and rows.
    Json,
    /// One object a row and line.
    Ndjson,
}

/// A server, and how its answers are shown.
pub struct Session {
    /// The server.
    pub client: Client,
    /// How answers are printed.
    pub format: Format,
    /// Whether tables end with the number of rows and the time.
    pub timing: bool,
    /// Whether tables show one row below the other.
    pub expanded: bool,
}

/// Columns and rows of an answer.
pub struct Rows {
    columns: Vec<(String, String)>,
    rows: Vec<Value>,
}

impl Session {
    /// Runs a statement and prints its answer.
    ///
    /// # Errors
    /// With the place in the statement under a caret, where the server names one.
    pub fn run(&self, statement: &str) -> Result<()> {
        let accept = match self.format {
            Format::Table => {
                let begin = Instant::now();
                let answer = self.ask(statement, &[])?;
                return match changed(&answer) {
                    Some(mut line) => {
                        if self.timing {
                            line.push_str(&format!(" ({:.1} ms)", begin.elapsed().as_secs_f64() * 1e3));
                        }
                        print(&format!("{line}\n"))
                    }
                    None => self.show(&Rows::of(answer)?, begin.elapsed()),
                };
            }
            Format::Csv => "text/csv",
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
        };
        block_on(async {
            let types = ("application/sql", accept);
            let body = Bytes::copy_from_slice(statement.as_bytes());
            let response = self.client.send(Method::POST, "/sql", types, body).await?;
            if !response.status().is_success() {
                return Err(refused(statement, &whole(response).await?));
            }
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                let frame = frame
                    .map_err(|e| Error::new(ErrorKind::Unreachable, format!("the answer broke off: {e}")))?;
                if let Ok(data) = frame.into_data() {
                    write(&data)?;
                }
            }
            Ok(())
        })?
    }

    /// Runs a statement and returns its answer.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn query(&self, statement: &str, params: &[&str]) -> Result<Rows> {
        Rows::of(self.ask(statement, params)?)
    }

    fn ask(&self, statement: &str, params: &[&str]) -> Result<Value> {
        let body = block_on(async {
            let types = ("application/json", "application/json");
            let body = json!({"sql": statement, "params": params}).to_string();
            let response = self.client.send(Method::POST, "/sql", types, body.into()).await?;
            let success = response.status().is_success();
            let body = whole(response).await?;
            if success { Ok(body) } else { Err(refused(statement, &body)) }
        })??;
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|e| Error::failed(format!("the server's answer is no JSON: {e}")))?;
        match answer["error"].is_null() {
            true => Ok(answer),
            false => Err(shown(statement, &Refusal::from_json(&answer["error"]))),
        }
    }

    /// Prints an answer as a table.
    ///
    /// # Errors
    /// Where standard output does not take it.
    pub fn show(&self, rows: &Rows, elapsed: Duration) -> Result<()> {
        let numbers = ["int", "uint", "float", "decimal"];
        let columns = rows.columns.iter();
        let columns = columns.map(|(name, kind)| (name.clone(), numbers.iter().any(|n| kind.starts_with(n))));
        let mut table = Table { columns: columns.collect(), rows: Vec::with_capacity(rows.rows.len()) };
        for row in &rows.rows {
            table.push(row.as_array().into_iter().flatten().cloned());
        }
        let mut out = if self.expanded { table.render_blocks() } else { table.render(terminal_width()) };
        if self.timing {
            let (n, ms) = (rows.rows.len(), elapsed.as_secs_f64() * 1e3);
            out.push_str(&format!("({n} row{}, {ms:.1} ms)\n", if n == 1 { "" } else { "s" }));
        }
        print(&out)
    }
}

/// What a statement without rows did: `INSERT 3`, `DELETE, job 7`.
fn changed(answer: &Value) -> Option<String> {
    let mut line = answer["tag"].as_str()?.to_owned();
    if let Some(rows) = answer["changed"].as_u64() {
        line.push_str(&format!(" {rows}"));
    }
    if let Some(job) = answer["job"].as_i64() {
        line.push_str(&format!(", job {job}"));
    }
    Some(line)
}

impl Rows {
    fn of(mut answer: Value) -> Result<Rows> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let columns = answer["columns"].as_array().into_iter().flatten();
        let columns = columns.map(|c| (text(&c["name"]), text(&c["type"]))).collect();
        let rows = match answer["rows"].take() {
            Value::Array(rows) => rows,
            _ => return Err(Error::failed("the server's answer has no rows; is it Wattline?")),
        };
        Ok(Rows { columns, rows })
    }

    /// The cells of column `i` as texts.
    pub fn texts(&self, i: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |row| row[i].as_str())
    }

    /// The same with the texts of column `i` replaced.
    #[must_use]
    pub fn map_texts(mut self, i: usize, name: impl Fn(&str) -> String) -> Rows {
        for row in &mut self.rows {
            if let Some(text) = row[i].as_str() {
                row[i] = name(text).into();
            }
        }
        self
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn refused(statement: &str, body: &[u8]) -> Error {
    match serde_json::from_slice::<Value>(body) {
        Ok(json) if json["error"].is_object() => shown(statement, &Refusal::from_json(&json["error"])),
        _ => Error::failed(format!("the server refused: {}", String::from_utf8_lossy(body))),
    }
}

/// The message, and where the place is known, that line of the statement with a caret under the place.
fn shown(statement: &str, refusal: &Refusal) -> Error {
    let place = refusal.position.and_then(|(line, column)| {
        let text = statement.lines().nth(line.checked_sub(1)?)?;
        // Tabs keep their width under themselves, wide characters take two.
        let before: String = text.chars().take(column.saturating_sub(1)).collect();
        let blank = |c: char| {
            if c == '\t' { "\t" } else { &"    "[..unicode_width::UnicodeWidthChar::width(c).unwrap_or(0)] }
        };
        let under: String = before.chars().map(blank).collect();
        let head = format!("LINE {line}: ");
        Some(format!("\n{head}{text}\n{}{under}^", " ".repeat(head.len())))
    });
    Error::failed(format!("{}{}", refusal.message, place.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let refusal = |position| Refusal { message: "no such column".to_owned(), position };
        let error = shown("select 1,\n\t风 x from t", &refusal(Some((2, 4))));
        assert_eq!(error.to_string(), "no such column\nLINE 2: \t风 x from t\n        \t   ^");
        assert_eq!(shown("select", &refusal(None)).to_string(), "no such column");
        assert_eq!(shown("select", &refusal(Some((9, 1)))).to_string(), "no such column");
    }
}
