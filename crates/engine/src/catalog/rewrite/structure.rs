//! Selects, innermost first: emptiness and subqueries.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, Select, Statement, VisitorMut};

use super::{Known, correlated, empty, system_columns, tree, walk};

pub(super) fn rewrite(statement: &mut Statement, known: &Known) {
    walk(statement, &mut Structure { known, joined: 0 });
}

struct Structure<'a> {
    known: &'a Known,
    /// Joins made so far: each needs its own name.
    joined: usize,
}

impl VisitorMut for Structure<'_> {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        system_columns::answer(select, self.known);
        if empty::is_empty_select(select, self.known) {
            empty::simplify(select);
        } else {
            empty::drop_dead_branches(select, self.known);
            self.answer_subqueries(select);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        empty::drop_order(query, self.known);
        ControlFlow::Continue(())
    }
}

impl Structure<'_> {
    fn answer_subqueries(&mut self, select: &mut Select) {
        let mut visitor = Subqueries {
            known: self.known,
            joined: self.joined,
            joins: Vec::new(),
            depth: 0,
            shown: true,
            may_join: !super::scope::is_aggregated(select) && !select.from.is_empty(),
        };
        walk(&mut select.projection, &mut visitor);
        visitor.shown = false;
        if let Some(selection) = &mut select.selection {
            walk(selection, &mut visitor);
        }
        self.joined = visitor.joined;
        correlated::attach(select, visitor.joins);
    }
}

/// Replaces the subqueries of one select's own expressions.
struct Subqueries<'a> {
    known: &'a Known,
    joined: usize,
    joins: Vec<sqlparser::ast::Join>,
    depth: usize,
    /// Within the projection, where EXISTS has no plan of its own.
    shown: bool,
    may_join: bool,
}

impl VisitorMut for Subqueries<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Some(answer) = self.answer(expr)
        {
            *expr = answer;
        }
        ControlFlow::Continue(())
    }
}

impl Subqueries<'_> {
    fn answer(&mut self, expr: &Expr) -> Option<Expr> {
        let (query, wanted) = match expr {
            Expr::Subquery(query) if empty::is_empty_query(query, self.known) => return Some(tree::null()),
            Expr::Exists { subquery, negated } if empty::is_empty_query(subquery, self.known) => {
                return Some(tree::boolean(*negated));
            }
            Expr::Subquery(query) => (query, correlated::Wanted::Value),
            Expr::Exists { subquery, negated } if self.shown => {
                (subquery, correlated::Wanted::Existence { negated: *negated })
            }
            _ => return None,
        };
        if !self.may_join {
            return None;
        }
        let alias = format!("__weir_join_{}", self.joined);
        let (join, answer) = correlated::as_join(query, wanted, &alias, self.known)?;
        self.joined += 1;
        self.joins.push(join);
        Some(answer)
    }
}
