//! One statement from text to a stream of rows.
//!
//! Owns: [`Engine`], the session each statement gets, how many statements run. Does not own: what may be said
//! (`statement`), which tables there are (`catalog`), limits of a running statement (`settings`, `guard`, `memory`),
//! what is known of it (`running`).
//!
//! Names are taken as written, so that identifiers of thing models need no quotes (`activePower`). A statement that
//! finds no names that way is tried once more with its unquoted names in lower case, as standard SQL has it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{FunctionRegistry as _, SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::tokenizer::Token;
use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use wattline_registry::Registry;
use wattline_storage::{Snapshot, Store};

use crate::aggregate::AggregateSeries;
use crate::catalog::{CATALOG, Catalog, Catalogs, PUBLIC, TableInfo};
use crate::changes::{self, Changes};
use crate::error::{Error, ErrorKind};
use crate::functions;
use crate::guard::{Guarded, panicked};
use crate::memory::StatementMemory;
use crate::plans::{self, Found, Shaped};
use crate::reports::Reports;
use crate::running::{Place, Statement, Statements, Watch};
use crate::scope::{Scope, Scopes};
use crate::settings::{QuerySettings, Spill};
use crate::statement;
use crate::tables::StatementSnapshot;
use crate::tables::queries::QUERIES_TABLE;
use crate::template::Values;
use crate::yields::YieldAfterMultiplying;

/// Rows of a batch: large enough that the cost of a batch vanishes, small enough to stay in the cache.
const BATCH_ROWS: usize = 8_192;

/// How long a statement waits for another one to end before it is told to come back later.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// Depth (see `statement::depth`) from which a statement is planned on a stack of its own. Below, the two megabytes of
/// a thread are plenty even in a build without optimisation.
pub(crate) const DEEP: usize = 24;

/// That stack: several times of what the deepest statement allowed takes in a build without optimisation. Only what
/// is touched costs memory.
const DEEP_STACK_BYTES: usize = 64 << 20;

/// Parameters of one statement; PostgreSQL's wire cannot name more.
const PARAMETERS_MAX: usize = 65_535;

/// The part of a statement's memory that its sorts together keep for merging.
const MERGE_SHARE: usize = 8;

/// Turns beyond the settings' number for statements that ask which statements run: a server that is full of them can
/// still be looked into. `KILL` needs no turn.
const LOOKS_MAX: usize = 2;

/// Runs SQL over a registry and a store. A cheap handle.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    /// What its statements see: of whoever they are run for.
    scope: Arc<Scope>,
    /// Who carries changes out; `None`: this engine only reads.
    changes: Option<Arc<dyn Changes>>,
}

struct Inner {
    store: Store,
    settings: Arc<QuerySettings>,
    scopes: Scopes,
    statements: Arc<Statements>,
    turns: Arc<Semaphore>,
    /// Turns of statements that ask which statements run, where all others are taken.
    looks: Arc<Semaphore>,
}

/// Who runs a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account, where one signed in.
    pub account: Option<Arc<str>>,
    /// The way in: `http`, `pg`, `flight`.
    pub wire: &'static str,
    /// From where, where that is known.
    pub origin: Option<Arc<str>>,
}

/// What became of a statement.
pub enum Answer {
    /// Its rows, as they come. Dropping them stops the statement.
    Rows(SendableRecordBatchStream),
    /// It changed something, durably and visibly; there are no rows.
    Changed {
        /// What it did, as PostgreSQL calls it: `INSERT`, `DELETE`, `CREATE TABLE`.
        tag: &'static str,
        /// Rows it wrote or read, where that is known.
        rows: Option<u64>,
        /// The deletion job that gives the room back, where one began.
        job: Option<i64>,
    },
}

/// A statement that was planned and not run.
#[derive(Clone, Debug)]
pub struct Description {
    /// The columns of its answer; none where it has no rows.
    pub schema: SchemaRef,
    /// The types of `$1`, `$2`, …; `None` where any will do.
    pub parameters: Vec<Option<DataType>>,
}

impl Description {
    /// Of a statement without parameters that only changes something.
    pub(crate) fn of_nothing() -> Description {
        Description { schema: Arc::new(Schema::empty()), parameters: Vec::new() }
    }

