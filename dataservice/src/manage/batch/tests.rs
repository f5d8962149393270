use serde_json::{Value as Json, json};
use wattline_registry::DEFAULT_ORG;

use super::*;
use crate::manage::tests::Plant;
use crate::params::{Params, Version};
use crate::selection::Caller;

fn ask<T>(query: &[(&str, &str)], body: &[u8], act: impl FnOnce(&Request<'_>) -> Result<T>) -> Result<T> {
    let pairs = query.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let params = Params::from_pairs(Version::V21, pairs.chain([("orgId".to_owned(), "default".to_owned())]));
    let request = Request {
        params: &params,
        body,
        caller: &Caller::of_organization(DEFAULT_ORG),
        operator: "demoKey",
        now_micros: 5,
        is_online: &|_| false,
    };
    act(&request)
}

fn import(plant: &Plant, query: &[(&str, &str)], file: &[u8]) -> Result<(Json, String)> {
    let query = [query, &[("productKey", "pk02")]].concat();
    let done = ask(&query, file, |request| super::import(&plant.registry, request))?;
    Ok((serde_json::from_slice(&done.done.body).unwrap(), done.errmsg))
}

#[track_caller]
fn refused(plant: &Plant, file: &[u8], part: &str) {
    let before = plant.registry.device_count();
    let error = import(plant, &[], file).expect_err(part);
    assert_eq!(error.managed_code(), 99_400, "{error}");
    assert!(error.to_string().contains(part), "{error}");
    assert_eq!(plant.registry.device_count(), before);
}

const HEADING: [&str; 5] = ["DeviceKey*", "Device Name*", "Time Zone*", "hub_height*", "owner"];

/// A file with this heading and these rows below.
fn file(heading: &[&str], rows: &[Vec<&str>]) -> Vec<u8> {
    let owned = |cells: &[&str]| cells.iter().map(|&text| text.to_owned()).collect();
    let all = std::iter::once(heading).chain(rows.iter().map(Vec::as_slice));
    sheet::write(&all.map(owned).collect::<Vec<_>>()).unwrap()
}

#[test]
fn good_rows_are_registered_and_the_others_are_told_by_line() {
    let plant = Plant::new();
    let long = "x".repeat(65);
    let rows = [
        vec!["wt-10", "WT 10", "+08:00", "90", "us"],
        vec!["wt", "short key", "+08:00", "90"],
        vec!["wt-11", "", "+08:00", "90"],
        vec!["wt-10", "twice", "+08:00", "90"],
        vec!["wt-07", "there already", "+08:00", "90"],
        vec!["wt-12", "no zone", "Mars", "90"],
        vec!["wt-13", "no number", "+08:00", "high"],
        vec!["wt-14", "nothing required", "Asia/Shanghai", ""],
        vec!["2001", "十六", "Europe/Berlin", "95"],
        vec!["wt 15", &long, "", "1.5"],
    ];
    let bytes = file(&HEADING, &rows);
    let (checked, errmsg) = import(&plant, &[("checkOnly", "true")], &bytes).unwrap();
    assert_eq!((&checked["data"]["valid"], &checked["data"]["imported"]), (&json!(2), &json!(0)));
    let before = plant.registry.device_count();
    let (answer, told) = import(&plant, &[], &bytes).unwrap();
    assert_eq!(told, errmsg);
    let data = &answer["data"];
    assert_eq!(
        (&answer["code"], &data["total"], &data["imported"], &data["failed"]),
        (&json!(0), &json!(10), &json!(2), &json!(8))
    );
    let lines: Vec<&str> = errmsg.lines().collect();
    for (line, begin, part) in [
        (0, "Line 3: DeviceKey: \"wt\"", "4 to 64"),
        (1, "Line 4: Device Name is required", ""),
        (2, "Line 5: DeviceKey: wt-10", "line 2"),
        (3, "Line 6: DeviceKey: wt-07", "taken"),
        (4, "Line 7: Time Zone: ", "Mars"),
        (5, "Line 8: hub_height: ", "INT"),
        (6, "Line 9: hub_height: ", "required"),
        (7, "Line 11: DeviceKey: \"wt 15\"", "Time Zone is required"),
    ] {
        assert!(lines[line].starts_with(begin) && lines[line].contains(part), "{}", lines[line]);
    }
    assert_eq!(lines.len(), 8);
    assert_eq!(plant.registry.device_count(), before + 2);
    let made = plant.registry.device("pk02", "2001").unwrap();
    assert_eq!((&*made.name, &*made.timezone), ("十六", "Europe/Berlin"));
    assert_eq!(made.attributes["hub_height"], json!(95));
    assert_eq!(data["devices"][1]["line"], 10);
    assert_eq!(data["devices"][1]["deviceSecret"], made.secret.expose());
    let noted = plant.registry.audit(0, 1).unwrap().remove(0);
    assert_eq!((noted.action.as_str(), noted.item.as_str()), ("register devices", "pk02"));
}

#[test]
fn the_template_comes_back_filled_in() {
    let plant = Plant::new();
    let query = [("productKey", "pk02"), ("deviceKey", "wt-07")];
    let made = ask(&query, b"", |request| template(&plant.registry, request)).unwrap();
    assert_eq!(made.name, "Template_pk02.xlsx");
    let rows = sheet::read(&made.bytes, 10).unwrap().rows;
    let text = |row: u32| -> Vec<String> { rows[&row].values().map(Cell::text).collect() };
    assert_eq!(text(1), HEADING);
    assert_eq!(text(3), ["+08:00", "80"], "the attributes of the device are in the third row");
    assert!(text(2)[0].starts_with("4 to 64"));
    let error = import(&plant, &[], &made.bytes).unwrap().1;
    assert!(error.starts_with("Line 3: DeviceKey is required; Device Name is required"), "{error}");
    let blank = ask(&[("productKey", "pk02")], b"", |request| template(&plant.registry, request)).unwrap();
    refused(&plant, &blank.bytes, "no device");
    let nobody = ask(&[("productKey", "pk2")], b"", |request| template(&plant.registry, request));
    assert_eq!(nobody.err().unwrap().managed_code(), 99_404);
}

#[test]
fn a_thousand_rows_fit_and_one_more_does_not() {
    let plant = Plant::new();
    let names: Vec<String> = (0..1_001).map(|i| format!("wt-{i:04}")).collect();
    let row = |name| vec![name, "n", "+08:00", "90"];
    let rows: Vec<Vec<&str>> = names.iter().map(|name| row(name.as_str())).collect();
    refused(&plant, &file(&HEADING, &rows), "1001 devices");
    let (answer, errmsg) = import(&plant, &[], &file(&HEADING, &rows[..1_000])).unwrap();
    assert_eq!((answer["data"]["imported"].as_i64(), errmsg.as_str()), (Some(1_000), ""));
}

#[test]
fn columns_are_those_of_the_model() {
    let plant = Plant::new();
    let row = vec![vec!["wt-10", "n", "+08:00", "90", "x"]];
    refused(
        &plant,
        &file(&["DeviceKey", "Device Name", "Time Zone", "hub_height", "colour"], &row),
        "colour",
    );
    refused(&plant, &file(&["DeviceKey", "Device Name", "hub_height"], &row), "Time Zone");
    refused(&plant, &file(&["DeviceKey", "Device Name", "Time Zone", "owner", "owner"], &row), "twice");
    refused(&plant, &file(&[], &[]), "heading");
}

#[test]
fn what_is_no_sheet_or_too_much_of_one_is_refused() {
    let plant = Plant::new();
    refused(&plant, b"", "no .xlsx");
    refused(&plant, b"DeviceKey,Device Name\n", "no .xlsx");
    refused(&plant, &vec![0; BYTES_MAX + 1], "bytes");
    refused(&plant, &sheet::archive_of(&[("readme.txt", "hello")]), "no xl/workbook.xml");
    // Two hundred megabytes of nothing in two hundred kilobytes.
    let bomb = sheet::archive_of(&[("xl/workbook.xml", &" ".repeat(200 << 20))]);
    assert!(bomb.len() < 1 << 20);
    refused(&plant, &bomb, "unpacked");
    let names: Vec<String> = (0..1_001).map(|i| format!("f{i}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    refused(&plant, &sheet::archive_of(&many), "entries");
    let whole = file(&HEADING, &[vec!["wt-10", "n", "+08:00", "90"]]);
    refused(&plant, &whole[..whole.len() / 2], "no .xlsx");
}

/// A book whose first sheet has this as its rows.
fn book(rows: &str, strings: &str) -> Vec<u8> {
    let sheet = format!("<worksheet><sheetData>{rows}</sheetData></worksheet>");
    sheet::archive_of(&[
        ("xl/workbook.xml", r#"<workbook xmlns:r="r"><sheets><sheet r:id="a"/></sheets></workbook>"#),
        ("xl/_rels/workbook.xml.rels", r#"<R><Relationship Id="a" Target="/xl/s.xml"/></R>"#),
        ("xl/sharedStrings.xml", &format!("<sst>{strings}</sst>")),
        ("xl/s.xml", &sheet),
    ])
}

#[test]
fn the_inside_of_a_sheet_is_not_trusted() {
    let plant = Plant::new();
    // The corners of a sheet: what lies between them must never be held.
    let corner = r#"<row><c r="A1" t="str"><v>x</v></c><c r="XFD1048576"><v>1</v></c></row>"#;
    refused(&plant, &book(corner, ""), "columns");
    refused(&plant, &book(r#"<row><c r="A1" t="s"><v>7</v></c></row>"#, "<si><t>a</t></si>"), "not there");
    refused(&plant, &book(r#"<row><c r="1A"><v>7</v></c></row>"#, ""), "no cell");
    refused(&plant, &book(r#"<row><c r="A1"><v>seven</v></c></row>"#, ""), "number");
    refused(&plant, &book(r#"<row><c r="A1" t="str"><v>&lol;</v></c></row>"#, ""), "stands for nothing");
    refused(&plant, &book(r#"<row><c r="A1"><v>7"#, ""), "no .xlsx");
    let rows: String = (1..=1_003).map(|i| format!(r#"<row r="{i}"><c><v>1</v></c></row>"#)).collect();
    refused(&plant, &book(&rows, ""), "more than 1002 rows");
    let long = "x".repeat(1 << 20);
    let cells = r#"<c t="s"><v>0</v></c>"#.repeat(20);
    refused(&plant, &book(&format!("<row>{cells}</row>"), &format!("<si><t>{long}</t></si>")), "texts");
    refused(&plant, &book("", &"<si/>".repeat(300_001)), "texts");
}

#[test]
fn files_of_another_program_are_read() {
    // Written by openpyxl: texts are shared, numbers are numbers, one is a date, one has an entity, one a formula.
    let read = sheet::read(include_bytes!("openpyxl.xlsx"), 10).unwrap();
    assert!(!read.since_1904);
    let text = |row: u32| -> Vec<String> { read.rows[&row].values().map(Cell::text).collect() };
    assert_eq!(text(1), ["DeviceKey", "Device Name", "Time Zone", "hub_height", "owner"]);
    assert_eq!(text(2), ["wt-20", "WT & 20", "+08:00", "90", "us"]);
    assert_eq!(read.rows[&2][&3], Cell::Number(90.0));
    assert_eq!(text(4), ["2001", "风机", "Europe/Berlin", "true", "45356.5"]);
    assert_eq!(read.rows[&4][&3], Cell::Flag(true));
    assert_eq!(date(45_356.5, false).as_deref(), Some("2024-03-05 12:00:00"));
    assert_eq!(date(45_356.5 - 1_462.0, true).as_deref(), Some("2024-03-05 12:00:00"));
    assert_eq!((date(-1.0, false), date(f64::NAN, false), date(1e300, false)), (None, None, None));
}
