//! Relations that are always empty here, and what follows from it: no rows, NULL, false, the empty array.
//!
//! Clients ask of triggers, policies, publications and the like in queries that DataFusion cannot plan. Their true answer
//! is known without: an inner join with a relation that has no rows has no rows.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinOperator, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, VisitorMut,
};

use super::{Known, factors, scope, tree, walk};
use crate::catalog;

/// Columns of arrays that are NULL in every row of these catalogs: access lists and options.
const NULL_ARRAYS: &[&str] = &[
    "relacl",
    "attacl",
    "nspacl",
    "datacl",
    "typacl",
    "proacl",
    "lanacl",
    "spcacl",
    "reloptions",
    "attoptions",
    "attfdwoptions",
    "spcoptions",
    "rolconfig",
    "useconfig",
    "proconfig",
    "evttags",
    "prattrs",
    "confkey",
];

/// Whether the query has no rows whatever it says: not if it aggregates all rows into one.
pub(super) fn is_empty_query(query: &Query, known: &Known) -> bool {
    match query.body.as_ref() {
        SetExpr::Select(select) => is_empty_select(select, known),
        SetExpr::Query(query) => is_empty_query(query, known),
        _ => false,
    }
}

pub(super) fn is_empty_select(select: &Select, known: &Known) -> bool {
    is_marked(select)
        || (yields_per_row(select)
            && (select.from.iter().any(|table| is_empty_join(table, known))
                || select
                    .selection
                    .as_ref()
                    .is_some_and(|selection| asks_for_other_constraints(selection, select, known))))
}

/// The only constraints are primary keys: `contype = 'f'` finds none.
fn asks_for_other_constraints(condition: &Expr, select: &Select, known: &Known) -> bool {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            asks_for_other_constraints(left, select, known) || asks_for_other_constraints(right, select, known)
        }
        Expr::Nested(inner) => asks_for_other_constraints(inner, select, known),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            tree::is_column(left)
                && tree::output_name(left) == "contype"
                && tree::string_of(right).is_some_and(|kind| kind != "p")
                && scope::is_of_relation(left, "pg_constraint", &select.from, known)
        }
        _ => false,
    }
}

/// Without GROUP BY, an aggregate gives a row even of none.
fn yields_per_row(select: &Select) -> bool {
    let grouped = matches!(&select.group_by, sqlparser::ast::GroupByExpr::Expressions(keys, _) if !keys.is_empty());
    grouped || !(scope::has_aggregate(&select.projection) || select.having.is_some())
}

fn is_marked(select: &Select) -> bool {
    yields_per_row(select) && select.selection == Some(tree::boolean(false))
}

fn is_empty_join(table: &TableWithJoins, known: &Known) -> bool {
    let mut empty = is_empty_factor(&table.relation, known);
    for join in &table.joins {
        let right = is_empty_factor(&join.relation, known);
        empty = match join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => empty || right,
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => empty,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => right,
            _ => empty && right,
        };
    }
    empty
}

fn is_empty_factor(factor: &TableFactor, known: &Known) -> bool {
    if let Some(changed) = factors::changed(factor) {
        return is_empty_factor(&changed, known);
    }
    match factor {
        TableFactor::Table { .. } => scope::relation(factor, known).is_some_and(catalog::is_always_empty),
        TableFactor::Derived { subquery, .. } => is_empty_query(subquery, known),
        TableFactor::UNNEST { array_exprs, .. } => {
            let null = |expr: &Expr| {
                known.only_catalogs && tree::is_column(expr) && NULL_ARRAYS.contains(&tree::output_name(expr).as_str())
            };
            array_exprs.iter().all(null)
        }
        TableFactor::NestedJoin { table_with_joins, .. } => is_empty_join(table_with_joins, known),
        _ => false,
    }
}

/// Makes an empty select plain: the same columns, of no rows. What stood in them never runs.
pub(super) fn simplify(select: &mut Select) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        if tree::is_column(expr) || is_value(expr) {
            continue;
        }
        let name = tree::output_name(expr);
        *expr = typed_null(expr);
        if let SelectItem::UnnamedExpr(expr) = item {
            let expr = std::mem::replace(expr, tree::placeholder());
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
        }
    }
    select.selection = Some(tree::boolean(false));
    select.having = None;
}

/// Kinds of types that are not here: no table has a type of its own, and there are neither domains nor enumerations.
const ABSENT_TYPE_KINDS: &[&str] = &["c", "d", "e"];

/// Takes the branches that are never taken out of the outputs' CASEs: what stands in them may have no plan.
pub(super) fn drop_dead_branches(select: &mut Select, known: &Known) {
    let from = select.from.clone();
    walk(&mut select.projection, &mut DeadBranches { from: &from, known, depth: 0 });
}

struct DeadBranches<'a> {
    from: &'a [TableWithJoins],
    known: &'a Known,
    depth: usize,
}

impl VisitorMut for DeadBranches<'_> {
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
            && let Expr::Case { operand: None, conditions, else_result, .. } = expr
        {
            conditions.retain(|branch| !asks_for_absent_types(&branch.condition, self.from, self.known));
            if conditions.is_empty() {
                let answer = else_result.take().map_or_else(tree::null, |answer| *answer);
                *expr = answer;
            }
        }
        ControlFlow::Continue(())
    }
}

fn asks_for_absent_types(condition: &Expr, from: &[TableWithJoins], known: &Known) -> bool {
    match condition {
        Expr::Nested(inner) => asks_for_absent_types(inner, from, known),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            tree::is_column(left)
                && tree::output_name(left) == "typtype"
                && tree::string_of(right).is_some_and(|kind| ABSENT_TYPE_KINDS.contains(&kind))
                && scope::is_of_relation(left, "pg_type", from, known)
        }
        _ => false,
    }
}

fn is_value(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(_))
}

/// NULL of the type that can be told: what a cast says, boolean for a comparison; text else, as clients print all.
fn typed_null(expr: &Expr) -> Expr {
    match expr {
        Expr::Cast { data_type, .. } => cast_null(data_type.clone()),
        Expr::AnyOp { .. } | Expr::AllOp { .. } | Expr::Exists { .. } | Expr::IsNull(_) | Expr::IsNotNull(_) => {
            cast_null(sqlparser::ast::DataType::Boolean)
        }
        Expr::Nested(inner) => typed_null(inner),
        _ => cast_null(sqlparser::ast::DataType::Text),
    }
}

fn cast_null(data_type: sqlparser::ast::DataType) -> Expr {
    Expr::Cast {
        kind: sqlparser::ast::CastKind::Cast,
        expr: Box::new(tree::null()),
        data_type,
        array: false,
        format: None,
    }
}

/// An order of no rows is any; one by an expression may no longer be plannable.
pub(super) fn drop_order(query: &mut Query, known: &Known) {
    if !is_empty_query(query, known) {
        return;
    }
    let plain = |expr: &Expr| is_value(expr);
    if let Some(order) = &query.order_by
        && let OrderByKind::Expressions(keys) = &order.kind
        && !keys.iter().all(|key| plain(&key.expr))
    {
        query.order_by = None;
    }
}
