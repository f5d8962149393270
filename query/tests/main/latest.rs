//! `latest.<model>` of many assets: a long list asks for the same rows as many short ones, and a kept plan reads what
//! is newest now.

use wattline_model::{DataType, ValueRef};
use wattline_registry::{DEFAULT_ORG, NewPoint};

use crate::fixture::{Fixture, MINUTE, START, create_device, create_model, create_product, rows};

/// Above the number up to which assets are looked up one by one.
const ASSETS: usize = 400;

fn id(asset: usize) -> String {
    format!("a{asset:03}")
}

fn fleet() -> Fixture {
    let fixture = Fixture::empty();
    create_model(&fixture.registry, DEFAULT_ORG, "m", vec![NewPoint::new("p", DataType::Double)]);
    create_product(&fixture.registry, DEFAULT_ORG, "pm", "m");
    for asset in 0..ASSETS {
        create_device(&fixture.registry, "pm", &id(asset), &id(asset), "x");
        fixture.write("m", &[(&id(asset), START, &[("p", ValueRef::Float(asset as f64), None)])]);
    }
    fixture
}

#[test]
fn a_long_list_of_assets_gives_these_and_no_others() {
    let fixture = fleet();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask =
        |sql: &str| runtime.block_on(rows(&fixture.engine, sql)).unwrap_or_else(|e| panic!("{sql}: {e}"));
    for wanted in [3, 256, 257, 399] {
        let listed: Vec<String> = (0..wanted).map(|i| format!("'{}'", id(ASSETS - 1 - i))).collect();
        let sql = format!(
            "SELECT asset_id, p FROM latest.m WHERE asset_id IN ({}, 'nobody') ORDER BY asset_id",
            listed.join(", ")
        );
        let expected: Vec<Vec<String>> =
            (ASSETS - wanted..ASSETS).map(|asset| vec![id(asset), format!("{asset}.0")]).collect();
        // The third time it runs as a kept plan.
        (0..3).for_each(|_| assert_eq!(ask(&sql), expected, "{wanted}"));
    }
}

#[test]
fn a_kept_plan_reads_what_is_newest_now_of_whom_the_statement_names() {
    let fixture = fleet();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let of = |asset: usize| {
        let sql = format!("SELECT p FROM latest.m WHERE asset_id = '{}'", id(asset));
        runtime.block_on(rows(&fixture.engine, &sql)).unwrap().concat()
    };
    for asset in [7, 8, 9, 10] {
        assert_eq!(of(asset), [format!("{asset}.0")]);
    }
    fixture.write("m", &[(&id(9), START + MINUTE, &[("p", ValueRef::Float(-1.5), None)])]);
    assert_eq!(of(9), ["-1.5"]);
    assert_eq!(of(10), ["10.0"]);
    assert!(fixture.engine.plans_reused() >= 4, "{}", fixture.engine.plans_reused());
    let explained = runtime
        .block_on(rows(&fixture.engine, "EXPLAIN SELECT p FROM latest.m WHERE asset_id = 'a009'"))
        .unwrap()
        .concat()
        .concat();
    assert!(explained.contains("LatestScan: model=m, assets=1"), "{explained}");
    assert!(!explained.contains("FilterExec"), "{explained}");
}

#[test]
fn a_join_with_history_holds_the_latest_values_and_not_the_history() {
    let fixture = fleet();
    for minute in 1..4 {
        for asset in 0..ASSETS {
            let cells = [("p", ValueRef::Float(1.0), None)];
            fixture.write("m", &[(&id(asset), START + minute * MINUTE, &cells)]);
        }
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for tables in ["m h JOIN latest.m l", "latest.m l JOIN m h"] {
        let sql = format!("EXPLAIN SELECT l.p FROM {tables} ON l.asset_id = h.asset_id WHERE h.p > 0");
        let explained = runtime.block_on(rows(&fixture.engine, &sql)).unwrap().concat().concat();
        let plan = &explained[explained.find("HashJoinExec").unwrap()..];
        // What is built comes first.
        assert!(plan.find("LatestScan") < plan.find("WattlineScan"), "{plan}");
    }
}
