//! Small pieces of syntax tree: read and made.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, ObjectNamePart, OrderByExpr, Value,
};

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

/// The name PostgreSQL gives an output column that has none (`FigureColname`).
pub(super) fn output_name(expr: &Expr) -> String {
    named(expr).unwrap_or_else(|| "?column?".to_owned())
}

fn named(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(folded(ident)),
        Expr::CompoundIdentifier(idents) => idents.last().map(folded),
        Expr::CompoundFieldAccess { root, .. } => named(root),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => named(inner),
        Expr::Cast { expr: inner, data_type, .. } => {
            let bare = data_type.to_string().to_ascii_lowercase();
            let bare = bare.strip_prefix("pg_catalog.").unwrap_or(&bare).to_owned();
            named(inner).filter(|name| name != "case").or(Some(bare.trim_matches('"').to_owned()))
        }
        Expr::Function(function) => parts(&function.name).and_then(|mut parts| parts.pop()),
        Expr::Case { else_result, .. } => {
            let from_else = else_result.as_deref().filter(|each| is_column(each)).and_then(named);
            Some(from_else.unwrap_or_else(|| "case".to_owned()))
        }
        Expr::Exists { .. } => Some("exists".to_owned()),
        Expr::Array(_) => Some("array".to_owned()),
        Expr::Substring { .. } => Some("substring".to_owned()),
        Expr::Trim { .. } => Some("btrim".to_owned()),
        Expr::Extract { .. } => Some("extract".to_owned()),
        Expr::Position { .. } => Some("position".to_owned()),
        Expr::Subquery(query) => match query.body.as_ref() {
            sqlparser::ast::SetExpr::Select(select) => match select.projection.first()? {
                sqlparser::ast::SelectItem::UnnamedExpr(inner) => named(inner),
                sqlparser::ast::SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}
