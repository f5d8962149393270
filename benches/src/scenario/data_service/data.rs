//! What the data service is filled with: formulas of assets, points and times, and writing them.
//!
//! All values are multiples of a quarter and small, so that sums are exact in whatever order they are made.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};
use wattline_tests::{Http, Server};

/// Points of an asset of the fleet.
pub(super) const POINTS: u64 = 10;
/// No newest value of the fleet reaches this.
pub(super) const LATEST_TOP: f64 = 25_000.0;

/// A range of time with a row every so often.
pub(super) struct Span {
    pub(super) start: &'static str,
    pub(super) end: &'static str,
    pub(super) start_ms: i64,
    pub(super) rows: u64,
}

/// A day of seconds.
pub(super) const DAY: Span = Span {
    start: "2024-03-05T00:00:00Z",
    end: "2024-03-06T00:00:00Z",
    start_ms: 1_709_596_800_000,
    rows: 86_400,
};
pub(super) const DAY_ASSET: &str = "seconds1";

/// Thirty days of minutes.
pub(super) const MONTH: Span = Span {
    start: "2024-03-01T00:00:00Z",
    end: "2024-03-31T00:00:00Z",
    start_ms: 1_709_251_200_000,
    rows: 43_200,
};
pub(super) const MONTH_ASSET: &str = "minutes1";

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// Rows of a record batch, and devices of a request.
const BATCH_ROWS: usize = 20_000;
/// Record batches of a request.
const BATCHES: usize = 10;

/// What was written.
pub(super) struct Fleet {
    pub(super) assets: u64,
    pub(super) meters: u64,
    /// Minutes of today, at the meters, that have energy.
    pub(super) minutes_today: u64,
}

pub(super) fn asset(number: u64) -> String {
    format!("fleet{number:06}")
}

pub(super) fn meter(number: u64) -> String {
    format!("meter{number:06}")
}

/// The newest value of a point: spread over the fleet, without order.
pub(super) fn latest(asset: u64, point: u64) -> f64 {
    ((asset * 7_919 + point * 104_729) % 100_000) as f64 / 4.0
}

/// The value of a second of the day.
pub(super) fn of_second(second: u64) -> f64 {
    (second * 31 % 1_009) as f64 / 4.0
}

/// The value of a minute of the month.
pub(super) fn of_minute(minute: u64) -> f64 {
    (minute * 17 % 997) as f64 / 4.0
}

/// The energy of a minute of today.
pub(super) fn energy(meter: u64, minute: u64) -> f64 {
    ((meter + minute) % 13) as f64 / 4.0
}

/// Writes everything, brings it into segments and waits until that is done.
pub(super) fn fill(server: &Server, assets: u64, meters: u64) -> Fleet {
    let http = server.http();
    let points: Vec<String> = (0..POINTS).map(|point| format!("p{point}")).collect();
    let named: Vec<&str> = points.iter().map(String::as_str).collect();
    create(&http, "fleet", "AI", &named, (0..assets).map(asset), "+00:00");
    create(&http, "seconds", "AI", &["value"], [DAY_ASSET.to_owned()], "+00:00");
    create(&http, "minutes", "AI", &["value"], [MONTH_ASSET.to_owned()], "+00:00");
    let policy = json!({"name": "minutes", "models": ["minutes"], "policies": [
        {"type": "AI_NORMALIZED", "retention": "20y", "points": {"minutes": ["value"]}}]});
    let applied = http_put(server, "/api/v1/policies/minutes", &policy);
    assert_eq!(applied, 200, "the policy rules");
    let today = Today::now();
    create(&http, "meters", "PI", &["energy"], (0..meters).map(meter), &today.zone);

    let now = today.now_ms;
    write(
        &http,
        "fleet",
        &named,
        (0..assets)
            .map(|number| (asset(number), now, (0..POINTS).map(|point| latest(number, point)).collect())),
    );
    let seconds =
        (0..DAY.rows).map(|s| (DAY_ASSET.to_owned(), DAY.start_ms + s as i64 * 1_000, vec![of_second(s)]));
    write(&http, "seconds", &["value"], seconds);
    let minutes = (0..MONTH.rows)
        .map(|m| (MONTH_ASSET.to_owned(), MONTH.start_ms + m as i64 * MINUTE_MS, vec![of_minute(m)]));
    write(&http, "minutes", &["value"], minutes);
    // As meters send: all of them, minute by minute.
    let of_meters = (0..today.minutes).flat_map(|minute| {
        let time = today.midnight_ms + minute as i64 * MINUTE_MS;
        (0..meters).map(move |number| (meter(number), time, vec![energy(number, minute)]))
    });
    write(&http, "meters", &["energy"], of_meters);
    flush(&http);
    Fleet { assets, meters, minutes_today: today.minutes }
}

