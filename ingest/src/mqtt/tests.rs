//! The endpoint against a real store, by a client written here byte by byte.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wattline_env::World;
use wattline_model::Value;
use wattline_registry::NewProduct;
use wattline_storage::{Settings, Store};

use super::packet::{Frame, Version, frame, publish};
use super::*;
use crate::fixture::Plant;
use crate::ingestor::IngestSettings;

mod abuse;
mod logins;
mod messages;

const WAIT: Duration = Duration::from_secs(20);
const T: i64 = 1_767_225_000_000;

/// A server on a free port.
struct Server {
    plant: Plant,
    ingestor: Ingestor,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
    _dir: TempDir,
}

impl Server {
    async fn start() -> Server {
        Server::start_with(IngestSettings::default(), MqttSettings::default(), None).await
    }

    async fn start_with(
        ingest: IngestSettings,
        settings: MqttSettings,
        tls: Option<Arc<ServerConfig>>,
    ) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let plant = Plant::new();
        let store = Store::open(dir.path(), Settings::default(), World::real()).unwrap();
        let ingestor = Ingestor::new(plant.registry.clone(), store, ingest);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = match tls {
            None => MqttListener::plain(socket),
            Some(config) => MqttListener::tls(socket, config),
        };
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(listener, ingestor.clone(), settings, shutdown.clone()));
        Server { plant, ingestor, address, shutdown, task, _dir: dir }
    }

    /// Stops, and checks that every connection ended in order.
    async fn stop(self) {
        self.shutdown.cancel();
        timeout(WAIT, self.task).await.unwrap().unwrap().unwrap();
        assert_eq!(self.ingestor.counters().connections.load(Relaxed), 0);
        self.ingestor.store().close().unwrap();
    }

    /// The newest value of a point of a device, with its time in milliseconds.
    fn latest(&self, product: &str, device: &str, point: &str) -> Option<(i64, Value)> {
        let device = self.plant.device(product, device);
        let model = self.plant.registry.model(device.model).unwrap();
        let point = model.point_by_key(point)?.id;
        let latest = self.ingestor.store().latest(model.id, device.asset, &[point]);
        latest[0].as_ref().map(|l| (l.time.millis(), l.value.clone()))
    }

    fn counter(&self, name: &str, label: &str) -> u64 {
        let counters = self.ingestor.counters().snapshot();
        let label = |c: &crate::Counter| label.is_empty() || c.labels.iter().any(|(_, v)| v == label);
        counters.iter().filter(|c| c.name == name && label(c)).map(|c| c.value).sum()
    }
}

/// A packet as it came.
#[derive(Debug, PartialEq, Eq)]
struct Packet {
    first: u8,
    body: Vec<u8>,
}

impl Packet {
    /// The topic and JSON of a PUBLISH.
    #[track_caller]
    fn message(&self, version: Version) -> (String, serde_json::Value) {
        let publish = publish(version, self.first, &self.body).unwrap();
        assert_eq!(publish.qos, 0);
        (publish.topic.to_owned(), serde_json::from_slice(publish.payload).unwrap())
    }
}

