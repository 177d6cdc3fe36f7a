//! Makes client queries over the catalogs ones that DataFusion can plan, without changing what they mean.
//!
//! The tree is changed in place, never printed and parsed again. Three passes:
//!
//! 1. [`output`]: what the outermost select shows: a `reg…` value shows as a name.
//! 2. [`leaves`]: expression by expression: `OPERATOR(pg_catalog.~)`, `COLLATE`, type and function names, `reg…` casts,
//!    `ARRAY(SELECT …)`, set-returning functions.
//! 3. [`structure`]: select by select, innermost first: what reads a relation that is always empty is answered by that;
//!    correlated scalar subqueries over catalogs become left joins; nameless or repeated output columns get a name.
//!
//! A query that still cannot be planned fails there with a refusal: no answer is made up.

mod correlated;
mod empty;
mod leaves;
mod output;
mod scope;
mod structure;
mod tree;

use std::ops::ControlFlow;

use sqlparser::ast::{Query, Statement, Visit, VisitMut, Visitor};

/// Follows a repeated output column's name, with a number: two columns of one name cannot stand in a plan.
const REPEATED: &str = "__weir_again";

/// The name as a client is to read it.
pub(crate) fn shown_name(name: &str) -> &str {
    name.split_once(REPEATED).map_or(name, |(name, _)| name)
}

pub(crate) fn rewrite(mut statement: Statement) -> Statement {
    let common = CommonTables::of(&statement);
    output::show_names(&mut statement);
    leaves::rewrite(&mut statement, &common);
    structure::rewrite(&mut statement, &common);
    statement
}

/// Names that WITH gives: they hide relations of the catalogs.
#[derive(Debug, Default)]
pub(super) struct CommonTables(Vec<String>);

impl CommonTables {
    fn of(statement: &Statement) -> CommonTables {
        let mut found = CommonTables::default();
        let _ = statement.visit(&mut found);
        found
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }
}

impl Visitor for CommonTables {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(with) = &query.with {
            self.0.extend(with.cte_tables.iter().map(|table| tree::folded(&table.alias.name)));
        }
        ControlFlow::Continue(())
    }
}

/// Runs a visitor that never breaks.
pub(super) fn walk<V: sqlparser::ast::VisitorMut<Break = ()>>(node: &mut impl VisitMut, visitor: &mut V) {
    let _ = node.visit(visitor);
}
