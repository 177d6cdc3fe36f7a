//! PostgreSQL's forms that DataFusion's planner lacks, rewritten in the tree before it is planned.
//!
//! - Outputs: every expression without a name gets one, so that DataFusion, which wants them distinct and compares them
//!   without their casts, takes what PostgreSQL takes; ORDER BY finds them by position, text or name.
//! - A small number that is an output by itself is an integer, not a bigint.
//! - `mod(a, b)`, `a ^ b`, `age(a)`, `x = ANY(array)` and `x <> ALL(array)`, and texts that are cast to arrays.
//! - `x AT TIME ZONE z`, LIKE with an escape character, SIMILAR TO, comparisons of rows, RIGHT JOIN with USING.
//! - EXISTS as a value, which DataFusion plans as a condition only.

mod joins;
mod rows;

use std::ops::ControlFlow;

use weir_model::{fold_identifier, read_array};
use weir_sql::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, ObjectNamePart, OrderByKind, Query, Select,
    SelectItem, SetExpr, TableAliasColumnDef, TableFactor, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use crate::{
    functions::{LIKE_ESCAPE, SIMILAR_ESCAPE},
    naming::{HIDDEN, OutputNames, name_of, names_of},
    tree,
};

/// The query as DataFusion can plan it, and the names of its outputs as PostgreSQL gives them.
pub(crate) fn prepare(query: &Query) -> (Query, OutputNames) {
    let names = names_of(&query.body);
    let mut query = query.clone();
    let _ = query.visit(&mut Rewrite { outermost: true });
    (query, names)
}

/// An expression outside a query: a policy's, a default, a value.
pub(crate) fn prepare_expr(expr: &Expr) -> Expr {
    let mut expr = expr.clone();
    let _ = expr.visit(&mut Rewrite { outermost: false });
    expr
}

struct Rewrite {
    /// Whether the next query is the statement's own, whose output names nobody but the client sees.
    outermost: bool,
}

impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let hidden = std::mem::replace(&mut self.outermost, false);
        if let Some(with) = query.with.as_mut().filter(|with| with.recursive) {
            with.cte_tables.iter_mut().for_each(|cte| type_first_term(&mut cte.query.body));
        }
        match query.body.as_mut() {
            SetExpr::Select(select) => {
                let outputs = name_items(&mut select.projection, hidden);
                if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind) {
                    keys.iter_mut().for_each(|key| order_by_alias(&mut key.expr, &outputs));
                }
            }
            body => name_branches(body, hidden),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        select.from.iter_mut().for_each(joins::turn_right_joins);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        name_series(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(rewritten) = rewritten(expr) {
            *expr = rewritten;
        }
        ControlFlow::Continue(())
    }
}

/// A function's only column bears the name that its table is given.
fn name_series(factor: &mut TableFactor) {
    if let TableFactor::Table { name, alias: Some(alias), args: Some(_), .. } = factor
        && alias.columns.is_empty()
        && name
            .0
            .last()
            .and_then(ObjectNamePart::as_ident)
            .is_some_and(|name| name.value.eq_ignore_ascii_case("generate_series"))
    {
        alias.columns.push(TableAliasColumnDef::from_name(alias.name.value.clone()));
    }
}

/// The first term of a recursive query gives its columns their types.
fn type_first_term(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, .. } => type_first_term(left),
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                    && is_small_integer(expr)
                {
                    *expr = cast(expr.clone(), DataType::Integer(None));
                }
            }
        }
        _ => {}
    }
}

fn name_branches(body: &mut SetExpr, hidden: bool) {
    match body {
        SetExpr::Select(select) => {
            name_items(&mut select.projection, hidden);
        }
        SetExpr::SetOperation { left, right, .. } => {
            name_branches(left, hidden);
            name_branches(right, hidden);
        }
        // Visited as queries of their own.
        _ => {}
    }
}

/// One output of a SELECT list after naming.
struct Output {
    /// As written; what ORDER BY may repeat.
    text: Option<String>,
    /// What PostgreSQL calls it.
    name: Option<String>,
    /// What the plan calls it, where an alias says so.
    alias: Option<Ident>,
}

fn is_wildcard(item: &SelectItem) -> bool {
    !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
}

fn name_items(items: &mut [SelectItem], hidden: bool) -> Vec<Output> {
    let wildcard = items.iter().any(is_wildcard);
    let mut used: Vec<String> = Vec::with_capacity(items.len());
    items.iter_mut().enumerate().map(|(index, item)| name_item(index, item, wildcard, hidden, &mut used)).collect()
}

