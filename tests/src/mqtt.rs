//! A small blocking MQTT client, 3.1.1 and 5, written apart from the server so that both cannot share an error.
//!
//! It does exactly what it is told, wrong things included: unsigned logins, foreign topics, oversized messages.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sign::Login;

/// How long a test waits for any answer before it calls it missing.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What goes into a CONNECT.
#[derive(Clone, Debug)]
pub struct Connect {
    /// 4 for MQTT 3.1.1, 5 for MQTT 5.
    pub level: u8,
    /// Client id, user name and password.
    pub login: Login,
    /// Keep-alive in seconds; 0 = none.
    pub keep_alive: u16,
}

impl Connect {
    /// A 3.1.1 connect with this login.
    pub fn new(login: Login) -> Connect {
        Connect { level: 4, login, keep_alive: 60 }
    }

    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        text(&mut body, "MQTT");
        body.push(self.level);
        body.push(0b1100_0010); // user name, password, clean session
        body.extend(self.keep_alive.to_be_bytes());
        if self.level == 5 {
            body.push(0); // no properties
        }
        text(&mut body, &self.login.client_id);
        text(&mut body, &self.login.username);
        text(&mut body, &self.login.password);
        let mut packet = vec![0x10];
        remaining_length(&mut packet, body.len());
        packet.extend(body);
        packet
    }
}

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK with its return (3.1.1) or reason (5) code.
    ConnAck(u8),
    /// PUBACK of a packet id, with its reason code (0 in 3.1.1).
    PubAck(u16, u8),
    /// SUBACK with the code of every topic.
    SubAck(u16, Vec<u8>),
    /// A message.
    Publish {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Vec<u8>,
        /// Its packet id where it asks for a PUBACK.
        id: Option<u16>,
    },
    /// PINGRESP.
    PingResp,
    /// MQTT 5 DISCONNECT with its reason.
    Disconnect(u8),
    /// Anything else, by its type.
    Other(u8),
}

/// A connection.
#[derive(Debug)]
pub struct Mqtt {
    stream: TcpStream,
    level: u8,
    read: Vec<u8>,
    next_id: u16,
    /// Messages that came while something else was waited for.
    pub inbox: Vec<(String, Vec<u8>)>,
}

impl Mqtt {
    /// Connects and logs in; `Ok(Err(code))` where the server answered with a refusal.
    pub fn connect(address: SocketAddr, connect: &Connect) -> io::Result<Result<Mqtt, u8>> {
        let mut client = Mqtt::open(address, connect.level)?;
        client.send(&connect.encode())?;
        match client.receive(ANSWER_TIMEOUT)? {
            Packet::ConnAck(0) => Ok(Ok(client)),
            Packet::ConnAck(code) => Ok(Err(code)),
            other => Err(io::Error::other(format!("expected CONNACK, got {other:?}"))),
        }
    }

