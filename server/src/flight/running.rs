//! Rows out: a statement as a stream of Arrow batches, and ending it before its end.
//!
//! Owns: the task of a running statement, the types that go over the wire, which statements run under which number.
//! Does not own: the statement's limits (`query`).
//!
//! A statement runs as a task on the threads of queries and encodes its batches there; a short channel is all that is
//! ahead of the client. A stream that is dropped ends its statement.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wattline_query::{Answer, Caller, Error, ErrorKind, ScalarValue};

use crate::http::App;
use crate::http::sql::Counted;

/// Batches of an answer that wait for the client.
const BATCHES_MAX: usize = 2;

/// Rows as they go out.
pub type Batches = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// The statements that run, by number.
#[derive(Default)]
pub struct Running {
    tokens: Mutex<HashMap<u64, CancellationToken>>,
    next: AtomicU64,
    /// Makes numbers that nobody guesses: whoever knows one may cancel its statement.
    keys: RandomState,
}

impl Running {
    /// A number for a statement that may run soon; never 0.
    pub fn number(&self) -> u64 {
        self.keys.hash_one(self.next.fetch_add(1, Ordering::Relaxed)).max(1)
    }

    /// Ends the statement `id`; whether it runs.
    pub fn cancel(&self, id: u64) -> bool {
        match self.tokens.lock().get(&id) {
            Some(token) => {
                token.cancel();
                true
            }
            None => false,
        }
    }

    fn begin(self: &Arc<Running>, id: u64) -> Run {
        let token = self.tokens.lock().entry(id).or_default().clone();
        Run { running: Arc::clone(self), id, token }
    }
}

/// A statement under way.
struct Run {
    running: Arc<Running>,
    id: u64,
    token: CancellationToken,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.running.tokens.lock().remove(&self.id);
    }
}

/// Runs a statement and streams its rows.
pub fn stream(
    app: &Arc<App>,
    running: &Arc<Running>,
    caller: Caller,
    (id, sql, parameters): (u64, String, Vec<ScalarValue>),
) -> Batches {
    let (sender, receiver) = mpsc::channel(BATCHES_MAX);
    let run = running.begin(id);
    let of_task = Arc::clone(app);
    let task = app.queries.spawn(async move {
        let app = of_task;
        let _counted = Counted::new(&app);
        let ended = tokio::select! {
            biased;
            () = run.token.cancelled() => Err(Status::cancelled("the statement was cancelled")),
            ended = send(&app, &caller, &sql, parameters, &sender) => ended,
        };
        if let Err(status) = ended {
            // Nobody may be there any more.
            drop(sender.send(Err(status)).await);
        }
    });
    Box::pin(futures::stream::unfold((receiver, Task(task)), |(mut receiver, task)| async {
        let item = receiver.recv().await?;
        Some((item, (receiver, task)))
    }))
}

async fn send(
    app: &Arc<App>,
    caller: &Caller,
    sql: &str,
    parameters: Vec<ScalarValue>,
    out: &mpsc::Sender<Result<FlightData, Status>>,
) -> Result<(), Status> {
    app.flight.statements.fetch_add(1, Ordering::Relaxed);
    let rows = match app.engine.run(caller, sql, parameters).await.map_err(|e| status(&e))? {
        Answer::Rows(rows) => rows,
        // Done; there are no rows to send.
        Answer::Changed { .. } => return Ok(()),
    };
    let schema = wire_schema(&rows.schema());
    let (of_batches, counts) = (Arc::clone(&schema), Arc::clone(&app.flight));
    let batches = rows.map(move |batch| {
        let batch = batch.map_err(|e| FlightError::Tonic(Box::new(status(&Error::from(e)))))?;
        counts.rows_sent.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        wire_batch(&batch, &of_batches).map_err(FlightError::Arrow)
    });
    let mut encoded = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    while let Some(data) = encoded.next().await {
        // A closed channel means that the client is gone.
        if out.send(Ok(data?)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// One batch as an answer of its own.
pub fn single(batch: RecordBatch) -> Batches {
    let encoded =
        FlightDataEncoderBuilder::new().with_schema(batch.schema()).build(futures::stream::iter([Ok(batch)]));
    Box::pin(encoded.map(|data| data.map_err(Status::from)))
}

/// The running task; dropping it ends the statement.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `schema` in types that every client reads: texts as Utf8 instead of views of them, which drivers in Java lack. Every
/// column may have nulls: whether one of a parameter has is known with its value only, and drivers compare what was
/// described with what comes.
pub fn wire_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_data_type(wire_type(field.data_type())).with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The type that goes over the wire for `data_type`.
pub fn wire_type(data_type: &DataType) -> DataType {
    let of_items = |item: &Arc<arrow::datatypes::Field>| {
        Arc::new(item.as_ref().clone().with_data_type(wire_type(item.data_type())))
    };
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(of_items(item)),
        DataType::LargeList(item) => DataType::LargeList(of_items(item)),
        other => other.clone(),
    }
}

/// `batch` in the types of `schema`; what has them already is not copied.
fn wire_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        }
    });
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

/// An error of a statement as gRPC has it.
pub fn status(error: &Error) -> Status {
    use tonic::Code;
    let code = match error.kind() {
        ErrorKind::Input => Code::InvalidArgument,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Busy => Code::Unavailable,
        ErrorKind::Limit | ErrorKind::Full => Code::ResourceExhausted,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Damaged => Code::DataLoss,
        ErrorKind::Bug => Code::Internal,
    };
    Status::new(code, error.to_string())
}
