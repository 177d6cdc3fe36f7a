//! Scalar subqueries that may have no row.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, DataFusionError,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, LogicalPlan, Projection, Subquery},
};

use crate::{functions::nullable, rewrite};

pub(super) fn lower(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    rewrite::expressions(plan, |expr| {
        expr.transform_down(|part| match part {
            Expr::ScalarSubquery(subquery) if promises(&subquery.subquery) => {
                Ok(Transformed::yes(Expr::ScalarSubquery(may_be_null(subquery)?)))
            }
            other => Ok(Transformed::no(other)),
        })
    })
}

/// Whether its column says that it is never NULL, and its rows may be none.
fn promises(plan: &LogicalPlan) -> bool {
    plan.schema().fields().first().is_some_and(|field| !field.is_nullable()) && !has_one_row(plan)
}

fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(relation) => relation.produce_one_row,
        _ => false,
    }
}

fn may_be_null(subquery: Subquery) -> Result<Subquery, DataFusionError> {
    let Subquery { subquery: plan, outer_ref_columns, spans } = subquery;
    let outputs = plan.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        nullable(column).alias_qualified(qualifier.cloned(), field.name())
    });
    let projection = Projection::try_new(outputs.collect(), Arc::clone(&plan))?;
    Ok(Subquery { subquery: Arc::new(LogicalPlan::Projection(projection)), outer_ref_columns, spans })
}
