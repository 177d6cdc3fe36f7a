//! What PostgreSQL means and DataFusion's nodes do not do, put into their terms: after lineage has seen the plan as it
//! was written, and before it is optimised.
//!
//! - A scalar subquery without rows is NULL, whatever its column promises.
//! - `EXCEPT ALL` and `INTERSECT ALL` count how often a row comes.
//! - Intervals are compared, grouped and ordered by what they are worth.

mod interval;
mod multiset;
mod subquery;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DataFusionError, NullEquality,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, utils::merge_schema},
};

use crate::leakproof::is_comparison;

pub(crate) fn lower(mut plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let needs = Needs::of(&plan)?;
    if needs.multiset {
        plan = plan.transform_up_with_subqueries(multiset::lower)?.data;
    }
    if needs.interval {
        plan = plan.transform_up_with_subqueries(interval::lower)?.data;
    }
    if !needs.subquery {
        return Ok(plan);
    }
    let done = plan.transform_up_with_subqueries(subquery::lower)?;
    if !done.transformed {
        return Ok(done.data);
    }
    // What may be NULL now may be so all the way up.
    let settled = done.data.transform_up_with_subqueries(|node| {
        Ok(match node {
            LogicalPlan::Extension(_) | LogicalPlan::TableScan(_) => Transformed::no(node),
            node => Transformed::yes(node.recompute_schema()?),
        })
    })?;
    Ok(settled.data)
}

/// Most plans need nothing of it, and are looked at once.
#[derive(Debug, Default)]
struct Needs {
    multiset: bool,
    interval: bool,
    subquery: bool,
}

impl Needs {
    fn of(plan: &LogicalPlan) -> Result<Needs, DataFusionError> {
        let mut needs = Needs::default();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::Join(join) = node {
                needs.multiset |= join.null_equality == NullEquality::NullEqualsNull;
            }
            needs.interval |= node.schema().fields().iter().any(|field| is_interval(field.data_type()));
            let mut schema = None;
            node.apply_expressions(|expr| {
                expr.apply(|part| {
                    match part {
                        Expr::ScalarSubquery(_) => needs.subquery = true,
                        Expr::BinaryExpr(BinaryExpr { left, op, .. }) if is_comparison(*op) && !needs.interval => {
                            let schema = schema.get_or_insert_with(|| merge_schema(&node.inputs()));
                            needs.interval = left.get_type(schema).is_ok_and(|kind| is_interval(&kind));
                        }
                        Expr::Between(between) if !needs.interval => {
                            let schema = schema.get_or_insert_with(|| merge_schema(&node.inputs()));
                            needs.interval = between.expr.get_type(schema).is_ok_and(|kind| is_interval(&kind));
                        }
                        Expr::InList(list) if !needs.interval => {
                            let schema = schema.get_or_insert_with(|| merge_schema(&node.inputs()));
                            needs.interval = list.expr.get_type(schema).is_ok_and(|kind| is_interval(&kind));
                        }
                        _ => {}
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(needs)
    }
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_))
}
