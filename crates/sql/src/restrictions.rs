//! Constructs that would be ignored in silence further down, or that reach outside the org's tables: refused by name.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, GroupByWithModifier, Ident, JoinConstraint, JoinOperator, LimitClause, Offset,
    Query, Select, SelectItem, SetExpr, SetQuantifier, Statement, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use weir_model::{Code, Refusal, Result};

use crate::names::HIDDEN_PREFIX;

pub(crate) fn check(tree: &Statement) -> Result<()> {
    match tree.visit(&mut Walk) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(refusal),
    }
}

/// `FETCH FIRST n ROWS ONLY` means `LIMIT n`, and the planner knows only the latter.
pub(crate) fn fetch_to_limit(tree: &mut Statement) {
    let _: ControlFlow<()> = tree.visit(&mut FetchToLimit);
}

struct FetchToLimit;

impl VisitorMut for FetchToLimit {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let simple = query.fetch.as_ref().is_some_and(|fetch| !fetch.with_ties && !fetch.percent);
        let (limited, offset): (bool, Option<Offset>) = match &query.limit_clause {
            None => (false, None),
            Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) => (!limit_by.is_empty(), offset.clone()),
            Some(_) => (true, None),
        };
        if simple && !limited {
            let quantity = query.fetch.take().and_then(|fetch| fetch.quantity);
            let limit = quantity.or_else(|| Some(Expr::value(sqlparser::ast::Value::Number("1".into(), false))));
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: Vec::new() });
        }
        ControlFlow::Continue(())
    }
}

/// The engine knows columns by their place only.
fn set_operation_by_name(body: &SetExpr) -> bool {
    match body {
        SetExpr::SetOperation { left, set_quantifier, right, .. } => {
            let named = matches!(
                set_quantifier,
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
            );
            named || set_operation_by_name(left) || set_operation_by_name(right)
        }
        _ => false,
    }
}

/// An outer join whose shared column is not its left side's.
fn outer_to_right(operator: &JoinOperator) -> bool {
    match operator {
        JoinOperator::Right(by) | JoinOperator::RightOuter(by) | JoinOperator::FullOuter(by) => {
            matches!(by, JoinConstraint::Using(_) | JoinConstraint::Natural)
        }
        _ => false,
    }
}

/// What of a comparison of rows has no meaning, or none here.
fn row_comparison(expr: &Expr) -> Result<()> {
    let lengths = |left: &[Expr], right: &[Expr]| match left.len() == right.len() {
        true => Ok(()),
        false => Err(Refusal::new(Code::SyntaxError, "unequal number of entries in row expressions")),
    };
    let unsupported =
        |what: &str| Err(Refusal::unsupported(what).hint("compare column by column, joined with AND, or use EXISTS"));
    match expr {
        Expr::BinaryOp { left, op, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Tuple(left), Expr::Tuple(right)) => match op {
                BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq => lengths(left, right),
                _ => unsupported("this comparison of rows"),
            },
            (Expr::Tuple(_), _) | (_, Expr::Tuple(_)) => unsupported("a comparison of a row with something else"),
            _ => Ok(()),
        },
        Expr::InList { expr, list, .. } => match expr.as_ref() {
            Expr::Tuple(row) => list.iter().try_for_each(|item| match item {
                Expr::Tuple(other) => lengths(row, other),
                _ => unsupported("a row IN a list of anything but rows"),
            }),
            _ => Ok(()),
        },
        Expr::InSubquery { expr, .. } if matches!(expr.as_ref(), Expr::Tuple(_)) => unsupported("a row IN a subquery"),
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right)
            if matches!((left.as_ref(), right.as_ref()), (Expr::Tuple(_), _) | (_, Expr::Tuple(_))) =>
        {
            unsupported("IS DISTINCT FROM of rows")
        }
        _ => Ok(()),
    }
}

/// The engine computes VALUES without reading tables.
fn subquery_in_values(body: &SetExpr) -> bool {
    struct Subqueries(bool);
    impl Visitor for Subqueries {
        type Break = ();
        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            self.0 = true;
            ControlFlow::Break(())
        }
    }
    let SetExpr::Values(values) = body else { return false };
    let mut found = Subqueries(false);
    let _: ControlFlow<()> = values.visit(&mut found);
    found.0
}

struct Walk;

