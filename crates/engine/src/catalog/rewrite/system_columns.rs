//! `tableoid`, which every relation has and no list of columns shows: of a catalog's, the catalog.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Select, Value, VisitorMut};

use super::{
    Known,
    scope::{self, Source},
    tree, walk,
};

pub(super) fn answer(select: &mut Select, known: &Known) {
    let sources = scope::sources(&select.from, known);
    walk(select, &mut TableOids { sources: &sources });
}

struct TableOids<'a> {
    sources: &'a [Source],
}

impl VisitorMut for TableOids<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(path) = expr
            && let Some((column, qualifier)) = path.split_last()
            && tree::folded(column) == "tableoid"
        {
            let qualifier: Vec<String> = qualifier.iter().map(tree::folded).collect();
            let layout = self.sources.iter().find_map(|source| source.catalog_called(&qualifier));
            if let Some(layout) = layout {
                *expr = Expr::Value(Value::Number(layout.oid.to_string(), false).with_empty_span());
            }
        }
        ControlFlow::Continue(())
    }
}
