//! QoS 1 load from many connections on one thread; counts acknowledged points only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wattline_tests::{Connect, Device};

use crate::payload::Burst;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Rows of a message: 1 is `measurepoint/post`, more are `measurepoint/post/batch`.
    pub(crate) entries: usize,
    /// Messages a connection has unacknowledged at most.
    pub(crate) window: usize,
    /// Points per second of all connections together; 0 = as fast as possible.
    pub(crate) rate: u64,
}

/// A running load. Stopped by [`Load::stop`].
#[derive(Debug)]
pub(crate) struct Load {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    /// Connects every device and begins.
    pub(crate) fn start(address: SocketAddr, devices: &[Device], shape: Shape) -> Load {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (counter, end, devices) = (Arc::clone(&acknowledged), Arc::clone(&stop), devices.to_vec());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                let share = shape.rate / devices.len() as u64;
                for (i, device) in devices.into_iter().enumerate() {
                    let (counter, end) = (Arc::clone(&counter), Arc::clone(&end));
                    tasks.spawn(connection(address, device, i as u64, shape, share, counter, end));
                }
                while let Some(done) = tasks.join_next().await {
                    done.expect("no connection fails");
                }
            });
        });
        Load { acknowledged, stop, thread }
    }

    /// Points acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends the load and waits for what is on its way; all points acknowledged.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load generator does not fail");
        self.acknowledged.load(Ordering::Relaxed)
    }
}

async fn connection(
    address: SocketAddr,
    device: Device,
    number: u64,
    shape: Shape,
    rate: u64,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("nodelay");
    stream.write_all(&Connect::new(device.login()).encode()).await.expect("CONNECT is sent");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.expect("a CONNACK");
    assert_eq!(connack[3], 0, "login of {} refused", device.device_key);

    // Half the window at a time: while one half is on its way back, the other is under way.
    let half = (shape.window / 2).max(1);
    let mut burst = Burst::new(&device.product_key, &device.device_key, half, shape.entries, number);
    let mut acks = Acks::default();
    let mut outstanding = 0;
    let begin = tokio::time::Instant::now();
    let mut sent_points = 0;
    // Spread the connections over the first second, so that paced ones do not march in step.
    tokio::time::sleep(Duration::from_millis(number * 1_000 / 200 % 1_000)).await;
    loop {
        let more = !stop.load(Ordering::Relaxed);
        if more {
            let due = if rate == 0 {
                Duration::ZERO
            } else {
                Duration::from_secs_f64(sent_points as f64 / rate as f64)
            };
            tokio::time::sleep_until(begin + due).await;
            stream.write_all(burst.next()).await.expect("messages are sent");
            outstanding += burst.messages();
            sent_points += burst.points();
        }
        let target = if more && shape.window > 1 { half } else { 0 };
        while outstanding > target {
            let got = acks.read(&mut stream).await;
            outstanding -= got;
            acknowledged.fetch_add((got * burst.points_of_message()) as u64, Ordering::Relaxed);
        }
        if !more {
            return;
        }
    }
}

/// Counts PUBACKs: four bytes each, and nothing else comes as nothing was subscribed to.
#[derive(Debug, Default)]
struct Acks {
    held: usize,
    buffer: Vec<u8>,
}

impl Acks {
    async fn read(&mut self, stream: &mut TcpStream) -> usize {
        self.buffer.resize(4096, 0);
        let n = stream.read(&mut self.buffer[self.held..]).await.expect("acknowledgements arrive");
        assert!(n > 0, "the server closed the connection");
        let have = self.held + n;
        let whole = have / 4;
        for packet in self.buffer[..whole * 4].chunks_exact(4) {
            assert_eq!(packet[..2], [0x40, 2], "a PUBACK expected");
        }
        self.buffer.copy_within(whole * 4..have, 0);
        self.held = have - whole * 4;
        whole
    }
}
