//! `GET /metrics`: counts of everything, in the Prometheus text format.
//!
//! Owns: counts and times of requests, the text format. Does not own: the counters of the store, of intake and of the
//! process, which it only reads.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use wattline_storage::ShardStatus;

use super::process::Process;
use super::{App, now_micros};
use crate::audit::Counts;
use crate::flight::FlightMetrics;
use crate::journal::Journaling;

/// Upper bounds of the time histogram, in seconds: a latest value answers in the first, a report in the last.
const SECONDS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];

/// Counts of HTTP requests.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    flying: AtomicU64,
    /// By route, so its size is bounded by the routes there are, the methods of HTTP and its status codes.
    routes: Mutex<BTreeMap<String, Route>>,
}

#[derive(Debug, Default)]
struct Route {
    answers: BTreeMap<(&'static str, u16), u64>,
    /// How many took at most the bound of the same index, and not the one before.
    times: [u64; SECONDS.len() + 1],
    seconds: f64,
}

/// A request under way; counts as ended when dropped, answered or not.
pub struct Flying<'a>(&'a HttpMetrics);

impl HttpMetrics {
    /// A request begins.
    pub fn begin(&self) -> Flying<'_> {
        self.flying.fetch_add(1, Ordering::Relaxed);
        Flying(self)
    }
}

impl Flying<'_> {
    /// It was answered.
    pub fn end(self, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
        // Whatever a client invents as a method is one label.
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::HEAD => "HEAD",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        };
        let seconds = elapsed.as_secs_f64();
        let mut routes = self.0.routes.lock();
        if !routes.contains_key(route) {
            routes.insert(route.to_owned(), Route::default());
        }
        let entry = routes.get_mut(route).expect("just inserted");
        *entry.answers.entry((method, status.as_u16())).or_default() += 1;
        entry.times[SECONDS.partition_point(|&bound| bound < seconds)] += 1;
        entry.seconds += seconds;
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.flying.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `GET /metrics`
pub async fn render(State(app): State<Arc<App>>) -> Response {
    let mut text = Text(String::with_capacity(16 * 1_024));
    text.one(
        "wattline_info",
        "gauge",
        "The running version.",
        [(format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1)],
    );
    text.one(
        "wattline_uptime_seconds",
        "gauge",
        "Seconds since the start.",
        [(String::new(), app.started.elapsed().as_secs())],
    );
    process(&mut text, Process::now());
    store(&mut text, &app.store.status());
    intake(&mut text, &app);
    registry(&mut text, &app);
    if let Some(journaling) = &app.journaling {
        journal(&mut text, journaling);
    }
    http(&mut text, &app.metrics);
    for (name, kind, help, value) in app.pg.counts() {
        text.one(name, kind, help, [(String::new(), value)]);
    }
    let errors = app.pg.errors().into_iter().map(|(state, n)| (format!("sqlstate=\"{state}\""), n));
    text.one("wattline_pg_errors_total", "counter", "Errors told to PostgreSQL clients.", errors);
    flight(&mut text, &app.flight);
    audit(&mut text, app.audit.counts());
    let limited = ["calls", "reads"].into_iter().zip(&app.data.limited);
    text.one(
        "wattline_dataservice_limited_total",
        "counter",
        "Calls of service accounts answered 429, for calls in a second or reads at a time.",
        limited.map(|(limit, count)| (format!("limit=\"{limit}\""), count.load(Ordering::Relaxed))),
    );
    let statements = app.statements.load(Ordering::Relaxed);
    text.one("wattline_sql_statements", "gauge", "SQL statements under way.", [(String::new(), statements)]);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response()
}

fn audit(text: &mut Text, counts: &Counts) {
    for (name, help, count) in [
        ("calls", "Calls noted for the audit log.", &counts.noted),
        ("denied", "Calls noted for the audit log that were denied.", &counts.denied),
        ("lost", "Calls that are in no entry of the audit log, as there were too many.", &counts.lost),
    ] {
        let count = count.load(Ordering::Relaxed);
        text.one(&format!("wattline_audit_{name}_total"), "counter", help, [(String::new(), count)]);
    }
}

