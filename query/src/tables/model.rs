//! `<model>`: a row for each (asset, time) at which any point of the model has a sample; and
//! `normalized.<model>`: the same of its minute values.
//!
//! Owns: turning a statement's projection, filters and limit into a [`ScanSpec`]. Does not own: reading filters
//! (`prune`), running the scan (`scan`).
//!
//! Where an account is limited, its table asks the store for the assets that may be read and for no others, whatever the
//! statement asks for: so does every plan over the table, one from statistics among them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use wattline_model::{AssetId, Model, ModelId, PointId, TimeRange};
use wattline_registry::{Device, Reach, Registry, Right};
use wattline_storage::{ScanRequest, Snapshot, Store};

use crate::columns::Columns;
use crate::conditions::conditions;
use crate::prune::{self, AssetFilter, Pruned};
use crate::scan::{ModelScan, ScanSpec};
use crate::scope::Limit;
use crate::tables::snapshot_of;
use crate::template::{self, Template, Values};

/// Assets up to which it is found out whether their texts ascend with their numbers. Beyond, looking costs more than
/// the order saves.
const ORDER_ASSETS_MAX: usize = 100_000;

/// The table of one model.
pub(crate) struct ModelTable(Arc<Samples>);

/// What the scans of a model's table have in common.
pub(crate) struct Samples {
    model: Arc<Model>,
    /// What the store calls it: the model, or its minute table.
    stored: ModelId,
    columns: Columns,
    registry: Registry,
    store: Store,
    /// What it is limited to; nothing where the account may read all there is in the table.
    limit: Option<Limit>,
    /// The assets that may be read then, ascending. Kept as long as this table.
    readable: OnceLock<Vec<AssetId>>,
    /// Whether its assets are those of any model: it is a table of the system.
    is_of_all_models: bool,
    /// Whether the text ids of *all* the model's assets ascend with their numbers. Kept as long as this table, and so
    /// as long as the registry does not change.
    in_key_order: OnceLock<bool>,
}

/// What a statement wants of the table.
pub(crate) struct Wanted {
    /// The columns.
    pub(crate) columns: Columns,
    /// The filters handed down to the scan.
    pub(crate) filters: Vec<Expr>,
    /// Rows after which a partition may stop.
    pub(crate) limit: Option<usize>,
    /// Rows of a batch.
    pub(crate) batch_rows: usize,
}

impl ModelTable {
    /// The table of `model`.
    pub(crate) fn new(
        model: Arc<Model>,
        registry: Registry,
        store: Store,
        limit: Option<Limit>,
    ) -> ModelTable {
        let stored = model.id;
        ModelTable(Arc::new(Samples::new(model, stored, registry, store, limit)))
    }

    /// The table of the minute values of `model`.
    pub(crate) fn normalized(
        model: Arc<Model>,
        registry: Registry,
        store: Store,
        limit: Option<Limit>,
    ) -> ModelTable {
        let stored = model.id.by_minute();
        ModelTable(Arc::new(Samples::new(model, stored, registry, store, limit)))
    }
}

impl Samples {
    fn new(
        model: Arc<Model>,
        stored: ModelId,
        registry: Registry,
        store: Store,
        limit: Option<Limit>,
    ) -> Samples {
        let columns = Columns::of_samples(&model);
        let is_of_all_models = registry.is_of_all_models(model.id);
        let reach = |limit: &Limit| match is_of_all_models {
            true => limit.permissions.reach_organization(Right::Read, model.org),
            false => limit.permissions.reach(Right::Read, &model),
        };
        let limit = limit.filter(|limit| reach(limit) != Reach::All);
        let (readable, in_key_order) = (OnceLock::new(), OnceLock::new());
        Samples { model, stored, columns, registry, store, limit, readable, is_of_all_models, in_key_order }
    }

    /// The scan of what is `wanted` whose filters say `pruned`, as of `snapshot`.
    pub(crate) fn spec(&self, wanted: &Wanted, pruned: Pruned, snapshot: Snapshot) -> ScanSpec {
        let nothing = pruned.is_empty() || wanted.limit == Some(0);
        let (range, present) = (pruned.range, pruned.present);
        let listed = match &pruned.assets {
            AssetFilter::All => None,
            AssetFilter::Only(texts) => Some(texts.len()),
        };
        let assets = if nothing { Some(Vec::new()) } else { self.resolve(pruned.assets) };
        let points = wanted.columns.points();
        let kind = |point: usize| self.model.points[point].data_type.kind();
        let request = ScanRequest {
            model: self.stored,
            // A filter that refuses nulls names a point, and that point is among the columns, because such a filter
            // runs again above the scan. So rows without any asked point need not even be found.
            every_row: !present || points.is_empty(),
            points: points.into_iter().map(|p| (PointId(p as u32), kind(p))).collect(),
            range,
            batch_rows: wanted.limit.unwrap_or(usize::MAX).min(wanted.batch_rows),
            assets,
        };
        ScanSpec {
            model: Arc::clone(&self.model),
            registry: self.registry.clone(),
            partitions: self.partitions(listed),
            in_key_order: self.are_in_key_order(request.assets.as_deref().filter(|_| listed.is_some())),
            rows_guess: self.guess_rows(&snapshot, request.range, request.assets.as_deref()),
            snapshot,
            request,
            conditions: conditions(&wanted.filters, &self.columns),
            listed,
            columns: wanted.columns.clone(),
            limit: wanted.limit,
            template: None,
        }
    }

