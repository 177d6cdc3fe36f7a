//! The expressions that row filters may hold.
//!
//! The list is of what is allowed, so that what nobody thought of is refused: columns of the policy's own table,
//! literals, session values, comparisons, logic, arithmetic, and functions that give the same answer for the same
//! arguments. Subqueries would read other tables past their own filters; volatile functions would make a plan's
//! answer depend on when it was cached.

use std::collections::BTreeSet;

use sqlparser::{
    ast::{BinaryOperator, CastKind, CeilFloorKind, DataType, Expr, Function, Ident, Spanned, UnaryOperator, Value},
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
    tokenizer::{Span, Token, TokenWithSpan, Tokenizer},
};
use weir_model::{ObjectName, fold_identifier};

use crate::session_value::{
    SessionNeeds, SessionValue, function_name, listed_attribute, plain_arguments, session_value,
};

/// Most tokens of one statement in `row_filters.sql`, and deepest nesting of one expression.
pub(crate) const TOKENS_MAX: usize = 10_000;
const DEPTH_MAX: u32 = 256;

/// Functions that answer the same for the same arguments, by the names that PostgreSQL and the engine share.
const FUNCTIONS: [&str; 30] = [
    "abs",
    "btrim",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "coalesce",
    "date_part",
    "date_trunc",
    "floor",
    "greatest",
    "least",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "md5",
    "mod",
    "nullif",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
];
const AGGREGATES: [&str; 10] =
    ["count", "sum", "avg", "min", "max", "array_agg", "string_agg", "bool_and", "bool_or", "every"];
const VOLATILE: [&str; 13] = [
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "random",
    "gen_random_uuid",
    "nextval",
];
/// Words that read like columns when the parser knows them as nothing else.
const NOT_COLUMNS: [&str; 4] = ["current_role", "session_user", "current_user", "user"];

/// A filter's expression, checked: columns unqualified and folded, session values still in place.
#[derive(Debug, Clone)]
pub(crate) struct FilterExpr {
    pub expr: Expr,
    pub columns: BTreeSet<String>,
    pub needs: SessionNeeds,
}

#[derive(Debug)]
pub(crate) struct FilterMistake {
    pub span: Span,
    pub message: String,
    pub hint: Option<String>,
}

impl FilterExpr {
    /// Checks an expression of a policy on `table`.
    pub fn check(mut expr: Expr, table: &ObjectName) -> Result<FilterExpr, Vec<FilterMistake>> {
        let (columns, needs) = (BTreeSet::new(), SessionNeeds::default());
        let mut check = Check { table, mistakes: Vec::new(), columns, needs, too_deep: false };
        check.expr(&mut expr, 0);
        if check.mistakes.is_empty() {
            Ok(FilterExpr { expr, columns: check.columns, needs: check.needs })
        } else {
            Err(check.mistakes)
        }
    }

    /// Reads back what a bundle carries.
    pub fn parse(text: &str, table: &ObjectName) -> Result<FilterExpr, String> {
        let tokens = tokenize(text).map_err(|error| error.to_string())?;
        if tokens.len() > TOKENS_MAX {
            return Err(format!("the expression has more than {TOKENS_MAX} tokens"));
        }
        let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens);
        let expr = parser.parse_expr().map_err(|error| error.to_string())?;
        if parser.peek_token().token != Token::EOF {
            return Err(format!("unexpected `{}` after the expression", parser.peek_token().token));
        }
        FilterExpr::check(expr, table)
            .map_err(|mistakes| mistakes.into_iter().map(|mistake| mistake.message).collect::<Vec<_>>().join("; "))
    }
}

pub(crate) fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, ParserError> {
    Ok(Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location()?)
}

struct Check<'a> {
    table: &'a ObjectName,
    mistakes: Vec<FilterMistake>,
    columns: BTreeSet<String>,
    needs: SessionNeeds,
    too_deep: bool,
}

