//! What names mean within one select: its sources, their columns, and which of its expressions look outside.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins, Visit, Visitor, helpers::attached_token::AttachedToken,
};

use super::{Known, tree};
use crate::catalog::layout::{self, Layout};

/// One thing that FROM names.
#[derive(Debug)]
pub(super) struct Source {
    /// How columns may be qualified by it: `["c"]`, or `["pg_class"]` and `["pg_catalog", "pg_class"]`.
    qualifiers: Vec<Vec<String>>,
    columns: Columns,
}

#[derive(Debug)]
enum Columns {
    Catalog(&'static Layout),
    Named(Vec<String>),
    Unknown,
}

/// Where a column reference leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Inside,
    Outside,
    Unknown,
}

pub(super) fn sources(from: &[TableWithJoins], known: &Known) -> Vec<Source> {
    let mut found = Vec::new();
    for table in from {
        collect(table, known, &mut found);
    }
    found
}

fn collect(table: &TableWithJoins, known: &Known, found: &mut Vec<Source>) {
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => collect(table_with_joins, known, found),
            other => found.push(source(other, known)),
        }
    }
}

fn source(factor: &TableFactor, known: &Known) -> Source {
    let named = |alias: &TableAlias| vec![vec![tree::folded(&alias.name)]];
    match factor {
        TableFactor::Table { name, alias, .. } => {
            let parts = tree::parts(name).unwrap_or_default();
            let columns = relation(factor, known).map_or(Columns::Unknown, Columns::Catalog);
            let bare = parts.last().map(|last| vec![last.clone()]);
            let qualifiers = match alias {
                Some(alias) => named(alias),
                None => bare.into_iter().chain((parts.len() > 1).then_some(parts)).collect(),
            };
            Source { qualifiers, columns }
        }
        TableFactor::Derived { subquery, alias: Some(alias), .. } => {
            Source { qualifiers: named(alias), columns: derived_columns(subquery, alias) }
        }
        TableFactor::UNNEST { alias: Some(alias), .. } => {
            let columns = alias.columns.iter().map(|column| tree::folded(&column.name)).collect();
            Source { qualifiers: named(alias), columns: Columns::Named(columns) }
        }
        _ => Source { qualifiers: Vec::new(), columns: Columns::Unknown },
    }
}

fn derived_columns(query: &Query, alias: &TableAlias) -> Columns {
    if !alias.columns.is_empty() {
        return Columns::Named(alias.columns.iter().map(|column| tree::folded(&column.name)).collect());
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return Columns::Unknown };
    let names: Option<Vec<String>> = select
        .projection
        .iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(expr) => Some(tree::output_name(expr)),
            SelectItem::ExprWithAlias { alias, .. } => Some(tree::folded(alias)),
            _ => None,
        })
        .collect();
    names.map_or(Columns::Unknown, Columns::Named)
}

/// The catalog relation that a table factor names.
pub(super) fn relation(factor: &TableFactor, known: &Known) -> Option<&'static Layout> {
    let TableFactor::Table { name, args: None, .. } = factor else { return None };
    let parts = tree::parts(name)?;
    match parts.as_slice() {
        [name] if !known.is_common(name) => layout::find(None, name),
        [schema, name] => layout::find(Some(schema), name),
        _ => None,
    }
}

/// Whether every source is a catalog or made of such: only these may be joined and repeated freely.
pub(super) fn are_known(sources: &[Source]) -> bool {
    sources.iter().all(|source| !matches!(source.columns, Columns::Unknown))
}

pub(super) fn place(reference: &Expr, sources: &[Source]) -> Place {
    let path: Vec<String> = match reference {
        Expr::Identifier(ident) => vec![tree::folded(ident)],
        Expr::CompoundIdentifier(idents) => idents.iter().map(tree::folded).collect(),
        _ => return Place::Unknown,
    };
    let Some((column, qualifier)) = path.split_last() else { return Place::Unknown };
    let inside = sources.iter().any(|source| {
        if qualifier.is_empty() { source.has_column(column) } else { source.qualifiers.iter().any(|q| q == qualifier) }
    });
    if inside {
        Place::Inside
    } else if qualifier.is_empty() && !are_known(sources) {
        Place::Unknown
    } else {
        Place::Outside
    }
}

/// Whether a column is one of the catalog relation, by its qualifier or by being no other source's.
pub(super) fn is_of_relation(column: &Expr, name: &str, from: &[TableWithJoins], known: &Known) -> bool {
    let found = sources(from, known);
    let wanted = |source: &Source| matches!(source.columns, Columns::Catalog(layout) if layout.name == name);
    let (wanted, others): (Vec<Source>, Vec<Source>) = found.into_iter().partition(wanted);
    place(column, &wanted) == Place::Inside && place(column, &others) == Place::Outside
}

impl Source {
    /// The catalog relation that it is, if it goes by that name.
    pub(super) fn catalog_called(&self, qualifier: &[String]) -> Option<&'static Layout> {
        match self.columns {
            Columns::Catalog(layout) if self.qualifiers.iter().any(|known| known == qualifier) => Some(layout),
            _ => None,
        }
    }

    fn has_column(&self, name: &str) -> bool {
        match &self.columns {
            Columns::Catalog(layout) => layout.has_column(name),
            Columns::Named(names) => names.iter().any(|known| known == name),
            Columns::Unknown => false,
        }
    }
}

/// The column references of an expression, those within its subqueries too.
pub(super) fn references(node: &impl Visit) -> Vec<Expr> {
    struct References(Vec<Expr>);
    impl Visitor for References {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if tree::is_column(expr) && !self.0.contains(expr) {
                self.0.push(expr.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let mut found = References(Vec::new());
    let _ = node.visit(&mut found);
    found.0
}

/// Whether an expression holds a subquery.
pub(super) fn has_subquery(node: &impl Visit) -> bool {
    struct Subqueries;
    impl Visitor for Subqueries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    node.visit(&mut Subqueries).is_break()
}

/// Whether a select groups, aggregates or counts its rows: then a row more or less changes its answer.
pub(super) fn is_aggregated(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
    };
    grouped || select.having.is_some() || has_aggregate(&select.projection)
}

pub(super) fn has_aggregate(node: &impl Visit) -> bool {
    const AGGREGATES: &[&str] = &[
        "count",
        "sum",
        "min",
        "max",
        "avg",
        "array_agg",
        "string_agg",
        "bool_and",
        "bool_or",
        "every",
        "json_agg",
        "jsonb_agg",
        "json_object_agg",
        "jsonb_object_agg",
        "first_value",
        "last_value",
        "stddev",
        "variance",
        "row_number",
        "rank",
        "dense_rank",
        "lag",
        "lead",
    ];
    struct Aggregates(usize);
    impl Visitor for Aggregates {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if self.0 == 0
                && let Expr::Function(function) = expr
                && (function.over.is_some()
                    || tree::function_name(&function.name).is_some_and(|name| AGGREGATES.contains(&name.as_str())))
            {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }
    node.visit(&mut Aggregates(0)).is_break()
}

pub(super) fn derived(query: Query, alias: TableAlias) -> TableWithJoins {
    let relation = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None };
    TableWithJoins { relation, joins: Vec::new() }
}

/// `SELECT` of nothing from nothing, to be filled.
pub(super) fn blank_select() -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: Vec::new(),
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// `SELECT`'s query, with nothing around it.
pub(super) fn query_of(select: Select) -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

pub(super) fn alias_named(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::new(name), columns: Vec::new(), at: None }
}