fn name_item(index: usize, item: &mut SelectItem, wildcard: bool, hidden: bool, used: &mut Vec<String>) -> Output {
    let unique = || Ident::with_quote('"', format!("{HIDDEN}{index}"));
    match item {
        SelectItem::UnnamedExpr(expr) => {
            let name = name_of(expr);
            let text = expr.to_string();
            if hidden && is_small_integer(expr) {
                *expr = cast(expr.clone(), DataType::Integer(None));
            }
            let _ = expr.visit(&mut ExistsAsValue { depth: 0 });
            let column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            let taken = name.as_ref().is_none_or(|name| used.contains(name));
            // Beside a wildcard every name may be one that the wildcard also gives.
            let alias = match &name {
                _ if taken || wildcard => Some(unique()),
                Some(_) if column => None,
                Some(name) if !hidden => Some(Ident::with_quote('"', name)),
                _ => Some(unique()),
            };
            used.extend(name.clone());
            let output = Output { text: Some(text), name, alias: alias.clone() };
            if let Some(alias) = alias {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
            output
        }
        SelectItem::ExprWithAlias { expr, alias } => {
            if hidden && is_small_integer(expr) {
                *expr = cast(expr.clone(), DataType::Integer(None));
            }
            let _ = expr.visit(&mut ExistsAsValue { depth: 0 });
            let name = fold_identifier(&alias.value, alias.quote_style.is_some());
            if used.contains(&name) || alias.value.is_empty() {
                *alias = unique();
            }
            used.push(name.clone());
            Output { text: None, name: Some(name), alias: Some(alias.clone()) }
        }
        _ => Output { text: None, name: None, alias: None },
    }
}

/// A key of ORDER BY that names an output (by position, by its text, by the name PostgreSQL gives it) becomes its alias.
fn order_by_alias(key: &mut Expr, outputs: &[Output]) {
    let found = match key {
        Expr::Value(value) => match &value.value {
            // Positions count what a wildcard stands for; then they stay as they are.
            Value::Number(digits, _)
                if outputs.iter().all(|output| output.name.is_some() || output.alias.is_some()) =>
            {
                digits.parse::<usize>().ok().and_then(|position| outputs.get(position.checked_sub(1)?))
            }
            _ => None,
        },
        Expr::Identifier(ident) => {
            let name = fold_identifier(&ident.value, ident.quote_style.is_some());
            let mut named = outputs.iter().filter(|output| output.name.as_ref() == Some(&name));
            match (named.next(), named.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            }
        }
        _ => {
            let text = key.to_string();
            outputs.iter().find(|output| output.text.as_ref() == Some(&text))
        }
    };
    if let Some(Output { alias: Some(alias), .. }) = found {
        *key = Expr::Identifier(alias.clone());
    }
}

fn rewritten(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } => {
            Some(call("power", vec![left.as_ref().clone(), right.as_ref().clone()]))
        }
        Expr::BinaryOp { left, op, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Tuple(left), Expr::Tuple(right)) => rows::comparison(left, op, right),
            _ => None,
        },
        Expr::InList { expr, list, negated } => match expr.as_ref() {
            Expr::Tuple(row) => {
                let member = rows::membership(row, list)?;
                Some(if *negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(member) } } else { member })
            }
            _ => None,
        },
        Expr::Cast { kind, expr, data_type: DataType::Array(element), array: false, format: None } => {
            let read = to_array(expr);
            (read != **expr).then(|| Expr::Cast {
                kind: kind.clone(),
                expr: Box::new(read),
                data_type: DataType::Array(element.clone()),
                array: false,
                format: None,
            })
        }
        // Digits beyond what a decimal holds are read as the float they are cast to.
        Expr::Cast { kind, expr, data_type, array: false, format } => match expr.as_ref() {
            Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. })
                if digits.contains(['e', 'E']) && is_float(data_type) =>
            {
                Some(Expr::Cast {
                    kind: kind.clone(),
                    expr: Box::new(Expr::Value(Value::SingleQuotedString(digits.clone()).into())),
                    data_type: data_type.clone(),
                    array: false,
                    format: format.clone(),
                })
            }
            _ => None,
        },
        Expr::Interval(interval) => interval_cast(interval),
        Expr::AtTimeZone { timestamp, time_zone } => {
            Some(call("timezone", vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()]))
        }
        Expr::Like { escape_char: Some(escape), negated, any, expr, pattern } => Some(Expr::Like {
            negated: *negated,
            any: *any,
            expr: expr.clone(),
            pattern: Box::new(call(LIKE_ESCAPE, vec![pattern.as_ref().clone(), Expr::Value(escape.clone())])),
            escape_char: None,
        }),
        Expr::ILike { escape_char: Some(escape), negated, any, expr, pattern } => Some(Expr::ILike {
            negated: *negated,
            any: *any,
            expr: expr.clone(),
            pattern: Box::new(call(LIKE_ESCAPE, vec![pattern.as_ref().clone(), Expr::Value(escape.clone())])),
            escape_char: None,
        }),
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let backslash = || Value::SingleQuotedString("\\".to_owned()).into();
            let escape = Expr::Value(escape_char.clone().unwrap_or_else(backslash));
            Some(Expr::BinaryOp {
                left: expr.clone(),
                op: if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch },
                right: Box::new(call(SIMILAR_ESCAPE, vec![pattern.as_ref().clone(), escape])),
            })
        }
        Expr::Function(function) if named(function, "mod") => {
            let (left, right) = two_arguments(function)?;
            Some(Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(left))),
                op: BinaryOperator::Modulo,
                right: Box::new(Expr::Nested(Box::new(right))),
            })))
        }
        Expr::Function(function) if named(function, "age") => {
            let only = one_argument(function)?;
            Some(call("age", vec![call("current_date", Vec::new()), only]))
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => member(left, right),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
            Some(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(member(left, right)?))) })
        }
        _ => None,
    }
}

