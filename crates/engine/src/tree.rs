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
