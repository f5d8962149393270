use tempfile::TempDir;
use wattline_env::World;
use wattline_storage::{Settings, Store};

use super::*;
use crate::fixture::{Plant, samples};
use crate::ingestor::IngestSettings;

/// The samples and the rejects of a body.
fn decoded(body: &[u8]) -> (Vec<String>, Vec<String>) {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let plant = Plant::new();
    let store = Store::open(dir.path(), Settings::default(), World::real()).unwrap();
    let ingestor = Ingestor::new(plant.registry.clone(), store, IngestSettings::default());
    let decoded = decode(&ingestor, &plant.model(), body).unwrap();
    let found = samples(&plant.registry, &decoded.batches);
    assert_eq!(decoded.samples as usize, found.len());
    let rejects = decoded.rejects.listed.iter().map(|r| format!("{} {}: {}", r.row, r.field, r.reason));
    (found, rejects.collect())
}

#[test]
fn names_come_in_any_order_and_values_in_either_form() {
    let (found, rejects) = decoded(
        br#"{"product_key":"pkT","device_key":"dkT","time":1000,"Temp":1.5,"ActPower":{"value":2,"quality":3}}

{"Flow_quality":4,"Flow":0.1,"Temp":null,"time":"2026-01-01T00:00:00.5+01:00","device_key":"dkS1","product_key":"pkS"}
{"Pos":{"lat": 1},"BranchCur":[1, 2],"time":3000,"product_key":"pkS","device_key":"dkS1"}"#,
    );
    assert_eq!(rejects, Vec::<String>::new());
    let expected = [
        "dkS1.BranchCur@3000=[1,2]",
        "dkS1.Flow@1767222000500=0.10000000149011612#4",
        r#"dkS1.Pos@3000={"lat":1}"#,
        "dkT.ActPower@1000=2.0#3",
        "dkT.Temp@1000=1.5",
    ];
    assert_eq!(found, expected);
}

#[test]
fn wrong_lines_and_values_are_named_and_the_rest_goes_on() {
    let (found, rejects) = decoded(
        b"{\"product_key\":\"pkT\",\"device_key\":\"dkT\",\"time\":1000,\"Temp\":1e999,\"Count\":7,\"Nope\":1}\n\
          {\"Temp\":NaN}\n\
          \xff\n\
          {\"time\":1,\"Temp\":1}\n\
          {\"asset_id\":\"nobody\",\"time\":1,\"Temp\":1}\n\
          {\"asset_id\":7,\"time\":1,\"Temp\":1}\n\
          {\"product_key\":\"pkT\",\"device_key\":\"dkT\",\"Temp\":1}\n\
          {\"product_key\":\"pkT\",\"device_key\":\"dkT\",\"time\":\"noon\",\"Temp\":1}\n\
          {\"product_key\":\"pkT\",\"device_key\":\"dkT\",\"time\":-1,\"Temp\":1}\n\
          {\"product_key\":\"pkX\",\"device_key\":\"dkX\",\"time\":1,\"Temp\":1}\n\
          [1]\n\
          {\"product_key\":\"pkT\",\"device_key\":\"dkT\",\"time\":2000,\"Temp\":2,\"Temp_quality\":1,\"Label\":\"x\"}\n",
    );
    assert_eq!(found, ["dkT.Count@1000=7", "dkT.Label@2000=x"]);
    let expected = [
        "0 Nope: model Turbine has no such point",
        "0 Temp: ",
        "1 : is not a valid row: ",
        "2 : is not UTF-8 at byte 0",
        "3 asset_id: is missing",
        "4 asset_id: asset \"nobody\" does not exist",
        "5 asset_id: expected a text, got 7",
        "6 time: is missing",
        "7 time: expected milliseconds or RFC 3339",
        "8 time: -1 ms is before 1970",
        "9 device_key: device \"dkX\" of product \"pkX\" is not of model Turbine",
        "10 : is not a valid row: ",
        "11 Temp: has a quality",
    ];
    assert_eq!(rejects.len(), expected.len(), "{rejects:#?}");
    for (reject, says) in rejects.iter().zip(expected) {
        assert!(reject.starts_with(says), "{reject} / {says}");
    }
}

#[test]
fn a_line_has_a_bound() {
    let line = format!(
        r#"{{"product_key":"pkT","device_key":"dkT","time":1,"Label":"{}"}}"#,
        "x".repeat(LINE_BYTES_MAX)
    );
    let (found, rejects) = decoded(line.as_bytes());
    assert_eq!((found.len(), rejects.len()), (0, 1));
    assert!(rejects[0].contains("more than 524288"), "{}", rejects[0].len());
}
