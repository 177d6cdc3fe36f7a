//! Numbers that do not fit are an error, as in PostgreSQL.
//!
//! DataFusion's `+`, `-` and `*` on integers wrap around, and its arithmetic on floats makes infinities of what is too
//! large, zeros of what is too small, and both of a division by zero. Checked kernels take their place.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum, PrimitiveArray},
    compute::kernels::numeric,
    datatypes::{DataType, Float32Type, Float64Type},
    error::ArrowError,
};
use datafusion::{
    common::{DFSchema, DataFusionError, ScalarValue},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility,
    },
};
use weir_model::{Code, Refusal};

use crate::error::external;

static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 4]> = LazyLock::new(|| {
    [Operation::Plus, Operation::Minus, Operation::Times, Operation::Divide]
        .map(|operation| Arc::new(ScalarUDF::from(Checked::new(operation))))
});

/// The checked form of an operator, where it needs one.
pub(crate) fn check(binary: BinaryExpr, schema: &DFSchema) -> (Expr, bool) {
    let [plus, minus, times, divide] = &*FUNCTIONS;
    let function = match binary.op {
        Operator::Plus => plus,
        Operator::Minus => minus,
        Operator::Multiply => times,
        Operator::Divide => divide,
        _ => return (Expr::BinaryExpr(binary), false),
    };
    let types = binary.left.get_type(schema).ok().zip(binary.right.get_type(schema).ok());
    let checked = types.is_some_and(|(left, right)| {
        let integers = is_integer(&left) && is_integer(&right) && binary.op != Operator::Divide;
        integers || (left.is_floating() && right.is_floating())
    });
    if checked { (function.call(vec![*binary.left, *binary.right]), true) } else { (Expr::BinaryExpr(binary), false) }
}

/// `-x` of a whole number, which has one value more below zero than above.
pub(crate) fn negate(inner: Expr, schema: &DFSchema) -> (Expr, bool) {
    let zero = match inner.get_type(schema) {
        Ok(DataType::Int16) => ScalarValue::Int16(Some(0)),
        Ok(DataType::Int32) => ScalarValue::Int32(Some(0)),
        Ok(DataType::Int64) => ScalarValue::Int64(Some(0)),
        _ => return (Expr::Negative(Box::new(inner)), false),
    };
    let [_, minus, ..] = &*FUNCTIONS;
    (minus.call(vec![Expr::Literal(zero, None), inner]), true)
}

fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Plus,
    Minus,
    Times,
    Divide,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl Checked {
    fn new(operation: Operation) -> Checked {
        Checked { operation, signature: Signature::any(2, Volatility::Immutable) }
    }

    fn run(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, DataFusionError> {
        if let (Operation::Divide, Some(true)) = (self.operation, any_zero(right)) {
            self.refuse_zero(left, right)?;
        }
        let result = match self.operation {
            Operation::Plus => numeric::add(left, right),
            Operation::Minus => numeric::sub(left, right),
            Operation::Times => numeric::mul(left, right),
            Operation::Divide => numeric::div(left, right),
        }?;
        match result.data_type() {
            DataType::Float32 => self.check_floats::<Float32Type>(&result, left, right)?,
            DataType::Float64 => self.check_floats::<Float64Type>(&result, left, right)?,
            _ => {}
        }
        Ok(result)
    }

    /// A zero divides nothing but NULL and NaN.
    fn refuse_zero(&self, left: &dyn Datum, right: &dyn Datum) -> Result<(), DataFusionError> {
        let ((left, left_one), (right, right_one)) = (left.get(), right.get());
        let rows = if left_one { right.len() } else { left.len() };
        let is_nan = |row: usize| match left.data_type() {
            DataType::Float32 => left.as_primitive::<Float32Type>().value(row).is_nan(),
            DataType::Float64 => left.as_primitive::<Float64Type>().value(row).is_nan(),
            _ => false,
        };
        let is_zero = |row: usize| match right.data_type() {
            DataType::Float32 => right.as_primitive::<Float32Type>().value(row) == 0.0,
            DataType::Float64 => right.as_primitive::<Float64Type>().value(row) == 0.0,
            _ => false,
        };
        for row in 0..rows {
            let (l, r) = (if left_one { 0 } else { row }, if right_one { 0 } else { row });
            if left.is_valid(l) && right.is_valid(r) && is_zero(r) && !is_nan(l) {
                return Err(ArrowError::DivideByZero.into());
            }
        }
        Ok(())
    }

    /// Infinities must come from infinities, and a product's or quotient's zero from a zero.
    fn check_floats<T>(&self, result: &ArrayRef, left: &dyn Datum, right: &dyn Datum) -> Result<(), DataFusionError>
    where
        T: ArrowPrimitiveType,
        T::Native: Into<f64>,
    {
        let scales = matches!(self.operation, Operation::Times | Operation::Divide);
        let odd = |value: f64| value.is_infinite() || (scales && value == 0.0);
        let values = result.as_primitive::<T>();
        // A pass without a branch, which nearly all batches end with.
        if !values.values().iter().fold(false, |any, value| any | odd((*value).into())) {
            return Ok(());
        }
        let operand = |datum: &dyn Datum, row: usize| -> f64 {
            let (array, one) = datum.get();
            array.as_primitive::<T>().value(if one { 0 } else { row }).into()
        };
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let (value, l, r): (f64, f64, f64) = (values.value(row).into(), operand(left, row), operand(right, row));
            let overflow = value.is_infinite() && l.is_finite() && r.is_finite();
            let underflow = scales
                && value == 0.0
                && l != 0.0
                && match self.operation {
                    Operation::Divide => r.is_finite(),
                    _ => r != 0.0,
                };
            if overflow || underflow {
                let what = if overflow { "overflow" } else { "underflow" };
                return Err(external(Refusal::new(Code::NumericOutOfRange, format!("value out of range: {what}"))));
            }
        }
        Ok(())
    }
}

/// Whether a float divisor has a zero; None for what is no float.
fn any_zero(datum: &dyn Datum) -> Option<bool> {
    fn zero<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> bool
    where
        T::Native: Into<f64>,
    {
        array.values().iter().any(|value| Into::<f64>::into(*value) == 0.0)
    }
    let (array, _) = datum.get();
    match array.data_type() {
        DataType::Float32 => Some(zero(array.as_primitive::<Float32Type>())),
        DataType::Float64 => Some(zero(array.as_primitive::<Float64Type>())),
        _ => None,
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Plus => "weir_plus",
            Operation::Minus => "weir_minus",
            Operation::Times => "weir_times",
            Operation::Divide => "weir_divide",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Both arguments have one type by now; the wider one where they do not.
    fn return_type(&self, types: &[DataType]) -> Result<DataType, DataFusionError> {
        let rank = |kind: &DataType| match kind {
            DataType::Int16 => 0,
            DataType::Int32 => 1,
            DataType::Int64 => 2,
            DataType::Float32 => 3,
            _ => 4,
        };
        types
            .iter()
            .max_by_key(|kind| rank(kind))
            .cloned()
            .ok_or_else(|| DataFusionError::Internal("arithmetic without arguments".into()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let target = args.return_field.data_type().clone();
        let mut values = args.args.into_iter().map(|value| value.cast_to(&target, None));
        let (Some(left), Some(right)) = (values.next(), values.next()) else {
            return Err(DataFusionError::Internal("arithmetic takes two arguments".into()));
        };
        let result = match (left?, right?) {
            (ColumnarValue::Array(left), ColumnarValue::Array(right)) => self.run(&left, &right)?,
            (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) => self.run(&left, &right.to_scalar()?)?,
            (ColumnarValue::Scalar(left), ColumnarValue::Array(right)) => self.run(&left.to_scalar()?, &right)?,
            (ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)) => {
                let one = self.run(&left.to_scalar()?, &right.to_scalar()?)?;
                return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?));
            }
        };
        Ok(ColumnarValue::Array(result))
    }
}
