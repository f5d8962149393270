//! MQTT on the wire, 3.1.1 and 5: what is decoded and encoded a million times.
//!
//! Owns: framing, PUBLISH without a copy, and the packets we send. Does not own: CONNECT, SUBSCRIBE, UNSUBSCRIBE,
//! whose decoding is `mqtt-protocol-core`'s (see `docs/decisions/0002-mqtt-protocol-crate.md`).

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

/// The kinds of packets a client sends.
pub(crate) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const DISCONNECT: u8 = 14;
}

/// Reason codes of MQTT 5 that we give.
pub(crate) mod reason {
    pub(crate) const SUCCESS: u8 = 0x00;
    pub(crate) const UNSPECIFIED: u8 = 0x80;
    pub(crate) const MALFORMED: u8 = 0x81;
    pub(crate) const IMPLEMENTATION: u8 = 0x83;
    pub(crate) const CLIENT_ID: u8 = 0x85;
    pub(crate) const CREDENTIALS: u8 = 0x86;
    pub(crate) const NOT_AUTHORIZED: u8 = 0x87;
    pub(crate) const UNAVAILABLE: u8 = 0x88;
    pub(crate) const BUSY: u8 = 0x89;
    pub(crate) const SHUTTING_DOWN: u8 = 0x8B;
    pub(crate) const KEEP_ALIVE: u8 = 0x8D;
    pub(crate) const TAKEN_OVER: u8 = 0x8E;
    pub(crate) const TOPIC_ALIAS: u8 = 0x94;
    pub(crate) const TOO_LARGE: u8 = 0x95;
    pub(crate) const QUOTA: u8 = 0x97;
    pub(crate) const PAYLOAD: u8 = 0x99;
    pub(crate) const QOS: u8 = 0x9B;
    pub(crate) const RATE: u8 = 0x9F;
}

/// Bytes that are no MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The packet a buffer begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// Not all there; with its length where that much is known.
    Partial(Option<usize>),
    /// All there: first byte, body, length in the buffer.
    Whole(u8, &'a [u8], usize),
    /// Larger than allowed: first byte, as much of the body as is there, length of the whole packet.
    TooLarge(u8, &'a [u8], usize),
}

/// Finds the first packet of `buffer`; one of more than `max` bytes is too large.
pub(crate) fn frame(buffer: &[u8], max: usize) -> Result<Frame<'_>, Malformed> {
    let Some(&first) = buffer.first() else { return Ok(Frame::Partial(None)) };
    let Some((remaining, digits)) = varint(&buffer[1..])? else { return Ok(Frame::Partial(None)) };
    let header = 1 + digits;
    let length = header + remaining;
    if length > max {
        Ok(Frame::TooLarge(first, &buffer[header..buffer.len().min(length)], length))
    } else if buffer.len() < length {
        Ok(Frame::Partial(Some(length)))
    } else {
        Ok(Frame::Whole(first, &buffer[header..length], length))
    }
}

/// A variable byte integer and how many bytes it took; `None` where it goes on past the end.
fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Malformed("a length of more than four bytes")) }
}

/// A PUBLISH, borrowed from the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) qos: u8,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    /// Only legal where the server allowed it, and ours does not.
    pub(crate) has_alias: bool,
    pub(crate) payload: &'a [u8],
}

/// Decodes the body of a PUBLISH; of one that is cut off after its header, the payload is what there is of it.
pub(crate) fn publish(version: Version, first: u8, body: &[u8]) -> Result<Publish<'_>, Malformed> {
    const SHORT: Malformed = Malformed("a PUBLISH shorter than its header");
    let qos = (first >> 1) & 3;
    if qos == 3 {
        return Err(Malformed("a PUBLISH with both QoS bits"));
    }
    let (topic, mut rest) = text(body).ok_or(SHORT)?;
    let topic = std::str::from_utf8(topic).map_err(|_| Malformed("a topic that is not UTF-8"))?;
    let mut packet_id = 0;
    if qos > 0 {
        let (id, after) = rest.split_first_chunk::<2>().ok_or(SHORT)?;
        (packet_id, rest) = (u16::from_be_bytes(*id), after);
        if packet_id == 0 {
            return Err(Malformed("a packet id of 0"));
        }
    }
    let mut has_alias = false;
    if version == Version::V5 {
        let (length, digits) = varint(rest)?.ok_or(SHORT)?;
        let properties = rest.get(digits..digits + length).ok_or(SHORT)?;
        has_alias = publish_properties(properties)?;
        rest = &rest[digits + length..];
    }
    if (topic.is_empty() && !has_alias) || topic.contains(['+', '#', '\0']) {
        return Err(Malformed("a topic that is empty or has a wildcard"));
    }
    Ok(Publish { topic, qos, dup: first & 8 != 0, packet_id, has_alias, payload: rest })
}

