//! Which tables there are.
//!
//! Owns: the catalog `wattline` with the schemas `public`, `latest`, `normalized`, `system` and `pg_catalog`, and the names of
//! tables. Does not
//! own: rows (`tables`), the models (`registry`).
//!
//! A lookup does no IO: the view of all tables is built from the registry's memory at the first lookup after a change
//! and kept until [`Registry::version`] moves on. Nothing can be registered: SQL cannot change the catalog.
//!
//! The catalog of a limited account ([`Catalog::limited`]) has the tables of models that it may read or write something of,
//! and of `system` what names nothing of others; each of its tables leaves out what the account may not read.
//!
//! A model's table has the model's key as its name. Where that is taken (by the same key in an organization with a
//! lower number; the registry refuses `assets` and `models`) it is `<organization>.<model>`, one quoted name:
//! `"acme.turbine"`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result;
use parking_lot::Mutex;
use wattline_model::Model;
use wattline_registry::{Reach, Registry, Right};
use wattline_storage::Store;

use crate::pg;
use crate::pg::relations::{PG_CATALOG, Relation, Relations};
use crate::reports::Reports;
use crate::running::Statements;
use crate::scope::Limit;
use crate::tables::assets::Assets;
use crate::tables::audit::Audit;
use crate::tables::blocks::Blocks;
use crate::tables::jobs::Jobs;
use crate::tables::latest::LatestTable;
use crate::tables::model::ModelTable;
use crate::tables::models::Models;
use crate::tables::policies::Policies;
use crate::tables::queries::Queries;
use crate::tables::settings::SettingsTable;
use crate::tables::system::{Segments, Shards};
use crate::tables::{Refused, RowsTable};

/// The name of the one catalog.
pub(crate) const CATALOG: &str = "wattline";
/// The schema that unqualified names are looked up in.
pub(crate) const PUBLIC: &str = "public";
/// The schema of newest values.
pub(crate) const LATEST: &str = "latest";
/// The schema of minute values (storage type AI_NORMALIZED).
pub(crate) const NORMALIZED: &str = "normalized";
/// The schema of the store's own figures.
pub(crate) const SYSTEM: &str = "system";

type Tables = BTreeMap<String, Arc<dyn TableProvider>>;

/// A table, for who asks what there is.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Its schema.
    pub schema: &'static str,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: SchemaRef,
}

/// The tables of one version of the registry.
struct View {
    version: u64,
    public: Arc<Tables>,
    latest: Arc<Tables>,
    normalized: Arc<Tables>,
    /// Which model each table of samples belongs to.
    models: BTreeMap<String, Arc<Model>>,
    /// As PostgreSQL numbers all that; made when first asked for.
    pg: OnceLock<(Relations, Arc<Tables>)>,
}

/// The catalog, and the list of catalogs with it as the only one.
pub(crate) struct Catalog {
    registry: Registry,
    store: Store,
    system: Arc<Tables>,
    reports: Arc<OnceLock<Arc<dyn Reports>>>,
    statements: Arc<Statements>,
    /// The account it is for, where that is limited.
    limit: Option<Limit>,
    view: Mutex<Option<Arc<View>>>,
}

impl Catalog {
    /// The catalog of what `registry` knows and `store` holds.
    pub(crate) fn new(registry: Registry, store: Store, statements: Arc<Statements>) -> Catalog {
        let reports = Arc::<OnceLock<_>>::default();
        let mut system = Tables::new();
        system.insert("shards".to_owned(), Arc::new(RowsTable(Shards::new(store.clone()))));
        system.insert("segments".to_owned(), Arc::new(RowsTable(Segments::new(store.clone()))));
        system.insert("policies".to_owned(), Arc::new(RowsTable(Policies::new(registry.clone(), None))));
        system.insert("audit".to_owned(), Arc::new(RowsTable(Audit::new(registry.clone()))));
        system.insert("queries".to_owned(), Arc::new(RowsTable(Queries::new(Arc::clone(&statements), None))));
        system.insert("settings".to_owned(), Arc::new(RowsTable(SettingsTable::new(Arc::clone(&reports)))));
        let jobs = Jobs::new(registry.clone(), store.clone(), Arc::clone(&reports));
        system.insert("jobs".to_owned(), Arc::new(RowsTable(jobs)));
        system.insert("blocks".to_owned(), Arc::new(Blocks::new(registry.clone(), store.clone())));
        let (system, view) = (Arc::new(system), Mutex::new(None));
        Catalog { registry, store, system, reports, statements, limit: None, view }
    }

