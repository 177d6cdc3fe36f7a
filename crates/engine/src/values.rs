//! Bound parameters: from the wire's values to the scalars of a plan.

use arrow::{
    array::{Array, new_empty_array},
    datatypes::{DataType, IntervalMonthDayNano},
};
use datafusion::common::{ScalarValue, utils::SingleRowListArrayBuilder};
use weir_model::{Code, ColumnType, Refusal, Result, Value, ValueType, read_array, text::zone::Zone};
use weir_store::arrow_type;

use crate::{coerce, functions, types::list_type};

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
        Value::Array { element, elements } => list(elements, *element, 0, &Zone::utc())?,
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
pub(crate) fn parameter(value: &Value, value_type: ValueType, number: usize, zone: &Zone) -> Result<ScalarValue> {
    let Some(element) = value_type.element() else {
        return scalar_parameter(value, value_type.scalar().unwrap_or(ColumnType::Text), number, zone);
    };
    match value {
        Value::Null(_) => ScalarValue::try_from(&list_type(element))
            .map_err(|_| Refusal::new(Code::Internal, "a NULL array has no scalar form")),
        Value::Array { elements, .. } => list(elements, element, number, zone),
        Value::Text(text) => {
            let elements = read_array(text).map_err(|fault| functions::malformed_array(fault, text))?;
            let elements: Vec<Value> =
                elements.into_iter().map(|element| element.map_or(Value::Null(None), Value::Text)).collect();
            list(&elements, element, number, zone)
        }
        _ => Err(Refusal::new(Code::DatatypeMismatch, format!("parameter ${number} is of type {value_type}"))),
    }
}

fn list(elements: &[Value], element: ColumnType, number: usize, zone: &Zone) -> Result<ScalarValue> {
    let elements = elements
        .iter()
        .map(|value| scalar_parameter(value, element, number, zone))
        .collect::<Result<Vec<ScalarValue>>>()?;
    let values = match elements.is_empty() {
        true => new_empty_array(&arrow_type(element)),
        false => ScalarValue::iter_to_array(elements)
            .map_err(|_| Refusal::new(Code::Internal, "an array parameter has elements of several types"))?,
    };
    Ok(SingleRowListArrayBuilder::new(values).with_nullable(true).build_list_scalar())
}

fn scalar_parameter(value: &Value, column_type: ColumnType, number: usize, zone: &Zone) -> Result<ScalarValue> {
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
