//! NDJSON: one row a line.
//!
//! Owns: lines, their reserved names, times as text. Does not own: value forms (`scalar`), the rules of values
//! ([`crate::check`]).
//!
//! A line is an object: `asset_id`, or `product_key` and `device_key`; `time` (milliseconds, or RFC 3339 text); and
//! points by their keys, each bare or as `{"value": …, "quality": …}`, or with `<point>_quality` beside it. A null is
//! "no sample". A wrong value refuses its sample, a wrong asset or time its line; the rest goes on.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use wattline_model::{AssetId, BatchBuilder, Channel, DataType, Model, Point, Source, Timestamp};

use super::assets::{Key, Resolved, resolve};
use super::scalar::{Cell, CellSeed, Form, ScalarSeed, put};
use super::{Decoded, Rejects};
use crate::check::{self, Fault, Scalar, quote};
use crate::code::Code;
use crate::error::Error;
use crate::ingestor::Ingestor;
use crate::limits::LINE_BYTES_MAX;
use crate::resolve::KeyOrder;

/// Decodes `body`, whose assets are of `model`. Rows are lines, blank ones counted and passed over.
///
/// # Errors
/// None at present: what is wrong with a line is a reject.
pub fn decode(ingestor: &Ingestor, model: &Model, body: &[u8]) -> Result<Decoded, Error> {
    let mut reader = Reader {
        ingestor,
        model,
        rows: BatchBuilder::new(ingestor.store().shards(), Source::Client),
        rejects: Rejects::default(),
        order: KeyOrder::default(),
        scratch: String::new(),
        time_max: ingestor.time_max(ingestor.now()),
        last: None,
    };
    reader.order.begin(model);
    for (row, line) in body.split(|&b| b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() {
            reader.line(row, line);
        }
    }
    let Reader { rows, rejects, .. } = reader;
    let (n, samples) = (rows.rows() as u64, rows.points() as u64);
    ingestor.count().rejects(Code::Format, rejects.total);
    Ok(Decoded { batches: rows.finish(), rows: n, samples, rejects })
}

struct Reader<'a> {
    ingestor: &'a Ingestor,
    model: &'a Model,
    rows: BatchBuilder,
    rejects: Rejects,
    order: KeyOrder,
    scratch: String,
    time_max: Timestamp,
    /// The asset of the line before, by its text: lines of one asset usually follow each other.
    last: Option<(String, String, AssetId)>,
}

/// A line as it was read: nothing in it is looked at before all of it is there, for names come in any order.
#[derive(Default)]
struct Line<'a, 'm> {
    asset: Option<Scalar<'a>>,
    product: Option<Scalar<'a>>,
    device: Option<Scalar<'a>>,
    time: Option<Scalar<'a>>,
    cells: Vec<(&'m Point, Cell<'a>)>,
    qualities: Vec<(&'m Point, Scalar<'a>)>,
    unknown: Vec<String>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, row: usize, text: &[u8]) {
        if text.len() > LINE_BYTES_MAX {
            let reason = || format!("the line has {} bytes, more than {LINE_BYTES_MAX}", text.len());
            return self.rejects.push(row, "", reason);
        }
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(e) => {
                let reason = || format!("is not UTF-8 at byte {}", e.valid_up_to());
                return self.rejects.push(row, "", reason);
            }
        };
        let mut json = serde_json::Deserializer::from_str(text);
        let seed = LineSeed { model: self.model, order: &mut self.order };
        match seed.deserialize(&mut json).and_then(|line| json.end().map(|()| line)) {
            Ok(line) => self.add(row, line),
            Err(e) => self.rejects.push(row, "", || format!("is not a valid row: {e}")),
        }
    }

    fn add(&mut self, row: usize, mut line: Line<'_, 'a>) {
        let asset = match self.asset(&line) {
            Ok(asset) => asset,
            Err((field, reason)) => return self.rejects.push(row, field, || reason),
        };
        let time = match line.time.as_ref().map(|time| self.time(time)) {
            Some(Ok(time)) => time,
            Some(Err(fault)) => return self.rejects.push(row, "time", || fault.reason),
            None => return self.rejects.push(row, "time", || "is missing".to_owned()),
        };
        for name in &line.unknown {
            let model = &self.model.key;
            self.rejects.push(row, quote(name), || format!("model {model} has no such point"));
        }
        for (point, quality) in std::mem::take(&mut line.qualities) {
            if let Some((_, cell)) = line.cells.iter_mut().find(|(p, _)| p.id == point.id) {
                cell.quality = Some(quality);
            }
        }
        self.rows.begin_row(self.model.id, asset, Channel::RealTime);
        for (point, cell) in &line.cells {
            if cell.value == Scalar::Null && cell.stray.is_none() {
                continue;
            }
            if let Err(fault) = put(&mut self.rows, point, cell, &mut self.scratch) {
                self.rejects.push(row, &point.key, || fault.reason);
            }
        }
        self.rows.end_row(time);
    }

    fn asset(&mut self, line: &Line<'_, '_>) -> Resolved {
        let text = |field, scalar: &Option<Scalar<'_>>| match scalar {
            Some(Scalar::Text(text)) => Ok(text.clone().into_owned()),
            Some(other) => Err((field, format!("expected a text, got {}", other.describe()))),
            None => Err((field, "is missing".to_owned())),
        };
        let (first, second) = match (&line.asset, &line.product) {
            (None, Some(_)) => (text("product_key", &line.product)?, text("device_key", &line.device)?),
            _ => (text("asset_id", &line.asset)?, String::new()),
        };
        if let Some((a, b, asset)) = &self.last
            && (a, b) == (&first, &second)
        {
            return Ok(*asset);
        }
        let key = if second.is_empty() { Key::Asset(&first) } else { Key::Device(&first, &second) };
        let asset = resolve(self.ingestor.registry(), self.model, key)?;
        self.last = Some((first, second, asset));
        Ok(asset)
    }

    fn time(&self, time: &Scalar<'_>) -> Result<Timestamp, Fault> {
        match time {
            Scalar::Text(text) if text.parse::<i64>().is_err() => {
                let instant: jiff::Timestamp = text.parse().map_err(|_| {
                    Fault::format(format!(
                        "expected milliseconds or RFC 3339, got the text {:?}",
                        quote(text)
                    ))
                })?;
                let micros = instant.as_nanosecond().div_euclid(1_000);
                check::time(Timestamp(i64::try_from(micros).unwrap_or(i64::MAX)), self.time_max)
            }
            other => check::time_millis(other, self.time_max),
        }
    }
}

