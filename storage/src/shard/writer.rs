//! The one writer of a shard: `admit → sequence → log → apply → publish`.
//!
//! Owns: the order of a shard's batches and the active memtable. Does not own: what storage policies make of a batch
//! (`admit`), flushing (`flush`), the queue's limit.
//!
//! Each step takes what the one before returned, so nothing can be inserted that is not in the log.

use std::sync::Arc;

use wattline_format::log::{encode_deletion, encode_record};
use wattline_format::manifest::Tombstone;
use wattline_model::{Batch, Deletion, DeletionTarget, Destination, Seqno};

use super::admit::Admission;
use super::completion::Part;
use super::queue::Message;
use super::{Shard, View};
use crate::error::{Error, ErrorKind, Result};
use crate::flush::flush_oldest;
use crate::memtable::{Memtable, MemtableWriter};
use crate::tombstone::TOMBSTONES_MAX;

/// The writer of one shard.
pub(crate) struct Writer {
    shard: Arc<Shard>,
    memtable: MemtableWriter,
    admission: Admission,
    /// The number the next batch gets.
    next: Seqno,
    /// Records of the group in work; kept for its capacity.
    records: Vec<u8>,
}

/// Batches with their numbers: the first one's, then one more each.
struct Sequenced {
    first: Seqno,
    batches: Vec<Batch>,
}

/// Batches that are durable. Only [`Writer::log`] makes one.
struct Logged(Sequenced);

/// Batches that are in the memtable and the latest-value table.
struct Applied {
    last: Seqno,
}

/// Capacity of the record buffer that is kept between groups.
const RECORDS_KEPT: usize = 8 << 20;

/// Batches for the latest-value table alone are flushed when they take this many times a memtable: they cost room in
/// the log and time at the next start, but no memory.
const PASSED_SIZES: usize = 4;

impl Writer {
    pub(crate) fn new(shard: Arc<Shard>, memtable: MemtableWriter, next: Seqno) -> Writer {
        let mut admission = Admission::default();
        admission.rule(Arc::clone(&shard.settings.policies));
        Writer { shard, memtable, admission, next, records: Vec::new() }
    }

    /// Serves the queue until it is shut and empty.
    pub(crate) fn run(mut self) {
        while let Some(group) = self.shard.queue.take(self.shard.settings.group_bytes) {
            self.serve(group);
        }
    }

    /// Serves what waits now.
    pub(crate) fn run_waiting(&mut self) {
        while let Some(group) = self.shard.queue.try_take(self.shard.settings.group_bytes) {
            self.serve(group);
        }
    }

    fn serve(&mut self, group: Vec<Message>) {
        let mut batches = Vec::with_capacity(group.len());
        let mut parts: Vec<Part> = Vec::with_capacity(group.len());
        for message in group {
            match message {
                Message::Write(batch, part) => {
                    batches.push(batch);
                    parts.push(part);
                }
                Message::Freeze(part) => part.answer(self.freeze()),
                Message::Rule(policies, part) => {
                    self.shard.latest.watch_all(&policies);
                    self.admission.rule(policies);
                    part.answer(Ok(()));
                }
                Message::Delete(deletion, part) => {
                    let result = self.delete_all(deletion);
                    if let Err(error) = &result {
                        self.shard.refuse(error);
                    }
                    part.answer(result);
                }
            }
        }
        if batches.is_empty() {
            return;
        }
        let bytes = batches.iter().map(Batch::bytes).sum();
        let result = match self.shard.queue.failure() {
            Some(error) => Err(error),
            None => self.make_room().and_then(|()| self.commit(batches)),
        };
        if let Err(error) = &result {
            self.admission.forget();
            self.shard.refuse(error);
        }
        for part in parts {
            part.answer(result.clone());
        }
        self.shard.queue.release(bytes);
        if result.is_ok() && self.is_full() {
            // A memtable that could not be frozen is tried again after the next group.
            if let Err(error) = self.freeze() {
                self.shard.refuse(&error);
            }
        }
    }

