//! Random filters give the same rows whether the scan reads them or DataFusion runs them over everything.
//!
//! The second form hides each column from the scan: `asset_id || ''` and `time + interval '0 seconds'` are no columns,
//! so `EXPLAIN` shows a scan of everything (asserted below), and `coalesce(p, NULL)` hides that nulls are refused.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wattline_model::{DataType, ValueRef};
use wattline_registry::{DEFAULT_ORG, NewPoint};

use crate::fixture::{Fixture, MINUTE, START, create_device, create_model, create_product, rows};

const ASSETS: [&str; 6] = ["b", "a", "long-asset-id-0002", "c", "long-asset-id-0001", "d"];
const POINTS: [&str; 3] = ["p", "q", "r"];
const MINUTES: i64 = 40;

#[derive(Clone, Debug)]
enum Filter {
    Asset(&'static str),
    Assets(Vec<&'static str>),
    NotAsset(&'static str),
    Time(&'static str, i64),
    Nanos(&'static str, i64),
    Between(i64, i64),
    Point(usize, &'static str, i64),
    IsNull(usize),
    IsNotNull(usize),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

/// How columns appear in a statement.
struct Names {
    asset: &'static str,
    time: &'static str,
    point: fn(usize) -> String,
}

const PLAIN: Names = Names { asset: "asset_id", time: "time", point: |p| POINTS[p].to_owned() };
const HIDDEN: Names = Names {
    asset: "(asset_id || '')",
    time: "(time + interval '0 seconds')",
    point: |p| format!("coalesce({}, NULL)", POINTS[p]),
};

impl Filter {
    fn write(&self, names: &Names, out: &mut String) {
        let (asset, time) = (names.asset, names.time);
        let instant = |micros: i64| format!("to_timestamp_micros({})", START + micros);
        let written = match self {
            Filter::Asset(a) => write!(out, "{asset} = '{a}'"),
            Filter::NotAsset(a) => write!(out, "{asset} <> '{a}'"),
            Filter::Assets(list) => write!(out, "{asset} IN ('{}')", list.join("', '")),
            Filter::Time(op, micros) => write!(out, "{time} {op} {}", instant(*micros)),
            Filter::Nanos(op, nanos) => {
                write!(out, "{time} {op} to_timestamp_nanos({})", START * 1_000 + nanos)
            }
            Filter::Between(a, b) => write!(out, "{time} BETWEEN {} AND {}", instant(*a), instant(*b)),
            Filter::Point(p, op, value) => write!(out, "{} {op} {value}", (names.point)(*p)),
            Filter::IsNull(p) => write!(out, "{} IS NULL", (names.point)(*p)),
            Filter::IsNotNull(p) => write!(out, "{} IS NOT NULL", (names.point)(*p)),
            Filter::And(a, b) | Filter::Or(a, b) => {
                out.push('(');
                a.write(names, out);
                out.push_str(if matches!(self, Filter::And(..)) { " AND " } else { " OR " });
                b.write(names, out);
                write!(out, ")")
            }
            Filter::Not(a) => {
                out.push_str("NOT (");
                a.write(names, out);
                write!(out, ")")
            }
        };
        written.unwrap();
    }

    fn text(&self, names: &Names) -> String {
        let mut out = String::new();
        self.write(names, &mut out);
        out
    }
}

fn filters() -> impl Strategy<Value = Filter> {
    let asset = || prop::sample::select([&ASSETS[..], &["nobody"]].concat());
    let op = || prop::sample::select(vec!["<", "<=", ">", ">=", "=", "<>"]);
    // Half of the instants fall on rows, half beside them.
    let micros = || (0..MINUTES, prop::sample::select(vec![0, 0, 1, -1])).prop_map(|(m, d)| m * MINUTE + d);
    let nanos = || (micros(), -1_001_i64..1_001).prop_map(|(m, d)| m * 1_000 + d);
    let point = || 0..POINTS.len();
    let leaf = prop_oneof![
        asset().prop_map(Filter::Asset),
        asset().prop_map(Filter::NotAsset),
        prop::collection::vec(asset(), 1..6).prop_map(Filter::Assets),
        (op(), micros()).prop_map(|(op, t)| Filter::Time(op, t)),
        (op(), nanos()).prop_map(|(op, t)| Filter::Nanos(op, t)),
        (micros(), micros()).prop_map(|(a, b)| Filter::Between(a, b)),
        (point(), op(), 0..40_i64).prop_map(|(p, op, v)| Filter::Point(p, op, v)),
        point().prop_map(Filter::IsNull),
        point().prop_map(Filter::IsNotNull),
    ];
    leaf.prop_recursive(4, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Filter::And(a.into(), b.into())),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Filter::Or(a.into(), b.into())),
            inner.prop_map(|a| Filter::Not(a.into())),
        ]
    })
}

/// Six assets, forty minutes, three points, each present in some rows only; half flushed, half in memory, and some
/// rows written twice.
fn data() -> Fixture {
    let fixture = Fixture::empty();
    let points = POINTS.map(|key| NewPoint::new(key, DataType::Double)).to_vec();
    create_model(&fixture.registry, DEFAULT_ORG, "m", points);
    create_product(&fixture.registry, DEFAULT_ORG, "pm", "m");
    for asset in ASSETS {
        create_device(&fixture.registry, "pm", asset, asset, "x");
    }
    let write = |minutes: std::ops::Range<i64>, shift: f64| {
        for (a, asset) in ASSETS.iter().enumerate() {
            for minute in minutes.clone() {
                let mixed = (minute * 7 + a as i64 * 5) % 12;
                let cells: Vec<_> = (0..POINTS.len())
                    .filter(|p| mixed & (1 << p) != 0)
                    .map(|p| (POINTS[p], ValueRef::Float((minute + p as i64) as f64 + shift), None))
                    .collect();
                fixture.write("m", &[(asset, START + minute * MINUTE, &cells)]);
            }
        }
    };
    write(0..25, 0.5);
    fixture.store.flush().unwrap();
    write(15..MINUTES, 0.0);
    fixture
}

#[test]
fn pushed_filters_give_the_same_rows() {
    let fixture = data();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sorted = |sql: String| {
        let mut rows = runtime.block_on(rows(&fixture.engine, &sql)).unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows.sort();
        rows
    };

    let shown = |names: &Names| {
        let filter = Filter::And(Filter::Asset("a").into(), Filter::Time(">", 0).into()).text(names);
        sorted(format!("EXPLAIN SELECT p FROM m WHERE {filter}")).concat().concat()
    };
    assert!(shown(&PLAIN).contains("assets=1, range=[2026-01-01T00:00:00.000001Z..)"), "{}", shown(&PLAIN));
    assert!(shown(&HIDDEN).contains("assets=all, range=[..), every_row=true"), "{}", shown(&HIDDEN));

    let columns =
        prop::sample::select(vec!["*", "asset_id, time", "p", "q, r", "count(*)", "time, count(p)"]);
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let same = runner.run(&(filters(), columns), |(filter, columns)| {
        let group = if columns == "time, count(p)" { "GROUP BY time" } else { "" };
        let statement = |names| format!("SELECT {columns} FROM m WHERE {} {group}", filter.text(names));
        prop_assert_eq!(sorted(statement(&PLAIN)), sorted(statement(&HIDDEN)), "{}", statement(&PLAIN));
        Ok(())
    });
    same.unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_limit_stops_the_scan_at_so_many_rows() {
    let fixture = data();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |sql: &str| runtime.block_on(rows(&fixture.engine, sql)).unwrap();
    // 40 minutes of 6 assets; `mixed` is 0 or 8, so that no cell is written, in 7 minutes of each asset.
    let all = ask("SELECT asset_id, time FROM m").len();
    assert_eq!(all, 198);
    for limit in [0, 1, 7, all - 1, all, all + 1] {
        let got = ask(&format!("SELECT asset_id, time FROM m LIMIT {limit}")).len();
        assert_eq!(got, limit.min(all));
        let got = ask(&format!("SELECT p FROM m WHERE p IS NOT NULL LIMIT {limit}")).len();
        assert_eq!(got, limit.min(ask("SELECT p FROM m WHERE p IS NOT NULL").len()));
    }
    let explained = ask("EXPLAIN SELECT p FROM m WHERE asset_id = 'a' LIMIT 3").concat().concat();
    assert!(explained.contains("limit=3"), "{explained}");
}
