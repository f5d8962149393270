use proptest::prelude::*;

use super::*;

fn whole(version: Version, first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    put_varint(&mut out, body.len());
    out.extend_from_slice(body);
    assert!(version == Version::V311 || version == Version::V5);
    out
}

#[test]
fn a_publish_written_by_hand_comes_apart() {
    let bytes = b"\x3a\x0b\x00\x03a/b\x00\x0ahello"; // QoS 1, DUP; 2+3+2+5 = 12 is one more than the length says
    assert_eq!(frame(&bytes[..], 100), Ok(Frame::Whole(0x3a, &bytes[2..13], 13)));
    let Ok(Frame::Whole(first, body, _)) = frame(b"\x3a\x0c\x00\x03a/b\x00\x0ahello", 100) else { panic!() };
    let publish = publish(Version::V311, first, body).unwrap();
    assert_eq!((publish.topic, publish.qos, publish.dup), ("a/b", 1, true));
    assert_eq!((publish.packet_id, publish.payload), (10, &b"hello"[..]));
}

#[test]
fn version_5_properties_are_stepped_over() {
    let body = b"\x00\x01t\x00\x07\x08\x01\x01\x26\x00\x00\x00\x01k\x00payload";
    // Length 8: payload format, then a user property ("", "k").
    let publish = publish(Version::V5, 0x32, body).unwrap();
    assert_eq!((publish.packet_id, publish.payload, publish.has_alias), (7, &b"\x00payload"[..], false));
    let alias = super::publish(Version::V5, 0x30, b"\x00\x00\x03\x23\x00\x01x").unwrap();
    assert!(alias.has_alias && alias.payload == b"x");
}

#[test]
fn broken_packets_are_named() {
    for (version, first, body) in [
        (Version::V311, 0x36, &b"\x00\x01t\x00\x01"[..]),
        (Version::V311, 0x32, b"\x00\x01t\x00\x00"),
        (Version::V311, 0x32, b"\x00\x01t\x00"),
        (Version::V311, 0x30, b"\x00\x02t"),
        (Version::V311, 0x30, b"\x00\x00"),
        (Version::V311, 0x30, b"\x00\x01#"),
        (Version::V311, 0x30, b"\x00\x01\xff"),
        (Version::V5, 0x30, b"\x00\x01t"),
        (Version::V5, 0x30, b"\x00\x01t\x05\x01"),
        (Version::V5, 0x30, b"\x00\x01t\x02\x77\x01"),
    ] {
        assert!(publish(version, first, body).is_err(), "{body:?}");
    }
    assert!(frame(b"\x30\xff\xff\xff\xff\x01", 100).is_err());
}

#[test]
fn sizes_are_known_before_the_bytes_come() {
    assert_eq!(frame(b"", 100), Ok(Frame::Partial(None)));
    assert_eq!(frame(b"\x30\x80", 100), Ok(Frame::Partial(None)));
    assert_eq!(frame(b"\x30\x05ab", 100), Ok(Frame::Partial(Some(7))));
    assert_eq!(frame(b"\x30\x80\x01ab", 100), Ok(Frame::TooLarge(0x30, b"ab", 131)));
    assert_eq!(frame(b"\xc0\x00\xc0\x00", 2), Ok(Frame::Whole(0xc0, b"", 2)));
}

#[test]
fn what_we_send_is_framed_right() {
    let mut out = Vec::new();
    let long = "ü".repeat(400);
    for version in [Version::V311, Version::V5] {
        put_puback(&mut out, version, 7, reason::SUCCESS, "");
        put_puback(&mut out, version, 7, reason::PAYLOAD, "1206 params.x");
        put_puback(&mut out, version, 7, reason::PAYLOAD, &long);
        put_publish(&mut out, version, &["/sys/", "x"], &[b'y'; 300]);
        put_connack(&mut out, version, 0, 1_000, "");
        put_connack(&mut out, version, 0x86, 1_000, &long);
        put_suback(&mut out, version, 0x90, 1, &[0, 1, 0x80]);
        put_unsuback(&mut out, version, 1, &[0]);
        put_disconnect(&mut out, version, reason::TOO_LARGE, &long);
        put_disconnect(&mut out, version, reason::TOO_LARGE, "");
    }
    put_pingresp(&mut out);
    let (mut at, mut packets) = (0, 0);
    while at < out.len() {
        let Ok(Frame::Whole(_, _, length)) = frame(&out[at..], 1 << 20) else { panic!("at {at}") };
        at += length;
        packets += 1;
    }
    assert_eq!((at, packets), (out.len(), 19));
}

