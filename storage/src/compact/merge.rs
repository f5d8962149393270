//! Carries a merge out: an ordered scan over the picked segments, written as one.
//!
//! Memory: the rows of one asset in one partition, and what the segment writer buffers.

use std::sync::Arc;

use wattline_format::segment::Depth;
use wattline_model::{ModelId, TimeRange};

use super::pick::{Candidate, Pick, pick};
use crate::error::{Error, Result};
use crate::flush::{SegmentFile, record, sync_dir};
use crate::run::merge;
use crate::segment::SegmentCursor;
use crate::shard::{Counters, Shard, View};
use crate::version::Segment;

/// Does the next merge of the shard; `false` where there is nothing to do.
///
/// # Errors
/// Whatever the disk says; the shard is as before. `Closed` when the store is closed meanwhile.
pub(crate) fn compact_once(shard: &Arc<Shard>) -> Result<bool> {
    let _one_at_a_time = shard.merging.lock();
    let view = shard.view();
    let candidate =
        |s: &Arc<Segment>| Candidate { id: s.meta.id, partition: s.meta.partition, level: s.meta.level };
    let candidates: Vec<Candidate> = view.version.segments.iter().map(candidate).collect();
    let Some(Pick { ids, level }) = pick(&candidates, shard.settings.merge_fanout) else { return Ok(false) };
    let inputs: Vec<Arc<Segment>> =
        view.version.segments.iter().filter(|s| ids.contains(&s.meta.id)).cloned().collect();
    drop(view);

    let merged = write_merged(shard, &inputs, level)?;
    record(shard, std::slice::from_ref(&merged), &ids, None)?;
    shard.change_view(|view| View {
        memtables: view.memtables.clone(),
        version: view.version.change(vec![merged], &ids),
    });
    inputs.iter().for_each(|s| s.retire());
    Counters::count(&shard.counters.compactions);
    Ok(true)
}

fn write_merged(shard: &Arc<Shard>, inputs: &[Arc<Segment>], level: u8) -> Result<Arc<Segment>> {
    let first = inputs.iter().map(|s| s.meta.first_seqno).min().unwrap_or_default();
    let last = inputs.iter().map(|s| s.meta.last_seqno).max().unwrap_or_default();
    let mut file = SegmentFile::create(shard, inputs[0].meta.partition, level, first, last, Depth::Deep)?;
    let mut models: Vec<ModelId> =
        inputs.iter().flat_map(|s| s.reader.models().collect::<Vec<_>>()).collect();
    models.sort_unstable();
    models.dedup();
    for model in models {
        let mut cursors: Vec<SegmentCursor> =
            inputs.iter().map(|s| SegmentCursor::new(Arc::clone(s), model, None)).collect();
        while let Some(asset) = cursors.iter().filter_map(SegmentCursor::peek).min() {
            if shard.maintenance.stopped() {
                return Err(Error::closed());
            }
            let mut runs = Vec::with_capacity(cursors.len());
            for cursor in cursors.iter_mut().filter(|c| c.peek() == Some(asset)) {
                runs.push(cursor.read(asset, TimeRange::ALL)?);
            }
            file.push(model, asset, &merge(runs))?;
        }
    }
    let merged = file.finish(shard)?;
    sync_dir(shard)?;
    Ok(merged)
}
