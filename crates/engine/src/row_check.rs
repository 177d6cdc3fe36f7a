//! WITH CHECK: whether the rows a statement would write may be written.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{Array, BooleanArray, RecordBatch},
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    common::{Column, DFSchema, DataFusionError},
    logical_expr::{
        execution_props::ExecutionProps, physical_planning_context::PhysicalPlanningContext, simplify::SimplifyContext,
    },
    optimizer::simplify_expressions::ExprSimplifier,
    physical_expr::{PhysicalExpr, create_physical_expr},
};
use weir_model::{Code, ObjectName, Refusal, Result};
use weir_policy::RowFilter;
use weir_sql::ast;

use crate::{
    binder::Binder,
    error::{Values, plan_refusal, refusal},
    semantics::{ZoneOf, settle_all},
};

/// The checks of one statement on one table.
#[derive(Debug)]
pub(crate) struct RowCheck {
    table: ObjectName,
    nothing: bool,
    /// Columns the checks read, by their place in the table.
    columns: Vec<usize>,
    checks: Vec<Arc<dyn PhysicalExpr>>,
}

/// Which part of a policy new rows must pass.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    /// WITH CHECK of the command's own policies.
    Check(&'a RowFilter),
    /// USING of the SELECT policies: an UPDATE that reads may not put rows out of its own sight.
    Using(&'a RowFilter),
}

impl RowCheck {
    pub(crate) fn bind(
        binder: &Binder<'_>,
        table: &ObjectName,
        schema: &SchemaRef,
        parts: &[Part<'_>],
    ) -> Result<RowCheck> {
        let mut nothing = false;
        let mut expressions: Vec<&ast::Expr> = Vec::new();
        for part in parts {
            let (Part::Check(filter) | Part::Using(filter)) = part;
            match filter {
                RowFilter::Unrestricted => {}
                RowFilter::Nothing => nothing = true,
                RowFilter::Filtered(filtered) => match part {
                    Part::Check(_) => expressions.extend(&filtered.check),
                    Part::Using(_) => expressions.extend(&filtered.using),
                },
            }
        }
        let (columns, checks) = compile(binder, schema, &expressions).map_err(|error| plan_refusal(&error))?;
        Ok(RowCheck { table: table.clone(), nothing, columns, checks })
    }

    /// # Errors
    /// `row_check_violation` for the first row that does not pass; NULL does not pass.
    pub(crate) fn check(&self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.nothing {
            return Err(self.violated());
        }
        if self.checks.is_empty() {
            return Ok(());
        }
        let read =
            batch.project(&self.columns).map_err(|error| crate::error::arrow_refusal(&error, Values::Withheld))?;
        for check in &self.checks {
            let answer = check
                .evaluate(&read)
                .and_then(|value| value.into_array(read.num_rows()))
                .map_err(|error| refusal(&error, Values::Withheld))?;
            let passes = answer
                .as_any()
                .downcast_ref::<BooleanArray>()
                .is_some_and(|flags| flags.null_count() == 0 && flags.true_count() == flags.len());
            if !passes {
                return Err(self.violated());
            }
        }
        Ok(())
    }

    fn violated(&self) -> Refusal {
        Refusal::new(
            Code::RowCheckViolation,
            format!("new row violates row-level security policy for table \"{}\"", self.table.name()),
        )
        .hint("write only rows that the table's policies let you write")
    }
}

type Compiled = (Vec<usize>, Vec<Arc<dyn PhysicalExpr>>);

fn compile(binder: &Binder<'_>, schema: &SchemaRef, expressions: &[&ast::Expr]) -> Result<Compiled, DataFusionError> {
    let whole = Arc::new(DFSchema::try_from(Arc::clone(schema))?);
    let context = SimplifyContext::builder()
        .with_config_options(Arc::new(crate::engine::config_options()))
        .with_schema(Arc::clone(&whole))
        .build();
    let simplifier = ExprSimplifier::new(context);
    let mut bound = Vec::with_capacity(expressions.len());
    let mut columns: BTreeSet<usize> = BTreeSet::new();
    for expr in expressions {
        let expr = binder.expression(expr, &whole, Vec::new())?;
        let expr = crate::literals::resolve_all(expr, &whole, ZoneOf::Policy)?;
        let expr = settle_all(simplifier.coerce(expr, &whole)?, &whole, ZoneOf::Policy)?;
        let expr = simplifier.simplify(expr)?;
        for Column { name, .. } in expr.column_refs() {
            columns.insert(schema.index_of(name)?);
        }
        bound.push(expr);
    }
    let columns: Vec<usize> = columns.into_iter().collect();
    let read = DFSchema::try_from(Arc::new(Schema::new(schema.project(&columns)?.fields().clone())))?;
    let context = PhysicalPlanningContext::default();
    let checks = bound
        .iter()
        .map(|expr| create_physical_expr(expr, &read, &ExecutionProps::new(), &context))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((columns, checks))
}