    pub(crate) fn of(plan: &LogicalPlan) -> Result<Description, Error> {
        let types = crate::parameters::types(plan).map_err(Error::from)?;
        let mut parameters = Vec::new();
        for (name, data_type) in types {
            let number = parameter_number(&name)?;
            if number > PARAMETERS_MAX {
                let message = format!("{name}: a statement has at most {PARAMETERS_MAX} parameters");
                return Err(Error::new(ErrorKind::Limit, message));
            }
            parameters.resize(parameters.len().max(number), None);
            parameters[number - 1] = data_type;
        }
        Ok(Description { schema: Arc::clone(plan.schema().inner()), parameters })
    }
}

impl Description {
    /// With the types a client declared where it did; what neither it nor planning tells is text.
    fn filled(mut self, declared: &[Option<DataType>]) -> Description {
        for (i, found) in self.parameters.iter_mut().enumerate() {
            let given = declared.get(i).cloned().flatten();
            *found = Some(given.or_else(|| found.take()).unwrap_or(DataType::Utf8));
        }
        self
    }
}

impl Engine {
    /// An engine over what `registry` knows and `store` holds.
    ///
    /// # Errors
    /// Input where a setting is out of its bounds.
    pub fn new(registry: Registry, store: Store, settings: QuerySettings) -> Result<Engine, Error> {
        settings.check()?;
        let statements = Arc::<Statements>::default();
        let catalog = Arc::new(Catalog::new(registry, store.clone(), Arc::clone(&statements)));
        let state = session(&settings, Arc::clone(&catalog))?;
        let turns = Arc::new(Semaphore::new(settings.statements_max));
        let looks = Arc::new(Semaphore::new(LOOKS_MAX));
        let (settings, scope) = (Arc::new(settings), Arc::new(Scope::of_all(catalog, state)));
        let scopes = Scopes::new(Arc::clone(&scope));
        let inner = Inner { store, settings, scopes, statements, turns, looks };
        Ok(Engine { inner: Arc::new(inner), scope, changes: None })
    }

    /// The same engine, which hands what statements change to `changes`.
    #[must_use]
    pub fn with_changes(self, changes: Arc<dyn Changes>) -> Engine {
        Engine { changes: Some(changes), ..self }
    }

    /// Lets `system.settings` and `system.jobs` tell what `reports` knows. The first is asked, should there be more.
    pub fn report(&self, reports: Arc<dyn Reports>) {
        self.catalog().report(reports);
    }

    /// Lets `watch` know how each statement ends. The first is told, should there be more.
    pub fn watch(&self, watch: Arc<dyn Watch>) {
        self.inner.statements.watch(watch);
    }

