//! The device protocol's uploads: `measurepoint/post`, `post/batch`, `resume`, `resume/batch`.
//!
//! Owns: one message into rows, all of it or what its flags allow, and the code and text of its reply. Does not own:
//! topics and acknowledgements (`mqtt`), the rules of values ([`crate::check`]).
//!
//! One pass, fields in any order. Nothing semantic stops the pass: the first fault is remembered, and only the end
//! tells whether a flag that came last forgives it. What must not stay is taken back with
//! [`BatchBuilder::rewind`](wattline_model::BatchBuilder::rewind).
//!
//! An entry of a batch may name its device after its points. It is then read as the publisher's own, and again from
//! its text, which is still there, where it turns out to be another's.

mod entry;
mod envelope;
pub(crate) mod points;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use wattline_model::{BatchBuilder, Channel, DataType, Model, ModelId, PointId, Timestamp};
use wattline_registry::{Device, Registry};

use crate::check::quote;
use crate::code::Code;
use crate::resolve::{KeyOrder, SubDevices};
use entry::EntrySeed;
use envelope::{FlagSeed, IdSeed, Name, NameSeed, TextSeed};

/// Which of the four uploads a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upload {
    /// Live data of one device at one time.
    Post,
    /// Live data of several devices or times.
    PostBatch,
    /// Back-fill of one device at one time.
    Resume,
    /// Back-fill of several devices or times.
    ResumeBatch,
}

impl Upload {
    /// All four.
    pub const ALL: [Upload; 4] = [Upload::Post, Upload::PostBatch, Upload::Resume, Upload::ResumeBatch];

    /// The `method` of its messages.
    pub const fn method(self) -> &'static str {
        match self {
            Upload::Post => "thing.measurepoint.post",
            Upload::PostBatch => "thing.measurepoint.post.batch",
            Upload::Resume => "thing.measurepoint.resume",
            Upload::ResumeBatch => "thing.measurepoint.resume.batch",
        }
    }

    /// The end of its topic, after `/sys/{productKey}/{deviceKey}/`.
    pub const fn topic(self) -> &'static str {
        match self {
            Upload::Post => "thing/measurepoint/post",
            Upload::PostBatch => "thing/measurepoint/post/batch",
            Upload::Resume => "thing/measurepoint/resume",
            Upload::ResumeBatch => "thing/measurepoint/resume/batch",
        }
    }

    /// Whether `params` is a list.
    pub const fn is_batch(self) -> bool {
        matches!(self, Upload::PostBatch | Upload::ResumeBatch)
    }

    /// The channel its rows belong to.
    pub const fn channel(self) -> Channel {
        match self {
            Upload::Post | Upload::PostBatch => Channel::RealTime,
            Upload::Resume | Upload::ResumeBatch => Channel::Offline,
        }
    }
}

/// What decoding needs to know about the publisher and the moment.
pub struct Context<'a> {
    /// Where other devices are looked up.
    pub registry: &'a Registry,
    /// The publisher.
    pub device: &'a Device,
    /// Its model.
    pub model: &'a Model,
    /// Whether it may publish for others.
    pub gateway: bool,
    /// Those others that are online.
    pub sub_devices: &'a SubDevices,
    /// Stands for a missing time.
    pub now: Timestamp,
    /// The latest time accepted.
    pub time_max: Timestamp,
    /// Whether unknown points are to be listed in [`Outcome::missing`] instead of refused.
    pub collect_missing: bool,
    /// Whether keys that the organization's model of unformatted data lacks are to be listed there.
    pub collect_unformatted: bool,
    /// The usual order of keys, kept from message to message.
    pub order: &'a mut KeyOrder,
    /// Room for text that has to be rewritten.
    pub scratch: &'a mut String,
}

/// A point that a message names and its model has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The model.
    pub model: ModelId,
    /// The key.
    pub key: String,
    /// The type its value suggests.
    pub data_type: DataType,
    /// Whether it came with a quality.
    pub has_quality: bool,
}

