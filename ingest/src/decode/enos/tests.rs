use proptest::prelude::*;
use wattline_model::{Channel, DataType};

use wattline_registry::{DEFAULT_ORG, NewPoint};

use super::Upload;
use crate::code::Code;
use crate::fixture::{NOW, Plant, Publisher};

const T: i64 = 1_767_225_000_000;

/// One message of the turbine: its code, its message, the samples.
fn post(payload: &str) -> (u16, String, Vec<String>) {
    let plant = Plant::new();
    let mut publisher = Publisher::new(&plant, "pkT", "dkT");
    let outcome = publisher.send(Upload::Post, payload.as_bytes());
    let (code, message) = (outcome.code.number(), outcome.message.clone());
    let samples = publisher.samples();
    assert_eq!(outcome.samples as usize, samples.len());
    (code, message, samples)
}

fn points(points: &str) -> String {
    format!(
        r#"{{"id":"41","version":"1.0","method":"thing.measurepoint.post","params":{{"measurepoints":{points},"time":{T}}}}}"#
    )
}

#[track_caller]
fn accepts(value: &str, sample: &str) {
    let (code, message, samples) = post(&points(&format!("{{{value}}}")));
    assert_eq!((code, message.as_str()), (200, ""), "{value}");
    assert_eq!(samples, [format!("dkT.{}", sample.replace('@', &format!("@{T}")))], "{value}");
}

#[track_caller]
fn refuses(value: &str, code: u16, says: &str) {
    let (got, message, samples) = post(&points(&format!("{{{value}}}")));
    assert_eq!(got, code, "{value}: {message}");
    assert!(message.contains(says), "{value}: {message}");
    assert_eq!(samples, Vec::<String>::new(), "{value}");
}

#[test]
fn the_documented_message_is_taken_whole() {
    let (code, message, samples) = post(&format!(
        r#"{{"id":"41","version":"1.0","method":"thing.measurepoint.post",
            "params":{{"measurepoints":{{"ActPower":{{"value":1520.5,"quality":0}},"Temp":36.4,
            "BranchCur":[1.1, 2.2 ,3.3],"Pos":{{"lat":47.1, "lon":15.4}}}},"time":{T}}}}}"#
    ));
    assert_eq!((code, message.as_str()), (200, ""));
    let expected = [
        format!("dkT.ActPower@{T}=1520.5#0"),
        format!("dkT.BranchCur@{T}=[1.1,2.2,3.3]"),
        format!(r#"dkT.Pos@{T}={{"lat":47.1,"lon":15.4}}"#),
        format!("dkT.Temp@{T}=36.4"),
    ];
    assert_eq!(samples, expected);
}

