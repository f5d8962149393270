use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use proptest::prelude::*;

use super::*;

/// Bodies of CONNECT, SUBSCRIBE and UNSUBSCRIBE of both versions, whole, to be spoiled.
fn seeds() -> Vec<Vec<u8>> {
    let connect = |level: u8, properties: &[u8]| {
        let will = [properties, b"\x00\x01w\x00\x02by"].concat();
        let head = [b"\x00\x04MQTT".as_slice(), &[level, 0xC6, 0, 60], properties, b"\x00\x02id"].concat();
        [&head, &will[..], b"\x00\x01u\x00\x01p"].concat()
    };
    vec![
        connect(4, b""),
        connect(5, b"\x07\x27\x00\x00\x10\x00\x17\x00"),
        b"\x00\x01\x00\x03a/b\x01".to_vec(),
        b"\x00\x01\x02\x0b\x05\x00\x03a/b\x01".to_vec(),
        b"\x00\x01\x00\x03a/b".to_vec(),
        b"\x00\x01\x00\x00\x03a/b".to_vec(),
    ]
}

#[test]
fn a_whole_connect_is_read_in_either_version() {
    let connect = decode_connect(&seeds()[0]).expect("3.1.1");
    assert_eq!((connect.version, connect.client_id.as_str(), connect.keep_alive), (Version::V311, "id", 60));
    assert_eq!((connect.username.as_deref(), connect.password.as_deref()), (Some("u"), Some(&b"p"[..])));
    let body = b"\x00\x04MQTT\x05\xC2\x00\x00\x07\x27\x00\x00\x10\x00\x17\x00\x00\x02id\x00\x01u\x00\x01p";
    let connect = decode_connect(body).expect("5");
    assert_eq!((connect.packet_max, connect.wants_reasons), (4_096, false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// The bodies the protocol crate decodes for us: nothing makes it, or us, panic.
    #[test]
    fn no_body_makes_the_protocol_crate_panic(
        which in 0..6_usize,
        spoil in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut body = seeds().swap_remove(which);
        for (at, byte) in spoil {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let cut = &body[..cut.index(body.len() + 1)];
        for body in [&body[..], cut, &noise] {
            let _ = decode_connect(body);
            let _ = v3_1_1::Subscribe::parse(body);
            let _ = v5_0::Subscribe::parse(body);
            let _ = v3_1_1::Unsubscribe::parse(body);
            let _ = v5_0::Unsubscribe::parse(body);
        }
    }
}
