//! Correlated subqueries over catalogs as left joins.
//!
//! `(SELECT e FROM f WHERE local AND correlated)` becomes the column `value` of
//! `LEFT JOIN (SELECT array_agg(e) AS value, k, …, true AS found FROM f WHERE local GROUP BY k, …) ON correlated`, where
//! the k are the columns of f that `correlated` compares: one row for each row outside, and more than one value in it is
//! PostgreSQL's own error. A subquery with a source that is not a catalog is left as it is.

use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, Query, Select, SelectItem,
    SetExpr, TableFactor, TableWithJoins, VisitorMut, helpers::attached_token::AttachedToken,
};

use super::{
    Known,
    scope::{self, Place, Source},
    tree, walk,
};

/// What the query around wants to know of the subquery.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    Value,
    Existence { negated: bool },
}

const FOUND: &str = "found";

/// The join that answers the subquery and what takes its place, or None where it is better left to the planner.
pub(super) fn as_join(query: &Query, wanted: Wanted, alias: &str, known: &Known) -> Option<(Join, Expr)> {
    let select = plain_select(query)?;
    let sources = scope::sources(&select.from, known);
    if !scope::are_known(&sources) || sources.is_empty() {
        return None;
    }
    let (local, correlated) = split(select, &sources)?;
    let value = match wanted {
        Wanted::Value => Some(value_of(select)?),
        Wanted::Existence { .. } => None,
    };
    let value_looks_out = match value {
        Some(value) => looks_outside(value, &sources)?,
        None => false,
    };
    if correlated.is_empty() && !value_looks_out {
        return None;
    }
    let mut exported = Exported { alias, sources: &sources, columns: Vec::new() };
    let mut inner = scope::blank_select();
    let mut answer = None;
    if let Some(value) = value {
        if value_looks_out {
            answer = Some(exported.outside(value));
        } else {
            inner.projection.push(named(tree::array_aggregate(value.clone(), Vec::new()), "value"));
            answer = Some(tree::call("__weir_single", [exported.column("value")]));
        }
    } else if !correlated.iter().all(|condition| is_lookup(condition, &sources)) {
        // Only equalities leave one group for each row outside.
        return None;
    }
    let on = conjunction(correlated.iter().map(|condition| exported.outside(condition)).collect());
    let found = exported.column(FOUND);
    // With nothing to group by, only an aggregate leaves one row.
    if exported.columns.is_empty() && (value.is_none() || value_looks_out) {
        return None;
    }
    inner.projection.extend(exported.projected());
    inner.group_by = GroupByExpr::Expressions(exported.columns.clone(), Vec::new());
    inner.projection.push(named(tree::boolean(true), FOUND));
    inner.from = select.from.clone();
    inner.selection = (!local.is_empty()).then(|| conjunction(local));
    let answer = match wanted {
        Wanted::Existence { negated } => {
            if negated {
                Expr::IsNull(Box::new(found))
            } else {
                Expr::IsNotNull(Box::new(found))
            }
        }
        Wanted::Value if value_looks_out => where_found(found, answer?),
        Wanted::Value => answer?,
    };
    let TableWithJoins { relation, .. } = scope::derived(scope::query_of(inner), scope::alias_named(alias));
    let join = Join { relation, global: false, join_operator: JoinOperator::LeftOuter(JoinConstraint::On(on)) };
    Some((join, answer))
}

/// Puts the joins after all of FROM; a list of tables becomes cross joins, so that ON may name each.
pub(super) fn attach(select: &mut Select, joins: Vec<Join>) {
    if joins.is_empty() {
        return;
    }
    let mut tables = std::mem::take(&mut select.from).into_iter();
    let Some(mut first) = tables.next() else { return };
    for table in tables {
        let relation = if table.joins.is_empty() {
            table.relation
        } else {
            TableFactor::NestedJoin { table_with_joins: Box::new(table), alias: None }
        };
        let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
        first.joins.push(Join { relation, global: false, join_operator });
    }
    first.joins.extend(joins);
    select.from = vec![first];
}

