//! Carries a decision out: drops segments, or writes several as one by an ordered scan over them.
//!
//! Memory: a piece of the rows of one asset (about a million values, whatever overlaps), a block a segment, and what
//! the segment writer buffers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wattline_format::manifest::{Edit, Tombstone};
use wattline_format::segment::Depth;
use wattline_model::{ModelId, Seqno, TimeRange};

use super::pace::Pace;
use super::pick::{Candidate, Pick, pick};
use crate::error::Result;
use crate::flush::{SegmentFile, commit, sync_dir};
use crate::run::merge;
use crate::segment::{SegmentCursor, pieces};
use crate::shard::{Counters, Shard, View};
use crate::tombstone::{Share, share_of};
use crate::version::{Segment, Version};

/// Does what is next for the shard; `false` where there is nothing to do.
///
/// # Errors
/// Whatever the disk says; the shard is as before. `Closed` when the store is closed meanwhile.
pub(crate) fn compact_once(shard: &Arc<Shard>) -> Result<bool> {
    step(shard, shard.settles_in().is_none())
}

/// As [`compact_once`], as if the shard had been quiet for long.
///
/// # Errors
/// As there.
pub(crate) fn compact_now(shard: &Arc<Shard>) -> Result<bool> {
    step(shard, true)
}

fn step(shard: &Arc<Shard>, quiet: bool) -> Result<bool> {
    let _one_at_a_time = shard.merging.lock();
    let view = shard.view();
    let candidates = candidates(&view.version);
    let Some(pick) = pick(&candidates, shard.settings.merge_fanout, quiet) else {
        return forget_tombstones(shard, &view);
    };
    let (ids, merged) = match pick {
        Pick::Drop(ids) => (ids, None),
        Pick::Merge(ids, level) => {
            let inputs = view.version.segments.iter().filter(|s| ids.contains(&s.meta.id));
            let inputs: Vec<Arc<Segment>> = inputs.cloned().collect();
            let bytes = inputs.iter().map(|s| s.meta.bytes).sum();
            shard.counters.merging_bytes.store(bytes, Ordering::Relaxed);
            let merged = write_merged(shard, &view.version, &inputs, level);
            shard.counters.merging_bytes.store(0, Ordering::Relaxed);
            let merged = merged?;
            Counters::count(&shard.counters.compactions);
            (ids, merged)
        }
    };
    let merged: Vec<Arc<Segment>> = merged.into_iter().collect();
    let bytes = merged.iter().map(|s| s.meta.bytes).sum();
    commit(shard, merged, &ids, None)?;
    view.version.segments.iter().filter(|s| ids.contains(&s.meta.id)).for_each(|s| s.retire());
    shard.counters.merged_bytes.fetch_add(bytes, Ordering::Relaxed);
    Ok(true)
}

fn candidates(version: &Version) -> Vec<Candidate> {
    // Asked after every write: segments are looked into only where something may be gone.
    let erasures = version.erasures();
    let untouched = version.tombstones.is_empty() && version.expiry.is_empty();
    let open = version.segments.iter().map(|s| {
        let expired = |model| version.expiry.is_over(model, s.meta.partition);
        let gone = if untouched { Share::None } else { share_of(s, &erasures, expired) };
        (&s.meta, gone, s.damage().is_some())
    });
    let fenced = version.fenced.iter().map(|f| (&f.meta, Share::None, true));
    let mut list: Vec<_> = open.chain(fenced).collect();
    list.sort_by_key(|(meta, ..)| (meta.partition, meta.first_seqno, meta.id));
    let candidate = |(meta, gone, damaged): (&wattline_format::manifest::SegmentMeta, _, _)| Candidate {
        id: meta.id,
        partition: meta.partition,
        level: meta.level,
        bytes: meta.bytes,
        times: (meta.first_time, meta.last_time),
        gone,
        damaged,
    };
    list.into_iter().map(candidate).collect()
}