/// A zone in which it is evening, so that today has many hours behind it and enough before it ends.
struct Today {
    zone: String,
    now_ms: i64,
    midnight_ms: i64,
    /// Whole minutes since then.
    minutes: u64,
}

impl Today {
    fn now() -> Today {
        let now_ms = UNIX_EPOCH.elapsed().expect("a time after 1970").as_millis() as i64;
        let hour = now_ms.rem_euclid(DAY_MS) / HOUR_MS;
        let ahead = match 19 - hour {
            ahead if ahead > 14 => ahead - 24,
            ahead => ahead,
        };
        let midnight_ms = (now_ms + ahead * HOUR_MS).div_euclid(DAY_MS) * DAY_MS - ahead * HOUR_MS;
        let sign = if ahead < 0 { '-' } else { '+' };
        let minutes = ((now_ms - midnight_ms) / MINUTE_MS) as u64;
        Today { zone: format!("{sign}{:02}:00", ahead.abs()), now_ms, midnight_ms, minutes }
    }
}

fn create(
    http: &Http,
    model: &str,
    signal: &str,
    points: &[&str],
    assets: impl IntoIterator<Item = String>,
    zone: &str,
) {
    let points: serde_json::Map<String, Value> = points
        .iter()
        .map(|point| ((*point).to_owned(), json!({"dataType": "DOUBLE", "signalType": signal})))
        .collect();
    http.post_json("/api/v1/models", &json!({"modelId": model, "points": points})).ok();
    http.post_json("/api/v1/products", &json!({"modelId": model, "productKey": model})).ok();
    let devices: Vec<Value> = assets
        .into_iter()
        .map(|asset| json!({"productKey": model, "deviceKey": asset, "assetId": asset, "timezone": zone}))
        .collect();
    for some in devices.chunks(BATCH_ROWS) {
        http.post_json("/api/v1/devices", &Value::from(some)).ok();
    }
}

/// `PUT` of JSON; the status.
fn http_put(server: &Server, path: &str, body: &Value) -> u16 {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(server.http).expect("the server listens");
    let body = body.to_string();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

type Row = (String, i64, Vec<f64>);

/// Writes rows as Arrow streams of some batches each.
fn write(http: &Http, model: &str, points: &[&str], rows: impl Iterator<Item = Row>) {
    let mut fields = vec![
        Field::new("asset_id", DataType::Utf8, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
    ];
    fields.extend(points.iter().map(|point| Field::new(*point, DataType::Float64, false)));
    let schema = Arc::new(Schema::new(fields));
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).expect("a schema that can be written");
        let mut samples = 0;
        for _ in 0..BATCHES {
            let some: Vec<Row> = rows.by_ref().take(BATCH_ROWS).collect();
            if some.is_empty() {
                break;
            }
            samples += some.len() * points.len();
            writer.write(&batch(&schema, points.len(), &some)).expect("a batch that can be written");
        }
        let body = writer.into_inner().expect("a complete stream");
        let path = format!("/api/v1/models/{model}/samples");
        let kind = "application/vnd.apache.arrow.stream";
        let answer = loop {
            let answer = http.post(&path, kind, "application/json", &body);
            if answer.status != 429 {
                break answer.ok();
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        assert_eq!(answer["samples"].as_u64(), Some(samples as u64), "{answer}");
    }
}

fn batch(schema: &Arc<Schema>, points: usize, rows: &[Row]) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0))),
        Arc::new(
            TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1)).with_timezone("UTC"),
        ),
    ];
    for point in 0..points {
        columns.push(Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2[point]))));
    }
    RecordBatch::try_new(Arc::clone(schema), columns).expect("columns of one length")
}

/// Brings everything into segments, and lets merging come to rest.
fn flush(http: &Http) {
    let begin = Instant::now();
    let id = http.post_json("/api/v1/operations/flush", &json!({})).ok()["id"].to_string();
    let id = id.trim_matches('"');
    loop {
        let state = http.get(&format!("/api/v1/operations/{id}")).ok()["state"].clone();
        if state != "running" {
            assert_eq!(state, "finished", "the flush");
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(600), "the flush does not end");
        std::thread::sleep(Duration::from_millis(100));
    }
    let segments = || http.sql_number("SELECT count(*) FROM system.segments");
    let (mut before, mut since) = (segments(), Instant::now());
    while since.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(250));
        let now = segments();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
}