/// A select of one expression that neither groups, limits nor combines.
fn plain_select(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.distinct.is_none()
        && select.qualify.is_none()
        && !scope::is_aggregated(select);
    plain.then_some(select)
}

fn value_of(select: &Select) -> Option<&Expr> {
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] => Some(value),
        _ => None,
    }
}

/// The conditions of WHERE that look at the subquery's own sources only, and those that look outside.
fn split(select: &Select, sources: &[Source]) -> Option<(Vec<Expr>, Vec<Expr>)> {
    // Conditions of joins stay inside, so they must not look outside.
    for table in &select.from {
        for reference in scope::references(table) {
            if scope::place(&reference, sources) != Place::Inside {
                return None;
            }
        }
    }
    let (mut local, mut correlated) = (Vec::new(), Vec::new());
    for condition in select.selection.as_ref().map(conditions).unwrap_or_default() {
        if looks_outside(condition, sources)? {
            correlated.push(condition.clone());
        } else {
            local.push(condition.clone());
        }
    }
    Some((local, correlated))
}

fn conditions(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => [conditions(left), conditions(right)].concat(),
        Expr::Nested(inner) => conditions(inner),
        other => vec![other],
    }
}

fn conjunction(conditions: Vec<Expr>) -> Expr {
    let joined = conditions.into_iter().reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    });
    joined.unwrap_or_else(|| tree::boolean(true))
}

/// None where it cannot be told: a subquery within, or a name that may mean either.
fn looks_outside(expr: &Expr, sources: &[Source]) -> Option<bool> {
    if scope::has_subquery(expr) {
        return None;
    }
    let mut outside = false;
    for reference in scope::references(expr) {
        match scope::place(&reference, sources) {
            Place::Inside => {}
            Place::Outside => outside = true,
            Place::Unknown => return None,
        }
    }
    Some(outside)
}

/// `column = outside`, or what looks outside only.
fn is_lookup(condition: &Expr, sources: &[Source]) -> bool {
    let inside = |expr: &Expr| tree::is_column(expr) && scope::place(expr, sources) == Place::Inside;
    let outside =
        |expr: &Expr| scope::references(expr).iter().all(|each| scope::place(each, sources) == Place::Outside);
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            (inside(left) && outside(right)) || (inside(right) && outside(left))
        }
        other => outside(other),
    }
}

fn named(expr: Expr, alias: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::new(alias) }
}

/// `CASE WHEN found THEN value END`: where no row was found the answer is NULL, whatever the value's parts outside are.
fn where_found(found: Expr, value: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: found, result: value }],
        else_result: None,
    }
}

/// The columns inside that must be seen outside, under names of the join's own.
struct Exported<'a> {
    alias: &'a str,
    sources: &'a [Source],
    columns: Vec<Expr>,
}

impl Exported<'_> {
    fn column(&self, name: &str) -> Expr {
        Expr::CompoundIdentifier(vec![Ident::new(self.alias), Ident::new(name)])
    }

    /// The expression as it reads outside the join.
    fn outside(&mut self, expr: &Expr) -> Expr {
        let mut expr = expr.clone();
        walk(&mut expr, self);
        expr
    }

    fn projected(&self) -> Vec<SelectItem> {
        self.columns.iter().enumerate().map(|(place, column)| named(column.clone(), &format!("k{place}"))).collect()
    }
}

impl VisitorMut for Exported<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> std::ops::ControlFlow<()> {
        if tree::is_column(expr) && scope::place(expr, self.sources) == Place::Inside {
            let known = self.columns.iter().position(|column| column == expr);
            let place = known.unwrap_or_else(|| {
                self.columns.push(expr.clone());
                self.columns.len() - 1
            });
            *expr = self.column(&format!("k{place}"));
        }
        std::ops::ControlFlow::Continue(())
    }
}
