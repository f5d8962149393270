//! Snapshots: one moment of the store, for as long as it is held.
//!
//! Per shard a snapshot is exact: it has all batches up to one sequence number and nothing of a later one. Shards
//! share nothing, so across shards it is the moments at which each was looked at, microseconds apart.

use std::sync::Arc;

use wattline_model::{AssetId, ModelId, TimeRange};

use crate::aggregate::{AggregateRequest, ShardAggregate};
use crate::blocks::{BlockFilter, Blocks};
use crate::memtable::TableView;
use crate::scan::{ScanRequest, ShardScan, Within};
use crate::shard::{Shard, View};
use crate::status::SegmentInfo;

/// A moment of the store. Cheap to make and to clone; keeps the files it may read.
#[derive(Clone)]
pub struct Snapshot {
    shards: Arc<Vec<ShardSnapshot>>,
}

struct ShardSnapshot {
    shard: Arc<Shard>,
    view: Arc<View>,
    /// Tables of the memtables, oldest memtable first.
    tables: Vec<TableView>,
}

impl Snapshot {
    pub(crate) fn new(shards: &[Arc<Shard>]) -> Snapshot {
        let of = |shard: &Arc<Shard>| {
            let consistent = shard.change.lock();
            let view = shard.view();
            let tables = view.memtables.iter().flat_map(|m| m.views()).collect();
            drop(consistent);
            ShardSnapshot { shard: Arc::clone(shard), view, tables }
        };
        Snapshot { shards: Arc::new(shards.iter().map(of).collect()) }
    }

    /// Scans, one iterator a shard that may have rows. They are independent and may run on different threads.
    pub fn scan(&self, request: &ScanRequest) -> Vec<ShardScan> {
        self.scan_where(request, &[])
    }

    /// As [`scan`](Self::scan), where rows that do not meet all `conditions` may be left out.
    pub fn scan_where(&self, request: &ScanRequest, conditions: &[Within]) -> Vec<ShardScan> {
        let mut scans = Vec::with_capacity(self.shards.len());
        for (shard, range, assets, tables) in
            self.asked(request.model, request.range, request.assets.as_deref())
        {
            let request = ScanRequest { range, ..request.clone() };
            let (version, partition) = (&shard.view.version, shard.shard.partition_micros);
            scans.push(ShardScan::new(request, conditions, assets, version, &tables, partition));
        }
        scans
    }

    /// Aggregates, one a shard that may have rows. They are independent and may run on different threads.
    pub fn aggregate(&self, request: &AggregateRequest) -> Vec<ShardAggregate> {
        let mut aggregates = Vec::with_capacity(self.shards.len());
        for (shard, range, assets, tables) in
            self.asked(request.model, request.range, request.assets.as_deref())
        {
            let request = AggregateRequest { range, ..request.clone() };
            let (version, partition) = (&shard.view.version, shard.shard.partition_micros);
            aggregates.push(ShardAggregate::new(request, assets, version, &tables, partition));
        }
        aggregates
    }

    /// The shards that may have rows of `model` in `range`, each with the part of the range that is kept, the assets
    /// that are its own, and its memtables.
    fn asked(
        &self,
        model: ModelId,
        range: TimeRange,
        assets: Option<&[AssetId]>,
    ) -> impl Iterator<Item = (&ShardSnapshot, TimeRange, Option<Vec<AssetId>>, Vec<TableView>)> {
        let count = wattline_model::ShardCount::new(self.shards.len() as u32).expect("a store has shards");
        self.shards.iter().filter_map(move |shard| {
            let version = &shard.view.version;
            let range = version.expiry.kept(model, range);
            let own = |a: &AssetId| count.shard_of(*a) == shard.shard.id;
            let assets: Option<Vec<AssetId>> = assets.map(|a| a.iter().copied().filter(own).collect());
            if range.is_empty() || assets.as_ref().is_some_and(Vec::is_empty) {
                return None;
            }
            let tables = shard.tables_of(model);
            let nothing = tables.is_empty() && version.overlapping(range).next().is_none();
            (!nothing || version.fence(range).is_some()).then_some((shard, range, assets, tables))
        })
    }

    /// The blocks of sound segments that `filter` lets through. Those of a damaged one are read as far as they can be
    /// told.
    pub fn blocks(&self, filter: BlockFilter) -> Blocks {
        let of = |s: &ShardSnapshot| {
            let (id, segments) = (s.shard.id, s.view.version.segments.clone());
            segments.into_iter().map(move |segment| (id, segment))
        };
        let segments: Vec<_> = self.shards.iter().flat_map(of).collect();
        Blocks::new(segments, filter)
    }

    /// The segments of every shard.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let of = |s: &ShardSnapshot| s.view.version.infos(s.shard.id, s.shard.partition_micros);
        self.shards.iter().flat_map(of).collect()
    }
}

impl ShardSnapshot {
    fn tables_of(&self, model: ModelId) -> Vec<TableView> {
        self.tables.iter().filter(|t| t.model() == model).cloned().collect()
    }
}
