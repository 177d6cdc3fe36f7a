//! `interval * number` and `interval / number`, which DataFusion has not.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, IntervalMonthDayNanoBuilder},
    compute::cast,
    datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit},
};
use datafusion::{
    common::{DFSchema, DataFusionError},
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
};
use weir_model::{Code, Refusal};
use weir_sql::ast::BinaryOperator;

use crate::error::external;

const MONTH_DAY_NANO: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Plans the two operators as calls.
#[derive(Debug)]
pub(crate) struct IntervalArithmetic {
    times: Arc<ScalarUDF>,
    divide: Arc<ScalarUDF>,
}

impl IntervalArithmetic {
    pub(crate) fn new() -> IntervalArithmetic {
        let make = |name, divides| {
            let signature = Signature::exact(vec![MONTH_DAY_NANO, DataType::Float64], Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(Scale { name, divides, signature }))
        };
        IntervalArithmetic { times: make("weir_interval_times", false), divide: make("weir_interval_divide", true) }
    }
}

impl ExprPlanner for IntervalArithmetic {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>, DataFusionError> {
        let function = match expr.op {
            BinaryOperator::Multiply => &self.times,
            BinaryOperator::Divide => &self.divide,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let is_interval = |side: &Expr| matches!(side.get_type(schema), Ok(DataType::Interval(_)));
        let is_number = |side: &Expr| side.get_type(schema).is_ok_and(|kind| kind.is_numeric());
        let RawBinaryExpr { op, left, right } = expr;
        let arguments = if is_interval(&left) && is_number(&right) {
            vec![left, right]
        } else if op == BinaryOperator::Multiply && is_interval(&right) && is_number(&left) {
            vec![right, left]
        } else {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        };
        let call = ScalarFunction::new_udf(Arc::clone(function), arguments);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Scale {
    name: &'static str,
    divides: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Scale {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(MONTH_DAY_NANO)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [intervals, factors] = arrays.as_slice() else {
            return Err(DataFusionError::Internal("an interval is scaled by one number".into()));
        };
        let factors = cast(factors, &DataType::Float64)?;
        let (intervals, factors) =
            (intervals.as_primitive::<IntervalMonthDayNanoType>(), factors.as_primitive::<Float64Type>());
        let mut out = IntervalMonthDayNanoBuilder::with_capacity(intervals.len());
        for row in 0..intervals.len() {
            if intervals.is_null(row) || factors.is_null(row) {
                out.append_null();
                continue;
            }
            let factor = match (self.divides, factors.value(row)) {
                (true, 0.0) => return Err(external(Refusal::new(Code::DivisionByZero, "division by zero"))),
                (true, divisor) => 1.0 / divisor,
                (false, factor) => factor,
            };
            out.append_value(
                scaled(intervals.value(row), factor)
                    .ok_or_else(|| external(Refusal::new(Code::NumericOutOfRange, "interval out of range")))?,
            );
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

const DAYS_OF_MONTH: f64 = 30.0;
const NANOSECONDS_OF_DAY: f64 = 86_400e9;

/// As PostgreSQL: parts of months become days, parts of days become time.
fn scaled(interval: IntervalMonthDayNano, factor: f64) -> Option<IntervalMonthDayNano> {
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor + months.fract() * DAYS_OF_MONTH;
    // Microseconds are all that PostgreSQL keeps.
    let nanoseconds = interval.nanoseconds as f64 * factor + days.fract() * NANOSECONDS_OF_DAY;
    let nanoseconds = (nanoseconds / 1000.0).round() * 1000.0;
    let whole = |value: f64| (value.is_finite() && value.abs() <= f64::from(i32::MAX)).then(|| value.trunc() as i32);
    let fits = nanoseconds.is_finite() && nanoseconds.abs() < i64::MAX as f64;
    fits.then(|| IntervalMonthDayNano::new(0, 0, nanoseconds as i64))
        .and_then(|time| Some(IntervalMonthDayNano::new(whole(months)?, whole(days)?, time.nanoseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_to_the_next_smaller_unit() {
        let check = |interval: (i32, i32, i64), factor: f64, expected: Option<(i32, i32, i64)>| {
            let found = scaled(IntervalMonthDayNano::new(interval.0, interval.1, interval.2), factor);
            assert_eq!(found.map(|found| (found.months, found.days, found.nanoseconds)), expected);
        };
        check((0, 1, 0), 3.0, Some((0, 3, 0)));
        check((1, 0, 0), 1.5, Some((1, 15, 0)));
        check((0, 1, 0), 0.5, Some((0, 0, 43_200_000_000_000)));
        check((i32::MAX, 0, 0), 2.0, None);
    }
}
