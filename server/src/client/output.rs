//! Answers on a terminal: aligned tables that fit its width, or JSON.

use std::io::{ErrorKind as Io, IsTerminal as _, Write as _, stdout};

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::error::{Error, Result};

/// A column narrower than this tells nothing; rather than squeeze further, rows are shown one below the other.
const COLUMN_WIDTH_MIN: usize = 8;

/// Between columns.
const GAP: &str = " | ";

/// What a table shows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns, and whether they hold numbers.
    pub columns: Vec<(String, bool)>,
    /// Rows of texts, one for each column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[&str]) -> Table {
        Table { columns: columns.iter().map(|&name| (name.to_owned(), false)).collect(), rows: Vec::new() }
    }

    /// Adds a row of JSON values.
    pub fn push(&mut self, row: impl IntoIterator<Item = Value>) {
        let mut texts = Vec::with_capacity(self.columns.len());
        for (value, column) in row.into_iter().zip(&mut self.columns) {
            column.1 |= value.is_number();
            texts.push(text(&value));
        }
        self.rows.push(texts);
    }

    /// As text that fits `width`, where one is given: wide columns are cut, and where that does not help, each row
    /// becomes a block of lines.
    pub fn render(&self, width: Option<usize>) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| name.width()).collect();
        for row in &self.rows {
            for (cell, width) in row.iter().zip(&mut widths) {
                *width = (*width).max(cell.width());
            }
        }
        match width {
            Some(width) if !squeeze(&mut widths, width) => self.render_blocks(),
            _ => self.render_rows(&widths),
        }
    }

    /// Each row as a block of lines, `name | value`.
    pub fn render_blocks(&self) -> String {
        let names = self.columns.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        let mut out = String::new();
        for (i, row) in self.rows.iter().enumerate() {
            out.push_str(&format!("-[ row {} ]-\n", i + 1));
            for ((name, _), cell) in self.columns.iter().zip(row) {
                pad(&mut out, name, names, false);
                out.push_str(GAP);
                out.push_str(cell);
                out.push('\n');
            }
        }
        out
    }

    fn render_rows(&self, widths: &[usize]) -> String {
        let mut out = String::new();
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        self.line(&mut out, &names, widths);
        for (i, width) in widths.iter().enumerate() {
            out.push_str(if i == 0 { "" } else { "-+-" });
            out.push_str(&"-".repeat(*width));
        }
        out.push('\n');
        for row in &self.rows {
            self.line(&mut out, row, widths);
        }
        out
    }

    fn line(&self, out: &mut String, cells: &[String], widths: &[usize]) {
        let start = out.len();
        for (i, ((cell, width), (_, number))) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            out.push_str(if i == 0 { "" } else { GAP });
            pad(out, &cut(cell, *width), *width, *number);
        }
        out.truncate(start + out[start..].trim_end().len());
        out.push('\n');
    }
}

/// Shrinks the widest columns until all fit `width`; `false` where that would leave too little.
fn squeeze(widths: &mut [usize], width: usize) -> bool {
    let room = width.saturating_sub(GAP.len() * widths.len().saturating_sub(1));
    let total: usize = widths.iter().sum();
    if total <= room {
        return true;
    }
    // The cap at which all fit: the largest one, found by halving.
    let fits = |cap: usize| widths.iter().map(|&w| w.min(cap)).sum::<usize>() <= room;
    let (mut low, mut high) = (0, width);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    if low < COLUMN_WIDTH_MIN {
        return false;
    }
    for width in widths {
        *width = (*width).min(low);
    }
    true
}

fn cut(cell: &str, width: usize) -> String {
    if cell.width() <= width {
        return cell.to_owned();
    }
    let mut out = String::new();
    for c in cell.chars() {
        out.push(c);
        if out.width() + 1 > width {
            out.pop();
            break;
        }
    }
    out.push('…');
    out
}

fn pad(out: &mut String, cell: &str, width: usize, right: bool) {
    let spaces = " ".repeat(width.saturating_sub(cell.width()));
    if right {
        out.push_str(&spaces);
        out.push_str(cell);
    } else {
        out.push_str(cell);
        out.push_str(&spaces);
    }
}

/// A value as a cell: texts bare, nothing for null, no character that could move the cursor.
pub fn text(value: &Value) -> String {
    let plain = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if plain.chars().any(char::is_control) {
        plain
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect()
    } else {
        plain
    }
}

/// The width of the terminal, where standard output is one.
pub fn terminal_width() -> Option<usize> {
    let out = stdout();
    if !out.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col)).filter(|&width| width > 0)
}

/// Writes to standard output.
///
/// # Errors
/// Where that is not possible; a reader that went away, such as `head`, is no error.
pub fn print(text: &str) -> Result<()> {
    write(text.as_bytes())
}

/// Writes bytes to standard output.
///
/// # Errors
/// As [`print()`].
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != Io::BrokenPipe => {
            Err(Error::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes `value` as indented JSON.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &Value) -> Result<()> {
    print(&format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["name", "n"]);
        table.push([json!("Höhe"), json!(1.5)]);
        table.push([json!("a\nb\u{1b}[2J"), Value::Null]);
        table
    }

    #[test]
    fn numbers_go_right_and_nothing_moves_the_cursor() {
        let expected = "name          |   n\n\
                        --------------+----\n\
                        Höhe          | 1.5\n\
                        a\\nb\\u{1b}[2J |\n";
        assert_eq!(table().render(None), expected);
    }

    #[test]
    fn wide_columns_are_cut_and_very_wide_tables_turned() {
        let narrow = table().render(Some(15));
        assert!(narrow.lines().all(|line| line.width() <= 15), "{narrow}");
        assert!(narrow.contains("a\\nb\\u{1…"), "{narrow}");
        let blocks = table().render(Some(8));
        assert!(blocks.starts_with("-[ row 1 ]-\nname | Höhe\nn    | 1.5\n"), "{blocks}");
    }

    #[test]
    fn wide_characters_count_twice() {
        let mut table = Table::new(&["x", "y"]);
        table.push([json!("风电"), json!("z")]);
        assert_eq!(table.render(None), "x    | y\n-----+--\n风电 | z\n");
    }
}
