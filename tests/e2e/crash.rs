//! SIGKILL at random moments under QoS 1 load: nothing acknowledged is lost, nothing that was not sent appears.
//!
//! Every value is a function of (device, number of the sample), so what may be there follows from which numbers were
//! sent, and what must be there from which messages were acknowledged.
//!
//! `WATTLINE_CRASH_ROUNDS` sets the number of rounds, `WATTLINE_CRASH_SEED` repeats a run's choices (the moments a
//! process dies at depend on the machine as well).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wattline_tests::mqtt::encode_publish;
use wattline_tests::{Chance, Connect, Device, Http, Mqtt, Packet, Server};

use super::{BASE_MS, data_dir};

const DEVICES: usize = 6;
const MODEL: &str = "crash";
/// Samples before a round's first that are compared again after it; the end of the test compares all.
const VERIFIED_BACK: u64 = 2_000;
/// Small enough that flushes and compactions happen within a round.
const SMALL_MEMTABLE: &[&str] = &["--shards=16", "--memory-budget=128MiB"];

/// One message: samples `first .. first + count` of its device.
#[derive(Clone, Copy, Debug)]
struct Message {
    first: u64,
    count: u64,
    acknowledged: bool,
}

/// What one device has sent so far.
#[derive(Debug)]
struct Sender {
    device: Device,
    number: u64,
    messages: Vec<Message>,
    next: u64,
    chance: Chance,
}

#[test]
fn killed_at_random_moments_loses_nothing_acknowledged_and_invents_nothing() {
    let rounds: u32 =
        std::env::var("WATTLINE_CRASH_ROUNDS").map_or(20, |n| n.parse().expect("a number of rounds"));
    let seed = Chance::seed_from_env("WATTLINE_CRASH_SEED");
    println!("crash test: {rounds} rounds, seed {seed} (WATTLINE_CRASH_SEED={seed} repeats it)");
    let mut chance = Chance::new(seed);
    let dir = data_dir();
    let server = Server::start(dir.path(), SMALL_MEMTABLE);
    let devices = server.http().create_fleet(MODEL, DEVICES);
    server.kill();
    let mut senders: Vec<Sender> = devices
        .into_iter()
        .enumerate()
        .map(|(i, device)| Sender {
            device,
            number: i as u64,
            messages: Vec::new(),
            next: 0,
            chance: Chance::new(seed ^ (i as u64 + 1)),
        })
        .collect();

    for round in 0..rounds {
        // Sometimes the start itself, recovery included, is what dies.
        if chance.below(4) == 0 {
            kill_while_starting(&dir, Duration::from_millis(chance.below(80)));
        }
        let server = Server::start(dir.path(), SMALL_MEMTABLE);
        let from: Vec<u64> = senders.iter().map(|s| s.next.saturating_sub(VERIFIED_BACK)).collect();
        let resent = round % 2 == 1;
        let life = Duration::from_millis(20 + chance.below(600));
        let address = server.mqtt;
        std::thread::scope(|scope| {
            for sender in &mut senders {
                scope.spawn(move || sender.load(address, resent));
            }
            std::thread::sleep(life);
            server.kill();
        });
        let server = Server::start(dir.path(), SMALL_MEMTABLE);
        for (sender, from) in senders.iter().zip(from) {
            sender.verify(&server.http(), from);
        }
        server.kill();
    }

    let server = Server::start(dir.path(), SMALL_MEMTABLE);
    for sender in &senders {
        sender.verify(&server.http(), 0);
        sender.verify_latest(&server.http());
    }
    let sum = |f: fn(&Message) -> u64| senders.iter().flat_map(|s| &s.messages).map(f).sum::<u64>();
    let (sent, acknowledged) = (sum(|m| m.count), sum(|m| if m.acknowledged { m.count } else { 0 }));
    println!(
        "crash test: {rounds} kills, {sent} samples sent, {acknowledged} acknowledged, 0 lost, 0 invented"
    );
    assert!(
        acknowledged > u64::from(rounds) * 10,
        "too little was acknowledged to prove anything: {acknowledged}"
    );
    assert!(server.terminate().success());
}

