//! Versions: which segments a shard consists of. Immutable; a change makes a new one.
//!
//! Owns: the list of open segments in the order that decides duplicates, those that are fenced off, the tombstones
//! that some of them do not reflect, and the life of a segment's file: it is removed when the last version that
//! holds it is dropped after a merge replaced it. Does not own: deciding on changes (`compact`), recording them
//! (`manifest`).

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use wattline_env::Disk;
use wattline_format::manifest::{SegmentMeta, Tombstone};
use wattline_format::segment::Reader;
use wattline_model::{Seqno, ShardId, TimeRange, Timestamp};

use crate::error::{Error, ErrorKind};
use crate::expiry::Expiry;
use crate::status::SegmentInfo;

/// An open segment. Its file goes when the last holder of a retired one lets go.
pub(crate) struct Segment {
    pub(crate) meta: SegmentMeta,
    pub(crate) reader: Reader,
    pub(crate) path: PathBuf,
    disk: Arc<dyn Disk>,
    retired: AtomicBool,
    damage: OnceLock<Error>,
    kept: Arc<Kept>,
    /// What of `kept` this segment stands for.
    kept_bytes: AtomicUsize,
}

/// Memory that the segments of a shard use for directories they have read.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Kept {
    pub(crate) fn new(bytes_max: usize) -> Kept {
        Kept { bytes: AtomicUsize::new(0), bytes_max }
    }
}

/// A segment that the manifest lists and that cannot be opened: it is not what was written, or not there.
#[derive(Clone)]
pub(crate) struct Fenced {
    pub(crate) meta: SegmentMeta,
    pub(crate) error: Error,
}

impl Segment {
    pub(crate) fn new(
        meta: SegmentMeta,
        reader: Reader,
        path: PathBuf,
        disk: Arc<dyn Disk>,
        kept: Arc<Kept>,
    ) -> Segment {
        Segment {
            meta,
            reader,
            path,
            disk,
            retired: AtomicBool::new(false),
            damage: OnceLock::new(),
            kept,
            kept_bytes: AtomicUsize::new(0),
        }
    }

    /// Takes note that a reader has gone on to another chunk, having kept `grown` bytes more of this one's directory.
    /// Where the shard keeps too much, this segment forgets all it has: what is wanted again is read again.
    pub(crate) fn left_chunk(&self, grown: usize) {
        self.kept_bytes.fetch_add(grown, Ordering::Relaxed);
        if self.kept.bytes.fetch_add(grown, Ordering::Relaxed) + grown > self.kept.bytes_max {
            self.forget();
        }
    }

    /// Lets go of all directories.
    pub(crate) fn forget(&self) {
        self.reader.forget();
        self.kept.bytes.fetch_sub(self.kept_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Takes note of damage that was found while reading: the sound blocks are still read, but the file is not
    /// merged any more.
    pub(crate) fn note_damage(&self, error: &Error) {
        if error.kind() == ErrorKind::Damaged && self.damage.set(error.clone()).is_ok() {
            tracing::error!(%error, "a segment is damaged; what is sound in it is still served");
        }
    }

    /// The damage that was found first.
    pub(crate) fn damage(&self) -> Option<&Error> {
        self.damage.get()
    }

    /// Marks the file for removal: the manifest no longer lists it.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.forget();
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = self.disk.remove(&self.path)
        {
            // Harmless: a file that no manifest lists is removed at the next start.
            tracing::warn!(file = %self.path.display(), %error, "a merged segment could not be removed");
        }
    }
}

/// The segments of a shard. Ordered by partition, then by age: the later of two has the later batches.
#[derive(Clone, Default)]
pub(crate) struct Version {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Segments that could not be opened.
    pub(crate) fenced: Arc<Vec<Fenced>>,
    /// Deletions by sequence number that some memtable or segment does not reflect.
    pub(crate) tombstones: Vec<Arc<Tombstone>>,
    /// From when on rows are kept.
    pub(crate) expiry: Arc<Expiry>,
}

impl Version {
    pub(crate) fn new(
        segments: Vec<Arc<Segment>>,
        fenced: Vec<Fenced>,
        tombstones: Vec<Arc<Tombstone>>,
    ) -> Version {
        Version { segments: sorted(segments), fenced: Arc::new(fenced), tombstones, expiry: Arc::default() }
    }

