//! Queries built as trees, for statements that are run as queries. No tree is ever printed and parsed again.

use weir_sql::ast;

/// `SELECT projection FROM table WHERE selection`.
pub(crate) fn select(
    projection: Vec<ast::SelectItem>,
    table: ast::TableFactor,
    selection: Option<ast::Expr>,
) -> ast::Query {
    let from = vec![ast::TableWithJoins { relation: table, joins: Vec::new() }];
    query(ast::SetExpr::Select(Box::new(ast::Select {
        select_token: ast::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views: Vec::new(),
        prewhere: None,
        selection,
        connect_by: Vec::new(),
        group_by: ast::GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: ast::SelectFlavor::Standard,
    })))
}

fn query(body: ast::SetExpr) -> ast::Query {
    ast::Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

pub(crate) fn table(name: ast::ObjectName, alias: Option<ast::Ident>) -> ast::TableFactor {
    ast::TableFactor::Table {
        name,
        alias: alias.map(|name| ast::TableAlias { explicit: true, name, columns: Vec::new(), at: None }),
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// EXISTS as a value: whether the query's count is above zero. A plain SELECT is counted itself, so that it may still
/// refer to the query around it.
pub(crate) fn exists(mut query: ast::Query, negated: bool) -> ast::Expr {
    let op = if negated { ast::BinaryOperator::Eq } else { ast::BinaryOperator::Gt };
    let zero = ast::Expr::Value(ast::Value::Number("0".to_owned(), false).into());
    let answer = ast::Expr::BinaryOp { left: Box::new(count()), op, right: Box::new(zero) };
    let output = ast::SelectItem::ExprWithAlias { expr: answer, alias: ast::Ident::with_quote('"', "exists") };
    let plain = query.limit_clause.is_none() && query.with.is_none();
    if let ast::SetExpr::Select(select) = query.body.as_mut()
        && plain
        && is_plain(select)
    {
        select.projection = vec![output];
        query.order_by = None;
        return ast::Expr::Subquery(Box::new(query));
    }
    let alias = ast::TableAlias {
        explicit: true,
        name: ast::Ident::with_quote('"', "__weir_exists"),
        columns: Vec::new(),
        at: None,
    };
    let from =
        ast::TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None };
    ast::Expr::Subquery(Box::new(select(vec![output], from, None)))
}

/// Whether a SELECT gives as many rows as its FROM and WHERE do.
fn is_plain(select: &ast::Select) -> bool {
    let grouped = match &select.group_by {
        ast::GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
        ast::GroupByExpr::All(_) => true,
    };
    let aggregated = select.projection.iter().any(|item| match item {
        ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => {
            !matches!(expr, ast::Expr::Value(_) | ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_))
        }
        _ => false,
    });
    !grouped && !aggregated && select.having.is_none() && select.distinct.is_none() && select.qualify.is_none()
}

fn count() -> ast::Expr {
    ast::Expr::Function(ast::Function {
        name: ast::ObjectName(vec![ast::ObjectNamePart::Identifier(ast::Ident::new("count"))]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