/// `value = ANY(array)`: a list of values where the array is written out.
fn member(value: &Expr, array: &Expr) -> Option<Expr> {
    let list = match array {
        Expr::Nested(inner) => return member(value, inner),
        Expr::Subquery(_) => return None,
        Expr::Array(array) => array.elem.clone(),
        Expr::Cast { expr, data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(element, None)), .. } => {
            match expr.as_ref() {
                Expr::Array(array) => {
                    array.elem.iter().map(|one| cast(one.clone(), element.as_ref().clone())).collect()
                }
                _ => return Some(call(crate::functions::MEMBER, vec![value.clone(), array.clone()])),
            }
        }
        Expr::Value(literal) => match text_elements(literal) {
            Some(elements) => elements,
            // A text that is no array says so when it is read; its elements are text, so the value is compared as such.
            None if matches!(&literal.value, Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_)) => {
                let value = cast(value.clone(), DataType::Text);
                return Some(call(crate::functions::MEMBER, vec![value, to_array(array)]));
            }
            None => return Some(call(crate::functions::MEMBER, vec![value.clone(), array.clone()])),
        },
        _ => return Some(call(crate::functions::MEMBER, vec![value.clone(), array.clone()])),
    };
    let expr = Box::new(Expr::Nested(Box::new(value.clone())));
    Some(match list.as_slice() {
        [] => Expr::Value(Value::Boolean(false).into()),
        _ => Expr::InList { expr, list, negated: false },
    })
}

/// The elements of an array written as text, as literals; None for what is no such text.
fn text_elements(literal: &ValueWithSpan) -> Option<Vec<Expr>> {
    let (Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text)) = &literal.value else { return None };
    let literal = |element: Option<String>| Expr::Value(element.map_or(Value::Null, Value::SingleQuotedString).into());
    Some(read_array(text).ok()?.into_iter().map(literal).collect())
}

/// What a cast to an array reads: the elements of a text written here, or whatever the text at hand has.
fn to_array(expr: &Expr) -> Expr {
    match expr {
        Expr::Nested(inner) => to_array(inner),
        Expr::Value(literal) => match (text_elements(literal), &literal.value) {
            (Some(elem), _) => Expr::Array(Array { elem, named: true }),
            (None, Value::Placeholder(_) | Value::Null) => expr.clone(),
            (None, _) => call(crate::functions::TO_ARRAY, vec![expr.clone()]),
        },
        Expr::Array(_) => expr.clone(),
        _ => call(crate::functions::TO_ARRAY, vec![expr.clone()]),
    }
}

fn is_float(data_type: &DataType) -> bool {
    use weir_model::ColumnType;
    matches!(weir_sql::column_type(data_type), Ok(ColumnType::Real | ColumnType::Double))
}

