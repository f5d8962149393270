//! One device on the wire.
//!
//! Owns: login, live posts, holding samples while the link is down, back-fill through `resume/batch`, reconnecting.
//! Does not own: what the device measures (`farm`), when (`mod`).
//!
//! A sample is live while it waits for its turn on an open connection; when the connection is lost, or the link of
//! the simulated device is down, it is held and sent later as back-fill. What was published and not acknowledged goes
//! back to the held ones: sending it twice is harmless. Holding is bounded: then the oldest are dropped and counted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::register::Login;
use super::stats::Stats;

/// Messages of one device on their way at once.
const IN_FLIGHT_MAX: usize = 32;
/// Samples of one message at most: 200 of 600 bytes stay far below the 512 KB a message may have.
const BATCH_SAMPLES: usize = 200;
/// Live samples that wait before the simulation is slowed down.
const LIVE_MAX: usize = 1_000;
/// Samples held while there is no link: an hour at one a second, 2 MB.
const HELD_MAX: usize = 3_600;
/// First and longest pause between two attempts to connect.
const RECONNECT_FIRST: Duration = Duration::from_secs(1);
const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// A simulated outage closes the connection only where it was open so long: the protocol locks a device out that
/// reconnects more than four times in two minutes.
const STAY_CONNECTED: Duration = Duration::from_secs(60);
/// Patience at the end for what is on its way.
const DRAIN_WAIT: Duration = Duration::from_secs(3);

/// One sample on its way to the server.
pub struct Fresh {
    /// The entry of `params`.
    pub entry: String,
    /// Whether the link of the device carries.
    pub linked: bool,
}

/// Where the server listens.
#[derive(Clone)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What one message holds, kept until it is acknowledged.
struct Message {
    entries: Vec<String>,
    live: bool,
    sent: Instant,
}

/// A device.
pub struct Publisher {
    login: Login,
    broker: Broker,
    stats: Arc<Stats>,
    stop: CancellationToken,
    live: VecDeque<String>,
    held: VecDeque<String>,
    linked: bool,
    number: u64,
}

/// An open connection.
struct Connection {
    client: AsyncClient,
    events: mpsc::Receiver<Result<Event, ConnectionError>>,
    polling: tokio::task::JoinHandle<()>,
    /// Handed to the client, not yet numbered by it.
    handed: VecDeque<Message>,
    /// On the wire, by packet id.
    in_flight: HashMap<u16, Message>,
    since: Instant,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

/// Why a connection ended.
enum End {
    /// The network or the server ended it.
    Lost(String),
    /// The simulated link went down.
    Unlinked,
    /// The program ends.
    Stopped,
}

impl Publisher {
    /// A device that will log in as `login`.
    pub fn new(login: Login, broker: Broker, stats: Arc<Stats>, stop: CancellationToken) -> Publisher {
        Publisher {
            login,
            broker,
            stats,
            stop,
            live: VecDeque::new(),
            held: VecDeque::new(),
            linked: true,
            number: 0,
        }
    }

    /// Publishes what comes until told to stop.
    pub async fn run(mut self, mut samples: mpsc::Receiver<Fresh>) {
        let mut pause = RECONNECT_FIRST;
        loop {
            if !self.wait_for_link(&mut samples).await {
                return;
            }
            let opened = tokio::select! {
                opened = open(&self.login, &self.broker) => opened,
                () = self.stop.cancelled() => return,
            };
            let why = match opened {
                Ok(mut connection) => {
                    pause = RECONNECT_FIRST;
                    self.stats.connected.fetch_add(1, Ordering::Relaxed);
                    let end = self.serve(&mut connection, &mut samples).await;
                    self.stats.connected.fetch_sub(1, Ordering::Relaxed);
                    self.take_back(connection);
                    match end {
                        End::Stopped => return,
                        End::Unlinked => continue,
                        End::Lost(why) => why,
                    }
                }
                Err(why) => why,
            };
            self.stats.failed(format!("{}: {why}", self.login.device));
            let again = Instant::now() + pause;
            pause = (pause * 2).min(RECONNECT_MAX);
            if !self.hold_until(again, &mut samples).await {
                return;
            }
        }
    }

    /// Holds what comes while the link is down; `false` at the end.
    async fn wait_for_link(&mut self, samples: &mut mpsc::Receiver<Fresh>) -> bool {
        while !self.linked {
            tokio::select! {
                sample = samples.recv() => match sample {
                    Some(sample) => self.keep(sample, false),
                    None => return false,
                },
                () = self.stop.cancelled() => return false,
            }
        }
        true
    }

