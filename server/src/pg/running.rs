//! A statement under way: a task on the threads of queries, which hands over finished bytes as they are asked for.
//!
//! Owns: starting and stopping it, how far it runs ahead. Does not own: planning and limits (`query`), the forms of rows
//! (`encode`).
//!
//! The task runs two pieces ahead of the client at most, and not beyond the rows a portal was asked for. Dropping
//! [`Running`] ends it, wherever it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wattline_query::{Answer, Caller, ScalarValue, SendableRecordBatchStream};

use super::backend::Column;
use super::encode::{Encoder, Shape, columns_of};
use super::error::{PgError, state};
use super::frontend::{Format, format_of};
use super::limits::{PIECE_BYTES, PIECES_MAX};
use super::time::Zone;
use crate::http::App;

/// What comes from a statement, in this order.
pub enum Piece {
    /// It gives rows, of these columns.
    Columns(Vec<Column>),
    /// Some of them, as messages.
    Rows {
        /// The messages.
        bytes: BytesMut,
        /// How many rows.
        rows: u64,
    },
    /// As many as were asked for. More come when more are asked for.
    Suspended,
    /// That was all.
    End,
    /// It gave no rows: it changed something.
    Changed {
        /// What it did.
        tag: &'static str,
        /// To how many rows, where that is known.
        rows: Option<u64>,
    },
    /// It failed.
    Failed(PgError),
}

/// What to run.
pub struct Task {
    /// For whom.
    pub caller: Caller,
    /// The statement.
    pub text: Arc<str>,
    /// Where it begins in what the client sent, and that.
    pub sent: (Arc<str>, usize),
    /// Its parameters.
    pub params: Vec<ScalarValue>,
    /// The forms of columns, as `Bind` has them.
    pub formats: Vec<Format>,
    /// The types the client was told of, where it was.
    pub described: Option<Vec<u32>>,
    /// What rows become.
    pub shape: Shape,
    /// The session's time zone.
    pub zone: Zone,
}

/// A statement under way.
pub struct Running {
    pieces: mpsc::Receiver<Piece>,
    wants: mpsc::Sender<u64>,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts `task`. Nothing but its columns comes before [`want`](Self::want).
    pub fn start(app: &Arc<App>, task: Task) -> Running {
        let (pieces_in, pieces) = mpsc::channel(PIECES_MAX);
        let (wants, wants_out) = mpsc::channel(1);
        let app = Arc::clone(app);
        let queries = app.queries.clone();
        let task = queries.spawn(async move {
            app.statements.fetch_add(1, Ordering::Relaxed);
            let _counted = Counted(&app);
            let mut way = Way { pieces: pieces_in, wants: wants_out };
            let failed = match Box::pin(run(&app, task, &mut way)).await {
                Ok(()) => return,
                Err(Stop::Failed(error)) => error,
                Err(Stop::Unwanted) => return,
            };
            let _ = way.pieces.send(Piece::Failed(failed)).await;
        });
        Running { pieces, wants, task }
    }

    /// Asks for `rows` more.
    pub async fn want(&self, rows: u64) {
        // Where the task has ended, its last piece says so.
        let _ = self.wants.send(rows).await;
    }

    /// The next piece.
    pub async fn next(&mut self) -> Piece {
        self.pieces.recv().await.unwrap_or_else(|| {
            Piece::Failed(PgError::new(
                state::BUG,
                "the statement ended without an answer; the log says more",
            ))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Counted<'a>(&'a App);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.statements.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Stop {
    Failed(PgError),
    /// Nobody takes it any more.
    Unwanted,
}

struct Way {
    pieces: mpsc::Sender<Piece>,
    wants: mpsc::Receiver<u64>,
}

impl Way {
    async fn send(&self, piece: Piece) -> Result<(), Stop> {
        self.pieces.send(piece).await.map_err(|_| Stop::Unwanted)
    }

    async fn wanted(&mut self) -> Result<u64, Stop> {
        self.wants.recv().await.ok_or(Stop::Unwanted)
    }
}

async fn run(app: &App, task: Task, way: &mut Way) -> Result<(), Stop> {
    let (sent, offset) = task.sent.clone();
    let failed = |e: wattline_query::Error| Stop::Failed(PgError::of_query(&e, &sent, offset));
    match app.engine.run(&task.caller, &task.text, task.params.clone()).await.map_err(failed)? {
        Answer::Changed { tag, rows, .. } => way.send(Piece::Changed { tag, rows }).await,
        Answer::Rows(rows) => {
            let columns = columns(&task, &rows).map_err(Stop::Failed)?;
            way.send(Piece::Columns(columns.clone())).await?;
            let encoder = Encoder::new(columns, task.shape.clone(), task.zone.clone());
            stream(rows, encoder, way, &failed).await
        }
    }
}

fn columns(task: &Task, rows: &SendableRecordBatchStream) -> Result<Vec<Column>, PgError> {
    let schema = rows.schema();
    let n = schema.fields().len();
    if n > i16::MAX as usize {
        return Err(PgError::new("54011", format!("the answer has {n} columns, more than {}", i16::MAX)));
    }
    format_of(&task.formats, 0, n.max(1)).map_err(|e| PgError::new(state::PROTOCOL, e.0))?;
    let mut columns = columns_of(&schema, |i| format_of(&task.formats, i, n).unwrap_or(Format::Text));
    if let Some(described) = &task.described {
        if described.len() != columns.len() {
            return Err(PgError::new(state::UNSUPPORTED, "cached plan must not change result type"));
        }
        for (column, &oid) in columns.iter_mut().zip(described) {
            column.oid = oid;
        }
    }
    Ok(columns)
}

async fn stream(
    mut rows: SendableRecordBatchStream,
    mut encoder: Encoder,
    way: &mut Way,
    failed: &impl Fn(wattline_query::Error) -> Stop,
) -> Result<(), Stop> {
    let no_form = |e| Stop::Failed(PgError::new(state::UNSUPPORTED, format!("a value has no form: {e}")));
    let (mut piece, mut in_piece) = (BytesMut::new(), 0_u64);
    encoder.head(&mut piece);
    let mut wanted = way.wanted().await?;
    loop {
        if wanted == 0 {
            way.send(Piece::Suspended).await?;
            wanted = way.wanted().await?;
        }
        let Some(batch) = rows.next().await else { break };
        let batch = batch.map_err(|e| failed(wattline_query::Error::from(e)))?;
        let values = encoder.batch(&batch).map_err(no_form)?;
        let mut at = 0;
        while at < batch.num_rows() {
            if wanted == 0 {
                way.send(Piece::Suspended).await?;
                wanted = way.wanted().await?;
            }
            let until = at + usize::try_from(wanted).unwrap_or(usize::MAX).min(batch.num_rows() - at);
            let reached = encoder.rows(&values, at..until, PIECE_BYTES, &mut piece).map_err(no_form)?;
            let n = (reached - at) as u64;
            (at, wanted, in_piece) = (reached, wanted - n, in_piece + n);
            // What was asked for, or a piece's worth: off it goes.
            if wanted == 0 || piece.len() >= PIECE_BYTES {
                let bytes = std::mem::take(&mut piece);
                way.send(Piece::Rows { bytes, rows: std::mem::take(&mut in_piece) }).await?;
            }
        }
    }
    encoder.tail(&mut piece);
    if !piece.is_empty() {
        way.send(Piece::Rows { bytes: piece, rows: in_piece }).await?;
    }
    way.send(Piece::End).await
}