/// What a message came to.
#[derive(Debug)]
pub struct Outcome<'p> {
    /// Its id, to be echoed.
    pub id: Option<Cow<'p, str>>,
    /// The code of the reply.
    pub code: Code,
    /// What was wrong, naming item, field and reason; may be empty.
    pub message: String,
    /// Rows added.
    pub rows: u64,
    /// Samples added.
    pub samples: u64,
    /// Invalid points, times and entries, whether forgiven or not.
    pub invalid: u64,
    /// Entries that came without a time.
    pub untimed: u64,
    /// Points to create before the message is decoded again; nothing was added. Only where asked for.
    pub missing: Vec<Missing>,
}

/// A code and a text.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// Decodes one message and adds what it holds to `rows`, or nothing where the reply is not 200.
pub fn decode<'p>(
    context: &mut Context<'_>,
    upload: Upload,
    payload: &'p [u8],
    rows: &mut BatchBuilder,
) -> Outcome<'p> {
    let text = match std::str::from_utf8(payload) {
        Ok(text) if text.trim_ascii().is_empty() => {
            return Outcome::refused(Code::Empty, "the payload is empty");
        }
        Ok(text) => text,
        Err(e) => {
            let message = format!("payload is not UTF-8 at byte {}", e.valid_up_to());
            return Outcome::refused(Code::Json, message);
        }
    };
    let (outcome, again) = pass(context, upload, text, false, rows);
    if again { pass(context, upload, text, true, rows).0 } else { outcome }
}

/// One pass over the text. The flag says that a number was past what 64 bits hold: the pass must be made again with
/// numbers taken as text, so that the point at fault can be named.
fn pass<'p>(
    context: &mut Context<'_>,
    upload: Upload,
    text: &'p str,
    raw_numbers: bool,
    rows: &mut BatchBuilder,
) -> (Outcome<'p>, bool) {
    let (mark, rows_before, samples_before) = (rows.mark(), rows.rows(), rows.points());
    let mut state = State::new(context, upload, text, raw_numbers, rows);
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(EnvelopeVisitor(&mut state)).and_then(|()| json.end());
    let again = !raw_numbers && read.as_ref().is_err_and(|e| e.to_string().contains("number out of range"));
    let verdict = state.verdict(read);
    let State { id, tally, .. } = state;
    let mut outcome = Outcome {
        id,
        code: Code::Ok,
        message: String::new(),
        rows: 0,
        samples: 0,
        invalid: tally.invalid_count,
        untimed: tally.untimed,
        missing: Vec::new(),
    };
    match verdict {
        Ok(()) => {
            outcome.rows = (rows.rows() - rows_before) as u64;
            outcome.samples = (rows.points() - samples_before) as u64;
            if let Some(first) = tally.invalid {
                outcome.message = format!("skipped {}, the first: {}", tally.invalid_count, first.message);
            }
        }
        Err(refusal) => {
            rows.rewind(mark);
            (outcome.code, outcome.message) = (refusal.code, refusal.message);
            outcome.missing = tally.missing;
        }
    }
    (outcome, again)
}

impl Outcome<'_> {
    fn refused(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        let (rows, samples, invalid, untimed) = (0, 0, 1, 0);
        Outcome { id: None, code, message, rows, samples, invalid, untimed, missing: Vec::new() }
    }
}

/// What a pass has seen so far.
struct State<'x, 'c, 'p> {
    context: &'x mut Context<'c>,
    rows: &'x mut BatchBuilder,
    mark: wattline_model::batch::Mark,
    text: &'p str,
    upload: Upload,
    raw_numbers: bool,
    id: Option<Cow<'p, str>>,
    wrong_method: Option<String>,
    allow_offline: bool,
    skip_invalid: bool,
    entries: usize,
    tally: Tally,
    /// What the open row's device sent that its model does not define: the number of the key, and its text.
    unformatted: Vec<(PointId, String)>,
    /// The sub-device of the entry before: batches list a device's samples one after the other.
    last_other: Option<(Arc<Device>, Arc<Model>)>,
}