/// Checks the properties of a PUBLISH and tells whether one is a topic alias. The others ask nothing of us.
fn publish_properties(mut rest: &[u8]) -> Result<bool, Malformed> {
    const BAD: Malformed = Malformed("a PUBLISH with bad properties");
    let mut alias = false;
    while let Some((&id, after)) = rest.split_first() {
        rest = match id {
            0x01 => after.get(1..),
            0x02 => after.get(4..),
            0x03 | 0x08 | 0x09 => text(after).map(|(_, rest)| rest),
            0x0B => varint(after)?.and_then(|(_, digits)| after.get(digits..)),
            0x23 => {
                alias = true;
                after.get(2..)
            }
            0x26 => text(after).and_then(|(_, rest)| text(rest)).map(|(_, rest)| rest),
            _ => None,
        }
        .ok_or(BAD)?;
    }
    Ok(alias)
}

/// A text or bytes after their two bytes of length, and the rest.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    debug_assert!(value < 1 << 28);
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        out.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() <= usize::from(u16::MAX));
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A reason string property, as its whole property list, length first. Empty texts make an empty list.
fn put_reason_text(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        out.push(0);
    } else {
        put_varint(out, 3 + text.len());
        out.push(0x1F);
        put_text(out, text);
    }
}

/// As much of a message as a reason string shall carry.
pub(crate) fn reason_text(message: &str) -> &str {
    let mut end = message.len().min(256);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// Acknowledges a QoS 1 message. Version 3.1.1 has no room for a reason.
pub(crate) fn put_puback(out: &mut Vec<u8>, version: Version, packet_id: u16, reason: u8, text: &str) {
    let [high, low] = packet_id.to_be_bytes();
    if version == Version::V311 || reason == reason::SUCCESS {
        out.extend_from_slice(&[0x40, 2, high, low]);
        return;
    }
    let text = reason_text(text);
    let properties = if text.is_empty() { 1 } else { properties_len(3 + text.len()) };
    out.push(0x40);
    put_varint(out, 3 + properties);
    out.extend_from_slice(&[high, low, reason]);
    put_reason_text(out, text);
}

fn properties_len(content: usize) -> usize {
    content + if content < 128 { 1 } else { 2 }
}

/// A message at QoS 0. The topic comes in pieces so that nobody has to join them first.
pub(crate) fn put_publish(out: &mut Vec<u8>, version: Version, topic: &[&str], payload: &[u8]) {
    let topic_len: usize = topic.iter().map(|part| part.len()).sum();
    debug_assert!(topic_len <= usize::from(u16::MAX));
    out.push(0x30);
    put_varint(out, 2 + topic_len + usize::from(version == Version::V5) + payload.len());
    out.extend_from_slice(&(topic_len as u16).to_be_bytes());
    for part in topic {
        out.extend_from_slice(part.as_bytes());
    }
    if version == Version::V5 {
        out.push(0);
    }
    out.extend_from_slice(payload);
}

/// Answers a CONNECT. `code` is a return code of 3.1.1 or a reason code of 5.
pub(crate) fn put_connack(out: &mut Vec<u8>, version: Version, code: u8, packet_max: usize, text: &str) {
    if version == Version::V311 {
        out.extend_from_slice(&[0x20, 2, 0, code]);
        return;
    }
    let mut properties = Vec::new();
    if code == reason::SUCCESS {
        // No session outlives its connection; QoS 1 at most; nothing retained; no subscription ids, nothing shared.
        properties.extend_from_slice(&[0x11, 0, 0, 0, 0, 0x24, 1, 0x25, 0, 0x29, 0, 0x2A, 0]);
        properties.push(0x27);
        properties.extend_from_slice(&u32::try_from(packet_max).unwrap_or(u32::MAX).to_be_bytes());
    } else if !text.is_empty() {
        properties.push(0x1F);
        put_text(&mut properties, reason_text(text));
    }
    out.push(0x20);
    put_varint(out, 2 + properties_len(properties.len()));
    out.extend_from_slice(&[0, code]);
    put_varint(out, properties.len());
    out.extend_from_slice(&properties);
}

/// Answers a SUBSCRIBE (`0x90`) or, in version 5, an UNSUBSCRIBE (`0xB0`), one code a filter.
pub(crate) fn put_suback(out: &mut Vec<u8>, version: Version, first: u8, packet_id: u16, codes: &[u8]) {
    out.push(first);
    put_varint(out, 2 + usize::from(version == Version::V5) + codes.len());
    out.extend_from_slice(&packet_id.to_be_bytes());
    if version == Version::V5 {
        out.push(0);
    }
    out.extend_from_slice(codes);
}

/// Answers an UNSUBSCRIBE.
pub(crate) fn put_unsuback(out: &mut Vec<u8>, version: Version, packet_id: u16, codes: &[u8]) {
    match version {
        Version::V311 => {
            let [high, low] = packet_id.to_be_bytes();
            out.extend_from_slice(&[0xB0, 2, high, low]);
        }
        Version::V5 => put_suback(out, version, 0xB0, packet_id, codes),
    }
}

/// Answers a PINGREQ.
pub(crate) fn put_pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xD0, 0]);
}

/// Says why the connection ends; 3.1.1 has no way to.
pub(crate) fn put_disconnect(out: &mut Vec<u8>, version: Version, reason: u8, text: &str) {
    if version == Version::V5 {
        let text = reason_text(text);
        let properties = if text.is_empty() { 1 } else { properties_len(3 + text.len()) };
        out.push(0xE0);
        put_varint(out, 1 + properties);
        out.push(reason);
        put_reason_text(out, text);
    }
}

#[cfg(test)]
mod tests;
