//! `latest.<model>`: a row for each asset that ever sent anything, with each point's newest value.
//!
//! Owns: laying the latest-value table of the store out as rows; which filters on `asset_id` are settled here. Does not
//! own: what is newest (`storage`), the plan that reads it (`scan`).
//!
//! Reads the table of when the statement runs, not its snapshot: newest values are memory that moves on.

mod scan;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use wattline_model::{AssetId, Kind, Model, PointId, Presence, Quality, TimeRange, Timestamp, Values};
use wattline_registry::{Device, Reach, Registry, Right};
use wattline_storage::{LatestColumn, LatestRows, Store};

use crate::arrays;
use crate::columns::{Columns, Role};
use crate::error::{Error, ErrorKind};
use crate::prune::{self, AssetFilter};
use crate::scan::record_batch;
use crate::scope::Limit;
use crate::template::{self, with_examples};
pub(crate) use scan::LatestScan;

/// Assets up to which each is looked up by itself; beyond, the whole model is copied.
const SINGLE_ASSETS_MAX: usize = 256;

/// The newest values of one model, as a table.
#[derive(Debug)]
pub(crate) struct LatestTable(Arc<Latest>);

/// The newest values of one model.
pub(crate) struct Latest {
    model: Arc<Model>,
    columns: Columns,
    registry: Registry,
    store: Store,
    /// What it is limited to; nothing where the account may read all there is in the table.
    limit: Option<Limit>,
}

impl LatestTable {
    /// The table of `model`.
    pub(crate) fn new(
        model: Arc<Model>,
        registry: Registry,
        store: Store,
        limit: Option<Limit>,
    ) -> LatestTable {
        let columns = Columns::of_latest(&model);
        let limit = limit.filter(|limit| limit.permissions.reach(Right::Read, &model) != Reach::All);
        LatestTable(Arc::new(Latest { model, columns, registry, store, limit }))
    }
}

impl Latest {
    /// The rows in `columns` of the assets that `filter` lets through.
    fn rows(&self, columns: &Columns, filter: &AssetFilter) -> Result<RecordBatch, Error> {
        // `time` is the newest over all points, so it needs them all.
        let points: Vec<usize> = match columns.roles.contains(&Role::Time) {
            true => (0..self.model.points.len()).collect(),
            false => columns.points(),
        };
        let kind = |p: usize| self.model.points[p].data_type.kind();
        let asked: Vec<(PointId, Kind)> = points.iter().map(|&p| (PointId(p as u32), kind(p))).collect();
        let Some(assets) = self.assets(filter) else {
            let rows = self.store.latest_rows(self.model.id, &asked);
            // Where an asset was, its place is left; nobody else looks there.
            let there = self.registry.still_there(&rows.assets).map(BooleanArray::from);
            let batch = self.to_arrow(columns, &points, rows)?;
            return match there {
                None => Ok(batch),
                Some(there) => only(&batch, &there),
            };
        };
        if assets.len() <= SINGLE_ASSETS_MAX {
            return self.to_arrow(columns, &points, self.rows_of(assets.into_iter(), &asked));
        }
        let rows = self.store.latest_rows(self.model.id, &asked);
        let wanted: BooleanArray = rows.assets.iter().map(|asset| Some(assets.contains(asset))).collect();
        only(&self.to_arrow(columns, &points, rows)?, &wanted)
    }

    /// The assets of this model that a filter lets through and that may be read; `None` where those are all. An id that
    /// is none of them has no rows here.
    fn assets(&self, filter: &AssetFilter) -> Option<BTreeSet<AssetId>> {
        let may = |device: &Device| match &self.limit {
            Some(limit) => limit.permissions.may(Right::Read, device),
            None => true,
        };
        let devices: Vec<Arc<Device>> = match (filter, &self.limit) {
            (AssetFilter::All, None) => return None,
            (AssetFilter::All, Some(_)) => self.registry.assets_of(self.model.id),
            (AssetFilter::Only(texts), _) => {
                let devices = texts.iter().filter_map(|text| self.registry.asset_by_key(text));
                devices.filter(|device| device.model == self.model.id).collect()
            }
        };
        Some(devices.iter().filter(|device| may(device)).map(|device| device.asset).collect())
    }

