//! One logged-in client: its packets into rows and answers.
//!
//! Owns: what each packet means, synchronously, one read buffer at a time. Does not own: the socket, waiting
//! (`connection`).
//!
//! Answers to messages are gathered, not sent: they may leave only after the rows are durable and visible.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use wattline_model::limits::MESSAGE_BYTES_MAX;
use wattline_model::{AssetId, BatchBuilder, Model, Source, Timestamp};
use wattline_registry::Device;

use super::Endpoint;
use super::answer::{Answer, puback_reason};
use super::events::NewEvent;
use super::login::Login;
use super::packet::{self, Frame, Malformed, Publish, Version, kind, reason};
use super::topics::{Request, Space, Subscriptions, keys};
use crate::code::Code;
use crate::counters::{Closed, TopicKind, add};
use crate::decode::enos::{Context, Missing, Upload, decode};
use crate::downlink::{Mailbox, Outgoing, Reply};
use crate::limits::{
    ANSWER_BYTES_MAX, DISCARD_BYTES_MAX, PACKET_BYTES_MAX, PUBLISH_HEADER_BYTES_MAX, REPLY_BYTES_MAX,
};
use crate::resolve::{KeyOrder, SubDevices};

/// Why a connection is to end.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) closed: Closed,
    /// For MQTT 5.
    pub(crate) reason: u8,
    pub(crate) text: Cow<'static, str>,
}

impl End {
    pub(crate) fn new(closed: Closed, reason: u8, text: impl Into<Cow<'static, str>>) -> End {
        End { closed, reason, text: text.into() }
    }
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> End {
        End::new(Closed::Protocol, reason::MALFORMED, malformed.0)
    }
}

/// What a read buffer came to.
pub(crate) struct Turn {
    /// To be written before any answer is sent.
    pub(crate) rows: BatchBuilder,
    /// Bytes of the buffer that are done with.
    pub(crate) taken: usize,
    /// Length of the packet the buffer ends with, where it is not all there.
    pub(crate) partial: Option<usize>,
    /// Messages accepted, by upload: to be counted once durable.
    pub(crate) accepted: [u64; Upload::ALL.len()],
    /// Points to register before the next message, which was not taken, is tried again.
    pub(crate) missing: Vec<Missing>,
    /// Events accepted: to be counted once durable.
    pub(crate) events: u64,
    /// The name of an event to give a place before the message, which was not taken, is tried again.
    pub(crate) new_event: Option<NewEvent>,
    /// The connection ends after what was taken is written and answered.
    pub(crate) end: Option<End>,
    pub(super) now: Timestamp,
}

impl Turn {
    /// Whether something is to be created before the next message is taken.
    pub(crate) fn is_to_register(&self) -> bool {
        !self.missing.is_empty() || self.new_event.is_some()
    }
}

/// A message too large to be kept whose rest is still to come.
struct Discard {
    left: usize,
    topic: String,
    qos: u8,
    packet_id: u16,
}

/// A logged-in client.
pub(crate) struct Session {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) version: Version,
    pub(super) device: Arc<Device>,
    model: Arc<Model>,
    pub(super) gateway: bool,
    pub(super) activation: bool,
    registry_version: u64,
    pub(super) space: Space,
    pub(super) subscriptions: Subscriptions,
    /// Devices logged in through this one.
    pub(super) others: FxHashMap<AssetId, Arc<Device>>,
    pub(super) sub_devices: SubDevices,
    order: KeyOrder,
    scratch: String,
    reply: Vec<u8>,
    /// Whether the client wants reason strings (MQTT 5).
    pub(crate) wants_reasons: bool,
    /// The largest packet it takes.
    pub(crate) packet_max: usize,
    discard: Option<Discard>,
    /// What is to be sent to this session's devices.
    pub(super) mailbox: Mailbox,
    /// Registering points was tried for the next message: it is not tried again.
    pub(crate) points_tried: bool,
}