fn kill_while_starting(dir: &tempfile::TempDir, after: Duration) {
    let mut command = wattline_tests::server::command(&wattline_tests::server::wattline_bin());
    command.arg("serve").arg("--data-dir").arg(dir.path()).args([
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ]);
    command.args(SMALL_MEMTABLE).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

impl Sender {
    /// Sends until the connection breaks.
    fn load(&mut self, address: std::net::SocketAddr, resend: bool) {
        let connect = Connect::new(self.device.login());
        let Ok(Ok(mut mqtt)) = Mqtt::connect(address, &connect) else { return };
        let window = 1 + self.chance.below(48) as usize;
        let mut outstanding: HashMap<u16, usize> = HashMap::new();
        // A device that did not see a PUBACK sends the same message again.
        let mut again: Vec<usize> = match resend {
            true => (0..self.messages.len()).filter(|i| !self.messages[*i].acknowledged).rev().collect(),
            false => Vec::new(),
        };
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            while outstanding.len() < window {
                let (index, duplicate) = match again.pop() {
                    Some(index) => (index, true),
                    None => (self.new_message(), false),
                };
                let id = mqtt.packet_id();
                let mut packet = Vec::new();
                let (topic, payload) = self.render(self.messages[index]);
                encode_publish(&mut packet, 4, &topic, &payload, 1, id, duplicate);
                outstanding.insert(id, index);
                if mqtt.send(&packet).is_err() {
                    return;
                }
            }
            match mqtt.receive(Duration::from_secs(20)) {
                Ok(Packet::PubAck(id, 0)) => {
                    let index = outstanding.remove(&id).expect("a PUBACK for what was sent");
                    self.messages[index].acknowledged = true;
                }
                Ok(other) => panic!("unexpected {other:?}"),
                Err(_) => return,
            }
        }
        panic!("the server was not killed");
    }

    fn new_message(&mut self) -> usize {
        let count = if self.chance.below(4) == 0 { 1 + self.chance.below(40) } else { 1 };
        self.messages.push(Message { first: self.next, count, acknowledged: false });
        self.next += count;
        self.messages.len() - 1
    }

    /// Topic and payload; single samples go by `post`, more by `post/batch`.
    fn render(&self, message: Message) -> (String, Vec<u8>) {
        let entry = |i: u64| json!({"measurepoints": {"n": i, "p0": self.value(i)}, "time": time(i)});
        let mut entries: Vec<Value> = (message.first..message.first + message.count).map(entry).collect();
        let (rest, method, params) = match message.count {
            1 => ("post", "thing.measurepoint.post", entries.remove(0)),
            _ => ("post/batch", "thing.measurepoint.post.batch", Value::Array(entries)),
        };
        let body =
            json!({"id": message.first.to_string(), "version": "1.0", "method": method, "params": params});
        (self.device.topic(rest), body.to_string().into_bytes())
    }

    /// The value of sample `i`: two decimals, other for every device.
    fn value(&self, i: u64) -> f64 {
        ((i * 7_919 + self.number * 104_729) % 1_000_003) as f64 / 100.0
    }

    /// Compares what is stored from sample `from` on with what was sent and acknowledged.
    fn verify(&self, http: &Http, from: u64) {
        let device = &self.device.device_key;
        let rows = http.sql(&format!(
            "SELECT to_unixtime(time) AS s, CAST(date_part('millisecond', time) AS BIGINT) AS ms, n, p0 FROM {MODEL} \
             WHERE asset_id = '{}' AND time >= to_timestamp_millis({}) ORDER BY time",
            self.device.asset_id,
            time(from)
        ));
        let mut stored: HashMap<u64, f64> = HashMap::with_capacity(rows.len());
        for row in &rows {
            let millis = row[0].parse::<i64>().unwrap() * 1000 + row[1].parse::<i64>().unwrap() % 1000;
            let n: u64 = row[2].parse().unwrap();
            assert_eq!(time(n), millis, "{device}: sample {n} at a time it was not sent with: {row:?}");
            assert!(n < self.next, "{device}: sample {n} was never sent");
            let twice = stored.insert(n, row[3].parse().unwrap());
            assert!(twice.is_none(), "{device}: sample {n} is there twice");
        }
        for (n, value) in &stored {
            assert_eq!(*value, self.value(*n), "{device}: sample {n} has a value that was never sent");
        }
        for message in self.messages.iter().filter(|m| m.acknowledged && m.first >= from) {
            for n in message.first..message.first + message.count {
                assert!(stored.contains_key(&n), "{device}: acknowledged sample {n} of {message:?} is lost");
            }
        }
    }

    /// The latest value is the newest row of the history.
    fn verify_latest(&self, http: &Http) {
        let id = &self.device.asset_id;
        let newest =
            http.sql(&format!("SELECT n FROM {MODEL} WHERE asset_id = '{id}' ORDER BY time DESC LIMIT 1"));
        let latest = http.sql(&format!("SELECT n FROM latest.{MODEL} WHERE asset_id = '{id}'"));
        assert_eq!(newest, latest, "{}", self.device.device_key);
    }
}

fn time(i: u64) -> i64 {
    BASE_MS + i as i64
}
