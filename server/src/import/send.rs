//! Chunks to the server.
//!
//! Owns: Arrow IPC bodies, a bounded number of requests in flight, trying again, believing nothing but the answer.
//! Does not own: the connection (`rest`), what to do with refused rows (`rejects`).
//!
//! Sending a chunk twice is harmless: a sample's (asset, point, time) is unique and the values are the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::client::connection::ServerArgs;
use crate::error::{Error, ErrorKind, Result};

use super::progress::Progress;
use super::rejects::Rejects;
use super::rest::{Answer, Rest, segment};
use super::rows::{Chunk, Mark};

/// Requests in flight: one is synced while the next one is decoded.
const IN_FLIGHT: usize = 2;
/// A server that took nothing for so long will not be waited for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
/// First and longest pause before another try, where the server names none.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Content type of the body.
const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// What the server says of one request.
#[derive(Debug, Default, Deserialize)]
struct Outcome {
    rows: u64,
    samples: u64,
    #[serde(default)]
    rejects: Vec<RowReject>,
    #[serde(default)]
    rejected: u64,
}

#[derive(Debug, Deserialize)]
struct RowReject {
    row: usize,
    #[serde(default)]
    field: Option<String>,
    reason: String,
}

/// What the senders need.
pub struct Target<'a> {
    /// The server.
    pub server: &'a ServerArgs,
    /// Model the rows belong to.
    pub model: &'a str,
    /// Counters.
    pub progress: &'a Progress,
    /// Refused lines.
    pub rejects: &'a Mutex<Rejects>,
}

/// Runs `produce`, which hands chunks out, and sends them until both are done. The first error ends both.
pub fn pump(target: &Target<'_>, produce: impl FnOnce(&Handoff<'_>) -> Result<()>) -> Result<()> {
    let failed = AtomicBool::new(false);
    // One chunk waits while IN_FLIGHT are on their way: memory is that many and the one being read.
    let (sender, receiver) = sync_channel::<Chunk>(1);
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                scope.spawn(|| {
                    let outcome = work(target, &receiver, &failed);
                    if outcome.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    outcome
                })
            })
            .collect();
        let produced = produce(&Handoff { sender: &sender, failed: &failed });
        if produced.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        drop(sender);
        let mut outcome = Ok(());
        for worker in workers {
            let sent = worker.join().expect("a sender does not panic: its input was checked");
            outcome = outcome.and(sent);
        }
        // A sender's error is the cause; the reader then stopped because nobody took its chunks.
        outcome.and(produced)
    })
}

/// Where the reader leaves its chunks.
pub struct Handoff<'a> {
    sender: &'a SyncSender<Chunk>,
    failed: &'a AtomicBool,
}

impl Handoff<'_> {
    /// Waits for room and leaves a chunk; `false` where the import has failed and reading on is useless.
    #[must_use]
    pub fn give(&self, chunk: Chunk) -> bool {
        !self.failed.load(Ordering::Relaxed) && self.sender.send(chunk).is_ok()
    }
}

fn work(target: &Target<'_>, chunks: &Mutex<Receiver<Chunk>>, failed: &AtomicBool) -> Result<()> {
    let mut rest = Rest::new(target.server)?;
    let path = format!("/api/v1/models/{}/samples", segment(target.model));
    loop {
        // The lock is held while waiting: the other sender has nothing to do then either.
        let Ok(chunk) = chunks.lock().recv() else {
            return Ok(());
        };
        if failed.load(Ordering::Relaxed) {
            // Drain, so that the reader does not wait for room for ever.
            continue;
        }
        let sent = encode(&chunk).and_then(|body| send(target, &mut rest, &path, body, failed));
        if let Err(error) = sent.and_then(|outcome| settle(target, &chunk, outcome)) {
            // Only the first failure is told: those after it are its consequences.
            let is_first = !failed.swap(true, Ordering::Relaxed);
            while chunks.lock().recv().is_ok() {}
            return if is_first { Err(error) } else { Ok(()) };
        }
    }
}

fn encode(chunk: &Chunk) -> Result<Bytes> {
    let failed = |e| Error::failed(format!("rows cannot be encoded as Arrow: {e}"));
    let mut body = Vec::with_capacity(chunk.rows.get_array_memory_size() + 4096);
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new(&mut body, &chunk.rows.schema()).map_err(failed)?;
    writer.write(&chunk.rows).map_err(failed)?;
    writer.finish().map_err(failed)?;
    drop(writer);
    Ok(body.into())
}

fn send(
    target: &Target<'_>,
    rest: &mut Rest,
    path: &str,
    body: Bytes,
    failed: &AtomicBool,
) -> Result<Outcome> {
    let since = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        let answer = rest.request(Method::POST, path, ARROW_STREAM, body.clone());
        let (wait, why) = match verdict(answer)? {
            Verdict::Taken(outcome) => return Ok(outcome),
            Verdict::Later { wait, why } => (wait.unwrap_or(pause), why),
        };
        if since.elapsed() + wait > GIVE_UP_AFTER {
            return Err(Error::new(
                ErrorKind::Unreachable,
                format!("gave up after {} s: {why}", since.elapsed().as_secs()),
            ));
        }
        if failed.load(Ordering::Relaxed) {
            return Err(Error::failed("stopped, because another request failed"));
        }
        if target.progress.retries.fetch_add(1, Ordering::Relaxed) == 0 {
            target.progress.say(&format!("the server is not ready, trying again: {why}"));
        }
        std::thread::sleep(wait);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

enum Verdict {
    Taken(Outcome),
    Later { wait: Option<Duration>, why: String },
}

/// What an answer, or the lack of one, means.
fn verdict(answer: Result<Answer>) -> Result<Verdict> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.kind() == ErrorKind::Unreachable => {
            return Ok(Verdict::Later { wait: None, why: error.to_string() });
        }
        Err(error) => return Err(error),
    };
    match answer.status {
        status if status.is_success() => serde_json::from_slice(&answer.body)
            .map(Verdict::Taken)
            .map_err(|e| Error::failed(format!("the server's answer is not understood: {e}"))),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Ok(Verdict::Later { wait: answer.retry_after.map(Duration::from_secs), why: answer.reason() })
        }
        _ => Err(Error::failed(format!("the server refused the rows: {}", answer.reason()))),
    }
}

/// Counts what was acknowledged and reports what was refused.
fn settle(target: &Target<'_>, chunk: &Chunk, outcome: Outcome) -> Result<()> {
    target.progress.acknowledged(outcome.rows, outcome.samples);
    let named = outcome.rejects.len() as u64;
    let mut listed = outcome.rejects;
    // The server judges column by column; a line shall be shown once, with everything that is wrong with it.
    listed.sort_by_key(|reject| reject.row);
    let mut rejects = target.rejects.lock();
    for of_row in listed.chunk_by(|a, b| a.row == b.row) {
        let mark = chunk.marks.get(of_row[0].row).copied().unwrap_or(Mark { line: 0, offset: 0, len: 0 });
        let reasons: Vec<String> = of_row
            .iter()
            .map(|reject| match &reject.field {
                Some(field) => format!("{field}: {}", reject.reason),
                None => reject.reason.clone(),
            })
            .collect();
        let reason = format!("refused by the server: {}", reasons.join("; "));
        rejects.refuse(target.progress, chunk.file, mark, None, &reason)?;
    }
    if outcome.rejected > named {
        let line = |mark: Option<&Mark>| mark.map_or(0, |m| m.line);
        let place = format!("lines {} to {}", line(chunk.marks.first()), line(chunk.marks.last()));
        rejects.refuse_unnamed(target.progress, outcome.rejected - named, &place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
