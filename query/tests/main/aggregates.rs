//! Aggregates by asset and bucket give the same from statistics and sorted runs as from DataFusion's own operators,
//! and a kept plan gives the same as a fresh one.
//!
//! `random() >= 0` is true of every row and cannot be pushed into a scan, so it keeps our operator away.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wattline_model::{DataType, ValueRef};
use wattline_registry::{DEFAULT_ORG, NewPoint};

use crate::fixture::{Fixture, MINUTE, START, create_device, create_model, create_product, rows};

const ASSETS: [&str; 4] = ["b", "a", "a-name-that-is-longer", "c"];

/// Four assets of 2,600 rows each: a number with gaps, an integer, a truth value and a text; flushed in the middle, with
/// late rows in a second segment and in memory.
fn data() -> Fixture {
    let fixture = Fixture::empty();
    let points = vec![
        NewPoint::new("p", DataType::Double),
        NewPoint::new("n", DataType::Int),
        NewPoint::new("on", DataType::Bool),
        NewPoint::new("note", DataType::String),
    ];
    create_model(&fixture.registry, DEFAULT_ORG, "m", points);
    create_product(&fixture.registry, DEFAULT_ORG, "pm", "m");
    for asset in ASSETS {
        create_device(&fixture.registry, "pm", asset, asset, "x");
    }
    let write = |minutes: &mut dyn Iterator<Item = i64>, shift: f64| {
        for minute in minutes {
            for (a, asset) in ASSETS.iter().enumerate() {
                let text = format!("note {}", minute % 17);
                // Multiples of a half add up exactly in any order.
                let mut cells = vec![("n", ValueRef::Int((minute * 31 + a as i64) % 1_000 - 500), None)];
                if (minute + a as i64) % 7 != 0 {
                    cells.push(("p", ValueRef::Float((minute % 113) as f64 * 0.5 + shift), None));
                }
                if minute % 3 == 0 {
                    cells.push(("on", ValueRef::Bool(minute % 2 == 0), None));
                    cells.push(("note", ValueRef::Text(&text), None));
                }
                fixture.write("m", &[(asset, START + minute * MINUTE, &cells)]);
            }
        }
    };
    write(&mut (0..2_600), 0.0);
    fixture.store.flush().unwrap();
    write(&mut (100..700).step_by(300), 1e3);
    fixture.store.flush().unwrap();
    write(&mut (1_900..2_700).step_by(95), 2e3);
    fixture
}

const FIGURES: &str = "count(*), count(p), sum(p), avg(p), min(p), max(p), sum(n), avg(n), min(n), max(n), \
    count(note), min(note), max(note), min(time), max(time)";

