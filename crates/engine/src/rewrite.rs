//! Rewriting the expressions of one plan node under the names that nodes above know them by.

use datafusion::{
    common::{DataFusionError, tree_node::Transformed},
    logical_expr::{Expr, GroupingSet, LogicalPlan, expr_rewriter::NamePreserver},
};

/// Rewrites each expression of the node. Where that changes the name of an output, it keeps the old one; those of
/// grouping sets one by one.
pub(crate) fn expressions(
    node: LogicalPlan,
    mut rewrite: impl FnMut(Expr) -> Result<Transformed<Expr>, DataFusionError>,
) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let names = NamePreserver::new(&node);
    let mut named = |expr: Expr| {
        let name = names.save(&expr);
        Ok::<_, DataFusionError>(rewrite(expr)?.update_data(|expr| name.restore(expr)))
    };
    node.map_expressions(|expr| match expr {
        Expr::GroupingSet(set) => {
            let mut changed = false;
            let mut each = |expr: Expr| {
                let done = named(expr)?;
                changed |= done.transformed;
                Ok::<_, DataFusionError>(done.data)
            };
            let mut all = |keys: Vec<Expr>| keys.into_iter().map(&mut each).collect::<Result<Vec<Expr>, _>>();
            let set = match set {
                GroupingSet::Rollup(keys) => GroupingSet::Rollup(all(keys)?),
                GroupingSet::Cube(keys) => GroupingSet::Cube(all(keys)?),
                GroupingSet::GroupingSets(sets) => {
                    GroupingSet::GroupingSets(sets.into_iter().map(all).collect::<Result<_, _>>()?)
                }
            };
            let set = Expr::GroupingSet(set);
            Ok(if changed { Transformed::yes(set) } else { Transformed::no(set) })
        }
        expr => named(expr),
    })
}
