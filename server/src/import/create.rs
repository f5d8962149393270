//! The model, the product and the assets of an import, on the server.
//!
//! Owns: asking for them and creating what may be created. Does not own: what the file's columns are (`columns`).

use serde_json::{Value, json};

use crate::error::{Error, Result};

use super::columns::{Kind, NewColumn, PointInfo};
use super::rest::{Rest, segment};

/// The points of a model, or `None` where the server does not have it.
pub fn points(rest: &mut Rest, model: &str) -> Result<Option<Vec<PointInfo>>> {
    let Some(answer) = rest.get(&format!("/api/v1/models/{}", segment(model)))? else {
        return Ok(None);
    };
    let Some(points) = answer["measurepoints"].as_object() else {
        return Err(Error::failed(format!("the server's model {model:?} has no measurepoints")));
    };
    points.iter().map(|(key, point)| point_info(key, point)).collect::<Result<_>>().map(Some)
}

fn point_info(key: &str, point: &Value) -> Result<PointInfo> {
    let kind = match point["dataType"].as_str().unwrap_or_default() {
        "INT" | "LONG" => Kind::Int,
        "FLOAT" | "DOUBLE" => Kind::Float,
        "BOOL" => Kind::Bool,
        "TIMESTAMP" => Kind::Instant,
        "DATE" => Kind::Civil,
        "ENUM" if point["dataDefinition"]["enumType"] == "INT" => Kind::Int,
        "STRING" | "ENUM" | "ARRAY" | "STRUCT" | "FILE" => Kind::Text,
        other => return Err(Error::failed(format!("point {key:?} has the unknown type {other:?}"))),
    };
    let name = &point["name"];
    let name = name["defaultValue"].as_str().or(name.as_str()).unwrap_or(key);
    Ok(PointInfo { key: key.to_owned(), name: name.to_owned(), kind })
}

/// The thing model of a file, as JSON text: a [`Value`] would sort the points, and they shall be in the file's order.
pub fn model_json(model: &str, columns: &[(NewColumn, Kind)]) -> String {
    let points = columns.iter().map(|(column, kind)| {
        let (data_type, signal) = match kind {
            Kind::Float => ("DOUBLE", "AI"),
            Kind::Int => ("LONG", "Generic"),
            Kind::Bool => ("BOOL", "DI"),
            Kind::Text => ("STRING", "Generic"),
            Kind::Instant => ("TIMESTAMP", "Generic"),
            Kind::Civil => ("DATE", "Generic"),
        };
        let point =
            json!({"name": column.name, "dataType": data_type, "signalType": signal, "unit": column.unit});
        format!("{}: {point}", json!(column.key))
    });
    let points: Vec<String> = points.collect();
    format!(r#"{{"modelId": {0}, "name": {0}, "measurepoints": {{{1}}}}}"#, json!(model), points.join(", "))
}

/// Creates a model; one that is there already is left as it is.
pub fn model(rest: &mut Rest, json: String) -> Result<()> {
    rest.create("/api/v1/models", json.into_bytes()).map(|_| ())
}

/// Makes sure a product of the model is there.
pub fn product(rest: &mut Rest, product: &str, model: &str) -> Result<()> {
    if rest.get(&format!("/api/v1/products/{}", segment(product)))?.is_some() {
        return Ok(());
    }
    let body = json!({"productKey": product, "productName": product, "modelId": model});
    rest.create("/api/v1/products", body.to_string().into_bytes()).map(|_| ())
}

/// Makes sure a device is there, and tells whether it is new. `asset` is its asset id, where that must be a given one.
pub fn device(rest: &mut Rest, product: &str, key: &str, asset: Option<&str>) -> Result<bool> {
    let mut body = json!({"productKey": product, "deviceKey": key, "deviceName": key});
    if let Some(asset) = asset {
        body["assetId"] = json!(asset);
    }
    rest.create("/api/v1/devices", body.to_string().into_bytes()).map(|created| created.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_model_keeps_the_order_of_the_columns() {
        let column = |key: &str, unit: Option<&str>| NewColumn {
            column: 0,
            key: key.to_owned(),
            header: String::new(),
            name: format!("the \"{key}\""),
            unit: unit.map(str::to_owned),
        };
        let columns = [(column("z", Some("kW")), Kind::Float), (column("a", None), Kind::Int)];
        let text = model_json("m", &columns);
        assert!(text.find("\"z\"").unwrap() < text.find("\"a\"").unwrap(), "{text}");
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["modelId"], "m");
        assert_eq!(parsed["measurepoints"]["z"]["unit"], "kW");
        assert_eq!(parsed["measurepoints"]["z"]["name"], "the \"z\"");
        assert_eq!(parsed["measurepoints"]["a"]["dataType"], "LONG");
    }

    #[test]
    fn kinds_of_points() {
        let kind = |point: Value| point_info("p", &point).map(|p| p.kind);
        assert_eq!(kind(json!({"dataType": "FLOAT"})).unwrap(), Kind::Float);
        assert_eq!(kind(json!({"dataType": "LONG"})).unwrap(), Kind::Int);
        assert_eq!(kind(json!({"dataType": "DATE"})).unwrap(), Kind::Civil);
        assert_eq!(
            kind(json!({"dataType": "ENUM", "dataDefinition": {"enumType": "INT", "values": [0, 1]}}))
                .unwrap(),
            Kind::Int
        );
        assert_eq!(
            kind(json!({"dataType": "ENUM", "dataDefinition": {"enumType": "STRING", "values": ["on"]}}))
                .unwrap(),
            Kind::Text
        );
        assert!(kind(json!({"dataType": "COMPLEX"})).unwrap_err().to_string().contains("COMPLEX"));
    }
}
