//! The rule that lets no ungoverned plan through. It changes nothing and fails closed.
//!
//! It runs first among the analyser's rules, on the plan as bound, with every barrier's predicate compared to the one it
//! was made with; and once more on the optimised plan, where predicates may have been simplified.

use datafusion::{
    common::{DataFusionError, config::ConfigOptions, tree_node::TreeNodeRecursion},
    datasource::{cte_worktable::CteWorkTable, source_as_provider},
    logical_expr::{Expr, LogicalPlan, TableScan},
    optimizer::AnalyzerRule,
};
use weir_model::{Code, Refusal};

use crate::{
    barrier::Barrier,
    error::external,
    governed::{Protection, RawTable, Stamp},
};

/// What a statement's plan must hold to.
#[derive(Debug)]
pub(crate) struct Verify {
    stamp: Stamp,
    /// The predicates of the barriers handed out, by number.
    predicates: Vec<Expr>,
}

impl Verify {
    pub(crate) fn new(stamp: Stamp, predicates: Vec<Expr>) -> Verify {
        Verify { stamp, predicates }
    }

    /// # Errors
    /// `ungoverned_plan`.
    pub(crate) fn bound(&self, plan: &LogicalPlan) -> Result<(), DataFusionError> {
        self.check(plan, true)
    }

    /// # Errors
    /// `ungoverned_plan`.
    pub(crate) fn optimised(&self, plan: &LogicalPlan) -> Result<(), DataFusionError> {
        self.check(plan, false)
    }

    fn check(&self, plan: &LogicalPlan, exact: bool) -> Result<(), DataFusionError> {
        // A barrier sits on exactly one scan, so equal counts mean that each protected scan has its own.
        let (mut barriers, mut protected) = (0_usize, 0_usize);
        plan.apply_with_subqueries(|node| {
            match node {
                LogicalPlan::Extension(_) => {
                    self.barrier(node, exact)?;
                    barriers += 1;
                }
                LogicalPlan::TableScan(scan) => protected += usize::from(self.scan(scan)? == Protection::Barrier),
                node if allowed(node) => {}
                _ => return Err(ungoverned("a node of a kind that is not allowed")),
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        if barriers == protected { Ok(()) } else { Err(ungoverned("a scan without its barrier")) }
    }

    fn barrier(&self, node: &LogicalPlan, exact: bool) -> Result<(), DataFusionError> {
        let Some(barrier) = Barrier::of(node) else { return Err(ungoverned("an unknown extension")) };
        if barrier.stamp() != self.stamp {
            return Err(ungoverned("a barrier of another statement"));
        }
        let Some(predicate) = self.predicates.get(barrier.number()) else {
            return Err(ungoverned("a barrier nobody made"));
        };
        if exact && predicate != barrier.predicate() {
            return Err(ungoverned("a barrier with a changed predicate"));
        }
        match barrier.input() {
            LogicalPlan::TableScan(scan) => match scan.source.downcast_ref::<RawTable>() {
                Some(raw) if raw.protection() == Protection::Barrier && raw.object() == barrier.object() => Ok(()),
                _ => Err(ungoverned("a barrier over another table")),
            },
            _ => Err(ungoverned("a barrier that is not over a scan")),
        }
    }

    fn scan(&self, scan: &TableScan) -> Result<Protection, DataFusionError> {
        if let Some(raw) = scan.source.downcast_ref::<RawTable>() {
            return if raw.stamp() == self.stamp {
                Ok(raw.protection())
            } else {
                Err(ungoverned("a table of another statement"))
            };
        }
        // The rows a recursive query's own earlier round made.
        match source_as_provider(&scan.source) {
            Ok(provider) if provider.is::<CteWorkTable>() => Ok(Protection::Unrestricted),
            _ => Err(ungoverned("a source of an unknown kind")),
        }
    }
}

impl AnalyzerRule for Verify {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        self.bound(&plan)?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "verify_governance"
    }
}

/// Nodes that only compute; writes, DDL, COPY, EXPLAIN and statements are not among them.
fn allowed(node: &LogicalPlan) -> bool {
    matches!(
        node,
        LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_)
    )
}

fn ungoverned(why: &str) -> DataFusionError {
    tracing::error!(why, "a plan failed verification");
    external(
        Refusal::new(Code::UngovernedPlan, "the statement's plan does not carry its policy; it was not run")
            .detail(why)
            .hint("report this statement: it is a bug"),
    )
}
