//! Help while typing: completion of tables, columns and keywords, and lines that go on until a semicolon.

use std::cell::RefCell;

use rustyline::completion::{Completer, Pair, extract_word};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

use super::split::split;

/// Words of SQL worth completing, and functions of time series.
const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "BETWEEN",
    "LIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "DISTINCT",
    "UNION ALL",
    "WITH",
    "ASC",
    "DESC",
    "INTERVAL",
    "TIMESTAMP",
    "EXPLAIN",
    "ANALYZE",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "first_value",
    "last_value",
    "stddev",
    "median",
    "date_bin",
    "date_trunc",
    "extract",
    "now",
    "cast",
    "coalesce",
    "round",
    "abs",
    "latest.",
    "system.shards",
    "system.segments",
    "assets",
    "models",
    "information_schema.tables",
    "information_schema.columns",
];

/// Completion and validation of the prompt.
#[derive(Default)]
pub struct PromptHelper {
    /// Names of tables and columns.
    pub names: RefCell<Vec<String>>,
}

impl PromptHelper {
    fn candidates(&self, word: &str) -> Vec<Pair> {
        if word.is_empty() {
            return Vec::new();
        }
        let lower = word.to_lowercase();
        let names = self.names.borrow();
        let all = names.iter().map(String::as_str).chain(KEYWORDS.iter().copied());
        let mut found: Vec<&str> = all.filter(|name| name.to_lowercase().starts_with(&lower)).collect();
        found.sort_unstable();
        found.dedup();
        // Who types a keyword in lower case wants it so.
        let small = word.chars().all(|c| !c.is_uppercase());
        let spelt = |name: &str| {
            if small && KEYWORDS.contains(&name) { name.to_lowercase() } else { name.to_owned() }
        };
        found.into_iter().map(|name| Pair { display: name.to_owned(), replacement: spelt(name) }).collect()
    }
}

impl Completer for PromptHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let (start, word) = extract_word(line, pos, None, |c| !(c.is_alphanumeric() || c == '_' || c == '.'));
        Ok((start, self.candidates(word)))
    }
}

impl Validator for PromptHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let text = context.input();
        let whole = text.trim_start().starts_with('\\') || split(text).rest.is_none();
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for PromptHelper {
    type Hint = String;
}

impl Highlighter for PromptHelper {}

impl Helper for PromptHelper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keywords_complete() {
        let helper =
            PromptHelper { names: RefCell::new(vec!["turbine".to_owned(), "turbine_speed".to_owned()]) };
        let spelt = |word: &str| -> Vec<String> {
            helper.candidates(word).into_iter().map(|pair| pair.replacement).collect()
        };
        assert_eq!(spelt("turb"), ["turbine", "turbine_speed"]);
        assert_eq!(spelt("sel"), ["select"]);
        assert_eq!(spelt("SEL"), ["SELECT"]);
        assert!(spelt("").is_empty());
    }
}
