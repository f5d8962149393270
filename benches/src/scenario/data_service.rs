//! The data service as applications call it: newest values, a filter over a fleet, a day of seconds, a month in ten
//! minutes, energy of today; each at a fixed rate and as fast as it goes.
//!
//! What is written follows formulas of [`data`], so that the right answers are known here without asking the server.

mod data;

use std::sync::Arc;

use serde_json::{Value, json};
use wattline_tests::{Chance, Server};

use self::data::{DAY, Fleet, MONTH, POINTS};
use super::{serve, work_dir};
use crate::Args;
use crate::http_load::{self, Pace, Plan};
use crate::report::{Report, percentile};

/// Different assets whose newest values are asked for.
const LATEST_ASSETS: u64 = 1_024;

/// A call to measure.
struct Call {
    name: String,
    requests: Vec<Vec<u8>>,
    /// Bytes of an answer.
    answer_bytes: usize,
    /// Calls a second of the fixed load: about a tenth of what a good server manages.
    rate: f64,
    /// Connections that ask as fast as they are answered.
    connections: usize,
}

/// Fills a server, checks every answer, measures every call.
pub(crate) fn data_service(args: &Args) -> Report {
    let mut report = Report::default();
    let dir = work_dir(args);
    let server = serve(args, dir.path());
    let wanted: Vec<&str> = args.calls.split(',').map(str::trim).collect();
    let unknown =
        wanted.iter().find(|name| **name != "all" && !CALLS.iter().any(|(known, _)| known == *name));
    assert!(unknown.is_none(), "no call is named so: {unknown:?}");
    let fleet = data::fill(&server, args.assets, args.meters);
    for (_, call) in CALLS.iter().filter(|(name, _)| wanted.contains(name) || wanted.contains(&"all")) {
        let call = call(&server, &fleet);
        let loads = [
            (format!("{} calls/s", call.rate), call.connections, Pace::Rate(call.rate)),
            (format!("saturation, {} connections", call.connections), call.connections, Pace::Saturation),
        ];
        let requests = Arc::new(call.requests);
        for (load, connections, pace) in loads {
            let (address, pid) = (server.http, server.pid());
            let requests = Arc::clone(&requests);
            let plan = Plan { address, pid, requests, connections, pace, seconds: args.seconds };
            let measured = http_load::run(&plan);
            let done = measured.micros.len();
            if done == 0 {
                report.note(format!("{}, {load}: no call ended in {} s.", call.name, args.seconds));
                continue;
            }
            let millis = |share| json!(percentile(&measured.micros, share) as f64 / 1e3);
            report.row(&[
                ("call", json!(call.name)),
                ("load", json!(load)),
                ("calls", json!(done)),
                ("calls/s", json!(done as f64 / measured.seconds)),
                ("p50 ms", millis(0.5)),
                ("p99 ms", millis(0.99)),
                ("server CPU µs/call", json!((measured.cpu_micros as f64 / done as f64).round() as u64)),
                ("size KiB", json!(call.answer_bytes as f64 / 1024.0)),
            ]);
        }
    }
    report.note(format!(
        "{} assets with {POINTS} newest values, {} meters with {} minutes of energy today, everything flushed; client \
         time on kept connections, at a fixed rate from when a call was due; one generator thread shares the machine \
         with the server. Every answer was compared with what was written.",
        args.assets, args.meters, fleet.minutes_today
    ));
    report
}

