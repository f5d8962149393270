//! A body that comes in pieces → parts to decode: record batches of an Arrow stream, or runs of whole lines.
//!
//! Owns: framing and its limits. Does not own: what a row means.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use bytes::{Bytes, BytesMut};

use super::super::body::Pieces;
use super::super::error::{ApiError, ApiKind};

/// Lines of one part: a group commit's worth; more would only lengthen the wait for the first.
const LINES_MAX: u64 = 16_384;

/// Bytes of lines gathered into one part.
const LINES_BYTES: usize = 2 << 20;

/// Rows of one record batch, the limit of a batch in the store.
const ROWS_MAX: usize = wattline_model::limits::BATCH_ROWS_MAX;

/// Something to decode.
pub(super) enum Part {
    /// A record batch.
    Rows(RecordBatch),
    /// Whole lines, and how many.
    Lines(Bytes, u64),
}

/// Cuts a body into parts.
pub(super) struct Splitter {
    /// Bytes one part may need.
    bytes_max: usize,
    kind: Kind,
}

enum Kind {
    Arrow {
        decoder: Box<StreamDecoder>,
        /// What came and was not taken yet.
        rest: Buffer,
        /// Bytes taken since the last whole batch.
        taken: usize,
    },
    Lines {
        rest: BytesMut,
        /// How much of it is known to hold no line end.
        searched: usize,
        lines: u64,
        /// End of the last whole line.
        whole: usize,
    },
}

impl Splitter {
    /// For an Arrow IPC stream.
    pub(super) fn arrow(bytes_max: usize) -> Splitter {
        let rest = Buffer::from(Vec::<u8>::new());
        Splitter { bytes_max, kind: Kind::Arrow { decoder: Box::default(), rest, taken: 0 } }
    }

    /// For NDJSON.
    pub(super) fn lines(bytes_max: usize) -> Splitter {
        Splitter { bytes_max, kind: Kind::Lines { rest: BytesMut::new(), searched: 0, lines: 0, whole: 0 } }
    }

    /// The next part; `None` after the last.
    pub(super) async fn next(&mut self, pieces: &mut Pieces) -> Result<Option<Part>, ApiError> {
        loop {
            if let Some(part) = self.cut()? {
                return Ok(Some(part));
            }
            match pieces.next().await? {
                Some(piece) => self.take(piece),
                None => return self.finish(),
            }
        }
    }

    fn take(&mut self, piece: Bytes) {
        match &mut self.kind {
            // `cut` took all there was.
            Kind::Arrow { rest, .. } => *rest = Buffer::from(piece),
            Kind::Lines { rest, .. } => rest.extend_from_slice(&piece),
        }
    }

    /// A part out of what came so far.
    fn cut(&mut self) -> Result<Option<Part>, ApiError> {
        let bytes_max = self.bytes_max;
        match &mut self.kind {
            Kind::Arrow { decoder, rest, taken } => {
                let before = rest.len();
                let decoded = decode(decoder, rest)?;
                *taken += before - rest.len();
                match decoded {
                    Some(batch) if batch.num_rows() > ROWS_MAX => {
                        let message =
                            format!("a record batch has {} rows, more than {ROWS_MAX}", batch.num_rows());
                        Err(ApiError::new(ApiKind::TooLarge, message))
                    }
                    Some(batch) => {
                        *taken = 0;
                        Ok(Some(Part::Rows(batch)))
                    }
                    None if *taken > bytes_max => {
                        let message =
                            format!("a record batch is larger than {bytes_max} bytes (http.batch_max)");
                        Err(ApiError::new(ApiKind::TooLarge, message))
                    }
                    None => Ok(None),
                }
            }
            Kind::Lines { rest, searched, lines, whole } => {
                while *searched < rest.len() && *lines < LINES_MAX {
                    match rest[*searched..].iter().position(|&byte| byte == b'\n') {
                        Some(at) => {
                            *searched += at + 1;
                            *whole = *searched;
                            *lines += 1;
                        }
                        None => *searched = rest.len(),
                    }
                }
                if *lines >= LINES_MAX || *whole >= LINES_BYTES {
                    return Ok(Some(cut_lines(rest, searched, lines, whole)));
                }
                if rest.len() - *whole > bytes_max {
                    let message = format!("a line is larger than {bytes_max} bytes (http.batch_max)");
                    return Err(ApiError::new(ApiKind::TooLarge, message));
                }
                Ok(None)
            }
        }
    }

    /// What is left at the end of the body.
    fn finish(&mut self) -> Result<Option<Part>, ApiError> {
        match &mut self.kind {
            Kind::Arrow { decoder, .. } => match decoder.finish() {
                Ok(()) => Ok(None),
                Err(error) => Err(ApiError::input(format!("Arrow IPC stream: {error}"))),
            },
            Kind::Lines { rest, .. } if rest.is_empty() => Ok(None),
            Kind::Lines { rest, searched, lines, whole } => {
                if *whole < rest.len() {
                    *whole = rest.len();
                    *lines += 1;
                }
                Ok(Some(cut_lines(rest, searched, lines, whole)))
            }
        }
    }
}

fn cut_lines(rest: &mut BytesMut, searched: &mut usize, lines: &mut u64, whole: &mut usize) -> Part {
    let bytes = rest.split_to(*whole).freeze();
    *searched -= (*whole).min(*searched);
    *whole = 0;
    Part::Lines(bytes, std::mem::take(lines))
}

/// The decoder checks what it reads but trusts some lengths; what it trips over is the client's doing, not a reason to
/// answer 500.
fn decode(decoder: &mut StreamDecoder, rest: &mut Buffer) -> Result<Option<RecordBatch>, ApiError> {
    let attempt = std::panic::AssertUnwindSafe(|| decoder.decode(rest));
    match std::panic::catch_unwind(attempt) {
        Ok(Ok(batch)) => Ok(batch),
        Ok(Err(error)) => Err(ApiError::input(format!("Arrow IPC stream: {error}"))),
        Err(_) => Err(ApiError::input("Arrow IPC stream: lengths in it contradict each other")),
    }
}

#[cfg(test)]
mod tests;
