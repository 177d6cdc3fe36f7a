//! One planning of one statement.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use datafusion::{
    common::{
        DataFusionError,
        alias::AliasGenerator,
        config::ConfigOptions,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::FunctionRegistry,
    logical_expr::{Expr, LogicalPlan, TableScan, UserDefinedLogicalNode},
    optimizer::{
        AnalyzerRule, OptimizerConfig,
        analyzer::{Analyzer, resolve_grouping_function::ResolveGroupingFunction, type_coercion::TypeCoercion},
    },
};
use weir_model::{Code, ObjectName, Refusal, Result, ValueType};
use weir_policy::ColumnMask;
use weir_sql::{CopyDirection, Kind, RawName, Statement, ast};

use super::{Bound, Estimate, Finished, Planned, Query, Template, Work, columns::output_columns};
use crate::{
    barrier::Barrier,
    binder::{Binder, infer, infer_from_casts, parameter_fields},
    catalog::{CatalogView, shown_name},
    dialect,
    error::{Values, plan_refusal},
    functions::{Functions, session_value::BindSessionValues},
    governance::{Governance, Snapshot},
    governed::{RawTable, Rows},
    lineage::{MaskedScans, TableMasks, Traced, trace},
    literals::UnknownLiterals,
    lookup::KeyLookup,
    lower::lower,
    naming::OutputNames,
    narrow::WholeNumbers,
    numeric_digits::NumericDigits,
    physical::has_placeholder,
    semantics::Semantics,
    session::EngineSession,
    types::Column,
};

pub(crate) struct Planning<'a> {
    pub session: &'a EngineSession,
    pub snapshot: &'a Snapshot,
    pub governance: &'a Governance,
    /// The plan is for the client's eyes: statistics, which count hidden rows too, may not order it.
    shown: bool,
}

impl<'a> Planning<'a> {
    pub(crate) fn new(session: &'a EngineSession, snapshot: &'a Snapshot, governance: &'a Governance) -> Planning<'a> {
        Planning { session, snapshot, governance, shown: false }
    }

    pub(crate) fn binder(&self) -> Binder<'a> {
        let session = self.session;
        Binder::new(&session.engine().functions, session.options(), self.snapshot, self.governance)
    }

    pub(crate) fn statement(&self, statement: &Statement, types: &[Option<ValueType>]) -> Result<Planned> {
        let types = complete(types, statement.parameters());
        match (statement.kind(), statement.tree()) {
            (Kind::Query, ast::Statement::Query(query)) => self.query(query, statement.is_catalog_query(), types),
            (Kind::Insert, ast::Statement::Insert(insert)) => self.insert(insert, types),
            (Kind::Update, ast::Statement::Update(update)) => self.update(update, statement, types),
            (Kind::Delete, ast::Statement::Delete(delete)) => self.delete(delete, statement, types),
            (Kind::CreateTableAs(_), ast::Statement::CreateTable(create)) => match &create.query {
                Some(query) => self.query(query, false, types),
                None => Err(Refusal::new(Code::Internal, "CREATE TABLE AS without a query")),
            },
            (Kind::CreateView(_), ast::Statement::CreateView(create)) => {
                if statement.parameters() > 0 {
                    return Err(Refusal::new(Code::SyntaxError, "a view cannot have parameters"));
                }
                self.query(&create.query, false, types)
            }
            (Kind::Copy(copy), tree) => match (&copy.direction, tree) {
                (CopyDirection::OutQuery, ast::Statement::Copy { source: ast::CopySource::Query(query), .. }) => {
                    self.query(query, statement.is_catalog_query(), types)
                }
                (CopyDirection::OutTable { table, columns }, _) => {
                    self.query(&select_columns(table, columns), false, types)
                }
                _ => Err(Refusal::new(Code::Internal, "COPY FROM has no plan")),
            },
            (Kind::Explain { statement, .. }, _) => self.explain(statement, &types),
            (Kind::Prepare(prepare), _) => self.statement(&prepare.statement, &types),
            (Kind::Declare(declare), _) => self.statement(&declare.statement, &types),
            (other, _) => Err(Refusal::unsupported(format!("a plan for {}", other.label()))),
        }
    }

