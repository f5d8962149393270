//! Any text as a search expression: it is read or refused with a place inside the text, never a panic; what was read holds
//! or not, and its negation does the opposite. Give it `tests/fuzz/seeds/expression` as a corpus.
#![no_main]

use wattline_dataservice::expression::{Expression, Field, FieldKind, Value};

const FIELDS: [Field; 4] = [
    Field { name: "tslEventKey", kind: FieldKind::Text },
    Field { name: "deviceKey", kind: FieldKind::Text },
    Field { name: "state", kind: FieldKind::Number },
    Field { name: "createTime", kind: FieldKind::Time },
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let parse = |text: &str| Expression::parse(text, &FIELDS, &|text| text.parse().ok());
    let holds = |expression: &Expression| {
        expression.holds(&|field| match field {
            0 => Value::Text("OverTemp"),
            1 => Value::Missing,
            2 => Value::Int(2),
            _ => Value::Int(1_709_596_830_000_000),
        })
    };
    match parse(text) {
        Err(error) => assert!(error.position >= 1 && error.position <= text.chars().count() + 1),
        Ok(expression) => {
            if let Ok(negated) = parse(&format!("not ({text})")) {
                assert_ne!(holds(&expression), holds(&negated));
            }
        }
    }
});
