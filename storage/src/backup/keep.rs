//! What of a shard's log journals have not sent yet.
//!
//! Owns: how far each journal is, log files that a flush took away before that, and the limit on them. Does not own:
//! sending ([`super::journal`]), removing files (`flush`).
//!
//! A flush gives log files back. One that a journal still needs is mapped before its name goes: the mapping keeps its
//! bytes on the medium, without a name, until they are sent. That a file leaves the log and is kept is one act under
//! the lock, so a journal finds every file in one of the two places.

use bytes::Bytes;
use wattline_model::Seqno;

use crate::error::{Error, ErrorKind, Result};
use crate::log::{LogFile, Position, file_name};
use crate::shard::Shard;

/// Journals by number with what each has sent, and what is kept for them.
#[derive(Default)]
pub(crate) struct Keep {
    sent: Vec<(u64, Position)>,
    /// Oldest first.
    files: Vec<Kept>,
}

/// A log file without a name.
struct Kept {
    file: LogFile,
    content: Bytes,
}

/// A part of a log file.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) first: Seqno,
    pub(super) offset: u64,
    pub(super) content: Bytes,
}

impl Keep {
    /// Begins journal `id`: everything before `from` is elsewhere.
    pub(super) fn begin(&mut self, id: u64, from: Position) {
        self.end(id);
        self.sent.push((id, from));
    }

    /// Notes that journal `id` has sent everything before `to`.
    pub(super) fn advance(&mut self, id: u64, to: Position) {
        self.sent.iter_mut().filter(|sent| sent.0 == id).for_each(|sent| sent.1 = to);
        self.tidy();
    }

    /// Ends journal `id`; one that has ended already is no error.
    pub(super) fn end(&mut self, id: u64) {
        self.sent.retain(|sent| sent.0 != id);
        self.tidy();
    }

    /// Whether journal `id` is going on.
    pub(super) fn goes_on(&self, id: u64) -> bool {
        self.sent.iter().any(|sent| sent.0 == id)
    }

    /// Bytes of files that are on the medium for journals alone.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|kept| kept.file.bytes).sum()
    }

    /// Lets go of what every journal has sent.
    fn tidy(&mut self) {
        let sent = self.sent.iter().map(|sent| sent.1).min();
        self.files.retain(|kept| sent.is_some_and(|sent| sent < kept.file.end()));
    }

    /// Keeps a file that leaves the log, where a journal needs it.
    fn take(&mut self, shard: &Shard, file: &LogFile) {
        if !self.sent.iter().any(|sent| sent.1 < file.end()) {
            return;
        }
        let max = shard.settings.journal_keep_bytes;
        let kept = map(shard, file).map(|content| self.files.push(Kept { file: file.clone(), content }));
        let why = match kept {
            Ok(()) if self.bytes() <= max => return,
            Ok(()) => format!("more than {max} bytes of log wait to be sent"),
            Err(error) => error.to_string(),
        };
        tracing::warn!(shard = shard.id.0, why, "the journal is broken; what was not sent of it is missing");
        *self = Keep::default();
    }
}

/// Takes the files all of whose batches are `flushed` out of the log of `shard`, and keeps what journals need of them.
pub(crate) fn take_flushed(shard: &Shard, flushed: Seqno) -> Vec<LogFile> {
    let mut keep = shard.keep.lock();
    let files = shard.log.lock().take_flushed(flushed);
    files.iter().for_each(|file| keep.take(shard, file));
    files
}

/// What journal `id` has to send of the log of `shard` before `to`, in order; `None` where it is broken.
pub(super) fn pieces(shard: &Shard, id: u64, to: Position) -> Result<Option<Vec<Piece>>> {
    // Files of the log keep their names while this is locked.
    let keep = shard.keep.lock();
    let Some(&(_, from)) = keep.sent.iter().find(|sent| sent.0 == id) else { return Ok(None) };
    let log = shard.log.lock().contents();
    let kept = keep.files.iter().map(|kept| (&kept.file, Some(&kept.content)));
    let mut pieces = Vec::new();
    for (file, content) in kept.chain(log.iter().map(|file| (file, None))) {
        let start = if file.first == from.first { from.bytes } else { 0 };
        let end = if file.first == to.first { to.bytes } else { file.bytes };
        if file.first < from.first || file.first > to.first || start >= end {
            continue;
        }
        let content = content.map_or_else(|| map(shard, file), |content| Ok(content.clone()))?;
        let content = content.slice(start as usize..end as usize);
        pieces.push(Piece { first: file.first, offset: start, content });
    }
    Ok(Some(pieces))
}

/// The bytes of a log file that are synced.
fn map(shard: &Shard, file: &LogFile) -> Result<Bytes> {
    let path = shard.dir.join(file_name(file.first));
    let content = shard.world.disk.map(&path);
    let content = content.map_err(|e| Error::io(format_args!("read {}", path.display()), &e))?;
    if (content.len() as u64) < file.bytes {
        let what = format!("{}: expected {} bytes, found {}", path.display(), file.bytes, content.len());
        return Err(Error::new(ErrorKind::Damaged, what));
    }
    Ok(content.slice(..file.bytes as usize))
}