    /// Plans and starts one statement; `$1` stands for `params[0]` and so on. All tables of samples are read as of
    /// one moment. Dropping the stream stops the statement. Its errors are read with `Error::from`.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn sql(
        &self,
        text: &str,
        params: Vec<ScalarValue>,
    ) -> Result<SendableRecordBatchStream, Error> {
        self.rows(&Caller { account: None, wire: "engine", origin: None }, text, params).await
    }

    /// The same engine, whose statements see what `caller` may see.
    pub(crate) fn seen_by(&self, caller: &Caller) -> Engine {
        let scope = self.inner.scopes.of(self.catalog().registry(), caller);
        Engine { scope, ..self.clone() }
    }

    /// What its statements see.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn rows(
        &self,
        caller: &Caller,
        text: &str,
        params: Vec<ScalarValue>,
    ) -> Result<SendableRecordBatchStream, Error> {
        let admitted = self.admit(caller, text).await?;
        let (depth, tokens) = admitted.note(statement::depth(text))?;
        let start = Box::pin(self.start(caller, text, tokens, params, &admitted));
        let rows = self.bounded(&admitted, depth >= DEEP, start).await?;
        Ok(self.guard(rows, admitted, self.inner.settings.rows_max))
    }

    /// Runs one statement for `caller`, whatever it does; see [`sql`](Self::sql).
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn run(&self, caller: &Caller, text: &str, params: Vec<ScalarValue>) -> Result<Answer, Error> {
        let engine = self.seen_by(caller);
        match changes::is_change(text) {
            false => engine.rows(caller, text, params).await.map(Answer::Rows),
            true => Box::pin(engine.change(caller, text, params)).await,
        }
    }

    /// What a statement would give and what it wants, without running it: for clients that prepare.
    ///
    /// # Errors
    /// As [`sql`](Self::sql) before the first row.
    pub async fn describe(&self, caller: &Caller, text: &str) -> Result<Description, Error> {
        self.describe_with(caller, text, None).await
    }

    /// The same where a client declared types of parameters, or left them open. What it left open and planning cannot
    /// tell is text, and the columns are those of a run with parameters of all these types.
    ///
    /// # Errors
    /// As [`describe`](Self::describe).
    pub async fn describe_with(
        &self,
        caller: &Caller,
        text: &str,
        declared: Option<&[Option<DataType>]>,
    ) -> Result<Description, Error> {
        self.seen_by(caller).describe_seen(text, declared).await
    }

    async fn describe_seen(
        &self,
        text: &str,
        declared: Option<&[Option<DataType>]>,
    ) -> Result<Description, Error> {
        let deep = statement::depth(text)?.0 >= DEEP;
        let describe = Box::pin(async {
            if changes::is_change(text) {
                let description = self.describe_change(text).await?;
                return Ok(match declared {
                    Some(declared) => description.filled(declared),
                    None => description,
                });
            }
            let mut state = self.session();
            let statement = statement::parse(&state, text, None)?;
            let plan = self.plan(&mut state, statement).await?;
            let mut description = Description::of(&plan)?;
            let Some(declared) = declared else { return Ok(description) };
            let n = description.parameters.len().max(declared.len());
            description.parameters.resize(n, None);
            let mut description = description.filled(declared);
            let nulls = description.parameters.iter().flatten().map(ScalarValue::try_from);
            let nulls = nulls.collect::<Result<Vec<_>, _>>().map_err(Error::from)?;
            let plan = with_params(plan, nulls)?;
            description.schema = Arc::clone(plan.schema().inner());
            Ok(description)
        });
        unpanicked(on_stack(deep, describe)).await
    }

    /// How many statements were served by a plan that was kept.
    pub fn plans_reused(&self) -> u64 {
        self.scope.plans.reused()
    }

    /// Every table as statements name it: for completion.
    pub fn table_names(&self) -> Vec<String> {
        self.catalog().table_names()
    }

    /// Every table that `caller` sees with its columns, but for those of `information_schema`.
    pub fn tables(&self, caller: &Caller) -> Vec<TableInfo> {
        self.seen_by(caller).catalog().tables()
    }

    async fn turn(&self, text: &str) -> Result<OwnedSemaphorePermit, Error> {
        let turns = |of: &Arc<Semaphore>| Arc::clone(of);
        if let Ok(turn) = turns(&self.inner.turns).try_acquire_owned() {
            return Ok(turn);
        }
        if text.contains(QUERIES_TABLE)
            && let Ok(look) = turns(&self.inner.looks).try_acquire_owned()
        {
            return Ok(look);
        }
        match timeout(TURN_WAIT, turns(&self.inner.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(self.inner.settings.too_many_statements()),
        }
    }

    /// A place among the running statements, and the time until which it may run.
    pub(crate) async fn admit(&self, caller: &Caller, text: &str) -> Result<Admitted, Error> {
        let pool = Arc::clone(&self.scope.state.runtime_env().memory_pool);
        let memory = Arc::new(StatementMemory::new(pool, &self.inner.settings));
        let place = self.inner.statements.enter(caller, text, memory);
        let statement = Arc::clone(&place.statement);
        let turn = tokio::select! {
            biased;
            () = statement.cancel_token().cancelled() => Err(statement.killed()),
            turn = self.turn(text) => turn,
        };
        let turn = place.note(turn)?;
        statement.take_turn();
        let deadline = self.inner.settings.timeout.map(|limit| Instant::now() + limit);
        Ok(Admitted { turn, deadline, statement, place: Some(place) })
    }

    /// `future` within the time of `admitted`, and until it is killed; a panic in it is an error.
    pub(crate) async fn bounded<T>(
        &self,
        admitted: &Admitted,
        deep: bool,
        future: Pin<Box<impl Future<Output = Result<T, Error>>>>,
    ) -> Result<T, Error> {
        let guarded = Box::pin(unpanicked(on_stack(deep, future)));
        let in_time = async {
            match admitted.deadline {
                Some(deadline) => {
                    timeout_at(deadline, guarded).await.map_err(|_| self.inner.settings.too_slow())?
                }
                None => guarded.await,
            }
        };
        let statement = &admitted.statement;
        let result = tokio::select! {
            biased;
            () = statement.cancel_token().cancelled() => Err(statement.killed()),
            result = in_time => result,
        };
        admitted.note(result)
    }

    /// `rows` with the limits of a running statement.
    pub(crate) fn guard(
        &self,
        rows: SendableRecordBatchStream,
        admitted: Admitted,
        rows_max: Option<u64>,
    ) -> SendableRecordBatchStream {
        Box::pin(Guarded::new(rows, admitted, &self.inner.settings, rows_max))
    }

    /// Ends the statement `id` for `caller`.
    pub(crate) fn kill(&self, id: u64, caller: &Caller) -> Result<(), Error> {
        let limited = self.catalog().limit().is_some();
        self.inner.statements.kill(id, caller, |of| !limited || of.account == caller.account)
    }

    /// The session of a statement that begins now.
    pub(crate) fn session(&self) -> SessionState {
        // Before the catalog is asked: an asset in the snapshot is then also in the catalog's view.
        self.state(self.inner.store.snapshot())
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.scope.catalog
    }

    pub(crate) fn changes(&self) -> Option<&Arc<dyn Changes>> {
        self.changes.as_ref()
    }

    /// The plan of a statement that only reads.
    pub(crate) async fn plan(
        &self,
        state: &mut SessionState,
        statement: Parsed,
    ) -> Result<LogicalPlan, Error> {
        let plan = plan(state, statement).await.and_then(|plan| {
            // The statement was allowed by its syntax; this is the same promise kept by the plan.
            let reads_only =
                SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
            reads_only.verify_plan(&plan).map(|()| plan)
        });
        plan.map_err(|e| self.planning(&e))
    }

    /// An error met while planning, with the table that was probably meant.
    pub(crate) fn planning(&self, error: &DataFusionError) -> Error {
        Error::of_planning(error, &|| self.catalog().table_names())
    }

    async fn start(
        &self,
        caller: &Caller,
        text: &str,
        tokens: Vec<Token>,
        params: Vec<ScalarValue>,
        admitted: &Admitted,
    ) -> Result<SendableRecordBatchStream, Error> {
        // Before the catalog is asked: an asset in the snapshot is then also in the catalog's view.
        let snapshot = self.inner.store.snapshot();
        if let Some(shaped) = plans::shaped(text, &tokens, &params) {
            let version = self.catalog().version();
            match self.scope.plans.find(&shaped, version, &snapshot) {
                Found::Plan(plan) => {
                    let context = self.context(self.scope.state.config(), &admitted.statement);
                    return execute_stream(plan, context).map_err(Error::from);
                }
                Found::Worth => self.keep_plan(shaped, version, &snapshot).await,
                Found::Nothing => {}
            }
        }
        let mut state = self.state(snapshot);
        let statement = statement::parse(&state, text, caller.account.as_deref())?;
        let plan = self.plan(&mut state, statement).await?;
        let plan = with_params(plan, params)?;
        self.execute(&state, &plan, &admitted.statement).await
    }

    /// The rows of a plan, which `statement` holds the memory of.
    pub(crate) async fn execute(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
        statement: &Statement,
    ) -> Result<SendableRecordBatchStream, Error> {
        let planning = |e: DataFusionError| self.planning(&e);
        let plan = state.create_physical_plan(plan).await.map_err(planning)?;
        execute_stream(plan, self.context(state.config(), statement)).map_err(planning)
    }

    /// What the plan of `statement` runs in. Its functions are in the plan: nothing asks for them by name any more.
    fn context(&self, config: &SessionConfig, statement: &Statement) -> Arc<TaskContext> {
        let mut runtime = (**self.scope.state.runtime_env()).clone();
        runtime.memory_pool = Arc::clone(&statement.memory) as Arc<dyn MemoryPool>;
        let context = TaskContext::default().with_session_config(config.clone());
        Arc::new(context.with_runtime(Arc::new(runtime)))
    }

    /// The session of one statement.
    fn state(&self, snapshot: Snapshot) -> SessionState {
        let mut state = self.scope.state.clone();
        state.mark_start_execution();
        state.config_mut().set_extension(Arc::new(StatementSnapshot(snapshot)));
        state
    }

    /// Plans a shape for the statements to come. What goes wrong will be told about the statement as it was written.
    async fn keep_plan(&self, shaped: Shaped, version: u64, snapshot: &Snapshot) {
        let mut state = self.state(snapshot.clone());
        state.config_mut().set_extension(Arc::new(Values(shaped.values)));
        let planned = async {
            let statement = statement::parse(&state, &shaped.shape, None).ok()?;
            let plan = self.plan(&mut state, statement).await.ok()?;
            state.create_physical_plan(&plan).await.ok()
        };
        let planned = planned.await;
        self.scope.plans.keep(shaped.shape, planned.as_ref(), version);
    }
}