/// The faults so far. Of each sort the first is kept, for that is the one the reply names.
#[derive(Default)]
struct Tally {
    /// Refuses the message whatever its flags say.
    refused: Option<Refusal>,
    /// Forgiven by `allowOfflineSubDevice`.
    offline: Option<Refusal>,
    /// Forgiven by `skipInvalidMeasurepoints`.
    invalid: Option<Refusal>,
    invalid_count: u64,
    untimed: u64,
    missing: Vec<Missing>,
}

impl Tally {
    fn refuse(&mut self, code: Code, message: impl FnOnce() -> String) {
        if self.refused.is_none() {
            self.refused = Some(Refusal { code, message: message() });
        }
    }

    fn invalid(&mut self, code: Code, message: impl FnOnce() -> String) {
        self.invalid_count += 1;
        if self.invalid.is_none() {
            self.invalid = Some(Refusal { code, message: message() });
        }
    }
}

impl<'x, 'c, 'p> State<'x, 'c, 'p> {
    fn new(
        context: &'x mut Context<'c>,
        upload: Upload,
        text: &'p str,
        raw_numbers: bool,
        rows: &'x mut BatchBuilder,
    ) -> Self {
        State {
            context,
            mark: rows.mark(),
            rows,
            text,
            upload,
            raw_numbers,
            id: None,
            wrong_method: None,
            allow_offline: false,
            skip_invalid: false,
            entries: 0,
            tally: Tally::default(),
            unformatted: Vec::new(),
            last_other: None,
        }
    }

    /// Back to before `params`, which a message may wrongly have twice: the last one counts.
    fn restart(&mut self) {
        self.rows.rewind(self.mark);
        self.entries = 0;
        self.tally = Tally::default();
    }

    fn verdict(&mut self, read: Result<(), serde_json::Error>) -> Result<(), Refusal> {
        if let Err(e) = read {
            let message = format!("payload is not a valid message: {e}");
            return Err(Refusal { code: Code::Json, message });
        }
        if let Some(method) = &self.wrong_method {
            let message = format!("method is {method:?}, the topic's is {:?}", self.upload.method());
            return Err(Refusal { code: Code::Method, message });
        }
        let tally = &self.tally;
        if self.entries == 0 && tally.refused.is_none() {
            return Err(Refusal { code: Code::Empty, message: "params is empty".to_owned() });
        }
        let fatal = tally.refused.as_ref();
        let offline = tally.offline.as_ref().filter(|_| !self.allow_offline);
        let invalid = tally.invalid.as_ref().filter(|_| !self.skip_invalid);
        let missing = tally.invalid.as_ref().filter(|_| !tally.missing.is_empty());
        match fatal.or(offline).or(missing).or(invalid) {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(()),
        }
    }
}

struct EnvelopeVisitor<'s, 'x, 'c, 'p>(&'s mut State<'x, 'c, 'p>);

impl<'de> Visitor<'de> for EnvelopeVisitor<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let state = self.0;
        while let Some(named) = map.next_key_seed(NameSeed)? {
            match named.name {
                Name::Id => state.id = map.next_value_seed(IdSeed)?,
                Name::Method => {
                    let method = map.next_value_seed(TextSeed)?;
                    let wrong = method.filter(|m| m != state.upload.method());
                    state.wrong_method = wrong.map(|m| quote(&m).to_owned());
                }
                Name::Params => {
                    state.restart();
                    if state.upload.is_batch() {
                        map.next_value_seed(EntriesSeed(state))?;
                    } else {
                        map.next_value_seed(EntrySeed { state, item: None })?;
                    }
                }
                // The single forms have no flags: there is nothing to forgive in part.
                Name::AllowOffline if state.upload.is_batch() => {
                    state.allow_offline = map.next_value_seed(FlagSeed)?;
                }
                Name::SkipInvalid if state.upload.is_batch() => {
                    state.skip_invalid = map.next_value_seed(FlagSeed)?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct EntriesSeed<'s, 'x, 'c, 'p>(&'s mut State<'x, 'c, 'p>);

impl<'de> DeserializeSeed<'de> for EntriesSeed<'_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EntriesSeed<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("params to be a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let state = self.0;
        let mut item = 0;
        while seq.next_element_seed(EntrySeed { state: &mut *state, item: Some(item) })?.is_some() {
            item += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
