use super::*;
use wattline_registry::NewDevice;

async fn code(server: &Server, version: Version, mode: u8, product: &str, device: &str, secret: &str) -> u8 {
    let mut client = Client::dial(server, version).await;
    let code = client.connect(mode, product, device, secret).await;
    if code != 0 {
        assert_eq!(client.read().await, None, "a refused login ends the connection");
    }
    code
}

#[tokio::test]
async fn logins_are_refused_by_their_code() {
    let server = Server::start().await;
    product(&server, "pkC", false, true);
    let new = NewDevice {
        product_key: "pkC".into(),
        device_key: Some("dkC".into()),
        secret: Some("s3cr3tDemo".into()),
        ..NewDevice::default()
    };
    server.plant.registry.create_device(new).unwrap();
    server
        .plant
        .registry
        .set_device_enabled(server.plant.device("pkS", "dkS2").asset, false, "ann", 1)
        .unwrap();
    for (mode, product, device, secret, v311, v5) in [
        (2, "pkT", "dkT", "s3cr3tDemo", 0, 0),
        (2, "pkT", "dkT", "wrong", 4, 0x86),
        (2, "pkT", "nobody", "s3cr3tDemo", 4, 0x86),
        (2, "nothing", "dkT", "s3cr3tDemo", 4, 0x86),
        (2, "pkS", "dkS2", "s3cr3tDemo", 5, 0x87),
        (3, "pkT", "dkT", "productSecret", 5, 0x87),
        (2, "pkC", "dkC", "s3cr3tDemo", 5, 0x87),
        (4, "pkT", "dkT", "s3cr3tDemo", 2, 0x85),
    ] {
        assert_eq!(
            code(&server, Version::V311, mode, product, device, secret).await,
            v311,
            "{device} {mode}"
        );
        assert_eq!(code(&server, Version::V5, mode, product, device, secret).await, v5, "{device} {mode}");
    }
    for (reason, n) in [
        ("signature", 2),
        ("unknown_device", 4),
        ("disabled", 2),
        ("activation", 2),
        ("certificate", 2),
        ("identity", 2),
    ] {
        assert_eq!(server.counter("wattline_mqtt_connections_refused_total", reason), n, "{reason}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_worked_vector_of_the_protocol_logs_in() {
    let server = Server::start().await;
    let new = NewDevice {
        product_key: "pkT".into(),
        device_key: Some("dk7788".into()),
        secret: Some("s3cr3tDemo".into()),
        ..NewDevice::default()
    };
    let device = server.plant.registry.create_device(new).unwrap();
    assert!(!device.active);
    // The vector is signed for product pkA1B2C3; the digests here were made with sha256sum and sha1sum over the same
    // text with pkT, the first lower case, the second upper case, with the odd spellings that clients use.
    let text = "clientIdgw-0001deviceKeydk7788productKeypkTtimestamp1767225600000.123s3cr3tDemo";
    let sha256 = {
        use sha2::{Digest, Sha256};
        Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let mut client = Client::dial(&server, Version::V311).await;
    let id = "gw-0001|SecureMode=2, signMethod=hmacSha256, timestamp=1767225600000.123|";
    client.send(&connect_packet(Version::V311, id, "dk7788&pkT", &sha256)).await;
    assert_eq!(client.read().await.unwrap().body, [0, 0]);
    assert!(server.plant.device("pkT", "dk7788").active, "the first login activates");
    server.stop().await;
}

#[tokio::test]
async fn dynamic_activation_hands_out_the_secret_and_nothing_else() {
    let server = Server::start().await;
    product(&server, "pkD", true, false);
    let new = NewDevice { product_key: "pkD".into(), device_key: Some("dkD".into()), ..NewDevice::default() };
    let device = server.plant.registry.create_device(new).unwrap();
    for version in BOTH {
        let mut client = Client::dial(&server, version).await;
        assert_eq!(client.connect(3, "pkD", "dkD", "productSecret").await, 0);
        let (topic, info) = client.reply().await;
        assert_eq!(topic, "/ext/session/pkD/dkD/thing/activate/info");
        assert_eq!(
            (&info["method"], &info["params"]["deviceKey"]),
            (&"thing.activate.info".into(), &"dkD".into())
        );
        let secret = info["params"]["deviceSecret"].as_str().unwrap().to_owned();
        assert_eq!(secret, device.secret.expose());
        assert_eq!(client.subscribe(&["/sys/pkD/dkD/#"]).await, [1]);
        client.publish("/ext/session/pkD/dkD/thing/activate/info_reply", 1, r#"{"id":"1","code":200}"#).await;
        client.publish("/sys/pkD/dkD/thing/measurepoint/post", 2, &post(r#"{"Temp":1}"#, T)).await;
        assert_eq!(client.reply().await.1["code"], 1009);
        assert_eq!(code(&server, version, 2, "pkD", "dkD", &secret).await, 0);
    }
    server.stop().await;
}

#[tokio::test]
async fn unknown_devices_register_themselves_where_the_operator_allows_it() {
    let settings = IngestSettings { auto_register_devices: true, ..IngestSettings::default() };
    let server = Server::start_with(settings, MqttSettings::default(), None).await;
    product(&server, "pkD", true, false);
    // Signed with the product's secret for good.
    assert_eq!(code(&server, Version::V311, 2, "pkT", "new1", "wrong").await, 4);
    assert_eq!(code(&server, Version::V311, 2, "pkT", "new1", "productSecret").await, 0);
    assert_eq!(server.plant.device("pkT", "new1").secret.expose(), "productSecret");
    assert_eq!(code(&server, Version::V311, 2, "pkT", "new1", "productSecret").await, 0);
    // Come to be activated.
    assert_eq!(code(&server, Version::V311, 3, "pkT", "new2", "productSecret").await, 5);
    let mut client = Client::dial(&server, Version::V311).await;
    assert_eq!(client.connect(3, "pkD", "new2", "productSecret").await, 0);
    let secret = client.reply().await.1["params"]["deviceSecret"].as_str().unwrap().to_owned();
    assert_ne!(secret, "productSecret");
    assert_eq!(code(&server, Version::V311, 2, "pkD", "new2", &secret).await, 0);
    assert_eq!(server.counter("wattline_ingest_auto_registered_devices_total", ""), 2);
    // A device somebody did register keeps its own secret.
    assert_eq!(code(&server, Version::V311, 2, "pkT", "dkT", "productSecret").await, 4);
    server.stop().await;
}

#[tokio::test]
async fn a_device_has_one_session() {
    let server = Server::start().await;
    for version in BOTH {
        let mut first = Client::login(&server, version, "pkT", "dkT").await;
        let mut second = Client::login(&server, version, "pkT", "dkT").await;
        if version == Version::V5 {
            let goodbye = first.read().await.unwrap();
            assert_eq!((goodbye.first, goodbye.body[0]), (0xE0, 0x8E));
        }
        assert_eq!(first.read().await, None);
        assert_eq!(second.publish(POST, 1, &post(r#"{"Temp":1}"#, T)).await, 0);
        assert!(server.ingestor.is_online(server.plant.device("pkT", "dkT").asset));
        second.send(&packet(0xE0, if version == Version::V5 { &[0] } else { &[] })).await;
        assert_eq!(second.read().await, None);
    }
    assert_eq!(server.counter("wattline_mqtt_takeovers_total", ""), 2);
    assert_eq!(server.counter("wattline_mqtt_connections_closed_total", "taken_over"), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_device_that_is_disabled_is_put_out() {
    let server = Server::start().await;
    let mut client = Client::login(&server, Version::V5, "pkT", "dkT").await;
    server
        .plant
        .registry
        .set_device_enabled(server.plant.device("pkT", "dkT").asset, false, "ann", 1)
        .unwrap();
    client.send(&publish_packet(Version::V5, POST, 1, 1, post(r#"{"Temp":1}"#, T).as_bytes())).await;
    let goodbye = client.read().await.unwrap();
    assert_eq!((goodbye.first, goodbye.body[0]), (0xE0, 0x87));
    assert_eq!(server.latest("pkT", "dkT", "Temp"), None);
    server.stop().await;
}

/// A certificate authority, a server certificate of it and a client certificate of it.
fn certificates() -> (String, String, String, rustls::ClientConfig, rustls::ClientConfig) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let (server_key, client_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let server =
        CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&server_key, &issuer).unwrap();
    let client = CertificateParams::new(vec!["dkC".into()]).unwrap().signed_by(&client_key, &issuer).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let builder = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        builder.unwrap().with_root_certificates(roots.clone())
    };
    let key = rustls::pki_types::PrivateKeyDer::try_from(client_key.serialize_der()).unwrap();
    let with = builder().with_client_auth_cert(vec![client.der().clone()], key).unwrap();
    (server.pem(), server_key.serialize_pem(), authority.pem(), builder().with_no_client_auth(), with)
}

#[tokio::test]
async fn tls_works_with_and_without_a_client_certificate() {
    let (certificate, key, authority, without, with) = certificates();
    let config =
        tls::server_config(certificate.as_bytes(), key.as_bytes(), Some(authority.as_bytes())).unwrap();
    let server = Server::start_with(IngestSettings::default(), MqttSettings::default(), Some(config)).await;
    product(&server, "pkC", false, true);
    let new = NewDevice {
        product_key: "pkC".into(),
        device_key: Some("dkC".into()),
        secret: Some("s3cr3tDemo".into()),
        ..NewDevice::default()
    };
    server.plant.registry.create_device(new).unwrap();
    for (config, product, device, expected) in [
        (&without, "pkT", "dkT", 0),
        (&with, "pkT", "dkT", 0),
        (&without, "pkC", "dkC", 5),
        (&with, "pkC", "dkC", 0),
    ] {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config.clone()));
        let stream = TcpStream::connect(server.address).await.unwrap();
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let mut client = Client { stream, buffer: Vec::new(), version: Version::V311 };
        assert_eq!(client.connect(2, product, device, "s3cr3tDemo").await, expected, "{device}");
        if expected == 0 {
            let topic = format!("/sys/{product}/{device}/thing/measurepoint/post");
            assert_eq!(client.publish(&topic, 1, &post(r#"{"Temp":1}"#, T)).await, 0);
        }
    }
    assert!(server.latest("pkC", "dkC", "Temp").is_some());
    // Plain bytes at the TLS port end the connection, not the server.
    let mut client = Client::dial(&server, Version::V311).await;
    client.send(b"GET / HTTP/1.1\r\n\r\n").await;
    while client.stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
    assert_eq!(server.counter("wattline_mqtt_connections_refused_total", "tls"), 1);
    server.stop().await;
}

#[test]
fn tls_configuration_names_the_part_that_is_wrong() {
    let (certificate, key, _, _, _) = certificates();
    let (certificate, key) = (certificate.as_bytes(), key.as_bytes());
    for (chain, key, authority, says) in [
        (&b"nonsense"[..], key, None, "tls certificate"),
        (certificate, &b"nonsense"[..], None, "tls key"),
        (certificate, key, Some(&b""[..]), "tls client authority"),
    ] {
        let error = tls::server_config(chain, key, authority).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(says), "{error}");
    }
}
