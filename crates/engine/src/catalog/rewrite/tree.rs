//! Small pieces of syntax tree: read and made.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, ObjectNamePart, OrderByExpr, Value,
};

use crate::naming::name_of;

/// An identifier as SQL reads it.
pub(super) fn folded(ident: &Ident) -> String {
    weir_model::fold_identifier(&ident.value, ident.quote_style.is_some())
}

/// The parts of a name, folded; None where one is no identifier.
pub(super) fn parts(name: &ObjectName) -> Option<Vec<String>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(folded(ident)),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

pub(super) fn is_system_schema(name: &str) -> bool {
    matches!(name, "pg_catalog" | "information_schema")
}

/// A function's name without the schema, when that is a system's or none.
pub(super) fn function_name(name: &ObjectName) -> Option<String> {
    let mut parts = parts(name)?;
    match parts.as_slice() {
        [_] => parts.pop(),
        [schema, _] if is_system_schema(schema) => parts.pop(),
        _ => None,
    }
}

pub(super) fn call(name: &str, arguments: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::Function(function(name, arguments, Vec::new()))
}

/// `array_agg(element ORDER BY order)`.
pub(super) fn array_aggregate(element: Expr, order: Vec<OrderByExpr>) -> Expr {
    let clauses = if order.is_empty() { Vec::new() } else { vec![FunctionArgumentClause::OrderBy(order)] };
    Expr::Function(function("array_agg", [element], clauses))
}

fn function(name: &str, arguments: impl IntoIterator<Item = Expr>, clauses: Vec<FunctionArgumentClause>) -> Function {
    let args = arguments.into_iter().map(|each| FunctionArg::Unnamed(FunctionArgExpr::Expr(each))).collect();
    Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// The positional arguments of a call.
pub(super) fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    list.args.iter().filter_map(positional).collect()
}

pub(super) fn positional(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(each)) => Some(each),
        _ => None,
    }
}

pub(super) fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

pub(super) fn boolean(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).with_empty_span())
}

pub(super) fn string(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span())
}

pub(super) fn string_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn placeholder() -> Expr {
    null()
}

/// The name PostgreSQL gives an output column that has none.
pub(super) fn output_name(expr: &Expr) -> String {
    name_of(expr).or_else(|| type_of_cast(expr)).unwrap_or_else(|| "?column?".to_owned())
}

/// A cast to a type of `pg_catalog` is named by the type, as every cast is.
fn type_of_cast(expr: &Expr) -> Option<String> {
    let Expr::Cast { data_type, .. } = expr else { return None };
    let name = data_type.to_string().to_ascii_lowercase();
    Some(name.strip_prefix("pg_catalog.").unwrap_or(&name).trim_matches('"').to_owned())
}

pub(super) fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}
