//! Makes client queries over the catalogs ones that DataFusion can plan, without changing what they mean.
//!
//! The tree is changed in place, never printed and parsed again. Four passes:
//!
//! 1. [`names`]: output columns are named after the expressions as written.
//! 2. [`output`]: what the outermost select shows: a `reg…` value shows as a name.
//! 3. [`leaves`]: expression by expression: `OPERATOR(pg_catalog.~)`, `COLLATE`, type and function names, `reg…` casts,
//!    `ARRAY(SELECT …)`, set-returning functions.
//! 4. [`structure`]: select by select, innermost first: what reads a relation that is always empty is answered by that,
//!    correlated scalar subqueries over catalogs become left joins, and `tableoid` is a constant.
//!
//! A query that still cannot be planned fails there with a refusal: no answer is made up.

mod correlated;
mod empty;
mod factors;
mod leaves;
mod literals;
mod names;
mod output;
mod scope;
mod structure;
mod system_columns;
mod tree;

use std::ops::ControlFlow;

use sqlparser::ast::{Query, Statement, TableFactor, Visit, VisitMut, Visitor};

/// Follows a repeated output column's name, with a number: two columns of one name cannot stand in a plan.
const REPEATED: &str = "__weir_again";

/// The name as a client is to read it.
pub(crate) fn shown_name(name: &str) -> &str {
    name.split_once(REPEATED).map_or(name, |(name, _)| name)
}

pub(crate) fn rewrite(mut statement: Statement) -> Statement {
    let known = Known::of(&statement);
    names::give(&mut statement, &known);
    output::show_names(&mut statement, &known);
    leaves::rewrite(&mut statement, &known);
    structure::rewrite(&mut statement, &known);
    statement
}

/// What the statement's names can mean.
#[derive(Debug)]
pub(super) struct Known {
    /// Names that WITH gives: they hide relations of the catalogs.
    common: Vec<String>,
    /// No table or view of the org is read: a column with a catalog's name is that catalog's.
    only_catalogs: bool,
}

impl Known {
    fn of(statement: &Statement) -> Known {
        let mut known = Known { common: Vec::new(), only_catalogs: false };
        let _ = statement.visit(&mut CommonTables(&mut known.common));
        known.only_catalogs = !statement.visit(&mut OtherTables(&known)).is_break();
        known
    }

    pub(super) fn is_common(&self, name: &str) -> bool {
        self.common.iter().any(|known| known == name)
    }
}

struct CommonTables<'a>(&'a mut Vec<String>);

impl Visitor for CommonTables<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(with) = &query.with {
            self.0.extend(with.cte_tables.iter().map(|table| tree::folded(&table.alias.name)));
        }
        ControlFlow::Continue(())
    }
}

/// Breaks at a table that is no catalog's, no function's and not from WITH.
struct OtherTables<'a>(&'a Known);

impl Visitor for OtherTables<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args: None, .. } = factor else { return ControlFlow::Continue(()) };
        let common =
            tree::parts(name).is_some_and(|parts| matches!(parts.as_slice(), [name] if self.0.is_common(name)));
        if common || scope::relation(factor, self.0).is_some() {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(())
    }
}

