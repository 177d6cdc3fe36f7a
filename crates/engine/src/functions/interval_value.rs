//! What an interval is worth where it is compared: a month is 30 days and a day 24 hours. And a value that may be NULL.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array},
    datatypes::{DataType, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType},
};
use datafusion::{
    common::DataFusionError,
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::ScalarFunction,
    },
};
use weir_model::{Code, ColumnType, Refusal, text::calendar::DAY};

use super::plain::{Plain, any};

/// Microseconds; 25 digits hold any interval.
const WORTH: ColumnType = ColumnType::Numeric { precision: 38, scale: 0 };

/// A call that gives an interval's worth.
pub(crate) fn interval_value(interval: Expr) -> Expr {
    let function = Plain::new("weir_interval_value", any(&[1]), |_| Ok(WORTH), worths).function();
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![interval]))
}

fn worths(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let intervals = arguments.first().and_then(|array| array.as_primitive_opt::<IntervalMonthDayNanoType>());
    let Some(intervals) = intervals else { return Err(Refusal::new(Code::Internal, "an interval of another kind")) };
    let worths: Decimal128Array = intervals.iter().map(|interval| interval.map(worth)).collect();
    let worths = worths.with_precision_and_scale(38, 0);
    worths.map(|worths| Arc::new(worths) as ArrayRef).map_err(|_| Refusal::new(Code::Internal, "an interval's worth"))
}

fn worth(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * i128::from(DAY) + i128::from(interval.nanoseconds / 1000)
}

/// The value itself, in a column that may be NULL.
pub(crate) fn nullable(expr: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let function = Arc::new(ScalarUDF::new_from_impl(Nullable { signature }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![expr]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Nullable {
    signature: Signature,
}

impl ScalarUDFImpl for Nullable {
    fn name(&self) -> &str {
        "weir_nullable"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType, DataFusionError> {
        types.first().cloned().ok_or_else(|| DataFusionError::Internal("a value is missing".into()))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        let field = arguments.arg_fields.first();
        let field = field.ok_or_else(|| DataFusionError::Internal("a value is missing".into()))?;
        Ok(Arc::new(field.as_ref().clone().with_nullable(true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        arguments.args.into_iter().next().ok_or_else(|| DataFusionError::Internal("a value is missing".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_thirty_days() {
        let of = |months, days, hours: i64| worth(IntervalMonthDayNano::new(months, days, hours * 3_600_000_000_000));
        assert_eq!(of(1, 0, 0), of(0, 30, 0));
        assert_eq!(of(0, 1, 0), of(0, 0, 24));
        assert_eq!(of(0, -1, 24), 0);
        assert!(of(1, 0, 0) < of(0, 31, 0));
    }
}
