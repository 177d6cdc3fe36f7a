//! Constant expressions: DEFAULTs, and the values of INSERT … VALUES that are more than a literal.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::Schema,
};
use datafusion::{
    common::{
        DFSchema, DataFusionError,
        tree_node::{TransformedResult, TreeNode},
    },
    logical_expr::{
        Expr, execution_props::ExecutionProps, physical_planning_context::PhysicalPlanningContext,
        simplify::SimplifyContext,
    },
    optimizer::simplify_expressions::ExprSimplifier,
    physical_expr::create_physical_expr,
};
use weir_model::{Code, Refusal, Result, ValueType};
use weir_sql::{Kind, ast};

use crate::{
    bind::{Bindings, fill},
    binder::{Binder, parameter_fields},
    error::{Values, plan_refusal, refusal},
    functions::session_value,
    literals,
    semantics::{ZoneOf, settle_all},
};

/// An expression over nothing: no column, no subquery, no aggregate.
#[derive(Debug, Clone)]
pub(crate) struct Constant(Expr);

impl Constant {
    pub(crate) fn bind(binder: &Binder<'_>, expr: &ast::Expr, types: &[Option<ValueType>]) -> Result<Constant> {
        let schema = Arc::new(DFSchema::empty());
        let refused = |error: DataFusionError| plan_refusal(&error);
        let bound = binder.expression(expr, &schema, parameter_fields(types)).map_err(refused)?;
        let zone = ZoneOf::Session;
        let bound = bound.transform_up(|part| session_value::bind(part, zone)).data().map_err(refused)?;
        let bound = literals::resolve_all(bound, &schema, zone).map_err(refused)?;
        let compound = bound.exists(|part| {
            Ok(matches!(
                part,
                Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::AggregateFunction(_)
                    | Expr::WindowFunction(_)
                    | Expr::OuterReferenceColumn(..)
                    | Expr::Unnest(_)
            ))
        });
        if compound.map_err(refused)? {
            return Err(Refusal::unsupported("a subquery or an aggregate in this place"));
        }
        let context = SimplifyContext::builder()
            .with_config_options(Arc::new(crate::engine::config_options()))
            .with_schema(Arc::clone(&schema))
            .build();
        let coerced = ExprSimplifier::new(context).coerce(bound, &schema).map_err(refused)?;
        Ok(Constant(settle_all(coerced, &schema, zone).map_err(refused)?))
    }

    /// The DEFAULT of a column, from the text the catalog keeps.
    pub(crate) fn default(binder: &Binder<'_>, text: &str) -> Result<Constant> {
        Constant::bind(binder, &parse_default(text)?, &[])
    }

    /// One value a row; volatile functions are called for each.
    pub(crate) fn evaluate(&self, bindings: &Bindings, rows: usize) -> Result<ArrayRef> {
        let refused = |error: DataFusionError| refusal(&error, Values::Shown);
        let expr = fill(self.0.clone(), bindings).map_err(refused)?;
        let schema = DFSchema::empty();
        let context = PhysicalPlanningContext::default();
        let physical = create_physical_expr(&expr, &schema, &ExecutionProps::new(), &context).map_err(refused)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
            .map_err(|error| crate::error::arrow_refusal(&error, Values::Shown))?;
        physical.evaluate(&batch).and_then(|value| value.into_array(rows)).map_err(refused)
    }
}

/// Reads back what CREATE TABLE stored.
fn parse_default(text: &str) -> Result<ast::Expr> {
    let damaged = || Refusal::new(Code::DataCorrupted, "the default of a column cannot be read");
    let parsed = weir_sql::parse(&format!("SELECT {text}"))?;
    let [statement] = parsed.as_slice() else { return Err(damaged()) };
    let (Kind::Query, ast::Statement::Query(query)) = (statement.kind(), statement.tree()) else {
        return Err(damaged());
    };
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return Err(damaged()) };
    match select.projection.as_slice() {
        [ast::SelectItem::UnnamedExpr(expr)] => Ok(expr.clone()),
        _ => Err(damaged()),
    }
}
