//! Runs `tests/slt/*.slt`: rows only in memtables, then from segments after a restart, then from merged segments.

use std::path::PathBuf;

use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use wattline_query::{Engine, Error};

use crate::fixture::{Fixture, rows};

struct Db(Engine);

#[async_trait::async_trait]
impl AsyncDB for Db {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let stream = self.0.sql(sql, Vec::new()).await?;
        let types = vec![DefaultColumnType::Text; stream.schema().fields().len()];
        drop(stream);
        let mut rows = all_rows(&self.0, sql).await?;
        for cell in rows.iter_mut().flatten() {
            if cell.is_empty() {
                *cell = "(empty)".to_owned();
            }
        }
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}
}

/// The rows of a statement, which must be the same when its plan is kept, and when the kept plan is used.
async fn all_rows(engine: &Engine, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    let first = rows(engine, sql).await?;
    let mut sorted = first.clone();
    sorted.sort();
    for _ in 0..2 {
        let mut again = rows(engine, sql).await?;
        again.sort();
        if !sql.starts_with("EXPLAIN") {
            assert_eq!(again, sorted, "{sql}");
        }
    }
    Ok(first)
}

fn scripts() -> Vec<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/slt");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "slt"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 10, "the scripts are missing: found {scripts:?}");
    scripts
}

fn run_all(fixture: &Fixture, label: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut failed = Vec::new();
    for script in scripts() {
        let engine = fixture.engine.clone();
        let mut runner = Runner::new(move || {
            let engine = engine.clone();
            async move { Ok(Db(engine)) }
        });
        runner.add_label(label);
        if let Err(e) = runtime.block_on(runner.run_file_async(&script)) {
            failed.push(format!("{label}: {e}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn scripts_over_memtables() {
    run_all(&Fixture::of_scripts(), "memtable");
}

#[test]
fn scripts_over_segments_after_a_restart() {
    let fixture = Fixture::of_scripts();
    fixture.store.flush().unwrap();
    run_all(&fixture.reopen(), "segment");
}

#[test]
fn scripts_over_the_log_after_a_restart() {
    run_all(&Fixture::of_scripts().reopen(), "log");
}

#[test]
fn scripts_over_merged_segments() {
    let fixture = Fixture::of_scripts();
    // Writing the same rows again and flushing each time gives enough segments to merge, and many duplicates.
    for _ in 0..5 {
        fixture.store.flush().unwrap();
        fixture.write_turbines_again();
    }
    fixture.store.flush().unwrap();
    fixture.store.compact().unwrap();
    run_all(&fixture, "segment");
}
