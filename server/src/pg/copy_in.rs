//! COPY … FROM STDIN: rows that a client sends, through the one door, in bounded memory.
//!
//! Owns: the exchange with the client, what ends it, what is told of a row that is refused. Does not own: the statement
//! (`copy`), checks and durability (`ingest`, `storage`, by way of [`wattline_query::Engine::write`]).
//!
//! *message → [`rows`] ([`lines`] or [`tuples`] → [`columns`]) → batches → the door.* The connection's task moves bytes,
//! one message ahead; decoding and writing are a task on the threads of queries. While that has no room, nothing is read
//! from the client. The rows end with `CopyDone` and with nothing else: a client that vanishes has not sent all, and
//! nothing more of what it sent is written.

pub mod columns;
pub mod lines;
pub mod rows;
pub mod tuples;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use wattline_query::{Caller, DataFusionError, Error, ErrorKind, RecordBatchStreamAdapter};

use self::rows::{Decoder, Places};
use super::copy::Copy;
use super::error::{PgError, state};
use super::frontend::Message;
use super::limits::MESSAGE_BYTES_MAX;
use super::session::{Done, Session, Trouble, cancelled};
use crate::http::App;
use crate::http::sql::Counted;

/// What the connection hands to the task that writes.
enum Piece {
    Data(Bytes),
    /// That was all.
    Done,
    /// There will be no more, and what was not written shall not be.
    Failed(PgError),
}

/// What is known here about an error that comes back from the door.
#[derive(Default)]
struct Notes {
    /// The one that ended the rows.
    fault: Option<PgError>,
    places: Places,
}

impl Session {
    /// Takes the rows of a COPY; answers when they are durable and visible.
    ///
    /// # Errors
    /// The first row that is refused, or whatever keeps the rest from coming or from being written.
    pub async fn copy_in(&mut self, copy: &Copy) -> Done<()> {
        let until = self.settings.timeout().map(|limit| Instant::now() + limit);
        let app = Arc::clone(&self.listener.app);
        let destination = {
            let (app, table, columns) = (Arc::clone(&app), copy.table.clone(), copy.columns.clone());
            let caller = self.caller.clone();
            let queries = app.queries.clone();
            let finding = queries.spawn(async move { app.engine.destination(&caller, &table, &columns) });
            let found = AbortOnDropHandle::new(finding).await.map_err(|panic| unanswered(&panic))?;
            // Places in it are those of a statement that was never sent.
            found.map_err(|e| PgError { position: None, ..PgError::of_query(&e, "", 0) })?
        };
        self.wire.out.copy_in(copy.form.format(), destination.names.len());
        self.wire.flush().await?;
        let decoder = Decoder::new(&destination, copy, self.settings.zone().clone());
        let (pieces, received) = mpsc::channel(1);
        let caller = self.caller.clone();
        let writing = app.queries.clone().spawn(async move {
            let _counted = Counted::new(&app);
            write(&app, &caller, &destination.table, decoder, received).await
        });
        let writing = AbortOnDropHandle::new(writing);
        match self.receive(&pieces, &writing, until).await {
            Ok(()) => {}
            // The writer says how much of it was written before.
            Err(Trouble::Error(error)) => drop(pieces.send(Piece::Failed(error)).await),
            Err(gone) => return Err(gone),
        }
        drop(pieces);
        // Not to be cancelled any more: what is left is little, and whoever asked is told what became of it.
        let written = writing.await.map_err(|panic| unanswered(&panic))??;
        self.listener.metrics.written(written);
        self.wire.out.complete(&format!("COPY {written}"));
        Ok(())
    }

    /// Passes on what comes, up to the end of the data or of the writer.
    async fn receive(
        &mut self,
        pieces: &mpsc::Sender<Piece>,
        writing: &AbortOnDropHandle<Result<u64, PgError>>,
        until: Option<Instant>,
    ) -> Done<()> {
        loop {
            let message = self.copy_message(until).await?;
            // It ended before the rows did: it has an error to tell.
            if writing.is_finished() {
                return Ok(());
            }
            let piece = match message {
                Message::CopyData(bytes) => Piece::Data(bytes),
                Message::CopyDone => Piece::Done,
                Message::CopyFail(why) => {
                    return Err(
                        PgError::new(state::CANCELLED, format!("COPY from stdin failed: {why}")).into()
                    );
                }
                // Drivers may have sent them before they knew that rows are wanted.
                Message::Flush | Message::Sync => continue,
                Message::Terminate => return Err(Trouble::Gone(super::wire::Gone::Left)),
                _ => {
                    return Err(
                        PgError::new(state::PROTOCOL, "unexpected message during COPY from stdin").into()
                    );
                }
            };
            let is_last = matches!(piece, Piece::Done);
            let sent = self.stoppable_until(pieces.send(piece), until).await?;
            if is_last || sent.is_err() {
                return Ok(());
            }
        }
    }

