//! Bound parameters: text and binary bytes to values.

use weir_model::{ColumnType, Result, Value, ValueType};

use crate::types::{
    array_input,
    batch::Format,
    binary,
    calendar::{POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROSECONDS},
    datetime_input::{read_date, read_time, read_timestamp, read_timestamptz},
    fault::Fault,
    interval_input::read_interval,
    number_input::{read_f32, read_f64, read_integer, read_numeric},
    oid,
    scalar_input::{read_bool, read_bytea, read_json, read_text, read_uuid},
    zone::Zone,
};

/// Reads parameter number `number` (from 1). `declared` is the OID the client gave in Parse, 0 for none.
pub(crate) fn read(
    number: usize,
    value_type: ValueType,
    declared: u32,
    format: Format,
    input: &[u8],
    zone: &Zone,
) -> Result<Value> {
    // Where the client declared nothing, it reads the type from the answer to Describe.
    let declared = match declared {
        0 | oid::UNKNOWN => oid::of(value_type),
        declared => declared,
    };
    let value = match value_type.element() {
        None => read_scalar(value_type.scalar().unwrap_or(ColumnType::Text), declared, format, input, zone),
        Some(element) => array_input::read(element, declared, format, input, zone),
    };
    value.map_err(|refusal| refusal.context(format!("bind parameter ${number}")))
}

/// Reads a value that is no array.
pub(crate) fn read_scalar(
    column_type: ColumnType,
    declared: u32,
    format: Format,
    input: &[u8],
    zone: &Zone,
) -> Result<Value> {
    let result = match format {
        Format::Text => read_text_form(column_type, input, zone),
        Format::Binary => read_binary_form(column_type, declared, input),
    };
    result.map_err(|fault| fault.refusal(column_type, input))
}

fn read_text_form(column_type: ColumnType, input: &[u8], zone: &Zone) -> Result<Value, Fault> {
    Ok(match column_type {
        ColumnType::Boolean => Value::Boolean(read_bool(input)?),
        ColumnType::SmallInt => Value::SmallInt(read_integer(input, i16::MIN.into(), i16::MAX.into())? as i16),
        ColumnType::Integer => Value::Integer(read_integer(input, i32::MIN.into(), i32::MAX.into())? as i32),
        ColumnType::BigInt => Value::BigInt(read_integer(input, i64::MIN, i64::MAX)?),
        ColumnType::Real => Value::Real(read_f32(input)?),
        ColumnType::Double => Value::Double(read_f64(input)?),
        ColumnType::Numeric { .. } => {
            let (unscaled, precision, scale) = read_numeric(input)?;
            Value::Numeric { unscaled, precision, scale }
        }
        ColumnType::Text | ColumnType::Varchar(_) => Value::Text(read_text(input)?.to_owned()),
        ColumnType::Bytea => Value::Bytea(read_bytea(input)?),
        ColumnType::Date => Value::Date(read_date(input)?),
        ColumnType::Time => Value::Time(read_time(input)?),
        ColumnType::Timestamp => Value::Timestamp(read_timestamp(input)?),
        ColumnType::Timestamptz => Value::Timestamptz(read_timestamptz(input, zone)?),
        ColumnType::Interval => {
            let (months, days, nanoseconds) = read_interval(input)?;
            Value::Interval { months, days, nanoseconds }
        }
        ColumnType::Uuid => Value::Text(read_uuid(input)?),
        ColumnType::Json | ColumnType::Jsonb => Value::Text(read_json(input)?.to_owned()),
    })
}

fn fixed<const N: usize>(input: &[u8]) -> Result<[u8; N], Fault> {
    input.try_into().map_err(|_wrong_length| Fault::Binary)
}

fn read_binary_form(column_type: ColumnType, declared: u32, input: &[u8]) -> Result<Value, Fault> {
    Ok(match column_type {
        ColumnType::Boolean => match input {
            [value] => Value::Boolean(*value != 0),
            _ => return Err(Fault::Binary),
        },
        ColumnType::SmallInt => Value::SmallInt(i16::from_be_bytes(fixed(input)?)),
        ColumnType::Integer => Value::Integer(i32::from_be_bytes(fixed(input)?)),
        ColumnType::BigInt if declared == oid::OID => Value::BigInt(u32::from_be_bytes(fixed(input)?).into()),
        ColumnType::BigInt => Value::BigInt(i64::from_be_bytes(fixed(input)?)),
        ColumnType::Real => Value::Real(f32::from_be_bytes(fixed(input)?)),
        ColumnType::Double => Value::Double(f64::from_be_bytes(fixed(input)?)),
        ColumnType::Numeric { .. } => {
            if binary::is_special_numeric(input) {
                return Err(Fault::Unsupported("a numeric that is NaN or infinite"));
            }
            let (unscaled, scale) = binary::read_numeric(input).ok_or(Fault::Binary)?;
            let digits = unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
            Value::Numeric { unscaled, precision: (digits as u8).max(scale.unsigned_abs()), scale }
        }
        ColumnType::Text | ColumnType::Varchar(_) => Value::Text(read_text(input)?.to_owned()),
        ColumnType::Bytea => Value::Bytea(input.to_vec()),
        ColumnType::Date => {
            Value::Date(i32::from_be_bytes(fixed(input)?).checked_add(POSTGRES_EPOCH_DAYS).ok_or(Fault::Binary)?)
        }
        ColumnType::Time => match i64::from_be_bytes(fixed(input)?) {
            value @ 0..=86_400_000_000 => Value::Time(value),
            _ => return Err(Fault::Binary),
        },
        ColumnType::Timestamp => Value::Timestamp(read_epoch(input)?),
        ColumnType::Timestamptz => Value::Timestamptz(read_epoch(input)?),
        ColumnType::Interval => {
            let bytes: [u8; 16] = fixed(input)?;
            let (time, rest) = bytes.split_at_checked(8).ok_or(Fault::Binary)?;
            let (days, months) = rest.split_at_checked(4).ok_or(Fault::Binary)?;
            Value::Interval {
                months: i32::from_be_bytes(fixed(months)?),
                days: i32::from_be_bytes(fixed(days)?),
                nanoseconds: i64::from_be_bytes(fixed(time)?).checked_mul(1000).ok_or(Fault::Binary)?,
            }
        }
        ColumnType::Uuid => Value::Text(binary::uuid_text(fixed(input)?)),
        ColumnType::Json => Value::Text(read_json(input)?.to_owned()),
        ColumnType::Jsonb => match input.split_first() {
            Some((1, text)) => Value::Text(read_json(text)?.to_owned()),
            _ => return Err(Fault::Binary),
        },
    })
}

/// Microseconds since 2000 to microseconds since 1970; PostgreSQL's infinities have no form here.
fn read_epoch(input: &[u8]) -> Result<i64, Fault> {
    match i64::from_be_bytes(fixed(input)?) {
        i64::MIN | i64::MAX => Err(Fault::Unsupported("an infinite date or timestamp")),
        value => value.checked_add(POSTGRES_EPOCH_MICROSECONDS).ok_or(Fault::Binary),
    }
}