    /// A connection on which nothing has been said yet.
    pub fn open(address: SocketAddr, level: u8) -> io::Result<Mqtt> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
        stream.set_nodelay(true)?;
        Ok(Mqtt { stream, level, read: Vec::new(), next_id: 0, inbox: Vec::new() })
    }

    /// The socket below.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends raw bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A fresh packet id.
    pub fn packet_id(&mut self) -> u16 {
        self.next_id = self.next_id % u16::MAX + 1;
        self.next_id
    }

    /// Sends a PUBLISH and does not wait; the packet id of a QoS 1 message comes back.
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: u8) -> io::Result<u16> {
        let id = if qos == 0 { 0 } else { self.packet_id() };
        let mut packet = Vec::with_capacity(payload.len() + topic.len() + 16);
        encode_publish(&mut packet, self.level, topic, payload, qos, id, false);
        self.send(&packet)?;
        Ok(id)
    }

    /// Publishes with QoS 1 and waits for the PUBACK, whose reason code comes back.
    pub fn publish_acked(&mut self, topic: &str, payload: &[u8]) -> io::Result<u8> {
        let id = self.publish(topic, payload, 1)?;
        let end = Instant::now() + ANSWER_TIMEOUT;
        loop {
            match self.receive(end.saturating_duration_since(Instant::now()))? {
                Packet::PubAck(acked, code) if acked == id => return Ok(code),
                Packet::Publish { topic, payload, .. } => self.inbox.push((topic, payload)),
                other => return Err(io::Error::other(format!("expected PUBACK {id}, got {other:?}"))),
            }
        }
    }

    /// Subscribes with QoS 1 and returns the granted code.
    pub fn subscribe(&mut self, topic: &str) -> io::Result<u8> {
        let id = self.packet_id();
        let mut body = Vec::new();
        body.extend(id.to_be_bytes());
        if self.level == 5 {
            body.push(0);
        }
        text(&mut body, topic);
        body.push(1);
        let mut packet = vec![0x82];
        remaining_length(&mut packet, body.len());
        packet.extend(body);
        self.send(&packet)?;
        loop {
            match self.receive(ANSWER_TIMEOUT)? {
                Packet::SubAck(acked, codes) if acked == id => return Ok(codes[0]),
                Packet::Publish { topic, payload, .. } => self.inbox.push((topic, payload)),
                other => return Err(io::Error::other(format!("expected SUBACK {id}, got {other:?}"))),
            }
        }
    }

    /// Sends a PINGREQ and waits for the answer: proof that the connection is served.
    pub fn ping(&mut self) -> io::Result<()> {
        self.send(&[0xC0, 0])?;
        loop {
            match self.receive(ANSWER_TIMEOUT)? {
                Packet::PingResp => return Ok(()),
                Packet::Publish { topic, payload, .. } => self.inbox.push((topic, payload)),
                other => return Err(io::Error::other(format!("expected PINGRESP, got {other:?}"))),
            }
        }
    }

    /// Publishes `payload` on `topic` with QoS 1 and returns the message on `topic_reply`, which must have been
    /// subscribed to.
    pub fn request(&mut self, topic: &str, payload: &[u8]) -> io::Result<Value> {
        self.publish(topic, payload, 1)?;
        let wanted = format!("{topic}_reply");
        let end = Instant::now() + ANSWER_TIMEOUT;
        loop {
            if let Some(i) = self.inbox.iter().position(|(topic, _)| *topic == wanted) {
                let (_, payload) = self.inbox.remove(i);
                return serde_json::from_slice(&payload).map_err(io::Error::other);
            }
            match self.receive(end.saturating_duration_since(Instant::now()))? {
                Packet::Publish { topic, payload, .. } => self.inbox.push((topic, payload)),
                Packet::PubAck(..) => {}
                other => return Err(io::Error::other(format!("expected a reply, got {other:?}"))),
            }
        }
    }

    /// The next packet. A message of QoS 1 is acknowledged on the way. `TimedOut` where none comes in time,
    /// `UnexpectedEof` where the server closed.
    pub fn receive(&mut self, timeout: Duration) -> io::Result<Packet> {
        let end = Instant::now() + timeout;
        loop {
            if let Some((packet, used)) = decode(&self.read, self.level) {
                self.read.drain(..used);
                if let Packet::Publish { id: Some(id), .. } = packet {
                    let [high, low] = id.to_be_bytes();
                    self.send(&[0x40, 2, high, low])?;
                }
                return Ok(packet);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.read.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Appends a PUBLISH packet to `out`.
pub fn encode_publish(
    out: &mut Vec<u8>,
    level: u8,
    topic: &str,
    payload: &[u8],
    qos: u8,
    packet_id: u16,
    duplicate: bool,
) {
    let properties = usize::from(level == 5);
    let id_bytes = if qos == 0 { 0 } else { 2 };
    out.push(0x30 | (qos << 1) | (u8::from(duplicate) << 3));
    remaining_length(out, 2 + topic.len() + id_bytes + properties + payload.len());
    text(out, topic);
    if qos > 0 {
        out.extend(packet_id.to_be_bytes());
    }
    out.extend(std::iter::repeat_n(0, properties));
    out.extend_from_slice(payload);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// The first packet of `bytes` and its length; `None` where it is not complete yet.
fn decode(bytes: &[u8], level: u8) -> Option<(Packet, usize)> {
    let first = *bytes.first()?;
    let (mut length, mut shift, mut at) = (0_usize, 0, 1);
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = bytes.get(at..at + length)?;
    let id = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let packet = match first >> 4 {
        2 => Packet::ConnAck(body[1]),
        3 => {
            let name = usize::from(id(0));
            let topic = String::from_utf8_lossy(&body[2..2 + name]).into_owned();
            let mut rest = 2 + name;
            let packet_id = (first >> 1 & 3 > 0).then(|| id(rest));
            rest += if packet_id.is_some() { 2 } else { 0 };
            if level == 5 {
                rest += 1 + usize::from(body[rest]); // the server sends few properties: one length byte
            }
            Packet::Publish { topic, payload: body[rest..].to_vec(), id: packet_id }
        }
        4 => Packet::PubAck(id(0), body.get(2).copied().unwrap_or(0)),
        9 => Packet::SubAck(id(0), body[2 + usize::from(level == 5)..].to_vec()),
        13 => Packet::PingResp,
        14 => Packet::Disconnect(body.first().copied().unwrap_or(0)),
        other => Packet::Other(other),
    };
    Some((packet, at + length))
}