    /// Holds what comes until a moment; `false` at the end.
    async fn hold_until(&mut self, until: Instant, samples: &mut mpsc::Receiver<Fresh>) -> bool {
        loop {
            tokio::select! {
                sample = samples.recv() => match sample {
                    Some(sample) => self.keep(sample, false),
                    None => return false,
                },
                () = sleep(until.saturating_duration_since(Instant::now())) => return true,
                () = self.stop.cancelled() => return false,
            }
        }
    }

    /// Puts a new sample where it belongs.
    fn keep(&mut self, sample: Fresh, connected: bool) {
        self.linked = sample.linked;
        if connected && sample.linked {
            self.live.push_back(sample.entry);
        } else {
            self.hold([sample.entry]);
        }
    }

    fn hold(&mut self, entries: impl IntoIterator<Item = String>) {
        for entry in entries {
            if self.held.len() == HELD_MAX {
                self.held.pop_front();
                self.stats.dropped.fetch_add(1, Ordering::Relaxed);
            } else {
                self.stats.waiting.fetch_add(1, Ordering::Relaxed);
            }
            self.held.push_back(entry);
        }
    }

    /// Publishes on an open connection until it ends.
    async fn serve(&mut self, connection: &mut Connection, samples: &mut mpsc::Receiver<Fresh>) -> End {
        for topic in ["post", "post/batch", "resume/batch"] {
            let topic = format!("{}_reply", self.topic(topic));
            if let Err(error) = connection.client.try_subscribe(topic, QoS::AtMostOnce) {
                return End::Lost(error.to_string());
            }
        }
        loop {
            if let Err(why) = self.send(connection) {
                return End::Lost(why);
            }
            tokio::select! {
                // A long queue is not made longer: the sender waits, and with it the simulation.
                sample = samples.recv(), if self.live.len() < LIVE_MAX => match sample {
                    Some(sample) => {
                        self.keep(sample, true);
                        if !self.linked && connection.since.elapsed() >= STAY_CONNECTED {
                            self.drain(connection).await;
                            return End::Unlinked;
                        }
                    }
                    None => {
                        self.drain(connection).await;
                        return End::Stopped;
                    }
                },
                event = connection.events.recv() => match event {
                    Some(Ok(event)) => self.handle(connection, event),
                    Some(Err(error)) => return End::Lost(error.to_string()),
                    None => return End::Lost("the connection ended".to_owned()),
                },
                () = self.stop.cancelled() => {
                    self.drain(connection).await;
                    return End::Stopped;
                }
            }
        }
    }

