//! Selects, innermost first: emptiness, correlated subqueries, output names.

use std::{collections::HashSet, ops::ControlFlow};

use sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, Statement, VisitorMut};

use super::{Known, REPEATED, correlated, empty, tree, walk};
use crate::catalog::layout;

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
        if empty::is_empty_select(select, self.known) {
            empty::simplify(select);
        } else {
            self.answer_subqueries(select);
        }
        name_outputs(select, self.known);
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

/// Gives every computed output column PostgreSQL's name for it, and every repeated one a name of its own.
fn name_outputs(select: &mut Select, known: &Known) {
    let starred = starred_columns(select, known);
    let mut taken: HashSet<String> = HashSet::new();
    let mut columns: Vec<Expr> = Vec::new();
    for item in &mut select.projection {
        let (name, column) = match item {
            SelectItem::UnnamedExpr(expr) => (tree::output_name(expr), tree::is_column(expr).then(|| expr.clone())),
            SelectItem::ExprWithAlias { alias, .. } => (tree::folded(alias), None),
            _ => continue,
        };
        // A column may share its name with another table's, but not stand twice.
        if let Some(column) = column
            && !starred.contains(&name)
            && !columns.contains(&column)
        {
            columns.push(column);
            taken.insert(name);
            continue;
        }
        let is_free = |name: &String| !taken.contains(name) && !starred.contains(name);
        let mut unique = name.clone();
        for count in 1.. {
            if is_free(&unique) {
                break;
            }
            unique = format!("{name}{REPEATED}{count}");
        }
        let repeated = unique != name;
        taken.insert(unique.clone());
        let alias = Ident::with_quote('"', unique);
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let expr = std::mem::replace(expr, tree::placeholder());
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
            SelectItem::ExprWithAlias { alias: known, .. } if repeated => *known = alias,
            _ => {}
        }
    }
}

/// The columns that `*` and `c.*` stand for, where they are of catalogs.
fn starred_columns(select: &Select, known: &Known) -> HashSet<String> {
    let mut names = HashSet::new();
    for item in &select.projection {
        let qualifier = match item {
            SelectItem::Wildcard(_) => None,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => tree::parts(name),
            _ => continue,
        };
        for table in &select.from {
            for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
                if let Some(found) = starred_relation(factor, qualifier.as_deref(), known) {
                    names.extend(found.columns.iter().map(|column| column.name.to_owned()));
                }
            }
        }
    }
    names
}

fn starred_relation(
    factor: &sqlparser::ast::TableFactor,
    qualifier: Option<&[String]>,
    known: &Known,
) -> Option<&'static layout::Layout> {
    let found = super::scope::relation(factor, known)?;
    let sqlparser::ast::TableFactor::Table { name, alias, .. } = factor else { return None };
    let known = match alias {
        Some(alias) => vec![tree::folded(&alias.name)],
        None => tree::parts(name)?,
    };
    qualifier.is_none_or(|qualifier| known.ends_with(qualifier)).then_some(found)
}
