//! What a row that was found must answer: most policies compare a whole number with a constant, which for a single row
//! costs more in the engine's kernels than the rest of the look-up.

use std::{cmp::Ordering, sync::Arc};

use arrow::{
    array::{Array, AsArray, BooleanArray},
    datatypes::{DataType, Int16Type, Int32Type, Int64Type, Schema},
};
use datafusion::{
    common::{DataFusionError, ScalarValue},
    logical_expr::{BinaryExpr, Expr, Operator},
    physical_expr::PhysicalExpr,
};

use super::row::Row;
use crate::leakproof::column_of;

#[derive(Debug)]
pub(super) enum Predicate {
    Comparison(Comparison),
    Computed(Arc<dyn PhysicalExpr>),
}

impl Predicate {
    /// Whether the answer for the row is true; NULL is not.
    pub(super) fn holds(&self, row: &Row<'_>) -> Result<bool, DataFusionError> {
        match self {
            Predicate::Comparison(comparison) => Ok(comparison.holds(row)),
            Predicate::Computed(predicate) => {
                let answer = predicate.evaluate(row.batch()?)?.into_array(1)?;
                let flag = answer.as_any().downcast_ref::<BooleanArray>();
                Ok(flag.is_some_and(|flag| flag.len() == 1 && flag.is_valid(0) && flag.value(0)))
            }
        }
    }
}

/// A column of whole numbers and a constant.
#[derive(Debug, PartialEq)]
pub(super) struct Comparison {
    column: usize,
    operator: Operator,
    constant: i64,
}

impl Comparison {
    /// None where the expression is anything else. `schema` is the row's.
    pub(super) fn of(expr: &Expr, schema: &Schema) -> Option<Comparison> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
        let (column, constant, operator) = match (column_of(left), column_of(right)) {
            (Some(column), _) => (column, whole_number(right)?, *op),
            (_, Some(column)) => (column, whole_number(left)?, op.swap()?),
            _ => return None,
        };
        let column = schema.index_of(&column.name).ok()?;
        let is_whole = matches!(schema.field(column).data_type(), DataType::Int16 | DataType::Int32 | DataType::Int64);
        let comparison = Comparison { column, operator, constant };
        (is_whole && comparison.accepts(Ordering::Equal).is_some()).then_some(comparison)
    }

    fn holds(&self, row: &Row<'_>) -> bool {
        let value = row.column(self.column).and_then(|array| whole_value(array.as_ref()));
        value.and_then(|value| self.accepts(value.cmp(&self.constant))).unwrap_or(false)
    }

    /// None for operators that do not compare.
    fn accepts(&self, ordering: Ordering) -> Option<bool> {
        Some(match self.operator {
            Operator::Eq => ordering.is_eq(),
            Operator::NotEq => ordering.is_ne(),
            Operator::Lt => ordering.is_lt(),
            Operator::LtEq => ordering.is_le(),
            Operator::Gt => ordering.is_gt(),
            Operator::GtEq => ordering.is_ge(),
            _ => return None,
        })
    }
}

fn whole_number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int16(value), _) => value.map(i64::from),
        Expr::Literal(ScalarValue::Int32(value), _) => value.map(i64::from),
        Expr::Literal(ScalarValue::Int64(value), _) => *value,
        _ => None,
    }
}

fn whole_value(array: &dyn Array) -> Option<i64> {
    if array.len() != 1 || array.is_null(0) {
        return None;
    }
    match array.data_type() {
        DataType::Int16 => array.as_primitive::<Int16Type>().values().first().copied().map(i64::from),
        DataType::Int32 => array.as_primitive::<Int32Type>().values().first().copied().map(i64::from),
        DataType::Int64 => array.as_primitive::<Int64Type>().values().first().copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, Int32Array, Int64Array, StringViewArray},
        datatypes::Field,
    };
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    #[test]
    fn comparisons_of_whole_numbers_are_asked_directly() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Int64, true),
            Field::new("s", DataType::Utf8View, true),
        ]));
        let row = |a: Option<i32>| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int32Array::from(vec![a])),
                Arc::new(Int64Array::from(vec![i64::MIN])),
                Arc::new(StringViewArray::from(vec!["x"])),
            ];
            Row::new(columns, &schema)
        };
        let check = |expr: Expr, a: Option<i32>, expected: bool| {
            let comparison = Comparison::of(&expr, &schema).unwrap_or_else(|| panic!("{expr}"));
            assert_eq!(comparison.holds(&row(a)), expected, "{expr} for {a:?}");
        };
        for (a, less, equal) in [(6, true, false), (7, false, true), (8, false, false)] {
            check(col("a").lt(lit(7)), Some(a), less);
            check(lit(7).gt(col("a")), Some(a), less);
            check(col("a").lt_eq(lit(7)), Some(a), less || equal);
            check(col("a").gt(lit(7)), Some(a), !less && !equal);
            check(lit(7).lt_eq(col("a")), Some(a), !less);
            check(col("a").eq(lit(7)), Some(a), equal);
            check(col("a").not_eq(lit(7)), Some(a), !equal);
            check(cast(col("a"), DataType::Int64).eq(lit(7_i64)), Some(a), equal);
        }
        check(col("a").not_eq(lit(7)), None, false);
        check(col("b").lt(lit(i64::MAX)), None, true);
        for expr in [col("s").eq(lit("x")), col("a").eq(col("b")), (col("a") % lit(2)).eq(lit(0)), col("a").is_null()] {
            assert_eq!(Comparison::of(&expr, &schema), None, "{expr}");
        }
    }
}