    fn explain(&self, statement: &Statement, types: &[Option<ValueType>]) -> Result<Planned> {
        let inner = Planning { shown: true, ..*self }.statement(statement, types)?;
        let mut lines = match &inner.template().work {
            Work::Insert(insert) => vec![format!("Insert on {}", insert.object())],
            Work::Change(change) => vec![format!("{} on {}", change.verb(), change.object())],
            _ => Vec::new(),
        };
        if let Some(query) = inner.template().query() {
            let depth = lines.len();
            lines.extend(
                crate::explain::lines(&query.plan).into_iter().map(|line| format!("{}{line}", "  ".repeat(depth))),
            );
        }
        let column = Column { name: "QUERY PLAN".into(), value_type: ValueType::TEXT, table_oid: 0, attribute: 0 };
        Ok(Planned::new(Template {
            work: Work::Explain(lines),
            columns: Some(Arc::new([column])),
            schema: crate::explain::schema(),
            parameters: inner.parameters().to_vec(),
            masks: crate::mask::MaskPlan::clear(1),
            key: self.governance.mask_key.clone(),
            values: Values::Withheld,
            estimate: Estimate::default(),
            reusable: inner.is_reusable(),
            canonical: std::sync::OnceLock::new(),
        }))
    }

    fn query(&self, query: &ast::Query, catalog: bool, types: Vec<Option<ValueType>>) -> Result<Planned> {
        let mut binder = self.binder();
        let mut query = query.clone();
        let mut types = types;
        if catalog {
            infer_from_casts(&query, &mut types);
            let view = CatalogView::with_settings(
                self.snapshot,
                self.governance,
                self.session.identity(),
                self.session.settings().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            );
            let rewritten = view.rewrite(&ast::Statement::Query(Box::new(query.clone())))?;
            if let ast::Statement::Query(rewritten) = rewritten {
                query = *rewritten;
            }
            binder = binder.with_catalog(view);
        }
        let (query, names) = dialect::prepare(&query);
        let bound = self.bind(&binder, &query, types)?;
        let parameters = bound.parameters;
        let mut finished = self.finish(&binder, bound.plan, &names)?;
        if catalog {
            finished.columns.iter_mut().for_each(|column| column.name = shown_name(&column.name).to_owned());
        }
        Ok(Planned::new(Template {
            work: Work::Query(finished.query),
            columns: Some(finished.columns.into()),
            schema: finished.schema,
            parameters,
            masks: finished.masks,
            key: self.governance.mask_key.clone(),
            values: finished.values,
            estimate: finished.estimate,
            reusable: !catalog,
            canonical: std::sync::OnceLock::new(),
        }))
    }

    /// SQL to a plan. Without all types known it plans twice: once to learn the parameters' types, once with them.
    pub(crate) fn bind(
        &self,
        binder: &Binder<'_>,
        query: &ast::Query,
        mut types: Vec<Option<ValueType>>,
    ) -> Result<Bound> {
        if types.iter().any(Option::is_none) {
            let first = binder.query(query, parameter_fields(&types));
            let learned = first.and_then(|plan| infer(&plan, &mut types));
            // What fails without types may well plan with text for the unknown ones; its error is the one to give.
            if let Err(error) = learned {
                tracing::trace!(%error, "planning without parameter types failed");
            }
            types.iter_mut().for_each(|known| {
                known.get_or_insert(ValueType::TEXT);
            });
        }
        let plan = binder.query(query, parameter_fields(&types)).map_err(|error| plan_refusal(&error))?;
        Ok(Bound { plan, parameters: types.into_iter().flatten().collect() })
    }

