//! Expressions and table functions, one by one: spellings of PostgreSQL that DataFusion does not read.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, DataType, Expr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, OrderByExpr, OrderByKind, Query, SelectItem, SetExpr, Statement, Subscript, TableAlias,
    TableAliasColumnDef, TableFactor, Value, ValueWithSpan, VisitorMut,
};

use super::{Known, empty, factors, literals, scope, tree, walk};
use crate::catalog::functions::{NAME_SUFFIX, OID_SUFFIX};

/// The `reg…` types that are understood.
pub(super) const REGISTERED: [&str; 5] = ["regclass", "regtype", "regnamespace", "regrole", "regproc"];

pub(super) fn rewrite(statement: &mut Statement, known: &Known) {
    walk(statement, &mut Leaves { known });
}

/// The kind of a `reg…` type, with or without `pg_catalog`.
pub(super) fn registered_kind(data_type: &DataType) -> Option<&'static str> {
    let name = type_name(data_type)?;
    let name = if name == "regprocedure" { "regproc" } else { name.as_str() };
    REGISTERED.into_iter().find(|kind| *kind == name)
}

/// The bare name of a type that sqlparser knows by name only.
fn type_name(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Regclass => Some("regclass".to_owned()),
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let mut parts = tree::parts(name)?;
            match parts.as_slice() {
                [_] => parts.pop(),
                [schema, _] if tree::is_system_schema(schema) => parts.pop(),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The built-in type that a name of `pg_catalog` or `information_schema` stands for.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(element, size)) = data_type {
        return plain_type(element)
            .map(|element| DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), *size)));
    }
    Some(match type_name(data_type)?.as_str() {
        "text" | "name" | "char" | "varchar" | "bpchar" | "cstring" | "sql_identifier" | "character_data"
        | "yes_or_no" | "aclitem" | "pg_node_tree" | "unknown" => DataType::Text,
        "bool" => DataType::Boolean,
        "int2" => DataType::SmallInt(None),
        "int4" | "cardinal_number" => DataType::Integer(None),
        "int8" | "oid" | "xid" => DataType::BigInt(None),
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        "timestamptz" => DataType::Timestamp(None, sqlparser::ast::TimezoneInfo::WithTimeZone),
        "timestamp" => DataType::Timestamp(None, sqlparser::ast::TimezoneInfo::None),
        "date" => DataType::Date,
        _ => return None,
    })
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Text | DataType::Varchar(_)) || plain_type(data_type) == Some(DataType::Text)
}

struct Leaves<'a> {
    known: &'a Known,
}

impl VisitorMut for Leaves<'_> {
    type Break = ();

    /// Before its parts: a cast must still see the cast within.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        while let Expr::Collate { expr: inner, collation } = expr {
            if !is_binary(collation) {
                break;
            }
            *expr = std::mem::replace(inner.as_mut(), tree::placeholder());
        }
        if let Some(changed) = self.changed(expr) {
            *expr = changed;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let Some(changed) = factors::changed(factor) {
            *factor = changed;
        }
        ControlFlow::Continue(())
    }
}

