//! Physical planning: raw tables to scans of the version that is read, barriers into their scans.

use std::{
    any::Any,
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProviderList, Session},
    common::{
        Column, DFSchema, DataFusionError, ScalarValue,
        config::{ConfigOptions, TableOptions},
        tree_node::TreeNode,
    },
    execution::{TaskContext, runtime_env::RuntimeEnv},
    logical_expr::{
        AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableScan, UserDefinedLogicalNode, WindowUDF,
        execution_props::ExecutionProps,
        expr_rewriter::unnormalize_col,
        physical_planning_context::PhysicalPlanningContext,
        registry::{ExtensionTypeRegistryRef, MemoryExtensionTypeRegistry},
    },
    physical_expr::PhysicalExpr,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::ExecutionPlan,
    physical_planner::{ExtensionPlanner, PhysicalPlanner},
    prelude::SessionConfig,
};
use weir_model::{Code, Refusal};

use crate::{
    barrier::Barrier,
    binder::undefined_table,
    engine::Engine,
    error::external,
    governance::Snapshot,
    governed::{RawTable, Rows},
    scan::{Conjunct, Scan, ScanExec, ScanFilter, Source, conjuncts, is_simple},
};

/// What physical planning may ask: the shared functions and rules, the statement's memory, the snapshot it reads.
pub(crate) struct StatementSession {
    engine: Arc<Engine>,
    snapshot: Snapshot,
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    props: ExecutionProps,
    table_options: TableOptions,
    extension_types: ExtensionTypeRegistryRef,
}

impl fmt::Debug for StatementSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatementSession")
    }
}

impl StatementSession {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        snapshot: Snapshot,
        config: SessionConfig,
        runtime: Arc<RuntimeEnv>,
    ) -> StatementSession {
        let mut props = ExecutionProps::new();
        props.config_options = Some(Arc::clone(config.options()));
        StatementSession {
            engine: Arc::clone(engine),
            snapshot,
            config,
            runtime,
            props,
            table_options: TableOptions::default(),
            extension_types: Arc::new(MemoryExtensionTypeRegistry::new_empty()),
        }
    }

    pub(crate) async fn plan(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.engine.physical_planner.create_physical_plan(plan, self).await
    }

    /// Functions are bound into plans; a task needs no registry to find them by name.
    pub(crate) fn task(&self) -> Arc<TaskContext> {
        Arc::new(TaskContext::new(
            None,
            String::new(),
            self.config.clone(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::clone(&self.runtime),
        ))
    }

    fn scan(&self, raw: &RawTable) -> Result<(Source, bool), DataFusionError> {
        let gone = || external(undefined_table(raw.object().name()));
        match raw.rows() {
            Rows::Stored => {
                let table = self.snapshot.version.table(raw.object()).ok_or_else(gone)?;
                let has_row_ids = raw.has_row_ids();
                let stored = table.schema().arrow().fields();
                let planned = raw.schema_ref().fields();
                let same = planned.len() == stored.len() + usize::from(has_row_ids)
                    && planned.iter().zip(stored).all(|(planned, stored)| {
                        planned.name() == stored.name()
                            && planned.data_type() == stored.data_type()
                            && planned.is_nullable() == stored.is_nullable()
                    });
                if !same {
                    return Err(external(
                        Refusal::new(Code::SerializationFailure, "the table changed since the statement was planned")
                            .hint("prepare the statement again"),
                    ));
                }
                let units = table.scan_units().into();
                Ok((Source::Table { table: Arc::clone(table), units }, has_row_ids))
            }
            Rows::Virtual => {
                let batches = self.snapshot.virtuals.batches(raw.object()).map_err(external)?;
                Ok((Source::Batches(batches.into()), false))
            }
            Rows::Computed(make) => Ok((Source::Batches(make().map_err(external)?.into()), false)),
            Rows::Series(series) => Ok((Source::Series(*series), false)),
        }
    }
}

/// Plans the two nodes that are ours.
#[derive(Debug)]
pub(crate) struct GovernedPlanner;

#[async_trait]
impl ExtensionPlanner for GovernedPlanner {
    /// A barrier: its predicate joins the scan's own filters.
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>, DataFusionError> {
        let Some(barrier) = node.as_any().downcast_ref::<Barrier>() else { return Ok(None) };
        let input = match physical_inputs {
            [only] => only.downcast_ref::<ScanExec>(),
            _ => None,
        };
        let Some(input) = input else {
            return Err(DataFusionError::Internal("a barrier is not over a scan".into()));
        };
        let mut scan = input.scan().clone();
        scan.hides_rows = true;
        if matches!(barrier.predicate(), Expr::Literal(ScalarValue::Boolean(Some(false)) | ScalarValue::Null, _)) {
            scan.source = Source::Batches(Arc::new([]));
            scan.filters = Vec::new();
            scan.compiled = Arc::default();
            return Ok(Some(Arc::new(ScanExec::new(scan)?)));
        }
        scan.filters.push(unnormalize_col(barrier.predicate().clone()));
        scan.compiled = Arc::new(compile(&scan, planner, session, context)?);
        Ok(Some(Arc::new(ScanExec::new(scan)?)))
    }

