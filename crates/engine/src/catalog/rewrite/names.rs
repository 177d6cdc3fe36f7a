//! Names of output columns, given before anything else is changed: PostgreSQL names a column by the expression as the
//! client wrote it.

use std::{collections::HashSet, ops::ControlFlow};

use sqlparser::ast::{
    Expr, Ident, Select, SelectItem, SelectItemQualifiedWildcardKind, Statement, TableFactor, VisitorMut,
};

use super::{Known, REPEATED, scope, tree, walk};
use crate::catalog::layout;

pub(super) fn give(statement: &mut Statement, known: &Known) {
    walk(statement, &mut Names { known });
}

struct Names<'a> {
    known: &'a Known,
}

impl VisitorMut for Names<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        name_outputs(select, self.known);
        ControlFlow::Continue(())
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
    factor: &TableFactor,
    qualifier: Option<&[String]>,
    known: &Known,
) -> Option<&'static layout::Layout> {
    let found = scope::relation(factor, known)?;
    let TableFactor::Table { name, alias, .. } = factor else { return None };
    let known = match alias {
        Some(alias) => vec![tree::folded(&alias.name)],
        None => tree::parts(name)?,
    };
    qualifier.is_none_or(|qualifier| known.ends_with(qualifier)).then_some(found)
}