impl Leaves<'_> {
    fn changed(&self, expr: &mut Expr) -> Option<Expr> {
        match expr {
            Expr::BinaryOp { op, .. } => {
                if let Some(plain) = plain_operator(op) {
                    *op = plain;
                }
                None
            }
            Expr::Cast { expr: inner, data_type, .. } => cast(inner, data_type),
            Expr::Identifier(ident) if ident.quote_style.is_none() => {
                let name = tree::folded(ident);
                matches!(name.as_str(), "current_schema" | "current_role").then(|| tree::call(&name, []))
            }
            Expr::Function(_) => self.function(expr),
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                escape_by_backslash(pattern, escape_char);
                None
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                if self.known.only_catalogs {
                    count_from_one(root, access_chain);
                }
                field(root, access_chain)
            }
            _ => None,
        }
    }

    fn function(&self, expr: &mut Expr) -> Option<Expr> {
        let Expr::Function(function) = expr else { return None };
        let name = tree::function_name(&function.name)?;
        if let FunctionArguments::Subquery(query) = &function.args {
            return (name == "array").then(|| self.array_of(query));
        }
        function.name = ObjectName::from(vec![Ident::new(name.clone())]);
        if matches!(function.args, FunctionArguments::None) {
            function.args = FunctionArguments::List(FunctionArgumentList {
                duplicate_treatment: None,
                args: Vec::new(),
                clauses: Vec::new(),
            });
        }
        let arguments = tree::arguments(function);
        match (name.as_str(), arguments.as_slice()) {
            ("generate_subscripts", [array, _]) => {
                let places =
                    if is_vector(&tree::output_name(array)) { "__weir_vector_subscripts" } else { "__weir_subscripts" };
                Some(tree::call("unnest", [tree::call(places, [(*array).clone()])]))
            }
            ("_pg_expandarray", [array]) => {
                Some(tree::call("unnest", [tree::call("__weir_expanded", [(*array).clone()])]))
            }
            _ => None,
        }
    }

    /// `ARRAY(SELECT e … ORDER BY o)` is `array_agg(e ORDER BY o)`, and of no rows the empty array.
    fn array_of(&self, query: &Query) -> Expr {
        if empty::is_empty_query(query, self.known) {
            return tree::call("__weir_no_texts", []);
        }
        let aggregated = aggregate_in_place(query).unwrap_or_else(|| aggregate_around(query));
        tree::call("__weir_list_or_empty", [Expr::Subquery(Box::new(aggregated))])
    }
}

/// Within the select itself, so that its correlation to the query around stays one that can be resolved.
fn aggregate_in_place(query: &Query) -> Option<Query> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    if query.limit_clause.is_some() || select.distinct.is_some() || scope::is_aggregated(select) {
        return None;
    }
    let [SelectItem::UnnamedExpr(element) | SelectItem::ExprWithAlias { expr: element, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    let order = match query.order_by.as_ref().map(|order| &order.kind) {
        None => Vec::new(),
        Some(OrderByKind::All(_)) => return None,
        Some(OrderByKind::Expressions(keys)) => keys.iter().map(|key| by_expression(key, element)).collect(),
    };
    let mut query = query.clone();
    query.order_by = None;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.projection = vec![SelectItem::ExprWithAlias {
        expr: tree::array_aggregate(element_of(select), order),
        alias: Ident::new("array"),
    }];
    Some(query)
}

fn element_of(select: &sqlparser::ast::Select) -> Expr {
    match select.projection.first() {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr.clone(),
        _ => tree::null(),
    }
}

/// `ORDER BY 1` orders by the element.
fn by_expression(key: &OrderByExpr, element: &Expr) -> OrderByExpr {
    let mut key = key.clone();
    if key.expr.to_string() == "1" {
        key.expr = element.clone();
    }
    key
}

fn aggregate_around(query: &Query) -> Query {
    let alias = TableAlias {
        explicit: true,
        name: Ident::new("__weir_elements"),
        columns: vec![TableAliasColumnDef::from_name("element")],
        at: None,
    };
    let mut outer = query.clone();
    outer.with = None;
    outer.order_by = None;
    outer.limit_clause = None;
    let element = Expr::Identifier(Ident::new("element"));
    let mut select = scope::blank_select();
    select.projection = vec![SelectItem::UnnamedExpr(tree::array_aggregate(element, Vec::new()))];
    select.from = vec![scope::derived(query.clone(), alias)];
    *outer.body = SetExpr::Select(Box::new(select));
    outer
}

/// DataFusion knows one escape, the backslash, which is also PostgreSQL's where none is given.
fn escape_by_backslash(pattern: &mut Box<Expr>, escape_char: &mut Option<ValueWithSpan>) {
    let Some(escape) = escape_char.take() else { return };
    let bare = std::mem::replace(pattern.as_mut(), tree::placeholder());
    **pattern = tree::call("__weir_like_pattern", [bare, Expr::Value(escape)]);
}

/// Collations by which text is ordered as it is anyway: by its bytes.
fn is_binary(collation: &ObjectName) -> bool {
    tree::parts(collation)
        .and_then(|parts| parts.last().cloned())
        .is_some_and(|name| matches!(name.as_str(), "default" | "C" | "POSIX" | "C.UTF-8" | "ucs_basic"))
}

fn plain_operator(op: &BinaryOperator) -> Option<BinaryOperator> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return None };
    let [schema, name] = parts.as_slice() else { return None };
    if !schema.eq_ignore_ascii_case("pg_catalog") {
        return None;
    }
    Some(match name.as_str() {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

fn cast(inner: &mut Box<Expr>, data_type: &mut DataType) -> Option<Expr> {
    let taken = |inner: &mut Box<Expr>| std::mem::replace(inner.as_mut(), tree::placeholder());
    if let Some(kind) = registered_kind(data_type) {
        let suffix = if kind == "regproc" { NAME_SUFFIX } else { OID_SUFFIX };
        return Some(tree::call(&format!("__weir_{kind}{suffix}"), [taken(inner)]));
    }
    if is_text(data_type) {
        if let Expr::Cast { expr: innermost, data_type: within, .. } = inner.as_mut()
            && let Some(kind) = registered_kind(within)
        {
            return Some(tree::call(&format!("__weir_{kind}{NAME_SUFFIX}"), [taken(innermost)]));
        }
        if let Expr::Function(function) = inner.as_ref()
            && let Some(name) = tree::function_name(&function.name)
            && let Some(kind) = name.strip_prefix("to_").filter(|kind| REGISTERED.contains(kind))
        {
            return Some(tree::call(&format!("__weir_{kind}{NAME_SUFFIX}"), [taken(inner)]));
        }
    }
    if let Some(array) = literals::typed_array(inner, data_type) {
        return Some(array);
    }
    // A client reads what type its parameter has, and sends it so.
    let is_parameter =
        matches!(inner.as_ref(), Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. })) && is_oid(data_type);
    if let Some(plain) = plain_type(data_type).filter(|_| !is_parameter) {
        *data_type = plain;
    }
    None
}

