//! Rows in: batches that a client sends, through the one door, in bounded memory.
//!
//! Owns: reading them as they come, how long a client may be silent, rows of parameters. Does not own: checks and
//! durability (`ingest`, `storage`, by way of [`wattline_query::Engine::write`]).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption};
use futures::{Stream, StreamExt as _};
use tonic::{Code, Status};
use wattline_query::{Answer, Caller, Error, ErrorKind, RecordBatchStreamAdapter};

use super::handle::{Handle, rows_of};
use super::running::status;
use crate::http::App;

/// Rows of parameters that become one statement: enough that the cost of a statement vanishes, few enough that all of
/// it is written or nothing.
const BOUND_ROWS_MAX: usize = 1_000;

/// Rows as they come, or what kept them from coming.
pub type Incoming = Pin<Box<dyn Stream<Item = Result<RecordBatch, Error>> + Send>>;

/// The batches of `stream`, each waited for at most `silence`.
pub fn batches(stream: PeekableFlightDataStream, silence: Duration) -> Incoming {
    let patient = futures::stream::unfold(stream, move |mut stream| async move {
        let item = match tokio::time::timeout(silence, stream.next()).await {
            Ok(item) => item?.map_err(FlightError::from),
            Err(_) => {
                let what = format!("no more rows came for {} ms", silence.as_millis());
                Err(FlightError::from(Status::deadline_exceeded(what)))
            }
        };
        Some((item, stream))
    });
    Box::pin(FlightRecordBatchStream::new_from_flight_data(patient).map(|batch| batch.map_err(of_flight)))
}

fn of_flight(error: FlightError) -> Error {
    match error {
        FlightError::Tonic(status) if status.code() == Code::DeadlineExceeded => {
            Error::new(ErrorKind::Timeout, status.message())
        }
        FlightError::Tonic(status) => {
            Error::new(ErrorKind::Input, format!("rows broke off: {}", status.message()))
        }
        other => Error::new(ErrorKind::Input, format!("rows cannot be read: {other}")),
    }
}

/// The table that `command` goes into, where it asks for nothing that is not done here.
///
/// # Errors
/// `InvalidArgument` by the option that is not.
pub fn table_of(app: &App, command: &CommandStatementIngest) -> Result<String, Status> {
    let refused =
        |what: &str| Err(Status::invalid_argument(format!("ingest into {}: {what}", command.table)));
    if command.transaction_id.is_some() {
        return refused("there are no transactions");
    }
    if command.temporary {
        return refused("there are no temporary tables");
    }
    let other =
        |asked: &Option<String>, known: &str| asked.as_deref().is_some_and(|a| !a.is_empty() && a != known);
    if other(&command.catalog, "wattline") || other(&command.schema, "public") {
        return refused("only tables of the schema public of the catalog wattline can be written");
    }
    let exists = app.engine.table_names().contains(&command.table);
    let asked = command.table_definition_options.map(|options| options.if_exists());
    match (exists, asked) {
        (true, None | Some(TableExistsOption::Append)) | (false, _) => Ok(command.table.clone()),
        (true, Some(TableExistsOption::Replace)) => {
            refused("a table is not replaced by another; append to it, and DELETE what shall go")
        }
        (true, Some(_)) => refused("the table is there already; append to it"),
    }
}

/// Writes the batches of `rows` into `table`; returns how many rows once they are durable and visible.
///
/// # Errors
/// The first row that is refused, or whatever keeps the rest from being written.
pub async fn write(app: &App, caller: &Caller, table: &str, rows: Incoming) -> Result<i64, Status> {
    let rows = rows.map(|batch| batch.map_err(Error::into_datafusion));
    let rows = Box::pin(RecordBatchStreamAdapter::new(Arc::new(Schema::empty()), rows));
    let written = app.engine.write(caller, table, rows).await.map_err(|e| status(&e))?;
    app.flight.rows_written.fetch_add(written, Ordering::Relaxed);
    Ok(i64::try_from(written).unwrap_or(i64::MAX))
}

/// Runs the statement of `handle` for each row of parameters in `rows`, or as it is where there are none.
///
/// # Errors
/// The first that fails.
pub async fn run_bound(
    app: &App,
    caller: &Caller,
    handle: &Handle,
    mut rows: Incoming,
) -> Result<i64, Status> {
    let mut total = None;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|e| status(&e))?;
        if batch.num_columns() == 0 {
            continue;
        }
        for start in (0..batch.num_rows()).step_by(BOUND_ROWS_MAX) {
            let len = BOUND_ROWS_MAX.min(batch.num_rows() - start);
            let changed = change(app, caller, &handle.sql, rows_of(&batch, start, len)?).await?;
            total = Some(total.unwrap_or(0) + changed);
        }
    }
    match total {
        Some(total) => Ok(total),
        None => change(app, caller, &handle.sql, handle.bindings()?).await,
    }
}

/// Runs a statement that changes something, once for each binding; returns how many rows it changed, -1 where that is
/// not known, as the protocol has it.
///
/// # Errors
/// Where it fails, or gives rows.
pub async fn change(
    app: &App,
    caller: &Caller,
    sql: &str,
    bindings: Vec<Vec<wattline_query::ScalarValue>>,
) -> Result<i64, Status> {
    app.flight.statements.fetch_add(1, Ordering::Relaxed);
    if !wattline_query::is_change(sql) {
        return Err(Status::invalid_argument("the statement changes nothing: run it as a query"));
    }
    match app.engine.run_each(caller, sql, bindings).await.map_err(|e| status(&e))? {
        Answer::Changed { rows: Some(rows), .. } => Ok(i64::try_from(rows).unwrap_or(i64::MAX)),
        Answer::Changed { job: Some(_), .. } => Ok(-1),
        Answer::Changed { .. } | Answer::Rows(_) => Ok(0),
    }
}