/// A statement that may run.
pub(crate) struct Admitted {
    pub(crate) turn: OwnedSemaphorePermit,
    pub(crate) deadline: Option<Instant>,
    pub(crate) statement: Arc<Statement>,
    /// Its end; taken by who ends it otherwise than by its rows.
    pub(crate) place: Option<Place>,
}

impl Admitted {
    /// Notes that it failed, where `result` is an error.
    pub(crate) fn note<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| self.statement.end(Err(error)))
    }
}

/// `future`, whose panic is an error.
pub(crate) async fn unpanicked<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|_| panicked())?
}

/// Polls `future`, a `deep` one on a stack of its own.
async fn on_stack<T>(deep: bool, mut future: Pin<Box<impl Future<Output = T>>>) -> T {
    std::future::poll_fn(move |cx| match deep {
        true => stacker::grow(DEEP_STACK_BYTES, || future.as_mut().poll(cx)),
        false => future.as_mut().poll(cx),
    })
    .await
}

/// Names as written; failing that, unquoted names in lower case. If both fail the first failure is told, as it names
/// what the user wrote.
pub(crate) async fn plan(
    state: &mut SessionState,
    statement: Parsed,
) -> Result<LogicalPlan, DataFusionError> {
    match state.statement_to_plan(statement.clone()).await {
        Ok(plan) => Ok(plan),
        Err(as_written) => {
            state.config_mut().options_mut().sql_parser.enable_ident_normalization = true;
            state.statement_to_plan(statement).await.map_err(|_| as_written)
        }
    }
}

