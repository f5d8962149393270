//! Bulk load over HTTP: Arrow IPC streams, several at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use wattline_tests::{Chance, Device, Http};

use crate::payload::{BASE_MS, POINTS};

/// Rows of one asset in one record batch.
const ROWS_OF_ASSET: usize = 50;
/// Record batches of one request.
const BATCHES_OF_REQUEST: usize = 10;

/// Posts rows of `devices` until `points_max` points are acknowledged or `stop` is set; counts them in `acknowledged`.
/// `writers` requests are under way at a time, each with assets of its own.
pub(crate) fn run(
    address: SocketAddr,
    model: &str,
    devices: &[Device],
    writers: usize,
    points_max: u64,
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
) {
    let started = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (number, assets) in devices.chunks(devices.len().div_ceil(writers)).enumerate() {
            let started = &started;
            scope.spawn(move || {
                let http = Http::new(address);
                let mut rows = Rows::new(assets, number as u64);
                let points = (rows.batch_rows() * BATCHES_OF_REQUEST * POINTS) as u64;
                while !stop.load(Ordering::Relaxed)
                    && started.fetch_add(points, Ordering::Relaxed) < points_max
                {
                    let body = rows.next_body();
                    let path = format!("/api/v1/models/{model}/samples");
                    let kind = "application/vnd.apache.arrow.stream";
                    let answer = loop {
                        let answer = http.post(&path, kind, "application/json", &body);
                        if answer.status != 429 {
                            break answer.ok();
                        }
                        // Full means push-back; the whole body is sent again, which changes nothing.
                        std::thread::sleep(std::time::Duration::from_millis(100));
                    };
                    assert_eq!(answer["samples"].as_u64(), Some(points), "{answer}");
                    acknowledged.fetch_add(points, Ordering::Relaxed);
                }
            });
        }
    });
}

/// Rows of some assets, one second apart, values that wander by hundredths.
#[derive(Debug)]
struct Rows {
    schema: Arc<Schema>,
    assets: Vec<String>,
    next_ms: i64,
    walk: Vec<[u32; POINTS]>,
    chance: Chance,
}

impl Rows {
    fn new(devices: &[Device], seed: u64) -> Rows {
        let mut fields = vec![
            Field::new("asset_id", DataType::Utf8, false),
            Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        ];
        fields.extend((0..POINTS).map(|i| Field::new(format!("p{i}"), DataType::Float64, true)));
        Rows {
            schema: Arc::new(Schema::new(fields)),
            assets: devices.iter().map(|d| d.asset_id.clone()).collect(),
            next_ms: BASE_MS,
            walk: vec![[50_000; POINTS]; devices.len()],
            chance: Chance::new(seed + 1),
        }
    }

    fn batch_rows(&self) -> usize {
        self.assets.len() * ROWS_OF_ASSET
    }

    fn next_body(&mut self) -> Vec<u8> {
        let mut writer =
            StreamWriter::try_new(Vec::new(), &self.schema).expect("a schema that can be written");
        for _ in 0..BATCHES_OF_REQUEST {
            writer.write(&self.next_batch()).expect("a batch that can be written");
        }
        writer.into_inner().expect("a complete stream")
    }

    fn next_batch(&mut self) -> RecordBatch {
        let rows = self.batch_rows();
        let assets = (0..rows).map(|i| self.assets[i / ROWS_OF_ASSET].as_str());
        let times = (0..rows).map(|i| (self.next_ms + (i % ROWS_OF_ASSET) as i64 * 1_000) * 1_000);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(assets)),
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        ];
        for point in 0..POINTS {
            let mut values = Vec::with_capacity(rows);
            for asset in &mut self.walk {
                let value = &mut asset[point];
                for _ in 0..ROWS_OF_ASSET {
                    *value =
                        (*value + (self.chance.bits() & 63) as u32).saturating_sub(32).clamp(10_000, 99_999);
                    values.push(f64::from(*value) / 100.0);
                }
            }
            columns.push(Arc::new(Float64Array::from(values)));
        }
        self.next_ms += ROWS_OF_ASSET as i64 * 1_000;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("columns of one length")
    }
}