fn flight(text: &mut Text, counts: &FlightMetrics) {
    for (name, kind, help, count) in [
        ("connections", "gauge", "Flight connections open now.", &counts.connections),
        ("statements_total", "counter", "Statements begun over Flight.", &counts.statements),
        ("rows_sent_total", "counter", "Rows sent over Flight.", &counts.rows_sent),
        ("rows_written_total", "counter", "Rows of bulk ingest over Flight.", &counts.rows_written),
    ] {
        let count = count.load(Ordering::Relaxed);
        text.one(&format!("wattline_flight_{name}"), kind, help, [(String::new(), count)]);
    }
}

struct Text(String);

impl Text {
    fn one<V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, V)>,
    ) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = match labels.as_str() {
                "" => writeln!(self.0, "{name} {value}"),
                labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
            };
        }
    }
}

fn process(text: &mut Text, process: Process) {
    let mut one = |name: &str, kind: &str, help: &str, value: &dyn Display| {
        text.one(name, kind, help, [(String::new(), value)]);
    };
    one("process_cpu_seconds_total", "counter", "CPU time of all threads.", &process.cpu_seconds);
    one("process_resident_memory_bytes", "gauge", "Resident memory.", &process.resident_bytes);
    one(
        "process_resident_memory_peak_bytes",
        "gauge",
        "Resident memory at its highest.",
        &process.resident_peak_bytes,
    );
    one("process_threads", "gauge", "Threads.", &process.threads);
    one("process_open_fds", "gauge", "Open file descriptors.", &process.open_fds);
    one("process_max_fds", "gauge", "File descriptors that may be open.", &process.max_fds);
}

fn store(text: &mut Text, shards: &[ShardStatus]) {
    type Read = fn(&ShardStatus) -> u64;
    let all: [(&str, &str, &str, Read); 24] = [
        ("samples_written_total", "counter", "Samples written since the start.", |s| s.samples_written),
        ("batches_written_total", "counter", "Batches written since the start.", |s| s.batches_written),
        ("log_syncs_total", "counter", "Syncs of the log since the start.", |s| s.syncs),
        ("expired_rows_total", "counter", "Rows written that were older than their retention.", |s| {
            s.expired_rows
        }),
        ("flushes_total", "counter", "Memtables flushed since the start.", |s| s.flushes),
        ("compactions_total", "counter", "Merges of segments since the start.", |s| s.compactions),
        ("flushed_bytes_total", "counter", "Bytes of segments that flushes wrote since the start.", |s| {
            s.flushed_bytes
        }),
        ("merged_bytes_total", "counter", "Bytes of segments that merges wrote since the start.", |s| {
            s.merged_bytes
        }),
        ("damaged_segments", "gauge", "Segments that are damaged or missing, as far as is known.", |s| {
            s.damaged
        }),
        ("pending_deletions", "gauge", "Deletions in force and not carried out on disk yet.", |s| {
            s.tombstones
        }),
        ("durable_seqno", "gauge", "Last batch synced to the log.", |s| s.durable.0),
        ("published_seqno", "gauge", "Last batch that readers see.", |s| s.published.0),
        ("flushed_seqno", "gauge", "Last batch in segments.", |s| s.flushed.0),
        ("log_files", "gauge", "Files of the log.", |s| s.log_files),
        ("log_bytes", "gauge", "Bytes of the log.", |s| s.log_bytes),
        ("memtable_rows", "gauge", "Rows in memtables.", |s| s.memtable_rows),
        ("memtable_bytes", "gauge", "Memory of memtables.", |s| s.memtable_bytes),
        ("frozen_memtables", "gauge", "Memtables that wait for their flush.", |s| s.frozen),
        ("segments", "gauge", "Segments.", |s| s.segments),
        ("segment_bytes", "gauge", "Bytes of segments.", |s| s.segment_bytes),
        ("queue_bytes", "gauge", "Memory of batches that wait for the writer.", |s| s.queue_bytes),
        ("latest_assets", "gauge", "Assets in the latest-value table.", |s| s.latest_assets),
        ("shard_failed", "gauge", "1 where the shard takes no more writes.", |s| {
            u64::from(s.failed.is_some())
        }),
        ("log_backlog_batches", "gauge", "Batches a restart would replay.", |s| {
            s.durable.0.saturating_sub(s.flushed.0)
        }),
    ];
    for (name, kind, help, read) in all {
        let values = shards.iter().map(|s| (format!("shard=\"{}\"", s.shard.0), read(s)));
        text.one(&format!("wattline_{name}"), kind, help, values);
    }
}

