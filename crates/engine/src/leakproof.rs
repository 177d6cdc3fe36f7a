//! What of the user's may run below a barrier: comparisons of an unmasked column with a constant.
//!
//! They cannot fail and have no effect, so running them on hidden rows tells nothing, and they let the scan skip blocks.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, DataFusionError, tree_node::Transformed},
    logical_expr::{
        Between, BinaryExpr, Cast, Expr, Filter, LogicalPlan, Operator,
        expr::{InList, Placeholder},
        utils,
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use crate::{barrier::Barrier, functions::MEMBER, governed::RawTable};

#[derive(Debug, Default)]
pub(crate) struct Leakproof;

impl OptimizerRule for Leakproof {
    fn name(&self) -> &str {
        "leakproof_below_barrier"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        if let Some(lifted) = lift_constant_filter(&plan) {
            return Ok(Transformed::yes(lifted));
        }
        let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
        let Some(barrier) = Barrier::of(&filter.input) else { return Ok(Transformed::no(LogicalPlan::Filter(filter))) };
        let LogicalPlan::TableScan(scan) = barrier.input() else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        let Some(raw) = scan.source.downcast_ref::<RawTable>() else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        let (down, stay): (Vec<&Expr>, Vec<&Expr>) =
            utils::split_conjunction(&filter.predicate).into_iter().partition(|conjunct| is_leakproof(conjunct, raw));
        if down.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let mut scan = scan.clone();
        for conjunct in down {
            if !scan.filters.contains(conjunct) {
                scan.filters.push(conjunct.clone());
            }
        }
        let input = barrier.with_input(LogicalPlan::TableScan(scan)).into_plan();
        Ok(Transformed::yes(match utils::conjunction(stay.into_iter().cloned()) {
            Some(predicate) => LogicalPlan::Filter(Filter::new(predicate, Arc::new(input))),
            None => input,
        }))
    }
}

/// A condition without columns (`(SELECT count(*) FROM t) > 0`) is not held back by the barrier's columns, so the
/// optimiser's own rule pushes it below; it goes back above.
fn lift_constant_filter(plan: &LogicalPlan) -> Option<LogicalPlan> {
    let barrier = Barrier::of(plan)?;
    let LogicalPlan::Filter(filter) = barrier.input() else { return None };
    let below = barrier.with_input(filter.input.as_ref().clone()).into_plan();
    Some(LogicalPlan::Filter(Filter::new(filter.predicate.clone(), Arc::new(below))))
}

/// Comparisons, and AND, OR and NOT of them.
pub(crate) fn is_leakproof(expr: &Expr, raw: &RawTable) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => is_leakproof(left, raw) && is_leakproof(right, raw),
            op if is_comparison(*op) => {
                (is_column(left, raw) && is_constant(right)) || (is_constant(left) && is_column(right, raw))
            }
            _ => false,
        },
        Expr::Not(inner) => is_leakproof(inner, raw),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) | Expr::IsTrue(inner) | Expr::IsFalse(inner) => {
            is_column(inner, raw)
        }
        Expr::Between(Between { expr, low, high, .. }) => is_column(expr, raw) && is_constant(low) && is_constant(high),
        Expr::InList(InList { expr, list, .. }) => is_column(expr, raw) && list.iter().all(is_constant),
        Expr::ScalarFunction(call) if call.name() == MEMBER => match call.args.as_slice() {
            [value, array] => is_column(value, raw) && is_constant_list(array),
            _ => false,
        },
        Expr::Column(_) => is_column(expr, raw),
        _ => false,
    }
}

/// A constant array, perhaps with wider elements than it was given.
fn is_constant_list(expr: &Expr) -> bool {
    let Expr::Cast(Cast { expr: inner, field: to }) = expr else { return is_constant(expr) };
    match (inner.as_ref(), to.data_type()) {
        (Expr::Placeholder(Placeholder { field: Some(from), .. }), DataType::List(to)) => {
            matches!(from.data_type(), DataType::List(from) if is_widening(from.data_type(), to.data_type()))
        }
        _ => false,
    }
}