    /// What an account that is limited sees of it.
    pub(crate) fn limited(&self, limit: Limit) -> Catalog {
        let mut system = Tables::new();
        for (name, table) in self.system.iter() {
            let (registry, limit) = (self.registry.clone(), Some(limit.clone()));
            let table: Arc<dyn TableProvider> = match name.as_str() {
                "policies" => Arc::new(RowsTable(Policies::new(registry, limit))),
                "queries" => Arc::new(RowsTable(Queries::new(Arc::clone(&self.statements), limit))),
                // What they tell of data, of files and of the machine is not divided by assets.
                _ => {
                    Arc::new(RowsTable(Refused { name: format!("{SYSTEM}.{name}"), schema: table.schema() }))
                }
            };
            system.insert(name.clone(), table);
        }
        Catalog {
            registry: self.registry.clone(),
            store: self.store.clone(),
            system: Arc::new(system),
            reports: Arc::clone(&self.reports),
            statements: Arc::clone(&self.statements),
            limit: Some(limit),
            view: Mutex::new(None),
        }
    }

    /// The account it is for, where that is limited.
    pub(crate) fn limit(&self) -> Option<&Limit> {
        self.limit.as_ref()
    }

    /// Whether there is a table of `model` here.
    fn shows(&self, model: &Model) -> bool {
        let Some(limit) = &self.limit else { return true };
        let reaches = |right| match self.registry.is_unformatted(model.id) {
            true => limit.permissions.reach_organization(right, model.org),
            false => limit.permissions.reach(right, model),
        };
        [Right::Read, Right::Write, Right::Manage].into_iter().any(|right| reaches(right) != Reach::None)
    }

    /// From here on `system` shows what `reports` tells.
    pub(crate) fn report(&self, reports: Arc<dyn Reports>) {
        // One server has one; should there be more, the first stays.
        let _ = self.reports.set(reports);
    }

    fn view(&self) -> Arc<View> {
        // Read before the models are: a change in between makes the view look older than it is, never newer.
        let version = self.registry.version();
        let mut view = self.view.lock();
        match &*view {
            Some(view) if view.version == version => Arc::clone(view),
            _ => Arc::clone(view.insert(Arc::new(self.build(version)))),
        }
    }

    fn build(&self, version: u64) -> View {
        let mut public = Tables::new();
        public.insert(
            "assets".to_owned(),
            Arc::new(RowsTable(Assets::new(self.registry.clone(), self.limit.clone()))),
        );
        public.insert(
            "models".to_owned(),
            Arc::new(RowsTable(Models::new(self.registry.clone(), self.limit.clone()))),
        );
        let (mut latest, mut normalized) = (Tables::new(), Tables::new());
        let mut by_table = BTreeMap::new();
        let policies = self.registry.policies(false);
        let is_normalized =
            |model| policies.of(model).is_some_and(|policy| policy.points.iter().any(|p| p.normalized));
        let mut models = self.registry.models();
        models.sort_by_key(|model| (model.org, model.id));
        // Of all there are, so that a table has one name for everybody.
        let mut taken: BTreeSet<String> = public.keys().cloned().collect();
        for model in models {
            let name = self.table_name(&model, &taken);
            taken.insert(name.clone());
            if !self.shows(&model) {
                continue;
            }
            let (registry, store) = (self.registry.clone(), self.store.clone());
            let limit = self.limit.clone();
            let table = LatestTable::new(Arc::clone(&model), registry.clone(), store.clone(), limit.clone());
            latest.insert(name.clone(), Arc::new(table));
            if is_normalized(model.id) {
                let (registry, store, limit) = (registry.clone(), store.clone(), limit.clone());
                let table = ModelTable::normalized(Arc::clone(&model), registry, store, limit);
                normalized.insert(name.clone(), Arc::new(table));
            }
            by_table.insert(name.clone(), Arc::clone(&model));
            public.insert(name, Arc::new(ModelTable::new(model, registry, store, limit)));
        }
        let (public, latest, normalized) = (Arc::new(public), Arc::new(latest), Arc::new(normalized));
        View { version, public, latest, normalized, models: by_table, pg: OnceLock::new() }
    }

    /// All tables, as PostgreSQL's clients are told of them.
    pub(crate) fn relations(&self) -> Relations {
        self.pg(&self.view()).0.clone()
    }

