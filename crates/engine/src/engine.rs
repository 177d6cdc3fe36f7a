//! The engine: what all sessions share.

use std::{fmt, path::PathBuf, sync::Arc};

use datafusion::{
    common::config::ConfigOptions,
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    optimizer::{
        Optimizer, OptimizerRule, eliminate_join::EliminateJoin, extract_equijoin_predicate::ExtractEquijoinPredicate,
    },
    physical_optimizer::{PhysicalOptimizerRule, optimizer::PhysicalOptimizer},
    physical_planner::DefaultPhysicalPlanner,
    prelude::SessionConfig,
};
use parking_lot::RwLock;
use tokio::runtime::{Builder, Handle, Runtime};
use weir_store::Version;

use crate::{
    error::EngineError,
    functions::Functions,
    governance::SessionIdentity,
    join_keys::PushJoinKeys,
    join_order::JoinOrder,
    leakproof::Leakproof,
    memory::{GlobalBudget, StatementPool},
    physical::GovernedPlanner,
    session::EngineSession,
};

/// Rows of a batch between operators.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Limits of an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Threads that run plans, and the most partitions a plan has.
    pub threads: usize,
    /// What all statements together may hold.
    pub memory_bytes: u64,
    /// What one statement may hold.
    pub statement_memory_bytes: u64,
    /// Made when missing; files in it do not survive their statement.
    pub spill_dir: PathBuf,
    pub spill_bytes: u64,
}

/// Functions, rules, memory and threads; one for the process.
pub struct Engine {
    pub(crate) functions: Functions,
    logical_rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    pub(crate) physical_rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
    pub(crate) physical_planner: DefaultPhysicalPlanner,
    options: EngineOptions,
    /// One for each strategy in use: making one costs more than a small statement.
    configs: RwLock<Vec<(Strategy, SessionConfig)>>,
    base: RuntimeEnv,
    budget: Arc<GlobalBudget>,
    /// None only while it is being dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("options", &self.options).finish_non_exhaustive()
    }
}

/// How a plan is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strategy {
    pub partitions: usize,
    /// Hash joins are faster; sort-merge joins spill.
    pub hash_joins: bool,
    /// Bytes that each sort keeps for merging what it spilled.
    pub sort_reservation: usize,
}

/// Short statements run on the wire's threads, and need a processor now; what runs here takes its time anyway.
fn give_way() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "the engine's threads keep their priority");
    }
}

/// Beside a thread of the wire, one of the engine gets about a tenth of a processor.
const NICENESS: i32 = 10;

/// What DataFusion keeps for a merge unless told otherwise.
const SORT_RESERVATION_MAX: usize = 10 << 20;