    /// Refuses more rows while the memtable could not be frozen and has grown far beyond its size: whatever keeps
    /// flushes from working must not cost memory without end.
    fn make_room(&mut self) -> Result<()> {
        let far = self.shard.settings.memtable_bytes.saturating_mul(2);
        if self.memtable.memtable().bytes() >= far { self.freeze() } else { Ok(()) }
    }

    /// Whether it is time to flush: for the memory of the memtable, or for the log that it keeps from being given back.
    fn is_full(&self) -> bool {
        let memtable = self.memtable.memtable();
        let size = self.shard.settings.memtable_bytes;
        memtable.bytes() >= size || memtable.passed_bytes() / PASSED_SIZES >= size
    }

    fn commit(&mut self, batches: Vec<Batch>) -> Result<()> {
        let admitted = self.admission.admit(&self.shard, batches);
        if admitted.is_empty() {
            return Ok(());
        }
        let sequenced = self.sequence(admitted);
        let logged = self.log(sequenced)?;
        let applied = self.apply(logged);
        self.publish(applied);
        Ok(())
    }

    fn sequence(&self, batches: Vec<Batch>) -> Sequenced {
        Sequenced { first: self.next, batches }
    }

    fn log(&mut self, group: Sequenced) -> Result<Logged> {
        self.records.clear();
        let mut seqno = group.first;
        for batch in &group.batches {
            encode_record(&mut self.records, seqno, group.first, batch);
            seqno = seqno.next();
        }
        self.shard.log.lock().append(&self.records)?;
        self.records.shrink_to(RECORDS_KEPT);
        self.next = seqno;
        self.shard.counters.logged(seqno, group.batches.len());
        Ok(Logged(group))
    }

    fn apply(&mut self, Logged(group): Logged) -> Applied {
        let mut seqno = group.first;
        for batch in &group.batches {
            match batch.to {
                Destination::Latest => self.memtable.pass(seqno, batch),
                _ => {
                    self.memtable.insert(seqno, batch);
                    self.shard.count_expired(batch);
                }
            }
            if batch.to != Destination::History {
                self.shard.latest.apply(batch);
            }
            self.shard.counters.applied(batch.points());
            seqno = seqno.next();
        }
        Applied { last: Seqno(seqno.0 - 1) }
    }

    fn publish(&mut self, applied: Applied) {
        let _consistent = self.shard.change.lock();
        self.memtable.publish();
        self.shard.counters.published(applied.last);
    }

    /// Deletes from the model's history, and with it from its minute table, where there is one.
    fn delete_all(&mut self, deletion: Deletion) -> Result<()> {
        let minutes = deletion.model.by_minute();
        if deletion.target == DeletionTarget::History && self.shard.knows(minutes) {
            self.delete(Deletion { model: minutes, ..deletion.clone() })?;
        }
        self.delete(deletion)
    }

    /// Logs a deletion and brings it into force. What was written before is in memtables and segments of its own
    /// first, so that the tombstone means them whole.
    fn delete(&mut self, deletion: Deletion) -> Result<()> {
        if let Some(error) = self.shard.queue.failure() {
            return Err(error);
        }
        if deletion.target == DeletionTarget::History {
            let kept = self.shard.view().version.tombstones.len();
            if kept >= TOMBSTONES_MAX {
                let what = format!("{kept} deletions are still being carried out in {}", self.shard.id);
                return Err(Error::new(ErrorKind::Busy, what));
            }
            self.freeze()?;
        }
        let seqno = self.next;
        self.records.clear();
        encode_deletion(&mut self.records, seqno, seqno, &deletion);
        self.shard.log.lock().append(&self.records)?;
        self.next = seqno.next();
        self.shard.counters.logged(self.next, 1);
        self.bring_into_force(seqno, deletion);
        Ok(())
    }