    fn pg<'a>(&self, view: &'a View) -> &'a (Relations, Arc<Tables>) {
        view.pg.get_or_init(|| {
            let schemas = [
                (PUBLIC, &view.public),
                (LATEST, &view.latest),
                (NORMALIZED, &view.normalized),
                (SYSTEM, &self.system),
            ];
            let mut relations = Vec::new();
            for (schema, tables) in schemas {
                for (name, table) in tables.iter() {
                    let model = if schema == SYSTEM { None } else { view.models.get(name) };
                    relations.push(Relation {
                        oid: model.map_or_else(
                            || pg::relations::of_name(schema, name),
                            |model| pg::relations::of_model(model.id.0, schema),
                        ),
                        schema,
                        name: name.clone(),
                        columns: table.schema(),
                        comment: model.map(|model| format!("thing model {}", model.path)),
                    });
                }
            }
            relations.extend(pg::tables::all().map(|(name, columns)| Relation {
                oid: pg::relations::of_name(PG_CATALOG, name),
                schema: PG_CATALOG,
                name: name.to_owned(),
                columns,
                comment: None,
            }));
            let relations = Relations(Arc::new(relations));
            let mut tables = Tables::new();
            for (name, source) in pg::tables::sources(&relations) {
                tables.insert(name.to_owned(), Arc::new(RowsTable(source)));
            }
            (relations, Arc::new(tables))
        })
    }

    fn table_name(&self, model: &Model, taken: &BTreeSet<String>) -> String {
        if !taken.contains(&model.key) {
            return model.key.clone();
        }
        let org =
            self.registry.org(model.org).map_or_else(|| model.org.to_string(), |org| org.key.to_string());
        let mut name = format!("{org}.{}", model.key);
        // Keys may hold dots, so that name may be another model's key.
        while taken.contains(&name) {
            name.push('_');
        }
        name
    }

    /// Moves on whenever tables, columns or assets change.
    pub(crate) fn version(&self) -> u64 {
        self.registry.version()
    }

    /// Every table with its columns, by schema and name.
    pub(crate) fn tables(&self) -> Vec<TableInfo> {
        let view = self.view();
        let schemas = [
            (LATEST, &view.latest),
            (NORMALIZED, &view.normalized),
            (PUBLIC, &view.public),
            (SYSTEM, &self.system),
        ];
        let of_schema = |(schema, tables): (&'static str, &Arc<Tables>)| -> Vec<TableInfo> {
            let info = |(name, table): (&String, &Arc<dyn TableProvider>)| TableInfo {
                schema,
                name: name.clone(),
                columns: table.schema(),
            };
            tables.iter().map(info).collect()
        };
        schemas.into_iter().flat_map(of_schema).collect()
    }

    /// The model whose samples the table `name` of [`PUBLIC`] holds.
    pub(crate) fn model_of(&self, name: &str) -> Option<Arc<Model>> {
        self.view().models.get(name).cloned()
    }

    /// Who exists.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Every table as statements name it, to find the one that was meant.
    pub(crate) fn table_names(&self) -> Vec<String> {
        let view = self.view();
        let in_schema = |schema: &'static str, tables: &Tables| -> Vec<String> {
            tables.keys().map(|name| format!("{schema}.{name}")).collect()
        };
        let mut names: Vec<String> = view.public.keys().cloned().collect();
        names.extend(in_schema(LATEST, &view.latest));
        names.extend(in_schema(NORMALIZED, &view.normalized));
        names.extend(in_schema(SYSTEM, &self.system));
        names
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Catalog(wattline)")
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        [PUBLIC, LATEST, NORMALIZED, SYSTEM].map(str::to_owned).to_vec()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let tables = match name {
            PUBLIC => Arc::clone(&self.view().public),
            LATEST => Arc::clone(&self.view().latest),
            NORMALIZED => Arc::clone(&self.view().normalized),
            SYSTEM => Arc::clone(&self.system),
            // Not among the names: our own listings are of data, and those of PostgreSQL list it themselves.
            PG_CATALOG => Arc::clone(&self.pg(&self.view()).1),
            _ => return None,
        };
        Some(Arc::new(TablesOfSchema(tables)))
    }
}

/// The list of catalogs: [`CATALOG`] and nothing else.
#[derive(Debug)]
pub(crate) struct Catalogs(pub(crate) Arc<Catalog>);

impl CatalogProviderList for Catalogs {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::clone(&self.0) as Arc<dyn CatalogProvider>)
    }
}

struct TablesOfSchema(Arc<Tables>);

impl fmt::Debug for TablesOfSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[async_trait]
impl SchemaProvider for TablesOfSchema {
    fn table_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
