//! Functions in FROM.

use sqlparser::ast::{Expr, Ident, ObjectName, TableAlias, TableAliasColumnDef, TableFactor};

use super::tree;
use crate::catalog::layout;

/// Functions in FROM: `pg_catalog.unnest(…)`, and functions whose rows are a relation here.
pub(super) fn changed(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, alias, args: Some(args), .. } = factor else { return None };
    let bare = tree::function_name(name)?;
    let arguments: Vec<Expr> = args.args.iter().filter_map(tree::positional).cloned().collect();
    match bare.as_str() {
        "unnest" => Some(unnest(arguments, alias.as_ref(), "unnest")),
        "generate_series" if arguments.iter().all(is_constant) => {
            if name.0.len() == 1 {
                return None;
            }
            let mut plain = factor.clone();
            if let TableFactor::Table { name, .. } = &mut plain {
                *name = ObjectName::from(vec![Ident::new("generate_series")]);
            }
            Some(plain)
        }
        "generate_series" => {
            Some(unnest(vec![tree::call("__weir_series", arguments)], alias.as_ref(), "generate_series"))
        }
        "pg_show_all_settings" => Some(relation(factor, "pg_settings")),
        other if arguments.is_empty() && layout::find(None, other).is_some_and(|layout| layout.kind == "f") => {
            Some(relation(factor, other))
        }
        _ => None,
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::UnaryOp { expr, .. } | Expr::Cast { expr, .. } | Expr::Nested(expr) => is_constant(expr),
        _ => false,
    }
}

/// A function's alias also names its column.
fn unnest(array_exprs: Vec<Expr>, alias: Option<&TableAlias>, default: &str) -> TableFactor {
    let mut alias = alias.cloned().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new(default),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
    }
    TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    }
}

fn relation(factor: &TableFactor, target: &str) -> TableFactor {
    let mut changed = factor.clone();
    if let TableFactor::Table { name, args, .. } = &mut changed {
        *name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new(target)]);
        *args = None;
    }
    changed
}