    /// Hands as much to the client as may be on its way; live samples first.
    fn send(&mut self, connection: &mut Connection) -> Result<(), String> {
        while connection.handed.len() + connection.in_flight.len() < IN_FLIGHT_MAX {
            let (queue, live) = if !self.live.is_empty() {
                (&mut self.live, true)
            } else if self.linked && !self.held.is_empty() {
                (&mut self.held, false)
            } else {
                return Ok(());
            };
            let count = queue.len().min(BATCH_SAMPLES);
            let entries: Vec<String> = queue.drain(..count).collect();
            if !live {
                self.stats.waiting.fetch_sub(count as u64, Ordering::Relaxed);
            }
            let kind = match (live, count) {
                (true, 1) => "post",
                (true, _) => "post/batch",
                (false, _) => "resume/batch",
            };
            self.number += 1;
            let payload = envelope(self.number, kind, &entries);
            connection.handed.push_back(Message { entries, live, sent: Instant::now() });
            self.stats.messages.fetch_add(1, Ordering::Relaxed);
            connection
                .client
                .try_publish(self.topic(kind), QoS::AtLeastOnce, false, payload)
                .map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn topic(&self, kind: &str) -> String {
        format!("/sys/{}/{}/thing/measurepoint/{kind}", self.login.product, self.login.device)
    }

    fn handle(&mut self, connection: &mut Connection, event: Event) {
        match event {
            Event::Outgoing(Outgoing::Publish(id)) => {
                if let Some(message) = connection.handed.pop_front() {
                    connection.in_flight.insert(id, message);
                }
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                if let Some(message) = connection.in_flight.remove(&ack.pkid) {
                    self.stats.acknowledged(message.sent.elapsed());
                    let counter: &AtomicU64 =
                        if message.live { &self.stats.live } else { &self.stats.resumed };
                    counter.fetch_add(message.entries.len() as u64, Ordering::Relaxed);
                }
            }
            Event::Incoming(Packet::Publish(reply)) => {
                if let Some(why) = refusal(&reply.payload) {
                    self.stats.failed(format!("{}: {why}", self.login.device));
                }
            }
            _ => {}
        }
    }

    /// Waits a little for what is on its way, then says goodbye.
    async fn drain(&mut self, connection: &mut Connection) {
        let done = async {
            while connection.handed.len() + connection.in_flight.len() > 0 {
                match connection.events.recv().await {
                    Some(Ok(event)) => self.handle(connection, event),
                    _ => return,
                }
            }
            if connection.client.try_disconnect().is_ok() {
                while let Some(Ok(event)) = connection.events.recv().await {
                    if matches!(event, Event::Outgoing(Outgoing::Disconnect)) {
                        return;
                    }
                }
            }
        };
        // What is not acknowledged by then is taken back by the caller.
        let _ = timeout(DRAIN_WAIT, done).await;
    }

    /// What a closed connection left unacknowledged is held again, oldest first, before what came later.
    fn take_back(&mut self, mut connection: Connection) {
        let mut messages: Vec<Message> = connection.in_flight.drain().map(|(_, m)| m).collect();
        messages.extend(connection.handed.drain(..));
        messages.sort_by_key(|m| m.sent);
        let later: Vec<String> = self.held.drain(..).collect();
        self.stats.waiting.fetch_sub(later.len() as u64, Ordering::Relaxed);
        let live: Vec<String> = self.live.drain(..).collect();
        self.hold(messages.into_iter().flat_map(|m| m.entries));
        self.hold(later);
        self.hold(live);
    }
}

/// Logs in and waits for the server's word.
async fn open(login: &Login, broker: &Broker) -> Result<Connection, String> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let (client_id, username, password) = credentials(login, now_ms);
    let mut options = MqttOptions::new(client_id, &broker.host, broker.port);
    options.set_credentials(username, password);
    options.set_keep_alive(Duration::from_secs(60));
    options.set_max_packet_size(512 * 1024, 512 * 1024);
    // The client must never number beyond what is tracked here, subscriptions included.
    options.set_inflight(2 * IN_FLIGHT_MAX as u16);
    let (client, mut event_loop) = AsyncClient::new(options, 4 * IN_FLIGHT_MAX);
    event_loop.network_options.set_tcp_nodelay(true);
    let first = event_loop.poll().await;
    match first {
        Ok(Event::Incoming(Packet::ConnAck(_))) => {}
        Ok(other) => return Err(format!("expected CONNACK, got {other:?}")),
        Err(error) => return Err(error.to_string()),
    }
    let (sender, events) = mpsc::channel(4 * IN_FLIGHT_MAX);
    // The client's loop must not be cancelled in the middle of a packet, so it has a task of its own.
    let polling = tokio::spawn(poll(event_loop, sender));
    Ok(Connection {
        client,
        events,
        polling,
        handed: VecDeque::new(),
        in_flight: HashMap::new(),
        since: Instant::now(),
    })
}

async fn poll(mut event_loop: EventLoop, events: mpsc::Sender<Result<Event, ConnectionError>>) {
    loop {
        let event = event_loop.poll().await;
        let is_over = event.is_err();
        if events.send(event).await.is_err() || is_over {
            return;
        }
    }
}

/// Client id, user name and password of a login with the device's secret (device protocol §4.1).
fn credentials(login: &Login, now_ms: u128) -> (String, String, String) {
    let Login { product, device, secret } = login;
    let client_id = format!("{device}|securemode=2,signmethod=sha256,timestamp={now_ms}|");
    let signed = format!("clientId{device}deviceKey{device}productKey{product}timestamp{now_ms}{secret}");
    let password: String = Sha256::digest(signed).iter().map(|byte| format!("{byte:02X}")).collect();
    (client_id, format!("{device}&{product}"), password)
}

/// A request of the device protocol (§4.2).
fn envelope(number: u64, kind: &str, entries: &[String]) -> String {
    let method = kind.replace('/', ".");
    let mut text =
        format!(r#"{{"id":"{number}","version":"1.0","method":"thing.measurepoint.{method}","params":"#);
    if kind.ends_with("batch") {
        text.push('[');
        text.push_str(&entries.join(","));
        text.push(']');
    } else {
        text.push_str(entries.first().map_or("{}", String::as_str));
    }
    text.push('}');
    text
}

/// What a reply complains about; `None` where its code is 200.
fn refusal(payload: &[u8]) -> Option<String> {
    let reply: serde_json::Value = match serde_json::from_slice(payload) {
        Ok(reply) => reply,
        Err(_) => return Some("a reply that is no JSON".to_owned()),
    };
    match reply["code"].as_i64() {
        Some(200) => None,
        code => Some(format!(
            "reply {}: {}",
            code.map_or_else(|| "without code".to_owned(), |c| c.to_string()),
            reply["message"].as_str().unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests;
