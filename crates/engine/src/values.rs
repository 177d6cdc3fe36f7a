//! Bound parameters: from the wire's values to the scalars of a plan.

use arrow::{
    array::Array,
    datatypes::{DataType, IntervalMonthDayNano},
};
use datafusion::common::ScalarValue;
use weir_model::{Code, ColumnType, Refusal, Result, Value, text::zone::Zone};
use weir_store::arrow_type;

use crate::coerce;

/// A value as the scalar of its own type.
pub(crate) fn scalar(value: &Value) -> Result<ScalarValue> {
    Ok(match value {
        Value::Null(None) => ScalarValue::Null,
        Value::Null(Some(column_type)) => null_of(*column_type)?,
        Value::Boolean(flag) => ScalarValue::Boolean(Some(*flag)),
        Value::SmallInt(number) => ScalarValue::Int16(Some(*number)),
        Value::Integer(number) => ScalarValue::Int32(Some(*number)),
        Value::BigInt(number) => ScalarValue::Int64(Some(*number)),
        Value::Real(number) => ScalarValue::Float32(Some(*number)),
        Value::Double(number) => ScalarValue::Float64(Some(*number)),
        Value::Numeric { unscaled, precision, scale } => ScalarValue::Decimal128(Some(*unscaled), *precision, *scale),
        Value::Text(text) => ScalarValue::Utf8View(Some(text.clone())),
        Value::Bytea(bytes) => ScalarValue::BinaryView(Some(bytes.clone())),
        Value::Date(days) => ScalarValue::Date32(Some(*days)),
        Value::Time(micros) => ScalarValue::Time64Microsecond(Some(*micros)),
        Value::Timestamp(micros) => ScalarValue::TimestampMicrosecond(Some(*micros), None),
        Value::Timestamptz(micros) => ScalarValue::TimestampMicrosecond(Some(*micros), Some("+00:00".into())),
        Value::Interval { months, days, nanoseconds } => {
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(*months, *days, *nanoseconds)))
        }
    })
}

fn null_of(column_type: ColumnType) -> Result<ScalarValue> {
    ScalarValue::try_from(&arrow_type(column_type))
        .map_err(|_| Refusal::new(Code::Internal, "a NULL parameter has no scalar form"))
}

/// A parameter's value as a scalar of the type the plan gave it.
///
/// # Errors
/// As PostgreSQL's input functions and assignment casts: `invalid_text_representation`, `numeric_out_of_range`, ….
pub(crate) fn parameter(value: &Value, column_type: ColumnType, number: usize, zone: &Zone) -> Result<ScalarValue> {
    let own = scalar(value)?;
    let target = arrow_type(column_type);
    if own.data_type() == target && !needs_check(column_type) {
        return Ok(own);
    }
    if own.is_null() {
        return null_of(column_type);
    }
    let array = own.to_array().map_err(|_| Refusal::new(Code::Internal, "a parameter has no array form"))?;
    let array = coerce::to_type(&array, column_type, coerce::Context::Parameter(number), zone)?;
    ScalarValue::try_from_array(&array, 0)
        .map_err(|_| Refusal::new(Code::Internal, "a parameter could not be read back"))
}

/// Types whose Arrow form holds more values than the type does.
fn needs_check(column_type: ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::Varchar(_) | ColumnType::Uuid | ColumnType::Json | ColumnType::Jsonb | ColumnType::Numeric { .. }
    )
}

/// A scalar read back as a value, for key lookups; None where no key column has the type.
pub(crate) fn value_of(scalar: &ScalarValue) -> Option<Value> {
    if scalar.is_null() {
        return Some(Value::Null(None));
    }
    Some(match scalar {
        ScalarValue::Boolean(Some(flag)) => Value::Boolean(*flag),
        ScalarValue::Int8(Some(number)) => Value::SmallInt(i16::from(*number)),
        ScalarValue::Int16(Some(number)) => Value::SmallInt(*number),
        ScalarValue::Int32(Some(number)) => Value::Integer(*number),
        ScalarValue::Int64(Some(number)) => Value::BigInt(*number),
        ScalarValue::Float32(Some(number)) => Value::Real(*number),
        ScalarValue::Float64(Some(number)) => Value::Double(*number),
        ScalarValue::Decimal128(Some(unscaled), precision, scale) => {
            Value::Numeric { unscaled: *unscaled, precision: *precision, scale: *scale }
        }
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            Value::Text(text.clone())
        }
        ScalarValue::Binary(Some(bytes)) | ScalarValue::BinaryView(Some(bytes)) => Value::Bytea(bytes.clone()),
        ScalarValue::Date32(Some(days)) => Value::Date(*days),
        ScalarValue::Time64Microsecond(Some(micros)) => Value::Time(*micros),
        ScalarValue::TimestampMicrosecond(Some(micros), None) => Value::Timestamp(*micros),
        ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => Value::Timestamptz(*micros),
        ScalarValue::TimestampNanosecond(Some(nanos), None) if nanos % 1000 == 0 => Value::Timestamp(nanos / 1000),
        _ => return None,
    })
}

/// Whether the array holds only NULLs, whatever its type.
pub(crate) fn all_null(array: &dyn Array) -> bool {
    matches!(array.data_type(), DataType::Null) || array.null_count() == array.len()
}
