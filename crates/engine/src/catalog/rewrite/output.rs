//! What the outermost select shows. PostgreSQL prints a `regclass` as a name and an `int2vector` as numbers between
//! blanks; within the query both are what they hold.

use sqlparser::ast::{Expr, Query, SelectItem, SetExpr, Statement};

use super::{Known, leaves, tree};

pub(super) fn show_names(statement: &mut Statement, known: &Known) {
    match statement {
        Statement::Query(query) => show_in_query(query, known),
        Statement::Explain { statement, .. } => show_names(statement, known),
        _ => {}
    }
}

fn show_in_query(query: &mut Query, known: &Known) {
    show_in_set(&mut query.body, known);
}

fn show_in_set(body: &mut SetExpr, known: &Known) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                show_item(item, known);
            }
        }
        SetExpr::Query(query) => show_in_query(query, known),
        SetExpr::SetOperation { left, right, .. } => {
            show_in_set(left, known);
            show_in_set(right, known);
        }
        _ => {}
    }
}

fn show_item(item: &mut SelectItem, known: &Known) {
    let shown = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => shown(expr, known),
        _ => None,
    };
    let Some(shown) = shown else { return };
    match item {
        SelectItem::UnnamedExpr(expr) => {
            let alias = sqlparser::ast::Ident::with_quote('"', tree::output_name(expr));
            *item = SelectItem::ExprWithAlias { expr: shown, alias };
        }
        SelectItem::ExprWithAlias { expr, .. } => *expr = shown,
        _ => {}
    }
}

fn shown(expr: &Expr, known: &Known) -> Option<Expr> {
    match expr {
        Expr::Cast { expr: inner, data_type, .. } => {
            let kind = leaves::registered_kind(data_type)?;
            Some(tree::call(&format!("__weir_{kind}{}", crate::catalog::functions::NAME_SUFFIX), [(**inner).clone()]))
        }
        Expr::Function(function) => {
            let name = tree::function_name(&function.name)?;
            let kind = name.strip_prefix("to_").filter(|kind| leaves::REGISTERED.contains(kind))?;
            Some(tree::call(&format!("__weir_{kind}{}", crate::catalog::functions::NAME_SUFFIX), [expr.clone()]))
        }
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            let vector = known.only_catalogs && leaves::is_vector(&tree::output_name(expr));
            vector.then(|| tree::call("__weir_vector_text", [expr.clone()]))
        }
        Expr::Nested(inner) => shown(inner, known),
        _ => None,
    }
}
