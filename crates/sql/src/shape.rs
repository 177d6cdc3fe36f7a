use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, LimitClause, Query, Select, SelectItem, SetExpr, Statement as Tree, Value,
    ValueWithSpan, Visit, Visitor,
};

use crate::names::fold;

/// How many rows a query's text lets one expect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expected {
    /// It returns none.
    #[default]
    Nothing,
    /// At most so many: LIMIT, or one for an ungrouped aggregate.
    AtMost(u64),
    /// Grouped, or behind a WHERE.
    Some,
    All,
}

/// What the cost estimate asks of a statement's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// `*` or `t.*` in a select list.
    pub select_star: bool,
    /// Any WHERE at all.
    pub has_where: bool,
    /// Highest `$n`.
    pub parameters: usize,
    /// Columns compared for equality with something that is no column, by their last name.
    pub equal_columns: Vec<String>,
    pub expected: Expected,
}

impl Shape {
    pub(crate) fn of(tree: &Tree) -> Shape {
        let mut walk = Walk(Shape { expected: expected(tree), ..Shape::default() });
        let _: ControlFlow<()> = tree.visit(&mut walk);
        walk.0
    }
}

struct Walk(Shape);

impl Visitor for Walk {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.0.select_star |= select
            .projection
            .iter()
            .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
        self.0.has_where |= select.selection.is_some();
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(name) = &value.value {
            let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX);
            self.0.parameters = self.0.parameters.max(number);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = expr {
            match (column(left), column(right)) {
                (Some(name), None) | (None, Some(name)) => self.0.equal_columns.push(name),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(fold(ident)),
        Expr::CompoundIdentifier(idents) => idents.last().map(fold),
        _ => None,
    }
}

fn expected(tree: &Tree) -> Expected {
    let query = match tree {
        Tree::Query(query) => query,
        Tree::Copy { source: sqlparser::ast::CopySource::Query(query), .. } => query,
        Tree::Copy { to: true, .. } => return Expected::All,
        _ => return Expected::Nothing,
    };
    if let Some(limit) = constant_limit(query) {
        return Expected::AtMost(limit);
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return Expected::All };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    if grouped {
        return Expected::Some;
    }
    if !select.projection.is_empty() && select.projection.iter().all(is_aggregate) {
        return Expected::AtMost(1);
    }
    if select.selection.is_some() { Expected::Some } else { Expected::All }
}

/// A call of one of the usual aggregates, without OVER. An aggregate that is not known here only makes the guess larger.
fn is_aggregate(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(Expr::Function(function))
    | SelectItem::ExprWithAlias { expr: Expr::Function(function), .. }) = item
    else {
        return false;
    };
    let name = function.name.to_string().to_ascii_lowercase();
    function.over.is_none() && matches!(name.as_str(), "count" | "sum" | "avg" | "min" | "max" | "median")
}

fn constant_limit(query: &Query) -> Option<u64> {
    match &query.limit_clause {
        Some(LimitClause::LimitOffset {
            limit: Some(Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. })),
            ..
        }) => digits.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_come_from_the_text() {
        let check = |sql: &str, expected: Expected| {
            assert_eq!(crate::parse(sql).unwrap()[0].shape().expected, expected, "{sql}");
        };
        check("SELECT * FROM t", Expected::All);
        check("SELECT * FROM t LIMIT 5", Expected::AtMost(5));
        check("SELECT count(*), max(a) FROM t", Expected::AtMost(1));
        check("SELECT count(*) OVER () FROM t", Expected::All);
        check("SELECT a, count(*) FROM t GROUP BY a", Expected::Some);
        check("SELECT a FROM t WHERE b = 1", Expected::Some);
        check("INSERT INTO t VALUES (1)", Expected::Nothing);
        check("COPY t TO STDOUT", Expected::All);
    }
}