struct Client<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
    version: Version,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut n = body.len();
    loop {
        let low = (n % 128) as u8;
        n /= 128;
        out.push(if n > 0 { low | 0x80 } else { low });
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

fn publish_packet(version: Version, topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(0x30 | qos << 1, &body)
}

/// Digests by another implementation than the one under test would be better still; the vectors in `sign` are that.
fn password(client: &str, device: &str, product: &str, secret: &str) -> String {
    use sha2::{Digest, Sha256};
    let signed =
        format!("clientId{client}deviceKey{device}productKey{product}timestamp1767225600000{secret}");
    Sha256::digest(signed).iter().map(|b| format!("{b:02X}")).collect()
}

fn connect_packet(version: Version, client_id: &str, username: &str, password: &str) -> Vec<u8> {
    let mut body = text("MQTT");
    body.push(if version == Version::V5 { 5 } else { 4 });
    body.extend_from_slice(&[0xC2, 0, 60]);
    if version == Version::V5 {
        body.push(0);
    }
    for part in [client_id, username, password] {
        body.extend_from_slice(&text(part));
    }
    packet(0x10, &body)
}

impl Client {
    async fn dial(server: &Server, version: Version) -> Client {
        let stream = TcpStream::connect(server.address).await.unwrap();
        Client { stream, buffer: Vec::new(), version }
    }

    /// Logs in with secure mode 2; panics unless it is granted.
    async fn login(server: &Server, version: Version, product: &str, device: &str) -> Client {
        let mut client = Client::dial(server, version).await;
        let code = client.connect(2, product, device, "s3cr3tDemo").await;
        assert_eq!(code, 0);
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends CONNECT and returns the code of the CONNACK.
    async fn connect(&mut self, mode: u8, product: &str, device: &str, secret: &str) -> u8 {
        let id = format!("c|securemode={mode},signmethod=sha256,timestamp=1767225600000|");
        let password = password("c", device, product, secret);
        let connect = connect_packet(self.version, &id, &format!("{device}&{product}"), &password);
        self.send(&connect).await;
        let connack = self.read().await.unwrap();
        assert_eq!((connack.first, connack.body[0]), (0x20, 0), "no session is ever present");
        connack.body[1]
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet; `None` where the connection ended.
    async fn read(&mut self) -> Option<Packet> {
        timeout(WAIT, async {
            loop {
                if let Frame::Whole(first, body, length) = frame(&self.buffer, 1 << 20).unwrap() {
                    let packet = Packet { first, body: body.to_vec() };
                    self.buffer.drain(..length);
                    return Some(packet);
                }
                let mut chunk = [0; 4096];
                match self.stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => return None,
                    Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                }
            }
        })
        .await
        .expect("an answer in time")
    }

    async fn subscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let mut body = vec![0, 9];
        if self.version == Version::V5 {
            body.push(0);
        }
        for filter in filters {
            body.extend_from_slice(&text(filter));
            body.push(1);
        }
        self.send(&packet(0x82, &body)).await;
        let suback = self.read().await.unwrap();
        assert_eq!((suback.first, &suback.body[..2]), (0x90, &[0, 9][..]));
        suback.body[if self.version == Version::V5 { 3 } else { 2 }..].to_vec()
    }

    /// Publishes at QoS 1 and returns the reason of the PUBACK.
    async fn publish(&mut self, topic: &str, id: u16, payload: &str) -> u8 {
        let packet = publish_packet(self.version, topic, 1, id, payload.as_bytes());
        self.send(&packet).await;
        self.puback(id).await
    }

    async fn puback(&mut self, id: u16) -> u8 {
        let puback = self.read().await.expect("a PUBACK");
        assert_eq!((puback.first, &puback.body[..2]), (0x40, &id.to_be_bytes()[..]));
        puback.body.get(2).copied().unwrap_or(0)
    }

    /// The reply to a message: its topic and JSON.
    async fn reply(&mut self) -> (String, serde_json::Value) {
        self.read().await.expect("a reply").message(self.version)
    }
}

fn post(points: &str, time: i64) -> String {
    format!(
        r#"{{"id":"41","version":"1.0","method":"thing.measurepoint.post","params":{{"measurepoints":{points},"time":{time}}}}}"#
    )
}

const POST: &str = "/sys/pkT/dkT/thing/measurepoint/post";
const BOTH: [Version; 2] = [Version::V311, Version::V5];

fn product(server: &Server, key: &str, dynamic_activation: bool, require_certificate: bool) {
    let new = NewProduct {
        org: wattline_registry::DEFAULT_ORG,
        key: Some(key.into()),
        name: key.into(),
        model_key: "Turbine".into(),
        secret: Some("productSecret".into()),
        dynamic_activation,
        require_certificate,
        gateway: false,
    };
    server.plant.registry.create_product(new).unwrap();
}
