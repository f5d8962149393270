//! Layouts by hand, after the protocol's documentation, and random bytes.

use proptest::prelude::*;

use super::*;

fn framed(kind: u8, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::from(&[kind][..]);
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn read(kind: u8, body: &[u8]) -> Result<Message> {
    let (kind, body) = take_message(&mut framed(kind, body), 1 << 20)?.expect("all of it is there");
    message(kind, body)
}

#[test]
fn messages_are_read_as_documented() {
    assert_eq!(read(b'Q', b"select 1\0"), Ok(Message::Query("select 1".into())));
    assert_eq!(
        read(b'P', b"s\0select $1\0\0\x01\0\0\0\x17"),
        Ok(Message::Parse { name: "s".into(), text: "select $1".into(), types: vec![23] })
    );
    let bind = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02\x01\x02\xff\xff\xff\xff\0\x01\0\0";
    assert_eq!(
        read(b'B', bind),
        Ok(Message::Bind(Bind {
            portal: "p".into(),
            statement: "s".into(),
            formats: vec![Format::Binary],
            parameters: vec![Some(Bytes::from_static(&[1, 2])), None],
            results: vec![Format::Text],
        }))
    );
    assert_eq!(read(b'D', b"Sx\0"), Ok(Message::Describe(Target::Statement, "x".into())));
    assert_eq!(read(b'E', b"\0\0\0\0\0"), Ok(Message::Execute { portal: String::new(), rows: None }));
    assert_eq!(read(b'E', b"p\0\0\0\0\x64"), Ok(Message::Execute { portal: "p".into(), rows: Some(100) }));
    assert_eq!(read(b'S', b""), Ok(Message::Sync));
}

#[test]
fn what_is_cut_or_too_long_is_refused_and_not_believed() {
    for (kind, body) in [
        (b'Q', &b"no end"[..]),
        (b'Q', b"text\0more"),
        (b'Q', b"\xff\0"),
        (b'P', b"s\0select 1\0\xff\xff"),
        (b'P', b"s\0select 1\0"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
        (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        (b'B', b"\0\0\0\x01\0\x02\0\0\0\0"),
        (b'E', b"\0\0\0"),
        (b'D', b"Xx\0"),
        (b'S', b"x"),
        (b'~', b""),
    ] {
        assert!(read(kind, body).is_err(), "{} {body:?}", kind as char);
    }
    // Lengths that no body can have: known to be wrong from the first five bytes.
    for length in [0_u32, 3, 1 << 21, u32::MAX] {
        let mut bytes = BytesMut::from(&b"Q"[..]);
        bytes.extend_from_slice(&length.to_be_bytes());
        assert!(take_message(&mut bytes, 1 << 20).is_err(), "{length}");
    }
}

#[test]
fn first_packets_are_told_apart() {
    let packet = |body: &[u8]| {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        take_packet(&mut bytes, 10_000).map(|packet| packet.expect("all of it is there")).and_then(first)
    };
    assert_eq!(packet(&80_877_103_u32.to_be_bytes()), Ok(First::Tls));
    assert_eq!(packet(&80_877_104_u32.to_be_bytes()), Ok(First::Gss));
    assert_eq!(
        packet(b"\x04\xd2\x16\x2e\0\0\0\x07\x01\x02\x03\x04"),
        Ok(First::Cancel { pid: 7, secret: Bytes::from_static(&[1, 2, 3, 4]) })
    );
    assert_eq!(
        packet(b"\0\x03\0\0user\0ann\0\0"),
        Ok(First::Startup { minor: 0, parameters: vec![("user".into(), "ann".into())] })
    );
    assert!(packet(b"\0\x02\0\0user\0ann\0\0").is_err(), "version 2");
    assert!(packet(b"\0\x03\0\0user\0ann\0").is_err(), "no end");
    assert!(packet(b"\0\x03\0\0user\0").is_err(), "a name without value");
    assert!(packet(b"\x04\xd2\x16\x2e\0\0\0\x07\x01").is_err(), "a short secret");
}

#[test]
fn a_message_in_pieces_is_waited_for() {
    let whole = framed(b'Q', b"select 1\0");
    for cut in 0..whole.len() {
        let mut part = BytesMut::from(&whole[..cut]);
        assert_eq!(take_message(&mut part, 1_000), Ok(None));
        assert_eq!(part.len(), cut, "nothing is taken before the end is there");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some((kind, body))) = take_message(&mut input, 1 << 10) {
            let _ = message(kind, body);
        }
        if let Ok(Some(packet)) = take_packet(&mut BytesMut::from(&bytes[..]), 10_000) {
            let _ = first(packet);
        }
        let _ = first(Bytes::from(bytes));
    }

    #[test]
    fn no_body_makes_it_panic(
        kind in proptest::sample::select(b"QPBDECHSXcfFdp".to_vec()),
        body in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 0..60),
    ) {
        if let Ok(Message::Bind(bind)) = message(kind, Bytes::from(body)) {
            // Whatever was read lies within what was sent.
            let bytes: usize = bind.parameters.iter().flatten().map(|p| p.len()).sum();
            prop_assert!(bytes <= 60);
        }
    }
}
