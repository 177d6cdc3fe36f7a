//! Where masked values go: lineage of every output column, and what a masked column may decide.
//!
//! [`trace`] walks a governed plan, after analysis and before optimisation, from its scans to its root, and knows for
//! each column of each node, by position and never by name, which masked columns it carries.
//!
//! - A column that carries a masked value **unchanged** (a column, an alias, a join's or union's side, a CTE, a view, a
//!   scalar subquery, a cast between forms of text) is masked after execution, as the mask says.
//! - Anything **computed** from a masked value is not computed at all: the expression becomes a typed NULL in the plan,
//!   so that neither its value, nor its errors, nor its cost can tell. It leaves as `***REDACTED***` or NULL.
//! - **Counting** declassifies, and nothing else does: `count(c)` of the masked column itself, because a count tells how
//!   many, not what. A count of anything computed from it (`count(nullif(c, 'guess'))`), or of it mixed with other
//!   values by UNION, is computed from it and leaves masked. `count(DISTINCT c)` tells which values are equal: it is
//!   grouping, and where the mask allows that it counts, but not the distinct values of several masked columns together.
//! - **Choosing, ordering, joining or grouping rows** by a masked column, or by what is computed from one, is refused
//!   (`masked_predicate`), because some forty queries bisect an eleven-character value. The mask's `predicates` may say
//!   otherwise: `equality` allows comparing for equality and grouping, `any` allows everything (and then computing, for
//!   which the same holds), and `masked` puts the masked value in the value's place where it is read, so that the
//!   statement never has the value at all.
//!
//! Invariants: what cannot be understood is refused, never let through; the plan keeps its column names and types, and
//! columns only ever become nullable; below a barrier nothing changes, since its filter is the policy's own.
//!
//! It is not a flow analysis of what the rows returned imply: with predicates refused there is nothing to imply it by.

mod aggregate;
mod at_source;
mod expression;
mod node;
mod predicate;
mod refuse;
mod scope;
mod set;
mod source;
#[cfg(test)]
mod tests;

use datafusion::{
    common::tree_node::TreeNodeRecursion,
    datasource::{cte_worktable::CteWorkTable, source_as_provider},
    logical_expr::{LogicalPlan, TableScan, UserDefinedLogicalNode},
};
use weir_model::{Code, Refusal, Result};
use weir_policy::ColumnMask;

use self::node::Tracer;
use crate::mask::{MaskKey, MaskPlan};

/// The masks of one scanned table, for this statement's principal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableMasks<'a> {
    /// As refusals and the journal name it.
    pub table: &'a str,
    pub masks: &'a [ColumnMask],
}

/// What lineage must know of a plan's leaves. They are told apart by their source, never by name: a CTE or an alias may
/// bear the name of a table.
pub(crate) trait MaskedScans {
    /// The masks of the table that a scan reads; `None` when it has none.
    fn masks(&self, scan: &TableScan) -> Option<TableMasks<'_>>;

    /// True for the node that holds a row filter over its scan.
    fn is_barrier(&self, node: &dyn UserDefinedLogicalNode) -> bool;

    /// The recursive query whose previous rows this scan reads, if it is such a scan.
    fn work_table(&self, scan: &TableScan) -> Option<String> {
        let provider = source_as_provider(&scan.source).ok()?;
        provider.downcast_ref::<CteWorkTable>().map(|table| table.name().to_owned())
    }
}

/// A plan that computes nothing from masked values, and the masks of its output columns.
#[derive(Debug)]
pub(crate) struct Traced {
    pub plan: LogicalPlan,
    pub masks: MaskPlan,
}

/// Traces an analysed, governed plan; a plan that reads no masked column returns as it is.
///
/// # Errors
/// `masked_predicate` when a masked column would decide over rows and its mask does not allow it; `ungoverned_plan`
/// when the plan holds what lineage does not understand; `internal` when the rewritten plan does not fit together.
pub(crate) fn trace(plan: LogicalPlan, scans: &dyn MaskedScans, key: &MaskKey) -> Result<Traced> {
    if !reads_masked(&plan, scans) {
        let masks = MaskPlan::clear(plan.schema().fields().len());
        return Ok(Traced { plan, masks });
    }
    let schema = plan.schema().clone();
    let node = Tracer::new(scans, key).node(plan, None).map_err(refuse::refusal)?;
    if !schema.logically_equivalent_names_and_types(node.plan.schema()) {
        return Err(Refusal::new(Code::Internal, "masking changed the shape of the result"));
    }
    let masks = MaskPlan::new(node.columns.iter().map(source::Lineage::output));
    Ok(Traced { plan: node.plan, masks })
}

fn reads_masked(plan: &LogicalPlan, scans: &dyn MaskedScans) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found |= scans.masks(scan).is_some_and(|table| !table.masks.is_empty());
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || walked.is_err()
}
