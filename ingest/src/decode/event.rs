//! The device protocol's events: `thing.event.{id}.post`.
//!
//! Owns: one message into one row of the organization's model of events, and the code and text of its reply. Does not
//! own: topics (`mqtt`), giving the event's name a place (`mqtt` asks the registry for it, then the message comes again).
//!
//! `params` is `{"events": {…output…}, "time": ms}`. An event is a sample: the asset is the device, the point is the event's
//! identifier, the value is the output. So an event that is sent again at the same time is the same event.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeSeed as _;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use wattline_model::{AssetId, BatchBuilder, Channel, Model, Timestamp};

use super::scalar::{Cell, Form, ScalarSeed, put};
use crate::check::{self, Fault, Scalar, quote};
use crate::code::Code;
use crate::limits::MESSAGE_ID_BYTES_MAX;

/// An event whose frame is sound.
#[derive(Debug)]
pub struct Event<'p> {
    /// The message's id, to be echoed.
    pub id: Option<String>,
    output: &'p str,
    time: Option<&'p str>,
}

#[derive(Deserialize)]
struct Envelope<'p> {
    id: Option<Json>,
    #[serde(borrow)]
    method: Option<Cow<'p, str>>,
    #[serde(borrow)]
    params: Option<&'p RawValue>,
}

#[derive(Deserialize)]
struct Params<'p> {
    #[serde(borrow)]
    events: Option<&'p RawValue>,
    #[serde(borrow)]
    time: Option<&'p RawValue>,
}

/// Reads the frame of the message that posts event `name`. The id comes beside a refusal, too, where it was read.
pub fn read<'p>(name: &str, payload: &'p [u8]) -> Result<Event<'p>, (Option<String>, Fault)> {
    let json = |reason: String| Fault { code: Code::Json, reason };
    let text = std::str::from_utf8(payload)
        .map_err(|e| (None, json(format!("payload is not UTF-8 at byte {}", e.valid_up_to()))))?;
    if text.trim_ascii().is_empty() {
        return Err((None, Fault { code: Code::Empty, reason: "the payload is empty".to_owned() }));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text)
        .map_err(|e| (None, json(format!("payload is not a valid message: {e}"))))?;
    let id = match envelope.id {
        Some(Json::String(id)) if id.len() <= MESSAGE_ID_BYTES_MAX => Some(id),
        Some(Json::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    let refuse = |fault: Fault| (id.clone(), fault);
    let expected = format!("thing.event.{name}.post");
    // The published Python SDK sends its own format string with the name behind it.
    let odd = format!("thing.event.%s.post{name}");
    let wrong = envelope.method.as_deref().filter(|&method| method != expected && method != odd);
    if let Some(method) = wrong {
        let reason = format!("method is {:?}, the topic's is {:?}", quote(method), quote(&expected));
        return Err(refuse(Fault { code: Code::Method, reason }));
    }
    let empty = |what: &str| Fault { code: Code::Empty, reason: format!("{what} is missing") };
    let params = envelope.params.ok_or_else(|| refuse(empty("params")))?;
    let params: Params<'_> =
        serde_json::from_str(params.get()).map_err(|e| refuse(json(format!("params: {e}"))))?;
    let output = params.events.ok_or_else(|| refuse(empty("params.events")))?.get();
    Ok(Event { id, output, time: params.time.map(RawValue::get) })
}

/// Adds the event `name` of `asset` to `rows`.
///
/// # Errors
/// Says why it does not fit; then nothing was added.
pub fn add(
    event: &Event<'_>,
    model: &Model,
    name: &str,
    asset: AssetId,
    now: Timestamp,
    time_max: Timestamp,
    rows: &mut BatchBuilder,
) -> Result<(), Fault> {
    let point = model.point_by_key(name);
    let point =
        point.ok_or_else(|| Fault::model(format!("{} is no name that an event can have", quote(name))))?;
    let time = match event.time {
        None => now,
        Some(text) => {
            let seed = ScalarSeed { form: Form::Plain };
            let time = seed.deserialize(&mut serde_json::Deserializer::from_str(text));
            let about =
                |fault: Fault| Fault { code: fault.code, reason: format!("params.time: {}", fault.reason) };
            let time = time.map_err(|e| about(Fault::format(e.to_string())))?;
            check::time_millis(&time, time_max).map_err(about)?
        }
    };
    let value = match event.output.as_bytes().first() {
        Some(b'{') => Scalar::Json(event.output),
        _ => Scalar::Text(Cow::Borrowed(quote(event.output))),
    };
    let cell = Cell { value, quality: None, stray: None };
    rows.begin_row(model.id, asset, Channel::RealTime);
    match put(rows, point, &cell, &mut String::new()) {
        Ok(()) => {
            rows.end_row(time);
            Ok(())
        }
        Err(fault) => {
            rows.cancel_row();
            Err(Fault { code: fault.code, reason: format!("params.events: {}", fault.reason) })
        }
    }
}
