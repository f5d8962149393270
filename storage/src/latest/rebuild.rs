//! Latest values from history, where their checkpoint is damaged or gone.
//!
//! Costs reading all history once, piece by piece. What history does not have is lost: latest values of points without a
//! storage policy until they are sent again, and the times of last changes. Latest values that were deleted are back.

use std::sync::Arc;

use wattline_model::{AssetId, Batch, Channel, Destination, ModelId, Source, TimeRange, Timestamp};

use super::LatestTable;
use crate::error::Result;
use crate::run::Run;
use crate::segment::{SegmentCursor, pieces};
use crate::shard::Shard;
use crate::version::{Segment, Version};

/// Moves the shard's latest values forward to what its segments have. A segment that is damaged is passed over: it is
/// fenced, and says so.
pub(crate) fn rebuild(shard: &Shard) {
    let version = shard.view().version.clone();
    for segment in &version.segments {
        if let Err(error) = from_segment(&shard.latest, &version, segment) {
            tracing::error!(%error, "latest values of this segment are not rebuilt");
        }
    }
}

fn from_segment(latest: &LatestTable, version: &Version, segment: &Arc<Segment>) -> Result<()> {
    let erasures = version.erasures();
    for model in segment.reader.models().filter(|model| !model.is_by_minute()) {
        let mut cursor = SegmentCursor::new(Arc::clone(segment), model, None, &erasures);
        let points = cursor.points_max();
        while let Some(asset) = cursor.peek() {
            for range in pieces(std::iter::once(&cursor), asset, TimeRange::ALL, points) {
                let run = cursor.read(asset, range)?;
                if run.rows() > 0 {
                    latest.apply(&batch(segment, model, asset, run));
                }
            }
            cursor.pass(asset);
        }
    }
    segment.forget();
    Ok(())
}

fn batch(segment: &Segment, model: ModelId, asset: AssetId, run: Run) -> Batch {
    Batch {
        shard: segment.reader.header().shard,
        model,
        channel: Channel::default(),
        source: Source::Client,
        to: Destination::Latest,
        assets: vec![asset; run.rows()],
        times: run.times.into_iter().map(Timestamp).collect(),
        columns: run.columns,
    }
}