/// The inputs as one segment; `None` where nothing of them is left.
fn write_merged(
    shard: &Arc<Shard>,
    version: &Version,
    inputs: &[Arc<Segment>],
    level: u8,
) -> Result<Option<Arc<Segment>>> {
    let partition = inputs[0].meta.partition;
    let first = inputs.iter().map(|s| s.meta.first_seqno).min().unwrap_or_default();
    let last = inputs.iter().map(|s| s.meta.last_seqno).max().unwrap_or_default();
    // All tombstones are applied on the way, so the result reflects the newest one.
    let last = version.tombstones.iter().map(|t| t.seqno).max().map_or(last, |t| last.max(t));
    let depth = if level == 0 { Depth::Hot } else { Depth::Deep };
    let mut file = SegmentFile::create(shard, partition, level, first, last, depth)?;
    let mut models: Vec<ModelId> =
        inputs.iter().flat_map(|s| s.reader.models().collect::<Vec<_>>()).collect();
    models.sort_unstable();
    models.dedup();
    models.retain(|&model| !version.expiry.is_over(model, partition));
    let erasures = version.erasures();
    let mut pace = Pace::new(shard);
    for model in models {
        let cursor = |s: &Arc<Segment>| SegmentCursor::new(Arc::clone(s), model, None, &erasures);
        let mut cursors: Vec<SegmentCursor> = inputs.iter().map(cursor).collect();
        let points = cursors.iter().map(SegmentCursor::points_max).max().unwrap_or(0);
        while let Some(asset) = cursors.iter().filter_map(SegmentCursor::peek).min() {
            for range in pieces(cursors.iter(), asset, TimeRange::ALL, points) {
                pace.wait(file.bytes())?;
                let mut runs = Vec::with_capacity(cursors.len());
                for cursor in cursors.iter_mut().filter(|c| c.peek() == Some(asset)) {
                    runs.push(cursor.read(asset, range)?);
                }
                file.push(model, asset, &merge(runs))?;
            }
            cursors.iter_mut().for_each(|cursor| cursor.pass(asset));
        }
    }
    if file.is_empty() {
        return Ok(None);
    }
    let merged = file.finish(shard)?;
    sync_dir(shard)?;
    Ok(Some(merged))
}

/// Lets go of tombstones that everything reflects now; `true` where there were some.
fn forget_tombstones(shard: &Arc<Shard>, view: &View) -> Result<bool> {
    let done: Vec<Seqno> =
        view.version.tombstones.iter().filter(|t| is_reflected(t, view)).map(|t| t.seqno).collect();
    if done.is_empty() {
        return Ok(false);
    }
    // Under the manifest's lock: a flush takes what it records of tombstones from the view.
    let mut manifest = shard.manifest.lock();
    let known = |seqno: &Seqno| manifest.state().tombstones.iter().any(|t| t.seqno == *seqno);
    let recorded: Vec<Seqno> = done.iter().copied().filter(known).collect();
    if !recorded.is_empty() {
        manifest.record(&Edit { remove_tombstones: recorded, ..Edit::default() })?;
    }
    shard.change_version(|version| version.without_tombstones(&done));
    Ok(true)
}

/// Whether nothing is left that `tombstone` means. A fenced segment may come back, so it counts.
fn is_reflected(tombstone: &Arc<Tombstone>, view: &View) -> bool {
    pending_segments(tombstone, &view.version) == 0
        && view.version.fenced.iter().all(|f| f.meta.last_seqno >= tombstone.seqno)
        && view.memtables.iter().all(|m| m.is_empty() || m.seqnos().0 > tombstone.seqno)
}

/// How many segments hold samples that `tombstone` means.
pub(crate) fn pending_segments(tombstone: &Arc<Tombstone>, version: &Version) -> u64 {
    let one = std::slice::from_ref(tombstone);
    version.segments.iter().filter(|s| share_of(s, one, |_| false) != Share::None).count() as u64
}
