//! HTTP/1.1 load on kept connections, all on one thread: at a fixed rate, or each connection as fast as it is answered.
//!
//! Requests are rendered before the clock starts, an answer is read as bytes, and nothing is parsed but its status and
//! length: the generator shares the machine with the server, so it must cost little. Whether answers are right is
//! checked apart from the load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::procfs;

/// Time a load runs before it is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// How calls come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many a second, of all connections together. A call counts from when it was due, so that a server that
    /// stops for a moment is not asked less.
    Rate(f64),
    /// Each connection asks again once it was answered.
    Saturation,
}

/// What to ask, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// Rendered requests, asked in turn.
    pub(crate) requests: Arc<Vec<Vec<u8>>>,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) seconds: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Microseconds of each call, ascending.
    pub(crate) micros: Vec<u64>,
    pub(crate) seconds: f64,
    /// CPU time of the server.
    pub(crate) cpu_micros: u64,
}

/// A POST of JSON as it goes over the wire.
pub(crate) fn render(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Runs a load: warm-up, then the time that is measured.
pub(crate) fn run(plan: &Plan) -> Measured {
    let stop = Arc::new(AtomicBool::new(false));
    let counts = Arc::new(AtomicBool::new(false));
    let turn = Arc::new(AtomicU64::new(0));
    let (thread_plan, thread_stop, thread_counts) = (plan.clone(), Arc::clone(&stop), Arc::clone(&counts));
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..thread_plan.connections {
                let (plan, turn) = (thread_plan.clone(), Arc::clone(&turn));
                tasks.spawn(connection(
                    plan,
                    number,
                    turn,
                    Arc::clone(&thread_stop),
                    Arc::clone(&thread_counts),
                ));
            }
            let mut micros = Vec::new();
            while let Some(done) = tasks.join_next().await {
                micros.extend(done.expect("no connection fails"));
            }
            micros
        })
    });
    std::thread::sleep(WARM_UP);
    let (begin, cpu) = (Instant::now(), procfs::cpu_micros(plan.pid));
    counts.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(plan.seconds));
    counts.store(false, Ordering::Relaxed);
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), procfs::cpu_micros(plan.pid) - cpu);
    stop.store(true, Ordering::Relaxed);
    let mut micros = thread.join().expect("the load ends");
    micros.sort_unstable();
    Measured { micros, seconds, cpu_micros: cpu }
}

/// One connection until the end; the times of calls that were answered while it counted.
async fn connection(
    plan: Plan,
    number: usize,
    turn: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    counts: Arc<AtomicBool>,
) -> Vec<u64> {
    let mut stream = TcpStream::connect(plan.address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut micros = Vec::new();
    let every = match plan.pace {
        Pace::Rate(rate) => Duration::from_secs_f64(plan.connections as f64 / rate),
        Pace::Saturation => Duration::ZERO,
    };
    // Connections take turns within an interval.
    let mut due = Instant::now() + every.mul_f64(number as f64 / plan.connections as f64);
    while !stop.load(Ordering::Relaxed) {
        match plan.pace {
            Pace::Rate(_) => tokio::time::sleep_until(due.into()).await,
            Pace::Saturation => due = Instant::now(),
        }
        let place = turn.fetch_add(1, Ordering::Relaxed) as usize % plan.requests.len();
        stream.write_all(&plan.requests[place]).await.expect("the server reads");
        answer(&mut stream, &mut buffer).await;
        if counts.load(Ordering::Relaxed) {
            micros.push(due.elapsed().as_micros() as u64);
        }
        due += every;
    }
    micros
}

/// Reads one whole answer, which must be a success. `buffer` is for reuse only.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    let (mut head, mut length) = (None, 0);
    loop {
        let read = stream.read_buf(buffer).await.expect("the server answers");
        assert!(read > 0, "the server closed in the middle of an answer");
        if head.is_none() {
            head = buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4);
            if let Some(end) = head {
                length = content_length(&buffer[..end]);
                buffer.reserve((end + length).saturating_sub(buffer.len()));
            }
        }
        if let Some(head) = head
            && buffer.len() >= head + length
        {
            assert_eq!(buffer.len(), head + length, "one answer to one call");
            return;
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let text = std::str::from_utf8(head).expect("an ASCII head");
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with("content-length:"));
    let line = line.unwrap_or_else(|| panic!("an answer without a length: {text}"));
    line["content-length:".len()..].trim().parse().expect("a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_tell_the_length() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 17\r\n\r\n";
        assert_eq!(content_length(head), 17);
        let request = String::from_utf8(render("/a?b=c", "{}")).unwrap();
        assert!(
            request.starts_with("POST /a?b=c HTTP/1.1\r\n")
                && request.ends_with("content-length: 2\r\n\r\n{}")
        );
    }
}