/// A call by its name for `--calls`, and what makes it, after its answer was found right.
type Known = (&'static str, fn(&Server, &Fleet) -> Call);

const CALLS: &[Known] = &[
    ("latest", latest),
    ("filter-named", |server, fleet| filter(server, fleet, true)),
    ("filter-model", |server, fleet| filter(server, fleet, false)),
    ("raw-items", |server, fleet| raw(server, fleet, 0)),
    ("raw-columns", |server, fleet| raw(server, fleet, 2)),
    ("averages", averages),
    ("current-day", current_day),
];

fn path(operation: &str) -> String {
    format!("/tsdb-service/v2.1/{operation}?orgId=default")
}

/// The items of the answer, and the bytes it has.
fn ask(server: &Server, operation: &str, body: &Value) -> (Vec<Value>, usize) {
    let answer = server.http().post_json(&path(operation), body);
    let bytes = answer.body.len();
    let answer = answer.ok();
    assert_eq!(answer["code"], 0, "{operation}: {answer}");
    (answer["data"]["items"].as_array().unwrap_or_else(|| panic!("no items: {answer}")).clone(), bytes)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn latest(server: &Server, fleet: &Fleet) -> Call {
    let points: Vec<String> = (0..POINTS).map(|point| format!("p{point}")).collect();
    let body = |asset: u64| json!({"assetIds": data::asset(asset), "pointIds": points.join(",")});
    let mut chance = Chance::new(1);
    let assets: Vec<u64> = (0..LATEST_ASSETS).map(|_| chance.bits() % fleet.assets).collect();
    let mut answer_bytes = 0;
    for &asset in assets.iter().take(100) {
        let (items, bytes) = ask(server, "latest", &body(asset));
        assert_eq!(items.len() as u64, POINTS, "an item a point");
        for (point, item) in (0..).zip(&items) {
            assert_eq!(text(&item["assetId"]), data::asset(asset));
            let name = format!("p{point}");
            assert_eq!(item[name.as_str()].as_f64(), Some(data::latest(asset, point)), "{item}");
        }
        answer_bytes = bytes;
    }
    let requests = assets.iter().map(|&asset| http_load::render(&path("latest"), &body(asset).to_string()));
    let name = format!("latest: 1 asset × {POINTS} points");
    Call { name, requests: requests.collect(), answer_bytes, rate: 2_000.0, connections: 16 }
}

/// The hundredth of the fleet that stands highest. With every asset named, or all of the model.
fn filter(server: &Server, fleet: &Fleet, named: bool) -> Call {
    let bound = data::LATEST_TOP * 0.99;
    let mut body =
        json!({"modelId": "fleet", "pointId": "p0", "operator": "ge", "valueFilter": bound.to_string()});
    if named {
        body["assetIds"] = (0..fleet.assets).map(data::asset).collect::<Vec<_>>().join(",").into();
    }
    let (items, answer_bytes) = ask(server, "latest/filter", &body);
    let expected: Vec<f64> =
        (0..fleet.assets).map(|asset| data::latest(asset, 0)).filter(|value| *value >= bound).collect();
    assert_eq!(items.len(), expected.len(), "as many assets as meet the condition");
    let found: f64 = items.iter().map(|item| number(&item["p0"])).sum();
    assert_eq!(found, expected.iter().sum::<f64>(), "the values of those assets");
    let which = if named { "all named" } else { "whole model" };
    let name = format!("filter: {} assets, {which}, {} found", fleet.assets, items.len());
    let requests = vec![http_load::render(&path("latest/filter"), &body.to_string())];
    Call { name, requests, answer_bytes, rate: if named { 10.0 } else { 50.0 }, connections: 2 }
}

fn raw(server: &Server, _: &Fleet, format: i64) -> Call {
    let body = json!({"assetIds": data::DAY_ASSET, "pointIds": "value", "startTime": DAY.start, "endTime": DAY.end,
                      "pageSize": DAY.rows, "itemFormat": format});
    let (items, answer_bytes) = ask(server, "raw", &body);
    let values: Vec<f64> = match format {
        0 => items.iter().map(|item| number(&item["value"])).collect(),
        _ => items[0]["value"].as_array().map_or_else(Vec::new, |values| values.iter().map(number).collect()),
    };
    let expected: Vec<f64> = (0..DAY.rows).map(data::of_second).collect();
    assert_eq!(values.len(), expected.len(), "a row a second");
    assert!(values == expected, "the values as they were written, in order");
    let name = format!("raw: a day of seconds, itemFormat {format}");
    let requests = vec![http_load::render(&path("raw"), &body.to_string())];
    Call { name, requests, answer_bytes, rate: 1.0, connections: 2 }
}

fn averages(server: &Server, _: &Fleet) -> Call {
    let buckets = MONTH.rows / 10;
    let body = json!({"assetIds": data::MONTH_ASSET, "pointIdsWithLogic": "avg(value)", "interval": 10,
                      "startTime": MONTH.start, "endTime": MONTH.end, "pageSize": buckets});
    let (items, answer_bytes) = ask(server, "ai-normalized", &body);
    assert_eq!(items.len() as u64, buckets, "an item a bucket");
    for (bucket, item) in (0..).zip(&items) {
        let sum: f64 = (bucket * 10..bucket * 10 + 10).map(data::of_minute).sum();
        assert_eq!(item["avg(value)"].as_f64(), Some(sum / 10.0), "{item}");
        assert_eq!(item["timestamp"].as_i64(), Some(MONTH.start_ms + bucket as i64 * 600_000), "{item}");
    }
    let requests = vec![http_load::render(&path("ai-normalized"), &body.to_string())];
    let name = "ai-normalized: averages of 10 minutes, 30 days".to_owned();
    Call { name, requests, answer_bytes, rate: 20.0, connections: 2 }
}

fn current_day(server: &Server, fleet: &Fleet) -> Call {
    let assets: Vec<String> = (0..fleet.meters).map(data::meter).collect();
    let body = json!({"assetIds": assets.join(","), "pointIds": "energy"});
    let (items, answer_bytes) = ask(server, "electric-power/current-day", &body);
    assert_eq!(items.len() as u64, fleet.meters, "an item a meter");
    for (meter, item) in (0..).zip(&items) {
        let sum: f64 = (0..fleet.minutes_today).map(|minute| data::energy(meter, minute)).sum();
        assert_eq!(text(&item["assetId"]), data::meter(meter));
        assert_eq!(item["sum(energy)"].as_f64(), Some(sum), "{item}");
    }
    let requests = vec![http_load::render(&path("electric-power/current-day"), &body.to_string())];
    let name = format!("electric-power/current-day: {} meters", fleet.meters);
    Call { name, requests, answer_bytes, rate: 20.0, connections: 2 }
}