/// `INTERVAL '…'` and `INTERVAL '5' DAY` are read as PostgreSQL reads them.
fn interval_cast(interval: &Interval) -> Option<Expr> {
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = interval.value.as_ref() else {
        return None;
    };
    let plain = interval.last_field.is_none()
        && interval.leading_precision.is_none()
        && interval.fractional_seconds_precision.is_none();
    let text = match &interval.leading_field {
        _ if !plain => return None,
        None => text.clone(),
        Some(unit) if text.trim().parse::<f64>().is_ok() => format!("{} {unit}", text.trim()),
        Some(_) => return None,
    };
    let text = Expr::Value(Value::SingleQuotedString(text).into());
    Some(cast(text, DataType::Interval { fields: None, precision: None }))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    let expr = Box::new(Expr::Nested(Box::new(expr)));
    Expr::Cast { kind: CastKind::DoubleColon, expr, data_type, array: false, format: None }
}

/// A literal that is an integer to PostgreSQL; DataFusion makes every one a bigint.
fn is_small_integer(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => {
            matches!(&value.value, Value::Number(digits, _) if digits.parse::<i32>().is_ok())
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_small_integer(expr),
        _ => false,
    }
}

fn named(function: &Function, name: &str) -> bool {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] | [_, ObjectNamePart::Identifier(ident)] => {
            ident.value.eq_ignore_ascii_case(name)
        }
        _ => false,
    }
}

fn two_arguments(function: &Function) -> Option<(Expr, Expr)> {
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(left)), FunctionArg::Unnamed(FunctionArgExpr::Expr(right))] => {
            Some((left.clone(), right.clone()))
        }
        _ => None,
    }
}

fn one_argument(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(only))] => Some(only.clone()),
        _ => None,
    }
}

/// Replaces EXISTS in an output by a count, without entering subqueries, whose conditions are conditions.
struct ExistsAsValue {
    depth: usize,
}

impl VisitorMut for ExistsAsValue {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        name_series(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Exists { subquery, negated } = expr
        {
            *expr = tree::exists(subquery.as_ref().clone(), *negated);
        }
        ControlFlow::Continue(())
    }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use weir_sql::ast::Statement;

    fn check(sql: &str, expected: &str) {
        let statements = weir_sql::parse(sql).unwrap();
        let Statement::Query(query) = statements[0].tree() else { panic!("{sql}") };
        assert_eq!(prepare(query).0.to_string(), expected);
    }

    #[test]
    fn outputs_get_names_that_nothing_else_has() {
        check("SELECT a, a, b AS a FROM t", "SELECT a, a AS \"__weir_out1\", b AS \"__weir_out2\" FROM t");
        check("SELECT a, sum(b) FROM t", "SELECT a, sum(b) AS \"__weir_out1\" FROM t");
        check("SELECT *, a FROM t", "SELECT *, a AS \"__weir_out1\" FROM t");
        check(
            "SELECT x.count FROM (SELECT count(*) FROM t) AS x",
            "SELECT x.count FROM (SELECT count(*) AS \"count\" FROM t) AS x",
        );
    }

    #[test]
    fn order_by_follows_positions_texts_and_names() {
        check(
            "SELECT a, sum(b) FROM t GROUP BY a ORDER BY 2, sum(b), sum, a, 1 + 1",
            "SELECT a, sum(b) AS \"__weir_out1\" FROM t GROUP BY a \
             ORDER BY \"__weir_out1\", \"__weir_out1\", \"__weir_out1\", a, 1 + 1",
        );
    }

    #[test]
    fn operators_become_functions() {
        check(
            "SELECT mod(a + 1, 2), 2 ^ 3",
            "SELECT ((a + 1) % (2)) AS \"__weir_out0\", power(2, 3) AS \"__weir_out1\"",
        );
        check(
            "SELECT 1 FROM t WHERE a = ANY('{1,NULL}') AND b <> ALL($1::int[]) AND c = ANY(ARRAY[d, 2]) \
             AND e = ANY('{}') AND f = ANY('{1}'::int[])",
            "SELECT (1)::INTEGER AS \"__weir_out0\" FROM t WHERE (a) IN ('1', NULL) \
             AND NOT (weir_member(b, $1::INT[])) AND (c) IN (d, 2) AND false \
             AND (f) IN (('1')::INT)",
        );
        check(
            "SELECT '{1,2}'::int[], CAST(a AS text[]), $1::int[]",
            "SELECT ARRAY['1', '2']::INT[] AS \"__weir_out0\", CAST(weir_to_array(a) AS TEXT[]) AS \"__weir_out1\", \
             $1::INT[] AS \"__weir_out2\"",
        );
    }
}