    /// Verifies, analyses, traces, optimises, verifies.
    pub(crate) fn finish(&self, binder: &Binder<'_>, plan: LogicalPlan, names: &OutputNames) -> Result<Finished> {
        let refused = |error: DataFusionError| plan_refusal(&error);
        let verify = Arc::new(binder.verify());
        let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::clone(&verify) as _];
        rules.extend(settling());
        let analyzer = Analyzer::with_rules(rules);
        let options = self.session.options();
        let analysed = analyzer.execute_and_check(plan, options, |_, _| {}).map_err(refused)?;
        let columns = output_columns(&analysed, names);
        let scans = Scans::of(&analysed).map_err(refused)?;
        let Traced { plan, masks } = trace(analysed, &scans, &self.governance.mask_key)?;
        let plan = lower(plan).map_err(refused)?;
        let config = Optimizing {
            functions: &self.session.engine().functions,
            options: Arc::clone(options),
            aliases: Arc::new(AliasGenerator::new()),
        };
        let plan = self
            .session
            .engine()
            .optimizer((!self.shown).then_some(&self.snapshot.version))
            .optimize(plan, &config, |_, _| {})
            .map_err(refused)?;
        verify.optimised(&plan).map_err(refused)?;
        let facts = Facts::of(&plan, self.snapshot)?;
        let schema = Arc::clone(plan.schema().inner());
        let lookup = if facts.is_small { KeyLookup::recognise(&plan).map_err(refused)? } else { None };
        let query = Query {
            tables: facts.tables,
            has_placeholders: facts.has_placeholders,
            is_plain: facts.is_plain,
            lookup,
            plan: Arc::new(plan),
        };
        Ok(Finished {
            query,
            columns,
            schema: masks.schema(&schema),
            masks,
            values: if facts.touches_masked { Values::Withheld } else { Values::Shown },
            estimate: facts.estimate,
        })
    }
}

/// The rules that give a plan its types and PostgreSQL's meaning.
pub(crate) fn settling() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(BindSessionValues),
        Arc::new(UnknownLiterals),
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(WholeNumbers),
        Arc::new(NumericDigits),
        Arc::new(TypeCoercion::new()),
        Arc::new(Semantics),
    ]
}

/// As many types as the statement has parameters.
fn complete(types: &[Option<ValueType>], parameters: usize) -> Vec<Option<ValueType>> {
    let mut types = types.to_vec();
    types.resize(types.len().max(parameters), None);
    types
}

/// `SELECT columns FROM table`, for COPY TO.
fn select_columns(table: &RawName, columns: &[String]) -> ast::Query {
    let parts = table.schema.iter().chain([&table.name]);
    let name = ast::ObjectName(parts.map(|part| ast::ObjectNamePart::Identifier(quoted(part))).collect());
    let projection = if columns.is_empty() {
        vec![ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())]
    } else {
        columns.iter().map(|column| ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(quoted(column)))).collect()
    };
    crate::tree::select(projection, crate::tree::table(name, None), None)
}

pub(crate) fn quoted(name: &str) -> ast::Ident {
    ast::Ident::with_quote('"', name)
}

/// Tells lineage what a plan's leaves are: the masks of every object the plan scans.
struct Scans(HashMap<ObjectName, (String, Arc<[ColumnMask]>)>);

impl Scans {
    fn of(plan: &LogicalPlan) -> Result<Scans, DataFusionError> {
        let mut masks = HashMap::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(raw) = scan.source.downcast_ref::<RawTable>()
                && !raw.masks().is_empty()
            {
                let label = raw.object().to_string();
                masks.entry(raw.object().clone()).or_insert_with(|| (label, Arc::clone(raw.masks())));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Scans(masks))
    }
}

