//! Names to governed plans: the only way from SQL to tables.
//!
//! Every name resolves through [`Binder::get_table_source`], which knows the objects of one snapshot that one governance
//! allows, and hands out nothing but governed sources.

mod placeholders;
mod resolve;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    sync::Arc,
};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{
    common::{DataFusionError, TableReference, config::ConfigOptions},
    datasource::{cte_worktable::CteWorkTable, provider_as_source},
    logical_expr::{
        AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
        planner::{ContextProvider, ExprPlanner, TypePlanner},
    },
    sql::planner::{ParserOptions, PlannerContext, SqlToRel},
};
use weir_model::ObjectName;
use weir_sql::ast;

pub(crate) use self::{
    placeholders::{infer, infer_from_casts, parameter_fields, parameter_type},
    resolve::undefined_table,
};
use crate::{
    catalog::CatalogView,
    error::external,
    functions::{Functions, series},
    governance::{Governance, Snapshot},
    governed::{Protection, RawTable, Rows, Stamp},
    types::SqlTypes,
    verify::Verify,
};

/// The name under which an UPDATE's or DELETE's own query reads its target; no client's statement can say it.
pub(crate) const TARGET: &str = "__weir_target";

/// Views within views.
const VIEW_DEPTH_MAX: usize = 16;

/// The table that UPDATE or DELETE changes, as its query sees it: governed for the command, with row ids.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub object: ObjectName,
    pub command: weir_policy::RowCommand,
    /// Whether the statement reads columns, so that the SELECT policies hold too.
    pub reads: bool,
}

pub(crate) struct Binder<'a> {
    functions: &'a Functions,
    options: &'a ConfigOptions,
    snapshot: &'a Snapshot,
    governance: &'a Governance,
    catalog: Option<CatalogView>,
    catalog_functions: HashMap<String, Arc<ScalarUDF>>,
    target: Option<Target>,
    stamp: Stamp,
    /// One source a name, so that a table used twice is governed once.
    sources: RefCell<HashMap<ObjectName, Arc<dyn TableSource>>>,
    predicates: RefCell<Vec<Expr>>,
    view_depth: Cell<usize>,
    types: Arc<dyn TypePlanner>,
}

impl fmt::Debug for Binder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binder").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

impl<'a> Binder<'a> {
    pub(crate) fn new(
        functions: &'a Functions,
        options: &'a ConfigOptions,
        snapshot: &'a Snapshot,
        governance: &'a Governance,
    ) -> Binder<'a> {
        Binder {
            functions,
            options,
            snapshot,
            governance,
            catalog: None,
            catalog_functions: HashMap::new(),
            target: None,
            stamp: Stamp::fresh(),
            sources: RefCell::default(),
            predicates: RefCell::default(),
            view_depth: Cell::new(0),
            types: Arc::new(SqlTypes),
        }
    }

    /// Also resolves the names of the system catalogs.
    pub(crate) fn with_catalog(mut self, catalog: CatalogView) -> Binder<'a> {
        for function in catalog.functions() {
            for alias in function.aliases() {
                self.catalog_functions.insert(alias.clone(), Arc::clone(&function));
            }
            self.catalog_functions.insert(function.name().to_owned(), function);
        }
        self.catalog = Some(catalog);
        self
    }

    pub(crate) fn with_target(mut self, target: Target) -> Binder<'a> {
        self.target = Some(target);
        self
    }

    /// What the plans made here must hold to.
    pub(crate) fn verify(&self) -> Verify {
        Verify::new(self.stamp, self.predicates.borrow().clone())
    }

    /// Plans a query. `parameters` has a field for each `$n` whose type is known.
    pub(crate) fn query(
        &self,
        query: &ast::Query,
        parameters: Vec<Option<arrow::datatypes::FieldRef>>,
    ) -> Result<LogicalPlan, DataFusionError> {
        let mut context = PlannerContext::new().with_prepare_param_data_types(parameters);
        let statement = ast::Statement::Query(Box::new(query.clone()));
        self.planner().sql_statement_to_plan_with_context(statement, &mut context)
    }

    /// Plans an expression over columns of a schema.
    pub(crate) fn expression(
        &self,
        expr: &ast::Expr,
        schema: &datafusion::common::DFSchema,
        parameters: Vec<Option<arrow::datatypes::FieldRef>>,
    ) -> Result<Expr, DataFusionError> {
        let mut context = PlannerContext::new().with_prepare_param_data_types(parameters);
        self.planner().sql_to_expr(crate::dialect::prepare_expr(expr), schema, &mut context)
    }

    fn planner(&self) -> SqlToRel<'_, Binder<'a>> {
        let options = ParserOptions::new()
            .with_parse_float_as_decimal(true)
            .with_map_string_types_to_utf8view(true)
            .with_enable_ident_normalization(true);
        SqlToRel::new_with_options(self, options)
    }
}

/// PostgreSQL lets every built-in be called with its schema.
fn plain(name: &str) -> &str {
    name.strip_prefix("pg_catalog.").unwrap_or(name)
}

impl ContextProvider for Binder<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>, DataFusionError> {
        self.resolve(&name).map_err(external)
    }

    fn get_table_function_source(
        &self,
        name: &str,
        arguments: Vec<Expr>,
    ) -> Result<Arc<dyn TableSource>, DataFusionError> {
        if plain(name) != "generate_series" {
            return Err(external(weir_model::Refusal::new(
                weir_model::Code::UndefinedFunction,
                format!("table function {name} does not exist"),
            )));
        }
        let series = series(&arguments).map_err(external)?;
        let object = ObjectName::new("pg_catalog", "generate_series")
            .map_err(|why| DataFusionError::Internal(why.to_string()))?;
        let raw = RawTable::new(object, series.schema(), Rows::Series(series), self.stamp)
            .stamped(self.stamp, Protection::Unrestricted);
        Ok(Arc::new(raw))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>, DataFusionError> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let name = plain(name);
        self.catalog_functions.get(name).or_else(|| self.functions.scalar.get(name)).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order.get(plain(name)).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(plain(name)).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(plain(name)).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.functions.higher_order.keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window.keys().cloned().collect()
    }
}
