//! The answer to a message: its acknowledgement's reason and its reply.
//!
//! Owns: the shape of replies, what MQTT 5 calls each refusal. Does not own: when answers leave (`connection`), who
//! hears them (`session`).

use std::borrow::Cow;

use super::packet::{Publish, reason};
use crate::code::Code;
use crate::counters::TopicKind;

/// What MQTT 5 calls a refusal. All of them mean: do not send this again.
pub(super) fn puback_reason(code: Code) -> u8 {
    match code {
        Code::Ok => reason::SUCCESS,
        Code::NoRight => reason::NOT_AUTHORIZED,
        Code::TooLarge => reason::QUOTA,
        Code::NotSupported => reason::IMPLEMENTATION,
        _ => reason::PAYLOAD,
    }
}

/// The answer to a message.
pub(super) struct Answer<'m> {
    pub(super) kind: TopicKind,
    pub(super) topic: &'m str,
    /// Whether the topic is the client's own and not a sub-device's.
    pub(super) own_topic: bool,
    pub(super) qos: u8,
    pub(super) packet_id: u16,
    pub(super) id: Option<Cow<'m, str>>,
    pub(super) code: Code,
    pub(super) message: Cow<'static, str>,
    pub(super) data: Option<serde_json::Value>,
}

impl<'m> Answer<'m> {
    /// The answer to a message to `topic`: that all went well, until told otherwise.
    pub(super) fn new(kind: TopicKind, topic: &'m str, qos: u8, packet_id: u16) -> Answer<'m> {
        Answer {
            kind,
            topic,
            own_topic: true,
            qos,
            packet_id,
            id: None,
            code: Code::Ok,
            message: Cow::Borrowed(""),
            data: None,
        }
    }

    /// The answer to a message.
    pub(super) fn to(kind: TopicKind, message: &Publish<'m>) -> Answer<'m> {
        Answer::new(kind, message.topic, message.qos, message.packet_id)
    }

    /// Makes it a refusal.
    pub(super) fn refuse(&mut self, code: Code, message: impl Into<Cow<'static, str>>) {
        (self.code, self.message) = (code, message.into());
    }

    /// `{"id":"41","code":200,"data":{}}`, with a message where there is something to say.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let put = |out: &mut Vec<u8>, text: &str| {
            serde_json::to_writer(out, text).expect("a text is JSON and a Vec takes it");
        };
        out.push(b'{');
        if let Some(id) = &self.id {
            out.extend_from_slice(b"\"id\":");
            put(out, id);
            out.push(b',');
        }
        out.extend_from_slice(b"\"code\":");
        let number = self.code.number();
        out.extend(
            [1_000, 100, 10, 1].iter().filter(|&&d| number >= d).map(|d| b'0' + (number / d % 10) as u8),
        );
        match &self.data {
            None => out.extend_from_slice(b",\"data\":{}"),
            Some(data) => {
                out.extend_from_slice(b",\"data\":");
                out.extend_from_slice(data.to_string().as_bytes());
            }
        }
        if !self.message.is_empty() {
            out.extend_from_slice(b",\"message\":");
            put(out, &self.message);
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_json_whatever_is_in_them() {
        let mut answer = Answer::new(TopicKind::Other, "t", 1, 1);
        let encoded = |answer: &Answer<'_>| {
            let mut out = Vec::new();
            answer.encode(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(encoded(&answer), r#"{"code":200,"data":{}}"#);
        answer.id = Some("4\"1".into());
        answer.data = Some(serde_json::json!({"a": 1}));
        answer.refuse(Code::Format, "bad\n\u{1}");
        let expected = r#"{"id":"4\"1","code":1206,"data":{"a":1},"message":"bad\n\u0001"}"#;
        assert_eq!(encoded(&answer), expected);
    }
}
