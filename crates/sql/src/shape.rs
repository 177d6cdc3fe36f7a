use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, Select, SelectItem, Visit, Visitor};

/// What the cost estimate asks of a statement's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// `*` or `t.*` in a select list.
    pub select_star: bool,
    /// Any WHERE at all.
    pub has_where: bool,
    /// Highest `$n`.
    pub parameters: usize,
}

impl Shape {
    pub(crate) fn of(tree: &impl Visit) -> Shape {
        let mut walk = Walk(Shape::default());
        let _: ControlFlow<()> = tree.visit(&mut walk);
        walk.0
    }
}

struct Walk(Shape);

impl Visitor for Walk {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.0.select_star |= select
            .projection
            .iter()
            .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
        self.0.has_where |= select.selection.is_some();
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &sqlparser::ast::ValueWithSpan) -> ControlFlow<()> {
        if let sqlparser::ast::Value::Placeholder(name) = &value.value {
            let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            self.0.parameters = self.0.parameters.max(number);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