impl Walk {
    fn refuse<const N: usize>(cases: [(bool, &str); N]) -> ControlFlow<Refusal> {
        match cases.into_iter().find(|(present, _)| *present) {
            Some((_, what)) => ControlFlow::Break(Refusal::unsupported(what).hint("write the statement without it")),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Walk {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refusal> {
        let modifying =
            matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_));
        let limit_by =
            matches!(&query.limit_clause, Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty());
        Walk::refuse([
            (!query.locks.is_empty(), "SELECT … FOR UPDATE or FOR SHARE"),
            (query.fetch.is_some(), "this form of FETCH FIRST"),
            (query.for_clause.is_some(), "FOR XML, JSON or BROWSE"),
            (query.settings.is_some() || query.format_clause.is_some(), "SETTINGS or FORMAT"),
            (!query.pipe_operators.is_empty(), "pipe operators"),
            (set_operation_by_name(&query.body), "a set operation BY NAME"),
            (limit_by, "LIMIT … BY"),
            (subquery_in_values(&query.body), "a subquery in VALUES"),
            (modifying, "a data-modifying statement in WITH"),
        ])
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Refusal> {
        let modifiers = match &select.group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => modifiers.as_slice(),
        };
        let odd_group = modifiers.iter().any(|modifier| !matches!(modifier, GroupByWithModifier::GroupingSets(_)));
        let odd_join = select.from.iter().flat_map(|from| &from.joins).any(|join| {
            join.global
                || matches!(
                    join.join_operator,
                    JoinOperator::AsOf { .. }
                        | JoinOperator::CrossApply
                        | JoinOperator::OuterApply
                        | JoinOperator::StraightJoin(_)
                )
        });
        // A RIGHT JOIN is turned around, which `*` would show.
        let star = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
        let merged_outer = select.from.iter().flat_map(|from| &from.joins).any(|join| match &join.join_operator {
            JoinOperator::FullOuter(_) => outer_to_right(&join.join_operator),
            other => star && outer_to_right(other),
        });
        Walk::refuse([
            (merged_outer, "FULL JOIN with USING or NATURAL, or `*` over such a RIGHT JOIN"),
            (select.into.is_some(), "SELECT … INTO"),
            (!select.optimizer_hints.is_empty(), "optimizer hints"),
            (select.top.is_some(), "TOP"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (
                !select.cluster_by.is_empty() || !select.distribute_by.is_empty() || !select.sort_by.is_empty(),
                "CLUSTER, DISTRIBUTE or SORT BY",
            ),
            (select.value_table_mode.is_some() || select.select_modifiers.is_some(), "this SELECT modifier"),
            (odd_group, "this GROUP BY modifier"),
            (odd_join, "this kind of join"),
        ])
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Refusal> {
        match factor {
            TableFactor::Table {
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => Walk::refuse([
                (sample.is_some(), "TABLESAMPLE"),
                (version.is_some(), "AS OF a version or time"),
                (!with_hints.is_empty() || !index_hints.is_empty(), "table hints"),
                (*with_ordinality, "WITH ORDINALITY"),
                (!partitions.is_empty() || json_path.is_some(), "this table reference"),
            ]),
            TableFactor::Derived { sample, .. } => Walk::refuse([(sample.is_some(), "TABLESAMPLE")]),
            TableFactor::Function { with_ordinality, .. } => Walk::refuse([(*with_ordinality, "WITH ORDINALITY")]),
            TableFactor::UNNEST { with_offset, with_ordinality, .. } => {
                Walk::refuse([(*with_offset || *with_ordinality, "UNNEST WITH ORDINALITY")])
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                let merged = table_with_joins.joins.iter().any(|join| outer_to_right(&join.join_operator));
                Walk::refuse([(merged, "RIGHT or FULL JOIN with USING or NATURAL in parentheses")])
            }
            TableFactor::Pivot { .. } => Walk::refuse([(true, "PIVOT")]),
            TableFactor::Unpivot { .. } => Walk::refuse([(true, "UNPIVOT")]),
            TableFactor::MatchRecognize { .. } => Walk::refuse([(true, "MATCH_RECOGNIZE")]),
            _ => Walk::refuse([(true, "this table function")]),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Refusal> {
        let hidden = |ident: &Ident| ident.value.to_ascii_lowercase().starts_with(HIDDEN_PREFIX);
        let named = match expr {
            Expr::Identifier(ident) => hidden(ident),
            Expr::CompoundIdentifier(idents) => idents.iter().any(hidden),
            _ => false,
        };
        if let Err(refusal) = row_comparison(expr) {
            return ControlFlow::Break(refusal);
        }
        if named {
            return ControlFlow::Break(Refusal::new(
                Code::UndefinedColumn,
                format!("names starting with `{HIDDEN_PREFIX}` are reserved"),
            ));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &sqlparser::ast::ObjectName) -> ControlFlow<Refusal> {
        if relation
            .to_string()
            .to_ascii_lowercase()
            .replace('"', "")
            .split('.')
            .any(|part| part.starts_with(HIDDEN_PREFIX))
        {
            return ControlFlow::Break(Refusal::new(
                Code::UndefinedTable,
                format!("names starting with `{HIDDEN_PREFIX}` are reserved"),
            ));
        }
        ControlFlow::Continue(())
    }
}