pub(crate) fn with_params(plan: LogicalPlan, params: Vec<ScalarValue>) -> Result<LogicalPlan, Error> {
    let names = plan.get_parameter_names().map_err(Error::from)?;
    for name in &names {
        let number = parameter_number(name)?;
        if number > params.len() {
            let message = format!("{name} has no value: the statement came with {} parameters", params.len());
            return Err(Error::new(ErrorKind::Input, message));
        }
    }
    if names.is_empty() {
        return Ok(plan);
    }
    plan.with_param_values(ParamValues::from(params)).map_err(Error::from)
}

/// The number of the parameter `$number`, from 1 on.
pub(crate) fn parameter_number(name: &str) -> Result<usize, Error> {
    let number = name.strip_prefix('$').and_then(|n| n.parse().ok()).filter(|&n| n > 0);
    number.ok_or_else(|| {
        let message = format!("parameter {name} is not a number: use $1, $2, …");
        Error::new(ErrorKind::Input, message)
    })
}

fn session(settings: &QuerySettings, catalog: Arc<Catalog>) -> Result<SessionState, Error> {
    let mut config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_target_partitions(settings.target_partitions)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, PUBLIC)
        .with_information_schema(true);
    // What `timestamptz` and `now()` are of: like our own columns.
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    let parser = &mut config.options_mut().sql_parser;
    parser.collect_spans = true;
    parser.enable_ident_normalization = false;
    // What a sort keeps to merge what it has put on disk. Left as it is, it would be all there is of a small memory.
    let kept = settings.statement_bytes() / (MERGE_SHARE * settings.target_partitions);
    let execution = &mut config.options_mut().execution;
    execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(kept);
    execution.sort_in_place_threshold_bytes = execution.sort_in_place_threshold_bytes.min(kept);
    let disk = DiskManagerBuilder::default();
    let disk = match &settings.spill {
        Some(Spill { dir, bytes_max }) => disk
            .with_mode(DiskManagerMode::Directories(vec![dir.clone()]))
            .with_max_temp_directory_size(*bytes_max),
        None => disk.with_mode(DiskManagerMode::Disabled),
    };
    let pool = Arc::new(GreedyMemoryPool::new(settings.memory_bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(disk);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime.build_arc().map_err(Error::from)?)
        .with_default_features()
        .with_physical_optimizer_rules(optimizer_rules())
        .with_catalog_list(Arc::new(Catalogs(Arc::clone(&catalog))));
    let mut state = functions::register(state).build();
    for function in crate::pg::functions::all(&catalog) {
        state.register_udf(function).map_err(Error::from)?;
    }
    Ok(state)
}

fn optimizer_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(AggregateSeries)];
    rules.extend(PhysicalOptimizer::default().rules);
    rules.push(Arc::new(YieldAfterMultiplying));
    rules
}