#[test]
fn every_type_takes_what_it_documents() {
    accepts(r#""Temp":-0.0"#, "Temp@=-0.0");
    accepts(r#""Temp":5"#, "Temp@=5.0");
    accepts(r#""Temp":18446744073709551616"#, "Temp@=1.8446744073709552e19");
    // The float nearest to the text; by way of a double it would be 1.0 (the tie goes to even).
    accepts(r#""Speed":1.00000005960464484"#, "Speed@=1.0000001192092896");
    accepts(r#""Speed":0.1"#, "Speed@=0.10000000149011612");
    accepts(r#""Speed":{"value":0.1}"#, "Speed@=0.10000000149011612");
    accepts(r#""Count":-2147483648"#, "Count@=-2147483648");
    accepts(r#""Count":5.0"#, "Count@=5");
    accepts(r#""Total":9223372036854775807"#, "Total@=9223372036854775807");
    accepts(r#""On":1"#, "On@=true");
    accepts(r#""On":false"#, "On@=false");
    accepts(r#""Label":"gr\u00fc\u00df \" dich""#, "Label@=grüß \" dich");
    accepts(r#""State":3"#, "State@=3");
    accepts(r#""Mode":"b""#, "Mode@=b");
    accepts(r#""Day":"2026-01-02 03:04:05""#, "Day@=1767323045000000");
    accepts(r#""At":1767225600001"#, "At@=1767225600001000");
    accepts(r#""At":"1767225600001""#, "At@=1767225600001000");
    accepts(r#""BranchCur":[]"#, "BranchCur@=[]");
    accepts(r#""BranchCur":["a, b]", "c"]"#, r#"BranchCur@=["a, b]","c"]"#);
    accepts(r#""ActPower":7"#, "ActPower@=7.0");
    accepts(r#""Flow":{"quality":9,"value":2.5}"#, "Flow@=2.5#9");
    accepts(r#""Temp":1,"Temp":2"#, "Temp@=2.0");
}

#[test]
fn every_type_refuses_the_rest_by_name() {
    refuses(r#""Nope":1"#, 1204, "params.measurepoints.Nope: model Turbine has no such point");
    refuses(r#""Temp":"36.4""#, 1206, "params.measurepoints.Temp: expected a number, got the text \"36.4\"");
    refuses(r#""Temp":null"#, 1206, "got null");
    refuses(r#""Temp":true"#, 1206, "got true");
    refuses(r#""Temp":[1]"#, 1206, "got a list");
    refuses(r#""Temp":{"value":{"value":1}}"#, 1206, "got a list or object");
    refuses(r#""Temp":{}"#, 1206, "got null");
    refuses(r#""Temp":{"value":1,"unit":"C"}"#, 1206, "\"unit\"");
    refuses(r#""Temp":1e999"#, 1206, "params.measurepoints.Temp");
    refuses(r#""ActPower":{"value":-1e999,"quality":1}"#, 1206, "params.measurepoints.ActPower");
    refuses(r#""Speed":1e39"#, 1206, "32-bit float");
    refuses(r#""Count":2147483648"#, 1206, "32-bit integer");
    refuses(r#""Count":1.5"#, 1206, "32-bit integer");
    refuses(r#""Total":9223372036854775808"#, 1206, "64-bit integer");
    refuses(r#""On":2"#, 1206, "true, false, 0 or 1");
    refuses(r#""On":"true""#, 1206, "true, false, 0 or 1");
    refuses(r#""Label":"""#, 1206, "empty");
    refuses(&format!(r#""Label":"{}""#, "x".repeat(1025)), 1206, "1025 bytes");
    refuses(r#""State":4"#, 1204, "not a value of this enumeration");
    refuses(r#""Mode":"c""#, 1204, "not a value of this enumeration");
    refuses(r#""Mode":1"#, 1206, "a text");
    refuses(r#""Day":"2026-02-30 00:00:00""#, 1206, "yyyy-MM-dd");
    refuses(r#""Day":"2026-01-02T03:04:05""#, 1206, "yyyy-MM-dd");
    refuses(r#""At":"soon""#, 1206, "UTC milliseconds");
    refuses(&format!(r#""BranchCur":[{}1]"#, "1,".repeat(128)), 1206, "129 items");
    refuses(r#""BranchCur":{"a":1}"#, 1206, "has a member \"a\"");
    refuses(r#""BranchCur":"x""#, 1206, "expected a list");
    refuses(r#""Pos":[1]"#, 1206, "expected an object");
    refuses(r#""ActPower":{"value":1,"quality":10}"#, 1206, "quality from 0 to 9");
    refuses(r#""Temp":{"value":1,"quality":0}"#, 1204, "quality");
}

#[test]
fn one_bad_point_refuses_the_message() {
    let (code, _, samples) = post(&points(r#"{"Temp":1,"Nope":2,"Count":3}"#));
    assert_eq!((code, samples.len()), (1204, 0));
}

#[test]
fn what_is_not_json_says_where() {
    for bad in [
        r#"{"params":{"measurepoints":{"Temp":NaN}}}"#,
        r#"{"params":{"measurepoints":{"Temp":Infinity}}}"#,
        r#"{"params":{"measurepoints":{"Temp":1}"#,
        r#"{"params":{"measurepoints":[1]}}"#,
        r#"{"params":[1]}"#,
        r#"{"params":"x"}"#,
        r#"{"id":{},"params":{"measurepoints":{"Temp":1}}}"#,
        r#"{"params":{"measurepoints":{"Temp":1}}} trailing"#,
        "[]",
        "nonsense",
    ] {
        let (code, message, _) = post(bad);
        assert_eq!(code, 1220, "{bad}: {message}");
        assert!(message.contains("line 1 column"), "{bad}: {message}");
    }
    let plant = Plant::new();
    let outcome = Publisher::new(&plant, "pkT", "dkT").send(Upload::Post, b"{\xff}").message;
    assert_eq!(outcome, "payload is not UTF-8 at byte 1");
}

#[test]
fn nothing_in_it_is_1251() {
    for empty in ["", "  ", "{}", r#"{"params":null}"#, r#"{"params":{}}"#, r#"{"params":{"time":1}}"#] {
        assert_eq!(post(empty).0, 1251, "{empty}");
    }
    assert_eq!(post(r#"{"params":{"measurepoints":{}}}"#).0, 1251);
}

#[test]
fn the_method_must_be_the_topics_wherever_it_stands() {
    let with = |method: &str| format!(r#"{{"params":{{"measurepoints":{{"Temp":1}}}},"method":"{method}"}}"#);
    let (code, message, samples) = post(&with("thing.measurepoint.resume"));
    assert_eq!((code, samples.len()), (1260, 0));
    assert!(message.contains("thing.measurepoint.resume") && message.contains("thing.measurepoint.post"));
    assert_eq!(post(&with("thing.measurepoint.post")).0, 200);
    assert_eq!(post(r#"{"params":{"measurepoints":{"Temp":1}}}"#).0, 200, "no method at all");
}

#[test]
fn times_have_bounds_and_a_default() {
    let at = |time: &str| post(&format!(r#"{{"params":{{"time":{time},"measurepoints":{{"Temp":1}}}}}}"#));
    let now = NOW.millis();
    let day = 86_400_000;
    for (time, ms) in [
        ("0", 0),
        ("null", now),
        ("1767225600000", now),
        ("\"1767225600000\"", now),
        ("1767225599999.75", now - 1),
        (&(now + day).to_string(), now + day),
    ] {
        assert_eq!(at(time).2, [format!("dkT.Temp@{ms}=1.0")], "{time}");
    }
    let year_9999 = "253402300799000";
    for time in [
        "-1",
        "-62135596800000",
        year_9999,
        &(now + day + 1).to_string(),
        "1e300",
        "99999999999999999999",
        "\"x\"",
        "true",
    ] {
        let (code, message, samples) = at(time);
        assert_eq!((code, samples.len()), (1206, 0), "{time}");
        assert!(message.starts_with("params.time: "), "{time}: {message}");
    }
}

#[test]
fn ids_come_back_as_text_also_from_failures() {
    let plant = Plant::new();
    let mut publisher = Publisher::new(&plant, "pkT", "dkT");
    let mut id = |payload: &str| {
        let outcome = publisher.send(Upload::Post, payload.as_bytes());
        outcome.id.map(|id| id.into_owned())
    };
    assert_eq!(id(r#"{"id":"41","params":{}}"#).as_deref(), Some("41"));
    assert_eq!(id(r#"{"id":41,"params":{}}"#).as_deref(), Some("41"));
    assert_eq!(id(r#"{"id":"7","params":{"#).as_deref(), Some("7"));
    assert_eq!(id(r#"{"params":{"measurepoints":{"Nope":1}},"id":"8"}"#).as_deref(), Some("8"));
    assert_eq!(id(r#"{"params":{}}"#), None);
    assert_eq!(id(&format!(r#"{{"id":"{}"}}"#, "9".repeat(300))), None);
}

/// A batch sent by the gateway; sub-device `dkS1` is online, `dkS2` is not.
fn batch(payload: &str) -> (u16, String, Vec<String>) {
    let plant = Plant::new();
    let mut publisher = Publisher::new(&plant, "pkG", "dkG");
    publisher.online.insert(plant.device("pkS", "dkS1").asset);
    let outcome = publisher.send(Upload::PostBatch, payload.as_bytes());
    (outcome.code.number(), outcome.message, publisher.samples())
}

#[test]
fn a_batch_carries_several_devices_and_times() {
    let (code, message, samples) = batch(
        r#"{"id":"42","method":"thing.measurepoint.post.batch","params":[
            {"productKey":"pkS","deviceKey":"dkS1","measurepoints":{"Temp":1.5},"time":1000},
            {"measurepoints":{"Temp":2.5,"Speed":0.5},"time":2000,"productKey":"pkS","deviceKey":"dkS1"},
            {"productKey":"pkS","measurepoints":{"Temp":3.5},"time":3000,"deviceKey":"dkS1"},
            {"measurepo\u0069nts":{"Temp":4.5},"time":4000},
            {"deviceKey":"dkG","productKey":"pkG","measurepoints" : {"Temp":5.5},"time":5000},
            {"measurepoints":{"Temp":6.5}}]}"#,
    );
    assert_eq!((code, message.as_str()), (200, ""));
    let expected = [
        "dkG.Temp@1767225600000=6.5",
        "dkG.Temp@4000=4.5",
        "dkG.Temp@5000=5.5",
        "dkS1.Speed@2000=0.5",
        "dkS1.Temp@1000=1.5",
        "dkS1.Temp@2000=2.5",
        "dkS1.Temp@3000=3.5",
    ];
    assert_eq!(samples, expected);
}

#[test]
fn what_the_python_sdk_leaves_out_it_sends_empty() {
    let (code, message, samples) = batch(
        r#"{"allowOfflineSubDevice":"","skipInvalidMeasurepoints":"","params":[
            {"productKey":"","deviceKey":"","measurepoints":{"Temp":1.5},"time":1000}]}"#,
    );
    assert_eq!((code, message.as_str()), (200, ""));
    assert_eq!(samples, ["dkG.Temp@1000=1.5"]);
}

#[test]
fn batches_refuse_devices_that_are_not_theirs() {
    for (keys, code, says) in [
        (r#""productKey":"pkS","deviceKey":"nobody""#, 1257, "params[1]: device nobody&pkS does not exist"),
        (r#""productKey":"pkX","deviceKey":"dkX""#, 1212, "may write for"),
        (r#""productKey":"pkS""#, 1257, "params[1].deviceKey is missing"),
        (r#""deviceKey":"dkS1""#, 1257, "params[1].productKey is missing"),
        (r#""productKey":"pkS","deviceKey":"dkS2""#, 1212, "params[1]: sub-device dkS2 is offline"),
    ] {
        for entry in [
            format!(r#"{{{keys},"measurepoints":{{"Temp":1}}}}"#),
            format!(r#"{{"measurepoints":{{"Temp":1}},{keys}}}"#),
        ] {
            // A flag about points forgives nothing about devices.
            let payload = format!(
                r#"{{"skipInvalidMeasurepoints":true,"params":[{{"measurepoints":{{"Temp":1}}}},{entry}]}}"#
            );
            let (got, message, samples) = batch(&payload);
            assert_eq!((got, samples.len()), (code, 0), "{entry}");
            assert!(message.contains(says), "{entry}: {message}");
        }
    }
}

#[test]
fn only_a_gateway_writes_for_others() {
    let plant = Plant::new();
    let mut publisher = Publisher::new(&plant, "pkT", "dkT");
    let payload = br#"{"allowOfflineSubDevice":true,"params":[{"productKey":"pkS","deviceKey":"dkS1","measurepoints":{"Temp":1}}]}"#;
    assert_eq!(publisher.send(Upload::PostBatch, payload).code, Code::SubDevice);
    assert!(publisher.rows.is_empty());
}

#[test]
fn allow_offline_lets_offline_sub_devices_in_from_either_end() {
    let entry = r#"{"productKey":"pkS","deviceKey":"dkS2","measurepoints":{"Temp":1},"time":1000}"#;
    for payload in [
        format!(r#"{{"allowOfflineSubDevice":true,"params":[{entry}]}}"#),
        format!(r#"{{"params":[{entry}],"allowOfflineSubDevice":"true"}}"#),
    ] {
        assert_eq!(batch(&payload), (200, String::new(), vec!["dkS2.Temp@1000=1.0".to_owned()]));
    }
    assert_eq!(batch(&format!(r#"{{"params":[{entry}],"allowOfflineSubDevice":false}}"#)).0, 1212);
}

#[test]
fn skip_invalid_keeps_the_valid_points_and_names_the_first_other() {
    let entries = r#"[{"measurepoints":{"Temp":1,"Nope":2,"Count":1e999},"time":1000},
        {"measurepoints":{"Temp":2},"time":-5},{"measurepoints":{"Nope":2},"time":3000},
        {"measurepoints":{"Temp":4},"time":4000}]"#;
    let (code, message, samples) =
        batch(&format!(r#"{{"params":{entries},"skipInvalidMeasurepoints":true}}"#));
    assert_eq!(code, 200);
    assert_eq!(samples, ["dkG.Temp@1000=1.0", "dkG.Temp@4000=4.0"]);
    assert!(message.starts_with("skipped 4, the first: params[0].measurepoints.Nope"), "{message}");
    let (code, message, samples) =
        batch(&format!(r#"{{"skipInvalidMeasurepoints":false,"params":{entries}}}"#));
    assert_eq!((code, samples.len()), (1204, 0));
    assert!(message.starts_with("params[0].measurepoints.Nope"), "{message}");
}

#[test]
fn faults_of_a_first_reading_do_not_stay() {
    // Read as the gateway's own first; both have the point, so the second reading must replace, not add.
    let (code, message, samples) = batch(
        r#"{"params":[{"measurepoints":{"Temp":1,"Nope":2},"time":1000,"productKey":"pkS","deviceKey":"dkS1"}],
            "skipInvalidMeasurepoints":true}"#,
    );
    assert_eq!((code, samples), (200, vec!["dkS1.Temp@1000=1.0".to_owned()]));
    assert!(message.starts_with("skipped 1, "), "{message}");
}

#[test]
fn empty_batches_are_1251() {
    for params in ["[]", "null", "[{}]", r#"[{"measurepoints":{}}]"#] {
        assert_eq!(batch(&format!(r#"{{"params":{params}}}"#)).0, 1251, "{params}");
    }
}

#[test]
fn a_refused_message_leaves_its_neighbours() {
    let plant = Plant::new();
    let mut publisher = Publisher::new(&plant, "pkT", "dkT");
    let good = |t: i64| format!(r#"{{"params":{{"measurepoints":{{"Temp":1,"On":true}},"time":{t}}}}}"#);
    assert_eq!(publisher.send(Upload::Post, good(1).as_bytes()).code, Code::Ok);
    assert_eq!(
        publisher.send(Upload::Post, points(r#"{"Temp":1,"Count":"x"}"#).as_bytes()).code,
        Code::Format
    );
    assert_eq!(publisher.send(Upload::Post, br#"{"params":{"measurepoints":{"Temp":3"#).code, Code::Json);
    assert_eq!(publisher.send(Upload::Post, good(2).as_bytes()).code, Code::Ok);
    let samples = publisher.samples();
    assert_eq!(samples, ["dkT.On@1=true", "dkT.On@2=true", "dkT.Temp@1=1.0", "dkT.Temp@2=1.0"]);
}

#[test]
fn back_fill_goes_by_the_offline_channel() {
    let plant = Plant::new();
    for (upload, channel) in [(Upload::Post, Channel::RealTime), (Upload::Resume, Channel::Offline)] {
        let mut publisher = Publisher::new(&plant, "pkT", "dkT");
        let outcome = publisher.send(upload, br#"{"params":{"measurepoints":{"Temp":1}}}"#);
        assert_eq!((outcome.code, outcome.untimed), (Code::Ok, 1));
        assert_eq!(publisher.rows.finish()[0].channel, channel);
    }
}

#[test]
fn unknown_points_are_collected_with_the_types_their_values_suggest() {
    let plant = Plant::new();
    let mut publisher = Publisher::new(&plant, "pkT", "dkT");
    publisher.collect_missing = true;
    let payload = points(
        r#"{"a":1,"b":true,"c":"x","d":[1],"e":{"lat":1},"f":{"value":2,"quality":1},"g":{"value":"s"},"Temp":1}"#,
    );
    let outcome = publisher.send(Upload::Post, payload.as_bytes());
    assert_eq!((outcome.code, outcome.samples), (Code::Model, 0));
    let found: Vec<_> =
        outcome.missing.iter().map(|m| (m.key.as_str(), m.data_type, m.has_quality)).collect();
    let expected = [
        ("a", DataType::Double, false),
        ("b", DataType::Bool, false),
        ("c", DataType::String, false),
        ("d", DataType::Array, false),
        ("e", DataType::Struct, false),
        ("f", DataType::Double, true),
        ("g", DataType::String, false),
    ];
    assert_eq!(found, expected);
    assert!(publisher.rows.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever comes: no panic, and a message that is not answered 200 leaves nothing behind.
    #[test]
    fn any_text_is_answered(payload in json_like()) {
        PLANT.with(|plant| {
            for upload in Upload::ALL {
                let mut publisher = Publisher::new(plant, "pkG", "dkG");
                let outcome = publisher.send(upload, payload.as_bytes());
                let (code, samples) = (outcome.code, outcome.samples);
                prop_assert_eq!(publisher.rows.points() as u64, samples);
                prop_assert!(code == Code::Ok || samples == 0);
                drop(publisher.rows.finish());
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_bytes_are_answered(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        PLANT.with(|plant| {
            let mut publisher = Publisher::new(plant, "pkT", "dkT");
            let code = publisher.send(Upload::Post, &payload).code;
            assert_ne!(code, Code::Ok);
        });
    }
}

thread_local! {
    static PLANT: Plant = Plant::new();
}

/// Text made of the words of the protocol, in any order: far more of it gets past the JSON reader than of noise.
fn json_like() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"id\":",
        "\"params\":",
        "\"params\":[{",
        "\"params\":{",
        "}]",
        "\"measurepoints\":{",
        "\"time\":1000,",
        "\"time\":-1",
        "\"Temp\":1",
        "\"Temp\":1,",
        "\"Nope\":2,",
        "\"Speed\":1e99,",
        "\"Count\":1e999,",
        "\"Pos\":{\"a\":1}",
        "\"BranchCur\":[1,2]",
        "\"productKey\":\"pkS\",",
        "\"deviceKey\":\"dkS1\",",
        "null",
        "true",
        "\"ActPower\":{\"value\":1,\"quality\":2}",
        "\"skipInvalidMeasurepoints\":true,",
        "\"allowOfflineSubDevice\":true,",
        "\"\\u00",
        "1e999",
        "-0",
        " ",
    ]);
    let loose = prop::collection::vec(word.clone(), 0..12).prop_map(|words| words.concat());
    let tight = (prop::collection::vec(word, 0..6)).prop_map(|words| {
        format!(r#"{{"id":1,"params":[{{"measurepoints":{{"Temp":1}},{}"productKey":"pkS","deviceKey":"dkS1"}}]}}"#, words.concat())
    });
    prop_oneof![loose, tight]
}

#[test]
fn what_a_model_does_not_define_becomes_a_row_of_texts_of_the_same_device_and_time() {
    let plant = Plant::new();
    let registry = &plant.registry;
    let kept = registry.keep_unformatted(DEFAULT_ORG, None, "ann", 0).unwrap();
    let message = r#"{"id":"1","version":"1.0","method":"thing.measurepoint.post.batch","params":[
        {"measurepoints":{"Temp":1.5,"reg":"0x1F","n":null},"time":1767225000000},
        {"productKey":"pkS","deviceKey":"dkS1","measurepoints":{"reg":{"value":7},"Temp":2},"time":1767225000001}],
        "skipInvalidMeasurepoints":true}"#;
    let mut publisher = Publisher::new(&plant, "pkG", "dkG");
    publisher.online.insert(plant.device("pkS", "dkS1").asset);
    let outcome = publisher.send(Upload::PostBatch, message.as_bytes());
    assert_eq!(
        outcome.missing.iter().map(|m| (m.model, m.key.as_str())).collect::<Vec<_>>(),
        [(kept.model, "reg"); 2]
    );
    assert!(publisher.rows.is_empty(), "decoded again once the key is there");
    registry.add_points(kept.model, vec![NewPoint::new("reg", DataType::String)]).unwrap();
    let outcome = publisher.send(Upload::PostBatch, message.as_bytes());
    assert_eq!((outcome.code, outcome.invalid), (Code::Ok, 1), "null is nothing to keep");
    let expected = [
        "dkG.Temp@1767225000000=1.5",
        "dkG.reg@1767225000000=0x1F",
        "dkS1.Temp@1767225000001=2.0",
        "dkS1.reg@1767225000001={\"value\":7}",
    ];
    assert_eq!(publisher.samples(), expected);
}
