//! Runs the examples of `docs/functions.md`: each `sql` block, against the `text` block after it.

use std::path::PathBuf;

use crate::fixture::{Fixture, rows};

/// Statements with the rows that they are said to give.
fn examples(text: &str) -> Vec<(String, Vec<String>)> {
    let mut examples = Vec::new();
    let mut statement = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut block = || lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>();
        match line {
            "```sql" => {
                assert!(statement.is_none(), "no rows are given for {statement:?}");
                statement = Some(block().join("\n"));
            }
            "```text" => {
                let rows = block().into_iter().map(str::to_owned).collect();
                examples.push((statement.take().expect("rows come after their statement"), rows));
            }
            _ => {}
        }
    }
    assert!(statement.is_none(), "no rows are given for {statement:?}");
    examples
}

#[test]
fn examples_give_what_they_say() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/functions.md");
    let examples = examples(&std::fs::read_to_string(path).unwrap());
    assert!(examples.len() >= 19, "the examples are missing: found {}", examples.len());
    let fixture = Fixture::of_scripts();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut wrong = Vec::new();
    for (statement, expected) in examples {
        match runtime.block_on(rows(&fixture.engine, &statement)) {
            Ok(rows) => {
                let rows: Vec<String> = rows.iter().map(|row| row.join(" | ")).collect();
                if rows != expected {
                    wrong.push(format!("{statement}\ngives {rows:#?}"));
                }
            }
            Err(e) => wrong.push(format!("{statement}\nfails: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
