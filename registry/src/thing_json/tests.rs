use wattline_model::SignalType;

use super::*;
use crate::{DEFAULT_ORG, Registry};

fn org() -> Org {
    Org { id: DEFAULT_ORG, key: "o1700000000001".into(), name: String::new() }
}

fn decode_model(org: &Org, text: &[u8]) -> Result<NewModel, Error> {
    decode_thing(org, text).map(|(model, _)| model)
}

/// The example of the data service's documentation (§8), as printed there.
const DOCUMENTED: &str = r#"{"modelId":"TurbineModel","modelIdPath":"/TurbineModel","orgId":"o1700000000001","measurepoints":{
  "wind_speed":{"identifier":"wind_speed","name":{"defaultValue":"wind speed","i18nValue":{"en_US":"wind speed"}},"desc":"","tags":{},"dataType":"DOUBLE","dataDefinition":null,"hasQuality":true,"signalType":"AI","unit":{"unitId":"m/s","multiplier":"ONE"}},
  "run_state":{"identifier":"run_state","dataType":"INT","hasQuality":false,"signalType":"DI","unit":null}},"attributes":{},"services":{},"events":{}}"#;

#[test]
fn the_documented_model_is_understood() {
    let model = decode_model(&org(), DOCUMENTED.as_bytes()).unwrap();
    assert_eq!(
        (model.key.as_str(), model.parent.as_deref(), model.name.as_str()),
        ("TurbineModel", None, "")
    );
    let mut wind = NewPoint::new("wind_speed", DataType::Double);
    wind.name = "wind speed".into();
    wind.has_quality = true;
    wind.signal = SignalType::Ai;
    wind.unit = Some("m/s".into());
    let mut state = NewPoint::new("run_state", DataType::Int);
    state.signal = SignalType::Di;
    assert_eq!(model.points, [wind, state], "in document order");
}

#[test]
fn the_short_form_is_understood() {
    let text = r#"{"modelId":"turbine","name":"Turbine","parent":"machine","points":{
        "z":{"dataType":"DOUBLE","unit":"m/s","signalType":"AI"},
        "a":{"dataType":"LONG","unit":{"unitId":"Wh","multiplier":"KILO"},"signalType":"PI"},
        "m":{"dataType":"ENUM","dataDefinition":{"enumType":"INT","values":{"0":"stopped","1":"running"}}},
        "t":{"dataType":"ENUM","dataDefinition":{"enumType":"STRING","values":["on","off"]}}}}"#;
    let model = decode_model(&org(), text.as_bytes()).unwrap();
    assert_eq!((model.name.as_str(), model.parent.as_deref()), ("Turbine", Some("machine")));
    let keys: Vec<&str> = model.points.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["z", "a", "m", "t"], "in document order, not sorted");
    assert_eq!(model.points[1].unit.as_deref(), Some("kWh"));
    assert_eq!(
        (model.points[2].data_type, &*model.points[2].enum_ints),
        (DataType::Enum(EnumKind::Int), &[0, 1][..])
    );
    assert_eq!(model.points[3].data_type, DataType::Enum(EnumKind::Text));
    assert_eq!(model.points[3].enum_texts, ["on", "off"]);
}