    /// The version with `add` and without the segments numbered `remove`.
    #[must_use]
    pub(crate) fn change(&self, add: Vec<Arc<Segment>>, remove: &[u64]) -> Version {
        let kept = self.segments.iter().filter(|s| !remove.contains(&s.meta.id)).cloned();
        Version { segments: sorted(kept.chain(add).collect()), ..self.clone() }
    }

    /// The version with one more tombstone.
    #[must_use]
    pub(crate) fn with_tombstone(&self, tombstone: Arc<Tombstone>) -> Version {
        let mut tombstones = self.tombstones.clone();
        tombstones.push(tombstone);
        Version { tombstones, ..self.clone() }
    }

    /// The version without the tombstones numbered `done`.
    #[must_use]
    pub(crate) fn without_tombstones(&self, done: &[Seqno]) -> Version {
        let tombstones = self.tombstones.iter().filter(|t| !done.contains(&t.seqno)).cloned();
        Version { tombstones: tombstones.collect(), ..self.clone() }
    }

    /// All that is not to be seen of what segments and memtables hold: deletions, and points that have expired.
    pub(crate) fn erasures(&self) -> Cow<'_, [Arc<Tombstone>]> {
        match self.expiry.points() {
            [] => Cow::Borrowed(&self.tombstones),
            expired => Cow::Owned(self.tombstones.iter().chain(expired).cloned().collect()),
        }
    }

    /// The version that keeps rows as `expiry` says.
    #[must_use]
    pub(crate) fn with_expiry(&self, expiry: Arc<Expiry>) -> Version {
        Version { expiry, ..self.clone() }
    }

    /// The error of the first fenced segment that may hold samples of `range`: without it nobody knows the answer.
    pub(crate) fn fence(&self, range: TimeRange) -> Option<Error> {
        let mut fenced = self.fenced.iter();
        let overlaps =
            |m: &SegmentMeta| range.overlaps_closed(Timestamp(m.first_time), Timestamp(m.last_time));
        fenced.find(|f| overlaps(&f.meta)).map(|f| f.error.clone())
    }

    /// The segments that may hold samples of `range`.
    pub(crate) fn overlapping(&self, range: TimeRange) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments
            .iter()
            .filter(move |s| range.overlaps_closed(Timestamp(s.meta.first_time), Timestamp(s.meta.last_time)))
    }

    /// How many segments are damaged or missing, as far as is known.
    pub(crate) fn damaged(&self) -> usize {
        self.fenced.len() + self.segments.iter().filter(|s| s.damage().is_some()).count()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.meta.bytes).sum()
    }

    pub(crate) fn infos(&self, shard: ShardId, partition_micros: i64) -> Vec<SegmentInfo> {
        let info = |m: &SegmentMeta, damage: Option<&Error>| SegmentInfo {
            shard,
            id: m.id,
            level: m.level,
            partition_start: Timestamp(m.partition),
            partition_end: Timestamp(m.partition.saturating_add(partition_micros)),
            models: m.models,
            rows: m.rows,
            samples: m.samples,
            bytes: m.bytes,
            first_time: Timestamp(m.first_time),
            last_time: Timestamp(m.last_time),
            first_seqno: m.first_seqno,
            last_seqno: m.last_seqno,
            file: m.file.clone(),
            damage: damage.map(ToString::to_string),
        };
        let open = self.segments.iter().map(|s| info(&s.meta, s.damage()));
        open.chain(self.fenced.iter().map(|f| info(&f.meta, Some(&f.error)))).collect()
    }
}

/// By partition, then by age.
fn sorted(mut segments: Vec<Arc<Segment>>) -> Vec<Arc<Segment>> {
    segments.sort_by_key(|s| (s.meta.partition, s.meta.first_seqno, s.meta.id));
    segments
}

/// The start of the partition `time` belongs to.
pub(crate) fn partition_of(time: i64, partition_micros: i64) -> i64 {
    time.div_euclid(partition_micros) * partition_micros
}
