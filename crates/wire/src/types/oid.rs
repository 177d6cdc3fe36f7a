//! Type OIDs, sizes and modifiers, as `pg_type` has them.

use weir_model::{ColumnType, Refusal, Result, ValueType};

pub(crate) const UNKNOWN: u32 = 705;
pub(crate) const CHAR: u32 = 18;
pub(crate) const OID: u32 = 26;
const OID_ARRAY: u32 = 1028;

pub(crate) fn of(value_type: ValueType) -> u32 {
    match value_type {
        ValueType::Scalar(column_type) => scalar(column_type),
        ValueType::Array(element) => array(element),
        ValueType::Oid => OID,
        ValueType::OidArray => OID_ARRAY,
    }
}

pub(crate) fn scalar(column_type: ColumnType) -> u32 {
    match column_type {
        ColumnType::Boolean => 16,
        ColumnType::Bytea => 17,
        ColumnType::BigInt => 20,
        ColumnType::SmallInt => 21,
        ColumnType::Integer => 23,
        ColumnType::Text => 25,
        ColumnType::Json => 114,
        ColumnType::Real => 700,
        ColumnType::Double => 701,
        ColumnType::Varchar(_) => 1043,
        ColumnType::Date => 1082,
        ColumnType::Time => 1083,
        ColumnType::Timestamp => 1114,
        ColumnType::Timestamptz => 1184,
        ColumnType::Interval => 1186,
        ColumnType::Numeric { .. } => 1700,
        ColumnType::Uuid => 2950,
        ColumnType::Jsonb => 3802,
    }
}

fn array(element: ColumnType) -> u32 {
    match element {
        ColumnType::Json => 199,
        ColumnType::Boolean => 1000,
        ColumnType::Bytea => 1001,
        ColumnType::SmallInt => 1005,
        ColumnType::Integer => 1007,
        ColumnType::Text => 1009,
        ColumnType::Varchar(_) => 1015,
        ColumnType::BigInt => 1016,
        ColumnType::Real => 1021,
        ColumnType::Double => 1022,
        ColumnType::Timestamp => 1115,
        ColumnType::Date => 1182,
        ColumnType::Time => 1183,
        ColumnType::Timestamptz => 1185,
        ColumnType::Interval => 1187,
        ColumnType::Numeric { .. } => 1231,
        ColumnType::Uuid => 2951,
        ColumnType::Jsonb => 3807,
    }
}

/// `typlen`: bytes of a fixed-size type, -1 for a variable one.
pub(crate) fn size(value_type: ValueType) -> i16 {
    let column_type = match value_type {
        ValueType::Scalar(column_type) => column_type,
        ValueType::Oid => return 4,
        ValueType::Array(_) | ValueType::OidArray => return -1,
    };
    match column_type {
        ColumnType::Boolean => 1,
        ColumnType::SmallInt => 2,
        ColumnType::Integer | ColumnType::Real | ColumnType::Date => 4,
        ColumnType::BigInt
        | ColumnType::Double
        | ColumnType::Time
        | ColumnType::Timestamp
        | ColumnType::Timestamptz => 8,
        ColumnType::Interval | ColumnType::Uuid => 16,
        _ => -1,
    }
}

/// `atttypmod`: -1 where the type has no modifier.
pub(crate) fn modifier(value_type: ValueType) -> i32 {
    let (ValueType::Scalar(column_type) | ValueType::Array(column_type)) = value_type else { return -1 };
    match column_type {
        ColumnType::Varchar(length) => i32::try_from(length).map_or(-1, |length| length.saturating_add(4)),
        ColumnType::NUMERIC_DEFAULT => -1,
        ColumnType::Numeric { precision, scale } => ((i32::from(precision) << 16) | i32::from(scale)) + 4,
        _ => -1,
    }
}

/// The type a client declared for a parameter; `None` leaves it to the statement.
///
/// # Errors
///
/// Types that Weir has not are refused rather than read as something else.
pub(crate) fn parameter_type(oid: u32) -> Result<Option<ValueType>> {
    if matches!(oid, 0 | UNKNOWN) {
        return Ok(None);
    }
    let known = match element_oid(oid) {
        _ if oid == OID => Some(ValueType::Oid),
        _ if oid == OID_ARRAY => Some(ValueType::OidArray),
        Some(element) => scalar_type(element).map(ValueType::Array),
        None => scalar_type(oid).map(ValueType::Scalar),
    };
    known.map(Some).ok_or_else(|| {
        Refusal::unsupported(format!("a parameter of type OID {oid}")).hint("pass text with a cast in the statement")
    })
}

fn scalar_type(oid: u32) -> Option<ColumnType> {
    Some(match oid {
        16 => ColumnType::Boolean,
        17 => ColumnType::Bytea,
        20 | OID => ColumnType::BigInt,
        21 => ColumnType::SmallInt,
        23 => ColumnType::Integer,
        // "char", name, text, bpchar, varchar
        CHAR | 19 | 25 | 1042 | 1043 => ColumnType::Text,
        114 => ColumnType::Json,
        700 => ColumnType::Real,
        701 => ColumnType::Double,
        1082 => ColumnType::Date,
        1083 => ColumnType::Time,
        1114 => ColumnType::Timestamp,
        1184 => ColumnType::Timestamptz,
        1186 => ColumnType::Interval,
        1700 => ColumnType::NUMERIC_DEFAULT,
        2950 => ColumnType::Uuid,
        3802 => ColumnType::Jsonb,
        _ => return None,
    })
}

/// What an array's elements are; `None` for what is no array.
pub(crate) fn element_oid(array: u32) -> Option<u32> {
    Some(match array {
        199 => 114,
        1000 => 16,
        1001 => 17,
        1002 => CHAR,
        1003 => 19,
        1005 => 21,
        1007 => 23,
        1009 => 25,
        1014 => 1042,
        1015 => 1043,
        1016 => 20,
        1021 => 700,
        1022 => 701,
        OID_ARRAY => OID,
        1115 => 1114,
        1182 => 1082,
        1183 => 1083,
        1185 => 1184,
        1187 => 1186,
        1231 => 1700,
        2951 => 2950,
        3807 => 3802,
        _ => return None,
    })
}

/// Whether two OIDs are of types that are one here, as all character types are.
pub(crate) fn is_same(left: u32, right: u32) -> bool {
    scalar_type(left).is_some_and(|left| Some(left) == scalar_type(right)) && left != OID && right != OID
}
