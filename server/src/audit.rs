//! Calls on their way into the audit log.
//!
//! Owns: [`Auditor`], which counts calls that are alike together and writes them now and then; what is noted of a
//! statement. Does not own: the log (`registry`), who is let in and what is allowed (whoever notes it here).
//!
//! *call → bounded queue → one thread: calls that are alike → every [`WRITE_EVERY`] one transaction.* Whoever notes a
//! call never waits: where the queue is full, or too many calls in one stretch are unlike each other, a call is lost and
//! counted. So a flood of denials costs a few rows, and no reader ever waits for the registry's file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wattline_query::{Caller, Error, ErrorKind, Watch, is_change};
use wattline_registry::{AuditedCall, Registry};

use crate::http::now_micros;

/// How long calls are gathered: what a crash may lose, and how late the log may be.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Calls that wait for the thread: some milliseconds of a flood.
const WAITING_MAX: usize = 4_096;

/// Calls of one stretch that are unlike each other: as many rows as one transaction writes without holding up others.
const UNLIKE_MAX: usize = 1_000;

/// Bytes of a text in an entry; the rest is cut.
const TEXT_BYTES_MAX: usize = 200;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not allowed, or nobody proved who they are.
    Denied,
    /// It was allowed, and something else kept it from being done.
    Failed,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
        }
    }
}

/// A call; those with the same of these are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Noted {
    /// Who; nothing where nobody proved who they are.
    pub account: Option<Arc<str>>,
    /// The way in.
    pub wire: &'static str,
    /// From where.
    pub origin: Option<Arc<str>>,
    /// What was asked for.
    pub action: String,
    /// Of what.
    pub item: String,
    /// What became of it.
    pub outcome: Outcome,
}

struct Sent {
    noted: Noted,
    reason: Option<String>,
    micros: i64,
}

/// Calls that are alike, within one stretch.
struct Alike {
    first_micros: i64,
    last_micros: i64,
    count: u64,
    reason: Option<String>,
}

/// Figures for `/metrics`.
#[derive(Debug, Default)]
pub struct Counts {
    /// Calls that were noted.
    pub noted: AtomicU64,
    /// Calls among them that were denied.
    pub denied: AtomicU64,
    /// Calls that are in no entry, because there were too many.
    pub lost: AtomicU64,
}

/// The way into the log.
pub struct Auditor {
    sender: Mutex<Option<SyncSender<Sent>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    counts: Arc<Counts>,
}

impl Auditor {
    /// Into the log of `registry`, by a thread of its own.
    ///
    /// # Errors
    /// Where the operating system gives no thread.
    pub fn new(registry: Registry) -> std::io::Result<Auditor> {
        Auditor::with(registry, WRITE_EVERY)
    }

    fn with(registry: Registry, every: Duration) -> std::io::Result<Auditor> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let counts = Arc::<Counts>::default();
        let of_thread = Arc::clone(&counts);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || gather(&registry, &receiver, &of_thread, every))?;
        Ok(Auditor { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), counts })
    }

    /// Figures.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Notes a call. Never waits.
    pub fn note(&self, mut noted: Noted, reason: Option<&str>) {
        self.counts.noted.fetch_add(1, Ordering::Relaxed);
        if noted.outcome == Outcome::Denied {
            self.counts.denied.fetch_add(1, Ordering::Relaxed);
        }
        cut(&mut noted.action);
        cut(&mut noted.item);
        let reason = reason.map(|reason| {
            let mut reason = reason.to_owned();
            cut(&mut reason);
            reason
        });
        let sent = Sent { noted, reason, micros: now_micros() };
        let refused = match &*self.sender.lock() {
            Some(sender) => {
                matches!(sender.try_send(sent), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))
            }
            None => true,
        };
        if refused {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that somebody showed a wrong password for `user`.
    pub fn refused_login(&self, user: &str, wire: &'static str, origin: Option<Arc<str>>) {
        let noted = Noted {
            account: None,
            wire,
            origin,
            action: "login".to_owned(),
            item: user.to_owned(),
            outcome: Outcome::Denied,
        };
        self.note(noted, None);
    }

    /// Writes what was noted so far, and notes nothing more. Waits for the disk.
    pub fn close(&self) {
        drop(self.sender.lock().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the audit log's thread panicked");
        }
    }
}

