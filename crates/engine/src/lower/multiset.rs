//! `EXCEPT ALL` and `INTERSECT ALL`: each of equal rows gets a number, and rows are looked for with their numbers.

use std::sync::Arc;

use datafusion::{
    common::{Column, DataFusionError, NullEquality, tree_node::Transformed},
    functions_window::row_number::row_number_udwf,
    logical_expr::{
        Expr, Join, JoinType, LogicalPlan, Projection, Window, WindowFunctionDefinition, expr::WindowFunction,
    },
};

const NUMBER: &str = "__weir_number";

/// Without DISTINCT on the left of such a join, the operation counts.
pub(super) fn lower(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
    let counts = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && !matches!(*join.left, LogicalPlan::Distinct(_));
    if !counts {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let outputs: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    let Join { left, right, mut on, filter, join_type, join_constraint, schema, null_equality, null_aware } = join;
    let (left, right) = (numbered(left)?, numbered(right)?);
    on.push((number(), number()));
    let join = LogicalPlan::Join(Join {
        left,
        right,
        on,
        filter,
        join_type,
        join_constraint,
        schema,
        null_equality,
        null_aware,
    });
    let join = Arc::new(join.recompute_schema()?);
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(outputs, join)?)))
}

fn number() -> Expr {
    Expr::Column(Column::from_name(NUMBER))
}

fn numbered(plan: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>, DataFusionError> {
    let mut call = WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new());
    call.params.partition_by = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let call = Expr::WindowFunction(Box::new(call)).alias(NUMBER);
    Ok(Arc::new(LogicalPlan::Window(Window::try_new(vec![call], plan)?)))
}