impl Session {
    /// The session of a login; `None` where its model is gone.
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        version: Version,
        login: Login,
        mailbox: Mailbox,
    ) -> Option<Session> {
        let registry = endpoint.ingestor.registry();
        let registry_version = registry.version();
        let model = registry.model(login.device.model)?;
        Some(Session {
            version,
            space: Space::new(&login.device),
            device: login.device,
            model,
            gateway: login.product.gateway,
            activation: login.activation,
            registry_version,
            subscriptions: Subscriptions::default(),
            others: FxHashMap::default(),
            sub_devices: SubDevices::default(),
            order: KeyOrder::default(),
            scratch: String::new(),
            reply: Vec::new(),
            wants_reasons: true,
            packet_max: usize::MAX,
            discard: None,
            points_tried: false,
            mailbox,
            endpoint,
        })
    }

    /// Takes as many packets of `buffer` as it holds, or as `out` should hold answers to.
    pub(crate) fn take(&mut self, buffer: &[u8], out: &mut Vec<u8>) -> Turn {
        let end = self.refresh().err();
        let ingestor = &self.endpoint.ingestor;
        let mut turn = Turn {
            rows: BatchBuilder::new(ingestor.store().shards(), Source::Client),
            taken: 0,
            partial: None,
            accepted: [0; Upload::ALL.len()],
            missing: Vec::new(),
            events: 0,
            new_event: None,
            end,
            now: ingestor.now(),
        };
        while turn.end.is_none() && !turn.is_to_register() && out.len() < ANSWER_BYTES_MAX {
            let rest = &buffer[turn.taken..];
            if rest.is_empty() {
                break;
            }
            if self.discard.is_some() {
                turn.taken += self.go_on_discarding(rest.len(), out);
                continue;
            }
            match self.next(rest, &mut turn, out) {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => turn.end = Some(end),
            }
        }
        turn
    }

    /// Takes one packet; `false` where that needs more bytes.
    fn next(&mut self, rest: &[u8], turn: &mut Turn, out: &mut Vec<u8>) -> Result<bool, End> {
        match packet::frame(rest, PACKET_BYTES_MAX)? {
            Frame::Partial(length) => {
                turn.partial = length;
                Ok(false)
            }
            Frame::Whole(first, body, length) => {
                let taken = self.packet(first, body, turn, out)?;
                turn.taken += if taken { length } else { 0 };
                Ok(true)
            }
            Frame::TooLarge(first, body, length) => {
                let begun = self.begin_discarding(first, body, length)?;
                if !begun {
                    turn.partial = Some(rest.len() + PUBLISH_HEADER_BYTES_MAX);
                }
                Ok(begun)
            }
        }
    }

    /// `false` where the packet is to be tried again after [`Turn::missing`] was seen to.
    fn packet(&mut self, first: u8, body: &[u8], turn: &mut Turn, out: &mut Vec<u8>) -> Result<bool, End> {
        match (first >> 4, first & 0x0F) {
            (kind::PUBLISH, _) => return self.publish(first, body, turn, out),
            // We send at QoS 0 only; an acknowledgement of it is odd and harmless.
            (kind::PUBACK, 0) => {}
            (kind::SUBSCRIBE, 2) => self.subscribe(body, out)?,
            (kind::UNSUBSCRIBE, 2) => self.unsubscribe(body, out)?,
            (kind::PINGREQ, 0) => packet::put_pingresp(out),
            (kind::DISCONNECT, 0) => return Err(End::new(Closed::Goodbye, reason::SUCCESS, "")),
            _ => {
                let text = format!("a packet of type {} is not expected here", first >> 4);
                return Err(End::new(Closed::Protocol, reason::MALFORMED, text));
            }
        }
        Ok(true)
    }

    fn publish(&mut self, first: u8, body: &[u8], turn: &mut Turn, out: &mut Vec<u8>) -> Result<bool, End> {
        let message = packet::publish(self.version, first, body)?;
        if message.qos == 2 {
            return Err(End::new(Closed::Qos2, reason::QOS, "QoS 2 is not supported"));
        }
        if message.has_alias {
            return Err(End::new(Closed::Protocol, reason::TOPIC_ALIAS, "topic aliases are not supported"));
        }
        if message.dup && !self.points_tried {
            add(&self.endpoint.ingestor.count().redelivered, 1);
        }
        if let Some(request) = self.space.request(message.topic) {
            return Ok(self.request(&message, request, None, turn, out));
        }
        match self.sub_device(message.topic) {
            Some((other, request)) => Ok(self.request(&message, request, Some(other), turn, out)),
            None => self.foreign(&message, out).map(|()| true),
        }
    }

    /// A device logged in through this one, where `topic` is one of its topics.
    fn sub_device(&self, topic: &str) -> Option<(Arc<Device>, Request)> {
        let (product, device) = keys(topic)?;
        let device = self.endpoint.ingestor.registry().device(product, device)?;
        let other = self.others.get(&device.asset)?;
        let request = Space::new(other).request(topic)?;
        Some((Arc::clone(other), request))
    }

    /// A message to a topic that is not the client's. Version 5 can refuse it by name; 3.1.1 can only acknowledge it,
    /// which would be a lie, or close.
    fn foreign(&mut self, message: &Publish<'_>, out: &mut Vec<u8>) -> Result<(), End> {
        let counters = self.endpoint.ingestor.count();
        add(&counters.foreign, 1);
        counters.message(TopicKind::Other, Code::NoRight);
        if self.version == Version::V5 && message.qos == 1 {
            let text = if self.wants_reasons { "1009 the topic is not the device's own" } else { "" };
            packet::put_puback(out, self.version, message.packet_id, reason::NOT_AUTHORIZED, text);
            return Ok(());
        }
        let text = format!("topic {:?} is not the device's own", crate::check::quote(message.topic));
        Err(End::new(Closed::ForeignTopic, reason::NOT_AUTHORIZED, text))
    }

    fn request(
        &mut self,
        message: &Publish<'_>,
        request: Request,
        other: Option<Arc<Device>>,
        turn: &mut Turn,
        out: &mut Vec<u8>,
    ) -> bool {
        let kind = match request {
            Request::Upload(upload) => TopicKind::Upload(upload),
            Request::Combine(_) => TopicKind::Combine,
            Request::Other => TopicKind::Other,
            Request::Event => TopicKind::Event,
            Request::Answer => {
                let asset = other.as_ref().unwrap_or(&self.device).asset;
                self.answered(asset, message.payload);
                self.acknowledge(message.qos, message.packet_id, Code::Ok, "", out);
                return true;
            }
        };
        let mut answer = Answer::to(kind, message);
        if self.activation {
            answer.refuse(Code::NoRight, "this login only activates; log in again with the device's secret");
        } else if message.payload.len() > MESSAGE_BYTES_MAX {
            answer.refuse(Code::TooLarge, too_large());
        } else {
            match request {
                Request::Upload(upload) => return self.upload(upload, message, other, turn, out),
                Request::Event => return self.event(message, other, turn, out),
                Request::Combine(request) => self.combine(request, message.payload, &mut answer),
                _ => answer.refuse(Code::NotSupported, "requests to this topic are not supported yet"),
            }
        }
        self.answer(&answer, out);
        self.endpoint.ingestor.count().message(kind, answer.code);
        true
    }

    fn upload(
        &mut self,
        upload: Upload,
        message: &Publish<'_>,
        other: Option<Arc<Device>>,
        turn: &mut Turn,
        out: &mut Vec<u8>,
    ) -> bool {
        let ingestor = &self.endpoint.ingestor;
        let other = other.and_then(|device| Some((ingestor.registry().model(device.model)?, device)));
        let (model, device) = other.as_ref().map_or((&self.model, &self.device), |(m, d)| (m, d));
        let mut context = Context {
            registry: ingestor.registry(),
            device,
            model,
            gateway: self.gateway && other.is_none(),
            sub_devices: &self.sub_devices,
            now: turn.now,
            time_max: ingestor.time_max(turn.now),
            collect_missing: ingestor.settings().auto_register_points && !self.points_tried,
            collect_unformatted: !self.points_tried,
            order: &mut self.order,
            scratch: &mut self.scratch,
        };
        let outcome = decode(&mut context, upload, message.payload, &mut turn.rows);
        if !outcome.missing.is_empty() {
            turn.missing = outcome.missing;
            return false;
        }
        self.points_tried = false;
        let counters = ingestor.count();
        if outcome.code == Code::Ok {
            turn.accepted[upload as usize] += 1;
            add(&counters.skipped, outcome.invalid);
        } else {
            counters.message(TopicKind::Upload(upload), outcome.code);
        }
        if upload.channel() == wattline_model::Channel::Offline {
            add(&counters.untimed_resumes, outcome.untimed);
        }
        let mut answer = Answer::to(TopicKind::Upload(upload), message);
        answer.own_topic = other.is_none();
        (answer.id, answer.code, answer.message) = (outcome.id, outcome.code, outcome.message.into());
        self.answer(&answer, out);
        true
    }

    /// PUBACK and, where somebody listens, `_reply`.
    pub(super) fn answer(&mut self, answer: &Answer<'_>, out: &mut Vec<u8>) {
        self.acknowledge(answer.qos, answer.packet_id, answer.code, &answer.message, out);
        let heard = match answer.kind {
            TopicKind::Upload(upload) if answer.own_topic => self.subscriptions.hears_upload(upload),
            _ => self.subscriptions.hears(&format!("{}_reply", answer.topic)),
        };
        self.reply.clear();
        answer.encode(&mut self.reply);
        // Fixed header, topic, and the properties of version 5.
        let size = self.reply.len() + answer.topic.len() + "_reply".len() + 8;
        if heard && size <= self.packet_max {
            packet::put_publish(out, self.version, &[answer.topic, "_reply"], &self.reply);
        } else {
            add(&self.endpoint.ingestor.count().replies_unheard, 1);
        }
    }

    fn acknowledge(&self, qos: u8, packet_id: u16, code: Code, text: &str, out: &mut Vec<u8>) {
        if qos == 0 {
            return;
        }
        let refused = puback_reason(code);
        if self.version == Version::V311 || code == Code::Ok || !self.wants_reasons {
            packet::put_puback(out, self.version, packet_id, refused, "");
        } else {
            packet::put_puback(out, self.version, packet_id, refused, &format!("{code} {text}"));
        }
    }

    /// Begins to throw away a message that is too large, so that a client of 3.1.1 learns of it. `false` where its
    /// header is not all there yet.
    fn begin_discarding(&mut self, first: u8, body: &[u8], length: usize) -> Result<bool, End> {
        let end = || End::new(Closed::TooLarge, reason::TOO_LARGE, too_large());
        if first >> 4 != kind::PUBLISH || self.version == Version::V5 || length > DISCARD_BYTES_MAX {
            return Err(end());
        }
        let message = match packet::publish(self.version, first, body) {
            Ok(message) => message,
            Err(_) if body.len() < PUBLISH_HEADER_BYTES_MAX => return Ok(false),
            Err(malformed) => return Err(malformed.into()),
        };
        if message.qos == 2 || self.space.request(message.topic).is_none() {
            return Err(end());
        }
        let (topic, qos, packet_id) = (message.topic.to_owned(), message.qos, message.packet_id);
        self.discard = Some(Discard { left: length, topic, qos, packet_id });
        Ok(true)
    }

    /// Throws away up to `bytes` and answers when that was the last of it. Returns how many it took.
    fn go_on_discarding(&mut self, bytes: usize, out: &mut Vec<u8>) -> usize {
        let Some(mut discard) = self.discard.take() else { return 0 };
        let taken = bytes.min(discard.left);
        discard.left -= taken;
        if discard.left > 0 {
            self.discard = Some(discard);
            return taken;
        }
        let kind = match self.space.request(&discard.topic) {
            Some(Request::Upload(upload)) => TopicKind::Upload(upload),
            _ => TopicKind::Other,
        };
        let mut answer = Answer::new(kind, &discard.topic, discard.qos, discard.packet_id);
        answer.refuse(Code::TooLarge, too_large());
        self.answer(&answer, out);
        self.endpoint.ingestor.count().message(kind, Code::TooLarge);
        taken
    }

    /// Puts a message to one of the session's devices into `out`. The published SDKs wait for commands without ever
    /// subscribing to their topics, so a subscription is not asked for.
    pub(crate) fn put_outgoing(&self, outgoing: Outgoing, out: &mut Vec<u8>) {
        let Outgoing { topic, payload, sent } = outgoing;
        let fits = payload.len() + topic.len() + 8 <= self.packet_max;
        if fits {
            packet::put_publish(out, self.version, &[&topic], &payload);
        }
        // Whoever sent it may have given up.
        let _ = sent.send(fits);
    }

    /// A device's answer to something that was sent to it. What is no answer is passed over: nobody waits for it.
    fn answered(&self, asset: AssetId, payload: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Answered {
            id: Option<serde_json::Value>,
            code: Option<serde_json::Value>,
            #[serde(default)]
            data: serde_json::Value,
            message: Option<String>,
        }
        if payload.len() > REPLY_BYTES_MAX {
            return;
        }
        let Ok(Answered { id, code, data, message }) = serde_json::from_slice(payload) else { return };
        let id = match id {
            Some(serde_json::Value::String(id)) => id,
            Some(serde_json::Value::Number(id)) => id.to_string(),
            _ => return,
        };
        // The published Python SDK sends its own refusals with the code as a text.
        let number = |code: serde_json::Value| code.as_i64().or_else(|| code.as_str()?.parse().ok());
        let code = code.map_or(Some(200), number);
        let Some(code) = code else { return };
        let message = message.filter(|text| !text.is_empty());
        self.endpoint.ingestor.downlink().answered(asset, id, Reply { code, data, message });
    }

    /// From now on messages to the session's devices come here.
    pub(crate) fn reach_all(&self) {
        let downlink = self.endpoint.ingestor.downlink();
        if !self.activation {
            downlink.reach(self.device.asset, &self.mailbox);
            self.others.keys().for_each(|&asset| downlink.reach(asset, &self.mailbox));
        }
    }

    /// Messages to the session's devices do not come here any more.
    pub(crate) fn lose_all(&self) {
        let downlink = self.endpoint.ingestor.downlink();
        downlink.lose(self.device.asset, &self.mailbox);
        self.others.keys().for_each(|&asset| downlink.lose(asset, &self.mailbox));
    }

    /// Keeps what the session knows of its devices in step with the registry.
    fn refresh(&mut self) -> Result<(), End> {
        let registry = self.endpoint.ingestor.registry();
        let version = registry.version();
        if version == self.registry_version {
            return Ok(());
        }
        self.registry_version = version;
        self.device = registry.asset(self.device.asset).filter(|d| d.enabled).ok_or_else(shut_out)?;
        self.model = registry.model(self.device.model).ok_or_else(shut_out)?;
        let downlink = self.endpoint.ingestor.downlink();
        self.others.retain(|asset, _| {
            let stays = registry.asset(*asset).is_some_and(|d| d.enabled);
            if !stays {
                downlink.lose(*asset, &self.mailbox);
            }
            stays
        });
        let others = &self.others;
        self.sub_devices.retain(|asset| others.contains_key(asset));
        Ok(())
    }

    /// Whether the device may not be connected any more.
    pub(crate) fn is_shut_out(&self) -> bool {
        !self.endpoint.ingestor.registry().asset(self.device.asset).is_some_and(|device| device.enabled)
    }

    /// Whether this login only fetches the device's secret.
    pub(crate) fn is_activation(&self) -> bool {
        self.activation
    }

    /// `deviceKey&productKey`, for logs.
    pub(crate) fn name(&self) -> String {
        format!("{}&{}", self.device.device_key, self.device.product_key)
    }

    pub(super) fn activation_topic(&self) -> String {
        format!("{}thing/activate/info", self.space.session())
    }

    /// Tells a device that logged in with its product's secret its own.
    pub(crate) fn put_activation(&self, out: &mut Vec<u8>) {
        if !self.activation {
            return;
        }
        let device = &self.device;
        let info = serde_json::json!({
            "id": "1",
            "version": "1.0",
            "method": "thing.activate.info",
            "params": {
                "assetId": &*device.asset_key,
                "productKey": &*device.product_key,
                "deviceKey": &*device.device_key,
                "deviceSecret": device.secret.expose(),
            },
        });
        packet::put_publish(out, self.version, &[&self.activation_topic()], info.to_string().as_bytes());
    }

    /// Gives back memory that only busy times need.
    pub(crate) fn shrink(&mut self) {
        self.scratch = String::new();
        self.reply = Vec::new();
    }
}

/// How the session of a device ends that was disabled, or deleted.
pub(crate) fn shut_out() -> End {
    End::new(Closed::Disabled, reason::NOT_AUTHORIZED, "723 the device is disabled")
}

fn too_large() -> String {
    format!("the message is larger than {MESSAGE_BYTES_MAX} bytes")
}