/// An address as the log has it.
pub fn origin(ip: IpAddr) -> Arc<str> {
    Arc::from(ip.to_canonical().to_string())
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

fn gather(registry: &Registry, receiver: &Receiver<Sent>, counts: &Counts, every: Duration) {
    let mut alike: HashMap<Noted, Alike> = HashMap::new();
    let mut until = Instant::now() + every;
    loop {
        let is_over = match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(sent) => {
                add(&mut alike, sent, counts);
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if is_over || Instant::now() >= until {
            write(registry, &mut alike, counts);
            until = Instant::now() + every;
        }
        if is_over {
            return;
        }
    }
}

fn add(alike: &mut HashMap<Noted, Alike>, sent: Sent, counts: &Counts) {
    if let Some(known) = alike.get_mut(&sent.noted) {
        known.count += 1;
        known.last_micros = sent.micros;
        known.reason = sent.reason;
    } else if alike.len() < UNLIKE_MAX {
        let Sent { noted, reason, micros } = sent;
        alike.insert(noted, Alike { first_micros: micros, last_micros: micros, count: 1, reason });
    } else {
        counts.lost.fetch_add(1, Ordering::Relaxed);
    }
}

fn write(registry: &Registry, alike: &mut HashMap<Noted, Alike>, counts: &Counts) {
    if alike.is_empty() {
        return;
    }
    let call = |(noted, alike): (Noted, Alike)| AuditedCall {
        micros: alike.first_micros,
        last_micros: alike.last_micros,
        count: alike.count,
        account: noted.account.as_deref().map(str::to_owned),
        wire: noted.wire.to_owned(),
        origin: noted.origin.as_deref().map(str::to_owned),
        action: noted.action,
        item: noted.item,
        outcome: noted.outcome.name().to_owned(),
        reason: alike.reason,
    };
    let mut calls: Vec<AuditedCall> = alike.drain().map(call).collect();
    calls.sort_by_key(|call| call.micros);
    if let Err(error) = registry.note_calls(&calls, now_micros()) {
        let lost = calls.iter().map(|call| call.count).sum();
        counts.lost.fetch_add(lost, Ordering::Relaxed);
        tracing::error!(%error, "calls were not noted in the audit log");
    }
}

/// Statements: those that change something, and those that were denied.
impl Watch for Auditor {
    fn ended(&self, caller: &Caller, text: &str, outcome: Result<(), &Error>) {
        let outcome = match outcome {
            Err(error) if error.kind() == ErrorKind::Denied => (Outcome::Denied, Some(error.message())),
            _ if !is_change(text) => return,
            Ok(()) => (Outcome::Done, None),
            Err(error) => (Outcome::Failed, Some(error.message())),
        };
        let (action, item) = named(text);
        let noted = Noted {
            account: caller.account.clone(),
            wire: caller.wire,
            origin: caller.origin.clone(),
            action,
            item,
            outcome: outcome.0,
        };
        self.note(noted, outcome.1);
    }
}

/// What a statement does, and to which table: values stay out of the log, and statements that differ in them are alike.
fn named(text: &str) -> (String, String) {
    let words: Vec<&str> = text.split_whitespace().take(64).collect();
    let action = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    let before_table = ["INTO", "FROM", "TABLE", "COPY"];
    let is_mark = |word: &&str| before_table.iter().any(|mark| mark.eq_ignore_ascii_case(word));
    let mut rest = words.iter().skip_while(|word| !is_mark(word)).skip(1).copied();
    // CREATE TABLE IF NOT EXISTS t, ALTER TABLE IF EXISTS t.
    let noise = ["IF", "NOT", "EXISTS"];
    let table = rest.find(|word| !noise.iter().any(|noise| noise.eq_ignore_ascii_case(word)));
    let name = |word: &str| word.split(['(', ';', ',']).next().unwrap_or_default().to_owned();
    (action, table.map(name).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry")).unwrap();
        (dir, registry)
    }

    fn noted(item: &str, outcome: Outcome) -> Noted {
        Noted {
            account: Some(Arc::from("eva")),
            wire: "pg",
            origin: Some(Arc::from("192.0.2.1")),
            action: "INSERT".into(),
            item: item.into(),
            outcome,
        }
    }

    #[test]
    fn calls_that_are_alike_are_one_entry() {
        let (_dir, registry) = registry();
        let auditor = Auditor::with(registry.clone(), Duration::from_secs(3_600)).unwrap();
        for i in 0..100 {
            auditor.note(noted("turbine", Outcome::Denied), Some(&format!("no {i}")));
        }
        auditor.note(noted("turbine", Outcome::Done), None);
        auditor.note(noted(&"ä".repeat(1_000), Outcome::Failed), None);
        auditor.close();
        auditor.note(noted("turbine", Outcome::Done), None);
        let calls = registry.audited_calls(10).unwrap();
        let denied = calls.iter().find(|call| call.outcome == "denied").unwrap();
        assert_eq!((denied.count, denied.item.as_str(), calls.len()), (100, "turbine", 3));
        assert_eq!(denied.reason.as_deref(), Some("no 99"));
        assert_eq!(denied.origin.as_deref(), Some("192.0.2.1"));
        assert_eq!(calls.iter().find(|call| call.outcome == "failed").unwrap().item.len(), TEXT_BYTES_MAX);
        let counts = auditor.counts();
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((of(&counts.noted), of(&counts.denied), of(&counts.lost)), (103, 100, 1));
    }

    #[test]
    fn a_flood_of_unlike_calls_is_bounded_and_counted() {
        let counts = Counts::default();
        let mut alike = HashMap::new();
        for i in 0..UNLIKE_MAX + 500 {
            let noted = noted(&i.to_string(), Outcome::Denied);
            add(&mut alike, Sent { noted, reason: None, micros: 1 }, &counts);
        }
        assert_eq!((alike.len(), counts.lost.load(Ordering::Relaxed)), (UNLIKE_MAX, 500));
    }

    #[test]
    fn a_statement_is_named_without_its_values() {
        for (text, action, item) in [
            ("insert into turbine (asset_id) VALUES ('secret')", "INSERT", "turbine"),
            ("INSERT INTO turbine(asset_id) VALUES (1)", "INSERT", "turbine"),
            ("DELETE FROM \"acme.turbine\" WHERE asset_id = 'x'", "DELETE", "\"acme.turbine\""),
            ("CREATE TABLE IF NOT EXISTS t (a INT)", "CREATE", "t"),
            ("ALTER TABLE t ADD COLUMN b INT", "ALTER", "t"),
            ("COPY t FROM STDIN", "COPY", "t"),
            ("SELECT * FROM system.segments", "SELECT", "system.segments"),
            ("KILL 7", "KILL", ""),
            ("", "", ""),
        ] {
            assert_eq!(named(text), (action.to_owned(), item.to_owned()), "{text}");
        }
    }
}
