//! `latest.<model>`: a row for each asset that ever sent anything, with each point's newest value.
//!
//! Owns: laying the latest-value table of the store out as rows; a filter on `asset_id` asks for these assets only.
//! Does not own: what is newest (`storage`).
//!
//! Reads the table of now, not the statement's snapshot: newest values are memory that moves on.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use wattline_model::{AssetId, Kind, Model, PointId, Presence, Quality, Timestamp, Values};
use wattline_registry::Registry;
use wattline_storage::{LatestColumn, LatestRows, Store};

use crate::arrays;
use crate::columns::{Columns, Role};
use crate::error::{Error, ErrorKind};
use crate::prune::{self, AssetFilter};
use crate::scan::record_batch;

/// Assets up to which each is looked up by itself; beyond, the whole model is copied.
const SINGLE_ASSETS_MAX: usize = 256;

/// The newest values of one model.
pub(crate) struct LatestTable {
    model: Arc<Model>,
    columns: Columns,
    registry: Registry,
    store: Store,
}

impl LatestTable {
    /// The table of `model`.
    pub(crate) fn new(model: Arc<Model>, registry: Registry, store: Store) -> LatestTable {
        let columns = Columns::of_latest(&model);
        LatestTable { model, columns, registry, store }
    }

    /// The rows in `columns`, of the assets that `filter` lets through where they are few.
    fn rows(&self, columns: &Columns, filter: AssetFilter) -> Result<RecordBatch, Error> {
        // `time` is the newest over all points, so it needs them all.
        let points: Vec<usize> = match columns.roles.contains(&Role::Time) {
            true => (0..self.model.points.len()).collect(),
            false => columns.points(),
        };
        let kind = |p: usize| self.model.points[p].data_type.kind();
        let asked: Vec<(PointId, Kind)> = points.iter().map(|&p| (PointId(p as u32), kind(p))).collect();
        let rows = match filter {
            AssetFilter::Only(texts) if texts.len() <= SINGLE_ASSETS_MAX => {
                let devices = texts.iter().filter_map(|text| self.registry.asset_by_key(text));
                let of_model = devices.filter(|d| d.model == self.model.id).map(|d| d.asset);
                self.rows_of(of_model, &asked)
            }
            _ => self.store.latest_rows(self.model.id, &asked),
        };
        self.to_arrow(columns, &points, rows)
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

impl fmt::Debug for LatestTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LatestTable({})", self.model.key)
    }
}

#[async_trait]
impl TableProvider for LatestTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match prune::prune(filter).assets {
            AssetFilter::Only(_) => TableProviderFilterPushDown::Inexact,
            AssetFilter::All => TableProviderFilterPushDown::Unsupported,
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
        let columns = self.columns.project(projection);
        let rows = self.rows(&columns, prune::prune_all(filters).assets).map_err(Error::into_datafusion)?;
        let table = MemTable::try_new(columns.schema, vec![vec![rows]])?;
        table.scan(state, None, &[], limit).await
    }
}