#[test]
fn aggregates_are_those_of_datafusions_own_operators() {
    let fixture = data();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |sql: &str| {
        let mut rows = runtime.block_on(rows(&fixture.engine, sql)).unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows.sort();
        rows
    };
    let bucket = prop::sample::select(vec![
        "date_bin(interval '1 minute', time)",
        "date_bin(interval '10 minutes', time)",
        "date_bin(interval '7 hours', time, timestamp '2026-01-01T00:30:00')",
        "time_bucket('15 minutes', time)",
        "time_bucket('1 week', time)",
        "time_bucket('3 days', time, timestamp '2026-01-02T00:00:00')",
        "date_trunc('hour', time)",
        "date_trunc('day', time)",
        "date_trunc('week', time)",
        "date_trunc('month', time)",
    ]);
    let group = (prop::bool::ANY, prop::option::of(bucket));
    let assets = prop::sample::subsequence([&ASSETS[..], &["nobody"]].concat(), 0..=5);
    let range = (0..2_700_i64, 0..2_700_i64, prop::bool::ANY);
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let same = runner.run(&(group, assets, range), |((by_asset, bucket), assets, (from, to, whole))| {
        let mut keys: Vec<&str> = Vec::new();
        keys.extend(by_asset.then_some("asset_id"));
        keys.extend(bucket);
        let mut filters = vec!["true".to_owned()];
        if !assets.is_empty() {
            filters.push(format!("asset_id IN ('{}')", assets.join("', '")));
        }
        if !whole {
            let instant = |minute: i64| format!("to_timestamp_micros({})", START + minute * MINUTE + 5);
            filters.push(format!("time >= {} AND time < {}", instant(from.min(to)), instant(from.max(to))));
        }
        let group = if keys.is_empty() { String::new() } else { format!("GROUP BY {}", keys.join(", ")) };
        let mut figures = FIGURES.to_owned();
        if by_asset {
            for point in ["p", "n", "on", "note"] {
                figures +=
                    &format!(", first_value({point} ORDER BY time), last_value({point} ORDER BY time)");
            }
        }
        let columns = [keys.join(", "), figures].into_iter().filter(|s| !s.is_empty());
        let columns = columns.collect::<Vec<_>>().join(", ");
        let statement =
            |more: &str| format!("SELECT {columns} FROM m WHERE {}{more} {group}", filters.join(" AND "));
        let ours = ask(&statement(""));
        prop_assert_eq!(&ours, &ask(&statement(" AND random() >= 0")), "{}", statement(""));
        let explained = ask(&format!("EXPLAIN {}", statement(""))).concat().concat();
        let understood = bucket.is_none_or(|b| !b.contains("month"));
        let empty = explained.contains("EmptyExec");
        prop_assert_eq!(explained.contains("SeriesAggregate"), understood && !empty, "{}", explained);
        Ok(())
    });
    same.unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn what_comes_last_is_read_from_the_end() {
    let fixture = data();
    fixture.write("m", &[("a", START - 40 * 86_400 * 1_000_000, &[("n", ValueRef::Int(1), None)])]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask =
        |sql: &str| runtime.block_on(rows(&fixture.engine, sql)).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let bin = "date_bin(interval '10 minutes', time)";
    let statements = [
        (
            "newest, ",
            "SELECT DISTINCT ON (asset_id) asset_id, time, p, n, note FROM m {} ORDER BY asset_id, time DESC",
        ),
        (
            "newest, ",
            "SELECT asset_id, max(time), last_value(p ORDER BY time) FROM m {} GROUP BY asset_id ORDER BY asset_id",
        ),
        (
            "newest_buckets=5",
            &format!("SELECT {bin} AS b, max(n), count(*) FROM m {{}} GROUP BY b ORDER BY b DESC LIMIT 5"),
        ),
        (
            "newest_buckets=300",
            &format!("SELECT {bin} AS b, sum(n) FROM m {{}} GROUP BY b ORDER BY b DESC LIMIT 300"),
        ),
        (
            "newest_buckets=9",
            &format!("SELECT {bin} AS b, sum(n) FROM m {{}} GROUP BY b ORDER BY b DESC LIMIT 7 OFFSET 2"),
        ),
    ];
    for (shown, statement) in statements {
        for filter in ["WHERE true", "WHERE time < '2026-01-02T07:00:00Z'", "WHERE asset_id IN ('a', 'c')"] {
            let ours = statement.replace("{}", filter);
            let theirs = statement.replace("{}", &format!("{filter} AND random() >= 0"));
            assert_eq!(ask(&ours), ask(&theirs), "{ours}");
            let explained = ask(&format!("EXPLAIN {ours}")).concat().concat();
            assert!(explained.contains(shown), "{explained}");
        }
    }
    // Buckets in order the other way are not the newest ones.
    let explained = ask(&format!("EXPLAIN SELECT {bin} AS b, sum(n) FROM m GROUP BY b ORDER BY b LIMIT 5"));
    assert!(!explained.concat().concat().contains("newest_buckets"));
}

#[test]
fn conditions_on_values_leave_out_only_what_they_refuse() {
    let fixture = data();
    for minute in 3_000..3_006 {
        fixture.write("m", &[("b", START + minute * MINUTE, &[("n", ValueRef::Int(1), None)])]);
        fixture.store.flush().unwrap();
    }
    fixture.store.compact().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |sql: &str| {
        let mut rows = runtime.block_on(rows(&fixture.engine, sql)).unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows.sort();
        rows
    };
    let op = || prop::sample::select(vec!["<", "<=", ">", ">=", "="]);
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let same = runner.run(&(op(), 0..120_i64, op(), -520..520_i64, 0..3_u8), |(op_p, p, op_n, n, which)| {
        let statement = |column: fn(&str) -> String| {
            let (a, b) = (format!("{} {op_p} {p} * 0.5", column("p")), format!("{} {op_n} {n}", column("n")));
            let filter = [a.clone(), b.clone(), format!("{a} AND {b}")][usize::from(which)].clone();
            format!(
                "SELECT asset_id, time, n, p, note FROM m WHERE {filter} AND time >= '2026-01-01T02:00:00Z'"
            )
        };
        let plain = statement(str::to_owned);
        let hidden = statement(|column| format!("coalesce({column}, NULL)"));
        prop_assert_eq!(ask(&plain), ask(&hidden), "{}", plain);
        Ok(())
    });
    same.unwrap_or_else(|e| panic!("{e}"));
    let explained =
        ask("EXPLAIN ANALYZE SELECT time, p FROM m WHERE asset_id = 'a' AND p > 1900").concat().concat();
    // Late rows of 2,000 and more stand in the last two blocks only.
    assert!(explained.contains("blocks_pruned=2") && explained.contains("blocks_decoded=2"), "{explained}");
}

#[test]
fn explain_analyze_tells_which_blocks_were_pruned_answered_and_decoded() {
    let fixture = data();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let explain = |filter: &str| {
        let sql = format!("EXPLAIN ANALYZE SELECT asset_id, sum(p) FROM m WHERE {filter} GROUP BY asset_id");
        runtime.block_on(rows(&fixture.engine, &sql)).unwrap().concat().concat()
    };
    let shown = explain("asset_id = 'a'");
    // 2,600 minutes are four blocks of half a day; the late rows touch all but the second, and one comes after them.
    assert!(shown.contains("blocks_answered_from_statistics=1"), "{shown}");
    assert!(shown.contains("rows_merged=1.88 K"), "{shown}");
    for minute in 3_000..3_006 {
        fixture.write("m", &[("b", START + minute * MINUTE, &[("n", ValueRef::Int(1), None)])]);
        fixture.store.flush().unwrap();
    }
    fixture.store.compact().unwrap();
    let shown = explain("asset_id = 'a'");
    assert!(shown.contains("blocks_answered_from_statistics=4"), "{shown}");
    assert!(shown.contains("blocks_decoded=0"), "{shown}");
    let shown = explain("asset_id = 'a' AND time < '2026-01-01T00:10:00Z'");
    assert!(shown.contains("blocks_pruned=3") && shown.contains("blocks_decoded=1"), "{shown}");
}

#[test]
fn a_kept_plan_takes_the_values_of_its_statement_and_sees_what_was_written_since() {
    let fixture = data();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask =
        |sql: String| runtime.block_on(rows(&fixture.engine, &sql)).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let count = |asset: &str, from: i64| {
        let from = jiff::Timestamp::from_microsecond(START + from * MINUTE).unwrap();
        ask(format!("SELECT count(*), max(n) FROM m WHERE asset_id = '{asset}' AND time >= '{from}'"))
    };
    // Independent of plans: row `minute` of asset `i` holds (minute * 31 + i) % 1000 - 500.
    let expected = |asset: usize, from: i64| {
        let minutes = (from..2_600).chain((1_900..2_700).step_by(95).filter(|m| *m >= 2_600));
        let minutes: Vec<i64> = minutes.filter(|&m| m >= from).collect();
        let max = minutes.iter().map(|m| (m * 31 + asset as i64) % 1_000 - 500).max().unwrap();
        vec![vec![minutes.len().to_string(), max.to_string()]]
    };
    for round in 0..4 {
        for (i, asset) in ASSETS.iter().enumerate() {
            for from in [0, 17, 2_000 + round] {
                assert_eq!(count(asset, from), expected(i, from), "{asset} from {from}, round {round}");
            }
        }
    }
    assert!(fixture.engine.plans_reused() >= 40, "{}", fixture.engine.plans_reused());

    // What does not fit is told as if nothing were kept.
    assert_eq!(count("nobody", 0), [["0", "NULL"]]);
    let wrong = "SELECT count(*), max(n) FROM m WHERE asset_id = 'a' AND time >= 'noon'";
    let error = runtime.block_on(rows(&fixture.engine, wrong)).unwrap_err();
    assert!(error.to_string().contains("noon"), "{error}");

    let before = count("c", 0);
    fixture.write("m", &[("c", START - MINUTE, &[("n", ValueRef::Int(9_999), None)])]);
    assert_eq!(count("c", 0), before);
    assert_eq!(count("c", -1)[0][1], "9999");
    create_device(&fixture.registry, "pm", "new", "new", "x");
    fixture.write("m", &[("new", START, &[("n", ValueRef::Int(1), None)])]);
    for _ in 0..3 {
        assert_eq!(count("new", 0), [["1", "1"]]);
    }
}

#[test]
fn a_required_point_and_assets_of_a_subquery_stay_with_the_engine() {
    let fixture = data();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |sql: &str| {
        let mut rows = runtime.block_on(rows(&fixture.engine, sql)).unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows.sort();
        rows
    };
    let bin = "date_bin(interval '1 minute', time)";
    let (asset, minute) = ("GROUP BY asset_id", format!("GROUP BY asset_id, {bin}"));
    let some = "asset_id IN (SELECT asset_id FROM latest.m WHERE n > -39)";
    let none = "asset_id IN (SELECT asset_id FROM latest.m WHERE n > 1000)";
    let statements: [(&str, &str, &str, &str); 10] = [
        // In each seventh minute an asset has no `p`: there is no such group.
        ("present=p", &format!("asset_id, {bin}, count(*), avg(p), min(p)"), "p IS NOT NULL", &*minute),
        ("present=p", "count(*), max(p)", "p IS NOT NULL AND asset_id IN ('a', 'c')", ""),
        ("present=p", "count(*), sum(p)", "p IS NOT NULL AND time < '2020-01-01T00:00:00Z'", ""),
        (
            "present=note",
            "asset_id, last(note, time), first_value(note ORDER BY time), count(note)",
            "note IS NOT NULL",
            asset,
        ),
        ("assets_of_input", "asset_id, count(*), sum(p), max(n)", some, asset),
        ("assets_of_input", "count(*), max(n)", some, ""),
        ("assets_of_input", "asset_id, count(*)", none, asset),
        ("assets_of_input", "count(*)", none, ""),
        ("assets_of_input", "asset_id, avg(n)", &format!("asset_id IN ('b', 'c') AND {some}"), asset),
        (
            "present=p, assets_of_input",
            &format!("asset_id, {bin}, avg(p)"),
            &format!("{some} AND p IS NOT NULL AND time >= '2026-01-01T09:00:00Z'"),
            &minute,
        ),
    ];
    for (shown, columns, filter, group) in statements {
        let ours = format!("SELECT {columns} FROM m WHERE {filter} {group}");
        let theirs = format!("SELECT {columns} FROM m WHERE {filter} AND random() >= 0 {group}");
        assert_eq!(ask(&ours), ask(&theirs), "{ours}");
        let explained = ask(&format!("EXPLAIN {ours}")).concat().concat();
        assert!(explained.contains(shown), "{explained}");
    }
    assert_eq!(ask(&format!("SELECT count(DISTINCT asset_id) FROM m WHERE {some}")), [["2"]]);
    // What the figures of the required point do not tell is left to others.
    for columns in ["min(time)", "sum(n)"] {
        let explained =
            ask(&format!("EXPLAIN SELECT {columns} FROM m WHERE p IS NOT NULL")).concat().concat();
        assert!(!explained.contains("SeriesAggregate"), "{explained}");
    }

    // A kept plan asks its subquery each time.
    let sum = |from: i64| {
        let from = jiff::Timestamp::from_microsecond(START + from * MINUTE).unwrap();
        ask(&format!("SELECT asset_id, count(*) FROM m WHERE {some} AND time >= '{from}' {asset}"))
    };
    let before = fixture.engine.plans_reused();
    let counts: Vec<usize> = (2_690..2_694).map(|from| sum(from).len()).collect();
    assert_eq!(counts, [0; 4]);
    fixture.write("m", &[("a", START + 2_800 * MINUTE, &[("n", ValueRef::Int(500), None)])]);
    assert_eq!(sum(2_700), [["a", "1"]]);
    assert!(fixture.engine.plans_reused() >= before + 2, "{}", fixture.engine.plans_reused());
}

#[test]
fn conditions_and_expressions_are_folded_stretch_by_stretch() {
    let fixture = data();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |sql: &str| {
        let mut rows = runtime.block_on(rows(&fixture.engine, sql)).unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows.sort();
        rows
    };
    let minute = "date_bin(interval '1 minute', time)";
    let hour = "time_bucket('1 hour', time)";
    let statements: [(&str, &str, &str); 8] = [
        ("count(*), avg(p), max(time)", "n > 100", "asset_id"),
        ("count(*), sum(n)", "n > 100 AND p < 30", hour),
        // More groups than are handed on at once, and groups that a batch ends in.
        (
            "avg(CASE WHEN n = 0 THEN 1.0 ELSE 0.5 END), min(n + 1), count(p)",
            "p IS NOT NULL OR n > 0",
            minute,
        ),
        ("count(*) FILTER (WHERE p > 20), sum(n) FILTER (WHERE \"on\")", "true", hour),
        ("stddev(p), bool_and(\"on\"), bit_xor(n)", "true", hour),
        ("max(note), count(note)", "note LIKE 'note 1%'", hour),
        ("count(*)", "n > 5000", "asset_id"),
        ("sum(n * 2), min(time)", "n > 400 AND asset_id IN ('c', 'a')", hour),
    ];
    for (figures, filter, bucket) in statements {
        let keys = if bucket == "asset_id" { bucket.to_owned() } else { format!("asset_id, {bucket}") };
        let statement =
            |more: &str| format!("SELECT {keys}, {figures} FROM m WHERE {filter}{more} GROUP BY {keys}");
        let (ours, theirs) = (statement(""), statement(" AND random() >= 0"));
        assert_eq!(ask(&ours), ask(&theirs), "{ours}");
        let explained = |sql: &str| ask(&format!("EXPLAIN {sql}")).concat().concat();
        assert!(explained(&ours).contains("StretchAggregate"), "{}", explained(&ours));
        assert!(!explained(&theirs).contains("StretchAggregate"), "{}", explained(&theirs));
    }
    // Without the asset, groups are no stretches of rows.
    let explained = ask(&format!("EXPLAIN SELECT {hour}, avg(p) FROM m WHERE n > 5 GROUP BY {hour}"));
    assert!(!explained.concat().concat().contains("StretchAggregate"));

    let cost = ask("EXPLAIN ANALYZE SELECT asset_id, sum(n) FROM m WHERE p > 1900 GROUP BY asset_id");
    let cost = cost.concat().concat();
    assert!(cost.contains("StretchAggregate") && cost.contains("rows_merged="), "{cost}");
    // A kept plan reads anew.
    let count = |from: i64| {
        let from = jiff::Timestamp::from_microsecond(START + from * MINUTE).unwrap();
        ask(&format!("SELECT asset_id, count(*) FROM m WHERE n > 400 AND time >= '{from}' GROUP BY asset_id"))
    };
    let before = fixture.engine.plans_reused();
    let found: Vec<_> = (3_000..3_004).map(count).collect();
    assert!(found.iter().all(Vec::is_empty), "{found:?}");
    fixture.write("m", &[("a", START + 3_100 * MINUTE, &[("n", ValueRef::Int(500), None)])]);
    assert_eq!(count(3_000), [["a", "1"]]);
    assert!(fixture.engine.plans_reused() >= before + 2, "{}", fixture.engine.plans_reused());
}