impl MaskedScans for Scans {
    fn masks(&self, scan: &TableScan) -> Option<TableMasks<'_>> {
        let raw = scan.source.downcast_ref::<RawTable>()?;
        let (table, masks) = self.0.get(raw.object())?;
        Some(TableMasks { table, masks })
    }

    fn is_barrier(&self, node: &dyn UserDefinedLogicalNode) -> bool {
        node.as_any().is::<Barrier>()
    }
}

/// The optimiser's view of a statement. It has no clock: a template must not hold the time it was made.
struct Optimizing<'a> {
    functions: &'a Functions,
    options: Arc<ConfigOptions>,
    aliases: Arc<AliasGenerator>,
}

impl OptimizerConfig for Optimizing<'_> {
    fn query_execution_start_time(&self) -> Option<DateTime<Utc>> {
        None
    }

    fn alias_generator(&self) -> &Arc<AliasGenerator> {
        &self.aliases
    }

    fn options(&self) -> Arc<ConfigOptions> {
        Arc::clone(&self.options)
    }

    fn function_registry(&self) -> Option<&dyn FunctionRegistry> {
        Some(self.functions)
    }
}

/// Expressions up to which a plan cannot be deep enough to need the engine's larger stacks.
const SMALL_EXPRESSIONS: usize = 256;

/// Calls whose cost is not bounded by the rows they are made for: few are known to be cheap.
fn may_take_long(expr: &Expr) -> bool {
    const CHEAP: [&str; 15] = [
        "abs",
        "ceil",
        "coalesce",
        "date_part",
        "date_trunc",
        "floor",
        "length",
        "lower",
        "make_array",
        "nullif",
        "round",
        "substr",
        "trunc",
        "upper",
        crate::functions::MEMBER,
    ];
    matches!(expr, Expr::ScalarFunction(call) if !CHEAP.contains(&call.name()))
}

/// What the optimised plan tells about running it.
struct Facts {
    tables: Vec<ObjectName>,
    has_placeholders: bool,
    is_plain: bool,
    is_small: bool,
    touches_masked: bool,
    estimate: Estimate,
}

impl Facts {
    fn of(plan: &LogicalPlan, snapshot: &Snapshot) -> Result<Facts> {
        let mut tables = Vec::new();
        let mut scans = 0;
        let mut expressions = 0_usize;
        let mut facts = Facts {
            tables: Vec::new(),
            has_placeholders: false,
            is_plain: true,
            is_small: true,
            touches_masked: false,
            estimate: Estimate::default(),
        };
        let walked = plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                facts.has_placeholders |= has_placeholder(expr);
                expr.apply(|part| {
                    expressions += 1;
                    facts.is_plain &= !may_take_long(part);
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
            match node {
                LogicalPlan::TableScan(scan) => {
                    scans += 1;
                    if let Some(raw) = scan.source.downcast_ref::<RawTable>() {
                        facts.touches_masked |= !raw.masks().is_empty();
                        match raw.rows() {
                            Rows::Stored => tables.push(raw.object().clone()),
                            Rows::Series(_) => facts.is_plain = false,
                            Rows::Virtual | Rows::Computed(_) => {}
                        }
                    } else {
                        facts.is_plain = false;
                    }
                    if scan.filters.is_empty() && scan.fetch.is_none() {
                        facts.estimate.full_scans += 1;
                    }
                }
                LogicalPlan::Join(_) | LogicalPlan::RecursiveQuery(_) | LogicalPlan::Unnest(_) => {
                    facts.is_plain = false
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
        walked.map_err(|error| plan_refusal(&error))?;
        facts.is_small = expressions <= SMALL_EXPRESSIONS;
        facts.is_plain &= scans <= 1 && facts.is_small;
        facts.estimate.tables = tables.len();
        let counted = tables.iter().filter_map(|name| snapshot.version.table(name)).map(|table| table.row_count());
        facts.estimate.rows = Some(counted.fold(0, u64::saturating_add));
        tables.sort();
        tables.dedup();
        facts.tables = tables;
        Ok(facts)
    }
}