/// Runs a visitor that never breaks.
pub(super) fn walk<V: sqlparser::ast::VisitorMut<Break = ()>>(node: &mut impl VisitMut, visitor: &mut V) {
    let _ = node.visit(visitor);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: &str) {
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().pop().unwrap();
        assert_eq!(rewrite(statement).to_string(), expected, "{sql}");
    }

    #[test]
    fn registered_types_are_names_outside_and_oids_inside() {
        check("SELECT oid::regclass FROM pg_class", "SELECT __weir_regclass_name(oid) AS \"oid\" FROM pg_class");
        check(
            "SELECT 1 FROM pg_class WHERE oid = 'a.b'::pg_catalog.regclass",
            "SELECT 1 AS \"?column?\" FROM pg_class WHERE oid = __weir_regclass_oid('a.b')",
        );
        check(
            "SELECT 1 FROM pg_class WHERE oid::regclass::text = 'b'",
            "SELECT 1 AS \"?column?\" FROM pg_class WHERE __weir_regclass_name(oid) = 'b'",
        );
    }

    #[test]
    fn spellings_become_plain() {
        check(
            "SELECT relname FROM pg_catalog.pg_class WHERE relname OPERATOR(pg_catalog.~) 'x' COLLATE pg_catalog.default",
            "SELECT relname FROM pg_catalog.pg_class WHERE relname ~ 'x'",
        );
        check("SELECT CAST(oid AS pg_catalog.text) FROM pg_am", "SELECT CAST(oid AS TEXT) AS \"oid\" FROM pg_am");
        check(
            "SELECT x FROM pg_catalog.unnest('{a,b}'::pg_catalog.text[]) AS x",
            "SELECT x FROM UNNEST(ARRAY['a'::TEXT, 'b'::TEXT]) AS x (x)",
        );
    }

    #[test]
    fn a_collation_that_orders_otherwise_stays() {
        check(
            "SELECT relname FROM pg_class ORDER BY relname COLLATE \"de_DE\"",
            "SELECT relname FROM pg_class ORDER BY relname COLLATE \"de_DE\"",
        );
    }

    #[test]
    fn what_reads_an_empty_relation_is_empty() {
        check(
            "SELECT tgname, upper(tgname) FROM pg_trigger ORDER BY lower(tgname)",
            "SELECT tgname, CAST(NULL AS TEXT) AS \"upper\" FROM pg_trigger WHERE false",
        );
        check("SELECT count(*) FROM pg_trigger", "SELECT count(*) AS \"count\" FROM pg_trigger");
        check(
            "SELECT amname, ARRAY(SELECT tgname FROM pg_trigger) FROM pg_am LEFT JOIN pg_policy ON true",
            "SELECT amname, __weir_no_texts() AS \"array\" FROM pg_am LEFT JOIN pg_policy ON true",
        );
        check(
            "WITH pg_trigger AS (SELECT 1 AS a) SELECT a FROM pg_trigger",
            "WITH pg_trigger AS (SELECT 1 AS a) SELECT a FROM pg_trigger",
        );
    }

    #[test]
    fn correlated_lookups_become_joins() {
        check(
            "SELECT (SELECT nspname FROM pg_namespace n WHERE n.oid = c.relnamespace) FROM pg_class c, pg_am",
            "SELECT __weir_single(__weir_join_0.value) AS \"nspname\" FROM pg_class c CROSS JOIN pg_am LEFT OUTER JOIN \
             (SELECT array_agg(nspname) AS value, n.oid AS k0, true AS found FROM pg_namespace n GROUP BY n.oid) AS \
             __weir_join_0 ON __weir_join_0.k0 = c.relnamespace",
        );
    }

    #[test]
    fn columns_of_the_orgs_own_tables_are_left_alone() {
        check("SELECT indkey FROM sales.orders, pg_am", "SELECT indkey FROM sales.orders, pg_am");
        check("SELECT indkey FROM pg_index", "SELECT __weir_vector_text(indkey) AS \"indkey\" FROM pg_index");
        check(
            "SELECT (SELECT o.id FROM sales.orders o WHERE o.id = c.oid) FROM pg_class c",
            "SELECT (SELECT o.id FROM sales.orders o WHERE o.id = c.oid) AS \"id\" FROM pg_class c",
        );
    }

    #[test]
    fn names_are_kept_apart_and_shown_alike() {
        check(
            "SELECT n.oid, n.*, 1, 2 FROM pg_namespace n",
            "SELECT n.oid AS \"oid__weir_again1\", n.*, 1 AS \"?column?\", 2 AS \"?column?__weir_again1\" \
             FROM pg_namespace n",
        );
        assert_eq!(shown_name("oid__weir_again1"), "oid");
        assert_eq!(shown_name("oid"), "oid");
    }
}
