//! Primary-key values as bytes: equal keys have equal bytes, whatever array or parameter they come from.

use std::sync::LazyLock;

use arrow::{
    array::{Array, AsArray, BinaryViewArray, BooleanArray, StringViewArray},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use weir_model::{ColumnType, Value};

use crate::StoreError;

/// Seeded once per process, so that nobody outside can aim for collisions. Hashes never reach the disk.
static HASHER: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);

pub(crate) fn hash_key(encoded: &[u8]) -> u64 {
    HASHER.hash_one(encoded)
}

/// A key column of a batch, its type resolved once.
pub(crate) enum KeyColumn<'a> {
    Boolean(&'a BooleanArray),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Int128(&'a [i128]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Text(&'a StringViewArray),
    Bytes(&'a BinaryViewArray),
}

impl<'a> KeyColumn<'a> {
    pub fn of(array: &'a dyn Array) -> Result<KeyColumn<'a>, StoreError> {
        Ok(match array.data_type() {
            DataType::Boolean => KeyColumn::Boolean(array.as_boolean()),
            DataType::Int16 => KeyColumn::Int16(array.as_primitive::<Int16Type>().values()),
            DataType::Int32 => KeyColumn::Int32(array.as_primitive::<Int32Type>().values()),
            DataType::Date32 => KeyColumn::Int32(array.as_primitive::<Date32Type>().values()),
            DataType::Int64 => KeyColumn::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::Time64(_) => KeyColumn::Int64(array.as_primitive::<Time64MicrosecondType>().values()),
            DataType::Timestamp(_, _) => KeyColumn::Int64(array.as_primitive::<TimestampMicrosecondType>().values()),
            DataType::Decimal128(_, _) => KeyColumn::Int128(array.as_primitive::<Decimal128Type>().values()),
            DataType::Float32 => KeyColumn::Float32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => KeyColumn::Float64(array.as_primitive::<Float64Type>().values()),
            DataType::Utf8View => KeyColumn::Text(array.as_string_view()),
            DataType::BinaryView => KeyColumn::Bytes(array.as_binary_view()),
            other => return Err(StoreError::Misuse(format!("a key column cannot have the type {other}"))),
        })
    }

    /// Appends the bytes of one row's value. The row must be in range; key columns hold no nulls.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            KeyColumn::Boolean(array) => out.push(u8::from(row < array.len() && array.value(row))),
            KeyColumn::Int16(values) => out.extend_from_slice(&values.get(row).copied().unwrap_or(0).to_le_bytes()),
            KeyColumn::Int32(values) => out.extend_from_slice(&values.get(row).copied().unwrap_or(0).to_le_bytes()),
            KeyColumn::Int64(values) => out.extend_from_slice(&values.get(row).copied().unwrap_or(0).to_le_bytes()),
            KeyColumn::Int128(values) => out.extend_from_slice(&values.get(row).copied().unwrap_or(0).to_le_bytes()),
            KeyColumn::Float32(values) => encode_f32(values.get(row).copied().unwrap_or(0.0), out),
            KeyColumn::Float64(values) => encode_f64(values.get(row).copied().unwrap_or(0.0), out),
            KeyColumn::Text(array) => encode_bytes(array.value(row).as_bytes(), out),
            KeyColumn::Bytes(array) => encode_bytes(array.value(row), out),
        }
    }
}

/// As PostgreSQL compares: every NaN equals every other, and -0 equals 0.
fn encode_f64(value: f64, out: &mut Vec<u8>) {
    let canonical = if value.is_nan() { f64::NAN } else { value + 0.0 };
    out.extend_from_slice(&canonical.to_bits().to_le_bytes());
}

fn encode_f32(value: f32, out: &mut Vec<u8>) {
    let canonical = if value.is_nan() { f32::NAN } else { value + 0.0 };
    out.extend_from_slice(&canonical.to_bits().to_le_bytes());
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a parameter as a value of the column's type. False when no value of that type can equal it (NULL, out of
/// range, more digits than the column keeps, another kind of type).
pub(crate) fn encode_value(column_type: ColumnType, value: &Value, out: &mut Vec<u8>) -> bool {
    match column_type {
        ColumnType::Boolean => match value {
            Value::Boolean(flag) => out.push(u8::from(*flag)),
            _ => return false,
        },
        ColumnType::SmallInt => return encode_integer(value, out, |n| Some(i16::try_from(n).ok()?.to_le_bytes())),
        ColumnType::Integer => return encode_integer(value, out, |n| Some(i32::try_from(n).ok()?.to_le_bytes())),
        ColumnType::BigInt => return encode_integer(value, out, |n| Some(i64::try_from(n).ok()?.to_le_bytes())),
        ColumnType::Real => match value {
            Value::Real(number) => encode_f32(*number, out),
            _ => return false,
        },
        ColumnType::Double => match value {
            Value::Double(number) => encode_f64(*number, out),
            Value::Real(number) => encode_f64(f64::from(*number), out),
            _ => return false,
        },
        ColumnType::Numeric { scale, .. } => match rescale(value, scale) {
            Some(unscaled) => out.extend_from_slice(&unscaled.to_le_bytes()),
            None => return false,
        },
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Uuid | ColumnType::Json | ColumnType::Jsonb => {
            match value {
                Value::Text(text) => encode_bytes(text.as_bytes(), out),
                _ => return false,
            }
        }
        ColumnType::Bytea => match value {
            Value::Bytea(bytes) => encode_bytes(bytes, out),
            _ => return false,
        },
        ColumnType::Date => match value {
            Value::Date(days) => out.extend_from_slice(&days.to_le_bytes()),
            _ => return false,
        },
        ColumnType::Time => match value {
            Value::Time(microseconds) => out.extend_from_slice(&microseconds.to_le_bytes()),
            _ => return false,
        },
        ColumnType::Timestamp => match value {
            Value::Timestamp(microseconds) => out.extend_from_slice(&microseconds.to_le_bytes()),
            _ => return false,
        },
        ColumnType::Timestamptz => match value {
            Value::Timestamptz(microseconds) => out.extend_from_slice(&microseconds.to_le_bytes()),
            _ => return false,
        },
        ColumnType::Interval => return false,
    }
    true
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::SmallInt(number) => Some(i128::from(*number)),
        Value::Integer(number) => Some(i128::from(*number)),
        Value::BigInt(number) => Some(i128::from(*number)),
        Value::Numeric { .. } => rescale(value, 0),
        _ => None,
    }
}

fn encode_integer<const N: usize>(
    value: &Value,
    out: &mut Vec<u8>,
    narrow: impl FnOnce(i128) -> Option<[u8; N]>,
) -> bool {
    let bytes = integer(value).and_then(narrow);
    bytes.is_some_and(|bytes| {
        out.extend_from_slice(&bytes);
        true
    })
}

/// The value as an integer of units of `10^-scale`, if it is one.
fn rescale(value: &Value, scale: i8) -> Option<i128> {
    let (unscaled, from) = match value {
        Value::Numeric { unscaled, scale, .. } => (*unscaled, *scale),
        other => (integer(other)?, 0),
    };
    let shift = i32::from(scale) - i32::from(from);
    let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 { unscaled.checked_mul(factor) } else { (unscaled % factor == 0).then(|| unscaled / factor) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int32Array};

    use super::*;

    fn from_array(array: &ArrayRef) -> Vec<u8> {
        let mut out = Vec::new();
        KeyColumn::of(array).unwrap().encode(0, &mut out);
        out
    }

    fn from_value(column_type: ColumnType, value: &Value) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        encode_value(column_type, value, &mut out).then_some(out)
    }

    #[test]
    fn parameters_and_rows_agree() {
        let check = |array: ArrayRef, column_type, value: Value| {
            assert_eq!(from_value(column_type, &value), Some(from_array(&array)), "{value:?}");
        };
        check(Arc::new(Int32Array::from(vec![7])), ColumnType::Integer, Value::BigInt(7));
        check(Arc::new(Int32Array::from(vec![7])), ColumnType::Integer, Value::SmallInt(7));
        check(Arc::new(StringViewArray::from(vec!["a"])), ColumnType::Text, Value::Text("a".into()));
        check(Arc::new(Float64Array::from(vec![-0.0])), ColumnType::Double, Value::Double(0.0));
        check(Arc::new(Float64Array::from(vec![-f64::NAN])), ColumnType::Double, Value::Double(f64::NAN));
        let numeric = ColumnType::Numeric { precision: 10, scale: 2 };
        let array = Decimal128Array::from(vec![150]).with_precision_and_scale(10, 2).unwrap();
        check(Arc::new(array), numeric, Value::Numeric { unscaled: 15, precision: 2, scale: 1 });
    }

    #[test]
    fn what_cannot_match_says_so() {
        assert_eq!(from_value(ColumnType::Integer, &Value::BigInt(1 << 40)), None);
        assert_eq!(from_value(ColumnType::Integer, &Value::Null(None)), None);
        assert_eq!(from_value(ColumnType::Text, &Value::BigInt(1)), None);
        let numeric = ColumnType::Numeric { precision: 10, scale: 2 };
        assert_eq!(from_value(numeric, &Value::Numeric { unscaled: 12345, precision: 5, scale: 3 }), None);
    }
}