/// The counters of the way in, which bring their names and labels; those of one name come together.
fn intake(text: &mut Text, app: &App) {
    let counters = app.ingestor.counters().snapshot();
    let mut by_name: BTreeMap<&str, Vec<(String, u64)>> = BTreeMap::new();
    for counter in &counters {
        let labels: Vec<String> =
            counter.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        by_name.entry(counter.name).or_default().push((labels.join(","), counter.value));
    }
    for (name, values) in by_name {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        text.one(name, kind, "What came in; see docs/http-api.md.", values);
    }
}

/// How far the journal is behind, and what it cost.
fn journal(text: &mut Text, journaling: &Journaling) {
    let counts = journaling.counts();
    let lag_micros = now_micros().saturating_sub(counts.shipped_micros.load(Ordering::Relaxed)).max(0);
    let mut one = |name: &str, kind: &str, help: &str, value: &dyn Display| {
        text.one(&format!("wattline_journal_{name}"), kind, help, [(String::new(), value)]);
    };
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    one("goes_on", "gauge", "1 while there is a journal to ship.", &u8::from(journaling.goes_on()));
    one("lag_seconds", "gauge", "How old is what was not shipped yet.", &(lag_micros as f64 / 1e6));
    one("kept_bytes", "gauge", "Log that is on the disk for the journal alone.", &journaling.kept_bytes());
    one("shipped_bytes_total", "counter", "Bytes shipped.", &count(&counts.bytes));
    one("failures_total", "counter", "Shipments that failed and are tried again.", &count(&counts.failures));
    one("gaps_total", "counter", "Journals that broke before the next backup.", &count(&counts.gaps));
}

fn registry(text: &mut Text, app: &App) {
    let counts = [
        ("orgs", app.registry.orgs().len()),
        ("models", app.registry.models().len()),
        ("products", app.registry.products().len()),
        ("devices", app.registry.device_count()),
    ];
    let values = counts.map(|(kind, n)| (format!("kind=\"{kind}\""), n));
    text.one("wattline_registered", "gauge", "What the registry holds.", values);
}

fn http(text: &mut Text, metrics: &HttpMetrics) {
    text.one(
        "wattline_http_requests_in_flight",
        "gauge",
        "HTTP requests under way.",
        [(String::new(), metrics.flying.load(Ordering::Relaxed))],
    );
    let routes = metrics.routes.lock();
    let answers = routes.iter().flat_map(|(route, entry)| {
        entry.answers.iter().map(move |((method, status), n)| {
            (format!("method=\"{method}\",route=\"{route}\",status=\"{status}\""), *n)
        })
    });
    text.one("wattline_http_requests_total", "counter", "HTTP requests answered.", answers);
    let name = "wattline_http_request_seconds";
    let _ = writeln!(text.0, "# HELP {name} Time until the head of the answer.\n# TYPE {name} histogram");
    for (route, entry) in routes.iter() {
        let mut total = 0;
        for (i, n) in entry.times.iter().enumerate() {
            total += n;
            let bound = SECONDS.get(i).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let _ = writeln!(text.0, "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(text.0, "{name}_sum{{route=\"{route}\"}} {}", entry.seconds);
        let _ = writeln!(text.0, "{name}_count{{route=\"{route}\"}} {total}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_time() {
        let metrics = HttpMetrics::default();
        for (ms, status) in [(0, 200), (3, 200), (3, 404), (90_000, 200)] {
            let status = StatusCode::from_u16(status).unwrap();
            metrics.begin().end(&Method::GET, "/x/{y}", status, Duration::from_millis(ms));
        }
        let dropped = metrics.begin();
        drop(dropped);
        let mut text = Text(String::new());
        http(&mut text, &metrics);
        let has = |line: &str| assert!(text.0.lines().any(|l| l == line), "{line}\n{}", text.0);
        has("wattline_http_requests_in_flight 0");
        has("wattline_http_requests_total{method=\"GET\",route=\"/x/{y}\",status=\"200\"} 3");
        has("wattline_http_request_seconds_bucket{route=\"/x/{y}\",le=\"0.0005\"} 1");
        has("wattline_http_request_seconds_bucket{route=\"/x/{y}\",le=\"0.005\"} 3");
        has("wattline_http_request_seconds_bucket{route=\"/x/{y}\",le=\"60\"} 3");
        has("wattline_http_request_seconds_bucket{route=\"/x/{y}\",le=\"+Inf\"} 4");
        has("wattline_http_request_seconds_count{route=\"/x/{y}\"} 4");
    }
}
