use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{self, ConnAck, ConnectReturnCode, PubAck, SubAck, SubscribeReasonCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// The worked vector of the device protocol §4.1, but for the inner client id, which here is the device key; its
/// digest was computed with `printf '%s' TEXT | sha256sum`.
#[test]
fn the_login_is_signed_as_documented() {
    let login = Login { product: "pkA1B2C3", device: "dk7788".to_owned(), secret: "s3cr3tDemo".to_owned() };
    let (client_id, username, password) = credentials(&login, 1_767_225_600_000);
    assert_eq!(client_id, "dk7788|securemode=2,signmethod=sha256,timestamp=1767225600000|");
    assert_eq!(username, "dk7788&pkA1B2C3");
    assert_eq!(password, "F48313FFDB591FE9DA417AC1C54F1EAE92A24E4EED1B280F4C8705830AD3F931");
}

#[test]
fn messages_have_the_documented_form() {
    let entry = |n: u32| format!(r#"{{"measurepoints":{{"P":{n}}},"time":{n}}}"#);
    assert_eq!(
        envelope(7, "post", &[entry(1)]),
        r#"{"id":"7","version":"1.0","method":"thing.measurepoint.post","params":{"measurepoints":{"P":1},"time":1}}"#
    );
    let batch: serde_json::Value =
        serde_json::from_str(&envelope(8, "resume/batch", &[entry(1), entry(2)])).unwrap();
    assert_eq!(batch["method"], "thing.measurepoint.resume.batch");
    assert_eq!(batch["params"][1]["time"], 2);
    assert_eq!(refusal(br#"{"id":"8","code":200,"data":{}}"#), None);
    assert_eq!(
        refusal(br#"{"id":"8","code":1204,"message":"unknown point"}"#).unwrap(),
        "reply 1204: unknown point"
    );
}

#[test]
fn holding_is_bounded_and_drops_the_oldest() {
    let login = Login { product: "p", device: "d".to_owned(), secret: String::new() };
    let broker = Broker { host: "127.0.0.1".to_owned(), port: 1 };
    let stats = Arc::new(Stats::new());
    let mut publisher = Publisher::new(login, broker, Arc::clone(&stats), CancellationToken::new());
    for i in 0..HELD_MAX + 10 {
        publisher.keep(Fresh { entry: i.to_string(), linked: false }, false);
    }
    assert_eq!(publisher.held.len(), HELD_MAX);
    assert_eq!(publisher.held[0], "10");
    assert_eq!(stats.dropped.load(Ordering::Relaxed), 10);
    assert_eq!(stats.waiting.load(Ordering::Relaxed), HELD_MAX as u64);
}

/// What a server got: topic and payload of every message it acknowledged.
type Got = Vec<(String, serde_json::Value)>;

/// Serves one connection. After `silent_after` messages no more are acknowledged, and the connection is closed three
/// messages later; `None` serves until the client goes.
async fn serve_one(listener: &TcpListener, silent_after: Option<usize>, got: &mut Got) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut bytes, mut seen) = (BytesMut::new(), 0);
    loop {
        while let Ok(packet) = v4::Packet::read(&mut bytes, 1 << 20) {
            let mut answer = BytesMut::new();
            match packet {
                v4::Packet::Connect(_) => {
                    ConnAck::new(ConnectReturnCode::Success, false).write(&mut answer).unwrap();
                }
                v4::Packet::Subscribe(s) => {
                    let codes = vec![SubscribeReasonCode::Success(rumqttc::QoS::AtMostOnce)];
                    SubAck::new(s.pkid, codes).write(&mut answer).unwrap();
                }
                v4::Packet::Publish(p) => {
                    seen += 1;
                    if silent_after.is_some_and(|most| seen > most) {
                        if silent_after.is_some_and(|most| seen == most + 3) {
                            return;
                        }
                        continue;
                    }
                    got.push((p.topic.clone(), serde_json::from_slice(&p.payload).unwrap()));
                    PubAck::new(p.pkid).write(&mut answer).unwrap();
                }
                v4::Packet::Disconnect => return,
                _ => {}
            }
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut bytes).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
    }
}

fn times(got: &Got, kind: &str) -> Vec<i64> {
    let topic = format!("/sys/p/d/thing/measurepoint/{kind}");
    let of_kind = got.iter().filter(|(t, _)| *t == topic);
    let entries = of_kind.flat_map(|(_, message)| match &message["params"] {
        serde_json::Value::Array(entries) => entries.clone(),
        entry => vec![entry.clone()],
    });
    entries.map(|entry| entry["time"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn what_a_lost_connection_left_unacknowledged_comes_back_as_back_fill() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = Broker { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let login = Login { product: "p", device: "d".to_owned(), secret: "s".to_owned() };
    let (stats, stop) = (Arc::new(Stats::new()), CancellationToken::new());
    let (sender, samples) = mpsc::channel(16);
    let device = tokio::spawn(Publisher::new(login, broker, Arc::clone(&stats), stop.clone()).run(samples));
    let server = tokio::spawn(async move {
        let mut got = Got::new();
        serve_one(&listener, Some(5), &mut got).await;
        serve_one(&listener, None, &mut got).await;
        got
    });
    let sample = |time: i64, linked| Fresh {
        entry: format!(r#"{{"measurepoints":{{"P":1}},"time":{time}}}"#),
        linked,
    };
    for time in 0..40 {
        // From 25 to 29 the simulated link is down; the connection is too young to be closed for it.
        sender.send(sample(time, !(25..30).contains(&time))).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    let all_there = async {
        while stats.live.load(Ordering::Relaxed) + stats.resumed.load(Ordering::Relaxed) < 40 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), all_there).await.expect("every sample is acknowledged in the end");
    stop.cancel();
    timeout(Duration::from_secs(10), device).await.unwrap().unwrap();
    drop(sender);
    let got = timeout(Duration::from_secs(10), server).await.unwrap().unwrap();
    let (posted, resumed) =
        ([times(&got, "post"), times(&got, "post/batch")].concat(), times(&got, "resume/batch"));
    let mut all = [posted.clone(), resumed.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>(), "each once, none lost");
    assert_eq!(posted[..5], [0, 1, 2, 3, 4], "live until the server fell silent");
    assert!(resumed.contains(&5), "what it did not acknowledge came later: {resumed:?}");
    assert!((25..30).all(|t| resumed.contains(&t)), "so did what the link held back: {resumed:?}");
    assert_eq!(stats.errors.load(Ordering::Relaxed), 1, "one lost connection");
    assert_eq!(stats.waiting.load(Ordering::Relaxed), 0);
}
