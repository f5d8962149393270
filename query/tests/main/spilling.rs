//! Statements over more rows than their memory holds: 200,000 rows of 32 bytes, twice while they are sorted, are 12 MiB.

use std::path::Path;

use tempfile::TempDir;
use wattline_query::{ErrorKind, QuerySettings, Spill};

use crate::fixture::Fixture;
use crate::limits::{ask, many_rows};

const MIB: usize = 1 << 20;

fn settings(dir: &Path) -> QuerySettings {
    let spill = Spill { dir: dir.to_owned(), bytes_max: 1 << 30 };
    QuerySettings {
        memory_bytes: 512 * MIB,
        statement_memory_bytes: Some(8 * MIB),
        spill: Some(spill),
        target_partitions: 2,
        ..QuerySettings::default()
    }
}

/// Bytes of all files below `dir`.
fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes_in(&path) } else { path.metadata().unwrap().len() }).sum()
}

/// Every asset has p = 0, 1, …, 19999: in this order the ten of a value stand together.
const SORT: &str = "SELECT p, asset_id FROM m ORDER BY p DESC, asset_id, time";

#[test]
fn a_sort_that_does_not_fit_is_put_on_disk() {
    let fixture = many_rows();
    let dir = TempDir::new().unwrap();
    let engine = fixture.engine_with(settings(dir.path()));
    let found = ask(&engine, SORT.to_owned()).unwrap();
    assert_eq!(found.len(), 200_000);
    for (i, row) in found.iter().enumerate() {
        assert_eq!(*row, [format!("{}.0", 19_999 - i / 10), format!("a{}", i % 10)], "row {i}");
    }
    // It did: the answer alone is larger than its memory. And nothing of it stays.
    let explained = ask(&engine, format!("EXPLAIN ANALYZE {SORT}")).unwrap();
    let spilled = |row: &Vec<String>| row[1].contains("spill_count=") && !row[1].contains("spill_count=0,");
    assert!(explained.iter().any(spilled), "{explained:?}");
    assert_eq!(bytes_in(dir.path()), 0);
    let peak =
        "SELECT max(memory_peak_bytes) > 500000 AND max(memory_peak_bytes) <= 8388608 FROM system.queries";
    assert_eq!(ask(&engine, peak.to_owned()).unwrap(), [["true"]]);
}

#[test]
fn groups_that_do_not_fit_are_put_on_disk() {
    let fixture = many_rows();
    let dir = TempDir::new().unwrap();
    let engine = fixture.engine_with(settings(dir.path()));
    // A group a row; sums of 0 … 19999, ten times over.
    let sql = "SELECT count(*), sum(n), sum(p), min(c), max(c) FROM (SELECT asset_id, p, 1 AS n, count(*) AS c \
               FROM (SELECT asset_id || '!' AS asset_id, p FROM m) GROUP BY asset_id, p)";
    let sum = 10_u64 * 19_999 * 20_000 / 2;
    assert_eq!(ask(&engine, sql.to_owned()).unwrap(), [["200000", "200000", &format!("{sum}.0"), "1", "1"]]);
    assert_eq!(bytes_in(dir.path()), 0);
}

fn refusal(fixture: &Fixture, settings: QuerySettings, sql: &str) -> String {
    let error = ask(&fixture.engine_with(settings), sql.to_owned()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    error.message().to_owned()
}

#[test]
fn what_fits_neither_in_memory_nor_on_disk_fails_and_names_the_setting() {
    let fixture = many_rows();
    let dir = TempDir::new().unwrap();
    let none = QuerySettings { spill: None, ..settings(dir.path()) };
    let said = refusal(&fixture, none, SORT);
    assert!(said.contains("sql.memory_max") && said.contains("(setting sql.spill_max)"), "{said}");
    let little = Spill { dir: dir.path().to_owned(), bytes_max: 100_000 };
    let said = refusal(&fixture, QuerySettings { spill: Some(little), ..settings(dir.path()) }, SORT);
    assert!(said.contains("(setting sql.spill_max)"), "{said}");
    // The side that a join holds does not spill.
    let join = "SELECT sum(a.p + b.p), max(a.asset_id || b.asset_id) FROM m a JOIN m b \
                ON a.time = b.time AND a.asset_id || 'x' = b.asset_id || 'x'";
    let said = refusal(&fixture, settings(dir.path()), join);
    assert!(
        said.contains("of one statement may hold 8388608 bytes of memory (setting sql.memory_max)"),
        "{said}"
    );
    assert!(said.contains("HashJoin"), "{said}");
    let all = QuerySettings { memory_bytes: 8 * MIB, statement_memory_bytes: None, ..settings(dir.path()) };
    let said = refusal(&fixture, all, join);
    assert!(
        said.contains("of all statements together may hold 8388608 bytes of memory (setting memory_budget)"),
        "{said}"
    );
    assert_eq!(bytes_in(dir.path()), 0);
}
