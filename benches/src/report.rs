//! Results: a Markdown table for people, a JSON line for programs.

use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

/// The result of one scenario.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Map<String, Value>>,
    notes: Vec<String>,
}

impl Report {
    /// Adds a row: column names with values.
    pub(crate) fn row(&mut self, fields: &[(&str, Value)]) {
        self.rows.push(fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect());
    }

    /// Adds a line below the table.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The table.
    pub(crate) fn markdown(&self, scenario: &str) -> String {
        let mut text = format!("\n### {scenario}\n\n");
        if let Some(first) = self.rows.first() {
            let names: Vec<&str> = first.keys().map(String::as_str).collect();
            text += &format!("| {} |\n|{}\n", names.join(" | "), "---|".repeat(names.len()));
            for row in &self.rows {
                let cells: Vec<String> = names.iter().map(|name| cell(row.get(*name))).collect();
                text += &format!("| {} |\n", cells.join(" | "));
            }
        }
        for note in &self.notes {
            text += &format!("\n{note}\n");
        }
        text
    }

    /// Writes the table to `out/<scenario>.md` and appends a JSON line to `out/results.jsonl`.
    pub(crate) fn save(&self, scenario: &str, out: &Path) {
        std::fs::create_dir_all(out).expect("the result folder can be made");
        std::fs::write(out.join(format!("{scenario}.md")), self.markdown(scenario))
            .expect("results can be written");
        let at = std::time::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs());
        let line = json!({"scenario": scenario, "unix_time": at, "rows": self.rows, "notes": self.notes});
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(out.join("results.jsonl"));
        writeln!(file.as_mut().expect("results can be written"), "{line}").expect("results can be written");
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        Some(Value::Number(n)) if n.is_f64() => {
            let number = n.as_f64().unwrap_or(f64::NAN);
            if number.abs() >= 100.0 { format!("{number:.0}") } else { format!("{number:.3}") }
        }
        Some(Value::Number(n)) => thousands(&n.to_string()),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn thousands(digits: &str) -> String {
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The value below which `share` (0 to 1) of the sorted `values` lie.
pub(crate) fn percentile(sorted: &[u64], share: f64) -> u64 {
    assert!(!sorted.is_empty(), "no values were measured");
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_thousands() {
        let values: Vec<u64> = (0..=100).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99)), (50, 99));
        assert_eq!(thousands("1234567"), "1,234,567");
        assert_eq!(thousands("123"), "123");
    }
}
