//! What a device reports at one moment.
//!
//! Owns: readings and their JSON in the device protocol (§4.4). Does not own: topics and envelopes (`publish`).

use serde_json::{Map, Value, json};

/// One value of one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Identifier of the point.
    pub key: &'static str,
    /// The value.
    pub value: Datum,
    /// Quality, where the model has it.
    pub quality: Option<u8>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// A float.
    Float(f64),
    /// An integer.
    Int(i64),
    /// A text.
    Text(String),
}

/// What one device reports at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Index of the device in the farm.
    pub device: usize,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The values.
    pub readings: Vec<Reading>,
}

/// A float with as many decimals as the sensor has.
pub fn float(key: &'static str, value: f64, decimals: i32) -> Reading {
    let scale = 10_f64.powi(decimals);
    // Adding 0.0 makes of -0.0, which no sensor shows, a plain zero.
    Reading { key, value: Datum::Float((value * scale).round() / scale + 0.0), quality: None }
}

/// An integer.
pub fn int(key: &'static str, value: i64) -> Reading {
    Reading { key, value: Datum::Int(value), quality: None }
}

/// A text.
pub fn text(key: &'static str, value: String) -> Reading {
    Reading { key, value: Datum::Text(value), quality: None }
}

/// A reading with a quality beside it, 0 for good.
pub fn judged(reading: Reading, quality: u8) -> Reading {
    Reading { quality: Some(quality), ..reading }
}

impl Sample {
    /// The sample as one entry of `params`.
    pub fn entry(&self) -> String {
        let points: Map<String, Value> =
            self.readings.iter().map(|r| (r.key.to_owned(), r.to_json())).collect();
        json!({"measurepoints": points, "time": self.time_ms}).to_string()
    }
}

impl Reading {
    fn to_json(&self) -> Value {
        let value = match &self.value {
            Datum::Float(v) => json!(v),
            Datum::Int(v) => json!(v),
            Datum::Text(v) => json!(v),
        };
        match self.quality {
            Some(quality) => json!({"value": value, "quality": quality}),
            None => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_form_of_the_device_protocol() {
        let readings = vec![
            judged(float("Temp", 36.449, 1), 9),
            float("Power", -0.001, 1),
            int("Status", 1),
            text("Serial", "A1".to_owned()),
        ];
        let sample = Sample { device: 0, time_ms: 1_767_225_600_000, readings };
        let entry: Value = serde_json::from_str(&sample.entry()).unwrap();
        let expected = json!({
            "measurepoints": {"Temp": {"value": 36.4, "quality": 9}, "Power": 0.0, "Status": 1, "Serial": "A1"},
            "time": 1_767_225_600_000_i64,
        });
        assert_eq!(entry, expected);
        assert!(!sample.entry().contains("-0.0"));
    }
}