    /// The rows of `assets`; one that never sent anything has none.
    fn rows_of(&self, assets: impl Iterator<Item = AssetId>, asked: &[(PointId, Kind)]) -> LatestRows {
        let every: Vec<PointId> = (0..self.model.points.len()).map(|p| PointId(p as u32)).collect();
        let column = |&(_, kind): &(PointId, Kind)| LatestColumn {
            times: Vec::new(),
            values: Values::new(kind),
            quality: Some(Vec::new()),
            presence: Presence::new(),
        };
        let mut rows = LatestRows { assets: Vec::new(), columns: asked.iter().map(column).collect() };
        for asset in assets {
            let found = self.store.latest(self.model.id, asset, &every);
            if found.iter().all(Option::is_none) {
                continue;
            }
            rows.assets.push(asset);
            for ((point, _), column) in asked.iter().zip(&mut rows.columns) {
                let latest = found[point.0 as usize].as_ref();
                let fits = latest.is_some_and(|l| column.values.push(l.value.as_ref()));
                if !fits {
                    column.values.push_absent();
                }
                column.presence.push(fits);
                column.times.push(latest.map_or(Timestamp(0), |l| l.time));
                if let Some(qualities) = &mut column.quality {
                    qualities.push(latest.and_then(|l| l.quality).unwrap_or(Quality::GOOD));
                }
            }
        }
        rows
    }

    fn to_arrow(&self, columns: &Columns, points: &[usize], rows: LatestRows) -> Result<RecordBatch, Error> {
        let count = rows.assets.len();
        let newest = columns.roles.contains(&Role::Time).then(|| newest_times(&rows));
        let mut taken: Vec<Taken> = Vec::with_capacity(rows.columns.len());
        for (&point, column) in points.iter().zip(rows.columns) {
            let nulls = arrays::nulls(&self.model.points[point], count, Some(column.presence))?;
            let times = column.times.into_iter().map(|t| t.0).collect();
            taken.push(Taken {
                times: Some(times),
                values: Some(column.values),
                quality: column.quality,
                nulls,
            });
        }
        let twice = || Error::new(ErrorKind::Bug, "a column was asked for twice");
        let mut newest = newest;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.roles.len());
        for role in &columns.roles {
            let slot = |point: usize| points.binary_search(&point).map_err(|_| twice());
            arrays.push(match *role {
                Role::Asset => arrays::asset_ids(&self.registry, &rows.assets)?,
                Role::Time => Arc::new(arrays::instants(newest.take().ok_or_else(twice)?, None)),
                Role::Value(p) => {
                    let column = &mut taken[slot(p)?];
                    let values = column.values.take().ok_or_else(twice)?;
                    arrays::values(&self.model.points[p], count, values, column.nulls.clone())?
                }
                Role::ValueTime(p) => {
                    let column = &mut taken[slot(p)?];
                    let times = column.times.take().ok_or_else(twice)?;
                    Arc::new(arrays::instants(times, column.nulls.clone()))
                }
                Role::Quality(p) => {
                    let column = &taken[slot(p)?];
                    let quality = column.quality.as_deref();
                    arrays::qualities(&self.model.points[p], count, quality, column.nulls.clone())?
                }
            });
        }
        record_batch(&columns.schema, arrays, count)
    }
}

/// The rows of `batch` that are wanted.
fn only(batch: &RecordBatch, wanted: &BooleanArray) -> Result<RecordBatch, Error> {
    filter_record_batch(batch, wanted).map_err(|e| Error::new(ErrorKind::Bug, format!("latest values: {e}")))
}

struct Taken {
    times: Option<Vec<i64>>,
    values: Option<Values>,
    quality: Option<Vec<Quality>>,
    nulls: Option<NullBuffer>,
}

/// The newest time of each row over its points. Every asset in the table has a value for some point.
fn newest_times(rows: &LatestRows) -> Vec<i64> {
    let mut newest = vec![i64::MIN; rows.assets.len()];
    for column in &rows.columns {
        for (row, newest) in newest.iter_mut().enumerate() {
            if column.presence.get(row) {
                *newest = (*newest).max(column.times[row].0);
            }
        }
    }
    newest
}

impl fmt::Debug for Latest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latest({})", self.model.key)
    }
}

/// The assets that a filter lets through, where it speaks of nothing else: it need not run again then.
fn only_assets(filter: &Expr) -> Option<AssetFilter> {
    let pruned = prune::prune(filter);
    let settled = pruned.exact && pruned.range == TimeRange::ALL && !pruned.present;
    (settled && pruned.assets != AssetFilter::All).then_some(pruned.assets)
}

#[async_trait]
impl TableProvider for LatestTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.columns.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match only_assets(&with_examples(filter)) {
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.0.columns.project(projection);
        let values = state.config().get_extension::<template::Values>();
        let values = values.as_ref().map(|values| values.0.as_slice());
        match LatestScan::new(Arc::clone(&self.0), columns, filters, limit, values) {
            Some(scan) => Ok(Arc::new(scan)),
            None => plan_err!("the values do not fit"),
        }
    }
}