    fn bring_into_force(&mut self, seqno: Seqno, deletion: Deletion) {
        match deletion.target {
            DeletionTarget::Latest => self.shard.latest.delete(&deletion),
            DeletionTarget::History => {
                let tombstone = Arc::new(Tombstone { seqno, deletion });
                self.shard.change_version(|version| version.with_tombstone(tombstone));
                self.shard.maintenance.notify();
            }
        }
        self.shard.counters.published(seqno);
    }

    /// Brings the deletion of a log record back into force.
    pub(crate) fn replay_deletion(&mut self, seqno: Seqno, deletion: Deletion) {
        debug_assert_eq!(seqno, self.next);
        self.next = seqno.next();
        if deletion.target == DeletionTarget::History {
            self.start_memtable_after_rows();
        }
        self.bring_into_force(seqno, deletion);
    }

    /// Puts the batch of a log record where it was before the stop. The record is durable already.
    pub(crate) fn replay(&mut self, seqno: Seqno, batch: Batch) {
        debug_assert_eq!(seqno, self.next);
        self.next = seqno.next();
        let applied = self.apply(Logged(Sequenced { first: seqno, batches: vec![batch] }));
        self.publish(applied);
    }

    pub(crate) fn next(&self) -> Seqno {
        self.next
    }

    /// Closes the memtable to further inserts, starts a new one, and leaves the old one to be flushed.
    pub(crate) fn freeze(&mut self) -> Result<()> {
        if self.memtable.memtable().is_empty() {
            return Ok(());
        }
        self.shard.wait_for_frozen_room()?;
        self.shard.log.lock().rotate(self.next)?;
        self.start_memtable();
        Ok(())
    }

    /// [`freeze`](Self::freeze) without a new log file, while the log is being replayed.
    pub(crate) fn start_memtable(&mut self) {
        let memtable = Arc::new(Memtable::default());
        self.memtable = MemtableWriter::new(Arc::clone(&memtable));
        self.shard.change_view(|view| {
            let mut memtables = view.memtables.clone();
            memtables.push(memtable);
            View { memtables, version: view.version.clone() }
        });
        self.shard.maintenance.notify();
    }

    /// Whether the memtable is full while `bytes` of a log file that fed it are still to come. The last group of a file
    /// may make it larger than its size, as it did when it was written.
    pub(crate) fn is_full_before(&self, bytes: u64) -> bool {
        self.is_full() && bytes > self.shard.settings.group_bytes as u64
    }

    /// Flushes while frozen memtables take more than their share, before more of the log is replayed: nobody else
    /// flushes yet. As many as a running shard may have are left alone, so that a usual start writes nothing.
    pub(crate) fn make_room_to_replay(&self) -> Result<()> {
        let settings = &self.shard.settings;
        loop {
            let view = self.shard.view();
            let frozen = &view.memtables[..view.memtables.len() - 1];
            let bytes: usize = frozen.iter().map(|memtable| memtable.bytes()).sum();
            let share = settings.frozen_max.saturating_mul(settings.memtable_bytes);
            if frozen.len() <= settings.frozen_max || bytes < share {
                return Ok(());
            }
            flush_oldest(&self.shard)?;
        }
    }

    /// Starts a new memtable unless nothing came into the one there is.
    pub(crate) fn start_memtable_after_rows(&mut self) {
        if !self.memtable.memtable().is_empty() {
            self.start_memtable();
        }
    }
}

impl Shard {
    /// Takes note of an error of the write path: one that says the medium failed stops all further writes.
    pub(crate) fn refuse(&self, error: &Error) {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Bug | ErrorKind::Damaged => {
                tracing::error!(shard = self.id.0, %error, "the shard takes no more writes until the store is opened again");
                self.queue.shut(error.clone().within(format_args!("{} stopped", self.id)));
                self.maintenance.notify();
            }
            _ => tracing::warn!(shard = self.id.0, %error, "writes are refused for now"),
        }
    }
}