    async fn plan_table_scan(
        &self,
        planner: &dyn PhysicalPlanner,
        scan: &TableScan,
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>, DataFusionError> {
        let Some(raw) = scan.source.downcast_ref::<RawTable>() else { return Ok(None) };
        let Some(statement) = session.as_any().downcast_ref::<StatementSession>() else {
            return Err(DataFusionError::Internal("a table is planned outside a statement".into()));
        };
        let (source, has_row_ids) = statement.scan(raw)?;
        let projection: Arc<[usize]> = match &scan.projection {
            Some(columns) => columns.as_slice().into(),
            None => (0..raw.schema_ref().fields().len()).collect(),
        };
        let mut planned = Scan {
            source,
            full_schema: Arc::clone(raw.schema_ref()),
            has_row_ids,
            projection,
            filters: scan.filters.iter().cloned().map(unnormalize_col).collect(),
            compiled: Arc::default(),
            probes: Vec::new(),
            hides_rows: false,
            fetch: scan.fetch,
            partitions: session.config_options().execution.target_partitions,
            batch_size: session.config_options().execution.batch_size.into(),
        };
        if !planned.filters.is_empty() {
            planned.compiled = Arc::new(compile(&planned, planner, session, context)?);
        }
        Ok(Some(Arc::new(ScanExec::new(planned)?)))
    }
}

/// Fewer blocks than this cost less to read than to rule out.
const PRUNED_BLOCKS_MIN: usize = 4;

fn compile(
    scan: &Scan,
    planner: &dyn PhysicalPlanner,
    session: &dyn Session,
    context: &PhysicalPlanningContext,
) -> Result<ScanFilter, DataFusionError> {
    let conjuncts = conjuncts(&scan.filters);
    let mut columns: BTreeSet<usize> = BTreeSet::new();
    for conjunct in &conjuncts {
        for Column { name, .. } in conjunct.column_refs() {
            columns.insert(scan.full_schema.index_of(name)?);
        }
    }
    let columns: Vec<usize> = columns.into_iter().collect();
    let schema: SchemaRef = Arc::new(Schema::new(scan.full_schema.project(&columns)?.fields().clone()));
    let df_schema = DFSchema::try_from(Arc::clone(&schema))?;
    let compiled = conjuncts
        .into_iter()
        .map(|conjunct| {
            let physical = planner.create_physical_expr(conjunct, &df_schema, session, context)?;
            Ok(Conjunct { physical, simple: is_simple(conjunct) })
        })
        .collect::<Result<Vec<Conjunct>, DataFusionError>>()?;
    let prune = match &scan.source {
        Source::Table { units, .. } => units.iter().map(|unit| unit.blocks().len()).sum::<usize>() >= PRUNED_BLOCKS_MIN,
        _ => false,
    };
    Ok(ScanFilter::new(columns, compiled, &schema, prune))
}

#[async_trait]
impl Session for StatementSession {
    fn session_id(&self) -> &str {
        ""
    }

    fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// Tables are found by the binder alone.
    fn catalog_list(&self) -> Arc<dyn CatalogProviderList> {
        Arc::new(datafusion::catalog::EmptyCatalogProviderList)
    }

    fn physical_optimizers(&self) -> &[Arc<dyn PhysicalOptimizerRule + Send + Sync>] {
        &self.engine.physical_rules
    }

    async fn create_physical_plan(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.plan(plan).await
    }

    fn create_physical_expr(&self, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        let context = PhysicalPlanningContext::default();
        datafusion::physical_expr::create_physical_expr(&expr, schema, &self.props, &context)
    }

    fn scalar_functions(&self) -> &HashMap<String, Arc<ScalarUDF>> {
        &self.engine.functions.scalar
    }

    fn higher_order_functions(&self) -> &HashMap<String, Arc<HigherOrderUDF>> {
        &self.engine.functions.higher_order
    }

    fn aggregate_functions(&self) -> &HashMap<String, Arc<AggregateUDF>> {
        &self.engine.functions.aggregate
    }

    fn window_functions(&self) -> &HashMap<String, Arc<WindowUDF>> {
        &self.engine.functions.window
    }

    fn extension_type_registry(&self) -> &ExtensionTypeRegistryRef {
        &self.extension_types
    }

    fn runtime_env(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }

    fn execution_props(&self) -> &ExecutionProps {
        &self.props
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_options(&self) -> &TableOptions {
        &self.table_options
    }

    fn table_options_mut(&mut self) -> &mut TableOptions {
        &mut self.table_options
    }

    fn task_ctx(&self) -> Arc<TaskContext> {
        self.task()
    }

    fn config_options(&self) -> &ConfigOptions {
        self.config.options()
    }
}

/// Whether an expression has a placeholder that execution must fill.
pub(crate) fn has_placeholder(expr: &Expr) -> bool {
    expr.exists(|part| Ok(matches!(part, Expr::Placeholder(_)))).unwrap_or(true)
}