struct LineSeed<'o, 'm> {
    model: &'m Model,
    order: &'o mut KeyOrder,
}

impl<'de, 'm> DeserializeSeed<'de> for LineSeed<'_, 'm> {
    type Value = Line<'de, 'm>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Line<'de, 'm>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, 'm> Visitor<'de> for LineSeed<'_, 'm> {
    type Value = Line<'de, 'm>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line<'de, 'm>, A::Error> {
        let mut line = Line::default();
        let mut place = 0;
        while let Some(name) = map.next_key_seed(FieldSeed { model: self.model, order: self.order, place })? {
            place += 1;
            let plain = || ScalarSeed { form: Form::Plain };
            match name {
                Field::Asset => line.asset = Some(map.next_value_seed(plain())?),
                Field::Product => line.product = Some(map.next_value_seed(plain())?),
                Field::Device => line.device = Some(map.next_value_seed(plain())?),
                Field::Time => line.time = Some(map.next_value_seed(plain())?),
                Field::Quality(point) => line.qualities.push((point, map.next_value_seed(plain())?)),
                Field::Point(point) => {
                    let object_is_value = point.data_type == DataType::Struct;
                    // Numbers as text: one past what 64 bits hold must refuse its sample, not its line.
                    let form = match Form::of(point.data_type) {
                        Form::Plain => Form::Text,
                        form => form,
                    };
                    let cell = map.next_value_seed(CellSeed { form, object_is_value })?;
                    line.cells.push((point, cell));
                }
                Field::Unknown(name) => {
                    map.next_value::<serde::de::IgnoredAny>().map_err(A::Error::custom)?;
                    line.unknown.push(name);
                }
            }
        }
        Ok(line)
    }
}

enum Field<'m> {
    Asset,
    Product,
    Device,
    Time,
    Point(&'m Point),
    Quality(&'m Point),
    Unknown(String),
}

struct FieldSeed<'o, 'm> {
    model: &'m Model,
    order: &'o mut KeyOrder,
    place: usize,
}

impl<'de, 'm> DeserializeSeed<'de> for FieldSeed<'_, 'm> {
    type Value = Field<'m>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field<'m>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'m> Visitor<'_> for FieldSeed<'_, 'm> {
    type Value = Field<'m>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Field<'m>, E> {
        let quality = |model: &'m Model| name.strip_suffix("_quality").and_then(|p| model.point_by_key(p));
        Ok(match name {
            "asset_id" => Field::Asset,
            "product_key" => Field::Product,
            "device_key" => Field::Device,
            "time" => Field::Time,
            _ => match self.order.resolve(self.model, self.place, name) {
                Some(point) => Field::Point(point),
                None => match quality(self.model) {
                    Some(point) => Field::Quality(point),
                    None => Field::Unknown(name.to_owned()),
                },
            },
        })
    }
}

#[cfg(test)]
mod tests;