fn is_oid(data_type: &DataType) -> bool {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => is_oid(element),
        other => type_name(other).is_some_and(|name| name == "oid"),
    }
}

/// Columns of `int2vector` and `oidvector`, whose subscripts begin at 0, where those of a list here begin at 1.
pub(super) fn is_vector(name: &str) -> bool {
    matches!(name, "indkey" | "indcollation" | "indclass" | "indoption" | "proargtypes" | "tgattr")
}

fn count_from_one(root: &Expr, chain: &mut [AccessExpr]) {
    let mut vector = tree::is_column(root) && is_vector(&tree::output_name(root));
    for access in chain {
        match access {
            AccessExpr::Dot(expr) => vector = tree::is_column(expr) && is_vector(&tree::output_name(expr)),
            AccessExpr::Subscript(Subscript::Index { index }) if vector => {
                let counted = std::mem::replace(index, tree::placeholder());
                let one = Value::Number("1".into(), false).with_empty_span();
                *index = Expr::BinaryOp {
                    left: Box::new(Expr::Nested(Box::new(counted))),
                    op: BinaryOperator::Plus,
                    right: Box::new(Expr::Value(one)),
                };
                vector = false;
            }
            AccessExpr::Subscript(_) => vector = false,
        }
    }
}

/// `(x).field`.
fn field(root: &mut Box<Expr>, chain: &[AccessExpr]) -> Option<Expr> {
    if !matches!(root.as_ref(), Expr::Nested(_)) || chain.is_empty() {
        return None;
    }
    let names: Option<Vec<String>> = chain
        .iter()
        .map(|access| match access {
            AccessExpr::Dot(Expr::Identifier(ident)) => Some(tree::folded(ident)),
            _ => None,
        })
        .collect();
    let base = std::mem::replace(root.as_mut(), tree::placeholder());
    let Some(names) = names else {
        **root = base;
        return None;
    };
    Some(names.into_iter().fold(base, |base, name| tree::call("get_field", [base, tree::string(&name)])))
}