    /// The numbers of the assets that a filter lets through, ascending. An id that is no asset of this model has no
    /// rows here, so it falls out.
    fn resolve(&self, filter: AssetFilter) -> Option<Vec<AssetId>> {
        let AssetFilter::Only(texts) = filter else {
            return self.limit.as_ref().map(|limit| self.readable(limit).clone());
        };
        let may = |device: &Device| match &self.limit {
            Some(limit) => limit.permissions.may(Right::Read, device),
            None => true,
        };
        let mut assets: Vec<AssetId> = texts
            .iter()
            .filter_map(|text| self.registry.asset_by_key(text))
            .filter(|device| (self.is_of_all_models || device.model == self.model.id) && may(device))
            .map(|device| device.asset)
            .collect();
        assets.sort_unstable();
        Some(assets)
    }

    /// All that may be read of the table, where that is limited.
    fn readable(&self, limit: &Limit) -> &Vec<AssetId> {
        self.readable.get_or_init(|| {
            let devices = match self.is_of_all_models {
                true => self.registry.assets(),
                false => self.registry.assets_of(self.model.id),
            };
            let readable = devices.iter().filter(|device| limit.permissions.may(Right::Read, device));
            readable.map(|device| device.asset).collect()
        })
    }

    fn are_in_key_order(&self, assets: Option<&[AssetId]>) -> bool {
        if self.is_of_all_models {
            return false;
        }
        let ascending = |keys: &[Arc<str>]| keys.is_sorted_by(|a, b| a < b);
        match assets {
            Some(assets) if assets.len() <= ORDER_ASSETS_MAX => {
                let keys: Option<Vec<Arc<str>>> =
                    assets.iter().map(|&a| Some(Arc::clone(&self.registry.asset(a)?.asset_key))).collect();
                keys.is_some_and(|keys| ascending(&keys))
            }
            None if self.registry.device_count() <= ORDER_ASSETS_MAX => {
                *self.in_key_order.get_or_init(|| {
                    let devices = self.registry.assets_of(self.model.id);
                    ascending(&devices.iter().map(|d| Arc::clone(&d.asset_key)).collect::<Vec<_>>())
                })
            }
            _ => false,
        }
    }

    /// How many partitions can have rows where a filter lists so many assets.
    fn partitions(&self, listed: Option<usize>) -> usize {
        let shards = self.store.shards().get() as usize;
        listed.map_or(shards, |listed| listed.clamp(1, shards))
    }

    /// A guess at the rows of a scan: the store's rows in the range, shared out evenly over the devices. Only the
    /// order of magnitude matters, to see which side of a join is small.
    fn guess_rows(&self, snapshot: &Snapshot, range: TimeRange, assets: Option<&[AssetId]>) -> usize {
        let settled: u64 = snapshot
            .segments()
            .iter()
            .filter(|s| range.overlaps_closed(s.first_time, s.last_time))
            .map(|s| s.rows)
            .sum();
        let fresh: u64 = self.store.status().iter().map(|s| s.memtable_rows).sum();
        let rows = (settled + fresh) as usize;
        match assets {
            None => rows,
            Some(assets) => rows / self.registry.device_count().max(1) * assets.len(),
        }
    }
}

impl fmt::Debug for ModelTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelTable({})", self.0.model.key)
    }
}

#[async_trait]
impl TableProvider for ModelTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.columns.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match prune::prune(&template::with_examples(filter)) {
            pruned if pruned.exact => TableProviderFilterPushDown::Exact,
            pruned if pruned.is_useful() => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
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
        let wanted = Wanted {
            columns: self.0.columns.project(projection),
            filters: filters.to_vec(),
            limit,
            batch_rows: state.config().batch_size(),
        };
        let snapshot = snapshot_of(state, &self.0.store);
        if let Some(values) = state.config().get_extension::<Values>() {
            return Ok(Arc::new(ModelScan::new(Template::spec(&self.0, wanted, &values, snapshot)?)));
        }
        let spec = self.0.spec(&wanted, prune::prune_all(filters), snapshot);
        if spec.request.assets.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Arc::new(EmptyExec::new(wanted.columns.schema)));
        }
        Ok(Arc::new(ModelScan::new(spec)))
    }
}