impl Check<'_> {
    fn mistake(&mut self, span: Span, message: impl Into<String>, hint: Option<&str>) {
        self.mistakes.push(FilterMistake { span, message: message.into(), hint: hint.map(str::to_owned) });
    }

    fn unsupported(&mut self, span: Span, what: &str) {
        self.mistake(span, format!("{what} in a row filter is not supported"), None);
    }

    fn expr(&mut self, expr: &mut Expr, depth: u32) {
        if depth > DEPTH_MAX {
            if std::mem::replace(&mut self.too_deep, true) {
                return;
            }
            let hint = Some("use `IN (…)` or several policies");
            return self.mistake(Span::empty(), format!("the filter is nested deeper than {DEPTH_MAX}"), hint);
        }
        let next = depth + 1;
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.column(expr),
            Expr::Value(value) => match &value.value {
                Value::Number(..) | Value::SingleQuotedString(_) | Value::Boolean(_) | Value::Null => {}
                Value::Placeholder(_) => self.unsupported(value.span, "a parameter"),
                _ => {
                    self.mistake(value.span, "this kind of literal is not supported in a row filter", Some("write '…'"))
                }
            },
            Expr::TypedString(typed) => {
                if !plain_type(&typed.data_type) || typed.uses_odbc_syntax {
                    self.unsupported(typed.value.span, &format!("a literal of type {}", typed.data_type));
                }
            }
            Expr::Nested(inner)
            | Expr::IsTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner) => self.expr(inner, next),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.expr(left, next);
                self.expr(right, next);
            }
            Expr::UnaryOp { op: UnaryOperator::Not | UnaryOperator::Plus | UnaryOperator::Minus, expr: inner } => {
                self.expr(inner, next);
            }
            Expr::BinaryOp { left, op, right } if allowed_operator(op) => {
                self.expr(left, next);
                self.expr(right, next);
            }
            Expr::BinaryOp { op, .. } => {
                let what = format!("operator `{op}`");
                self.unsupported(expr.span(), &what);
            }
            Expr::InList { expr: inner, list, .. } => {
                self.expr(inner, next);
                list.iter_mut().for_each(|item| self.expr(item, next));
            }
            Expr::Between { expr: inner, low, high, .. } => {
                for part in [inner, low, high] {
                    self.expr(part, next);
                }
            }
            Expr::Like { any: false, expr: inner, pattern, .. }
            | Expr::ILike { any: false, expr: inner, pattern, .. } => {
                self.expr(inner, next);
                self.expr(pattern, next);
            }
            Expr::Function(_) => self.function(expr, next),
            Expr::AnyOp { .. } => self.any_of(expr, next),
            _ => self.special_form(expr, next),
        }
    }

    /// What SQL writes in its own syntax instead of as a function or operator.
    fn special_form(&mut self, expr: &mut Expr, next: u32) {
        let span = expr.span();
        match expr {
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr: inner,
                data_type,
                array: false,
                format: None,
            } => {
                if !plain_type(data_type) {
                    self.unsupported(span, &format!("a cast to {data_type}"));
                }
                self.expr(inner, next);
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                for part in operand.iter_mut().chain(else_result) {
                    self.expr(part, next);
                }
                for when in conditions {
                    self.expr(&mut when.condition, next);
                    self.expr(&mut when.result, next);
                }
            }
            Expr::Extract { expr: inner, .. } => self.expr(inner, next),
            Expr::Ceil { expr: inner, field } | Expr::Floor { expr: inner, field } => {
                if !matches!(field, CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime)) {
                    self.unsupported(span, "rounding to a field");
                }
                self.expr(inner, next);
            }
            Expr::Substring { expr: inner, substring_from, substring_for, .. } => {
                self.expr(inner, next);
                for part in substring_from.iter_mut().chain(substring_for) {
                    self.expr(part, next);
                }
            }
            Expr::Trim { expr: inner, trim_what, trim_characters: None, .. } => {
                self.expr(inner, next);
                if let Some(part) = trim_what {
                    self.expr(part, next);
                }
            }
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } | Expr::InUnnest { .. } => {
                let hint = Some("put what the subquery looks up into an attribute: `current_setting('agent.…')`");
                self.mistake(span, "a subquery in a row filter is not supported", hint);
            }
            other => {
                let text: String = other.to_string().chars().take(60).collect();
                self.unsupported(span, &format!("`{text}`"));
            }
        }
    }

    fn column(&mut self, expr: &mut Expr) {
        let span = expr.span();
        let (qualifier, column) = match &*expr {
            Expr::Identifier(column) => (Vec::new(), column.clone()),
            Expr::CompoundIdentifier(parts) => match parts.split_last() {
                Some((column, qualifier)) => (qualifier.to_vec(), column.clone()),
                None => return,
            },
            _ => return,
        };
        let folded = |ident: &Ident| fold_identifier(&ident.value, ident.quote_style.is_some());
        let own = match qualifier.as_slice() {
            [] => true,
            [table] => folded(table) == self.table.name(),
            [schema, table] => folded(schema) == self.table.schema() && folded(table) == self.table.name(),
            _ => false,
        };
        if !own {
            let hint = Some("a filter sees the columns of its own table");
            return self.mistake(span, format!("`{expr}` is not a column of {}", self.table), hint);
        }
        let name = folded(&column);
        if qualifier.is_empty() && column.quote_style.is_none() {
            if VOLATILE.contains(&name.as_str()) {
                return self.unsupported(span, &format!("`{name}`, which changes with time,"));
            }
            if NOT_COLUMNS.contains(&name.as_str()) {
                return self.mistake(span, format!("`{name}` is not a column"), Some("write `current_user`"));
            }
        }
        self.columns.insert(name.clone());
        *expr = Expr::Identifier(Ident { value: name, quote_style: column.quote_style, span: column.span });
    }

    fn function(&mut self, expr: &mut Expr, next: u32) {
        let span = expr.span();
        match session_value(expr) {
            Some(SessionValue::User) => {
                self.needs.user = true;
                return;
            }
            Some(SessionValue::Attribute { name, .. }) => {
                self.needs.attributes.insert(name.to_owned());
                return;
            }
            Some(SessionValue::Foreign) => {
                let hint =
                    Some("attributes of the credential and of policy.toml read as `current_setting('agent.region')`");
                return self.mistake(span, "`current_setting` in a row filter takes `'agent.<attribute>'`", hint);
            }
            None => {}
        }
        let Expr::Function(function) = expr else { return };
        let name = function_name(function).unwrap_or_else(|| function.name.to_string());
        if function.over.is_some() {
            return self.unsupported(span, &format!("window function `{name}`"));
        }
        if AGGREGATES.contains(&name.as_str()) {
            return self.unsupported(span, &format!("aggregate `{name}`"));
        }
        if VOLATILE.contains(&name.as_str()) {
            return self.unsupported(span, &format!("function `{name}`, which answers differently each time,"));
        }
        if !FUNCTIONS.contains(&name.as_str()) || plain_arguments(function).is_none() {
            let hint = format!("supported: {}", FUNCTIONS.join(", "));
            return self.mistake(span, format!("function `{name}` in a row filter is not supported"), Some(&hint));
        }
        for argument in arguments_mut(function) {
            self.expr(argument, next);
        }
    }

    /// `column = ANY (string_to_array(current_setting('agent.<list>'), ','))`
    fn any_of(&mut self, expr: &mut Expr, next: u32) {
        let span = expr.span();
        match expr {
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } if listed_attribute(right).is_some() => {
                self.needs.attributes.extend(listed_attribute(right).map(str::to_owned));
                self.expr(left, next);
            }
            _ => {
                let hint =
                    Some("supported: `x = ANY (string_to_array(current_setting('agent.<list>'), ','))`, or `x IN (…)`");
                self.mistake(span, "this use of ANY in a row filter is not supported", hint);
            }
        }
    }
}

fn arguments_mut(function: &mut Function) -> impl Iterator<Item = &mut Expr> {
    use sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments};
    let arguments = match &mut function.args {
        FunctionArguments::List(list) => list.args.as_mut_slice(),
        _ => &mut [],
    };
    arguments.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    })
}

fn allowed_operator(op: &BinaryOperator) -> bool {
    use BinaryOperator::{And, Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Or, Plus, StringConcat};
    matches!(
        op,
        And | Divide | Eq | Gt | GtEq | Lt | LtEq | Minus | Modulo | Multiply | NotEq | Or | Plus | StringConcat
    )
}

fn plain_type(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Bool
            | DataType::SmallInt(None)
            | DataType::Int(None)
            | DataType::Integer(None)
            | DataType::BigInt(None)
            | DataType::Int2(None)
            | DataType::Int4(None)
            | DataType::Int8(None)
            | DataType::Real
            | DataType::DoublePrecision
            | DataType::Numeric(_)
            | DataType::Decimal(_)
            | DataType::Text
            | DataType::Varchar(_)
            | DataType::CharacterVarying(_)
            | DataType::Date
            | DataType::Timestamp(None, _)
            | DataType::Uuid
    )
}
