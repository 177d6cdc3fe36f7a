//! What PostgreSQL means and DataFusion's nodes do not do, put into their terms: after lineage has seen the plan as it
//! was written, and before it is optimised.
//!
//! - A scalar subquery without rows is NULL, whatever its column promises.
//! - `EXCEPT ALL` and `INTERSECT ALL` count how often a row comes.
//! - Intervals are compared, grouped and ordered by what they are worth.

mod interval;
mod multiset;
mod subquery;

use datafusion::{common::DataFusionError, common::tree_node::Transformed, logical_expr::LogicalPlan};

pub(crate) fn lower(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let plan = plan.transform_up_with_subqueries(multiset::lower)?.data;
    let plan = plan.transform_up_with_subqueries(interval::lower)?.data;
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
