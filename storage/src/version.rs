//! Versions: which segments a shard consists of. Immutable; a change makes a new one.
//!
//! Owns: the list of open segments in the order that decides duplicates, and the life of a segment's file: it is
//! removed when the last version that holds it is dropped after a merge replaced it. Does not own: deciding on
//! changes (`compact`), recording them (`manifest`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wattline_env::Disk;
use wattline_format::manifest::SegmentMeta;
use wattline_format::segment::Reader;
use wattline_model::{ShardId, TimeRange, Timestamp};

use crate::status::SegmentInfo;

/// An open segment. Its file goes when the last holder of a retired one lets go.
pub(crate) struct Segment {
    pub(crate) meta: SegmentMeta,
    pub(crate) reader: Reader,
    pub(crate) path: PathBuf,
    disk: Arc<dyn Disk>,
    retired: AtomicBool,
}

impl Segment {
    pub(crate) fn new(meta: SegmentMeta, reader: Reader, path: PathBuf, disk: Arc<dyn Disk>) -> Segment {
        Segment { meta, reader, path, disk, retired: AtomicBool::new(false) }
    }

    /// Marks the file for removal: the manifest no longer lists it.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
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
}

impl Version {
    pub(crate) fn new(mut segments: Vec<Arc<Segment>>) -> Version {
        segments.sort_by_key(|s| (s.meta.partition, s.meta.first_seqno, s.meta.id));
        Version { segments }
    }

    /// The version with `add` and without the segments numbered `remove`.
    #[must_use]
    pub(crate) fn change(&self, add: Vec<Arc<Segment>>, remove: &[u64]) -> Version {
        let kept = self.segments.iter().filter(|s| !remove.contains(&s.meta.id)).cloned();
        Version::new(kept.chain(add).collect())
    }

    /// The segments that may hold samples of `range`.
    pub(crate) fn overlapping(&self, range: TimeRange) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments
            .iter()
            .filter(move |s| range.overlaps_closed(Timestamp(s.meta.first_time), Timestamp(s.meta.last_time)))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.meta.bytes).sum()
    }

    pub(crate) fn infos(&self, shard: ShardId, partition_micros: i64) -> Vec<SegmentInfo> {
        let info = |s: &Arc<Segment>| SegmentInfo {
            shard,
            id: s.meta.id,
            level: s.meta.level,
            partition_start: Timestamp(s.meta.partition),
            partition_end: Timestamp(s.meta.partition.saturating_add(partition_micros)),
            models: s.meta.models,
            rows: s.meta.rows,
            samples: s.meta.samples,
            bytes: s.meta.bytes,
            first_time: Timestamp(s.meta.first_time),
            last_time: Timestamp(s.meta.last_time),
            first_seqno: s.meta.first_seqno,
            last_seqno: s.meta.last_seqno,
            file: s.meta.file.clone(),
        };
        self.segments.iter().map(info).collect()
    }
}

/// The start of the partition `time` belongs to.
pub(crate) fn partition_of(time: i64, partition_micros: i64) -> i64 {
    time.div_euclid(partition_micros) * partition_micros
}
