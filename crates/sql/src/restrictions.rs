//! Constructs that would be ignored in silence further down, or that reach outside the org's tables: refused by name.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, Ident, JoinConstraint, JoinOperator, LimitClause, Offset, Query, Select,
    SetExpr, SetOperator, SetQuantifier, Statement, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
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

/// The engine forgets how often a row comes.
fn multiset_operation(body: &SetExpr) -> bool {
    match body {
        SetExpr::SetOperation { left, op, set_quantifier, right } => {
            let counts = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
            (counts && *op != SetOperator::Union) || multiset_operation(left) || multiset_operation(right)
        }
        _ => false,
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
            (multiset_operation(&query.body), "EXCEPT ALL or INTERSECT ALL"),
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
        let merged_outer = select.from.iter().flat_map(|from| &from.joins).any(|join| {
            matches!(
                &join.join_operator,
                JoinOperator::Right(by) | JoinOperator::RightOuter(by) | JoinOperator::FullOuter(by)
                    if matches!(by, JoinConstraint::Using(_) | JoinConstraint::Natural)
            )
        });
        Walk::refuse([
            (merged_outer, "RIGHT or FULL JOIN with USING or NATURAL"),
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
            TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
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
        if let Expr::BinaryOp { left, right, .. } = expr {
            if matches!(**left, Expr::Tuple(_)) && matches!(**right, Expr::Tuple(_)) {
                return ControlFlow::Break(
                    Refusal::unsupported("a comparison of rows").hint("compare column by column, joined with AND"),
                );
            }
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