pub(crate) fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// The column that an expression is, through casts that cannot fail and keep the order.
pub(crate) fn column_of(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Cast(Cast { expr, field }) => match expr.as_ref() {
            Expr::Column(column) if widens(field.data_type()) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

fn is_column(expr: &Expr, raw: &RawTable) -> bool {
    let Some(column) = column_of(expr) else { return false };
    let Ok(source) = raw.schema_ref().field_with_name(&column.name) else { return false };
    let kept = match expr {
        Expr::Cast(Cast { field, .. }) => is_widening(source.data_type(), field.data_type()),
        _ => true,
    };
    kept && !raw.is_masked(&column.name)
}

fn widens(target: &DataType) -> bool {
    matches!(target, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Utf8View | DataType::Utf8)
}

/// Casts in which every value has an image and order is kept.
pub(crate) fn is_widening(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Int16, DataType::Int32 | DataType::Int64 | DataType::Float64)
        | (DataType::Int32, DataType::Int64 | DataType::Float64)
        | (DataType::Float32, DataType::Float64) => true,
        (from, to) => from == to || (crate::types::is_text(from) && crate::types::is_text(to)),
    }
}

/// A value that is there before the first row is read. An expression over constants (`1 / 0`) is none: computed behind
/// another condition, its failing would tell whether a hidden row met that one.
pub(crate) fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..)) || placeholder_of(expr).is_some()
}

/// The placeholder that an expression is, through casts that cannot fail: drivers send the smallest type that holds a
/// number.
pub(crate) fn placeholder_of(expr: &Expr) -> Option<&Placeholder> {
    match expr {
        Expr::Placeholder(placeholder) => Some(placeholder),
        Expr::Cast(Cast { expr, field }) => match expr.as_ref() {
            Expr::Placeholder(placeholder) => {
                let own = placeholder.field.as_ref()?;
                is_widening(own.data_type(), field.data_type()).then_some(placeholder)
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::{cast, col, lit, placeholder};
    use weir_model::ObjectName;

    use super::*;
    use crate::governed::{Rows, Stamp};

    #[test]
    fn only_comparisons_with_constants_are_leakproof() {
        let schema = Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Int32, true),
            Field::new("s", DataType::Utf8View, true),
        ]);
        let name = ObjectName::new("public", "t").unwrap();
        let raw = RawTable::new(name, Arc::new(schema), Rows::Stored, Stamp::fresh());
        let check = |expr: Expr, expected: bool| assert_eq!(is_leakproof(&expr, &raw), expected, "{expr}");
        check(col("a").gt(lit(5)), true);
        check(lit(5).eq(col("a")), true);
        check(cast(col("a"), DataType::Int64).eq(lit(5_i64)), true);
        check(col("a").between(lit(1), lit(2)).or(col("s").eq(lit("x"))), true);
        check(col("a").in_list(vec![lit(1), lit(2)], true), true);
        check(col("a").is_null(), true);
        let member = crate::functions::Functions::new().scalar.get(MEMBER).cloned().unwrap();
        let list = |element: DataType| {
            let list = DataType::List(Arc::new(Field::new_list_field(element, true)));
            let field = Arc::new(Field::new("", list, true));
            Expr::Placeholder(Placeholder::new_with_field("$1".into(), Some(field)))
        };
        let wide = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
        check(member.call(vec![col("a"), list(DataType::Int32)]), true);
        check(member.call(vec![cast(col("a"), DataType::Int64), cast(list(DataType::Int16), wide.clone())]), true);
        check(member.call(vec![col("a"), cast(list(DataType::Utf8View), wide)]), false);
        check(member.call(vec![lit(1) / col("a"), list(DataType::Int32)]), false);
        check(member.call(vec![col("a"), placeholder("$1") + lit(1)]), false);
        check(col("a").eq(col("b")), false);
        check((lit(1) / col("a")).gt(lit(0)), false);
        check(cast(col("s"), DataType::Int64).eq(lit(5_i64)), false);
        check(col("a").gt(lit(5)).and((lit(1) / col("a")).gt(lit(0))), false);
    }
}