    async fn copy_message(&mut self, until: Option<Instant>) -> Done<Message> {
        let (stop, shutdown) = (self.backend.token(), self.shutdown.clone());
        let silence = self.listener.settings.read_timeout;
        let expired = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(cancelled("user request").into()),
            () = expired => Err(cancelled("statement timeout").into()),
            () = shutdown.cancelled() => {
                Err(PgError::new(state::SHUTDOWN, "COPY ended: the server is stopping").into())
            }
            message = timeout(silence, self.wire.message(MESSAGE_BYTES_MAX)) => match message {
                Ok(Ok(Ok(message))) => Ok(message),
                Ok(Ok(Err((_, malformed)))) => Err(PgError::new(state::PROTOCOL, malformed.0).into()),
                Ok(Err(gone)) => Err(gone.into()),
                Err(_) => {
                    let message = format!("no more rows came for {} ms", silence.as_millis());
                    Err(PgError::new(state::CANCELLED, message).hint("setting pg.read_timeout").into())
                }
            },
        }
    }
}

fn unanswered(panic: &tokio::task::JoinError) -> PgError {
    PgError::new(state::BUG, format!("the statement ended without an answer: {panic}"))
}

/// What the rows of one COPY become, one batch at a time.
struct Source {
    decoder: Decoder,
    pieces: mpsc::Receiver<Piece>,
    notes: Arc<Mutex<Notes>>,
}

impl Source {
    async fn next(&mut self) -> Result<Option<arrow::array::RecordBatch>, PgError> {
        loop {
            if let Some(batch) = self.decoder.batch()? {
                self.notes.lock().places = self.decoder.places().clone();
                return Ok(Some(batch));
            }
            if self.decoder.has_ended() {
                return Ok(None);
            }
            match self.pieces.recv().await {
                Some(Piece::Data(bytes)) => self.decoder.feed(&bytes),
                Some(Piece::Done) => self.decoder.end(),
                Some(Piece::Failed(error)) => return Err(error),
                None => {
                    return Err(PgError::new(state::CANCELLED, "COPY from stdin failed: the client left"));
                }
            }
        }
    }
}

async fn write(
    app: &App,
    caller: &Caller,
    table: &str,
    decoder: Decoder,
    pieces: mpsc::Receiver<Piece>,
) -> Result<u64, PgError> {
    let notes = Arc::<Mutex<Notes>>::default();
    let schema: SchemaRef = decoder.schema();
    let source = Source { decoder, pieces, notes: Arc::clone(&notes) };
    let rows = futures::stream::unfold(Some(source), |source| async {
        let mut source = source?;
        match source.next().await {
            Ok(batch) => Some((Ok(batch?), Some(source))),
            Err(fault) => {
                let error = passed_on(&fault);
                source.notes.lock().fault = Some(fault);
                Some((Err(error), None))
            }
        }
    });
    let rows = Box::pin(RecordBatchStreamAdapter::new(schema, rows));
    let written = app.engine.write(caller, table, rows).await;
    written.map_err(|error| {
        let notes = std::mem::take(&mut *notes.lock());
        match notes.fault {
            // The message has grown by what was written before.
            Some(fault) => PgError { message: error.message().to_owned(), ..fault },
            None => refused(&error, table, &notes.places),
        }
    })
}

fn passed_on(fault: &PgError) -> DataFusionError {
    Error::new(ErrorKind::Input, fault.message.as_str()).into_datafusion()
}

/// An error of the door; a row that it refused is told by its line.
fn refused(error: &Error, table: &str, places: &Places) -> PgError {
    let told = PgError::of_query(error, "", 0);
    let Some((row, rest)) = error.message().strip_prefix("row ").and_then(|rest| rest.split_once(": "))
    else {
        return told;
    };
    let Ok(row) = row.parse::<u64>() else { return told };
    let column = rest.split_once(": ").map(|(column, _)| column);
    let column = column.map_or_else(String::new, |column| format!(", column {column}"));
    let context = format!("COPY {table}, {}{column}", places.of(row));
    PgError { state: state::BAD_COPY, message: rest.to_owned(), ..told }.context(context)
}