/// The packets we send, read by the crate that reads what we receive: an independent opinion.
#[test]
fn another_implementation_reads_what_we_send() {
    use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
    let body = |put: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        put(&mut out);
        match frame(&out, 1 << 20).unwrap() {
            Frame::Whole(_, body, length) if length == out.len() => body.to_vec(),
            other => panic!("{other:?}"),
        }
    };
    let connack = body(&|out| put_connack(out, Version::V5, 0, 528_384, ""));
    let (packet, used) = v5_0::Connack::parse(&connack).unwrap();
    assert_eq!((used, packet.session_present()), (connack.len(), false));
    let refused = body(&|out| put_connack(out, Version::V5, 0x86, 0, "742 signature does not match"));
    assert_eq!(v5_0::Connack::parse(&refused).unwrap().1, refused.len());
    let puback = body(&|out| put_puback(out, Version::V5, 9, reason::PAYLOAD, "1206 params.time"));
    let (packet, used) = v5_0::Puback::parse(&puback).unwrap();
    assert_eq!((used, packet.packet_id()), (puback.len(), 9));
    let suback = body(&|out| put_suback(out, Version::V5, 0x90, 3, &[1, 0x87]));
    assert_eq!(v5_0::Suback::parse(&suback).unwrap().1, suback.len());
    let unsuback = body(&|out| put_unsuback(out, Version::V5, 3, &[0, 0x11]));
    assert_eq!(v5_0::Unsuback::parse(&unsuback).unwrap().1, unsuback.len());
    let disconnect = body(&|out| put_disconnect(out, Version::V5, reason::TAKEN_OVER, "elsewhere"));
    assert_eq!(v5_0::Disconnect::parse(&disconnect).unwrap().1, disconnect.len());
    let publish = body(&|out| put_publish(out, Version::V5, &["/a", "/b"], b"xyz"));
    let (packet, _) = v5_0::Publish::parse(0, publish.as_slice().into()).unwrap();
    assert_eq!((packet.topic_name(), packet.payload().as_slice()), ("/a/b", &b"xyz"[..]));
    let connack = body(&|out| put_connack(out, Version::V311, 4, 0, "ignored"));
    assert_eq!(v3_1_1::Connack::parse(&connack).unwrap().1, 2);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), five in any::<bool>()) {
        let version = if five { Version::V5 } else { Version::V311 };
        let framed = [bytes.clone(), whole(version, bytes.first().copied().unwrap_or(0x32), &bytes)];
        for bytes in framed {
            match frame(&bytes, 48) {
                Ok(Frame::Whole(first, body, length)) => {
                    prop_assert!(length <= bytes.len() && length <= 48);
                    let _ = publish(version, first, body);
                }
                Ok(Frame::TooLarge(first, body, length)) => {
                    prop_assert!(length > 48);
                    let _ = publish(version, first, body);
                }
                Ok(Frame::Partial(known)) => prop_assert!(known.is_none_or(|n| n > bytes.len())),
                Err(Malformed(_)) => {}
            }
        }
    }

    #[test]
    fn a_publish_survives_the_way(topic in "[a-z/]{1,40}", payload in prop::collection::vec(any::<u8>(), 0..400), five in any::<bool>()) {
        let version = if five { Version::V5 } else { Version::V311 };
        let mut out = Vec::new();
        put_publish(&mut out, version, &[&topic], &payload);
        let Ok(Frame::Whole(first, body, length)) = frame(&out, 1 << 20) else { panic!() };
        prop_assert_eq!(length, out.len());
        let publish = publish(version, first, body).unwrap();
        prop_assert_eq!((publish.topic, publish.payload), (topic.as_str(), payload.as_slice()));
    }
}
