//! Rows of a statement, or beside one, through the one door.
//!
//! Owns: how many rows are held while they are checked, the pace, what is told of a refused row, which assets
//! an account may write. Does not own: checks
//! (`ingest`), durability (`storage`).
//!
//! Rows are gathered up to [`HELD_BYTES`] and then written, while the next are read and checked. What fits is written
//! wholly or not at all; of more, what was written before a refused row stays, and sending all of it again is
//! harmless.

use std::mem::take;
use std::sync::Arc;

use futures::StreamExt as _;
use wattline_ingest::Ingestor;
use wattline_ingest::decode::{Decoded, arrow};
use wattline_model::{Batch, Model};
use wattline_query::{Error, ErrorKind, SendableRecordBatchStream};
use wattline_registry::{Permissions, Reach, Right};

/// Bytes of checked rows that are held before they are written: any statement of VALUES fits, and as many statements
/// as may run at once hold no more than a memtable's worth.
const HELD_BYTES: usize = 4 << 20;

/// Fields by which rows name their assets.
const ASSET_FIELDS: [&str; 2] = ["asset_id", "device_key"];

/// Said of an asset to an account that is limited, whichever of it is so: it does not learn what is there.
const NOT_WRITABLE: &str = "permission denied: there is no such asset, or no right to write to it";

/// Checks and writes `rows`; returns how many were written once they are durable and visible.
pub(super) async fn write(
    ingestor: &Ingestor,
    model: &Model,
    permissions: Option<Arc<Permissions>>,
    rows: SendableRecordBatchStream,
) -> Result<u64, Error> {
    let mut reading = Reading { ingestor, model, permissions, rows, seen: 0 };
    let mut written = 0;
    let mut held = reading.fill().await?;
    let mut first = true;
    while let Some(ready) = held {
        let rows = ready.rows;
        // While the last piece is written there is nothing left to read.
        let (stored, next) = match ready.is_last {
            true => (store(ingestor, ready.batches, first).await, Ok(None)),
            false => futures::join!(store(ingestor, ready.batches, first), reading.fill()),
        };
        first = false;
        stored.map_err(|e| after(written, e))?;
        written += rows;
        held = next.map_err(|e| after(written, e))?;
    }
    Ok(written)
}

/// What was checked and waits to be written.
#[derive(Default)]
struct Held {
    batches: Vec<Batch>,
    rows: u64,
    is_last: bool,
}

struct Reading<'a> {
    ingestor: &'a Ingestor,
    model: &'a Model,
    /// What whoever sends the rows is limited to.
    permissions: Option<Arc<Permissions>>,
    rows: SendableRecordBatchStream,
    /// Rows that came so far.
    seen: u64,
}

impl Reading<'_> {
    /// Reads and checks rows up to the limit; `None` where there are no more.
    async fn fill(&mut self) -> Result<Option<Held>, Error> {
        let mut held = Held::default();
        let mut bytes = 0;
        while bytes < HELD_BYTES {
            let Some(rows) = self.rows.next().await.transpose()? else {
                held.is_last = true;
                break;
            };
            let mut decoded = arrow::decode(self.ingestor, self.model, &rows).map_err(|e| of_ingest(&e))?;
            self.check(&decoded)?;
            self.check_assets(&decoded.batches)?;
            self.seen += rows.num_rows() as u64;
            bytes += decoded.batches.iter().map(Batch::bytes).sum::<usize>();
            held.rows += decoded.rows;
            held.batches.append(&mut take(&mut decoded.batches));
        }
        Ok((!held.batches.is_empty()).then_some(held))
    }

    /// Refuses all where one row is refused: a statement has no place to list others beside.
    fn check(&self, decoded: &Decoded) -> Result<(), Error> {
        let rejects = &decoded.rejects;
        let Some(reject) = rejects.listed.first() else { return Ok(()) };
        let row = self.seen + reject.row + 1;
        if self.permissions.is_some() && ASSET_FIELDS.contains(&&*reject.field) {
            let message = format!("row {row}: {}: {NOT_WRITABLE}", reject.field);
            return Err(Error::new(ErrorKind::Denied, message));
        }
        let mut message = format!("row {row}: {}: {}", reject.field, reject.reason);
        if rejects.total > 1 {
            message.push_str(&format!(" (and {} more)", rejects.total - 1));
        }
        Err(Error::new(ErrorKind::Input, message))
    }
}

impl Reading<'_> {
    /// Refuses all where an asset may not be written.
    fn check_assets(&self, batches: &[Batch]) -> Result<(), Error> {
        let Some(permissions) = &self.permissions else { return Ok(()) };
        if permissions.reach(Right::Write, self.model) == Reach::All {
            return Ok(());
        }
        let registry = self.ingestor.registry();
        for batch in batches {
            // Rows of one asset lie together.
            for asset in batch.assets.chunk_by(|a, b| a == b).filter_map(|rows| rows.first()) {
                let device = registry.asset(*asset);
                if !device.is_some_and(|device| permissions.may(Right::Write, &device)) {
                    return Err(Error::new(ErrorKind::Denied, format!("asset_id: {NOT_WRITABLE}")));
                }
            }
        }
        Ok(())
    }
}

/// The first write is refused where the queue is full, as nothing is written yet; later ones wait, and whoever sends
/// with them.
async fn store(ingestor: &Ingestor, batches: Vec<Batch>, first: bool) -> Result<(), Error> {
    if batches.is_empty() {
        return Ok(());
    }
    let written = if first { ingestor.try_write(batches).await } else { ingestor.write(batches).await };
    written.map_err(|e| Error::of_storage(&e))
}

/// The same error, telling what stays.
fn after(rows: u64, error: Error) -> Error {
    match rows {
        0 => error,
        _ => Error::new(
            error.kind(),
            format!("{}; {rows} rows before it were written and stay", error.message()),
        ),
    }
}

fn of_ingest(error: &wattline_ingest::Error) -> Error {
    use wattline_ingest::ErrorKind as Ingest;
    let kind = match error.kind() {
        Ingest::Input => ErrorKind::Input,
        Ingest::Busy | Ingest::Closed => ErrorKind::Busy,
        Ingest::Io => ErrorKind::Damaged,
        Ingest::Config | Ingest::Bug => ErrorKind::Bug,
    };
    Error::new(kind, error.to_string())
}