impl Engine {
    /// # Errors
    /// When its threads or its spill folder cannot be made.
    pub fn new(options: EngineOptions) -> Result<Arc<Engine>, EngineError> {
        let failed = |what: &str, why: &dyn fmt::Display| EngineError(format!("{what}: {why}"));
        std::fs::create_dir_all(&options.spill_dir).map_err(|why| failed("spill folder", &why))?;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![options.spill_dir.clone()]))
            .with_max_temp_directory_size(options.spill_bytes);
        let base =
            RuntimeEnvBuilder::new().with_disk_manager_builder(disk).build().map_err(|why| failed("runtime", &why))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("weir-engine")
            .on_thread_start(give_way)
            .thread_stack_size(8 * 1024 * 1024)
            .enable_time()
            .build()
            .map_err(|why| failed("threads", &why))?;
        let memory = usize::try_from(options.memory_bytes).unwrap_or(usize::MAX);
        Ok(Arc::new(Engine {
            functions: Functions::new(),
            logical_rules: logical_rules(),
            physical_rules: physical_rules(),
            physical_planner: DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(GovernedPlanner)]),
            configs: RwLock::default(),
            base,
            budget: GlobalBudget::new(memory),
            runtime: Some(runtime),
            options,
        }))
    }

    #[must_use]
    pub fn session(self: &Arc<Engine>, identity: SessionIdentity) -> EngineSession {
        EngineSession::new(Arc::clone(self), identity)
    }

    /// Bytes that running statements hold now.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.budget.used() as u64
    }

    /// A plan has several sorts at a time; together they keep a small part of the statement's memory.
    pub(crate) fn sort_reservation(&self) -> usize {
        let limit = usize::try_from(self.options.statement_memory_bytes).unwrap_or(usize::MAX);
        (limit / 20).min(SORT_RESERVATION_MAX)
    }

    pub(crate) fn config(&self, strategy: Strategy) -> SessionConfig {
        let known = |configs: &[(Strategy, SessionConfig)]| {
            configs.iter().find(|(known, _)| *known == strategy).map(|(_, config)| config.clone())
        };
        if let Some(config) = known(&self.configs.read()) {
            return config;
        }
        let mut configs = self.configs.write();
        known(&configs).unwrap_or_else(|| {
            let config = session_config(config_options(), strategy);
            configs.push((strategy, config.clone()));
            config
        })
    }

    pub(crate) fn threads(&self) -> usize {
        self.options.threads.max(1)
    }

    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.runtime.as_ref().map(Runtime::handle)
    }

    /// A statement's own memory.
    pub(crate) fn statement_pool(&self) -> Arc<StatementPool> {
        let limit = usize::try_from(self.options.statement_memory_bytes).unwrap_or(usize::MAX);
        Arc::new(StatementPool::new(limit, Arc::clone(&self.budget)))
    }

    /// Where a statement with that memory runs and spills.
    pub(crate) fn statement_runtime(&self, pool: Arc<StatementPool>) -> Arc<RuntimeEnv> {
        Arc::new(RuntimeEnv { memory_pool: pool, ..self.base.clone() })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A runtime may not wait for its threads inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// DataFusion's rules, and after the one that pushes filters down, ours, which takes the leakproof ones further.
///
/// The join order comes after it too. It needs the equalities among what came down, which one rule extracts before it,
/// and inner joins that another has not yet turned into semi joins, which stay where they are.
fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let (mut semi_joins, mut rules): (Vec<_>, Vec<_>) =
        Optimizer::new().rules.into_iter().partition(|rule| rule.name() == EliminateJoin.name());
    let pushed = rules.iter().position(|rule| rule.name() == "push_down_filter").map_or(rules.len(), |at| at + 1);
    let mut ours: Vec<Arc<dyn OptimizerRule + Send + Sync>> =
        vec![Arc::new(ExtractEquijoinPredicate::new()), Arc::new(Leakproof)];
    ours.append(&mut semi_joins);
    rules.splice(pushed..pushed, ours);
    rules
}

/// DataFusion's rules, and before its last, which only checks, ours.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.insert(rules.len().saturating_sub(1), Arc::new(PushJoinKeys));
    rules
}

impl Engine {
    /// The logical rules, with the join order of a version's statistics if one is given.
    pub(crate) fn optimizer(&self, version: Option<&Arc<Version>>) -> Optimizer {
        let mut rules = self.logical_rules.clone();
        let after = rules.iter().position(|rule| rule.name() == Leakproof.name()).map_or(rules.len(), |at| at + 1);
        if let Some(version) = version {
            rules.insert(after, Arc::new(JoinOrder::new(Arc::clone(version))));
        }
        Optimizer::with_rules(rules)
    }
}

/// Options that every statement has.
pub(crate) fn config_options() -> ConfigOptions {
    let mut options = ConfigOptions::default();
    options.catalog.information_schema = false;
    debug_assert_eq!(usize::from(options.execution.batch_size), BATCH_ROWS);
    options.execution.time_zone = Some("+00:00".to_owned());
    options.execution.planning_concurrency = 1;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = true;
    // Both give wrong rows in this version of DataFusion (its issues 24816 and 25264).
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.filter_null_join_keys = true;
    options
}

fn session_config(mut options: ConfigOptions, strategy: Strategy) -> SessionConfig {
    options.execution.sort_spill_reservation_bytes = strategy.sort_reservation;
    options.execution.target_partitions = strategy.partitions;
    options.optimizer.prefer_hash_join = strategy.hash_joins;
    if strategy.partitions == 1 {
        options.optimizer.enable_round_robin_repartition = false;
        options.optimizer.repartition_aggregations = false;
        options.optimizer.repartition_joins = false;
        options.optimizer.repartition_sorts = false;
        options.optimizer.repartition_windows = false;
    }
    SessionConfig::from(options)
}
