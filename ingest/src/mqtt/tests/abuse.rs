use super::*;

#[tokio::test]
async fn foreign_topics_are_refused_and_change_nothing() {
    let server = Server::start().await;
    let foreign = "/sys/pkS/dkS1/thing/measurepoint/post";
    let payload = post(r#"{"Temp":1}"#, T);
    let mut client = Client::login(&server, Version::V5, "pkT", "dkT").await;
    assert_eq!(client.publish(foreign, 1, &payload).await, 0x87);
    assert_eq!(client.publish(POST, 2, &payload).await, 0, "version 5 goes on");
    client.send(&publish_packet(Version::V5, foreign, 0, 0, payload.as_bytes())).await;
    let goodbye = client.read().await.unwrap();
    assert_eq!((goodbye.first, goodbye.body[0]), (0xE0, 0x87));
    let mut client = Client::login(&server, Version::V311, "pkT", "dkT").await;
    // What came before the foreign message in the same read is stored and acknowledged all the same.
    let mut bytes = publish_packet(Version::V311, POST, 1, 5, post(r#"{"Count":9}"#, T).as_bytes());
    bytes.extend(publish_packet(Version::V311, foreign, 1, 6, payload.as_bytes()));
    client.send(&bytes).await;
    client.puback(5).await;
    assert_eq!(client.read().await, None);
    assert_eq!(server.latest("pkT", "dkT", "Count"), Some((T, Value::Int(9))));
    assert_eq!(server.latest("pkS", "dkS1", "Temp"), None);
    assert_eq!(server.counter("wattline_mqtt_foreign_topic_messages_total", ""), 3);
    server.stop().await;
}

#[tokio::test]
async fn subscriptions_stay_in_the_devices_own_space() {
    let server = Server::start().await;
    for (version, refused, bad) in [(Version::V311, 0x80, 0x80), (Version::V5, 0x87, 0x8F)] {
        let mut client = Client::login(&server, version, "pkT", "dkT").await;
        let codes = client
            .subscribe(&[
                "/sys/pkT/dkT/#",
                "/ext/session/pkT/dkT/+/x",
                "/sys/pkS/dkS1/#",
                "#",
                "/sys/+/dkT/#",
                "/sys/pkT/dkT/a#",
            ])
            .await;
        assert_eq!(codes, [1, 1, refused, refused, refused, bad]);
        let mut body = vec![0, 5];
        if version == Version::V5 {
            body.push(0);
        }
        body.extend(text("/sys/pkT/dkT/#"));
        client.send(&packet(0xA2, &body)).await;
        let unsuback = client.read().await.unwrap();
        assert_eq!((unsuback.first, &unsuback.body[..2]), (0xB0, &[0, 5][..]));
        client.publish(POST, 1, &post(r#"{"Temp":1}"#, T)).await;
        client.send(&[0xC0, 0]).await;
        assert_eq!(client.read().await.unwrap().first, 0xD0, "no reply after UNSUBSCRIBE");
    }
    server.stop().await;
}

#[tokio::test]
async fn oversized_messages_are_refused_by_name() {
    let server = Server::start().await;
    let big = |n: usize| post(&format!(r#"{{"Label":"{}"}}"#, "x".repeat(n)), T);
    let mut client = Client::login(&server, Version::V311, "pkT", "dkT").await;
    client.subscribe(&["/sys/pkT/dkT/#"]).await;
    // One byte over: still within a packet. Then far over: thrown away while it comes.
    for n in [524_289 - big(0).len(), 600_000, 5_000_000] {
        assert_eq!(client.publish(POST, 9, &big(n)).await, 0);
        let (topic, reply) = client.reply().await;
        assert_eq!((topic, &reply["code"]), (format!("{POST}_reply"), &1008.into()), "{n}");
    }
    assert_eq!(client.publish(POST, 10, &post(r#"{"Temp":1}"#, T)).await, 0);
    assert_eq!(client.reply().await.1["code"], 200);
    let mut client = Client::login(&server, Version::V5, "pkT", "dkT").await;
    client.send(&publish_packet(Version::V5, POST, 1, 9, big(600_000).as_bytes())[..4096]).await;
    let goodbye = client.read().await.unwrap();
    assert_eq!((goodbye.first, goodbye.body[0]), (0xE0, 0x95));
    assert_eq!(server.counter("wattline_ingest_rejects_total", "1008"), 3);
    assert_eq!(server.counter("wattline_mqtt_connections_closed_total", "too_large"), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_message_of_the_full_size_is_taken() {
    let server = Server::start().await;
    let entry = |i: i64| format!(r#"{{"measurepoints":{{"Temp":{i}}},"time":{}}}"#, T + i);
    let entries: Vec<String> = (0..9_000).map(entry).collect();
    let mut payload = format!(r#"{{"id":"1","params":[{}]}}"#, entries.join(","));
    assert!(payload.len() < 524_288);
    payload.push_str(&" ".repeat(524_288 - payload.len()));
    for version in BOTH {
        let mut client = Client::login(&server, version, "pkT", "dkT").await;
        assert_eq!(client.publish(&format!("{POST}/batch"), 1, &payload).await, 0);
        assert_eq!(server.latest("pkT", "dkT", "Temp"), Some((T + 8_999, Value::Float(8_999.0))));
    }
    assert_eq!(server.counter("wattline_ingest_samples_total", ""), 18_000);
    server.stop().await;
}

#[tokio::test]
async fn broken_packets_end_their_connection_only() {
    let server = Server::start().await;
    let mut other = Client::login(&server, Version::V311, "pkS", "dkS1").await;
    for bytes in [
        &b"\x32\x02\x00\x09"[..],         // topic longer than the packet
        b"\x30\xff\xff\xff\xff\x01",      // length of five bytes
        b"\x36\x05\x00\x01t\x00\x01",     // QoS 3
        b"\x34\x06\x00\x01t\x00\x01\x00", // QoS 2
        b"\x00\x00",                      // type 0
        b"\x82\x03\x00\x01\x00",          // half a SUBSCRIBE
        b"\x10\x00",                      // a second CONNECT
        b"\xf0\x00",                      // AUTH
    ] {
        for version in BOTH {
            let mut client = Client::login(&server, version, "pkT", "dkT").await;
            client.send(bytes).await;
            while let Some(packet) = client.read().await {
                assert_eq!((version, packet.first), (Version::V5, 0xE0), "{bytes:?}");
            }
        }
    }
    assert_eq!(server.counter("wattline_mqtt_connections_closed_total", "qos2"), 2);
    assert_eq!(other.publish("/sys/pkS/dkS1/thing/measurepoint/post", 1, &post(r#"{"Temp":1}"#, T)).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_connect_is_dropped() {
    let settings = MqttSettings { connect_timeout: Duration::from_millis(300), ..MqttSettings::default() };
    let server = Server::start_with(IngestSettings::default(), settings, None).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x10\xff\xff\xff\x7f",
        b"\xc0\x00",
        b"\x10\x02\x00\x04",
        b"\x10",
        b"",
    ] {
        let mut client = Client::dial(&server, Version::V311).await;
        client.send(bytes).await;
        assert_eq!(client.read().await, None, "{bytes:?}");
    }
    // MQTT 3.1 is told its version is not spoken here.
    let mut client = Client::dial(&server, Version::V311).await;
    let mut body = text("MQIsdp");
    body.extend_from_slice(&[3, 2, 0, 60]);
    body.extend(text("id"));
    client.send(&packet(0x10, &body)).await;
    assert_eq!(client.read().await.unwrap().body, [0, 1]);
    assert_eq!(server.counter("wattline_mqtt_connections_refused_total", "timeout"), 2);
    assert_eq!(server.counter("wattline_mqtt_connections_refused_total", "protocol"), 5);
    server.stop().await;
}

#[tokio::test]
async fn silence_ends_a_connection_after_its_keep_alive() {
    let server = Server::start().await;
    let mut client = Client::dial(&server, Version::V5).await;
    let id = "c|securemode=2,signmethod=sha256,timestamp=1767225600000|";
    let mut connect = connect_packet(Version::V5, id, "dkT&pkT", &password("c", "dkT", "pkT", "s3cr3tDemo"));
    // One second of keep-alive; the length takes two bytes here.
    let at = connect.windows(4).position(|w| w == [5, 0xC2, 0, 60]).unwrap() + 3;
    connect[at] = 1;
    client.send(&connect).await;
    assert_eq!(client.read().await.unwrap().body[1], 0);
    let start = std::time::Instant::now();
    let goodbye = client.read().await.unwrap();
    assert_eq!((goodbye.first, goodbye.body[0]), (0xE0, 0x8D));
    assert!((1.2..5.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_and_others_do_not_notice() {
    let settings = MqttSettings { write_timeout: Duration::from_millis(500), ..MqttSettings::default() };
    let server = Server::start_with(IngestSettings::default(), settings, None).await;
    let mut other = Client::login(&server, Version::V311, "pkS", "dkS1").await;
    let mut deaf = Client::login(&server, Version::V311, "pkT", "dkT").await;
    deaf.subscribe(&["/sys/pkT/dkT/#"]).await;
    // Answers of half a kilobyte each, never read, until the server gives up.
    let payload = post(&format!(r#"{{"{}":1}}"#, "Nope".repeat(200)), T);
    let message = publish_packet(Version::V311, POST, 1, 1, payload.as_bytes());
    let flood = async { while deaf.stream.write_all(&message).await.is_ok() {} };
    let calm = async {
        let topic = "/sys/pkS/dkS1/thing/measurepoint/post";
        for i in 0..50 {
            assert_eq!(other.publish(topic, 1, &post(r#"{"Temp":1}"#, T + i)).await, 0);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(WAIT, async { tokio::join!(flood, calm) }).await.expect("the deaf client is dropped");
    assert_eq!(server.counter("wattline_mqtt_connections_closed_total", "not_reading"), 1);
    server.stop().await;
}

#[tokio::test]
async fn connections_have_a_limit() {
    let settings = MqttSettings { connections_max: 2, ..MqttSettings::default() };
    let server = Server::start_with(IngestSettings::default(), settings, None).await;
    let mut one = Client::login(&server, Version::V311, "pkT", "dkT").await;
    let _two = Client::login(&server, Version::V311, "pkS", "dkS1").await;
    let mut three = Client::dial(&server, Version::V311).await;
    assert_eq!(three.read().await, None);
    assert_eq!(server.counter("wattline_mqtt_connections_refused_total", "full"), 1);
    one.send(&[0xE0, 0]).await;
    assert_eq!(one.read().await, None);
    Client::login(&server, Version::V311, "pkT", "dkT").await;
    server.stop().await;
}

#[tokio::test]
async fn login_limits_hold_where_the_operator_wants_them() {
    let settings = MqttSettings { login_limits: true, ..MqttSettings::default() };
    let server = Server::start_with(IngestSettings::default(), settings, None).await;
    let _first = Client::login(&server, Version::V5, "pkT", "dkT").await;
    let mut again = Client::dial(&server, Version::V5).await;
    assert_eq!(again.connect(2, "pkT", "dkT", "s3cr3tDemo").await, 0x9F);
    Client::login(&server, Version::V5, "pkS", "dkS1").await;
    server.stop().await;
}

#[tokio::test]
async fn a_stopped_store_acknowledges_nothing() {
    let server = Server::start().await;
    let mut client = Client::login(&server, Version::V5, "pkT", "dkT").await;
    server.ingestor.store().close().unwrap();
    client.send(&publish_packet(Version::V5, POST, 1, 1, post(r#"{"Temp":1}"#, T).as_bytes())).await;
    let goodbye = client.read().await.unwrap();
    assert_eq!((goodbye.first, goodbye.body[0]), (0xE0, 0x89));
    assert_eq!(client.read().await, None);
    assert_eq!(server.counter("wattline_ingest_messages_total", "200"), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_says_goodbye() {
    let server = Server::start().await;
    let mut client = Client::login(&server, Version::V5, "pkT", "dkT").await;
    assert_eq!(client.publish(POST, 1, &post(r#"{"Temp":1}"#, T)).await, 0);
    server.stop().await;
    let goodbye = client.read().await.unwrap();
    assert_eq!((goodbye.first, goodbye.body[0]), (0xE0, 0x8B));
}