#[test]
fn the_parent_comes_from_the_path() {
    let text = |rest: &str| format!(r#"{{"modelId":"c",{rest},"points":{{}}}}"#);
    let parent = |rest: &str| decode_model(&org(), text(rest).as_bytes()).map(|m| m.parent);
    assert_eq!(parent(r#""modelIdPath":"/a/b/c""#).unwrap().as_deref(), Some("b"));
    assert_eq!(parent(r#""modelIdPath":"/c""#).unwrap(), None);
    assert_eq!(parent(r#""modelIdPath":"/b/c","parent":"b""#).unwrap().as_deref(), Some("b"));
    for bad in [r#""modelIdPath":"/a/b""#, r#""modelIdPath":"c""#, r#""modelIdPath":"/b/c","parent":"x""#] {
        assert_eq!(parent(bad).unwrap_err().kind(), ErrorKind::Input, "{bad}");
    }
}

#[track_caller]
fn model_refused(text: &str, parts: &[&str]) {
    let error = decode_model(&org(), text.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{error} does not tell {part:?}");
    }
}

#[test]
fn bad_models_are_refused_by_name() {
    model_refused(r#"{"modelId":"m","colour":1}"#, &["colour", "line 1 column"]);
    model_refused(r#"{"modelId":"m","points":{"p":{"dataTyp":"INT"}}}"#, &["\"p\"", "dataTyp"]);
    model_refused(r#"{"modelId":"m","points":{"p":{}}}"#, &["\"p\"", "dataType"]);
    model_refused(
        r#"{"modelId":"m","points":{"p":{"dataType":"DUBLE"}}}"#,
        &["model m", "point p", "DUBLE", "DOUBLE"],
    );
    model_refused(
        r#"{"modelId":"m","points":{"p":{"dataType":"INT","signalType":"ai"}}}"#,
        &["signalType", "AI"],
    );
    model_refused(
        r#"{"modelId":"m","points":{"p":{"dataType":"INT"},"p":{"dataType":"INT"}}}"#,
        &["\"p\"", "twice"],
    );
    model_refused(
        r#"{"modelId":"m","points":{"p":{"identifier":"q","dataType":"INT"}}}"#,
        &["identifier", "q"],
    );
    model_refused(r#"{"modelId":"m","points":{},"measurepoints":{}}"#, &["points", "measurepoints"]);
    model_refused(r#"{"modelId":"m","services":{"reboot":{}}}"#, &["services", "not supported"]);
    model_refused(r#"{"modelId":"m","orgId":"another"}"#, &["orgId", "another"]);
    model_refused(r#"{"points":{}}"#, &["modelId"]);
    model_refused(r#"{"modelId":"m""#, &["EOF"]);
    let enumeration = |definition: &str| {
        format!(r#"{{"modelId":"m","points":{{"p":{{"dataType":"ENUM","dataDefinition":{definition}}}}}}}"#)
    };
    model_refused(&enumeration("null"), &["dataDefinition", "enumType"]);
    model_refused(&enumeration(r#"{"enumType":"FLOAT"}"#), &["enumType", "FLOAT"]);
    model_refused(&enumeration(r#"{"enumType":"INT","values":["x"]}"#), &["\"x\"", "integer"]);
    model_refused(&enumeration(r#"{"enumType":"STRING","values":[1]}"#), &["text"]);
    let unit =
        r#"{"modelId":"m","points":{"p":{"dataType":"INT","unit":{"unitId":"W","multiplier":"KILI"}}}}"#;
    model_refused(unit, &["unit", "KILI"]);
    let string = r#"{"modelId":"m","points":{"p":{"dataType":"STRING","dataDefinition":{"maxLength":5}}}}"#;
    model_refused(string, &["dataDefinition", "not supported"]);
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    let text = format!(r#"{{"modelId":"m","events":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    model_refused(&text, &["recursion"]);
}

#[test]
fn encoding_and_decoding_are_inverse() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(&folder.path().join("r")).unwrap();
    let org = registry.org(DEFAULT_ORG).unwrap();
    let text = r#"{"modelId":"base","points":{"z":{"dataType":"DOUBLE","unit":"m/s","signalType":"AI","hasQuality":true,"name":"Z"},
        "a":{"dataType":"ENUM","dataDefinition":{"enumType":"STRING","values":["off","on"]}},
        "b":{"dataType":"ENUM","dataDefinition":{"enumType":"INT","values":[-1,2]}},
        "c":{"dataType":"ENUM","dataDefinition":{"enumType":"INT"}},
        "d":{"dataType":"STRUCT"}}}"#;
    registry.create_model(decode_model(&org, text.as_bytes()).unwrap()).unwrap();
    let child = r#"{"modelId":"child","parent":"base","points":{"e":{"dataType":"TIMESTAMP"}}}"#;
    let child = registry.create_model(decode_model(&org, child.as_bytes()).unwrap()).unwrap();

    let encoded = encode_model(&child, "Child", &org, &[]);
    let json: Json = serde_json::from_str(&encoded).unwrap();
    assert_eq!(json["modelIdPath"], "/base/child");
    assert_eq!(json["measurepoints"]["z"]["unit"], serde_json::json!({"unitId": "m/s", "multiplier": "ONE"}));
    let decoded = decode_model(&org, encoded.as_bytes()).unwrap();
    assert_eq!((decoded.key.as_str(), decoded.parent.as_deref()), ("child", Some("base")));
    let other = registry.create_org(crate::NewOrg { key: "other".into(), name: String::new() }).unwrap();
    let copy = registry.create_model(NewModel { org: other.id, parent: None, ..decoded }).unwrap();
    assert_eq!(copy.points, child.points, "same points, same numbers");
}

#[test]
fn products_and_devices() {
    let product =
        decode_product(&org(), br#"{"productKey":"pk","modelId":"m","productSecret":"hush","gateway":true}"#);
    let product = product.unwrap();
    assert_eq!(
        (product.key.as_deref(), product.model_key.as_str(), product.gateway),
        (Some("pk"), "m", true)
    );
    assert_eq!(product.secret.unwrap().expose(), "hush");
    let error = decode_product(&org(), br#"{"modelId":"m","secure":true}"#).unwrap_err();
    assert!(error.to_string().contains("secure"), "{error}");

    // The request of the data service's documentation (§7.4).
    let documented = r#"{"productKey":"pk02","deviceKey":"wt-09","timezone":"+08:00","deviceName":{"defaultValue":"WT 09","i18nValue":{}}}"#;
    let one = decode_devices(documented.as_bytes()).unwrap();
    assert_eq!((one.len(), one[0].name.as_str(), one[0].timezone.as_str()), (1, "WT 09", "+08:00"));
    let two = decode_devices(format!(" [{documented},{documented}]").as_bytes()).unwrap();
    assert_eq!(two.len(), 2);
    let error = decode_devices(br#"[{"productKey":"pk","secret":"hush"}]"#).unwrap_err();
    assert!(error.to_string().contains("`secret`") && !error.to_string().contains("hush"), "{error}");
}

#[test]
fn secrets_are_shown_only_where_asked() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(&folder.path().join("r")).unwrap();
    let org = registry.org(DEFAULT_ORG).unwrap();
    registry.create_model(decode_model(&org, br#"{"modelId":"m"}"#).unwrap()).unwrap();
    let product =
        decode_product(&org, br#"{"productKey":"pk","modelId":"m","productSecret":"hush"}"#).unwrap();
    let product = registry.create_product(product).unwrap();
    let device = decode_devices(br#"{"productKey":"pk","deviceKey":"d","deviceSecret":"hush"}"#).unwrap();
    let device = registry.create_devices(device).unwrap().remove(0);
    assert!(!product_json(&product, "m", false).to_string().contains("hush"));
    assert!(!device_json(&device, false).to_string().contains("hush"));
    assert_eq!(product_json(&product, "m", true)["productSecret"], "hush");
    let shown = device_json(&device, true);
    assert_eq!(shown["deviceSecret"], "hush");
    assert_eq!(shown["assetId"], *device.asset_key);
}

#[test]
fn attributes_are_defined_as_points_are() {
    let text = r#"{"modelId":"m","attributes":{
        "hub_height":{"identifier":"hub_height","name":{"defaultValue":"hub height","i18nValue":{}},"dataType":"INT",
            "required":true,"unit":{"unitId":"m","multiplier":"ONE"}},
        "cooling":{"dataType":"ENUM","dataDefinition":{"enumType":"STRING","values":["air","water"]}}}}"#;
    let (new, attributes) = decode_thing(&org(), text.as_bytes()).unwrap();
    let [height, cooling] = attributes.as_slice() else { panic!("{attributes:?}") };
    assert_eq!(
        (height.key.as_str(), height.required, height.unit.as_deref()),
        ("hub_height", true, Some("m"))
    );
    assert_eq!((height.name.as_str(), cooling.required), ("hub height", false));
    assert_eq!(cooling.enum_texts, ["air", "water"]);

    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(&dir.path().join("registry")).unwrap();
    let model = registry.create_model_with(new, attributes, "ann", 1).unwrap();
    let known = registry.model_attributes(model.id);
    let again = decode_thing(&org(), encode_model(&model, "m", &org(), &known).as_bytes()).unwrap();
    assert_eq!(again.1.as_slice(), &*known);
    let default = r#"{"modelId":"m","attributes":{"a":{"dataType":"INT","defaultValue":1}}}"#;
    let error = decode_thing(&org(), default.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("attribute a: defaultValue"), "{error}");
}
